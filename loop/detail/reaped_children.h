// SPDX-License-Identifier: BSD-2-Clause
#pragma once

// Private: no installed header sees <ev.h>.

#include <cstddef>
#include <list>

#include <ev.h>
#include <sys/types.h>

namespace eddy::detail {

/// The children that libev has reaped on its default loop, which reaps every
/// child of the process: a `child` that finds its process gone asks here.
class reaped_children {
public:
  /// What `waitpid` gave for a process.
  struct end {
    ::pid_t pid;
    int status;
    ::pid_t parent;  // who asked

    /// In the child of a fork, that of a sibling is not: it is an error there.
    [[nodiscard]] bool is_own() const noexcept;
  };

  /// Errors: `std::bad_alloc`.
  explicit reaped_children(struct ev_loop* default_loop);
  reaped_children(const reaped_children&) = delete;
  reaped_children& operator=(const reaped_children&) = delete;
  ~reaped_children();

  /// Moves the end of a process to `to`, if it is known and `is_own`. One that nobody is told of
  /// is to be given back.
  void take(::pid_t pid, std::list<end>& to) noexcept;
  void give_back(std::list<end>& from) noexcept;

private:
  // Most of them belong to somebody else, who has been told by libev.
  static constexpr std::size_t most = 1024;

  void note(::pid_t pid, int status) noexcept;

  struct ev_loop* ev_;
  ev_child any_;
  std::list<end> ends_;  // the latest last
};

}  // namespace eddy::detail
