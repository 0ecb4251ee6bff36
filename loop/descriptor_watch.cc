// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/descriptor_watch.h>

#include <system_error>
#include <utility>

#include <eddy/loop/detail/descriptor_watch_hub.h>
#include <eddy/loop/detail/loop_access.h>
#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/event_loop.h>

namespace eddy {

descriptor_watch::descriptor_watch(descriptor_watch&& other) noexcept
    : ready_node((static_cast<void>(other.active()), static_cast<ready_node&&>(other))),
      loop_(other.loop_),
      descriptor_(other.descriptor_),
      wanted_(other.wanted_),
      seen_(other.seen_),
      failure_(other.failure_),
      once_(other.once_),
      quiet_(other.quiet_),
      background_(other.background_),
      entry_(this),
      on_events_(std::move(other.on_events_)) {
  entry_.replace(other.entry_);
}

descriptor_watch::~descriptor_watch() { stop(); }

bool descriptor_watch::active() const noexcept {
  if (!entry_.linked() && !queued()) return false;
  loop_->check_thread();
  return true;
}

void descriptor_watch::start(events wanted, handler<void(result<events>)> on_events) {
  detail::expect_handler(on_events, "descriptor_watch::start");
  begin(wanted, on_events, false);
}

void descriptor_watch::start_once(events wanted, handler<void(result<events>)> on_events) {
  detail::expect_handler(on_events, "descriptor_watch::start_once");
  begin(wanted, on_events, true);
}

void descriptor_watch::begin(events wanted, handler<void(result<events>)>& on_events, bool once) {
  loop_->check_thread();
  constexpr events all =
      events::readable | events::writable | events::priority | events::hang_up | events::error;
  if (!contains(wanted, all)) detail::misuse("a descriptor_watch was started for no condition");
  auto& hub = detail::descriptor_watch_hub::of(*loop_);
  const auto dropped = on_events_.take();
  withdraw();
  if (entry_.linked()) hub.remove(*this);
  wanted_ = wanted;
  once_ = once;
  quiet_ = false;
  failure_ = 0;
  seen_ = events::none;
  hub.add(*this);
  on_events_.swap(on_events);
}

void descriptor_watch::stop() noexcept {
  if (!active() && !on_events_.present()) return;
  loop_->check_thread();
  withdraw();
  if (entry_.linked()) detail::descriptor_watch_hub::of(*loop_).remove(*this);
  const auto dropped = on_events_.take();
}

void descriptor_watch::background(bool on) noexcept {
  loop_->check_thread();
  if (entry_.linked() && background_ != on) detail::loop_access(*loop_).move_to_background(on);
  background_ = on;
}

void descriptor_watch::run(ready_node& node) {
  auto& self = static_cast<descriptor_watch&>(node);
  result<events> told = std::exchange(self.seen_, events::none);
  if (self.failure_ != 0) {
    told = std::unexpected(std::error_code(self.failure_, std::generic_category()));
  }
  self.on_events_.call(self.entry_.linked(), std::move(told));
}

}  // namespace eddy
