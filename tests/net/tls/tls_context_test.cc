// SPDX-License-Identifier: BSD-2-Clause
// eddy/net/tls/tls_context.h
#include <eddy/net/tls/tls_context.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <sys/stat.h>
#include <unistd.h>

#include <eddy/net/detail/system.h>
#include <eddy/net/tls/tls_error.h>

#include "support/async_test.h"
#include "support/failing_system.h"
#include "support/temporary_directory.h"
#include "support/tls_pair.h"

using eddy::join;
using eddy::task;
using eddy::tls_client_context;
using eddy::tls_client_options;
using eddy::tls_error;
using eddy::tls_server_context;
using eddy::tls_server_options;

static_assert(std::is_nothrow_copy_constructible_v<tls_client_context>);
static_assert(std::is_nothrow_copy_constructible_v<tls_server_context>);

namespace {

void write_file(const std::filesystem::path& to, std::string_view text) {
  std::ofstream(to, std::ios::binary) << text;
}

/// The error and the words with which a context refuses its options.
template <class Options>
std::pair<std::error_code, std::string> refusal(const Options& options) {
  using context = std::conditional_t<std::is_same_v<Options, tls_client_options>,
                                     tls_client_context, tls_server_context>;
  try {
    const context made(options);
  } catch (const std::system_error& e) {
    CHECK(ERR_peek_error() == 0);
    return {e.code(), e.what()};
  }
  return {};
}

/// Whether the second of two connections resumes the session of the first. The first carries bytes
/// in both directions, because a client of TLS 1.3 gets its ticket with a read.
task<bool> resumes(tls_client_context client, tls_server_context before, tls_server_context after) {
  tls_server_context* servers[] = {&before, &after};
  bool resumed = false;
  for (const tls_server_context* const server : servers) {
    auto made = shake_hands(client, *server);
    tls_outcome ends = co_await std::move(made);
    REQUIRE(ends.client.has_value());
    std::array<char, 8> buffer;
    co_await ends.server->write(std::string_view("word"));
    co_await ends.client->read(buffer);
    resumed = ends.client->resumed();
    CHECK(ends.server->resumed() == resumed);
    CHECK(ends.client->peer_certificate().value().subject == "CN=localhost");
  }
  co_return resumed;
}

}  // namespace

TEST_CASE_FIXTURE(tidy, "a context reads its certificates and keys from files") {
  const temporary_directory directory;
  const tls_authority authority;
  const tls_identity own = authority.sign();
  write_file(directory / "chain.pem", own.certificate + authority.pem());
  write_file(directory / "key.pem", own.key);
  write_file(directory / "ca.pem", authority.pem() + authority.pem());
  tls_server_options server;
  server.certificate_file = directory / "chain.pem";
  server.key_file = directory / "key.pem";
  const tls_server_context made(server);
  tls_client_options client;
  client.ca_file = directory / "ca.pem";
  const tls_client_context other(client);
  CHECK(ERR_peek_error() == 0);
}

TEST_CASE_FIXTURE(tidy, "a file that is missing or wrong is refused by its name") {
  const temporary_directory directory;
  const tls_authority authority;
  const tls_identity own = authority.sign();
  const std::string empty = directory / "empty";
  write_file(empty, "");
  const std::string text = directory / "text";
  write_file(text, "no certificate");
  const std::string broken = directory / "broken";
  write_file(broken, own.certificate.substr(0, 100) + own.certificate.substr(120));
  const std::string chain = directory / "chain.pem";
  write_file(chain, own.certificate);

  tls_server_options server;
  server.key = own.key;
  server.certificate_file = directory / "missing";
  CHECK(refusal(server).first == std::errc::no_such_file_or_directory);
  CHECK(refusal(server).second ==
        "read " + server.certificate_file + ": No such file or directory");
  for (const std::string& bad : {empty, text, broken}) {
    server.certificate_file = bad;
    CHECK(refusal(server).first == tls_error::bad_certificate);
    CHECK(refusal(server).second.starts_with("load a certificate from " + bad));
  }
  server.certificate_file = directory / "";
  CHECK(refusal(server).first == std::errc::is_a_directory);
  server.certificate_file = chain;
  for (const std::string& bad : {empty, text, chain}) {
    server.key.clear();
    server.key_file = bad;
    CHECK(refusal(server).first == tls_error::bad_key);
    CHECK(refusal(server).second.starts_with("load a private key from " + bad));
  }
  server.key = authority.sign().key;
  CHECK(refusal(server).first == tls_error::key_mismatch);
  CHECK(refusal(server).second ==
        "load a private key from the key given as text for CN=localhost: the private key does not "
        "belong to the certificate");

  tls_client_options client;
  client.ca_file = empty;
  CHECK(refusal(client).first == tls_error::bad_certificate);
  client.ca_file.clear();
  client.certificate = own.certificate;
  CHECK(refusal(client).first == std::errc::invalid_argument);  // a key is missing
}

