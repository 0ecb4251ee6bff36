// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/version.h>.
#include <eddy/version.h>

#include <string>

#include <doctest/doctest.h>

TEST_CASE("the version numbers make the version text") {
  CHECK(std::to_string(EDDY_VERSION_MAJOR) + "." + std::to_string(EDDY_VERSION_MINOR) + "." +
            std::to_string(EDDY_VERSION_PATCH) ==
        EDDY_VERSION);
}

TEST_CASE("the library has the version of the headers that it was built with") {
  CHECK(std::string(eddy::version()) == EDDY_VERSION);
}
