// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/event_loop.h>

#include <algorithm>
#include <ctime>
#include <new>
#include <utility>
#include <vector>

#include <eddy/loop/before_wait.h>
#include <eddy/loop/detail/block_pool.h>
#include <eddy/loop/detail/description_writers.h>
#include <eddy/loop/detail/engine.h>
#include <eddy/loop/detail/flagged.h>
#include <eddy/loop/detail/loop_access.h>
#include <eddy/loop/detail/loop_probe.h>
#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/post_queue.h>
#include <eddy/loop/detail/text.h>
#include <eddy/loop/inspectable.h>
#include <eddy/loop/several_errors.h>

namespace eddy {

[[gnu::tls_model("initial-exec")]] constinit thread_local event_loop* event_loop::running_ =
    nullptr;

namespace {

/// Adds `error`, or each of its errors if it is a `several_errors`.
void add_each(std::vector<std::exception_ptr>& all, const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const several_errors& e) {
    all.insert(all.end(), e.errors().begin(), e.errors().end());
  } catch (...) {
    all.push_back(error);
  }
}

}  // namespace

/// A deferred function in the ready queue. It deletes itself when it runs.
struct event_loop::deferred : ready_node, detail::recycled {
  explicit deferred(handler<void()>&& f) noexcept : function(std::move(f)) {}

  [[gnu::noinline]] static void run(ready_node& node) {  // inlined, it would slow down other nodes
    const std::unique_ptr<deferred> self(static_cast<deferred*>(&node));
    self->function();
  }

  handler<void()> function;
};

/// Makes a loop the running loop of this thread for a scope.
class event_loop::runs_here {
public:
  explicit runs_here(event_loop& loop) noexcept
      : loop_(loop), outer_(std::exchange(running_, &loop)) {
    const void* runner = nullptr;
    if (!loop_.thread_.compare_exchange_strong(runner, this_thread(), std::memory_order_acquire,
                                               std::memory_order_relaxed)) {
      if (runner != this_thread()) {
        detail::misuse(
            "a loop was run on a thread while it belongs to another thread, which runs or has "
            "adopted it");
      }
      if (loop_.in_turn_) {
        detail::misuse(
            "a loop was run from one of its own handlers: return from the handler instead");
      }
    }
    if (loop_.going_) {
      detail::misuse(
          "a loop was run while it was being destroyed, by a destructor of an object on it");
    }
    loop_.in_turn_ = true;
  }
  runs_here(const runs_here&) = delete;
  runs_here& operator=(const runs_here&) = delete;
  ~runs_here() {
    loop_.in_turn_ = false;
    loop_.left_ = 0;
    if (!loop_.adopted_) loop_.thread_.store(nullptr, std::memory_order_release);
    running_ = outer_;
  }

private:
  event_loop& loop_;
  event_loop* outer_;
};

/// The scope of turns that eddy runs itself.
class event_loop::at_work {
public:
  explicit at_work(event_loop& loop) noexcept : here_(loop), loop_(loop) { loop_.engine_->begin(); }
  at_work(const at_work&) = delete;
  at_work& operator=(const at_work&) = delete;
  ~at_work() {
    loop_.settle_delays();
    loop_.engine_->rest(loop_.posts_->sleep());
  }

private:
  runs_here here_;
  event_loop& loop_;
};

/// A raised error in the list.
struct event_loop::raised::one {
  explicit one(const std::exception_ptr& e) noexcept : error(e) {}
  std::exception_ptr error;
  one* next = nullptr;
};

event_loop::event_loop() : event_loop(nullptr, nullptr) {}

event_loop::event_loop(manual_clock& clock) : event_loop(nullptr, &clock) {}

event_loop::event_loop(struct ev_loop* adopted) : event_loop(adopted, nullptr) {
  if (adopted == nullptr) detail::misuse("event_loop was given a null ev_loop to adopt");
}

event_loop::event_loop(struct ev_loop* adopted, manual_clock* clock)
    : parked_(adopted != nullptr),
      adopted_(adopted != nullptr),
      clock_(clock),
      posts_(std::make_shared<detail::post_queue>(*this)),
      handle_(posts_),
      engine_(std::make_unique<detail::engine>(*this, adopted)) {
  if (adopted_) thread_.store(this_thread(), std::memory_order_relaxed);
}

