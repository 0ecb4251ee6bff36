// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <concepts>
#include <cstddef>
#include <functional>
#include <type_traits>
#include <utility>

#include <eddy/loop/detail/language.h>

namespace eddy {

namespace detail {
template <class Signature, class Callable>
decltype(auto) checked_callable(Callable&& callable) noexcept;
}

/// A callable that the loop calls back: a `std::move_only_function`, which owns its callable.
///
/// A callable with captures of up to three pointers is stored inside the handler; a larger one
/// is allocated. A handler may throw: see `event_loop::run`. If a callable does not fit the
/// signature, the compiler's first error says why.
template <class Signature>
class handler : public std::move_only_function<Signature> {
  using function = std::move_only_function<Signature>;

public:
  handler() noexcept = default;
  handler(std::nullptr_t) noexcept {}
  template <class Callable>
    requires(!std::same_as<std::remove_cvref_t<Callable>, handler>)
  handler(Callable&& callable) noexcept(std::is_nothrow_constructible_v<function, Callable>)
      : function(detail::checked_callable<Signature>(std::forward<Callable>(callable))) {}
  /// Makes a handler of a handler with another signature. An empty `other` makes an empty handler.
  template <class Other>
  handler(handler<Other>&& other) : handler(static_cast<std::move_only_function<Other>&&>(other)) {}
};

// implementation

namespace detail {

/// Whether a call of the callable returns a task or a future.
template <class Signature, class Callable>
inline constexpr bool makes_coroutine = false;
template <class... Arguments, class Callable>
  requires std::invocable<Callable&, Arguments...>
inline constexpr bool makes_coroutine<void(Arguments...), Callable> = requires(
    std::invoke_result_t<Callable&, Arguments...> made) { std::move(made).operator co_await(); };

/// Returns the callable itself, after checks at compile time.
template <class Signature, class Callable>
decltype(auto) checked_callable(Callable&& callable) noexcept {
  using function = std::move_only_function<Signature>;
  static_assert(
      std::is_constructible_v<function, Callable>,
      "a handler of this signature can't be made of this callable: compare the arguments, "
      "or move it");
  static_assert(!makes_coroutine<Signature, std::decay_t<Callable>>,
                "the task or future that this handler returns is destroyed at once: give it to "
                "spawn in the handler");
  if constexpr (std::is_constructible_v<function, Callable>) {
    return std::forward<Callable>(callable);
  } else {
    return nullptr;
  }
}

}  // namespace detail

}  // namespace eddy
