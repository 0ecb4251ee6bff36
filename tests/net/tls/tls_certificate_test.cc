// SPDX-License-Identifier: BSD-2-Clause
// eddy/net/tls/tls_certificate.h
#include <eddy/net/tls/tls_certificate.h>

#include <chrono>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <openssl/err.h>

#include "support/async_test.h"
#include "support/tls_pair.h"

using namespace std::chrono_literals;

ASYNC_TEST("the certificate of a peer is described") {
  const tls_authority authority;
  tls_wish wish;
  wish.subject = "the server, \"eddy\"";
  wish.names = "DNS:localhost,DNS:*.example.org,IP:10.0.0.1,IP:::1,email:nobody@example.org";
  const eddy::tls_server_options options = server_options(authority, wish);
  auto made = shake_hands(eddy::tls_client_context(client_options(authority)),
                          eddy::tls_server_context(options));
  const tls_outcome ends = co_await std::move(made);
  REQUIRE(ends.client.has_value());
  const eddy::tls_certificate found = ends.client->peer_certificate().value();
  CHECK(found.subject == "CN=the server\\, \\\"eddy\\\"");
  CHECK(found.issuer == "CN=eddy test authority");
  CHECK(found.names == std::vector<std::string>{"localhost", "*.example.org", "10.0.0.1", "::1"});
  CHECK(found.pem == options.certificate);
  CHECK(found.serial.find_first_not_of("0123456789ABCDEF") == std::string::npos);
  CHECK_FALSE(found.serial.empty());
  CHECK(found.sha256.size() == 64);
  const auto now = std::chrono::system_clock::now();
  CHECK(found.not_before < now - 23h);
  CHECK(found.not_before > now - 25h);
  CHECK(found.not_after > now + 23h);
  CHECK(found.not_after < now + 25h);
  CHECK_FALSE(ends.server->peer_certificate());
  CHECK(ERR_peek_error() == 0);
}

ASYNC_TEST("a hostile name in a certificate is escaped and cut off") {
  const tls_authority authority;
  tls_wish wish;
  wish.subject = "line\nfeed\x1b[31m \xc3\xa4";
  const eddy::tls_client_context client(client_options(authority));
  auto made = shake_hands(client, eddy::tls_server_context(server_options(authority, wish)));
  const tls_outcome ends = co_await std::move(made);
  REQUIRE(ends.client.has_value());
  const std::string subject = ends.client->peer_certificate().value().subject;
  CHECK(subject == "CN=line\\0Afeed\\1B[31m \\C3\\A4");
}
