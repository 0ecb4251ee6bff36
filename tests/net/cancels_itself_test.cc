// SPDX-License-Identifier: BSD-2-Clause
// Tests that a coroutine which cancels itself ends at its next co_await, for every operation of
// net/.
#include "support/cancels_itself.h"

#include <array>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <eddy/future/as_result.h>
#include <eddy/future/block_on.h>
#include <eddy/net/any_stream.h>
#include <eddy/net/buffered.h>
#include <eddy/net/connect.h>
#include <eddy/net/copy.h>
#include <eddy/net/duplex.h>
#include <eddy/net/limited.h>
#include <eddy/net/pipe.h>
#include <eddy/net/process.h>
#include <eddy/net/resolve.h>
#include <eddy/net/run.h>
#include <eddy/net/send_file.h>
#include <eddy/net/signal_queue.h>
#include <eddy/net/tcp_listener.h>
#include <eddy/net/tcp_stream.h>
#include <eddy/net/udp_socket.h>
#include <eddy/net/unix_connect.h>
#include <eddy/net/unix_datagram.h>
#include <eddy/net/unix_listener.h>
#include <eddy/net/unix_seqpacket.h>
#include <eddy/net/unix_stream.h>

#include "support/async_test.h"
#include "support/stream_pair.h"
#include "support/temporary_directory.h"
#include "support/udp_pair.h"

using namespace std::chrono_literals;
using namespace std::string_view_literals;
using eddy::address;
using eddy::unix_address;

namespace {

/// A fixture with memory for the operations.
class self_cancelling : public async_fixture {
protected:
  /// Makes an operation on an object and closes the object.
  template <class Object, class Make>
  static auto on_closed(Object object, Make make) {
    auto operation = make(object);
    object.close();
    return operation;
  }

  cancels_itself check{loop};
  std::array<char, 64> buffer{};
  std::array<eddy::const_buffer, 2> words{eddy::const_buffer("two"sv),
                                          eddy::const_buffer("words"sv)};
  std::array<eddy::unique_descriptor, 1> slots;
  std::array<int, 1> descriptors{STDERR_FILENO};
};

/// An own connected stream, whose peer is gone.
eddy::tcp_stream stream_of(eddy::event_loop& loop) { return std::move(stream_pair(loop).near); }

}  // namespace

TEST_CASE_FIXTURE(self_cancelling,
                  "a coroutine that cancels itself ends at a co_await on a closed stream") {
  check.ready("read", [this] {
    return on_closed(stream_of(loop), [&](auto& s) { return s.read(buffer); });
  });
  check.ready("write", [this] {
    return on_closed(stream_of(loop), [](auto& s) { return s.write("word"sv); });
  });
  check.ready("write of a list", [this] {
    return on_closed(stream_of(loop), [&](auto& s) { return s.write(words); });
  });
  check.ready("wait_readable", [this] {
    return on_closed(stream_of(loop), [](auto& s) { return s.wait_readable(); });
  });
  check.ready("wait_writable", [this] {
    return on_closed(stream_of(loop), [](auto& s) { return s.wait_writable(); });
  });
  check.ready("as_result of read", [this] {
    return eddy::as_result(on_closed(stream_of(loop), [&](auto& s) { return s.read(buffer); }));
  });
  check.ready("send_file", [this] {
    return on_closed(stream_of(loop), [](auto& s) { return eddy::send_file(s, 0, 0, 1); });
  });
  check.ready("accept", [this] {
    return on_closed(eddy::tcp_listener(loop, address::loopback_v4(0)),
                     [](auto& l) { return l.accept(); });
  });
}