TEST_CASE_FIXTURE(tidy, "an encrypted key needs its password, and nobody is asked for it") {
  const tls_authority authority;
  tls_server_options server = server_options(authority);
  server.key = tls_authority::encrypt_key(server.key, "secret");
  CHECK(refusal(server).first == tls_error::bad_key);
  server.key_password = "wrong";
  CHECK(refusal(server).first == tls_error::bad_key);
  server.key_password = "secret";
  CHECK(refusal(server).first == std::error_code());
}

TEST_CASE_FIXTURE(tidy, "impossible protocols and versions are invalid arguments") {
  tls_client_options client;
  for (const std::string& name : {std::string(), std::string(256, 'a')}) {
    client.alpn = {"h2", name};
    CHECK(refusal(client).first == std::errc::invalid_argument);
  }
  client.alpn.clear();
  client.min_version = eddy::tls_version::tls1_3;
  client.max_version = eddy::tls_version::tls1_2;
  CHECK(refusal(client).first == std::errc::invalid_argument);
}

TEST_CASE_FIXTURE(tidy, "a context names the option that is missing or impossible") {
  const tls_authority authority;
  const auto words_of = [](const auto& options) {
    const auto [code, words] = refusal(options);
    CHECK(code == std::errc::invalid_argument);
    return words;
  };
  CHECK(words_of(eddy::tls_server_options()) ==
        "neither certificate nor certificate_file is set in TLS options: Invalid argument");
  eddy::tls_server_options no_key = server_options(authority);
  no_key.key.clear();
  CHECK(words_of(no_key) == "neither key nor key_file is set in TLS options: Invalid argument");

  eddy::tls_client_options key_alone = client_options(authority);
  key_alone.key = authority.sign().key;
  CHECK(words_of(key_alone) ==
        "neither certificate nor certificate_file is set in TLS options: Invalid argument");
  eddy::tls_client_options cut = client_options(authority);
  cut.ca.clear();
  cut.ca_file = std::string("/dev/null\0.pem", 14);
  CHECK(words_of(cut) == "read /dev/null\\x00.pem: Invalid argument");
  eddy::tls_client_options many = client_options(authority);
  many.alpn.assign(128, std::string(255, 'a'));
  CHECK_FALSE(refusal(many).first);
  many.alpn.emplace_back("b");
  CHECK(words_of(many) == "ALPN names of more than 32768 bytes: Invalid argument");
}

TEST_CASE_FIXTURE(tidy, "each system call of a context that fails is reported or made again") {
  const temporary_directory directory;
  const tls_authority authority;
  const tls_identity own = authority.sign();
  write_file(directory / "own.pem", own.certificate + own.key);
  tls_server_options server;
  server.certificate_file = directory / "own.pem";
  server.key_file = directory / "own.pem";
  for (const int error : {EACCES, EMFILE, ENFILE, ENOENT, ENOMEM}) {
    for (const std::size_t kth : {1, 2}) {
      failing_system system;
      const eddy::detail::scoped_system in_place(system);
      system.fail(call::open, error, kth);
      CHECK(refusal(server).first == std::error_code(error, std::generic_category()));
    }
  }
  for (const int error : {EIO, EISDIR, EBADF}) {
    for (const std::size_t kth : {1, 2, 3, 4}) {
      failing_system system;
      const eddy::detail::scoped_system in_place(system);
      system.fail(call::read, error, kth);
      CHECK(refusal(server).first == std::error_code(error, std::generic_category()));
    }
  }
  failing_system system;
  const eddy::detail::scoped_system in_place(system);
  system.limit_bytes(1);
  system.fail(call::read, EINTR, 7);
  CHECK(refusal(server).first == std::error_code());
}

