// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <array>
#include <concepts>
#include <coroutine>
#include <cstddef>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <eddy/future/awaitable.h>
#include <eddy/future/detail/frame.h>
#include <eddy/future/outcome.h>
#include <eddy/loop/detail/recycler.h>

namespace eddy {

namespace detail {
template <class... Ts>
class join_operation;
template <class T>
class join_range_operation;

template <class Range>
concept range_of_awaitables = requires(Range& r) {
  std::begin(r);
  std::end(r);
  requires awaitable<std::remove_cvref_t<decltype(*std::begin(r))>>;
};
}  // namespace detail

/// `co_await join(a(), b())` runs them side by side until all have ended, and
/// gives their values as a tuple; what gives void is a `std::monostate` in it,
/// and if all do, so does the join.
///
/// They begin in order, each running until it first waits.
///
/// Errors: the first error comes out as soon as it occurs; the others are
/// cancelled by then.
/// Cancelling: cancels all.
template <awaitable... Awaitables>
  requires(sizeof...(Awaitables) > 0 && (!std::is_lvalue_reference_v<Awaitables> && ...))
[[nodiscard]] detail::join_operation<await_result_t<Awaitables>...> join(
    Awaitables&&... awaitables) {
  return detail::join_operation<await_result_t<Awaitables>...>(
      detail::as_task(std::forward<Awaitables>(awaitables))...);
}

/// The same for all elements of a range, which are moved from; the values are a
/// `std::vector` in the range's order.
template <detail::range_of_awaitables Range>
  requires(!std::is_lvalue_reference_v<Range>)
[[nodiscard]] auto join(Range&& range) {
  using value = await_result_t<std::remove_cvref_t<decltype(*std::begin(range))>>;
  std::vector<task<value>> tasks;
  for (auto& element : range) tasks.push_back(detail::as_task(std::move(element)));
  return detail::join_range_operation<value>(std::move(tasks));
}

// implementation

namespace detail {

/// The common part of both joins: counts, and cancels the rest when one fails.
class join_wait : public wait {
public:
  class branch_base {
  public:
    virtual ~branch_base() = default;
    virtual bool begin() noexcept = 0;  // true if it has ended
    virtual bool failed() const noexcept = 0;
    virtual void cancel() noexcept = 0;
    virtual void describe_branch(std::string& out, int depth) const = 0;
  };

  [[nodiscard]] bool await_ready() const noexcept { return count_ == 0; }

  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> by) noexcept {
    waiter_ = &by.promise();
    waiter_->waits_for(*this);
    if (begin_all()) return true;
    waiter_->waits_no_more();
    return false;
  }

  void describe(std::string& out, int depth) const override;

  [[nodiscard]] frame* waiter() const noexcept { return waiter_; }

  void ended(const branch_base& which) noexcept {
    if (over(which)) frame::resume_next(*waiter_);
  }

protected:
  explicit join_wait(std::size_t count) noexcept : count_(count), left_(count) {}
  /// To be called before the branches are destroyed, which may be looked at till then.
  void cancel_all() noexcept;
  ~join_wait() = default;

  [[nodiscard]] virtual branch_base& branch_at(std::size_t index) const noexcept = 0;
  [[nodiscard]] const branch_base* failed() const noexcept { return failed_; }

private:
  bool begin_all() noexcept;  // true if it has to wait
  bool over(const branch_base& which) noexcept;

  frame* waiter_ = nullptr;
  std::size_t count_;
  std::size_t left_;
  const branch_base* failed_ = nullptr;
};

template <class T>
class branch final : public ending, public join_wait::branch_base, public recycled {
public:
  void take(join_wait& all, task<T>&& work) noexcept {
    all_ = &all;
    child_ = &task_access::release(work).promise();
  }
  ~branch() override { cancel(); }

  bool begin() noexcept override {
    waiter_ = all_->waiter();
    if (!child_->start(*this)) return false;
    take_result();
    cancel();  // what it took by value ends with it
    return true;
  }
  [[nodiscard]] bool failed() const noexcept override { return result && !*result; }
  void cancel() noexcept override {
    if (child_ != nullptr) frame::destroy(*std::exchange(child_, nullptr));
  }
  void describe_branch(std::string& out, int depth) const override {
    if (child_ == nullptr || child_->done()) return;
    indent(out, depth);
    child_->describe(out, depth);
  }

