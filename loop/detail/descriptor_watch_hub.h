// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>
#include <map>
#include <optional>

#include <eddy/loop/descriptor_watch.h>
#include <eddy/loop/detail/descriptor.h>
#include <eddy/loop/detail/list_node.h>
#include <eddy/loop/detail/optional_part.h>
#include <eddy/loop/readiness.h>
#include <eddy/loop/ready_node.h>
#include <eddy/loop/timer_node.h>

namespace eddy::detail {

/// The epoll set of a loop's `descriptor_watch`es, itself watched by libev.
///
/// libev has no word for priority data and for a hang-up behind unread bytes. This is the one place
/// in eddy that calls epoll_wait, and never to wait.
class descriptor_watch_hub final : public optional_part, private ready_node {
public:
  /// Returns the hub of `loop`, and makes it at the first call.
  /// Errors: `std::system_error`, `std::bad_alloc`.
  [[nodiscard]] static descriptor_watch_hub& of(event_loop& loop);

  /// Errors: `std::system_error`.
  explicit descriptor_watch_hub(event_loop& loop);

  /// Errors: `std::system_error`, `std::bad_alloc`. `watch` is not added then.
  void add(descriptor_watch& watch);
  void remove(descriptor_watch& watch) noexcept;

  /// Makes a new set, or throws and tries again after a pause.
  void renew(event_loop& loop) override;

private:
  /// The watches of one descriptor.
  struct group {
    detail::list_node watches;
    std::uint32_t serial = 0;  // tells the kernel's entry from one of an earlier descriptor
    bool quiet = false;        // edge-triggered, because an unwanted condition lasts
    bool edges = false;        // in the set of edges, because a watch got such a condition
  };
  using groups = std::map<int, group>;

  /// Waits or renews again after the kernel has refused the set.
  struct retry : timer_node {
    retry(descriptor_watch_hub& h, event_loop& loop) noexcept
        : timer_node(loop, [](ready_node& node) { static_cast<retry&>(node).hub.wait(); }), hub(h) {
      background(true);
    }
    descriptor_watch_hub& hub;
  };

  static void run(ready_node& node);
  void look();
  void watch_set();
  void replace_set();
  void wait();
  void report(std::uint64_t key, std::uint32_t events);
  /// Shows the kernel what the watches of a group want. Returns 0 or an `errno`.
  [[nodiscard]] int show(int operation, int descriptor, const group& of) const noexcept;
  /// Has the kernel report the edges of unwanted conditions. False if it cannot.
  [[nodiscard]] bool show_edges(int descriptor, group& of) noexcept;
  void look_at_edges() noexcept;
  void drop_edges() noexcept;
  /// Ends a group without watches.
  void erase(groups::iterator own) noexcept;
  void leave(descriptor_watch& watch) noexcept;
  void fail(group& of, int error) noexcept;
  void show_all() noexcept;

  event_loop* loop_;
  detail::descriptor set_;
  // Watched by `set_`. An entry here is not changed while other watches of its descriptor come and
  // go: each change makes the kernel report a lasting condition again.
  detail::descriptor edges_;
  std::optional<readiness> readable_;  // empty in a forked child whose set is not renewed yet
  retry again_;
  groups groups_;
  std::uint32_t serials_ = 0;
};

}  // namespace eddy::detail
