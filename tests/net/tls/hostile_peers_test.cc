// SPDX-License-Identifier: BSD-2-Clause
// TLS with peers that OpenSSL drives by itself, and that do what eddy would not.
#include <array>
#include <chrono>
#include <cstddef>
#include <memory>
#include <random>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <doctest/doctest.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include <eddy/future/as_result.h>
#include <eddy/future/join.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/future/timeout.h>
#include <eddy/net/duplex.h>
#include <eddy/net/tls/tls_stream.h>

#include "support/async_test.h"
#include "support/tls_pair.h"

using namespace std::chrono_literals;
using namespace std::string_literals;
using eddy::as_result;
using eddy::duplex;
using eddy::duplex_stream;
using eddy::join;
using eddy::task;
using eddy::tls_error;

namespace {

/// A peer of a TLS connection that is OpenSSL itself, on memory BIOs.
class raw_peer {
public:
  /// A client, or with an identity a server.
  raw_peer(duplex_stream wire, const tls_identity* own, int version = TLS1_3_VERSION)
      : wire_(std::move(wire)), context_(SSL_CTX_new(TLS_method())) {
    SSL_CTX_set_max_proto_version(context_.get(), version);
    if (own != nullptr) {
      const std::unique_ptr<BIO, deleter> bio(
          BIO_new_mem_buf(own->certificate.data(), static_cast<int>(own->certificate.size())));
      const std::unique_ptr<X509, deleter> certificate(
          PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
      SSL_CTX_use_certificate(context_.get(), certificate.get());
      const std::unique_ptr<BIO, deleter> key_bio(
          BIO_new_mem_buf(own->key.data(), static_cast<int>(own->key.size())));
      const std::unique_ptr<EVP_PKEY, deleter> key(
          PEM_read_bio_PrivateKey(key_bio.get(), nullptr, nullptr, nullptr));
      SSL_CTX_use_PrivateKey(context_.get(), key.get());
    }
    ssl_.reset(SSL_new(context_.get()));
    SSL_set_bio(ssl_.get(), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    if (own != nullptr) {
      SSL_set_accept_state(ssl_.get());
    } else {
      SSL_set_connect_state(ssl_.get());
    }
  }

  [[nodiscard]] SSL* ssl() const { return ssl_.get(); }
  [[nodiscard]] duplex_stream& wire() { return wire_; }

  task<> shake_hands() {
    while (SSL_do_handshake(ssl_.get()) != 1) {
      co_await flush();
      const bool more = co_await receive();
      if (!more) throw std::runtime_error("the handshake of the raw peer was cut off");
    }
    co_await flush();
  }

  /// Sends what OpenSSL has written.
  task<> flush() {
    char* data = nullptr;
    const long size = BIO_get_mem_data(SSL_get_wbio(ssl_.get()), &data);
    const std::string bytes(data, static_cast<std::size_t>(size));
    static_cast<void>(BIO_reset(SSL_get_wbio(ssl_.get())));
    co_await wire_.write(bytes);
  }

  task<bool> receive() {
    std::array<char, 4096> buffer;
    const std::size_t n = co_await wire_.read(buffer);
    if (n != 0) BIO_write(SSL_get_rbio(ssl_.get()), buffer.data(), static_cast<int>(n));
    co_return n != 0;
  }

  task<> write(std::string bytes) {
    SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size()));
    co_await flush();
  }

  /// Reads until `size` bytes have come or the other end has ended.
  task<std::string> read(std::size_t size) {
    std::string all;
    while (all.size() < size) {
      std::array<char, 20000> buffer;
      const int n = SSL_read(ssl_.get(), buffer.data(), static_cast<int>(buffer.size()));
      if (n > 0) {
        all.append(buffer.data(), static_cast<std::size_t>(n));
        continue;
      }
      ERR_clear_error();
      const bool more = co_await receive();
      if (!more) break;
    }
    co_return all;
  }

private:
  struct deleter {
    void operator()(SSL_CTX* p) const { SSL_CTX_free(p); }
    void operator()(SSL* p) const { SSL_free(p); }
    void operator()(BIO* p) const { BIO_free(p); }
    void operator()(X509* p) const { X509_free(p); }
    void operator()(EVP_PKEY* p) const { EVP_PKEY_free(p); }
  };

  duplex_stream wire_;
  std::unique_ptr<SSL_CTX, deleter> context_;
  std::unique_ptr<SSL, deleter> ssl_;
};

/// A raw peer that is connected to a stream of eddy's.
struct raw_pair {
  explicit raw_pair(std::size_t size = 65536, int version = TLS1_3_VERSION)
      : raw_pair(duplex(size, size), version) {}

