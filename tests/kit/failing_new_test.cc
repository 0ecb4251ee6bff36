// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/testing/failing_new.h>.
#include <eddy/testing/failing_new.h>

#if EDDY_NEW_CAN_FAIL
#include <cstdint>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include <doctest/doctest.h>

using eddy::detail::failing_allocations;

namespace {

struct alignas(64) line {
  char bytes[100];
};

// The asm keeps the compiler from leaving the allocation out.
template <class T>
bool can_make(std::size_t count = 1) {
  try {
    const std::unique_ptr<T[]> made(new T[count]);
    asm volatile("" : : "g"(made.get()) : "memory");
    return reinterpret_cast<std::uintptr_t>(made.get()) % alignof(T) == 0;
  } catch (const std::bad_alloc&) {
    return false;
  }
}

bool can_make_nothrow() {
  const std::unique_ptr<line[]> lines(new (std::nothrow) line[2]);
  const std::unique_ptr<int> number(new (std::nothrow) int);
  return lines != nullptr && number != nullptr;
}

}  // namespace

TEST_CASE("new fails exactly where failing_allocations says") {
  bool made[7];
  {
    const failing_allocations second(1, failing_allocations::times::once);
    for (int i = 0; i < 3; ++i) made[i] = can_make<int>();
  }
  {
    const failing_allocations all(0, failing_allocations::times::for_good);
    made[3] = can_make<int>();
    made[4] = can_make<line>(3);
    made[5] = can_make_nothrow();
  }
  made[6] = can_make<int>() && can_make<line>() && can_make<line>(3) && can_make_nothrow();
  CHECK(made[0]);
  CHECK(!made[1]);
  CHECK(made[2]);
  CHECK(!made[3]);
  CHECK(!made[4]);
  CHECK(!made[5]);
  CHECK(made[6]);
}

TEST_CASE("each new and each allocation of eddy counts once, except in a pardon") {
  std::size_t counts[4];
  {
    const failing_allocations none(SIZE_MAX, failing_allocations::times::once);
    const std::string text(100, 'x');
    counts[0] = none.count();
    const std::vector<line> lines(3);
    counts[1] = none.count();
    eddy::detail::deallocate(eddy::detail::allocate(100), 100);
    counts[2] = none.count();
    const failing_allocations::pardon own;
    const std::string another(100, 'x');
    counts[3] = none.count();
  }
  CHECK(counts[0] == 1);
  CHECK(counts[1] == 2);
  CHECK(counts[2] == 3);
  CHECK(counts[3] == 3);
}
#endif
