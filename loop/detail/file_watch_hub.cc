// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/detail/file_watch_hub.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <sys/inotify.h>
#include <unistd.h>

#include <eddy/loop/detail/engine.h>
#include <eddy/loop/detail/loop_access.h>
#include <eddy/loop/detail/text.h>
#include <eddy/loop/detail/throw_error.h>
#include <eddy/loop/event_loop.h>

namespace eddy::detail {

namespace {

struct kind {
  std::uint32_t mask;
  file_change what;
};

constexpr std::array kinds{
    kind{IN_MODIFY, file_change::modified},      kind{IN_CLOSE_WRITE, file_change::written},
    kind{IN_ATTRIB, file_change::attributes},    kind{IN_CREATE, file_change::created},
    kind{IN_DELETE, file_change::deleted},       kind{IN_MOVED_FROM, file_change::moved_from},
    kind{IN_MOVED_TO, file_change::moved_to},    kind{IN_DELETE_SELF, file_change::self_deleted},
    kind{IN_MOVE_SELF, file_change::self_moved}, kind{IN_Q_OVERFLOW, file_change::overflow},
    kind{IN_UNMOUNT, file_change::lost},         kind{IN_IGNORED, file_change::lost},
};

constexpr file_change always_told =
    file_change::self_deleted | file_change::overflow | file_change::lost;

std::uint32_t mask_of(file_change wanted) noexcept {
  std::uint32_t mask = IN_DELETE_SELF;
  for (const auto& k : kinds) {
    if (contains(wanted, k.what)) mask |= k.mask;
  }
  return mask & IN_ALL_EVENTS;
}

file_change change_of(std::uint32_t mask) noexcept {
  for (const auto& k : kinds) {
    if ((mask & k.mask) != 0) return k.what;
  }
  return file_change{};
}

// A kernel that keeps refusing would keep the loop busy without a pause.
constexpr std::chrono::milliseconds pause{100};

int make_inotify() noexcept { return ::inotify_init1(IN_CLOEXEC | IN_NONBLOCK); }

}  // namespace

file_watch_hub& file_watch_hub::of(event_loop& loop) {
  auto& part = loop_access(loop).files();
  if (!part) part = std::make_unique<file_watch_hub>(loop);
  return static_cast<file_watch_hub&>(*part);
}

file_watch_hub::file_watch_hub(event_loop& loop)
    : ready_node(&run),
      loop_(&loop),
      inotify_(make_inotify(), "watching files"),
      again_(*this, loop) {
  watch_inotify();
}

void file_watch_hub::watch_inotify() {
  readable_.emplace(*loop_, inotify_.number()).background(true);
}

int file_watch_hub::watch_path(const file_watch& watch) const noexcept {
  // Added to the events that other watches of the same file want. Events are never removed,
  // because the path may name another file by now.
  return ::inotify_add_watch(inotify_.number(), watch.path_.c_str(),
                             mask_of(watch.wanted_) | IN_MASK_ADD);
}

void file_watch_hub::add(file_watch& watch) {
  // In the child of a fork the inotify descriptor may still be shared with the parent.
  loop_access(*loop_).engine().renew();
  if (!readable_) renew(*loop_);
  const int number = watch_path(watch);
  if (number < 0) {
    const int error = errno;
    throw_error(std::errc(error), text({"watching ", visible(watch.path_)}));
  }
  try {
    detail::list_node& list = watches_[number];
    // The events that have arrived by now are not for this watch.
    while (read_some(later_)) {
    }
    list.push_back(watch.entry_);
  } catch (...) {
    forget(number);
    throw;
  }
  watch.watch_ = number;
  watch.since_ = base_ + read_.size() + later_.size();
  const loop_access inside(*loop_);
  inside.add_watch();
  if (!watch.background_) inside.begin_wait();
  inside.revive();
  if (later_.empty()) {
    wait();
  } else if (!queued()) {
    readable_->stop();
    loop_->ready(*this);
  }
}

void file_watch_hub::forget(int number) noexcept {
  const auto own = watches_.find(number);
  if (own != watches_.end() && own->second.linked()) return;
  // After a fork, the numbers are the parent's until `renew` has succeeded.
  if (readable_ && !loop_access(*loop_).engine().forked()) {
    ::inotify_rm_watch(inotify_.number(), number);
  }
  if (own != watches_.end()) watches_.erase(own);
}

void file_watch_hub::remove(file_watch& watch) noexcept { leave(watch); }

void file_watch_hub::leave(file_watch& watch) noexcept {
  const loop_access inside(*loop_);
  inside.remove_watch();
  if (!watch.background_) inside.end_wait();
  watch.entry_.unlink();

  const auto own = watches_.find(watch.watch_);
  detail::list_node& left = own->second;
  if (left.next != &cursor_) {
    if (left.linked()) return;
  } else {
    if (cursor_.next != &left) return;
    cursor_.unlink();
  }
  forget(own->first);
}

void file_watch_hub::wait() {
  if (!readable_) return renew(*loop_);
  if (!queued() && !readable_->waiting(readiness::direction::read)) {
    readable_->wait(readiness::direction::read, *this);
  }
}

void file_watch_hub::renew(event_loop& /*loop*/) {
  withdraw();
  readable_.reset();
  cursor_.unlink();
  base_ += read_.size() + later_.size();
  read_.clear();
  later_.clear();
  at_ = 0;
  // The steps that can fail come first, so that a failure leaves the lists intact.
  groups fresh;
  std::vector<int> numbers;
  try {
    inotify_.renew(&make_inotify);
    for (auto& [number, list] : watches_) {
      for (detail::list_node* l = list.next; l != &list; l = l->next) {
        numbers.push_back(
            std::max(watch_path(*static_cast<file_watch::entry*>(l)->owner), lost_number));
        fresh.try_emplace(numbers.back());
      }
    }
    read_.reserve(2 * sizeof(inotify_event));
    watch_inotify();
  } catch (...) {
    again_.set_after(pause);
    missed_ = true;
    throw;
  }
  auto number_of = numbers.cbegin();
  for (auto& [number, list] : watches_) {
    while (list.linked()) {
      file_watch& watch = *static_cast<file_watch::entry*>(list.next)->owner;
      watch.watch_ = *number_of++;
      watch.entry_.unlink();
      fresh.find(watch.watch_)->second.push_back(watch.entry_);
    }
  }
  watches_.swap(fresh);
  // Nobody has seen the changes since the first attempt.
  if (std::exchange(missed_, false)) make_up(-1, IN_Q_OVERFLOW);
  if (watches_.contains(lost_number)) make_up(lost_number, IN_UNMOUNT);
  if (!read_.empty()) {
    loop_->ready(*this);
  } else if (!watches_.empty()) {
    wait();
  }
}

void file_watch_hub::make_up(int number, std::uint32_t mask) noexcept {
  inotify_event made{};
  made.wd = number;
  made.mask = mask;
  const auto* const bytes = reinterpret_cast<const char*>(&made);
  read_.insert(read_.end(), bytes, bytes + sizeof made);
}

bool file_watch_hub::read_some(std::vector<char>& to) {
  constexpr std::size_t some = 4096;
  const std::size_t before = to.size();
  to.resize(before + some);
  const ::ssize_t n = ::read(inotify_.number(), to.data() + before, some);
  to.resize(before + static_cast<std::size_t>(std::max<::ssize_t>(n, 0)));
  return n > 0;
}

bool file_watch_hub::read_more() {
  base_ += at_;
  at_ = 0;
  telling_ = -1;
  read_.clear();
  read_.swap(later_);
  return !read_.empty() || read_some(read_);
}

file_watch* file_watch_hub::next_to_tell() noexcept {
  while (at_ < read_.size()) {
    inotify_event event;
    std::memcpy(&event, read_.data() + at_, sizeof event);
    const bool for_all = event.wd < 0;

    auto group = watches_.end();
    if (cursor_.linked()) {
      group = watches_.find(telling_);
    } else {
      // For all watches: those of the number after the last one.
      group = for_all ? watches_.upper_bound(telling_) : watches_.find(event.wd);
      if (group != watches_.end()) {
        group->second.push_front(cursor_);
        telling_ = group->first;
      }
    }
    if (group == watches_.end() || cursor_.next == &group->second) {
      cursor_.unlink();
      if (for_all && group != watches_.end()) continue;
      at_ += sizeof event + event.len;
      telling_ = -1;
      continue;
    }

    detail::list_node& element = *cursor_.next;
    cursor_.unlink();
    element.next->push_back(cursor_);
    file_watch& watch = *static_cast<file_watch::entry&>(element).owner;
    const file_change what = change_of(event.mask);
    if (watch.since_ <= position() && contains(watch.wanted_ | always_told, what)) return &watch;
  }
  return nullptr;
}

void file_watch_hub::run(ready_node& node) { static_cast<file_watch_hub&>(node).tell_next(); }

void file_watch_hub::tell_next() {
  // The descriptor is still the parent's. The next turn renews it, and waits again.
  if (loop_access(*loop_).engine().forked()) return;
  if (at_ == read_.size() && !read_more()) {
    if (const std::error_code refused = readable_->error()) {
      again_.set_after(pause);
      throw_error(refused, "watching files");
    }
    return wait();
  }
  loop_->ready(*this);
  file_watch* const watch = next_to_tell();
  if (watch == nullptr) return;

  inotify_event event;
  std::memcpy(&event, read_.data() + at_, sizeof event);
  const file_event told{
      .what = change_of(event.mask),
      .name =
          event.len != 0 ? std::string_view(read_.data() + at_ + sizeof event) : std::string_view(),
      .directory = (event.mask & IN_ISDIR) != 0,
      .move = event.cookie,
  };
  const bool over = contains(file_change::self_deleted | file_change::lost, told.what);
  if (over) leave(*watch);
  watch->on_change_.call(!over, told);
}

}  // namespace eddy::detail
