// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/net/buffer.h>.
#include <eddy/net/buffer.h>

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <doctest/doctest.h>

using eddy::const_buffer;
using eddy::mutable_buffer;

static_assert(!std::is_constructible_v<mutable_buffer, const std::string&>);
static_assert(!std::is_constructible_v<mutable_buffer, std::span<const std::byte>>);
static_assert(!std::is_constructible_v<mutable_buffer, std::vector<int>&>);
static_assert(!std::is_constructible_v<const_buffer, std::vector<int>&>);

namespace {

template <class Buffer, class Bytes>
bool views(Bytes& bytes) {
  const Buffer buffer(bytes);
  return static_cast<const void*>(buffer.data()) == bytes.data() && buffer.size() == bytes.size();
}

}  // namespace

TEST_CASE("arrays and vectors of bytes or characters convert to mutable_buffer") {
  std::array<char, 8> characters{};
  std::array<std::byte, 8> bytes{};
  std::vector<char> growing(8);
  std::string text(8, ' ');
  std::span<std::byte> part = std::span(bytes).first(3);
  CHECK(views<mutable_buffer>(characters));
  CHECK(views<mutable_buffer>(bytes));
  CHECK(views<mutable_buffer>(growing));
  CHECK(views<mutable_buffer>(text));
  CHECK(views<mutable_buffer>(part));
}

TEST_CASE("arrays, vectors, spans and text convert to const_buffer") {
  const std::array<char, 8> characters{};
  std::array<std::byte, 8> bytes{};
  const std::vector<std::byte> growing(8);
  const std::string text("text");
  const std::string_view view("view");
  CHECK(views<const_buffer>(characters));
  CHECK(views<const_buffer>(bytes));
  CHECK(views<const_buffer>(growing));
  CHECK(views<const_buffer>(text));
  CHECK(views<const_buffer>(view));
}

TEST_CASE("the buffer of a string literal ends before its zero") {
  CHECK(const_buffer("four").size() == 4);
}

TEST_CASE("a default-constructed const_buffer is empty") { CHECK(const_buffer().size() == 0); }
