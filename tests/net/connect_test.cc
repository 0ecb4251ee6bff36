// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/net/connect.h>.
#include <eddy/net/connect.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <unistd.h>

#include <eddy/future/as_result.h>
#include <eddy/future/join.h>
#include <eddy/future/spawn.h>
#include <eddy/future/timeout.h>
#include <eddy/net/pending_operation.h>
#include <eddy/net/resolve.h>
#include <eddy/net/tcp_listener.h>

#include "support/async_test.h"
#include "support/counted.h"
#include "support/error_words.h"
#include "support/name_server.h"
#include "support/stream_pair.h"

using namespace std::chrono_literals;
using eddy::address;
using eddy::connect;
using eddy::pending_operation;
using eddy::result;
using eddy::tcp_listener;
using eddy::tcp_stream;

namespace {

/// An address without a listener.
address nobody(eddy::event_loop& loop) {
  return tcp_listener(loop, address::loopback_v4(0)).local_address();
}

/// Every address of this machine, in every form that the kernel accepts.
std::vector<address> own_addresses() {
  std::vector<address> all = {
      address::any_v4(0),
      address::any_v6(0),
      address::loopback_v4(0),
      address::loopback_v6(0),
      *address::parse("127.1.2.3", 0),
      *address::parse("::ffff:0.0.0.0", 0),
      *address::parse("::ffff:127.0.0.1", 0),
  };
  ifaddrs* first = nullptr;
  REQUIRE(::getifaddrs(&first) == 0);
  for (const ifaddrs* i = first; i != nullptr; i = i->ifa_next) {
    if (i->ifa_addr == nullptr || (i->ifa_flags & IFF_UP) == 0) continue;
    const int family = i->ifa_addr->sa_family;
    if (family != AF_INET && family != AF_INET6) continue;
    const std::size_t size = family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
    all.push_back(address::from(i->ifa_addr, size));
  }
  ::freeifaddrs(first);
  return all;
}

/// A listener whose queue is full, so that a connect to it does not complete.
class full_listener {
public:
  explicit full_listener(eddy::event_loop& loop)
      : listener_(loop, address::loopback_v4(0), {.backlog = 0}) {
    // One connection fills the queue on most kernels; others need more.
    queued_.push_back(plain_connection(listener_.local_address()));
  }
  full_listener(const full_listener&) = delete;
  full_listener& operator=(const full_listener&) = delete;
  ~full_listener() {
    for (const int q : queued_) ::close(q);
  }
  [[nodiscard]] const address& where() const { return listener_.local_address(); }

private:
  tcp_listener listener_;
  std::vector<int> queued_;
};

}  // namespace

ASYNC_TEST("a connect to a listener gives a stream") {
  tcp_listener listener(loop, address::loopback_v4(0));
  tcp_stream s = co_await connect(listener.local_address());
  CHECK(s.peer_address() == listener.local_address());
  tcp_stream other = co_await listener.accept();
  CHECK(other.peer_address() == s.local_address());
  co_await s.write("abc");
  CHECK(take(other) == "abc");
}

ASYNC_TEST("a connect to an IPv6 listener gives a stream") {
  tcp_listener listener(loop, address::loopback_v6(0));
  const tcp_stream s = co_await connect(listener.local_address());
  CHECK(s.peer_address() == listener.local_address());
}

ASYNC_TEST("the error of a refused connect names the address") {
  const address where = nobody(loop);
  std::string what;
  try {
    co_await connect(where);
  } catch (const std::system_error& e) {
    CHECK(e.code() == std::errc::connection_refused);
    what = e.what();
  }
  CHECK(what == "connect to " + where.to_string() + ": Connection refused");
}

ASYNC_TEST("a connect to an empty address fails") {
  const auto r = co_await eddy::as_result(connect(address()));
  REQUIRE(!r);
  CHECK(r.error() == std::errc::invalid_argument);
}

ASYNC_TEST("a connect to a name gives a stream") {
  tcp_listener listener(loop, address::loopback_v4(0));
  const std::uint16_t port = listener.local_address().port();
  const tcp_stream by_name = co_await connect("localhost", port);
  CHECK(by_name.open());
  const tcp_stream by_literal = co_await connect("127.0.0.1", port);
  CHECK(by_literal.peer_address() == listener.local_address());
}

ASYNC_TEST("each address of a name is tried until one accepts") {
  tcp_listener listener(loop, address::loopback_v4(0));
  name_server server;
  server.knows = {"[::1]:0", "127.0.0.2:0", "127.0.0.1:0", "127.0.0.3:0"};
  const tcp_stream s = co_await connect("host.example", listener.local_address().port());
  CHECK(s.peer_address() == listener.local_address());
  CHECK(server.count(call::connect) == 3);
}

ASYNC_TEST("if no address accepts, the error names each address and its error") {
  const std::uint16_t port = nobody(loop).port();
  const std::string p = ':' + std::to_string(port);
  name_server server;
  server.knows = {"127.0.0.2:0", "127.0.0.1:0"};
  server.fail(call::connect, ENETUNREACH);
  std::string what;
  try {
    co_await connect("host.example", port);
  } catch (const std::system_error& e) {
    CHECK(e.code() == std::errc::connection_refused);
    what = e.what();
  }
  CHECK(what == "connect to host.example" + p + ", tried 127.0.0.2" + p +
                    " (Network is unreachable), 127.0.0.1" + p + ": Connection refused");
}

