// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/detail/pipe_end.h>

#include <eddy/loop/detail/misuse.h>
#include <eddy/net/detail/system.h>

namespace eddy::detail {

pipe_end::pipe_end(event_loop& loop, int descriptor, const pipe_kind& kind) : kind_(&kind) {
  socket_descriptor own(descriptor);
  socket_ = open_socket::make(loop, descriptor, address());
  static_cast<void>(own.release());  // the open socket's now
}

void pipe_end::close() noexcept {
  if (socket_ == nullptr) return;
  open_socket* const dying = std::exchange(socket_, nullptr);
  dying->close();
  dying->release();
}

bool pipe_end::open() const noexcept {
  if (socket_ != nullptr) socket_->loop().check_thread();
  return socket_ != nullptr;
}

open_socket& pipe_end::socket(const char* not_open) const noexcept {
  if (socket_ == nullptr) misuse(not_open);
  socket_->loop().check_thread();
  return *socket_;
}

}  // namespace eddy::detail
