// SPDX-License-Identifier: BSD-2-Clause
// Every system call of pipes and of the standard streams, with each of its errors.
#include <array>
#include <cerrno>
#include <cstddef>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <eddy/future/join.h>
#include <eddy/future/task.h>
#include <eddy/future/timeout.h>
#include <eddy/net/buffer.h>
#include <eddy/net/pipe.h>
#include <eddy/net/unique_descriptor.h>

#include "support/failing_system.h"
#include "support/fault_scenario.h"
#include "support/faults.h"

using eddy::join;
using eddy::task;
using eddy::timeout;

namespace {

struct writes_to_a_pipe : scenario {
  explicit writes_to_a_pipe(faulty_run& r) : scenario(r), all(r.bytes(r.any(2, 30'000))) {
    piece = r.any(1 + all.size() / 4, all.size());
    size = r.any(1 + all.size() / 4, all.size() + 1);
  }
  task<> work() {
    heard.clear();
    eddy::pipe_ends ends = eddy::make_pipe(run.loop);
    ::fcntl(ends.writer.descriptor(), F_SETPIPE_SZ, 4096);
    auto both = join(say_and_close(std::move(ends.writer)), hear(ends.reader, heard, size));
    auto limited = timeout(client_patience, std::move(both));
    co_await std::move(limited);
  }
  task<> say_and_close(eddy::pipe_writer to) {
    struct shuts_down {
      explicit shuts_down(eddy::pipe_writer& w) noexcept : writer(w) {}
      auto write(eddy::const_buffer b) { return writer.write(b); }
      auto write(std::span<const eddy::const_buffer> b) { return writer.write(b); }
      void shutdown() { writer.close(); }
      eddy::pipe_writer& writer;
    };
    shuts_down stream(to);
    auto saying = say(stream, all, piece);
    co_await std::move(saying);
  }
  void check() { run.expect_bytes(all, heard); }
  static constexpr std::size_t shapes = 14;

  std::string all;
  std::string heard;
  std::size_t piece;
  std::size_t size;
};

/// Descriptors 0 and 1 are other files while it exists.
class standard_files {
public:
  standard_files(int input, int output) : input_(::dup(0)), output_(::dup(1)) {
    ::dup2(input, 0);
    ::dup2(output, 1);
  }
  standard_files(const standard_files&) = delete;
  standard_files& operator=(const standard_files&) = delete;
  ~standard_files() {
    ::dup2(input_, 0);
    ::dup2(output_, 1);
    ::close(input_);
    ::close(output_);
  }

private:
  int input_;
  int output_;
};

/// Copies the standard input to the standard output, which are pipes, sockets or files.
struct copies_standard_streams : scenario {
  /// A kernel that opens no pipe anew, and perhaps has no RWF_NOWAIT for it.
  struct system : failing_system {
    bool opens = true;
    bool has_no_wait = true;
    int open(const char* path, int flags, mode_t mode) override {
      const int made = failing_system::open(path, flags, mode);
      if (opens || made < 0) return made;
      ::close(made);
      errno = EACCES;
      return -1;
    }
    ssize_t read_now(int descriptor, void* data, std::size_t size) override {
      if (has_no_wait) return failing_system::read_now(descriptor, data, size);
      errno = EOPNOTSUPP;
      return -1;
    }
    ssize_t write_now(int descriptor, const iovec* parts, int number) override {
      if (has_no_wait) return failing_system::write_now(descriptor, parts, number);
      errno = EOPNOTSUPP;
      return -1;
    }
  };
  copies_standard_streams(faulty_run& r, system& s)
      : scenario(r), all(r.bytes(r.any(2, 15'000))), kind(r.option(3)) {
    s.opens = r.option(2) != 0;
    s.has_no_wait = r.option(2) != 0;
  }
  task<> work() {
    std::array<int, 2> in{-1, -1};
    std::array<int, 2> out{-1, -1};
    if (kind == 0) {
      static_cast<void>(::pipe2(in.data(), O_CLOEXEC));
      static_cast<void>(::pipe2(out.data(), O_CLOEXEC));
    } else if (kind == 1) {
      ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, in.data());
      ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, out.data());
    } else {
      in[1] = ::memfd_create("in", MFD_CLOEXEC);
      in[0] = ::dup(in[1]);
      out[0] = ::memfd_create("out", MFD_CLOEXEC);
      out[1] = ::dup(out[0]);
    }
    const eddy::unique_descriptor ends[]{
        eddy::unique_descriptor(in[0]), eddy::unique_descriptor(in[1]),
        eddy::unique_descriptor(out[0]), eddy::unique_descriptor(out[1])};
    const ssize_t sent = ::write(in[1], all.data(), all.size());
    run.expect(sent == static_cast<ssize_t>(all.size()), "a pipe has no space for the test");
    if (kind == 1) ::shutdown(in[1], SHUT_WR);
    if (kind == 2) ::lseek(in[1], 0, SEEK_SET);
    std::error_code error;
    {
      const standard_files here(in[0], out[1]);
      if (kind == 0) ::dup2(0, in[1]);  // closes the writing end
      try {
        auto copying = copy_all();
        auto limited = timeout(client_patience, std::move(copying));
        co_await std::move(limited);
      } catch (const std::system_error& e) {
        error = e.code();
      }
    }
    if (error) run.tell(error);
    std::string came(all.size() + 10, '\0');
    if (kind == 2) ::lseek(out[0], 0, SEEK_SET);
    ::fcntl(out[0], F_SETFL, O_NONBLOCK);
    const ssize_t n = ::read(out[0], came.data(), came.size());
    came.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    run.expect_bytes(all, came);
  }
  task<> copy_all() {
    eddy::pipe_reader from = eddy::standard_input(run.loop);
    eddy::pipe_writer to = eddy::standard_output(run.loop);
    std::vector<char> bytes(10'000);
    for (;;) {
      const std::size_t n = co_await from.read(std::span(bytes));
      if (n == 0) break;
      co_await to.write(std::span<const char>(bytes.data(), n));
    }
  }
  task<> again() {
    auto whole = work();
    co_await std::move(whole);
  }
  static constexpr std::size_t shapes = 12;

  std::string all;
  std::size_t kind;
};

}  // namespace

FAULTS_TEST(writes_to_a_pipe, "a pipe survives every fault")
FAULTS_TEST(copies_standard_streams, "the standard streams survive every fault")

FAULTS_TOTAL(2, 8'000, "the scenarios of pipes survive 8,000 faults")
