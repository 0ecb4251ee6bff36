// SPDX-License-Identifier: BSD-2-Clause
// A connect to a name with several addresses: Happy Eyeballs version 2 (RFC 8305).
#include <array>
#include <cerrno>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <sys/socket.h>

#include <eddy/future/as_result.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/future/timeout.h>
#include <eddy/future/yield.h>
#include <eddy/net/connect.h>
#include <eddy/net/detail/connect_race.h>
#include <eddy/net/pending_operation.h>
#include <eddy/net/tcp_listener.h>

#include "support/async_test.h"
#include "support/counted.h"
#include "support/error_words.h"
#include "support/every_point.h"
#include "support/planned_hosts.h"

using namespace std::chrono_literals;
using eddy::address;
using eddy::connect;
using eddy::pending_operation;
using eddy::result;
using eddy::task;
using eddy::tcp_stream;
using eddy::trial;

namespace {

constexpr std::uint16_t port = 80;

/// The text of the error with which a connect fails.
task<std::string> words_of_connect(eddy::socket_options how = {}) {
  auto connecting = connect("host.example", port, how);
  std::string words;
  try {
    co_await std::move(connecting);
  } catch (const std::system_error& e) {
    words = e.what();
  }
  co_return words;
}

}  // namespace

ASYNC_TEST("a black-holed IPv6 costs a connect 250 ms, and then IPv4 wins") {
  planned_hosts hosts(clock);
  hosts.add("2001:db8::1");
  hosts.add("192.0.2.1");
  hosts.accepts("192.0.2.1");
  const std::size_t before = open_descriptors();
  const auto begun = clock.now();
  const tcp_stream s = co_await connect("host.example", port);
  CHECK(s.peer_address() == *address::parse("192.0.2.1:80"));
  CHECK(clock.now() - begun == 250ms);
  CHECK(hosts.connects == "2001:db8::1 at 0, 192.0.2.1 at 250");
  CHECK(tcp_stream::count() == 1);
  // The stream, the far end of its pair, and that of the closed attempt.
  CHECK(open_descriptors() == before + 3);
}

ASYNC_TEST("an IPv6 that accepts is connected at once, and IPv4 is not tried") {
  planned_hosts hosts(clock);
  hosts.add("2001:db8::1");
  hosts.add("192.0.2.1");
  hosts.accepts("2001:db8::1");
  const tcp_stream s = co_await connect("host.example", port);
  CHECK(s.peer_address().is_v6());
  CHECK(hosts.connects == "2001:db8::1 at 0");
}

ASYNC_TEST("the families take turns, from the family of the first address on") {
  for (const bool v6_first : {true, false}) {
    planned_hosts hosts(clock);
    const std::array<const char*, 3> v6{"2001:db8::1", "2001:db8::2", "2001:db8::3"};
    const std::array<const char*, 2> v4{"192.0.2.1", "192.0.2.2"};
    if (!v6_first) {
      for (const char* const a : v4) hosts.add(a, ECONNREFUSED);
    }
    for (const char* const a : v6) hosts.add(a, ECONNREFUSED);
    if (v6_first) {
      for (const char* const a : v4) hosts.add(a, ECONNREFUSED);
    }
    co_await words_of_connect();
    CHECK(hosts.connects == (v6_first ? "2001:db8::1 at 0, 192.0.2.1 at 0, 2001:db8::2 at 0, "
                                        "192.0.2.2 at 0, 2001:db8::3 at 0"
                                      : "192.0.2.1 at 0, 2001:db8::1 at 0, 192.0.2.2 at 0, "
                                        "2001:db8::2 at 0, 2001:db8::3 at 0"));
  }
}

ASYNC_TEST("if all addresses refuse, the error names each in the order of the attempts") {
  planned_hosts hosts(clock);
  hosts.add("2001:db8::1", ENETUNREACH);
  hosts.add("192.0.2.1", ECONNREFUSED);
  hosts.add("192.0.2.2", EHOSTUNREACH);
  const auto begun = clock.now();
  const std::string words = co_await words_of_connect();
  CHECK(words ==
        "connect to host.example:80, tried [2001:db8::1]:80 (Network is unreachable), "
        "192.0.2.1:80 (Connection refused), 192.0.2.2:80: No route to host");
  CHECK(clock.now() == begun);
}

