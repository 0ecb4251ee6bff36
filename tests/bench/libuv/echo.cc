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

union any_stream {
  uv_stream_t stream;
  uv_tcp_t tcp;
  uv_pipe_t pipe;
};

void end(uv_stream_t* stream) {
  uv_close(reinterpret_cast<uv_handle_t*>(stream),
           [](uv_handle_t* handle) { delete reinterpret_cast<any_stream*>(handle); });
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
  auto* const s = new any_stream;
  const bool is_tcp = listener->type == UV_TCP;
  if (is_tcp) {
    uv_tcp_init(listener->loop, &s->tcp);
  } else {
    uv_pipe_init(listener->loop, &s->pipe, 0);
  }
  uv_stream_t* const stream = &s->stream;
  if (uv_accept(listener, stream) != 0) return end(stream);
  if (is_tcp) uv_tcp_nodelay(&s->tcp, 1);
  uv_read_start(
      stream,
      [](uv_handle_t*, std::size_t, uv_buf_t* into) {
        *into = uv_buf_init(buffer.data(), static_cast<unsigned>(buffer.size()));
      },
      on_read);
}

void bind(uv_loop_t* loop, any_stream& listener, const bench::echo_arguments& a) {
  if (a.path != nullptr) {
    uv_pipe_init(loop, &listener.pipe, 0);
    if (uv_pipe_bind(&listener.pipe, a.path) != 0) bench::fail(a.path);
    return;
  }
  uv_tcp_init(loop, &listener.tcp);
  sockaddr_in at;
  uv_ip4_addr("127.0.0.1", a.port, &at);
  if (uv_tcp_bind(&listener.tcp, reinterpret_cast<const sockaddr*>(&at), 0) != 0) {
    bench::fail("binding");
  }
}

void tell_ready(const any_stream& listener, const bench::echo_arguments& a) {
  if (a.path != nullptr) return bench::tell_ready(a.path);
  sockaddr_in at;
  int size = sizeof at;
  uv_tcp_getsockname(&listener.tcp, reinterpret_cast<sockaddr*>(&at), &size);
  bench::tell_ready(ntohs(at.sin_port));
}

}  // namespace

int main(int count, char** words) {
  const auto arguments = bench::echo_main(count, words);
  buffer.resize(arguments.buffer);
  std::signal(SIGPIPE, SIG_IGN);  // libuv leaves SIGPIPE to the program
  uv_loop_t* const loop = uv_default_loop();
  any_stream listener;
  bind(loop, listener, arguments);
  if (uv_listen(&listener.stream, bench::backlog, on_connection) != 0) bench::fail("listening");
  tell_ready(listener, arguments);
  uv_run(loop, UV_RUN_DEFAULT);
}
