// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/net/unix_stream.h>.
#include <eddy/net/unix_stream.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <eddy/future/as_result.h>
#include <eddy/future/join.h>
#include <eddy/future/spawn.h>
#include <eddy/future/yield.h>
#include <eddy/net/received_message.h>
#include <eddy/net/unix_credentials.h>

#include "support/async_test.h"
#include "support/failing_system.h"
#include "support/forked.h"
#include "support/stream_tasks.h"
#include "support/thrown.h"
#include "support/tidy.h"

using eddy::received_bytes;
using eddy::result;
using eddy::task;
using eddy::unique_descriptor;
using eddy::unix_stream;

namespace {

constexpr std::string_view word = "word";

unique_descriptor a_file() { return unique_descriptor(::open("/dev/null", O_RDWR | O_CLOEXEC)); }

bool same_file(int a, int b) {
  struct stat of_a{};
  struct stat of_b{};
  return ::fstat(a, &of_a) == 0 && ::fstat(b, &of_b) == 0 && of_a.st_dev == of_b.st_dev &&
         of_a.st_ino == of_b.st_ino;
}

/// The two ends of a pipe, and whether the write end is closed everywhere.
struct pipe_ends {
  pipe_ends() {
    std::array<int, 2> both{};
    REQUIRE(::pipe2(both.data(), O_CLOEXEC | O_NONBLOCK) == 0);
    from = unique_descriptor(both[0]);
    to = unique_descriptor(both[1]);
  }
  [[nodiscard]] bool closed() const {
    char c = 0;
    return ::read(from.number(), &c, 1) == 0;
  }
  unique_descriptor from;
  unique_descriptor to;
};

/// Writes until the kernel takes nothing more.
void fill(unix_stream& to) {
  const std::string much(65536, 'x');
  while (to.try_write(much)) {
  }
}

}  // namespace

ASYNC_TEST("a write that begins after the shutdown of a full stream fails at once") {
  auto [near, far] = eddy::socket_pair(loop);
  fill(near);
  near.shutdown();
  co_await near.wait_writable();
  const auto late = co_await eddy::as_result(near.write(word));
  REQUIRE(!late);
  CHECK(late.error() == std::errc::broken_pipe);
}

ASYNC_TEST("a shutdown wakes the wait for space on a full stream") {
  auto [near, far] = eddy::socket_pair(loop);
  fill(near);
  auto waiting = eddy::spawn(loop, eddy::as_result(near.wait_writable()));
  co_await eddy::yield();
  near.shutdown();
  const result<void> woken = co_await std::move(waiting);
  CHECK(woken);
}

ASYNC_TEST("bytes go both ways between the streams of a socket_pair") {
  auto [near, far] = eddy::socket_pair(loop);
  std::array<char, 16> buffer;
  co_await near.write(word);
  std::size_t n = co_await far.read(buffer);
  CHECK(std::string_view(buffer.data(), n) == word);
  far.write(word, [](result<void>) {});
  n = co_await near.read(buffer);
  CHECK(std::string_view(buffer.data(), n) == word);
  near.shutdown();
  n = co_await far.read(buffer);
  CHECK(n == 0);
}

TEST_CASE_FIXTURE(with_loop, "the descriptors of a pair are non-blocking and close-on-exec") {
  auto [near, far] = eddy::socket_pair(loop);
  for (const int d : {near.descriptor(), far.descriptor()}) {
    CHECK((::fcntl(d, F_GETFL) & O_NONBLOCK) != 0);
    CHECK(::fcntl(d, F_GETFD) == FD_CLOEXEC);
  }
  CHECK(near.peer_address().is_unnamed());
  CHECK(near.local_address().is_unnamed());
  CHECK(unix_stream::count() == 2);
}

TEST_CASE_FIXTURE(with_loop, "each call that makes a pair may fail") {
  failing_system system;
  system.fail(call::socket_pair, EMFILE);
  CHECK_THROWS_WITH_AS(static_cast<void>(eddy::socket_pair(loop)),
                       "make a pair of sockets: Too many open files", std::system_error);
}

ASYNC_TEST("an error names a peer without an address by its process") {
  auto [near, far] = eddy::socket_pair(loop);
  far.close();
  std::string words;
  try {
    co_await near.write(word);
  } catch (const std::system_error& e) {
    words = e.what();
  }
  CHECK(words == "write to unix peer, pid " + std::to_string(::getpid()) + ": Broken pipe");
}

