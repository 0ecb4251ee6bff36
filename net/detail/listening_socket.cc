// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/detail/listening_socket.h>

#include <new>
#include <utility>

#include <eddy/net/detail/operation.h>
#include <eddy/net/detail/system.h>

namespace eddy::detail {

namespace {

// Asked first, because the list is made at its first use.
constinit thread_local std::size_t holding = 0;

link& held() noexcept {
  thread_local link list;
  return list;
}

}  // namespace

listening_socket::listening_socket(event_loop& loop, int descriptor, const address& name)
    : open_socket(loop, descriptor, name, true), timer_(*this, loop), place_(*this) {}

open_socket* listening_socket::make(event_loop& loop, int descriptor, const address& name) {
  try {
    return new listening_socket(loop, descriptor, name);
  } catch (...) {
    os().close(descriptor);
    throw;
  }
}

bool listening_socket::hold() noexcept {
  try {
    timer_.set(loop().after(pause));
  } catch (const std::bad_alloc&) {
    return false;
  }
  if (!place_.linked()) {
    ++holding;
    held().push_back(place_);
  }
  return true;
}

void listening_socket::end_hold() noexcept {
  timer_.clear();
  if (!place_.linked()) return;
  --holding;
  place_.unlink();
}

void listening_socket::refuse_accepted() noexcept {
  if (accepted_.descriptor >= 0) os().close(std::exchange(accepted_.descriptor, -1));
}

void listening_socket::try_again() noexcept {
  end_hold();
  if (operation* const accept = current(direction::read); accept != nullptr && accept->active()) {
    loop().ready(accept->node());
  }
}

void listening_socket::go_on() noexcept {
  while (holding != 0) static_cast<place&>(*held().next).socket.try_again();
}

}  // namespace eddy::detail
