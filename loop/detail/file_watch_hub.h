// SPDX-License-Identifier: BSD-2-Clause
#pragma once

namespace eddy::detail {

class file_watch_hub {};

}  // namespace eddy::detail
