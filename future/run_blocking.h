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
auto run_on(process_pool* pool, const char* description, Function function, Arguments... arguments);
}

/// `co_await run_blocking(function, arguments…)` calls it on a worker thread
/// and gives what it returns: for what would freeze the loop. The function and
/// the arguments are moved along; name a lambda that captures first:
///
///     auto job = [path] { return read_file(path); };
///     const std::string text = co_await run_blocking(std::move(job));
///
/// Errors: what the function throws; `std::system_error` if no thread can be started.
/// Cancelling: a function that runs already goes on to its end, unseen; so it
/// must own what it uses. One that has not begun is dropped. If the function has thrown and
/// its waiter is dropped before the loop resumes that, the error leaves `run`.
/// Threads: the function runs on another thread and must not touch the loop.
template <class Function, class... Arguments>
  requires std::invocable<Function&, Arguments...>
auto run_blocking(Function function, Arguments... arguments) {
  return detail::run_on(nullptr, "a blocking job", std::move(function), std::move(arguments)...);
}

// implementation

/// On workers of `pool`; null: on those that `blocking_job` has.
template <class Function, class... Arguments>
auto detail::run_on(process_pool* pool, const char* description, Function function,
                    Arguments... arguments) {
  using value = std::invoke_result_t<Function&, Arguments...>;
  static_assert(!awaitable<value>, "run_blocking can't run a coroutine: await that on the loop");

  struct job {
    job(Function&& f, Arguments&&... a) : function(std::move(f)), arguments(std::move(a)...) {}
    void run() noexcept {
      try {
        result.emplace(detail::outcome_of<value>(
            [this]() -> value { return std::apply(function, std::move(arguments)); }));
      } catch (...) {  // by the value, which is moved
        result.emplace(std::unexpect, std::current_exception());
      }
    }
    Function function;
    std::tuple<Arguments...> arguments;
    std::optional<outcome<value>> result;
  };

  struct start {
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
    void describe(std::string& out) const {
      out += words;
      out += '\n';
    }
    process_pool* pool;
    const char* words;
    std::shared_ptr<job> work;
  };
  return adapt<value>(start{pool, description,
                            std::make_shared<job>(std::move(function), std::move(arguments)...)});
}

}  // namespace eddy
