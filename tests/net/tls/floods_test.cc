// SPDX-License-Identifier: BSD-2-Clause
// TLS over sockets with peers that flood it, stall it or take nothing.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/ssl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <eddy/future/as_result.h>
#include <eddy/future/join.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/future/timeout.h>
#include <eddy/net/tcp_listener.h>
#include <eddy/net/tcp_stream.h>
#include <eddy/net/tls/tls_stream.h>
#include <eddy/net/unix_stream.h>

#include "support/async_test.h"
#include "support/stream_pair.h"
#include "support/tls_pair.h"

using namespace std::chrono_literals;
using eddy::as_result;
using eddy::join;
using eddy::task;
using eddy::tls_error;

namespace {

// Unlike TCP, a Unix socket moves its bytes at once, so that no result depends on the machine.
using socket_tls = eddy::tls_stream<eddy::unix_stream>;

struct ssl_deleter {
  void operator()(SSL_CTX* p) const { SSL_CTX_free(p); }
  void operator()(SSL* p) const { SSL_free(p); }
  void operator()(EVP_KDF* p) const { EVP_KDF_free(p); }
  void operator()(EVP_KDF_CTX* p) const { EVP_KDF_CTX_free(p); }
  void operator()(EVP_CIPHER_CTX* p) const { EVP_CIPHER_CTX_free(p); }
};

/// A client that is OpenSSL itself on a socket, which does not wait.
template <class Stream>
class raw_client {
public:
  explicit raw_client(Stream over, int version = TLS1_3_VERSION)
      : socket_(std::move(over)), context_(SSL_CTX_new(TLS_client_method())) {
    SSL_CTX_set_max_proto_version(context_.get(), version);
    SSL_CTX_set_cipher_list(context_.get(), "ECDHE-ECDSA-AES128-GCM-SHA256");
    ssl_.reset(SSL_new(context_.get()));
    SSL_set_fd(ssl_.get(), socket_.descriptor());
    SSL_set_connect_state(ssl_.get());
  }
  ~raw_client() { ERR_clear_error(); }
  raw_client(raw_client&&) = default;
  raw_client& operator=(raw_client&&) = delete;

  [[nodiscard]] SSL* ssl() const { return ssl_.get(); }
  [[nodiscard]] Stream& socket() { return socket_; }

  task<> shake_hands() {
    while (SSL_do_handshake(ssl()) != 1) {
      REQUIRE(SSL_get_error(ssl(), -1) == SSL_ERROR_WANT_READ);
      ERR_clear_error();
      co_await socket_.wait_readable();
    }
  }

  /// Encrypts `count` requests for new keys, each followed by `data`, and returns the bytes.
  std::string ask_for_new_keys(int count, std::string_view data) {
    BIO* const gathered = BIO_new(BIO_s_mem());
    BIO_up_ref(SSL_get_wbio(ssl()));
    BIO* const before = SSL_get_wbio(ssl());
    SSL_set0_wbio(ssl(), gathered);
    for (int i = 0; i < count; ++i) {
      REQUIRE(SSL_key_update(ssl(), SSL_KEY_UPDATE_REQUESTED) == 1);
      REQUIRE(SSL_do_handshake(ssl()) == 1);
      if (!data.empty()) SSL_write(ssl(), data.data(), static_cast<int>(data.size()));
    }
    char* begin = nullptr;
    const long size = BIO_get_mem_data(gathered, &begin);
    std::string all(begin, static_cast<std::size_t>(size));
    SSL_set0_wbio(ssl(), before);
    return all;
  }

  /// Has OpenSSL take all that has arrived, and returns the bytes of data.
  std::string read() {
    std::string all;
    std::array<char, 20000> buffer;
    for (;;) {
      const int n = SSL_read(ssl(), buffer.data(), static_cast<int>(buffer.size()));
      ERR_clear_error();
      if (n <= 0) return all;
      all.append(buffer.data(), static_cast<std::size_t>(n));
    }
  }

  /// Goes on with the handshake, and returns the bytes that are to be sent.
  std::string next_flight() {
    SSL_set0_wbio(ssl(), BIO_new(BIO_s_mem()));
    SSL_do_handshake(ssl());
    ERR_clear_error();
    char* begin = nullptr;
    const long size = BIO_get_mem_data(SSL_get_wbio(ssl()), &begin);
    return std::string(begin, static_cast<std::size_t>(size));
  }

private:
  Stream socket_;
  std::unique_ptr<SSL_CTX, ssl_deleter> context_;
  std::unique_ptr<SSL, ssl_deleter> ssl_;
};

/// A raw client and a stream of eddy's over sockets.
struct raw_pair {
  explicit raw_pair(eddy::event_loop& loop, int version = TLS1_3_VERSION)
      : raw_pair(eddy::socket_pair(loop), version) {}

