// SPDX-License-Identifier: BSD-2-Clause
// eddy/net/tls/tls_error.h
#include <eddy/net/tls/tls_error.h>

#include <ostream>
#include <string>
#include <system_error>

#include <doctest/doctest.h>

using eddy::tls_error;

TEST_CASE("a tls_error becomes an error code of the category tls") {
  const std::error_code code = tls_error::truncated;
  CHECK(code.category() == eddy::tls_category());
  CHECK(std::string(code.category().name()) == "tls");
  CHECK(code == tls_error::truncated);
  CHECK(code != tls_error::not_tls);
  CHECK(code.message() == "the connection was cut off without a close_notify");
}

TEST_CASE("each tls_error has words of its own") {
  constexpr int first = static_cast<int>(tls_error::truncated);
  constexpr int last = static_cast<int>(tls_error::key_mismatch);
  for (int a = first; a <= last; ++a) {
    const std::string words = eddy::tls_category().message(a);
    CHECK(words != eddy::tls_category().message(last + 1));
    for (int b = first; b < a; ++b) CHECK(words != eddy::tls_category().message(b));
  }
}