namespace {

/// A system in whose pipes bytes arrive when a program waits for them.
class slow_writer final : public eddy::detail::system {
public:
  slow_writer(const std::string& pipe, std::string bytes)
      : left_(std::move(bytes)), writing_(::open(pipe.c_str(), O_RDWR | O_CLOEXEC)) {}
  slow_writer(const slow_writer&) = delete;
  slow_writer& operator=(const slow_writer&) = delete;
  ~slow_writer() override { ::close(writing_); }

  int poll_for(int descriptor, short events, std::chrono::milliseconds most) override {
    waits.push_back(most);
    if (left_.empty()) return 0;
    const std::string piece = left_.substr(0, 100);
    left_.erase(0, piece.size());
    REQUIRE(::write(writing_, piece.data(), piece.size()) == static_cast<ssize_t>(piece.size()));
    if (left_.empty() && ends) ::close(std::exchange(writing_, -1));
    return system::poll_for(descriptor, events, most);
  }

  bool ends = true;  // whether the writer closes the pipe after its bytes
  std::vector<std::chrono::milliseconds> waits;

private:
  std::string left_;
  int writing_;
};

}  // namespace

TEST_CASE_FIXTURE(tidy, "a key that a program writes to a pipe is waited for, but not for ever") {
  const temporary_directory directory;
  const std::string pipe = directory / "pipe";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  const tls_authority authority;
  tls_server_options server = server_options(authority);
  const std::string key = std::exchange(server.key, "");
  server.key_file = pipe;
  slow_writer system(pipe, key);
  const eddy::detail::scoped_system in_place(system);
  SUBCASE("the writer ends") {
    CHECK(refusal(server).first == std::error_code());
    REQUIRE(system.waits.size() > 1);
    CHECK(system.waits.front() <= std::chrono::seconds(10));
  }
  SUBCASE("the writer does not end") {
    system.ends = false;
    const auto [code, words] = refusal(server);
    CHECK(code == std::errc::timed_out);
    CHECK(words == "read " + pipe + ": Connection timed out");
  }
}

TEST_CASE_FIXTURE(tidy, "a wait for a pipe that fails is reported, or made again") {
  const temporary_directory directory;
  const std::string pipe = directory / "pipe";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  const int writing = ::open(pipe.c_str(), O_RDWR | O_CLOEXEC);
  tls_client_options client;
  client.ca_file = pipe;
  failing_system system;
  const eddy::detail::scoped_system in_place(system);
  system.fail(call::poll, EINTR, 1);
  system.fail_any(ENOMEM, 4);
  CHECK(refusal(client).first == std::errc::not_enough_memory);
  CHECK(system.count(call::poll) == 2);
  ::close(writing);
}

ASYNC_TEST("a reload makes later connections use the new certificate, and keeps earlier ones") {
  const temporary_directory directory;
  const tls_authority authority;
  tls_wish wish;
  wish.subject = "first";
  const tls_identity first = authority.sign(wish);
  wish.subject = "second";
  const tls_identity second = authority.sign(wish);
  write_file(directory / "own.pem", first.certificate + first.key);
  tls_server_options options;
  options.certificate_file = directory / "own.pem";
  options.key_file = directory / "own.pem";
  tls_server_context server(options);
  const tls_server_context copy(server);
  const tls_client_context client(client_options(authority));
  const auto attempt = [&] { return shake_hands(client, copy); };

  tls_outcome before = co_await attempt();
  CHECK(before.client->peer_certificate().value().subject == "CN=first");
  write_file(directory / "own.pem", second.certificate + first.key);
  try {
    server.reload();
    FAIL("reloaded a wrong key");
  } catch (const std::system_error& e) {
    CHECK(e.code() == tls_error::key_mismatch);
  }
  write_file(directory / "own.pem", second.certificate + second.key);
  tls_client_context fresh(client_options(authority));
  tls_outcome unchanged = co_await shake_hands(fresh, copy);
  CHECK(unchanged.client->peer_certificate().value().subject == "CN=first");
  server.reload();
  tls_outcome after = co_await attempt();
  CHECK(after.client->peer_certificate().value().subject == "CN=second");

  std::array<char, 8> buffer;
  co_await before.client->write(std::string_view("old"));
  const std::size_t n = co_await before.server->read(buffer);
  CHECK(n == 3);
}

