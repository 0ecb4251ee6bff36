// SPDX-License-Identifier: BSD-2-Clause
// says: a write with a handler outlives these bytes
#include <string>
#include <system_error>

#include <eddy/net/any_stream.h>

void write_temporary_to_any_stream(eddy::any_stream& stream, const std::string& name) {
#ifdef MISTAKE
  stream.write("hello " + name, [](eddy::result<void>) {});
#else
  stream.write(name, [](eddy::result<void>) {});
#endif
}
