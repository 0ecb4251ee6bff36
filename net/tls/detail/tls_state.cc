// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/tls/detail/tls_state.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <limits>
#include <new>
#include <string>
#include <string_view>

#include <netinet/in.h>

#include <eddy/loop/detail/text.h>
#include <eddy/loop/detail/throw_error.h>
#include <eddy/loop/result.h>
#include <eddy/net/address.h>
#include <eddy/net/tls/detail/certificate.h>
#include <eddy/net/tls/detail/openssl.h>
#include <eddy/net/tls/detail/tls_settings.h>
#include <eddy/net/tls/tls_error.h>

namespace eddy::detail {

namespace {

// The largest record of TLS 1.3 and its header (RFC 8446, section 5.2), rounded up.
constexpr std::size_t input_size = std::size_t{17} * 1024;

// The largest content of a record (RFC 8446, section 5.1).
constexpr std::size_t record_size = std::size_t{16} * 1024;

// The most input that is discarded after a handshake has failed. It is a multiple of the size of
// one read.
constexpr std::size_t most_discarded = std::size_t{64} * 1024;

// As BoringSSL allows key updates (kMaxKeyUpdates in ssl/internal.h).
constexpr int most_messages = 32;

/// The address that a host is, without its scope, which no certificate has.
result<address> address_of(std::string host) {
  const auto scope = host.find('%');
  if (host.contains(':') && scope != std::string::npos) {
    const std::size_t end = host.size() - (host.ends_with(']') ? 1 : 0);
    if (end == scope + 1 || host.find(']') < scope) return address::parse(host, 0);  // an error
    host.erase(scope, end - scope);
  }
  return address::parse(host, 0);
}

/// Whether `name` may be the name of a host: RFC 1035, section 2.3.4, and RFC 1123, section 2.1,
/// with the underscores that some networks use.
bool is_name(std::string_view name) noexcept {
  constexpr std::size_t longest_name = 253;  // 255 bytes as DNS sends them
  constexpr std::size_t longest_label = 63;
  if (name.size() > longest_name) return false;
  const auto may_be_in_label = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
  };
  for (;;) {
    const std::string_view label = name.substr(0, name.find('.'));
    if (label.empty() || label.size() > longest_label) return false;
    if (!std::ranges::all_of(label, may_be_in_label)) return false;
    if (label.size() == name.size()) return true;
    name.remove_prefix(label.size() + 1);
  }
}

tls_state& state_of(const SSL* ssl) noexcept {
  return *static_cast<tls_state*>(SSL_get_app_data(ssl));
}

}  // namespace

/// OpenSSL's way to the memory of a connection: a kind of BIO.
struct tls_bio {
  static int write(BIO* bio, const char* data, std::size_t size, std::size_t* written) noexcept {
    tls_state& of = *static_cast<tls_state*>(BIO_get_data(bio));
    *written = size;
    if (of.output_over_ || of.lost_ || of.write_failure_) return 1;
    std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
    try {
      // A flight of the handshake is gathered. When the turn is over, the bytes go the other way,
      // which lets other work run.
      if (of.direct_ && of.connected_ && !of.flushing_ && of.output_.empty() &&
          of.loop_.may_go_on()) {
        const auto sent = of.try_write(bytes);
        if (sent && !*sent) {
          of.write_failure_ = as_exception(sent->error(), of.doing("write to"));
          return 1;
        }
        if (sent) bytes = bytes.subspan(**sent);
      }
      of.output_.insert(of.output_.end(), bytes.begin(), bytes.end());
    } catch (...) {
      of.out_of_memory_ = true;
      return -1;
    }
    return 1;
  }

  static int read(BIO* bio, char* data, std::size_t size, std::size_t* count) noexcept {
    tls_state& of = *static_cast<tls_state*>(BIO_get_data(bio));
    BIO_clear_retry_flags(bio);
    if (of.messages_ > most_messages || of.out_of_memory_) return -1;
    if (of.direct_) return read_stream(of, bio, std::span(data, size), *count);
    *count = std::min(size, of.input_end_ - of.input_begin_);
    if (*count == 0) {
      BIO_set_retry_read(bio);
      return -1;
    }
    std::memcpy(data, of.input_.get() + of.input_begin_, *count);
    of.input_begin_ += *count;
    return 1;
  }

  static long control(BIO*, int command, long, void*) noexcept {
    return command == BIO_CTRL_FLUSH ? 1 : 0;
  }

