// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/future/detail/external_awaiter.h>

#include <eddy/loop/detail/block_pool.h>
#include <eddy/loop/detail/misuse.h>

namespace eddy::detail {

void* waker::promise_type::operator new(std::size_t size) { return allocate(size); }
void waker::promise_type::operator delete(void* memory, std::size_t size) noexcept {
  deallocate(memory, size);
}

namespace {

waker wake(event_loop* loop, frame* sleeper) {
  loop->check_thread();
  loop->ready(*sleeper);
  for (;;) {
    co_await std::suspend_always();
    misuse("an awaiter resumed a coroutine twice for one await");
  }
}

}  // namespace

waker make_waker(frame* sleeper) { return wake(event_loop::current(), sleeper); }

}  // namespace eddy::detail
