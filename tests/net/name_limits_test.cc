// SPDX-License-Identifier: BSD-2-Clause
// How long a look-up may take: the options of a `resolver`, and those of /etc/resolv.conf.
#include <eddy/net/detail/name_limits.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include <eddy/future/as_result.h>
#include <eddy/future/spawn.h>
#include <eddy/future/yield.h>
#include <eddy/net/detail/dns_query.h>
#include <eddy/net/resolver.h>

#include "support/async_test.h"
#include "support/name_responder.h"
#include "support/name_server.h"
#include "support/scoped_variable.h"
#include "support/temporary_directory.h"

using namespace std::chrono_literals;
using eddy::resolver;
using eddy::resolver_options;
using eddy::task;
using eddy::detail::name_limits;

// The tests of c-ares are skipped without it.
#define DNS_TEST(name) ASYNC_TEST(name* doctest::skip(!eddy::detail::dns_available()))

namespace {

/// A silent name server for IPv4 alone. It notes the first time limit that c-ares sets.
class silent_server : public name_responder {
public:
  silent_server() { both = {true, false}; }
  int set_timer(int descriptor, std::chrono::nanoseconds left) override {
    if (first_limit == 0ns) first_limit = left;
    return name_responder::set_timer(descriptor, left);
  }
  std::chrono::nanoseconds first_limit{0};
};

/// How long c-ares waits for the first answer, to the next second.
task<std::chrono::seconds> first_limit(eddy::event_loop& loop, resolver_options how) {
  silent_server server;
  how.servers = {server.where()};
  resolver names(loop, how);
  const auto asking = eddy::spawn(names.resolve("host.example", 80));
  while (server.first_limit == 0ns) co_await eddy::yield();
  co_return std::chrono::round<std::chrono::seconds>(server.first_limit);
}

/// How often c-ares asks a name server that cannot be reached.
task<std::size_t> attempts(eddy::event_loop& loop, resolver_options how) {
  silent_server server;
  how.servers = {server.where()};
  resolver names(loop, how);
  server.fail(call::connect, ENETUNREACH, 1, true);
  const auto failed = co_await eddy::as_result(names.resolve("host.example", 80));
  CHECK(!failed);
  co_return server.count(call::connect);
}

task<> check_limits(eddy::event_loop& loop, resolver_options how, std::chrono::seconds limit,
                    std::size_t tries) {
  const std::chrono::seconds its_limit = co_await first_limit(loop, how);
  CHECK(its_limit == limit);
  const std::size_t its_tries = co_await attempts(loop, how);
  CHECK(its_tries == tries);
}

}  // namespace

TEST_CASE("the options timeout and attempts of resolv.conf are read, and the last ones count") {
  const auto read = [](std::string_view words) {
    name_limits all;
    all.read(words);
    return all;
  };
  CHECK(read("").timeout == 5s);
  CHECK(read("").tries == 0);
  const name_limits both = read(" rotate\ttimeout:3 ndots:2 attempts:4\n");
  CHECK(both.timeout == 3s);
  CHECK(both.tries == 4);
  CHECK(read("timeout:3 timeout:7").timeout == 7s);
  CHECK(read("attempts:3 attempts:1").tries == 1);
  // The bounds of resolv.conf(5); a server has a second at least.
  CHECK(read("timeout:31").timeout == 30s);
  CHECK(read("timeout:0").timeout == 1s);
  CHECK(read("timeout:-4").timeout == 1s);
  CHECK(read("attempts:6").tries == 5);
  CHECK(read("attempts:0").tries == 1);
  for (const char* const wrong : {"timeout:", "timeout:x", "timeout:3s", "timeout 3", "Timeout:3",
                                  "timeout:99999999999999999999", "xtimeout:3"}) {
    INFO(wrong);
    CHECK(read(wrong).timeout == 5s);
  }
}

