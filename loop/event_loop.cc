// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/event_loop.h>

#include <algorithm>
#include <new>
#include <utility>

#include <eddy/loop/detail/engine.h>
#include <eddy/loop/detail/json.h>
#include <eddy/loop/detail/mailbox.h>
#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/observer.h>
#include <eddy/loop/detail/recycler.h>
#include <eddy/loop/detail/text.h>
#include <eddy/loop/inspectable.h>

namespace eddy {

constinit thread_local event_loop* event_loop::running_ = nullptr;

namespace {

/// A function in the ready queue: it deletes itself when it is run.
struct deferred : ready_node, detail::recycled {
  explicit deferred(handler<void()>&& f) noexcept : ready_node(&run), function(std::move(f)) {}

  static void run(ready_node& node) {
    const std::unique_ptr<deferred> self(static_cast<deferred*>(&node));
    self->function();
  }

  handler<void()> function;
};

}  // namespace

/// Makes a loop the one that runs on this thread, for a scope.
class event_loop::runs_here {
public:
  explicit runs_here(event_loop& loop) noexcept
      : loop_(loop), outer_(std::exchange(running_, &loop)) {
    if (loop_.in_turn_) {
      detail::misuse("a loop was run from one of its own handlers: a turn can't hold another");
    }
    loop_.in_turn_ = true;
    loop_.thread_.store(this_thread(), std::memory_order_relaxed);
  }
  runs_here(const runs_here&) = delete;
  runs_here& operator=(const runs_here&) = delete;
  ~runs_here() {
    loop_.in_turn_ = false;
    loop_.thread_.store(nullptr, std::memory_order_relaxed);
    running_ = outer_;
  }

private:
  event_loop& loop_;
  event_loop* outer_;
};

/// Eddy's own turns, for a scope.
class event_loop::at_work {
public:
  explicit at_work(event_loop& loop) noexcept : loop_(loop) { loop_.engine_->begin(); }
  at_work(const at_work&) = delete;
  at_work& operator=(const at_work&) = delete;
  ~at_work() {
    loop_.settle_delays();
    loop_.engine_->rest(loop_.mailbox_->sleep());
  }

private:
  event_loop& loop_;
};

event_loop::event_loop() : event_loop(nullptr, nullptr) {}

event_loop::event_loop(manual_clock& clock) : event_loop(nullptr, &clock) {}

event_loop::event_loop(struct ev_loop* adopted) : event_loop(adopted, nullptr) {
  if (adopted == nullptr)
    detail::misuse("event_loop was given no ev_loop to adopt: a null pointer");
}

event_loop::event_loop(struct ev_loop* adopted, manual_clock* clock)
    : parked_(adopted != nullptr),
      clock_(clock),
      mailbox_(std::make_shared<detail::mailbox>()),
      remote_(mailbox_),
      engine_(std::make_unique<detail::engine>(*this, adopted)) {}

event_loop::~event_loop() {
  if (in_turn_) detail::misuse("a loop was destroyed from one of its own handlers");
  mailbox_->close();
  for (detail::link* l = inspected_.next; l != &inspected_;) {
    l = static_cast<inspectable*>(l)->abandon() ? inspected_.next : l->next;
  }
  drop_queue();
  signals_.reset();
  files_.reset();
  sockets_.reset();
  if (timers_.size() != 0 || watches_ != 0 || inspectables_ != 0 || keepers_ != 0) {
    const std::string sentence =
        detail::text({"a loop was destroyed before what is on it, which must go first:\n", dump()});
    detail::misuse(sentence.c_str());
  }
}

void event_loop::drop_queue() noexcept {
  raised_.withdraw();
  queues_[others].splice_back(arrived_);
  for (detail::link& queue : queues_) {
    while (queue.linked()) {
      auto& node = static_cast<ready_node&>(*queue.next);
      node.unlink();
      if (node.run_ == &deferred::run) {
        delete static_cast<deferred*>(&node);
      } else {
        detail::mailbox::drop(node);
      }
    }
  }
}

void event_loop::wrong_thread() noexcept {
  detail::misuse(
      "a loop, or something on it, was used from another thread than the one that runs it: post "
      "is the way in");
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

time_point event_loop::after(duration delay) const noexcept {
  return detail::later(read_clock(), delay);
}

bool event_loop::has_work() const noexcept {
  return queued() || arrived_.linked() || more_due_ || (signals_ && signals_->pending());
}

bool event_loop::alive() const noexcept {
  if (waits_ != 0 || keepers_ != 0 || queued() || arrived_.linked() || !mailbox_->empty())
    return true;
  if (timers_.foreground() == 0) return false;
  if (clock_ == nullptr || clock_->when_idle() == manual_clock::idle::jump) return true;
  return *timers_.next() <= clock_->now();
}

void event_loop::gather() {
  now_known_ = false;
  if (!queues_[timers].linked()) {
    more_due_ = false;
    if (timers_.size() != 0) take_due_timers();
  }
  if (observer_ != nullptr && arrived_.linked()) [[unlikely]]
    observer_->choose(arrived_, queues_[arrivals]);
  else
    queues_[arrivals].splice_back(arrived_);
  if (signals_) signals_->gather(*this);
  mailbox_->take(queues_[posts]);
}

void event_loop::take_due_timers() noexcept {
  // No more than a turn may run: of a million, the others stay in their heap.
  for (int room = budget / 4; room != 0; --room) {
    timer_node* const due = timers_.take_due(now());
    if (due == nullptr) return;
    queues_[timers].push_back(*due);
  }
  more_due_ = true;
}

bool event_loop::time_is_over() noexcept {
  constexpr std::chrono::microseconds turn{500};
  constexpr std::chrono::microseconds slow{100};
  unlooked_ = unlooked_most_;
  if (clock_ != nullptr) return false;
  const time_point at = std::chrono::steady_clock::now();
  if (!turn_began_) {
    turn_began_ = at;
  } else {
    // Where handlers take long, each is looked at; where they don't, the look would
    // be a good part of what they cost.
    unlooked_most_ = at - looked_at_ > slow ? std::max(unlooked_most_ / 4, 1)
                                            : std::min(unlooked_most_ * 2, most_unlooked);
  }
  looked_at_ = at;
  unlooked_ = unlooked_most_;
  return at - *turn_began_ >= turn;
}

/// Runs entries of one queue until they have spent so much, and says how much.
template <bool Observed>
int event_loop::run_some(detail::link& queue, int most) {
  int spent = 0;
  try {
    while (queue.linked() && spent < most && halt_ == 0) {
      if constexpr (Observed) {
        observer_->at_point();
        if (!queue.linked() || halt_ != 0) break;
      }
      auto& node = static_cast<ready_node&>(*queue.next);
      __builtin_prefetch(node.next->next);  // of many timers, each is a cache miss
      node.unlink();
      left_ = share - 1;
      node.run_(node);
      spent += share - left_;
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
  halt_ &= stop_asked;
  turn_began_.reset();
  unlooked_ = unlooked_most_;
  int left = budget;
  bool over = false;
  bool any = false;
  for (bool first = true; queued(); first = false) {
    for (detail::link& queue : queues_) {
      for (int quantum = share; queue.linked() && quantum > 0;) {
        // Each kind has one at least, also in a turn that is over.
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
  if constexpr (Observed) observer_->at_point();
  return any;
}

bool event_loop::run_queues() {
  if (observer_ != nullptr) [[unlikely]]
    return run_queues_as<true>();
  return run_queues_as<false>();
}

bool event_loop::turn(bool may_wait) {
  engine_->renew();
  engine_->flush();
  bool wait = may_wait && !has_work();
  bool jump = false;
  if (wait && clock_ != nullptr && timers_.size() != 0) {
    const bool due = *timers_.next() <= clock_->now();
    jump = !due && clock_->when_idle() == manual_clock::idle::jump && keepers_ == 0 &&
           (timers_.foreground() != 0 || waits_ != 0);
    wait = !due && !jump;
  }
  if (wait) settle_delays();
  if (wait) wait = mailbox_->sleep();
  engine_->poll(wait);
  gather();
  if (jump && !has_work()) {
    clock_->advance_to(timers_.first()->deadline());
    gather();
  }
  if (wait && observer_ != nullptr && !has_work()) [[unlikely]]
    observer_->waited_in_vain();
  return run_queues();
}

void event_loop::adopted_turn() {
  const runs_here here(*this);
  gather();
  run_queues();
  settle_delays();
  halt_ = 0;
}

void event_loop::run() {
  const at_work now(*this);
  const runs_here here(*this);
  halt_ = 0;
  bool more = keeps_going();
  do {
    turn(more);
    more = keeps_going();
  } while (more && !stopped());
}

void event_loop::run_once() {
  const at_work now(*this);
  const runs_here here(*this);
  halt_ = 0;
  turn(keeps_going());
}

bool event_loop::run_ready() {
  const at_work now(*this);
  const runs_here here(*this);
  halt_ = 0;
  return turn(false);
}

void event_loop::stop() noexcept {
  check_thread();
  halt_ |= stop_asked;
  engine_->stop();
}

detail::observer::observer(event_loop& loop) noexcept : loop_(loop) { loop.observer_ = this; }

detail::observer::~observer() { loop_.observer_ = nullptr; }

void event_loop::unpark() noexcept { engine_->unpark(); }

bool event_loop::keeps_going() {
  // What is foreign may just have made something to do.
  return alive() || engine_->foreign() || alive();
}

void event_loop::defer(handler<void()> function) {
  check_thread();
  ready(*new deferred(std::move(function)));
}

void event_loop::on_exception(handler<void(std::exception_ptr)> take) noexcept {
  static_cast<void>(on_exception_.take());
  if (take) on_exception_.set(take);
}

void event_loop::raise(std::exception_ptr error) noexcept {
  try {
    defer([error] { std::rethrow_exception(error); });
  } catch (const std::bad_alloc&) {
    if (raised_.queued()) return;
    raised_.error = std::move(error);
    ready(raised_);
  }
}

void event_loop::raised::run(ready_node& node) {
  std::rethrow_exception(std::exchange(static_cast<raised&>(node).error, nullptr));
}

int event_loop::descriptor() { return engine_->descriptor(); }

std::optional<duration> event_loop::next_run() {
  if (has_work() || !mailbox_->empty()) return duration::zero();
  std::optional<duration> left = engine_->time_to_next();
  settle_delays();
  if (const timer_node* const first = timers_.first()) {
    const duration own = std::max(first->deadline() - read_clock(), duration::zero());
    left = left ? std::min(*left, own) : own;
  }
  return left;
}

struct ev_loop* event_loop::native() noexcept { return engine_->native(); }

event_loop::counts event_loop::count() const noexcept {
  counts c{.ready = 0, .timers = timers_.size(), .waiting = waits_, .tasks = inspectables_};
  for (const detail::link& queue : queues_) {
    for (const detail::link* l = queue.next; l != &queue; l = l->next) ++c.ready;
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
  line(keepers_, "keep_alive");
  line(c.tasks, "tasks:");
  return out + describe_tasks();
}

std::string event_loop::dump_json() const {
  const counts c = count();
  return detail::text({"{\"ready\":", c.ready, ",\"timers\":", c.timers, ",\"watched\":", watches_,
                       ",\"waiting\":", c.waiting, ",\"keep_alive\":", keepers_,
                       ",\"tasks\":", detail::json_of_tree(describe_tasks()), "}"});
}

std::string event_loop::describe_tasks() const {
  std::string out;
  for (const detail::link* l = inspected_.next; l != &inspected_; l = l->next) {
    static_cast<const inspectable*>(l)->describe(out);
  }
  return out;
}

}  // namespace eddy
