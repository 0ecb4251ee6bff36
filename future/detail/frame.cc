// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/future/detail/frame.h>

#include <algorithm>
#include <bit>
#include <source_location>
#include <string>
#include <utility>

#include <eddy/future/detail/await_trail.h>
#include <eddy/future/detail/future_core.h>
#include <eddy/future/detail/ring_finder.h>
#include <eddy/loop/description.h>
#include <eddy/loop/detail/deep_stack.h>
#include <eddy/loop/detail/location.h>
#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/text.h>
#include <eddy/loop/event_loop.h>

namespace eddy::detail {

namespace {

// The depth of the await tree below which a description is cut short.
constexpr int deepest = 32;

// How many bytes of its awaiter's stack an awaited coroutine may start on. A deeper chain goes on
// from the ready queue, so that even a thread with a stack of 64 KiB does not overflow.
constexpr std::ptrdiff_t stack_room = std::ptrdiff_t{16} * 1024;

}  // namespace

constinit thread_local frames_of_thread frames_here [[gnu::tls_model("initial-exec")]];

bool frame::start_later() noexcept {
  event_loop::current()->ready(*this);
  return false;
}

bool frame::wait_its_turn() noexcept {
  event_loop::current()->ready(*this);
  return true;
}

void frame::resume(frame& first) noexcept {
  activation& here = frames_here.top;
  if (here.current != nullptr) return resume_nested(first);
  here.stack_end = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0)) - stack_room;
  here.current = &first;
  do {
    here.current->waits_for_ = 0;
    here.current->handle().resume();
    here.current = std::exchange(here.next, nullptr);
    if (here.chores) do_chores();
  } while (here.current != nullptr);
}

void frame::resume_nested(frame& first) noexcept {
  activation outer = std::exchange(frames_here.top, activation());
  frames_here.top.outer = &outer;
  resume(first);
  frames_here.top = outer;
}

void frame::do_chores() noexcept {
  activation& here = frames_here.top;
  here.chores = false;
  if (here.retired != nullptr) destroy(*std::exchange(here.retired, nullptr));
  if (here.ended != nullptr) std::exchange(here.ended, nullptr)->end_body();
  while (future_core* const dropped = here.dropped) {
    here.dropped = dropped->next_dropped_;
    // The coroutine that would be resumed now belongs to the dropped task.
    here.current = nullptr;
    dropped->drop_body();
  }
}

void frame::resume_next(frame& waiter) noexcept {
  activation& here = frames_here.top;
  if (here.next == nullptr) {
    here.next = &waiter;
  } else {
    event_loop::current()->ready(waiter);
  }
}

void frame::tell_end() noexcept {
  if ((then_ & kinds) == 0) {
    resume_next(*pointer_in<frame>(then_));
  } else if ((then_ & for_future) != 0) {
    auto& behind = *pointer_in<future_core>(then_);
    if (behind.dropping_) return;
    frames_here.top.ended = &behind;
    frames_here.top.chores = true;
  } else {
    pointer_in<completion>(then_)->ended();
  }
}

void frame::end_with_error() noexcept {
  if (frames_here.dying == this) frames_here.dying = nullptr;  // a destructor has thrown
  const void* const where = where_;
  std::construct_at(&error_, std::current_exception());
  waits_for_ = ended_with_error;
  const frame* const waiter = above();
  const bool waits = waiter != nullptr && waiter->waits_for_ != 0;
  error_passes(error_, *this, where, waits ? waiter : nullptr, waits ? waiter->where_ : nullptr);
}

void frame::raise_error() noexcept {
  raise(std::move(error_));
  error_.~exception_ptr();
}

void frame::raise(std::exception_ptr error) const noexcept {
  if (event_loop* const on = loop()) on->raise(std::move(error));
}

event_loop* frame::loop() const noexcept {
  for (const frame* f = this; f != nullptr; f = f->above()) {
    if ((f->then_ & for_future) != 0) return &pointer_in<future_core>(f->then_)->loop();
  }
  return event_loop::current();
}

void frame::error_comes(const std::exception_ptr& error) const noexcept {
  error_waits(error, *this, where_);
}

void frame::error_comes_now(const std::exception_ptr& error) noexcept {
  if (const frame* const by = frames_here.top.current) by->error_comes(error);
}

void frame::error_is_given(const std::exception_ptr& error) noexcept {
  const frame* const by = frames_here.top.current;
  detail::error_is_given(error, by, by != nullptr ? by->where_ : nullptr);
}

void frame::error_comes_again(const std::exception_ptr& error) noexcept {
  const frame* const by = frames_here.top.current;
  if (by != nullptr) detail::error_comes_again(error, *by, by->where_);
}

void frame::ended_without_value(std::source_location where) noexcept {
  misuse("a task that gives a value ended without co_return; its last co_await", where);
}

frame* frame::above() const noexcept {
  if ((then_ & for_completion) != 0) return pointer_in<completion>(then_)->waiter_;
  if ((then_ & for_future) != 0) return pointer_in<future_core>(then_)->waiter();
  return pointer_in<frame>(then_);
}

frame* frame::child() const noexcept {
  if (failed()) return nullptr;
  if ((waits_for_ & for_child) != 0) return pointer_in<child_owner>(waits_for_)->child_;
  return waits_for_ == 0 ? nullptr : pointer_in<suspension>(waits_for_)->child();
}

/// Fills `all` for the running coroutine, from the inside out, until `enough()`.
template <class Enough>
void frame::look_up(ambient& all, Enough enough) noexcept {
  const frame* f = frames_here.top.current;
  ring_finder rings;
  while (f != nullptr && !rings.closed_by(f)) {
    if ((f->then_ & for_future) != 0) pointer_in<future_core>(f->then_)->add_to(all);
    if (enough()) return;
    f = f->above();
    if (f != nullptr && f->waits_for_ != 0 && (f->waits_for_ & for_child) == 0) {
      pointer_in<suspension>(f->waits_for_)->add_to(all);
      if (enough()) return;
    }
  }
}

