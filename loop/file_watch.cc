// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/file_watch.h>

#include <utility>

#include <eddy/loop/detail/file_watch_hub.h>
#include <eddy/loop/detail/loop_access.h>
#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/throw_error.h>
#include <eddy/loop/event_loop.h>

namespace eddy {

file_watch::file_watch(event_loop& loop, std::string path)
    : loop_(&loop), path_(std::move(path)), entry_(this) {}

file_watch::file_watch(file_watch&& other) noexcept
    : loop_((static_cast<void>(other.active()), other.loop_)),
      path_(std::move(other.path_)),
      background_(other.background_),
      wanted_(other.wanted_),
      watch_(other.watch_),
      since_(other.since_),
      entry_(this),
      on_change_(std::move(other.on_change_)) {
  entry_.replace(other.entry_);
}

file_watch::~file_watch() { stop(); }

bool file_watch::active() const noexcept {
  if (entry_.linked()) loop_->check_thread();
  return entry_.linked();
}

void file_watch::start(handler<void(const file_event&)> on_change, file_change wanted) {
  detail::expect_handler(on_change, "file_watch::start");
  loop_->check_thread();
  // The kernel would take it for another path, which ends at the zero byte.
  if (path_.contains('\0')) {
    detail::throw_error(std::errc::invalid_argument, "watching a path with a zero byte in it");
  }
  auto& hub = detail::file_watch_hub::of(*loop_);
  const auto dropped = on_change_.take();
  if (active()) hub.remove(*this);
  wanted_ = wanted;
  hub.add(*this);
  on_change_.swap(on_change);
}

void file_watch::stop() noexcept {
  if (!active()) return;
  loop_->check_thread();
  detail::file_watch_hub::of(*loop_).remove(*this);
  const auto dropped = on_change_.take();
}

void file_watch::background(bool on) noexcept {
  loop_->check_thread();
  if (active() && background_ != on) detail::loop_access(*loop_).move_to_background(on);
  background_ = on;
}

}  // namespace eddy