  task<> connect() {
    auto both = join(eddy::tls_accept(by.server, std::move(wire)), raw.shake_hands());
    auto [made, nothing] = co_await std::move(both);
    own = std::move(made);
  }

  tls_contexts by;
  duplex_stream wire;
  raw_peer raw;
  memory_tls own;

private:
  raw_pair(std::pair<duplex_stream, duplex_stream> ends, int version)
      : wire(std::move(ends.first)), raw(std::move(ends.second), nullptr, version) {}
};

task<std::string> some_of(memory_tls& from) {
  std::array<char, 20000> buffer;
  const std::size_t n = co_await from.read(buffer);
  co_return std::string(buffer.data(), n);
}

task<std::error_code> read_error(memory_tls& from) {
  std::array<char, 8> buffer;
  const auto r = co_await as_result(from.read(buffer));
  co_return r ? std::error_code() : r.error();
}

/// Has the raw peer put a key update on the wire, which asks for one in return.
void ask_for_new_keys(raw_peer& of) {
  SSL_key_update(of.ssl(), SSL_KEY_UPDATE_REQUESTED);
  SSL_do_handshake(of.ssl());
}

/// Gives tests the state of a stream.
struct opened : memory_tls {
  explicit opened(memory_tls stream) : memory_tls(std::move(stream)) {}
  using memory_tls::state;
};

}  // namespace

ASYNC_TEST("key updates of the peer disturb neither a reader nor a writer") {
  for (const std::size_t size : {std::size_t{10}, std::size_t{1000}, std::size_t{65536}}) {
    CAPTURE(size);
    raw_pair pair(size);
    co_await pair.connect();
    constexpr int rounds = 200;
    const auto send = [&pair]() -> task<> {
      for (int i = 0; i < rounds; ++i) {
        ask_for_new_keys(pair.raw);
        co_await pair.raw.write("from the peer");
      }
    };
    const auto receive = [&pair]() -> task<std::string> {
      std::string all;
      while (all.size() < rounds * 13) all += co_await some_of(pair.own);
      co_return all;
    };
    const auto answer = [&pair]() -> task<> {
      const std::string bytes(1000, 'x');
      for (int i = 0; i < rounds; ++i) co_await pair.own.write(bytes);
    };
    auto all = join(send(), receive(), answer(), pair.raw.read(rounds * 1000));
    const auto [a, got, b, answers] = co_await std::move(all);
    CHECK(got.size() == rounds * 13);
    CHECK(answers == std::string(rounds * 1000, 'x'));
  }
}

ASYNC_TEST("an answer to a key update leaves although nobody writes") {
  raw_pair pair;
  co_await pair.connect();
  co_await eddy::sleep(1s);
  co_await pair.raw.receive();  // the server's tickets
  CHECK(pair.raw.wire().unread() == 0);
  // OpenSSL answers a request when it reads the next one, or before it writes data.
  ask_for_new_keys(pair.raw);
  ask_for_new_keys(pair.raw);
  co_await pair.raw.write("word");
  const std::string word = co_await some_of(pair.own);
  CHECK(word == "word");
  co_await eddy::sleep(1s);
  CHECK(pair.raw.wire().unread() > 0);
}

ASYNC_TEST("a reader goes on while the answer to a key update cannot leave") {
  raw_pair pair(50);
  co_await pair.connect();
  const std::string bytes(500, 'x');
  auto writing = eddy::spawn(pair.own.write(bytes));  // which fills the wire
  const auto send = [&pair]() -> task<> {
    for (int i = 0; i < 20; ++i) {
      ask_for_new_keys(pair.raw);
      co_await pair.raw.write("data");
    }
  };
  const auto receive = [&pair]() -> task<std::string> {
    std::string all;
    while (all.size() < 80) all += co_await some_of(pair.own);
    co_return all;
  };
  auto both = join(send(), receive());
  const auto [nothing, got] = co_await std::move(both);
  CHECK(got.size() == 80);
  auto rest = join(pair.raw.read(1'000'000), std::move(writing), pair.own.shutdown());
  const auto [answer, a, b] = co_await std::move(rest);
  CHECK(answer == bytes);
}

