// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <concepts>
#include <coroutine>
#include <cstddef>
#include <exception>
#include <string>
#include <type_traits>
#include <utility>

#include <eddy/future/detail/frame.h>
#include <eddy/loop/description.h>
#include <eddy/loop/event_loop.h>

namespace eddy::detail {

template <class A>
concept awaiter = requires(A& a) {
  { a.await_ready() } -> std::convertible_to<bool>;
  a.await_resume();
};

template <class A>
decltype(auto) get_awaiter(A&& a) {
  if constexpr (requires { std::forward<A>(a).operator co_await(); }) {
    return std::forward<A>(a).operator co_await();
  } else if constexpr (requires { operator co_await(std::forward<A>(a)); }) {
    return operator co_await(std::forward<A>(a));
  } else {
    return std::forward<A>(a);
  }
}

/// Whether an awaiter is eddy's: it works with frames, and only the loop resumes the coroutine.
template <class Awaiter>
inline constexpr bool is_own_awaiter = std::derived_from<Awaiter, suspension>;

template <class A>
inline constexpr bool is_own =
    is_own_awaiter<std::remove_cvref_t<decltype(get_awaiter(std::declval<A>()))>>;

template <class A>
concept has_awaiter = awaiter<decltype(get_awaiter(std::declval<A>()))>;

/// The compiler's first error says by this class why an argument of type `A` is not accepted.
template <class A, bool Accepted>
struct accepted_awaitable {
  static constexpr bool if_moved = has_awaiter<std::remove_cvref_t<A>>;
  static_assert(Accepted || !if_moved,
                "an awaitable that has a name must be moved: std::move(x), or copied: auto(x)");
  static_assert(Accepted || if_moved, "a value of this type can't be awaited");
  static constexpr bool value = Accepted;
};

template <class Awaitable>
class external_awaiter;

/// The awaiter of `a` if that is eddy's, else an `external_awaiter` around it.
template <class A>
decltype(auto) own_awaiter(A&& a) {
  if constexpr (!accepted_awaitable<A, has_awaiter<A>>::value) {
    return std::suspend_never();  // so that no other error follows
  } else if constexpr (is_own<A>) {
    return get_awaiter(std::forward<A>(a));
  } else {
    return external_awaiter<A>(std::forward<A>(a));
  }
}

/// The coroutine that an awaiter of another library gets in place of the real one. Its resumption
/// puts the real coroutine into the ready queue. So only the loop resumes that one, it may be
/// destroyed at any time, and the stack does not grow.
class waker {
public:
  struct promise_type {
    waker get_return_object() noexcept { return waker(handle::from_promise(*this)); }
    std::suspend_always initial_suspend() const noexcept { return {}; }
    std::suspend_always final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    [[noreturn]] void unhandled_exception() const noexcept { std::terminate(); }

    static void* operator new(std::size_t size);
    static void operator delete(void* memory, std::size_t size) noexcept;
  };
  using handle = std::coroutine_handle<promise_type>;

  waker() noexcept = default;
  waker(waker&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  waker& operator=(waker&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~waker() {
    if (handle_) handle_.destroy();
  }

  [[nodiscard]] std::coroutine_handle<> get() const noexcept { return handle_; }

private:
  explicit waker(handle h) noexcept : handle_(h) {}

  handle handle_;
};

/// Makes a waker that wakes `sleeper` once, on the running loop.
waker make_waker(frame* sleeper);

/// Awaits an awaitable of another library.
template <class Awaitable>
class external_awaiter final : public suspension {
public:
  explicit external_awaiter(Awaitable&& a) : inner_(get_awaiter(std::forward<Awaitable>(a))) {}

  [[nodiscard]] bool await_ready() {
    if (frame::dropped()) return false;
    ready_ = static_cast<bool>(inner_.await_ready());
    return ready_ && frame::may_go_on();
  }

  template <class Promise>
  auto await_suspend(std::coroutine_handle<Promise> by) {
    using answer = decltype(inner_.await_suspend(std::coroutine_handle<>()));
    frame& sleeper = by.promise();
    if constexpr (std::is_convertible_v<answer, std::coroutine_handle<>>) {
      std::coroutine_handle<> next = std::noop_coroutine();
      if (frame::dropped()) {
        // The suspension destroys it.
      } else if (ready_) {
        event_loop::current()->ready(sleeper);
      } else {
        waker_ = make_waker(&sleeper);
        next = inner_.await_suspend(waker_.get());
      }
      sleeper.waits_for(*this);
      return next;
    } else {
      if (!ready_ && !frame::dropped()) {
        waker_ = make_waker(&sleeper);
        if constexpr (std::is_void_v<answer>) {
          inner_.await_suspend(waker_.get());
        } else {
          ready_ = !inner_.await_suspend(waker_.get());
          if (ready_ && frame::may_go_on()) return false;
        }
      }
      if (ready_) event_loop::current()->ready(sleeper);
      sleeper.waits_for(*this);
      return true;
    }
  }

  decltype(auto) await_resume() { return inner_.await_resume(); }

  void describe(description& to) const override { to.add("an awaiter that is not eddy's"); }

private:
  decltype(get_awaiter(std::declval<Awaitable>())) inner_;
  waker waker_;
  bool ready_ = false;
};

}  // namespace eddy::detail