ASYNC_TEST("the error of a connect to a name names an option that was refused") {
  planned_hosts hosts(clock);
  hosts.add("192.0.2.1");
  hosts.add("192.0.2.2", ECONNREFUSED);
  hosts.fail(call::set_option, EPERM);
  const std::string words = co_await words_of_connect({.reuse_port = true});
  CHECK(words ==
        "connect to host.example:80, tried 192.0.2.1:80, option reuse_port (Operation not "
        "permitted), 192.0.2.2:80: Connection refused");
}

ASYNC_TEST("an attempt that fails starts the next one at once, though the first one hangs") {
  planned_hosts hosts(clock);
  hosts.add("2001:db8::1");
  hosts.add("192.0.2.1", ECONNREFUSED);
  hosts.add("2001:db8::2", EHOSTUNREACH);
  hosts.add("192.0.2.2");
  hosts.accepts("192.0.2.2");
  const tcp_stream s = co_await connect("host.example", port);
  CHECK(s.peer_address() == *address::parse("192.0.2.2:80"));
  CHECK(hosts.connects ==
        "2001:db8::1 at 0, 192.0.2.1 at 250, 2001:db8::2 at 250, 192.0.2.2 at 250");
}

ASYNC_TEST("the first attempt may win while later ones are under way") {
  planned_hosts hosts(clock);
  for (const char* const a : {"2001:db8::1", "192.0.2.1", "192.0.2.2"}) hosts.add(a);
  auto connecting = eddy::spawn(connect("host.example", port));
  const auto begun = clock.now();
  while (!hosts.connecting("192.0.2.2")) co_await eddy::sleep(50ms);
  CHECK(clock.now() - begun >= 500ms);
  CHECK(loop.dump().contains("connect to host.example:80, trying [2001:db8::1]:80 (descriptor "));
  CHECK(tcp_stream::count() == 3);
  hosts.establish("2001:db8::1");
  const tcp_stream s = co_await std::move(connecting);
  CHECK(s.peer_address().is_v6());
  CHECK(tcp_stream::count() == 1);
}

ASYNC_TEST("an attempt that fails late leaves the others under way") {
  planned_hosts hosts(clock);
  for (const char* const a : {"192.0.2.1", "192.0.2.2", "192.0.2.3"}) hosts.add(a);
  auto connecting = eddy::spawn(connect("host.example", port));
  while (!hosts.connecting("192.0.2.2")) co_await eddy::sleep(50ms);
  hosts.refuse("192.0.2.1", ECONNRESET);
  while (!hosts.connecting("192.0.2.3")) co_await eddy::yield();
  CHECK(hosts.connects == "192.0.2.1 at 0, 192.0.2.2 at 250, 192.0.2.3 at 300");
  hosts.refuse("192.0.2.3", ETIMEDOUT);
  hosts.refuse("192.0.2.2", ECONNREFUSED);
  std::string words;
  try {
    co_await std::move(connecting);
  } catch (const std::system_error& e) {
    words = e.what();
  }
  CHECK(words ==
        "connect to host.example:80, tried 192.0.2.1:80 (Connection reset by peer), 192.0.2.2:80 "
        "(Connection refused), 192.0.2.3:80: Connection timed out");
}

ASYNC_TEST("of two attempts that complete together, one is given and the other is closed") {
  planned_hosts hosts(clock);
  hosts.add("192.0.2.1");
  hosts.add("192.0.2.2");
  auto connecting = eddy::spawn(connect("host.example", port));
  while (!hosts.connecting("192.0.2.2")) co_await eddy::sleep(50ms);
  hosts.establish("192.0.2.1");
  hosts.establish("192.0.2.2");
  const tcp_stream s = co_await std::move(connecting);
  CHECK(s.open());
  CHECK(tcp_stream::count() == 1);
}

