// SPDX-License-Identifier: BSD-2-Clause
//
// Both styles of the echo server send bytes back by this.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include <eddy/net/tcp_stream.h>

/// Reads what has come into `shared` and sends it back at once, so that all
/// connections share one buffer. Returns the bytes that the kernel did not take, or
/// nothing when the connection is over.
std::optional<std::vector<char>> send_back(eddy::tcp_stream& stream, std::span<char> shared);
