// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <exception>
#include <source_location>
#include <vector>

// The process keeps the trails of its last 64 errors, for `await_trace`: the co_awaits that each
// error has passed so far, and the co_await that it will pass next. These functions tell it how an
// error moves. Each co_await is given by the pointer that its `std::source_location` holds.

namespace eddy::detail {

class frame;

/// `error` leaves the coroutine `by`, whose last co_await was at `where`. `next` awaits `by` at
/// `next_where`. A null `next` means that nobody awaits `by`.
[[gnu::cold]] void error_passes(const std::exception_ptr& error, const frame& by, const void* where,
                                const frame* next, const void* next_where) noexcept;

/// A coroutine caught `error` and stores it for a later waiter.
[[gnu::cold]] void error_is_handed_on(const std::exception_ptr& error) noexcept;

/// A promise was given `error` while the coroutine `by` ran, after its co_await at `where`; null:
/// while none ran. If `by` has not just caught `error`, this is another error at the same address,
/// so the old trail is forgotten.
[[gnu::cold]] void error_is_given(const std::exception_ptr& error, const frame* by,
                                  const void* where) noexcept;

/// `error` was stored, and `next` awaits it at `next_where` now.
[[gnu::cold]] void error_waits(const std::exception_ptr& error, const frame& next,
                               const void* next_where) noexcept;

/// `next` throws the stored `error` at `next_where`. Others may have thrown it before.
[[gnu::cold]] void error_comes_again(const std::exception_ptr& error, const frame& next,
                                     const void* next_where) noexcept;

/// `error` is thrown instead of `of`, and takes over its trail.
[[gnu::cold]] void error_takes_trail(const std::exception_ptr& error,
                                     const std::exception_ptr& of) noexcept;

/// The co_awaits that `error` has passed, the innermost first.
[[nodiscard, gnu::cold]] std::vector<std::source_location> trail_of(
    const std::exception_ptr& error);

/// Makes a program that an uncaught error ends print the error's trail.
[[gnu::cold]] void print_trail_on_terminate() noexcept;

}  // namespace eddy::detail
