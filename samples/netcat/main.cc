// SPDX-License-Identifier: BSD-2-Clause
//
// Connects the standard streams with a TCP, Unix or TLS connection, as nc does: the standard input
// goes to the peer, and the peer's bytes go to the standard output. At the end of the input the
// sending side is ended, and the answer still arrives. The program ends when both sides have ended.
//
//   ./samples/run netcat 127.0.0.1 7000
//   ./samples/run netcat unix:/run/daemon.socket
//   ./samples/run netcat --tls example.org 443
//   ./samples/run netcat --listen 127.0.0.1:7000     # one connection; prints `ready` on stderr
//   ./samples/run netcat --replace --listen unix:./socket
//   ./samples/run netcat --tls --certificate FILE --key FILE --listen 127.0.0.1:7000
//
// --replace    replaces a socket file that was left behind; a socket in use is never replaced
// --ca FILE    the certificates to trust, instead of those of the system
// --name NAME  the name for which the server's certificate must hold, instead of HOST
// --insecure   does not verify the server's certificate: anybody can pretend to be the server
//
// The exit code is 0 if both sides ended in order, 1 after an error, 64 for wrong arguments, and
// 130 or 143 after SIGINT or SIGTERM. A TLS connection that was cut off is an error: bytes may be
// missing.

#include <array>
#include <cstdio>
#include <exception>
#include <optional>
#include <utility>

#include <signal.h>

#include <eddy/future/block_on.h>
#include <eddy/future/select.h>
#include <eddy/future/task.h>
#include <eddy/future/until.h>
#include <eddy/loop/event_loop.h>
#include <eddy/net/any_stream.h>
#include <eddy/net/connect.h>
#include <eddy/net/copy.h>
#include <eddy/net/pipe.h>
#include <eddy/net/tcp_listener.h>
#include <eddy/net/unix_connect.h>
#include <eddy/net/unix_listener.h>
#ifdef SAMPLES_TLS
#include <eddy/net/tls/tls_context.h>
#include <eddy/net/tls/tls_stream.h>
#endif

#include "arguments.h"

namespace {

class netcat {
public:
  /// Reads the certificates.
  netcat(eddy::event_loop& loop, const arguments& how) : loop_(loop), how_(how) {
#ifdef SAMPLES_TLS
    if (how.tls && how.listen) {
      eddy::tls_server_options options;
      options.certificate_file = how.certificate;
      options.key_file = how.key;
      server_.emplace(options);
    } else if (how.tls) {
      eddy::tls_client_options options;
      options.ca_file = how.ca;
      options.system_roots = how.ca.empty();
      options.verify_peer = !how.insecure;
      client_.emplace(options);
    }
#endif
  }

  eddy::task<> run() {
    eddy::pipe_stream here(eddy::standard_input(loop_), eddy::standard_output(loop_));
    eddy::any_stream peer = co_await open();
    co_await eddy::copy_bidirectional(here, peer);
  }

private:
  eddy::task<eddy::any_stream> open() {
    if (how_.listen && how_.path) {
      eddy::unix_listener::options options;
      options.replace_stale = how_.replace;
      return accept_one(eddy::unix_listener(loop_, *how_.path, options));
    }
    if (how_.listen) return accept_one(eddy::tcp_listener(loop_, how_.local));
    if (how_.path) return connect(eddy::connect(*how_.path));
    return connect(eddy::connect(how_.host, how_.port));
  }

  template <class Listener>
  eddy::task<eddy::any_stream> accept_one(Listener listener) {
    std::fprintf(stderr, "ready %s\n", listener.local_address().to_string().c_str());
    auto stream = co_await listener.accept();
    listener.close();  // refuses further clients, and removes the socket file
#ifdef SAMPLES_TLS
    if (server_) {
      auto secure = co_await eddy::tls_accept(*server_, std::move(stream));
      co_return eddy::any_stream(std::move(secure));
    }
#endif
    co_return eddy::any_stream(std::move(stream));
  }

  template <class Connecting>
  eddy::task<eddy::any_stream> connect(Connecting connecting) {
    auto stream = co_await std::move(connecting);
#ifdef SAMPLES_TLS
    if (client_) {
      auto secure = co_await eddy::tls_connect(*client_, std::move(stream), how_.name);
      co_return eddy::any_stream(std::move(secure));
    }
#endif
    co_return eddy::any_stream(std::move(stream));
  }

  eddy::event_loop& loop_;
  const arguments& how_;
#ifdef SAMPLES_TLS
  std::optional<eddy::tls_server_context> server_;
  std::optional<eddy::tls_client_context> client_;
#endif
};

/// Runs to the end or to a signal, and returns the exit code. A signal closes everything, so that
/// no socket file is left behind.
eddy::task<int> run(eddy::event_loop& loop, const arguments& how) {
  netcat work(loop, how);
  const auto first =
      co_await eddy::select(eddy::until_signal(SIGINT), eddy::until_signal(SIGTERM), work.run());
  constexpr std::array codes{128 + SIGINT, 128 + SIGTERM, 0};
  co_return codes[first.index()];
}

}  // namespace

int main(int count, char** words) try {
  const arguments how(count, words);
  eddy::event_loop loop;
  return eddy::block_on(loop, run(loop, how));
} catch (const std::exception& e) {
  std::fprintf(stderr, "netcat: %s\n", e.what());
  return 1;
}
