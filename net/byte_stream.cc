// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/byte_stream.h>

#include <string>

namespace eddy {

namespace {

class category final : public std::error_category {
public:
  [[nodiscard]] const char* name() const noexcept override { return "stream"; }

  [[nodiscard]] std::string message(int value) const override {
    if (static_cast<stream_error>(value) == stream_error::too_long) return "longer than the limit";
    return "the stream ended in the middle";
  }

  [[nodiscard]] std::error_condition default_error_condition(int value) const noexcept override {
    if (static_cast<stream_error>(value) == stream_error::too_long) return std::errc::message_size;
    return {value, *this};
  }
};

}  // namespace

const std::error_category& stream_category() noexcept {
  static const category the_one;
  return the_one;
}

}  // namespace eddy
