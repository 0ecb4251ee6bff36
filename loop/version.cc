// SPDX-License-Identifier: BSD-2-Clause

#include <eddy/version.h>

namespace eddy {

const char* version() noexcept { return EDDY_VERSION; }

}  // namespace eddy
