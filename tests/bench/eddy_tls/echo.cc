// SPDX-License-Identifier: BSD-2-Clause
#include "bench/echo.h"

#include <array>
#include <span>
#include <utility>
#include <vector>

#include <eddy/future/as_result.h>
#include <eddy/future/block_on.h>
#include <eddy/future/spawn.h>
#include <eddy/net/tcp_listener.h>
#include <eddy/net/tls/tls_stream.h>

#include "support/tls_authority.h"

namespace {

/// Serves one connection until the peer closes it.
eddy::task<> echo(const eddy::tls_server_context& context, eddy::tcp_stream plain) {
  auto made = co_await eddy::as_result(eddy::tls_accept(context, std::move(plain)));
  if (!made) co_return;
  eddy::tls_stream<eddy::tcp_stream> stream = std::move(*made);
  std::array<char, 16384> buffer;
  for (;;) {
    const auto size = co_await eddy::as_result(stream.read(buffer));
    if (!size || *size == 0) break;
    const auto sent = co_await eddy::as_result(stream.write(std::span(buffer).first(*size)));
    if (!sent) break;
  }
}

eddy::task<> run(eddy::event_loop& loop, std::uint16_t port) {
  const tls_identity own = tls_authority::self_signed();
  eddy::tls_server_options options;
  options.certificate = own.certificate;
  options.key = own.key;
  const eddy::tls_server_context context(options);
  eddy::tcp_listener listener(loop, eddy::address::loopback_v4(port));
  bench::tell_ready(listener.local_address().port());
  std::vector<eddy::future<>> connections;
  for (;;) {
    eddy::tcp_stream stream = co_await listener.accept();
    stream.set_no_delay(true);
    const auto index = static_cast<std::size_t>(stream.descriptor());
    if (index >= connections.size()) connections.resize(index + 1);
    connections[index] = eddy::spawn(loop, echo(context, std::move(stream)));
  }
}

}  // namespace

int main(int count, char** words) {
  const auto arguments = bench::echo_main(count, words);
  eddy::event_loop loop;
  eddy::block_on(loop, run(loop, arguments.port));
}
