// SPDX-License-Identifier: BSD-2-Clause
#pragma once

// The bodies of <eddy/future/future.h>, which includes this.

#include <type_traits>
#include <utility>

#include <eddy/future/awaitable.h>
#include <eddy/future/future.h>
#include <eddy/loop/detail/misuse.h>

namespace eddy {

namespace detail {

struct future_access {
  template <class T>
  static future<T> make(future_state<T>* state) noexcept {
    return future<T>(state);
  }
  template <class T>
  static future_state<T>* release(future<T>& f) noexcept {
    if (f.state_ == nullptr) misuse("a future was awaited twice, or after it was moved from");
    return std::exchange(f.state_, nullptr);
  }
  template <class T>
  static future_state<T>& state(const future<T>& f) noexcept {
    return *f.state_;
  }
};

template <class T>
class [[nodiscard]] future_wait final : public wait {
public:
  explicit future_wait(future_state<T>* state) noexcept : state_(state) {}
  ~future_wait() { std::exchange(state_, nullptr)->drop_future(); }

  [[nodiscard]] bool await_ready() const noexcept {
    if (event_loop::current() != &state_->loop()) {
      misuse("a future was awaited on another loop than its own");
    }
    if (!state_->ready() || !frame::may_go_on()) return false;
    if (state_->failed()) state_->error_comes_now();
    return true;
  }

  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> by) noexcept {
    frame& waiter = by.promise();
    waiter.waits_for(*this);
    state_->await(waiter);
  }

  T await_resume() { return get<T>(state_->take()); }

  void describe(std::string& out, int depth) const override {
    if (state_ != nullptr) {
      state_->describe(out, depth);
    } else {
      out += "nothing any more\n";
    }
  }
  [[nodiscard]] frame* child() const noexcept override {
    return state_ == nullptr ? nullptr : state_->body();
  }

private:
  future_state<T>* state_;  // null while it is being dropped
};

/// The one parameter that a function declares; not there for a template, for overloads, and for
/// other numbers of parameters.
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

/// What `Function` gives when it is called with what a future<T> gives.
template <class T, class Function>
struct call_result {
  // A function that takes anything, such as a std::any, would take an error for a value.
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

/// Waits for a future of its own type, which it then ends as.
template <class T>
class then_base : public future_state<T>, protected ready_node {
public:
  /// From now on waits for `inner`, instead of what it waited for.
  void follow(future<T>&& inner) noexcept {
    withdraw();
    future<T> before = std::exchange(inner_, std::move(inner));
    future_access::state(inner_).await_as_then(*this);
  }

protected:
  then_base(event_loop& loop, function run) : future_state<T>(loop), ready_node(run) {}

  /// What the function has returned. In a chain in which each future is the value
  /// of the one before, those in between go: a loop that is written so takes no
  /// memory.
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

  void describe(std::string& out, int depth) const override {
    out += "then\n";
    if (inner_) {
      describe_below(out, depth, future_access::state(inner_));
    } else if (source_) {
      describe_below(out, depth, future_access::state(source_));
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
    // A move, of the function or of the value, may drop the future that stands for the result.
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
          return spawn(this->loop(), call_and_await(std::move(callee), std::move(before)));
        }
      }();
      if (!this->wanted()) return;
      if (!inner) misuse("a function given to then returned a future that is taken");
      this->give_way_to(std::move(inner));
    } else {
      finish(outcome_of<value>(invoke));
    }
  }

  /// Keeps the function, because the task that it returns may use what it captured.
  static task<value> call_and_await(Function callee, outcome<T> before) {
    auto work = invoke_with(callee, before);
    co_return co_await std::move(work);
  }

  void finish(outcome<value>&& o) {
    if (!this->wanted()) {  // the function has dropped its own future
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

}  // namespace detail

template <class T>
outcome<T> future<T>::take() && {
  if (!ready()) detail::misuse("future::take was called before the value was there");
  const future<T> taken = std::move(*this);  // which the value's move may drop
  return taken.state_->take();
}

template <class T>
void future<T>::detach() && {
  detail::future_access::release(*this)->detach();
}

template <class T>
detail::future_wait<T> future<T>::operator co_await() && noexcept {
  return detail::future_wait<T>(detail::future_access::release(*this));
}

template <class T>
template <class Function>
auto future<T>::then(
    Function function) && -> future<typename detail::then_result<T, Function>::type> {
  if (state_ == nullptr) detail::misuse("future::then was called on a future that is taken");
  state_->loop().check_thread();
  return detail::future_access::make<typename detail::then_result<T, Function>::type>(
      new detail::then_state<T, Function>(std::move(*this), std::move(function)));
}

}  // namespace eddy

// After the above, which it needs; `then` finds `spawn` when it is used.
#include <eddy/future/spawn.h>
