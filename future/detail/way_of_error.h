// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <exception>

namespace eddy::detail {

class frame;

/// Notes for `await_trace` that the error leaves the coroutine `by`, whose last
/// co_await was at `where`. It is awaited by `next`, if that is not null, at
/// `next_where`.
[[gnu::cold]] void error_passes(const std::exception_ptr& error, const frame& by, const void* where,
                                const frame* next, const void* next_where) noexcept;

/// The coroutine that caught it gives it to whoever will await it.
[[gnu::cold]] void error_is_handed_on(const std::exception_ptr& error) noexcept;

/// It was given to a promise while `by` ran, if that is not null, after its co_await at
/// `where`. If that coroutine has not just caught it, it is another error, which lies where
/// an earlier one lay: that way is forgotten.
[[gnu::cold]] void error_is_given(const std::exception_ptr& error, const frame* by,
                                  const void* where) noexcept;

/// It has waited for `next`, which awaits it at `next_where` now.
[[gnu::cold]] void error_waits(const std::exception_ptr& error, const frame& next,
                               const void* next_where) noexcept;

/// It was kept, and `next` throws it at `next_where`; others may have done so before.
[[gnu::cold]] void error_comes_again(const std::exception_ptr& error, const frame& next,
                                     const void* next_where) noexcept;

/// `error` is thrown in the place of `of`, and goes on with the way of that.
[[gnu::cold]] void error_takes_way(const std::exception_ptr& error,
                                   const std::exception_ptr& of) noexcept;

/// Has a program that ends by an error print its way.
[[gnu::cold]] void tell_way_on_terminate() noexcept;

}  // namespace eddy::detail
