// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/future/detail/join_state.h>

#include <eddy/loop/description.h>

namespace eddy::detail {

void branch_base::ended() noexcept {
  frame& child = *std::exchange(child_, nullptr);
  const bool is_value = take_from(child);
  frame::retire(child);
  join_state& all = *all_;
  all.note_end(*this, is_value);
  if (all.waiting_ && all.over()) {
    all.waiting_ = false;
    frame::resume_next(*all.waiter_);
  }
}

void branch_base::raise(std::exception_ptr error) const noexcept {
  waiter_->raise(std::move(error));
}

void join_state::begin(branch_base& which, bool at_once) noexcept {
  which.all_ = this;
  which.waiter_ = waiter_;
  ++left_;
  if (!which.child_->start(which, !at_once)) return;
  frame& child = *std::exchange(which.child_, nullptr);
  const bool is_value = which.take_from(child);
  frame::destroy(child);  // its arguments end with it
  note_end(which, is_value);
}

void join_state::begin_all() noexcept {
  // A branch that uses up its share of operations suspends, and would lose to a later branch
  // although it waits for nothing. So the branches are lent another share if little is left.
  const bool first_wins =
      (static_cast<unsigned>(until_) & static_cast<unsigned>(until::a_value)) != 0;
  event_loop& on = *event_loop::current();
  const bool in_turn = on.may_go_on();
  const bool lends = in_turn && first_wins && on.operations_left() < event_loop::share / 2;
  const int lent = lends ? on.lend() : 0;
  // The loop starts most branches of a long range later: a million at once would starve others.
  int at_once = in_turn ? event_loop::share : 0;
  for (branch_base* b = first_; b != nullptr && decider_ == nullptr; b = b->next_) {
    begin(*b, at_once-- > 0 || on.may_go_on());
  }
  on.take_back(lent);
}

void join_state::move_to_end(branch_base& which) noexcept {
  if (last_ == &which) return;
  (which.previous_ != nullptr ? which.previous_->next_ : first_) = which.next_;
  which.next_->previous_ = which.previous_;
  which.next_ = nullptr;
  add(which);
}

void join_state::cancel_all() noexcept {
  for (branch_base* b = last_; b != nullptr; b = b->previous_) b->cancel();
}

void join_state::drop_all() noexcept {
  cancel_all();
  // A combinator that waits for one success, such as race_ok, expects that branches fail.
  if (told_ || until_ == until::a_value) return;
  for (branch_base* b = first_; b != nullptr; b = b->next_) b->raise_error();
}

void join_state::note_end(branch_base& which, bool is_value) noexcept {
  --left_;
  const until seen = is_value ? until::a_value : until::an_error;
  if ((static_cast<unsigned>(until_) & static_cast<unsigned>(seen)) == 0) return;
  decider_ = &which;
  cancel_all();
}

void join_state::describe(description& to) const {
  switch (until_) {
    case until::all_ended:
    case until::an_error: to.add("all of"); break;
    case until::a_value: to.add("any of"); break;
    case until::one_ended: to.add("the first of"); break;
  }
  for (const branch_base* b = first_; b != nullptr; b = b->next_) {
    if (b->child_ != nullptr && !b->child_->done()) describe_below(to, b->child_);
  }
}

}  // namespace eddy::detail
