// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include <eddy/loop/detail/descriptor.h>
#include <eddy/loop/detail/link.h>
#include <eddy/loop/detail/optional_part.h>
#include <eddy/loop/file_watch.h>
#include <eddy/loop/readiness.h>
#include <eddy/loop/ready.h>
#include <eddy/loop/timer_node.h>

namespace eddy::detail {

/// A loop's one inotify descriptor, and who is told of what it says.
///
/// Each run of its node calls one handler for one change, and it queues itself
/// again while there is more: so that a handler may destroy any watch, or
/// throw, and many changes keep nothing else out.
class file_watch_hub final : public optional_part, private ready_node {
public:
  /// The one of `loop`, which is made if there is none yet.
  /// Errors: `std::system_error`, `std::bad_alloc`.
  [[nodiscard]] static file_watch_hub& of(event_loop& loop);

  /// Errors: `std::system_error`.
  explicit file_watch_hub(event_loop& loop);

  /// Errors: `std::system_error`, and then it is not added.
  void add(file_watch& watch);
  void remove(file_watch& watch) noexcept;

  /// Watches everything anew.
  void renew(event_loop& loop) override;

private:
  using places = std::map<int, detail::link>;  // the watches of each of inotify's numbers

  // Not inotify's, whose numbers start at one: watches that `renew` didn't find again.
  static constexpr int lost_number = 0;

  /// Waits again after the kernel has refused to watch inotify's descriptor.
  struct retry : timer_node {
    retry(file_watch_hub& h, event_loop& loop) noexcept
        : timer_node(loop, [](ready_node& node) { static_cast<retry&>(node).hub.wait(); }), hub(h) {
      background(true);
    }
    file_watch_hub& hub;
  };

  static void run(ready_node& node);
  void tell_next();
  /// Goes on with what there is next. False if there is no more.
  /// Errors: `std::bad_alloc`.
  bool read_more();
  /// Adds some of what inotify has. False if it has no more.
  /// Errors: `std::bad_alloc`.
  bool read_some(std::vector<char>& to);
  /// Of a number that no watch has any more.
  void forget(int number) noexcept;
  [[nodiscard]] std::uint64_t position() const noexcept { return base_ + at_; }
  [[nodiscard]] file_watch* next_to_tell() noexcept;
  void leave(file_watch& watch) noexcept;
  void wait();
  [[nodiscard]] int watch_path(const file_watch& watch) const noexcept;

  event_loop* loop_;
  descriptor inotify_;
  readiness readable_;
  retry again_;
  places watches_;

  // What was read and not told yet: from the change at `at_`, of which the
  // watches behind `cursor_` were not told.
  std::vector<char> read_;
  std::vector<char> later_;  // read after these
  std::size_t at_ = 0;
  std::uint64_t base_ = 0;  // how many bytes were read before these
  detail::link cursor_;
  int telling_ = -1;  // the number whose watches are told, or were the last to be
};

}  // namespace eddy::detail