ambient frame::ambient_here() noexcept {
  ambient all;
  look_up(all, [] { return false; });
  return all;
}

local_values frame::locals_here() noexcept {
  ambient all;
  look_up(all, [&all] { return all.locals != nullptr; });
  return all.values();
}

void frame::end() noexcept {
  for (cancellation* c = frames_here.cancellations; c != nullptr; c = c->outer_) {
    if (c->waiter_ == this) c->waiter_ = nullptr;
  }
  // A destructor that throws brings the coroutine to its final suspension, with that error. Its
  // waiter must not be resumed then.
  then_ |= starting;
  frame* const outer = frames_here.dying;
  frames_here.dying = this;
  handle().destroy();
  if (frames_here.dying != this) handle().destroy();
  frames_here.dying = outer;
}

void frame::destroy_all(frame& top) noexcept {
  without_overflow([&top] {
    if (top.child() == nullptr) return top.end();
    destroy_upwards(innermost_below(top), top);
  });
}

void frame::destroy_and_leave(frame& top) noexcept {
  const cancellation under_way(top.above());
  without_overflow([&top] {
    frame& innermost = innermost_below(top);
    top.then_ = starting;
    destroy_upwards(innermost, top);
  });
}

/// Stops the program if `top` is in a ring, because the coroutine that is about to destroy `top`
/// would be destroyed with it. In a ring, the walk down either reaches `top` again, or ends at a
/// coroutine that awaits several; `top` is one of these, and the last task on the walk awaits it.
frame& frame::innermost_below(frame& top) noexcept {
  frame* innermost = &top;
  const frame* last_task = nullptr;
  while (frame* const child = innermost->child()) {
    if (child == &top) stop_at_ring();
    innermost = child;
    if ((child->then_ & for_future) != 0) last_task = child;
  }
  if (last_task != nullptr) {
    if (top.is_below(*last_task)) stop_at_ring();
    top.waits_for_ |= in_no_ring;
  }
  return *innermost;
}

/// Whether `awaiter` awaits this coroutine, directly or through others.
///
/// A walk ends where an earlier walk began: coroutines below one that is in no ring are in no ring
/// either. So all walks together, while a deep tree is destroyed, visit each coroutine once. A
/// running coroutine is below none that is being destroyed, so its walk is never cut short.
bool frame::is_below(const frame& awaiter) const noexcept {
  ring_finder rings;
  for (const frame* f = this; f != nullptr && !rings.closed_by(f); f = f->above()) {
    if (f == &awaiter) return true;
    if ((f->waits_for_ & in_no_ring) != 0) return false;
  }
  return false;
}

activation* frame::activation_below(const frame& awaiter) noexcept {
  activation* found = nullptr;
  for (activation* a = &frames_here.top; a != nullptr; a = a->outer) {
    if (a->current != nullptr && a->current->is_below(awaiter)) found = a;
  }
  return found;
}

void frame::destroy_upwards(frame& innermost_of_all, frame& top) noexcept {
  frame* innermost = &innermost_of_all;
  while (innermost != &top) {
    frame& dying = *innermost;
    innermost = dying.above();
    if ((dying.then_ & for_future) != 0) {
      pointer_in<future_core>(dying.then_)->destroy_body();
    } else if ((innermost->waits_for_ & for_child) != 0) {
      pointer_in<child_owner>(innermost->waits_for_)->child_ = nullptr;
      dying.end();
    } else {
      pointer_in<suspension>(innermost->waits_for_)->destroy_child();
    }
  }
  top.end();
}

std::source_location frame::place() const noexcept {
  return std::bit_cast<std::source_location>(done() ? nullptr : where_);
}

std::source_location frame::users_place() const noexcept {
  for (const frame* f = this; f != nullptr; f = f->above()) {
    if (is_the_users(f->place())) return f->place();
    const bool spawned = (f->then_ & for_future) != 0;
    // The coroutine that joins a scope is not where the scope's tasks began.
    if (spawned && pointer_in<future_core>(f->then_)->for_scope()) return {};
  }
  return {};
}

void frame::describe(description& to) const {
  if (to.depth() > deepest) return to.add("...");
  const frame* told = this;
  std::size_t skipped = 0;
  if (to.depth() == deepest) {
    ring_finder rings;
    for (; told->child() != nullptr; ++skipped) {
      told = told->child();
      if (rings.closed_by(told)) return to.add("tasks that await each other");
    }
  }
  const std::source_location where = told->place();
  const bool located = where.line() != 0 && is_the_users(where);
  if (skipped != 0) {
    std::string words = text({"... ", skipped, " tasks deeper: "});
    if (located) {
      add_place(words, where);
      words += ": ";
    }
    to.set_prefix(std::move(words));
  } else if (located) {
    set_location(to, where);
  }
  if (told->done()) {
    to.add("ended");
  } else if (told->queued()) {
    to.add("ready to run");
  } else if (told->waits_for_ == 0) {
    to.add("running");
  } else if ((told->waits_for_ & for_child) != 0) {
    to.add("a task");
    describe_below(to, told->child());
  } else {
    pointer_in<suspension>(told->waits_for_)->describe(to);
  }
}

void describe_below(description& to, const frame* child) {
  if (child == nullptr) return;
  const description::below lower(to);
  child->describe(to);
}

void describe_below(description& to, const future_core& source) {
  const description::below lower(to);
  to.depth() > deepest ? to.add("...") : source.describe_awaited(to);
}

}  // namespace eddy::detail
