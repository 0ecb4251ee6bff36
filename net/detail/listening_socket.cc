// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/detail/listening_socket.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
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

namespace {

// How many streams were open when a connection took the last descriptor before the
// reserve. With fewer of them there is no need to ask. It is the process's, like the
// descriptors.
constinit std::atomic<std::size_t> streams_at_reserve{SIZE_MAX};

}  // namespace

void listening_socket::connection_came(int descriptor) noexcept {
  failures_ = 0;
  if (known_for_ == 0) {
    limit_ = os().descriptor_limit();
    known_for_ = most_unasked;
  }
  --known_for_;
  if (static_cast<std::size_t>(descriptor) + 1 + reserve(limit_) >= limit_) note_shortage();
}

void listening_socket::note_shortage() noexcept {
  const std::size_t open = open_streams();
  if (open < streams_at_reserve.load()) streams_at_reserve.store(open);
}

bool listening_socket::may_accept() const noexcept {
  const std::size_t open = open_streams();
  if (open == 0 || open < streams_at_reserve.load()) return true;
  const std::size_t limit = os().descriptor_limit();
  const int next = os().next_descriptor(descriptor());
  if (next < 0 || static_cast<std::size_t>(next) + reserve(limit) >= limit) return false;
  streams_at_reserve.store(open + 1);
  return true;
}

void listening_socket::connection_failed() noexcept {
  if (++failures_ < most_failures) return;
  failures_ = 0;
  try {
    timer_.set(loop().after(pause));
  } catch (const std::bad_alloc&) {  // NOLINT(bugprone-empty-catch): then it goes on
  }
}

bool listening_socket::hold() noexcept {
  note_shortage();
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

void listening_socket::renumber_accepted() noexcept {
  const int number = os().duplicate(accepted_.descriptor);
  if (number < 0) return;
  os().close(std::max(number, accepted_.descriptor));
  accepted_.descriptor = std::min(number, accepted_.descriptor);
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
