// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/detail/listening_socket.h>

#include <new>
#include <utility>

#include <eddy/net/detail/loop_sockets.h>
#include <eddy/net/detail/operation.h>
#include <eddy/net/detail/system.h>

namespace eddy::detail {

listening_socket::listening_socket(event_loop& loop, loop_sockets& shared, int descriptor,
                                   const address& name)
    : open_socket(loop, descriptor, name, true),
      shared_(shared),
      timer_(*this, loop),
      place_(*this) {}

open_socket* listening_socket::make(event_loop& loop, int descriptor, const address& name) {
  try {
    return new listening_socket(loop, loop_sockets::of(loop), descriptor, name);
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
  if (!place_.linked()) shared_.holding().push_back(place_);
  return true;
}

void listening_socket::end_hold() noexcept {
  timer_.clear();
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

void listening_socket::go_on(const event_loop& loop) noexcept {
  loop_sockets* const shared = loop_sockets::find(loop);
  if (shared == nullptr) return;
  link& all = shared->holding();
  while (all.linked()) static_cast<place&>(*all.next).socket.try_again();
}

}  // namespace eddy::detail
