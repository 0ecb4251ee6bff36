// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <string_view>

namespace eddy::detail {

/// Whether /etc/hosts and name servers give the same answer for `host` as all services that a line
/// "hosts: files dns" of /etc/nsswitch.conf names. `own` is the name of this machine.
///
/// `files` and `dns` are asked by c-ares itself, in their order. `mdns_minimal` and its variants
/// know only names below `.local`, and `myhostname` knows only the machine's own names. Any other
/// service, such as `sss` or `resolve`, may know any name.
[[nodiscard]] bool dns_suffices(std::string_view services, std::string_view host,
                                std::string_view own) noexcept;

/// `dns_suffices` for the line `hosts:` of a file in the form of /etc/nsswitch.conf. Without such a
/// line or file, the services are `dns` and `files`.
[[nodiscard]] bool file_asks_dns(const char* path, std::string_view host, std::string_view own);

}  // namespace eddy::detail
