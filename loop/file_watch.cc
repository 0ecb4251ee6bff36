// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/file_watch.h>

#include <utility>

#include <eddy/loop/detail/file_watch_hub.h>
#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/throw_error.h>
#include <eddy/loop/event_loop.h>

namespace eddy {

file_watch::file_watch(event_loop& loop, std::string path)
    : loop_(&loop), path_(std::move(path)), place_(this) {}

file_watch::file_watch(file_watch&& other) noexcept
    : loop_((static_cast<void>(other.active()), other.loop_)),
      path_(std::move(other.path_)),
      background_(other.background_),
      wanted_(other.wanted_),
      watch_(other.watch_),
      since_(other.since_),
      place_(this),
      on_change_(std::move(other.on_change_)) {
  place_.replace(other.place_);
}

file_watch::~file_watch() { stop(); }

bool file_watch::active() const noexcept {
  if (place_.linked()) loop_->check_thread();
  return place_.linked();
}

void file_watch::start(handler<void(const file_event&)> on_change, file_change wanted) {
  detail::expect_handler(on_change, "file_watch::start");
  loop_->check_thread();
  // To the kernel it would be another path.
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
  if (active() && background_ != on) loop_->waits_ += on ? static_cast<std::size_t>(-1) : 1;
  background_ = on;
}

}  // namespace eddy
