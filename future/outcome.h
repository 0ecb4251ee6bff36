// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <exception>
#include <expected>
#include <functional>
#include <type_traits>
#include <utility>

#include <eddy/loop/detail/language.h>

namespace eddy {

namespace detail {
template <class T>
struct stored;
}

/// How a task or a future completed: with a value, or with an exception.
///
/// A reference is stored as a `std::reference_wrapper`. The handler of an I/O operation gets a
/// `result` instead, which holds a `std::error_code`.
template <class T>
using outcome = std::expected<typename detail::stored<T>::type, std::exception_ptr>;

// implementation

namespace detail {

template <class T>
struct stored {
  using type = T;
};
template <class T>
struct stored<T&> {
  using type = std::reference_wrapper<T>;
};

/// The value, or the exception thrown.
template <class T>
T get(outcome<T>&& o) {
  if (!o) std::rethrow_exception(std::move(o.error()));
  if constexpr (std::is_reference_v<T>) {
    return o->get();
  } else if constexpr (!std::is_void_v<T>) {
    return std::move(*o);
  }
}

/// Calls `function` and stores the value it returns or the exception it throws.
template <class T, class Function>
outcome<T> outcome_of(Function&& function) noexcept {
  try {
    if constexpr (std::is_void_v<T>) {
      std::forward<Function>(function)();
      return {};
    } else {
      return outcome<T>(std::in_place, std::forward<Function>(function)());
    }
  } catch (...) {
    return outcome<T>(std::unexpect, std::current_exception());
  }
}

}  // namespace detail

}  // namespace eddy
