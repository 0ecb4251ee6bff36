// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/detail/current_loop.h>

#include <string>

#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/text.h>

namespace eddy::detail {

void no_current_loop(const char* who_asks) noexcept {
  const std::string sentence =
      text({who_asks, " was called while no loop runs on this thread: name the loop"});
  misuse(sentence.c_str());
}

}  // namespace eddy::detail
