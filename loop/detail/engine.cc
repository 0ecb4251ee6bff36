// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/detail/engine.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <chrono>
#include <exception>
#include <new>
#include <string>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <eddy/loop/detail/flagged.h>
#include <eddy/loop/detail/mailbox.h>
#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/observer.h>
#include <eddy/loop/detail/reaped_children.h>
#include <eddy/loop/detail/throw_error.h>
#include <eddy/loop/event_loop.h>

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

// A kernel that goes on to refuse the loop's own descriptors must not keep it busy.
constexpr ev_tstamp pause = 0.1;

constexpr auto reading = watch::direction::read;
constexpr auto writing = watch::direction::write;

int make_timerfd() noexcept {
  return ::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
}

/// Whether a descriptor only names a file: epoll says EBADF, and libev ends the program.
bool is_path(int descriptor) noexcept {
  const int flags = ::fcntl(descriptor, F_GETFL);
  return flags >= 0 && (flags & O_PATH) != 0;
}

/// Calls `work` where an exception would have to pass the program's ev_run.
template <class Work>
void without_exceptions(Work work) noexcept {
  constexpr const char* sentence =
      "an exception left a handler while the program's own ev_run was running, and no "
      "event_loop::on_exception takes it";
  try {
    work();
  } catch (const std::exception& e) {
    misuse((std::string(sentence) + ": " + e.what()).c_str());
  } catch (...) {
    misuse(sentence);
  }
}

}  // namespace

engine::engine(event_loop& loop, struct ev_loop* adopted)
    : loop_(&loop),
      ev_(adopted),
      shared_(!ev_.owned()),
      forks_(fork_count_.load(std::memory_order_relaxed)),
      timer_descriptor_(make_timerfd(), "making an event loop's timer") {
  [[maybe_unused]] static const int registered = ::pthread_atfork(
      nullptr, nullptr, [] { fork_count_.fetch_add(1, std::memory_order_relaxed); });
  if (ev_.owned()) {
    grow_heaps(ev_);
    heaps_grown_ = true;
    ev_ref(ev_);  // so that it waits though nothing else counts
    holds_ref_ = true;
    ev_set_loop_release_cb(ev_, &before_sleep, nullptr);
  } else if (ev_is_default_loop(ev_)) {
    reaped_ = std::make_unique<reaped_children>(ev_);
  }

  // libev tells of what the kernel refuses only when the next wait ends, which without
  // these never does.
  for (const int own : {loop.mailbox_->wake_up(), timer_descriptor_.number()}) {
    if (const int answer = probe_shown(own); answer != number_is_anothers) {
      throw_error(std::errc(answer), "watching an event loop's own descriptor");
    }
  }
  ev_init(&wake_, &on_wake);
  ev_init(&time_, &on_time);
  ev_init(&again_, &on_again);
  wake_.data = time_.data = again_.data = this;
  start_own(wake_, loop.mailbox_->wake_up());
  start_own(time_, timer_descriptor_.number());

  ev_fork_init(&fork_, [](struct ev_loop*, ev_fork* w, int) {
    static_cast<engine*>(w->data)->before_rebuild();
  });
  fork_.data = this;
  ev_fork_start(ev_, &fork_);
  ev_unref(ev_);

  ev_prepare_init(&prepare_, [](struct ev_loop*, ev_prepare* w, int) {
    static_cast<engine*>(w->data)->before_wait();
  });
  ev_check_init(&check_, [](struct ev_loop*, ev_check* w, int) {
    static_cast<engine*>(w->data)->after_wait();
  });
  ev_idle_init(&idle_, [](struct ev_loop*, ev_idle*, int) {});
  // Last of all: after the program's own callbacks, and after eddy's descriptors.
  prepare_.data = check_.data = this;
  ev_set_priority(&prepare_, EV_MINPRI);
  ev_set_priority(&check_, EV_MINPRI);
  ev_set_priority(&idle_, EV_MINPRI);
  if (!ev_.owned()) {
    start_sharing();
    ev_check_start(ev_, &check_);
    ev_unref(ev_);
  }
}

