// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/detail/open_socket.h>

#include <atomic>

#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/text.h>
#include <eddy/net/detail/listening_socket.h>
#include <eddy/net/detail/loop_sockets.h>
#include <eddy/net/detail/operation.h>
#include <eddy/net/detail/refusal.h>
#include <eddy/net/detail/system.h>

namespace eddy::detail {

namespace {

// The process's: a socket may be closed on another thread than it was made on.
constinit std::atomic<std::size_t> streams{0};
constinit std::atomic<std::size_t> listeners{0};

std::atomic<std::size_t>& count(bool listens) noexcept { return listens ? listeners : streams; }

/// Takes what is in a socket's error queue. False if nothing was.
bool drop_error_queue(int descriptor) noexcept {
  int family = AF_UNIX;
  socklen_t size = sizeof family;
  // A Unix socket has no such queue: it would give what there is to read.
  if (os().get_option(descriptor, SOL_SOCKET, SO_DOMAIN, &family, &size) < 0 || family == AF_UNIX) {
    return false;
  }
  constexpr int most = 64;  // should there be more, it is called again
  for (int i = 0; i < most; ++i) {
    msghdr message{};
    if (os().receive_message(descriptor, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0) return i != 0;
  }
  return true;
}

}  // namespace

std::size_t open_streams() noexcept { return streams.load(std::memory_order_relaxed); }
std::size_t open_listeners() noexcept { return listeners.load(std::memory_order_relaxed); }

open_socket::open_socket(event_loop& loop, int descriptor, const address& name, bool listens)
    : watch_(loop, descriptor), name_(name), listens_(listens) {
  count(listens).fetch_add(1, std::memory_order_relaxed);
}

open_socket::~open_socket() = default;

open_socket* open_socket::make(event_loop& loop, int descriptor, const address& peer) {
  static_assert(sizeof(open_socket) == 120);
  try {
    return adopt(loop, descriptor, peer);
  } catch (...) {
    os().close(descriptor);
    throw;
  }
}

void open_socket::destroy() noexcept {
  if (listens_) {
    delete static_cast<listening_socket*>(this);
  } else {
    delete this;
  }
}

bool open_socket::on_hold() const noexcept {
  return listens_ && static_cast<const listening_socket*>(this)->holds();
}

void open_socket::end_hold() noexcept {
  if (listens_) static_cast<listening_socket*>(this)->end_hold();
}

void open_socket::close() noexcept {
  if (closed()) return;
  loop().check_thread();
  // What a handler owns may own whoever holds this, so it is dropped last.
  retain();
  end_hold();
  std::array<operation*, 2> dropped{};
  for (const auto which : {direction::read, direction::write}) {
    dropped[static_cast<std::size_t>(which)] = cancel(which);
  }
  const int descriptor = watch_.descriptor();
  watch_.end();
  os().close(descriptor);
  if (listens_) static_cast<listening_socket*>(this)->refuse_accepted();
  count(listens_).fetch_sub(1, std::memory_order_relaxed);
  listening_socket::go_on(loop());
  const refusals_of refused(this);
  for (operation* const op : dropped) delete static_cast<called_back_base*>(op);
  release();
}

operation* open_socket::cancel(direction which) noexcept {
  operation* const op = std::exchange(place(which), nullptr);
  if (op == nullptr) return nullptr;
  watch_.forget(which);
  op->active_ = false;
  if (ending_ && which == direction::write) end_writing();
  if (op->owned_) return op;
  op->settle(ECANCELED);
  if (!op->node().queued()) loop().ready(op->node());
  return nullptr;
}

void open_socket::stop(direction which) noexcept {
  if (closed()) return;
  loop().check_thread();
  if (which == direction::read) end_hold();
  const refusals_of refused(which == direction::write ? this : nullptr);
  delete static_cast<called_back_base*>(cancel(which));
}

void open_socket::shutdown_writing() noexcept {
  if (ending_) return;
  const operation* const op = current(direction::write);
  ending_ = op != nullptr && op->active_ && op->tries_;
  if (!ending_) end_writing();
}

void open_socket::shutdown_reading() noexcept {
  if (reading_ended_) return;
  reading_ended_ = true;
  set_exhausted(direction::read, false);
  int bytes = 0;
  // Where the kernel can't say, as of some families, all is read that is there then. An urgent
  // byte hides what follows it.
  unread_ = os().unread(descriptor(), &bytes) == 0 ? static_cast<std::uint32_t>(bytes) : UINT32_MAX;
  // TCP is not told: once both directions are ended, Linux answers bytes that come with a reset,
  // and what was written is lost with it.
  if (!name_.is_v4() && !name_.is_v6()) os().shutdown(descriptor(), SHUT_RD);
  operation* const op = current(direction::read);
  if (op == nullptr || !op->active_ || op->node().queued()) return;
  watch_.forget(direction::read);
  loop().ready(op->node());
}

void open_socket::end_writing() noexcept {
  ending_ = false;
  os().shutdown(descriptor(), SHUT_WR);
}

void open_socket::expect_free(direction which) const noexcept {
  const operation* const op = current(which);
  if (op == nullptr || !op->active_) return;
  misuse(listens_                   ? "two accept from one listener at a time: one may"
         : which == direction::read ? "two read from one stream at a time: one may"
                                    : "two write to one stream at a time: one may");
}

operation* open_socket::kept(direction which) const noexcept {
  operation* const op = current(which);
  return op != nullptr && op->owned_ ? op : nullptr;
}

void open_socket::begin(direction which, operation& op, bool tries) noexcept {
  if (operation* const before = current(which); before != nullptr && before != &op) {
    delete static_cast<called_back_base*>(before);  // kept, and without a handler
  }
  place(which) = &op;
  op.active_ = true;
  op.tries_ = tries;
  op.looked_again_ = false;
  op.settled_ = false;
}

void open_socket::start(direction which, operation& op, bool tries) noexcept {
  begin(which, op, tries);
  if (!tries && !(which == direction::read && reading_ended_)) {
    watch_.wait(which, op.node());
  } else {
    wait(which, op);
  }
}

void open_socket::wait(direction which, operation& op) noexcept {
  if (on_hold()) return;
  if (exhausted(which)) {
    watch_.wait(which, op.node());
  } else {
    loop().ready(op.node());
  }
}

void open_socket::woken_in_vain(direction which, operation& op) noexcept {
  if (listens_) return wait(which, op);  // another process has taken the connection
  if (!op.looked_again_) {
    op.looked_again_ = true;
    return loop_sockets::run_behind_arrivals(loop(), op.node());
  }
  op.looked_again_ = false;
  suspected_ = false;
  // A program that waits for more may not have seen yet what has come since its turn.
  const bool dropped = !watch_.others_wait() && drop_error_queue(descriptor());
  if (op.tries_ || dropped) {
    watch_.wait(which, op.node());
  } else {
    loop().ready(op.node());  // what it has found was something else
  }
}

void open_socket::finish(direction which, operation& op) noexcept {
  if (!op.active_) return;
  op.active_ = false;
  if (!op.owned_) place(which) = nullptr;
  if (ending_ && which == direction::write) [[unlikely]]
    end_writing();
}

void open_socket::abandon(direction which, operation& op) noexcept {
  finish(which, op);
  watch_.forget(which);
  if (which == direction::read) end_hold();
}

std::string open_socket::description() const {
  if (closed()) return text({name_.to_string(), " (closed)"});
  return text({name_.to_string(), " (descriptor ", descriptor(), ")"});
}

}  // namespace eddy::detail
