// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/future/detail/frame.h>

#include <string_view>

#include <eddy/loop/detail/recycler.h>
#include <eddy/loop/event_loop.h>

namespace eddy::detail {

namespace {

// How far an awaited coroutine may start on its awaiter's stack. A chain that
// is deeper goes on from the ready queue, so that none overflows.
constexpr std::ptrdiff_t stack_room = std::ptrdiff_t{64} * 1024;

/// One call of `frame::resume`. They nest only if a handler runs another loop.
struct activation {
  frame* current;
  activation* outer;
  const char* stack_end;
  frame* next = nullptr;
  unsigned spent = 0;
  root* dropped = nullptr;  // to destroy when `current` is off the stack
};

constinit thread_local activation* top = nullptr;
constinit thread_local std::size_t frames = 0;

const char* stack_here() noexcept { return static_cast<const char*>(__builtin_frame_address(0)); }

}  // namespace

void* frame::operator new(std::size_t size) {
  void* const memory = allocate(size);
  ++frames;
  return memory;
}

void frame::operator delete(void* memory, std::size_t size) noexcept {
  --frames;
  deallocate(memory, size);
}

std::size_t frame::count() noexcept { return frames; }

bool ending::start(frame& child) noexcept {
  child.then_ = this;
  if (top != nullptr && stack_here() < top->stack_end) {
    state_ = state::waiting;
    event_loop::current()->ready(child);
    return false;
  }
  state_ = state::starting;
  child.handle().resume();
  if (state_ == state::ended) return true;
  state_ = state::waiting;
  return false;
}

void frame::resume(frame& first) noexcept {
  activation here{.current = &first, .outer = top, .stack_end = stack_here() - stack_room};
  top = &here;
  do {
    here.next = nullptr;
    here.current->handle().resume();
    here.current = here.next;
    while (root* const dropped = here.dropped) {
      here.dropped = dropped->next_dropped_;
      // Whoever would go on now belongs to it.
      here.current = nullptr;
      dropped->destroy();
    }
  } while (here.current != nullptr);
  top = here.outer;
}

void frame::resume_next(frame& waiter) noexcept {
  if (top != nullptr && top->next == nullptr) {
    top->next = &waiter;
  } else {
    event_loop::current()->ready(waiter);
  }
}

bool frame::may_go_on() noexcept { return top == nullptr || ++top->spent < budget; }

void frame::destroy(frame& top_frame) noexcept {
  frame* innermost = &top_frame;
  while (innermost->waits_for_ != nullptr) {
    frame* const child = innermost->waits_for_->child();
    if (child == nullptr) break;
    innermost = child;
  }
  while (innermost != &top_frame) {
    wait& above = *innermost->then_;
    innermost = above.waiter();
    above.destroy_child();
  }
  top_frame.handle().destroy();
}

void root::launch(event_loop& loop, frame& body, ending& then) noexcept {
  body_ = &body;
  body.then_ = &then;
  loop.ready(body);
}

void root::destroy() noexcept {
  frame::destroy(*std::exchange(body_, nullptr));
  gone();
}

void root::drop() noexcept {
  activation* holds = nullptr;
  for (activation* a = top; a != nullptr; a = a->outer) {
    for (root* r = a->dropped; r != nullptr; r = r->next_dropped_) {
      if (r == this) return;
    }
    for (frame* f = a->current; f != nullptr; f = f->then_ == nullptr ? nullptr : f->then_->waiter()) {
      if (f == body_) holds = a;
    }
  }
  if (holds == nullptr) {
    destroy();
  } else {
    next_dropped_ = std::exchange(holds->dropped, this);
  }
}

void frame::describe(std::string& out, int depth) const {
  if (waits_for_ == nullptr) {
    out += queued() ? "ready to run\n" : "running, or in an awaiter that is not eddy's\n";
    return;
  }
  std::string_view name = where_.function_name();
  name = name.substr(0, name.find('('));
  if (const auto space = name.rfind(' '); space != std::string_view::npos) {
    name.remove_prefix(space + 1);
  }
  std::string_view file = where_.file_name();
  if (const auto slash = file.rfind('/'); slash != std::string_view::npos) {
    file.remove_prefix(slash + 1);
  }
  out += name;
  out += " at ";
  out += file;
  out += ':';
  out += std::to_string(where_.line());
  out += ": ";
  waits_for_->describe(out, depth);
}

void indent(std::string& out, int depth) { out.append(static_cast<std::size_t>(depth) * 2, ' '); }

}  // namespace eddy::detail