TEST_CASE_FIXTURE(with_loop, "a peer whose name the kernel does not tell is still described") {
  auto [near, far] = eddy::socket_pair(loop);
  const auto reading = eddy::spawn(loop, read_some(near));
  loop.run_ready();
  const auto shown = [&loop = loop](call kind) {
    failing_system system;
    system.fail(kind, EINVAL, 1, true);
    return loop.dump();
  };
  CHECK(loop.dump().find("unix peer, pid " + std::to_string(::getpid())) != std::string::npos);
  CHECK(shown(call::get_option).find("unix peer (descriptor") != std::string::npos);
  CHECK(shown(call::peer_name).find("a unix socket without a name") != std::string::npos);
  CHECK(shown(call::local_name).find("nowhere") != std::string::npos);
}

TEST_CASE_FIXTURE(with_loop, "the credentials of a peer are those of its process") {
  auto [near, far] = eddy::socket_pair(loop);
  const eddy::unix_credentials peer = near.peer_credentials();
  CHECK(peer.pid == ::getpid());
  CHECK(peer.uid == ::geteuid());
  CHECK(peer.gid == ::getegid());
  CHECK(peer == far.peer_credentials());
  failing_system system;
  system.fail(call::get_option, EINVAL);
  CHECK_THROWS_AS(static_cast<void>(near.peer_credentials()), std::system_error);
}

TEST_CASE_FIXTURE(with_loop, "the pidfd of a peer is of its process, or the kernel has none") {
  auto [near, far] = eddy::socket_pair(loop);
  try {
    const unique_descriptor process = near.peer_pidfd();
    REQUIRE(process);
    CHECK((::fcntl(process.number(), F_GETFD) & FD_CLOEXEC) != 0);
    pollfd ended{.fd = process.number(), .events = POLLIN, .revents = 0};
    CHECK(::poll(&ended, 1, 0) == 0);  // this process runs
  } catch (const std::system_error& e) {
    CHECK(e.code() == std::errc::no_protocol_option);
  }
  failing_system system;
  system.fail(call::get_option, ENOPROTOOPT);
  CHECK_THROWS_WITH_AS(static_cast<void>(near.peer_pidfd()),
                       "asking for a peer's pidfd: Protocol not available", std::system_error);
}

ASYNC_TEST("a descriptor arrives with its bytes, is close-on-exec and of the same file") {
  auto [near, far] = eddy::socket_pair(loop);
  pipe_ends ends;
  const std::array numbers{ends.to.number()};
  co_await near.send_descriptors(word, numbers);
  std::array<char, 16> buffer;
  std::array<unique_descriptor, 4> slots;
  const received_bytes got = co_await far.receive_descriptors(buffer, slots);
  CHECK(got.size == 4);
  CHECK(got.descriptors == 1);
  CHECK(!got.descriptors_lost);
  CHECK(slots[0].number() != ends.to.number());
  CHECK(same_file(slots[0].number(), ends.to.number()));
  CHECK(::fcntl(slots[0].number(), F_GETFD) == FD_CLOEXEC);
  CHECK(!slots[1]);
  ends.to.close();
  CHECK(!ends.closed());
  slots[0].close();
  CHECK(ends.closed());
}

TEST_CASE_FIXTURE(with_loop, "descriptors are passed with handlers and without waiting") {
  auto [near, far] = eddy::socket_pair(loop);
  const unique_descriptor file = a_file();
  const std::array numbers{file.number(), file.number()};
  std::array<char, 16> buffer;
  std::array<unique_descriptor, 4> slots;
  CHECK(!far.try_receive_descriptors(buffer, slots));
  int sent = 0;
  received_bytes got;
  far.receive_descriptors(buffer, slots, [&](result<received_bytes> r) { got = r.value(); });
  near.send_descriptors(word, numbers, [&](result<void> r) { sent += r ? 1 : 0; });
  loop.run();
  CHECK(sent == 1);
  CHECK(got.size == 4);
  CHECK(got.descriptors == 2);
  CHECK(near.try_send_descriptors(word, numbers)->value() == 4);
  const auto again = far.try_receive_descriptors(buffer, slots);
  REQUIRE(again.has_value());
  CHECK(again->value().descriptors == 2);
}

