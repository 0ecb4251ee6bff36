// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include <eddy/loop/detail/block_pool.h>
#include <eddy/loop/detail/descriptor.h>
#include <eddy/loop/handler.h>
#include <eddy/loop/ready_node.h>

namespace eddy {
class event_loop;
}

namespace eddy::detail {

class post_chunk;

/// Posted functions on their way to a loop: many producers, one consumer, no lock.
///
/// Each producing thread writes its functions into a chunk until the loop takes that chunk. So
/// the functions lie side by side when the loop runs them. A chain of single functions would
/// cost a cache miss each, and the loop twice the time.
///
/// The chunks are in a stack, which the loop empties in one exchange and then reverses (R. K.
/// Treiber, "Systems programming: coping with parallelism", IBM RJ 5118, 1986). The head of the
/// stack also says whether the loop sleeps, so that exactly the producer that ends a sleep
/// writes to the eventfd.
class post_queue : public std::enable_shared_from_this<post_queue> {
public:
  /// Errors: `std::system_error` if no descriptor is free.
  explicit post_queue(event_loop& loop);
  post_queue(const post_queue&) = delete;
  post_queue& operator=(const post_queue&) = delete;
  ~post_queue();

  /// Queues `function`. False if the queue is closed. Threads: any.
  bool put(handler<void()>&& function);

  /// Makes a chunk of one function, for `put_reserved`. Errors: `std::bad_alloc`.
  [[nodiscard]] static post_chunk* reserve(handler<void()>&& function);
  /// Queues `reserved`. False if the queue is closed; then `reserved` is destroyed. Threads:
  /// any.
  bool put_reserved(post_chunk& reserved) noexcept;
  /// Destroys a chunk that was not queued.
  static void drop(post_chunk& reserved) noexcept;

  /// Returns the number of functions that were queued and have not run, exact to one chunk per
  /// thread.
  /// Threads: any.
  [[nodiscard]] std::size_t backlog() const noexcept;

  /// Returns a descriptor that is readable while a sleeping loop has to wake.
  [[nodiscard]] int wake_up() const noexcept { return descriptor_.number(); }

  /// Aborts with a message if another thread runs or has adopted the loop. False if the queue is
  /// closed.
  /// Threads: any.
  bool check_thread() const noexcept;

  /// Wakes the loop although no function was posted. Threads: any; signal-safe.
  void wake() const noexcept;

  // The rest is for the loop's thread.

  /// Makes `wake_up` unreadable again.
  void woken() const noexcept;

  /// Notes that the loop is about to wait, as it does when it is new. False if a function has
  /// arrived.
  [[nodiscard]] bool sleep() noexcept;

  /// Puts the chunks that have arrived at the end of the loop's queue. The loop is awake again.
  void take(list_node& queue) noexcept;

  [[nodiscard]] bool empty() const noexcept;

  /// Refuses further functions, and destroys the chunks that were not taken.
  void close() noexcept;

  /// Destroys `node`, which is a chunk.
  static void drop(ready_node& node) noexcept;

  /// After a fork: makes an eventfd that is not shared with the parent.
  /// Errors: `std::system_error`.
  void renew();

private:
  friend class post_chunk;
  struct producer;

  static post_chunk* asleep() noexcept;
  static post_chunk* closed() noexcept;
  bool push(post_chunk& fresh) noexcept;

  // Producers write `head_` and `pushed_`, the loop writes `finished_` and `read_`: each pair in
  // its own cache line.
  alignas(64) std::atomic<post_chunk*> head_;
  std::atomic<std::size_t> pushed_{0};  // chunks
  alignas(64) std::atomic<std::size_t> finished_{0};
  alignas(64) block_exchange read_;
  std::atomic<const event_loop*> loop_;  // null when the queue is closed
  detail::descriptor descriptor_;
};

}  // namespace eddy::detail
