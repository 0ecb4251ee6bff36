// SPDX-License-Identifier: BSD-2-Clause
// eddy/net/tcp_listener.h
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
#include <sys/resource.h>
#include <unistd.h>

#include <eddy/future/as_result.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/loop/detail/recycler.h>
#include <eddy/loop/timer.h>

#include "support/async_test.h"
#include "support/counted.h"
#include "support/failing_system.h"
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

/// A descriptor that is closed at the end.
class descriptor {
public:
  explicit descriptor(int number) : number_(number) {}
  descriptor(descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  descriptor& operator=(descriptor&&) = delete;
  ~descriptor() { close(); }
  void close() {
    if (number_ >= 0) ::close(std::exchange(number_, -1));
  }

private:
  int number_;
};

/// Lets this process open no more descriptors than it has now.
class no_descriptor_free {
public:
  no_descriptor_free() {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    const int next = ::fcntl(0, F_DUPFD_CLOEXEC, 0);
    ::close(next);
    // Below this one all are in use.
    const rlimit now{.rlim_cur = static_cast<rlim_t>(next), .rlim_max = before_.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &now);
  }
  no_descriptor_free(const no_descriptor_free&) = delete;
  no_descriptor_free& operator=(const no_descriptor_free&) = delete;
  ~no_descriptor_free() { end(); }
  void end() { ::setrlimit(RLIMIT_NOFILE, &before_); }

private:
  rlimit before_{};
};

}  // namespace

