// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include <eddy/loop/detail/language.h>

namespace eddy {

/// Describes the certificate of a peer.
///
/// A peer chooses the content of its certificate. Names in `subject` and `issuer` are escaped as in
/// RFC 2253, and control characters in `names` become `\xNN`, so that a log may hold them.
struct tls_certificate {
  std::string subject;             // "CN=example.org,O=Example"
  std::string issuer;              // the subject of the authority
  std::string serial;              // hexadecimal
  std::vector<std::string> names;  // the DNS names and addresses for which it holds
  std::chrono::sys_seconds not_before;
  std::chrono::sys_seconds not_after;
  std::string sha256;  // the fingerprint: 64 hexadecimal digits
  std::string pem;     // the certificate itself
};

}  // namespace eddy
