// SPDX-License-Identifier: BSD-2-Clause
// Instead of dns_query.cc, for a library without c-ares: `dns_available` keeps everybody from the
// rest.
#include <eddy/net/detail/dns_query.h>

namespace eddy::detail {

struct dns_query::implementation {};

bool dns_available() noexcept { return false; }

dns_query::dns_query(event_loop& loop, wake_up& happened) noexcept
    : loop_(&loop), happened_(&happened) {}

dns_query::~dns_query() = default;

std::error_code dns_query::open(const dns_options& /*how*/, source /*from*/) {
  return std::make_error_code(std::errc::not_supported);
}

bool dns_query::asked() const noexcept { return false; }

void dns_query::ask_addresses(std::size_t slot, const std::string& /*host*/, std::uint16_t /*port*/,
                              family /*which*/) {
  answers_[slot].complete = true;
  answers_[slot].error = std::make_error_code(std::errc::not_supported);
  happened_->note();
}

void dns_query::ask_services(std::size_t slot, const std::string& name) {
  ask_addresses(slot, name, 0, family::any);
}

}  // namespace eddy::detail
