// SPDX-License-Identifier: BSD-2-Clause
#pragma once

// Private: no installed header sees <ev.h>.

#include <atomic>
#include <cerrno>

#include <ev.h>

namespace eddy::detail {

/// The epoll set of a libev loop: facts about the kernel's side, which libev does not report.
///
/// After a fork, parent and child share the set. It is then left alone until libev has made a
/// new one.
class epoll_set {
public:
  /// The answer of `probe` for a number that was shown to the kernel and now belongs to another
  /// descriptor.
  static constexpr int number_is_anothers = ENOENT;

  explicit epoll_set(struct ev_loop* ev) noexcept;
  epoll_set(const epoll_set&) = delete;
  epoll_set& operator=(const epoll_set&) = delete;

  [[nodiscard]] int descriptor() noexcept;

  /// Checks whether a descriptor can be watched. Returns 0, `number_is_anothers`, or an `errno`.
  ///
  /// `shown` says whether libev has shown the descriptor to the kernel. If not, `pollable` is
  /// set to whether epoll watches such descriptors. Others, such as files, are always ready.
  [[nodiscard]] int probe(int descriptor, bool shown, bool& pollable) noexcept;
  /// Checks whether a descriptor that was shown to the kernel, and is not a file, can be
  /// watched. Returns 0, `number_is_anothers`, or an `errno`.
  [[nodiscard]] int probe_shown(int descriptor) noexcept;

  /// Enters an epoll set, for which libev will have a watcher, before libev's next round does. From
  /// then on the kernel refuses every set that would close a cycle. Returns 0 or an `errno`.
  [[nodiscard]] int enter(int set) noexcept;

  /// Removes a descriptor that nobody watches now from the set. Closing a descriptor removes it
  /// only if there is no copy of it, for example in a child process.
  void forget(int descriptor) noexcept;

  /// Whether this process is the child of a fork and has not renewed the set yet.
  [[nodiscard]] bool forked() const noexcept {
    return forks_ != fork_count_.load(std::memory_order_relaxed);
  }
  void renewed() noexcept { forks_ = fork_count_.load(std::memory_order_relaxed); }

  /// libev's next round makes a new set.
  void rebuild() noexcept {
    rebuilding_ = unapplied_ = true;
    note_round();
  }
  [[nodiscard]] bool rebuilding() const noexcept { return rebuilding_; }

  /// libev has changes to show to the kernel from now on.
  void touch() noexcept { unapplied_ = true; }
  /// The changes that libev has to show were checked.
  void note_round() noexcept { rounds_ = ev_iteration(ev_); }
  /// Whether a round of libev's has shown the kernel everything since `note_round`. A round that
  /// a callback ended early by ev_break has not.
  [[nodiscard]] bool has_shown() const noexcept { return ev_iteration(ev_) != rounds_; }
  /// A round of libev's has shown the kernel everything.
  void applied() noexcept {
    unapplied_ = false;
    if (rebuilding_) take_new();
  }
  [[nodiscard]] bool unapplied() const noexcept { return unapplied_; }

  /// Whether files or similar descriptors were watched, about which the set reports nothing.
  [[nodiscard]] bool files() const noexcept { return files_; }

private:
  // The number of forks that this process descends from. A set that remembers another number is
  // shared with a parent.
  static inline constinit std::atomic<unsigned> fork_count_{0};

  /// Whether epoll watches this kind of descriptor.
  [[nodiscard]] bool takes(int descriptor) noexcept;
  /// Whether the kernel adds the descriptor. It is removed again.
  [[nodiscard]] bool adds(int descriptor) noexcept;
  [[nodiscard]] bool foreign() const noexcept { return rebuilding_ || forked(); }
  void take_new() noexcept;

  struct ev_loop* ev_;
  unsigned forks_;
  unsigned rounds_ = 0;  // libev's count of rounds at the last `note_round`
  int number_ = -1;      // negative if libev has to be asked
  bool unapplied_ = true;
  bool rebuilding_ = false;
  bool files_ = false;
};

}  // namespace eddy::detail
