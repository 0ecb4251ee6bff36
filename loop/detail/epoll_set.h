// SPDX-License-Identifier: BSD-2-Clause
#pragma once

// Private: no installed header sees <ev.h>.

#include <atomic>
#include <cerrno>

#include <ev.h>

namespace eddy::detail {

/// The epoll set of a libev loop: what the kernel knows of it, which libev does not tell.
///
/// A fork shares the set between parent and child. Nothing is done to it then
/// until libev has made a new one.
class epoll_set {
public:
  /// The answer of `probe` for a number that was shown, and that the kernel now knows as
  /// another descriptor's.
  static constexpr int number_is_anothers = ENOENT;

  explicit epoll_set(struct ev_loop* ev) noexcept;
  epoll_set(const epoll_set&) = delete;
  epoll_set& operator=(const epoll_set&) = delete;

  [[nodiscard]] int descriptor() noexcept;

  /// Whether a descriptor can be watched: 0, `number_is_anothers`, or an `errno`. One
  /// that was not `shown` yet is looked at: `pollable` is whether epoll watches such
  /// descriptors. Others, such as files, are always ready.
  [[nodiscard]] int probe(int descriptor, bool shown, bool& pollable) noexcept;
  /// The same for one that was shown, and is no file.
  [[nodiscard]] int probe_shown(int descriptor) noexcept;

  /// Takes out a descriptor that nobody watches now. A close does that only if there is no
  /// copy of the descriptor, in a child, say.
  void forget(int descriptor) noexcept;

  /// Whether this process is the child of a fork that made nothing anew yet.
  [[nodiscard]] bool forked() const noexcept {
    return forks_ != fork_count_.load(std::memory_order_relaxed);
  }
  void renewed() noexcept { forks_ = fork_count_.load(std::memory_order_relaxed); }

  /// libev's next round makes the set anew.
  void rebuild() noexcept {
    rebuilding_ = unapplied_ = true;
    note_round();
  }
  [[nodiscard]] bool rebuilding() const noexcept { return rebuilding_; }

  /// libev has more to show to the kernel from now on.
  void touch() noexcept { unapplied_ = true; }
  /// The changes that libev has to show were checked.
  void note_round() noexcept { rounds_ = ev_iteration(ev_); }
  /// Whether a round of libev's has shown the kernel everything since then. One that a
  /// callback ends by ev_break before has not.
  [[nodiscard]] bool has_shown() const noexcept { return ev_iteration(ev_) != rounds_; }
  /// A round has.
  void applied() noexcept {
    unapplied_ = false;
    if (rebuilding_) take_new();
  }
  [[nodiscard]] bool unapplied() const noexcept { return unapplied_; }

  /// Whether files or the like were watched, of which the set tells nothing.
  [[nodiscard]] bool files() const noexcept { return files_; }

private:
  // How often this process is the child of a fork: a set that remembers another
  // number is shared with a parent.
  static inline constinit std::atomic<unsigned> fork_count_{0};

  /// Whether the kernel watches such a descriptor.
  [[nodiscard]] bool takes(int descriptor) noexcept;
  /// Whether the descriptor can be added. It is taken out again.
  [[nodiscard]] bool adds(int descriptor) noexcept;
  [[nodiscard]] bool foreign() const noexcept { return rebuilding_ || forked(); }
  void take_new() noexcept;

  struct ev_loop* ev_;
  unsigned forks_;
  unsigned rounds_ = 0;  // of libev, at the last `note_round`
  int number_ = -1;      // negative: to be asked
  bool unapplied_ = true;
  bool rebuilding_ = false;
  bool files_ = false;
};

}  // namespace eddy::detail
