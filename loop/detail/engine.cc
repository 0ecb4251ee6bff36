// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/detail/engine.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <climits>
#include <new>
#include <system_error>
#include <utility>

#include <pthread.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <eddy/loop/detail/libev_host.h>
#include <eddy/loop/detail/mailbox.h>
#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/observer.h>
#include <eddy/loop/detail/throw_error.h>
#include <eddy/loop/event_loop.h>

namespace eddy::detail {

namespace {

// The names of the set's own entries. The others' are the descriptor, and above
// it the generation.
constexpr std::uint64_t wake_name = UINT64_MAX;
constexpr std::uint64_t timer_name = UINT64_MAX - 1;

std::uint8_t bit(readiness::direction which) noexcept {
  return which == readiness::direction::read ? EPOLLIN : EPOLLOUT;
}

int make_set() noexcept { return ::epoll_create1(EPOLL_CLOEXEC); }

int make_timerfd() noexcept {
  return ::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
}

}  // namespace

int try_watch(int set, int descriptor) noexcept {
  epoll_event none{};
  if (::epoll_ctl(set, EPOLL_CTL_ADD, descriptor, &none) != 0) return errno;
  ::epoll_ctl(set, EPOLL_CTL_DEL, descriptor, &none);
  return 0;
}

engine::engine(event_loop& loop, struct ev_loop* adopted)
    : loop_(&loop),
      set_(make_set(), "making an event loop"),
      forks_(fork_count_.load(std::memory_order_relaxed)) {
  [[maybe_unused]] static const int registered = ::pthread_atfork(
      nullptr, nullptr, [] { fork_count_.fetch_add(1, std::memory_order_relaxed); });
  add_own(loop.mailbox_->wake_up(), wake_name);
  if (adopted != nullptr) host_ = std::make_unique<libev_host>(loop, *this, adopted);
}

engine::~engine() {
  host_.reset();
  if (timer_descriptor_ >= 0) ::close(timer_descriptor_);
}

libev_host& engine::make_host() {
  if (!host_) host_ = std::make_unique<libev_host>(*loop_, *this, nullptr);
  return *host_;
}

int engine::descriptor() {
  observed_ = true;
  return host_ ? host_->backend() : set_.number();
}

// ---- Watches

void engine::attach(watch& w) {
  const auto index = static_cast<std::size_t>(w.descriptor);
  if (index >= slots_.size()) {
    // By a quarter: a table of twice the size would be half of what an idle
    // connection's share of it may be.
    const std::size_t size = std::max(index + 1, slots_.size() + slots_.size() / 4);
    dirty_.reserve(size);
    slots_.resize(size);
  }
  slot& s = slots_[index];
  if (s.first == nullptr) ++s.generation;
  w.same_descriptor = std::exchange(s.first, &w);
}

void engine::detach(watch& w) noexcept {
  watch** place = &slot_of(w.descriptor).first;
  while (*place != &w) place = &(*place)->same_descriptor;
  *place = w.same_descriptor;
  slot& s = slot_of(w.descriptor);
  if (s.first == nullptr) {
    // Not left to the close that is usually next: there may be a copy of the
    // descriptor, in a child, say, and then the kernel would go on.
    epoll_event none{};
    if (s.asked != 0 && !forked()) {
      ::epoll_ctl(set_.number(), EPOLL_CTL_DEL, w.descriptor, &none);
    }
    set_asked(s, 0);
    s.wanted = 0;
    return;
  }
  s.wanted = 0;
  for (watch* other = s.first; other != nullptr; other = other->same_descriptor) {
    for (const auto which : watch::directions) {
      if (other->waiter(which) != nullptr) s.wanted |= bit(which);
    }
  }
  mark(w.descriptor, s);
}

void engine::check(int descriptor) {
  renew();
  int answer = try_watch(set_.number(), descriptor);
  if (answer == 0 && host_) answer = host_->refusal(descriptor);
  if (answer == EEXIST) return;
  if (answer != 0) throw_error(std::errc(answer), "watching a descriptor");
  if (static_cast<std::size_t>(descriptor) >= slots_.size()) return;
  if (slot& s = slot_of(descriptor); s.asked != 0) fail(s, EBADF);
}

void engine::want(int descriptor, watch::direction which) noexcept {
  slot& s = slot_of(descriptor);
  if ((s.wanted & bit(which)) != 0) return;
  s.wanted |= bit(which);
  mark(descriptor, s);
}

void engine::mark(int descriptor, slot& s) noexcept {
  if (std::exchange(s.dirty, true)) return;
  dirty_.push_back(descriptor);
}

void engine::flush_changed() noexcept {
  // What fails may not wait again before it is told: nothing is added here.
  for (const int descriptor : dirty_) {
    slot& s = slot_of(descriptor);
    s.dirty = false;
    if (s.wanted != s.asked) show(descriptor, s);
  }
  dirty_.clear();
}

void engine::show(int descriptor, slot& s) noexcept {
  epoll_event event{};
  event.events = s.wanted;
  event.data.u64 = std::uint64_t{s.generation} << 32 | static_cast<std::uint32_t>(descriptor);
  const auto control = [&](int operation) {
    return ::epoll_ctl(set_.number(), operation, descriptor, &event) == 0 ? 0 : errno;
  };
  if (s.wanted == 0) {
    // A hang-up would be reported even so.
    static_cast<void>(control(EPOLL_CTL_DEL));
    set_asked(s, 0);
    return;
  }
  int error = 0;
  if (s.asked != 0) {
    error = control(EPOLL_CTL_MOD);
    if (error == ENOENT) error = EBADF;  // it was closed, and the number is another's now
  } else {
    if (host_) error = host_->refusal(descriptor);
    if (error == 0) error = control(EPOLL_CTL_ADD);
    if (error == EEXIST) error = control(EPOLL_CTL_MOD);
  }
  if (error != 0) return fail(s, error);
  set_asked(s, s.wanted);
}

void engine::fail(slot& s, int why) noexcept {
  for (watch* w = s.first; w != nullptr; w = w->same_descriptor) w->fail(why);
  set_asked(s, 0);
  s.wanted = 0;
}

// ---- Waiting

void engine::poll(bool may_wait) {
  if (host_) {
    host_->poll(may_wait);
  } else {
    const int timeout = may_wait ? wait_for_timers() : 0;
    // Without a descriptor that is watched there is nothing to look for but what
    // ends a wait, and here is none.
    if (timeout != 0 || asked_ != 0 || observed_) collect(timeout);
  }
}

void engine::collect(int timeout) noexcept {
  const int count =
      ::epoll_wait(set_.number(), events_.data(), static_cast<int>(events_.size()), timeout);
  if (count < 0 && errno != EINTR) misuse("an event loop's descriptor was closed");
  for (int i = 0; i < count; ++i) deliver(events_[static_cast<std::size_t>(i)]);
}

bool engine::arrive(watch& w, watch::direction which) noexcept {
  ready_node* const node = std::exchange(w.waiter(which), nullptr);
  if (node == nullptr) return false;
  if (!w.background) --loop_->waits_;
  loop_->arrive(*node);
  return true;
}

void engine::deliver(const epoll_event& event) noexcept {
  if (event.data.u64 == wake_name) return;  // its edge has done what it was for
  if (event.data.u64 == timer_name) {
    fine_armed_ = false;
    return;
  }
  const int descriptor = static_cast<int>(event.data.u64 & UINT32_MAX);
  slot& s = slot_of(descriptor);
  if (s.first == nullptr || s.generation != event.data.u64 >> 32) return remove_stray(descriptor);

  unsigned come = event.events;
  if ((come & (unsigned{EPOLLERR} | unsigned{EPOLLHUP})) != 0) {
    come |= unsigned{EPOLLIN} | unsigned{EPOLLOUT};
  }
  unsigned unwanted = come & s.asked;
  for (watch* w = s.first; w != nullptr; w = w->same_descriptor) {
    if ((come & unsigned{EPOLLIN}) != 0 && arrive(*w, watch::direction::read)) {
      unwanted &= ~unsigned{EPOLLIN};
    }
    if ((come & unsigned{EPOLLOUT}) != 0 && arrive(*w, watch::direction::write)) {
      unwanted &= ~unsigned{EPOLLOUT};
    }
  }
  if (unwanted == 0) return;
  s.wanted = static_cast<std::uint8_t>(s.wanted & ~unwanted);
  mark(descriptor, s);
}

void engine::remove_stray(int descriptor) noexcept {
  // Left by a watch that has gone, of a descriptor that is still open; or of one
  // that was closed, of which a copy is open somewhere: then no call reaches the
  // entry any more, and only a new set is free of it.
  epoll_event none{};
  const slot& s = slot_of(descriptor);
  if (s.asked == 0 && ::epoll_ctl(set_.number(), EPOLL_CTL_DEL, descriptor, &none) == 0) return;
  stale_ = true;
}

void engine::make_set_anew() {
  stale_ = true;
  renew_descriptor(set_.number(), &make_set);
  if (host_) host_->set_is_new();
  add_own(loop_->mailbox_->wake_up(), wake_name);
  if (timer_descriptor_ >= 0) add_own(timer_descriptor_, timer_name);
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    slot& s = slots_[i];
    set_asked(s, 0);
    if (s.wanted != 0) mark(static_cast<int>(i), s);
  }
  stale_ = false;
}

