// SPDX-License-Identifier: BSD-2-Clause
// says: a write with a handler outlives these bytes
#include <string>
#include <system_error>

#include <eddy/net/buffered.h>
#include <eddy/net/tcp_stream.h>

void write_temporary_to_buffered(eddy::buffered<eddy::tcp_stream>& stream,
                                 const std::string& name) {
#ifdef MISTAKE
  stream.write("hello " + name, [](eddy::result<void>) {});
#else
  stream.write(name, [](eddy::result<void>) {});
#endif
}
