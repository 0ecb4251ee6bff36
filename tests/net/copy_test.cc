// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/net/copy.h>.
#include <eddy/net/copy.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <eddy/future/as_result.h>
#include <eddy/future/join.h>
#include <eddy/future/scope.h>
#include <eddy/future/sleep.h>
#include <eddy/future/timeout.h>
#include <eddy/future/yield.h>
#include <eddy/net/any_stream.h>
#include <eddy/net/buffered.h>
#include <eddy/net/duplex.h>
#include <eddy/net/limited.h>
#include <eddy/net/pipe.h>
#include <eddy/net/tcp_stream.h>
#include <eddy/net/unix_stream.h>

#include "support/async_test.h"
#include "support/every_point.h"
#include "support/failing_system.h"
#include "support/forked.h"
#include "support/stream_pair.h"
#include "support/stream_tasks.h"
#include "support/tidy.h"

using namespace std::chrono_literals;
using eddy::any_stream;
using eddy::as_result;
using eddy::copy;
using eddy::copy_bidirectional;
using eddy::duplex;
using eddy::duplex_stream;
using eddy::join;
using eddy::sleep;
using eddy::task;
using eddy::tcp_stream;
using eddy::unix_stream;

static_assert(!std::is_aggregate_v<eddy::copy_options>);
static_assert(!std::is_aggregate_v<eddy::copy_both_options>);
static_assert(!std::is_aggregate_v<eddy::detail::idle_operation>);

namespace {

template <eddy::byte_stream S>
task<> say(S& to, std::string bytes) {
  co_await to.write(bytes);
  co_await eddy::detail::shut_down(to);
}

/// Asks and reads the answer, over a relay.
template <eddy::byte_stream S>
task<std::string> ask(S& over, std::string question) {
  co_await say(over, std::move(question));
  co_return co_await read_all(over);
}

/// Reads the whole question before it answers.
template <eddy::byte_stream S>
task<> answer(S& over) {
  const std::string question = co_await read_all(over);
  co_await say(over, "re: " + question);
}

}  // namespace

ASYNC_TEST("copy moves all bytes up to the end and leaves the target open") {
  auto [a, b] = duplex(7, 7);
  auto [c, d] = duplex(5, 5);
  const std::string much(1000, 'm');
  const auto relay = [](duplex_stream& from, duplex_stream& to) -> task<std::uint64_t> {
    const std::uint64_t n = co_await copy(from, to);
    co_await to.write(std::string_view("!"));
    to.shutdown();
    co_return n;
  };
  auto all = join(say(a, much), relay(b, c), read_all(d));
  const auto [x, count, got] = co_await std::move(all);
  CHECK(count == 1000);
  CHECK(got == much + "!");
}

ASYNC_TEST("copy_bidirectional passes a half-close on, so the answer comes after the question") {
  auto [client, near] = duplex(3, 3);
  auto [far, server] = duplex(3, 3);
  auto all = join(ask(client, "what is it?"), copy_bidirectional(near, far), answer(server));
  const auto [got, count, nothing] = co_await std::move(all);
  CHECK(got == "re: what is it?");
  CHECK(count.a_to_b == 11);
  CHECK(count.b_to_a == 15);
}

ASYNC_TEST("copy_bidirectional between TCP and memory, with short calls that are interrupted") {
  failing_system system;
  stream_pair tcp(loop);
  auto [far, server] = duplex(100, 100);
  system.limit_bytes(2);
  system.fail(call::read, EINTR, 2);
  system.fail(call::send, EINTR, 2);
  auto all = join(ask(tcp.near, "over TCP"), copy_bidirectional(tcp.far, far), answer(server));
  const auto [got, count, nothing] = co_await std::move(all);
  CHECK(got == "re: over TCP");
  CHECK(count.b_to_a == 12);
}

ASYNC_TEST("an error of one direction cancels the other and names the stream") {
  auto [client, near] = duplex(3, 3);
  stream_pair tcp(loop);
  failing_system system;
  system.fail(call::read, EIO);
  std::string words;
  try {
    co_await copy_bidirectional(near, tcp.near);
  } catch (const std::system_error& e) {
    words = e.what();
    CHECK(e.code().value() == EIO);
  }
  CHECK(words.starts_with("read from 127.0.0.1:"));
  CHECK(near.open());
}

ASYNC_TEST("each errno of read(2) and send(2) leaves a copy as an error") {
  for (const int error : {EBADF, EINVAL, EIO, ECONNRESET, ETIMEDOUT, EPIPE, ENOBUFS, ENOMEM}) {
    for (const call kind : {call::read, call::send}) {
      stream_pair from(loop);
      stream_pair to(loop);
      any_stream target(std::move(to.near));  // between two sockets, the kernel would copy
      send(from.near, "bytes");
      failing_system system;
      system.fail(kind, error);
      const auto r = co_await as_result(copy(from.far, target));
      CHECK(r.error().value() == error);
      const std::string rest = take(from.far);
      CHECK(rest == (kind == call::read ? "bytes" : ""));
    }
  }
}

