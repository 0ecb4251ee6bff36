// SPDX-License-Identifier: BSD-2-Clause
// Servers with several certificates, of which the name that a client asks for chooses one.
#include <array>
#include <cstddef>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <eddy/future/as_result.h>
#include <eddy/future/spawn.h>
#include <eddy/future/task.h>
#include <eddy/net/duplex.h>
#include <eddy/net/tls/detail/certificate.h>
#include <eddy/net/tls/detail/openssl.h>
#include <eddy/net/tls/detail/tls_settings.h>
#include <eddy/net/tls/tls_context.h>
#include <eddy/net/tls/tls_error.h>

#include "support/async_test.h"
#include "support/temporary_directory.h"
#include "support/tidy.h"
#include "support/tls_pair.h"

using eddy::task;
using eddy::tls_client_context;
using eddy::tls_client_options;
using eddy::tls_error;
using eddy::tls_server_context;
using eddy::tls_server_options;

namespace {

/// A certificate for names such as "DNS:a.example", whose subject says which it is.
eddy::tls_identity identity(const tls_authority& authority, const std::string& subject,
                            const std::string& names, bool rsa = false) {
  tls_wish wish;
  wish.subject = subject;
  wish.names = names;
  wish.rsa = rsa;
  const tls_identity made = authority.sign(wish);
  eddy::tls_identity own;
  own.certificate = made.certificate;
  own.key = made.key;
  return own;
}

/// The options of a server whose first certificate is for `names`.
tls_server_options options_of(const tls_authority& authority, const std::string& names) {
  tls_wish wish;
  wish.subject = "first";
  wish.names = names;
  return server_options(authority, wish);
}

/// The subject of the certificate that a client gets, whether that certificate holds or not.
task<std::string> subject_for(const tls_authority& authority, tls_server_context server,
                              std::string host) {
  tls_client_options options = client_options(authority);
  options.verify_peer = false;
  const tls_client_context client(options);
  auto made = shake_hands(client, server, std::move(host));
  tls_outcome ends = co_await std::move(made);
  REQUIRE(ends.client.has_value());
  const auto certificate = ends.client->peer_certificate();
  co_return certificate ? certificate->subject : "none";
}

std::string refusal(const tls_server_options& options, std::error_code expected) {
  try {
    const tls_server_context made(options);
  } catch (const std::system_error& e) {
    CHECK(e.code() == expected);
    CHECK(ERR_peek_error() == 0);
    return e.what();
  }
  return "nothing";
}

/// Lets the client get a session, and tells whether it resumed an earlier one.
task<bool> uses_session(tls_outcome& ends) {
  std::array<char, 8> buffer;
  co_await ends.server->write(std::string_view("word"));
  co_await ends.client->read(buffer);
  CHECK(ends.server->resumed() == ends.client->resumed());
  co_return ends.client->resumed();
}

/// Makes a connection in which the client gets a session.
task<bool> resumes(tls_client_context client, tls_server_context server, std::string host) {
  auto made = shake_hands(client, server, std::move(host));
  tls_outcome ends = co_await std::move(made);
  REQUIRE(ends.client.has_value());
  const bool resumed = co_await uses_session(ends);
  co_return resumed;
}

}  // namespace

ASYNC_TEST("a client gets the certificate with the name that it asks for") {
  const tls_authority authority;
  tls_server_options options = options_of(authority, "DNS:a.example");
  options.further = {identity(authority, "second", "DNS:b.example,DNS:c.example"),
                     identity(authority, "third", "DNS:d.example,DNS:c.example")};
  options.alpn = {"h2"};
  const tls_server_context server(options);
  tls_client_options asking = client_options(authority);
  asking.alpn = {"h2"};
  const tls_client_context client(asking);
  const std::pair<std::string, std::string> all[] = {{"a.example", "CN=first"},
                                                     {"b.example", "CN=second"},
                                                     {"c.example", "CN=second"},
                                                     {"d.example", "CN=third"},
                                                     {"D.EXAMPLE", "CN=third"}};
  for (const auto& [host, subject] : all) {
    CAPTURE(host);
    const tls_outcome ends = co_await shake_hands(client, server, host);
    REQUIRE(ends.client.has_value());
    CHECK(ends.client->peer_certificate().value().subject == subject);
    CHECK(ends.client->alpn() == "h2");
    CHECK(ends.server->server_name() == host);
  }
}

