// SPDX-License-Identifier: BSD-2-Clause
#pragma once

// The state that a `write_queue` and its operations share, and the awaiter of its operations.

#include <concepts>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

#include <eddy/future/detail/frame.h>
#include <eddy/future/task.h>
#include <eddy/loop/before_wait.h>
#include <eddy/loop/description.h>
#include <eddy/loop/detail/counted.h>
#include <eddy/loop/detail/handler_slot.h>
#include <eddy/loop/detail/list_node.h>
#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/handler.h>
#include <eddy/loop/ready_node.h>
#include <eddy/loop/result.h>
#include <eddy/loop/work_guard.h>
#include <eddy/net/buffer.h>
#include <eddy/net/byte_stream.h>
#include <eddy/net/detail/callback_task.h>
#include <eddy/net/detail/queued_pieces.h>
#include <eddy/net/shared_bytes.h>

namespace eddy {

/// The limits of a `write_queue`, in bytes.
struct write_queue_options {
  /// The queue refuses bytes beyond this number, and fails. 32 MiB is the limit that Redis has for
  /// a subscriber.
  std::size_t limit = std::size_t{32} * 1024 * 1024;
  /// `on_high_water` is called when more bytes are queued. 256 KiB is the most that one system call
  /// takes.
  std::size_t high_water = std::size_t{256} * 1024;
  /// `on_low_water` is called when no more bytes are queued than this. At most `high_water`.
  std::size_t low_water = std::size_t{64} * 1024;
};

namespace detail {

/// The state of a `write_queue`, without its stream. Its owner and its operations own it together,
/// so that an operation may find the queue closed, but never destroyed.
class write_queue_state : public counted<write_queue_state> {
public:
  /// The condition that an operation waits for.
  enum class goal : std::uint8_t { flushed, low };

  /// An operation that waits. Destroying it ends the wait.
  class waiter : list_node {
  public:
    waiter() noexcept = default;
    ~waiter() { unlink(); }

  private:
    friend write_queue_state;
    goal goal_ = goal::flushed;
    bool reached_ = false;
    std::uint64_t target_ = 0;  // of `flushed`: the number of bytes to be sent in all
    ready_node* node_ = nullptr;
  };

  write_queue_state(event_loop& loop, const write_queue_options& how);
  virtual ~write_queue_state();

  void check_thread() const noexcept { loop_.check_thread(); }
  [[nodiscard]] event_loop& loop() const noexcept { return loop_; }
  [[nodiscard]] std::size_t queued() const noexcept { return pieces_.size(); }
  [[nodiscard]] std::error_code error() const noexcept { return error_; }

  /// Whether `size` more bytes may be queued. If `fails`, the queue fails if it has no space.
  [[nodiscard]] bool accepts(std::size_t size, bool fails) noexcept;
  /// Queues bytes that were accepted.
  /// Errors: `std::bad_alloc`.
  void put(const_buffer bytes);
  void put(const shared_bytes& bytes);

  using on_level = handler<void()>;
  using on_error = handler<void(std::error_code)>;
  [[nodiscard]] on_level set_on_high(on_level f) noexcept { return on_high_.replace(std::move(f)); }
  [[nodiscard]] on_level set_on_low(on_level f) noexcept { return on_low_.replace(std::move(f)); }
  [[nodiscard]] on_error set_on_error(on_error f) noexcept;

  // Waiting.

  /// Sets what `w` waits for, from now on. Returns whether that is reached already, or never will
  /// be.
  bool aim(waiter& w, goal what) const noexcept;
  /// Queues `node` on the loop when the goal of `w` is reached, or never will be; with `now`, at
  /// once.
  void wait(waiter& w, ready_node& node, bool now) noexcept;
  /// The result of a wait that is over: zero, or the error because of which it is.
  [[nodiscard]] std::error_code outcome(const waiter& w) const noexcept;
  /// Calls `on_done` when the goal is reached. Closing the queue destroys the handler.
  /// Errors: `std::bad_alloc`.
  void wait(goal what, handler<void(result<void>)> on_done);

  /// Closes the stream, and ends all operations.
  void close() noexcept;

  /// The handler of the write that is pending on the stream. If it is destroyed without a call, the
  /// write was cancelled.
  class completion {
  public:
    explicit completion(write_queue_state& of) noexcept : of_(&of) {}
    completion(completion&& other) noexcept : of_(std::exchange(other.of_, nullptr)) {}
    completion& operator=(completion&&) = delete;
    ~completion();
    void operator()(result<void> r);

  private:
    write_queue_state* of_;
  };

protected:
  /// Writes as much as the kernel takes now; empty if the stream cannot do that, or is full.
  virtual std::optional<result<std::size_t>> send_now(std::span<const const_buffer> parts) = 0;
  /// Writes all bytes, and then calls `on_sent`.
  virtual void send_later(std::span<const const_buffer> parts, completion on_sent) = 0;
  [[nodiscard]] virtual bool stream_open() const noexcept = 0;
  virtual void close_stream() noexcept = 0;

private:
  struct callback_wait;
  struct told : ready_node {
    explicit told(write_queue_state& s) noexcept : ready_node(&run), of(s) {}
    static void run(ready_node& node);
    write_queue_state& of;
  };

