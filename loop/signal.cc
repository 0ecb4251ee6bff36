// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/signal.h>

#include <string>
#include <system_error>
#include <utility>

#include <signal.h>

#include <eddy/loop/detail/engine.h>
#include <eddy/loop/detail/loop_access.h>
#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/signal_hub.h>
#include <eddy/loop/detail/text.h>
#include <eddy/loop/detail/throw_error.h>
#include <eddy/loop/event_loop.h>

namespace eddy {

namespace {

bool can_be_told(int number) noexcept {
  switch (number) {
    case SIGKILL:
    case SIGSTOP:
    case SIGSEGV:
    case SIGBUS:
    case SIGFPE:
    case SIGILL: return false;
    default:
      return number >= 1 && number <= detail::signal_hub::largest &&
             ::sigaction(number, nullptr, nullptr) == 0;
  }
}

}  // namespace

signal::signal(event_loop& loop, int number)
    : ready_node(&run), loop_(&loop), number_(number), entry_(*this) {
  if (!can_be_told(number)) {
    detail::throw_error(std::errc::invalid_argument, detail::text({"watching signal ", number}));
  }
}

signal::signal(signal&& other) noexcept
    : ready_node((static_cast<void>(other.active()), static_cast<ready_node&&>(other))),
      loop_(other.loop_),
      number_(other.number_),
      background_(other.background_),
      node_(other.node_),
      entry_(*this),
      on_signal_(std::move(other.on_signal_)) {
  entry_.replace(other.entry_);
}

signal::~signal() { stop(); }

bool signal::active() const noexcept {
  if (entry_.linked()) loop_->check_thread();
  return entry_.linked();
}

void signal::start(handler<void()> on_signal) {
  detail::expect_handler(on_signal, "signal::start");
  loop_->check_thread();
  if (!active()) watch();
  node_ = nullptr;
  on_signal_.swap(on_signal);
}

void signal::wait(ready_node& node) {
  loop_->check_thread();
  if (active()) detail::misuse("signal::wait was called on a signal that is started already");
  detail::loop_access(*loop_).engine().renew();
  watch();
  node_ = &node;
  if (detail::signal_hub::of(*loop_).take_back(number_)) loop_->ready(*this);
}

void signal::watch() {
  detail::signal_hub::of(*loop_).add(number_, entry_);
  const detail::loop_access inside(*loop_);
  inside.add_watch();
  if (!background_) inside.begin_wait();
  inside.revive();
}

void signal::stop() noexcept {
  if (!active()) return;
  loop_->check_thread();
  auto& hub = detail::signal_hub::of(*loop_);
  const bool waits = std::exchange(node_, nullptr) != nullptr;
  const bool told = queued();
  withdraw();
  hub.remove(number_, entry_, waits);
  if (told) hub.unheard(*loop_, number_, waits);
  const detail::loop_access inside(*loop_);
  inside.remove_watch();
  if (!background_) inside.end_wait();
  const auto dropped = on_signal_.take();
}

void signal::background(bool on) noexcept {
  loop_->check_thread();
  if (active() && background_ != on) detail::loop_access(*loop_).move_to_background(on);
  background_ = on;
}

void signal::run(ready_node& node) {
  auto& self = static_cast<signal&>(node);
  ready_node* const waiting = self.node_;
  if (waiting == nullptr) return self.on_signal_.call(true);
  self.stop();
  run_instead(*waiting);
}

}  // namespace eddy
