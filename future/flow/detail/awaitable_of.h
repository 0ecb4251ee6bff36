// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <concepts>
#include <type_traits>

#include <eddy/future/awaitable.h>

namespace eddy::detail {

/// An awaitable whose `co_await` gives a `T`. A function that returns an operation of a private
/// class says so in its signature: `awaitable_of<T> auto f();`.
template <class A, class T>
concept awaitable_of = awaitable<A> && std::same_as<await_result_t<A>, T>;

/// The type that `co_await` gives for an `A`; void if an `A` is not awaitable. Clang 19 looks at
/// the result types of all overloads, so for a range `owned_result_t` would be an error here.
template <class A>
struct given : std::type_identity<void> {};
template <awaitable A>
struct given<A> : std::type_identity<await_result_t<A>> {};
template <class A>
using given_t = typename given<A>::type;

}  // namespace eddy::detail
