// SPDX-License-Identifier: BSD-2-Clause
// TLS with OpenSSL's command line: `openssl s_client` and `openssl s_server`. Without that program,
// these tests do nothing.
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <eddy/future/as_result.h>
#include <eddy/future/block_on.h>
#include <eddy/future/join.h>
#include <eddy/future/timeout.h>
#include <eddy/net/buffered.h>
#include <eddy/net/connect.h>
#include <eddy/net/process.h>
#include <eddy/net/run.h>
#include <eddy/net/tcp_listener.h>
#include <eddy/net/tls/tls_stream.h>

#include "support/temporary_directory.h"
#include "support/tidy.h"
#include "support/tls_pair.h"

using namespace std::chrono_literals;
using eddy::join;
using eddy::process_options;
using eddy::redirection;
using eddy::run_result;
using eddy::task;
using eddy::tcp_stream;
using eddy::tls_error;
using tcp_tls = eddy::tls_stream<tcp_stream>;

namespace {

bool has_openssl() {
  static const bool found = [] {
    std::string_view path = std::getenv("PATH") == nullptr ? "" : std::getenv("PATH");
    while (!path.empty()) {
      const std::size_t end = path.find(':');
      const std::filesystem::path directory(path.substr(0, end));
      if (std::filesystem::exists(directory / "openssl")) return true;
      path = end == std::string_view::npos ? std::string_view() : path.substr(end + 1);
    }
    MESSAGE("there is no program openssl here");
    return false;
  }();
  return found;
}

struct with_openssl : with_loop {
  with_openssl() {
    save("ca.pem", authority.pem());
    save("own", authority.sign());
  }

  std::string save(const std::string& name, const std::string& text) const {
    std::ofstream(directory / name, std::ios::binary) << text;
    return directory / name;
  }
  /// Stores an identity in the files NAME.pem and NAME.key.
  void save(const std::string& name, const tls_identity& identity) const {
    save(name + ".pem", identity.certificate);
    save(name + ".key", identity.key);
  }

  void run(task<> body) { eddy::block_on(loop, eddy::timeout(60s, std::move(body))); }

