// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <concepts>
#include <exception>
#include <functional>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include <eddy/future/awaitable.h>
#include <eddy/future/detail/future_access.h>
#include <eddy/future/detail/spawned.h>
#include <eddy/future/outcome.h>
#include <eddy/future/task.h>
#include <eddy/loop/description.h>
#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/ready_node.h>

namespace eddy::detail {

/// The type of the one parameter that a function declares. There is none for a template, for
/// overloads, and for other numbers of parameters.
template <class Signature>
struct parameter_of {};
template <class R, class P, bool Quiet>
struct parameter_of<R (*)(P) noexcept(Quiet)> : std::type_identity<P> {};
template <class R, class C, class P, bool Quiet>
struct parameter_of<R (C::*)(P) noexcept(Quiet)> : std::type_identity<P> {};
template <class R, class C, class P, bool Quiet>
struct parameter_of<R (C::*)(P) & noexcept(Quiet)> : std::type_identity<P> {};
template <class R, class C, class P, bool Quiet>
struct parameter_of<R (C::*)(P) && noexcept(Quiet)> : std::type_identity<P> {};
template <class R, class C, class P, bool Quiet>
struct parameter_of<R (C::*)(P) const noexcept(Quiet)> : std::type_identity<P> {};
template <class R, class C, class P, bool Quiet>
struct parameter_of<R (C::*)(P) const & noexcept(Quiet)> : std::type_identity<P> {};
template <class R, class C, class P, bool Quiet>
struct parameter_of<R (C::*)(P) const && noexcept(Quiet)> : std::type_identity<P> {};

template <class Function>
struct declared_parameter : parameter_of<Function> {};
template <class Function>
  requires requires { &Function::operator(); }
struct declared_parameter<Function> : parameter_of<decltype(&Function::operator())> {};

template <class Function, class Parameter>
concept declares = requires {
  typename declared_parameter<Function>::type;
} && std::same_as<std::remove_cvref_t<typename declared_parameter<Function>::type>, Parameter>;

template <class T, class Function>
struct takes_value : std::is_invocable<Function, T> {};
template <class Function>
struct takes_value<void, Function> : std::is_invocable<Function> {};

/// The type that `Function` returns when it is called with the result of a `future<T>`.
template <class T, class Function>
struct call_result {
  // A function whose parameter takes anything, such as a std::any, must not get an error as a
  // value.
  static constexpr bool takes_outcome =
      std::disjunction_v<std::bool_constant<declares<Function, outcome<T>>>,
                         std::negation<takes_value<T, Function>>>;
  static auto probe() {
    if constexpr (takes_outcome) {
      return std::type_identity<std::invoke_result_t<Function, outcome<T>>>();
    } else if constexpr (std::is_void_v<T>) {
      return std::type_identity<std::invoke_result_t<Function>>();
    } else {
      return std::type_identity<std::invoke_result_t<Function, T>>();
    }
  }
  using type = typename decltype(probe())::type;
};

template <class R>
struct flat {
  using type = R;
};
template <class R>
  requires awaitable<R>
struct flat<R> {
  using type = await_result_t<R>;
};

template <class T, class Function>
struct then_result : flat<typename call_result<T, Function>::type> {};

/// The state of a future that takes its result from another future of the same type.
template <class T>
class then_base : public future_state<T>, protected ready_node {
public:
  /// Waits for `inner` instead of the future before.
  void follow(future<T>&& inner) noexcept {
    withdraw();
    future<T> before = std::exchange(inner_, std::move(inner));
    future_access::state(inner_).await_as_then(*this);
  }

protected:
  then_base(event_loop& loop, function run) : future_state<T>(loop), ready_node(run) {}

  /// Takes the result from `inner`, which the function has returned. If another `then` takes its
  /// result from this one, it follows `inner` directly and this one goes: a loop of `then`s that
  /// is written recursively takes no memory.
  void give_way_to(future<T>&& inner) noexcept {
    if (then_base* const first = static_cast<then_base*>(this->then_waiter())) {
      first->follow(std::move(inner));
    } else {
      follow(std::move(inner));
    }
  }

  future<T> inner_;
};

template <class T, class Function>
class then_state final : public then_base<typename then_result<T, Function>::type> {
  using called = call_result<T, Function>;
  using value = typename then_result<T, Function>::type;
  static constexpr bool nested = awaitable<typename called::type>;
  using base = then_base<value>;
  using base::inner_;

public:
  then_state(future<T> source, Function&& callee)
      : base(future_access::state(source).loop(), &run),
        source_(std::move(source)),
        function_(std::move(callee)) {
    future_access::state(source_).await(*this);
  }

  void describe_awaited(description& to) const override {
    to.add("then");
    if (inner_) {
      describe_below(to, future_access::state(inner_));
    } else if (source_) {
      describe_below(to, future_access::state(source_));
    }
  }

private:
  static void run(ready_node& node) {
    auto& self = static_cast<then_state&>(static_cast<base&>(node));
    self.retain();  // the function may drop the future that stands for its result
    try {
      self.inner_ ? self.finish(std::move(self.inner_).take()) : self.call();
    } catch (...) {
      self.finish(outcome<value>(std::unexpect, std::current_exception()));
    }
    self.release();
  }

  static typename called::type invoke_with(Function& callee, outcome<T>& before) {
    if constexpr (called::takes_outcome) {
      return std::move(callee)(std::move(before));
    } else if constexpr (std::is_void_v<T>) {
      return std::move(callee)();
    } else {
      return std::move(callee)(get<T>(std::move(before)));
    }
  }

  void call() {
    // The move of the function or of the value may drop the future of the result.
    future<T> source = std::move(source_);
    Function callee = std::move(*function_);
    function_.reset();
    if (!this->wanted()) return;
    outcome<T> before = std::move(source).take();
    if (!this->wanted()) return;
    if constexpr (!called::takes_outcome) {
      if (!before) return finish(std::unexpected(std::move(before.error())));
    }
    const auto invoke = [&]() -> typename called::type { return invoke_with(callee, before); };
    if constexpr (nested) {
      future<value> inner = [&] {
        if constexpr (std::is_same_v<std::remove_cvref_t<typename called::type>, future<value>>) {
          return invoke();
        } else {
          return spawn_task(this->loop(), call_and_await(std::move(callee), std::move(before)));
        }
      }();
      if (!this->wanted()) return;
      if (!inner)
        misuse("a function given to future::then returned a future that was moved from or awaited");
      this->give_way_to(std::move(inner));
    } else {
      finish(outcome_of<value>(invoke));
    }
  }

  /// Keeps the function, because the task that it returns may use the captures.
  static task<value> call_and_await(Function callee, outcome<T> before) {
    auto work = invoke_with(callee, before);
    co_return co_await std::move(work);
  }

  void finish(outcome<value>&& o) {
    if (!this->wanted()) {  // the function has dropped the future
      if (!o) this->loop().raise(std::move(o.error()));
      return;
    }
    this->set(std::move(o));
    if (!this->wanted()) return;  // the value's move has dropped the future
    this->complete();
    this->release();
  }

  void cancel() noexcept override {
    this->withdraw();
    inner_ = {};
    if (std::exchange(source_, {})) function_.reset();  // else `call` has taken it
    this->release();
  }

  future<T> source_;
  std::optional<Function> function_;
};

}  // namespace eddy::detail
