// SPDX-License-Identifier: BSD-2-Clause
// epoll, recvmmsg and sendmmsg by hand: the limit.
#include <array>
#include <cerrno>
#include <vector>

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "bench/echo.h"

namespace {

constexpr unsigned most = 64;

/// Receives the datagrams that are there and sends them back. Returns whether there may be more.
bool echo(int s, std::vector<char>& buffer) {
  static std::array<mmsghdr, most> messages;
  static std::array<iovec, most> parts;
  static std::array<sockaddr_in, most> names;
  const std::size_t size = buffer.size() / most;
  for (std::size_t i = 0; i < most; ++i) {
    parts[i] = {buffer.data() + i * size, size};
    messages[i].msg_hdr = {};
    messages[i].msg_hdr.msg_iov = &parts[i];
    messages[i].msg_hdr.msg_iovlen = 1;
    messages[i].msg_hdr.msg_name = &names[i];
    messages[i].msg_hdr.msg_namelen = sizeof names[i];
  }
  const int count = ::recvmmsg(s, messages.data(), most, 0, nullptr);
  if (count <= 0) return false;
  for (int i = 0; i < count; ++i) {
    const auto at = static_cast<std::size_t>(i);
    parts[at].iov_len = messages[at].msg_len;
  }
  for (int sent = 0; sent < count;) {
    const int n = ::sendmmsg(s, messages.data() + sent, static_cast<unsigned>(count - sent), 0);
    if (n <= 0) break;
    sent += n;
  }
  return count == static_cast<int>(most);
}

}  // namespace

int main(int count, char** words) {
  const auto arguments = bench::echo_main(count, words);
  const int s = bench::udp_socket_at(arguments.port);
  std::vector<char> buffer(most * arguments.buffer);
  const int set = ::epoll_create1(EPOLL_CLOEXEC);
  epoll_event event{};
  event.events = EPOLLIN;
  ::epoll_ctl(set, EPOLL_CTL_ADD, s, &event);
  for (;;) {
    if (::epoll_wait(set, &event, 1, -1) != 1) continue;
    while (echo(s, buffer)) {
    }
  }
}
