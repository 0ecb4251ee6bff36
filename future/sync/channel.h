// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <algorithm>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include <eddy/future/detail/frame.h>
#include <eddy/future/detail/suspension.h>
#include <eddy/future/sync/detail/channel_core.h>
#include <eddy/future/sync/detail/message_ring.h>
#include <eddy/loop/description.h>
#include <eddy/loop/detail/current_loop.h>
#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/throw_error.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/result.h>

namespace eddy {

template <class T>
class channel;

namespace detail {
template <class T>
class channel_state;
template <class T>
class send_operation;
template <class T>
class reserve_operation;
template <class T>
class receive_operation;
template <class T>
class receive_many_operation;
}  // namespace detail

/// A place in a `channel` for one message. Its destructor gives an unused place back.
///
/// Lifetime: the channel must outlive its slots.
template <class T>
class [[nodiscard(
    "destroying a channel_slot gives its place back at once: keep it")]] channel_slot {
public:
  /// Holds no place.
  channel_slot() noexcept = default;
  channel_slot(channel_slot&& other) noexcept : of_(std::exchange(other.of_, nullptr)) {}
  channel_slot& operator=(channel_slot&& other) noexcept {
    channel_slot before(std::move(other));
    std::swap(of_, before.of_);
    return *this;
  }
  ~channel_slot() { release(); }

  /// Returns whether this object holds a place.
  [[nodiscard]] bool held() const noexcept { return of_ != nullptr; }

  /// Puts a message into the place, also if the channel was closed meanwhile. A slot without a
  /// place aborts the program.
  void send(T message) noexcept {
    if (of_ == nullptr) detail::misuse("a message was sent with a slot that holds no place");
    detail::channel_state<T>& of = *std::exchange(of_, nullptr);
    of.loop().check_thread();
    of.push_reserved(std::move(message));
  }
  /// Gives the place back.
  void release() noexcept {
    if (of_ == nullptr) return;
    of_->loop().check_thread();
    std::exchange(of_, nullptr)->unreserve();
  }

private:
  friend channel<T>;
  friend detail::reserve_operation<T>;
  explicit channel_slot(detail::channel_state<T>& of) noexcept : of_(&of) {}

  detail::channel_state<T>* of_ = nullptr;
};

/// Passes messages between the tasks of a loop, from any number of senders to any number of
/// receivers.
///
///     eddy::channel<std::string> lines(100);
///     ...
///     co_await lines.send(line);  // in one task; waits while 100 messages wait to be received
///     ...
///     while (auto line = co_await lines.receive()) use(*line);  // in another task
///
/// Messages are received in the order in which they were sent. Waiting senders and receivers are
/// served first come, first served, and nobody passes a waiter. With a capacity of 0, a send waits
/// for a receiver; if that receiver is cancelled, the message waits for the next one.
///
/// A message is sent when the sender resumes, and taken when the receiver resumes: a cancelled
/// `send` has sent nothing, and a cancelled `receive` has taken nothing. Sending allocates memory
/// only while the queue grows to a length that it did not have before. A queue of more than 64 KiB
/// gives its memory back when it becomes empty. `T` needs a move constructor that does not throw.
///
/// Lifetime: the loop must outlive the channel, and the channel its waiters and slots: a channel
/// that is destroyed earlier aborts the program. Messages that were not received are destroyed with
/// the channel.
template <class T>
class channel {
public:
  static constexpr std::size_t unlimited = SIZE_MAX / 2;

  /// Makes a channel on the running loop that keeps at most `capacity` messages. Aborts if no loop
  /// runs.
  explicit channel(std::size_t capacity) : channel(detail::current_loop("channel"), capacity) {}
  /// Makes a channel on `loop`.
  channel(event_loop& loop, std::size_t capacity) : state_(loop, std::min(capacity, unlimited)) {}
  ~channel() {
    state_.loop().check_thread();
    if (state_.awaited()) detail::misuse("a channel was destroyed before its waiters and slots");
  }

  /// `co_await c.send(message)` puts a message into the channel, as soon as there is a place.
  ///
  /// Errors: `std::system_error` with `broken_pipe` if the channel is closed; `std::bad_alloc`. The
  /// message is then destroyed.
  /// Cancelling: the message is destroyed and was not sent.
  detail::send_operation<T> send(T message) { return {state_, std::move(message)}; }