  tls_authority authority;
  temporary_directory directory;
};

struct served {
  eddy::result<void> result;
  std::string words;
  std::string line;
  std::string alpn;
  std::string peer;
  bool resumed = false;
};

/// Accepts a connection, answers its first line, and waits for its end.
task<served> serve(eddy::tcp_listener& at, eddy::tls_server_context by) {
  served all;
  try {
    tcp_stream plain = co_await at.accept();
    tcp_tls secure = co_await eddy::tls_accept(by, std::move(plain));
    all.alpn = secure.alpn();
    all.resumed = secure.resumed();
    if (const auto peer = secure.peer_certificate()) all.peer = peer->subject;
    eddy::buffered stream(std::move(secure));
    const auto line = co_await stream.read_line(1000);
    all.line = line.value_or("");
    const std::string answer = "echo: " + all.line + "\n";
    co_await stream.write(answer);
    co_await stream.shutdown();
    const auto end = co_await stream.read_line(1000);
    CHECK_FALSE(end);
  } catch (const std::system_error& e) {
    all.result = std::unexpected(e.code());
    all.words = e.what();
  }
  co_return all;
}

/// Runs `openssl s_client` against a server of eddy's, and has it send a line.
task<std::pair<run_result, served>> with_client(eddy::event_loop& loop,
                                                const eddy::tls_server_context& by,
                                                std::vector<std::string> more) {
  eddy::tcp_listener listener(loop, eddy::address::loopback_v4(0));
  std::vector<std::string> arguments{
      "s_client",    "-connect",  listener.local_address().to_string(),
      "-servername", "localhost", "-ign_eof"};
  for (std::string& argument : more) arguments.push_back(std::move(argument));
  process_options options("openssl", std::move(arguments));
  auto both = join(eddy::run(std::move(options), "question\n"), serve(listener, by));
  auto [client, server] = co_await std::move(both);
  co_return std::pair(std::move(client), std::move(server));
}

struct asked {
  eddy::result<void> result;
  std::string words;
  std::string answer;
  std::string alpn;
  bool resumed = false;
  eddy::tls_version version = eddy::tls_version::tls1_2;
};

/// Connects to `openssl s_server -www` and asks for its page.
task<asked> ask(eddy::event_loop& loop, std::uint16_t port, eddy::tls_client_context by,
                std::string host) {
  static_cast<void>(loop);
  asked all;
  try {
    tcp_stream plain = co_await eddy::connect(eddy::address::loopback_v4(port));
    tcp_tls secure = co_await eddy::tls_connect(by, std::move(plain), std::move(host));
    all.alpn = secure.alpn();
    all.version = secure.version();
    all.resumed = secure.resumed();
    co_await secure.write(std::string_view("GET / HTTP/1.0\r\n\r\n"));
    for (;;) {
      std::array<char, 4096> buffer;
      const std::size_t n = co_await secure.read(buffer);
      if (n == 0) break;
      all.answer.append(buffer.data(), n);
    }
  } catch (const std::system_error& e) {
    all.result = std::unexpected(e.code());
    all.words = e.what();
  }
  co_return all;
}

/// Starts `openssl s_server` on a free port, asks it `times` times, and ends it.
task<std::vector<asked>> with_server(eddy::event_loop& loop, const with_openssl& files,
                                     eddy::tls_client_context by, std::string host,
                                     std::string identity, std::vector<std::string> more,
                                     int times = 1) {
  std::vector<std::string> arguments{"s_server",
                                     "-accept",
                                     "127.0.0.1:0",
                                     "-cert",
                                     files.directory / (identity + ".pem"),
                                     "-key",
                                     files.directory / (identity + ".key"),
                                     "-www"};
  for (std::string& argument : more) arguments.push_back(std::move(argument));
  process_options options("openssl", std::move(arguments));
  options.input = redirection::null();
  options.output = redirection::pipe();
  options.error = redirection::to_output();
  options.grace = 0s;
  eddy::process server(loop, std::move(options));
  std::string printed;
  std::size_t start = std::string::npos;
  while (start == std::string::npos || printed.find('\n', start) == std::string::npos) {
    std::array<char, 1000> buffer;
    const std::size_t n = co_await server.output().read(buffer);
    REQUIRE(n != 0);
    printed.append(buffer.data(), n);
    start = printed.find("ACCEPT");
  }
  const std::size_t colon = printed.find(':', start);
  const auto port = static_cast<std::uint16_t>(std::stoi(printed.substr(colon + 1)));
  std::vector<asked> all;
  for (int i = 0; i < times; ++i) {
    asked one = co_await ask(loop, port, by, host);
    all.push_back(std::move(one));
  }
  server.terminate(0s);
  co_await server.wait();
  co_return all;
}

}  // namespace

TEST_CASE_FIXTURE(with_openssl, "openssl s_client verifies and is served, in both versions") {
  if (!has_openssl()) return;
  eddy::tls_server_options options = server_options(authority);
  options.alpn = {"echo/1", "h2"};
  const eddy::tls_server_context by(options);
  const auto body = [&]() -> task<> {
    for (const std::string version : {"-tls1_2", "-tls1_3"}) {
      CAPTURE(version);
      const std::vector<std::string> arguments_1{
          version,     "-CAfile", directory / "ca.pem", "-verify_return_error", "-verify_hostname",
          "localhost", "-alpn",   "h2,echo/1"};
      auto talk_1 = with_client(loop, by, arguments_1);
      const auto [client, server] = co_await std::move(talk_1);
      INFO(client.error);
      INFO(server.words);
      CHECK(client.output.contains("echo: question"));
      CHECK(client.output.contains("ALPN protocol: echo/1"));
      CHECK(client.output.contains("Verification: OK"));
      CHECK(client.output.contains(version == "-tls1_2" ? "New, TLSv1.2" : "New, TLSv1.3"));
      CHECK(client.status.code == 0);
      CHECK(server.result.has_value());
      CHECK(server.line == "question");
      CHECK(server.alpn == "echo/1");
    }
  };
  run(body());
}