ASYNC_TEST("the error of a literal address that refuses names it once") {
  const std::string p = std::to_string(nobody(loop).port());
  std::string what;
  try {
    co_await connect("127.0.0.1", static_cast<std::uint16_t>(std::stoi(p)));
  } catch (const std::system_error& e) {
    what = e.what();
  }
  CHECK(what == "connect to 127.0.0.1:" + p + ": Connection refused");
}

ASYNC_TEST("a connect to an unknown name fails with not_found") {
  name_server server;
  server.answer = EAI_NONAME;
  const auto r = co_await eddy::as_result(connect("no.example", 80));
  REQUIRE(!r);
  CHECK((r.error() == eddy::resolve_error::not_found));
}

TEST_CASE_FIXTURE(with_loop, "a connect with a handler gives the same results") {
  tcp_listener listener(loop, address::loopback_v4(0));
  name_server server;
  server.knows = {"127.0.0.1:0"};
  std::optional<tcp_stream> by_address;
  std::optional<tcp_stream> by_name;
  std::error_code refused;
  pending_operation a = connect(loop, listener.local_address(),
                                [&](result<tcp_stream> s) { by_address = std::move(s.value()); });
  pending_operation b = connect(loop, "host.example", listener.local_address().port(),
                                [&](result<tcp_stream> s) { by_name = std::move(s.value()); });
  pending_operation c =
      connect(loop, nobody(loop), [&](result<tcp_stream> s) { refused = s.error(); });
  CHECK(!by_address);
  loop.run();
  CHECK(by_address->open());
  CHECK(by_name->open());
  CHECK(refused == std::errc::connection_refused);
  CHECK(!a.active());
}

TEST_CASE_FIXTURE(with_loop, "a cancelled connect leaves no descriptor open") {
  const full_listener listener(loop);
  const std::size_t before = open_descriptors();
  int alive = 0;
  {
    const auto connecting = eddy::spawn(loop, connect(listener.where()));
    loop.run_ready();
    CHECK(!connecting.ready());
    CHECK(open_descriptors() == before + 1);
    CHECK(loop.dump().contains("connect to " + listener.where().to_string()));
  }
  CHECK(open_descriptors() == before);
  {
    const pending_operation connecting =
        connect(loop, listener.where(),
                [c = counted(alive)](const result<tcp_stream>&) { FAIL("it was dropped"); });
    loop.run_ready();
    CHECK(connecting.active());
    CHECK(open_descriptors() == before + 1);
  }
  CHECK(open_descriptors() == before);
  CHECK(alive == 0);
  loop.run();
}

ASYNC_TEST("a connect to a silent host can be cancelled") {
  const full_listener listener(loop);
  auto limited = eddy::as_result(eddy::timeout(10s, connect(listener.where())));
  const auto r = co_await std::move(limited);
  REQUIRE(!r);
  CHECK(r.error() == std::errc::timed_out);
  CHECK(tcp_stream::count() == 0);
}

ASYNC_TEST("a connect is never connected to itself, at any address of this machine") {
  // Here the kernel always chooses the port of the peer, which it otherwise does at random.
  class same_port : public failing_system {
  public:
    int connect(int descriptor, const sockaddr* to, socklen_t size) override {
      CHECK(system::bind(descriptor, to, size) == 0);
      return system::connect(descriptor, to, size);
    }
  };
  for (const address& where : own_addresses()) {
    INFO(where.to_string());
    const address to = where.with_port(nobody(loop).port());
    {
      same_port system;
      const auto r = co_await eddy::as_result(connect(to));
      REQUIRE(!r);
      CHECK(r.error() == std::errc::connection_refused);
      CHECK(system.count(call::peer_name) == 1);
    }
    // The port is free at once, even for a listener without reuse_address.
    const tcp_listener listener(loop, to, {.reuse_address = false});
    CHECK(listener.open());
  }
}

ASYNC_TEST("a connect to a listener on this machine succeeds at each of its addresses") {
  for (const address& where : own_addresses()) {
    INFO(where.to_string());
    const tcp_listener listener(loop, where);
    const tcp_stream s = co_await connect(listener.local_address());
    CHECK(s.open());
  }
}

ASYNC_TEST("a connect from the listener's port number at another address succeeds") {
  class same_port : public failing_system {
  public:
    int connect(int descriptor, const sockaddr* to, socklen_t size) override {
      own = own.with_port(address::from(to, size).port());
      sockaddr_storage name;
      const socklen_t own_size = own.to(name);
      CHECK(system::bind(descriptor, reinterpret_cast<const sockaddr*>(&name), own_size) == 0);
      return system::connect(descriptor, to, size);
    }
    address own = *address::parse("127.0.0.3", 0);
  };
  const tcp_listener listener(loop, *address::parse("127.0.0.2", 0));
  same_port system;
  const tcp_stream s = co_await connect(listener.local_address());
  CHECK(s.local_address() == system.own);
}