ASYNC_TEST("without a name, or with a name that no certificate has, a client gets the first one") {
  const tls_authority authority;
  tls_server_options options = options_of(authority, "DNS:a.example");
  options.further = {identity(authority, "second", "DNS:b.example,IP:127.0.0.1")};
  // The subject of a certificate is no name of it.
  options.further.push_back(identity(authority, "c.example", "IP:127.0.0.2"));
  const tls_server_context server(options);
  for (const std::string host : {"127.0.0.1", "other.example", "c.example", "example"}) {
    CAPTURE(host);
    const std::string subject = co_await subject_for(authority, server, host);
    CHECK(subject == "CN=first");
  }
}

ASYNC_TEST("a wildcard holds for one label, and an exact name goes before it") {
  const tls_authority authority;
  tls_server_options options = options_of(authority, "DNS:*.example.org");
  options.further = {identity(authority, "exact", "DNS:www.example.org"),
                     identity(authority, "other", "DNS:*.example.net,DNS:w*.example.com"),
                     identity(authority, "later", "DNS:*.example.net,DNS:*.example.org")};
  const tls_server_context server(options);
  const std::pair<std::string, std::string> all[] = {
      {"www.example.org", "CN=exact"}, {"a.example.org", "CN=first"},
      {"a.example.net", "CN=other"},   {"example.net", "CN=first"},
      {"a.b.example.net", "CN=first"}, {"www.example.com", "CN=first"}};
  for (const auto& [host, subject] : all) {
    CAPTURE(host);
    const std::string got = co_await subject_for(authority, server, host);
    CHECK(got == subject);
  }
}

namespace {

/// As `subject_for`, but the client is OpenSSL alone, which may ask for what is no name.
task<std::string> subject_for_any(tls_server_context server, std::string asked) {
  auto [near, far] = eddy::duplex(65536, 65536);
  auto accepted = eddy::spawn(eddy::as_result(eddy::tls_accept(server, std::move(far))));
  const eddy::detail::openssl_ptr<SSL_CTX> context(SSL_CTX_new(TLS_client_method()));
  const std::unique_ptr<SSL, decltype(&SSL_free)> ssl(SSL_new(context.get()), &SSL_free);
  BIO* const in = BIO_new(BIO_s_mem());
  BIO* const out = BIO_new(BIO_s_mem());
  SSL_set_bio(ssl.get(), in, out);
  SSL_set_tlsext_host_name(ssl.get(), asked.c_str());
  for (;;) {
    const bool done = SSL_connect(ssl.get()) == 1;
    ERR_clear_error();
    std::array<char, 4096> bytes;
    const int count = BIO_read(out, bytes.data(), static_cast<int>(bytes.size()));
    if (count > 0) {
      co_await near.write(std::string_view(bytes.data(), static_cast<std::size_t>(count)));
    }
    if (done) break;
    const std::size_t n = co_await near.read(bytes);
    if (n == 0) co_return "the end";
    BIO_write(in, bytes.data(), static_cast<int>(n));
  }
  const auto secure = co_await std::move(accepted);
  CHECK(secure.has_value());
  X509* const own = SSL_get0_peer_certificate(ssl.get());
  co_return eddy::detail::describe_certificate(*own).subject;
}

}  // namespace

