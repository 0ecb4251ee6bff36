// SPDX-License-Identifier: BSD-2-Clause
#pragma once

// The units that `buffered` reads: lines, frames and so on. Each finds its unit in a read_buffer.

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

#include <eddy/net/buffer.h>
#include <eddy/net/byte_stream.h>
#include <eddy/net/detail/read_buffer.h>

namespace eddy::detail {

/// Looks for one unit. `attempt` takes no bytes; `take` does, once `attempt` has returned true.
///
/// `take` makes its value in place, with no `result` around it: g++ copies a `result` through
/// memory in pieces of another size than those it was written in, which takes longer than the rest.
class read_unit {
public:
  /// Returns whether the bytes that are there decide: a whole unit, the end, or an error.
  virtual bool attempt(const read_buffer& in) noexcept = 0;

  /// Whether an error was found; then there is nothing to take.
  [[nodiscard]] bool failed() const noexcept {
    return found_ == found::cut_off || found_ == found::too_long;
  }
  [[nodiscard]] std::error_code error() const noexcept {
    return found_ == found::cut_off ? stream_error::cut_off : stream_error::too_long;
  }

protected:
  enum class found : std::uint8_t { nothing, unit, end, cut_off, too_long };

  read_unit() noexcept = default;
  read_unit(const read_unit&) = default;
  read_unit& operator=(const read_unit&) = default;
  ~read_unit() = default;

  bool is(found what) noexcept {
    found_ = what;
    return what != found::nothing;
  }
  /// The stream has ended, and there is no whole unit.
  bool ends(const read_buffer& in) noexcept {
    return is(in.size() == 0 ? found::end : found::cut_off);
  }
  /// Takes `total` bytes and returns a view of `length` of them, which begin after `skipped` bytes.
  /// Returns nothing at the end.
  template <class View>
  [[nodiscard]] std::optional<View> taken(read_buffer& in, std::size_t skipped, std::size_t length,
                                          std::size_t total) noexcept {
    if (found_ != found::unit) return std::nullopt;
    const char* const first = in.data() + skipped;
    in.consume(total);
    if constexpr (std::same_as<View, std::string_view>) {
      return std::string_view(first, length);
    } else {
      return std::as_bytes(std::span(first, length));
    }
  }

  found found_ = found::nothing;
};

/// A line: bytes up to a line feed. A carriage return before it does not belong to the line.
class line_unit final : public read_unit {
public:
  using value = std::optional<std::string_view>;

  explicit line_unit(std::size_t limit) noexcept : limit_(limit) {}

  bool attempt(const read_buffer& in) noexcept override {
    // The longest line that is allowed ends with a carriage return and a line feed.
    const std::size_t most = limit_ < SIZE_MAX - 2 ? limit_ + 2 : SIZE_MAX;
    const std::size_t size = std::min(in.size(), most);
    if (scanned_ < size) {
      const char* const first = in.data();
      const void* const feed = std::memchr(first + scanned_, '\n', size - scanned_);
      if (feed != nullptr) {
        length_ = static_cast<std::size_t>(static_cast<const char*>(feed) - first);
        total_ = length_ + 1;
        if (length_ != 0 && first[length_ - 1] == '\r') --length_;
        return is(length_ <= limit_ ? found::unit : found::too_long);
      }
      scanned_ = size;
    }
    if (size == most) return is(found::too_long);
    return in.ended() && ends(in);
  }

  value take(read_buffer& in) noexcept { return taken<std::string_view>(in, 0, length_, total_); }
  [[nodiscard]] std::string words() const;

private:
  std::size_t limit_;
  std::size_t scanned_ = 0;  // bytes without a line feed
  std::size_t length_ = 0;
  std::size_t total_ = 0;
};

/// Bytes up to a delimiter.
class delimited_unit final : public read_unit {
public:
  using value = std::optional<std::string_view>;

  delimited_unit(std::string_view delimiter, std::size_t limit) noexcept;
  bool attempt(const read_buffer& in) noexcept override;
  value take(read_buffer& in) noexcept {
    return taken<std::string_view>(in, 0, length_, length_ + delimiter_.size());
  }
  [[nodiscard]] std::string words() const;

private:
  std::string_view delimiter_;
  std::size_t limit_;
  std::size_t scanned_ = 0;  // where no delimiter begins
  std::size_t length_ = 0;
};

/// A number of bytes.
class exact_unit final : public read_unit {
public:
  using value = std::optional<std::span<const std::byte>>;

  explicit exact_unit(std::size_t count) noexcept : count_(count) {}
  bool attempt(const read_buffer& in) noexcept override {
    if (in.size() >= count_) return is(found::unit);
    return in.ended() && ends(in);
  }
  value take(read_buffer& in) noexcept {
    return taken<std::span<const std::byte>>(in, 0, count_, count_);
  }
  [[nodiscard]] std::string words() const;

private:
  std::size_t count_;
};

/// A length and so many bytes.
class frame_unit final : public read_unit {
public:
  using value = std::optional<std::span<const std::byte>>;

  frame_unit(std::size_t length_bytes, std::endian order, std::size_t limit) noexcept;
  bool attempt(const read_buffer& in) noexcept override;
  value take(read_buffer& in) noexcept {
    return taken<std::span<const std::byte>>(in, length_bytes_, length_, length_bytes_ + length_);
  }
  [[nodiscard]] std::string words() const;

private:
  std::size_t length_bytes_;
  std::endian order_;
  std::size_t limit_;
  std::size_t length_ = 0;
};

/// A view of the next bytes, which stay where they are.
class peek_unit final : public read_unit {
public:
  using value = std::span<const std::byte>;

  explicit peek_unit(std::size_t count) noexcept : count_(count) {}
  bool attempt(const read_buffer& in) noexcept override {
    return is(in.size() >= count_ || in.ended() ? found::unit : found::nothing);
  }
  value take(read_buffer& in) noexcept {
    return std::as_bytes(std::span(in.data(), std::min(count_, in.size())));
  }
  [[nodiscard]] std::string words() const;

private:
  std::size_t count_;
};

/// The bytes that are there, in the memory of the caller.
class some_unit final : public read_unit {
public:
  using value = std::size_t;

  explicit some_unit(mutable_buffer into) noexcept;
  bool attempt(const read_buffer& in) noexcept override {
    return is(in.size() != 0 || in.ended() ? found::unit : found::nothing);
  }
  value take(read_buffer& in) noexcept {
    const std::size_t count = std::min(into_.size(), in.size());
    if (count != 0) std::memcpy(into_.data(), in.data(), count);
    in.consume(count);
    return count;
  }
  [[nodiscard]] std::string words() const;

private:
  mutable_buffer into_;
};

/// Stores `length` in the first `size` bytes of `into`.
void store_length(std::byte* into, std::size_t size, std::endian order,
                  std::uint64_t length) noexcept;
/// Aborts the program unless a length can have `size` bytes.
void expect_length_size(std::size_t size) noexcept;

}  // namespace eddy::detail
