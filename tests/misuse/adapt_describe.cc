// SPDX-License-Identifier: BSD-2-Clause
// says: describe must be a const member without parameters that returns a std::string
#include <string>

#include <eddy/future/adapt.h>
#include <eddy/future/task.h>

struct query {
  auto operator()(eddy::completer<> /*done*/) const {
    return [] {};
  }
#ifdef MISTAKE
  void describe(std::string& out) const { out += "an answer\n"; }
#else
  std::string describe() const { return "an answer"; }
#endif
};

eddy::task<> adapt_describe() { co_await eddy::adapt(query()); }
