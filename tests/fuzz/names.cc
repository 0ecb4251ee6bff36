// SPDX-License-Identifier: BSD-2-Clause
//
// A libFuzzer target for the parsers of names: lines of /etc/hosts, /etc/nsswitch.conf and
// /etc/resolv.conf, and the TTLs of DNS messages. The first line of the bytes is the name that is
// looked for.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>

#include <eddy/net/detail/loopback_names.h>
#include <eddy/net/detail/name_limits.h>
#include <eddy/net/detail/name_services.h>
#ifdef EDDY_FUZZES_DNS
#include <eddy/net/detail/shortest_ttl.h>
#endif

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view all(reinterpret_cast<const char*>(data), size);
  const std::string_view name = all.substr(0, all.find('\n'));
  std::string_view rest = all.substr(name.size());
  // Names ignore case.
  std::string upper(name);
  for (char& c : upper) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  if (!eddy::detail::same_name(name, upper)) std::abort();
  if (eddy::detail::gives_loopback(rest, name) != eddy::detail::gives_loopback(rest, upper)) {
    std::abort();
  }
  if (eddy::detail::dns_suffices(rest, name, "own") && rest.find("dns") == std::string_view::npos) {
    std::abort();
  }
  if (eddy::detail::is_localhost(name) && name.size() < std::string_view("localhost").size()) {
    std::abort();
  }
  eddy::detail::name_limits limits;
  limits.read(rest);
  if (limits.timeout < std::chrono::seconds(1) || limits.timeout > std::chrono::seconds(30) ||
      limits.tries < 0 || limits.tries > 5) {
    std::abort();
  }
#ifdef EDDY_FUZZES_DNS
  const auto ttl = eddy::detail::shortest_ttl(std::span(data, size));
  if (ttl.count() < 0 || ttl > eddy::detail::longest_lifetime) std::abort();
#endif
  return 0;
}