TEST_CASE_FIXTURE(self_cancelling,
                  "a coroutine that cancels itself ends at a co_await on a ready TCP stream") {
  std::optional<stream_pair> pair;
  const auto near = [&]() -> eddy::tcp_stream& {
    pair.emplace(loop);
    send(pair->far, "word");
    return pair->near;
  };
  check.ready("read", [&] { return near().read(buffer); });
  check.ready("write", [&] { return near().write("word"sv); });
  check.completes("wait_readable", [&] { return near().wait_readable(); });
  const std::string much(8'000'000, 'm');
  check.completes("write behind a delayed shutdown", [&] {
    eddy::tcp_stream& s = near();
    s.write(much, [](const eddy::result<void>&) {});
    s.shutdown();
    loop.defer([&] { pair.reset(); });
    return s.write("word"sv);
  });

  eddy::tcp_listener listener(loop, address::loopback_v4(0));
  const int first = plain_connection(listener.local_address());
  const int second = plain_connection(listener.local_address());
  check.completes("accept", [&] { return listener.accept(); });
  ::close(first);
  ::close(second);
}

TEST_CASE_FIXTURE(self_cancelling, "a coroutine that cancels itself ends at connect and resolve") {
  eddy::tcp_listener listener(loop, address::loopback_v4(0));
  const address at = listener.local_address();
  check.completes("connect", [&] { return eddy::connect(at); });
  check.completes("connect to a name", [&] { return eddy::connect("127.0.0.1", at.port()); });
  check.completes("resolve", [] { return eddy::resolve("127.0.0.1", 80); });

  const temporary_directory d;
  eddy::unix_listener streams(loop, unix_address(d / "streams"));
  eddy::unix_seqpacket_listener packets(loop, unix_address(d / "packets"));
  check.completes("connect to a Unix socket",
                  [&] { return eddy::connect(streams.local_address()); });
  check.completes("connect_seqpacket",
                  [&] { return eddy::connect_seqpacket(packets.local_address()); });
  check.completes("connect to no socket", [] { return eddy::connect(unix_address("/nowhere")); });
  check.completes("accept", [&] { return streams.accept(); });
  check.ready("accept on a closed listener", [&] {
    return on_closed(eddy::unix_listener(loop, unix_address()), [](auto& l) { return l.accept(); });
  });
}

TEST_CASE_FIXTURE(self_cancelling, "a coroutine that cancels itself ends at a co_await on UDP") {
  std::array<eddy::incoming_datagram, 1> into{eddy::incoming_datagram(buffer)};
  std::array<eddy::outgoing_datagram, 1> out{
      eddy::outgoing_datagram("word"sv, address::loopback_v4(9))};
  const auto socket = [this] { return eddy::udp_socket(loop, address::loopback_v4(0)); };
  check.ready("receive, closed",
              [&] { return on_closed(socket(), [&](auto& s) { return s.receive(buffer); }); });
  check.ready("send, closed", [&] {
    return on_closed(socket(), [](auto& s) { return s.send("word"sv, address::loopback_v4(9)); });
  });
  check.ready("receive_many, closed",
              [&] { return on_closed(socket(), [&](auto& s) { return s.receive_many(into); }); });
  check.ready("send_many, closed",
              [&] { return on_closed(socket(), [&](auto& s) { return s.send_many(out); }); });
  check.ready("wait_readable, closed",
              [&] { return on_closed(socket(), [](auto& s) { return s.wait_readable(); }); });
  check.ready("wait_writable, closed",
              [&] { return on_closed(socket(), [](auto& s) { return s.wait_writable(); }); });

  udp_pair pair(loop);
  send(pair.far, "first", pair.near_address);
  send(pair.far, "second", pair.near_address);
  CHECK(arrives_at(pair.near));
  check.ready("receive", [&] { return pair.near.receive(buffer); });
  CHECK(take(pair.near) == "second");  // the cancelled receive has lost nothing
  check.ready("send", [&] { return pair.near.send("word"sv, pair.far_address); });
  CHECK(take(pair.far) == "word");
  CHECK(take(pair.far) == "nothing");  // the cancelled send has sent nothing
}