TEST_CASE_FIXTURE(with_openssl, "openssl s_client resumes a session") {
  if (!has_openssl()) return;
  const eddy::tls_server_context by(server_options(authority));
  const auto body = [&]() -> task<> {
    for (const std::string version : {"-tls1_2", "-tls1_3"}) {
      CAPTURE(version);
      const std::string file = directory / "session";
      const std::vector<std::string> arguments_2{version, "-sess_out", file};
      auto talk_2 = with_client(loop, by, arguments_2);
      const auto [first, server] = co_await std::move(talk_2);
      CHECK(first.output.contains("New, "));
      CHECK_FALSE(server.resumed);
      const std::vector<std::string> arguments_3{version, "-sess_in", file};
      auto talk_3 = with_client(loop, by, arguments_3);
      const auto [second, again] = co_await std::move(talk_3);
      CHECK(second.output.contains("Reused, "));
      CHECK(second.output.contains("echo: question"));
      CHECK(again.resumed);
    }
  };
  run(body());
}

TEST_CASE_FIXTURE(with_openssl,
                  "openssl s_client refuses a wrong name and an expired certificate") {
  if (!has_openssl()) return;
  tls_wish wish;
  wish.from = -10;
  wish.to = -5;
  const eddy::tls_server_context good(server_options(authority));
  const eddy::tls_server_context expired(server_options(authority, wish));
  const auto body = [&]() -> task<> {
    const std::string ca = directory / "ca.pem";
    const std::vector<std::string> arguments_4{"-CAfile", ca, "-verify_return_error",
                                               "-verify_hostname", "other.example"};
    auto talk_4 = with_client(loop, good, arguments_4);
    const auto [named, server] = co_await std::move(talk_4);
    CHECK((named.error + named.output).contains("ostname mismatch"));
    CHECK(server.result.error() == tls_error::refused_by_peer);
    const std::vector<std::string> arguments_5{"-CAfile", ca, "-verify_return_error"};
    auto talk_5 = with_client(loop, expired, arguments_5);
    const auto [old, other] = co_await std::move(talk_5);
    CHECK((old.error + old.output).contains("certificate has expired"));
    CHECK(other.result.error() == tls_error::refused_by_peer);
    CHECK(other.words.contains("alert certificate expired"));
    CHECK(other.words.starts_with("TLS handshake with 127.0.0.1:"));
  };
  run(body());
}

TEST_CASE_FIXTURE(with_openssl,
                  "openssl s_client shows its certificate, or is refused without one") {
  if (!has_openssl()) return;
  save("client", authority.sign({"s_client", "", -1, 1, ""}));
  eddy::tls_server_options options = server_options(authority);
  options.client_certificates = eddy::tls_client_certificates::required;
  options.ca_file = directory / "ca.pem";
  const eddy::tls_server_context by(options);
  const auto body = [&]() -> task<> {
    const std::vector<std::string> arguments_6{"-cert", directory / "client.pem", "-key",
                                               directory / "client.key"};
    auto talk_6 = with_client(loop, by, arguments_6);
    const auto [with, served_with] = co_await std::move(talk_6);
    INFO(served_with.words);
    CHECK(with.output.contains("echo: question"));
    CHECK(served_with.peer == "CN=s_client");
    const std::vector<std::string> arguments_7;
    auto talk_7 = with_client(loop, by, arguments_7);
    const auto [without, served_without] = co_await std::move(talk_7);
    CHECK_FALSE(without.output.contains("echo: question"));
    CHECK(served_without.result.error() == tls_error::certificate_missing);
  };
  run(body());
}

