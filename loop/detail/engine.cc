// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/detail/engine.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <string>
#include <utility>

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <eddy/loop/detail/descriptor.h>
#include <eddy/loop/detail/file_watch_hub.h>
#include <eddy/loop/detail/mailbox.h>
#include <eddy/loop/detail/make_loop.h>
#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/signal_hub.h>
#include <eddy/loop/event_loop.h>

namespace eddy::detail {

namespace {

// How often this process is the child of a fork: a loop that remembers another
// number shares its kernel state with a parent.
std::atomic<unsigned> forks{0};

struct ev_loop* checked(struct ev_loop* adopted) {
  if (ev_backend(adopted) != EVBACKEND_EPOLL) {
    throw std::system_error(std::make_error_code(std::errc::not_supported),
                            "adopting a libev loop that does not run on epoll");
  }
  return adopted;
}

std::error_code last_error() noexcept { return {errno, std::generic_category()}; }

int make_timerfd() noexcept {
  return ::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
}

/// Calls `work` where an exception would have to pass the program's ev_run.
template <class Work>
void without_exceptions(Work work) noexcept {
  try {
    work();
  } catch (const std::exception& e) {
    const std::string sentence =
        std::string(
            "an exception left a handler while the program's own ev_run was running, and "
            "no event_loop::on_exception takes it: ") +
        e.what();
    misuse(sentence.c_str());
  } catch (...) {
    misuse(
        "an exception left a handler while the program's own ev_run was running, and no "
        "event_loop::on_exception takes it");
  }
}

}  // namespace

engine::engine(event_loop& loop, struct ev_loop* adopted)
    : loop_(&loop),
      ev_(adopted == nullptr ? make_loop() : checked(adopted)),
      owned_(adopted == nullptr),
      forks_(forks.load(std::memory_order_relaxed)) {
  [[maybe_unused]] static const int registered =
      ::pthread_atfork(nullptr, nullptr, [] { forks.fetch_add(1, std::memory_order_relaxed); });

  ev_io_init(&wake_, &on_wake, loop.mailbox_->wake_up(), EV_READ);
  wake_.data = this;
  ev_io_start(ev_, &wake_);
  ev_unref(ev_);

  ev_timer_init(
      &timer_,
      [](struct ev_loop* ev, ev_timer* timer, int) {
        ev_ref(ev);
        static_cast<engine*>(timer->data)->timer_armed_ = false;
      },
      0., 0.);
  timer_.data = this;

  ev_prepare_init(&prepare_, [](struct ev_loop*, ev_prepare* w, int) {
    static_cast<engine*>(w->data)->before_wait();
  });
  ev_check_init(&check_, [](struct ev_loop*, ev_check* w, int) {
    static_cast<engine*>(w->data)->after_wait();
  });
  ev_idle_init(&idle_, [](struct ev_loop*, ev_idle*, int) {});
  ev_fork_init(&rebuild_, [](struct ev_loop*, ev_fork* w, int) {
    static_cast<engine*>(w->data)->before_rebuild();
  });
  rebuild_.data = this;
  ev_fork_start(ev_, &rebuild_);
  ev_unref(ev_);
  if (!owned_) {
    // Last of all: after the program's own callbacks, and after eddy's descriptors.
    prepare_.data = check_.data = this;
    ev_set_priority(&prepare_, EV_MINPRI);
    ev_set_priority(&check_, EV_MINPRI);
    ev_set_priority(&idle_, EV_MINPRI);
    ev_prepare_start(ev_, &prepare_);
    ev_unref(ev_);
    ev_check_start(ev_, &check_);
    ev_unref(ev_);
  }
}

engine::~engine() {
  // In the child of a fork the parent goes on using the timer descriptor.
  if (forked()) fine_armed_ = false;
  disarm();
  if (holds_ref_) ev_unref(ev_);
  if (timer_descriptor_ >= 0) {
    ev_ref(ev_);
    ev_io_stop(ev_, &fine_);
    ::close(timer_descriptor_);
  }
  ev_ref(ev_);
  ev_io_stop(ev_, &wake_);
  ev_ref(ev_);
  ev_fork_stop(ev_, &rebuild_);
  ev_idle_stop(ev_, &idle_);
  if (owned_) {
    ev_loop_destroy(ev_);
    return;
  }
  ev_ref(ev_);
  ev_check_stop(ev_, &check_);
  ev_ref(ev_);
  ev_prepare_stop(ev_, &prepare_);
}

int engine::backend() noexcept {
  if (backend_ < 0) {
    // A loop that another one embeds is watched by its epoll descriptor.
    ev_embed probe;
    ev_embed_init(&probe, nullptr, ev_);
    ev_embed_start(ev_, &probe);
    backend_ = probe.io.fd;
    ev_embed_stop(ev_, &probe);
  }
  return backend_;
}

bool engine::forked() const noexcept { return forks_ != forks.load(std::memory_order_relaxed); }

bool engine::shared() const noexcept { return renewing_ || forked(); }

void engine::verify() noexcept {
  while (changed_.linked()) {
    watch& changed = static_cast<watch&>(*changed_.next);
    changed.unlink();
    const int descriptor = changed.io.fd;
    std::error_code bad;
    struct stat status{};
    if (::fstat(descriptor, &status) != 0) {
      bad = last_error();
    } else if (status.st_dev != changed.device || status.st_ino != changed.inode) {
      bad = std::make_error_code(std::errc::bad_file_descriptor);
    } else if (changed.anonymous && !shared()) {
      bad = refusal(backend(), descriptor);
    }
    if (!bad) continue;
    watch* w = by_descriptor_[static_cast<std::size_t>(descriptor)];
    for (; w != nullptr; w = w->same_descriptor) w->fail(bad);
  }
}

void engine::poll(bool may_wait) {
  reflect_alive();
  if (may_wait) arm();
  // The program's own callbacks run here, too, and may throw.
  struct in_poll {
    bool& on;
    explicit in_poll(bool& b) noexcept : on(b) { on = true; }
    in_poll(const in_poll&) = delete;
    in_poll& operator=(const in_poll&) = delete;
    ~in_poll() { on = false; }
  };
  int active = 0;
  {
    const in_poll now(in_poll_);
    active = ev_run(ev_, may_wait ? EVRUN_ONCE : EVRUN_NOWAIT);
  }
  renewed();
  foreign_ = active > (holds_ref_ ? 1 : 0);
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

void engine::make_timer_descriptor() noexcept {
  timer_descriptor_ = make_timerfd();
  if (timer_descriptor_ < 0) return;
  ev_io_init(&fine_, &on_timer_descriptor, timer_descriptor_, EV_READ);
  fine_.data = this;
  ev_io_start(ev_, &fine_);
  ev_unref(ev_);
}

void engine::arm() noexcept {
  const auto next = loop_->timers_.next();
  if (!next || loop_->clock_ != nullptr) {
    disarm();
    return;
  }
  bool fine = loop_->timers_.fine();
  if (fine && timer_descriptor_ < 0) {
    make_timer_descriptor();
    fine = timer_descriptor_ >= 0;
  }
  if ((fine ? fine_armed_ : timer_armed_) && armed_for_ == *next) return;
  disarm();
  armed_for_ = *next;
  if (fine) {
    // steady_clock is CLOCK_MONOTONIC. A time of zero would disarm it.
    const auto at = std::max(next->time_since_epoch(), duration(1));
    const auto seconds = std::chrono::floor<std::chrono::seconds>(at);
    itimerspec when{};
    when.it_value.tv_sec = seconds.count();
    when.it_value.tv_nsec = (at - seconds).count();
    ::timerfd_settime(timer_descriptor_, TFD_TIMER_ABSTIME, &when, nullptr);
    fine_armed_ = true;
    return;
  }
  ev_now_update(ev_);
  const std::chrono::duration<double> delay = *next - std::chrono::steady_clock::now();
  ev_timer_set(&timer_, std::max(delay.count(), 0.), 0.);
  ev_timer_start(ev_, &timer_);
  ev_unref(ev_);
  timer_armed_ = true;
}

void engine::disarm() noexcept {
  if (std::exchange(timer_armed_, false)) {
    ev_ref(ev_);
    ev_timer_stop(ev_, &timer_);
  }
  if (std::exchange(fine_armed_, false)) {
    const itimerspec never{};
    ::timerfd_settime(timer_descriptor_, 0, &never, nullptr);
  }
}

void engine::renew_after_fork() {
  const unsigned now = forks.load(std::memory_order_relaxed);
  if (forks_ == now) return;
  // Everything keeps its number, so that libev's tables stay right.
  loop_->mailbox_->renew();
  if (timer_descriptor_ >= 0) renew_descriptor(timer_descriptor_, &make_timerfd);
  if (loop_->files_) loop_->files_->renew();
  if (loop_->signals_) loop_->signals_->renew(loop_->mailbox_->wake_up());
  timer_armed_ = timer_armed_ && ev_is_active(&timer_);
  fine_armed_ = false;
  forks_ = now;
  renewing_ = true;
  ev_loop_fork(ev_);
}

void engine::renewed() noexcept {
  if (std::exchange(renewing_, false)) backend_ = -1;
}

void engine::before_rebuild() noexcept {
  // After a fork, and whenever the kernel's set no longer agrees with libev's
  // tables, libev shows all of them to the kernel again.
  renewing_ = true;
  for (watch* w : by_descriptor_) {
    for (; w != nullptr; w = w->same_descriptor) {
      if (ev_is_active(&w->io) && !w->linked()) changed_.push_back(*w);
    }
  }
  verify();
  if (loop_->ready_.linked()) loop_->mailbox_->wake();
}

void engine::begin() noexcept {
  if (owned_) return;
  loop_->parked_ = false;
  ev_idle_stop(ev_, &idle_);
}

void engine::rest() noexcept {
  const bool nothing_posted = loop_->mailbox_->sleep();
  if (owned_) return;
  loop_->parked_ = true;
  if (loop_->ready_.linked() || !nothing_posted) unpark();
}

void engine::unpark() noexcept {
  loop_->parked_ = false;
  ev_idle_start(ev_, &idle_);
}

void engine::stop() noexcept {
  if (!loop_->in_turn_ || in_adopted_turn_) ev_break(ev_, EVBREAK_ONE);
}

void engine::before_wait() noexcept {
  if (in_poll_) return;
  without_exceptions([this] { renew_after_fork(); });
  // After this libev shows the kernel what has changed.
  verify();
  if (loop_->has_work() || !loop_->mailbox_->empty()) unpark();
  reflect_alive();
  arm();
}

void engine::after_wait() noexcept {
  if (in_poll_) return;
  renewed();
  begin();
  in_adopted_turn_ = true;
  without_exceptions([this] { loop_->adopted_turn(); });
  in_adopted_turn_ = false;
  reflect_alive();
  rest();
}

void engine::on_event(struct ev_loop* ev, ev_io* io, int events) {
  watch& w = *static_cast<watch*>(io->data);
  event_loop& loop = *w.owner->loop_;
  if ((events & EV_ERROR) != 0) {
    // The kernel refused, and libev has stopped the watcher without saying why.
    ev_ref(ev);
    const auto why = refusal(w.owner->backend(), io->fd);
    w.fail(why ? why : std::make_error_code(std::errc::not_enough_memory));
    return;
  }
  int unwanted = 0;
  // libev reports the latest first: at the front, the kernel's order is restored.
  for (const int direction : {EV_WRITE, EV_READ}) {
    if ((events & direction) == 0) continue;
    if (ready_node* const node = w.waiter(direction)) {
      w.forget(direction);
      loop.arrive(*node);
    } else {
      unwanted |= direction;
    }
  }
  if (unwanted != 0) w.set_mask(io->events & (EV_READ | EV_WRITE) & ~unwanted);
}

void engine::on_wake(struct ev_loop*, ev_io* io, int) {
  static_cast<engine*>(io->data)->loop_->mailbox_->drain();
}

void engine::on_timer_descriptor(struct ev_loop*, ev_io* io, int) {
  std::uint64_t count = 0;
  static_cast<void>(!::read(io->fd, &count, sizeof count));
  static_cast<engine*>(io->data)->fine_armed_ = false;
}

}  // namespace eddy::detail
