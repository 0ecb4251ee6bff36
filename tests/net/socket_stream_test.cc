// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/net/socket_stream.h>.
#include <eddy/net/socket_stream.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <eddy/future/as_result.h>
#include <eddy/future/join.h>
#include <eddy/future/yield.h>
#include <eddy/net/tcp_stream.h>

#include "support/async_test.h"
#include "support/failing_system.h"
#include "support/forked.h"
#include "support/stream_pair.h"
#include "support/thrown.h"
#include "support/tidy.h"

using eddy::result;
using eddy::socket_stream;
using eddy::task;
using eddy::tcp_stream;

static_assert(!std::is_default_constructible_v<socket_stream>);
static_assert(!std::is_move_constructible_v<socket_stream>);
static_assert(!std::is_destructible_v<socket_stream>);
static_assert(sizeof(tcp_stream) == sizeof(void*), "a connection takes no memory for its base");

namespace {

task<> echo_once(socket_stream& over) {
  std::array<char, 16> buffer;
  const std::size_t n = co_await over.read(buffer);
  co_await over.write(std::string_view(buffer.data(), n));
}

}  // namespace

ASYNC_TEST("a function that takes a socket_stream works on a tcp_stream") {
  stream_pair pair(loop);
  co_await pair.near.write(std::string_view("word"));
  co_await echo_once(pair.far);
  co_await pair.near.wait_readable();
  CHECK(take(pair.near) == "word");
}

TEST_CASE_FIXTURE(with_loop, "release returns the descriptor, and the connection lives on") {
  stream_pair pair(loop);
  send(pair.far, "unread");
  const int number = pair.near.descriptor();
  const int released = pair.near.release();
  CHECK(released == number);
  CHECK(!pair.near.open());
  CHECK(tcp_stream::count() == 1);
  CHECK((::fcntl(released, F_GETFL) & O_NONBLOCK) != 0);
  CHECK(::fcntl(released, F_GETFD) == FD_CLOEXEC);
  tcp_stream again(loop, released);
  CHECK(take(again) == "unread");
  CHECK(again.peer_address() == pair.far.local_address());
}

TEST_CASE_FIXTURE(with_loop, "release destroys the handlers of pending operations uncalled") {
  stream_pair pair(loop);
  std::array<char, 16> buffer;
  bool called = false;
  int destroyed = 0;
  struct at_destruction {
    explicit at_destruction(int& n) : count(&n) {}
    at_destruction(at_destruction&& o) noexcept : count(std::exchange(o.count, nullptr)) {}
    ~at_destruction() {
      if (count != nullptr) ++*count;
    }
    int* count;
  };
  pair.near.read(buffer, [&, seen = at_destruction(destroyed)](auto&&) { called = true; });
  pair.near.wait_writable([&, seen = at_destruction(destroyed)](auto&&) { called = true; });
  const int released = pair.near.release();
  CHECK(destroyed == 2);
  send(pair.far, "late");
  loop.run();
  CHECK(!called);
  tcp_stream again(loop, released);
  CHECK(take(again) == "late");
}

ASYNC_TEST("release resumes awaiting coroutines with operation_canceled") {
  stream_pair pair(loop);
  std::array<char, 16> buffer;
  const auto reading = [&]() -> task<std::error_code> {
    const auto r = co_await eddy::as_result(pair.near.read(buffer));
    co_return r ? std::error_code() : r.error();
  };
  int released = -1;
  const auto releasing = [&]() -> task<> {
    co_await eddy::yield();
    released = pair.near.release();
  };
  auto both = eddy::join(reading(), releasing());
  const auto [error, nothing] = co_await std::move(both);
  CHECK(error == std::errc::operation_canceled);
  ::close(released);
}

TEST_CASE_FIXTURE(with_loop, "a released descriptor with unread bytes wakes the loop no more") {
  stream_pair pair(loop);
  std::array<char, 16> buffer;
  pair.near.read(buffer, [](auto&&) {});
  loop.defer([] {});
  loop.run_once();
  const int released = pair.near.release();
  send(pair.far, "unread");
  bool waited = true;
  loop.defer([&] { waited = false; });
  loop.run();  // ends, because nothing is left on the loop
  CHECK(!waited);
  ::close(released);
}

TEST_CASE("the release of a stream that is not open aborts with a message") {
  dies_saying("a stream was used that is not open", [] {
    tcp_stream none;
    static_cast<void>(none.release());
  });
}

TEST_CASE_FIXTURE(with_loop, "the refusal of a descriptor says what the descriptor is") {
  CHECK(refusal_of<tcp_stream>(loop, ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) ==
        "take over descriptor N, a datagram socket, as a tcp_stream: Protocol wrong type for "
        "socket");
  CHECK(refusal_of<tcp_stream>(loop, ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)) ==
        "take over descriptor N, a seqpacket socket, as a tcp_stream: Protocol wrong type for "
        "socket");
  CHECK(refusal_of<tcp_stream>(loop, ::open("/dev/null", O_RDONLY | O_CLOEXEC)) ==
        "take over descriptor N as a tcp_stream: Socket operation on non-socket");
  CHECK(refusal_of<tcp_stream>(loop, ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) ==
        "take over descriptor N as a tcp_stream: Transport endpoint is not connected");
  CHECK(refusal_of<tcp_stream>(loop, -1) ==
        "take over descriptor N as a tcp_stream: Bad file descriptor");
  CHECK(tcp_stream::count() == 0);
}

TEST_CASE_FIXTURE(with_loop, "each call that takes over a descriptor may fail: it is closed") {
  for (const call kind : {call::set_non_blocking, call::get_option, call::peer_name}) {
    stream_pair pair(loop);
    const int copy = ::fcntl(pair.near.descriptor(), F_DUPFD_CLOEXEC, 0);
    failing_system system;
    system.fail(kind, ENOBUFS);
    CHECK(refusal_of<tcp_stream>(loop, copy) ==
          "take over descriptor N as a tcp_stream: No buffer space available");
    CHECK(::fcntl(copy, F_GETFD) == -1);
  }
}

TEST_CASE_FIXTURE(with_loop, "a refusal reports its own error, even if the close then fails too") {
  for (const call kind : {call::set_non_blocking, call::get_option, call::peer_name}) {
    stream_pair pair(loop);
    const int copy = ::fcntl(pair.near.descriptor(), F_DUPFD_CLOEXEC, 0);
    failing_system system;
    system.fail(kind, ENOBUFS);
    system.fail(call::close, EIO);
    CHECK(refusal_of<tcp_stream>(loop, copy) ==
          "take over descriptor N as a tcp_stream: No buffer space available");
  }
}
