// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/tls/tls_error.h>

#include <string>

namespace eddy {

namespace {

class category final : public std::error_category {
public:
  [[nodiscard]] const char* name() const noexcept override { return "tls"; }

  [[nodiscard]] std::string message(int value) const override {
    switch (static_cast<tls_error>(value)) {
      case tls_error::truncated: return "the connection was cut off without a close_notify";
      case tls_error::certificate_expired: return "the certificate has expired";
      case tls_error::certificate_not_yet_valid: return "the certificate is not valid yet";
      case tls_error::certificate_untrusted: return "the certificate is of no trusted authority";
      case tls_error::certificate_wrong_name: return "the certificate is for another name";
      case tls_error::certificate_invalid: return "the certificate is invalid";
      case tls_error::certificate_missing: return "the peer sent no certificate";
      case tls_error::refused_by_peer: return "the peer refused the connection";
      case tls_error::nothing_in_common:
        return "no version, cipher or application protocol in common";
      case tls_error::not_tls: return "the peer does not speak TLS";
      case tls_error::too_many_messages: return "the peer sent too many messages without data";
      case tls_error::protocol_violation: return "the peer violated the protocol";
      case tls_error::bad_certificate: return "not a usable certificate";
      case tls_error::bad_key: return "not a usable private key";
      case tls_error::key_mismatch: return "the private key does not belong to the certificate";
    }
    return "unknown error of TLS";
  }
};

}  // namespace

const std::error_category& tls_category() noexcept {
  static const category the_one;
  return the_one;
}

}  // namespace eddy