engine::~engine() {
  ev_idle_stop(ev_, &idle_);
  if (shared_) {
    ev_ref(ev_);
    ev_prepare_stop(ev_, &prepare_);
  }
  ev_ref(ev_);
  ev_fork_stop(ev_, &fork_);
  if (holds_ref_) ev_unref(ev_);
  if (!ev_.owned()) {
    ev_ref(ev_);
    ev_check_stop(ev_, &check_);
    for (ev_io* const own : {&wake_, &time_}) forget_entry(own->fd);
  }
  stop_io(wake_);
  stop_io(time_);
  if (ev_is_active(&again_) || ev_is_pending(&again_)) {
    ev_ref(ev_);
    ev_timer_stop(ev_, &again_);
  }
}

void engine::start_sharing() noexcept {
  shared_ = true;
  ev_prepare_start(ev_, &prepare_);
  ev_unref(ev_);
}

struct ev_loop* engine::native() noexcept {
  if (!shared_) start_sharing();
  return ev_;
}

void engine::start_own(ev_io& io, int descriptor) noexcept {
  if (descriptor < 0) return;
  ev_io_set(&io, descriptor, EV_READ);
  ev_io_start(ev_, &io);
  ev_unref(ev_);
  own_unseen_ = unapplied_ = true;
}

int engine::backend() noexcept {
  if (backend_ < 0) backend_ = backend_descriptor(ev_);
  return backend_;
}

// ---- Watches

/// The first of eddy's own from there on.
watch* engine::own_from(ev_io* io) noexcept {
  while (io != nullptr && io->cb != &on_event) io = reinterpret_cast<ev_io*>(io->next);
  return reinterpret_cast<watch*>(io);
}

template <class Function>
void engine::for_each_on(int descriptor, Function function) noexcept {
  if (descriptor < 0 || descriptor > highest_) return;
  for (watch* w = own_from(first_watcher(ev_, descriptor)); w != nullptr;) {
    watch& now = *std::exchange(w, own_from(reinterpret_cast<ev_io*>(w->io.next)));
    function(now);
  }
}

void engine::attach(watch& w) {
  // libev's tables are as long as the descriptors, or as the watches, are many.
  const std::size_t size = std::max(static_cast<std::size_t>(w.io.fd), loop_->watches_) + 1;
  if (size > room_) {
    const std::size_t more = std::bit_ceil(size + 16);
    if (grow_tables(ev_, more)) room_ = more;
  }
  w.io.callback = reinterpret_cast<void (*)()>(&on_event);
}

void engine::detach(watch& w) noexcept {
  // Whether libev has changes of the number to apply, or applied some.
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
    if (may_be_entered) forget_entry(w.io.fd);
    return;
  }
  // What libev now wants of the kernel for the others must not fail.
  if (watch* const other = own_from(others)) check_later(*other);
}

void engine::forget_entry(int descriptor) noexcept {
  // libev leaves it to the close that is usually next. But there may be a copy of
  // the descriptor, in a child, say, and then the kernel would go on: libev would
  // have to begin anew with a set without that entry.
  if (forked() || rebuilding_) return;
  epoll_event none{};
  ::epoll_ctl(backend(), EPOLL_CTL_DEL, descriptor, &none);
  // A library may go on to watch the descriptor.
  forgot_entry(ev_, descriptor);
}

void engine::check(int descriptor) {
  renew();
  const int answer = check_number(descriptor);
  if (answer != 0) throw_error(std::errc(answer), "watching a descriptor");
}

int engine::check_number(int descriptor) noexcept {
  bool shown = false;
  bool pollable = false;
  for_each_on(descriptor, [&](const watch& w) {
    shown = shown || w.shown;
    pollable = pollable || (w.shown && w.pollable);
  });
  const int answer = probe(descriptor, shown, pollable);
  if (answer == 0) {
    if (!shown) for_each_on(descriptor, [&](watch& w) { w.pollable = pollable; });
    return 0;
  }
  const bool anothers = answer == number_is_anothers;
  for_each_on(descriptor, [&](watch& w) {
    if (w.shown || !anothers) fail(w, anothers ? EBADF : answer);
  });
  return anothers ? 0 : answer;
}