  static BIO* make(tls_state& of) {
    static const BIO_METHOD* const kind = make_kind();
    BIO* const made = BIO_new(kind);
    if (made == nullptr) throw std::bad_alloc();
    BIO_set_data(made, &of);
    BIO_set_init(made, 1);
    return made;
  }

  /// Counts handshake messages of a peer after the handshake.
  static void note_message(int sent, int, int type, const void*, std::size_t, SSL*,
                           void* state) noexcept {
    tls_state& of = *static_cast<tls_state*>(state);
    if (of.connected_ && sent == 0 && type == SSL3_RT_HANDSHAKE) ++of.messages_;
  }

private:
  static int read_stream(tls_state& of, BIO* bio, std::span<char> into,
                         std::size_t& count) noexcept {
    count = 0;
    if (!of.waits_readable_ && !of.input_over_ && !of.read_error_) {
      const auto got = of.try_read(std::as_writable_bytes(into));
      if (got && !*got) {
        of.read_error_ = got->error();
      } else if (got) {
        count = **got;
        of.input_over_ = count == 0;
        of.drained_ = count < into.size();
      }
    }
    if (count != 0) return 1;
    BIO_set_retry_read(bio);
    return -1;
  }

  static BIO_METHOD* make_kind() {
    BIO_METHOD* const kind = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "eddy");
    if (kind == nullptr) throw std::bad_alloc();
    BIO_meth_set_write_ex(kind, &write);
    BIO_meth_set_read_ex(kind, &read);
    BIO_meth_set_ctrl(kind, &control);
    return kind;
  }
};

void ssl_deleter::operator()(ssl_st* ssl) const noexcept {
  const clean_errors clean;
  SSL_free(ssl);
}

void plain_bytes::skip_empty() noexcept {
  while (left_ != 0 && begun_ == first().size()) {
    begun_ = 0;
    --left_;
    if (list_ != nullptr) ++list_;
  }
}

std::span<const std::byte> plain_bytes::take_of_first(std::size_t most) noexcept {
  const std::span<const std::byte> rest = std::span(first().data(), first().size()).subspan(begun_);
  const std::span<const std::byte> some = rest.first(std::min(most, rest.size()));
  begun_ += some.size();
  return some;
}

std::span<const std::byte> plain_bytes::take(std::size_t most, std::vector<std::byte>& together) {
  if (empty()) return {};
  const std::span<const std::byte> some = take_of_first(most);
  if (some.size() == most || empty()) return some;
  together.assign(some.begin(), some.end());
  while (together.size() < most && !empty()) {
    const std::span<const std::byte> more = take_of_first(most - together.size());
    together.insert(together.end(), more.begin(), more.end());
  }
  return together;
}

tls_state::tls_state(event_loop& loop, std::shared_ptr<tls_settings> settings, std::string host,
                     bool direct)
    : loop_(loop), settings_(std::move(settings)), host_(std::move(host)), direct_(direct) {
  const clean_errors clean;
  ssl_.reset(SSL_new(settings_->get()));
  if (!ssl_) throw std::bad_alloc();
  SSL* const ssl = ssl_.get();
  BIO* const memory = tls_bio::make(*this);
  SSL_set_bio(ssl, memory, memory);
  SSL_set_app_data(ssl, this);
  SSL_set_msg_callback(ssl, &tls_bio::note_message);
  SSL_set_msg_callback_arg(ssl, this);
  if (direct_) SSL_set_read_ahead(ssl, 1);  // one system call a record instead of two
  if (settings_->client()) {
    SSL_set_connect_state(ssl);
    set_host();
  } else {
    SSL_set_accept_state(ssl);
  }
}