ASYNC_TEST(
    "a write that is cancelled behind earlier bytes is the last one, and its records are whole") {
  raw_pair pair(50);
  co_await pair.connect();
  co_await eddy::sleep(1ms);  // the server's tickets fill the wire
  auto limited = eddy::timeout(1s, pair.own.write(std::string_view("first")));
  const auto cut = co_await as_result(std::move(limited));
  CHECK(cut.error() == std::errc::timed_out);
  auto later = eddy::timeout(1s, pair.own.write(std::string_view("later")));
  const auto refused = co_await as_result(std::move(later));
  CHECK(refused.error() == std::errc::operation_canceled);
  const auto ended = co_await as_result(pair.own.shutdown());
  CHECK(ended.error() == std::errc::operation_canceled);

  const std::string first = co_await pair.raw.read(5);
  CHECK(first == "first");
  // OpenSSL answers a request when it reads the next one, or before it writes data.
  ask_for_new_keys(pair.raw);
  ask_for_new_keys(pair.raw);
  auto both = join(pair.raw.write("question"), some_of(pair.own));
  const auto [nothing, question] = co_await std::move(both);
  CHECK(question == "question");
  co_await eddy::sleep(1s);
  CHECK(pair.raw.wire().unread() > 0);  // the answer to the key update, although no write can leave
}

ASYNC_TEST("a shutdown that was cancelled can be made again") {
  raw_pair pair(50);
  co_await pair.connect();
  co_await eddy::sleep(1ms);  // the server's tickets fill the wire
  auto limited = eddy::timeout(1s, pair.own.shutdown());
  const auto cut = co_await as_result(std::move(limited));
  CHECK(cut.error() == std::errc::timed_out);
  const auto refused = co_await as_result(pair.own.write(std::string_view("late")));
  CHECK(refused.error() == std::errc::broken_pipe);
  auto all = join(pair.own.shutdown(), pair.own.shutdown(), pair.raw.read(1));
  const auto [one, other, got] = co_await std::move(all);
  CHECK(got.empty());
  CHECK((SSL_get_shutdown(pair.raw.ssl()) & SSL_RECEIVED_SHUTDOWN) != 0);
  const bool more = co_await pair.raw.receive();
  CHECK_FALSE(more);
}

ASYNC_TEST("a peer that sends nothing but key updates is refused after 32") {
  raw_pair pair;
  co_await pair.connect();
  for (int i = 0; i < 32; ++i) ask_for_new_keys(pair.raw);
  co_await pair.raw.write("word");
  const std::string word = co_await some_of(pair.own);
  CHECK(word == "word");
  for (int i = 0; i < 33; ++i) ask_for_new_keys(pair.raw);
  co_await pair.raw.write("word");
  const std::error_code error = co_await read_error(pair.own);
  CHECK(error == tls_error::too_many_messages);
  const auto written = co_await as_result(pair.own.write(std::string_view("late")));
  CHECK(written.error() == tls_error::too_many_messages);
  CHECK(ERR_peek_error() == 0);
}

ASYNC_TEST("a connection renews its keys after many records") {
  const tls_contexts by;
  tls_ends ends = co_await connected(by);
  opened client(std::move(ends.client));
  client.state().records_per_key = 3;
  std::string got;
  for (int i = 0; i < 20; ++i) {
    co_await client.write(std::string_view("word"));
    got += co_await some_of(ends.server);
  }
  CHECK(got.size() == 80);
  const std::size_t before = ends.server.stream().unread();
  co_await client.write(std::string_view("word"));
  const std::size_t without = ends.server.stream().unread() - before;
  got += co_await some_of(ends.server);
  std::size_t longest = 0;
  for (int i = 0; i < 4; ++i) {
    co_await client.write(std::string_view("word"));
    longest = std::max(longest, ends.server.stream().unread());
    got += co_await some_of(ends.server);
  }
  CHECK(longest >= without);
  CHECK(longest > 40);  // a record of 4 bytes takes 26 and a key update 27
}

ASYNC_TEST("renegotiation is refused") {
  raw_pair pair(65536, TLS1_2_VERSION);
  co_await pair.connect();
  SSL_renegotiate(pair.raw.ssl());
  SSL_do_handshake(pair.raw.ssl());
  co_await pair.raw.flush();
  auto limited = eddy::timeout(1s, read_error(pair.own));
  const auto error = co_await as_result(std::move(limited));
  CHECK(error.error() == std::errc::timed_out);  // the server goes on without it
  const std::string none = co_await eddy::timeout(1s, [&pair]() -> task<std::string> {
    const bool more = co_await pair.raw.receive();
    CHECK(more);
    co_return std::string();
  }());
  CHECK(SSL_do_handshake(pair.raw.ssl()) != 1);
  const unsigned long why = ERR_peek_last_error();
  CHECK(ERR_GET_REASON(why) == SSL_R_NO_RENEGOTIATION);
  ERR_clear_error();
}

