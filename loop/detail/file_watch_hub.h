// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include <eddy/loop/detail/descriptor.h>
#include <eddy/loop/detail/list_node.h>
#include <eddy/loop/detail/optional_part.h>
#include <eddy/loop/file_watch.h>
#include <eddy/loop/readiness.h>
#include <eddy/loop/ready_node.h>
#include <eddy/loop/timer_node.h>

namespace eddy::detail {

/// A loop's one inotify descriptor, and the watches that get its events.
///
/// Each run of its node calls one handler for one change, and the node queues itself again while
/// there are more. So a handler may destroy any watch or throw, and many changes do not delay
/// other work.
class file_watch_hub final : public optional_part, private ready_node {
public:
  /// Returns the hub of `loop`, and makes it at the first call.
  /// Errors: `std::system_error`, `std::bad_alloc`.
  [[nodiscard]] static file_watch_hub& of(event_loop& loop);

  /// Errors: `std::system_error`.
  explicit file_watch_hub(event_loop& loop);

  /// Errors: `std::system_error`, `std::bad_alloc`. `watch` is not added then.
  void add(file_watch& watch);
  void remove(file_watch& watch) noexcept;

  /// Watches all paths again, with a new inotify descriptor, or throws and tries again after a
  /// pause.
  void renew(event_loop& loop) override;

private:
  using groups = std::map<int, detail::list_node>;  // the watches of each number of inotify's

  // The number of watches whose path `renew` did not find. inotify's own numbers start at one.
  static constexpr int lost_number = 0;

  /// Waits or renews again after the kernel has refused inotify's descriptor.
  struct retry : timer_node {
    retry(file_watch_hub& h, event_loop& loop) noexcept
        : timer_node(loop, [](ready_node& node) { static_cast<retry&>(node).hub.wait(); }), hub(h) {
      background(true);
    }
    file_watch_hub& hub;
  };

  static void run(ready_node& node);
  void tell_next();
  /// Continues with the next events. False if there are none.
  /// Errors: `std::bad_alloc`.
  bool read_more();
  /// Adds some of inotify's events to `to`. False if there are none.
  /// Errors: `std::bad_alloc`.
  bool read_some(std::vector<char>& to);
  /// Removes a number that no watch has any more.
  void forget(int number) noexcept;
  [[nodiscard]] std::uint64_t position() const noexcept { return base_ + at_; }
  [[nodiscard]] file_watch* next_to_tell() noexcept;
  void leave(file_watch& watch) noexcept;
  void wait();
  void watch_inotify();
  /// Adds an event of eddy's to `read_`, which has the memory.
  void make_up(int number, std::uint32_t mask) noexcept;
  [[nodiscard]] int watch_path(const file_watch& watch) const noexcept;

  event_loop* loop_;
  descriptor inotify_;
  std::optional<readiness> readable_;  // empty in a forked child that has not renewed it yet
  retry again_;
  groups watches_;

  // The events that were read and not reported yet, from the event at `at_`. The watches of that
  // event behind `cursor_` did not get it yet.
  std::vector<char> read_;
  std::vector<char> later_;  // events read after `read_`
  std::size_t at_ = 0;
  bool missed_ = false;     // `renew` has failed, and changes were missed since
  std::uint64_t base_ = 0;  // the number of bytes read before `read_`
  detail::list_node cursor_;
  int telling_ = -1;  // the number whose watches get the event now, or got it last
};

}  // namespace eddy::detail
