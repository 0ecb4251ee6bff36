// SPDX-License-Identifier: BSD-2-Clause
#pragma once

// OpenSSL's objects with owners, and its errors. Not for public headers.

#include <cstdio>
#include <memory>
#include <string>
#include <utility>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

namespace eddy::detail {

struct openssl_deleter {
  void operator()(SSL_CTX* p) const noexcept { SSL_CTX_free(p); }
  void operator()(SSL_SESSION* p) const noexcept { SSL_SESSION_free(p); }
  void operator()(BIO* p) const noexcept { BIO_free(p); }
  void operator()(X509* p) const noexcept { X509_free(p); }
  void operator()(EVP_PKEY* p) const noexcept { EVP_PKEY_free(p); }
  void operator()(BIGNUM* p) const noexcept { BN_free(p); }
  void operator()(GENERAL_NAMES* p) const noexcept { GENERAL_NAMES_free(p); }
  void operator()(char* p) const noexcept { OPENSSL_free(p); }
  void operator()(unsigned char* p) const noexcept { OPENSSL_free(p); }
};
template <class T>
using openssl_ptr = std::unique_ptr<T, openssl_deleter>;

/// Empties OpenSSL's queue of errors of this thread before and after a call of OpenSSL, which would
/// take an old error for its own.
class clean_errors {
public:
  clean_errors() noexcept { clear(); }
  clean_errors(const clean_errors&) = delete;
  clean_errors& operator=(const clean_errors&) = delete;
  ~clean_errors() { clear(); }

private:
  // ERR_clear_error frees all 16 entries of the queue, also if it is empty.
  static void clear() noexcept {
    if (ERR_peek_error() != 0) [[unlikely]]
      ERR_clear_error();
  }
};

/// The reason of an error of OpenSSL: "no start line".
[[nodiscard, gnu::cold]] std::string reason_of(unsigned long error);

/// A name in a certificate: "CN=example.org,O=Example", at most 256 bytes of ASCII.
[[nodiscard, gnu::cold]] std::string words_of(const X509_NAME* name);

}  // namespace eddy::detail