  task<> connect() {
    auto both = join(eddy::tls_accept(by.server, std::move(wire)), raw.shake_hands());
    auto [made, nothing] = co_await std::move(both);
    own = std::move(made);
  }

  tls_contexts by;
  eddy::unix_stream wire;
  raw_client<eddy::unix_stream> raw;
  socket_tls own;

private:
  // The answers of eddy's end have little space, and the flood of the peer has much.
  raw_pair(std::pair<eddy::unix_stream, eddy::unix_stream> ends, int version)
      : wire(std::move(ends.first)), raw(std::move(ends.second), version) {
    wire.set_send_buffer(4096);
    raw.socket().set_send_buffer(std::size_t{1} << 20);
  }
};

/// Counts the reads of one byte until an error or the end.
task<std::error_code> count_reads(socket_tls& from, int& count) {
  for (;;) {
    std::array<char, 1> byte;
    const auto n = co_await as_result(from.read(byte));
    if (!n) co_return n.error();
    if (*n == 0) co_return std::error_code();
    ++count;
  }
}

}  // namespace

ASYNC_TEST("a peer that asks for new keys and takes no answers is not read until it takes some") {
  raw_pair pair(loop);
  co_await pair.connect();
  constexpr int most = 20'000;
  const std::string bytes = pair.raw.ask_for_new_keys(most, "x");
  int reads = 0;
  const auto reading = eddy::spawn(count_reads(pair.own, reads));
  const auto sending = eddy::spawn(pair.raw.socket().write(bytes));
  co_await eddy::sleep(1s);
  CHECK(reads < 4000);  // 64 KiB of answers have 27 bytes each
  for (int i = 0; reads < most && i < most; ++i) {
    static_cast<void>(pair.raw.read());
    co_await eddy::sleep(1ms);
  }
  CHECK(sending.ready());
  CHECK(reads == most);
}

ASYNC_TEST("reads with handlers wait, too, while a peer takes no answers") {
  raw_pair pair(loop);
  co_await pair.connect();
  constexpr int most = 20'000;
  const std::string bytes = pair.raw.ask_for_new_keys(most, "x");
  int reads = 0;
  std::array<char, 1> byte;
  const std::function<void()> read = [&] {
    pair.own.read(byte, [&](eddy::result<std::size_t> n) {
      if (!n || *n == 0) return;
      ++reads;
      read();
    });
  };
  read();
  const auto sending = eddy::spawn(pair.raw.socket().write(bytes));
  co_await eddy::sleep(1s);
  CHECK(reads < 4000);
  pair.own.stop_reading();
}

