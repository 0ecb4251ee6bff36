// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/detail/libev_host.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <exception>
#include <string>
#include <system_error>
#include <utility>

#include <eddy/loop/detail/engine.h>
#include <eddy/loop/detail/mailbox.h>
#include <eddy/loop/detail/make_loop.h>
#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/throw_error.h>
#include <eddy/loop/event_loop.h>

namespace eddy::detail {

namespace {

struct ev_loop* checked(struct ev_loop* adopted) {
  if (ev_backend(adopted) != EVBACKEND_EPOLL) {
    throw_error(std::errc::not_supported, "adopting a libev loop that does not run on epoll");
  }
  return adopted;
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

libev_host::libev_host(event_loop& loop, engine& e, struct ev_loop* adopted)
    : loop_(&loop),
      engine_(&e),
      ev_(adopted == nullptr ? make_loop() : checked(adopted)),
      owned_(adopted == nullptr) {
  ev_io_init(
      &set_,
      [](struct ev_loop*, ev_io* io, int events) {
        if ((events & EV_ERROR) != 0) misuse("libev refused to watch an event loop's descriptor");
        static_cast<engine*>(io->data)->collect(0);
      },
      e.set_.number(), EV_READ);
  set_.data = engine_;
  ev_io_start(ev_, &set_);
  ev_unref(ev_);

  ev_timer_init(
      &timer_,
      [](struct ev_loop* ev, ev_timer* timer, int) {
        ev_ref(ev);
        static_cast<libev_host*>(timer->data)->timer_armed_ = false;
      },
      0., 0.);
  timer_.data = this;

  ev_prepare_init(&prepare_, [](struct ev_loop*, ev_prepare* w, int) {
    static_cast<libev_host*>(w->data)->before_wait();
  });
  ev_check_init(&check_, [](struct ev_loop*, ev_check* w, int) {
    static_cast<libev_host*>(w->data)->after_wait();
  });
  ev_idle_init(&idle_, [](struct ev_loop*, ev_idle*, int) {});
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

libev_host::~libev_host() {
  disarm();
  if (holds_ref_) ev_unref(ev_);
  ev_ref(ev_);
  ev_io_stop(ev_, &set_);
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

int libev_host::backend() noexcept {
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

int libev_host::refusal(int descriptor) noexcept {
  if (renewing_) return 0;  // the set is a parent's, too
  if (descriptor == backend()) return EINVAL;
  const int answer = try_watch(backend(), descriptor);
  return answer == EEXIST ? 0 : answer;
}

void libev_host::poll(bool may_wait) {
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
  waited();
  foreign_ = active > (holds_ref_ ? 1 : 0);
}

void libev_host::waited() noexcept {
  shown_ = true;
  if (std::exchange(renewing_, false)) backend_ = -1;
}

void libev_host::reflect_alive() noexcept {
  const bool alive = loop_->alive();
  if (alive == holds_ref_) return;
  holds_ref_ = alive;
  if (alive) {
    ev_ref(ev_);
  } else {
    ev_unref(ev_);
  }
}

void libev_host::arm() noexcept {
  const auto next = loop_->timers_.next();
  if (!next || loop_->clock_ != nullptr || (loop_->timers_.fine() && engine_->arm_fine(*next))) {
    disarm();
    return;
  }
  if (timer_armed_ && armed_for_ == *next) return;
  disarm();
  armed_for_ = *next;
  ev_now_update(ev_);
  const std::chrono::duration<double> delay = *next - std::chrono::steady_clock::now();
  ev_timer_set(&timer_, std::max(delay.count(), 0.), 0.);
  ev_timer_start(ev_, &timer_);
  ev_unref(ev_);
  timer_armed_ = true;
}

void libev_host::disarm() noexcept {
  if (!std::exchange(timer_armed_, false)) return;
  ev_ref(ev_);
  ev_timer_stop(ev_, &timer_);
}

void libev_host::set_is_new() noexcept {
  ev_ref(ev_);
  ev_io_stop(ev_, &set_);
  ev_io_set(&set_, set_.fd, EV_READ);
  ev_io_start(ev_, &set_);
  ev_unref(ev_);
  shown_ = false;
}

void libev_host::renew_after_fork() noexcept {
  timer_armed_ = timer_armed_ && ev_is_active(&timer_);
  renewing_ = true;
  ev_loop_fork(ev_);
}

void libev_host::begin() noexcept {
  if (owned_) return;
  loop_->parked_ = false;
  ev_idle_stop(ev_, &idle_);
}

void libev_host::rest(bool nothing_posted) noexcept {
  if (owned_) return;
  loop_->parked_ = true;
  if (loop_->ready_.linked() || !nothing_posted) unpark();
}

void libev_host::unpark() noexcept {
  loop_->parked_ = false;
  ev_idle_start(ev_, &idle_);
}

void libev_host::stop() noexcept {
  if (owned_) return;
  if (!loop_->in_turn_ || in_adopted_turn_) ev_break(ev_, EVBREAK_ONE);
}

void libev_host::before_wait() noexcept {
  if (in_poll_) return;
  without_exceptions([this] { engine_->renew(); });
  engine_->flush();
  if (loop_->has_work() || !loop_->mailbox_->empty()) unpark();
  reflect_alive();
  arm();
}

void libev_host::after_wait() noexcept {
  if (in_poll_) return;
  waited();
  begin();
  in_adopted_turn_ = true;
  without_exceptions([this] { loop_->adopted_turn(); });
  in_adopted_turn_ = false;
  reflect_alive();
  rest(loop_->mailbox_->sleep());
}

}  // namespace eddy::detail
