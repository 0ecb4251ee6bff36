// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <coroutine>
#include <cstddef>

#include <eddy/future/detail/frame.h>
#include <eddy/future/detail/suspension.h>
#include <eddy/future/sync/detail/permit_pool.h>
#include <eddy/loop/description.h>
#include <eddy/loop/detail/misuse.h>

namespace eddy::detail {

/// The awaiter of a claim. `Kind` names the object and makes the result:
/// `static constexpr const char* waits_for`, `other_loop` and `static auto make(permit_pool&,
/// std::size_t)`.
template <class Kind>
class permit_wait final : public suspension {
public:
  permit_wait(permit_pool& from, std::size_t count) noexcept : claim_(from, count) {}

  [[nodiscard]] bool await_ready() noexcept {
    if (event_loop::current() != &claim_.pool().loop()) misuse(Kind::other_loop);
    return claim_.pool().has(claim_.count()) && frame::may_go_on() && claim_.take_now();
  }

  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> by) noexcept {
    frame& waiter = by.promise();
    waiter.waits_for(*this);
    claim_.wait(waiter);
  }

  auto await_resume() noexcept {
    claim_.deliver();
    return Kind::make(claim_.pool(), claim_.count());
  }

  void describe(description& to) const override { to.add(Kind::waits_for); }

private:
  permit_claim claim_;
};

/// A claim that is not made yet: what `acquire` and the like return.
template <class Kind>
class [[nodiscard("this does nothing without co_await")]] permit_operation {
public:
  permit_operation(permit_pool& from, std::size_t count) noexcept : from_(&from), count_(count) {}
  permit_wait<Kind> operator co_await() const noexcept { return {*from_, count_}; }

private:
  permit_pool* from_;
  std::size_t count_;
};

}  // namespace eddy::detail
