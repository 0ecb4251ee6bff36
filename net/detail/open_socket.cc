// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/detail/open_socket.h>

#include <utility>

#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/text.h>
#include <eddy/net/detail/loop_sockets.h>
#include <eddy/net/detail/operation.h>
#include <eddy/net/detail/refusal.h>
#include <eddy/net/detail/system.h>
#include <eddy/net/detail/unix_names.h>

namespace eddy::detail {

namespace {

/// Drops the contents of a socket's error queue. Returns false if it was empty.
bool drop_error_queue(int descriptor) noexcept {
  int family = AF_UNIX;
  socklen_t size = sizeof family;
  // A Unix socket has no error queue: MSG_ERRQUEUE would return received bytes.
  if (os().get_option(descriptor, SOL_SOCKET, SO_DOMAIN, &family, &size) < 0 || family == AF_UNIX) {
    return false;
  }
  constexpr int most = 64;  // if there is more, the socket is ready again and this runs again
  for (int i = 0; i < most; ++i) {
    msghdr message{};
    if (os().receive_message(descriptor, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0) return i != 0;
  }
  return true;
}

}  // namespace

open_socket::open_socket(event_loop& loop, int descriptor, const address& name)
    : watch_(loop, descriptor), name_(name) {}

open_socket* open_socket::make(event_loop& loop, int descriptor, const address& name) {
  static_assert(sizeof(open_socket) == 120);
  return new open_socket(loop, descriptor, name);
}

void open_socket::close() noexcept {
  if (!closed()) end(true);
}

int open_socket::give_up() noexcept {
  const int descriptor = watch_.descriptor();
  end(false);
  return descriptor;
}

void open_socket::end(bool closes) noexcept {
  loop().check_thread();
  // A handler may own the owner of this socket, so handlers are destroyed last.
  retain();
  const std::array<operation*, 2> taken{take_out(direction::read), take_out(direction::write)};
  const int descriptor = watch_.descriptor();
  watch_.end();
  if (closes) {
    os().close(descriptor);
    loop_sockets::descriptor_freed(loop());
  }
  const refusals_of refused(this);
  for (operation* const op : taken) delete static_cast<callback_operation_base*>(op);
  release();
}

operation* open_socket::take_out(direction which) noexcept {
  operation* const op = std::exchange(current(which), nullptr);
  if (op == nullptr) return nullptr;
  watch_.forget(which);
  op->active_ = false;
  if (shutdown_delayed_ && which == direction::write) end_sending();
  if (op->owned_) return op;
  op->settle(ECANCELED);
  if (!op->node().queued()) loop().ready(op->node());
  return nullptr;
}

void open_socket::stop(direction which) noexcept {
  if (closed()) return;
  loop().check_thread();
  const refusals_of refused(which == direction::write ? this : nullptr);
  delete static_cast<callback_operation_base*>(take_out(which));
}

void open_socket::shutdown_writing() noexcept {
  if (shutdown_delayed_) return;
  const operation* const op = current(direction::write);
  shutdown_delayed_ = op != nullptr && op->active_ && op->tries_;
  if (!shutdown_delayed_) end_sending();
}

void open_socket::shutdown_reading() noexcept {
  if (reading_ended_) return;
  reading_ended_ = true;
  set_exhausted(direction::read, false);
  int bytes = 0;
  // Sockets of some families cannot tell the number: then reads return whatever is there when they
  // are made. After an unread urgent byte, the kernel does not count the bytes that follow it.
  unread_ = os().unread(descriptor(), &bytes) == 0 ? static_cast<std::uint32_t>(bytes) : UINT32_MAX;
  // TCP gets no shutdown(2): once both directions are ended, Linux answers bytes of the peer with a
  // reset, which also discards written bytes that were not sent yet.
  if (!name_.is_v4() && !name_.is_v6()) os().shutdown(descriptor(), SHUT_RD);
  stop_waiting(direction::read);
}

void open_socket::end_sending() noexcept {
  shutdown_delayed_ = false;
  if (os().shutdown(descriptor(), SHUT_WR) < 0) return;
  // The kernel never reports a full Unix socket as writable for this, but a write fails at once.
  sending_ended_ = true;
  set_exhausted(direction::write, false);
  stop_waiting(direction::write);
}

void open_socket::stop_waiting(direction which) noexcept {
  operation* const op = current(which);
  if (op == nullptr || !op->active_ || op->node().queued()) return;
  watch_.forget(which);
  loop().ready(op->node());
}

void open_socket::expect_free(direction which, const char* busy) const noexcept {
  const operation* const op = current(which);
  if (op == nullptr || !op->active_) return;
  const std::string peer = peer_words();
  const std::string who = peer == "nowhere" ? std::string() : text({peer, ", "});  // a pipe
  misuse(text({busy, " (", who, "descriptor ", descriptor(), ")"}).c_str());
}

operation* open_socket::kept(direction which) const noexcept {
  operation* const op = current(which);
  return op != nullptr && op->owned_ ? op : nullptr;
}

void open_socket::begin(direction which, operation& op, bool tries) noexcept {
  if (operation* const before = current(which); before != nullptr && before != &op) {
    delete static_cast<callback_operation_base*>(before);  // completed, and without a handler
  }
  current(which) = &op;
  op.active_ = true;
  op.tries_ = tries;
  op.retried_ = false;
  op.settled_ = false;
}

void open_socket::start(direction which, operation& op, bool tries) noexcept {
  begin(which, op, tries);
  const bool ended = which == direction::read ? reading_ended_ : sending_ended_;
  if (!tries && !ended) {
    watch_.wait(which, op.node());
  } else {
    wait(which, op);
  }
}

void open_socket::wait(direction which, operation& op) noexcept {
  if (exhausted(which)) {
    watch_.wait(which, op.node());
  } else {
    loop().ready(op.node());
  }
}

void open_socket::run_again(direction which) noexcept {
  operation* const op = current(which);
  if (op != nullptr && op->active_) loop().ready(op->node());
}

void open_socket::spurious_wakeup(direction which, operation& op) noexcept {
  if (!op.retried_) {
    op.retried_ = true;
    return loop_sockets::run_behind_arrivals(loop(), op.node());
  }
  op.retried_ = false;
  suspected_ = false;
  // A program that waits for more of the error queue may not have seen yet the entries that came
  // after its last turn.
  const bool kept = (keeps_errors_ && which == direction::read) || watch_.others_wait();
  const bool dropped = !kept && drop_error_queue(descriptor());
  if (op.tries_ || dropped) {
    watch_.wait(which, op.node());
  } else {
    loop().ready(op.node());  // the error queue was not the reason
  }
}

void open_socket::complete(direction which, operation& op) noexcept {
  if (!op.active_) return;
  op.active_ = false;
  if (!op.owned_) current(which) = nullptr;
  if (shutdown_delayed_ && which == direction::write) [[unlikely]]
    end_sending();
}

void open_socket::cancel(direction which, operation& op) noexcept {
  complete(which, op);
  watch_.forget(which);
}

std::string open_socket::peer_words() const {
  if (name_.is_v4() || name_.is_v6()) return name_.to_string();
  return closed() ? "a socket" : unix_words(descriptor());
}

std::string open_socket::description() const {
  if (closed()) return text({peer_words(), " (closed)"});
  return text({peer_words(), " (descriptor ", descriptor(), ")"});
}

}  // namespace eddy::detail
