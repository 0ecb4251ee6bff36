// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/net/resolve.h>.
#include <eddy/net/resolve.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include <eddy/future/as_result.h>
#include <eddy/future/block_on.h>
#include <eddy/future/run_blocking.h>
#include <eddy/future/spawn.h>
#include <eddy/net/connect.h>
#include <eddy/net/detail/loopback_names.h>
#include <eddy/net/pending_operation.h>

#include "support/async_test.h"
#include "support/counted.h"
#include "support/forked.h"
#include "support/name_server.h"
#include "support/sanitized.h"
#include "support/temporary_directory.h"
#include "support/tidy.h"

using namespace std::chrono_literals;
using eddy::address;
using eddy::pending_operation;
using eddy::resolve;
using eddy::resolve_error;
using eddy::result;
using addresses = std::vector<address>;

namespace {

eddy::task<int> one() {
  const auto job = [] { return 1; };
  const int n = co_await eddy::run_blocking(job);
  co_return n;
}

}  // namespace

ASYNC_TEST("a literal address is its own result without a look-up") {
  name_server server;
  const addresses v4 = co_await resolve("1.2.3.4", 80);
  CHECK(v4 == addresses{*address::parse("1.2.3.4:80")});
  const addresses v6 = co_await resolve("::1", 80);
  CHECK(v6 == addresses{address::loopback_v6(80)});
  const addresses bracketed = co_await resolve("[::1]", 80);
  CHECK(bracketed == v6);
  CHECK(server.asked == 0);
}

ASYNC_TEST("a name has the addresses that the system's resolver finds") {
  const addresses all = co_await resolve("localhost", 80);
  REQUIRE(!all.empty());
  for (const address& a : all) {
    CHECK(a.is_loopback());
    CHECK(a.port() == 80);
  }
}

ASYNC_TEST("a name with several addresses has all of them, in order and without repetition") {
  name_server server;
  server.knows = {"[2001:db8::1]:0", "10.0.0.1:0", "[2001:db8::1]:0"};
  const addresses all = co_await resolve("host.example", 443);
  CHECK(all == addresses{*address::parse("[2001:db8::1]:443"), *address::parse("10.0.0.1:443")});
  CHECK(server.last_name == "host.example");
  CHECK(server.kept == 0);
}

namespace {

/// The processor time in which a loop looks a name up that has so many addresses.
std::chrono::nanoseconds time_of(std::size_t count) {
  struct prompt_server : name_server {
    bool answers_at_once() override { return true; }
  };
  const auto used = [] {
    timespec t{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec);
  };
  prompt_server server;
  for (std::size_t i = 0; i < count; ++i) {
    server.knows.push_back("10.0." + std::to_string(i / 256) + '.' + std::to_string(i % 256) +
                           ":0");
  }
  eddy::event_loop loop;
  const auto begun = used();
  CHECK(eddy::block_on(loop, resolve("host.example", 80)).size() == count);
  return used() - begun;
}

}  // namespace

