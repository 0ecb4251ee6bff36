// SPDX-License-Identifier: BSD-2-Clause

// Streams that the program closes at any point of an operation. The texts of the errors and of a
// dump must not ask a closed stream for anything.

#include <array>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

#include <doctest/doctest.h>

#include <eddy/future/future.h>
#include <eddy/future/join.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/future/task.h>
#include <eddy/net/address.h>
#include <eddy/net/any_stream.h>
#include <eddy/net/buffered.h>
#include <eddy/net/duplex.h>
#include <eddy/net/limited.h>
#include <eddy/net/tcp_stream.h>
#include <eddy/net/tls/tls_stream.h>
#include <eddy/net/unix_stream.h>

#include "support/async_test.h"
#include "support/stream_pair.h"
#include "support/tls_pair.h"

using namespace std::chrono_literals;
using eddy::task;
using eddy::tls_stream;

namespace {

enum class moment { pending, before_its_turn, before_it_begins };

/// How an operation ends. Its error has a text.
template <class Operation>
task<std::error_code> end_of(Operation operation) {
  try {
    co_await std::move(operation);
  } catch (const std::system_error& e) {
    CHECK_FALSE(std::string_view(e.what()).empty());
    co_return e.code();
  }
  co_return std::error_code();
}

/// Begins an operation, and closes a stream at a moment of it. Gives the end of the operation.
template <class Operation, class Close>
task<std::error_code> closed_at(moment at, eddy::event_loop& loop, Operation operation,
                                Close close) {
  const auto close_and_dump = [&loop, &close] {
    CHECK_FALSE(loop.dump().empty());
    close();
    CHECK_FALSE(loop.dump().empty());
  };
  if (at == moment::before_it_begins) close_and_dump();
  if (at == moment::before_its_turn) {
    loop.defer(close_and_dump);
    loop.forbid_going_on();
  }
  eddy::future<std::error_code> ended = eddy::spawn(end_of(std::move(operation)));
  if (at == moment::pending) {
    co_await eddy::sleep(1ms);
    close_and_dump();
  }
  const std::error_code error = co_await std::move(ended);
  co_return error;
}

const std::string& many_bytes() {
  static const std::string bytes(4'000'000, 'x');
  return bytes;
}

/// Closes a stream at a moment of a flush, or of a shutdown that follows a write.
template <class Stream, class Close>
task<> end_closed_at(moment at, eddy::event_loop& loop, Stream& stream, Close close) {
  const auto end = [&stream, &close] { close(stream); };
  if constexpr (requires { stream.flush(); }) {
    co_await stream.write(std::string_view("few"));
    auto closed = closed_at(at, loop, stream.flush(), end);
    const std::error_code error = co_await std::move(closed);
    if (at != moment::pending) CHECK(error == std::errc::operation_canceled);
  } else if constexpr (std::derived_from<Stream, eddy::detail::stream_around>) {
    auto closed = closed_at(at, loop, stream.shutdown(), end);  // which counts as a write
    const std::error_code error = co_await std::move(closed);
    if (at == moment::before_it_begins) CHECK(error == std::errc::operation_canceled);
  } else {
    auto writing = eddy::spawn(end_of(stream.write(many_bytes())));
    if constexpr (std::is_void_v<decltype(stream.shutdown())>) {
      stream.shutdown();
      end();
    } else {
      auto closed = closed_at(at, loop, stream.shutdown(), end);
      const std::error_code error = co_await std::move(closed);
      CHECK(error == std::errc::operation_canceled);
    }
    const std::error_code written = co_await std::move(writing);
    CHECK(written == std::errc::operation_canceled);
  }
}

/// Closes a stream of `make`, by `close`, at each moment of each operation.
template <class Make, class Close>
task<> closed_at_each_moment(eddy::event_loop& loop, Make make, Close close) {
  for (const moment at : {moment::pending, moment::before_its_turn, moment::before_it_begins}) {
    CAPTURE(static_cast<int>(at));
    {
      auto [stream, peer] = co_await make();
      std::array<char, 8> buffer{};
      const auto end = [&stream, &close] { close(stream); };
      auto closed = closed_at(at, loop, stream.read(buffer), end);
      const std::error_code error = co_await std::move(closed);
      CHECK(error == std::errc::operation_canceled);
    }
    {
      auto [stream, peer] = co_await make();
      const auto end = [&stream, &close] { close(stream); };
      auto closed = closed_at(at, loop, stream.write(many_bytes()), end);
      const std::error_code error = co_await std::move(closed);
      CHECK(error == std::errc::operation_canceled);
    }
    {
      auto [stream, peer] = co_await make();
      auto ending = end_closed_at(at, loop, stream, close);
      co_await std::move(ending);
    }
  }
}

/// The server's end first.
template <class Stream>
task<std::pair<tls_stream<Stream>, tls_stream<Stream>>> secured(const tls_contexts& by, Stream near,
                                                                Stream far) {
  auto both = eddy::join(eddy::tls_accept(by.server, std::move(near)),
                         eddy::tls_connect(by.client, std::move(far), "localhost"));
  auto [server, client] = co_await std::move(both);
  co_return std::pair(std::move(server), std::move(client));
}

constexpr auto close_it = [](auto& stream) { stream.close(); };
constexpr auto close_below = [](auto& stream) { stream.stream().close(); };

/// A stream class as a program writes it: it has a peer, and says nothing of being closed.
class with_peer : public eddy::any_stream {
public:
  explicit with_peer(eddy::tcp_stream below)
      : any_stream(std::move(below)), peer_(eddy::address::loopback_v4(7)) {}

