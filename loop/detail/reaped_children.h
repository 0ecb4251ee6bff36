// SPDX-License-Identifier: BSD-2-Clause
#pragma once

// Private: no installed header sees <ev.h>.

#include <cstddef>
#include <list>

#include <ev.h>
#include <sys/types.h>

namespace eddy::detail {

/// The children that libev has reaped. libev's default loop reaps every child of the process, so
/// a `child_process` that finds its process gone asks here.
class reaped_children {
public:
  /// The result of `waitpid` for a process.
  struct end {
    ::pid_t pid;
    int status;
    ::pid_t parent;  // the process that called waitpid

    /// Whether the process was a child of this process. In the child of a fork it was a sibling,
    /// which is an error there.
    [[nodiscard]] bool is_own() const noexcept;
  };

  /// Errors: `std::bad_alloc`.
  explicit reaped_children(struct ev_loop* default_loop);
  reaped_children(const reaped_children&) = delete;
  reaped_children& operator=(const reaped_children&) = delete;
  ~reaped_children();

  /// Moves the end of a process to `to`, if the end is known and `is_own`. An end that is not
  /// reported must be given back.
  void take(::pid_t pid, std::list<end>& to) noexcept;
  void give_back(std::list<end>& from) noexcept;

private:
  // Most of these ends belong to other code, whose `ev_child` libev has called.
  static constexpr std::size_t most = 1024;

  void note(::pid_t pid, int status) noexcept;

  struct ev_loop* ev_;
  ev_child any_;
  std::list<end> ends_;  // in order of reaping
};

}  // namespace eddy::detail
