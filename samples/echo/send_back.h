// SPDX-License-Identifier: BSD-2-Clause
//
// Sends bytes back, in both styles of the echo server.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include <eddy/net/tcp_stream.h>

/// Reads the available bytes into `shared` and sends them back at once, so that all
/// connections can share one buffer. Returns the bytes that the kernel did not take, or
/// nullopt when the connection has ended.
std::optional<std::vector<char>> send_back(eddy::tcp_stream& stream, std::span<char> shared);