ASYNC_TEST("a peer that sends nothing but key updates over a socket is refused") {
  raw_pair pair(loop);
  co_await pair.connect();
  const std::string bytes = pair.raw.ask_for_new_keys(10'000, "");
  int reads = 0;
  auto reading = eddy::spawn(count_reads(pair.own, reads));
  const auto sending = eddy::spawn(pair.raw.socket().write(bytes));
  const std::error_code error = co_await std::move(reading);
  CHECK(error == tls_error::too_many_messages);
  CHECK(reads == 0);
}

namespace {

/// Encrypts records of a client of TLS 1.2 by hand, after its handshake.
class record_forge {
public:
  explicit record_forge(const SSL* of) : cipher_(EVP_CIPHER_CTX_new()) {
    std::array<unsigned char, 48> secret;
    const std::size_t size =
        SSL_SESSION_get_master_key(SSL_get_session(of), secret.data(), secret.size());
    REQUIRE(size == secret.size());
    std::string seed = "key expansion";
    std::array<unsigned char, 32> random;
    SSL_get_server_random(of, random.data(), random.size());
    seed.append(reinterpret_cast<const char*>(random.data()), random.size());
    SSL_get_client_random(of, random.data(), random.size());
    seed.append(reinterpret_cast<const char*>(random.data()), random.size());
    const std::unique_ptr<EVP_KDF, ssl_deleter> kdf(EVP_KDF_fetch(nullptr, "TLS1-PRF", nullptr));
    const std::unique_ptr<EVP_KDF_CTX, ssl_deleter> derive(EVP_KDF_CTX_new(kdf.get()));
    std::string digest = "SHA256";
    const OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest.data(), 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SECRET, secret.data(), secret.size()),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SEED, seed.data(), seed.size()),
        OSSL_PARAM_construct_end(),
    };
    std::array<unsigned char, 40> keys;  // two keys of 16 bytes and two salts of 4
    REQUIRE(EVP_KDF_derive(derive.get(), keys.data(), keys.size(), parameters) == 1);
    std::copy_n(keys.begin(), 16, key_.begin());
    std::copy_n(keys.begin() + 32, 4, nonce_.begin());
  }

  std::string record(char type, std::string_view content) {
    ++number_;  // the Finished of the handshake was record 0
    std::string explicit_nonce;
    for (int shift = 56; shift >= 0; shift -= 8) {
      explicit_nonce.push_back(static_cast<char>(number_ >> shift));
    }
    std::copy(explicit_nonce.begin(), explicit_nonce.end(), nonce_.begin() + 4);
    const std::string more =
        explicit_nonce + type + "\x03\x03" + '\0' + static_cast<char>(content.size());
    int size = 0;
    std::string bytes(content.size(), '\0');
    std::string tag(16, '\0');
    EVP_CIPHER_CTX* const c = cipher_.get();
    EVP_EncryptInit_ex(c, EVP_aes_128_gcm(), nullptr, key_.data(), nonce_.data());
    EVP_EncryptUpdate(c, nullptr, &size, as_bytes(more), static_cast<int>(more.size()));
    EVP_EncryptUpdate(c, as_bytes(bytes), &size, as_bytes(content),
                      static_cast<int>(content.size()));
    EVP_EncryptFinal_ex(c, nullptr, &size);
    EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, 16, tag.data());
    const std::string all = explicit_nonce + bytes + tag;
    return std::string(1, type) + "\x03\x03" + '\0' + static_cast<char>(all.size()) + all;
  }

private:
  static unsigned char* as_bytes(std::string& text) {
    return reinterpret_cast<unsigned char*>(text.data());
  }
  static const unsigned char* as_bytes(std::string_view text) {
    return reinterpret_cast<const unsigned char*>(text.data());
  }

  std::unique_ptr<EVP_CIPHER_CTX, ssl_deleter> cipher_;
  std::array<unsigned char, 16> key_;
  std::array<unsigned char, 12> nonce_;
  std::uint64_t number_ = 0;
};

/// Sends the same record of a client of TLS 1.2 again and again until the other end closes.
/// Returns the error that the reader at the other end meets.
task<std::error_code> flood(eddy::event_loop& loop, char type, std::string content, int& reads,
                            int& sent) {
  raw_pair pair(loop, TLS1_2_VERSION);
  co_await pair.connect();
  record_forge forge(pair.raw.ssl());
  auto reading = eddy::spawn(count_reads(pair.own, reads));
  const auto send = [&]() -> task<> {
    for (; sent < 20'000 && !reading.ready(); ++sent) {
      const std::string one = forge.record(type, content);
      auto limited = eddy::timeout(1s, pair.raw.socket().write(one));
      const auto done = co_await as_result(std::move(limited));
      if (!done) co_return;
    }
  };
  co_await send();
  pair.raw.socket().shutdown();
  const std::error_code error = co_await std::move(reading);
  co_return error;
}

}  // namespace