int engine::probe(int descriptor, bool shown, bool& pollable) noexcept {
  if (!shown || rebuilding_) {
    struct stat about;
    if (::fstat(descriptor, &about) != 0) return errno;
    // Only a set of descriptors can be refused, and that has no file type.
    const auto type = about.st_mode & S_IFMT;
    pollable = type == 0 || type == S_IFSOCK || type == S_IFIFO;
    files_ = files_ || !pollable;
    if (is_path(descriptor)) return EBADF;
    if (type == S_IFCHR) pollable = takes(descriptor);  // a terminal, say
    if (type != 0) return 0;
    if (descriptor == backend()) return EINVAL;
    if (rebuilding_) return 0;
  }
  epoll_event none{};
  if (::epoll_ctl(backend(), EPOLL_CTL_ADD, descriptor, &none) == 0) {
    ::epoll_ctl(backend(), EPOLL_CTL_DEL, descriptor, &none);
    return shown ? number_is_anothers : 0;
  }
  // EPERM: it is always ready, as files are. libev knows, unless it was something else.
  if (errno == EPERM) return shown && pollable ? number_is_anothers : 0;
  return errno == EEXIST ? 0 : errno;
}

bool engine::takes(int descriptor) noexcept {
  if (forked() || rebuilding_) return false;
  epoll_event none{};
  if (::epoll_ctl(backend(), EPOLL_CTL_ADD, descriptor, &none) != 0) return errno == EEXIST;
  ::epoll_ctl(backend(), EPOLL_CTL_DEL, descriptor, &none);
  return true;
}

int engine::probe_shown(int descriptor) noexcept {
  bool pollable = true;
  return probe(descriptor, true, pollable);
}

void engine::stop(watch& w) noexcept {
  if (stop_io(*io_of(w))) --active_;
}

/// Stops a watcher that has no share in libev's count. False if it was stopped.
bool engine::stop_io(ev_io& io) noexcept {
  // One that the kernel has refused was stopped by libev, but its error is still to come.
  if (!ev_is_active(&io) && !ev_is_pending(&io)) return false;
  ev_ref(ev_);
  ev_io_stop(ev_, &io);
  return true;
}

void engine::change(watch& w, int events) noexcept {
  stop(w);
  // libev may know the number from an earlier descriptor.
  w.io.events = w.shown ? events : events | EV__IOFDSET;
  if (events == 0) {
    w.shown = false;
  } else {
    ev_io_start(ev_, io_of(w));
    ev_unref(ev_);
    ++active_;
    highest_ = std::max(highest_, w.io.fd);
  }
  unapplied_ = true;
  check_later(w);
}

void engine::check_later(watch& w) noexcept {
  w.checked = false;
  if (w.changed != 0) return;
  try {
    changed_.push_back(&w);
    w.changed = static_cast<std::uint32_t>(changed_.size());
  } catch (const std::bad_alloc&) {
    check_now(w);
  }
}

void engine::flush_changed() noexcept {
  for (watch* const w : changed_) check_now(*w);
  for (watch* const w : changed_) w->checked = true;
}

/// The kernel was shown what was checked before this round; what libev's callbacks have
/// changed since is still to come.
void engine::changes_applied() noexcept {
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
}

void engine::check_now(const watch& w) noexcept {
  // Of one that was stopped, others of that number may be left.
  if (w.io.active == 0 && own_from(first_watcher(ev_, w.io.fd)) == nullptr) return;
  check_number(w.io.fd);
}

void engine::fail(watch& w, int why) noexcept {
  stop(w);
  w.io.events = 0;
  w.shown = false;
  w.fail(why);
}

// ---- libev's callbacks

void engine::on_event(struct ev_loop* ev, ev_io* io, int events) noexcept {
  watch& w = *reinterpret_cast<watch*>(io);
  engine& self = *w.io.data;
  if ((events & EV_ERROR) != 0) {
    // The kernel has refused, and libev has stopped the watcher: memory or epoll's
    // limit is short.
    ev_ref(ev);
    --self.active_;
    const int answer = self.probe_shown(w.io.fd);
    self.fail(w, answer == 0 || answer == number_is_anothers ? ENOMEM : answer);
    return;
  }
  w.shown = w.entered = true;
  int unwanted = 0;
  // libev calls back in the opposite order, and so each goes before the others.
  if ((events & EV_WRITE) != 0 && !self.arrive(w, writing)) unwanted |= EV_WRITE;
  if ((events & EV_READ) != 0 && !self.arrive(w, reading)) unwanted |= EV_READ;
  if (unwanted != 0 && !self.backlog_) self.change(w, w.io.events & ~unwanted);
}

bool engine::arrive(watch& w, watch::direction which) noexcept {
  ready_node* const node = w.waiter(which);
  if (node == nullptr) return false;
  w.forget(which);
  event_loop::put_first(come_, *node);
  return true;
}

