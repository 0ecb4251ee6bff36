// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/detail/system.h>

#include <cstdint>
#include <utility>

#include <fcntl.h>
#include <net/if.h>
#include <netdb.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <eddy/net/detail/loopback_names.h>

namespace eddy::detail {

constinit system kernel;
constinit thread_local system* installed = &kernel;

scoped_system::scoped_system(system& replacement) noexcept
    : before_(std::exchange(installed, &replacement)) {}

scoped_system::~scoped_system() { installed = before_; }

int system::socket(int family, int type, int protocol) { return ::socket(family, type, protocol); }

int system::bind(int descriptor, const sockaddr* to, socklen_t size) {
  return ::bind(descriptor, to, size);
}

int system::listen(int descriptor, int backlog) { return ::listen(descriptor, backlog); }

int system::accept(int descriptor, sockaddr* peer, socklen_t* size, int flags) {
  return ::accept4(descriptor, peer, size, flags);
}

int system::connect(int descriptor, const sockaddr* to, socklen_t size) {
  return ::connect(descriptor, to, size);
}

ssize_t system::read(int descriptor, void* data, std::size_t size) {
  return ::read(descriptor, data, size);
}

ssize_t system::send(int descriptor, const void* data, std::size_t size, int flags) {
  return ::send(descriptor, data, size, flags);
}

ssize_t system::send_message(int descriptor, const msghdr* message, int flags) {
  return ::sendmsg(descriptor, message, flags);
}

ssize_t system::receive_message(int descriptor, msghdr* message, int flags) {
  return ::recvmsg(descriptor, message, flags);
}

int system::shutdown(int descriptor, int how) { return ::shutdown(descriptor, how); }

int system::unread(int descriptor, int* bytes) { return ::ioctl(descriptor, FIONREAD, bytes); }

int system::close(int descriptor) { return ::close(descriptor); }

int system::get_option(int descriptor, int level, int name, void* value, socklen_t* size) {
  return ::getsockopt(descriptor, level, name, value, size);
}

int system::set_option(int descriptor, int level, int name, const void* value, socklen_t size) {
  return ::setsockopt(descriptor, level, name, value, size);
}

int system::local_name(int descriptor, sockaddr* name, socklen_t* size) {
  return ::getsockname(descriptor, name, size);
}

int system::peer_name(int descriptor, sockaddr* name, socklen_t* size) {
  return ::getpeername(descriptor, name, size);
}

int system::set_non_blocking(int descriptor) {
  const int flags = ::fcntl(descriptor, F_GETFL);
  if (flags < 0 || ::fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) < 0) return -1;
  return ::fcntl(descriptor, F_SETFD, FD_CLOEXEC);
}

std::size_t system::descriptor_limit() {
  struct rlimit limit{};
  return ::getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : SIZE_MAX;
}

int system::duplicate(int descriptor) { return ::fcntl(descriptor, F_DUPFD_CLOEXEC, 0); }

int system::next_descriptor(int descriptor) {
  const int number = duplicate(descriptor);
  if (number >= 0) close(number);
  return number;
}

unsigned system::interface_index(const char* name) { return ::if_nametoindex(name); }

char* system::interface_name(unsigned index, char* name) { return ::if_indextoname(index, name); }

bool system::is_loopback_name(const char* host) { return file_gives_loopback("/etc/hosts", host); }

int system::look_up(const char* host, const addrinfo* hints, addrinfo** found) {
  return ::getaddrinfo(host, nullptr, hints, found);
}

void system::free_addresses(addrinfo* found) { ::freeaddrinfo(found); }

}  // namespace eddy::detail
