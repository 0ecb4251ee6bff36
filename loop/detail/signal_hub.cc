// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/detail/signal_hub.h>

#include <bit>
#include <cerrno>
#include <memory>
#include <mutex>

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include <eddy/loop/detail/loop_access.h>
#include <eddy/loop/detail/post_queue.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/signal.h>

namespace eddy::detail {

namespace {

static_assert(std::atomic<std::uint64_t>::is_always_lock_free);
static_assert(std::atomic<int>::is_always_lock_free);
static_assert(std::atomic<signal_slot*>::is_always_lock_free);

// The slots of all loops, also of destroyed loops: a list that only grows.
constinit std::atomic<signal_slot*> slots{nullptr};

// Guards the data that the signal handler does not use.
constinit std::mutex guard;
constinit std::array<unsigned, signal_hub::largest> loops_that_want{};
constinit std::array<struct sigaction, signal_hub::largest> before{};

std::size_t index(int number) noexcept { return static_cast<std::size_t>(number) - 1; }
std::uint64_t bit(int number) noexcept { return std::uint64_t{1} << index(number); }

extern "C" void eddy_on_signal(int number) {
  const int saved_errno = errno;
  const std::uint64_t mine = bit(number);
  for (signal_slot* s = slots.load(); s != nullptr; s = s->next) {
    // Counted before reading the slot: `~signal_hub` first clears `wanted`, then waits until no
    // handler reads the slot, and only then closes the eventfd.
    s->users.fetch_add(1);
    if ((s->wanted.load() & mine) != 0 && s->pending.fetch_or(mine) == 0) {
      const std::uint64_t one = 1;
      if (const int wake = s->wake.load(); wake >= 0) {
        static_cast<void>(!::write(wake, &one, sizeof one));
      }
    }
    s->users.fetch_sub(1);
  }
  errno = saved_errno;
}

// All signals are blocked during a fork: the child could not tell a signal to itself from a signal
// to the parent.
sigset_t mask_before_fork;

void before_fork() noexcept {
  sigset_t all;
  ::sigfillset(&all);
  sigset_t old;
  ::pthread_sigmask(SIG_SETMASK, &all, &old);
  guard.lock();
  mask_before_fork = old;
}

void after_fork() noexcept {
  const sigset_t old = mask_before_fork;
  guard.unlock();
  ::pthread_sigmask(SIG_SETMASK, &old, nullptr);
}

// In the child: signals to the parent were not for the child, the signal handlers of other threads
// do not run here, and the eventfds are the parent's.
void begin_child() noexcept {
  for (signal_slot* s = slots.load(); s != nullptr; s = s->next) {
    s->users.store(0);
    s->wake.store(-1);
    s->pending.store(0);
  }
  after_fork();
}

signal_slot* take_slot() {
  [[maybe_unused]] static const int registered =
      ::pthread_atfork(&before_fork, &after_fork, &begin_child);
  const std::scoped_lock lock(guard);
  for (signal_slot* s = slots.load(); s != nullptr; s = s->next) {
    if (!s->taken) {
      s->taken = true;
      return s;
    }
  }
  auto* const fresh = new signal_slot;
  fresh->next = slots.load();
  slots.store(fresh);
  return fresh;
}

void want(int number) noexcept {
  if (loops_that_want[index(number)]++ != 0) return;
  struct sigaction ours{};
  ours.sa_handler = &eddy_on_signal;
  ours.sa_flags = SA_RESTART | SA_ONSTACK;
  ::sigfillset(&ours.sa_mask);
  ::sigaction(number, &ours, &before[index(number)]);
}

void unwant(int number) noexcept {
  if (--loops_that_want[index(number)] != 0) return;
  // An action that other code has installed meanwhile stays.
  struct sigaction now{};
  ::sigaction(number, nullptr, &now);
  if (now.sa_handler == &eddy_on_signal) ::sigaction(number, &before[index(number)], nullptr);
}

}  // namespace

signal_hub& signal_hub::of(event_loop& loop) {
  const loop_access inside(loop);
  if (!inside.signals()) inside.signals() = std::make_unique<signal_hub>(inside.posts().wake_up());
  return static_cast<signal_hub&>(*inside.signals());
}

signal_hub::signal_hub(int wake) : slot_(take_slot()) { slot_->wake.store(wake); }

void signal_hub::renew(event_loop& loop) {
  slot_->wake.store(loop_access(loop).posts().wake_up());
  // Signals to the parent were not for this process.
  given_back_ = missed_ = kept_ = 0;
  for (list_node& watchers : watchers_) {
    for (list_node* l = watchers.next; l != &watchers; l = l->next) {
      static_cast<signal::entry*>(l)->owner->withdraw();
    }
  }
}

signal_hub::~signal_hub() {
  const std::scoped_lock lock(guard);
  const std::uint64_t left = slot_->wanted.exchange(0);
  for (int number = 1; number <= largest; ++number) {
    if ((left & bit(number)) != 0) unwant(number);
  }
  while (slot_->users.load() != 0) ::sched_yield();
  slot_->wake.store(-1);
  slot_->pending.store(0);
  slot_->taken = false;
}

void signal_hub::add(int number, list_node& watcher) noexcept {
  list_node& watchers = watchers_[index(number)];
  const bool first = !watchers.linked();
  watchers.push_back(watcher);
  if (!first) return;
  const std::scoped_lock lock(guard);
  slot_->wanted.fetch_or(bit(number));
  want(number);
}

void signal_hub::remove(int number, list_node& watcher, bool waits) noexcept {
  const auto missed = [&] { return slot_->pending.load() & bit(number); };
  watcher.unlink();
  if (watchers_[index(number)].linked()) {
    if (waits) missed_ |= missed();
    return;
  }
  const std::scoped_lock lock(guard);
  slot_->wanted.fetch_and(~bit(number));
  while (slot_->users.load() != 0) ::sched_yield();
  unwant(number);
  kept_ |= (waits ? bit(number) : missed_) & missed();
  missed_ &= ~bit(number);
  slot_->pending.fetch_and(~bit(number));
}

void signal_hub::unheard(event_loop& loop, int number, bool given_back) noexcept {
  if (given_back) given_back_ |= bit(number);
  std::uint32_t& told = told_[index(number)];
  if (told == 0) return;
  --told;
  if (told != 0 || (given_back_ & bit(number)) == 0) return;
  given_back_ &= ~bit(number);
  // The watchers that began to wait since.
  list_node& watchers = watchers_[index(number)];
  for (list_node* l = watchers.next; l != &watchers; l = l->next) {
    signal& other = *static_cast<signal::entry*>(l)->owner;
    if (other.node_ == nullptr || other.queued()) continue;
    loop.ready(other);
    ++told;
  }
  if (told == 0) kept_ |= bit(number);
}

bool signal_hub::take_back(int number) noexcept {
  const bool there = (kept_ & bit(number)) != 0;
  kept_ &= ~bit(number);
  if (there) told_[index(number)] = 1;
  return there;
}

void signal_hub::gather(event_loop& loop) noexcept {
  if (!pending()) return;
  std::uint64_t come = slot_->pending.exchange(0);
  given_back_ &= ~come;
  missed_ &= ~come;
  kept_ &= ~come;  // signals that arrive close together are reported once
  while (come != 0) {
    const auto which = static_cast<std::size_t>(std::countr_zero(come));
    list_node& watchers = watchers_[which];
    told_[which] = 0;
    for (list_node* l = watchers.next; l != &watchers; l = l->next) {
      signal& owner = *static_cast<signal::entry*>(l)->owner;
      if (!owner.queued()) loop_access(loop).arrive(owner);
      ++told_[which];
    }
    come &= come - 1;
  }
}

}  // namespace eddy::detail