void engine::on_wake(struct ev_loop*, ev_io* io, int events) noexcept {
  engine& self = *static_cast<engine*>(io->data);
  if ((events & EV_ERROR) != 0) return self.refused_own();
  self.loop_->mailbox_->woken();
}

void engine::on_time(struct ev_loop*, ev_io* io, int events) noexcept {
  engine& self = *static_cast<engine*>(io->data);
  if ((events & EV_ERROR) != 0) return self.refused_own();
  self.due_ = true;
  self.armed_for_.reset();
}

void engine::refused_own() noexcept {
  // As in `on_event`. It is shown to the kernel again soon, and the program hears of it.
  ev_ref(ev_);
  if (!ev_is_active(&again_)) {
    ev_timer_set(&again_, pause, 0.);
    ev_timer_start(ev_, &again_);
    ev_unref(ev_);
  }
  const std::error_code error(ENOMEM, std::generic_category());
  try {
    throw_error(error, "watching an event loop's own descriptor");
  } catch (...) {
    loop_->raise(std::current_exception());
  }
}

void engine::on_again(struct ev_loop* ev, ev_timer* timer, int) noexcept {
  engine& self = *static_cast<engine*>(timer->data);
  ev_ref(ev);  // libev has stopped the timer
  for (ev_io* const own : {&self.wake_, &self.time_}) {
    if (!ev_is_active(own)) self.start_own(*own, own->fd);
  }
}

void engine::before_rebuild() noexcept {
  // libev is about to make its epoll set anew, and what it can't add to that stops
  // the program. Until then the set is the old one, which may be a parent's, too.
  rebuilding_ = unapplied_ = true;
  if (fail_closed() && in_poll_) ev_break(ev_, EVBREAK_ONE);
}

bool engine::fail_closed() noexcept {
  bool any = false;
  for (int number = 0; number <= highest_; ++number) {
    if (::fcntl(number, F_GETFD) >= 0) continue;
    for_each_on(number, [&](watch& w) {
      fail(w, EBADF);
      any = true;
    });
  }
  return any;
}

// ---- Turns

void engine::begin_turn() {
  renew();
  // epoll would report again the descriptors that came earlier and still wait for
  // their turn. Other libraries on the loop wait for these, but not for long.
  backlog_ = loop_->queues_[event_loop::arrivals].linked();
  unlooked_ = backlog_ ? unlooked_ + 1 : 0;
  looks_ = !backlog_ || open_ || (shared_ && unlooked_ % event_loop::turns_without_look == 0);
  if (looks_) flush();
}

void engine::poll(bool may_wait) {
  if (!looks_) return;
  ++loop_->looks_;
  // Should the kernel refuse eddy's own descriptors, nothing might end the wait.
  const bool first_look = may_wait && own_unseen_;
  if (first_look) settle();
  // What `settle` has found has its turn first: it would be found again.
  const bool found = open_ || (ev_pending_count(ev_) != 0 && has_pending(ev_, true));
  if (!shared_ && !found) {
    may_wait = arm(may_wait);
    // Without a watch there is nothing to look for.
    if (!may_wait && active_ == 0 && !observed_) return changes_applied();
    set_endless(may_wait && !ev_is_active(&again_));
  }
  may_wait_ = may_wait;
  struct collected {
    engine& self;
    explicit collected(engine& e) noexcept : self(e) { self.loop_->parked_ = self.shared_; }
    collected(const collected&) = delete;
    collected& operator=(const collected&) = delete;
    ~collected() {
      self.begin();
      self.loop_->arrived_.splice_back(self.come_);
    }
  };
  const collected at_end(*this);
  const flagged now(in_poll_);
  depth_ = ev_depth(ev_) + (found ? 0 : 1);
  if (found) {
    open_ = false;
    others_ = true;  // perhaps: the next round tells
    return ev_invoke_pending(ev_);
  }
  if (first_look && !ev_.owned()) {
    may_wait_ = own_unseen_ = false;
    ev_run(ev_, EVRUN_NOWAIT);
    may_wait_ = may_wait = !own_unseen_;
  }
  if (!may_wait) own_unseen_ = false;  // this round shows them
  const int active = ev_run(ev_, may_wait ? EVRUN_ONCE : EVRUN_NOWAIT);
  others_ = active > int{holds_ref_} + int{ev_is_active(&idle_) != 0};
  applied();
}

