// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/detail/epoll_set.h>

#include <atomic>
#include <cerrno>

#include <fcntl.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/stat.h>

#include <eddy/loop/detail/libev.h>

namespace eddy::detail {

namespace {

/// Whether a descriptor only names a file (O_PATH). epoll answers EBADF then, and libev ends the
/// program.
bool is_path(int descriptor) noexcept {
  const int flags = ::fcntl(descriptor, F_GETFL);
  return flags >= 0 && (flags & O_PATH) != 0;
}

}  // namespace

epoll_set::epoll_set(struct ev_loop* ev) noexcept
    : ev_(ev), forks_(fork_count_.load(std::memory_order_relaxed)) {
  [[maybe_unused]] static const int registered = ::pthread_atfork(
      nullptr, nullptr, [] { fork_count_.fetch_add(1, std::memory_order_relaxed); });
}

int epoll_set::descriptor() noexcept {
  if (number_ < 0) number_ = backend_descriptor(ev_);
  return number_;
}

void epoll_set::take_new() noexcept {
  rebuilding_ = false;
  number_ = -1;
}

int epoll_set::probe(int descriptor, bool shown, bool& pollable) noexcept {
  if (!shown || rebuilding_) {
    struct stat about;
    if (::fstat(descriptor, &about) != 0) return errno;
    // Only an epoll set can be refused, and it has no file type.
    const auto type = about.st_mode & S_IFMT;
    pollable = type == 0 || type == S_IFSOCK || type == S_IFIFO;
    files_ = files_ || !pollable;
    if (is_path(descriptor)) return EBADF;
    if (type == S_IFCHR) pollable = takes(descriptor);  // a terminal, say
    if (type != 0) return 0;
    if (descriptor == this->descriptor()) return EINVAL;
    if (rebuilding_) return 0;
  }
  if (adds(descriptor)) return shown ? number_is_anothers : 0;
  // EPERM: always ready, as files are. libev knows, unless the number was another descriptor's.
  if (errno == EPERM) return shown && pollable ? number_is_anothers : 0;
  return errno == EEXIST ? 0 : errno;
}

int epoll_set::probe_shown(int descriptor) noexcept {
  bool pollable = true;
  return probe(descriptor, true, pollable);
}

bool epoll_set::takes(int descriptor) noexcept {
  return !foreign() && (adds(descriptor) || errno == EEXIST);
}

bool epoll_set::adds(int descriptor) noexcept {
  epoll_event none{};
  if (::epoll_ctl(this->descriptor(), EPOLL_CTL_ADD, descriptor, &none) != 0) return false;
  ::epoll_ctl(this->descriptor(), EPOLL_CTL_DEL, descriptor, &none);
  return true;
}

int epoll_set::enter(int set) noexcept {
  // Nobody can watch the set that libev's next round makes before that round has entered it.
  if (foreign()) return 0;
  // The entry reports nothing. libev replaces it: libev's own attempt to add it fails by EEXIST.
  epoll_event none{};
  const bool entered = ::epoll_ctl(descriptor(), EPOLL_CTL_ADD, set, &none) == 0 || errno == EEXIST;
  return entered ? 0 : errno;
}

void epoll_set::forget(int descriptor) noexcept {
  // libev leaves the entry to the close that usually follows. Without a close it would have to
  // make a new set without the entry.
  if (foreign()) return;
  epoll_event none{};
  ::epoll_ctl(this->descriptor(), EPOLL_CTL_DEL, descriptor, &none);
  // A library may go on to watch the descriptor.
  forgot_entry(ev_, descriptor);
}

}  // namespace eddy::detail