TEST_CASE_FIXTURE(tidy, "a look-up takes a time in proportion to the number of addresses") {
  auto few = std::chrono::nanoseconds::max();
  auto many = few;
  // On a busy machine, each round brings the least times nearer to the true ones.
  for (int i = 0; i < 10 && (i == 0 || many >= 30 * few); ++i) {
    few = std::min(few, time_of(1'000));
    many = std::min(many, time_of(10'000));
  }
  CHECK(many < 30 * few);  // if each were compared with all others, it would be 90 times
}

ASYNC_TEST("localhost has loopback addresses, whatever the resolver finds") {
  for (const char* const name :
       {"localhost", "LocalHost", "localhost.", "www.localhost", "a.b.LOCALHOST."}) {
    INFO(name);
    name_server server;
    server.knows = {"[::1]:0", "127.0.0.1:0", "192.0.2.1:0"};
    const addresses known = co_await resolve(name, 80);
    CHECK(known == addresses{address::loopback_v6(80), address::loopback_v4(80)});
    CHECK(server.last_name == "localhost");
    CHECK((server.last_flags & AI_ADDRCONFIG) == 0);

    const addresses both = {address::loopback_v4(80), address::loopback_v6(80)};
    server.knows = {"192.0.2.1:0"};
    const addresses wrong = co_await resolve(name, 80);
    CHECK(wrong == both);
    server.answer = EAI_NONAME;
    const addresses unknown = co_await resolve(name, 80);
    CHECK(unknown == both);
  }
}

ASYNC_TEST("a name with a loopback address in /etc/hosts is looked up in both families") {
  name_server server;
  server.in_hosts = {"here"};
  server.knows = {"[::1]:0"};
  const addresses here = co_await resolve("here", 80);
  CHECK(here == addresses{address::loopback_v6(80)});
  CHECK(server.last_flags == 0);

  for (const char* const name : {"there", "localhost.example", "notlocalhost", ".localhost"}) {
    INFO(name);
    co_await resolve(name, 80);
    CHECK(server.last_name == name);
    CHECK(server.last_flags == AI_ADDRCONFIG);
  }
}

TEST_CASE("lines of /etc/hosts tell which names are loopback") {
  using eddy::detail::gives_loopback;
  CHECK(gives_loopback("127.0.0.1 localhost", "localhost"));
  CHECK(gives_loopback("127.0.1.1\thost.example\thost\n", "host"));
  CHECK(gives_loopback("  ::1 \t ip6-localhost ip6-loopback # both\r\n", "IP6-Loopback"));
  CHECK(gives_loopback("127.0.0.1 AZ-host", "az-HOST"));
  CHECK(gives_loopback("127.0.0.1 az-host", "AZ-host"));
  CHECK(!gives_loopback("127.0.0.1 localhost", "local"));
  CHECK(!gives_loopback("127.0.0.1 localhost", "127.0.0.1"));
  CHECK(!gives_loopback("192.0.2.1 host", "host"));
  CHECK(!gives_loopback("127.0.0.1 other # host", "host"));
  CHECK(!gives_loopback("# 127.0.0.1 host", "host"));
  CHECK(!gives_loopback("nonsense host", "host"));
  CHECK(!gives_loopback("127.0.0.1", ""));
  CHECK(!gives_loopback("", "host"));
}

TEST_CASE("a hosts file of any length is read, and a missing file has no name") {
  const temporary_directory directory;
  const std::string path = directory / "hosts";
  {
    std::ofstream file(path);
    for (int i = 0; i < 10'000; ++i) file << "192.0.2.1 a" << i << '\n';
    file << "::1 " << std::string(100'000, 'x') << " last";
  }
  CHECK(eddy::detail::file_gives_loopback(path.c_str(), "last"));
  CHECK(!eddy::detail::file_gives_loopback(path.c_str(), "a9999"));
  CHECK(!eddy::detail::file_gives_loopback((path + "2").c_str(), "last"));
}

ASYNC_TEST("the error of a failed look-up names the name") {
  name_server server;
  server.answer = EAI_NONAME;
  std::string what;
  try {
    co_await resolve("no.example", 80);
  } catch (const std::system_error& e) {
    CHECK(e.code() == resolve_error::not_found);
    what = e.what();
  }
  CHECK(what == "resolve no.example: name not found");
}

ASYNC_TEST("each answer of getaddrinfo has its error") {
  name_server server;
  server.answer = EAI_AGAIN;
  const auto again = co_await eddy::as_result(resolve("no.example", 80));
  CHECK((again.error() == resolve_error::try_again));
  CHECK((again.error() == std::errc::resource_unavailable_try_again));
  server.answer = EAI_NODATA;
  const auto none = co_await eddy::as_result(resolve("no.example", 80));
  CHECK((none.error() == resolve_error::no_address));
  server.answer = EAI_FAIL;
  const auto failed = co_await eddy::as_result(resolve("no.example", 80));
  CHECK((failed.error() == resolve_error::failed));
  server.answer = EAI_MEMORY;
  const auto memory = co_await eddy::as_result(resolve("no.example", 80));
  CHECK((memory.error() == std::errc::not_enough_memory));
  server.answer = EAI_SYSTEM;
  const auto system = co_await eddy::as_result(resolve("no.example", 80));
  CHECK((system.error() == std::errc::too_many_files_open));
  server.answer = 0;
  const auto empty = co_await eddy::as_result(resolve("no.example", 80));
  CHECK((empty.error() == resolve_error::no_address));
}

ASYNC_TEST("a system that answers at once is asked on the loop's own thread") {
  class prompt_server : public name_server {
  public:
    bool answers_at_once() override { return true; }
    int look_up(const char* host, const addrinfo* hints, addrinfo** found) override {
      CHECK(std::this_thread::get_id() == own_thread_);
      return name_server::look_up(host, hints, found);
    }
    int service_port(const char* name) override {
      CHECK(std::this_thread::get_id() == own_thread_);
      return std::string_view(name) == "web" ? 80 : -1;
    }

  private:
    std::thread::id own_thread_ = std::this_thread::get_id();
  };
  prompt_server server;
  server.knows = {"10.0.0.1:0"};
  const addresses all = co_await resolve("some.example", "web");
  CHECK(all == addresses{*address::parse("10.0.0.1:80")});
  CHECK(server.asked == 1);
  const auto no_port = co_await eddy::as_result(resolve("some.example", "nothing"));
  CHECK((no_port.error() == resolve_error::no_service));
  server.answer = EAI_NONAME;
  const auto no_name = co_await eddy::as_result(resolve("some.example", 80));
  CHECK((no_name.error() == resolve_error::not_found));
}

ASYNC_TEST("a name with a zero in it is not found") {
  name_server server;
  server.knows = {"10.0.0.1:0"};
  const auto r = co_await eddy::as_result(resolve(std::string("a\0b", 3), 80));
  CHECK((r.error() == resolve_error::not_found));
  CHECK(server.asked == 0);
}

ASYNC_TEST("a message shows the control bytes of a name as \\xNN") {
  const name_server server;
  std::string words;
  try {
    co_await resolve(std::string("a\0b\n\x7f\x1b", 6), 80);
  } catch (const std::system_error& e) {
    words = e.what();
  }
  CHECK(words == R"(resolve a\x00b\x0a\x7f\x1b: name not found)");
}

TEST_CASE_FIXTURE(with_loop, "a resolve with a handler gives the same results") {
  name_server server;
  server.knows = {"10.0.0.1:0"};
  std::optional<result<addresses>> found;
  pending_operation p =
      resolve(loop, "host.example", 80, [&](result<addresses> r) { found = std::move(r); });
  CHECK(p.active());
  CHECK(!found);
  loop.run();
  CHECK(!p.active());
  CHECK(found->value() == addresses{*address::parse("10.0.0.1:80")});

  server.answer = EAI_NONAME;
  p = resolve(loop, "host.example", 80, [&](result<addresses> r) { found = std::move(r); });
  loop.run();
  CHECK((found->error() == resolve_error::not_found));
}

#if !SANITIZED
TEST_CASE("a look-up fails with an error if no worker thread can be started") {
  const tidy leaves_nothing;
  CHECK(holds_in_child([] {
    const name_server server;  // which only worker threads ask
    eddy::event_loop loop;
    pthread_attr_t huge;  // no machine has the memory for such a stack
    ::pthread_attr_init(&huge);
    ::pthread_attr_setstacksize(&huge, std::size_t{1} << 46);
    ::pthread_setattr_default_np(&huge);
    int told = 0;
    const pending_operation p =
        resolve(loop, "host.example", 80, [&](const result<addresses>& found) {
          told += found.error() == std::errc::resource_unavailable_try_again ? 1 : 0;
        });
    loop.run();
    struct program {
      static eddy::task<> ask(int* t) {
        const auto found = co_await eddy::as_result(resolve("host.example", 80));
        *t += found.error() == std::errc::resource_unavailable_try_again ? 1 : 0;
        try {
          co_await eddy::connect("host.example", 80);
        } catch (const std::system_error& e) {
          *t += std::string(e.what()).contains("connect to host.example:80") ? 1 : 0;
        }
      }
    };
    eddy::block_on(loop, program::ask(&told));
    return told == 3;
  }));
}
#endif

TEST_CASE_FIXTURE(with_loop, "the handler of a cancelled resolve is never called") {
  name_server server;
  server.knows = {"10.0.0.1:0"};
  int alive = 0;
  const auto start = [&] {
    return resolve(loop, "host.example", 80,
                   [c = counted(alive)](const result<addresses>&) { FAIL("it was dropped"); });
  };
  {
    const pending_operation p = start();
  }
  CHECK(alive == 0);

  pending_operation p = start();
  loop.run_ready();  // a worker has started it
  CHECK(alive == 1);
  SUBCASE("stop") { p.stop(); }
  SUBCASE("assign") { p = pending_operation(); }
  SUBCASE("destroy a moved one") { const pending_operation moved = std::move(p); }
  CHECK(alive == 0);
  loop.run();
  server.wait_for_workers();
}

TEST_CASE_FIXTURE(with_loop,
                  "an operation that is held knows when it has moved, and may end itself") {
  std::optional<pending_operation> p;
  bool called = false;
  p = resolve(loop, "1.2.3.4", 80, [&](const result<addresses>&) {
    p.reset();
    called = true;
  });
  pending_operation elsewhere = std::move(*p);
  *p = std::move(elsewhere);
  CHECK(loop.dump().contains("resolve_steps") == false);  // it has not started
  loop.run();
  CHECK(called);
}

TEST_CASE_FIXTURE(with_loop, "an exception that leaves a handler of resolve leaves run") {
  pending_operation p = resolve(loop, "1.2.3.4", 80,
                                [](const result<addresses>&) { throw std::runtime_error("mine"); });
  CHECK_THROWS_WITH_AS(loop.run(), "mine", std::runtime_error);
  CHECK(!p.active());
}

TEST_SUITE("threads") {
  TEST_CASE_FIXTURE(tidy, "a started program does not inherit the hosts file") {
    const temporary_directory directory;
    const std::string path = std::filesystem::canonical(directory.path()) / "hosts";
    REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
    bool found = false;
    std::thread reading(
        [&] { found = eddy::detail::file_gives_loopback(path.c_str(), "host.example"); });
    const int end = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
    // It reads from the other end until this end is closed.
    int ends = 0;
    int inherited = 0;
    while (ends < 2) {
      ends = inherited = 0;
      for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
        std::error_code gone;
        if (std::filesystem::read_symlink(entry.path(), gone) != path) continue;
        ++ends;
        const int flags = ::fcntl(std::stoi(entry.path().filename().string()), F_GETFD);
        if ((flags & FD_CLOEXEC) == 0) ++inherited;
      }
    }
    CHECK(inherited == 0);
    CHECK(::write(end, "127.0.0.1 host.example", 22) == 22);
    ::close(end);
    reading.join();
    CHECK(found);
  }

  TEST_CASE_FIXTURE(with_still_loop, "look-ups that hang do not block other look-ups and jobs") {
    slow_name_server server;
    std::vector<eddy::future<addresses>> hung;
    for (int i = 0; i < 20; ++i) {
      hung.push_back(eddy::spawn(loop, resolve("slow" + std::to_string(i), 80)));
    }
    while (server.begun != 16) loop.run_ready();
    auto job = eddy::spawn(loop, one());
    while (!job.ready()) loop.run_once();
    CHECK(std::move(job).take().value() == 1);

    while (!hung.empty()) hung.pop_back();  // the last four have not started
    auto quick = eddy::spawn(loop, resolve("quick", 80));
    loop.run();
    CHECK(std::move(quick).take().value().size() == 1);
    CHECK(server.begun == 16);
    CHECK(server.asked == 1);
  }

  TEST_CASE_FIXTURE(with_loop, "a dump names a look-up") {
    slow_name_server server;
    const auto hung = eddy::spawn(loop, resolve("slow", 80));
    loop.run_ready();
    CHECK(loop.dump().contains("the look-up of a name"));
    while (server.begun == 0) std::this_thread::yield();
  }
}
