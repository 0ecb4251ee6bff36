// SPDX-License-Identifier: BSD-2-Clause
#pragma once

// The state that the two ends of a `duplex` share, and the operations on it.

#include <array>
#include <coroutine>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <system_error>
#include <utility>

#include <eddy/future/awaitable.h>
#include <eddy/future/detail/frame.h>
#include <eddy/loop/description.h>
#include <eddy/loop/detail/counted.h>
#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/result.h>
#include <eddy/net/buffer.h>
#include <eddy/net/detail/callback_task.h>
#include <eddy/net/detail/write_observer.h>

namespace eddy::detail {

class duplex_read;
class duplex_write;

/// The bytes on the way in one direction.
class duplex_pipe {
public:
  explicit duplex_pipe(std::size_t capacity)
      : bytes_(std::make_unique_for_overwrite<std::byte[]>(capacity)), capacity_(capacity) {}

  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] bool full() const noexcept { return size_ == capacity_; }

  /// Copies bytes in. Returns how many fit.
  std::size_t put(std::span<const std::byte> bytes) noexcept;
  /// Moves bytes out. Returns how many there were.
  std::size_t take(std::span<std::byte> into) noexcept;

  duplex_read* reader = nullptr;   // that waits
  duplex_write* writer = nullptr;  // that waits
  bool ending = false;             // after `shutdown`, while a write is pending
  bool ended = false;              // no more bytes are put in
  bool reader_closed = false;      // nobody takes bytes out any more

private:
  std::unique_ptr<std::byte[]> bytes_;
  std::size_t capacity_;
  std::size_t begin_ = 0;
  std::size_t size_ = 0;
};

/// Both ends. A side is 0 or 1.
class duplex_state : public counted<duplex_state> {
public:
  duplex_state(event_loop& loop, std::size_t a_to_b, std::size_t b_to_a)
      : loop_(loop), ends_{end(a_to_b), end(b_to_a)} {}

  [[nodiscard]] event_loop& loop() const noexcept { return loop_; }
  void check_thread() const noexcept { loop_.check_thread(); }

  /// The pipe into which `side` writes, and the one from which it reads.
  [[nodiscard]] duplex_pipe& to(unsigned side) noexcept { return ends_[side].out; }
  [[nodiscard]] duplex_pipe& from(unsigned side) noexcept { return ends_[1 - side].out; }
  [[nodiscard]] bool closed(unsigned side) const noexcept { return ends_[side].closed; }
  [[nodiscard]] callback_task& reading(unsigned side) noexcept { return ends_[side].reading; }
  [[nodiscard]] callback_task& writing(unsigned side) noexcept { return ends_[side].writing; }

  /// Whether a read would not wait.
  [[nodiscard]] bool readable(unsigned side) noexcept {
    const duplex_pipe& pipe = from(side);
    return pipe.size() != 0 || pipe.ended || ends_[side].reset;
  }
  /// Takes the bytes, the end or the error that a read gives.
  result<std::size_t> take(unsigned side, mutable_buffer into) noexcept;
  /// The error with which a write fails; zero if it may go on.
  int write_error(unsigned side) noexcept;
  /// Copies bytes in and tells the other end's reader.
  std::size_t put(unsigned side, const_buffer bytes) noexcept;

  void shutdown(unsigned side) noexcept;
  /// A write has completed or was cancelled: a delayed `shutdown` follows.
  void write_over(unsigned side) noexcept {
    if (to(side).ending) [[unlikely]]
      end_sending(side);
  }
  void stop_reading(unsigned side) noexcept;
  void stop_writing(unsigned side) noexcept;
  void close(unsigned side) noexcept;

private:
  struct end {
    explicit end(std::size_t capacity) : out(capacity) {}
    duplex_pipe out;
    bool closed = false;
    bool reset = false;  // the other end was closed with unread bytes, and this one was not told
    callback_task reading;
    callback_task writing;
  };

  void end_sending(unsigned side) noexcept;

  event_loop& loop_;
  std::array<end, 2> ends_;
};

/// The common base of the awaiters.
class duplex_wait : public suspension {
public:
  /// Queues the waiter, unless it is queued already.
  void wake() noexcept;
  /// Completes with `operation_canceled`.
  void cancel() noexcept {
    cancelled_ = true;
    wake();
  }

protected:
  duplex_wait(counted_ptr<duplex_state>&& state, unsigned side) noexcept
      : state_(std::move(state)), side_(side) {}
  ~duplex_wait() = default;