event_loop::~event_loop() {
  check_thread();
  if (in_turn_) detail::misuse("a loop was destroyed from one of its own handlers");
  going_ = true;
  posts_->close();
  // Destructors that run here may spawn, defer and raise again.
  while (abandon_all() || queued() || arrived_.linked() || !raised_.empty() ||
         on_exception_.present()) {
    drop_queue();
    drop_raised();
    if (raised_.empty()) const auto last = on_exception_.take();
  }
  signals_.reset();
  files_.reset();
  sockets_.reset();
  engine_->descriptor_watches().reset();
  limits_.rest();
  if (timers_.size() != 0 || watches_ != 0 || inspectables_ != 0 || keepers_ != 0 ||
      before_waits_.any()) {
    const std::string sentence = detail::text(
        {"a loop was destroyed before the objects on it, destroy these first:\n", dump()});
    detail::misuse(sentence.c_str());
  }
}

bool event_loop::abandon_all() noexcept {
  bool any = false;
  for (detail::list_node* l = inspected_.next; l != &inspected_;) {
    const bool gone = static_cast<inspectable*>(l)->abandon();
    l = gone ? inspected_.next : l->next;
    any = any || gone;
  }
  return any;
}

void event_loop::drop_queue() noexcept {
  raised_.withdraw();
  queues_[others].splice_back(arrived_);
  limits_.move_to(queues_[timers]);
  for (detail::list_node& queue : queues_) {
    while (queue.linked()) {
      auto& node = static_cast<ready_node&>(*queue.next);
      node.unlink();
      if (&queue == &queues_[posts]) {
        detail::post_queue::drop(node);  // all posts are chunks
      } else if (node.deferred()) {
        delete static_cast<deferred*>(&node);
      }
    }
  }
}

void event_loop::queued_twice() noexcept {
  detail::misuse("event_loop::ready was called with a node that is in a queue already");
}

void event_loop::wrong_thread() noexcept {
  detail::misuse(
      "a loop, or an object on it, was used from another thread than its own: use "
      "event_loop::post");
}

time_point event_loop::read_clock() const noexcept {
  return clock_ != nullptr ? clock_->now() : std::chrono::steady_clock::now();
}

void event_loop::look_at_clock() noexcept {
  const time_point at = read_clock();
  timers_.settle(at - now_);
  now_ = at;
  now_known_ = true;
}

void event_loop::settle_delays() noexcept {
  if (timers_.unsettled()) timers_.settle(read_clock() - now_);
}

time_point event_loop::after(time_span delay) const noexcept {
  check_thread();
  return detail::plus(read_clock(), std::max<duration>(delay, duration::zero()));
}

bool event_loop::has_work() const noexcept {
  return queued() || arrived_.linked() || more_due_ || before_waits_.owed || limits_.ready() ||
         (signals_ && signals_->pending());
}

bool event_loop::alive() noexcept {
  if (waits_ != 0 || keepers_ != 0 || queued() || arrived_.linked() || limits_.any() ||
      !posts_->empty()) {
    return true;
  }
  limits_.rest();
  if (timers_.foreground() == 0) return false;
  if (clock_ == nullptr) return true;
  // A timer at the end of time never becomes due.
  const time_point first = timers_.first()->deadline();
  if (clock_->when_idle() == manual_clock::idle::jump) return first < time_point::max();
  return first <= clock_->now();
}

void event_loop::gather() {
  now_known_ = false;
  if (limits_.any()) {
    limits_.begin_turn(now(), clock_ != nullptr, looks_, queues_[timers]);
  } else {
    limits_.rest();
  }
  if (!queues_[timers].linked()) {
    more_due_ = false;
    if (timers_.size() != 0) take_due_timers();
  }
  if (probe_ != nullptr && arrived_.linked()) [[unlikely]]
    probe_->choose(arrived_, queues_[arrivals]);
  else
    queues_[arrivals].splice_back(arrived_);
  if (signals_) signals_->gather(*this);
  posts_->take(queues_[posts]);
}

void event_loop::take_due_timers() noexcept {
  // Takes no more timers than a turn may run. If a million are due, the others stay in the heap.
  for (int left = budget / 4; left != 0; --left) {
    timer_node* const due = timers_.take_due(now());
    if (due == nullptr) return;
    queues_[timers].push_back(*due);
  }
  more_due_ = true;
}

