// SPDX-License-Identifier: BSD-2-Clause
// says: an outgoing_datagram outlives these bytes: keep them in a variable
#include <string>

#include <eddy/net/datagram.h>

eddy::outgoing_datagram to_all(const std::string& name) {
#ifdef MISTAKE
  return {"hello " + name, eddy::address()};
#else
  return {name, eddy::address()};
#endif
}
