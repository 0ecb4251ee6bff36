// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/detail/listening_socket.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <new>
#include <utility>

#include <sys/socket.h>

#include <eddy/net/detail/stream_socket.h>

namespace eddy::detail {

namespace {

// One count for the process, because a loop may change threads between making and closing a
// listener.
constinit std::atomic<std::size_t> listeners{0};

// The number of streams that were open when a connection took the last descriptor above the
// reserve. With fewer streams, `may_accept` needs no system call. It is one number for the process,
// as the limit of descriptors is.
constinit std::atomic<std::size_t> streams_at_reserve{SIZE_MAX};

}  // namespace

listening_socket::listening_socket(event_loop& loop, socket_descriptor descriptor,
                                   const address& name)
    : shared_(loop_sockets::of(loop)),
      socket_(open_socket::make(loop, descriptor.number(), name)),
      timer_(*this, loop) {
  static_cast<void>(descriptor.release());  // the open socket's now
  listeners.fetch_add(1, std::memory_order_relaxed);
}

listening_socket::~listening_socket() {
  socket_->loop().check_thread();
  end_pause();
  accepted_.descriptor = socket_descriptor();
  listeners.fetch_sub(1, std::memory_order_relaxed);
  socket_->close();
  socket_->release();
}

std::size_t listening_socket::count() noexcept { return listeners.load(std::memory_order_relaxed); }

void listening_socket::stop_accepting() noexcept {
  end_pause();
  socket_->stop(readiness::direction::read);
}

void listening_socket::connection_accepted(int descriptor) noexcept {
  failures_ = 0;
  if (until_limit_check_ == 0) {
    limit_ = os().descriptor_limit();
    until_limit_check_ = connections_per_limit_check;
  }
  --until_limit_check_;
  if (static_cast<std::size_t>(descriptor) + 1 + reserve(limit_) >= limit_) note_shortage();
}

void listening_socket::note_shortage() noexcept {
  const std::size_t open = stream_socket::count();
  if (open < streams_at_reserve.load()) streams_at_reserve.store(open);
}

bool listening_socket::may_accept() const noexcept {
  const std::size_t open = stream_socket::count();
  if (open == 0 || open < streams_at_reserve.load()) return true;
  const std::size_t limit = os().descriptor_limit();
  const int lowest = os().next_descriptor(socket_->descriptor());
  if (lowest < 0 || static_cast<std::size_t>(lowest) + reserve(limit) >= limit) return false;
  streams_at_reserve.store(open + 1);
  return true;
}

bool listening_socket::start_timer() noexcept {
  try {
    timer_.set(socket_->loop().after(longest_pause));
    return true;
  } catch (const std::bad_alloc&) {
    return false;
  }
}

void listening_socket::connection_failed() noexcept {
  if (++failures_ < most_failures) return;
  failures_ = 0;
  static_cast<void>(start_timer());  // without memory, it goes on at once
}

bool listening_socket::make_spare() noexcept {
  // Any descriptor will do. Making a socket needs no file system.
  spare_ = socket_descriptor(os().socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  return spare_.number() >= 0;
}

bool listening_socket::set_sheds(bool on) noexcept {
  if (!on) {
    spare_ = socket_descriptor();
  } else if (spare_.number() < 0 && !make_spare()) {
    return false;
  }
  sheds_ = on;
  return true;
}

int listening_socket::shed_one() noexcept {
  const auto accept = [this] {
    return os().accept(socket_->descriptor(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  };
  int descriptor = accept();
  int error = errno;
  if (descriptor < 0 && (error == EMFILE || error == ENFILE)) {
    note_shortage();
    if (spare_.number() >= 0) {
      spare_ = socket_descriptor();
      descriptor = accept();
      error = errno;
    }
  }
  if (descriptor >= 0) {
    const socket_descriptor closed(descriptor);
    failures_ = 0;
    ++shed_count_;
    error = 0;
  }
  if (spare_.number() < 0) static_cast<void>(make_spare());
  return error;
}

bool listening_socket::pause() noexcept {
  note_shortage();
  if (!start_timer()) return false;
  if (!linked()) shared_.descriptor_waiters().push_back(*this);
  return true;
}

void listening_socket::end_pause() noexcept {
  timer_.clear();
  unlink();
}

void listening_socket::renumber_accepted() noexcept {
  socket_descriptor copy(os().duplicate(accepted_.descriptor.number()));
  if (copy.number() < 0 || copy.number() > accepted_.descriptor.number()) return;
  accepted_.descriptor = std::move(copy);
}

void listening_socket::try_again() noexcept {
  end_pause();
  socket_->run_again(readiness::direction::read);
}

}  // namespace eddy::detail