ASYNC_TEST("a connect succeeds though the system does not tell the local address") {
  const tcp_listener listener(loop, address::loopback_v4(0));
  failing_system system;
  system.fail(call::local_name, ENOBUFS);
  const tcp_stream s = co_await connect(listener.local_address());
  CHECK(s.open());
  CHECK(system.has_failed());
}

ASYNC_TEST("a started program inherits no stream and no listener") {
  tcp_listener listener(loop, address::loopback_v4(0));
  const tcp_stream connected = co_await connect(listener.local_address());
  const tcp_stream accepted = co_await listener.accept();
  const tcp_stream taken_over(loop, ::dup(connected.descriptor()));
  const tcp_listener listener_taken_over(loop, ::dup(listener.descriptor()));
  CHECK(::fcntl(listener.descriptor(), F_GETFD) == FD_CLOEXEC);
  CHECK(::fcntl(connected.descriptor(), F_GETFD) == FD_CLOEXEC);
  CHECK(::fcntl(accepted.descriptor(), F_GETFD) == FD_CLOEXEC);
  CHECK(::fcntl(taken_over.descriptor(), F_GETFD) == FD_CLOEXEC);
  CHECK(::fcntl(listener_taken_over.descriptor(), F_GETFD) == FD_CLOEXEC);
}

TEST_CASE_FIXTURE(with_loop, "a connect that a signal interrupts completes") {
  class interrupted : public failing_system {
  public:
    int connect(int descriptor, const sockaddr* to, socklen_t size) override {
      system::connect(descriptor, to, size);
      errno = EINTR;
      return -1;
    }
  };
  tcp_listener listener(loop, address::loopback_v4(0));
  const address refusing = nobody(loop);
  interrupted system;
  SUBCASE("await") {
    auto connecting = eddy::spawn(loop, connect(listener.local_address()));
    auto refused = eddy::spawn(loop, connect(refusing));
    loop.run();
    CHECK(std::move(connecting).take().value().peer_address() == listener.local_address());
    CHECK(words_of(std::move(refused).take().error()).contains("Connection refused"));
  }
  SUBCASE("a handler") {
    std::vector<result<tcp_stream>> ended;
    const auto note = [&](result<tcp_stream> s) { ended.push_back(std::move(s)); };
    const pending_operation first = connect(loop, listener.local_address(), note);
    loop.run();
    const pending_operation second = connect(loop, refusing, note);
    loop.run();
    REQUIRE(ended.size() == 2);
    CHECK(ended[0].value().peer_address() == listener.local_address());
    CHECK(ended[1].error() == std::errc::connection_refused);
  }
  SUBCASE("fails if the system does not tell the result") {
    system.fail(call::get_option, ENOBUFS);
    auto connecting = eddy::spawn(loop, connect(listener.local_address()));
    loop.run();
    CHECK(words_of(std::move(connecting).take().error()).contains("No buffer space available"));
  }
}

TEST_CASE_FIXTURE(with_jumping_loop,
                  "a conversation ends and leaves nothing open, whichever system call fails") {
  auto serve = [](eddy::event_loop& l, std::shared_ptr<address> where) -> eddy::task<> {
    tcp_listener listener(l, address::loopback_v4(0));
    *where = listener.local_address();
    tcp_stream s = co_await listener.accept();
    std::array<char, 16> buffer;
    for (;;) {
      const std::size_t n = co_await s.read(buffer);
      if (n == 0) co_return;
      const std::array<eddy::const_buffer, 2> parts = {"> ", std::span(buffer).first(n)};
      co_await s.write(parts);
    }
  };
  auto talk = [](std::shared_ptr<address> where) -> eddy::task<std::string> {
    tcp_stream s = co_await connect(*where);
    s.set_no_delay(true);
    std::string heard;
    std::array<char, 16> buffer;
    for (int i = 0; i < 2; ++i) {
      co_await s.write("hello");
      const std::size_t n = co_await s.read(buffer);
      heard.append(buffer.data(), n);
    }
    s.shutdown();
    co_return heard;
  };
  const std::size_t frames = eddy::frame_count();

  for (const int error : {EIO, ECONNRESET, ENOMEM}) {
    for (std::size_t k = 1;; ++k) {
      INFO("call ", k, " fails with ", error);
      failing_system system;
      system.fail_any(error, k);
      {
        auto where = std::make_shared<address>();
        auto serving = eddy::spawn(loop, serve(loop, where));
        auto talking = eddy::spawn(loop, talk(where));
        while (!talking.ready()) loop.run_once();
        while (loop.run_ready()) {
        }
        if (serving.ready()) static_cast<void>(std::move(serving).take());
        const auto heard = std::move(talking).take();
        if (!system.has_failed()) {
          CHECK(heard.value() == "> hello> hello");
        }
      }
      CHECK(tcp_stream::count() == 0);
      CHECK(tcp_listener::count() == 0);
      CHECK(eddy::frame_count() == frames);
      if (!system.has_failed()) break;
      REQUIRE(k < 200);
    }
  }
}
