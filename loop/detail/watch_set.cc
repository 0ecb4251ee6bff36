// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/detail/watch_set.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

#include <eddy/loop/detail/readiness_source.h>

namespace eddy::detail {

namespace {

static_assert(sizeof(io_watcher) == sizeof(ev_io) && alignof(io_watcher) == alignof(ev_io));
static_assert(offsetof(io_watcher, active) == offsetof(ev_io, active) &&
              offsetof(io_watcher, pending) == offsetof(ev_io, pending) &&
              offsetof(io_watcher, priority) == offsetof(ev_io, priority) &&
              offsetof(io_watcher, data) == offsetof(ev_io, data) &&
              offsetof(io_watcher, callback) == offsetof(ev_io, cb) &&
              offsetof(io_watcher, next) == offsetof(ev_io, next) &&
              offsetof(io_watcher, fd) == offsetof(ev_io, fd) &&
              offsetof(io_watcher, events) == offsetof(ev_io, events));

constexpr auto reading = watch::direction::read;
constexpr auto writing = watch::direction::write;

}  // namespace

/// Returns the first of eddy's own watches, from `io` on.
watch* watch_set::own_from(ev_io* io) noexcept {
  while (io != nullptr && io->cb != &on_event) io = reinterpret_cast<ev_io*>(io->next);
  return reinterpret_cast<watch*>(io);
}

template <class Function>
void watch_set::for_each_on(int descriptor, Function function) noexcept {
  if (descriptor < 0 || descriptor > highest_) return;
  for (watch* w = own_from(first_watcher(ev_, descriptor)); w != nullptr;) {
    watch& now = *std::exchange(w, own_from(reinterpret_cast<ev_io*>(w->io.next)));
    function(now);
  }
}

bool watch_set::set_source(readiness_source* source) noexcept {
  if (source_ != nullptr) return false;
  source_ = source;
  return true;
}

void watch_set::attach(watch& w, std::size_t all) {
  if (readiness_source::owns(w.io.fd)) {
    if (source_ != nullptr) source_->attach(w);
    return;
  }
  // libev's tables have an entry per descriptor number, or per watch.
  const std::size_t size = std::max(static_cast<std::size_t>(w.io.fd), all) + 1;
  if (size > capacity_) {
    const std::size_t more = std::bit_ceil(size + 16);
    if (grow_tables(ev_, more)) capacity_ = more;
  }
  w.io.callback = reinterpret_cast<void (*)()>(&on_event);
}

void watch_set::detach(watch& w) noexcept {
  if (readiness_source::owns(w.io.fd)) {
    if (source_ != nullptr) source_->detach(w);
    return;
  }
  // Whether libev has or had changes of this number to apply.
  const bool touched = w.entered || w.changed != 0 || w.io.active != 0 || w.io.pending != 0;
  const bool may_be_entered = w.entered || w.checked;
  if (w.changed != 0) {
    watch& last = *changed_.back();
    changed_[w.changed - 1] = &last;
    last.changed = std::exchange(w.changed, 0);
    changed_.pop_back();
  }
  stop(w);
  if (!touched) return;
  ev_io* const others = first_watcher(ev_, w.io.fd);
  if (others == nullptr) {
    if (may_be_entered) kernel_.forget(w.io.fd);
    return;
  }
  // The kernel must not refuse the change that libev now makes for the others.
  if (watch* const other = own_from(others)) check_later(*other);
}

bool watch_set::shows(int descriptor) noexcept {
  bool any = false;
  for_each_on(descriptor, [&](const watch& w) { any = any || w.shown; });
  return any;
}

bool watch_set::others_wait(const watch& w) noexcept {
  bool any = false;
  for_each_on(w.io.fd, [&](watch& other) {
    any = any || (&other != &w && other.waiter(reading) != nullptr);
  });
  return any;
}

int watch_set::check(int descriptor) noexcept {
  if (readiness_source::owns(descriptor)) {
    return source_ != nullptr && source_->is_open(descriptor) ? 0 : EBADF;
  }
  bool shown = false;
  bool pollable = false;
  for_each_on(descriptor, [&](const watch& w) {
    shown = shown || w.shown;
    pollable = pollable || (w.shown && w.pollable);
  });
  // libev closes its own descriptors before it makes a new set.
  const bool closes = kernel_.rebuilding() && descriptor >= 0 && descriptor <= highest_ &&
                      watches_itself(ev_, descriptor);
  const int answer = closes ? EBADF : kernel_.probe(descriptor, shown, pollable);
  if (answer == 0) {
    if (!shown) for_each_on(descriptor, [&](watch& w) { w.pollable = pollable; });
    return 0;
  }
  const bool anothers = answer == epoll_set::number_is_anothers;
  for_each_on(descriptor, [&](watch& w) {
    if (w.shown || !anothers) fail(w, anothers ? EBADF : answer);
  });
  return anothers ? 0 : answer;
}

bool watch_set::check_all() noexcept {
  bool any = false;
  for (int number = 0; number <= highest_; ++number) {
    const bool watched = own_from(first_watcher(ev_, number)) != nullptr;
    any = (watched && check(number) != 0) || any;
  }
  return any;
}

void watch_set::stop(watch& w) noexcept {
  if (stop_uncounted(ev_, *io_of(w))) --active_;
}

void watch_set::want_more(watch& w, watch::direction which) noexcept {
  if (!readiness_source::owns(w.io.fd)) return change(w, w.io.events | bit_of(which));
  if (source_ == nullptr) return w.fail(EBADF);
  source_->want(w, which);
}

void watch_set::change(watch& w, int events) noexcept {
  stop(w);
  // libev may know the number as that of an earlier descriptor.
  w.io.events = w.shown ? events : events | EV__IOFDSET;
  if (events == 0) {
    w.shown = false;
  } else {
    start_uncounted(ev_, *io_of(w));
    ++active_;
    highest_ = std::max(highest_, w.io.fd);
  }
  kernel_.touch();
  check_later(w);
}

void watch_set::check_later(watch& w) noexcept {
  w.checked = false;
  if (w.changed != 0) return;
  try {
    changed_.push_back(&w);
    w.changed = static_cast<std::uint32_t>(changed_.size());
  } catch (const std::bad_alloc&) {
    unlisted_ = true;
  }
}

void watch_set::flush_changed() noexcept {
  unlisted_checked_ = std::exchange(unlisted_, false) || unlisted_checked_;
  if (unlisted_checked_) check_all();
  for (watch* const w : changed_) check_now(*w);
  for (watch* const w : changed_) w->checked = true;
  kernel_.note_round();
}

void watch_set::changes_applied() noexcept {
  std::size_t left = 0;
  for (watch* const w : changed_) {
    if (w->checked) {
      w->changed = 0;
      w->checked = false;
      if (w->io.active != 0) w->shown = w->entered = true;
    } else {
      changed_[left] = w;
      w->changed = static_cast<std::uint32_t>(++left);
    }
  }
  changed_.resize(left);
  if (!std::exchange(unlisted_checked_, false)) return;
  for (int number = 0; number <= highest_; ++number) {
    for_each_on(number, [](watch& w) {
      if (w.changed == 0) w.shown = w.entered = true;
    });
  }
}

void watch_set::check_now(const watch& w) noexcept {
  // Other watches of the number may be left when a watch was stopped.
  if (w.io.active == 0 && own_from(first_watcher(ev_, w.io.fd)) == nullptr) return;
  check(w.io.fd);
}

void watch_set::fail(watch& w, int why) noexcept {
  stop(w);
  w.io.events = 0;
  w.shown = false;
  w.fail(why);
}

void watch_set::on_event(struct ev_loop* ev, ev_io* io, int events) noexcept {
  watch& w = *reinterpret_cast<watch*>(io);
  watch_set& self = *w.io.data;
  if ((events & EV_ERROR) != 0) {
    // The kernel has refused the watcher, for want of memory or by epoll's limit, and libev has
    // stopped it.
    ev_ref(ev);
    --self.active_;
    const int answer = self.kernel_.probe_shown(w.io.fd);
    self.fail(w, answer == 0 || answer == epoll_set::number_is_anothers ? ENOMEM : answer);
    return;
  }
  // The program may have fed this event to libev itself.
  if (w.changed == 0 || (w.checked && self.kernel_.has_shown())) w.shown = w.entered = true;
  int unwanted = 0;
  // libev calls back in the opposite order, so each node goes before the others.
  if ((events & EV_WRITE) != 0 && !w.arrive(writing, self.arrived_)) unwanted |= EV_WRITE;
  if ((events & EV_READ) != 0 && !w.arrive(reading, self.arrived_)) unwanted |= EV_READ;
  if (unwanted != 0 && !self.keeps_unwanted_) self.change(w, w.io.events & ~unwanted);
}

}  // namespace eddy::detail
