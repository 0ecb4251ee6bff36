// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/loop/result.h>.
#include <eddy/loop/result.h>

#include <memory>
#include <system_error>

#include <doctest/doctest.h>

TEST_CASE("a result is a value or an error") {
  const eddy::result<int> value = 7;
  REQUIRE(value);
  CHECK(*value == 7);

  const eddy::result<int> error =
      std::unexpected(std::make_error_code(std::errc::connection_reset));
  REQUIRE_FALSE(error);
  CHECK(error.error() == std::errc::connection_reset);
}

TEST_CASE("a result may have a void or move-only value") {
  const eddy::result<void> nothing;
  CHECK(nothing);
  eddy::result<std::unique_ptr<int>> moved = std::make_unique<int>(3);
  CHECK(**std::move(moved) == 3);
}
