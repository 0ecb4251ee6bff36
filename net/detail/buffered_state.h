// SPDX-License-Identifier: BSD-2-Clause
#pragma once

// The state that a `buffered` stream and its operations share, and the awaiter of a read.

#include <cerrno>
#include <coroutine>
#include <cstddef>
#include <exception>
#include <span>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include <eddy/future/detail/frame.h>
#include <eddy/future/task.h>
#include <eddy/loop/description.h>
#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/throw_error.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/result.h>
#include <eddy/net/buffer.h>
#include <eddy/net/byte_stream.h>
#include <eddy/net/detail/callback_task.h>
#include <eddy/net/detail/read_buffer.h>
#include <eddy/net/detail/read_units.h>

namespace eddy::detail {

/// The state of a `buffered` stream, without its stream. Its owner and its operations share it by a
/// count of references, so that an operation may find the stream closed, but never destroyed.
class buffered_state {
public:
  buffered_state(event_loop& loop, std::size_t buffer_size);
  buffered_state(const buffered_state&) = delete;
  buffered_state& operator=(const buffered_state&) = delete;
  virtual ~buffered_state() = default;

  void retain() noexcept { ++references_; }
  void release() noexcept {
    if (--references_ == 0) delete this;
  }

  /// Reads from the stream until `unit` is decided.
  virtual task<> fill(read_unit& unit) = 0;
  /// Writes the bytes that wait, and then `more`.
  virtual task<> send(std::span<const const_buffer> more) = 0;
  /// Sends the bytes that wait, and ends the sending side.
  virtual task<> end_sending() = 0;
  virtual void close_stream() noexcept = 0;

  [[nodiscard]] event_loop& loop() const noexcept { return loop_; }
  [[nodiscard]] bool closed() const noexcept { return closed_; }
  void close() noexcept;
  /// Aborts the program unless this is awaited on the stream's loop, with no other read pending.
  void expect_free_reader() const {
    if (event_loop::current() != &loop_ || reading) [[unlikely]]
      wrong_reader();
  }

  /// Throws an error if this is closed, or if an earlier write did not complete. Aborts the program
  /// if a write is pending.
  void expect_writable() const;
  /// Adds bytes to those that wait.
  void append(const_buffer bytes) {
    waiting.insert(waiting.end(), bytes.data(), bytes.data() + bytes.size());
  }
  /// Counts `size` bytes that were copied and the buffers that a write has looked at.
  void charge(std::size_t size, std::size_t buffers) noexcept {
    loop_.charge(size + buffers * 64);  // as in `write_several`
  }

  /// Holds the right to write while a task of the stream does so.
  class writer {
  public:
    explicit writer(buffered_state& of);
    writer(const writer&) = delete;
    writer& operator=(const writer&) = delete;
    ~writer() { of_.writing_ = false; }
    /// All bytes are sent. If this is not called, an unknown part of them is.
    void done() noexcept { of_.lost_ = false; }
    void begins() noexcept { of_.lost_ = true; }

  private:
    buffered_state& of_;
  };

  read_buffer in;
  std::vector<std::byte> waiting;  // to be sent
  std::vector<std::byte> sending;  // while it is sent
  std::size_t buffer_size;
  bool reading = false;  // a read waits
  callback_task reader;
  callback_task sender;

private:
  friend class writer;

  [[gnu::cold]] void wrong_reader() const;

  event_loop& loop_;
  std::size_t references_ = 1;
  bool closed_ = false;
  bool writing_ = false;
  bool lost_ = false;  // a write was cancelled or failed
};

/// Owns a share of a state.
class buffered_share {
public:
  explicit buffered_share(buffered_state& state) noexcept : state_(&state) { state.retain(); }
  buffered_share(buffered_share&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  buffered_share& operator=(buffered_share&&) = delete;
  ~buffered_share() {
    if (state_ != nullptr) state_->release();
  }
  buffered_state* operator->() const noexcept { return state_; }
  buffered_state& operator*() const noexcept { return *state_; }
  [[nodiscard]] explicit operator bool() const noexcept { return state_ != nullptr; }

private:
  buffered_state* state_;
};

/// The awaiter of an operation that reads a unit.
///
/// If the unit is in the buffer, there is no coroutine and no suspension. Otherwise a child task
/// reads from the stream. The unit is taken when the waiter resumes.
template <class Unit>
class [[nodiscard]] buffered_read_wait final : public suspension {
public:
  using value = typename Unit::value;

  buffered_read_wait(buffered_share&& share, const Unit& unit) noexcept
      : share_(std::move(share)), unit_(unit) {}
  ~buffered_read_wait() {
    if (child_ != nullptr) frame::destroy(*std::exchange(child_, nullptr));
    if (waiting_) share_->reading = false;
  }