ASYNC_TEST("each address has a limit of its own, if the options have one") {
  planned_hosts hosts(clock);
  for (const char* const a : {"192.0.2.1", "192.0.2.2"}) hosts.add(a);
  const auto begun = clock.now();
  const std::string words =
      co_await words_of_connect({.address_limit = 100ms, .attempt_delay = 1s});
  CHECK(hosts.connects == "192.0.2.1 at 0, 192.0.2.2 at 100");
  CHECK(clock.now() - begun == 200ms);
  CHECK(words ==
        "connect to host.example:80, tried 192.0.2.1:80 (Connection timed out), 192.0.2.2:80: "
        "Connection timed out");
}

ASYNC_TEST("a limit of zero or less fails each address that does not connect at once") {
  for (const auto limit : {0ms, -1ms, std::chrono::milliseconds::min()}) {
    planned_hosts hosts(clock);
    for (const char* const a : {"192.0.2.1", "2001:db8::1", "192.0.2.2"}) hosts.add(a);
    const auto begun = clock.now();
    const std::string words = co_await words_of_connect({.address_limit = limit});
    CHECK(hosts.connects == "192.0.2.1 at 0, 2001:db8::1 at 0, 192.0.2.2 at 0");
    CHECK(words.ends_with(", 192.0.2.2:80: Connection timed out"));
    const auto r = co_await eddy::as_result(
        connect(*address::parse("192.0.2.1:80"), {.address_limit = limit}));
    REQUIRE(!r);
    CHECK(r.error() == std::errc::timed_out);
    CHECK(clock.now() - begun < 1ms);
    // A connection that has been made counts.
    hosts.accepts("192.0.2.2");
    const tcp_stream by_name = co_await connect("host.example", port, {.address_limit = limit});
    CHECK(by_name.open());
    const tcp_stream by_address =
        co_await connect(*address::parse("192.0.2.2:80"), {.address_limit = limit});
    CHECK(by_address.open());
  }
}

ASYNC_TEST("the longest limit and the longest delay are as none") {
  constexpr auto longest = std::chrono::milliseconds::max();
  planned_hosts hosts(clock);
  hosts.add("192.0.2.1");
  hosts.add("192.0.2.2");
  const auto slow = co_await eddy::as_result(eddy::timeout(
      1h, connect("host.example", port, {.address_limit = longest, .attempt_delay = longest})));
  REQUIRE(!slow);
  CHECK(slow.error() == std::errc::timed_out);
  CHECK(hosts.connects == "192.0.2.1 at 0");
  const auto one = co_await eddy::as_result(
      eddy::timeout(1h, connect(*address::parse("192.0.2.1:80"), {.address_limit = longest})));
  REQUIRE(!one);
  CHECK(one.error() == std::errc::timed_out);
}

ASYNC_TEST("a connect to an address has the limit of the options, too") {
  planned_hosts hosts(clock);
  hosts.add("192.0.2.1");
  const auto begun = clock.now();
  const auto r =
      co_await eddy::as_result(connect(*address::parse("192.0.2.1:80"), {.address_limit = 100ms}));
  REQUIRE(!r);
  CHECK(r.error() == std::errc::timed_out);
  CHECK(clock.now() - begun == 100ms);
  CHECK(tcp_stream::count() == 0);
}

ASYNC_TEST("the delay between attempts is an option, and at least 10 ms") {
  for (const auto& [delay, log] :
       {std::pair(1000ms, "192.0.2.1 at 0, 192.0.2.2 at 1000"),
        std::pair(10ms, "192.0.2.1 at 0, 192.0.2.2 at 10"),
        std::pair(0ms, "192.0.2.1 at 0, 192.0.2.2 at 10"),
        std::pair(std::chrono::milliseconds::min(), "192.0.2.1 at 0, 192.0.2.2 at 10")}) {
    planned_hosts hosts(clock);
    hosts.add("192.0.2.1");
    hosts.add("192.0.2.2");
    hosts.accepts("192.0.2.2");
    const eddy::socket_options how{.attempt_delay = delay};
    const tcp_stream s = co_await connect("host.example", port, how);
    CHECK(hosts.connects == log);
  }
}

