// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include <eddy/loop/detail/descriptor.h>
#include <eddy/loop/detail/recycler.h>
#include <eddy/loop/handler.h>
#include <eddy/loop/ready.h>

namespace eddy {
class event_loop;
}

namespace eddy::detail {

class post_sheet;

/// Functions on their way to a loop: many producers, one consumer, no lock.
///
/// They are written on sheets. A thread has one that it writes on, and goes on
/// to do so until the loop takes it, so that functions lie side by side when
/// the loop comes to them: a chain of single ones costs it a cache miss each,
/// and the loop twice the time.
///
/// The sheets are in a stack that the loop empties in one exchange and turns
/// over (R. K. Treiber, "Systems programming: coping with parallelism", IBM RJ
/// 5118, 1986). Its head also says whether the loop sleeps, so that exactly the
/// producer that ends a sleep writes to the eventfd.
class mailbox : public std::enable_shared_from_this<mailbox> {
public:
  /// Errors: `std::system_error` if no descriptor is free.
  explicit mailbox(event_loop& loop);
  mailbox(const mailbox&) = delete;
  mailbox& operator=(const mailbox&) = delete;
  ~mailbox();

  /// False if it is closed. Threads: any.
  bool put(handler<void()>&& function);

  /// A sheet of one function, to be put later. Errors: `std::bad_alloc`.
  [[nodiscard]] static post_sheet* reserve(handler<void()>&& function);
  /// False if it is closed; then the function is dropped. Threads: any.
  bool put_reserved(post_sheet& reserved) noexcept;
  /// Of one that is not put.
  static void drop(post_sheet& reserved) noexcept;

  /// How many functions were put and have not run, to within a sheet a thread.
  /// Threads: any.
  [[nodiscard]] std::size_t backlog() const noexcept;

  /// Readable while a sleeping loop has to wake.
  [[nodiscard]] int wake_up() const noexcept { return descriptor_.number(); }

  /// Stops the program if the loop is another thread's now. False if it is closed.
  /// Threads: any.
  bool check_thread() const noexcept;

  /// Wakes the loop although nothing was posted. Threads: any; signal-safe.
  void wake() const noexcept;

  // The rest is for the loop's thread.

  /// Has `wake_up` not be readable any more.
  void woken() const noexcept;

  /// Says that the loop is about to wait, as it is when new. False if something
  /// has arrived.
  [[nodiscard]] bool sleep() noexcept;

  /// Puts what has arrived at the end of the loop's queue; the loop is awake
  /// again.
  void take(link& queue) noexcept;

  [[nodiscard]] bool empty() const noexcept;

  /// Nothing can be put in any more. What was never taken is dropped.
  void close() noexcept;

  /// Drops `node` if it is a sheet.
  static void drop(ready_node& node) noexcept;

  /// After fork: an eventfd that the parent does not share.
  /// Errors: `std::system_error`.
  void renew();

private:
  friend class post_sheet;
  struct pen;

  static post_sheet* asleep() noexcept;
  static post_sheet* closed() noexcept;
  bool push(post_sheet& fresh) noexcept;

  // Those who post write the one, the loop the other: in cache lines of their own.
  alignas(64) std::atomic<post_sheet*> head_;
  std::atomic<std::size_t> pushed_{0};  // sheets
  alignas(64) std::atomic<std::size_t> finished_{0};
  alignas(64) way_back read_;
  std::atomic<const event_loop*> loop_;  // null once it is closed
  detail::descriptor descriptor_;
};

}  // namespace eddy::detail
