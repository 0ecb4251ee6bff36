// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/detail/limit_node.h>

#include <algorithm>
#include <bit>
#include <new>
#include <utility>

#include <eddy/loop/detail/loop_access.h>

namespace eddy::detail {

namespace {

constexpr std::chrono::milliseconds patience{10};  // twenty turns of half a millisecond
constexpr std::chrono::milliseconds late_patience{80};
constexpr std::uint16_t most_turns = 8;

/// Whether a count that wraps around has reached `goal`.
bool reached(std::uint16_t count, std::uint16_t goal) noexcept {
  return static_cast<std::int16_t>(static_cast<std::uint16_t>(count - goal)) >= 0;
}

}  // namespace

bool limit_node::gives_way() noexcept {
  if (std::exchange(released_, false)) return false;
  loop_access(loop()).give_way(*this);
  return true;
}

void limit_node::run_instead(ready_node& node) noexcept { loop_access(loop()).come_first(node); }

std::size_t due_limits::count() const noexcept {
  std::size_t n = 0;
  for (const list_node* l = waiting_.next; l != &waiting_; l = l->next) ++n;
  return n;
}

void due_limits::add(limit_node& limit, time_point now, bool held_clock, std::uint16_t looks,
                     std::size_t watches) noexcept {
  constexpr std::size_t first_look = 64;  // descriptors; a full look doubles it for the next
  limit.turn_ = turns_;
  limit.late_ = between(limit.deadline(), now) > patience;
  limit.last_ = plus(now, limit.late_ ? late_patience : patience);
  // One look more, because eddy's own descriptors may take the space of others.
  const auto more = limit.late_ ? std::bit_width(watches / first_look) : 0U;
  limit.looks_ = static_cast<std::uint16_t>(looks + 1U + more);
  waiting_.push_back(limit);
  if (limit.late_ && !held_clock && &limit == &first()) wake_at(plus(now, patience));
}

void due_limits::begin_turn(time_point now, bool held_clock, std::uint16_t looks,
                            list_node& due) noexcept {
  if (!std::exchange(drained_, false)) ++turns_;
  while (any()) {
    limit_node& limit = first();
    if (now < limit.last_ && !(held_clock && reached(turns_, limit.turn_ + most_turns))) {
      if (!limit.late_) return;
      const time_point may_end = plus(limit.last_, patience - late_patience);
      if (!held_clock && now < may_end) return wake_at(may_end);
      limit.late_ = !reached(looks, limit.looks_);
      if (!limit.late_) limit.last_ = std::min(limit.last_, plus(may_end, patience));
      return;
    }
    release(limit, due);
  }
}

bool due_limits::release_first(std::uint16_t looks, list_node& due) noexcept {
  drained_ = true;
  if (first().late_ || looks == last_release_ || !reached(looks, first().looks_)) return false;
  last_release_ = looks;
  release(first(), due);
  return true;
}

void due_limits::release(limit_node& limit, list_node& due) noexcept {
  limit.released_ = true;
  limit.unlink();
  due.push_back(limit);
}

void due_limits::wake_at(time_point when) noexcept {
  try {
    wake_.set(when);
  } catch (const std::bad_alloc&) {
    first().late_ = false;
  }
}

}  // namespace eddy::detail
