// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <concepts>
#include <type_traits>
#include <utility>

#include <eddy/future/detail/external_awaiter.h>
#include <eddy/future/task.h>

namespace eddy {

/// A type that `co_await` accepts: a task, a future, an operation, or any other C++ awaiter.
///
/// An awaiter that is not eddy's may resume its `std::coroutine_handle<>` at any moment, but only
/// once, and on the loop's thread. Resuming the handle puts the coroutine into the ready queue,
/// from which the loop resumes the coroutine.
template <class A>
concept awaitable = requires(A&& a) {
  { detail::get_awaiter(std::forward<A>(a)) } -> detail::awaiter;
};

/// The type of `co_await a`, where `a` is of type `A`.
template <awaitable A>
using await_result_t = decltype(detail::get_awaiter(std::declval<A>()).await_resume());

// implementation

namespace detail {

/// The type that `co_await` gives for an argument that a function takes over. If the argument is
/// not awaitable, or has a name and was not moved, the compiler's first error says so.
template <class A>
struct owned_result : accepted_awaitable<A, false>, std::type_identity<void> {};
template <awaitable A>
struct owned_result<A> : std::type_identity<await_result_t<A>> {};
template <class A>
  requires awaitable<std::remove_cv_t<A>>
struct owned_result<A&> : accepted_awaitable<A&, false>,
                          std::type_identity<await_result_t<std::remove_cv_t<A>>> {};
template <class A>
using owned_result_t = typename owned_result<A>::type;

/// The same type, for an overload that leaves functions to another overload. A `requires` would
/// come too late, because clang 19 looks at the result type first.
template <class A>
using work_result_t = typename std::enable_if_t<!std::invocable<A&>, owned_result<A>>::type;

/// The type that `co_await` gives for the result of a call of `Function` with `Arguments`.
template <class Function, class... Arguments>
using called_result_t = owned_result_t<std::decay_t<std::invoke_result_t<Function&, Arguments...>>>;

template <class T>
inline constexpr bool is_task = false;
template <class T>
inline constexpr bool is_task<task<T>> = true;

template <class A>
task<await_result_t<A>> await_in_task(A a) {
  co_return co_await std::move(a);
}

/// Makes a task of an awaitable that a function takes over. A task stays as it is.
template <class A>
task<owned_result_t<A>> as_task(A&& a) {
  if constexpr (is_task<A>) {
    return std::forward<A>(a);
  } else if constexpr (awaitable<A> && !std::is_lvalue_reference_v<A>) {
    return await_in_task(std::forward<A>(a));
  } else {
    std::unreachable();  // `owned_result_t` has refused it
  }
}

}  // namespace detail

}  // namespace eddy
