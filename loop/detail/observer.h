// SPDX-License-Identifier: BSD-2-Clause
#pragma once

namespace eddy {

class event_loop;

namespace detail {

struct link;

/// Looks on while a loop runs, for tests: it may do at each point what a handler
/// might do there. A loop that has none pays a comparison a turn.
///
/// Lifetime: the loop has it from here to its end.
class observer {
public:
  explicit observer(event_loop& loop) noexcept;
  observer(const observer&) = delete;
  observer& operator=(const observer&) = delete;

  /// A point at which nothing of the user's is on the stack: before each entry
  /// of the ready queue, and when it is empty.
  virtual void at_point() = 0;

  /// Moves some of the descriptors' nodes that have arrived to `ready`, in any
  /// order; one at least.
  virtual void choose(link& arrived, link& ready) noexcept = 0;

  /// The loop has waited for so many milliseconds and nothing has come.
  virtual void waited_in_vain() noexcept = 0;
  static constexpr int patience = 5000;

protected:
  ~observer();

private:
  event_loop& loop_;
};

}  // namespace detail

}  // namespace eddy