ASYNC_TEST("an attempt that meets itself counts as refused, and the next one is tried") {
  class same_port : public name_server {
  public:
    int connect(int descriptor, const sockaddr* to, socklen_t size) override {
      if (count(call::connect) == 0) CHECK(system::bind(descriptor, to, size) == 0);
      return name_server::connect(descriptor, to, size);
    }
  };
  std::uint16_t free_port = 0;
  {
    const eddy::tcp_listener gone(loop, address::loopback_v4(0));
    free_port = gone.local_address().port();
  }
  const eddy::tcp_listener listener(loop, *address::parse("127.0.0.2", free_port));
  same_port server;
  server.knows = {"127.0.0.1:0", "127.0.0.2:0"};
  const tcp_stream s = co_await connect("host.example", free_port);
  CHECK(s.peer_address() == listener.local_address());
  CHECK(server.count(call::connect) == 2);
}

TEST_CASE_FIXTURE(with_still_loop, "a connection that was made in time wins over a late limit") {
  planned_hosts hosts(clock);
  hosts.add("192.0.2.1");
  std::optional<result<tcp_stream>> got;
  const pending_operation p = connect(loop, "host.example", port, {.address_limit = 1s},
                                      [&](result<tcp_stream> s) { got = std::move(s); });
  while (!hosts.connecting("192.0.2.1")) loop.run_once();
  hosts.establish("192.0.2.1");
  clock.advance(1min);  // as after a SIGSTOP: the limit's timer runs before the descriptor's watch
  while (!got) loop.run_once();
  CHECK(got->has_value());
}

TEST_CASE_FIXTURE(with_jumping_loop, "a cancelled connect to a name closes all of its sockets") {
  planned_hosts hosts(clock);
  for (const char* const a : {"2001:db8::1", "192.0.2.1", "192.0.2.2"}) hosts.add(a);
  const auto under_way = [&] {
    while (tcp_stream::count() < 2) loop.run_once();
    CHECK(tcp_stream::count() == 2);
  };
  SUBCASE("awaited") {
    const auto connecting = eddy::spawn(loop, connect("host.example", port));
    under_way();
  }
  SUBCASE("with a handler") {
    int alive = 0;
    {
      const pending_operation p =
          connect(loop, "host.example", port,
                  [c = counted(alive)](const result<tcp_stream>&) { FAIL("it was dropped"); });
      under_way();
      CHECK(p.active());
    }
    CHECK(alive == 0);
  }
  SUBCASE("by a limit for the whole") {
    auto limited = eddy::spawn(loop, eddy::timeout(300ms, connect("host.example", port)));
    while (!limited.ready()) loop.run_once();
    CHECK(words_of(std::move(limited).take().error()).contains("connect to host.example:80"));
  }
  CHECK(tcp_stream::count() == 0);
}

TEST_CASE_FIXTURE(with_jumping_loop, "a connect to a name with a handler races the families, too") {
  planned_hosts hosts(clock);
  hosts.add("2001:db8::1");
  hosts.add("192.0.2.1");
  hosts.accepts("192.0.2.1");
  std::optional<result<tcp_stream>> got;
  const pending_operation p =
      connect(loop, "host.example", port, [&](result<tcp_stream> s) { got = std::move(s); });
  while (!got) loop.run_once();
  CHECK(got->value().peer_address().is_v4());
  CHECK(tcp_stream::count() == 1);
}

ASYNC_TEST("500 silent addresses are all tried, and the last one may win") {
  planned_hosts hosts(clock);
  for (int i = 0; i < 500; ++i)
    hosts.add("10.0." + std::to_string(i / 250) + '.' + std::to_string(i % 250 + 1));
  hosts.accepts("10.0.1.250");
  const auto begun = clock.now();
  const eddy::socket_options how{.address_limit = 1s};  // so at most four are under way
  const tcp_stream s = co_await connect("host.example", port, how);
  CHECK(s.peer_address().host() == "10.0.1.250");
  CHECK(clock.now() - begun == 499 * 250ms);
}