ASYNC_TEST("between two sockets the kernel moves the bytes, and no read and no send is made") {
  failing_system system;
  stream_pair client(loop);
  stream_pair server(loop);
  std::string much(3'000'000, 'm');
  for (std::size_t i = 0; i < much.size(); i += 997) much[i] = static_cast<char>('a' + i % 26);
  const auto relay = [](tcp_stream& from, tcp_stream& to) -> task<std::uint64_t> {
    const std::uint64_t n = co_await copy(from, to);
    to.shutdown();
    co_return n;
  };
  SUBCASE("whole calls") {}
  SUBCASE("short calls") { system.limit_bytes(5000); }
  SUBCASE("interrupted calls") {
    system.fail(call::splice, EINTR, 1);
    system.fail(call::splice, EINTR, 20);
  }
  auto all = join(say(client.near, much), relay(client.far, server.near), read_all(server.far));
  const auto [nothing, count, got] = co_await std::move(all);
  CHECK(count == much.size());
  CHECK(got == much);
  CHECK(system.count(call::splice) > 2);
}

ASYNC_TEST(
    "between two Unix sockets, too, the kernel moves the bytes and a half-close is passed on") {
  failing_system system;
  auto [client, near] = eddy::socket_pair(loop);
  auto [far, server] = eddy::socket_pair(loop);
  SUBCASE("whole calls") {}
  SUBCASE("short calls") { system.limit_bytes(5000); }
  SUBCASE("interrupted calls") { system.fail(call::splice, EINTR, 3); }
  const std::string question(1'000'000, 'q');
  const auto relay = [&system](unix_stream& a, unix_stream& b) -> task<eddy::copied> {
    const std::size_t before = system.count(call::splice);
    const eddy::copied count = co_await copy_bidirectional(a, b);
    CHECK(system.count(call::splice) > before + 4);
    co_return count;
  };
  auto all = join(ask(client, question), relay(near, far), answer(server));
  const auto [got, count, nothing] = co_await std::move(all);
  CHECK(got == "re: " + question);
  CHECK(count.a_to_b == question.size());
  CHECK(count.b_to_a == question.size() + 4);
}

ASYNC_TEST(
    "the error of a copy names a Unix peer, also of a stream that is closed during the copy") {
  auto [client, near] = eddy::socket_pair(loop);
  auto [far, server] = eddy::socket_pair(loop);
  const std::string peer = "unix peer, pid " + std::to_string(::getpid());
  std::string words;
  const auto relay = [&words](unix_stream& from, unix_stream& to) -> task<std::error_code> {
    try {
      co_await copy(from, to);
    } catch (const std::system_error& e) {
      words = e.what();
      co_return e.code();
    }
    co_return std::error_code();
  };
  std::error_code expected = std::make_error_code(std::errc::operation_canceled);
  std::string first_words = "read from ";
  std::function<void()> disturb;
  std::string before;
  SUBCASE("the source is closed before the first byte") {
    disturb = [&] { near.close(); };
  }
  SUBCASE("the source is closed after the first bytes") {
    before = "bytes";
    disturb = [&] { near.close(); };
  }
  SUBCASE("the target is closed while it is full") {
    before = std::string(1'000'000, 'm');
    disturb = [&] { far.close(); };
    first_words = "write to ";
  }
  SUBCASE("the peer of the target has gone") {
    disturb = [&] {
      server.close();
      send(client, "late");
    };
    expected = std::make_error_code(std::errc::broken_pipe);
    first_words = "write to ";
  }
  const auto disturbing = [&]() -> task<> {
    if (before.size() < 1000) {
      co_await client.write(before);
    } else {
      client.write(before, [](eddy::result<void>) {});
    }
    co_await sleep(1s);
    disturb();
  };
  auto both = join(relay(near, far), disturbing());
  const auto [error, nothing] = co_await std::move(both);
  CHECK(error == expected);
  CHECK(words.starts_with(first_words + peer + ": "));
  client.close();
}

