// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <coroutine>
#include <cstddef>
#include <exception>
#include <functional>
#include <iterator>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include <eddy/future/awaitable.h>
#include <eddy/future/detail/branches.h>
#include <eddy/future/detail/frame.h>
#include <eddy/future/outcome.h>
#include <eddy/future/task.h>
#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/recycler.h>

namespace eddy {

namespace detail {

/// What a function is called with: the element itself where that stays in its
/// place while others are looked at; otherwise one that is kept for it.
template <class Range>
using element_for_call =
    std::conditional_t<std::is_lvalue_reference_v<decltype(*std::begin(std::declval<Range&>()))> &&
                           std::forward_iterator<decltype(std::begin(std::declval<Range&>()))>,
                       decltype(*std::begin(std::declval<Range&>())), element_of<Range>>;

template <class Range, class Function>
using result_for_each = await_result_t<std::invoke_result_t<Function&, element_for_call<Range>>>;

class discarded;
template <class T>
class in_order;
template <class T>
class as_they_come;

template <class Results, class Range, class Function>
task<typename Results::type> run_concurrently(Range range, std::size_t limit, Function function);

void check_limit(std::size_t limit);

}  // namespace detail

/// `co_await for_each_concurrent(hosts, 8, ping)` calls `function` with each
/// element of a range, and runs what it returns, an awaitable, side by side: no
/// more than `limit` at once. The next begins when one has ended, in the range's
/// order.
///
/// The range is not looked at further than that, so it may be long, or made
/// while one goes through it. One that is given as an lvalue is referred to and
/// must live until the end; any other one is kept, as is the function: a lambda
/// that captures is safe here. The function is called with the element, or,
/// where the range makes elements as one looks at them, with one that is kept
/// until what it returned has ended; so it may take it as `const T&` or `T&&`.
///
/// Errors: the first error, also the function's own or the range's, comes out as
/// soon as it occurs; the rest is cancelled by then and no more begins.
/// Cancelling: cancels all that runs, the latest to begin first.
template <class Range, class Function>
  requires std::is_void_v<detail::result_for_each<Range, Function>>
task<> for_each_concurrent(Range&& range, std::size_t limit, Function function) {
  detail::check_limit(limit);
  return detail::run_concurrently<detail::discarded, Range>(std::forward<Range>(range), limit,
                                                            std::move(function));
}

/// The same for a function that gives something: the values are a `std::vector`
/// in the range's order.
template <class Range, class Function>
  requires(!std::is_void_v<detail::result_for_each<Range, Function>>)
auto map_concurrent(Range&& range, std::size_t limit, Function function) {
  using results = detail::in_order<detail::result_for_each<Range, Function>>;
  detail::check_limit(limit);
  return detail::run_concurrently<results, Range>(std::forward<Range>(range), limit,
                                                  std::move(function));
}

/// The same, but the values are in the order in which they came.
template <class Range, class Function>
  requires(!std::is_void_v<detail::result_for_each<Range, Function>>)
auto map_unordered(Range&& range, std::size_t limit, Function function) {
  using results = detail::as_they_come<detail::result_for_each<Range, Function>>;
  detail::check_limit(limit);
  return detail::run_concurrently<results, Range>(std::forward<Range>(range), limit,
                                                  std::move(function));
}

// implementation

namespace detail {

class discarded {
public:
  using type = void;
  using value = void;
  void take() && noexcept {}
};

template <class T>
class in_order {
public:
  using type = std::vector<typename stored<T>::type>;
  using value = T;

  void put(std::size_t index, T&& v) {
    if (values_.size() <= index) values_.resize(index + 1);
    values_[index].emplace(std::forward<T>(v));
  }
  type take() && {
    type all;
    all.reserve(values_.size());
    for (auto& v : values_) all.push_back(*std::move(v));
    return all;
  }

private:
  std::vector<std::optional<typename stored<T>::type>> values_;
};

template <class T>
class as_they_come {
public:
  using type = std::vector<typename stored<T>::type>;
  using value = T;

