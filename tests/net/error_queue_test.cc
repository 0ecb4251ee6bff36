// SPDX-License-Identifier: BSD-2-Clause
// Sockets with entries in their error queue, which the kernel reports as ready again and again.
#include <array>
#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include <doctest/doctest.h>
#include <linux/errqueue.h>
#include <linux/net_tstamp.h>
#include <poll.h>
#include <sys/socket.h>

#include <eddy/future/as_result.h>
#include <eddy/future/spawn.h>
#include <eddy/loop/readiness.h>
#include <eddy/net/tcp_listener.h>
#include <eddy/net/tcp_stream.h>
#include <eddy/net/unix_seqpacket.h>

#include "support/async_test.h"
#include "support/failing_system.h"
#include "support/stream_pair.h"
#include "support/stream_tasks.h"

using namespace std::chrono_literals;
using eddy::result;
using eddy::tcp_stream;

namespace {

/// Makes the kernel put a time stamp into the error queue for each send.
void ask_for_stamps(tcp_stream& of) {
  const int wanted = SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE |
                     SOF_TIMESTAMPING_OPT_ID | SOF_TIMESTAMPING_OPT_TSONLY;
  REQUIRE(::setsockopt(of.descriptor(), SOL_SOCKET, SO_TIMESTAMPING, &wanted, sizeof wanted) == 0);
}

bool has_error(const tcp_stream& of, int patience) {
  pollfd about{.fd = of.descriptor(), .events = 0, .revents = 0};
  return ::poll(&about, 1, patience) == 1 && (about.revents & POLLERR) != 0;
}

/// Sends from `from` to `to`, which puts an entry into the error queue of `from`.
void send_with_stamp(tcp_stream& from, tcp_stream& to) {
  send(from, "x");
  REQUIRE(has_error(from, 10'000));
  pollfd about{.fd = to.descriptor(), .events = POLLIN, .revents = 0};
  ::poll(&about, 1, 10'000);
  CHECK(take(to) == "x");
}

/// Reads the whole error queue, as a program may. Returns the number of entries.
int read_error_queue(const tcp_stream& of) {
  int count = 0;
  std::array<char, 512> control;
  for (;; ++count) {
    msghdr message{};
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    if (::recvmsg(of.descriptor(), &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0) return count;
  }
}

/// Runs the loop until it would sleep. Returns whether that took few turns.
bool sleeps_soon(eddy::event_loop& loop) {
  int turns = 0;
  while (turns < 20 && loop.run_ready()) ++turns;
  return turns < 20;
}

eddy::task<std::string> wait_and_try(tcp_stream& from) {
  std::array<char, 64> buffer;
  for (;;) {
    co_await from.wait_readable();
    const auto n = from.try_read(buffer);
    if (n) co_return std::string(buffer.data(), n->value());
  }
}

eddy::task<> wait_and_write(tcp_stream& to) {
  for (;;) {
    co_await to.wait_writable();
    if (to.try_write("data")) co_return;
  }
}

}  // namespace

TEST_CASE_FIXTURE(with_loop, "a pending read sleeps though the error queue has an entry") {
  stream_pair pair(loop);
  ask_for_stamps(pair.near);
  send_with_stamp(pair.near, pair.far);

  const auto sleeps_until_data_comes = [&](eddy::task<std::string> reader) {
    auto reading = eddy::spawn(loop, std::move(reader));
    CHECK(sleeps_soon(loop));
    send_with_stamp(pair.near, pair.far);
    CHECK(sleeps_soon(loop));
    CHECK(!reading.ready());
    send(pair.far, "data");
    loop.run();
    CHECK(std::move(reading).take().value() == "data");
  };
  SUBCASE("a coroutine") { sleeps_until_data_comes(read_some(pair.near)); }
  SUBCASE("a coroutine with wait_readable and try_read") {
    sleeps_until_data_comes(wait_and_try(pair.near));
  }
  SUBCASE("a handler") {
    std::array<char, 64> buffer;
    std::size_t size = 0;
    pair.near.read(buffer, [&](result<std::size_t> n) { size = n.value(); });
    CHECK(sleeps_soon(loop));
    CHECK(size == 0);
    send(pair.far, "data");
    loop.run();
    CHECK(size == 4);
  }
}

TEST_CASE_FIXTURE(with_loop,
                  "a write to a full socket sleeps though the error queue has an entry") {
  stream_pair pair(loop);
  ask_for_stamps(pair.near);
  send_with_stamp(pair.near, pair.far);
  const std::string much(8'000'000, 'm');
  auto writing = eddy::spawn(loop, write_all(pair.near, much));
  CHECK(sleeps_soon(loop));
  CHECK(!writing.ready());
  std::size_t size = 0;
  while (size < much.size()) {
    size += take(pair.far).size();
    loop.run_ready();
  }
  loop.run();
  CHECK(writing.ready());
}

TEST_CASE_FIXTURE(with_loop,
                  "a wait_writable on a full socket sleeps though the error queue has an entry") {
  stream_pair pair(loop);
  ask_for_stamps(pair.near);
  send_with_stamp(pair.near, pair.far);
  const std::string much(100'000, 'm');
  while (pair.near.try_write(much)) {
  }
  auto writing = eddy::spawn(loop, wait_and_write(pair.near));
  CHECK(sleeps_soon(loop));
  CHECK(!writing.ready());
  while (!writing.ready()) {
    static_cast<void>(take(pair.far));
    loop.run_ready();
  }
}

TEST_CASE_FIXTURE(with_loop, "a write that sent a part does not look at the error queue") {
  stream_pair pair(loop);
  pair.near.set_send_buffer(4096);
  pair.far.set_receive_buffer(4096);
  failing_system system;
  auto writing = eddy::spawn(loop, write_all(pair.near, std::string(500'000, 'm')));
  while (!writing.ready()) {
    loop.run_ready();
    static_cast<void>(take(pair.far));
  }
  CHECK(system.count(call::receive_message) == 0);
}

TEST_CASE_FIXTURE(with_loop, "a pending read sleeps after a zero-copy send") {
  stream_pair pair(loop);
  const int on = 1;
  constexpr int zero_copy = 0x4000000;  // MSG_ZEROCOPY
  REQUIRE(::setsockopt(pair.near.descriptor(), SOL_SOCKET, SO_ZEROCOPY, &on, sizeof on) == 0);
  auto reading = eddy::spawn(loop, read_some(pair.near));
  REQUIRE(::send(pair.near.descriptor(), "hello", 5, zero_copy) == 5);
  REQUIRE(has_error(pair.near, 10'000));
  CHECK(sleeps_soon(loop));
  send(pair.far, "data");
  loop.run();
  CHECK(std::move(reading).take().value() == "data");
}

TEST_CASE_FIXTURE(with_loop, "a reset is reported though the error queue has, or had, an entry") {
  stream_pair pair(loop);
  ask_for_stamps(pair.near);
  send_with_stamp(pair.near, pair.far);
  auto reading = eddy::spawn(loop, read_error(pair.near));
  SUBCASE("while the reader sleeps") { CHECK(sleeps_soon(loop)); }
  SUBCASE("before the loop has polled") {}
  SUBCASE("between the reader's two attempts") { loop.run_once(); }
  pair.far.set_linger(0s);
  pair.far.close();
  loop.run();
  CHECK(std::move(reading).take().value() == std::errc::connection_reset);
}

TEST_CASE_FIXTURE(with_loop, "a program that waits for its error queue gets every entry") {
  stream_pair pair(loop);
  ask_for_stamps(pair.near);
  eddy::readiness own(loop, pair.near.descriptor());
  own.background(true);
  int stamps = 0;
  std::function<void()> more = [&] {
    own.wait_readable([&](std::error_code) {
      stamps += read_error_queue(pair.near);
      more();
    });
  };
  more();

  constexpr int count = 100;
  std::optional<eddy::future<std::string>> reading;
  SUBCASE("beside a pending read") { reading = eddy::spawn(loop, read_some(pair.near)); }
  SUBCASE("beside a coroutine with wait_readable and try_read") {
    reading = eddy::spawn(loop, wait_and_try(pair.near));
  }
  for (int i = 0; i < count; ++i) {
    send_with_stamp(pair.near, pair.far);
    CHECK(sleeps_soon(loop));
  }
  CHECK(stamps == count);
  CHECK(!reading->ready());
  own.stop();
  send(pair.far, "data");
  loop.run();
  CHECK(std::move(*reading).take().value() == "data");
}

TEST_CASE_FIXTURE(with_loop,
                  "an entry that arrives after the program has read its error queue is kept") {
  stream_pair pair(loop);
  ask_for_stamps(pair.near);
  eddy::readiness own(loop, pair.near.descriptor());
  own.background(true);
  int stamps = 0;
  int sent = 0;
  std::function<void()> more = [&] {
    own.wait_readable([&](std::error_code) {
      stamps += read_error_queue(pair.near);
      if (sent < 50) {
        send_with_stamp(pair.near, pair.far);
        ++sent;
      }
      more();
    });
  };
  more();
  auto reading = eddy::spawn(loop, read_some(pair.near));
  send_with_stamp(pair.near, pair.far);
  ++sent;
  while (loop.run_ready()) {
  }
  CHECK(sent == 50);
  CHECK(stamps == sent);
  own.stop();
}

TEST_CASE_FIXTURE(with_loop,
                  "the entries of an error queue that the program does not read are dropped") {
  stream_pair pair(loop);
  ask_for_stamps(pair.near);
  for (int i = 0; i < 200; ++i) send_with_stamp(pair.near, pair.far);
  auto reading = eddy::spawn(loop, read_some(pair.near));
  CHECK(sleeps_soon(loop));
  CHECK(!has_error(pair.near, 0));
  CHECK(read_error_queue(pair.near) == 0);
  send(pair.far, "data");
  loop.run();
  CHECK(reading.ready());
}

TEST_CASE_FIXTURE(with_loop, "without a pending read the error queue is not touched") {
  stream_pair pair(loop);
  ask_for_stamps(pair.near);
  send_with_stamp(pair.near, pair.far);
  std::array<char, 64> buffer;
  for (int i = 0; i < 3; ++i) CHECK(!pair.near.try_read(buffer));
  auto done = eddy::spawn(loop, write_all(pair.near, "y"));
  loop.run();
  CHECK(read_error_queue(pair.near) >= 1);
}

TEST_CASE_FIXTURE(with_loop, "a read loses nothing after a spurious wake-up") {
  stream_pair pair(loop);
  auto reading = eddy::spawn(loop, read_some(pair.near));
  loop.run_ready();
  send(pair.far, "data");
  failing_system system;
  SUBCASE("once") { system.fail(call::read, EAGAIN); }
  SUBCASE("again and again") {
    system.fail(call::read, EAGAIN, 1, true);
    for (int i = 0; i < 5; ++i) loop.run_ready();
    CHECK(!reading.ready());
    system.stop_failing(call::read);
  }
  loop.run();
  CHECK(std::move(reading).take().value() == "data");
}

TEST_CASE_FIXTURE(with_loop, "a Unix socket loses no packet after spurious wake-ups") {
  auto [near, far] = eddy::seqpacket_pair(loop);
  std::array<char, 16> buffer;
  std::size_t size = 0;
  near.receive(buffer, [&](result<eddy::received_message> got) { size = got.value().size; });
  loop.run_ready();
  CHECK(far.try_send("data")->has_value());
  far.shutdown();  // a lost packet would be the end
  failing_system system;
  for (int i = 0; i < 2; ++i) {
    system.fail(call::receive_message, EAGAIN);
    loop.run_once();
  }
  loop.run();
  CHECK(size == 4);
}

TEST_CASE_FIXTURE(
    with_loop,
    "a listener whose connection another process took does not look at the error queue") {
  eddy::tcp_listener listener(loop, eddy::address::loopback_v4(0));
  listener.accept([](const result<tcp_stream>&) {});
  loop.run_ready();
  const tcp_stream client(loop, plain_connection(listener.local_address()));
  failing_system system;
  system.fail(call::accept, EAGAIN, 1, true);
  for (int i = 0; i < 5; ++i) loop.run_once();
  CHECK(system.count(call::receive_message) == 0);
  listener.stop_accepting();
}