ASYNC_TEST("each errno of splice(2) leaves a copy as an error that names the stream") {
  for (const int error : {EBADF, EIO, ECONNRESET, ETIMEDOUT, EPIPE, ENOBUFS, ENOMEM}) {
    for (const std::size_t kth : {1, 2, 3}) {
      stream_pair from(loop);
      stream_pair to(loop);
      send(from.near, "bytes");
      from.near.shutdown();
      failing_system system;
      system.fail(call::splice, error, kth);
      std::string words;
      std::error_code got;
      try {
        co_await copy(from.far, to.near);
      } catch (const std::system_error& e) {
        words = e.what();
        got = e.code();
      }
      CHECK(got.value() == error);
      CHECK(words.starts_with(kth == 2 ? "write to 127.0.0.1:" : "read from 127.0.0.1:"));
      if (kth == 1) CHECK(take(from.far) == "bytes");
    }
  }
}

ASYNC_TEST("without a pipe, or where splice is refused, a copy reads and writes") {
  stream_pair from(loop);
  stream_pair to(loop);
  send(from.near, "bytes");
  from.near.shutdown();
  failing_system system;
  SUBCASE("no pipe") { system.fail(call::pipe, EMFILE); }
  SUBCASE("splice is refused") { system.fail(call::splice, EINVAL, 1, true); }
  const std::uint64_t count = co_await copy(from.far, to.near);
  CHECK(count == 5);
  CHECK(take(to.far) == "bytes");
}

ASYNC_TEST("a copy to a peer that has gone fails without SIGPIPE") {
  stream_pair from(loop);
  stream_pair to(loop);
  to.far.set_linger(0s);
  to.far.close();
  const auto feed = [](tcp_stream& into) -> task<> {
    for (int i = 0; i < 3; ++i) {
      co_await into.write(std::string_view("bytes"));
      co_await sleep(1ms);
    }
    into.shutdown();
  };
  const auto relay = [](tcp_stream& a, tcp_stream& b) -> task<std::error_code> {
    const auto first = co_await as_result(copy(a, b));
    const auto second = co_await as_result(copy(a, b));
    CHECK((second || second.error() == std::errc::broken_pipe));
    co_return first ? std::error_code() : first.error();
  };
  auto both = join(feed(from.near), relay(from.far, to.near));
  const auto [nothing, error] = co_await std::move(both);
  CHECK((error == std::errc::connection_reset || error == std::errc::broken_pipe));
}

ASYNC_TEST("closing the source during a copy ends it with operation_canceled") {
  stream_pair from(loop);
  stream_pair to(loop);
  const auto relay = [](tcp_stream& a, tcp_stream& b) -> task<std::error_code> {
    const auto r = co_await as_result(copy(a, b));
    co_return r ? std::error_code() : r.error();
  };
  const auto close = [](tcp_stream& s) -> task<> {
    co_await sleep(1s);
    s.close();
  };
  auto both = join(relay(from.far, to.near), close(from.far));
  const auto [error, nothing] = co_await std::move(both);
  CHECK(error == std::errc::operation_canceled);
}

ASYNC_TEST("after shutdown_read, a copy between sockets ends with the bytes that were there") {
  stream_pair from(loop);
  stream_pair to(loop);
  send(from.near, "early");
  from.far.shutdown_read();
  send(from.near, "late");
  const std::uint64_t count = co_await copy(from.far, to.near);
  CHECK(count == 5);
  CHECK(take(to.far) == "early");
}

ASYNC_TEST("a copy without traffic fails after its idle limit, and traffic moves the limit") {
  auto [a, b] = duplex(100, 100);
  auto [c, d] = duplex(100, 100);
  const auto speak = [](duplex_stream& to) -> task<> {
    for (int i = 0; i < 5; ++i) {
      co_await sleep(700ms);
      co_await to.write(std::string_view("x"));
    }
  };
  const auto relay = [](duplex_stream& x, duplex_stream& y) -> task<std::error_code> {
    eddy::copy_both_options options;
    options.idle_limit = 1s;
    auto copying = copy_bidirectional(x, y, std::move(options));
    const auto r = co_await as_result(std::move(copying));
    co_return r ? std::error_code() : r.error();
  };
  const eddy::time_point begin = loop.now();
  auto both = join(speak(a), relay(b, c));
  const auto [nothing, error] = co_await std::move(both);
  CHECK(error == std::errc::timed_out);
  CHECK(d.unread() == 5);
  CHECK(loop.now() - begin >= 4500ms);
}

