// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#include <eddy/future/adapt.h>
#include <eddy/future/awaitable.h>
#include <eddy/future/outcome.h>
#include <eddy/loop/blocking_job.h>

namespace eddy {

namespace detail {
template <class Function, class... Arguments>
struct blocking_start;
template <class Function, class... Arguments>
using blocking_operation = adaptation<std::invoke_result_t<Function&, Arguments...>,
                                      blocking_start<Function, Arguments...>>;
template <class Function, class... Arguments>
blocking_operation<Function, Arguments...> run_on(process_pool* pool, const char* description,
                                                  Function function, Arguments... arguments);
}  // namespace detail

/// `co_await run_blocking(function, arguments…)` calls a function on a worker thread and gives its
/// result.
///
/// Use it for a function that would block the loop. Function and arguments are moved to the worker.
/// A lambda with captures needs a name:
///
///     auto job = [path] { return read_file(path); };
///     const std::string text = co_await run_blocking(std::move(job));
///
/// Errors: the exception that `function` throws; `std::system_error` if no thread can be started.
/// Cancelling: a function that has not begun does not run. A function that is running completes,
/// and its result is ignored: the function must own everything it uses. If it has thrown and the
/// coroutine has not resumed, the loop's `run` throws the exception.
/// Threads: the function runs on another thread and must not touch the loop.
template <class Function, class... Arguments>
  requires std::invocable<Function&, Arguments...>
detail::blocking_operation<Function, Arguments...> run_blocking(Function function,
                                                                Arguments... arguments) {
  return detail::run_on(nullptr, "a blocking job", std::move(function), std::move(arguments)...);
}

// implementation

namespace detail {

template <class Value, class Function, class... Arguments>
struct blocking_work {
  blocking_work(Function&& f, Arguments&&... a)
      : function(std::move(f)), arguments(std::move(a)...) {}
  void run() noexcept {
    try {
      result.emplace(outcome_of<Value>(
          [this]() -> Value { return std::apply(function, std::move(arguments)); }));
    } catch (...) {  // by the value, which is moved
      result.emplace(std::unexpect, std::current_exception());
    }
  }

  Function function;
  std::tuple<Arguments...> arguments;
  std::optional<outcome<Value>> result;
};

template <class Function, class... Arguments>
struct blocking_start {
  using value = std::invoke_result_t<Function&, Arguments...>;

  blocking_job operator()(completer<value> done) const {
    auto begin = [w = work] { w->run(); };
    auto end = [w = work, done] {
      try {
        done.complete(std::move(*w->result));
      } catch (...) {  // by the value, which is moved
        done.complete(outcome<value>(std::unexpect, std::current_exception()));
      }
    };
    event_loop& loop = *event_loop::current();
    return pool == nullptr ? blocking_job(loop, std::move(begin), std::move(end))
                           : blocking_job(loop, *pool, std::move(begin), std::move(end));
  }
  const char* describe() const noexcept { return words; }

  process_pool* pool;
  const char* words;
  std::shared_ptr<blocking_work<value, Function, Arguments...>> work;
};

/// On workers of `pool`; null: on those that `blocking_job` has.
template <class Function, class... Arguments>
blocking_operation<Function, Arguments...> run_on(process_pool* pool, const char* description,
                                                  Function function, Arguments... arguments) {
  using value = std::invoke_result_t<Function&, Arguments...>;
  static_assert(!awaitable<value>, "run_blocking can't run a coroutine: co_await it on the loop");
  return adapt<value>(blocking_start<Function, Arguments...>{
      pool, description,
      std::make_shared<blocking_work<value, Function, Arguments...>>(std::move(function),
                                                                     std::move(arguments)...)});
}

}  // namespace detail

}  // namespace eddy
