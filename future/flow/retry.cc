// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/future/flow/retry.h>

#include <algorithm>

#include <unistd.h>

#include <eddy/future/detail/await_trail.h>
#include <eddy/future/timeout.h>
#include <eddy/loop/detail/current_loop.h>
#include <eddy/loop/detail/error_words.h>
#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/throw_error.h>
#include <eddy/loop/event_loop.h>

namespace eddy {

retries_failed::retries_failed(std::error_code last, std::vector<std::exception_ptr> errors)
    : std::system_error(last) {
  auto words = detail::words_of("each attempt failed", errors);
  all_ = std::make_shared<const all>(std::move(errors), std::move(words));
}

std::span<const std::exception_ptr> retries_failed::errors() const noexcept { return all_->errors; }

const char* retries_failed::what() const noexcept { return all_->words.c_str(); }

namespace detail {

namespace {

/// A number in [0, 1), by SplitMix64: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number
/// Generators" (2014).
double random_fraction(std::uint64_t& state) noexcept {
  std::uint64_t z = (state += 0x9e3779b97f4a7c15U);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
  z ^= z >> 31;
  return static_cast<double>(z >> 11) * 0x1p-53;
}

}  // namespace

std::optional<std::error_code> code_of(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const std::system_error& e) {
    return e.code();
  } catch (...) {
    return std::nullopt;
  }
}

retries::retries(const retry_policy& policy)
    : policy_(policy), unlimited_delay_(std::max(duration(policy.first_delay), duration::zero())) {
  if (policy.attempts == 0) misuse("retry was given a policy of no attempts");
  if (!(policy.factor >= 0)) misuse("retry was given a policy with a factor below zero");
  if (policy.limit) deadline_ = current_loop("retry").after(*policy.limit);
}

std::optional<duration> retries::time_left() const {
  if (!policy_.limit) return std::nullopt;
  const time_point now = current_loop("retry").after(duration::zero());
  return std::max(duration::zero(), between(now, deadline_));
}

duration retries::delay_after(std::exception_ptr error, bool worth) {
  constexpr std::size_t most_kept = 16;
  if (errors_.size() == most_kept) errors_.erase(errors_.begin());
  errors_.push_back(std::move(error));
  if (failures_ != policy_.forever) ++failures_;
  if (!worth || (failures_ >= policy_.attempts && policy_.attempts != policy_.forever)) give_up();
  const duration delay = next_delay();
  if (policy_.limit && delay >= *time_left()) give_up();
  const auto deadline = current_deadline();
  if (deadline && current_loop("retry").after(delay) >= *deadline) give_up();
  return delay;
}

void retries::give_up() {
  if (errors_.size() > 1) {
    if (const auto code = code_of(errors_.back())) {
      const std::exception_ptr last = errors_.back();
      const auto all = std::make_exception_ptr(retries_failed(*code, std::move(errors_)));
      error_takes_trail(all, last);
      std::rethrow_exception(all);
    }
  }
  std::rethrow_exception(std::move(errors_.back()));
}

duration retries::next_delay() {
  using exact = decltype(unlimited_delay_);
  const exact longest = std::max(duration(policy_.longest_delay), duration::zero());
  exact delay = std::min(unlimited_delay_, longest);
  unlimited_delay_ *= policy_.factor;
  if (policy_.jitter) {
    if (failures_ == 1) seed();
    delay *= random_fraction(random_);
  }
  return in_nanoseconds(delay);
}

void retries::seed() {
  if (policy_.seed) {
    random_ = *policy_.seed;
  } else if (::getentropy(&random_, sizeof random_) != 0) {
    throw_errno("asking for random bytes");
  }
}

}  // namespace detail

}  // namespace eddy
