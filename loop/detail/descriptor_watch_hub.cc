// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/detail/descriptor_watch_hub.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <iterator>
#include <memory>
#include <system_error>
#include <utility>

#include <sys/epoll.h>

#include <eddy/loop/detail/engine.h>
#include <eddy/loop/detail/loop_access.h>
#include <eddy/loop/detail/text.h>
#include <eddy/loop/detail/throw_error.h>
#include <eddy/loop/event_loop.h>

namespace eddy::detail {

namespace {

using events = descriptor_events;

// A kernel that keeps refusing would keep the loop busy without a pause.
constexpr std::chrono::milliseconds pause{100};

// The serial numbers of groups begin with one, so no descriptor has this key.
constexpr std::uint64_t edges_key = 0;

// As many events are taken by one call.
constexpr int most = 64;

int make_set() noexcept { return ::epoll_create1(EPOLL_CLOEXEC); }

std::uint32_t mask_of(events wanted) noexcept {
  std::uint32_t mask = 0;
  if (contains(wanted, events::readable)) mask |= EPOLLIN;
  if (contains(wanted, events::writable)) mask |= EPOLLOUT;
  if (contains(wanted, events::priority)) mask |= EPOLLPRI;
  if (contains(wanted, events::hang_up)) mask |= EPOLLRDHUP;
  return mask;
}

events events_of(std::uint32_t mask) noexcept {
  events all = events::none;
  if ((mask & EPOLLIN) != 0) all = all | events::readable;
  if ((mask & EPOLLOUT) != 0) all = all | events::writable;
  if ((mask & EPOLLPRI) != 0) all = all | events::priority;
  if ((mask & (EPOLLRDHUP | EPOLLHUP)) != 0) all = all | events::hang_up;
  if ((mask & EPOLLERR) != 0) all = all | events::error;
  return all;
}

/// The conditions that are told to a watch: those that it wants, and errors and hang-ups.
events told_of(events all, events wanted) noexcept {
  const auto some = static_cast<unsigned>(wanted | events::hang_up | events::error);
  return static_cast<events>(static_cast<unsigned>(all) & some);
}

/// The conditions that a watch gets though it does not want them.
events unwanted_of(events all, events wanted) noexcept {
  const auto some = static_cast<unsigned>(events::hang_up | events::error);
  return static_cast<events>(static_cast<unsigned>(all) & some & ~static_cast<unsigned>(wanted));
}

std::uint64_t key_of(int descriptor, std::uint32_t serial) noexcept {
  return std::uint64_t{serial} << 32 | static_cast<std::uint32_t>(descriptor);
}

int wait_for(int set, std::array<epoll_event, most>& found) noexcept {
  int count = -1;
  do {
    count = ::epoll_wait(set, found.data(), most, 0);
  } while (count < 0 && errno == EINTR);
  return count;
}

}  // namespace

descriptor_watch_hub& descriptor_watch_hub::of(event_loop& loop) {
  auto& part = loop_access(loop).engine().descriptor_watches();
  if (!part) part = std::make_unique<descriptor_watch_hub>(loop);
  return static_cast<descriptor_watch_hub&>(*part);
}

descriptor_watch_hub::descriptor_watch_hub(event_loop& loop)
    : ready_node(&run),
      loop_(&loop),
      set_(make_set(), "watching descriptors"),
      again_(*this, loop) {
  watch_set();
}

void descriptor_watch_hub::watch_set() {
  readable_.emplace(*loop_, set_.number()).background(true);
}

int descriptor_watch_hub::show(int operation, int descriptor, const group& of) const noexcept {
  epoll_event wanted{};
  for (const detail::list_node* l = of.watches.next; l != &of.watches; l = l->next) {
    wanted.events |= mask_of(static_cast<const descriptor_watch::entry*>(l)->owner->wanted_);
  }
  if (of.quiet) wanted.events |= EPOLLET;
  wanted.data.u64 = key_of(descriptor, of.serial);
  return ::epoll_ctl(set_.number(), operation, descriptor, &wanted) == 0 ? 0 : errno;
}

bool descriptor_watch_hub::show_edges(int descriptor, group& of) noexcept {
  if (of.edges) return true;
  epoll_event wanted{};
  if (edges_.number() < 0) {
    detail::descriptor fresh(make_set());
    wanted.events = EPOLLIN;
    wanted.data.u64 = edges_key;
    if (fresh.number() < 0 ||
        ::epoll_ctl(set_.number(), EPOLL_CTL_ADD, fresh.number(), &wanted) != 0) {
      return false;
    }
    edges_ = std::move(fresh);
  }
  wanted.events = EPOLLET;
  wanted.data.u64 = key_of(descriptor, of.serial);
  of.edges = ::epoll_ctl(edges_.number(), EPOLL_CTL_ADD, descriptor, &wanted) == 0;
  return of.edges;
}

void descriptor_watch_hub::drop_edges() noexcept {
  edges_ = {};
  for (auto& [number, of] : groups_) {
    of.edges = false;
    for (detail::list_node* l = of.watches.next; l != &of.watches; l = l->next) {
      static_cast<descriptor_watch::entry*>(l)->owner->quiet_ = false;
    }
  }
}

void descriptor_watch_hub::erase(groups::iterator own) noexcept {
  const int number = own->first;
  static_cast<void>(show(EPOLL_CTL_DEL, number, own->second));
  if (own->second.edges) ::epoll_ctl(edges_.number(), EPOLL_CTL_DEL, number, nullptr);
  groups_.erase(own);
}

void descriptor_watch_hub::add(descriptor_watch& watch) {
  // In the child of a fork the set may still be shared with the parent.
  engine& engine = loop_access(*loop_).engine();
  engine.renew();
  if (!readable_) renew(*loop_);
  const int number = watch.descriptor_;
  int error = engine.owns(number) ? EINVAL : engine.enter(set_.number());
  if (error != 0) throw_error(std::errc(error), text({"watching descriptor ", number}));
  group& own = groups_[number];
  error = ENOENT;
  if (own.watches.linked()) {
    own.watches.push_back(watch.entry_);
    own.quiet = false;
    error = show(EPOLL_CTL_MOD, number, own);
    if (error == ENOENT || error == EBADF) {  // the others' descriptor was closed
      watch.entry_.unlink();
      fail(own, EBADF);
    }
  }
  if (error == ENOENT) {
    own.serial = ++serials_;
    own.quiet = false;
    own.edges = false;
    own.watches.push_back(watch.entry_);
    error = show(EPOLL_CTL_ADD, number, own);
  }
  if (error != 0) {
    watch.entry_.unlink();
    if (!own.watches.linked()) groups_.erase(number);
    throw_error(std::errc(error), text({"watching descriptor ", number}));
  }
  const loop_access inside(*loop_);
  inside.add_watch();
  if (!watch.background_) inside.begin_wait();
  inside.revive();
  wait();
}

void descriptor_watch_hub::leave(descriptor_watch& watch) noexcept {
  watch.entry_.unlink();
  const loop_access inside(*loop_);
  inside.remove_watch();
  if (!watch.background_) inside.end_wait();
}

void descriptor_watch_hub::remove(descriptor_watch& watch) noexcept {
  leave(watch);
  const int number = watch.descriptor_;
  const auto own = groups_.find(number);
  const bool last = !own->second.watches.linked();
  // After a fork, `renew` makes a new set. If the descriptor was closed, there is no entry.
  const bool shown = readable_ && !loop_access(*loop_).engine().forked();
  if (last && shown) return erase(own);
  if (last) {
    groups_.erase(own);
  } else if (shown) {
    static_cast<void>(show(EPOLL_CTL_MOD, number, own->second));
  }
}

void descriptor_watch_hub::fail(group& of, int error) noexcept {
  while (of.watches.linked()) {
    descriptor_watch& watch = *static_cast<descriptor_watch::entry*>(of.watches.next)->owner;
    leave(watch);
    watch.failure_ = error;
    if (!watch.queued()) loop_->ready(watch);
  }
}

void descriptor_watch_hub::wait() {
  if (!readable_) return renew(*loop_);
  if (queued() || readable_->waiting(readiness::direction::read)) return;
  readable_->wait(readiness::direction::read, *this);
}

void descriptor_watch_hub::replace_set() {
  try {
    detail::descriptor fresh(make_set(), "watching descriptors");
    readiness of_fresh(*loop_, fresh.number());
    of_fresh.background(true);
    if (const int error = loop_access(*loop_).engine().enter(fresh.number()); error != 0) {
      throw_error(std::errc(error), "watching descriptors");
    }
    *readable_ = std::move(of_fresh);
    set_ = std::move(fresh);
    drop_edges();
  } catch (...) {
    again_.set_after(pause);
    throw;
  }
}

void descriptor_watch_hub::run(ready_node& node) {
  static_cast<descriptor_watch_hub&>(node).look();
}

void descriptor_watch_hub::look() {
  // The set is still the parent's. The next turn renews it, and waits again.
  if (loop_access(*loop_).engine().forked()) return;
  if (const std::error_code refused = readable_->error()) {
    again_.set_after(pause);
    throw_error(refused, "watching descriptors");
  }
  std::array<epoll_event, most> found;
  const int count = wait_for(set_.number(), found);
  for (int i = 0; i < count; ++i) {
    const epoll_event& e = found[static_cast<std::size_t>(i)];
    if (e.data.u64 == edges_key) {
      look_at_edges();
      continue;
    }
    const auto own = groups_.find(static_cast<int>(static_cast<std::uint32_t>(e.data.u64)));
    if (own == groups_.end() || own->second.serial != e.data.u64 >> 32) {
      // A copy of a closed descriptor keeps its entry, which can be removed with its set alone.
      replace_set();
      show_all();
      break;
    }
    report(e.data.u64, e.events);
  }
  if (!groups_.empty()) wait();
}

void descriptor_watch_hub::look_at_edges() noexcept {
  std::array<epoll_event, most> found;
  const int count = wait_for(edges_.number(), found);
  for (int i = 0; i < count; ++i) {
    const epoll_event& e = found[static_cast<std::size_t>(i)];
    const auto own = groups_.find(static_cast<int>(static_cast<std::uint32_t>(e.data.u64)));
    // A copy of a closed descriptor keeps its entry, whose edges keep no loop busy.
    if (own == groups_.end() || own->second.serial != e.data.u64 >> 32) continue;
    detail::list_node& all = own->second.watches;
    for (detail::list_node* l = all.next; l != &all; l = l->next) {
      descriptor_watch& watch = *static_cast<descriptor_watch::entry*>(l)->owner;
      const events told = unwanted_of(events_of(e.events), watch.wanted_);
      if (!watch.quiet_ || told == events::none) continue;
      watch.seen_ = watch.seen_ | told;
      if (!watch.queued()) loop_->ready(watch);
    }
  }
}

void descriptor_watch_hub::report(std::uint64_t key, std::uint32_t mask) {
  const auto place = groups_.find(static_cast<int>(static_cast<std::uint32_t>(key)));
  auto& [number, own] = *place;
  const events all = events_of(mask);
  bool wanted = false;
  bool changed = false;
  for (detail::list_node* l = own.watches.next; l != &own.watches;) {
    descriptor_watch& watch =
        *static_cast<descriptor_watch::entry*>(std::exchange(l, l->next))->owner;
    const events told = told_of(all, watch.wanted_);
    if (told == events::none) continue;
    if (contains(all, watch.wanted_)) {
      wanted = true;
    } else if (watch.quiet_) {
      continue;
    } else if (!watch.once_) {
      // From now on only the edges of an unwanted condition are told, however often this set
      // reports the descriptor to others.
      watch.quiet_ = show_edges(number, own);
    }
    watch.seen_ = watch.seen_ | told;
    if (watch.once_) {
      leave(watch);
      changed = true;
    }
    if (!watch.queued()) loop_->ready(watch);
  }
  if (!own.watches.linked()) return erase(place);
  const bool quiet = !wanted;
  changed = changed || quiet != own.quiet;
  own.quiet = quiet;
  if (changed) static_cast<void>(show(EPOLL_CTL_MOD, number, own));
}

void descriptor_watch_hub::show_all() noexcept {
  for (auto own = groups_.begin(); own != groups_.end();) {
    auto& [number, of] = *own;
    const int error = of.watches.linked() ? show(EPOLL_CTL_ADD, number, of) : 0;
    if (error != 0) fail(of, error);
    own = of.watches.linked() ? std::next(own) : groups_.erase(own);
  }
}

void descriptor_watch_hub::renew(event_loop& /*loop*/) {
  withdraw();
  readable_.reset();
  drop_edges();
  try {
    set_.renew(&make_set);
    watch_set();
  } catch (...) {
    again_.set_after(pause);
    throw;
  }
  show_all();
  if (!groups_.empty()) wait();
}

}  // namespace eddy::detail
