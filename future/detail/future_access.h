// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <utility>

#include <eddy/future/detail/future_state.h>
#include <eddy/loop/detail/misuse.h>

namespace eddy {

template <class T>
class future;

namespace detail {

struct future_access {
  template <class T>
  static future<T> make(future_state<T>* state) noexcept {
    return future<T>(state);
  }
  template <class T>
  static future_state<T>* release(future<T>& f) noexcept {
    if (f.state_ == nullptr)
      misuse("a future was awaited or detached twice, or after it was moved from");
    return std::exchange(f.state_, nullptr);
  }
  template <class T>
  static future_state<T>& state(const future<T>& f) noexcept {
    return *f.state_;
  }
};

}  // namespace detail

}  // namespace eddy