TEST_CASE_FIXTURE(self_cancelling,
                  "a coroutine that cancels itself ends at a co_await on a Unix socket") {
  const auto stream = [this] { return std::move(eddy::socket_pair(loop).first); };
  const auto packets = [this] { return std::move(eddy::seqpacket_pair(loop).first); };
  const auto messages = [this] { return eddy::unix_datagram(loop); };
  const unix_address nowhere("/nowhere");
  check.ready("read", [&] { return on_closed(stream(), [&](auto& s) { return s.read(buffer); }); });
  check.ready("receive_descriptors", [&] {
    return on_closed(stream(), [&](auto& s) { return s.receive_descriptors(buffer, slots); });
  });
  check.ready("send_descriptors", [&] {
    return on_closed(stream(), [&](auto& s) { return s.send_descriptors("word"sv, descriptors); });
  });
  check.ready("receive",
              [&] { return on_closed(packets(), [&](auto& s) { return s.receive(buffer); }); });
  check.ready("send",
              [&] { return on_closed(packets(), [](auto& s) { return s.send("word"sv); }); });
  check.ready("receive_descriptors of a message", [&] {
    return on_closed(packets(), [&](auto& s) { return s.receive_descriptors(buffer, slots); });
  });
  check.ready("send_descriptors of a message", [&] {
    return on_closed(packets(), [&](auto& s) { return s.send_descriptors("word"sv, descriptors); });
  });
  check.ready("send_to", [&] {
    return on_closed(messages(), [&](auto& s) { return s.send_to("word"sv, nowhere); });
  });
  check.ready("send_descriptors_to", [&] {
    return on_closed(
        messages(), [&](auto& s) { return s.send_descriptors_to("word"sv, descriptors, nowhere); });
  });
  eddy::unix_datagram open(loop);
  check.ready("send_to nowhere", [&] { return open.send_to("word"sv, nowhere); });
}