TEST_CASE_FIXTURE(with_loop, "253 descriptors go with one byte, and 254 are refused") {
  auto [near, far] = eddy::socket_pair(loop);
  const unique_descriptor file = a_file();
  const std::vector<int> numbers(254, file.number());
  const auto most = std::span(numbers).first(eddy::most_descriptors);
  CHECK(near.try_send_descriptors("x", numbers)->error() == std::errc::invalid_argument);
  CHECK(near.try_send_descriptors("x", most)->value() == 1);
  std::vector<unique_descriptor> slots(300);
  std::array<char, 4> buffer;
  const auto got = far.try_receive_descriptors(buffer, slots);
  REQUIRE(got.has_value());
  CHECK(got->value().descriptors == 253);
  CHECK(!got->value().descriptors_lost);
  CHECK(slots[252]);
  CHECK(!slots[253]);
}

TEST_CASE_FIXTURE(with_loop,
                  "descriptors for which there are no slots are closed, and that is told") {
  auto [near, far] = eddy::socket_pair(loop);
  std::array<char, 16> buffer;
  for (const std::size_t count : {0U, 1U, 2U, 3U, 8U}) {
    INFO(count);
    pipe_ends ends;
    const std::vector<int> numbers(20, ends.to.number());
    CHECK(near.try_send_descriptors(word, numbers)->value() == 4);
    ends.to.close();
    std::vector<unique_descriptor> slots(count);
    const auto got = far.try_receive_descriptors(buffer, slots);
    REQUIRE(got.has_value());
    CHECK(got->value().size == 4);
    CHECK(got->value().descriptors == count);
    CHECK(got->value().descriptors_lost);
    slots.clear();
    CHECK(ends.closed());
  }
}

TEST_CASE_FIXTURE(with_loop,
                  "descriptors that this process may not open are lost, and that is told") {
  auto [near, far] = eddy::socket_pair(loop);
  pipe_ends ends;
  const std::vector<int> numbers(20, ends.to.number());
  CHECK(near.try_send_descriptors(word, numbers)->value() == 4);
  ends.to.close();
  const unique_descriptor lowest = a_file();
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  rlimit few = before;
  few.rlim_cur = static_cast<rlim_t>(lowest.number()) + 3;
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &few) == 0);
  std::array<char, 16> buffer;
  std::vector<unique_descriptor> slots(20);
  const auto got = far.try_receive_descriptors(buffer, slots);
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
  REQUIRE(got.has_value());
  CHECK(got->value().size == 4);
  CHECK(got->value().descriptors < 20);
  CHECK(got->value().descriptors_lost);
  slots.clear();
  CHECK(ends.closed());
}