namespace {

/// Returns the time of the kernel's last tick. Reading it takes 5 ns, and the exact clock 24 ns (on
/// the machine of tests/bench/README.md).
std::int64_t tick() noexcept {
  std::timespec t{};
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
  return std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

}  // namespace

void event_loop::learn_pace(time_point now) noexcept {
  // After slow handlers the clock is read more often. After fast handlers the reading would be a
  // large part of their cost.
  constexpr std::chrono::microseconds slow{100};
  unlooked_most_ = now - looked_at_ > slow ? std::max(unlooked_most_ / 4, 1)
                                           : std::min(unlooked_most_ * 2, most_unlooked);
  looked_at_ = now;
}

bool event_loop::time_is_over() noexcept {
  constexpr std::chrono::microseconds turn{500};
  unlooked_ = unlooked_most_;
  if (clock_ != nullptr) return false;
  const time_point at = std::chrono::steady_clock::now();
  tick_ = tick();
  if (!turn_began_) {
    turn_began_ = looked_at_ = at;
  } else {
    learn_pace(at);
  }
  unlooked_ = unlooked_most_;
  // A timer that became due during this turn need not wait for the turn's end.
  return at - *turn_began_ >= turn ||
         (timers_.size() != 0 && *timers_.next() <= at && !queues_[timers].linked());
}

/// Runs entries of one queue until they have spent `most` operations. Returns how many they spent.
template <bool Observed>
int event_loop::run_some(detail::list_node& queue, int most) {
  // After slow handlers, a coroutine gets fewer operations, because it may compute between them.
  const int granted = unlooked_most_ * (share / most_unlooked);
  int spent = 0;
  try {
    while (queue.linked() && spent < most && halt_ == 0) {
      if constexpr (Observed) {
        probe_->at_point();
        if (!queue.linked() || halt_ != 0) break;
      }
      auto& node = static_cast<ready_node&>(*queue.next);
      __builtin_prefetch(node.next->next);  // each of many timers is a cache miss
      node.unlink();
      left_ = granted - 1;
      if (!node.deferred()) [[likely]]
        node.run_(node);
      else
        deferred::run(node);
      spent += granted - left_;
      if (timers_.size() != 0 && clock_ == nullptr && tick() != tick_) [[unlikely]] {
        unlooked_ = 0;  // a deadline may have passed
        break;
      }
    }
    return spent;
  } catch (...) {
    if (!on_exception_.present()) throw;
    on_exception_.call(true, std::current_exception());
    return spent + share;
  }
}

template <bool Observed>
bool event_loop::run_queues_as() {
  halt_ &= static_cast<std::uint8_t>(~turn_ended);
  turn_began_.reset();
  // If there are timers, the clock was read just now.
  if (now_known_ && clock_ == nullptr) {
    turn_began_ = looked_at_ = now_;
    tick_ = tick();
  }
  unlooked_ = unlooked_most_;
  int left = budget;
  bool over = false;
  bool any = false;
  for (bool first = true; queued() || (limits_.any() && end_limit()); first = false) {
    for (detail::list_node& queue : queues_) {
      for (int quantum = share; queue.linked() && quantum > 0;) {
        // Each queue runs at least one entry, even if the turn is over.
        const int spent = run_some<Observed>(queue, over ? 1 : std::min(quantum, unlooked_));
        any = true;
        quantum -= spent;
        left -= spent;
        over = over || left <= 0 || ((unlooked_ -= spent) <= 0 && time_is_over());
        if (halt_ != 0) return true;
        if (over) break;
      }
      if (over && !first) return true;
    }
    if (over) return true;
  }
  if constexpr (Observed) probe_->at_point();
  return any;
}

bool event_loop::end_limit() noexcept {
  if (arrived_.linked() || !posts_->empty()) return false;
  if (signals_ && signals_->pending()) return false;
  return limits_.release_first(looks_, queues_[timers]);
}

bool event_loop::run_queues() {
  before_waits_.owed = before_waits_.any();  // also if an exception ends this turn
  const bool any = probe_ != nullptr ? run_queues_as<true>() : run_queues_as<false>();
  // There were few handlers, but each may have taken long while timers wait.
  if (unlooked_most_ - unlooked_ > 1 && turn_began_ && timers_.size() != 0) {
    learn_pace(std::chrono::steady_clock::now());
  }
  return any;
}

void event_loop::call_before_wait() {
  left_ = share - 1;
  try {
    static_cast<before_wait*>(before_waits_.next.next)->call();
  } catch (...) {
    if (!on_exception_.present()) throw;
    on_exception_.call(true, std::current_exception());
  }
}

void event_loop::call_before_waits() {
  if (!before_waits_.any()) return;
  // The objects that were not called stay before the others, for the next turn.
  struct round {
    event_loop& loop;
    detail::flagged now;

    explicit round(event_loop& l) noexcept : loop(l), now(l.before_waits_.running) {
      ++loop.before_waits_.round;
      loop.before_waits_.owed = false;
    }
    round(const round&) = delete;
    round& operator=(const round&) = delete;
    ~round() {
      detail::before_wait_list& all = loop.before_waits_;
      all.owed = all.owed || all.next.linked();
      all.next.splice_back(all.called);
    }
  };
  const round now(*this);
  constexpr std::uint8_t ended = stop_asked | ev_run_ended;
  turn_began_.reset();  // these calls have a bound of their own
  unlooked_ = unlooked_most_;
  for (int left = budget; before_waits_.next.linked() && left > 0 && (halt_ & ended) == 0;) {
    call_before_wait();
    const int spent = share - left_;
    left -= spent;
    unlooked_ -= spent;
    if (unlooked_ <= 0 && time_is_over()) break;
  }
}

bool event_loop::turn(bool may_wait) {
  engine_->begin_turn();
  bool wait = may_wait && !has_work();
  bool jump = false;
  if (wait && clock_ != nullptr && timers_.size() != 0) {
    const time_point first = timers_.first()->deadline();
    const bool due = first <= clock_->now();
    jump = !due && clock_->when_idle() == manual_clock::idle::jump && keepers_ == 0 &&
           first != time_point::max() && (timers_.foreground() != 0 || waits_ != 0);
    wait = !due && !jump;
  }
  if (wait) settle_delays();
  if (wait) wait = posts_->sleep();
  engine_->poll(wait);
  gather();
  if (jump && !has_work()) {
    clock_->advance_to(timers_.first()->deadline());
    gather();
  }
  if (wait && probe_ != nullptr && engine_->due() && !has_work()) [[unlikely]]
    probe_->waited_in_vain();
  const bool ran = run_queues();
  call_before_waits();
  return ran;
}

void event_loop::adopted_turn() {
  const runs_here here(*this);
  if ((halt_ & ev_run_ended) == 0) halt_ = 0;  // an earlier run was stopped
  // libev looks at the descriptors before the next turn, and would report the descriptors that
  // still wait in the queue again.
  int most = turns_without_look;
  do {
    gather();
    run_queues();
  } while (queues_[arrivals].linked() && halt_ == 0 && --most != 0);
  call_before_waits();
  settle_delays();
  halt_ &= stop_asked;
}

void event_loop::run() {
  const at_work now(*this);
  halt_ = std::exchange(stops_at_once_, false) ? stop_asked : 0;
  if (stopped()) return;
  bool more = may_wait();
  do {
    const bool ran = turn(more);
    // A handler may have started a libev watcher: the next turn will show.
    more = alive() || (engine_->shared() && (ran || engine_->others()));
  } while (more && !stopped());
}

void event_loop::run_once() {
  const at_work now(*this);
  halt_ = 0;
  turn(may_wait());
}

bool event_loop::run_ready() {
  const at_work now(*this);
  halt_ = 0;
  const bool ran = turn(false);
  return ran || limits_.ready() || queued() || before_waits_.owed;
}

void event_loop::stop() noexcept {
  check_thread();
  halt_ |= stop_asked;
  const bool ends_ev_run = engine_->stop();
  stops_at_once_ = stops_at_once_ || (!in_turn_ && !ends_ev_run);
}

detail::loop_probe::loop_probe(event_loop& loop) noexcept : loop_(loop) {
  loop_access(loop).look_on(this);
}

detail::loop_probe::~loop_probe() { loop_access(loop_).look_on(nullptr); }

void event_loop::unpark() noexcept { engine_->unpark(); }

bool event_loop::may_wait() noexcept {
  // libev does not wait if it has nothing to wait for.
  return alive() || engine_->shared();
}

void event_loop::defer(handler<void()> function) {
  detail::expect_handler(function, "event_loop::defer");
  check_thread();
  ready(*new deferred(std::move(function)));
}

void event_loop::on_exception(handler<void(std::exception_ptr)> take) noexcept {
  check_thread();
  const auto dropped = on_exception_.replace(std::move(take));
}

void event_loop::raise(std::exception_ptr error) noexcept {
  check_thread();
  detail::expect_error(error, "event_loop::raise");
  if (auto* const more = new (std::nothrow) raised::one(error)) {
    *std::exchange(raised_.end, &more->next) = more;
  } else if (raised_.spare == nullptr) {
    raised_.spare = std::move(error);
  }
  if (!raised_.queued()) ready(raised_);
}

std::exception_ptr event_loop::raised::take_first() noexcept {
  if (first == nullptr) return std::exchange(spare, nullptr);
  const std::unique_ptr<one> taken(std::exchange(first, first->next));
  if (first == nullptr) end = &first;
  return taken->error;
}

void event_loop::raised::run(ready_node& node) {
  event_loop& loop = static_cast<raised&>(node).loop;
  if (!loop.on_exception_.present()) return loop.rethrow_raised();
  const std::exception_ptr error = loop.raised_.take_first();
  if (!loop.raised_.empty()) loop.ready(loop.raised_);
  std::rethrow_exception(error);
}

void event_loop::rethrow_raised(const std::exception_ptr& own) {
  check_thread();
  raised_.withdraw();
  if (on_exception_.present()) {
    while (!raised_.empty()) on_exception_.call(true, raised_.take_first());
  }
  if (own != nullptr && raised_.empty()) std::rethrow_exception(own);
  std::vector<std::exception_ptr> all;
  try {
    if (own != nullptr) add_each(all, own);
    while (!raised_.empty()) {
      all.reserve(all.size() + 1);
      all.push_back(raised_.take_first());
    }
    if (all.size() > 1) throw several_errors(all);
  } catch (const std::bad_alloc&) {
    // There is no memory to throw them together, so each is raised by itself.
    for (std::size_t i = 1; i < all.size(); ++i) raise(std::move(all[i]));
    if (!raised_.empty() && !raised_.queued()) ready(raised_);
    if (all.empty() && own != nullptr) std::rethrow_exception(own);
    if (all.empty()) throw;
  }
  if (!all.empty()) std::rethrow_exception(all[0]);
}

void event_loop::drop_raised() noexcept {
  while (!raised_.empty()) {
    const std::exception_ptr error = raised_.take_first();
    try {
      if (on_exception_.present()) on_exception_.call(true, error);
    } catch (...) {  // NOLINT(bugprone-empty-catch): no run could throw it
    }
  }
}

void event_loop::move_to_this_thread() noexcept {
  if (adopted_) thread_.store(this_thread(), std::memory_order_release);
}

int event_loop::descriptor() {
  check_thread();
  return engine_->descriptor();
}

std::optional<duration> event_loop::next_run() {
  check_thread();
  if (has_work() || !posts_->empty()) return duration::zero();
  std::optional<duration> left = engine_->time_to_next();
  if (has_work()) return duration::zero();  // a library's callback made some
  settle_delays();
  const timer_node* const first = timers_.first();
  if (first != nullptr && first->deadline() != time_point::max()) {
    const duration own =
        std::max(detail::between(read_clock(), first->deadline()), duration::zero());
    left = left ? std::min(*left, own) : own;
  }
  return left;
}

struct ev_loop* event_loop::native() noexcept {
  check_thread();
  return engine_->native();
}

event_loop::counts event_loop::count() const noexcept {
  check_thread();
  counts c{.ready = limits_.count(),
           .timers = timers_.size() - limits_.timers(),
           .waiting = waits_,
           .tasks = inspectables_};
  for (const detail::list_node& queue : queues_) {
    for (const detail::list_node* l = queue.next; l != &queue; l = l->next) ++c.ready;
  }
  return c;
}

std::string event_loop::dump() const {
  const counts c = count();
  std::string out;
  const auto line = [&out](std::size_t number, const char* what) {
    if (number != 0) detail::add_text(out, {number, " ", what, "\n"});
  };
  line(c.ready, "ready to run");
  line(c.timers, "timers set");
  line(watches_, "descriptors, signals, files or children watched");
  line(c.waiting, "of them waited for");
  line(keepers_, "work_guard");
  line(before_waits_.count(), "before_wait");
  line(c.tasks, "tasks:");
  detail::text_writer to(out, 1);
  describe_tasks(to);
  return out;
}

std::string event_loop::dump_json() const {
  const counts c = count();
  std::string out =
      detail::text({"{\"ready\":", c.ready, ",\"timers\":", c.timers, ",\"watched\":", watches_,
                    ",\"waiting\":", c.waiting, ",\"work_guard\":", keepers_, ",\"tasks\":"});
  detail::json_writer to(out);
  describe_tasks(to);
  to.close();
  return out + "}";
}

void event_loop::describe_tasks(description& to) const {
  for (const detail::list_node* l = inspected_.next; l != &inspected_; l = l->next) {
    static_cast<const inspectable*>(l)->describe(to);
  }
}

}  // namespace eddy
