// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include <eddy/loop/detail/list_node.h>

namespace eddy::detail {

/// The active `before_wait` objects of a loop.
struct before_wait_list {
  [[nodiscard]] bool any() const noexcept { return next.linked() || called.linked(); }
  /// Returns the number of active objects.
  [[nodiscard]] std::size_t count() const noexcept {
    std::size_t n = 0;
    for (const list_node* const list : {&next, &called}) {
      for (const list_node* l = list->next; l != list; l = l->next) ++n;
    }
    return n;
  }

  list_node next;           // the objects to call, in order
  list_node called;         // while a round of calls runs: those that it called
  std::uint32_t round = 0;  // the number of rounds of calls so far; wraps around
  bool running = false;     // a round of calls runs
  bool owed = false;        // there must be a round before the loop waits
};

}  // namespace eddy::detail
