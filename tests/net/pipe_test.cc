// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/net/pipe.h>.
#include <eddy/net/pipe.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <pty.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include <eddy/future/as_result.h>
#include <eddy/future/join.h>
#include <eddy/future/sleep.h>

#include "support/async_test.h"
#include "support/error_words.h"
#include "support/every_point.h"
#include "support/failing_system.h"
#include "support/forked.h"
#include "support/journal.h"
#include "support/pending_sigpipe.h"
#include "support/stream_tasks.h"
#include "support/temporary_directory.h"

using namespace std::chrono_literals;
using eddy::as_result;
using eddy::event_loop;
using eddy::make_pipe;
using eddy::pipe_ends;
using eddy::pipe_reader;
using eddy::pipe_writer;
using eddy::task;

namespace {

task<> write_and_close(pipe_writer& to, std::string bytes) {
  co_await to.write(bytes);
  to.close();
}

/// Replaces one of the standard streams by `descriptor` while it exists.
class standard_replaced {
public:
  standard_replaced(int number, int descriptor)
      : number_(number), before_(::fcntl(number, F_DUPFD_CLOEXEC, 10)) {
    ::dup2(descriptor, number);
  }
  standard_replaced(const standard_replaced&) = delete;
  standard_replaced& operator=(const standard_replaced&) = delete;
  ~standard_replaced() {
    ::dup2(before_, number_);
    ::close(before_);
  }

private:
  int number_;
  int before_;
};

struct blocking_pipe {
  blocking_pipe() { REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0); }
  blocking_pipe(const blocking_pipe&) = delete;
  blocking_pipe& operator=(const blocking_pipe&) = delete;
  ~blocking_pipe() {
    close(0);
    close(1);
  }
  void close(std::size_t which) {
    if (ends[which] >= 0) ::close(ends[which]);
    ends[which] = -1;
  }
  [[nodiscard]] bool flags_changed() const {
    for (const int end : ends) {
      if (end >= 0 && (::fcntl(end, F_GETFL) & O_NONBLOCK) != 0) return true;
    }
    return false;
  }
  std::array<int, 2> ends{};
};