  void put(std::size_t, T&& v) { values_.push_back(std::forward<T>(v)); }
  type take() && { return std::move(values_); }

private:
  type values_;
};

/// Waits until there is room for one more branch, having begun the last one.
class room_wait : public branches {
public:
  /// The awaiter, which the wait itself, as it stays, can't be.
  class turn {
  public:
    explicit turn(room_wait& in) noexcept : room_(in) {}

    [[nodiscard]] bool await_ready() const noexcept {
      return room_.next_ == nullptr && room_.over();
    }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> by) noexcept {
      room_.wait_from_now(by.promise());
      return room_.begin_next();
    }
    void await_resume() {
      if (room_.error_ != nullptr) std::rethrow_exception(std::move(room_.error_));
    }

  private:
    room_wait& room_;
  };

  turn operator co_await() & noexcept { return turn(*this); }

protected:
  explicit room_wait(std::size_t limit) noexcept : branches(until::an_error) {
    set_enough(limit - 1);
  }
  ~room_wait() = default;

  branch_base* next_ = nullptr;  // to be begun
  std::exception_ptr error_;

private:
  bool begin_next() noexcept;  // true if it has to wait
};

template <>
inline constexpr bool is_own_awaiter<room_wait::turn> = true;

template <class Results>
class room final : public room_wait {
  using value = typename Results::value;

public:
  explicit room(std::size_t limit) noexcept : room_wait(limit) {}
  ~room() {
    drop_all();
    if (error_ != nullptr) waiter().raise(std::move(error_));
    for (auto* s = static_cast<seat*>(first()); s != nullptr;) delete std::exchange(s, s->next());
  }

  /// Has the next `co_await` begin this.
  void add(std::size_t index, task<value>&& work) {
    if (free_ == nullptr) {
      free_ = new seat(*this);
      branches::add(*free_);
    }
    seat& taken = *std::exchange(free_, free_->next_free);
    move_to_end(taken);
    taken.take(index, std::move(work));
    next_ = &taken;
  }

  /// Has the next one wait until all have ended.
  void add_no_more() noexcept { set_enough(0); }

  Results results;

private:
  /// A place for one branch after the other.
  class seat final : public branch_base, public recycled {
  public:
    explicit seat(room& in) noexcept : room_(in) {}

    void take(std::size_t index, task<value>&& work) noexcept {
      index_ = index;
      child_ = &task_access::release(work).promise();
    }
    [[nodiscard]] seat* next() const noexcept { return static_cast<seat*>(next_); }

    seat* next_free = nullptr;

  private:
    bool take_from(frame& child) noexcept override {
      try {
        auto& ended = static_cast<task_promise<value>&>(child);
        if constexpr (std::is_void_v<value>) {
          ended.get();
        } else {
          room_.results.put(index_, ended.get());
        }
      } catch (...) {
        room_.error_ = std::current_exception();
        return false;
      }
      next_free = std::exchange(room_.free_, this);
      return true;
    }

    room& room_;
    std::size_t index_ = 0;
  };

  seat* free_ = nullptr;
};

/// Keeps the element until the call has ended.
template <class T, class Function, class Element>
task<T> call_with(Function* function, Element element) {
  auto work = std::invoke(*function, std::move(element));
  co_return co_await std::move(work);
}

template <class Results, class Range, class Function>
task<typename Results::type> run_concurrently(Range range, std::size_t limit, Function function) {
  using value = typename Results::value;
  room<Results> running(limit);
  std::size_t index = 0;
  for (auto&& element : range) {
    if constexpr (std::is_reference_v<element_for_call<Range>>) {
      running.add(index++, as_task(std::invoke(function, element)));
    } else {
      running.add(index++, call_with<value, Function, element_of<Range>>(
                               &function, std::forward<decltype(element)>(element)));
    }
    co_await running;
  }
  running.add_no_more();
  co_await running;
  co_return std::move(running.results).take();
}

}  // namespace detail

}  // namespace eddy
