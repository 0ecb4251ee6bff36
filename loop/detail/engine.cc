// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/detail/engine.h>

#include <cerrno>
#include <chrono>
#include <exception>
#include <string>
#include <system_error>
#include <utility>

#include <sys/timerfd.h>

#include <eddy/loop/detail/flagged.h>
#include <eddy/loop/detail/loop_probe.h>
#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/post_queue.h>
#include <eddy/loop/detail/reaped_children.h>
#include <eddy/loop/detail/throw_error.h>
#include <eddy/loop/event_loop.h>

namespace eddy::detail {

namespace {

// The pause keeps the loop from being busy if the kernel keeps refusing its own descriptors.
constexpr ev_tstamp pause = 0.1;

int make_timerfd() noexcept {
  return ::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
}

/// Calls `work` inside the program's ev_run, through which no exception can pass.
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
      kernel_(ev_),
      watches_(loop, ev_, kernel_),
      shared_(!ev_.owned()),
      timer_descriptor_(make_timerfd(), "making an event loop's timer") {
  if (ev_.owned()) {
    grow_heaps(ev_);
    heaps_grown_ = true;
    ev_ref(ev_);  // so that it waits though nothing else counts
    holds_ref_ = true;
    ev_set_loop_release_cb(ev_, &before_sleep, nullptr);
  } else if (ev_is_default_loop(ev_)) {
    reaped_ = std::make_unique<reaped_children>(ev_);
  }

  // libev reports a refusal by the kernel only when the next wait ends, and without these
  // descriptors no wait would end.
  for (const int own : {loop_access(loop).posts().wake_up(), timer_descriptor_.number()}) {
    if (const int answer = kernel_.probe_shown(own); answer != epoll_set::number_is_anothers) {
      throw_error(std::errc(answer), "watching an event loop's own descriptor");
    }
  }
  ev_init(&wake_, &on_wake);
  ev_init(&time_, &on_time);
  ev_init(&again_, &on_again);
  wake_.data = time_.data = again_.data = this;
  start_own(wake_, loop_access(loop).posts().wake_up());
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
  // The lowest priority: after the program's own callbacks, and after eddy's descriptors.
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
  if (shared_) stop_prepare();
  ev_ref(ev_);
  ev_fork_stop(ev_, &fork_);
  if (holds_ref_) ev_unref(ev_);
  if (!ev_.owned()) {
    ev_ref(ev_);
    ev_check_stop(ev_, &check_);
    for (ev_io* const own : {&wake_, &time_}) kernel_.forget(own->fd);
  }
  stop_uncounted(ev_, wake_);
  stop_uncounted(ev_, time_);
  if (ev_is_active(&again_) || ev_is_pending(&again_)) {
    ev_ref(ev_);
    ev_timer_stop(ev_, &again_);
  }
}

void engine::start_sharing() noexcept {
  shared_ = true;
  start_prepare();
}

void engine::start_prepare() noexcept {
  ev_prepare_start(ev_, &prepare_);
  ev_unref(ev_);
}

void engine::stop_prepare() noexcept {
  ev_ref(ev_);
  ev_prepare_stop(ev_, &prepare_);
}

struct ev_loop* engine::native() noexcept {
  if (!shared_) start_sharing();
  return ev_;
}

void engine::start_own(ev_io& io, int descriptor) noexcept {
  if (descriptor < 0) return;
  ev_io_set(&io, descriptor, EV_READ);
  start_uncounted(ev_, io);
  own_unseen_ = true;
  kernel_.touch();
}

void engine::check(int descriptor) {
  renew();
  const int answer = watches_.check(descriptor);
  if (answer == ENOMEM || answer == ENOSPC) return;
  if (answer != 0) throw_error(std::errc(answer), "watching a descriptor");
}

bool engine::owns(int descriptor) noexcept {
  return descriptor >= 0 && (descriptor == kernel_.descriptor() || descriptor == wake_.fd ||
                             descriptor == timer_descriptor_.number());
}

int engine::enter(int set) noexcept { return watches_.shows(set) ? 0 : kernel_.enter(set); }

// ---- libev's callbacks

void engine::on_wake(struct ev_loop*, ev_io* io, int events) noexcept {
  engine& self = *static_cast<engine*>(io->data);
  if ((events & EV_ERROR) != 0) return self.refused_own();
  self.inside().posts().woken();
}

void engine::on_time(struct ev_loop*, ev_io* io, int events) noexcept {
  engine& self = *static_cast<engine*>(io->data);
  if ((events & EV_ERROR) != 0) return self.refused_own();
  self.due_ = true;
  self.armed_for_.reset();
}

void engine::refused_own() noexcept {
  // As in `watch_set::on_event`. `again_` shows the descriptor to the kernel again, and the program
  // gets an error.
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
  // libev is about to make a new epoll set. Until then it has the old set, which may be shared
  // with a parent.
  kernel_.rebuild();
  if (!shared_) check_for_round();  // otherwise callbacks of others run before that
}

void engine::check_for_round() noexcept {
  // libev ends the program if it cannot add a descriptor to a new set.
  if (kernel_.rebuilding() && watches_.check_all()) inside().posts().wake();
  watches_.flush();
}

// ---- Turns

void engine::begin_turn() {
  renew();
  // epoll would report the descriptors that still wait in the queue again. So libev is not asked
  // during a backlog, or rarely if there are other libraries on the loop.
  const bool backlog = note_backlog();
  unlooked_ = backlog ? unlooked_ + 1 : 0;
  looks_ = !backlog || open_ || (shared_ && unlooked_ % loop_access::turns_without_look == 0);
  if (looks_) watches_.flush();
}

bool engine::note_backlog() noexcept {
  const bool backlog = inside().has_arrivals();
  watches_.keep_unwanted(backlog);
  return backlog;
}

void engine::poll(bool may_wait) {
  if (!looks_) return;
  inside().count_look();
  // If the kernel refused eddy's own descriptors, nothing might end the wait.
  const bool first_look = may_wait && own_unseen_;
  if (first_look) settle();
  // The events that `settle` has found are reported first: libev would find them again.
  const bool found = open_ || (ev_pending_count(ev_) != 0 && has_pending(ev_));
  if (!shared_ && !found) {
    may_wait = arm(may_wait);
    // Without watches there are no events to find.
    if (!may_wait && watches_.idle() && !observed_) return watches_.applied();
    set_endless(may_wait && !ev_is_active(&again_));
  }
  may_wait_ = may_wait;
  struct collected {
    engine& self;
    explicit collected(engine& e) noexcept : self(e) { self.inside().park(self.shared_); }
    collected(const collected&) = delete;
    collected& operator=(const collected&) = delete;
    ~collected() {
      self.begin();
      self.inside().hand_over(self.watches_.arrived());
    }
  };
  const collected at_end(*this);
  const flagged now(in_poll_);
  depth_ = ev_depth(ev_) + (found ? 0 : 1);
  if (found) {
    open_ = false;
    others_ = true;  // perhaps: the next round will show
    return ev_invoke_pending(ev_);
  }
  if (first_look && !ev_.owned()) {
    may_wait_ = own_unseen_ = false;
    ev_run(ev_, EVRUN_NOWAIT);
    may_wait_ = may_wait = !own_unseen_;
  }
  if (!may_wait) own_unseen_ = false;  // this round shows them to the kernel
  const int active = ev_run(ev_, may_wait ? EVRUN_ONCE : EVRUN_NOWAIT);
  others_ = active > int{holds_ref_} + int{ev_is_active(&idle_) != 0};
  applied();
}

/// For `ev_set_loop_release_cb`, which libev calls when the kernel has been shown everything.
void engine::before_sleep(struct ev_loop* ev) noexcept {
  // Errors of refused watchers are pending now, but libev would wait nevertheless.
  event_loop* const loop = event_loop::current();
  if (loop == nullptr) return;
  const engine& self = loop_access(*loop).engine();
  if (self.kernel_.unapplied() && self.may_wait_ && ev_pending_count(ev) != 0)
    self.inside().posts().wake();
}

/// For `ev_set_invoke_pending_cb`: events stay pending.
void engine::call_nobody(struct ev_loop*) noexcept {}

void engine::applied() noexcept {
  if (!(watches_.changed() || kernel_.unapplied()) || !kernel_.has_shown()) return;
  watches_.applied();
  kernel_.applied();
  if (own_unseen_) kernel_.touch();  // libev's callbacks may have started eddy's own descriptors
}

void engine::reflect_alive() noexcept {
  const bool alive = inside().alive();
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
    check_for_round();
    return ev_set_invoke_pending_cb(ev_, &call_nobody);
  }
  if (!in_poll_) {
    if (ev_.owned()) {
      misuse(
          "ev_run was called on the native loop of an event_loop, which runs only by run, run_once "
          "and run_ready: call one of these, or have the event_loop adopt a loop of the program's");
    }
    may_wait_ = true;
    note_backlog();
    try {
      renew();
    } catch (...) {
      loop_->raise(std::current_exception());
    }
  }
  reflect_alive();  // so that libev does not wait where nothing is left to wait for
  if (kernel_.forked()) return unpark();
  check_for_round();
  inside().settle_delays();
  const bool work = watches_.arrived().linked() || inside().has_work() || !inside().posts().empty();
  const bool stopped = in_poll_ && loop_->stopped();
  // If the kernel refused eddy's own descriptors, nothing might end the wait.
  const bool seen = in_poll_ || !std::exchange(own_unseen_, false);
  const bool wait = arm(may_wait_ && !work && !stopped && seen);
  // If a callback runs the loop, eddy's work has to wait until the callback returns, and must not
  // keep libev from waiting.
  const bool nested = in_poll_ && ev_depth(ev_) != depth_;
  if (may_wait_ && !wait && !nested) unpark();
  if (ev_.owned()) set_endless(wait && !has_timers(ev_));
}

void engine::after_wait() noexcept {
  if (in_poll_) return;
  applied();
  inside().count_look();
  inside().hand_over(watches_.arrived());
  begin();
  in_adopted_turn_ = true;
  without_exceptions([this] { inside().run_adopted_turn(); });
  in_adopted_turn_ = false;
  reflect_alive();
  rest(inside().posts().sleep());
}

void engine::begin() noexcept {
  inside().park(false);
  if (shared_) ev_idle_stop(ev_, &idle_);
}

void engine::rest(bool nothing_posted) noexcept {
  if (ev_.owned()) return;
  inside().park(true);
  // A `before_wait` alone does not keep ev_run from ending.
  const bool ends = inside().before_waits().owed && !inside().alive();
  if ((inside().has_work() && !ends) || !nothing_posted) unpark();
}

void engine::unpark() noexcept {
  inside().park(false);
  ev_idle_start(ev_, &idle_);
}

bool engine::stop() noexcept {
  // Inside `run`, a library's callback runs libev's loop again.
  if (in_poll_ && ev_depth(ev_) > depth_) ev_break(ev_, ev_.owned() ? EVBREAK_ALL : EVBREAK_ONE);
  if (ev_.owned() || ev_depth(ev_) == 0) return false;
  if (!inside().in_turn() || in_adopted_turn_) {
    ev_break(ev_, EVBREAK_ONE);
    inside().halt_for_ev_run();
  }
  return true;
}

// ---- Time

bool engine::arm(bool may_wait) noexcept {
  time_point at{};  // zero if the timer is not to be set
  if (may_wait) {
    const auto now = std::chrono::steady_clock::now;
    if (inside().holds_clock()) {
      if (inside().probed()) at = now() + std::chrono::milliseconds(loop_probe::patience);
    } else if (const auto next = inside().timers().next()) {
      at = *next;
      if (armed_for_ && *armed_for_ <= at) return true;
      may_wait = at > now();
      // Rounded up to a millisecond, so that one wait serves several close deadlines.
      if (!inside().timers().fine() && at < time_point::max() - std::chrono::milliseconds(1)) {
        at = std::chrono::ceil<std::chrono::milliseconds>(at);
      }
      // An earlier wait set the timer to a deadline that was rounded up as well.
      if (may_wait && armed_for_ && *armed_for_ <= at) return true;
    }
    if (!may_wait) at = {};
  }
  if (at != time_point{} || due_) set_timer(at);
  return may_wait;
}

void engine::set_timer(time_point at) noexcept {
  // steady_clock is CLOCK_MONOTONIC. Setting the timer makes its descriptor unreadable. A time of
  // zero stops the timer.
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
  // libev limits each wait to 59.743 seconds, for which the kernel sets a timer at 440 ns. But it
  // waits no less than this interval. On x86, an interval that does not fit an int of milliseconds
  // converts to the least int, which the kernel takes for no limit. Elsewhere nothing is changed.
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
  return kernel_.descriptor();
}

void engine::settle() {
  // Makes libev show the kernel all watchers, also new ones of others, and look for events, but
  // call no callback: the next poll does. The kernel's set does not report files: libev has a
  // list of these.
  if (!ev_.owned() || in_poll_ || open_ || !(shared_ || kernel_.unapplied() || kernel_.files()))
    return;
  // The kernel would report the descriptors that still wait in the queue again, and a new wait for
  // such a descriptor would complete by the old event.
  if (inside().has_arrivals()) return;
  if (due_) arm(false);
  if (ev_pending_count(ev_) != 0) return kernel_.touch();
  // After eddy's prepare watcher libev calls no callback; fork watchers come before it. Prepare
  // callbacks of others run now, once. Their check callbacks, as all other callbacks, run in the
  // next poll. The caller's wait lies in between.
  open_ = shared_ && has_pairs(ev_);
  if (!shared_) start_prepare();
  {
    const flagged now(opening_);
    ev_run(ev_, EVRUN_NOWAIT);
  }
  if (!shared_) stop_prepare();
  ev_set_invoke_pending_cb(ev_, &ev_invoke_pending);
  own_unseen_ = false;
  applied();
}

std::optional<duration> engine::time_to_next() {
  if (kernel_.forked() || watches_.changed()) return duration::zero();
  settle();
  if (kernel_.unapplied() || has_pending(ev_)) return duration::zero();
  if (!shared_ && !ev_is_active(&again_)) return std::nullopt;
  if (!std::exchange(heaps_grown_, true)) grow_heaps(ev_);
  return detail::time_to_next(ev_);
}

// ---- Fork

void engine::renew_now() {
  // The parent has these descriptors too, and the child must not change them.
  stop_uncounted(ev_, wake_);
  stop_uncounted(ev_, time_);
  inside().posts().renew();
  start_own(wake_, inside().posts().wake_up());
  timer_descriptor_.renew(&make_timerfd);
  start_own(time_, timer_descriptor_.number());
  armed_for_.reset();
  due_ = false;
  ev_loop_fork(ev_);
  kernel_.rebuild();
  kernel_.renewed();
  for (const auto* part : {&inside().files(), &inside().signals(), &descriptor_watches_}) {
    if (!*part) continue;
    try {
      (*part)->renew(*loop_);
    } catch (...) {
      loop_->raise(std::current_exception());
    }
  }
}

}  // namespace eddy::detail
