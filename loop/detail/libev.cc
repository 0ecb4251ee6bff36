// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/detail/libev.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <span>
#include <system_error>
#include <vector>

#include <pthread.h>

#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/throw_error.h>

namespace eddy::detail {

namespace {

// The probes' callback, which libev never calls.
template <class Watcher>
void nothing(struct ev_loop*, Watcher*, int) {}

constinit std::mutex guard;

/// The libev loops of all event loops, own or adopted. Never destroyed: a loop may outlive main.
std::vector<struct ev_loop*>& loops_in_use() {
  static auto& all = *new std::vector<struct ev_loop*>;
  return all;
}

// Longer than any delay, and still exact enough for libev's arithmetic.
constexpr double endless = 1e15;

/// Returns the index that a timer of that delay would have in libev's heap.
int index_of_timer(struct ev_loop* ev, double delay) noexcept {
  ev_timer probe;
  ev_timer_init(&probe, &nothing<ev_timer>, delay, 0.);
  ev_timer_start(ev, &probe);
  const int index = probe.active;
  ev_timer_stop(ev, &probe);
  return index;
}

int index_of_periodic(struct ev_loop* ev, double delay) noexcept {
  ev_periodic probe;
  ev_periodic_init(&probe, &nothing<ev_periodic>, ev_now(ev) + delay, 0., nullptr);
  ev_periodic_start(ev, &probe);
  const int index = probe.active;
  ev_periodic_stop(ev, &probe);
  return index;
}

using index_function = int (*)(struct ev_loop*, double) noexcept;

/// Returns the index of a heap's root: a timer before all others has it.
int root_index(struct ev_loop* ev) noexcept {
  static const int index = index_of_timer(ev, -endless);
  return index;
}

/// Whether the heap has any timer: a timer after all others is at the root only if it is alone.
bool has_any(struct ev_loop* ev, index_function index_of) noexcept {
  return index_of(ev, endless) != root_index(ev);
}

/// Returns the longest delay with which a timer would be the first, to a tenth of a millisecond.
double first_delay(struct ev_loop* ev, index_function index_of) noexcept {
  const int root = root_index(ev);
  if (index_of(ev, 0.) != root) return 0.;
  double before = 0.;
  double after = 1e-3;
  while (after < endless && index_of(ev, after) == root) after *= 2;
  while (after - before > 1e-4) {
    const double middle = before + (after - before) / 2;
    if (middle == before || middle == after) break;
    (index_of(ev, middle) == root ? before : after) = middle;
  }
  return after;
}

/// Starts and stops a probe. Returns the probe as it was while it was started.
ev_io probe_io(struct ev_loop* ev, int descriptor, int events) noexcept {
  ev_io probe;
  ev_init(&probe, &nothing<ev_io>);
  probe.fd = descriptor;
  probe.events = events;
  ev_io_start(ev, &probe);
  const ev_io started = probe;
  ev_io_stop(ev, &probe);
  return started;
}

template <class Watcher>
int count_of(struct ev_loop* ev, void (*start)(struct ev_loop*, Watcher*) noexcept,
             void (*stop)(struct ev_loop*, Watcher*) noexcept, int priority = 0) noexcept {
  Watcher probe;
  ev_init(&probe, &nothing<Watcher>);
  ev_set_priority(&probe, priority);
  start(ev, &probe);
  const int others = probe.active - 1;
  stop(ev, &probe);
  return others;
}

int prepares(struct ev_loop* ev) noexcept {
  return count_of<ev_prepare>(ev, &ev_prepare_start, &ev_prepare_stop);
}

bool has_idle(struct ev_loop* ev) noexcept {
  for (int priority = EV_MINPRI; priority <= EV_MAXPRI; ++priority) {
    if (count_of<ev_idle>(ev, &ev_idle_start, &ev_idle_stop, priority) != 0) return true;
  }
  return false;
}

}  // namespace

libev_loop::libev_loop(struct ev_loop* adopted) : ev_(adopted), owned_(adopted == nullptr) {
  // The fork takes the lock, so that no other thread holds it in the child.
  [[maybe_unused]] static const int registered =
      ::pthread_atfork([] { guard.lock(); }, [] { guard.unlock(); }, [] { guard.unlock(); });
  if (!owned_ && ev_backend(adopted) != EVBACKEND_EPOLL) {
    throw_error(std::errc::not_supported, "adopting a libev loop that does not run on epoll");
  }
  const std::scoped_lock lock(guard);
  auto& all = loops_in_use();
  if (!owned_ && std::ranges::find(all, adopted) != all.end()) {
    misuse("a second event_loop was made on one ev_loop: use the first");
  }
  all.push_back(adopted);
  if (!owned_) return;
  ev_ = all.back() =
      ev_loop_new(unsigned{EVBACKEND_EPOLL} | unsigned{EVFLAG_NOENV} | unsigned{EVFLAG_NOTIMERFD});
  if (ev_ == nullptr) {
    all.pop_back();
    throw_errno("making an event loop");
  }
}

libev_loop::~libev_loop() {
  {
    const std::scoped_lock lock(guard);
    std::erase(loops_in_use(), ev_);
  }
  if (owned_) ev_loop_destroy(ev_);
}

int backend_descriptor(struct ev_loop* ev) noexcept {
  // A loop watches an embedded loop by the epoll descriptor of that loop.
  ev_embed probe;
  ev_embed_init(&probe, &nothing<ev_embed>, ev);
  ev_embed_start(ev, &probe);
  const int number = probe.io.fd;
  ev_embed_stop(ev, &probe);
  return number;
}

ev_io* first_watcher(struct ev_loop* ev, int descriptor) noexcept {
  // libev puts a new watcher before the others.
  return reinterpret_cast<ev_io*>(probe_io(ev, descriptor, 0).next);
}

bool watches_itself(struct ev_loop* ev, int descriptor) noexcept {
  // These watchers are members of libev's loop, which takes between 1,272 and 1,288 bytes in
  // libev 4.33 on x86-64, and their priorities are the highest or the lowest.
  constexpr std::uintptr_t most = 1272;
  const auto start = reinterpret_cast<std::uintptr_t>(ev);
  for (const ev_io* io = first_watcher(ev, descriptor); io != nullptr;
       io = reinterpret_cast<const ev_io*>(io->next)) {
    const bool within = reinterpret_cast<std::uintptr_t>(io) - start < most;
    if (within && ev_priority(io) != 0) return true;
  }
  return false;
}

void start_uncounted(struct ev_loop* ev, ev_io& io) noexcept {
  ev_io_start(ev, &io);
  ev_unref(ev);
}

bool stop_uncounted(struct ev_loop* ev, ev_io& io) noexcept {
  // libev has stopped a watcher that the kernel refused, but its error may still be pending.
  if (!ev_is_active(&io) && !ev_is_pending(&io)) return false;
  ev_ref(ev);
  ev_io_stop(ev, &io);
  return true;
}

bool grow_tables(struct ev_loop* ev, std::size_t size) {
  // Bytes per entry of all tables together, and twice that while a table is copied.
  constexpr std::size_t entry = 64;
  // libev takes so many events from epoll in a round; others may feed more.
  const std::size_t pending = std::clamp<std::size_t>(size, 4, 128);
  const auto events = std::make_unique<ev_prepare[]>(pending);
  ::operator delete(::operator new(2 * size * entry));

  // The first probe makes the table of descriptors long enough for all.
  for (std::size_t number = size; number != 0; --number) {
    static_cast<void>(first_watcher(ev, static_cast<int>(number - 1)));
  }

  static_cast<void>(has_pairs(ev));  // grows the tables of prepare and check watchers
  if (ev_pending_count(ev) != 0) return false;
  for (const int priority : {0, EV_MINPRI}) {
    const std::span<ev_prepare> some(events.get(), priority == 0 ? pending : 4);
    for (ev_prepare& event : some) {
      ev_init(&event, &nothing<ev_prepare>);
      ev_set_priority(&event, priority);
      ev_feed_event(ev, &event, EV_CUSTOM);
    }
    for (ev_prepare& event : some) ev_clear_pending(ev, &event);
  }
  ev_invoke_pending(ev);  // the events were cleared, so this calls no callback
  return true;
}

void grow_heaps(struct ev_loop* ev) {
  constexpr std::size_t enough = 4096;  // libev's heaps and idle tables begin with 64 bytes
  ::operator delete(::operator new(enough));
  static_cast<void>(time_to_next(ev));
}

void forgot_entry(struct ev_loop* ev, int descriptor) noexcept {
  // A watcher does this when it is first started after its ev_io_set.
  probe_io(ev, descriptor, EV__IOFDSET);
}

bool has_timers(struct ev_loop* ev) noexcept {
  return has_any(ev, &index_of_timer) || has_any(ev, &index_of_periodic);
}

std::optional<duration> time_to_next(struct ev_loop* ev) noexcept {
  if (has_idle(ev)) return duration::zero();
  ev_now_update(ev);
  double delay = endless;
  if (has_any(ev, &index_of_timer)) delay = first_delay(ev, &index_of_timer);
  if (has_any(ev, &index_of_periodic)) {
    delay = std::min(delay, first_delay(ev, &index_of_periodic));
  }
  if (delay >= endless) return std::nullopt;
  // A longer wait gains nothing: the caller asks again.
  constexpr double most = 1e6;
  return std::chrono::ceil<duration>(std::chrono::duration<double>(std::min(delay, most)));
}

bool has_pending(struct ev_loop* ev) noexcept {
  const int always = count_of<ev_check>(ev, &ev_check_start, &ev_check_stop);
  return ev_pending_count(ev) > static_cast<unsigned>(always);
}

bool has_pairs(struct ev_loop* ev) noexcept {
  return prepares(ev) > 1 || count_of<ev_check>(ev, &ev_check_start, &ev_check_stop) != 0;
}

}  // namespace eddy::detail