  [[nodiscard]] const eddy::address& peer_address() const {
    CHECK(open());
    return peer_;
  }

private:
  eddy::address peer_;
};

template <class Around>
task<std::pair<tls_stream<Around>, tls_stream<Around>>> secured_around(eddy::event_loop& loop,
                                                                       const tls_contexts& by) {
  stream_pair tcp(loop);
  return secured<Around>(by, Around(std::move(tcp.near)), Around(std::move(tcp.far)));
}

}  // namespace

ASYNC_TEST("a TLS server's stream over TCP may be closed at each moment of an operation") {
  const tls_contexts by;
  const auto make = [this, &by] { return secured_around<eddy::tcp_stream>(loop, by); };
  co_await closed_at_each_moment(loop, make, close_it);
  co_await closed_at_each_moment(loop, make, close_below);
}

ASYNC_TEST("a TLS server's stream over a Unix socket may be closed at each moment") {
  const tls_contexts by;
  const auto make = [this, &by] {
    auto [near, far] = eddy::socket_pair(loop);
    return secured(by, std::move(near), std::move(far));
  };
  co_await closed_at_each_moment(loop, make, close_it);
  co_await closed_at_each_moment(loop, make, close_below);
}

ASYNC_TEST("a TLS server's stream over another stream may be closed at each moment") {
  const tls_contexts by;
  const auto any = [this, &by] { return secured_around<eddy::any_stream>(loop, by); };
  co_await closed_at_each_moment(loop, any, close_it);
  co_await closed_at_each_moment(loop, any, close_below);
  const auto buffered = [this, &by] {
    return secured_around<eddy::buffered<eddy::tcp_stream>>(loop, by);
  };
  co_await closed_at_each_moment(loop, buffered, close_it);
  co_await closed_at_each_moment(loop, buffered, close_below);
  const auto own = [this, &by] { return secured_around<with_peer>(loop, by); };
  co_await closed_at_each_moment(loop, own, close_it);
  co_await closed_at_each_moment(loop, own, close_below);
}

ASYNC_TEST("a stream around a TLS server's stream may be closed at each moment") {
  const tls_contexts by;
  const auto make = [this, &by]()
      -> task<std::pair<eddy::buffered<eddy::any_stream>, eddy::buffered<eddy::any_stream>>> {
    auto [server, client] = co_await secured_around<eddy::tcp_stream>(loop, by);
    co_return std::pair(eddy::buffered(eddy::any_stream(std::move(server))),
                        eddy::buffered(eddy::any_stream(std::move(client))));
  };
  co_await closed_at_each_moment(loop, make, close_it);
  co_await closed_at_each_moment(loop, make, close_below);
}

ASYNC_TEST("a stream without TLS may be closed at each moment of an operation") {
  const auto tcp = [this]() -> task<std::pair<eddy::tcp_stream, eddy::tcp_stream>> {
    stream_pair two(loop);
    co_return std::pair(std::move(two.near), std::move(two.far));
  };
  co_await closed_at_each_moment(loop, tcp, close_it);
  const auto local = [this]() -> task<std::pair<eddy::unix_stream, eddy::unix_stream>> {
    co_return eddy::socket_pair(loop);
  };
  co_await closed_at_each_moment(loop, local, close_it);
  const auto memory = [this]() -> task<std::pair<eddy::duplex_stream, eddy::duplex_stream>> {
    co_return eddy::duplex(loop, 100, 100);
  };
  co_await closed_at_each_moment(loop, memory, close_it);
  const auto any = [this]() -> task<std::pair<eddy::any_stream, eddy::any_stream>> {
    stream_pair two(loop);
    co_return std::pair(eddy::any_stream(std::move(two.near)),
                        eddy::any_stream(std::move(two.far)));
  };
  co_await closed_at_each_moment(loop, any, close_it);
  using buffered_tcp = eddy::buffered<eddy::tcp_stream>;
  const auto buffered = [this]() -> task<std::pair<buffered_tcp, buffered_tcp>> {
    stream_pair two(loop);
    co_return std::pair(buffered_tcp(std::move(two.near)), buffered_tcp(std::move(two.far)));
  };
  co_await closed_at_each_moment(loop, buffered, close_it);
  co_await closed_at_each_moment(loop, buffered, close_below);
  const auto limited = [this]() -> task<std::pair<eddy::limited_stream, eddy::limited_stream>> {
    stream_pair two(loop);
    co_return std::pair(eddy::limited(std::move(two.near), 1'000'000, 1000),
                        eddy::limited(std::move(two.far), 1'000'000, 1000));
  };
  co_await closed_at_each_moment(loop, limited, close_it);
}

ASYNC_TEST("the error of a closed TLS server's stream names the peer") {
  const tls_contexts by;
  auto [server, client] = co_await secured_around<eddy::tcp_stream>(loop, by);
  const std::string peer = server.stream().peer_address().to_string();
  server.stream().close();
  std::array<char, 8> buffer{};
  std::string words;
  try {
    co_await server.read(buffer);
  } catch (const std::system_error& e) {
    words = e.what();
  }
  CHECK(words.contains("read from " + peer));
}
