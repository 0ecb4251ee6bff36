// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/remote.h>

#include <eddy/loop/detail/mailbox.h>

namespace eddy {

bool remote::post(handler<void()> function) const { return box_->put(std::move(function)); }

}  // namespace eddy
