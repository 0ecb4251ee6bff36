// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/testing/detail/simulated_context.h>

#include <algorithm>
#include <chrono>

#include <eddy/loop/event_loop.h>

namespace eddy::detail {

simulated_context::simulated_context(event_loop& loop, const simulated_network_options& how)
    : loop_(loop), options_(how), begun_(loop.after(duration::zero())), state_(how.seed) {}

time_point simulated_context::now() const noexcept { return loop_.after(duration::zero()); }

std::uint64_t simulated_context::random() noexcept {
  // SplitMix64, by Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.
  std::uint64_t z = state_ += 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

bool simulated_context::chance(double probability) noexcept {
  if (!(probability > 0)) return false;
  return static_cast<double>(random() >> 11) * 0x1p-53 < probability;
}

duration simulated_context::delay() noexcept {
  const duration shortest = std::max(options_.shortest_delay, duration::zero());
  const duration spread = between(time_point(shortest), time_point(options_.longest_delay));
  if (spread <= duration::zero()) return shortest;
  const auto more = below(static_cast<std::uint64_t>(spread.count()) + 1);
  return shortest + duration(static_cast<duration::rep>(more));
}

void simulated_context::note(std::initializer_list<piece> words) {
  using std::chrono::microseconds;
  if (options_.trace_lines == 0) return;
  if (lines_.size() == options_.trace_lines) lines_.pop_front();
  const auto passed = std::chrono::duration_cast<microseconds>(between(begun_, now())).count();
  std::string line = std::to_string(passed) + " us: ";
  add_text(line, words);
  lines_.push_back(std::move(line));
}

std::string simulated_context::trace() const {
  std::string all;
  for (const std::string& line : lines_) add_text(all, {line, "\n"});
  return all;
}

}  // namespace eddy::detail