void put(int descriptor, std::string_view bytes) {
  CHECK(::write(descriptor, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
}

std::string got_from(int descriptor) {
  std::array<char, 4096> bytes;
  const ssize_t n = ::read(descriptor, bytes.data(), bytes.size());
  return n < 0 ? "error" : std::string(bytes.data(), static_cast<std::size_t>(n));
}

}  // namespace

ASYNC_TEST("bytes that are written to a pipe are read from it, and then its end") {
  pipe_ends p = make_pipe(loop);
  auto both = eddy::join(read_all(p.reader), write_and_close(p.writer, "some words"));
  const auto [all, nothing] = co_await std::move(both);
  CHECK(all == "some words");
}

ASYNC_TEST("a write of more bytes than the pipe holds waits for the reader") {
  pipe_ends p = make_pipe(loop);
  const std::string much(3'000'000, 'm');
  auto both = eddy::join(read_all(p.reader), write_and_close(p.writer, much));
  const auto [all, nothing] = co_await std::move(both);
  CHECK(all.size() == much.size());
}

ASYNC_TEST("a write of several buffers writes them in order, empty ones too") {
  pipe_ends p = make_pipe(loop);
  std::vector<eddy::const_buffer> parts(200, eddy::const_buffer("ab"));
  parts[0] = parts[100] = eddy::const_buffer("");
  co_await p.writer.write(std::span(parts));
  p.writer.close();
  const std::string all = co_await read_all(p.reader);
  CHECK(all.size() == 396);
}

TEST_CASE_FIXTURE(with_loop,
                  "the handlers of a pipe run from the loop, with the bytes and the end") {
  pipe_ends p = make_pipe(loop);
  std::array<char, 100> buffer{};
  journal note;
  p.writer.write("word", [&](eddy::result<void> r) {
    note(r ? "written" : "failed");
    p.writer.close();
  });
  p.reader.read(buffer, [&](eddy::result<std::size_t> n) {
    note(std::string(buffer.data(), *n));
    p.reader.read(buffer, [&](eddy::result<std::size_t> end) { note(*end == 0 ? "end" : "more"); });
  });
  CHECK(note == "");
  loop.run();
  CHECK(note == "written word end");
}

TEST_CASE_FIXTURE(with_loop, "try_read and try_write never wait") {
  pipe_ends p = make_pipe(loop);
  std::array<char, 100> buffer{};
  CHECK(!p.reader.try_read(buffer));
  CHECK(**p.writer.try_write("abc") == 3);
  CHECK(**p.reader.try_read(buffer) == 3);
  const std::string block(100'000, 'x');
  std::size_t written = 0;
  while (const auto n = p.writer.try_write(block)) written += **n;
  CHECK(written >= 4096);
  p.reader.close();
  CHECK(p.writer.try_write("abc")->error() == std::errc::broken_pipe);
}

ASYNC_TEST("wait_readable and wait_writable complete when a read or write would") {
  pipe_ends p = make_pipe(loop);
  co_await p.writer.wait_writable();
  auto wait = [](pipe_reader& r) -> task<> { co_await r.wait_readable(); };
  auto both = eddy::join(wait(p.reader), write_and_close(p.writer, "x"));
  co_await std::move(both);
  const std::string x = co_await read_some(p.reader);
  CHECK(x == "x");
}

ASYNC_TEST("a write to a pipe that nobody reads fails with broken_pipe, and raises no SIGPIPE") {
  pipe_ends p = make_pipe(loop);
  p.reader.close();
  const auto r = co_await as_result(p.writer.write("x"));
  CHECK(r.error() == std::errc::broken_pipe);
  std::string words;
  try {
    co_await p.writer.write("x");
  } catch (const std::system_error& e) {
    words = e.what();
  }
  CHECK(words == "write to a pipe: Broken pipe");
}

TEST_CASE_FIXTURE(
    tidy, "without RWF_NOSIGNAL, a write raises no SIGPIPE either, and keeps an earlier one") {
  blocking_pipe p;
  p.close(0);
  iovec part{const_cast<char*>("x"), 1};
  CHECK(eddy::detail::write_with_signal_blocked(p.ends[1], &part, 1) == -1);
  CHECK(errno == EPIPE);
  const pending_sigpipe earlier;
  CHECK(eddy::detail::write_with_signal_blocked(p.ends[1], &part, 1) == -1);
  CHECK(earlier.take());
  CHECK_FALSE(earlier.take());
}

ASYNC_TEST("closing a reader cancels its read with operation_canceled") {
  pipe_ends p = make_pipe(loop);
  auto reading = [](pipe_reader& r) -> task<std::error_code> {
    std::array<char, 10> buffer;
    const auto n = co_await as_result(r.read(buffer));
    co_return n.error();
  };
  auto closing = [](pipe_reader& r) -> task<> {
    co_await eddy::sleep(1s);
    r.close();
  };
  auto both = eddy::join(reading(p.reader), closing(p.reader));
  const auto [error, nothing] = co_await std::move(both);
  CHECK(error == std::errc::operation_canceled);
}

TEST_CASE_FIXTURE(with_loop, "a handler that closes its reader, or is destroyed with it, is safe") {
  pipe_ends p = make_pipe(loop);
  std::array<char, 10> buffer{};
  CHECK(p.writer.try_write("x"));
  p.reader.read(buffer, [&](eddy::result<std::size_t>) { p.reader.close(); });
  loop.run();
  CHECK(!p.reader.open());
  pipe_ends other = make_pipe(loop);
  bool ran = false;
  other.reader.read(buffer, [&](eddy::result<std::size_t>) { ran = true; });
  other.reader.stop_reading();
  loop.run();
  CHECK(!ran);
}

ASYNC_TEST("a pipe_stream reads from its reader, and shutdown closes its writer only") {
  pipe_ends there = make_pipe(loop);
  pipe_ends back = make_pipe(loop);
  eddy::pipe_stream near(std::move(back.reader), std::move(there.writer));
  eddy::pipe_stream far(std::move(there.reader), std::move(back.writer));
  co_await near.write("question");
  near.shutdown();
  const std::string question = co_await read_all(far.reader());
  CHECK(question == "question");
  const std::array<eddy::const_buffer, 2> parts{"ans", "wer"};
  co_await far.write(std::span(parts));
  far.close();
  CHECK(!far.open());
  std::array<char, 10> buffer;
  const std::size_t n = co_await near.read(buffer);
  CHECK(n == 6);
  CHECK(**near.try_read(buffer) == 0);
}

TEST_CASE("misuse of a pipe stops the program with a sentence") {
  dies_saying("a pipe_reader was used that is not open", [] {
    pipe_reader r;
    std::array<char, 10> buffer{};
    static_cast<void>(r.try_read(buffer));
  });
  dies_saying("a read is already pending on this stream (descriptor", [] {
    event_loop loop;
    pipe_ends p = make_pipe(loop);
    std::array<char, 10> buffer{};
    p.reader.read(buffer, [](eddy::result<std::size_t>) {});
    p.reader.read(buffer, [](eddy::result<std::size_t>) {});
  });
  dies_saying("a read into an empty buffer", [] {
    event_loop loop;
    pipe_ends p = make_pipe(loop);
    static_cast<void>(p.reader.try_read(std::span<char>()));
  });
}

// The standard streams.

ASYNC_TEST("the standard input reads a pipe, and the flags of the pipe stay as they were") {
  blocking_pipe p;
  const standard_replaced in(0, p.ends[0]);
  pipe_reader input = eddy::standard_input(loop);
  std::array<char, 10> buffer{};
  CHECK(!input.try_read(buffer));
  put(p.ends[1], "hello");
  const std::string some = co_await read_some(input);
  CHECK(some == "hello");
  CHECK(!p.flags_changed());
  p.close(1);
  const std::string end = co_await read_some(input);
  CHECK(end.empty());
}

ASYNC_TEST(
    "where the pipe can't be opened anew, the standard streams never block and change no flag") {
  blocking_pipe p;
  const standard_replaced in(0, p.ends[0]);
  const standard_replaced out(1, p.ends[1]);
  failing_system system;
  system.fail(call::open, EACCES, 1, true);
  for (const bool nowait : {true, false}) {
    if (!nowait) {
      system.fail(call::read_now, EOPNOTSUPP, 1, true);
      system.fail(call::write_now, EOPNOTSUPP, 1, true);
    }
    pipe_reader input = eddy::standard_input(loop);
    pipe_writer output = eddy::standard_output(loop);
    std::array<char, 10> buffer{};
    CHECK(!input.try_read(buffer));
    const std::string much(1'000'000, 'm');
    auto writing = [](pipe_writer& w, const std::string& bytes) -> task<> {
      co_await w.write(bytes);
    };
    auto reading = [](pipe_reader& r, std::size_t wanted) -> task<> {
      for (std::size_t n = 0; n < wanted;) {
        const std::string some = co_await read_some(r);
        n += some.size();
      }
    };
    auto both = eddy::join(writing(output, much), reading(input, much.size()));
    co_await std::move(both);
    CHECK(!p.flags_changed());
  }
}

ASYNC_TEST("/dev/null as the standard input is at its end, and as the output takes everything") {
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  const standard_replaced in(0, null);
  const standard_replaced out(1, null);
  ::close(null);
  pipe_reader input = eddy::standard_input(loop);
  const std::string nothing = co_await read_all(input);
  CHECK(nothing.empty());
  co_await input.wait_readable();
  pipe_writer output = eddy::standard_output(loop);
  const std::string much(1'000'000, 'm');
  co_await output.write(much);
}

TEST_CASE_FIXTURE(with_loop, "closing a writer of the standard output does not end the output") {
  std::array<int, 2> ends{};
  REQUIRE(::pipe2(ends.data(), O_NONBLOCK | O_CLOEXEC) == 0);
  {
    const standard_replaced out(1, ends[1]);
    ::close(ends[1]);
    pipe_writer output = eddy::standard_output(loop);
    CHECK(output.try_write("words"));
    output.close();
    CHECK(got_from(ends[0]) == "words");
    CHECK(got_from(ends[0]) == "error");  // there are no bytes, and this is not the end
  }
  CHECK(got_from(ends[0]).empty());
  ::close(ends[0]);
}

ASYNC_TEST("a regular file as the standard input is read from its position, in bounded steps") {
  const temporary_directory directory;
  const auto path = directory / "file";
  std::ofstream(path) << std::string(1'000'000, 'f');
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const standard_replaced in(0, file);
  ::close(file);
  CHECK(got_from(0).size() == 4096);
  pipe_reader input = eddy::standard_input(loop);
  std::vector<char> large(500'000);
  const std::size_t step = co_await input.read(std::span(large));
  CHECK(step == 65536);
  const std::string rest = co_await read_all(input);
  CHECK(rest.size() == 1'000'000 - 4096 - 65536);
}

TEST_CASE_FIXTURE(with_loop, "a long regular file is read in several turns") {
  const temporary_directory directory;
  const auto path = directory / "file";
  std::ofstream(path) << std::string(8'000'000, 'f');
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const standard_replaced in(0, file);
  ::close(file);
  pipe_reader input = eddy::standard_input(loop);
  std::vector<char> buffer(65536);
  int turns = 0;
  std::size_t got = 0;
  struct reader {
    pipe_reader& from;
    std::vector<char>& into;
    std::size_t& all;
    void go() {
      from.read(std::span(into), [this](eddy::result<std::size_t> n) {
        all += *n;
        if (*n != 0) go();
      });
    }
  } r{input, buffer, got};
  r.go();
  while (loop.run_ready()) ++turns;
  CHECK(got == 8'000'000);
  CHECK(turns >= 3);  // 8 MB are 3,900 operations, and a turn has at most 1,024
}

ASYNC_TEST("a socket as the standard streams is used without changing its flags") {
  std::array<int, 2> ends{};
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
  {
    const standard_replaced in(0, ends[0]);
    const standard_replaced out(1, ends[0]);
    pipe_reader input = eddy::standard_input(loop);
    pipe_writer output = eddy::standard_output(loop);
    std::array<char, 10> buffer{};
    CHECK(!input.try_read(buffer));
    put(ends[1], "in");
    const std::string some = co_await read_some(input);
    CHECK(some == "in");
    co_await output.write("out");
    CHECK(got_from(ends[1]) == "out");
    CHECK((::fcntl(ends[0], F_GETFL) & O_NONBLOCK) == 0);
    ::close(ends[1]);
    const auto r = co_await as_result(output.write("x"));
    CHECK(r.error() == std::errc::broken_pipe);
  }
  ::close(ends[0]);
}

ASYNC_TEST("a terminal as the standard input is read line by line, and keeps its flags") {
  int master = -1;
  int peer = -1;
  REQUIRE(::openpty(&master, &peer, nullptr, nullptr, nullptr) == 0);
  for (const bool anew : {true, false}) {
    failing_system system;
    if (!anew) system.fail(call::open, ENXIO, 1, true);
    const standard_replaced in(0, peer);
    const standard_replaced out(1, peer);
    pipe_reader input = eddy::standard_input(loop);
    pipe_writer output = eddy::standard_output(loop);
    std::array<char, 10> buffer{};
    CHECK(!input.try_read(buffer));
    put(master, "line\nmore\n");
    const std::string line = co_await read_some(input);
    CHECK(line == "line\n");
    const std::string more = co_await read_some(input);
    CHECK(more == "more\n");
    co_await output.write("shown");
    CHECK((::fcntl(peer, F_GETFL) & O_NONBLOCK) == 0);
    std::string seen;  // first what the terminal echoes
    while (!seen.ends_with("shown") && seen != "error") seen += got_from(master);
    CHECK(seen == "line\r\nmore\r\nshown");
  }
  ::close(master);
  ::close(peer);
}

ASYNC_TEST("an object that has no file as the standard input is waited for, and blocks no loop") {
  const int count = ::eventfd(0, EFD_CLOEXEC);
  const standard_replaced in(0, count);
  pipe_reader input = eddy::standard_input(loop);
  std::array<char, 8> buffer{};
  CHECK(!input.try_read(buffer));
  auto reading = [](pipe_reader& from, std::span<char> into) -> task<std::size_t> {
    const std::size_t n = co_await from.read(into);
    co_return n;
  };
  auto adding = [](int to) -> task<> {
    co_await eddy::sleep(1s);
    const std::uint64_t one = 1;
    CHECK(::write(to, &one, sizeof one) == sizeof one);
  };
  auto both = eddy::join(reading(input, buffer), adding(count));
  const auto [n, nothing] = co_await std::move(both);
  CHECK(n == 8);
  CHECK((::fcntl(count, F_GETFL) & O_NONBLOCK) == 0);
  ::close(count);
}

ASYNC_TEST("a write to the reading end of a pipe fails, and a read from the writing end") {
  blocking_pipe p;
  const standard_replaced in(0, p.ends[1]);
  const standard_replaced out(1, p.ends[0]);
  pipe_reader input = eddy::standard_input(loop);
  pipe_writer output = eddy::standard_output(loop);
  const auto written = co_await as_result(output.write(std::string_view("lost")));
  CHECK(written.error() == std::errc::bad_file_descriptor);
  std::array<char, 8> buffer{};
  const auto read = co_await as_result(input.read(buffer));
  CHECK(read.error() == std::errc::bad_file_descriptor);
  CHECK(!p.flags_changed());
}

TEST_CASE_FIXTURE(with_loop, "closing a standard stream leaves the descriptor itself open") {
  blocking_pipe p;
  const standard_replaced out(1, p.ends[1]);
  {
    pipe_writer output = eddy::standard_output(loop);
  }
  put(1, "x");
  CHECK(got_from(p.ends[0]) == "x");
}

TEST_CASE("a closed standard input is an error that says so") {
  CHECK(holds_in_child([] {
    ::close(0);
    event_loop loop;
    ::close(0);
    failing_system system;
    system.fail(call::file_status, EBADF);
    try {
      static_cast<void>(eddy::standard_input(loop));
    } catch (const std::system_error& e) {
      return std::string(e.what()) == "use the standard input: Bad file descriptor";
    }
    return false;
  }));
}

// Calls that fail.

TEST_CASE_FIXTURE(with_loop, "each error of a read or a write is reported once, and EINTR is not") {
  for (const int error : {EIO, EISDIR, EINVAL, ENOMEM, EBADF}) {
    failing_system system;
    pipe_ends p = make_pipe(loop);
    std::array<char, 10> buffer{};
    system.fail(call::write, EINTR);
    CHECK(**p.writer.try_write("ab") == 2);
    system.fail(call::write, error);
    CHECK(p.writer.try_write("ab")->error().value() == error);
    system.fail(call::read, EINTR);
    CHECK(**p.reader.try_read(buffer) == 2);
    system.fail(call::read, error);
    CHECK(p.reader.try_read(buffer)->error().value() == error);
    CHECK(!p.reader.try_read(buffer));
  }
  for (const int error : {ENOSPC, EDQUOT, EFBIG, EPERM}) {
    failing_system system;
    pipe_ends p = make_pipe(loop);
    system.fail(call::write, error);
    std::error_code got;
    p.writer.write("ab", [&](eddy::result<void> r) { got = r.error(); });
    loop.run();
    CHECK(got.value() == error);
  }
}

ASYNC_TEST("short counts lose and repeat no byte") {
  failing_system system;
  for (const std::size_t most : {std::size_t{1}, std::size_t{7}}) {
    system.limit_bytes(most);
    pipe_ends p = make_pipe(loop);
    std::string bytes;
    for (int i = 0; i < 500; ++i) bytes += std::to_string(i);
    std::vector<eddy::const_buffer> parts;
    for (std::size_t i = 0; i < bytes.size(); i += 10) {
      parts.emplace_back(std::string_view(bytes).substr(i, 10));
    }
    auto writing = [](pipe_writer& w, std::span<const eddy::const_buffer> b) -> task<> {
      co_await w.write(b);
      w.close();
    };
    auto both = eddy::join(writing(p.writer, parts), read_all(p.reader));
    const auto [nothing, all] = co_await std::move(both);
    CHECK(all == bytes);
  }
}

TEST_CASE_FIXTURE(with_loop,
                  "make_pipe and taking over report what failed and leave no descriptor") {
  for (const int error : {EMFILE, ENFILE}) {
    failing_system system;
    system.fail(call::pipe, error);
    CHECK_THROWS_WITH_AS(static_cast<void>(make_pipe(loop)), doctest::Contains("make a pipe: "),
                         std::system_error);
  }
  blocking_pipe p;
  failing_system system;
  system.fail(call::set_non_blocking, EPERM);
  CHECK_THROWS_AS(pipe_reader(loop, std::exchange(p.ends[0], -1)), std::system_error);
  system.fail(call::duplicate, EMFILE);
  system.fail(call::open, EMFILE);
  const standard_replaced out(1, p.ends[1]);
  CHECK_THROWS_WITH_AS(static_cast<void>(eddy::standard_output(loop)),
                       doctest::Contains("use the standard output: "), std::system_error);
}

// Every way to end.

SCENARIO_TEST("a pipe's write and read end cleanly at every point") {
  const eddy::trial::part held(t);
  pipe_ends p = make_pipe(t.loop());
  auto sending = [](pipe_writer& to) -> task<> {
    co_await eddy::sleep(1s);
    const std::string much(200'000, 'm');
    co_await to.write(much);
    to.close();
  };
  auto both = eddy::join(sending(p.writer), read_all(p.reader));
  const auto [nothing, all] = co_await std::move(both);
  CHECK(all.size() == 200'000);
}

SCENARIO_TEST("the standard streams end cleanly at every point") {
  const eddy::trial::part held(t);
  blocking_pipe p;
  const standard_replaced in(0, p.ends[0]);
  put(p.ends[1], "word");
  p.close(1);
  pipe_reader input = eddy::standard_input(t.loop());
  const std::string all = co_await read_all(input);
  CHECK(all == "word");
}
