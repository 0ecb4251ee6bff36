// SPDX-License-Identifier: BSD-2-Clause
#pragma once

// Certificates for tests, made with OpenSSL.

#include <cstddef>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

/// A certificate and its key, as PEM.
struct tls_identity {
  std::string certificate;
  std::string key;
};

/// The properties of a certificate for a test. Times are in days from now.
struct tls_wish {
  std::string subject = "localhost";
  std::string names = "DNS:localhost,IP:127.0.0.1";  // subjectAltName; empty for none
  long from = -1;
  long to = 1;
  std::string usage;  // extendedKeyUsage; empty for none
  bool rsa = false;   // the kind of key: otherwise, it is on an elliptic curve
};

/// An authority that signs certificates. Its keys are new in each run of a test.
class tls_authority {
public:
  /// An authority that `above` has signed, or one by itself.
  explicit tls_authority(const std::string& name = "eddy test authority",
                         const tls_authority* above = nullptr)
      : key_(EVP_EC_gen("P-256")) {
    tls_wish wish;
    wish.subject = name;
    wish.names.clear();
    X509* const issuer = above == nullptr ? nullptr : above->certificate_.get();
    certificate_ =
        make(wish, key_.get(), issuer, above == nullptr ? key_.get() : above->key_.get(), true);
    pem_ = text_of(certificate_.get());
  }

  /// The authority's own certificate.
  [[nodiscard]] const std::string& pem() const { return pem_; }

  [[nodiscard]] tls_identity sign(const tls_wish& wish = tls_wish()) const {
    const key_ptr key(wish.rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256"));
    const certificate_ptr made = make(wish, key.get(), certificate_.get(), key_.get(), false);
    return {text_of(made.get()), text_of(key.get())};
  }

  /// A certificate without an authority.
  [[nodiscard]] static tls_identity self_signed(const tls_wish& wish = tls_wish()) {
    const key_ptr key(EVP_EC_gen("P-256"));
    const certificate_ptr made = make(wish, key.get(), nullptr, key.get(), false);
    return {text_of(made.get()), text_of(key.get())};
  }

  /// A key as PEM that is encrypted with a password.
  [[nodiscard]] static std::string encrypt_key(const std::string& key, std::string password) {
    const bio_ptr in(BIO_new_mem_buf(key.data(), static_cast<int>(key.size())));
    const key_ptr plain(PEM_read_bio_PrivateKey(in.get(), nullptr, nullptr, nullptr));
    const bio_ptr out(BIO_new(BIO_s_mem()));
    expect(PEM_write_bio_PKCS8PrivateKey(out.get(), plain.get(), EVP_aes_128_cbc(), password.data(),
                                         static_cast<int>(password.size()), nullptr, nullptr));
    return text_of(out.get());
  }

private:
  struct deleter {
    void operator()(EVP_PKEY* p) const { EVP_PKEY_free(p); }
    void operator()(X509* p) const { X509_free(p); }
    void operator()(BIO* p) const { BIO_free(p); }
    void operator()(X509_EXTENSION* p) const { X509_EXTENSION_free(p); }
  };
  using key_ptr = std::unique_ptr<EVP_PKEY, deleter>;
  using certificate_ptr = std::unique_ptr<X509, deleter>;
  using bio_ptr = std::unique_ptr<BIO, deleter>;

  static void expect(int done) {
    if (done <= 0) throw std::runtime_error("OpenSSL refused to make a certificate");
  }

  static std::string text_of(BIO* from) {
    char* data = nullptr;
    const long size = BIO_get_mem_data(from, &data);
    return {data, static_cast<std::size_t>(size)};
  }
  static std::string text_of(X509* certificate) {
    const bio_ptr out(BIO_new(BIO_s_mem()));
    expect(PEM_write_bio_X509(out.get(), certificate));
    return text_of(out.get());
  }
  static std::string text_of(EVP_PKEY* key) {
    const bio_ptr out(BIO_new(BIO_s_mem()));
    expect(PEM_write_bio_PrivateKey(out.get(), key, nullptr, nullptr, 0, nullptr, nullptr));
    return text_of(out.get());
  }

  static void extend(X509* made, X509* issuer, int kind, const std::string& value) {
    if (value.empty()) return;
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, made, nullptr, nullptr, 0);
    const std::unique_ptr<X509_EXTENSION, deleter> extension(
        X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str()));
    expect(extension != nullptr);
    expect(X509_add_ext(made, extension.get(), -1));
  }

  static certificate_ptr make(const tls_wish& wish, EVP_PKEY* key, X509* issuer, EVP_PKEY* signer,
                              bool authority) {
    static long serial = 0;
    constexpr long day = 24L * 60 * 60;
    certificate_ptr made(X509_new());
    expect(X509_set_version(made.get(), X509_VERSION_3));
    expect(ASN1_INTEGER_set(X509_get_serialNumber(made.get()), ++serial));
    X509_gmtime_adj(X509_getm_notBefore(made.get()), wish.from * day);
    X509_gmtime_adj(X509_getm_notAfter(made.get()), wish.to * day);
    expect(X509_NAME_add_entry_by_txt(X509_get_subject_name(made.get()), "CN", MBSTRING_UTF8,
                                      reinterpret_cast<const unsigned char*>(wish.subject.data()),
                                      static_cast<int>(wish.subject.size()), -1, 0));
    if (issuer == nullptr) issuer = made.get();
    expect(X509_set_issuer_name(made.get(), X509_get_subject_name(issuer)));
    expect(X509_set_pubkey(made.get(), key));
    extend(made.get(), issuer, NID_basic_constraints,
           authority ? "critical,CA:TRUE" : "critical,CA:FALSE");
    extend(made.get(), issuer, NID_subject_key_identifier, "hash");
    extend(made.get(), issuer, NID_subject_alt_name, wish.names);
    extend(made.get(), issuer, NID_ext_key_usage, wish.usage);
    expect(X509_sign(made.get(), signer, EVP_sha256()));
    return made;
  }

  key_ptr key_;
  certificate_ptr certificate_;
  std::string pem_;
};
