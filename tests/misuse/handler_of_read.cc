// SPDX-License-Identifier: BSD-2-Clause
// says: a handler of this signature can't be made of this callable: compare the arguments
#include <array>
#include <cstddef>

#include <eddy/net/tcp_stream.h>

void handler_of_read(eddy::tcp_stream& stream, std::array<char, 64>& buffer) {
#ifdef MISTAKE
  stream.read(buffer, [](std::size_t) {});
#else
  stream.read(buffer, [](eddy::result<std::size_t>) {});
#endif
}
