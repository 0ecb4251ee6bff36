// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/net/tcp_listener.h>.
#include <eddy/net/tcp_listener.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <eddy/future/as_result.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/future/yield.h>
#include <eddy/loop/detail/block_pool.h>
#include <eddy/loop/timer.h>
#include <eddy/net/process.h>

#include "support/async_test.h"
#include "support/counted.h"
#include "support/epoll_refusal.h"
#include "support/failing_system.h"
#include "support/few_descriptors.h"
#include "support/forked.h"
#include "support/journal.h"
#include "support/stream_pair.h"

using namespace std::chrono_literals;
using eddy::address;
using eddy::result;
using eddy::tcp_listener;
using eddy::tcp_stream;

static_assert(std::is_nothrow_move_constructible_v<tcp_listener>);
static_assert(!std::is_copy_constructible_v<tcp_listener>);
static_assert(std::is_trivially_destructible_v<tcp_listener::options>);

namespace {

const address here = address::loopback_v4(0);

eddy::task<tcp_stream> accept_one(tcp_listener& listener) {
  tcp_stream s = co_await listener.accept();
  co_return s;
}

eddy::task<> accept_all(tcp_listener& listener, std::vector<tcp_stream>& accepted) {
  for (;;) {
    auto s = co_await eddy::as_result(listener.accept());
    if (!s) co_return;
    accepted.push_back(std::move(*s));
  }
}

}  // namespace

ASYNC_TEST("an accept gives a queued connection, or the next one") {
  tcp_listener listener(loop, here);
  CHECK(listener.local_address().port() != 0);
  const descriptor early(plain_connection(listener.local_address()));
  tcp_stream first = co_await listener.accept();
  CHECK(first.open());

  auto second = eddy::spawn(loop, accept_one(listener));
  co_await eddy::sleep(1ms);
  CHECK(!second.ready());
  tcp_stream late(loop, plain_connection(listener.local_address()));
  const tcp_stream accepted = co_await std::move(second);
  CHECK(accepted.peer_address() == late.local_address());
  CHECK(accepted.local_address() == listener.local_address());
}

TEST_CASE_FIXTURE(with_loop, "an accept with a handler gives one connection, later") {
  tcp_listener listener(loop, here);
  const descriptor a(plain_connection(listener.local_address()));
  const descriptor b(plain_connection(listener.local_address()));
  std::vector<tcp_stream> accepted;
  listener.accept([&](result<tcp_stream> s) { accepted.push_back(std::move(s.value())); });
  CHECK(accepted.empty());
  loop.run();
  CHECK(accepted.size() == 1);
  CHECK(listener.try_accept()->has_value());
  CHECK(!listener.try_accept());
}

TEST_CASE_FIXTURE(with_loop, "a handler may accept again or close the listener") {
  tcp_listener listener(loop, here);
  std::vector<descriptor> all;
  for (int i = 0; i < 5; ++i) all.emplace_back(plain_connection(listener.local_address()));
  int count = 0;
  std::function<void()> more = [&] {
    listener.accept([&](result<tcp_stream> s) {
      CHECK(s.has_value());
      if (++count == 5) {
        listener.close();
      } else {
        more();
      }
    });
  };
  more();
  loop.run();
  CHECK(count == 5);
}

TEST_CASE_FIXTURE(with_still_loop,
                  "an accept that is cancelled when it is ready loses no connection") {
  tcp_listener listener(loop, here);
  std::optional<eddy::future<tcp_stream>> first = eddy::spawn(loop, accept_one(listener));
  loop.run_ready();
  const tcp_stream client(loop, plain_connection(listener.local_address()));
  eddy::timer t(loop);
  t.start(0ms, [&] { first.reset(); });
  loop.run_once();
  CHECK(!first);

  auto second = eddy::spawn(loop, accept_one(listener));
  loop.run();
  CHECK(std::move(second).take().value().peer_address() == client.local_address());
}

TEST_CASE_FIXTURE(with_loop, "closing a listener cancels its accept") {
  tcp_listener listener(loop, here);
  int alive = 0;
  SUBCASE("an awaiting coroutine is resumed with operation_canceled") {
    auto accepting = eddy::spawn(loop, accept_one(listener));
    loop.run_ready();
    SUBCASE("close") { listener.close(); }
    SUBCASE("stop") { listener.stop_accepting(); }
    SUBCASE("destroy") { tcp_listener(std::move(listener)); }
    loop.run();
    const auto o = std::move(accepting).take();
    REQUIRE(!o);
    CHECK_THROWS_AS(std::rethrow_exception(o.error()), std::system_error);
  }
  SUBCASE("a handler is destroyed") {
    listener.accept([c = counted(alive)](result<tcp_stream>) { FAIL("it was dropped"); });
    CHECK(alive == 1);
    SUBCASE("close") { listener.close(); }
    SUBCASE("stop") { listener.stop_accepting(); }
    SUBCASE("destroy") { tcp_listener(std::move(listener)); }
    CHECK(alive == 0);
    loop.run();
  }
}

