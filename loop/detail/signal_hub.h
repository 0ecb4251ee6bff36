// SPDX-License-Identifier: BSD-2-Clause
#pragma once

namespace eddy::detail {

class signal_hub {
public:
  void gather() noexcept {}
};

}  // namespace eddy::detail