/// For `ev_set_loop_release_cb`, which libev calls when the kernel has been shown everything.
void engine::before_sleep(struct ev_loop* ev) noexcept {
  // The errors of refused watchers are pending now, and libev would wait all the same.
  event_loop* const loop = event_loop::current();
  if (loop == nullptr) return;
  const engine& self = *loop->engine_;
  if (self.unapplied_ && self.may_wait_ && ev_pending_count(ev) != 0) loop->mailbox_->wake();
}

/// For `ev_set_invoke_pending_cb`: what has come stays pending.
void engine::call_nobody(struct ev_loop*) noexcept {}

void engine::applied() noexcept {
  if (!changed_.empty()) changes_applied();
  unapplied_ = own_unseen_;  // libev's callbacks may have started them
  if (std::exchange(rebuilding_, false)) backend_ = -1;
}

void engine::reflect_alive() noexcept {
  const bool alive = loop_->alive();
  if (alive == holds_ref_) return;
  holds_ref_ = alive;
  if (alive) {
    ev_ref(ev_);
  } else {
    ev_unref(ev_);
  }
}

void engine::before_wait() noexcept {
  if (opening_) {
    flush();
    return ev_set_invoke_pending_cb(ev_, &call_nobody);
  }
  if (!in_poll_) {
    if (ev_.owned()) {
      misuse(
          "ev_run was called on the native loop of an event_loop, which runs only by run, run_once "
          "and run_ready: call one of these, or have the event_loop adopt a loop of the program's");
    }
    may_wait_ = true;
    backlog_ = loop_->queues_[event_loop::arrivals].linked();
    try {
      renew();
    } catch (...) {
      loop_->raise(std::current_exception());
    }
  }
  reflect_alive();  // so that libev does not wait where nothing is left to wait for
  if (forked()) return unpark();
  flush();
  loop_->settle_delays();
  const bool work = come_.linked() || loop_->has_work() || !loop_->mailbox_->empty();
  const bool stopped = in_poll_ && loop_->stopped();
  // Should the kernel refuse eddy's own descriptors, nothing might end the wait.
  const bool seen = in_poll_ || !std::exchange(own_unseen_, false);
  const bool wait = arm(may_wait_ && !work && !stopped && seen);
  // Where a callback runs the loop, eddy's work can't be done before that returns,
  // and must not keep libev from waiting.
  const bool nested = in_poll_ && ev_depth(ev_) != depth_;
  if (may_wait_ && !wait && !nested) unpark();
  if (ev_.owned()) set_endless(wait && !has_timers(ev_));
}

void engine::after_wait() noexcept {
  if (in_poll_) return;
  applied();
  ++loop_->looks_;
  loop_->arrived_.splice_back(come_);
  begin();
  in_adopted_turn_ = true;
  without_exceptions([this] { loop_->adopted_turn(); });
  in_adopted_turn_ = false;
  reflect_alive();
  rest(loop_->mailbox_->sleep());
}

void engine::begin() noexcept {
  loop_->parked_ = false;
  if (shared_) ev_idle_stop(ev_, &idle_);
}

void engine::rest(bool nothing_posted) noexcept {
  if (ev_.owned()) return;
  loop_->parked_ = true;
  if (loop_->has_work() || !nothing_posted) unpark();
}

void engine::unpark() noexcept {
  loop_->parked_ = false;
  ev_idle_start(ev_, &idle_);
}

bool engine::stop() noexcept {
  // A callback of a library's runs libev's loop again, within `run`.
  if (in_poll_ && ev_depth(ev_) > depth_) ev_break(ev_, ev_.owned() ? EVBREAK_ALL : EVBREAK_ONE);
  if (ev_.owned() || ev_depth(ev_) == 0) return false;
  if (!loop_->in_turn_ || in_adopted_turn_) {
    ev_break(ev_, EVBREAK_ONE);
    loop_->halt_ |= event_loop::ev_run_ended;
  }
  return true;
}

// ---- Time

