// SPDX-License-Identifier: BSD-2-Clause
// libuv, after the echo server in its guide: a write request per message.
#include "bench/echo.h"

#include <csignal>
#include <vector>

#include <uv.h>

namespace {

std::vector<char> buffer;  // used between an alloc callback and its read

struct write {
  uv_write_t request;
  std::vector<char> data;
};

void end(uv_stream_t* stream) {
  uv_close(reinterpret_cast<uv_handle_t*>(stream),
           [](uv_handle_t* handle) { delete reinterpret_cast<uv_tcp_t*>(handle); });
}

void on_read(uv_stream_t* stream, ssize_t size, const uv_buf_t* from) {
  if (size == 0) return;
  if (size == UV_EOF) {  // first finishes the pending writes
    uv_shutdown(new uv_shutdown_t, stream, [](uv_shutdown_t* request, int) {
      end(request->handle);
      delete request;
    });
    return;
  }
  if (size < 0) return end(stream);
  auto* const w = new write;
  w->data.assign(from->base, from->base + size);
  const uv_buf_t all = uv_buf_init(w->data.data(), static_cast<unsigned>(size));
  uv_write(&w->request, stream, &all, 1,
           [](uv_write_t* request, int) { delete reinterpret_cast<write*>(request); });
}

void on_connection(uv_stream_t* listener, int status) {
  if (status < 0) return;
  auto* const tcp = new uv_tcp_t;
  uv_tcp_init(listener->loop, tcp);
  auto* const stream = reinterpret_cast<uv_stream_t*>(tcp);
  if (uv_accept(listener, stream) != 0) return end(stream);
  uv_tcp_nodelay(tcp, 1);
  uv_read_start(
      stream,
      [](uv_handle_t*, std::size_t, uv_buf_t* into) {
        *into = uv_buf_init(buffer.data(), static_cast<unsigned>(buffer.size()));
      },
      on_read);
}

}  // namespace

int main(int count, char** words) {
  const auto arguments = bench::echo_main(count, words);
  buffer.resize(arguments.buffer);
  std::signal(SIGPIPE, SIG_IGN);  // libuv leaves SIGPIPE to the program
  uv_loop_t* const loop = uv_default_loop();
  uv_tcp_t listener;
  uv_tcp_init(loop, &listener);
  sockaddr_in at;
  uv_ip4_addr("127.0.0.1", arguments.port, &at);
  if (uv_tcp_bind(&listener, reinterpret_cast<const sockaddr*>(&at), 0) != 0 ||
      uv_listen(reinterpret_cast<uv_stream_t*>(&listener), bench::backlog, on_connection) != 0) {
    bench::fail("listening");
  }
  int size = sizeof at;
  uv_tcp_getsockname(&listener, reinterpret_cast<sockaddr*>(&at), &size);
  bench::tell_ready(ntohs(at.sin_port));
  uv_run(loop, UV_RUN_DEFAULT);
}
