// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include <eddy/loop/detail/list_node.h>
#include <eddy/loop/detail/optional_part.h>

namespace eddy {
class event_loop;
}

namespace eddy::detail {

/// The data about one loop for the process's signal handler. A slot is never freed, so that the
/// handler, which takes no lock, may read it at any time.
struct signal_slot {
  std::atomic<std::uint64_t> wanted{0};   // a bit for each signal
  std::atomic<std::uint64_t> pending{0};  // a bit for each signal that has arrived
  std::atomic<int> wake{-1};              // the loop's eventfd, or negative
  std::atomic<unsigned> users{0};         // signal handlers that are reading this slot now
  signal_slot* next = nullptr;
  bool taken = true;
};

/// The signals that one loop watches, and their watchers.
///
/// eddy does not use libev's signal watchers: libev allows one loop per signal, and ends the
/// program if there are two.
class signal_hub final : public optional_part {
public:
  static constexpr int largest = 64;

  /// Returns the hub of `loop`, and makes it at the first call.
  /// Errors: `std::bad_alloc`.
  [[nodiscard]] static signal_hub& of(event_loop& loop);

  /// `wake` is the loop's eventfd.
  /// Errors: `std::bad_alloc`.
  explicit signal_hub(int wake);
  ~signal_hub() override;

  /// Adds the list node of a `signal` to the watchers of `number`.
  void add(int number, list_node& watcher) noexcept;
  /// Removes a watcher. `waits` says whether it was a `wait` with a node. If a signal arrived
  /// before such a watcher was removed and no watcher reports it, the signal is kept for the
  /// next `wait`.
  void remove(int number, list_node& watcher, bool waits) noexcept;

  /// A queued watcher will not run. `given_back` says whether it gives the signal back. If no
  /// other queued watcher runs and any of them gave the signal back, the watchers that now
  /// `wait` get it, or else the next `wait`.
  void unheard(event_loop& loop, int number, bool given_back) noexcept;
  /// Whether a signal was given back, which the caller now reports.
  [[nodiscard]] bool take_back(int number) noexcept;

  [[nodiscard]] bool pending() const noexcept override {
    return slot_->pending.load(std::memory_order_relaxed) != 0;
  }
  void gather(event_loop& loop) noexcept override;
  void renew(event_loop& loop) override;

private:
  signal_slot* slot_;
  std::uint64_t given_back_ = 0;  // signals that a queued watcher gave back
  std::uint64_t missed_ = 0;      // signals that were pending when a `wait` ended
  std::uint64_t kept_ = 0;        // signals kept for the next `wait`
  // Indexed by signal number minus one: how many watchers were queued for the last signal, minus
  // those that did not run.
  std::array<std::uint32_t, largest> told_{};
  std::array<list_node, largest> watchers_;
};

}  // namespace eddy::detail
