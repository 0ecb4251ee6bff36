// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/net/shared_bytes.h>.
#include <eddy/net/shared_bytes.h>

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

using eddy::shared_bytes;

static_assert(std::is_nothrow_copy_constructible_v<shared_bytes>);
static_assert(std::is_nothrow_move_constructible_v<shared_bytes>);
static_assert(!std::is_convertible_v<std::string, shared_bytes>);
static_assert(std::is_convertible_v<shared_bytes, eddy::const_buffer>);

namespace {

std::string_view text(const shared_bytes& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

TEST_CASE("shared_bytes copy their bytes once, and copies share them") {
  std::string source = "a message";
  const shared_bytes first(source);
  source = "another";
  const shared_bytes second = first;
  CHECK(text(first) == "a message");
  CHECK(second.data() == first.data());
  CHECK(second.size() == 9);
}

TEST_CASE("shared_bytes take over a string that is moved, without a copy") {
  std::string large(100'000, 'x');
  const void* const at = large.data();
  const shared_bytes bytes(std::move(large));
  CHECK(static_cast<const void*>(bytes.data()) == at);
  CHECK(bytes.size() == 100'000);
  std::string small = "short";
  const shared_bytes inside(std::move(small));
  const shared_bytes copy = inside;
  CHECK(text(copy) == "short");
}

TEST_CASE("shared_bytes live until their last owner is gone") {
  shared_bytes last;
  {
    const shared_bytes first("kept");
    last = first;
  }
  CHECK(text(last) == "kept");
  shared_bytes moved = std::move(last);
  CHECK(last.empty());  // NOLINT(bugprone-use-after-move): it is documented
  moved = shared_bytes(std::string("other"));
  CHECK(text(moved) == "other");
  shared_bytes& same = moved;
  moved = same;
  CHECK(text(moved) == "other");
}

TEST_CASE("empty shared_bytes hold nothing") {
  for (const shared_bytes& none : {shared_bytes(), shared_bytes(""), shared_bytes(std::string()),
                                   shared_bytes(shared_bytes())}) {
    CHECK(none.empty());
    CHECK(none.size() == 0);
    CHECK(std::span<const std::byte>(none).empty());
  }
}

TEST_SUITE("threads") {
  TEST_CASE("owners on several threads share the same bytes") {
    const shared_bytes bytes(std::string(1000, 's'));
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([mine = bytes] {
        for (int k = 0; k < 1000; ++k) {
          const shared_bytes other = mine;
          CHECK(other.size() == 1000);
        }
      });
    }
    for (std::thread& t : threads) t.join();
    CHECK(bytes.size() == 1000);
  }
}
