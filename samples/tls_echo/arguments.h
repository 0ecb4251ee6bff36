// SPDX-License-Identifier: BSD-2-Clause
//
// The command line of both styles of the TLS echo server, and its certificate.
#pragma once

#include <chrono>

#include <eddy/loop/event_loop.h>
#include <eddy/loop/signal.h>
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

/// The certificate and the key of the server. SIGHUP makes it read both again and print how that
/// went. It does not keep the loop running.
class server_identity {
public:
  server_identity(eddy::event_loop& loop, const eddy::tls_server_options& options);

  [[nodiscard]] const eddy::tls_server_context& context() const { return context_; }

private:
  void reload();

  eddy::tls_server_context context_;
  eddy::signal hang_up_;
};