ASYNC_TEST("a client that asks for a name with a dot before it gets the first certificate") {
  const tls_authority authority;
  tls_server_options options = options_of(authority, "DNS:a.example");
  options.further = {identity(authority, "wild", "DNS:*.example.org,DNS:b.example.net")};
  const tls_server_context server(options);
  const std::pair<std::string, std::string> all[] = {{"x.example.org", "CN=wild"},
                                                     {".example.org", "CN=first"},
                                                     {".example.net", "CN=first"},
                                                     {".", "CN=first"}};
  for (const auto& [asked, subject] : all) {
    CAPTURE(asked);
    const std::string got = co_await subject_for_any(server, asked);
    CHECK(got == subject);
  }
}

ASYNC_TEST("certificates with keys of several kinds do not mix") {
  const tls_authority authority;
  for (const bool rsa : {false, true}) {
    tls_wish wish;
    wish.names = "DNS:a.example";
    wish.rsa = rsa;
    tls_server_options options = server_options(authority, wish);
    options.further = {identity(authority, "second", "DNS:b.example", !rsa)};
    const tls_server_context server(options);
    for (const auto version : {eddy::tls_version::tls1_2, eddy::tls_version::tls1_3}) {
      tls_client_options asking = client_options(authority);
      asking.max_version = version;
      const tls_client_context client(asking);
      for (const std::string host : {"a.example", "b.example"}) {
        CAPTURE(host);
        const tls_outcome ends = co_await shake_hands(client, server, host);
        CHECK(ends.client_words == "");
      }
    }
  }
}

ASYNC_TEST("a further certificate is sent with its intermediate authorities") {
  const tls_authority authority;
  const tls_authority between("an authority between", &authority);
  tls_server_options options = options_of(authority, "DNS:a.example");
  options.further = {identity(between, "second", "DNS:b.example"),
                     identity(between, "third", "DNS:c.example")};
  options.further[0].certificate += between.pem();
  const tls_server_context server(options);
  const tls_client_context client(client_options(authority));
  const tls_outcome whole = co_await shake_hands(client, server, "b.example");
  CHECK(whole.client_words == "");
  const tls_outcome without = co_await shake_hands(client, server, "c.example");
  CHECK(without.client.error() == tls_error::certificate_untrusted);
}

ASYNC_TEST("clients need certificates under each name of a server") {
  const tls_authority authority;
  tls_server_options options = options_of(authority, "DNS:a.example");
  options.further = {identity(authority, "second", "DNS:b.example")};
  options.client_certificates = eddy::tls_client_certificates::required;
  options.ca = authority.pem();
  const tls_server_context server(options);
  const tls_client_context bare(client_options(authority));
  const tls_outcome without = co_await shake_hands(bare, server, "b.example");
  CHECK(without.server.error() == tls_error::certificate_missing);
  tls_client_options asking = client_options(authority);
  const tls_identity own = authority.sign({"a client", "", -1, 1, ""});
  asking.certificate = own.certificate;
  asking.key = own.key;
  const tls_client_context client(asking);
  const tls_outcome with = co_await shake_hands(client, server, "b.example");
  REQUIRE(with.server.has_value());
  CHECK(with.server->peer_certificate().value().subject == "CN=a client");
}

TEST_CASE_FIXTURE(tidy, "a further certificate that is missing or wrong is refused by its number") {
  const tls_authority authority;
  tls_server_options options = options_of(authority, "DNS:a.example");
  const eddy::tls_identity good = identity(authority, "second", "DNS:b.example");
  const auto refused = [&](eddy::tls_identity wrong, std::error_code expected) {
    options.further = {good, std::move(wrong)};
    return refusal(options, expected);
  };
  const std::error_code missing = std::make_error_code(std::errc::invalid_argument);
  CHECK(refused({}, missing) ==
        "neither certificate nor certificate_file is set in the further certificate 2 of the TLS "
        "options: Invalid argument");
  eddy::tls_identity wrong = good;
  wrong.key.clear();
  CHECK(refused(wrong, missing) ==
        "neither key nor key_file is set in the further certificate 2 of the TLS options: Invalid "
        "argument");
  wrong.key = identity(authority, "other", "DNS:b.example").key;
  CHECK(refused(wrong, tls_error::key_mismatch)
            .starts_with("load a private key from the key of further certificate 2 given as text "
                         "for CN=second"));
  wrong.key = "no key";
  CHECK(refused(wrong, tls_error::bad_key)
            .starts_with("load a private key from the key of further certificate 2 given as text"));
  wrong.certificate = "no certificate";
  CHECK(refused(wrong, tls_error::bad_certificate)
            .starts_with("load a certificate from further certificate 2 given as text"));
  wrong.certificate.clear();
  wrong.certificate_file = "/no/such.pem";
  CHECK(refused(wrong, std::make_error_code(std::errc::no_such_file_or_directory))
            .starts_with("read /no/such.pem"));
}

