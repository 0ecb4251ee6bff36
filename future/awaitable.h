// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <concepts>
#include <coroutine>
#include <type_traits>
#include <utility>

#include <eddy/future/task.h>

namespace eddy {

namespace detail {

template <class A>
concept awaiter = requires(A& a) {
  { a.await_ready() } -> std::convertible_to<bool>;
  a.await_resume();
};

template <class A>
decltype(auto) get_awaiter(A&& a) {
  if constexpr (requires { std::forward<A>(a).operator co_await(); }) {
    return std::forward<A>(a).operator co_await();
  } else if constexpr (requires { operator co_await(std::forward<A>(a)); }) {
    return operator co_await(std::forward<A>(a));
  } else {
    return std::forward<A>(a);
  }
}

}  // namespace detail

/// What can be given to `co_await`: a task, a future, an operation such as
/// `sleep(1s)`, or anything else that has the members the language asks for.
template <class A>
concept awaitable = requires(A&& a) {
  { detail::get_awaiter(std::forward<A>(a)) } -> detail::awaiter;
};

/// The type that `co_await` gives for it.
template <awaitable A>
using await_result_t = decltype(detail::get_awaiter(std::declval<A>()).await_resume());

namespace detail {

template <class T>
struct is_task : std::false_type {};
template <class T>
struct is_task<task<T>> : std::true_type {};

/// Any awaitable as a task; one that is a task already stays as it is.
template <awaitable A>
  requires(!is_task<A>::value)
task<await_result_t<A>> as_task(A a) {
  co_return co_await std::move(a);
}
template <class T>
task<T> as_task(task<T> t) noexcept {
  return t;
}

}  // namespace detail

}  // namespace eddy
