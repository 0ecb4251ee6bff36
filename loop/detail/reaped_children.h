// SPDX-License-Identifier: BSD-2-Clause
#pragma once

// Private: no installed header sees <ev.h>.

#include <cstddef>
#include <deque>
#include <optional>

#include <ev.h>
#include <sys/types.h>

namespace eddy::detail {

/// The children that libev has reaped on its default loop, which reaps every
/// child of the process: a `child` that finds its process gone asks here.
class reaped_children {
public:
  /// Errors: `std::bad_alloc`.
  explicit reaped_children(struct ev_loop* default_loop);
  reaped_children(const reaped_children&) = delete;
  reaped_children& operator=(const reaped_children&) = delete;
  ~reaped_children();

  /// Gives what `waitpid` gave for a process, once.
  [[nodiscard]] std::optional<int> take(::pid_t pid) noexcept;

private:
  struct end {
    ::pid_t pid;
    int status;
  };
  // Most of them belong to somebody else, who has been told by libev.
  static constexpr std::size_t most = 1024;

  void note(::pid_t pid, int status) noexcept;

  struct ev_loop* ev_;
  ev_child any_;
  std::deque<end> ends_;  // the latest last
};

}  // namespace eddy::detail
