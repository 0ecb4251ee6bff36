// SPDX-License-Identifier: BSD-2-Clause
#pragma once

// A context gives its settings to its connections. No public header includes this.

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include <eddy/net/tls/detail/openssl.h>
#include <eddy/net/tls/tls_context.h>

namespace eddy::detail {

/// An `SSL_CTX` that does not change any more, and the sessions of a client. A context and its
/// connections share it. A reload makes a new one.
/// Threads: any.
class tls_settings {
public:
  /// Reads certificates and keys.
  /// Errors: `std::system_error`, `std::bad_alloc`.
  explicit tls_settings(const tls_client_options& options);
  /// The same for a server, which keeps the ticket keys of `before`, if that is not null and they
  /// may be kept.
  tls_settings(const tls_server_options& options, const tls_settings* before);
  tls_settings(const tls_settings&) = delete;
  tls_settings& operator=(const tls_settings&) = delete;
  ~tls_settings() = default;

  [[nodiscard]] SSL_CTX* get() const noexcept { return context_.get(); }
  [[nodiscard]] bool client() const noexcept { return client_; }
  [[nodiscard]] bool verifies() const noexcept { return verifies_; }

  /// Keeps a session for `host` and owns it from now on.
  void keep_session(const std::string& host, openssl_ptr<SSL_SESSION> session);
  /// A session of an earlier connection with `host`, or null. A session of TLS 1.3 is given once,
  /// so that nobody who listens can tell that two connections are of one client (RFC 8446, C.4).
  [[nodiscard]] openssl_ptr<SSL_SESSION> take_session(const std::string& host);

private:
  /// Prepares a server's answer to a ClientHello, before OpenSSL looks at anything else in it:
  /// chooses the certificate, and binds sessions to the name.
  static int meet_client(SSL* ssl, int* alert, void* own) noexcept;
  /// The further identity for a name; null for the context's own.
  [[nodiscard]] SSL_CTX* identity_for(std::string_view name) const noexcept;

  struct sessions {
    std::vector<openssl_ptr<SSL_SESSION>> all;  // the newest last
    std::uint64_t used = 0;                     // when one was kept last
  };

  void set_up(const tls_options& options);
  void load_further(const std::vector<tls_identity>& all);
  void load_authorities(const tls_options& options);
  void set_protocols(const std::vector<std::string>& names);

  openssl_ptr<SSL_CTX> context_;
  std::vector<openssl_ptr<SSL_CTX>> further_;  // each holds a certificate, its chain and its key
  bool client_;
  bool verifies_ = false;
  bool keeps_tickets_ = false;            // a reload may keep the ticket keys
  std::vector<unsigned char> protocols_;  // ALPN, as they are sent
  std::mutex mutex_;
  std::map<std::string, sessions> sessions_;  // by host
  std::uint64_t clock_ = 0;
};

/// The options and the present settings of a context. All copies of the context share them.
class tls_source {
public:
  explicit tls_source(tls_client_options options);
  explicit tls_source(tls_server_options options);

  [[nodiscard]] std::shared_ptr<tls_settings> settings() const;
  void reload();
  void reload(tls_client_options options);
  void reload(tls_server_options options);

private:
  mutable std::mutex mutex_;
  bool client_;
  tls_client_options client_options_;
  tls_server_options server_options_;
  std::shared_ptr<tls_settings> settings_;
};

}  // namespace eddy::detail
