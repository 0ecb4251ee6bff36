// SPDX-License-Identifier: BSD-2-Clause
#pragma once

// The steps of looking a name up, for `resolve`, `resolver` and `connect`.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <eddy/future/task.h>
#include <eddy/net/address.h>
#include <eddy/net/detail/delivery.h>
#include <eddy/net/detail/dns_query.h>
#include <eddy/net/resolve_srv.h>

namespace eddy::detail {

/// Addresses or servers that were found, and how long they may be kept.
template <class T>
struct found_names {
  found_names() = default;
  found_names(std::vector<T>&& a, std::chrono::seconds l) noexcept
      : all(std::move(a)), lifetime(l) {}

  std::vector<T> all;
  std::chrono::seconds lifetime{0};  // zero: do not keep them
};

/// How name servers are asked for the addresses of a name.
struct name_plan {
  explicit name_plan(const std::string& host);

  std::string name;
  dns_query::family which;
  dns_query::source from;
  bool local;  // the name is `localhost` or below it
};

/// Whether `host` cannot be a name: it is empty, has over 1000 bytes, or has a zero in it.
/// Resolvers would read the latter as another, shorter name.
[[nodiscard]] bool is_no_name(const std::string& host) noexcept;

/// Whether name servers may be asked for `host`, by the rule of glibc: letters, digits, `-`, `_`
/// and dots, without a `-` at the beginning.
[[nodiscard]] bool is_host_name(std::string_view host) noexcept;

/// Reads `host` if it is an address and not a name: as `address::parse` does, or as one of the
/// other forms of IPv4 that `getaddrinfo` reads, such as `127.1` and `0x7f000001` (inet_aton(3)).
[[nodiscard]] std::optional<address> literal_address(const std::string& host,
                                                     std::uint16_t port) noexcept;

/// Whether `host` is looked up by c-ares, and not by `getaddrinfo`.
[[nodiscard]] bool asks_dns(const std::string& host, const dns_options& how);

/// Drops the addresses of `localhost` that are none of this machine. If there are no others,
/// `localhost` has 127.0.0.1 and ::1.
void keep_loopback(std::vector<address>& all, std::uint16_t port);

/// A host for a message: `""` if it is empty, and its first 1000 bytes if it is longer.
[[nodiscard]] std::string shown_host(const std::string& host);
/// "resolve host.example, service https".
[[nodiscard]] std::string words_of_service(const std::string& host, const std::string& service);
/// A failure whose words name the servers of a resolver, "…, asked 192.0.2.53:53", if they were
/// asked.
[[nodiscard, gnu::cold]] failure dns_failure(std::error_code error, std::string doing,
                                             const dns_query& asked, const dns_options& how);

/// "resolve host.example", for errors and dumps.
class lookup_words {
public:
  explicit lookup_words(const std::string& host) : words_("resolve " + shown_host(host)) {}
  /// "resolve the SRV records of _imaps._tcp.host.example".
  [[nodiscard]] static lookup_words of_services(const std::string& name) {
    return lookup_words(name, "resolve the SRV records of ");
  }
  [[nodiscard]] const std::string& describe() const noexcept { return words_; }

private:
  lookup_words(const std::string& name, const char* doing) : words_(doing + shown_host(name)) {}

  std::string words_;
};

/// Looks a name up, as a literal address, by c-ares or by `getaddrinfo`.
[[nodiscard]] task<reported<found_names<address>>> find_addresses(std::string host,
                                                                  std::uint16_t port,
                                                                  dns_options how);

/// Asks for the SRV records of a name.
[[nodiscard]] task<reported<found_names<srv_record>>> find_services(std::string name,
                                                                    dns_options how);

/// Finds the port of a service of TCP: "https", or a number.
[[nodiscard]] task<result<std::uint16_t>> find_port(std::string service);

/// Orders servers as RFC 2782 says: by priority, and within one by chance according to the weights.
void order_services(std::vector<srv_record>& all);

}  // namespace eddy::detail
