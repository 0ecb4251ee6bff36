// SPDX-License-Identifier: BSD-2-Clause
#pragma once

// These functions describe certificates and the errors of OpenSSL. No public header includes them.

#include <string>

#include <eddy/net/tls/detail/openssl.h>
#include <eddy/net/tls/tls_certificate.h>
#include <eddy/net/tls/tls_error.h>

namespace eddy::detail {

/// Errors: `std::bad_alloc`.
[[nodiscard]] tls_certificate describe_certificate(X509& of);

/// "certificate CN=a of CN=authority: certificate has expired (Jan  1 00:00:00 2020 GMT)".
[[nodiscard, gnu::cold]] std::string words_of_certificate(const X509& of, int error);

/// The kind of an error with which OpenSSL's verification ends.
[[nodiscard, gnu::cold]] tls_error error_of_certificate(int error) noexcept;

/// The kind of an error in OpenSSL's queue, which a connection has met.
[[nodiscard, gnu::cold]] tls_error error_of(unsigned long error) noexcept;

}  // namespace eddy::detail
