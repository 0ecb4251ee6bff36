// SPDX-License-Identifier: BSD-2-Clause
// libuv, with recvmmsg, and with uv_udp_try_send, which is its cheapest way to send.
#include <vector>

#include <uv.h>

#include "bench/echo.h"

namespace {

std::vector<char> buffer;

void give_buffer(uv_handle_t* /*of*/, std::size_t /*wanted*/, uv_buf_t* into) {
  *into = uv_buf_init(buffer.data(), static_cast<unsigned>(buffer.size()));
}

void on_received(uv_udp_t* at, ssize_t size, const uv_buf_t* from, const sockaddr* sender,
                 unsigned /*flags*/) {
  if (size < 0 || sender == nullptr) return;
  const uv_buf_t all = uv_buf_init(from->base, static_cast<unsigned>(size));
  uv_udp_try_send(at, &all, 1, sender);
}

}  // namespace

int main(int count, char** words) {
  const auto arguments = bench::echo_main(count, words);
  buffer.resize(20 *
                std::size_t{65536});  // libuv gives each datagram of recvmmsg 64 KiB, 20 at most
  uv_udp_t socket;
  uv_udp_init_ex(uv_default_loop(), &socket, UV_UDP_RECVMMSG);
  uv_udp_open(&socket, bench::udp_socket_at(arguments.port));
  uv_udp_recv_start(&socket, give_buffer, on_received);
  return uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}
