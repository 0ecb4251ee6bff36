// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/detail/misuse.h>

#include <cstdio>
#include <cstdlib>

namespace eddy::detail {

void misuse(const char* sentence) noexcept {
  std::fprintf(stderr, "eddy: %s\n", sentence);
  std::abort();
}

void misuse(const char* sentence, std::source_location where) noexcept {
  std::fprintf(stderr, "eddy: %s (%s:%u)\n", sentence, where.file_name(),
               static_cast<unsigned>(where.line()));
  std::abort();
}

}  // namespace eddy::detail
