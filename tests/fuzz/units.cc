// SPDX-License-Identifier: BSD-2-Clause
//
// A libFuzzer target for the parsers of lines, frames and other units of `buffered`. The bytes
// arrive in pieces and all at once: both must give the same units and the same errors.

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <eddy/net/detail/read_buffer.h>
#include <eddy/net/detail/read_units.h>

namespace {

using eddy::detail::read_buffer;

/// Bytes that arrive in pieces.
class source {
public:
  source(std::string_view bytes, std::size_t piece) : in(piece), left_(bytes), piece_(piece) {}

  void more() {
    const std::span<char> into = in.space();
    if (into.empty()) std::abort();
    const std::size_t count = std::min({into.size(), piece_, left_.size()});
    std::memcpy(into.data(), left_.data(), count);
    left_.remove_prefix(count);
    in.filled(count);
  }

  read_buffer in;

private:
  std::string_view left_;
  std::size_t piece_;
};

std::string_view view(std::string_view text) { return text; }
std::string_view view(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// All units of one kind, and how they end.
template <class Make>
std::vector<std::string> units(std::string_view bytes, std::size_t piece, Make make) {
  source from(bytes, piece);
  std::vector<std::string> found;
  for (;;) {
    auto unit = make();
    while (!unit.attempt(from.in)) {
      if (from.in.ended()) std::abort();  // the end decides always
      from.more();
    }
    if (unit.failed()) {
      found.push_back("error: " + unit.error().message());
      return found;
    }
    const auto value = unit.take(from.in);
    if (!value) {
      if (from.in.size() != 0) std::abort();  // the end is orderly
      return found;
    }
    found.emplace_back(view(*value));
  }
}

template <class Make>
void compare(std::string_view bytes, std::size_t piece, Make make) {
  if (units(bytes, piece, make) != units(bytes, bytes.size() + 1, make)) std::abort();
}

}  // namespace

// The first bytes choose the kind of unit, the size of pieces and the limit.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace eddy::detail;
  if (size < 3) return 0;
  const std::size_t piece = 1 + data[1] % 64;
  const std::size_t limit = data[2];
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 3, size - 3);
  switch (data[0] % 4) {
    case 0: compare(bytes, piece, [=] { return line_unit(limit); }); break;
    case 1: {
      const std::size_t width = 1 + data[1] / 64;
      const std::string_view delimiter = std::string_view("\r\n\r\n").substr(0, width);
      compare(bytes, piece, [=] { return delimited_unit(delimiter, limit); });
      break;
    }
    case 2: compare(bytes, piece, [=] { return exact_unit(limit + 1); }); break;
    default: {
      const std::size_t length_bytes = std::size_t{1} << (data[0] / 4 % 4);
      const std::endian order = data[0] / 16 % 2 == 0 ? std::endian::big : std::endian::little;
      compare(bytes, piece, [=] { return frame_unit(length_bytes, order, limit); });
    }
  }
  return 0;
}
