// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/detail/read_units.h>

#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/text.h>
#include <eddy/net/detail/expect_space.h>

namespace eddy::detail {

namespace {

/// A number for a text, which holds signed numbers.
std::size_t shown(std::size_t number) noexcept { return std::min(number, SIZE_MAX / 2); }

}  // namespace

std::string line_unit::words() const {
  return text({"read a line of at most ", shown(limit_), " bytes"});
}

delimited_unit::delimited_unit(std::string_view delimiter, std::size_t limit) noexcept
    : delimiter_(delimiter), limit_(limit) {
  if (delimiter.empty()) misuse("read_until was given an empty delimiter");
}

bool delimited_unit::attempt(const read_buffer& in) noexcept {
  const std::size_t width = delimiter_.size();
  const std::size_t most = limit_ < SIZE_MAX - width ? limit_ + width : SIZE_MAX;
  const std::size_t size = std::min(in.size(), most);
  if (size - scanned_ >= width) {
    const std::size_t at = std::string_view(in.data(), size).find(delimiter_, scanned_);
    if (at != std::string_view::npos) {
      length_ = at;
      return is(found::unit);
    }
    scanned_ = size - width + 1;
  }
  if (size == most) return is(found::too_long);
  return in.ended() && ends(in);
}

std::string delimited_unit::words() const {
  return text({"read at most ", shown(limit_), " bytes up to a delimiter"});
}

std::string exact_unit::words() const { return text({"read exactly ", shown(count_), " bytes"}); }

void expect_length_size(std::size_t size) noexcept {
  if (size != 1 && size != 2 && size != 4 && size != 8) {
    misuse("the length of a frame must have 1, 2, 4 or 8 bytes");
  }
}

frame_unit::frame_unit(std::size_t length_bytes, std::endian order, std::size_t limit) noexcept
    : length_bytes_(length_bytes), order_(order), limit_(std::min(limit, SIZE_MAX - 8)) {
  expect_length_size(length_bytes);
}

bool frame_unit::attempt(const read_buffer& in) noexcept {
  if (in.size() < length_bytes_) return in.ended() && ends(in);
  std::uint64_t length = 0;
  for (std::size_t i = 0; i < length_bytes_; ++i) {
    const std::size_t at = order_ == std::endian::big ? i : length_bytes_ - 1 - i;
    length = length << 8 | static_cast<unsigned char>(in.data()[at]);
  }
  if (length > limit_) return is(found::too_long);
  length_ = static_cast<std::size_t>(length);
  if (in.size() - length_bytes_ >= length_) return is(found::unit);
  return in.ended() && ends(in);
}

std::string frame_unit::words() const {
  return text({"read a frame of at most ", shown(limit_), " bytes"});
}

std::string peek_unit::words() const { return text({"peek at ", shown(count_), " bytes"}); }

some_unit::some_unit(mutable_buffer into) noexcept : into_(into) { expect_space(into); }

std::string some_unit::words() const { return "read from a buffered stream"; }

void store_length(std::byte* into, std::size_t size, std::endian order,
                  std::uint64_t length) noexcept {
  for (std::size_t i = 0; i < size; ++i) {
    const std::size_t at = order == std::endian::little ? i : size - 1 - i;
    into[at] = static_cast<std::byte>(length >> (8 * i) & 0xff);
  }
}

}  // namespace eddy::detail