namespace {

constexpr std::size_t much_for_a_slow_reader = 4000;

/// Copies to a target whose reader takes `at_once` bytes each second, under a limit of 30 s. All
/// bytes take longer than the limit.
template <eddy::byte_stream From, eddy::byte_stream To, class Reader>
task<> copy_to_slow_reader(From& source, From& from, To& to, Reader& reader, std::size_t at_once,
                           std::size_t all) {
  const auto relay = [](From& a, To& b) -> task<std::uint64_t> {
    eddy::copy_options options;
    options.idle_limit = 30s;
    auto copying = copy(a, b, std::move(options));
    const std::uint64_t n = co_await std::move(copying);
    co_await eddy::detail::shut_down(b);
    co_return n;
  };
  const auto take_slowly = [at_once](Reader& of) -> task<std::size_t> {
    std::vector<std::byte> space(at_once);
    std::size_t sum = 0;
    for (;;) {
      co_await sleep(1s);
      auto reading = of.read(space);
      const std::size_t n = co_await std::move(reading);
      if (n == 0) co_return sum;
      sum += n;
    }
  };
  auto together = join(say(source, std::string(all, 's')), relay(from, to), take_slowly(reader));
  const auto [nothing, count, got] = co_await std::move(together);
  CHECK(count == all);
  CHECK(got == all);
}

/// A stream that has only the members of a `byte_stream`.
class opaque_stream {
public:
  explicit opaque_stream(duplex_stream&& below) : below_(std::move(below)) {}
  auto read(eddy::mutable_buffer into) { return below_.read(into); }
  auto write(eddy::const_buffer bytes) {
    largest = std::max(largest, bytes.size());
    return below_.write(bytes);
  }
  auto write(std::span<const eddy::const_buffer> all) { return below_.write(all); }
  void shutdown() { below_.shutdown(); }
  void close() { below_.close(); }
  [[nodiscard]] eddy::event_loop& loop() const { return below_.loop(); }

  std::size_t largest = 0;

private:
  duplex_stream below_;
};

}  // namespace

