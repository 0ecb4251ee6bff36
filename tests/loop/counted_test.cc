// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/loop/detail/counted.h>.
#include <eddy/loop/detail/counted.h>

#include <type_traits>
#include <utility>

#include <doctest/doctest.h>

#include "support/counted.h"

namespace {

using eddy::detail::counted_ptr;

class object : public eddy::detail::counted<object> {
public:
  explicit object(int& alive) noexcept : alive_(alive) {}

private:
  ::counted alive_;
};

static_assert(!std::is_copy_constructible_v<object>);

/// Counts the calls that say which thread changes the count.
class checked : public eddy::detail::counted<checked> {
public:
  explicit checked(int& checks) noexcept : checks_(checks) {}
  void check_thread() const noexcept { ++checks_; }

private:
  int& checks_;
};

/// Notes whether the pointer that owned this already owns the next object.
class link : public eddy::detail::counted<link> {
public:
  link(counted_ptr<link>& owner, bool& replaced) noexcept : owner_(owner), replaced_(replaced) {}
  ~link() { replaced_ = owner_ && owner_.get() != this; }

private:
  counted_ptr<link>& owner_;
  bool& replaced_;
};

}  // namespace

TEST_CASE("the last counted_ptr deletes the object") {
  int alive = 0;
  counted_ptr<object> first(new object(alive));
  CHECK(first.sole());
  {
    const counted_ptr<object> copy = first;
    CHECK(copy.get() == first.get());
    CHECK_FALSE(first.sole());
    first = {};
    CHECK_FALSE(first);
    CHECK(copy.sole());
    CHECK(alive == 1);
  }
  CHECK(alive == 0);
}

TEST_CASE("a moved counted_ptr is null and keeps no share") {
  int alive = 0;
  counted_ptr<object> first(new object(alive));
  counted_ptr<object> second(std::move(first));
  CHECK_FALSE(first);  // NOLINT(bugprone-use-after-move)
  CHECK(second.sole());
  first = std::move(second);
  CHECK_FALSE(second);  // NOLINT(bugprone-use-after-move)
  CHECK(first.sole());
}

TEST_CASE("an assignment of a counted_ptr to itself keeps the object") {
  int alive = 0;
  counted_ptr<object> first(new object(alive));
  const counted_ptr<object>& same = first;
  first = same;
  CHECK(first.sole());
  CHECK(alive == 1);
}

TEST_CASE("share keeps an object whose other owners are released") {
  int alive = 0;
  counted_ptr<object> first(new object(alive));
  const counted_ptr<object> kept = first->share();
  first = {};
  CHECK(alive == 1);
  CHECK(kept.sole());
}

TEST_CASE("an assigned counted_ptr owns the new object before the old one is deleted") {
  bool replaced = false;
  bool ignored = false;
  counted_ptr<link> owner;
  owner = counted_ptr<link>(new link(owner, replaced));
  owner = counted_ptr<link>(new link(owner, ignored));
  CHECK(replaced);
}

TEST_CASE("each change of the count calls check_thread") {
  int checks = 0;
  {
    const counted_ptr<checked> first(new checked(checks));
    CHECK(checks == 0);
    counted_ptr<checked> copy = first;
    CHECK(checks == 1);
    const counted_ptr<checked> moved = std::move(copy);
    CHECK(checks == 1);
  }
  CHECK(checks == 3);
}