TEST_CASE_FIXTURE(self_cancelling, "a coroutine that cancels itself ends at a co_await on a pipe") {
  const auto reader = [this] { return std::move(eddy::make_pipe(loop).reader); };
  const auto writer = [this] { return std::move(eddy::make_pipe(loop).writer); };
  check.ready("read, closed",
              [&] { return on_closed(reader(), [&](auto& r) { return r.read(buffer); }); });
  check.ready("wait_readable, closed",
              [&] { return on_closed(reader(), [](auto& r) { return r.wait_readable(); }); });
  check.ready("write, closed",
              [&] { return on_closed(writer(), [](auto& w) { return w.write("word"sv); }); });
  check.ready("write of a list, closed",
              [&] { return on_closed(writer(), [&](auto& w) { return w.write(words); }); });
  check.ready("wait_writable, closed",
              [&] { return on_closed(writer(), [](auto& w) { return w.wait_writable(); }); });

  eddy::pipe_ends ends = eddy::make_pipe(loop);
  check.ready("write", [&] { return ends.writer.write("word"sv); });
  check.ready("read", [&] {
    CHECK(ends.writer.try_write("more"sv).has_value());
    return ends.reader.read(buffer);
  });

  sigset_t mask;
  sigset_t before;
  ::sigemptyset(&mask);
  ::sigaddset(&mask, SIGUSR1);
  ::pthread_sigmask(SIG_BLOCK, &mask, &before);
  check.ready("signal_queue::receive, closed", [&] {
    return on_closed(eddy::signal_queue(loop, {SIGUSR1}), [](auto& q) { return q.receive(); });
  });
  eddy::signal_queue queue(loop, {SIGUSR1});
  check.ready("signal_queue::receive", [&] {
    ::kill(::getpid(), SIGUSR1);
    return queue.receive();
  });
  CHECK(queue.try_receive().has_value());  // the cancelled receive has lost nothing
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

TEST_CASE_FIXTURE(self_cancelling,
                  "a coroutine that cancels itself ends at a co_await on a process") {
  eddy::process child(loop, eddy::process_options("/bin/true"));
  eddy::block_on(loop, child.wait());
  check.ready("wait", [&] { return child.wait(); });
  check.completes("run", [] { return eddy::run(eddy::process_options("/bin/true")); });
}

TEST_CASE_FIXTURE(self_cancelling,
                  "a coroutine that cancels itself ends at a co_await on a stream in memory") {
  const auto end = [this] { return std::move(eddy::duplex(loop, 8, 8).first); };
  check.ready("read, closed",
              [&] { return on_closed(end(), [&](auto& s) { return s.read(buffer); }); });
  check.ready("write, closed",
              [&] { return on_closed(end(), [](auto& s) { return s.write("word"sv); }); });
  check.ready("write of a list, closed",
              [&] { return on_closed(end(), [&](auto& s) { return s.write(words); }); });

  std::pair<eddy::duplex_stream, eddy::duplex_stream> both;
  const auto fresh = [&]() -> eddy::duplex_stream& {
    both = eddy::duplex(loop, 100, 100);
    CHECK(both.second.try_write("line\n"sv).has_value());
    return both.first;
  };
  check.ready("read", [&] { return fresh().read(buffer); });
  check.ready("write", [&] { return fresh().write("word"sv); });
  check.ready("write of nothing", [&] { return fresh().write(""sv); });
  check.ready("write after shutdown", [&] {
    fresh().shutdown();
    return both.first.write("word"sv);
  });

  std::optional<eddy::buffered<eddy::duplex_stream>> lines;
  const auto with_line = [&]() -> eddy::buffered<eddy::duplex_stream>& {
    lines.emplace(std::move(fresh()));
    return *lines;
  };
  check.completes("buffered::read_line", [&] { return with_line().read_line(100); });
  CHECK(with_line().stream().try_read(buffer).has_value());
  CHECK(both.second.try_write("one\ntwo\n"sv).has_value());
  eddy::block_on(loop, lines->peek(8));
  check.ready("buffered::read_line of a line in the buffer", [&] { return lines->read_line(100); });
  CHECK(lines->unread() == "two\n");  // the cancelled read has lost nothing
  check.completes("buffered::write", [&] { return with_line().write("word"sv); });
  check.completes("buffered::flush", [&] { return with_line().flush(); });
  check.ready("buffered::read_line, closed", [&] {
    auto reading = with_line().read_line(100);
    lines.reset();
    return reading;
  });

  std::optional<eddy::any_stream> any;
  check.completes("any_stream::read", [&] { return any.emplace(std::move(fresh())).read(buffer); });
  check.completes("any_stream::write",
                  [&] { return any.emplace(std::move(fresh())).write("word"sv); });
  check.completes("any_stream::shutdown",
                  [&] { return any.emplace(std::move(fresh())).shutdown(); });
  check.completes("any_stream::read, closed", [&] {
    auto reading = any.emplace(std::move(fresh())).read(buffer);
    any->close();
    return reading;
  });
  std::optional<eddy::limited_stream> slow;
  check.completes("limited_stream::read", [&] {
    return slow.emplace(eddy::limited(std::move(fresh()), 1000, 1000)).read(buffer);
  });

  const auto ended = [&]() -> eddy::duplex_stream& {
    fresh();
    both.second.shutdown();
    return both.first;
  };
  std::optional<eddy::any_stream> target;
  std::pair<eddy::duplex_stream, eddy::duplex_stream> other;
  const auto fresh_target = [&]() -> eddy::any_stream& {
    other = eddy::duplex(loop, 100, 100);
    other.second.shutdown();
    return target.emplace(std::move(other.first));
  };
  check.completes("copy", [&] { return eddy::copy(ended(), fresh_target()); });
  check.completes("copy_bidirectional",
                  [&] { return eddy::copy_bidirectional(ended(), fresh_target()); });
}