TEST_CASE_FIXTURE(with_loop, "descriptors arrive beside the credentials of SO_PASSCRED") {
  auto [near, far] = eddy::socket_pair(loop);
  const int on = 1;
  REQUIRE(::setsockopt(far.descriptor(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on) == 0);
  const unique_descriptor file = a_file();
  const std::vector<int> numbers(253, file.number());
  CHECK(near.try_send_descriptors(word, numbers)->value() == 4);
  std::array<char, 16> buffer;
  std::vector<unique_descriptor> slots(253);
  const auto got = far.try_receive_descriptors(buffer, slots);
  REQUIRE(got.has_value());
  CHECK(got->value().descriptors == 253);
  CHECK(!got->value().descriptors_lost);
}

TEST_CASE_FIXTURE(with_loop, "descriptors that arrive at a plain read are closed") {
  auto [near, far] = eddy::socket_pair(loop);
  pipe_ends ends;
  const std::array numbers{ends.to.number()};
  CHECK(near.try_send_descriptors(word, numbers)->value() == 4);
  ends.to.close();
  CHECK(!ends.closed());
  std::array<char, 16> buffer;
  CHECK(far.try_read(buffer)->value() == 4);
  CHECK(ends.closed());
}

TEST_CASE_FIXTURE(with_loop, "a receive ends behind bytes that came with descriptors") {
  auto [near, far] = eddy::socket_pair(loop);
  const unique_descriptor file = a_file();
  const std::array one{file.number()};
  CHECK(near.try_send_descriptors("first", one)->value() == 5);
  CHECK(near.try_send_descriptors("second", one)->value() == 6);
  std::array<char, 64> buffer;
  std::array<unique_descriptor, 4> slots;
  CHECK(far.try_receive_descriptors(buffer, slots)->value().size == 5);
  const auto second = far.try_receive_descriptors(buffer, slots)->value();
  CHECK(second.size == 6);
  CHECK(second.descriptors == 1);
}

TEST_CASE_FIXTURE(with_loop, "a slot's old descriptor is closed when a new one arrives") {
  auto [near, far] = eddy::socket_pair(loop);
  pipe_ends old;
  std::array<unique_descriptor, 1> slots{std::move(old.to)};
  const unique_descriptor file = a_file();
  const std::array one{file.number()};
  CHECK(near.try_send_descriptors(word, one)->value() == 4);
  std::array<char, 16> buffer;
  CHECK(far.try_receive_descriptors(buffer, slots)->value().descriptors == 1);
  CHECK(old.closed());
}

ASYNC_TEST("a receive that is dropped while descriptors arrive loses none") {
  auto [near, far] = eddy::socket_pair(loop);
  const unique_descriptor file = a_file();
  const std::array one{file.number()};
  std::array<char, 16> buffer;
  std::array<unique_descriptor, 1> slots;
  bool called = false;
  far.receive_descriptors(buffer, slots, [&](auto&&) { called = true; });
  co_await eddy::yield();
  co_await near.send_descriptors(word, one);
  far.stop_reading();
  co_await eddy::yield();
  CHECK(!called);
  CHECK(!slots[0]);
  const received_bytes got = co_await far.receive_descriptors(buffer, slots);
  CHECK(got.size == 4);
  CHECK(got.descriptors == 1);
}

ASYNC_TEST("many bytes follow the descriptors, which arrive once") {
  auto [near, far] = eddy::socket_pair(loop);
  const unique_descriptor file = a_file();
  const std::array two{file.number(), file.number()};
  const std::string much(1'000'000, 'm');
  std::size_t bytes = 0;
  std::size_t descriptors = 0;
  const auto receiving = [&]() -> task<> {
    std::vector<char> buffer(100'000);
    std::array<unique_descriptor, 4> slots;
    for (;;) {
      const received_bytes got = co_await far.receive_descriptors(buffer, slots);
      if (got.size == 0) break;
      bytes += got.size;
      descriptors += got.descriptors;
    }
  };
  const auto sending = [&]() -> task<> {
    co_await near.send_descriptors(much, two);
    near.shutdown();
  };
  auto both = eddy::join(sending(), receiving());
  co_await std::move(both);
  CHECK(bytes == much.size());
  CHECK(descriptors == 2);
}

ASYNC_TEST("a send without descriptors is a write") {
  auto [near, far] = eddy::socket_pair(loop);
  co_await near.send_descriptors(word, {});
  co_await near.send_descriptors(std::string_view(), {});
  std::array<char, 16> buffer;
  const std::size_t n = co_await far.read(buffer);
  CHECK(n == 4);
}

ASYNC_TEST("a descriptor that is not open fails the send, and nothing is sent") {
  auto [near, far] = eddy::socket_pair(loop);
  const std::array wrong{1'000'000};
  const auto sent = co_await eddy::as_result(near.send_descriptors(word, wrong));
  REQUIRE(!sent);
  CHECK(sent.error() == std::errc::bad_file_descriptor);
  std::array<char, 16> buffer;
  CHECK(!far.try_read(buffer));
}

ASYNC_TEST("a send of descriptors after shutdown fails with broken_pipe") {
  auto [near, far] = eddy::socket_pair(loop);
  const unique_descriptor file = a_file();
  const std::array one{file.number()};
  near.shutdown();
  const auto sent = co_await eddy::as_result(near.send_descriptors(word, one));
  REQUIRE(!sent);
  CHECK(sent.error() == std::errc::broken_pipe);
  CHECK(near.try_send_descriptors(word, one)->error() == std::errc::broken_pipe);
}

TEST_CASE("misuse of descriptor passing aborts with a message") {
  const auto with_pair = [](auto use) {
    return [use] {
      eddy::event_loop loop;
      auto [near, far] = eddy::socket_pair(loop);
      std::array<char, 4> buffer{};
      std::array<unique_descriptor, 1> slots;
      use(near, buffer, slots);
    };
  };
  dies_saying("a receive into an empty buffer", with_pair([](auto& s, auto&, auto& slots) {
                static_cast<void>(s.try_receive_descriptors(std::span<char>(), slots));
              }));
  dies_saying("descriptors were sent without bytes", with_pair([](auto& s, auto&, auto&) {
                const std::array one{0};
                static_cast<void>(s.try_send_descriptors(std::string_view(), one));
              }));
  dies_saying("a read is already pending on this stream (unix peer, pid",
              with_pair([](auto& s, auto& buffer, auto& slots) {
                s.receive_descriptors(buffer, slots, [](auto&&) {});
                s.read(buffer, [](auto&&) {});
              }));
  dies_saying("unix_stream::receive_descriptors", with_pair([](auto& s, auto& buffer, auto& slots) {
                s.receive_descriptors(buffer, slots, nullptr);
              }));
  dies_saying("unix_stream::send_descriptors", with_pair([](auto& s, auto& buffer, auto&) {
                s.send_descriptors(std::span<char>(buffer), {}, nullptr);
              }));
}

TEST_CASE_FIXTURE(with_loop, "the refusal of a descriptor says what the descriptor is") {
  CHECK(refusal_of<unix_stream>(loop, ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) ==
        "take over descriptor N, which is no Unix socket, as a unix_stream: Address family not "
        "supported by protocol");
  CHECK(refusal_of<unix_stream>(loop, ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) ==
        "take over descriptor N, a datagram socket, as a unix_stream: Protocol wrong type for "
        "socket");
  CHECK(refusal_of<unix_stream>(loop, ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) ==
        "take over descriptor N as a unix_stream: Transport endpoint is not connected");
}

TEST_CASE_FIXTURE(with_loop, "a released stream is taken over with its unread descriptors") {
  auto [near, far] = eddy::socket_pair(loop);
  const unique_descriptor file = a_file();
  const std::array one{file.number()};
  CHECK(near.try_send_descriptors(word, one)->value() == 4);
  unix_stream again(loop, far.release());
  std::array<char, 16> buffer;
  std::array<unique_descriptor, 1> slots;
  CHECK(again.try_receive_descriptors(buffer, slots)->value().descriptors == 1);
}

ASYNC_TEST("each call of descriptor passing may fail with each errno, and nothing is lost") {
  for (const int error : {EINTR, EAGAIN, ENOBUFS, ENOMEM, ETOOMANYREFS, EBADF, EPIPE, ECONNRESET}) {
    INFO(error);
    auto [near, far] = eddy::socket_pair(loop);
    pipe_ends ends;
    const std::array one{ends.to.number()};
    std::array<char, 16> buffer;
    std::array<unique_descriptor, 1> slots;
    failing_system system;
    system.fail(call::send_message, error);
    const auto sent = co_await eddy::as_result(near.send_descriptors(word, one));
    const bool retried = error == EINTR || error == EAGAIN;
    CHECK(sent.has_value() == retried);
    if (!retried) co_await near.send_descriptors(word, one);
    system.fail(call::receive_message, error);
    auto got = co_await eddy::as_result(far.receive_descriptors(buffer, slots));
    CHECK(got.has_value() == retried);
    if (!retried) got = co_await eddy::as_result(far.receive_descriptors(buffer, slots));
    REQUIRE(got.has_value());
    CHECK(got->size == 4);
    CHECK(got->descriptors == 1);
    slots[0].close();
    ends.to.close();
    CHECK(ends.closed());
  }
}

ASYNC_TEST("short counts split the bytes, and the descriptors arrive once") {
  for (const std::size_t most : {1U, 3U}) {
    auto [near, far] = eddy::socket_pair(loop);
    const unique_descriptor file = a_file();
    const std::array one{file.number()};
    failing_system system;
    system.limit_bytes(most);
    co_await near.send_descriptors(word, one);
    near.shutdown();
    std::string all;
    std::size_t descriptors = 0;
    std::array<char, 16> buffer;
    std::array<unique_descriptor, 2> slots;
    for (;;) {
      const received_bytes got = co_await far.receive_descriptors(buffer, slots);
      if (got.size == 0) break;
      all.append(buffer.data(), got.size);
      descriptors += got.descriptors;
    }
    CHECK(all == word);
    CHECK(descriptors == 1);
  }
}
