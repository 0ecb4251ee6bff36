// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <eddy/loop/detail/link.h>
#include <eddy/loop/detail/own_handler.h>
#include <eddy/loop/handler.h>

namespace eddy {

class event_loop;

namespace detail {
class file_watch_hub;
}

/// What can happen to a watched file or directory, or to an entry of that
/// directory.
enum class file_change : std::uint16_t {
  modified = 1U << 0,    // its bytes
  written = 1U << 1,     // closed by somebody who could write
  attributes = 1U << 2,  // mode, owner, times, number of links
  created = 1U << 3,     // an entry of the directory
  deleted = 1U << 4,     // an entry of the directory
  moved_from = 1U << 5,  // an entry left the directory, or its old name in it
  moved_to = 1U << 6,    // an entry came into the directory, or to a new name in it
  self_deleted = 1U << 7,
  self_moved = 1U << 8,
  overflow = 1U << 9,  // there was more than the kernel keeps: look for yourself
  lost = 1U << 10,     // it can't be watched any more: unmounted, or see `file_watch`, Fork
};

/// Several kinds of change at once.
[[nodiscard]] constexpr file_change operator|(file_change a, file_change b) noexcept {
  return static_cast<file_change>(static_cast<unsigned>(a) | static_cast<unsigned>(b));
}
[[nodiscard]] constexpr bool contains(file_change set, file_change one) noexcept {
  return (static_cast<unsigned>(set) & static_cast<unsigned>(one)) != 0;
}

/// All that can happen to the names in a directory, or to a file's own.
inline constexpr file_change name_changes = file_change::created | file_change::deleted |
                                            file_change::moved_from | file_change::moved_to |
                                            file_change::self_deleted | file_change::self_moved;

inline constexpr file_change all_changes =
    name_changes | file_change::modified | file_change::written | file_change::attributes;

/// One change. `name` lasts as long as the handler's call.
struct file_event {
  file_change what;
  std::string_view name;  // of the directory's entry; empty for the watched file itself
  bool directory;         // whether it happened to a directory
  std::uint32_t move;     // the same for the `moved_from` and the `moved_to` of one rename
};

/// Calls a handler for each change to a file, or to a directory and its
/// entries, by inotify.
///
/// It is the file that is watched, not the name: a file that is replaced by
/// another (as editors do) is not followed; watch the directory for that. Any
/// number of watches may be on one file.
///
/// After `self_deleted` or `lost` the watch is over. Those two and `overflow`
/// are told whatever was asked for.
///
/// Where the kernel refuses to tell the loop of changes, for want of memory say, an
/// error leaves the loop's `run`; it is asked again after 100 ms, and what has
/// changed meanwhile is told then.
///
/// Fork: the child's first turn watches the path anew, with an inotify of its
/// own; changes from before are not told there, and a path that is no longer
/// found is `lost`.
///
/// Lifetime: the loop outlives it while it is started. The handler may destroy
/// or restart it, and others. It may be moved while it is started.
/// Cancelling: once `stop` or the destructor has returned, the handler does
/// not run.
class file_watch {
public:
  file_watch(event_loop& loop, std::string path);
  file_watch(file_watch&& other) noexcept;
  file_watch& operator=(file_watch&&) = delete;
  ~file_watch();

  /// Calls `on_change` for each change of the kinds in `wanted` from now on.
  /// One that is started is started anew.
  /// Errors: `std::system_error`: the path is not found, may not be read, or has a
  /// zero byte in it (`invalid_argument`), or the user's number of watches or of inotify
  /// descriptors is used up. It is not started then.
  void start(handler<void(const file_event&)> on_change, file_change wanted = all_changes);

  /// Does nothing to one that is not started.
  void stop() noexcept;

  /// Whether the handler will run when something changes.
  [[nodiscard]] bool active() const noexcept;
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

  /// A watch in the background does not keep its loop running.
  void background(bool on) noexcept;

private:
  friend class detail::file_watch_hub;

  struct place : detail::link {
    explicit place(file_watch* o) noexcept : owner(o) {}
    file_watch* owner;
  };

  event_loop* loop_;
  std::string path_;
  bool background_ = false;
  file_change wanted_ = all_changes;
  int watch_ = -1;           // inotify's number, while it is started
  std::uint64_t since_ = 0;  // how many bytes inotify had given when it was started
  place place_;              // among the watches of that number
  detail::own_handler<const file_event&> on_change_;
};

}  // namespace eddy
