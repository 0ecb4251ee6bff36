// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <iterator>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

#include <eddy/future/awaitable.h>
#include <eddy/future/detail/frame.h>
#include <eddy/future/outcome.h>
#include <eddy/loop/detail/recycler.h>

// What join, select and their like have in common: several coroutines that run
// side by side under one wait. They differ in what ends the wait, and in what
// they then make of the results.

namespace eddy::detail {

class branches;

/// One of the coroutines.
class branch_base : public ending {
public:
  void cancel() noexcept {
    if (child_ != nullptr) frame::destroy(*std::exchange(child_, nullptr));
  }

protected:
  branch_base() noexcept = default;
  ~branch_base() { cancel(); }

  /// Has an error that nobody takes leave the loop's `run`.
  void raise(std::exception_ptr error) const noexcept;

  /// Takes what the coroutine has ended with; true if that is a value.
  virtual bool take_from(frame& child) noexcept = 0;
  /// Raises the error that was taken.
  virtual void raise_error() noexcept {}

  frame* child_ = nullptr;  // until it has ended
  branch_base* next_ = nullptr;
  branch_base* previous_ = nullptr;

private:
  friend branches;

  void ended() noexcept final;

  branches* all_ = nullptr;
};

/// When all are over, besides when each has ended: those that then still run are
/// cancelled.
enum class until : std::uint8_t { all_ended = 0, an_error = 1, a_value = 2, one_ended = 3 };

/// The wait.
class branches : public wait {
public:
  void describe(std::string& out, int depth) const override;

protected:
  explicit branches(until when) noexcept : until_(when) {}
  ~branches() = default;

  void add(branch_base& which) noexcept {
    which.previous_ = last_;
    (last_ != nullptr ? last_->next_ : first_) = &which;
    last_ = &which;
  }
  void move_to_end(branch_base& which) noexcept;
  /// The last first, so that those who give something back to the front of a queue
  /// leave it in the order in which they took it.
  void cancel_all() noexcept;
  /// To be called before the branches are destroyed, which may be looked at till
  /// then. The errors of a wait that is dropped when it was over are raised.
  void drop_all() noexcept;

  // What `await_suspend` consists of:
  void wait_from_now(frame& waiter) noexcept {
    waiter_ = &waiter;
    waiter_->waits_for(*this);
  }
  void begin(branch_base& which, bool at_once = true) noexcept;
  void begin_all() noexcept;
  bool has_to_wait() noexcept {  // and if not, it goes on
    waiting_ = !over();
    return waiting_ || waiter_->waits_its_turn();
  }

  /// Whether there is nothing to wait for: no more than `enough` are left.
  [[nodiscard]] bool over() const noexcept { return decider_ != nullptr || left_ <= enough_; }
  void set_enough(std::size_t count) noexcept { enough_ = count; }

  [[nodiscard]] branch_base* first() const noexcept { return first_; }
  /// The one whose end was the end of all.
  [[nodiscard]] branch_base* decider() const noexcept { return decider_; }
  [[nodiscard]] frame& waiter() const noexcept { return *waiter_; }

private:
  friend branch_base;

  void note_end(branch_base& which, bool is_value) noexcept;

  frame* waiter_ = nullptr;
  branch_base* first_ = nullptr;
  branch_base* last_ = nullptr;
  branch_base* decider_ = nullptr;
  std::size_t left_ = 0;
  std::size_t enough_ = 0;
  until until_;
  bool waiting_ = false;

protected:
  bool told_ = false;  // the waiter got the results
};

/// The same where all are there from the start.
class all_branches : public branches {
public:
  [[nodiscard]] bool await_ready() const noexcept { return false; }

  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> by) noexcept {
    wait_from_now(by.promise());
    begin_all();
    return has_to_wait();
  }

protected:
  using branches::branches;
  ~all_branches() = default;
};

template <class T>
class branch final : public branch_base, public recycled {
public:
  branch() noexcept = default;
  explicit branch(task<T>&& work) noexcept { take(std::move(work)); }

  void take(task<T>&& work) noexcept { child_ = &task_access::release(work).promise(); }
  [[nodiscard]] branch* next() const noexcept { return static_cast<branch*>(next_); }

  std::optional<outcome<T>> result;

private:
  template <class>
  friend class branch_list;

  void raise_error() noexcept override {
    if (result && !*result) raise(std::move(result->error()));
  }

  bool take_from(frame& child) noexcept override {
    try {
      result.emplace(static_cast<task_promise<T>&>(child).take());
    } catch (...) {  // by the value, which is moved
      result.emplace(std::unexpect, std::current_exception());
    }
    return result->has_value();
  }
};