ASYNC_TEST("an accept gives a connection that waits, or the next that comes") {
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

TEST_CASE_FIXTURE(with_loop, "a handler accepts one connection, later") {
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

TEST_CASE_FIXTURE(with_loop, "a handler may accept the next, or close the listener") {
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

TEST_CASE_FIXTURE(with_still_loop, "an accept dropped when it is ready loses no connection") {
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

TEST_CASE_FIXTURE(with_loop, "closing ends an accept") {
  tcp_listener listener(loop, here);
  int alive = 0;
  SUBCASE("of a coroutine with operation_canceled") {
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
  SUBCASE("of a handler, which is dropped") {
    listener.accept([c = counted(alive)](result<tcp_stream>) { FAIL("it was dropped"); });
    CHECK(alive == 1);
    SUBCASE("close") { listener.close(); }
    SUBCASE("stop") { listener.stop_accepting(); }
    SUBCASE("destroy") { tcp_listener(std::move(listener)); }
    CHECK(alive == 0);
    loop.run();
  }
}

ASYNC_TEST("a connection that failed before it was accepted is passed over") {
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

ASYNC_TEST("any other error of accept is told") {
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
    descriptor file(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    failing_system system;
    no_descriptor_free limit;

    std::optional<eddy::future<tcp_stream>> awaiting;
    tcp_stream by_handler;
    if (by_await) {
      awaiting = eddy::spawn(loop, accept_one(listener));
    } else {
      listener.accept([&](result<tcp_stream> s) { by_handler = std::move(s.value()); });
    }
    const auto accepted = [&] { return by_handler.open() || (awaiting && awaiting->ready()); };

    // It does not spin: a few turns and a few tries in a fifth of a second.
    int turns = 0;
    eddy::timer t(loop);
    t.start(200ms, [] {});
    for (; t.active(); ++turns) loop.run_once();
    CHECK(!accepted());
    CHECK(turns < 15);
    CHECK(system.count(call::accept) >= 3);
    CHECK(system.count(call::accept) < 8);

    if (stream_closes) {
      spare.close();
      loop.run_ready();
    } else {
      file.close();
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

TEST_CASE_FIXTURE(with_loop, "an accept that holds can be dropped") {
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

TEST_CASE_FIXTURE(with_loop, "a try to accept does not hold") {
  tcp_listener listener(loop, here);
  const descriptor client(plain_connection(listener.local_address()));
  failing_system system;
  system.fail(call::accept, EMFILE);
  CHECK(listener.try_accept()->error() == std::errc::too_many_files_open);
  CHECK(loop.count().timers == 0);
  CHECK(listener.try_accept()->has_value());
}

TEST_CASE_FIXTURE(with_loop, "a connection for which there was no memory is the next one") {
  using eddy::detail::failing_allocations;
  tcp_listener listener(loop, here);
  tcp_stream client(loop, plain_connection(listener.local_address()));
  SUBCASE("of a try") {
    {
      const failing_allocations all(0, failing_allocations::times::for_good);
      CHECK(listener.try_accept()->error() == std::errc::not_enough_memory);
    }
    CHECK(listener.try_accept()->value().peer_address() == client.local_address());
    CHECK(!listener.try_accept());
  }
  SUBCASE("of an accept") {
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
  SUBCASE("and is closed with the listener") {
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

TEST_CASE_FIXTURE(with_loop, "an address that is taken is an error that names it") {
  const tcp_listener listener(loop, here);
  const std::string name = listener.local_address().to_string();
  CHECK_THROWS_WITH_AS(tcp_listener(loop, listener.local_address()),
                       ("listen at " + name + ": Address already in use").c_str(),
                       std::system_error);
  CHECK_THROWS_AS(tcp_listener(loop, address()), std::system_error);
  CHECK(tcp_listener::count() == 1);
}

TEST_CASE_FIXTURE(with_loop, "an address can be listened at again at once") {
  address where;
  {
    tcp_listener listener(loop, here);
    where = listener.local_address();
    const descriptor client(plain_connection(where));
    next_of(listener).close();  // lingers
  }
  CHECK(tcp_listener(loop, where).local_address() == where);
}

TEST_CASE_FIXTURE(with_loop, "listeners may share an address if all want to") {
  const tcp_listener::options shared{.reuse_port = true};
  const tcp_listener first(loop, here, shared);
  const tcp_listener second(loop, first.local_address(), shared);
  CHECK(second.local_address() == first.local_address());
  CHECK_THROWS_AS(tcp_listener(loop, first.local_address()), std::system_error);
}

TEST_CASE_FIXTURE(with_loop, "IPv6 takes IPv4 connections along unless it is told not to") {
  tcp_listener both(loop, address::any_v6(0));
  const auto port = both.local_address().port();
  const descriptor client(plain_connection(address::loopback_v4(port)));
  CHECK(next_of(both).open());

  const tcp_listener only(loop, address::any_v6(0), {.ipv6_only = true});
  CHECK_THROWS_AS(plain_connection(address::loopback_v4(only.local_address().port())),
                  std::system_error);
  const descriptor other(plain_connection(address::loopback_v6(only.local_address().port())));
}

TEST_CASE_FIXTURE(with_loop, "a socket that listens already can be taken over") {
  tcp_listener first(loop, here);
  tcp_listener second(loop, ::fcntl(first.descriptor(), F_DUPFD_CLOEXEC, 0));
  first.close();
  CHECK(!first.open());
  CHECK(tcp_listener::count() == 1);
  const descriptor client(plain_connection(second.local_address()));
  CHECK(next_of(second).open());
  CHECK_THROWS_AS(tcp_listener(loop, -1), std::system_error);
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

TEST_CASE_FIXTURE(with_jumping_loop, "a thousand connections one after the other leave nothing") {
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
  TEST_CASE_FIXTURE(tidy, "a loop that another thread ran may go on, or end, on this one") {
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
    CHECK(loop.count().timers == 1);  // it holds

    SUBCASE("the listener is destroyed, and then a stream is closed") {
      listener.reset();
      other.close();
      loop.run_ready();
      CHECK(!accepted);
    }
    SUBCASE("a stream is closed, and the listener goes on") {
      other.close();
      loop.run_ready();
      CHECK(accepted);
    }
    CHECK(loop.count().timers == 0);
  }

  TEST_CASE_FIXTURE(tidy, "streams and listeners are counted though they go on another thread") {
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

TEST_CASE("wrong use of a listener stops the program with a sentence") {
  dies_saying("two accept from one listener at a time", [] {
    eddy::event_loop loop;
    tcp_listener listener(loop, here);
    listener.accept([](result<tcp_stream>) {});
    listener.accept([](result<tcp_stream>) {});
  });
  dies_saying("a tcp_listener was used that is not open", [] {
    eddy::event_loop loop;
    tcp_listener listener(loop, here);
    listener.close();
    static_cast<void>(listener.local_address());
  });
}
