// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <type_traits>
#include <utility>

#include <eddy/future/detail/foreign_wait.h>
#include <eddy/future/task.h>

namespace eddy {

/// What can be given to `co_await`: a task, a future, an operation such as
/// `sleep(1s)`, or anything else that has the members the language asks for.
///
/// An awaiter that is not eddy's is given a `std::coroutine_handle<>` to resume
/// once, on the loop's thread. That may happen anywhere: the coroutine goes on
/// later, from the loop.
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
