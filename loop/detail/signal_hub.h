// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include <eddy/loop/detail/link.h>
#include <eddy/loop/detail/optional_part.h>

namespace eddy {
class event_loop;
}

namespace eddy::detail {

/// What the process's signal handler knows of one loop. It is never freed, so
/// that the handler, which takes no lock, may look at it at any time.
struct signal_slot {
  std::atomic<std::uint64_t> wanted{0};   // a bit for each signal
  std::atomic<std::uint64_t> pending{0};  // those that have come
  std::atomic<int> wake{-1};              // the loop's eventfd; negative: don't
  std::atomic<unsigned> users{0};         // signal handlers that are looking at it now
  signal_slot* next = nullptr;
  bool taken = true;
};

/// The signals that one loop is told of.
///
/// Not libev's: that knows one loop for each signal, and stops the program
/// when there are two.
class signal_hub final : public optional_part {
public:
  static constexpr int largest = 64;

  /// The one of `loop`, which is made if there is none yet.
  /// Errors: `std::bad_alloc`.
  [[nodiscard]] static signal_hub& of(event_loop& loop);

  /// `wake` is the loop's eventfd. Errors: `std::bad_alloc`.
  explicit signal_hub(int wake);
  ~signal_hub() override;

  /// Adds a `signal`'s place to those that are told of `number`.
  void add(int number, link& place) noexcept;
  /// `waits` is whether its node waited. A signal that had come before such a one went, and
  /// of which nobody is told, is kept for the next wait.
  void remove(int number, link& place, bool waits) noexcept;

  /// A watcher that was told will not run, and gives the signal back or does not. If none of
  /// the others runs, either, and one of them gave it back, those that wait are told, or else
  /// the next one.
  void unheard(event_loop& loop, int number, bool given_back) noexcept;
  /// Whether a signal was given back, of which the caller is told now.
  [[nodiscard]] bool take_back(int number) noexcept;

  [[nodiscard]] bool pending() const noexcept override {
    return slot_->pending.load(std::memory_order_relaxed) != 0;
  }
  void gather(event_loop& loop) noexcept override;
  void renew(event_loop& loop) override;

private:
  signal_slot* slot_;
  std::uint64_t given_back_ = 0;  // by a watcher that was told
  std::uint64_t missed_ = 0;      // pending, and a wait ended meanwhile
  std::uint64_t kept_ = 0;        // for the next wait
  // By number, which starts at one: how many were told of the last, less the unheard.
  std::array<std::uint32_t, largest> told_{};
  std::array<link, largest> watchers_;
};

}  // namespace eddy::detail