  /// Puts a message into the channel, if there is a place and nobody waits for one. Otherwise
  /// returns false and leaves `message` as it was.
  /// Errors: `std::bad_alloc`.
  [[nodiscard]] bool try_send(T&& message) {
    state_.loop().check_thread();
    if (state_.closed() || !state_.has_place()) return false;
    state_.make_room();
    state_.push(std::move(message));
    return true;
  }
  [[nodiscard]] bool try_send(const T& message) {
    T copy(message);
    return try_send(std::move(copy));
  }

  /// `co_await c.reserve()` waits for a place, and gives a `channel_slot` for one message.
  ///
  /// So a sender makes its message only when there is a place for it.
  /// Errors: `std::system_error` with `broken_pipe` if the channel is closed; `std::bad_alloc`.
  /// Cancelling: a place that was granted goes to the next sender.
  detail::reserve_operation<T> reserve() noexcept { return detail::reserve_operation<T>(state_); }

  /// `co_await c.receive()` gives the next message as a `std::optional`, which is empty when the
  /// channel is closed and all its messages were received.
  ///
  /// Cancelling: a message that was granted stays for the next receiver, in its order.
  detail::receive_operation<T> receive() noexcept { return detail::receive_operation<T>(state_); }

  /// Gives the next message, if there is one and nobody waits for it.
  [[nodiscard]] std::optional<T> try_receive() noexcept {
    state_.loop().check_thread();
    if (!state_.has_message()) return std::nullopt;
    return state_.pop();
  }

  /// `co_await c.receive_many(to, most)` appends the messages that are there to `to`, at least one
  /// and at most `most`, and gives their number: 0 at the end.
  ///
  /// `to` must live until the operation completes. `most` of 0 aborts the program.
  /// Errors: `std::bad_alloc`; the messages then stay in the channel.
  /// Cancelling: the messages stay in the channel.
  detail::receive_many_operation<T> receive_many(std::vector<T>& to, std::size_t most) noexcept {
    if (most == 0) detail::misuse("receive_many needs a number of messages that is not 0");
    return {state_, to, most};
  }

  /// Ends the channel: either side may call this. Later and waiting sends fail with `broken_pipe`;
  /// receivers get the messages that are there, and those of reserved slots, and then the end.
  void close() noexcept { state_.close(); }
  [[nodiscard]] bool closed() const noexcept {
    state_.loop().check_thread();
    return state_.closed();
  }

  /// Returns how many messages wait to be received.
  [[nodiscard]] std::size_t size() const noexcept {
    state_.loop().check_thread();
    return state_.size();
  }
  /// Returns how many messages the channel keeps at most.
  [[nodiscard]] std::size_t capacity() const noexcept { return state_.capacity(); }

private:
  detail::channel_state<T> state_;
};

// implementation

namespace detail {

/// The core with its messages.
template <class T>
class channel_state : public channel_core {
public:
  using channel_core::channel_core;

  /// Errors: `std::bad_alloc`.
  void make_room() { messages_.make_room(reserved() + 1); }
  void push(T&& message) noexcept {
    messages_.push_back(std::move(message));
    pushed();
  }
  void push_reserved(T&& message) noexcept {
    messages_.push_back(std::move(message));
    pushed();
    unreserve();
  }
  std::optional<T> pop() noexcept {
    std::optional<T> message(messages_.take_front());
    popped();
    return message;
  }

private:
  message_ring<T> messages_;
};

/// The base class of a channel's awaiters. `Side` says whether an awaiter waits for a place or for
/// a message.
template <class T, channel_claim::side Side>
class channel_wait : public suspension {
  static constexpr bool sends = Side == channel_claim::side::sender;

public:
  explicit channel_wait(channel_state<T>& of) noexcept : claim_(of, Side) {}

  [[nodiscard]] bool await_ready() noexcept {
    channel_core& of = claim_.core();
    if (event_loop::current() != &of.loop()) {
      misuse("a channel was awaited on another loop than its own");
    }
    const bool served = sends ? !of.closed() && of.has_place() : of.has_message();
    if (!served && !(sends ? of.closed() : of.ended())) return false;
    if (!frame::may_go_on()) return false;
    served_ = served;
    return true;
  }

  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> by) noexcept {
    frame& waiter = by.promise();
    waiter.waits_for(*this);
    claim_.wait(waiter);
  }