/// Owns branches.
template <class T>
class branch_list {
public:
  branch_list() noexcept = default;
  branch_list(branch_list&& other) noexcept
      : first_(std::exchange(other.first_, nullptr)), last_(other.last_) {}
  branch_list& operator=(branch_list&&) = delete;
  ~branch_list() {
    while (first_ != nullptr) delete std::exchange(first_, first_->next());
  }

  void push_back(task<T>&& work) {
    auto* const added = new branch<T>(std::move(work));
    if (first_ == nullptr) {
      first_ = added;
    } else {
      last_->next_ = added;
    }
    last_ = added;
  }

  [[nodiscard]] branch<T>* first() const noexcept { return first_; }

private:
  branch<T>* first_ = nullptr;
  branch<T>* last_ = nullptr;
};

template <class T>
using nonvoid = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

/// The value, or the exception thrown.
template <class T>
nonvoid<T> value_of(branch<T>& b) {
  if constexpr (std::is_void_v<T>) {
    get<T>(std::move(*b.result));
    return {};
  } else {
    return get<T>(std::move(*b.result));
  }
}

// A `Rule` says until when to wait, and what the results are: `few` and `range`
// get the branches and which of them was the decider, null if none was.

template <class Rule, class... Ts>
class few_wait final : public all_branches {
public:
  explicit few_wait(std::tuple<task<Ts>...>&& tasks) noexcept : all_branches(Rule::ends) {
    take(std::move(tasks), std::index_sequence_for<Ts...>());
  }
  ~few_wait() { drop_all(); }

  decltype(auto) await_resume() {
    told_ = true;
    return Rule::few(branches_, decider());
  }

private:
  template <std::size_t... I>
  void take(std::tuple<task<Ts>...>&& tasks, std::index_sequence<I...>) noexcept {
    (std::get<I>(branches_).take(std::move(std::get<I>(tasks))), ...);
    (add(std::get<I>(branches_)), ...);
  }

  std::tuple<branch<Ts>...> branches_;
};

template <class Rule, class T>
class range_wait final : public all_branches {
public:
  explicit range_wait(branch_list<T>&& all) noexcept
      : all_branches(Rule::ends), branches_(std::move(all)) {
    for (branch<T>* b = branches_.first(); b != nullptr; b = b->next()) add(*b);
  }
  ~range_wait() { drop_all(); }

  decltype(auto) await_resume() {
    told_ = true;
    return Rule::range(branches_.first(), static_cast<branch<T>*>(decider()));
  }

private:
  branch_list<T> branches_;
};

template <class Rule, class... Ts>
class [[nodiscard("this does nothing without co_await")]] few_operation {
public:
  explicit few_operation(task<Ts>&&... tasks) noexcept : tasks_(std::move(tasks)...) {}
  few_wait<Rule, Ts...> operator co_await() && noexcept {
    return few_wait<Rule, Ts...>(std::move(tasks_));
  }

private:
  std::tuple<task<Ts>...> tasks_;
};

template <class Rule, class T>
class [[nodiscard("this does nothing without co_await")]] range_operation {
public:
  explicit range_operation(branch_list<T>&& all) noexcept : branches_(std::move(all)) {}
  range_wait<Rule, T> operator co_await() && noexcept {
    return range_wait<Rule, T>(std::move(branches_));
  }

private:
  branch_list<T> branches_;
};

template <class Range>
using element_of = std::remove_cvref_t<decltype(*std::begin(std::declval<Range&>()))>;

template <class Range>
concept range_of_awaitables = requires(Range& r) {
  std::begin(r);
  std::end(r);
  requires awaitable<element_of<Range>>;
};

template <class Rule, class... Awaitables>
few_operation<Rule, owned_result_t<Awaitables>...> side_by_side(Awaitables&&... awaitables) {
  static_assert(sizeof...(Awaitables) > 0, "there is nothing to wait for");
  return few_operation<Rule, owned_result_t<Awaitables>...>(
      as_task(std::forward<Awaitables>(awaitables))...);
}

template <class Rule, class Range>
range_operation<Rule, await_result_t<element_of<Range>>> range_side_by_side(Range&& range) {
  static_assert(!std::is_lvalue_reference_v<Range>,
                "a range that has a name must be moved: std::move(x)");
  branch_list<await_result_t<element_of<Range>>> all;
  for (auto&& element : range) all.push_back(as_task(std::move(element)));
  return range_operation<Rule, await_result_t<element_of<Range>>>(std::move(all));
}

}  // namespace eddy::detail
