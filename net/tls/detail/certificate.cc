// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/tls/detail/certificate.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <ctime>
#include <new>
#include <span>
#include <string_view>
#include <vector>

#include <arpa/inet.h>
#include <sys/socket.h>

#include <eddy/loop/detail/text.h>

namespace eddy::detail {

namespace {

std::string memory_of(BIO* from) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(from, &data);
  return {data, static_cast<std::size_t>(size)};
}

openssl_ptr<BIO> new_memory() {
  openssl_ptr<BIO> made(BIO_new(BIO_s_mem()));
  if (!made) throw std::bad_alloc();
  return made;
}

std::string hex(std::span<const unsigned char> bytes) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string all;
  for (const unsigned char byte : bytes) {
    all += digits[byte >> 4];
    all += digits[byte & 15];
  }
  return all;
}

std::chrono::sys_seconds seconds_of(const ASN1_TIME* time) {
  std::tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return {};
  return std::chrono::sys_seconds(std::chrono::seconds(::timegm(&parts)));
}

std::string words_of_time(const ASN1_TIME* time) {
  const openssl_ptr<BIO> out = new_memory();
  ASN1_TIME_print(out.get(), time);
  return memory_of(out.get());
}

std::string words_of_address(const ASN1_OCTET_STRING& bytes) {
  const int size = ASN1_STRING_length(&bytes);
  const int family = size == 4 ? AF_INET : AF_INET6;
  std::array<char, INET6_ADDRSTRLEN> words{};
  if ((size != 4 && size != 16) ||
      ::inet_ntop(family, ASN1_STRING_get0_data(&bytes), words.data(), words.size()) == nullptr)
    return {};
  return words.data();
}

std::vector<std::string> names_in(const X509& of) {
  std::vector<std::string> names;
  const openssl_ptr<GENERAL_NAMES> all(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(&of, NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; i < sk_GENERAL_NAME_num(all.get()); ++i) {
    const GENERAL_NAME& one = *sk_GENERAL_NAME_value(all.get(), i);
    if (one.type == GEN_DNS) {
      const auto* const data = reinterpret_cast<const char*>(ASN1_STRING_get0_data(one.d.dNSName));
      const int size = ASN1_STRING_length(one.d.dNSName);
      names.push_back(visible(std::string_view(data, static_cast<std::size_t>(size))));
    } else if (one.type == GEN_IPADD) {
      if (std::string words = words_of_address(*one.d.iPAddress); !words.empty()) {
        names.push_back(std::move(words));
      }
    }
  }
  return names;
}

}  // namespace

tls_certificate describe_certificate(X509& of) {
  tls_certificate all;
  all.subject = words_of(X509_get_subject_name(&of));
  all.issuer = words_of(X509_get_issuer_name(&of));
  all.names = names_in(of);
  all.not_before = seconds_of(X509_get0_notBefore(&of));
  all.not_after = seconds_of(X509_get0_notAfter(&of));
  if (const openssl_ptr<BIGNUM> number{ASN1_INTEGER_to_BN(X509_get0_serialNumber(&of), nullptr)}) {
    if (const openssl_ptr<char> words{BN_bn2hex(number.get())}) all.serial = words.get();
  }
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  if (X509_digest(&of, EVP_sha256(), digest.data(), &size) == 1) {
    all.sha256 = hex(std::span(digest).first(size));
  }
  const openssl_ptr<BIO> out = new_memory();
  if (PEM_write_bio_X509(out.get(), &of) != 1) throw std::bad_alloc();
  all.pem = memory_of(out.get());
  return all;
}

std::string words_of_certificate(const X509& of, int error) {
  std::string words =
      text({"certificate ", words_of(X509_get_subject_name(&of)), " of ",
            words_of(X509_get_issuer_name(&of)), ": ", X509_verify_cert_error_string(error)});
  if (error == X509_V_ERR_CERT_HAS_EXPIRED) {
    words += " at " + words_of_time(X509_get0_notAfter(&of));
  } else if (error == X509_V_ERR_CERT_NOT_YET_VALID) {
    words += " before " + words_of_time(X509_get0_notBefore(&of));
  } else if (error_of_certificate(error) == tls_error::certificate_wrong_name) {
    constexpr std::size_t most = 8;
    const std::vector<std::string> names = names_in(of);
    words += names.empty() ? ", as it has no names" : ", but for ";
    for (std::size_t i = 0; i < names.size() && i < most; ++i) {
      words.append(i == 0 ? "" : ", ").append(std::string_view(names[i]).substr(0, 255));
    }
    if (names.size() > most) add_text(words, {" and ", names.size() - most, " more"});
  }
  return words;
}

tls_error error_of_certificate(int error) noexcept {
  switch (error) {
    case X509_V_ERR_CERT_HAS_EXPIRED: return tls_error::certificate_expired;
    case X509_V_ERR_CERT_NOT_YET_VALID: return tls_error::certificate_not_yet_valid;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH: return tls_error::certificate_wrong_name;
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_UNTRUSTED: return tls_error::certificate_untrusted;
    default: return tls_error::certificate_invalid;
  }
}

tls_error error_of(unsigned long error) noexcept {
  switch (ERR_GET_LIB(error)) {
    case ERR_LIB_SSL: break;
    case ERR_LIB_ASN1:
    case ERR_LIB_X509:
    case ERR_LIB_X509V3: return tls_error::certificate_invalid;
    default: return tls_error::protocol_violation;
  }
  const int reason = ERR_GET_REASON(error);
  // The alerts of a peer follow the offset. Reasons such as ERR_R_ASN1_LIB are far beyond them.
  constexpr int first_alert = SSL_AD_REASON_OFFSET;
  constexpr int last_alert = first_alert + 255;
  if (reason >= first_alert && reason <= last_alert) return tls_error::refused_by_peer;
  switch (reason) {
    case ERR_R_ASN1_LIB:  // a certificate that cannot be parsed, or whose key cannot
    case ERR_R_X509_LIB:
    case SSL_R_UNABLE_TO_FIND_PUBLIC_KEY_PARAMETERS:
    case SSL_R_CERTIFICATE_VERIFY_FAILED: return tls_error::certificate_invalid;
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE: return tls_error::certificate_missing;
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST:
    case SSL_R_WRONG_VERSION_NUMBER: return tls_error::not_tls;
    case SSL_R_NO_APPLICATION_PROTOCOL:
    case SSL_R_NO_PROTOCOLS_AVAILABLE:
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS:
    case SSL_R_NO_SUITABLE_KEY_SHARE:
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_WRONG_SSL_VERSION: return tls_error::nothing_in_common;
    default: return tls_error::protocol_violation;
  }
}

}  // namespace eddy::detail
