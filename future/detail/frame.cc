// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/future/detail/frame.h>

#include <algorithm>
#include <string_view>

#include <eddy/loop/detail/recycler.h>
#include <eddy/loop/event_loop.h>

namespace eddy::detail {

namespace {

// Where a description of what waits for what becomes short.
constexpr int deepest = 32;

// How far an awaited coroutine may start on its awaiter's stack. A chain that
// is deeper goes on from the ready queue, so that none overflows.
constexpr std::ptrdiff_t stack_room = std::ptrdiff_t{64} * 1024;

/// One call of `frame::resume`. They nest only if a handler runs another loop.
struct activation {
  frame* current;
  activation* outer;
  const char* stack_end;
  frame* next = nullptr;
  std::coroutine_handle<> ended = nullptr;  // to destroy when it is off the stack
  unsigned spent = 0;
  root* dropped = nullptr;  // to destroy then, too
};

constinit thread_local activation* top = nullptr;
constinit thread_local std::size_t frames = 0;

const char* stack_here() noexcept { return static_cast<const char*>(__builtin_frame_address(0)); }

/// Of "int (anonymous namespace)::f(char) [with ...]" it is "(anonymous namespace)::f".
std::string_view bare_name(std::string_view signature) noexcept {
  std::size_t end = std::string_view::npos;  // of the name, before the parameters
  int nested = 0;
  for (std::size_t i = std::min(signature.find(" ["), signature.size()); i-- != 0;) {
    const char c = signature[i];
    if (c == ' ' && nested == 0 && end != std::string_view::npos) {
      return signature.substr(i + 1, end - i - 1);
    }
    if (c == ')' || c == '>') ++nested;
    if (c == '(' || c == '<') --nested;
    if (c == '(' && nested == 0 && end == std::string_view::npos) end = i;
  }
  return signature.substr(0, end);
}

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
    here.current->waits_for_ = nullptr;
    here.current->handle().resume();
    here.current = here.next;
    if (here.ended) std::exchange(here.ended, nullptr).destroy();
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

void frame::retire(std::coroutine_handle<> ended) noexcept { top->ended = ended; }

bool frame::may_go_on() noexcept { return top == nullptr || ++top->spent < budget; }

void frame::destroy(frame& top_frame) noexcept {
  frame* innermost = &top_frame;
  while (frame* const child = innermost->child()) innermost = child;
  while (innermost != &top_frame) {
    wait& above = *innermost->then_;
    innermost = above.waiter();
    above.destroy_child();
  }
  top_frame.handle().destroy();
}

void root::launch(event_loop& loop, frame& body, ending& then) noexcept {
  loop.check_thread();
  body_ = &body;
  body.then_ = &then;
  loop.ready(body);
}

void root::destroy() noexcept {
  frame::destroy(*std::exchange(body_, nullptr));
  gone();
}

void root::destroy_body() noexcept {
  std::exchange(body_, nullptr)->handle().destroy();
  gone();
}

void root::drop_ended() noexcept {
  for (root* r = top->dropped; r != nullptr; r = r->next_dropped_) {
    if (r == this) return;
  }
  next_dropped_ = std::exchange(top->dropped, this);
}

void root::drop() noexcept {
  activation* holds = nullptr;
  for (activation* a = top; a != nullptr; a = a->outer) {
    for (root* r = a->dropped; r != nullptr; r = r->next_dropped_) {
      if (r == this) return;
    }
    for (frame* f = a->current; f != nullptr;
         f = f->then_ == nullptr ? nullptr : f->then_->waiter()) {
      if (f == body_) holds = a;
    }
  }
  if (holds == nullptr) {
    destroy();
  } else {
    next_dropped_ = std::exchange(holds->dropped, this);
  }
}

void frame::describe_place(std::string& out) const {
  if (where_.line() == 0) return;  // it has not come to a co_await
  const std::string_view name = bare_name(where_.function_name());
  if (name.starts_with("eddy::detail::")) return;  // a coroutine that the user did not write
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
}

void frame::describe(std::string& out, int depth) const {
  if (depth > deepest) {
    out += "...\n";
    return;
  }
  const frame* told = this;
  if (depth == deepest) {
    std::size_t skipped = 0;
    for (; told->child() != nullptr; ++skipped) told = told->child();
    if (skipped != 0) out += "... " + std::to_string(skipped) + " tasks deeper: ";
  }
  told->describe_place(out);
  if (told->queued()) {
    out += "ready to run\n";
  } else if (told->waits_for_ == nullptr) {
    out += "running\n";
  } else {
    told->waits_for_->describe(out, depth);
  }
}

void describe_below(std::string& out, int depth, const frame* below) {
  if (below == nullptr) return;
  indent(out, depth + 1);
  below->describe(out, depth + 1);
}

void describe_below(std::string& out, int depth, const wait& below) {
  indent(out, depth + 1);
  if (depth < deepest) {
    below.describe(out, depth + 1);
  } else {
    out += "...\n";
  }
}

void indent(std::string& out, int depth) { out.append(static_cast<std::size_t>(depth) * 2, ' '); }

}  // namespace eddy::detail