  void expect_send() noexcept;
  void send() noexcept;
  void complete(result<void> r) noexcept;
  template <std::size_t Most>
  void send_pieces();
  void send_rest(std::span<const const_buffer> parts);
  void sent(std::size_t count) noexcept;
  /// The stream can send no more.
  void break_off(std::error_code why) noexcept;
  void fail(std::error_code why) noexcept;
  void note_level() noexcept;
  /// Whether `w` has nothing more to wait for: it has reached its goal, or never will.
  [[nodiscard]] bool over(waiter& w) const noexcept;
  void wake() noexcept;
  [[nodiscard]] bool has_news() const noexcept;
  void tell() noexcept;

  event_loop& loop_;
  write_queue_options how_;
  queued_pieces pieces_;
  std::vector<const_buffer> sending_;  // the buffers of the pending write
  std::size_t sending_size_ = 0;
  std::uint64_t sent_ = 0;  // bytes in all
  std::error_code error_;   // the first one
  std::error_code broken_;  // why no more bytes can be sent
  bool writing_ = false;    // a write is pending on the stream
  bool closed_ = false;
  bool high_ = false;       // more than the high-water mark was queued, and not the low one since
  bool told_high_ = false;  // which the program was told last
  bool error_told_ = false;
  list_node waiters_;
  list_node callbacks_;  // the waits that have handlers, also those that are over
  told told_{*this};
  before_wait before_wait_;
  std::optional<work_guard>
      keeps_running_;  // until bytes that were queued are sent for the first time
  handler_slot<> on_high_;
  handler_slot<> on_low_;
  handler_slot<std::error_code> on_error_;
};

using write_queue_share = counted_ptr<write_queue_state>;

/// Aborts the program unless this is awaited on the queue's loop.
void expect_loop(const write_queue_state& queue) noexcept;
[[noreturn, gnu::cold]] void fail_wait(write_queue_state::goal what, std::error_code error);
[[gnu::cold]] const char* words_of(write_queue_state::goal what) noexcept;

/// The awaiter of an operation of a `write_queue`.
class [[nodiscard]] write_queue_wait final : public suspension {
public:
  using value = void;

  write_queue_wait(write_queue_share&& share, write_queue_state::goal what) noexcept
      : share_(std::move(share)), goal_(what) {}

  [[nodiscard]] bool await_ready() noexcept {
    expect_loop(*share_);
    decided_ = share_->aim(waiter_, goal_);
    return decided_ && frame::may_go_on();
  }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> by) noexcept {
    frame& waiter = by.promise();
    waiter.waits_for(*this);
    if (!frame::dropped()) share_->wait(waiter_, waiter, decided_);
  }
  result<void> await_result() const {
    if (const std::error_code e = share_->outcome(waiter_)) return std::unexpected(e);
    return {};
  }
  void await_resume() const {
    if (const std::error_code e = share_->outcome(waiter_)) fail_wait(goal_, e);
  }
  void describe(description& to) const override;

private:
  write_queue_share share_;
  write_queue_state::waiter waiter_;
  write_queue_state::goal goal_;
  bool decided_ = false;
};

/// An operation of a `write_queue` that is not started yet, for `co_await`.
class [[nodiscard("this does nothing without co_await or a handler")]] write_queue_operation {
public:
  write_queue_operation(write_queue_share share, write_queue_state::goal what) noexcept
      : share_(std::move(share)), goal_(what) {}
  write_queue_wait operator co_await() && noexcept {
    if (!share_) misuse("an operation was awaited twice, or after it was moved from");
    return {std::move(share_), goal_};
  }

private:
  write_queue_share share_;
  write_queue_state::goal goal_;
};

/// The state with its stream.
template <class Stream>
class write_queue_over final : public write_queue_state {
public:
  write_queue_over(Stream&& over, const write_queue_options& how)
      : write_queue_state(over.loop(), how), stream(std::move(over)) {}

  Stream stream;

protected:
  std::optional<result<std::size_t>> send_now(std::span<const const_buffer> parts) override {
    // The bytes of a flushable stream leave with its flush, which may wait.
    if constexpr (!flushable<Stream> && requires {
                    { stream.try_write(parts) } -> std::same_as<std::optional<result<std::size_t>>>;
                  }) {
      return stream.try_write(parts);
    } else {
      return std::nullopt;
    }
  }
  void send_later(std::span<const const_buffer> parts, completion on_sent) override {
    handler<void(result<void>)> on_done(std::move(on_sent));
    if constexpr (flushable<Stream>) {
      awaited_.start(loop(), write_out(stream, parts), std::move(on_done));
    } else if constexpr (requires { stream.write(parts, std::move(on_done)); }) {
      stream.write(parts, std::move(on_done));
    } else {
      awaited_.start(loop(), write_all(stream, parts), std::move(on_done));
    }
  }
  [[nodiscard]] bool stream_open() const noexcept override {
    if constexpr (requires {
                    { stream.open() } -> std::convertible_to<bool>;
                  }) {
      return stream.open();
    } else {
      return true;
    }
  }
  void close_stream() noexcept override {
    stream.close();
    awaited_.stop();
  }

private:
  // This object owns the coroutine.
  // NOLINTNEXTLINE(cppcoreguidelines-avoid-reference-coroutine-parameters)
  static task<> write_all(Stream& to, std::span<const const_buffer> parts) {
    co_await to.write(parts);
  }

  callback_task awaited_;  // the pending write of a stream that does not call back
};

}  // namespace detail
}  // namespace eddy