TEST_CASE_FIXTURE(with_jumping_loop,
                  "a connect to a name gives a stream or an error, whichever system call fails") {
  const std::size_t frames = eddy::frame_count();
  struct fault {
    call kind;
    std::vector<int> errors;
  };
  const std::array faults{
      fault{call::socket, {EACCES, EAFNOSUPPORT, EINVAL, EMFILE, ENFILE, ENOBUFS, ENOMEM}},
      fault{call::set_option, {EBADF, EDOM, EINVAL, EISCONN, ENOMEM, ENOPROTOOPT, EPERM}},
      fault{call::connect,
            {EACCES, EPERM, EADDRINUSE, EADDRNOTAVAIL, EAFNOSUPPORT, EAGAIN, EALREADY, ECONNREFUSED,
             ENETUNREACH, EPROTOTYPE, ETIMEDOUT, ENOBUFS}},
      fault{call::get_option, {EBADF, EFAULT, EINVAL, ENOPROTOOPT, ENOBUFS}},
      fault{call::local_name, {EBADF, EFAULT, ENOBUFS}},
      fault{call::peer_name, {ENOTCONN, ENOBUFS}},
      fault{call::close, {EIO, EINTR, ENOSPC}},
  };
  std::size_t injected = 0;
  for (const auto& [kind, errors] : faults) {
    for (const int error : errors) {
      for (std::size_t k = 1;; ++k) {
        INFO("call ", k, " of kind ", static_cast<int>(kind), " fails with ", error);
        planned_hosts hosts(clock);
        hosts.add("2001:db8::1");
        hosts.add("192.0.2.1", EHOSTUNREACH);
        hosts.add("192.0.2.2");
        hosts.add("192.0.2.3");
        hosts.accepts("192.0.2.3");
        hosts.fail(kind, error, k);
        bool given = false;
        {
          auto connecting = eddy::spawn(
              loop, connect("host.example", port, {.reuse_port = true, .address_limit = 2min}));
          while (!connecting.ready()) loop.run_once();
          given = std::move(connecting).take().has_value();
        }
        CHECK(tcp_stream::count() == 0);
        CHECK(eddy::frame_count() == frames);
        // One fault costs one address. Only that of the last one costs the connection: it is the
        // only one whose connect completes, and for which SO_ERROR is read.
        if (!hosts.has_failed() || (k == 1 && kind != call::get_option)) CHECK(given);
        if (!hosts.has_failed()) break;
        ++injected;
        REQUIRE(k < 50);
      }
    }
  }
  MESSAGE(injected, " faults were injected and survived");
}

namespace {

/// A race of three addresses: one hangs, one refuses, and one accepts late.
struct races {
  explicit races(trial& t) : of(t), hosts(t.clock()) {
    hosts.add("2001:db8::1");
    hosts.add("192.0.2.1", ECONNREFUSED);
    hosts.add("192.0.2.2");
    hosts.accepts("192.0.2.2");
  }
  task<> work() {
    const trial::part held(of);
    eddy::detail::wake_up happened;
    eddy::detail::connect_race race(of.loop(), happened, "connect to host.example:80", how);
    const std::vector<address> first = {*address::parse("[2001:db8::1]:80")};
    const std::vector<address> later = {*address::parse("192.0.2.1:80"),
                                        *address::parse("192.0.2.2:80")};
    race.add(first);
    bool added = false;
    while (!race.over()) {
      race.go_on();
      if (!added) {
        co_await eddy::sleep(100ms);
        race.add(later);
        race.end_of_addresses();
        added = true;
      }
      co_await race.wait();
    }
    const eddy::detail::stream_socket winner = race.take_winner();
    const bool won = winner.get() != nullptr;  // CHECK allocates memory for a pointer
    CHECK(won);
    const bool alone = tcp_stream::count() == 1;  // before the race is destroyed
    CHECK(alone);
  }

  trial& of;
  planned_hosts hosts;
  eddy::socket_options how{.address_limit = 10s};
};

}  // namespace

TEST_CASE("connect: a race, ended at every point") {
  check_report(eddy::every_point<races>());
  check_report(eddy::every_point<races>(1));
}
