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
#include <eddy/future/outcome.h>
#include <eddy/loop/blocking_job.h>

namespace eddy {

/// `co_await run_blocking(function, arguments…)` calls it on a worker thread
/// and gives what it returns: for what would freeze the loop. The function and
/// the arguments are moved along; name a lambda that captures first:
///
///     auto job = [path] { return read_file(path); };
///     const std::string text = co_await run_blocking(std::move(job));
///
/// Errors: what the function throws; `std::system_error` if no thread can be started.
/// Cancelling: a function that runs already goes on to its end, unseen; so it
/// must own what it uses. One that has not begun is dropped.
/// Threads: the function runs on another thread and must not touch the loop.
template <class Function, class... Arguments>
  requires std::invocable<Function&, Arguments...>
[[nodiscard]] auto run_blocking(Function function, Arguments... arguments) {
  using value = std::invoke_result_t<Function&, Arguments...>;

  struct job {
    job(Function&& f, Arguments&&... a) : function(std::move(f)), arguments(std::move(a)...) {}
    void run() noexcept {
      result.emplace(detail::outcome_of<value>(
          [this]() -> value { return std::apply(function, std::move(arguments)); }));
    }
    Function function;
    std::tuple<Arguments...> arguments;
    std::optional<outcome<value>> result;
  };

  struct start {
    blocking_job operator()(completer<value> done) const {
      return blocking_job(
          *event_loop::current(), [w = work] { w->run(); },
          [w = work, done] { done.complete(std::move(*w->result)); });
    }
    void describe(std::string& out) const { out += "a blocking job\n"; }
    std::shared_ptr<job> work;
  };
  return adapt<value>(start{std::make_shared<job>(std::move(function), std::move(arguments)...)});
}

}  // namespace eddy