TEST_CASE("the lines of resolv.conf that begin with `options` are read, and then a variable") {
  const temporary_directory directory;
  const std::string path = directory / "resolv.conf";
  std::ofstream(path) << "# options timeout:9\nnameserver 192.0.2.1\noptions timeout:2 rotate\n"
                         ";options timeout:9\nxoptions timeout:9\nsearch options timeout:9\n"
                         "options attempts:3 # attempts:5\n";
  const name_limits of_file = eddy::detail::limits_in(path.c_str(), nullptr);
  CHECK(of_file.timeout == 2s);
  CHECK(of_file.tries == 3);
  const name_limits of_both = eddy::detail::limits_in(path.c_str(), "timeout:8");
  CHECK(of_both.timeout == 8s);
  CHECK(of_both.tries == 3);
  const name_limits of_none = eddy::detail::limits_in((path + "2").c_str(), nullptr);
  CHECK(of_none.timeout == 5s);
  CHECK(of_none.tries == 0);
}

DNS_TEST("without a timeout and tries, a resolver takes those of the system") {
  const scoped_variable system("RES_OPTIONS", "timeout:3 attempts:2");
  resolver_options how;
  co_await check_limits(loop, how, 3s, 2);
  how.timeout = std::chrono::milliseconds::min();
  how.tries = -1;
  co_await check_limits(loop, how, 3s, 2);
  how.timeout = 7s;
  how.tries = 1;
  co_await check_limits(loop, how, 7s, 1);
}

DNS_TEST("the search domains and their options are those of the system") {
  const scoped_variable domains("LOCALDOMAIN", "one.example two.example");
  const scoped_variable system("RES_OPTIONS", "ndots:2");
  silent_server server;
  server.answer = [](const dns_question& q) {
    return std::vector<std::string>{q.name == "a.b" ? q.with({"192.0.2.1"}) : q.error(3)};
  };
  resolver_options how;
  how.servers = {server.where()};
  resolver names(loop, how);
  co_await names.resolve("a.b", 80);
  CHECK(server.log == std::vector<std::string>{"A a.b.one.example", "A a.b.two.example", "A a.b"});
}

TEST_SUITE("threads") {
  DNS_TEST("a look-up by getaddrinfo ends after the timeout times the tries of its resolver") {
    slow_name_server server;
    resolver_options how;
    how.timeout = 20ms;
    how.tries = 3;
    resolver names(loop, how);
    const auto begun = std::chrono::steady_clock::now();
    const auto virtually = clock.now();
    std::string words;
    try {
      co_await names.resolve("slow.example", 80);
    } catch (const std::system_error& e) {
      CHECK(e.code() == eddy::resolve_error::try_again);
      words = e.what();
    }
    CHECK(words == "resolve slow.example: no name server gave an answer; try again later");
    CHECK(std::chrono::steady_clock::now() - begun >= 60ms);
    CHECK(clock.now() == virtually);
    CHECK(server.begun == 1);
    const auto connected = co_await eddy::as_result(names.connect("slow.example", 80));
    CHECK((connected.error() == eddy::resolve_error::try_again));
  }

  DNS_TEST("the limit of getaddrinfo is that of the system where the resolver has none") {
    const scoped_variable system("RES_OPTIONS", "timeout:3 attempts:5");
    struct noting : name_server {
      int set_timer(int descriptor, std::chrono::nanoseconds left) override {
        limit = left;
        return name_server::set_timer(descriptor, left);
      }
      std::chrono::nanoseconds limit{0};
    };
    noting server;
    server.knows = {"192.0.2.1:0"};
    const auto limit = [&](std::chrono::milliseconds timeout, int tries) {
      resolver_options how;
      how.timeout = timeout;
      how.tries = tries;
      return resolver(loop, how);
    };
    resolver both = limit(0ms, 0);
    co_await both.resolve("host.example", 80);
    CHECK(server.limit == 0ns);  // getaddrinfo knows the options of the system
    resolver tries = limit(0ms, 4);
    co_await tries.resolve("host.example", 80);
    CHECK(server.limit == 12s);
    resolver timeout = limit(700ms, 0);
    co_await timeout.resolve("host.example", 80);
    CHECK(server.limit == 3500ms);
    server.fail(call::open_timer, EMFILE);
    const auto failed = co_await eddy::as_result(timeout.resolve("host.example", 80));
    CHECK((failed.error() == std::errc::too_many_files_open));
  }
}