ASYNC_TEST("a reader that is slow, but takes bytes, keeps a copy in memory alive") {
  auto [a, b] = duplex(10'000, 100);
  auto [c, d] = duplex(50, 50);
  const std::size_t all = much_for_a_slow_reader;
  SUBCASE("directly") { co_await copy_to_slow_reader(a, b, c, d, 50, all); }
  SUBCASE("through an any_stream") {
    any_stream to(std::move(c));
    co_await copy_to_slow_reader(a, b, to, d, 50, all);
  }
  SUBCASE("through a buffered stream") {
    eddy::buffered<duplex_stream> to(std::move(c));
    co_await to.write(std::string_view());
    co_await copy_to_slow_reader(a, b, to, d, 50, all);
  }
  SUBCASE("through a limited stream") {
    eddy::limited_stream to = eddy::limited(std::move(c), 10, 1000);
    co_await copy_to_slow_reader(a, b, to, d, 50, all);
  }
  SUBCASE("through several streams") {
    any_stream to(eddy::limited(any_stream(std::move(c)), 10'000, 1000));
    co_await copy_to_slow_reader(a, b, to, d, 50, all);
  }
}

ASYNC_TEST("a reader that is slow, but takes bytes, keeps a copy to a socket alive") {
  auto [client, from] = eddy::socket_pair(loop);
  auto [to, reader] = eddy::socket_pair(loop);
  to.set_send_buffer(4096);
  constexpr std::size_t all = 300'000;
  SUBCASE("in the kernel") {
    failing_system system;
    system.shorten(call::splice, failing_system::share::one, 2, all);  // all but the first read
    co_await copy_to_slow_reader(client, from, to, reader, 1024, 2000);
  }
  SUBCASE("read and written") {
    auto [a, b] = duplex(100'000, 100);
    failing_system system;
    system.shorten(call::send, failing_system::share::one, 1, all);
    co_await copy_to_slow_reader(a, b, to, reader, 1024, 2000);
  }
  SUBCASE("through an any_stream") {
    auto [a, b] = duplex(100'000, 100);
    any_stream target(std::move(to));
    failing_system system;
    system.shorten(call::send, failing_system::share::one, 1, all);
    co_await copy_to_slow_reader(a, b, target, reader, 1024, 2000);
  }
}

ASYNC_TEST("a reader that is slow, but takes bytes, keeps a copy to a pipe alive") {
  auto [reader, writer] = eddy::make_pipe(loop);
  REQUIRE(::fcntl(writer.descriptor(), F_SETPIPE_SZ, 4096) == 4096);
  auto [unread, unused] = eddy::make_pipe(loop);
  eddy::pipe_stream to(std::move(unread), std::move(writer));
  auto [a, b] = duplex(100'000, 100);
  co_await copy_to_slow_reader(a, b, to, reader, 1024, 100'000);
}

ASYNC_TEST("with an idle limit, a stream of a program's own is written in pieces of 4 KiB") {
  for (const bool limited : {false, true}) {
    auto [a, b] = duplex(100'000, 100);
    auto [c, d] = duplex(100'000, 100);
    opaque_stream to(std::move(c));
    CHECK(a.try_write(std::string(50'000, 'p')).has_value());
    a.shutdown();
    eddy::copy_options options;
    if (limited) options.idle_limit = 30s;
    auto copying = copy(b, to, std::move(options));
    const std::uint64_t count = co_await std::move(copying);
    CHECK(count == 50'000);
    CHECK(d.unread() == 50'000);
    CHECK(to.largest == (limited ? 4096 : 50'000));
  }
}

ASYNC_TEST("the idle limit ends a copy to a reader that has stopped, a limit after its last byte") {
  auto [a, b] = duplex(100, 100);
  auto [c, d] = duplex(50, 50);
  const auto relay = [](duplex_stream& x, duplex_stream& y) -> task<eddy::time_point> {
    eddy::copy_options options;
    options.idle_limit = 30s;
    auto copying = copy(x, y, std::move(options));
    const auto r = co_await as_result(std::move(copying));
    CHECK(r.error() == std::errc::timed_out);
    co_return x.loop().now();
  };
  const auto read_and_stop = [](duplex_stream& of) -> task<eddy::time_point> {
    std::array<char, 10> some{};
    for (int i = 0; i < 4; ++i) {
      co_await sleep(20s);
      co_await of.read(some);
    }
    co_return of.loop().now();
  };
  const std::string sent(100, 's');
  a.write(sent, [](eddy::result<void>) {});
  auto both = join(relay(b, c), read_and_stop(d));
  const auto [ended, last] = co_await std::move(both);
  CHECK(ended - last >= 30s);
  CHECK(ended - last < 31s);
}

ASYNC_TEST("no error leaves run if a limited copy is cancelled in the turn in which it fails") {
  for (const bool limited : {false, true}) {
    auto [client, near] = duplex(10, 10);
    auto [far, server] = duplex(10, 10);
    bool caught = false;
    const auto relay = [&caught, limited](duplex_stream& x, duplex_stream& y) -> task<> {
      eddy::copy_both_options options;
      if (limited) options.idle_limit = 1h;
      auto copying = copy_bidirectional(x, y, std::move(options));
      const auto r = co_await as_result(std::move(copying));
      caught = !r && r.error() == std::errc::connection_reset;
    };
    eddy::scope all;
    all.spawn(relay(near, far));
    co_await server.write(std::string_view("unread"));
    co_await sleep(1s);
    client.close();
    co_await eddy::yield();  // the copy fails
    all.cancel();
    co_await sleep(1s);
    CHECK(caught);
  }
}

TEST_CASE_FIXTURE(with_still_loop,
                  "the last progress of a cancelled copy tells all bytes that left") {
  constexpr std::size_t all = 1'000'000;
  int cancelled = 0;  // copies that had moved a part
  for (int turns = 1; turns < 20; ++turns) {
    const auto check = [&](auto& to, auto& reader, std::size_t piece) {
      auto [a, b] = duplex(loop, all, 100);
      CHECK(a.try_write(std::string(all, 'p')).has_value());
      std::uint64_t told = 0;
      eddy::copy_options options;
      options.buffer_size = piece;
      options.on_progress = [&told](std::uint64_t n) { told = n; };
      eddy::pending_operation copying =
          copy(b, to, std::move(options), [](eddy::result<std::uint64_t>) {});
      for (int i = 0; i < turns; ++i) loop.run_ready();
      copying.stop();
      std::string got(all, '\0');
      std::uint64_t sum = 0;
      while (const auto n = reader.try_read(got)) sum += n->value();
      CHECK(told == sum);
      if (sum != 0 && sum != all) ++cancelled;
    };
    for (const std::size_t piece : {1U, 100'000U}) {
      auto [to, reader] = eddy::socket_pair(loop);
      check(to, reader, piece);
      auto [c, d] = duplex(loop, all, 100);
      any_stream any(std::move(c));
      check(any, d, piece);
      auto [pipe_reader, pipe_writer] = eddy::make_pipe(loop);
      auto [unread, unused] = eddy::make_pipe(loop);
      eddy::pipe_stream pipe(std::move(unread), std::move(pipe_writer));
      check(pipe, pipe_reader, piece);
    }
  }
  CHECK(cancelled > 20);
}

ASYNC_TEST("closing the writer of a pipe during a copy to it ends the copy") {
  for (const bool limited : {false, true}) {
    auto [a, b] = duplex(100'000, 100);
    auto [unread, unused] = eddy::make_pipe(loop);
    auto [reader, writer] = eddy::make_pipe(loop);
    eddy::pipe_stream to(std::move(unread), std::move(writer));
    CHECK(a.try_write(std::string(100'000, 'p')).has_value());
    eddy::copy_options options;
    options.buffer_size = 100;
    if (limited) options.idle_limit = 1h;
    options.on_progress = [&to](std::uint64_t) { to.shutdown(); };
    auto copying = copy(b, to, std::move(options));
    const auto r = co_await as_result(std::move(copying));
    CHECK(r.error() == std::errc::operation_canceled);
  }
}

TEST_CASE_FIXTURE(with_still_loop,
                  "a copy in the kernel counts the parts of a piece as they leave") {
  auto [client, from] = eddy::socket_pair(loop);
  auto [to, reader] = eddy::socket_pair(loop);
  std::uint64_t told = 0;
  eddy::copy_options options;
  options.on_progress = [&told](std::uint64_t n) { told = n; };
  const std::string much(50'000, 'k');
  failing_system system;
  system.shorten(call::splice, failing_system::share::one, 2, much.size());
  client.write(much, [](eddy::result<void>) {});
  eddy::pending_operation copying =
      copy(from, to, std::move(options), [](eddy::result<std::uint64_t>) {});
  for (int i = 0; i < 10; ++i) loop.run_ready();
  copying.stop();
  client.close();
  CHECK(told != 0);
  CHECK(told < much.size());
  CHECK(take(reader).size() == told);
}

ASYNC_TEST("progress is told after each write") {
  auto [a, b] = duplex(4, 4);
  auto [c, d] = duplex(100, 100);
  std::vector<std::uint64_t> told;
  eddy::copy_options options;
  options.on_progress = [&told](std::uint64_t n) { told.push_back(n); };
  auto both = join(say(a, "12345678"), copy(b, c, std::move(options)));
  const auto [nothing, count] = co_await std::move(both);
  CHECK(count == 8);
  CHECK(told == std::vector<std::uint64_t>{4, 8});
}

namespace {

/// Runs a copy in one of its forms, whose handler of progress acts once. Returns the error with
/// which the copy ends, or nothing if it was cancelled.
template <class Stream, class Act>
std::optional<std::error_code> acting_copy(int form, bool limited, Act act) {
  eddy::event_loop loop;
  std::vector<std::unique_ptr<Stream>> streams;
  std::vector<Stream> peers;
  for (int i = 0; i < 3; ++i) {
    auto ends = [&loop] {
      if constexpr (std::same_as<Stream, unix_stream>) {
        return eddy::socket_pair(loop);
      } else {
        return duplex(loop, 100, 100);
      }
    }();
    streams.push_back(std::make_unique<Stream>(std::move(ends.first)));
    peers.push_back(std::move(ends.second));
  }
  CHECK(peers[0].try_write(std::string_view("bytes")).has_value());
  eddy::pending_operation copying;
  std::optional<std::error_code> error;
  const auto ended = [&](auto r) { error = r ? std::error_code() : r.error(); };
  const auto tell = [&](auto) {
    CHECK(peers[0].try_write(std::string_view("more bytes")).has_value());
    act(copying, streams);
  };
  const auto set = [&](auto options) {
    if (limited) options.idle_limit = 1h;
    options.on_progress = tell;
    return options;
  };
  Stream& from = *streams[0];
  Stream& to = *streams[1];
  if (form == 0) copying = copy(from, to, set(eddy::copy_options()), ended);
  if (form == 1) copying = eddy::tee(from, to, *streams[2], set(eddy::copy_options()), ended);
  if (form == 2) {
    copying = eddy::copy_bidirectional(from, to, set(eddy::copy_both_options()), ended);
  }
  loop.run();
  return error;
}

/// Calls `check` with each form of a copy between in-memory streams and between sockets.
template <class Check>
void for_each_copy(Check check) {
  for (int form = 0; form < 3; ++form) {
    for (const bool limited : {false, true}) {
      CAPTURE(form);
      CAPTURE(limited);
      check([&](auto act) { return acting_copy<duplex_stream>(form, limited, act); });
      check([&](auto act) { return acting_copy<unix_stream>(form, limited, act); });
    }
  }
}

}  // namespace

TEST_CASE_FIXTURE(tidy, "a handler of progress may cancel the copy and destroy the streams") {
  for_each_copy([](auto run) {
    CHECK_FALSE(run([](eddy::pending_operation& copying, auto& streams) {
      copying.stop();
      streams.clear();
    }));
  });
}

TEST_CASE_FIXTURE(tidy, "a stream that is closed in a handler of progress ends the copy") {
  for_each_copy([](auto run) {
    for (const std::size_t which : {0U, 1U}) {
      CHECK(run([which](auto&, auto& streams) { streams[which]->close(); }) ==
            std::make_error_code(std::errc::operation_canceled));
    }
  });
}

TEST_CASE_FIXTURE(with_still_loop, "an exception of a handler of progress ends its copy") {
  auto [a, b] = duplex(loop, 10, 10);
  auto [c, d] = duplex(loop, 10, 10);
  std::error_code error;
  std::error_code expected;
  SUBCASE("a system_error is the result") { expected = std::make_error_code(std::errc::io_error); }
  SUBCASE("a bad_alloc is the result") {
    expected = std::make_error_code(std::errc::not_enough_memory);
  }
  SUBCASE("another exception leaves run") {}
  eddy::copy_options options;
  options.on_progress = [expected](std::uint64_t) {
    if (expected == std::errc::not_enough_memory) throw std::bad_alloc();
    if (expected) throw std::system_error(expected);
    throw std::runtime_error("of the handler");
  };
  const auto copying =
      copy(b, c, std::move(options), [&](eddy::result<std::uint64_t> r) { error = r.error(); });
  CHECK(a.try_write(std::string_view("x")).value() == 1);
  if (expected) {
    loop.run();
    CHECK(error == expected);
  } else {
    CHECK_THROWS_WITH_AS(loop.run(), "of the handler", std::runtime_error);
    CHECK_FALSE(error);
  }
  CHECK_FALSE(copying.active());
}

TEST_CASE("a copy to a stream that is not open aborts the program with a sentence") {
  dies_saying("a duplex_stream was used that is not open", [] {
    eddy::event_loop loop;
    auto [a, b] = duplex(loop, 1, 1);
    duplex_stream closed;
    const auto copying = copy(a, closed, {}, [](eddy::result<std::uint64_t>) {});
    loop.run();
  });
}

namespace {

/// Closes a stream of each kind of copy before the copy begins, which must cancel the copy.
template <class Stream, class Pair>
void close_before_start(eddy::event_loop& loop, Pair pair) {
  for (const int which : {0, 1, 2, 3}) {
    for (const bool closed_first : {true, false}) {
      auto [a, b] = pair();
      auto [c, d] = pair();
      auto [e, f] = pair();
      std::error_code error;
      const auto note = [&error](const auto& r) { error = r ? std::error_code() : r.error(); };
      eddy::pending_operation copying;
      if (which == 0) copying = copy(b, c, {}, note);
      if (which == 1) copying = copy_bidirectional(b, c, {}, note);
      if (which == 2) copying = eddy::tee(b, c, e, {}, note);
      if (which == 3) copying = eddy::tee(b, e, c, {}, note);
      Stream& closed = closed_first ? b : c;
      closed.close();
      loop.run();
      REQUIRE(error == std::errc::operation_canceled);
    }
  }
}

}  // namespace

TEST_CASE_FIXTURE(with_still_loop, "a stream that is closed before its copy begins ends the copy") {
  close_before_start<duplex_stream>(loop, [&] { return duplex(loop, 10, 10); });
  close_before_start<unix_stream>(loop, [&] { return eddy::socket_pair(loop); });
}

ASYNC_TEST("a stream that is closed before its copy is awaited ends the copy") {
  auto [a, b] = duplex(10, 10);
  auto [c, d] = duplex(10, 10);
  auto copying = copy(b, c);
  c.close();
  const auto r = co_await as_result(std::move(copying));
  CHECK(r.error() == std::errc::operation_canceled);
}

ASYNC_TEST("a copy to a buffered stream ends when the stream below is closed") {
  for (const bool limited : {false, true}) {
    auto [a, b] = duplex(100, 100);
    auto [c, d] = duplex(100, 100);
    eddy::buffered<duplex_stream> to(std::move(c));
    CHECK(a.try_write(std::string_view("onetwo")).value() == 6);
    eddy::copy_options options;
    options.buffer_size = 3;
    if (limited) options.idle_limit = 1h;
    options.on_progress = [&to](std::uint64_t) { to.stream().close(); };
    auto copying = copy(b, to, std::move(options));
    const auto r = co_await as_result(std::move(copying));
    CHECK(r.error() == std::errc::operation_canceled);
  }
}

ASYNC_TEST("tee gives both targets all bytes at the pace of the slower one") {
  auto [a, b] = duplex(9, 9);
  auto [c, d] = duplex(3, 3);
  auto [e, f] = duplex(1000, 1000);
  const auto split = [](duplex_stream& from, duplex_stream& x, duplex_stream& y) -> task<> {
    const std::uint64_t n = co_await eddy::tee(from, x, y);
    CHECK(n == 100);
    x.shutdown();
    y.shutdown();
  };
  auto all = join(say(a, std::string(100, 't')), split(b, c, e), read_all(d), read_all(f));
  const auto [x, y, one, two] = co_await std::move(all);
  CHECK(one == std::string(100, 't'));
  CHECK(two == one);
}

ASYNC_TEST("a copy to a buffered stream is flushed") {
  auto [a, b] = duplex(100, 100);
  auto [c, d] = duplex(100, 100);
  eddy::buffered<duplex_stream> to(std::move(c));
  co_await a.write(std::string_view("at once"));
  auto copying = eddy::timeout(1s, copy(b, to));
  const auto r = co_await as_result(std::move(copying));
  CHECK(r.error() == std::errc::timed_out);
  CHECK(d.unread() == 7);
}

TEST_CASE_FIXTURE(with_still_loop, "a copy with a handler calls it once, and not when stopped") {
  auto [a, b] = duplex(loop, 100, 100);
  auto [c, d] = duplex(loop, 100, 100);
  std::vector<std::uint64_t> got;
  CHECK(a.try_write(std::string_view("bytes")).value() == 5);
  eddy::pending_operation copying =
      copy(b, c, {}, [&](eddy::result<std::uint64_t> r) { got.push_back(r.value()); });
  CHECK(got.empty());
  loop.run();
  CHECK(d.unread() == 5);
  SUBCASE("to its end") {
    a.shutdown();
    loop.run();
    CHECK(got == std::vector<std::uint64_t>{5});
  }
  SUBCASE("stopped") {
    copying.stop();
    a.shutdown();
    loop.run();
    CHECK(got.empty());
  }
}

TEST_CASE_FIXTURE(with_still_loop, "copy_bidirectional and tee have a form with a handler") {
  auto [a, b] = duplex(loop, 100, 100);
  auto [c, d] = duplex(loop, 100, 100);
  auto [e, f] = duplex(loop, 100, 100);
  a.shutdown();
  std::optional<eddy::copied> both;
  std::optional<std::uint64_t> teed;
  SUBCASE("copy_bidirectional") {
    CHECK(d.try_write(std::string_view("abc")).has_value());
    d.shutdown();
    const auto p = copy_bidirectional(b, c, {}, [&](auto r) { both = r.value(); });
    loop.run();
    REQUIRE(both.has_value());
    CHECK(both->a_to_b == 0);
    CHECK(both->b_to_a == 3);
  }
  SUBCASE("tee") {
    const auto p = eddy::tee(b, c, e, {}, [&](auto r) { teed = r.value(); });
    loop.run();
    CHECK(teed == 0);
  }
}

namespace {

struct relays {
  explicit relays(eddy::trial& t)
      : of(t), client(duplex(t.loop(), 4, 4)), server(duplex(t.loop(), 4, 4)) {}
  task<> work() {
    const eddy::trial::part held(of);
    eddy::copy_both_options options;
    options.idle_limit = 10s;
    options.buffer_size = 3;
    auto all = join(ask(client.first, "question"),
                    copy_bidirectional(client.second, server.first, std::move(options)),
                    answer(server.second));
    const auto [got, count, nothing] = co_await std::move(all);
    CHECK(got == "re: question");
  }
  eddy::trial& of;
  std::pair<duplex_stream, duplex_stream> client;
  std::pair<duplex_stream, duplex_stream> server;
};

struct relays_in_the_kernel {
  explicit relays_in_the_kernel(eddy::trial& t) : of(t), client(t.loop()), server(t.loop()) {}
  task<> work() {
    const eddy::trial::part held(of);
    auto all = join(ask(client.near, "question"), copy_bidirectional(client.far, server.near),
                    answer(server.far));
    const auto [got, count, nothing] = co_await std::move(all);
    CHECK(got == "re: question");
  }
  eddy::trial& of;
  stream_pair client;
  stream_pair server;
};

struct tees {
  explicit tees(eddy::trial& t)
      : of(t),
        in(duplex(t.loop(), 4, 4)),
        one(duplex(t.loop(), 2, 2)),
        two(duplex(t.loop(), 8, 8)) {}
  task<> work() {
    const eddy::trial::part held(of);
    auto all = join(say(in.first, "words"), split(), read_all(one.second), read_all(two.second));
    const auto [x, y, a, b] = co_await std::move(all);
    CHECK(a + b == "wordswords");
  }
  task<> split() {
    const std::uint64_t n = co_await eddy::tee(in.second, one.first, two.first);
    CHECK(n == 5);
    one.first.shutdown();
    two.first.shutdown();
  }
  eddy::trial& of;
  std::pair<duplex_stream, duplex_stream> in;
  std::pair<duplex_stream, duplex_stream> one;
  std::pair<duplex_stream, duplex_stream> two;
};

}  // namespace

TEST_CASE("copy_bidirectional is ended at every point") {
  check_report(eddy::every_point<relays>());
  check_report(eddy::every_point<relays>(1));
}

TEST_CASE("copy_bidirectional between sockets is ended at every point") {
  check_report(eddy::every_point<relays_in_the_kernel>());
  check_report(eddy::every_point<relays_in_the_kernel>(1));
}

TEST_CASE("tee is ended at every point") {
  check_report(eddy::every_point<tees>());
  check_report(eddy::every_point<tees>(1));
}