void engine::add_own(int descriptor, std::uint64_t name) {
  // Edges need no read to reset them.
  epoll_event event{};
  event.events = unsigned{EPOLLIN} | unsigned{EPOLLET};
  event.data.u64 = name;
  if (::epoll_ctl(set_.number(), EPOLL_CTL_ADD, descriptor, &event) != 0) {
    throw_errno("watching an event loop's descriptor");
  }
}

// ---- Timers

bool engine::arm_fine(time_point next) noexcept {
  if (timer_descriptor_ < 0) {
    timer_descriptor_ = make_timerfd();
    if (timer_descriptor_ < 0) return false;
    try {
      add_own(timer_descriptor_, timer_name);
    } catch (const std::system_error&) {
      ::close(std::exchange(timer_descriptor_, -1));
      return false;
    }
  }
  if (fine_armed_ && armed_for_ == next) return true;
  // steady_clock is CLOCK_MONOTONIC. A time of zero would disarm it.
  const auto at = std::max(next.time_since_epoch(), duration(1));
  const auto seconds = std::chrono::floor<std::chrono::seconds>(at);
  itimerspec when{};
  when.it_value.tv_sec = seconds.count();
  when.it_value.tv_nsec = (at - seconds).count();
  ::timerfd_settime(timer_descriptor_, TFD_TIMER_ABSTIME, &when, nullptr);
  armed_for_ = next;
  fine_armed_ = true;
  return true;
}

int engine::wait_for_timers() noexcept {
  const auto next = loop_->timers_.next();
  if (!next || loop_->clock_ != nullptr)
    return loop_->observer_ != nullptr ? observer::patience : -1;
  if (loop_->timers_.fine() && arm_fine(*next)) return -1;
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(*next - std::chrono::steady_clock::now());
  return static_cast<int>(std::clamp<std::chrono::milliseconds::rep>(left.count(), 0, INT_MAX));
}

// ---- Fork

void engine::renew_now() {
  const unsigned now = fork_count_.load(std::memory_order_relaxed);
  if (forks_ == now) {
    if (stale_) make_set_anew();
    return;
  }
  // Everything keeps its number, so that the tables stay right.
  loop_->mailbox_->renew();
  if (timer_descriptor_ >= 0) renew_descriptor(timer_descriptor_, &make_timerfd);
  make_set_anew();
  if (loop_->files_) loop_->files_->renew();
  if (loop_->signals_) loop_->signals_->renew();
  fine_armed_ = false;
  forks_ = now;
  if (host_) host_->renew_after_fork();
}

}  // namespace eddy::detail