ASYNC_TEST("a connection that failed before it was accepted is skipped") {
  tcp_listener listener(loop, here);
  const descriptor client(plain_connection(listener.local_address()));
  for (const int error : {ECONNABORTED, EPROTO, ENETDOWN, EHOSTUNREACH, EINTR}) {
    failing_system system;
    system.fail(call::accept, error);
    const descriptor another(plain_connection(listener.local_address()));
    const tcp_stream s = co_await listener.accept();
    CHECK(s.open());
    CHECK(system.has_failed());
  }
}

ASYNC_TEST("any other error of accept is reported") {
  tcp_listener listener(loop, here);
  failing_system system;
  system.fail(call::accept, EINVAL);
  std::string what;
  try {
    co_await listener.accept();
  } catch (const std::system_error& e) {
    what = e.what();
  }
  CHECK(what == "accept at " + listener.local_address().to_string() + ": Invalid argument");
}

TEST_CASE_FIXTURE(with_loop,
                  "at the descriptor limit a listener holds, and goes on when one is free") {
  const auto hold = [this](bool by_await, bool stream_closes) {
    tcp_listener listener(loop, here);
    const tcp_stream client(loop, plain_connection(listener.local_address()));
    tcp_stream spare(loop, plain_connection(listener.local_address()));
    const tcp_stream other_end = next_of(listener);
    std::vector<descriptor> files;
    for (int i = 0; i < 9; ++i) files.emplace_back(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    failing_system system;
    few_descriptors_free limit(0);

    std::optional<eddy::future<tcp_stream>> awaiting;
    tcp_stream by_handler;
    if (by_await) {
      awaiting = eddy::spawn(loop, accept_one(listener));
    } else {
      listener.accept([&](result<tcp_stream> s) { by_handler = std::move(s.value()); });
    }
    const auto accepted = [&] { return by_handler.open() || (awaiting && awaiting->ready()); };

    // It does not spin: a fifth of a second takes few turns and few attempts.
    int turns = 0;
    eddy::timer t(loop);
    t.start(200ms, [] {});
    for (; t.active(); ++turns) loop.run_once();
    CHECK(!accepted());
    CHECK(turns < 15);
    CHECK(system.count(call::accept) < 8);

    // Eight descriptors are the reserve.
    while (files.size() > 1) files.pop_back();
    for (t.start(60ms, [] {}); t.active();) loop.run_once();
    CHECK(!accepted());

    if (stream_closes) {
      spare.close();
      loop.run_ready();
    } else {
      files.clear();
      while (!accepted()) loop.run_once();
    }
    CHECK(accepted());
    limit.end();
    CHECK(!listener.try_accept());
  };

  SUBCASE("await, and a stream is closed") { hold(true, true); }
  SUBCASE("await, and the program closes something else") { hold(true, false); }
  SUBCASE("a handler, and a stream is closed") { hold(false, true); }
  SUBCASE("a handler, and the program closes something else") { hold(false, false); }
}

TEST_CASE_FIXTURE(with_still_loop, "a listener whose connections all fail makes few attempts") {
  tcp_listener listener(loop, here);
  const descriptor client(plain_connection(listener.local_address()));
  tcp_stream other(loop, plain_connection(listener.local_address()));
  failing_system system;
  for (const int error : {EPERM, ECONNABORTED, ENETDOWN, EPROTO, EHOSTUNREACH}) {
    INFO(error);
    std::optional<eddy::future<tcp_stream>> awaiting;
    bool by_handler = false;
    SUBCASE("await") { awaiting = eddy::spawn(loop, accept_one(listener)); }
    SUBCASE("a handler") {
      listener.accept([&](const result<tcp_stream>& s) { by_handler = s.has_value(); });
    }
    system.fail(call::accept, error, 1, true);
    const std::size_t before = system.count(call::accept);
    constexpr std::size_t most = 32;
    for (std::size_t i = 0; i < 3 * most; ++i) loop.run_ready();
    CHECK(system.count(call::accept) - before == most);
    CHECK(loop.count().timers == 1);

    clock.advance(50ms - 1ns);
    for (std::size_t i = 0; i < most; ++i) loop.run_ready();
    CHECK(system.count(call::accept) - before == most);
    clock.advance(1ns);
    for (std::size_t i = 0; i < 3 * most; ++i) loop.run_ready();
    CHECK(system.count(call::accept) - before == 2 * most);

    // A good connection is accepted after the pause, and the count starts again.
    system.stop_failing(call::accept);
    const descriptor good(plain_connection(listener.local_address()));
    clock.advance(50ms);
    loop.run_ready();
    CHECK((by_handler || (awaiting && awaiting->ready())));
  }
  other.close();
}

TEST_CASE_FIXTURE(with_loop, "a few failed connections do not delay a good one") {
  tcp_listener listener(loop, here);
  const descriptor client(plain_connection(listener.local_address()));
  failing_system system;
  for (int i = 0; i < 10; ++i) {
    for (std::size_t k = 1; k < 32; ++k) {
      system.fail(call::accept, ECONNABORTED);
      CHECK(!listener.try_accept());
    }
    CHECK(listener.try_accept()->has_value());
    CHECK(loop.count().timers == 0);
    const descriptor next(plain_connection(listener.local_address()));
    if (i == 9) CHECK(listener.try_accept()->has_value());
  }
}

TEST_CASE_FIXTURE(with_loop, "only failed connections in a row count") {
  tcp_listener listener(loop, here);
  failing_system system;
  for (int i = 0; i < 10; ++i) {
    for (int k = 1; k < 32; ++k) {
      system.fail(call::accept, ECONNABORTED);
      CHECK(!listener.try_accept());
    }
    CHECK(!listener.try_accept());  // none is queued
    CHECK(loop.count().timers == 0);
  }
}

TEST_CASE_FIXTURE(with_still_loop, "a pause that ends without a pending accept does nothing") {
  tcp_listener listener(loop, here);
  const descriptor client(plain_connection(listener.local_address()));
  int accepted = 0;
  listener.accept([&](const result<tcp_stream>& s) { accepted += s.has_value() ? 1 : 0; });
  loop.run();
  CHECK(accepted == 1);
  failing_system system;
  for (int k = 1; k <= 32; ++k) {
    system.fail(call::accept, ECONNABORTED);
    CHECK(!listener.try_accept());
  }
  CHECK(loop.count().timers == 1);
  const std::size_t before = system.count(call::accept);
  clock.advance(50ms);
  while (loop.run_ready()) {
  }
  CHECK(accepted == 1);
  CHECK(system.count(call::accept) == before);
  CHECK(loop.count().waiting == 0);
}

TEST_CASE_FIXTURE(with_still_loop, "a listener pauses for every kind of shortage") {
  tcp_listener listener(loop, here);
  for (const int error : {EMFILE, ENFILE, ENOBUFS, ENOMEM}) {
    INFO(error);
    const tcp_stream client(loop, plain_connection(listener.local_address()));
    failing_system system;
    system.fail(call::accept, error);
    bool accepted = false;
    listener.accept([&](const result<tcp_stream>& s) { accepted = s.has_value(); });
    loop.run_ready();
    loop.run_ready();
    CHECK(system.has_failed());
    CHECK(!accepted);
    CHECK(loop.count().timers == 1);
    clock.advance(50ms);
    loop.run_ready();
    CHECK(accepted);
  }
}

TEST_CASE_FIXTURE(with_still_loop, "a listener leaves descriptors to the rest of the program") {
  const auto fill = [this](bool by_await) {
    tcp_listener listener(loop, here);
    std::vector<descriptor> clients;
    for (int i = 0; i < 20; ++i) clients.emplace_back(plain_connection(listener.local_address()));
    const few_descriptors_free limit(14);  // eight of which are the reserve

    std::vector<tcp_stream> accepted;
    std::optional<eddy::future<>> awaiting;
    std::function<void()> more = [&] {
      listener.accept([&](result<tcp_stream> s) {
        accepted.push_back(std::move(s.value()));
        more();
      });
    };
    if (by_await) {
      awaiting = eddy::spawn(loop, accept_all(listener, accepted));
    } else {
      more();
    }
    const auto run = [&] {
      int turns = 0;
      while (turns < 100 && loop.run_ready()) ++turns;
      CHECK(turns < 100);
    };
    run();
    CHECK(accepted.size() == 6);
    const auto open_eight = [] {
      std::vector<descriptor> files;
      for (int i = 0; i < 8; ++i) {
        const int file = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
        CHECK(file >= 0);
        files.emplace_back(file);
      }
      return files;
    };
    {
      // With these numbers it pauses, and the pause can end.
      const std::vector<descriptor> files = open_eight();
      clock.advance(50ms);
      run();
      CHECK(accepted.size() == 6);
    }
    clock.advance(50ms);
    run();
    CHECK(accepted.size() == 6);

    // The next connection gets the descriptor of a closed stream,
    accepted.erase(accepted.begin());
    run();
    CHECK(accepted.size() == 6);
    open_eight();

    // or, after the pause, of any other closed file.
    clients.pop_back();
    run();
    CHECK(accepted.size() == 6);
    clock.advance(50ms);
    run();
    CHECK(accepted.size() == 7);
    listener.stop_accepting();
    if (awaiting) loop.run();
  };
  SUBCASE("await") { fill(true); }
  SUBCASE("a handler") { fill(false); }
}

ASYNC_TEST("a process with three pipes starts with the descriptors that a listener keeps free") {
  tcp_listener listener(loop, here);
  std::vector<descriptor> clients;
  for (int i = 0; i < 10; ++i) clients.emplace_back(plain_connection(listener.local_address()));
  const few_descriptors_free limit(10);
  std::vector<tcp_stream> accepted;
  auto serving = eddy::spawn(loop, accept_all(listener, accepted));
  while (accepted.size() < 2) co_await eddy::yield();
  for (int i = 0; i < 10; ++i) co_await eddy::yield();
  CHECK(accepted.size() == 2);
  eddy::process_options how("/bin/true");
  how.input = how.output = how.error = eddy::redirection::pipe();
  eddy::process child(loop, std::move(how));
  const eddy::exit_status end = co_await child.wait();
  CHECK(end.success());
  listener.stop_accepting();
  co_await as_result(std::move(serving));
}

TEST_CASE_FIXTURE(
    with_still_loop,
    "without any stream a listener accepts one connection though few descriptors are left") {
  tcp_listener listener(loop, here);
  std::vector<descriptor> clients;
  for (int i = 0; i < 3; ++i) clients.emplace_back(plain_connection(listener.local_address()));
  const few_descriptors_free limit(2);
  std::vector<tcp_stream> accepted;
  const auto serving = eddy::spawn(loop, accept_all(listener, accepted));
  for (int i = 0; i < 3; ++i) {
    while (loop.run_ready()) {
    }
    CHECK(accepted.size() == 1);
    accepted.clear();
  }
}

TEST_CASE_FIXTURE(with_still_loop,
                  "closing a stream ends the pause of every listener of its loop") {
  tcp_listener first(loop, here);
  tcp_listener second(loop, here);
  tcp_stream client(loop, plain_connection(first.local_address()));
  const descriptor other(plain_connection(second.local_address()));
  const descriptor third(plain_connection(first.local_address()));
  std::vector<tcp_stream> accepted;  // none of which is closed meanwhile
  const auto note = [&](result<tcp_stream> s) { accepted.push_back(std::move(s.value())); };
  {
    failing_system system;
    system.fail(call::accept, ENFILE, 1, true);
    first.accept(note);
    second.accept(note);
    loop.run_ready();
    CHECK(loop.count().timers == 2);
  }
  client.close();
  loop.run_ready();
  CHECK(accepted.size() == 2);
  CHECK(loop.count().timers == 0);
}

TEST_CASE_FIXTURE(with_loop, "an accept can be cancelled during a pause") {
  tcp_listener listener(loop, here);
  const descriptor client(plain_connection(listener.local_address()));
  failing_system system;
  system.fail(call::accept, ENFILE, 1, true);
  {
    const auto accepting = eddy::spawn(loop, accept_one(listener));
    loop.run_ready();
    CHECK(loop.count().timers == 1);
  }
  CHECK(loop.count().timers == 0);

  listener.accept([](result<tcp_stream>) { FAIL("it was dropped"); });
  loop.run_ready();
  CHECK(loop.count().timers == 1);
  SUBCASE("stop") { listener.stop_accepting(); }
  SUBCASE("close") { listener.close(); }
  CHECK(loop.count().timers == 0);
  loop.run();
}

TEST_CASE_FIXTURE(with_loop, "try_accept does not start a pause") {
  tcp_listener listener(loop, here);
  const descriptor client(plain_connection(listener.local_address()));
  failing_system system;
  system.fail(call::accept, EMFILE);
  CHECK(listener.try_accept()->error() == std::errc::too_many_files_open);
  CHECK(loop.count().timers == 0);
  CHECK(listener.try_accept()->has_value());
}

TEST_CASE_FIXTURE(with_loop, "a connection for which there was no memory is accepted next") {
  using eddy::detail::failing_allocations;
  tcp_listener listener(loop, here);
  tcp_stream client(loop, plain_connection(listener.local_address()));
  SUBCASE("by try_accept") {
    {
      const failing_allocations all(0, failing_allocations::times::for_good);
      CHECK(listener.try_accept()->error() == std::errc::not_enough_memory);
    }
    CHECK(listener.try_accept()->value().peer_address() == client.local_address());
    CHECK(!listener.try_accept());
  }
  SUBCASE("by try_accept, with the lowest free number") {
    const int least = ::dup(STDERR_FILENO);
    {
      const failing_allocations all(0, failing_allocations::times::for_good);
      CHECK(listener.try_accept()->error() == std::errc::not_enough_memory);
    }
    ::close(least);
    CHECK(listener.try_accept()->value().descriptor() == least);
  }
  SUBCASE("by accept") {
    std::vector<result<tcp_stream>> accepted;
    const auto accept = [&] {
      listener.accept([&](result<tcp_stream> s) { accepted.push_back(std::move(s)); });
    };
    accept();
    accepted.reserve(2);
    {
      const failing_allocations first(0, failing_allocations::times::once);
      loop.run();
    }
    accept();
    loop.run();
    REQUIRE(accepted.size() == 2);
    CHECK(accepted[0].error() == std::errc::not_enough_memory);
    CHECK(accepted[1].value().peer_address() == client.local_address());
  }
  SUBCASE("by accept, when few descriptors are left") {
    {
      const failing_allocations all(0, failing_allocations::times::for_good);
      static_cast<void>(listener.try_accept());
    }
    {
      // From now on it checks how many are left.
      failing_system system;
      system.fail(call::accept, EMFILE);
      tcp_listener other(loop, here);
      const descriptor waits(plain_connection(other.local_address()));
      other.accept([](const result<tcp_stream>&) { FAIL("it was dropped"); });
      loop.run_ready();
      CHECK(loop.count().timers == 1);
    }
    const few_descriptors_free limit(0);
    bool accepted = false;
    listener.accept([&](const result<tcp_stream>& s) { accepted = s.has_value(); });
    loop.run_ready();
    CHECK(accepted);
  }
  SUBCASE("unless the listener is closed before") {
    {
      const failing_allocations all(0, failing_allocations::times::for_good);
      static_cast<void>(listener.try_accept());
    }
    listener.close();
    std::array<char, 1> buffer;
    std::size_t size = 1;
    client.read(buffer, [&](result<std::size_t> n) { size = n.value(); });
    loop.run();
    CHECK(size == 0);
  }
}

TEST_CASE_FIXTURE(with_loop, "an assignment closes the previous listener") {
  tcp_listener first(loop, here);
  tcp_listener second(loop, here);
  const address at = second.local_address();
  first = std::move(second);
  CHECK(tcp_listener::count() == 1);
  CHECK(!second.open());  // NOLINT(bugprone-use-after-move)
  CHECK(first.local_address() == at);
  tcp_listener& same = first;
  first = std::move(same);
  CHECK(first.open());
}

TEST_CASE_FIXTURE(with_loop, "the error for an address in use names the address") {
  const tcp_listener listener(loop, here);
  const std::string name = listener.local_address().to_string();
  CHECK_THROWS_WITH_AS(tcp_listener(loop, listener.local_address()),
                       ("listen at " + name + ": Address already in use").c_str(),
                       std::system_error);
  CHECK_THROWS_AS(tcp_listener(loop, address()), std::system_error);
  CHECK(tcp_listener::count() == 1);
}

TEST_CASE_FIXTURE(with_loop, "a new listener can use the address of a closed listener at once") {
  address where;
  {
    tcp_listener listener(loop, here);
    where = listener.local_address();
    const descriptor client(plain_connection(where));
    next_of(listener).close();  // lingers
  }
  CHECK(tcp_listener(loop, where).local_address() == where);
}

TEST_CASE_FIXTURE(with_loop, "listeners with reuse_port share an address") {
  const tcp_listener::options shared{.reuse_port = true};
  const tcp_listener first(loop, here, shared);
  const tcp_listener second(loop, first.local_address(), shared);
  CHECK(second.local_address() == first.local_address());
  CHECK_THROWS_AS(tcp_listener(loop, first.local_address()), std::system_error);
}

TEST_CASE_FIXTURE(with_loop, "an IPv6 listener accepts IPv4 connections unless ipv6_only is set") {
  tcp_listener both(loop, address::any_v6(0));
  const auto port = both.local_address().port();
  const descriptor client(plain_connection(address::loopback_v4(port)));
  CHECK(next_of(both).open());

  const tcp_listener only(loop, address::any_v6(0), {.ipv6_only = true});
  CHECK_THROWS_AS(plain_connection(address::loopback_v4(only.local_address().port())),
                  std::system_error);
  const descriptor other(plain_connection(address::loopback_v6(only.local_address().port())));
}

TEST_CASE_FIXTURE(with_loop, "a listener takes over a socket that listens already") {
  tcp_listener first(loop, here);
  tcp_listener second(loop, ::fcntl(first.descriptor(), F_DUPFD_CLOEXEC, 0));
  first.close();
  CHECK(!first.open());
  CHECK(tcp_listener::count() == 1);
  const descriptor client(plain_connection(second.local_address()));
  CHECK(next_of(second).open());
  CHECK_THROWS_AS(tcp_listener(loop, -1), std::system_error);
}

TEST_CASE_FIXTURE(with_loop,
                  "a listener that can't be taken over tells why, however its close ends") {
  CHECK(refusal_to_take_over<tcp_listener>(loop) == std::errc::operation_not_permitted);
}

TEST_CASE_FIXTURE(with_loop, "a listener for which there is no memory leaves nothing open") {
  using eddy::detail::failing_allocations;
  bool made = false;
  for (std::size_t k = 0; !made && k < 100; ++k) {
    const failing_allocations one(k, failing_allocations::times::once);
    try {
      const tcp_listener listener(loop, here);
      made = true;
    } catch (const std::bad_alloc&) {  // NOLINT(bugprone-empty-catch): it says so
    }
  }
  CHECK(made);
  CHECK(tcp_listener::count() == 0);
}

TEST_CASE_FIXTURE(with_loop, "each step of listening that fails leaves nothing open") {
  for (const call step :
       {call::socket, call::set_option, call::bind, call::listen, call::local_name}) {
    failing_system system;
    system.fail(step, EACCES);
    CHECK_THROWS_AS(tcp_listener(loop, here), std::system_error);
    CHECK(system.has_failed());
  }
  CHECK(tcp_listener::count() == 0);
}

TEST_CASE_FIXTURE(with_jumping_loop, "a thousand connections in a row leave nothing open") {
  auto serve = [](tcp_listener& l) -> eddy::task<> {
    std::array<char, 16> buffer;
    for (;;) {
      tcp_stream s = co_await l.accept();
      const std::size_t n = co_await s.read(buffer);
      co_await s.write(std::span(buffer).first(n));
    }
  };
  tcp_listener listener(loop, here);
  const auto serving = eddy::spawn(loop, serve(listener));
  for (int i = 0; i < 1000; ++i) {
    const int client = plain_connection(listener.local_address());
    REQUIRE(::write(client, "hello", 5) == 5);
    while (loop.run_ready()) {
    }
    char answer[16];
    REQUIRE(::read(client, answer, sizeof answer) == 5);
    ::close(client);
  }
  CHECK(tcp_stream::count() == 0);
  CHECK(eddy::frame_count() == 1);
}

TEST_SUITE("threads") {
  TEST_CASE_FIXTURE(tidy, "a loop that another thread ran may go on or end on this thread") {
    eddy::event_loop loop;
    std::optional<tcp_listener> listener(std::in_place, loop, here);
    tcp_stream client(loop, plain_connection(listener->local_address()));
    tcp_stream other(loop, plain_connection(listener->local_address()));
    bool accepted = false;
    listener->accept([&](const result<tcp_stream>& s) { accepted = s.has_value(); });
    std::thread([&] {
      failing_system system;
      system.fail(call::accept, EMFILE, 1, true);
      loop.run_ready();
    }).join();
    CHECK(loop.count().timers == 1);  // the listener pauses

    SUBCASE("the listener is destroyed, and then a stream is closed") {
      listener.reset();
      other.close();
      loop.run_ready();
      CHECK(!accepted);
    }
    SUBCASE("a stream is closed, which ends the pause") {
      other.close();
      loop.run_ready();
      CHECK(accepted);
    }
    CHECK(loop.count().timers == 0);
  }

  TEST_CASE_FIXTURE(tidy, "streams and listeners that another thread closes are counted") {
    eddy::event_loop loop;
    std::optional<tcp_listener> listener(std::in_place, loop, here);
    std::optional<tcp_stream> client(std::in_place, loop,
                                     plain_connection(listener->local_address()));
    std::thread([&] {
      CHECK(tcp_listener::count() == 1);
      CHECK(tcp_stream::count() == 1);
      client.reset();
      listener.reset();
    }).join();
    CHECK(tcp_listener::count() == 0);
    CHECK(tcp_stream::count() == 0);
  }
}

TEST_CASE_FIXTURE(with_loop,
                  "a listener or stream whose watch the kernel refused once still works") {
  tcp_listener listener(loop, here);
  std::error_code refused;
  std::optional<tcp_stream> stream;
  const auto take = [&](result<tcp_stream> accepted) {
    if (accepted) {
      stream = std::move(*accepted);
    } else {
      refused = accepted.error();
    }
  };
  loop.run_ready();
  {
    const epoll_refusal once(1);
    listener.accept(take);  // the listener pauses and goes on
    loop.run_ready();
  }
  const int client = plain_connection(listener.local_address());
  loop.run();
  CHECK(!refused);
  REQUIRE(stream);

  std::array<char, 4> bytes{};
  std::optional<result<std::size_t>> got;
  const auto note = [&](result<std::size_t> n) { got = n; };
  {
    const epoll_refusal once(1);
    stream->read(bytes, note);
    while (!got) loop.run_once();
    CHECK(got->error() == std::errc::not_enough_memory);
  }
  CHECK(::write(client, "four", 4) == 4);
  stream->read(bytes, note);
  loop.run();
  CHECK(*got == 4U);
  ::close(client);
}

TEST_CASE("misuse of a listener aborts the program with a sentence") {
  dies_saying("an accept is already pending on this listener (127.0.0.1:", [] {
    eddy::event_loop loop;
    tcp_listener listener(loop, here);
    listener.accept([](result<tcp_stream>) {});
    listener.accept([](result<tcp_stream>) {});
  });
  dies_saying("an accept is already pending on this listener (127.0.0.1:", [] {
    eddy::event_loop loop;
    tcp_listener listener(loop, here);
    listener.accept([](result<tcp_stream>) {});
    static_cast<void>(listener.try_accept());
  });
  dies_saying("a tcp_listener was used that is not open", [] {
    eddy::event_loop loop;
    tcp_listener listener(loop, here);
    listener.close();
    static_cast<void>(listener.local_address());
  });
}

// Shedding

namespace {

tcp_listener shedding_listener(eddy::event_loop& loop) {
  return {loop, here, {.connections_at_limit = eddy::at_limit::shed}};
}

}  // namespace

TEST_CASE_FIXTURE(with_still_loop,
                  "a shedding listener closes connections at the limit, and goes on") {
  for (const bool own_socket : {true, false}) {
    tcp_listener listener = shedding_listener(loop);
    if (!own_socket) {
      listener = tcp_listener(loop, here);
      listener.set_at_limit(eddy::at_limit::shed);
    }
    std::vector<descriptor> clients;
    for (int i = 0; i < 40; ++i) clients.emplace_back(plain_connection(listener.local_address()));
    std::vector<tcp_stream> accepted;
    std::function<void()> more = [&] {
      listener.accept([&](result<tcp_stream> s) {
        accepted.push_back(std::move(s.value()));
        more();
      });
    };
    {
      const few_descriptors_free limit(14);  // eight of which are kept free
      more();
      int turns = 0;
      while (turns < 100 && loop.run_ready()) ++turns;
      CHECK(turns < 100);
      CHECK(accepted.size() == 6);
      CHECK(listener.shed_count() == 34);
      CHECK(loop.count().timers == 0);
      std::size_t closed = 0;
      for (const descriptor& client : clients) closed += closed_by_peer(client) ? 1 : 0;
      CHECK(closed == 34);
      accepted.pop_back();  // one is free again
    }
    const descriptor last(plain_connection(listener.local_address()));
    for (int i = 0; i < 3; ++i) loop.run_ready();
    CHECK(accepted.size() == 6);
    CHECK(listener.shed_count() == 34);
    listener.stop_accepting();
  }
}

TEST_CASE_FIXTURE(with_still_loop,
                  "a shedding listener without a free descriptor uses its reserve") {
  tcp_listener listener = shedding_listener(loop);
  const tcp_stream open(loop, plain_connection(listener.local_address()));
  static_cast<void>(listener.try_accept());
  std::vector<descriptor> clients;
  for (int i = 0; i < 3; ++i) clients.emplace_back(plain_connection(listener.local_address()));
  const few_descriptors_free limit(0);
  listener.accept([](const result<tcp_stream>&) { FAIL("no descriptor is free"); });
  for (int i = 0; i < 3; ++i) loop.run_ready();
  CHECK(listener.shed_count() == 3);
  for (const descriptor& client : clients) CHECK(closed_by_peer(client));
  CHECK(loop.count().timers == 0);
  listener.stop_accepting();
}

TEST_CASE_FIXTURE(with_still_loop,
                  "a shedding listener counts each connection that a shortage costs") {
  for (const int error : {EMFILE, ENFILE}) {
    tcp_listener listener = shedding_listener(loop);
    const descriptor first(plain_connection(listener.local_address()));
    failing_system system;
    system.fail(call::accept, error);
    bool accepted = false;
    listener.accept([&](const result<tcp_stream>& s) { accepted = s.has_value(); });
    for (int i = 0; i < 3; ++i) loop.run_ready();
    CHECK(listener.shed_count() == 1);
    CHECK(closed_by_peer(first));
    CHECK_FALSE(accepted);
    const tcp_stream second(loop, plain_connection(listener.local_address()));
    for (int i = 0; i < 3; ++i) loop.run_ready();
    CHECK(accepted);
  }
}

TEST_CASE_FIXTURE(with_still_loop,
                  "a shedding listener whose reserve is lost pauses, and makes a new one") {
  tcp_listener listener = shedding_listener(loop);
  const descriptor first(plain_connection(listener.local_address()));
  const descriptor second(plain_connection(listener.local_address()));
  failing_system system;
  system.fail(call::accept, EMFILE, 1, true);
  system.fail(call::socket, EMFILE, 1, true);
  bool accepted = false;
  listener.accept([&](const result<tcp_stream>& s) { accepted = s.has_value(); });
  loop.run_ready();
  loop.run_ready();
  CHECK(listener.shed_count() == 0);
  CHECK(loop.count().timers == 1);
  system.stop_failing(call::accept);
  system.stop_failing(call::socket);
  clock.advance(50ms);
  loop.run_ready();
  CHECK(accepted);
}

TEST_CASE_FIXTURE(with_still_loop, "a shedding listener pauses for want of memory") {
  for (const int error : {ENOBUFS, ENOMEM}) {
    tcp_listener listener = shedding_listener(loop);
    const descriptor client(plain_connection(listener.local_address()));
    failing_system system;
    system.fail(call::accept, error);
    bool accepted = false;
    listener.accept([&](const result<tcp_stream>& s) { accepted = s.has_value(); });
    loop.run_ready();
    loop.run_ready();
    CHECK(listener.shed_count() == 0);
    CHECK(loop.count().timers == 1);
    clock.advance(50ms);
    loop.run_ready();
    CHECK(accepted);
  }
}

TEST_CASE_FIXTURE(with_still_loop, "each error of the accept that sheds is retried, or told") {
  /// Fails the first accept with EMFILE, and the second, which sheds, with another error.
  struct twice : failing_system {
    explicit twice(int e) : error(e) {}
    int accept(int descriptor, sockaddr* peer, socklen_t* size, int flags) override {
      const int number = ++accepts;
      if (number > 2) return failing_system::accept(descriptor, peer, size, flags);
      errno = number == 1 ? EMFILE : error;
      return -1;
    }
    int error;
    int accepts = 0;
  };
  for (const int error : {EINTR, ECONNABORTED, EPROTO, EPERM, ENETDOWN, EINVAL, EFAULT}) {
    CAPTURE(error);
    tcp_listener listener = shedding_listener(loop);
    const descriptor client(plain_connection(listener.local_address()));
    twice system(error);
    int told = 0;
    bool accepted = false;
    listener.accept([&](const result<tcp_stream>& s) {
      accepted = s.has_value();
      told = s ? 0 : s.error().value();
    });
    for (int i = 0; i < 3; ++i) loop.run_ready();
    CHECK(listener.shed_count() == 0);
    if (error == EINVAL || error == EFAULT) {
      CHECK(told == error);
    } else {
      CHECK(accepted);
    }
  }
}

TEST_CASE_FIXTURE(with_still_loop, "a listener without a descriptor for its reserve is not made") {
  failing_system system;
  system.fail(call::socket, EMFILE, 2);
  std::string words;
  try {
    static_cast<void>(shedding_listener(loop));
  } catch (const std::system_error& e) {
    words = e.what();
  }
  CHECK(words.starts_with("keep a descriptor in reserve for the listener at 127.0.0.1:"));
  CHECK(words.ends_with("Too many open files"));
}