  [[nodiscard]] bool await_ready() {
    decided_ = share_->closed();
    if (!decided_) {
      share_->expect_free_reader();
      decided_ = unit_.attempt(share_->in);
    }
    return decided_ && frame::may_go_on();
  }

  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> by) {
    frame& waiter = by.promise();
    if (!decided_ && !frame::dropped()) {
      task<> more = share_->fill(unit_);
      child_ = &task_access::release(more).promise();
    }
    waiter.waits_for(*this);
    share_->reading = waiting_ = true;
    if (child_ != nullptr) return !child_->start(waiter) || waiter.stops_here();
    if (!frame::dropped()) share_->loop().ready(waiter);
    return true;
  }

  result<value> await_result() {
    if (child_ != nullptr && child_->error() != nullptr) {
      try {
        child_->get();
      } catch (const std::system_error& e) {
        return std::unexpected(e.code());
      }
    }
    if (share_->closed() || unit_.failed()) [[unlikely]]
      return std::unexpected(error());
    return unit_.take(share_->in);
  }
  value await_resume() {
    if (child_ != nullptr) child_->get();
    if (share_->closed() || unit_.failed()) [[unlikely]]
      throw_error(error(), unit_.words());
    return unit_.take(share_->in);
  }

  void describe(description& to) const override {
    to.add(unit_.words());
    describe_below(to, child_);
  }
  [[nodiscard]] frame* child() const noexcept override { return child_; }
  void destroy_child() noexcept override { std::exchange(child_, nullptr)->end(); }

private:
  [[nodiscard, gnu::cold]] std::error_code error() const noexcept {
    if (share_->closed()) return std::make_error_code(std::errc::operation_canceled);
    return unit_.error();
  }

  buffered_share share_;
  Unit unit_;
  task_promise<void>* child_ = nullptr;
  bool decided_ = false;
  bool waiting_ = false;
};

/// A read of a unit that is not started yet, for `co_await`.
template <class Unit>
class [[nodiscard("this does nothing without co_await or a handler")]] buffered_read {
public:
  buffered_read(buffered_state& state, const Unit& unit) noexcept : share_(state), unit_(unit) {}

  buffered_read_wait<Unit> operator co_await() && noexcept {
    if (!share_) misuse("an operation was awaited twice, or after it was moved from");
    return buffered_read_wait<Unit>(std::move(share_), unit_);
  }

private:
  buffered_share share_;
  Unit unit_;
};

/// Reads lines until the end or an error, and calls a handler with each.
task<> each_line(buffered_share share, std::size_t limit,
                 handler<void(result<std::optional<std::string_view>>)> on_line);

/// The tasks of operations that write. The first adds to the bytes that wait, or sends them all.
task<> buffered_write(buffered_share share, const_buffer bytes);
task<> buffered_write_all(buffered_share share, std::span<const const_buffer> buffers);
task<> buffered_write_frame(buffered_share share, std::size_t length_bytes, std::endian order,
                            const_buffer payload);
task<> buffered_flush(buffered_share share);
task<> buffered_shutdown(buffered_share share);

/// The state with its stream.
template <byte_stream Stream>
class buffered_over final : public buffered_state {
public:
  buffered_over(Stream&& over, std::size_t size)
      : buffered_state(over.loop(), size), stream(std::move(over)) {}

  // The reader awaits this in the frame that owns the unit.
  task<> fill(
      read_unit& unit) override {  // NOLINT(cppcoreguidelines-avoid-reference-coroutine-parameters)
    while (!unit.attempt(in)) {
      expect_not_closed(stream);
      const std::span<char> into = in.space();
      const std::size_t count = co_await stream.read(into);
      in.filled(count);
    }
  }

  task<> send(std::span<const const_buffer> more) override {
    writer right(*this);
    do {
      expect_not_closed(stream);
      std::swap(waiting, sending);
      right.begins();
      if (!sending.empty()) {
        const const_buffer first = std::span<const std::byte>(sending);
        if (more.size() == 1) {
          const const_buffer both[] = {first, more.front()};
          more = {};
          auto writing = write_out(stream, std::span<const const_buffer>(both));
          co_await std::move(writing);
        } else {
          auto writing = write_out(stream, first);
          co_await std::move(writing);
        }
        sending.clear();
      }
      if (!more.empty()) {
        expect_not_closed(stream);
        const std::span<const const_buffer> list = std::exchange(more, {});
        auto writing = write_out(stream, list);
        co_await std::move(writing);
      }
      right.done();
    } while (!waiting.empty());
  }

  task<> end_sending() override { return shut_down(stream); }
  void close_stream() noexcept override { stream.close(); }

  Stream stream;
};

}  // namespace eddy::detail
