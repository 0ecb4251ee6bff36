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

/// The number of attempts of a `retry`, and the delays between them.
///
/// After failure n, `retry` waits for delay n = min(longest_delay, first_delay · factorⁿ⁻¹). With
/// `jitter`, the delay is a random time between zero and that value, so that the clients of a
/// failed server do not all come back at the same moment. This is "full jitter" in Marc Brooker's
/// "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015), who found that it needs the
/// fewest calls.
struct retry_policy {
  /// The value of `attempts` that sets no limit to the number of attempts.
  static constexpr unsigned forever = std::numeric_limits<unsigned>::max();

  unsigned attempts = 5;  // including the first
  time_span first_delay = std::chrono::milliseconds(100);
  double factor = 2;
  time_span longest_delay = std::chrono::seconds(30);
  bool jitter = true;
  std::optional<time_span> limit = std::nullopt;     // for the whole retry
  std::optional<std::uint64_t> seed = std::nullopt;  // of the jitter; by default a random one
};

/// The error of a `retry` after several failed attempts. Its `code()` is that of the last error.
///
/// `what()` lists the messages of the attempts, at most the last 16.
class retries_failed : public std::system_error {
public:
  retries_failed(std::error_code last, std::vector<std::exception_ptr> errors);

  /// The errors of the attempts, at most the last 16, in the order in which they occurred.
  /// Lifetime: valid as long as any copy of this exception exists.
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
struct any_system_error;
}

/// `co_await retry(policy, connect)` calls `connect` and awaits the result, until an attempt
/// succeeds, and gives the value of that attempt.
///
/// `function` returns an awaitable. After a failure, `retry` waits as `policy` says and calls
/// `function` again. A policy with 0 attempts, or a factor that is negative or not a number,
/// aborts.
///
/// `worth` decides whether an error is worth another attempt. If `worth` takes a
/// `std::exception_ptr`, it decides about every exception. Otherwise `worth` gets the
/// `std::error_code` of each `std::system_error`, and any other exception ends the retry. By
/// default every `std::system_error` is worth another attempt. `function` and `worth` are moved in,
/// so they may be lambdas with captures.
///
/// The retry ends with the last error if there is no attempt left, if `worth` returns false, or if
/// the next attempt would start after the policy's `limit` or the `current_deadline()`. An attempt
/// that runs when the `limit` expires is cancelled and fails with `timed_out`.
///
/// Errors: `retries_failed`, if there were several errors and the last one is a
/// `std::system_error`. Otherwise the last error itself. The `await_trace` is that of the last
/// error.
/// Cancelling: cancels the attempt or the delay.
template <class Function, class Predicate = detail::any_system_error>
  requires awaitable<std::invoke_result_t<Function&>> &&
           (std::predicate<Predicate&, std::error_code> ||
            std::predicate<Predicate&, std::exception_ptr>)
task<await_result_t<std::invoke_result_t<Function&>>> retry(retry_policy policy, Function function,
                                                            Predicate worth = {});

// implementation

namespace detail {

struct any_system_error {
  bool operator()(std::error_code) const noexcept { return true; }
};

/// The code if the error is a `std::system_error`.
[[nodiscard, gnu::cold]] std::optional<std::error_code> code_of(const std::exception_ptr& error);

/// The attempts so far, and the time and the delays that are left.
class retries {
public:
  explicit retries(const retry_policy& policy);

  /// The rest of the policy's limit; empty if there is no limit.
  [[nodiscard]] std::optional<duration> time_left() const;

  /// Notes a failed attempt, and gives the delay before the next one. Throws the final error if
  /// there is no next attempt.
  [[nodiscard, gnu::cold]] duration delay_after(std::exception_ptr error, bool worth);

private:
  [[noreturn]] void give_up();
  duration next_delay();
  void seed();

  retry_policy policy_;
  time_point deadline_ = time_point::max();
  unsigned failures_ = 0;
  std::chrono::duration<double, duration::period> unlimited_delay_;  // the next, without jitter
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

// A coroutine in `detail`, which await traces and dumps leave out.
template <class Function, class Predicate>
task<await_result_t<std::invoke_result_t<Function&>>> retry_with(retry_policy policy,
                                                                 Function function,
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

template <class Function, class Predicate>
  requires awaitable<std::invoke_result_t<Function&>> &&
           (std::predicate<Predicate&, std::error_code> ||
            std::predicate<Predicate&, std::exception_ptr>)
task<await_result_t<std::invoke_result_t<Function&>>> retry(retry_policy policy, Function function,
                                                            Predicate worth) {
  return detail::retry_with(policy, std::move(function), std::move(worth));
}

}  // namespace eddy
