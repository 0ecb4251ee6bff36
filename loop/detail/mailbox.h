// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <atomic>

#include <eddy/loop/detail/descriptor.h>
#include <eddy/loop/detail/recycler.h>
#include <eddy/loop/handler.h>
#include <eddy/loop/ready.h>

namespace eddy::detail {

/// Functions on their way to a loop: many producers, one consumer, no lock.
///
/// A stack that the loop empties in one exchange and turns over (R. K.
/// Treiber, "Systems programming: coping with parallelism", IBM RJ 5118,
/// 1986). Its head also says whether the loop sleeps, so that exactly the
/// producer that ends a sleep writes to the eventfd.
class mailbox {
public:
  /// Errors: `std::system_error` if no descriptor is free.
  mailbox();
  mailbox(const mailbox&) = delete;
  mailbox& operator=(const mailbox&) = delete;
  ~mailbox();

  /// False if it is closed. Threads: any.
  bool put(handler<void()>&& function);

  /// Readable while a sleeping loop has to wake.
  [[nodiscard]] int wake_up() const noexcept { return descriptor_.number(); }

  /// Wakes the loop although nothing was posted. Threads: any; signal-safe.
  void wake() const noexcept;

  /// A letter: it deletes itself when it is run, and by `drop`.
  struct letter : ready_node, recycled {
    explicit letter(handler<void()>&& f) noexcept : ready_node(&run), function(std::move(f)) {}
    static void run(ready_node& node);

    handler<void()> function;
    letter* below = nullptr;
  };

  // The rest is for the loop's thread.

  /// Says that the loop is about to wait, as it is when new. False if something
  /// has arrived.
  [[nodiscard]] bool sleep() noexcept;

  /// Takes what has arrived, the latest first; the loop is awake again.
  [[nodiscard]] letter* take() noexcept;

  [[nodiscard]] bool empty() const noexcept;

  /// Swallows the wake-up.
  void drain() const noexcept;

  /// Nothing can be put in any more. The letters that were never taken are dropped.
  void close() noexcept;

  /// After fork: an eventfd that the parent does not share, of the same number.
  /// Errors: `std::system_error`.
  void renew();

private:
  static letter* asleep() noexcept;
  static letter* closed() noexcept;

  std::atomic<letter*> head_;
  detail::descriptor descriptor_;
};

}  // namespace eddy::detail
