// SPDX-License-Identifier: BSD-2-Clause

#include "arguments.h"

#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string_view>
#include <system_error>

#include <getopt.h>

#include <eddy/loop/result.h>

namespace {

enum choice : std::uint8_t { listen_at, replace, tls, certificate, key, ca, name, insecure };

constexpr std::array<option, 9> choices{{
    {"listen", required_argument, nullptr, choice::listen_at},
    {"replace", no_argument, nullptr, choice::replace},
    {"tls", no_argument, nullptr, choice::tls},
    {"certificate", required_argument, nullptr, choice::certificate},
    {"key", required_argument, nullptr, choice::key},
    {"ca", required_argument, nullptr, choice::ca},
    {"name", required_argument, nullptr, choice::name},
    {"insecure", no_argument, nullptr, choice::insecure},
    {nullptr, 0, nullptr, 0},
}};

constexpr std::string_view unix_prefix = "unix:";

[[noreturn]] void usage(const char* why) {
  std::fprintf(stderr,
               "netcat: %s\n"
               "usage: netcat [--tls [--ca FILE | --insecure] [--name NAME]] HOST PORT\n"
               "       netcat [--tls [--ca FILE | --insecure] --name NAME] unix:PATH\n"
               "       netcat [--tls --certificate FILE --key FILE] --listen ADDRESS:PORT\n"
               "       netcat [--tls --certificate FILE --key FILE] [--replace] "
               "--listen unix:PATH\n",
               why);
  std::exit(64);  // EX_USAGE of sysexits.h
}

std::uint16_t port_number(std::string_view text) {
  std::uint16_t n = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (error != std::errc() || end != text.data() + text.size()) usage("the port is no port number");
  return n;
}

}  // namespace

arguments::arguments(int count, char** words) {
  std::string_view at;
  for (int found = 0; (found = ::getopt_long(count, words, "", choices.data(), nullptr)) != -1;) {
    switch (found) {
      case choice::listen_at:
        listen = true;
        at = optarg;
        break;
      case choice::replace: replace = true; break;
      case choice::tls: tls = true; break;
      case choice::certificate: certificate = optarg; break;
      case choice::key: key = optarg; break;
      case choice::ca: ca = optarg; break;
      case choice::name: name = optarg; break;
      case choice::insecure: insecure = true; break;
      default: usage("an option is wrong");
    }
  }
  const auto rest = std::span(words, static_cast<std::size_t>(count)).subspan(optind);
  if (!listen && !rest.empty()) at = rest[0];
  if (at.starts_with(unix_prefix)) path = eddy::unix_address(at.substr(unix_prefix.size()));

  const std::size_t needed = listen ? 0 : path ? 1 : 2;
  if (rest.size() != needed) usage("the peer is HOST PORT or unix:PATH, or --listen says where");
  if (listen && !path) {
    const eddy::result<eddy::address> parsed = eddy::address::parse(at);
    if (!parsed) usage("--listen takes ADDRESS:PORT or unix:PATH");
    local = *parsed;
  } else if (!path) {
    host = at;
    port = port_number(rest[1]);
  }
  if (replace && !(listen && path)) usage("--replace is for --listen unix:PATH");

  const bool of_server = !certificate.empty() || !key.empty();
  const bool of_client = insecure || !ca.empty() || !name.empty();
  if (!tls && (of_server || of_client)) usage("the options of TLS need --tls");
#ifndef SAMPLES_TLS
  if (tls) usage("this netcat was built without TLS");
#endif
  if (!tls) return;
  if (listen && of_client) usage("--ca, --name and --insecure are for a client");
  if (listen && (certificate.empty() || key.empty()))
    usage("a server needs --certificate and --key");
  if (!listen && of_server) usage("--certificate and --key are for --listen");
  if (insecure && !ca.empty()) usage("--insecure trusts everybody, so --ca would be ignored");
  if (!listen && name.empty()) name = host;
  if (!listen && name.empty()) usage("--tls to unix:PATH needs --name, for the certificate");
}
