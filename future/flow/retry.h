// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <chrono>
#include <concepts>
#include <cstdint>
#include <exception>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include <eddy/future/awaitable.h>
#include <eddy/future/sleep.h>
#include <eddy/future/task.h>
#include <eddy/future/timeout.h>
#include <eddy/loop/clock.h>

namespace eddy {

/// How often to try, and how long to wait in between.
///
/// The n-th wait is as long as the first times the factor to the power of n - 1,
/// but no longer than the longest. Jitter makes it a random time between zero
/// and that, so that those whom one failure has hit do not all come back at the
/// same moment: "full jitter" in Marc Brooker's "Exponential Backoff And Jitter"
/// (AWS Architecture Blog, 2015), which found that it gets by with the least work.
struct retry_policy {
  static constexpr unsigned forever = std::numeric_limits<unsigned>::max();

  unsigned attempts = 5;  // with the first one
  time_span first_delay = std::chrono::milliseconds(100);
  double factor = 2;
  time_span longest_delay = std::chrono::seconds(30);
  bool jitter = true;
  std::optional<time_span> limit = std::nullopt;     // of all together, from the `co_await` on
  std::optional<std::uint64_t> seed = std::nullopt;  // of the jitter; without one, a random one
};

/// What `retry` throws when it gives up after more than one attempt: it has the
/// last one's code, and `what` tells each one's words.
class retries_failed : public std::system_error {
public:
  retries_failed(std::error_code last, std::vector<std::exception_ptr> errors);

  /// Each attempt's error, the last one last. Of very many only the last sixteen
  /// are kept. They live as long as a copy of this does.
  [[nodiscard]] std::span<const std::exception_ptr> errors() const noexcept;
  [[nodiscard]] const char* what() const noexcept override;

private:
  struct all {
    std::vector<std::exception_ptr> errors;
    std::string words;
  };

  std::shared_ptr<const all> all_;
};

namespace detail {

struct any_system_error {
  bool operator()(std::error_code) const noexcept { return true; }
};

template <class Function>
using result_of_attempt = await_result_t<std::invoke_result_t<Function&>>;

template <class Function, class Predicate>
task<result_of_attempt<Function>> retry_with(retry_policy policy, Function function,
                                             Predicate worth);

}  // namespace detail

/// `co_await retry(policy, connect)` calls `connect`, which returns an awaitable,
/// and gives the value of that. When it fails it waits and tries again, as the
/// policy says.
///
/// `worth` tells which errors are worth another attempt: it is called with the
/// `std::error_code` of a `std::system_error`, and nothing else is tried again;
/// or, if it takes one, with the `std::exception_ptr` of whatever it was. By
/// default each `std::system_error` is.
///
/// The functions are kept until the end: lambdas that capture are safe here.
///
/// Errors: when there are to be no more attempts, and when the next would not begin
/// before the time limit and the `current_deadline`, the last one's error: as
/// `retries_failed`, which is a `std::system_error` and tells all, if there was
/// more than one and the last is a system_error; otherwise as it is. Its
/// `await_trace` is that of the last one. An attempt that is under way when the time
/// is over ends with `timed_out`.
/// Cancelling: cancels the attempt that is under way.
template <class Function, class Predicate = detail::any_system_error>
  requires awaitable<std::invoke_result_t<Function&>> &&
           (std::predicate<Predicate&, std::error_code> ||
            std::predicate<Predicate&, std::exception_ptr>)
task<detail::result_of_attempt<Function>> retry(retry_policy policy, Function function,
                                                Predicate worth = {}) {
  return detail::retry_with(policy, std::move(function), std::move(worth));
}

// implementation

namespace detail {

/// The code of a `std::system_error`.
[[nodiscard, gnu::cold]] std::optional<std::error_code> code_of(const std::exception_ptr& error);

/// The attempts so far.
class retries {
public:
  explicit retries(const retry_policy& policy);

  /// How much time the next attempt has.
  [[nodiscard]] std::optional<duration> time_left() const;

  /// How long to wait after one that has failed; throws if there is none left.
  [[nodiscard, gnu::cold]] duration delay_after(std::exception_ptr error, bool worth);

private:
  [[noreturn]] void give_up();
  duration next_delay();
  void seed();

  retry_policy policy_;
  time_point deadline_ = time_point::max();
  unsigned done_ = 0;
  std::chrono::duration<double, duration::period> ceiling_;
  std::uint64_t random_ = 0;
  std::vector<std::exception_ptr> errors_;
};

template <class Predicate>
bool is_worth(Predicate& worth, const std::exception_ptr& error) {
  if constexpr (std::predicate<Predicate&, std::exception_ptr>) {
    return worth(error);
  } else {
    const auto code = code_of(error);
    return code && worth(*code);
  }
}

template <class Function, class Predicate>
task<result_of_attempt<Function>> retry_with(retry_policy policy, Function function,
                                             Predicate worth) {
  retries state(policy);
  for (;;) {
    std::exception_ptr error;
    try {
      auto work = as_task(std::invoke(function));
      if (const auto limit = state.time_left()) work = as_task(timeout(*limit, std::move(work)));
      co_return co_await std::move(work);
    } catch (...) {
      error = std::current_exception();
    }
    const duration delay = state.delay_after(error, is_worth(worth, error));
    co_await sleep(delay);
  }
}

}  // namespace detail

}  // namespace eddy