  void describe(description& to) const override {
    to.add(sends ? "a place in a channel" : "a message of a channel");
  }

protected:
  ~channel_wait() = default;

  [[nodiscard]] channel_state<T>& state() const noexcept {
    return static_cast<channel_state<T>&>(claim_.core());
  }
  /// True if there is a place or a message for this waiter, which must use it now.
  [[nodiscard]] bool arrive() noexcept { return claim_.arrive() || served_; }

private:
  channel_claim claim_;
  bool served_ = false;
};

template <class T>
class send_wait final : public channel_wait<T, channel_claim::side::sender> {
public:
  send_wait(channel_state<T>& of, T&& message) noexcept
      : channel_wait<T, channel_claim::side::sender>(of), message_(std::move(message)) {}

  result<void> await_result() {
    if (!this->state().closed()) this->state().make_room();
    if (!this->arrive()) return std::unexpected(std::make_error_code(std::errc::broken_pipe));
    this->state().push(std::move(message_));
    return {};
  }
  void await_resume() {
    if (const result<void> sent = await_result(); !sent) {
      throw_error(sent.error(), "send to a channel that is closed");
    }
  }

private:
  T message_;
};

template <class T>
class [[nodiscard("this does nothing without co_await")]] send_operation {
public:
  send_operation(channel_state<T>& of, T&& message) noexcept
      : of_(&of), message_(std::move(message)) {}
  send_wait<T> operator co_await() && noexcept { return {*of_, std::move(message_)}; }

private:
  channel_state<T>* of_;
  T message_;
};

template <class T>
class [[nodiscard("this does nothing without co_await")]] reserve_operation {
  class wait final : public channel_wait<T, channel_claim::side::sender> {
  public:
    using channel_wait<T, channel_claim::side::sender>::channel_wait;

    result<channel_slot<T>> await_result() {
      if (!this->state().closed()) this->state().make_room();
      if (!this->arrive()) return std::unexpected(std::make_error_code(std::errc::broken_pipe));
      this->state().reserve();
      return slot_of(this->state());
    }
    channel_slot<T> await_resume() {
      result<channel_slot<T>> slot = await_result();
      if (!slot) throw_error(slot.error(), "reserve a place in a channel that is closed");
      return *std::move(slot);
    }
  };

public:
  explicit reserve_operation(channel_state<T>& of) noexcept : of_(&of) {}
  wait operator co_await() const noexcept { return wait(*of_); }

private:
  static channel_slot<T> slot_of(channel_state<T>& of) noexcept { return channel_slot<T>(of); }

  channel_state<T>* of_;
};

template <class T>
class [[nodiscard("this does nothing without co_await")]] receive_operation {
  class wait final : public channel_wait<T, channel_claim::side::receiver> {
  public:
    using channel_wait<T, channel_claim::side::receiver>::channel_wait;

    std::optional<T> await_resume() noexcept {
      if (!this->arrive()) return std::nullopt;
      return this->state().pop();
    }
  };

public:
  explicit receive_operation(channel_state<T>& of) noexcept : of_(&of) {}
  wait operator co_await() const noexcept { return wait(*of_); }

private:
  channel_state<T>* of_;
};

template <class T>
class [[nodiscard("this does nothing without co_await")]] receive_many_operation {
  class wait final : public channel_wait<T, channel_claim::side::receiver> {
  public:
    wait(channel_state<T>& of, std::vector<T>& to, std::size_t most) noexcept
        : channel_wait<T, channel_claim::side::receiver>(of), to_(&to), most_(most) {}

    std::size_t await_resume() {
      channel_state<T>& of = this->state();
      if (const std::size_t all = to_->size() + std::min(most_, of.size()); all > to_->capacity()) {
        to_->reserve(std::max(all, to_->capacity() * 2));
      }
      if (!this->arrive()) return 0;
      std::size_t count = 0;
      do {
        to_->push_back(*of.pop());
      } while (++count < most_ && of.has_message());
      return count;
    }

  private:
    std::vector<T>* to_;
    std::size_t most_;
  };

public:
  receive_many_operation(channel_state<T>& of, std::vector<T>& to, std::size_t most) noexcept
      : of_(&of), to_(&to), most_(most) {}
  wait operator co_await() const noexcept { return wait(*of_, *to_, most_); }

private:
  channel_state<T>* of_;
  std::vector<T>* to_;
  std::size_t most_;
};

}  // namespace detail

}  // namespace eddy
