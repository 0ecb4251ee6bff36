// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/detail/refusal.h>

#include <memory>
#include <system_error>
#include <utility>

#include <eddy/net/detail/loop_sockets.h>
#include <eddy/net/detail/operation.h>

namespace eddy::detail {

refusal::refusal(open_socket& socket, int error, handler<void(result<void>)>&& on_done) noexcept
    : ready_node(&run),
      socket_(socket),
      error_(error),
      on_done_(std::move(on_done)),
      entry_(*this) {}

void refusal::run(ready_node& node) {
  std::unique_ptr<refusal> self(static_cast<refusal*>(&node));
  auto on_done = std::move(self->on_done_);
  const int error = self->error_;
  self.reset();
  result<void> r;
  if (error != 0) r = std::unexpected(std::error_code(error, std::generic_category()));
  on_done(std::move(r));
}

refusals_of::refusals_of(const open_socket* socket) noexcept {
  if (socket == nullptr) return;
  loop_sockets* const shared = loop_sockets::find(socket->loop());
  if (shared == nullptr) return;
  list_node& all = shared->refusals();
  for (list_node* l = all.next; l != &all;) {
    refusal& r = static_cast<refusal::list_entry&>(*std::exchange(l, l->next)).owner;
    if (&r.socket_ != socket) continue;
    r.withdraw();
    r.entry_.unlink();
    taken_.push_back(r.entry_);
  }
}

refusals_of::~refusals_of() {
  while (taken_.linked()) delete &static_cast<refusal::list_entry&>(*taken_.next).owner;
}

void refuse(open_socket& socket, int error, handler<void(result<void>)> on_done) {
  list_node& all = loop_sockets::of(socket.loop()).refusals();
  auto& r = *new refusal(socket, error, std::move(on_done));
  all.push_back(r.entry_);
  socket.loop().ready(r);
}

}  // namespace eddy::detail
