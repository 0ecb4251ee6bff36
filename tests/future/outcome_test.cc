// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/future/outcome.h>.
#include <eddy/future/outcome.h>

#include <exception>
#include <memory>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include <doctest/doctest.h>

static_assert(std::is_same_v<eddy::outcome<int>::value_type, int>);
static_assert(std::is_same_v<eddy::outcome<int&>::value_type, std::reference_wrapper<int>>);
static_assert(std::is_same_v<eddy::outcome<void>::error_type, std::exception_ptr>);
static_assert(std::is_move_constructible_v<eddy::outcome<std::unique_ptr<int>>>);

TEST_CASE("an outcome holds a value, a reference, or success without a value") {
  int n = 3;
  eddy::outcome<int&> reference(std::in_place, n);
  CHECK(&reference->get() == &n);

  eddy::outcome<std::unique_ptr<int>> moved(std::in_place, std::make_unique<int>(4));
  CHECK(**moved == 4);

  CHECK(eddy::outcome<void>().has_value());
}

TEST_CASE("an outcome holds an exception") {
  const eddy::outcome<int> o(std::unexpect, std::make_exception_ptr(std::logic_error("x")));
  REQUIRE_FALSE(o.has_value());
  CHECK_THROWS_AS(std::rethrow_exception(o.error()), std::logic_error);
}