ASYNC_TEST("a peer that asks for renegotiations is refused after 32") {
  int reads = 0;
  int sent = 0;
  auto flooding = flood(loop, '\x16', std::string("\x01\0\0\0", 4), reads, sent);
  const std::error_code error = co_await std::move(flooding);
  CHECK(error == tls_error::too_many_messages);
  CHECK(reads == 0);
  CHECK(sent < 20'000);
}

ASYNC_TEST("a peer that sends empty records is refused") {
  int reads = 0;
  int sent = 0;
  auto flooding = flood(loop, '\x17', "", reads, sent);
  const std::error_code error = co_await std::move(flooding);
  CHECK(error == tls_error::protocol_violation);
  CHECK(reads == 0);
  CHECK(sent < 20'000);
}

ASYNC_TEST("a peer that sends warnings is refused") {
  int reads = 0;
  int sent = 0;
  auto flooding = flood(loop, '\x15', "\x01\x5a", reads, sent);  // user_canceled
  const std::error_code error = co_await std::move(flooding);
  CHECK(error == tls_error::protocol_violation);
  CHECK(reads == 0);
  CHECK(sent < 20'000);
}

ASYNC_TEST("a forged record with data is read") {
  int reads = 0;
  int sent = 0;
  auto flooding = flood(loop, '\x17', "x", reads, sent);
  const std::error_code error = co_await std::move(flooding);
  CHECK(error == tls_error::truncated);
  CHECK(reads == 20'000);
}

namespace {

/// Limits the descriptors that this process may still open to a number.
class few_descriptors_free {
public:
  few_descriptors_free() {
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &before_) == 0);
    set(before_.rlim_max);
  }
  few_descriptors_free(const few_descriptors_free&) = delete;
  few_descriptors_free& operator=(const few_descriptors_free&) = delete;
  ~few_descriptors_free() { ::setrlimit(RLIMIT_NOFILE, &before_); }

  void allow(rlim_t count) const {
    const int next = ::fcntl(0, F_DUPFD_CLOEXEC, 0);
    ::close(next);
    set(static_cast<rlim_t>(next) + count);  // all lower numbers are in use
  }

private:
  void set(rlim_t limit) const {
    const rlimit now{.rlim_cur = limit, .rlim_max = before_.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &now) == 0);
  }

  rlimit before_{};
};

/// A client whose handshake stalls before its first byte, within its first flight, after it, or
/// within its last flight.
task<> stall(raw_client<eddy::tcp_stream>& client, int flight) {
  if (flight == 0) co_return;
  const std::string hello = client.next_flight();
  const std::size_t size = flight == 1 ? hello.size() / 2 : hello.size();
  co_await client.socket().write(std::string_view(hello).substr(0, size));
  if (flight != 3) co_return;
  std::string finished;
  while (finished.empty()) {
    co_await client.socket().wait_readable();
    finished = client.next_flight();
  }
  co_await client.socket().write(std::string_view(finished).substr(0, finished.size() - 1));
}

}  // namespace

ASYNC_TEST("a client is served among a thousand that stall, with few free descriptors") {
  constexpr int stalled = 1000;
  const few_descriptors_free limit;
  const tls_contexts by;
  eddy::tcp_listener listener(loop, eddy::address::loopback_v4(0));
  const auto connect = [&] {
    return eddy::tcp_stream(loop, plain_connection(listener.local_address()));
  };
  std::vector<raw_client<eddy::tcp_stream>> clients;
  clients.reserve(stalled);
  const auto add = [&](int count) {
    for (int i = 0; i < count; ++i) clients.emplace_back(connect());
  };
  add(stalled / 2);
  eddy::tcp_stream good = connect();
  add(stalled / 2);
  limit.allow(200);

  const auto serve = [&](eddy::tcp_stream stream) -> task<std::error_code> {
    auto limited = eddy::timeout(10s, eddy::tls_accept(by.server, std::move(stream)));
    auto made = co_await as_result(std::move(limited));
    if (!made) co_return made.error();
    co_await made->write(std::string_view("word"));
    co_await made->shutdown();
    co_return std::error_code();
  };
  const auto serve_all = [&]() -> task<int> {
    std::vector<eddy::future<std::error_code>> all;
    while (all.size() < stalled + 1) {
      eddy::tcp_stream stream = co_await listener.accept();
      all.push_back(eddy::spawn(serve(std::move(stream))));
    }
    int timed_out = 0;
    for (auto& one : all) {
      const std::error_code error = co_await std::move(one);
      if (error == std::errc::timed_out) ++timed_out;
    }
    co_return timed_out;
  };
  const auto ask = [&]() -> task<std::string> {
    auto secure = co_await eddy::tls_connect(by.client, std::move(good), "localhost");
    std::array<char, 64> buffer;
    const std::size_t n = co_await secure.read(buffer);
    co_return std::string(buffer.data(), n);
  };
  std::vector<eddy::future<>> stalling;
  for (int i = 0; i < stalled; ++i) {
    stalling.push_back(eddy::spawn(stall(clients[static_cast<std::size_t>(i)], i % 4)));
  }
  const eddy::time_point begin = loop.now();
  auto both = join(serve_all(), ask());
  const auto [timed_out, word] = co_await std::move(both);
  CHECK(timed_out == stalled);
  CHECK(word == "word");
  CHECK(loop.now() - begin >= 50s);  // five times, all descriptors were in use
  CHECK(loop.now() - begin < 70s);
}
