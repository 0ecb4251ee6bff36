// SPDX-License-Identifier: BSD-2-Clause
#pragma once

// Contexts and connected TLS streams for tests.

#include <cstddef>
#include <string>
#include <system_error>
#include <utility>

#include <eddy/future/as_result.h>
#include <eddy/future/join.h>
#include <eddy/future/task.h>
#include <eddy/net/duplex.h>
#include <eddy/net/tls/tls_context.h>
#include <eddy/net/tls/tls_stream.h>

#include "support/tls_authority.h"

/// The options of a server with a certificate of `authority`.
inline eddy::tls_server_options server_options(const tls_authority& authority,
                                               const tls_wish& wish = tls_wish()) {
  const tls_identity own = authority.sign(wish);
  eddy::tls_server_options options;
  options.certificate = own.certificate;
  options.key = own.key;
  return options;
}

/// The options of a client that trusts `authority` alone.
inline eddy::tls_client_options client_options(const tls_authority& authority) {
  eddy::tls_client_options options;
  options.system_roots = false;
  options.ca = authority.pem();
  return options;
}

/// The contexts of both ends.
struct tls_contexts {
  tls_contexts() = default;
  tls_contexts(const eddy::tls_client_options& c, const eddy::tls_server_options& s)
      : client(c), server(s) {}

  tls_authority authority;
  eddy::tls_client_context client{client_options(authority)};
  eddy::tls_server_context server{server_options(authority)};
};

using memory_tls = eddy::tls_stream<eddy::duplex_stream>;

/// The two ends of a connection in memory.
struct tls_ends {
  memory_tls client;
  memory_tls server;
};

/// How the two ends of a handshake end: an error, or a stream.
struct tls_outcome {
  eddy::result<memory_tls> client;
  eddy::result<memory_tls> server;
  std::string client_words;  // of an error
  std::string server_words;
};

template <class Secure>
eddy::task<eddy::result<Secure>> words_of(eddy::detail::steps_operation<Secure> made,
                                          std::string& words) {
  try {
    Secure stream = co_await std::move(made);
    co_return stream;
  } catch (const std::system_error& e) {
    words = e.what();
    co_return std::unexpected(e.code());
  }
}

/// Makes a handshake over a `duplex` with buffers of `size` bytes.
inline eddy::task<tls_outcome> shake_hands(eddy::tls_client_context client,
                                           eddy::tls_server_context server,
                                           std::string host = "localhost",
                                           std::size_t size = 65536) {
  auto [near, far] = eddy::duplex(size, size);
  std::string at_client;
  std::string at_server;
  auto both =
      eddy::join(words_of(eddy::tls_connect(client, std::move(near), std::move(host)), at_client),
                 words_of(eddy::tls_accept(server, std::move(far)), at_server));
  auto [c, s] = co_await std::move(both);
  tls_outcome all{std::move(c), std::move(s), std::move(at_client), std::move(at_server)};
  co_return all;
}

/// Two connected ends in memory.
inline eddy::task<tls_ends> connected(const tls_contexts& by, std::size_t size = 65536) {
  auto made = shake_hands(by.client, by.server, "localhost", size);
  tls_outcome both = co_await std::move(made);
  tls_ends ends{std::move(both.client.value()), std::move(both.server.value())};
  co_return ends;
}