ASYNC_TEST("a reload reads the further certificates again, and takes others") {
  const temporary_directory directory;
  const tls_authority authority;
  const auto write = [&](const std::string& subject) {
    const eddy::tls_identity own = identity(authority, subject, "DNS:b.example");
    std::ofstream(directory / "own.pem") << own.certificate << own.key;
  };
  write("before");
  tls_server_options options = options_of(authority, "DNS:a.example");
  options.further.resize(1);
  options.further[0].certificate_file = directory / "own.pem";
  options.further[0].key_file = directory / "own.pem";
  tls_server_context server(options);
  const std::string before = co_await subject_for(authority, server, "b.example");
  CHECK(before == "CN=before");
  write("after");
  const std::string unchanged = co_await subject_for(authority, server, "b.example");
  CHECK(unchanged == "CN=before");
  server.reload();
  const std::string after = co_await subject_for(authority, server, "b.example");
  CHECK(after == "CN=after");
  options.further.clear();
  server.reload(options);
  const std::string none = co_await subject_for(authority, server, "b.example");
  CHECK(none == "CN=first");
}

ASYNC_TEST("a session is resumed only for its own server name, whatever the client wants") {
  const tls_authority authority;
  tls_server_options options = options_of(authority, "DNS:a.example,DNS:b.example");
  options.further = {identity(authority, "second", "DNS:c.example")};
  tls_server_context server(options);
  const std::pair<std::string, std::string> all[] = {
      {"a.example", "b.example"}, {"a.example", "c.example"}, {"c.example", "a.example"}};
  for (const auto version : {eddy::tls_version::tls1_2, eddy::tls_version::tls1_3}) {
    tls_client_options asking = client_options(authority);
    asking.max_version = version;
    for (const auto& [host, other] : all) {
      CAPTURE(host);
      CAPTURE(other);
      const tls_client_context client(asking);
      const bool first = co_await resumes(client, server, host);
      CHECK_FALSE(first);
      server.reload();
      const bool again = co_await resumes(client, server, host);
      CHECK(again);
      const auto sessions = eddy::detail::tls_access::settings(client);
      auto session = sessions->take_session(host);
      REQUIRE(session != nullptr);
      sessions->keep_session(other, std::move(session));
      const bool crossed = co_await resumes(client, server, other);
      CHECK_FALSE(crossed);
    }
  }
}

ASYNC_TEST("a server knows the name for which a client asks, also when it resumes a session") {
  const tls_authority authority;
  for (const bool several : {false, true}) {
    tls_server_options options = options_of(authority, "DNS:a.example");
    if (several) options.further = {identity(authority, "second", "DNS:b.example")};
    tls_server_context server(options);
    for (const auto version : {eddy::tls_version::tls1_2, eddy::tls_version::tls1_3}) {
      tls_client_options asking = client_options(authority);
      asking.max_version = version;
      const tls_client_context client(asking);
      for (const bool again : {false, true}) {
        CAPTURE(again);
        tls_outcome ends = co_await shake_hands(client, server, "a.example");
        REQUIRE(ends.client.has_value());
        const bool resumed = co_await uses_session(ends);
        CHECK(resumed == again);
        CHECK(ends.server->server_name() == "a.example");
        CHECK(ends.client->server_name() == "a.example");
        server.reload();
      }
    }
  }
}
