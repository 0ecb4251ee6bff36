// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/future/scope.h>

#include <eddy/future/timeout.h>
#include <eddy/loop/description.h>
#include <eddy/loop/detail/current_loop.h>
#include <eddy/loop/detail/description_writers.h>
#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/text.h>

namespace eddy {

scope::scope(std::size_t limit) : scope(detail::current_loop("scope"), limit) {}

scope::scope(event_loop& loop, std::size_t limit)
    : inspectable(loop), ready_node(&tell_handler), limit_(limit) {
  if (limit == 0) detail::misuse("a scope was made with a limit of zero: no child could run");
}

scope::~scope() {
  cancel();
  if (destroyed_ != nullptr) *destroyed_ = true;
  if (joined_ != nullptr) joined_->scope_ = nullptr;
  if (failure_ != nullptr) loop().raise(std::move(failure_));
}

void scope::add(task<> work) {
  loop().check_thread();
  if (failure_ != nullptr || destroyed_ != nullptr) return;
  auto* const child = new detail::scope_child(*this, std::move(work));
  if (running_count_ < limit_) {
    start(*child);
  } else {
    child->list_in(waiting_children_);
    ++waiting_count_;
  }
  if (deadline_) deadline_->background(false);
}

void scope::start(detail::scope_child& child) noexcept {
  child.list_in(running_children_);
  child.begun_ = true;
  ++running_count_;
  child.launch(*child.body());
}

void scope::leave(detail::scope_child& child) noexcept {
  --(child.begun_ ? running_count_ : waiting_count_);
  child.set_scope(nullptr);
  child.unlist();
}

void scope::ended(detail::scope_child& child, std::exception_ptr&& error) noexcept {
  leave(child);
  child.drop_future();
  if (error != nullptr) return fail(std::move(error));
  if (waiting_children_.linked() && destroyed_ == nullptr) {
    auto& next = static_cast<detail::scope_child&>(at(*waiting_children_.next));
    --waiting_count_;
    start(next);
  }
  tell_join();
}

void scope::fail(std::exception_ptr&& error) noexcept {
  if (failure_ != nullptr) return loop().raise(std::move(error));
  failure_ = std::move(error);
  if (on_error_.present()) loop().ready(*this);
  cancel();
}

bool* scope::tell_when_destroyed(bool* told) noexcept { return std::exchange(destroyed_, told); }

void scope::cancel() noexcept {
  loop().check_thread();
  // The destructors of a child's locals may destroy the scope, or cancel it.
  bool destroyed = false;
  bool* const outer = tell_when_destroyed(&destroyed);
  {
    const detail::cancellation under_way(joiner());
    while (!destroyed && !empty()) {
      auto& list = waiting_count_ != 0 ? waiting_children_ : running_children_;
      auto& child = static_cast<detail::scope_child&>(at(*list.prev));
      leave(child);
      child.drop_future();
    }
  }
  if (destroyed) {
    if (outer != nullptr) *outer = true;
    return;
  }
  destroyed_ = outer;
  tell_join();
}

void scope::on_error(handler<void(std::exception_ptr)> take) {
  loop().check_thread();
  const bool none = !take;
  const auto dropped = on_error_.replace(std::move(take));
  if (none) return withdraw();
  if (failure_ != nullptr && !queued()) loop().ready(*this);
}

void scope::tell_handler(ready_node& node) {
  auto& self = static_cast<scope&>(node);
  self.on_error_.call(true, std::exchange(self.failure_, nullptr));
}

void scope::set_deadline(instant when, std::source_location where) {
  loop().check_thread();
  if (!deadline_) deadline_.emplace(*this, where);
  deadline_->set(when);
  deadline_->background(empty());
  deadline_->limit_ = detail::between(loop().now(), when);
  deadline_->where_ = where;
}

std::optional<time_point> scope::deadline() const noexcept {
  loop().check_thread();
  if (!deadline_ || !deadline_->pending()) return std::nullopt;
  return deadline_->deadline();
}

void scope::tell_deadline() noexcept {
  if (empty() || failure_ != nullptr) return;
  std::exception_ptr error;
  try {
    detail::limit_writer tree;
    describe_awaited(tree);
    throw timed_out(deadline_->limit_, deadline_->where_, std::move(tree.text), tree.line);
  } catch (...) {
    error = std::current_exception();
  }
  fail(std::move(error));
}

void scope::tell_join() noexcept {
  if (deadline_ && empty()) {
    deadline_->background(true);
    if (deadline_->queued()) deadline_->clear();  // it is due, and there is no child to cancel
  }
  if (joined_ != nullptr && empty()) joined_->tell();
}

detail::frame* scope::joiner() const noexcept {
  return joined_ == nullptr ? nullptr : joined_->waiter_;
}

std::string scope::dump() const {
  loop().check_thread();
  std::string out;
  detail::text_writer to(out);
  describe_awaited(to);
  return out;
}

void scope::describe(description& to) const {
  if (joined_ == nullptr) describe_awaited(to);  // otherwise the joiner describes this
}

void scope::describe_awaited(description& to) const {
  std::string words = detail::text({"a scope of ", size(), " tasks"});
  if (waiting_count_ != 0) {
    detail::add_text(words, {", of which ", waiting_count_, " wait for a permit"});
  }
  to.add(words);
  const description::below all(to);
  describe_all(to, running_children_);
  describe_all(to, waiting_children_);
}

void scope::describe_all(description& to, const detail::list_node& children) {
  for (const detail::list_node* l = children.next; l != &children; l = l->next) {
    static_cast<const detail::scope_child&>(at(*l)).describe_awaited(to);
  }
}

namespace detail {

void scope_child::take_from(frame& body) noexcept {
  stage_ = stage::value;
  in_scope()->ended(*this, std::move(body.error()));
}

void scope_child::describe_awaited(description& to) const {
  begun_ ? body()->describe(to) : to.add("not started, waits for a permit");
}

scope_wait::scope_wait(scope& s) : scope_(&s) {
  if (event_loop::current() != &s.loop()) misuse("a scope was joined on another loop than its own");
  if (s.joined_ != nullptr) misuse("a scope is joined by two coroutines at once");
  s.joined_ = this;
}

void scope_wait::tell() noexcept {
  if (waiter_ != nullptr && !waiter_->queued()) scope_->loop().ready(*waiter_);
}

// A child may have been spawned since the waiter was queued.
void scope_wait::go_on(ready_node& node) {
  auto& waiter = static_cast<frame&>(node);
  if (static_cast<scope_wait&>(waiter.waiting_for()).over()) frame::resume_after(waiter);
}

void scope_wait::await_resume() {
  if (scope_ == nullptr || scope_->failure_ == nullptr || scope_->on_error_.present()) return;
  std::rethrow_exception(std::exchange(scope_->failure_, nullptr));
}

void scope_wait::describe(description& to) const {
  scope_ != nullptr ? scope_->describe_awaited(to) : to.add("the end of a scope");
}

}  // namespace detail

}  // namespace eddy
