// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/tls/tls_context.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <new>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <openssl/sha.h>
#include <openssl/tls1.h>
#include <poll.h>

#include <eddy/loop/detail/text.h>
#include <eddy/loop/detail/throw_error.h>
#include <eddy/net/detail/system.h>
#include <eddy/net/tls/detail/openssl.h>
#include <eddy/net/tls/detail/tls_settings.h>
#include <eddy/net/tls/detail/tls_state.h>
#include <eddy/net/tls/tls_error.h>

namespace eddy {

namespace detail {

namespace {

constexpr std::size_t most_hosts = 256;
constexpr std::size_t most_sessions = 4;  // of a host

/// Text in PEM, and where it is from.
struct pem_text {
  pem_text(std::string t, std::string w) noexcept : text(std::move(t)), where(std::move(w)) {}
  std::string text;
  std::string where;  // "/etc/daemon/key.pem"
};

/// Waits until a pipe has bytes or has ended. Throws an error if `deadline` comes first.
void wait_for_bytes(int descriptor, std::chrono::steady_clock::time_point deadline,
                    const std::string& doing) {
  using std::chrono::milliseconds;
  for (;;) {
    const auto left = std::chrono::ceil<milliseconds>(deadline - std::chrono::steady_clock::now());
    const int ready = os().poll_for(descriptor, POLLIN, std::max(left, milliseconds(0)));
    if (ready > 0) return;
    if (ready == 0) throw_error(std::errc::timed_out, doing);
    if (errno != EINTR) throw_errno(doing);
  }
}

std::string read_file(const std::string& path) {
  // 16 MiB are 70 times the size of Debian's file of all authorities.
  constexpr std::size_t most = std::size_t{16} * 1024 * 1024;
  const std::string doing = "read " + visible(path);
  // The system would read the file whose name ends before the zero.
  if (path.find('\0') != std::string::npos) throw_error(std::errc::invalid_argument, doing);
  // A FIFO must not make the program wait for a writer.
  const socket_descriptor file(os().open(path.c_str(), O_RDONLY | O_NONBLOCK, 0));
  if (file.number() < 0) throw_errno(doing);
  // A command that decrypts a key, as in `--key <(...)`, may take a moment.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  std::string all;
  for (;;) {
    constexpr std::size_t piece = std::size_t{64} * 1024;
    const std::size_t before = all.size();
    all.resize(before + piece);
    const ssize_t n = os().read(file.number(), all.data() + before, piece);
    if (n < 0 && errno == EAGAIN) {
      wait_for_bytes(file.number(), deadline, doing);
    } else if (n < 0 && errno != EINTR) {
      throw_errno(doing);
    }
    all.resize(before + static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
    if (n == 0) return all;
    if (all.size() > most) throw_error(std::errc::file_too_large, doing);
  }
}

/// Throws an error if an option of a certificate is given neither as text nor as a file.
void expect_given(const std::string& text, const std::string& file, const char* option,
                  std::string_view name) {
  if (!text.empty() || !file.empty()) return;
  const std::string where =
      name.empty() ? "TLS options" : eddy::detail::text({"the ", name, " of the TLS options"});
  throw_error(std::errc::invalid_argument,
              eddy::detail::text({"neither ", option, " nor ", option, "_file is set in ", where}));
}

pem_text pem_of(const std::string& text, const std::string& file, std::string_view what) {
  if (!text.empty()) return {text, eddy::detail::text({what, " given as text"})};
  return {read_file(file), visible(file)};
}

openssl_ptr<BIO> reader_of(const std::string& text) {
  openssl_ptr<BIO> made(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  if (!made) throw std::bad_alloc();
  return made;
}

/// Throws the oldest error of OpenSSL, in the words of this error.
[[noreturn]] void refuse(tls_error why, const char* doing, const pem_text& what) {
  const unsigned long error = ERR_peek_error();
  if (ERR_GET_REASON(error) == ERR_R_MALLOC_FAILURE) throw std::bad_alloc();
  std::string words = text({doing, " ", what.where});
  if (error != 0) words += " (" + reason_of(error) + ')';
  throw_error(make_error_code(why), words);
}

/// Gives the password of a key. OpenSSL itself would ask on the terminal.
int give_password(char* into, int size, int, void* password) {
  const auto& words = *static_cast<const std::string*>(password);
  if (words.empty() || words.size() > static_cast<std::size_t>(size)) return -1;
  return static_cast<int>(words.copy(into, words.size()));
}

/// Reads the next certificate; null at the end.
openssl_ptr<X509> next_certificate(BIO* from, tls_error why, const char* doing,
                                   const pem_text& what) {
  openssl_ptr<X509> one(PEM_read_bio_X509(from, nullptr, nullptr, nullptr));
  if (one) return one;
  const unsigned long error = ERR_peek_last_error();
  if (ERR_GET_LIB(error) != ERR_LIB_PEM || ERR_GET_REASON(error) != PEM_R_NO_START_LINE) {
    refuse(why, doing, what);
  }
  ERR_clear_error();
  return one;
}

/// Loads a certificate, its chain and its key. `name` is what messages call the certificate, if it
/// is not the context's first.
void load_certificate(SSL_CTX* into, const tls_identity& given, std::string_view name = {}) {
  constexpr const char* doing = "load a certificate from";
  constexpr tls_error bad = tls_error::bad_certificate;
  expect_given(given.certificate, given.certificate_file, "certificate", name);
  expect_given(given.key, given.key_file, "key", name);
  const pem_text chain = pem_of(given.certificate, given.certificate_file,
                                name.empty() ? "the certificate" : std::string(name));
  const openssl_ptr<BIO> from = reader_of(chain.text);
  const openssl_ptr<X509> own = next_certificate(from.get(), bad, doing, chain);
  if (!own || SSL_CTX_use_certificate(into, own.get()) != 1) refuse(bad, doing, chain);
  for (;;) {
    openssl_ptr<X509> next = next_certificate(from.get(), bad, doing, chain);
    if (!next) break;
    if (SSL_CTX_add0_chain_cert(into, next.get()) != 1) refuse(bad, doing, chain);
    static_cast<void>(next.release());  // the context's now
  }

  const pem_text secret =
      pem_of(given.key, given.key_file, name.empty() ? "the key" : text({"the key of ", name}));
  const openssl_ptr<BIO> key_from = reader_of(secret.text);
  const openssl_ptr<EVP_PKEY> key(PEM_read_bio_PrivateKey(
      key_from.get(), nullptr, &give_password, const_cast<std::string*>(&given.key_password)));
  if (!key) refuse(tls_error::bad_key, "load a private key from", secret);
  if (X509_check_private_key(own.get(), key.get()) != 1) {
    throw_error(make_error_code(tls_error::key_mismatch),
                text({"load a private key from ", secret.where, " for ",
                      words_of(X509_get_subject_name(own.get()))}));
  }
  if (SSL_CTX_use_PrivateKey(into, key.get()) != 1) {
    refuse(tls_error::bad_key, "load a private key from", secret);
  }
}

/// The name of the server for which a client asks; empty if it asks for none. OpenSSL refuses a
/// wrong extension later.
std::string_view asked_name(SSL* ssl) noexcept {
  const unsigned char* at = nullptr;
  std::size_t size = 0;
  if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &at, &size) != 1) return {};
  // The size of the list, and then the type, the size and the bytes of its only entry (RFC 6066,
  // section 3).
  constexpr std::size_t before = 5;
  if (size < before || at[2] != TLSEXT_NAMETYPE_host_name) return {};
  const std::size_t length = at[3] * std::size_t{256} + at[4];
  if (length > size - before || length > TLSEXT_MAXLEN_host_name) return {};
  return {reinterpret_cast<const char*>(at + before), length};
}

/// Lets sessions be resumed for the same name only (RFC 6066, section 3).
void bind_sessions(SSL* ssl, std::string_view name) noexcept {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest;
  SHA256(reinterpret_cast<const unsigned char*>(name.data()), name.size(), digest.data());
  SSL_set_session_id_context(ssl, digest.data(), digest.size());
}

/// Accepts the name for which a client asks. OpenSSL keeps only an accepted name in a session of
/// TLS 1.2, and gives the name in the session after a resumption.
int accept_name(SSL*, int*, void*) noexcept { return SSL_TLSEXT_ERR_OK; }

int choose_protocol(SSL*, const unsigned char** chosen, unsigned char* size,
                    const unsigned char* offered, unsigned offered_size, void* own) {
  const auto& ours = *static_cast<const std::vector<unsigned char>*>(own);
  unsigned char* found = nullptr;
  if (SSL_select_next_proto(&found, size, ours.data(), static_cast<unsigned>(ours.size()), offered,
                            offered_size) != OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_ALERT_FATAL;  // RFC 7301, section 3.2
  }
  *chosen = found;
  return SSL_TLSEXT_ERR_OK;
}

int version_number(tls_version version) noexcept {
  return version == tls_version::tls1_2 ? TLS1_2_VERSION : TLS1_3_VERSION;
}

}  // namespace

tls_settings::tls_settings(const tls_client_options& options)
    : client_(true), verifies_(options.verify_peer) {
  const clean_errors clean;
  context_.reset(SSL_CTX_new(TLS_client_method()));
  if (!context_) throw std::bad_alloc();
  set_up(options);
  const bool any = !options.certificate.empty() || !options.certificate_file.empty() ||
                   !options.key.empty() || !options.key_file.empty();
  if (any) load_certificate(get(), options);
  load_authorities(options);
  if (options.system_roots && SSL_CTX_set_default_verify_paths(get()) != 1) throw std::bad_alloc();
  if (!protocols_.empty() && SSL_CTX_set_alpn_protos(get(), protocols_.data(),
                                                     static_cast<unsigned>(protocols_.size())) != 0)
    throw std::bad_alloc();
  if (options.resumption) {
    SSL_CTX_set_session_cache_mode(get(), SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(get(), &tls_state::take_new_session);
  } else {
    SSL_CTX_set_session_cache_mode(get(), SSL_SESS_CACHE_OFF);
  }
}

tls_settings::tls_settings(const tls_server_options& options, const tls_settings* before)
    : client_(false), verifies_(options.client_certificates != tls_client_certificates::none) {
  const clean_errors clean;
  context_.reset(SSL_CTX_new(TLS_server_method()));
  if (!context_) throw std::bad_alloc();
  set_up(options);
  load_certificate(get(), options);
  load_further(options.further);
  SSL_CTX_set_client_hello_cb(get(), &meet_client, this);
  SSL_CTX_set_tlsext_servername_callback(get(), &accept_name);
  if (verifies_) load_authorities(options);
  if (!protocols_.empty()) SSL_CTX_set_alpn_select_cb(get(), &choose_protocol, &protocols_);
  // Tickets hold the sessions, so a cache of them would only take memory.
  SSL_CTX_set_session_cache_mode(get(), SSL_SESS_CACHE_OFF);
  constexpr unsigned char name[] = "eddy";
  SSL_CTX_set_session_id_context(get(), name, sizeof name);
  keeps_tickets_ = options.resumption && !verifies_;
  if (!options.resumption) {
    SSL_CTX_set_options(get(), SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(get(), 0);
  } else if (keeps_tickets_ && before != nullptr && before->keeps_tickets_) {
    unsigned char keys[128];
    const long size = SSL_CTX_get_tlsext_ticket_keys(before->get(), nullptr, 0);
    if (size > 0 && size <= static_cast<long>(sizeof keys) &&
        SSL_CTX_get_tlsext_ticket_keys(before->get(), keys, size) == 1)
      SSL_CTX_set_tlsext_ticket_keys(get(), keys, size);
    OPENSSL_cleanse(keys, sizeof keys);
  }
  const bool required = options.client_certificates == tls_client_certificates::required;
  if (verifies_) {
    SSL_CTX_set_verify(get(), SSL_VERIFY_PEER | (required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
                       &tls_state::note_certificate);
  }
}

void tls_settings::set_up(const tls_options& options) {
  if (options.min_version > options.max_version) {
    throw_error(std::errc::invalid_argument, "min_version above max_version in TLS options");
  }
  SSL_CTX_set_min_proto_version(get(), version_number(options.min_version));
  SSL_CTX_set_max_proto_version(get(), version_number(options.max_version));
  SSL_CTX_set_options(get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  if (client_ && verifies_) {
    SSL_CTX_set_verify(get(), SSL_VERIFY_PEER, &tls_state::note_certificate);
  }
  // A certificate that the program trusts needs no authority of its own.
  X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(get()), X509_V_FLAG_PARTIAL_CHAIN);
  set_protocols(options.alpn);
}

void tls_settings::set_protocols(const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    if (name.empty() || name.size() > 255) {
      throw_error(std::errc::invalid_argument, "an ALPN name of other than 1 to 255 bytes");
    }
    protocols_.push_back(static_cast<unsigned char>(name.size()));
    protocols_.insert(protocols_.end(), name.begin(), name.end());
  }
  // All extensions of a ClientHello together have at most 64 KiB (RFC 8446, section 4.1.2).
  constexpr std::size_t most = std::size_t{32} * 1024;
  if (protocols_.size() > most) {
    throw_error(std::errc::invalid_argument, text({"ALPN names of more than ", most, " bytes"}));
  }
}

void tls_settings::load_further(const std::vector<tls_identity>& all) {
  for (const tls_identity& one : all) {
    openssl_ptr<SSL_CTX> holder(SSL_CTX_new(TLS_server_method()));
    if (!holder) throw std::bad_alloc();
    load_certificate(holder.get(), one, text({"further certificate ", further_.size() + 1}));
    further_.push_back(std::move(holder));
  }
}

int tls_settings::meet_client(SSL* ssl, int* alert, void* own) noexcept {
  const std::string_view name = asked_name(ssl);
  if (name.empty()) return SSL_CLIENT_HELLO_SUCCESS;
  bind_sessions(ssl, name);
  SSL_CTX* const chosen = static_cast<const tls_settings*>(own)->identity_for(name);
  if (chosen == nullptr) return SSL_CLIENT_HELLO_SUCCESS;
  SSL_certs_clear(ssl);  // otherwise a certificate with a key of another kind would stay
  STACK_OF(X509)* chain = nullptr;
  SSL_CTX_get0_chain_certs(chosen, static_cast<void*>(&chain));
  if (SSL_use_cert_and_key(ssl, SSL_CTX_get0_certificate(chosen), SSL_CTX_get0_privatekey(chosen),
                           chain, 1) == 1)
    return SSL_CLIENT_HELLO_SUCCESS;
  *alert = SSL_AD_INTERNAL_ERROR;
  return SSL_CLIENT_HELLO_ERROR;
}

SSL_CTX* tls_settings::identity_for(std::string_view name) const noexcept {
  // RFC 9525, sections 2 and 6.3, as a client of eddy verifies the name.
  constexpr unsigned usual =
      X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT;
  // To OpenSSL, a name that begins with a dot holds for each name that ends with it.
  if (further_.empty() || name.starts_with('.')) return nullptr;
  for (const unsigned flags : {usual | X509_CHECK_FLAG_NO_WILDCARDS, usual}) {
    const auto holds = [&](SSL_CTX* of) {
      return X509_check_host(SSL_CTX_get0_certificate(of), name.data(), name.size(), flags,
                             nullptr) == 1;
    };
    if (holds(get())) return nullptr;
    for (const auto& one : further_) {
      if (holds(one.get())) return one.get();
    }
  }
  return nullptr;
}

void tls_settings::load_authorities(const tls_options& options) {
  if (options.ca.empty() && options.ca_file.empty()) return;
  constexpr const char* doing = "load authorities from";
  const pem_text all = pem_of(options.ca, options.ca_file, "authorities");
  const openssl_ptr<BIO> from = reader_of(all.text);
  bool any = false;
  for (;;) {
    const openssl_ptr<X509> one =
        next_certificate(from.get(), tls_error::bad_certificate, doing, all);
    if (!one) break;
    any = true;
    if (X509_STORE_add_cert(SSL_CTX_get_cert_store(get()), one.get()) != 1 ||
        (!client_ && SSL_CTX_add_client_CA(get(), one.get()) != 1))
      refuse(tls_error::bad_certificate, doing, all);
  }
  if (!any) refuse(tls_error::bad_certificate, doing, all);
}

void tls_settings::keep_session(const std::string& host, openssl_ptr<SSL_SESSION> session) {
  const std::lock_guard lock(mutex_);
  sessions& of_host = sessions_[host];
  of_host.used = ++clock_;
  if (of_host.all.size() == most_sessions) of_host.all.erase(of_host.all.begin());
  of_host.all.push_back(std::move(session));
  if (sessions_.size() <= most_hosts) return;
  const auto older = [](const auto& a, const auto& b) { return a.second.used < b.second.used; };
  sessions_.erase(std::min_element(sessions_.begin(), sessions_.end(), older));
}

openssl_ptr<SSL_SESSION> tls_settings::take_session(const std::string& host) {
  const std::lock_guard lock(mutex_);
  const auto found = sessions_.find(host);
  // A host without a session is one for whose first session there was no memory.
  if (found == sessions_.end() || found->second.all.empty()) return nullptr;
  auto& all = found->second.all;
  openssl_ptr<SSL_SESSION> newest = std::move(all.back());
  all.pop_back();
  const bool reusable = SSL_SESSION_get_protocol_version(newest.get()) < TLS1_3_VERSION;
  if (reusable && SSL_SESSION_up_ref(newest.get()) == 1) all.emplace_back(newest.get());
  if (all.empty()) sessions_.erase(found);
  if (SSL_SESSION_is_resumable(newest.get()) != 1) return nullptr;
  return newest;
}

tls_source::tls_source(tls_client_options options)
    : client_(true),
      client_options_(std::move(options)),
      settings_(std::make_shared<tls_settings>(client_options_)) {}

tls_source::tls_source(tls_server_options options)
    : client_(false),
      server_options_(std::move(options)),
      settings_(std::make_shared<tls_settings>(server_options_, nullptr)) {}

std::shared_ptr<tls_settings> tls_source::settings() const {
  const std::lock_guard lock(mutex_);
  return settings_;
}

// Files are read without the lock, so that connections on other threads need not wait.
void tls_source::reload() {
  std::unique_lock lock(mutex_);
  if (client_) {
    tls_client_options options = client_options_;
    lock.unlock();
    reload(std::move(options));
  } else {
    tls_server_options options = server_options_;
    lock.unlock();
    reload(std::move(options));
  }
}

void tls_source::reload(tls_client_options options) {
  auto fresh = std::make_shared<tls_settings>(options);
  const std::lock_guard lock(mutex_);
  std::swap(client_options_, options);
  settings_.swap(fresh);
}

void tls_source::reload(tls_server_options options) {
  const std::shared_ptr<tls_settings> before = settings();
  auto fresh = std::make_shared<tls_settings>(options, before.get());
  const std::lock_guard lock(mutex_);
  std::swap(server_options_, options);
  settings_.swap(fresh);
}

std::shared_ptr<tls_settings> tls_access::settings(const tls_client_context& context) {
  return context.source_->settings();
}

std::shared_ptr<tls_settings> tls_access::settings(const tls_server_context& context) {
  return context.source_->settings();
}

}  // namespace detail

tls_client_context::tls_client_context(tls_client_options options)
    : source_(std::make_shared<detail::tls_source>(std::move(options))) {}

void tls_client_context::reload() { source_->reload(); }

void tls_client_context::reload(tls_client_options options) { source_->reload(std::move(options)); }

tls_server_context::tls_server_context(tls_server_options options)
    : source_(std::make_shared<detail::tls_source>(std::move(options))) {}

void tls_server_context::reload() { source_->reload(); }

void tls_server_context::reload(tls_server_options options) { source_->reload(std::move(options)); }

}  // namespace eddy