  std::optional<outcome<T>> result;

private:
  void take_result() noexcept {
    try {
      result.emplace(child_->take());
    } catch (...) {  // by the value, which is moved
      result.emplace(std::unexpect, std::current_exception());
    }
  }

  void ended() noexcept override {
    take_result();
    frame::retire(*std::exchange(child_, nullptr));
    all_->ended(*this);
  }

  join_wait* all_ = nullptr;
  task_promise<T>* child_ = nullptr;
};

template <class T>
using nonvoid = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

template <class T>
nonvoid<T> value_of(branch<T>& b) {
  if constexpr (std::is_void_v<T>) {
    return {};
  } else {
    return get<T>(std::move(*b.result));
  }
}

template <class... Ts>
class join_few final : public join_wait {
public:
  explicit join_few(std::tuple<task<Ts>...>&& tasks) noexcept : join_wait(sizeof...(Ts)) {
    take(std::move(tasks), std::index_sequence_for<Ts...>());
  }
  ~join_few() { cancel_all(); }

  auto await_resume() {
    if (failed() != nullptr) std::apply([this](auto&... b) { (this->rethrow(b), ...); }, branches_);
    if constexpr (!(std::is_void_v<Ts> && ...)) {
      return std::apply([](auto&... b) { return std::tuple<nonvoid<Ts>...>(value_of<Ts>(b)...); },
                        branches_);
    }
  }

private:
  template <std::size_t... I>
  void take(std::tuple<task<Ts>...>&& tasks, std::index_sequence<I...>) noexcept {
    (std::get<I>(branches_).take(*this, std::move(std::get<I>(tasks))), ...);
    places_ = {&std::get<I>(branches_)...};
  }
  template <class T>
  void rethrow(branch<T>& b) {
    if (&b == failed()) std::rethrow_exception(std::move(b.result->error()));
  }
  [[nodiscard]] branch_base& branch_at(std::size_t index) const noexcept override {
    return *places_[index];
  }

  std::tuple<branch<Ts>...> branches_;
  std::array<branch_base*, sizeof...(Ts)> places_{};
};

template <class T>
class join_range final : public join_wait {
public:
  explicit join_range(std::vector<task<T>>&& tasks)
      : join_wait(tasks.size()),
        size_(tasks.size()),
        branches_(std::make_unique<branch<T>[]>(tasks.size())) {
    for (std::size_t i = 0; i < size_; ++i) branches_[i].take(*this, std::move(tasks[i]));
  }
  ~join_range() { cancel_all(); }

  auto await_resume() {
    for (std::size_t i = 0; i < size_; ++i) {
      if (&branches_[i] == failed()) std::rethrow_exception(branches_[i].result->error());
    }
    if constexpr (!std::is_void_v<T>) {
      std::vector<typename stored<T>::type> values;
      values.reserve(size_);
      for (std::size_t i = 0; i < size_; ++i) values.push_back(value_of<T>(branches_[i]));
      return values;
    }
  }

private:
  [[nodiscard]] branch_base& branch_at(std::size_t index) const noexcept override {
    return branches_[index];
  }

  std::size_t size_;
  std::unique_ptr<branch<T>[]> branches_;
};

template <class... Ts>
class [[nodiscard]] join_operation {
public:
  explicit join_operation(task<Ts>&&... tasks) noexcept : tasks_(std::move(tasks)...) {}
  join_few<Ts...> operator co_await() && noexcept { return join_few<Ts...>(std::move(tasks_)); }

private:
  std::tuple<task<Ts>...> tasks_;
};

template <class T>
class [[nodiscard]] join_range_operation {
public:
  explicit join_range_operation(std::vector<task<T>>&& tasks) noexcept : tasks_(std::move(tasks)) {}
  join_range<T> operator co_await() && { return join_range<T>(std::move(tasks_)); }

private:
  std::vector<task<T>> tasks_;
};

}  // namespace detail

}  // namespace eddy
