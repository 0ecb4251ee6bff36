// SPDX-License-Identifier: BSD-2-Clause
#pragma once

// The state that a file_stream shares with its operations and its jobs on worker threads.

#include <atomic>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include <sys/types.h>

#include <eddy/future/adapt.h>
#include <eddy/future/task.h>
#include <eddy/loop/blocking_job.h>
#include <eddy/loop/detail/counted.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/result.h>
#include <eddy/net/buffer.h>
#include <eddy/net/detail/callback_task.h>
#include <eddy/net/detail/delivery.h>
#include <eddy/net/detail/held_stream.h>
#include <eddy/net/detail/stream_calls.h>

namespace eddy {
class file_stream;
}

namespace eddy::detail {

class system;

/// An open file. The stream and the jobs own it together, so that no job uses a number that another
/// file has by then.
/// Threads: the last owner may be a worker, which then closes the file. `calls` makes the calls of
/// every thread.
class shared_file {
public:
  /// Takes over `descriptor`.
  shared_file(system& calls, int descriptor) noexcept : calls_(calls), descriptor_(descriptor) {}
  shared_file(const shared_file&) = delete;
  shared_file& operator=(const shared_file&) = delete;
  ~shared_file();

  [[nodiscard]] system& calls() const noexcept { return calls_; }
  [[nodiscard]] int descriptor() const noexcept { return descriptor_; }

  /// Held during each read, write and `resize`, so that the call of a cancelled operation never
  /// comes after that of a later one.
  std::mutex busy;

private:
  system& calls_;
  int descriptor_;
};

/// The work of a worker for a file. It owns everything it uses.
class file_job {
public:
  file_job() = default;
  file_job(const file_job&) = delete;
  file_job& operator=(const file_job&) = delete;
  virtual ~file_job() = default;

  virtual void run() noexcept = 0;

  /// Called by the loop, whose waiter is gone: work that has not begun is left out.
  void abandon() noexcept { abandoned_ = true; }
  /// The errno, or zero.
  [[nodiscard]] int error() const noexcept { return error_; }

protected:
  [[nodiscard]] bool abandoned() const noexcept { return abandoned_; }

  int error_ = 0;

private:
  std::atomic<bool> abandoned_ = false;
};

/// The operation that waits for a worker, if there is one.
struct file_wait {
  /// Resumes the operation, which has its result, or whose stream was closed.
  void complete() {
    if (const auto waiter = std::exchange(done, std::nullopt)) (*waiter)();
  }

  std::optional<completer<void>> done;
};

/// The state of a `file_stream`, which its operations own, too: an operation may find the stream
/// closed, but never destroyed.
class file_state : public counted<file_state> {
public:
  file_state(event_loop& loop, std::shared_ptr<shared_file> file, std::string words) noexcept
      : words_(std::move(words)), file_(std::move(file)), loop_(loop) {}

  void check_thread() const noexcept { loop_.check_thread(); }
  [[nodiscard]] event_loop& loop() const noexcept { return loop_; }
  [[nodiscard]] int descriptor() const noexcept { return file_->descriptor(); }
  [[nodiscard]] const std::shared_ptr<shared_file>& file() const noexcept { return file_; }
  /// Names the file in messages: "the file /etc/hosts".
  [[nodiscard]] const std::string& words() const noexcept { return words_; }

  /// Takes over the file, once it is open.
  void adopt(std::shared_ptr<shared_file> file) noexcept { file_ = std::move(file); }
  void close() noexcept;
  [[nodiscard]] bool closed() const noexcept { return !file_; }

  /// Reads bytes that are in memory. Gives their number or an error, or nothing if a worker has to
  /// read.
  std::optional<result<std::size_t>> read_now(void* data, std::uint64_t position, std::size_t size);
  /// Writes some bytes without waiting. Gives the errno or zero, or nothing if a worker has to
  /// write.
  std::optional<int> write_now(unwritten& left);
  /// Passes bytes that were written.
  void pass(unwritten& left, std::size_t written) noexcept;

  std::uint64_t read_position = 0;
  std::uint64_t write_position = 0;
  bool ended = false;  // by shutdown
  bool read_pending = false;
  bool write_pending = false;
  file_wait read_wait;
  file_wait write_wait;
  callback_task reader;
  callback_task writer;

private:
  const std::string words_;
  std::shared_ptr<shared_file> file_;
  event_loop& loop_;
  bool reads_now_ = true;  // until the file system says that it cannot
  bool writes_now_ = true;
};

using file_share = counted_ptr<file_state>;

/// Has a worker do `job`, and waits until it has done so or the stream was closed. `doing` are the
/// words for it: "read from ".
/// Errors: `std::system_error` if no thread can be started; `std::bad_alloc`.
task<> wait_for(file_share file, file_wait file_state::* which, std::shared_ptr<file_job> job,
                const char* doing);

// The operations.

task<reported<std::size_t>> read_file(file_share file, mutable_buffer into);
task<reported<void>> write_file(file_share file, unwritten left);
task<reported<void>> shut_down_file(file_share file);
task<reported<void>> sync_file(file_share file);
task<reported<void>> resize_file(file_share file, std::uint64_t size);
task<reported<std::uint64_t>> size_of_file(file_share file);

/// Aborts the program unless the stream has no pending read.
void expect_no_read(const file_state& file) noexcept;
/// Aborts the program unless the stream has no pending write.
void expect_no_write(const file_state& file) noexcept;

/// The awaiter of a read. The position moves when the waiter takes the result, so that a read that
/// is dropped before that loses nothing.
class file_read_wait {
public:
  file_read_wait(file_share&& file, mutable_buffer into);
  file_read_wait(const file_read_wait&) = delete;
  file_read_wait& operator=(const file_read_wait&) = delete;

  [[nodiscard]] bool await_ready() const noexcept { return inner_.await_ready(); }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> by) noexcept {
    return inner_.await_suspend(by);
  }
  result<std::size_t> await_result();
  std::size_t await_resume();

private:
  file_share file_;
  held_stream::direction used_;
  steps_wait<std::size_t> inner_;
};

template <>
inline constexpr bool is_own_awaiter<file_read_wait> = true;

/// A read that is not started yet, for `co_await`.
class [[nodiscard("this does nothing without co_await or a handler")]] file_read_operation {
public:
  file_read_operation(file_share&& file, mutable_buffer into) noexcept
      : file_(std::move(file)), into_(into) {
    expect_space(into);
  }
  file_read_wait operator co_await() &&;

private:
  file_share file_;
  mutable_buffer into_;
};

/// Makes streams of files.
struct file_access {
  static file_stream make(file_share state) noexcept;
};

}  // namespace eddy::detail
