// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/detail/name_services.h>

#include <cstddef>

#include <eddy/net/detail/loopback_names.h>
#include <eddy/net/detail/text_file.h>

namespace eddy::detail {

namespace {

bool below_local(std::string_view host) noexcept {
  if (host.ends_with('.')) host.remove_suffix(1);
  constexpr std::string_view top = ".local";
  return host.size() > top.size() && same_name(host.substr(host.size() - top.size()), top);
}

/// The names that systemd's `myhostname` knows beside `localhost`: nss-myhostname(8).
bool is_own_name(std::string_view host, std::string_view own) noexcept {
  return same_name(host, own) || same_name(host, "_gateway") || same_name(host, "_outbound");
}

}  // namespace

bool dns_suffices(std::string_view services, std::string_view host, std::string_view own) noexcept {
  std::string_view before;
  bool dns = false;
  for (std::string_view service; !(service = take_word(services)).empty(); before = service) {
    if (service == "dns") {
      dns = true;
    } else if (service.starts_with("mdns") && service.ends_with("_minimal")) {
      if (below_local(host)) return false;
    } else if (service == "myhostname") {
      if (is_own_name(host, own)) return false;
    } else if (service == "[NOTFOUND=return]") {
      // It ends the search after the service before it. Name servers end it anyway.
      if (before == "files") return false;
    } else if (service != "files") {
      return false;
    }
  }
  return dns;
}

bool file_asks_dns(const char* path, std::string_view host, std::string_view own) {
  bool suffices = true;
  find_line(path, [&](std::string_view line) {
    line = line.substr(0, line.find('#'));
    constexpr std::string_view database = "hosts:";
    std::string_view rest = line;
    const std::string_view first = take_word(rest);
    if (!first.starts_with(database)) return false;
    // The first service may follow without a blank.
    const auto at = static_cast<std::size_t>(first.data() - line.data()) + database.size();
    suffices = dns_suffices(line.substr(at), host, own);
    return true;
  });
  return suffices;
}

}  // namespace eddy::detail
