// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <cstdint>

#include <eddy/future/sync/detail/claim.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/ready_node.h>

namespace eddy::detail {

class channel_core;

/// A sender or a receiver that waits. The waiter embeds it, and destroys it to cancel the wait: a
/// place or a message that was granted to it goes to the next waiter.
class channel_claim : public claim {
public:
  enum class side : unsigned char { sender, receiver };

  channel_claim(channel_core& of, side which) noexcept : of_(&of), side_(which) {}
  ~channel_claim() {
    if (now() != stage::outside) cancel();
  }

  [[nodiscard]] channel_core& core() const noexcept { return *of_; }

  /// Has the loop run `waiter` when there is a place, a message, or the end.
  void wait(ready_node& waiter) noexcept;
  /// The waiter has resumed. True if a place or a message was granted to it.
  bool arrive() noexcept;

private:
  void cancel() noexcept;

  channel_core* of_;
  side side_;
};

/// The order in which waiters send and receive: the part of a channel that does not know the type
/// of its messages.
///
/// A waiter is granted a place or a message when it is queued on the loop, and uses it when it
/// resumes. No memory is allocated, and no user code runs in any of these functions.
class channel_core {
public:
  channel_core(event_loop& loop, std::size_t capacity) noexcept
      : loop_(&loop), capacity_(capacity) {}
  channel_core(const channel_core&) = delete;
  channel_core& operator=(const channel_core&) = delete;

  [[nodiscard]] event_loop& loop() const noexcept { return *loop_; }
  [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }
  [[nodiscard]] bool closed() const noexcept { return closed_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] std::size_t reserved() const noexcept { return reserved_; }

  /// Whether a sender that comes now need not wait. `capacity_` has room for the sum.
  [[nodiscard]] bool has_place() const noexcept {
    return size_ + places_ < capacity_ + receivers_ && senders_waiting_.empty();
  }
  /// Whether a receiver that comes now need not wait.
  [[nodiscard]] bool has_message() const noexcept {
    return size_ > promised_ && receivers_waiting_.empty();
  }
  /// Whether there will never be another message.
  [[nodiscard]] bool ended() const noexcept { return closed_ && size_ == 0 && reserved_ == 0; }

  /// A message was put in, into a place that was free.
  void pushed() noexcept {
    ++size_;
    if (!receivers_waiting_.empty()) grant_messages();
  }
  /// A message was taken out.
  void popped() noexcept {
    --size_;
    if (!senders_waiting_.empty()) grant_places();
    if (closed_) tell_end();
  }

  // A place that its owner may use later:
  void reserve() noexcept { ++places_, ++reserved_; }
  /// The owner uses the place, or gives it back.
  void unreserve() noexcept;

  void close() noexcept;

  /// Whether a sender or a receiver waits, or has not resumed yet.
  [[nodiscard]] bool awaited() const noexcept {
    return !senders_waiting_.empty() || !receivers_waiting_.empty() || promised_ != 0 ||
           places_ != 0;
  }

private:
  friend channel_claim;

  void grant_places() noexcept;
  void grant_messages() noexcept;
  void tell_end() noexcept;

  event_loop* loop_;
  std::size_t capacity_;
  std::size_t size_ = 0;       // messages
  std::size_t promised_ = 0;   // of these, granted to receivers that have not resumed
  std::size_t places_ = 0;     // granted to senders that have not resumed, or reserved
  std::size_t reserved_ = 0;   // of these, reserved
  std::size_t receivers_ = 0;  // that wait
  claim_queue senders_waiting_;
  claim_queue receivers_waiting_;
  bool closed_ = false;
};

}  // namespace eddy::detail
