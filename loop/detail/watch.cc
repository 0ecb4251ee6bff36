// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/detail/watch.h>

#include <algorithm>
#include <cerrno>
#include <new>
#include <utility>

#include <sys/epoll.h>
#include <sys/stat.h>

#include <eddy/loop/detail/descriptor.h>
#include <eddy/loop/detail/engine.h>
#include <eddy/loop/event_loop.h>

namespace eddy::detail {

namespace {

std::error_code last_error() noexcept { return {errno, std::generic_category()}; }

/// What the kernel answers to a watch of `descriptor` in `epoll`: nothing, that
/// it is watched there already (`file_exists`), or why it refuses.
std::error_code try_watch(int epoll, int descriptor) noexcept {
  epoll_event none{};
  if (::epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &none) != 0) return last_error();
  ::epoll_ctl(epoll, EPOLL_CTL_DEL, descriptor, &none);
  return {};
}

}  // namespace

std::error_code refusal(int epoll, int descriptor) noexcept {
  const auto answer = try_watch(epoll, descriptor);
  return answer == std::errc::file_exists ? std::error_code{} : answer;
}

watch::watch(engine& e, int descriptor) : owner(&e) {
  struct stat status{};
  if (::fstat(descriptor, &status) != 0) throw std::system_error(last_error());
  device = status.st_dev;
  inode = status.st_ino;
  anonymous = (status.st_mode & S_IFMT) == 0;
  // A set that a parent shares is left alone; one of this moment knows most of
  // the answers.
  std::error_code answer;
  if (e.shared()) {
    const detail::descriptor set(::epoll_create1(EPOLL_CLOEXEC), "making an epoll set");
    answer = try_watch(set.number(), descriptor);
  } else {
    answer = try_watch(e.backend(), descriptor);
  }
  if (answer && answer != std::errc::file_exists) throw std::system_error(answer);

  const auto index = static_cast<std::size_t>(descriptor);
  if (index >= e.by_descriptor_.size()) {
    // libev's table grows with this one, to twice the size at the most.
    const std::size_t size = std::max(index + 1, e.by_descriptor_.size() * 2);
    ::operator delete(::operator new(size * 32));
    e.by_descriptor_.resize(size);
  }
  for (watch* other = e.by_descriptor_[index]; other != nullptr; other = other->same_descriptor) {
    // One that the kernel was shown, and does not know any more, was closed.
    const bool gone = !answer && !e.shared() && ev_is_active(&other->io) && !other->linked();
    if (gone || other->device != device || other->inode != inode) {
      other->fail(std::make_error_code(std::errc::bad_file_descriptor));
    }
  }
  same_descriptor = std::exchange(e.by_descriptor_[index], this);
  ev_io_init(&io, &engine::on_event, descriptor, 0);
  io.data = this;
  ++e.loop_->watches_;
}

watch::~watch() {
  forget(EV_READ);
  forget(EV_WRITE);
  set_mask(0);
  unlink();
  watch** place = &owner->by_descriptor_[static_cast<std::size_t>(io.fd)];
  while (*place != this) place = &(*place)->same_descriptor;
  *place = same_descriptor;
  --owner->loop_->watches_;
}

void watch::set_mask(int mask) noexcept {
  if (ev_is_active(&io) && (io.events & (EV_READ | EV_WRITE)) == mask) return;
  // Pending and not active: libev has stopped it, and on_event was to hear why.
  if (ev_is_active(&io) || ev_is_pending(&io)) {
    ev_ref(owner->ev_);
    ev_io_stop(owner->ev_, &io);
  }
  ev_io_modify(&io, mask);
  if (mask == 0) {
    check_others();
    return;
  }
  ev_io_start(owner->ev_, &io);
  ev_unref(owner->ev_);
  if (!linked()) owner->changed_.push_back(*this);
}

void watch::check_others() noexcept {
  // libev now asks the kernel for less on behalf of the others, and stops the
  // program if the descriptor was closed.
  watch* other = owner->by_descriptor_[static_cast<std::size_t>(io.fd)];
  for (; other != nullptr; other = other->same_descriptor) {
    if (ev_is_active(&other->io) && !other->linked()) owner->changed_.push_back(*other);
  }
}

void watch::wait(int direction, ready_node& node) {
  event_loop& loop = *owner->loop_;
  loop.check_thread();
  if (error) {
    loop.ready(node);
    return;
  }
  waiter(direction) = &node;
  if (!background) ++loop.waits_;
  const int mask = ev_is_active(&io) ? io.events & (EV_READ | EV_WRITE) : 0;
  if ((mask & direction) == 0) set_mask(mask | direction);
}

void watch::forget(int direction) noexcept {
  if (std::exchange(waiter(direction), nullptr) != nullptr && !background) --owner->loop_->waits_;
}

void watch::set_background(bool on) noexcept {
  if (background == on) return;
  background = on;
  for (const ready_node* node : waiters) {
    if (node != nullptr) owner->loop_->waits_ += on ? static_cast<std::size_t>(-1) : 1;
  }
}

void watch::fail(std::error_code why) noexcept {
  set_mask(0);
  unlink();
  error = why;
  for (const int direction : {EV_READ, EV_WRITE}) {
    if (ready_node* const node = waiter(direction)) {
      forget(direction);
      owner->loop_->ready(*node);
    }
  }
}

}  // namespace eddy::detail
