// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <eddy/loop/detail/handler_slot.h>
#include <eddy/loop/detail/list_node.h>
#include <eddy/loop/handler.h>

namespace eddy {

class event_loop;

namespace detail {
class file_watch_hub;
}

/// The kinds of change to a watched file or directory, or to an entry of a watched directory.
enum class file_change : std::uint16_t {
  modified = 1U << 0,      // the content was changed
  written = 1U << 1,       // the file was closed after it was open for writing
  attributes = 1U << 2,    // mode, owner, times or number of links were changed
  created = 1U << 3,       // an entry of the directory was created
  deleted = 1U << 4,       // an entry of the directory was deleted
  moved_from = 1U << 5,    // an entry was moved out of the directory, or away from its old name
  moved_to = 1U << 6,      // an entry was moved into the directory, or to its new name
  self_deleted = 1U << 7,  // the watched file or directory was deleted
  self_moved = 1U << 8,    // the watched file or directory was moved
  overflow = 1U << 9,      // the kernel's queue was full and changes were lost: look at the files
  lost = 1U << 10,  // the watch ended: the file system was unmounted, or see `file_watch`, Fork
};

/// Returns the set of the changes of both operands.
[[nodiscard]] constexpr file_change operator|(file_change a, file_change b) noexcept {
  return static_cast<file_change>(static_cast<unsigned>(a) | static_cast<unsigned>(b));
}
/// Returns whether `set` has any of the changes of `one`.
[[nodiscard]] constexpr bool contains(file_change set, file_change one) noexcept {
  return (static_cast<unsigned>(set) & static_cast<unsigned>(one)) != 0;
}

/// The changes to names: of the entries of a directory, and of the watched file itself.
inline constexpr file_change name_changes = file_change::created | file_change::deleted |
                                            file_change::moved_from | file_change::moved_to |
                                            file_change::self_deleted | file_change::self_moved;

/// All changes to content, attributes and names.
inline constexpr file_change all_changes =
    name_changes | file_change::modified | file_change::written | file_change::attributes;

/// One change, as a handler gets it. `name` is valid until the handler returns.
struct file_event {
  file_change what;
  std::string_view name;  // the name of the directory's entry; empty for the watched file itself
  bool directory;         // whether the changed file is a directory
  std::uint32_t move;     // the same number for the `moved_from` and the `moved_to` of one rename
};

/// Calls a handler for each change to a file, or to a directory and its entries, by inotify.
///
/// The watch follows the file, not its name. If another file replaces a watched file, as editors
/// do, the watch does not report changes to the new file: watch the directory for that. Any
/// number of watches may watch one file.
///
/// The watch ends after `self_deleted` or `lost`. The handler gets these two and `overflow` even
/// if the program did not ask for them.
///
/// If the kernel refuses to watch the loop's inotify descriptor, for example for lack of memory,
/// the loop treats the error as an exception of a handler: see `event_loop::run`. After 100 ms the
/// loop tries again, and reports the changes in between.
///
/// Fork: the first turn in the child process watches the path again, with an inotify descriptor
/// of its own. The child's handler does not get earlier changes. If the path is not found any
/// more, the handler gets `lost`. If the first turn gets no inotify descriptor, the loop raises an
/// error, tries again every 100 ms, and then gives `overflow` to the handler.
///
/// Lifetime: the loop must outlive a started `file_watch`. The handler may destroy or restart its
/// own and other watches. A started `file_watch` may be moved.
/// Cancelling: after `stop` or the destructor the handler does not run.
class file_watch {
public:
  /// Makes a watch of the file or directory at `path`, and does not start the watch.
  file_watch(event_loop& loop, std::string path);
  file_watch(file_watch&& other) noexcept;
  file_watch& operator=(file_watch&&) = delete;
  ~file_watch();

  /// Calls `on_change` for each change of the kinds in `wanted` from now on. If the watch is
  /// started already, `start` replaces its handler and its kinds.
  /// Errors: `std::system_error` if the path is not found, may not be read, or has a zero byte in
  /// it (`invalid_argument`), or if the user's limit of watches or of inotify descriptors is
  /// reached; `std::bad_alloc`. After an error the watch is not started. Aborts with a message if
  /// `on_change` is null.
  void start(handler<void(const file_event&)> on_change, file_change wanted = all_changes);

  /// Stops watching and destroys the handler. Does nothing if the watch is not started.
  void stop() noexcept;

  /// Returns whether the loop will call the handler when something changes.
  [[nodiscard]] bool active() const noexcept;
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

  /// Decides whether the watch is in the background. A watch in the background does not keep its
  /// loop running.
  void background(bool on) noexcept;

private:
  friend class detail::file_watch_hub;

  struct entry : detail::list_node {
    explicit entry(file_watch* o) noexcept : owner(o) {}
    file_watch* owner;
  };

  event_loop* loop_;
  std::string path_;
  bool background_ = false;
  file_change wanted_ = all_changes;
  int watch_ = -1;           // inotify's number of the started watch
  std::uint64_t since_ = 0;  // bytes that inotify had given when the watch was started
  entry entry_;              // in the list of the watches of that number
  detail::handler_slot<const file_event&> on_change_;
};

}  // namespace eddy
