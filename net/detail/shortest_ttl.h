// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <chrono>
#include <span>

namespace eddy::detail {

/// The longest time for which an answer may be kept. A longer TTL would keep a wrong answer for
/// weeks: RFC 8767, 4, advises days, and a week at most.
inline constexpr std::chrono::seconds longest_lifetime = std::chrono::days(7);

/// The shortest TTL of the records that answer in a DNS message, but at most `longest_lifetime`.
/// c-ares 1.18 does not give the TTLs of SRV records. Zero if the message is not well-formed.
[[nodiscard]] std::chrono::seconds shortest_ttl(std::span<const unsigned char> message) noexcept;

}  // namespace eddy::detail
