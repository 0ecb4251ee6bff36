// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <eddy/net/buffer.h>

namespace eddy::detail {

/// Aborts the program if a buffer to read into is empty. Every read of a stream makes this check
/// here, because the result of 0 would look like the end of the stream.
void expect_space(const mutable_buffer& into) noexcept;

}  // namespace eddy::detail
