// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <memory>

namespace eddy::detail {

/// How far down this thread's stack destructors may call one another.
struct destroying_stack {
  const char* floor = nullptr;  // null while none is under way
  std::size_t size = 0;         // of the stack in use; 0: the thread's own
};

// Only the file that defines it forms its address, or binds a reference to it. With UBSan g++ 12
// compares the address of such a variable with null in every other file. The comparison goes wrong:
// it uses the flags of an `add` that the linker replaces by a `lea`, which sets no flags.
extern constinit thread_local destroying_stack destroying_here [[gnu::tls_model("initial-exec")]];

/// Calls `work(argument)` on a stack of its own.
void call_on_new_stack(void (*work)(void*), void* argument) noexcept;

/// Calls `work`, which destroys something that may own more of the same, and so
/// on: a million tasks, each held by the next one's coroutine. Their destructors
/// call one another, innermost first, and where they have used up the room they go
/// on on a stack of its own.
template <class Work>
void without_overflow(Work work) noexcept {
  // On the smallest of stacks there is so much.
  constexpr std::ptrdiff_t room = std::ptrdiff_t{16} * 1024;
  const auto* const top = static_cast<const char*>(__builtin_frame_address(0));
  if (destroying_here.floor == nullptr) {
    destroying_here.floor = top - room;
    work();
    destroying_here.floor = nullptr;
  } else if (top >= destroying_here.floor) {
    work();
  } else {
    call_on_new_stack([](void* w) { (*static_cast<Work*>(w))(); }, std::addressof(work));
  }
}

}  // namespace eddy::detail