  /// Aborts the program if this is awaited on another loop. Returns whether the end is closed.
  bool check_closed();

  counted_ptr<duplex_state> state_;
  unsigned side_;
  bool cancelled_ = false;
  frame* waiter_ = nullptr;  // once it waits
};

/// The awaiter of a read.
class [[nodiscard]] duplex_read final : public duplex_wait {
public:
  using argument = mutable_buffer;
  using value = std::size_t;
  static constexpr const char* busy = "a read is already pending on this duplex_stream";

  duplex_read(counted_ptr<duplex_state>&& state, unsigned side, argument into, bool) noexcept
      : duplex_wait(std::move(state), side), into_(into) {}
  ~duplex_read() { forget(); }

  static void check(const argument& into) noexcept;
  static bool refused(duplex_state&, unsigned) noexcept { return false; }

  [[nodiscard]] bool await_ready();
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> by) noexcept {
    waiter_ = &by.promise();
    waiter_->waits_for(*this);
    begin();
  }
  result<std::size_t> await_result();
  std::size_t await_resume();

  void describe(description& to) const override;

private:
  void begin() noexcept;
  void forget() noexcept;

  mutable_buffer into_;
};

/// The bytes that a write sends: one buffer or a list.
class duplex_bytes {
public:
  duplex_bytes(const_buffer one, write_observer* observer = nullptr) noexcept
      : one_(one), left_(1), observer_(observer) {}
  duplex_bytes(std::span<const const_buffer> all) noexcept : list_(all.data()), left_(all.size()) {}

  /// The next bytes to send; empty if all are sent. Passes over at most 512 empty buffers, and then
  /// `more` is still true.
  [[nodiscard]] const_buffer next() noexcept;
  [[nodiscard]] bool more() const noexcept { return left_ != 0; }
  void sent(std::size_t size) noexcept {
    begun_ += size;
    if (observer_ != nullptr) observer_->bytes_moved();
  }

private:
  const_buffer one_;
  const const_buffer* list_ = nullptr;  // null for one buffer
  std::size_t left_;
  std::size_t begun_ = 0;  // bytes sent of the first buffer
  write_observer* observer_ = nullptr;
};

/// The awaiter of a write.
class [[nodiscard]] duplex_write final : public duplex_wait {
public:
  using argument = duplex_bytes;
  using value = void;
  static constexpr const char* busy = "a write is already pending on this duplex_stream";

  duplex_write(counted_ptr<duplex_state>&& state, unsigned side, argument bytes,
               bool refused) noexcept
      : duplex_wait(std::move(state), side), bytes_(bytes), refused_(refused) {}
  ~duplex_write() { forget(); }

  static void check(const argument&) noexcept {}
  /// Whether a write that is made now comes after `shutdown`.
  static bool refused(duplex_state& state, unsigned side) noexcept {
    return state.to(side).ending || state.to(side).ended;
  }

  [[nodiscard]] bool await_ready();
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> by) noexcept {
    waiter_ = &by.promise();
    waiter_->waits_for(*this, &run);
    begin();
  }
  result<void> await_result() noexcept;
  void await_resume();

  void describe(description& to) const override;

private:
  static void run(ready_node& node);
  void begin() noexcept;
  /// Copies what fits. Returns whether the write is over.
  bool attempt() noexcept;
  void forget() noexcept;

  duplex_bytes bytes_;
  int error_ = 0;
  bool over_ = false;
  bool refused_;        // made after `shutdown`
  bool begun_ = false;  // it is the pending write of its end
};

/// An operation that is not started yet: the result of `stream.read(buffer)`, for `co_await`.
template <class Wait>
class [[nodiscard("this does nothing without co_await or a handler")]] duplex_operation {
public:
  duplex_operation(duplex_state& state, unsigned side, typename Wait::argument what)
      : state_(state.share()), side_(side), refused_(Wait::refused(state, side)), what_(what) {
    Wait::check(what_);
  }

  Wait operator co_await() && noexcept {
    if (!state_) misuse("an operation was awaited twice, or after it was moved from");
    return Wait(std::move(state_), side_, what_, refused_);
  }

private:
  counted_ptr<duplex_state> state_;
  unsigned side_;
  bool refused_;
  typename Wait::argument what_;
};

}  // namespace eddy::detail
