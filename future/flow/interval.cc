// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/future/flow/interval.h>

#include <eddy/future/sleep.h>
#include <eddy/loop/detail/current_loop.h>
#include <eddy/loop/detail/flagged.h>
#include <eddy/loop/detail/misuse.h>

namespace eddy {

interval::interval(time_span period, missed_ticks rule, resolution exactness)
    : period_(period),
      due_(detail::current_loop("interval").after(period)),
      rule_(rule),
      exactness_(exactness) {
  if (period_ <= duration::zero()) {
    detail::misuse("interval was given a period that is not more than zero");
  }
}

task<time_point> interval::next() {
  if (waiting_.on)
    detail::misuse("interval::next was called while another next of this interval is suspended");
  const detail::flagged waits(waiting_.on);
  co_await sleep_until(due_, exactness_);
  const time_point tick = due_;
  // The time of the turn would be too early: the turn may have begun before the tick was due.
  const time_point now = detail::current_loop("interval").after(duration::zero());
  if (rule_ == missed_ticks::skip) {
    missed_ = static_cast<std::uint64_t>(detail::between(tick, now) / period_);
  }
  if (rule_ == missed_ticks::delay) due_ = now;
  due_ = detail::plus(due_, detail::times(period_, missed_ + 1));
  co_return tick;
}

}  // namespace eddy
