// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/net/send_file.h>.
#include <eddy/net/send_file.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <eddy/future/as_result.h>
#include <eddy/future/join.h>
#include <eddy/net/detail/system.h>
#include <eddy/net/tcp_stream.h>
#include <eddy/net/unix_stream.h>

#include "support/async_test.h"
#include "support/every_point.h"
#include "support/failing_system.h"
#include "support/pending_sigpipe.h"
#include "support/stream_pair.h"
#include "support/stream_tasks.h"

using eddy::as_result;
using eddy::join;
using eddy::send_file;
using eddy::task;
using eddy::tcp_stream;

namespace {

/// A file in memory.
class file {
public:
  explicit file(std::string_view bytes) : number_(::memfd_create("file", MFD_CLOEXEC)) {
    REQUIRE(::write(number_, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
  }
  file(const file&) = delete;
  file& operator=(const file&) = delete;
  ~file() { ::close(number_); }
  [[nodiscard]] int number() const { return number_; }

private:
  int number_;
};

task<std::uint64_t> send_and_end(eddy::socket_stream& to, int number, std::uint64_t offset,
                                 std::uint64_t size) {
  const std::uint64_t sent = co_await send_file(to, number, offset, size);
  to.shutdown();
  co_return sent;
}

}  // namespace

ASYNC_TEST("a part of a file arrives, also more than fits into the socket, in short calls") {
  std::string much(3'000'000, 'f');
  for (std::size_t i = 0; i < much.size(); i += 997) much[i] = static_cast<char>('a' + i % 26);
  const file from(much);
  stream_pair ends(loop);
  failing_system system;
  SUBCASE("whole calls") {}
  SUBCASE("short calls") { system.limit_bytes(10'000); }
  SUBCASE("an interrupted call") { system.fail(call::send_file, EINTR, 2); }
  auto both = join(send_and_end(ends.near, from.number(), 5, 2'999'990), read_all(ends.far));
  const auto [sent, got] = co_await std::move(both);
  CHECK(sent == 2'999'990);
  CHECK(got == std::string_view(much).substr(5, 2'999'990));
}

ASYNC_TEST("a file goes over a Unix socket, up to the half-close, and an error names the peer") {
  const std::string much(1'000'000, 'f');
  const file from(much);
  auto [near, far] = eddy::socket_pair(loop);
  auto both = join(send_and_end(near, from.number(), 1, 999'999), read_all(far));
  const auto [sent, got] = co_await std::move(both);
  CHECK(sent == 999'999);
  CHECK(got == std::string_view(much).substr(1));
  const auto answered =
      co_await send_file(far, from.number(), 0, 5);  // the other direction is open
  CHECK(answered == 5);
  CHECK(take(near) == "fffff");

  near.close();
  std::string words;
  try {
    co_await send_file(far, from.number(), 0, 5);
  } catch (const std::system_error& e) {
    words = e.what();
  }
  CHECK(words == "send a file to unix peer, pid " + std::to_string(::getpid()) + ": Broken pipe");
}

ASYNC_TEST("a file that ends early gives the number of bytes that were sent") {
  const file from("short");
  stream_pair ends(loop);
  const std::uint64_t sent = co_await send_file(ends.near, from.number(), 1, UINT64_MAX);
  CHECK(sent == 4);
  const std::uint64_t none = co_await send_file(ends.near, from.number(), 100, 1);
  CHECK(none == 0);
  CHECK(take(ends.far) == "hort");
}

ASYNC_TEST(
    "what cannot be sent from an offset is refused, and nothing is sent after a half-close") {
  const file from("bytes");
  stream_pair ends(loop);
  const auto refusal = [&](int number, std::uint64_t offset) -> task<std::error_code> {
    const auto r = co_await as_result(send_file(ends.near, number, offset, 1000));
    co_return r ? std::error_code() : r.error();
  };
  const std::error_code last = co_await refusal(from.number(), INT64_MAX);
  CHECK(last == std::errc::value_too_large);
  const std::error_code near_last = co_await refusal(from.number(), INT64_MAX - 1);
  CHECK(!near_last);  // a file in memory can have so many bytes
  std::array<int, 2> pipe{};
  REQUIRE(::pipe2(pipe.data(), O_CLOEXEC) == 0);
  const std::error_code of_pipe = co_await refusal(pipe[0], 0);
  CHECK(of_pipe == std::errc::invalid_seek);
  const std::error_code of_socket = co_await refusal(ends.far.descriptor(), 0);
  CHECK(of_socket == std::errc::invalid_seek);
  const int directory = ::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const std::error_code of_directory = co_await refusal(directory, 0);
  CHECK(of_directory == std::errc::invalid_argument);
  for (const int number : {pipe[0], pipe[1], directory}) ::close(number);

  ends.near.shutdown();
  const std::uint64_t none = co_await send_file(ends.near, from.number(), 0, 0);
  CHECK(none == 0);
  const std::uint64_t beyond = co_await send_file(ends.near, from.number(), 5, 1);
  CHECK(beyond == 0);
  const std::error_code some = co_await refusal(from.number(), 4);
  CHECK(some == std::errc::broken_pipe);
}

ASYNC_TEST("each errno of sendfile(2) is an error of send_file") {
  const file from("bytes");
  for (const int error : {EBADF, EFAULT, EINVAL, EIO, ENOMEM, EOVERFLOW, ESPIPE, EPIPE}) {
    stream_pair ends(loop);
    failing_system system;
    system.fail(call::send_file, error);
    const auto r = co_await as_result(send_file(ends.near, from.number(), 0, 5));
    CHECK(r.error().value() == error);
    const std::uint64_t again = co_await send_file(ends.near, from.number(), 0, 5);
    CHECK(again == 5);
  }
  stream_pair ends(loop);
  const auto huge = co_await as_result(send_file(ends.near, from.number(), UINT64_MAX, 1));
  CHECK(huge.error() == std::errc::value_too_large);
}

ASYNC_TEST("send_file to a peer that has gone raises no SIGPIPE") {
  const file from("bytes");
  stream_pair ends(loop);
  ends.near.shutdown();
  const auto r = co_await as_result(send_file(ends.near, from.number(), 0, 5));
  CHECK(r.error() == std::errc::broken_pipe);
}

namespace {

volatile std::sig_atomic_t broken_pipes = 0;

/// Counts SIGPIPE while it exists.
struct sigpipe_count {
  sigpipe_count() : before(std::signal(SIGPIPE, [](int) { broken_pipes = broken_pipes + 1; })) {
    broken_pipes = 0;
  }
  sigpipe_count(const sigpipe_count&) = delete;
  sigpipe_count& operator=(const sigpipe_count&) = delete;
  ~sigpipe_count() { std::signal(SIGPIPE, before); }
  void (*before)(int);
};

/// Makes a call of sendfile(2) on a blocking socket, whose sending side ends when the call has sent
/// a part. Returns the size of that part.
ssize_t send_a_part(const stream_pair& ends, std::size_t size) {
  REQUIRE(eddy::detail::kernel.set_blocking(ends.near.descriptor()) == 0);
  REQUIRE(eddy::detail::kernel.set_blocking(ends.far.descriptor()) == 0);
  const file from(std::string(size, 'f'));
  std::thread breaker([&] {
    char byte = 0;
    CHECK(::recv(ends.far.descriptor(), &byte, 1, 0) == 1);
    ::shutdown(ends.near.descriptor(), SHUT_WR);
  });
  off_t offset = 0;
  const ssize_t sent =
      eddy::detail::kernel.send_file(ends.near.descriptor(), from.number(), &offset, size);
  breaker.join();
  return sent;
}

}  // namespace

TEST_SUITE("threads") {
  TEST_CASE_FIXTURE(with_loop, "a part of a file before the connection breaks raises no SIGPIPE") {
    const sigpipe_count count;
    constexpr std::size_t size = 16'000'000;
    const ssize_t sent = send_a_part(stream_pair(loop), size);
    CHECK(sent > 0);
    CHECK(sent < static_cast<ssize_t>(size));
    CHECK(broken_pipes == 0);
  }

  TEST_CASE_FIXTURE(with_loop,
                    "a part of a file before the connection breaks keeps an earlier SIGPIPE") {
    const pending_sigpipe earlier;
    CHECK(send_a_part(stream_pair(loop), 16'000'000) > 0);
    CHECK(earlier.take());
    CHECK_FALSE(earlier.take());
  }

}  // TEST_SUITE("threads")

TEST_CASE_FIXTURE(with_loop, "send_file has a form with a handler") {
  const file from("bytes");
  stream_pair ends(loop);
  std::uint64_t sent = 0;
  send_file(ends.near, from.number(), 0, 5, [&](eddy::result<std::uint64_t> n) { sent = *n; });
  CHECK(sent == 0);
  loop.run();
  CHECK(sent == 5);
  CHECK(take(ends.far) == "bytes");
}

TEST_CASE_FIXTURE(with_still_loop, "send_file with a handler behind a delayed shutdown fails") {
  const file from("bytes");
  stream_pair ends(loop);
  const std::string much(8'000'000, 'm');
  ends.near.write(much, [](eddy::result<void>) {});
  ends.near.shutdown();
  std::error_code error;
  send_file(ends.near, from.number(), 0, 5,
            [&](eddy::result<std::uint64_t> n) { error = n.error(); });
  loop.run_ready();
  CHECK(error == std::errc::broken_pipe);
  ends.near.close();
}

namespace {

struct sends_a_file {
  explicit sends_a_file(eddy::trial& t)
      : of(t), from(std::string(1'000'000, 'f')), ends(t.loop()) {}
  task<> work() {
    const eddy::trial::part held(of);
    auto both = join(send_and_end(ends.near, from.number(), 0, 1'000'000), read_all(ends.far));
    const auto [sent, got] = co_await std::move(both);
    CHECK(got.size() == 1'000'000);
  }
  eddy::trial& of;
  file from;
  stream_pair ends;
};

}  // namespace

TEST_CASE("send_file is ended at every point") { check_report(eddy::every_point<sends_a_file>()); }
