// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/limited.h>

#include <algorithm>

#include <eddy/loop/detail/misuse.h>

namespace eddy::detail {

namespace {

__extension__ using wide = unsigned __int128;

constexpr std::uint64_t second = 1'000'000'000;  // in nanoseconds

}  // namespace

rate_limit::rate_limit(event_loop& loop, std::uint64_t bytes_per_second, std::size_t burst) noexcept
    : loop_(loop),
      rate_(bytes_per_second),
      burst_(burst),
      tokens_(burst),
      counted_to_(loop.after(duration::zero())) {
  if (rate_ == 0 || burst_ == 0) misuse("limited was given a rate or a burst of zero");
}

std::size_t rate_limit::allowed() noexcept {
  const time_point now = loop_.after(duration::zero());
  const duration passed = between(counted_to_, now);
  if (passed <= duration::zero()) return tokens_;
  const wide earned = wide{static_cast<std::uint64_t>(passed.count())} * rate_ / second;
  if (earned >= burst_ - tokens_) {
    tokens_ = burst_;
    counted_to_ = now;
  } else {
    // Only the time of whole tokens is counted, so that no part of a token is lost.
    tokens_ += static_cast<std::size_t>(earned);
    counted_to_ = plus(counted_to_, duration(static_cast<duration::rep>(earned * second / rate_)));
  }
  return tokens_;
}

std::size_t rate_limit::piece(std::size_t wanted) const noexcept {
  const std::uint64_t of_10_ms = std::max<std::uint64_t>(rate_ / 100, 1);
  return static_cast<std::size_t>(
      std::min<std::uint64_t>({std::max<std::size_t>(wanted, 1), burst_, of_10_ms}));
}

time_point rate_limit::when(std::size_t wanted) noexcept {
  const std::size_t missing = piece(wanted) - std::min(allowed(), piece(wanted));
  const wide time = (wide{missing} * second + rate_ - 1) / rate_;
  // A piece is what 10 ms bring or one byte, which takes a second of the lowest rate.
  return plus(counted_to_, duration(static_cast<duration::rep>(time)));
}

}  // namespace eddy::detail
