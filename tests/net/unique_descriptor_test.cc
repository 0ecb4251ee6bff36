// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/net/unique_descriptor.h>.
#include <eddy/net/unique_descriptor.h>

#include <type_traits>
#include <utility>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include "support/failing_system.h"
#include "support/tidy.h"

using eddy::unique_descriptor;

static_assert(!std::is_copy_constructible_v<unique_descriptor>);
static_assert(!std::is_convertible_v<int, unique_descriptor>);

namespace {

int a_file() { return ::open("/dev/null", O_RDONLY | O_CLOEXEC); }
bool is_open(int number) { return ::fcntl(number, F_GETFD) >= 0; }

}  // namespace

TEST_CASE_FIXTURE(tidy, "a unique_descriptor closes its descriptor at its end") {
  int number = -1;
  {
    const unique_descriptor one(a_file());
    number = one.number();
    CHECK(one);
    CHECK(is_open(number));
  }
  CHECK(!is_open(number));
  CHECK(!unique_descriptor());
  CHECK(unique_descriptor(-5).number() < 0);
}

TEST_CASE_FIXTURE(tidy, "a unique_descriptor that is moved or released owns nothing") {
  unique_descriptor one(a_file());
  const int number = one.number();
  unique_descriptor other = std::move(one);
  CHECK(!one);
  CHECK(other.number() == number);
  one = unique_descriptor(a_file());
  const int second = one.number();
  other = std::move(one);
  CHECK(!is_open(number));
  CHECK(other.number() == second);
  const int released = other.release();
  CHECK(!other);
  CHECK(is_open(released));
  ::close(released);
}

TEST_CASE_FIXTURE(tidy, "close closes once, through the seam") {
  failing_system system;
  unique_descriptor one(a_file());
  one.close();
  one.close();
  CHECK(!one);
  CHECK(system.count(call::close) == 1);
}
