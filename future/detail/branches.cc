// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/future/detail/branches.h>

namespace eddy::detail {

void branch_base::ended() noexcept {
  frame& child = *std::exchange(child_, nullptr);
  const bool is_value = take_from(child);
  frame::retire(child);
  branches& all = *all_;
  all.note_end(*this, is_value);
  if (all.waiting_ && all.over()) {
    all.waiting_ = false;
    frame::resume_next(*all.waiter_);
  }
}

void branch_base::raise(std::exception_ptr error) const noexcept {
  waiter_->raise(std::move(error));
}

void branches::begin(branch_base& which, bool at_once) noexcept {
  which.all_ = this;
  which.waiter_ = waiter_;
  ++left_;
  if (!at_once) return which.child_->start_later(which);
  if (!which.child_->start(which)) return;
  frame& child = *std::exchange(which.child_, nullptr);
  const bool is_value = which.take_from(child);
  frame::destroy(child);  // what it took by value ends with it
  note_end(which, is_value);
}

void branches::begin_all() noexcept {
  // A branch that has to let others run would lose to a later one, though it has nothing to
  // wait for. If little of the running share is left, the branches are lent another.
  const bool first_wins =
      (static_cast<unsigned>(until_) & static_cast<unsigned>(until::a_value)) != 0;
  event_loop& on = *event_loop::current();
  const bool lends =
      first_wins && on.operations_left() < event_loop::share / 2 && !frame::dropped();
  const int lent = lends ? on.lend() : 0;
  // Of a range of a million, the loop runs most: they would be too much at once.
  int at_once = event_loop::share;
  for (branch_base* b = first_; b != nullptr && decider_ == nullptr; b = b->next_) {
    begin(*b, at_once-- > 0 || frame::may_go_on());
  }
  on.take_back(lent);
}

void branches::move_to_end(branch_base& which) noexcept {
  if (last_ == &which) return;
  (which.previous_ != nullptr ? which.previous_->next_ : first_) = which.next_;
  which.next_->previous_ = which.previous_;
  which.next_ = nullptr;
  add(which);
}

void branches::cancel_all() noexcept {
  for (branch_base* b = last_; b != nullptr; b = b->previous_) b->cancel();
}

void branches::drop_all() noexcept {
  cancel_all();
  // Where one success is enough, that others fail is what it is for.
  if (told_ || until_ == until::a_value) return;
  for (branch_base* b = first_; b != nullptr; b = b->next_) b->raise_error();
}

void branches::note_end(branch_base& which, bool is_value) noexcept {
  --left_;
  const until seen = is_value ? until::a_value : until::an_error;
  if ((static_cast<unsigned>(until_) & static_cast<unsigned>(seen)) == 0) return;
  decider_ = &which;
  cancel_all();
}

void branches::describe(std::string& out, int depth) const {
  switch (until_) {
    case until::all_ended:
    case until::an_error: out += "all of\n"; break;
    case until::a_value: out += "any of\n"; break;
    case until::one_ended: out += "the first of\n"; break;
  }
  for (const branch_base* b = first_; b != nullptr; b = b->next_) {
    if (b->child_ == nullptr || b->child_->done()) continue;
    indent(out, depth + 1);
    b->child_->describe(out, depth + 1);
  }
}

}  // namespace eddy::detail