ASYNC_TEST("a reload of a client replaces the authorities that it trusts") {
  const tls_authority authority;
  const tls_authority other("another authority");
  const tls_server_context server(server_options(other));
  tls_client_context client(client_options(authority));
  const tls_outcome before = co_await shake_hands(client, server);
  CHECK(before.client.error() == tls_error::certificate_untrusted);
  client.reload(client_options(other));
  const tls_outcome after = co_await shake_hands(client, server);
  CHECK(after.client.has_value());
}

ASYNC_TEST("the session of an earlier connection is resumed, unless one end refuses") {
  const tls_authority authority;
  for (const auto version : {eddy::tls_version::tls1_2, eddy::tls_version::tls1_3}) {
    tls_client_options client = client_options(authority);
    tls_server_options server = server_options(authority);
    client.max_version = version;
    const tls_server_context same(server);
    const bool usual = co_await resumes(tls_client_context(client), same, same);
    CHECK(usual);
    server.resumption = false;
    const tls_server_context without(server);
    const bool refused = co_await resumes(tls_client_context(client), without, without);
    CHECK_FALSE(refused);
    client.resumption = false;
    const bool unwanted = co_await resumes(tls_client_context(client), same, same);
    CHECK_FALSE(unwanted);
  }
}

ASYNC_TEST("a session survives a reload of the server, but not if clients need certificates") {
  const tls_authority authority;
  const tls_identity own = authority.sign({"a client", "", -1, 1, ""});
  tls_client_options client = client_options(authority);
  client.certificate = own.certificate;
  client.key = own.key;
  for (const bool needed : {false, true}) {
    tls_server_options options = server_options(authority);
    options.ca = authority.pem();
    if (needed) options.client_certificates = eddy::tls_client_certificates::required;
    tls_server_context server(options);
    const tls_client_context to(client);
    const bool first = co_await resumes(to, server, server);
    CHECK(first);
    server.reload();
    const tls_outcome ends = co_await shake_hands(to, server);
    REQUIRE(ends.client.has_value());
    CHECK(ends.client->resumed() == !needed);
  }
}

ASYNC_TEST("a session is resumed with its own host only") {
  const tls_authority authority;
  tls_wish wish;
  wish.names = "DNS:a.example,DNS:b.example";
  const tls_server_context server(server_options(authority, wish));
  const tls_client_context client(client_options(authority));
  std::vector<bool> resumed;
  for (const std::string host : {"a.example", "b.example", "a.example"}) {
    tls_outcome ends = co_await shake_hands(client, server, host);
    std::array<char, 8> buffer;
    co_await ends.server->write(std::string_view("word"));
    co_await ends.client->read(buffer);
    resumed.push_back(ends.client->resumed());
  }
  CHECK(resumed == std::vector<bool>{false, false, true});
}

ASYNC_TEST("a connection outlives its contexts") {
  auto by = std::make_unique<tls_contexts>();
  tls_ends ends = co_await connected(*by);
  by.reset();
  std::array<char, 8> buffer;
  co_await ends.client.write(std::string_view("word"));
  const std::size_t n = co_await ends.server.read(buffer);
  CHECK(n == 4);
}

TEST_SUITE("threads") {
  TEST_CASE_FIXTURE(tidy, "loops on two threads share contexts while a third reloads them") {
    const tls_contexts by;
    tls_server_context server(by.server);
    tls_client_context client(by.client);
    const auto work = [&by] {
      eddy::event_loop loop;
      const auto body = [&by]() -> task<> {
        for (int i = 0; i < 20; ++i) {
          tls_ends ends = co_await connected(by);
          std::array<char, 8> buffer;
          co_await ends.server.write(std::string_view("word"));
          co_await ends.client.read(buffer);
        }
      };
      eddy::block_on(loop, body());
    };
    std::thread one(work);
    std::thread other(work);
    for (int i = 0; i < 20; ++i) {
      server.reload();
      client.reload();
    }
    one.join();
    other.join();
  }
}