TEST_CASE_FIXTURE(with_openssl,
                  "openssl s_client with an old version or no common protocol is refused") {
  if (!has_openssl()) return;
  eddy::tls_server_options options = server_options(authority);
  options.alpn = {"h2"};
  const eddy::tls_server_context by(options);
  const auto body = [&]() -> task<> {
    const std::vector<std::string> arguments_8{"-tls1_1", "-cipher", "ALL:@SECLEVEL=0"};
    auto talk_8 = with_client(loop, by, arguments_8);
    const auto [old, server] = co_await std::move(talk_8);
    CHECK_FALSE(old.output.contains("echo: question"));
    CHECK(server.result.error() == tls_error::nothing_in_common);
    const std::vector<std::string> arguments_9{"-alpn", "other"};
    auto talk_9 = with_client(loop, by, arguments_9);
    const auto [other, second] = co_await std::move(talk_9);
    CHECK_FALSE(other.output.contains("echo: question"));
    CHECK(second.result.error() == tls_error::nothing_in_common);
  };
  run(body());
}

TEST_CASE_FIXTURE(with_openssl, "openssl s_server is verified and asked, in both versions") {
  if (!has_openssl()) return;
  eddy::tls_client_options options;
  options.system_roots = false;
  options.ca_file = directory / "ca.pem";
  const auto body = [&]() -> task<> {
    for (const bool old : {false, true}) {
      CAPTURE(old);
      const std::vector<std::string> arguments_10{old ? "-tls1_2" : "-tls1_3"};
      auto talk_10 = with_server(loop, *this, eddy::tls_client_context(options), "localhost", "own",
                                 arguments_10, 2);
      const std::vector<asked> all = co_await std::move(talk_10);
      for (const asked& one : all) {
        INFO(one.words);
        CHECK(one.result.has_value());
        CHECK(one.answer.contains("HTTP/1.0 200 ok"));
        CHECK((one.version == eddy::tls_version::tls1_2) == old);
      }
      CHECK_FALSE(all.at(0).resumed);
      CHECK(all.at(1).resumed);
    }
  };
  run(body());
}

TEST_CASE_FIXTURE(with_openssl,
                  "openssl s_server is refused for a wrong name, time and authority") {
  if (!has_openssl()) return;
  tls_wish old;
  old.from = -10;
  old.to = -5;
  save("old", authority.sign(old));
  save("alone", tls_authority::self_signed());
  eddy::tls_client_options options;
  options.system_roots = false;
  options.ca_file = directory / "ca.pem";
  const eddy::tls_client_context by(options);
  const auto body = [&]() -> task<> {
    struct attempt {
      std::string host;
      std::string identity;
      tls_error error;
    };
    const std::vector<attempt> attempts{
        {"other.example", "own", tls_error::certificate_wrong_name},
        {"localhost", "old", tls_error::certificate_expired},
        {"localhost", "alone", tls_error::certificate_untrusted},
    };
    for (const attempt& one : attempts) {
      const std::vector<std::string> arguments_11;
      auto talk_11 = with_server(loop, *this, by, one.host, one.identity, arguments_11);
      const std::vector<asked> all = co_await std::move(talk_11);
      INFO(all.at(0).words);
      CHECK(all.at(0).result.error() == one.error);
    }
  };
  run(body());
}

TEST_CASE_FIXTURE(with_openssl, "openssl s_server gets the certificate that it requires") {
  if (!has_openssl()) return;
  const tls_identity own = authority.sign({"a client", "", -1, 1, ""});
  eddy::tls_client_options options;
  options.system_roots = false;
  options.ca_file = directory / "ca.pem";
  const std::vector<std::string> verify{"-Verify", "1", "-verify_return_error", "-CAfile",
                                        directory / "ca.pem"};
  const auto body = [&]() -> task<> {
    auto talk_12 =
        with_server(loop, *this, eddy::tls_client_context(options), "localhost", "own", verify);
    const std::vector<asked> without = co_await std::move(talk_12);
    CHECK(without.at(0).result.error() == tls_error::refused_by_peer);
    options.certificate = own.certificate;
    options.key = own.key;
    auto talk_13 =
        with_server(loop, *this, eddy::tls_client_context(options), "localhost", "own", verify);
    const std::vector<asked> with = co_await std::move(talk_13);
    INFO(with.at(0).words);
    CHECK(with.at(0).result.has_value());
  };
  run(body());
}