ASYNC_TEST("the name for which a client asks is given as the client has sent it") {
  raw_pair pair;
  constexpr const char* hostile = "a\n\x1b[31mb\"\xff";
  REQUIRE(SSL_set_tlsext_host_name(pair.raw.ssl(), hostile) == 1);
  co_await pair.connect();
  CHECK(pair.own.server_name() == hostile);
}

ASYNC_TEST("an alert of the peer is told by its name") {
  raw_pair pair;
  co_await pair.connect();
  // A record that is no valid one makes the raw peer send an alert.
  co_await pair.own.stream().write("\x17\x03\x03\x00\x20"s + std::string(32, '?'));
  const std::string nothing = co_await [&pair]() -> task<std::string> {
    const bool more = co_await pair.raw.receive();
    CHECK(more);
    co_return std::string();
  }();
  std::array<char, 8> buffer;
  while (SSL_read(pair.raw.ssl(), buffer.data(), 8) <= 0) {
    if (SSL_get_error(pair.raw.ssl(), -1) != SSL_ERROR_WANT_READ) break;
    ERR_clear_error();
    const bool more = co_await pair.raw.receive();
    if (!more) break;
  }
  ERR_clear_error();
  co_await pair.raw.flush();
  std::string words;
  std::error_code code;
  try {
    co_await some_of(pair.own);
  } catch (const std::system_error& e) {
    words = e.what();
    code = e.code();
  }
  CHECK(code == tls_error::refused_by_peer);
  // Versions of OpenSSL put other words before "alert".
  CHECK(words.starts_with("read from the peer ("));
  CHECK(words.ends_with(" alert bad record mac): the peer refused the connection"));
}

ASYNC_TEST(
    "a certificate of the peer that cannot be parsed is invalid, and no refusal by the peer") {
  const tls_contexts by;
  const tls_identity own = by.authority.sign();
  auto [near, far] = duplex(65536, 65536);
  const auto serve = [](duplex_stream wire, const tls_identity& identity) -> task<> {
    raw_peer raw(std::move(wire), &identity, TLS1_2_VERSION);
    co_await raw.receive();
    SSL_do_handshake(raw.ssl());
    ERR_clear_error();
    const X509* const certificate = SSL_get_certificate(raw.ssl());
    unsigned char* der = nullptr;
    REQUIRE(i2d_X509(certificate, &der) > 8);
    const std::string begin(reinterpret_cast<const char*>(der), 8);
    OPENSSL_free(der);
    char* data = nullptr;
    const long size = BIO_get_mem_data(SSL_get_wbio(raw.ssl()), &data);
    const std::size_t at = std::string_view(data, static_cast<std::size_t>(size)).find(begin);
    REQUIRE(at != std::string_view::npos);
    data[at] ^= 0x41;
    co_await raw.flush();
    co_await raw.receive();
    CHECK(SSL_do_handshake(raw.ssl()) != 1);
    CHECK(std::string_view(ERR_reason_error_string(ERR_get_error())).contains("alert"));
    ERR_clear_error();
  };
  std::string words;
  auto both = join(words_of(eddy::tls_connect(by.client, std::move(near), "localhost"), words),
                   serve(std::move(far), own));
  const auto [made, nothing] = co_await std::move(both);
  REQUIRE(!made.has_value());
  CHECK(made.error() == tls_error::certificate_invalid);
  CHECK(words.starts_with("TLS handshake with localhost ("));
}

ASYNC_TEST("random bytes of a peer end a handshake and a connection with an error") {
  std::mt19937 numbers(11);
  for (int round = 0; round < 200; ++round) {
    const tls_contexts by;
    std::string noise(100, '\0');
    for (char& byte : noise) byte = static_cast<char>(numbers());
    if (round % 2 == 0) noise.replace(0, 3, "\x16\x03\x01");
    auto [near, far] = duplex(4096, 4096);
    co_await far.write(noise);
    far.shutdown();
    const auto made = co_await as_result(eddy::tls_accept(by.server, std::move(near)));
    CHECK_FALSE(made.has_value());

    if (round % 10 != 0) continue;
    tls_ends ends = co_await connected(by);
    co_await ends.client.stream().write(noise);
    ends.client.close();
    const std::error_code error = co_await read_error(ends.server);
    CHECK(static_cast<bool>(error));
    CHECK(ERR_peek_error() == 0);
  }
}
