// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/detail/shortest_ttl.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>

// Debian 12 has only the older of two forms of these functions.
#define CARES_NO_DEPRECATED  // NOLINT(readability-identifier-naming): the name is that of c-ares
#include <ares.h>

namespace eddy::detail {

namespace {

using std::chrono::seconds;

/// Reads the records of a DNS message. Each function returns false if the message is too short.
class message_reader {
public:
  explicit message_reader(std::span<const unsigned char> message) noexcept
      : all_(message), at_(message.data()) {}

  [[nodiscard]] bool skip(std::size_t bytes) noexcept {
    if (left() < bytes) return false;
    at_ += bytes;
    return true;
  }
  [[nodiscard]] bool number(std::size_t bytes, std::uint32_t& value) noexcept {
    if (left() < bytes) return false;
    value = 0;
    for (; bytes != 0; --bytes) value = value << 8 | *at_++;
    return true;
  }
  [[nodiscard]] bool skip_name() noexcept {
    char* name = nullptr;
    long size = 0;
    if (left() == 0 || ares_expand_name(at_, all_.data(), static_cast<int>(all_.size()), &name,
                                        &size) != ARES_SUCCESS) {
      return false;
    }
    ares_free_string(name);
    return skip(static_cast<std::size_t>(size));
  }

private:
  [[nodiscard]] std::size_t left() const noexcept {
    return static_cast<std::size_t>(all_.data() + all_.size() - at_);
  }

  std::span<const unsigned char> all_;
  const unsigned char* at_;
};

}  // namespace

seconds shortest_ttl(std::span<const unsigned char> message) noexcept {
  constexpr std::size_t size_of_id_and_flags = 4;
  constexpr std::size_t size_of_other_counts = 4;
  constexpr std::size_t size_of_type_and_class = 4;
  message_reader reader(message);
  std::uint32_t questions = 0;
  std::uint32_t answers = 0;
  if (!reader.skip(size_of_id_and_flags) || !reader.number(2, questions) ||
      !reader.number(2, answers) || !reader.skip(size_of_other_counts)) {
    return seconds(0);
  }
  for (; questions != 0; --questions) {
    if (!reader.skip_name() || !reader.skip(size_of_type_and_class)) return seconds(0);
  }
  seconds shortest = longest_lifetime;
  for (; answers != 0; --answers) {
    std::uint32_t ttl = 0;
    std::uint32_t size = 0;
    if (!reader.skip_name() || !reader.skip(size_of_type_and_class) || !reader.number(4, ttl) ||
        !reader.number(2, size) || !reader.skip(size)) {
      return seconds(0);
    }
    // A TTL with the highest bit set counts as zero: RFC 2181, 8.
    shortest = std::min(shortest,
                        ttl > std::numeric_limits<std::int32_t>::max() ? seconds(0) : seconds(ttl));
  }
  return shortest;
}

}  // namespace eddy::detail
