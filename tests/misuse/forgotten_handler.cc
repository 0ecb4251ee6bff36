// SPDX-License-Identifier: BSD-2-Clause
// says: this does nothing without co_await or a handler
#include <array>

#include <eddy/net/tcp_stream.h>

void forgotten_handler(eddy::tcp_stream& stream, std::array<char, 64>& buffer) {
#ifdef MISTAKE
  stream.read(buffer);
#else
  stream.read(buffer, [](eddy::result<std::size_t>) {});
#endif
}