bool engine::arm(bool may_wait) noexcept {
  time_point at{};  // zero: not at all
  if (may_wait) {
    const auto now = std::chrono::steady_clock::now;
    if (loop_->clock_ != nullptr) {
      if (loop_->observer_ != nullptr) at = now() + std::chrono::milliseconds(observer::patience);
    } else if (const auto next = loop_->timers_.next()) {
      at = *next;
      if (armed_for_ && *armed_for_ <= at) return true;
      may_wait = at > now();
      // A whole millisecond, so that one wait serves those that are close together.
      if (!loop_->timers_.fine() && at < time_point::max() - std::chrono::milliseconds(1)) {
        at = std::chrono::ceil<std::chrono::milliseconds>(at);
      }
      // Set by an earlier wait, which was rounded up as well.
      if (may_wait && armed_for_ && *armed_for_ <= at) return true;
    }
    if (!may_wait) at = {};
  }
  if (at != time_point{} || due_) set_timer(at);
  return may_wait;
}

void engine::set_timer(time_point at) noexcept {
  // steady_clock is CLOCK_MONOTONIC. Setting it ends that the descriptor is
  // readable, and a time of zero sets it to none.
  due_ = false;
  armed_for_.reset();
  if (at != time_point{}) armed_for_ = at;
  const auto since = at.time_since_epoch();
  const auto seconds = std::chrono::floor<std::chrono::seconds>(since);
  itimerspec when{};
  when.it_value.tv_sec = seconds.count();
  when.it_value.tv_nsec = (since - seconds).count();
  ::timerfd_settime(timer_descriptor_.number(), TFD_TIMER_ABSTIME, &when, nullptr);
}

void engine::set_endless([[maybe_unused]] bool on) noexcept {
  // libev has it that no wait is longer than 59.743 seconds, for which the kernel
  // sets a timer: 440 ns. But it does not wait for less than this interval, and an
  // interval that is no int in milliseconds becomes the least int there is, which
  // for the kernel is no limit. That is so on x86; elsewhere nothing is changed.
#if defined(__x86_64__)
  if (!ev_.owned() || endless_ == on) return;
  endless_ = on;
  ev_set_timeout_collect_interval(ev_, on ? 1e9 : 0.);
#endif
}

// ---- Embedding

int engine::descriptor() {
  observed_ = true;
  renew();
  settle();
  return backend();
}

void engine::settle() {
  // Has libev show the kernel everything, also what others have just started, and
  // look at what is ready, but call nobody: that is for the next poll.
  // The kernel's set tells nothing of files: libev has a list of those.
  if (!ev_.owned() || in_poll_ || open_ || !(shared_ || unapplied_ || files_)) return;
  // The kernel would report again the descriptors that came earlier and still wait for
  // their turn, and those that wait anew by then would be told.
  if (loop_->queues_[event_loop::arrivals].linked()) return;
  if (due_) arm(false);
  if (!shared_ || !has_pairs(ev_)) {
    flush();
    ev_set_invoke_pending_cb(ev_, &call_nobody);
    ev_run(ev_, EVRUN_NOWAIT);
  } else if (ev_pending_count(ev_) != 0) {
    unapplied_ = true;
    return;
  } else {
    // The prepare watchers of others are called now, once; their check watchers, as
    // all others, in the next poll. In between is the wait of whoever asks.
    const flagged now(opening_);
    ev_run(ev_, EVRUN_NOWAIT);
    open_ = true;
  }
  ev_set_invoke_pending_cb(ev_, &ev_invoke_pending);
  own_unseen_ = false;
  applied();
}

std::optional<duration> engine::time_to_next() {
  if (forked() || !changed_.empty()) return duration::zero();
  settle();
  if (unapplied_ || has_pending(ev_, !open_)) return duration::zero();
  if (!shared_ && !ev_is_active(&again_)) return std::nullopt;
  if (!std::exchange(heaps_grown_, true)) grow_heaps(ev_);
  return detail::time_to_next(ev_);
}

// ---- Fork

void engine::renew_now() {
  const unsigned now = fork_count_.load(std::memory_order_relaxed);
  // What these were is the parent's, too, and nothing may be done to it.
  stop_io(wake_);
  stop_io(time_);
  loop_->mailbox_->renew();
  start_own(wake_, loop_->mailbox_->wake_up());
  timer_descriptor_.renew(&make_timerfd);
  start_own(time_, timer_descriptor_.number());
  armed_for_.reset();
  due_ = false;
  ev_loop_fork(ev_);
  before_rebuild();
  forks_ = now;
  if (loop_->files_) loop_->files_->renew(*loop_);
  if (loop_->signals_) loop_->signals_->renew(*loop_);
}

}  // namespace eddy::detail
