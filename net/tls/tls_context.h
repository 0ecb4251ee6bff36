// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <eddy/loop/detail/language.h>

namespace eddy {

namespace detail {
class tls_settings;
class tls_source;
struct tls_access;
}  // namespace detail

/// The versions of TLS that eddy speaks.
enum class tls_version : std::uint8_t { tls1_2, tls1_3 };

/// Whether a server asks its clients for certificates.
///
/// The certificate of a client is always verified: with `optional`, a client may send none, but a
/// client with a certificate that does not hold is refused.
enum class tls_client_certificates : std::uint8_t { none, optional, required };

/// A certificate and its private key.
///
/// Both are PEM. Each can be given as the path of a file or as text, which wins. A certificate
/// needs a key and a key needs a certificate.
///
/// A file may be a pipe, such as `<(command)` in a shell. It is read until every writer has closed
/// it, for at most 10 s, and then gives `timed_out`. A FIFO that no process has opened for writing
/// is an empty file.
struct tls_identity {
  tls_identity() = default;

  /// The certificate, followed by its intermediate authorities.
  std::string certificate_file;
  std::string certificate;
  /// The private key of the certificate, and its password if it is encrypted.
  std::string key_file;
  std::string key;
  std::string key_password;
};

/// The options that clients and servers have in common. The certificate and the key are those of
/// this end.
///
/// Authorities are PEM, too, as the path of a file or as text, which wins.
/// Revoked certificates are not recognised: neither lists (CRL) nor OCSP are asked.
struct tls_options : tls_identity {
  tls_options() = default;

  /// The certificates that are trusted: those of authorities, or of single peers.
  std::string ca_file;
  std::string ca;
  /// The application protocols (ALPN), such as "h2", the preferred one first. A name has 1 to 255
  /// bytes, and all names with a byte before each have at most 32 KiB.
  std::vector<std::string> alpn;
  tls_version min_version = tls_version::tls1_2;
  tls_version max_version = tls_version::tls1_3;
  /// Whether a later connection with the same peer may resume a session, which saves the exchange
  /// of certificates.
  bool resumption = true;
};

/// The options of a `tls_client_context`.
struct tls_client_options : tls_options {
  tls_client_options() = default;

  /// Whether the authorities of the system are trusted, in addition to `ca_file` or `ca`.
  bool system_roots = true;
  /// Whether the chain and the name of the server's certificate are verified. Without that,
  /// anybody can pretend to be the server.
  bool verify_peer = true;
};

/// The options of a `tls_server_context`. A certificate and a key are required.
struct tls_server_options : tls_options {
  tls_server_options() = default;

  /// Whether clients need certificates. The authorities of clients are those of `ca_file` or `ca`;
  /// without any, no client certificate is trusted.
  tls_client_certificates client_certificates = tls_client_certificates::none;
  /// Further certificates, for a server with several names.
  ///
  /// A client that asks for a name (SNI) gets the first certificate with exactly that name, or else
  /// the first with a wildcard for it. `*.example.org` holds for `a.example.org`, but neither for
  /// `example.org` nor for `a.b.example.org`. Only names in the extension subjectAltName count. The
  /// certificate of these options comes first in that order. A client that asks for no name, or
  /// for one that no certificate has, gets it, too.
  std::vector<tls_identity> further;
};

/// Holds what the TLS connections of a client have in common: trust, certificate and sessions.
///
///     const tls_client_context context;
///     tls_stream secure = co_await tls_connect(context, std::move(stream), "example.org");
///
/// It keeps up to four sessions for each of the last 256 hosts, for resumption.
///
/// A copy shares everything with its original: a reload of one is a reload of both.
/// Lifetime: a connection keeps what it needs, so a context may be destroyed at any time.
/// Threads: any.
class tls_client_context {
public:
  /// Reads certificates and keys.
  ///
  /// This reads files with blocking calls. OpenSSL reads the authorities of the system when a
  /// handshake needs them.
  /// Errors: `std::system_error` with a `tls_error` or the error of a file, whose name is in the
  /// text; `invalid_argument` for impossible or missing options; `std::bad_alloc`.
  explicit tls_client_context(tls_client_options options = tls_client_options());
  tls_client_context(const tls_client_context&) = default;
  tls_client_context& operator=(const tls_client_context&) = default;
  ~tls_client_context() = default;

  /// Reads the files again, for connections that begin after this call.
  ///
  /// Connections that exist are not affected. Sessions are not resumed after a reload. This reads
  /// files with blocking calls.
  /// Errors: as for the constructor; then nothing changes.
  void reload();
  /// Replaces all options, for connections that begin after this call.
  /// Errors: as for the constructor; then nothing changes.
  void reload(tls_client_options options);

private:
  friend detail::tls_access;
  std::shared_ptr<detail::tls_source> source_;
};

/// Holds what the TLS connections of a server have in common: certificate, trust and ticket keys.
///
///     tls_server_options options;
///     options.certificate_file = "/etc/daemon/chain.pem";
///     options.key_file = "/etc/daemon/key.pem";
///     const tls_server_context context(options);
///
/// For resumption, the client keeps the session in a ticket, so that a server needs no memory for
/// it. A session is resumed only by a client that asks for the same server name again.
///
/// A copy shares everything with its original: a reload of one is a reload of both.
/// Lifetime: a connection keeps what it needs, so a context may be destroyed at any time.
/// Threads: any.
class tls_server_context {
public:
  /// Reads certificates and keys.
  ///
  /// This reads files with blocking calls.
  /// Errors: `std::system_error` with a `tls_error` or the error of a file, whose name is in the
  /// text; `invalid_argument` for impossible or missing options; `std::bad_alloc`.
  explicit tls_server_context(tls_server_options options);
  tls_server_context(const tls_server_context&) = default;
  tls_server_context& operator=(const tls_server_context&) = default;
  ~tls_server_context() = default;

  /// Reads the files again, for connections that begin after this call.
  ///
  /// Connections that exist are not affected. Tickets stay valid, unless clients need certificates:
  /// a resumed session would pass over the new authorities. This reads files with blocking calls.
  /// Errors: as for the constructor; then nothing changes.
  void reload();
  /// Replaces all options, for connections that begin after this call.
  /// Errors: as for the constructor; then nothing changes.
  void reload(tls_server_options options);

private:
  friend detail::tls_access;
  std::shared_ptr<detail::tls_source> source_;
};

// implementation

namespace detail {

/// Gives connections the present settings of a context.
struct tls_access {
  [[nodiscard]] static std::shared_ptr<detail::tls_settings> settings(
      const tls_client_context& context);
  [[nodiscard]] static std::shared_ptr<detail::tls_settings> settings(
      const tls_server_context& context);
};

}  // namespace detail

}  // namespace eddy
