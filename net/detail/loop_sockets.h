// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <eddy/loop/detail/link.h>
#include <eddy/loop/detail/optional_part.h>
#include <eddy/loop/event_loop.h>

namespace eddy::detail {

/// State that the sockets of one loop share. It belongs to the loop, not to the thread, because a
/// loop may be run on one thread and destroyed on another.
class loop_sockets final : public optional_part {
public:
  /// The one of `loop`, which is made at the first call.
  /// Errors: `std::bad_alloc`.
  [[nodiscard]] static loop_sockets& of(event_loop& loop);

  /// The one of `loop`; null if nothing has needed it yet.
  [[nodiscard]] static loop_sockets* find(const event_loop& loop) noexcept {
    return static_cast<loop_sockets*>(loop.sockets_.get());
  }

  /// The listeners that hold: a list of `listening_socket::place`.
  [[nodiscard]] link& holding() noexcept { return holding_; }

  void renew(event_loop& /*loop*/) override {}

  /// Has `loop` run `node` behind all descriptors that were ready in this turn.
  static void run_behind_arrivals(event_loop& loop, ready_node& node) noexcept {
    loop.arrive(node);
  }

  /// The handlers that are to be told that their write came after a shutdown: a list of `refusal`.
  [[nodiscard]] link& refusals() noexcept { return refusals_; }

private:
  link refusals_;
  link holding_;
};

}  // namespace eddy::detail
