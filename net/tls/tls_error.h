// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>
#include <system_error>
#include <type_traits>

#include <eddy/loop/detail/language.h>

namespace eddy {

/// The errors of TLS, in addition to those of the stream below.
///
/// The text of a thrown `std::system_error` adds the details: the peer, the subject and the issuer
/// of the certificate, and the reason that OpenSSL gives.
enum class tls_error : std::uint8_t {
  /// The connection ended without a close_notify: bytes may be missing.
  truncated = 1,
  /// A certificate has expired.
  certificate_expired,
  /// A certificate is not valid yet.
  certificate_not_yet_valid,
  /// No chain leads from the certificate to a trusted authority, as for a self-signed one.
  certificate_untrusted,
  /// The certificate is valid, but for other names or addresses.
  certificate_wrong_name,
  /// A certificate cannot be parsed, or does not hold for another reason, such as a bad signature
  /// or purpose.
  certificate_invalid,
  /// The peer did not send a certificate although one is required.
  certificate_missing,
  /// The peer sent a fatal alert. The text names the alert.
  refused_by_peer,
  /// The two ends have no version, cipher or application protocol in common.
  nothing_in_common,
  /// The peer does not speak TLS.
  not_tls,
  /// The peer sent too many key updates or other messages that carry no data.
  too_many_messages,
  /// The peer violated the protocol in another way.
  protocol_violation,
  /// A certificate, a chain or an authority of this program cannot be read.
  bad_certificate,
  /// A private key of this program cannot be read, or needs another password.
  bad_key,
  /// The private key does not belong to the certificate.
  key_mismatch,
};

/// The category of error codes that hold a `tls_error`.
[[nodiscard]] const std::error_category& tls_category() noexcept;
[[nodiscard]] inline std::error_code make_error_code(tls_error e) noexcept {
  return {static_cast<int>(e), tls_category()};
}

}  // namespace eddy

template <>
struct std::is_error_code_enum<eddy::tls_error> : std::true_type {};
