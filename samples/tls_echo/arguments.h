// SPDX-License-Identifier: BSD-2-Clause
//
// The command line of both styles of the TLS echo server.
#pragma once

#include <chrono>

#include <eddy/net/address.h>
#include <eddy/net/tls/tls_context.h>

/// How long a client may take for its handshake.
inline constexpr std::chrono::seconds handshake_limit(10);

struct tls_echo_arguments {
  eddy::address listen;
  eddy::tls_server_options tls;
};

/// Reads `--certificate FILE`, `--key FILE` and then, as for echo, `--listen`. Prints what is wrong
/// and ends the program.
tls_echo_arguments read_arguments(int argc, char** argv);

/// Reads the certificate and the key again, and prints how that went.
void reload(eddy::tls_server_context& context);
