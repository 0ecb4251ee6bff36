// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/detail/watch.h>

#include <cerrno>
#include <utility>

#include <eddy/loop/detail/engine.h>
#include <eddy/loop/detail/loop_access.h>
#include <eddy/loop/event_loop.h>

namespace eddy::detail {

watch::watch(watch_set& all, int number) {
  io.data = &all;
  io.fd = number;
  const loop_access on(loop());
  all.attach(*this, on.watches());
  on.add_watch();
}

watch::watch(event_loop& loop, int number) : watch(loop_access(loop).engine().watches(), number) {}

event_loop& watch::loop() const noexcept { return io.data->loop(); }

void watch::end() noexcept {
  if (io.fd < 0) return;
  loop().check_thread();
  for (const auto which : directions) forget(which);
  io.data->detach(*this);
  io.fd = -1;
  loop_access(loop()).remove_watch();
}

void watch::wait(direction which, ready_node& node) noexcept {
  event_loop& on = loop();
  on.check_thread();
  forgive_refusal();
  if (error != 0) {
    on.ready(node);
    return;
  }
  waiter(which) = &node;
  if (!background) {
    loop_access(on).begin_wait();
    loop_access(on).revive();
  }
  io.data->want(*this, which);
}

void watch::forget(direction which) noexcept {
  if (std::exchange(waiter(which), nullptr) != nullptr && !background)
    loop_access(loop()).end_wait();
}

bool watch::others_wait() const noexcept { return io.data->others_wait(*this); }

void watch::set_background(bool on) noexcept {
  if (background == on) return;
  background = on;
  for (const ready_node* node : waiters) {
    if (node != nullptr) loop_access(loop()).move_to_background(on);
  }
}

void watch::forgive_refusal() noexcept {
  if (error == ENOMEM || error == ENOSPC) error = 0;
}

bool watch::arrive(direction which, list_node& list) noexcept {
  ready_node* const node = waiter(which);
  if (node == nullptr) return false;
  forget(which);
  loop_access::put_first(list, *node);
  return true;
}

void watch::fail(int why) noexcept {
  error = static_cast<std::uint16_t>(why);
  for (const auto which : directions) {
    if (ready_node* const node = waiter(which)) {
      forget(which);
      loop().ready(*node);
    }
  }
}

}  // namespace eddy::detail