tls_state::~tls_state() {
  // Otherwise OpenSSL takes back the sessions of a connection that ends without a close_notify. TLS
  // allows them since version 1.1 (RFC 4346, section 1.1).
  if (connected_ && !fatal_) {
    SSL_set_shutdown(ssl_.get(), SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
  }
}

void tls_state::set_host() {
  SSL* const ssl = ssl_.get();
  X509_VERIFY_PARAM* const names = SSL_get0_param(ssl);
  if (const result<address> literal = address_of(host_)) {
    const std::size_t size = literal->is_v4() ? sizeof(in_addr) : sizeof(in6_addr);
    if (X509_VERIFY_PARAM_set1_ip(names, literal->bytes().data(), size) != 1) {
      throw std::bad_alloc();
    }
  } else {
    std::string name = host_;
    if (name.ends_with('.')) name.pop_back();
    if (!is_name(name)) {
      return fail(std::make_error_code(std::errc::invalid_argument), true, "not a name of a host");
    }
    // RFC 9525, sections 2 and 6.3: no names in the subject, and no wildcard within a label.
    X509_VERIFY_PARAM_set_hostflags(
        names, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    if (SSL_set_tlsext_host_name(ssl, name.c_str()) != 1 ||
        X509_VERIFY_PARAM_set1_host(names, name.data(), name.size()) != 1)
      throw std::bad_alloc();
  }
  if (const openssl_ptr<SSL_SESSION> session = settings_->take_session(host_)) {
    SSL_set_session(ssl, session.get());
  }
}

void tls_state::close() noexcept {
  closed_ = true;
  close_stream();
  flusher_.stop();
  rights_.wake_all();
  reader.stop();
  writer.stop();
  ender.stop();
}

bool tls_state::shake_hands() noexcept {
  if (failure_) return true;
  const clean_errors clean;
  const int done = SSL_do_handshake(ssl_.get());
  if (broken()) return true;
  if (done == 1) {
    connected_ = true;
  } else if (!ended_by(done)) {
    return false;
  }
  if (!failure_ && read_error_) fail(read_error_, true, "");
  return true;
}

void tls_state::discard_input() noexcept {
  std::array<std::byte, 4096> buffer;
  for (std::size_t left = most_discarded; left != 0 && !input_over_; left -= buffer.size()) {
    const auto got = try_read(buffer);
    if (!got || !*got || **got < buffer.size()) return;
  }
}

bool tls_state::only_tickets_wait() const noexcept {
  return connected_ && !settings_->client() && version() == tls_version::tls1_3;
}

std::optional<result<std::size_t>> tls_state::take(mutable_buffer into) noexcept {
  if (failure_) return std::unexpected(failure_);
  if (end_read_) return 0;
  if (read_error_) return std::unexpected(std::exchange(read_error_, {}));
  if (starved_) return std::nullopt;
  std::size_t count = 0;
  const clean_errors clean;
  const int done = SSL_read_ex(ssl_.get(), into.data(), into.size(), &count);
  if (done == 1) {
    messages_ = 0;
    starved_ =
        input_begin_ == input_end_ && SSL_has_pending(ssl_.get()) == 0 && !input_over_ && drained_;
  }
  if (has_output()) try_flush_later();
  if (done == 1) return count;
  if (!ended_by(done)) return std::nullopt;
  if (read_error_) return std::unexpected(std::exchange(read_error_, {}));
  if (failure_) return std::unexpected(failure_);
  return 0;
}

bool tls_state::decided() noexcept {
  if (closed_ || failure_ || end_read_ || read_error_) return true;
  if (starved_) return false;
  char byte = 0;
  std::size_t count = 0;
  const clean_errors clean;
  const int done = SSL_peek_ex(ssl_.get(), &byte, 1, &count);
  return done == 1 || ended_by(done);
}

bool tls_state::ended_by(int returned) noexcept {
  if (broken()) return true;
  switch (SSL_get_error(ssl_.get(), returned)) {
    case SSL_ERROR_WANT_READ:
      if (read_error_) return true;
      if (!input_over_ || input_begin_ != input_end_) {
        starved_ = true;
        return false;
      }
      fail(make_error_code(tls_error::truncated), !connected_,
           connected_ ? "" : "in the middle of the handshake");
      return true;
    case SSL_ERROR_ZERO_RETURN:
      if (connected_) {
        end_read_ = true;
      } else {
        fail(make_error_code(tls_error::refused_by_peer), true, "close notify");
      }
      return true;
    default: fail_by_error(); return true;
  }
}

bool tls_state::broken() noexcept {
  if (out_of_memory_) {
    fail(std::make_error_code(std::errc::not_enough_memory), true, "");
  } else if (messages_ > most_messages) {
    fail(make_error_code(tls_error::too_many_messages), true, "");
  } else {
    return false;
  }
  return true;
}

void tls_state::fail(std::error_code error, bool fatal, const char* reason) noexcept {
  if (failure_) return;
  failure_ = error;
  fatal_ = fatal;
  try {
    reason_ = reason;
  } catch (const std::bad_alloc&) {
    reason_.clear();
  }
}

void tls_state::fail_by_error() noexcept {
  // The first error of the protocol follows those of its causes.
  unsigned long error = 0;
  while (const unsigned long next = ERR_get_error()) {
    if (error == 0 || (ERR_GET_LIB(error) != ERR_LIB_SSL && ERR_GET_LIB(next) == ERR_LIB_SSL)) {
      error = next;
    }
  }
  if (ERR_GET_REASON(error) == ERR_R_MALLOC_FAILURE) {
    return fail(std::make_error_code(std::errc::not_enough_memory), true, "");
  }
  if (ERR_GET_LIB(error) == ERR_LIB_SSL &&
      ERR_GET_REASON(error) == SSL_R_CERTIFICATE_VERIFY_FAILED && certificate_code_)
    return fail(certificate_code_, true, certificate_words_.c_str());
  try {
    fail(make_error_code(error_of(error)), true, error == 0 ? "" : reason_of(error).c_str());
  } catch (const std::bad_alloc&) {
    fail(make_error_code(error_of(error)), true, "");
  }
}

void tls_state::throw_failure(std::error_code error, const char* what) const {
  throw_error(error, doing(what));
}

std::string tls_state::doing(const char* what) const {
  std::string words = text({what, " ", peer_words()});
  if (!reason_.empty()) words += " (" + reason_ + ')';
  return words;
}

failure tls_state::handshake_failure(std::error_code error) const {
  return {error, doing("TLS handshake with")};
}

std::string tls_state::peer_words() const { return host_.empty() ? peer_ : visible(host_); }

void tls_state::wrong_reader() const {
  if (event_loop::current() != &loop_) {
    loop_.check_thread();
    misuse("a tls_stream was awaited on another loop than its own");
  }
  if (!frame::dropped()) misuse("a read is already pending on this tls_stream");
}

std::span<std::byte> tls_state::space() {
  if (!input_) input_ = std::make_unique_for_overwrite<std::byte[]>(input_size);
  return {input_.get(), input_size};
}

void tls_state::received(std::size_t count) noexcept {
  input_begin_ = 0;
  input_end_ = count;
  input_over_ = count == 0;
  starved_ = false;
}

void tls_state::encrypt(plain_bytes& bytes) {
  constexpr int most = 2;  // records, so that a connection keeps little memory
  for (int i = 0; i < most && !bytes.empty(); ++i) {
    const std::span<const std::byte> some = bytes.take(record_size, together_);
    const clean_errors clean;
    SSL* const ssl = ssl_.get();
    if (++records_ > records_per_key && SSL_version(ssl) >= TLS1_3_VERSION) {
      SSL_key_update(ssl, SSL_KEY_UPDATE_NOT_REQUESTED);
      records_ = 0;
    }
    std::size_t written = 0;
    const int done = SSL_write_ex(ssl, some.data(), some.size(), &written);
    if (write_failure_) std::rethrow_exception(write_failure_);
    if (!broken() && done == 1) continue;
    if (!failure_) fail_by_error();
    throw_failure(failure_, "write to");
  }
}

void tls_state::encrypt_end() {
  const clean_errors clean;
  if ((SSL_get_shutdown(ssl_.get()) & SSL_SENT_SHUTDOWN) != 0) return;  // of a cancelled shutdown
  const int done = SSL_shutdown(ssl_.get());
  if (write_failure_) std::rethrow_exception(write_failure_);
  if (!broken() && done >= 0) return;
  if (!failure_) fail_by_error();
  throw_failure(failure_, "shutdown of");
}

void tls_state::flush_later() {
  if (!has_output() || flushing_ || flusher_.active()) return;
  if (closed_) return output_.clear();
  flusher_.start(loop_, flush_alone());
}

void tls_state::try_flush_later() noexcept {
  try {
    flush_later();
  } catch (const std::bad_alloc&) {
    return;  // the next write or read sends the bytes
  }
}

void tls_state::expect_writable() const {
  if (closed_) throw_failure(std::make_error_code(std::errc::operation_canceled), "write to");
  if (write_failure_) std::rethrow_exception(write_failure_);
  if (fatal_) throw_failure(failure_, "write to");
  if (lost_ || cut_) {
    throw_error(std::errc::operation_canceled,
                "write to a TLS connection after a write that did not complete");
  }
}

tls_state::flush_right::~flush_right() {
  of_.flushing_ = false;
  if (!done_) {
    of_.lost_ = true;
    of_.output_.clear();  // it can't follow
  }
  of_.sending_.clear();
  // So that one of the two buffers stays small.
  if (of_.output_.empty()) std::swap(of_.output_, of_.sending_);
  of_.rights_.wake_all();
}

tls_state::write_right::write_right(tls_state& of, write_observer* observer) : of_(of) {
  if (of.writing_) misuse("a write is already pending on this tls_stream");
  of.expect_writable();
  if (of.ending_) of.throw_failure(std::make_error_code(std::errc::broken_pipe), "write to");
  of.writing_ = true;
  of.observer_ = observer;
}

tls_state::write_right::~write_right() {
  of_.writing_ = false;
  of_.observer_ = nullptr;
  of_.cut_ = of_.cut_ || !done_;
  of_.rights_.wake_all();
}

void tls_state::right_wait::describe(description& to) const {
  to.add(text({"earlier bytes to leave for ", of_.peer_words()}));
}

tls_version tls_state::version() const noexcept {
  return SSL_version(ssl_.get()) >= TLS1_3_VERSION ? tls_version::tls1_3 : tls_version::tls1_2;
}

std::string_view tls_state::cipher() const noexcept { return SSL_get_cipher_name(ssl_.get()); }

std::string_view tls_state::alpn() const noexcept {
  const unsigned char* name = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(ssl_.get(), &name, &size);
  return {reinterpret_cast<const char*>(name), size};
}

std::string_view tls_state::server_name() const noexcept {
  const char* const name = SSL_get_servername(ssl_.get(), TLSEXT_NAMETYPE_host_name);
  return name == nullptr ? std::string_view() : std::string_view(name);
}

bool tls_state::resumed() const noexcept { return SSL_session_reused(ssl_.get()) == 1; }

std::optional<tls_certificate> tls_state::peer_certificate() const {
  const clean_errors clean;
  X509* const found = SSL_get0_peer_certificate(ssl_.get());
  if (found == nullptr) return std::nullopt;
  return describe_certificate(*found);
}

int tls_state::take_new_session(ssl_st* ssl, ssl_session_st* session) noexcept {
  const tls_state& of = state_of(ssl);
  if (SSL_SESSION_up_ref(session) != 1) return 0;
  openssl_ptr<SSL_SESSION> own(session);
  try {
    of.settings_->keep_session(of.host_, std::move(own));
  } catch (const std::bad_alloc&) {
    return 0;  // the next connection makes a whole handshake
  }
  return 0;
}

int tls_state::note_certificate(int good, x509_store_ctx_st* of) noexcept {
  const auto* const ssl =
      static_cast<const SSL*>(X509_STORE_CTX_get_ex_data(of, SSL_get_ex_data_X509_STORE_CTX_idx()));
  tls_state& self = state_of(ssl);
  if (good == 1 || self.certificate_code_) return good;
  const int error = X509_STORE_CTX_get_error(of);
  self.certificate_code_ = make_error_code(error_of_certificate(error));
  ERR_set_mark();
  try {
    if (const X509* const found = X509_STORE_CTX_get_current_cert(of)) {
      self.certificate_words_ = words_of_certificate(*found, error);
    }
  } catch (const std::bad_alloc&) {
    self.certificate_words_.clear();
  }
  ERR_pop_to_mark();
  return good;
}

result<std::size_t> tls_read_wait::get() {
  if (taken_) return *taken_;
  if (state_->closed()) {
    return std::unexpected(std::make_error_code(std::errc::operation_canceled));
  }
  if (const auto taken = state_->take(into_)) return *taken;
  std::unreachable();  // `fill` completes when a read is decided, and this is the only reader
}

result<std::size_t> tls_read_wait::await_result() {
  if (child_ != nullptr && child_->error() != nullptr) {
    try {
      child_->get();
    } catch (const std::system_error& e) {
      return std::unexpected(e.code());
    }
  }
  return get();
}

std::size_t tls_read_wait::await_resume() {
  if (child_ != nullptr) child_->get();
  const result<std::size_t> r = get();
  if (!r) state_->throw_failure(r.error(), "read from");
  return *r;
}

void tls_read_wait::describe(description& to) const {
  to.add(text({"read from ", state_->peer_words(), " over TLS"}));
  describe_below(to, child_);
}

}  // namespace eddy::detail
