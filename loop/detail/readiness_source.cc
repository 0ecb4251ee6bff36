// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/detail/readiness_source.h>

#include <cerrno>
#include <utility>

#include <eddy/loop/detail/engine.h>
#include <eddy/loop/detail/list_node.h>
#include <eddy/loop/detail/loop_access.h>
#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/event_loop.h>

namespace eddy::detail {

namespace {

watch& watch_of(io_watcher& io) noexcept { return reinterpret_cast<watch&>(io); }

}  // namespace

readiness_source::readiness_source(event_loop& loop) noexcept : loop_(loop) {
  loop.check_thread();
  if (!loop_access(loop).engine().watches().set_source(this)) {
    misuse("a loop was given a second stand-in for the kernel: destroy the first one before");
  }
}

readiness_source::~readiness_source() {
  loop_.check_thread();
  for (const auto& [descriptor, first] : watches_) {
    for (io_watcher* io = first; io != nullptr;) {
      watch& w = watch_of(*std::exchange(io, io->next));
      w.io.next = nullptr;
      w.fail(EBADF);
    }
  }
  loop_access(loop_).engine().watches().forget_source();
}

void readiness_source::attach(watch& w) {
  io_watcher*& first = watches_[w.io.fd];
  w.io.next = std::exchange(first, &w.io);
  w.background = true;
}

void readiness_source::detach(watch& w) noexcept {
  const auto found = watches_.find(w.io.fd);
  if (found == watches_.end()) return;
  for (io_watcher** at = &found->second; *at != nullptr; at = &(*at)->next) {
    if (*at != &w.io) continue;
    *at = std::exchange(w.io.next, nullptr);
    break;
  }
  if (found->second == nullptr) watches_.erase(found);
}

void readiness_source::want(watch& w, direction which) noexcept {
  if (!is_open(w.io.fd)) return w.fail(EBADF);
  if (is_ready(w.io.fd, which)) complete(w, which);
}

void readiness_source::complete(watch& w, direction which) noexcept {
  list_node arrived;
  if (!w.arrive(which, arrived)) return;
  loop_access(loop_).hand_over(arrived);
  loop_access(loop_).revive();
}

void readiness_source::became_ready(int descriptor, direction which) noexcept {
  loop_.check_thread();
  const auto found = watches_.find(descriptor);
  if (found == watches_.end()) return;
  for (io_watcher* io = found->second; io != nullptr; io = io->next) complete(watch_of(*io), which);
}

void readiness_source::was_closed(int descriptor) noexcept {
  loop_.check_thread();
  const auto found = watches_.find(descriptor);
  if (found == watches_.end()) return;
  for (io_watcher* io = found->second; io != nullptr; io = io->next) watch_of(*io).fail(EBADF);
}

}  // namespace eddy::detail
