// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/detail/write_queue_state.h>

#include <array>
#include <memory>
#include <new>

#include <eddy/loop/detail/block_pool.h>
#include <eddy/loop/detail/throw_error.h>
#include <eddy/net/detail/io.h>

namespace eddy::detail {

namespace {

std::error_code code_of(std::errc e) noexcept { return std::make_error_code(e); }

std::size_t size_of(std::span<const const_buffer> parts) noexcept {
  std::size_t size = 0;
  for (const const_buffer& part : parts) size += part.size();
  return size;
}

// The number of buffers that fit small arrays on the stack, and the most that a system call gets.
constexpr std::size_t few_parts = 32;
constexpr std::size_t most_parts = 512;

}  // namespace

/// A wait that has a handler. The queue owns it.
struct write_queue_state::callback_wait : ready_node, recycled {
  struct entry_of : detail::list_node {
    explicit entry_of(callback_wait& w) noexcept : owner(w) {}
    callback_wait& owner;
  };

  callback_wait(write_queue_state& s, handler<void(result<void>)>&& f) noexcept
      : ready_node(&run), of(s), on_done(std::move(f)), entry(*this) {}
  callback_wait(const callback_wait&) = delete;
  callback_wait& operator=(const callback_wait&) = delete;
  ~callback_wait() { entry.unlink(); }

  static void run(ready_node& node) {
    std::unique_ptr<callback_wait> self(static_cast<callback_wait*>(&node));
    result<void> r;
    if (const std::error_code e = self->of.outcome(self->waits)) r = std::unexpected(e);
    auto on_done = std::move(self->on_done);
    self.reset();
    on_done(std::move(r));
  }

  write_queue_state& of;
  handler<void(result<void>)> on_done;
  waiter waits;
  entry_of entry;
};

write_queue_state::write_queue_state(event_loop& loop, const write_queue_options& how)
    : loop_(loop), how_(how), before_wait_(loop) {
  if (how.low_water > how.high_water) {
    misuse("a write_queue was given a low-water mark above its high-water mark");
  }
}

write_queue_state::~write_queue_state() = default;

// ---- Queueing

bool write_queue_state::accepts(std::size_t size, bool fails) noexcept {
  if (error_) return false;
  if (size <= how_.limit && queued() <= how_.limit - size) return true;
  if (fails) fail(code_of(std::errc::no_buffer_space));
  return false;
}

void write_queue_state::put(const const_buffer bytes) {
  pieces_.append_copy(bytes);
  expect_send();
}

void write_queue_state::put(const shared_bytes& bytes) {
  pieces_.append(bytes);
  expect_send();
}

void write_queue_state::expect_send() noexcept {
  if (writing_) return note_level();
  if (pieces_.empty() || before_wait_.active()) return;
  before_wait_.start_once([this] { send(); });
  keeps_running_.emplace(loop_);
}

// ---- Sending

void write_queue_state::send() noexcept {
  const write_queue_share alive = share();
  keeps_running_.reset();
  try {
    if (pieces_.count() <= few_parts) {
      send_pieces<few_parts>();
    } else {
      send_pieces<most_parts>();
    }
  } catch (const std::bad_alloc&) {
    break_off(code_of(std::errc::not_enough_memory));
  }
  note_level();
  wake();
}

template <std::size_t Most>
void write_queue_state::send_pieces() {
  std::array<const_buffer, Most> space;
  while (!pieces_.empty()) {
    if (!stream_open()) return break_off(code_of(std::errc::operation_canceled));
    const std::span<const const_buffer> parts = pieces_.first(space, most_bytes);
    const std::optional<result<std::size_t>> count = send_now(parts);
    if (!count) return send_rest(parts);
    if (!*count) return break_off(count->error());
    const bool all = **count == size_of(parts);
    sent(**count);
    if (pieces_.empty()) return;
    if (!all || !loop_.may_go_on()) return send_rest(pieces_.first(space, most_bytes));
  }
}

void write_queue_state::send_rest(std::span<const const_buffer> parts) {
  sending_.assign(parts.begin(), parts.end());
  sending_size_ = size_of(parts);
  send_later(sending_, completion(*this));
  writing_ = true;
}

void write_queue_state::sent(std::size_t count) noexcept {
  pieces_.pass(count);
  sent_ += count;
  if (pieces_.empty() && sending_.capacity() > few_parts) sending_ = {};
}

write_queue_state::completion::~completion() {
  // Without memory, no write has begun.
  if (of_ == nullptr || !of_->writing_ || of_->closed_) return;
  write_queue_state& of = *of_;
  of.writing_ = false;
  of.break_off(code_of(std::errc::operation_canceled));
  of.wake();
}

void write_queue_state::completion::operator()(result<void> r) {
  std::exchange(of_, nullptr)->complete(r);
}

void write_queue_state::complete(result<void> r) noexcept {
  writing_ = false;
  if (!r) {
    break_off(r.error());
    wake();
    return;
  }
  sent(sending_size_);
  send();
}

void write_queue_state::break_off(std::error_code why) noexcept {
  broken_ = why;
  pieces_.clear();
  sending_ = {};
  high_ = told_high_;  // the error is the last that the program is told
  fail(why);
}

// ---- Telling the program

void write_queue_state::fail(std::error_code why) noexcept {
  if (!error_) error_ = why;
  tell();
}

void write_queue_state::note_level() noexcept {
  if (broken_) return;
  if (queued() > how_.high_water) {
    high_ = true;
  } else if (queued() <= how_.low_water) {
    high_ = false;
  }
  tell();
}

write_queue_state::on_error write_queue_state::set_on_error(on_error f) noexcept {
  on_error old = on_error_.replace(std::move(f));
  tell();
  return old;
}

bool write_queue_state::has_news() const noexcept {
  return high_ != told_high_ || (error_ && !error_told_ && on_error_.present());
}

void write_queue_state::tell() noexcept {
  if (!closed_ && has_news() && !told_.queued()) loop_.ready(told_);
}

void write_queue_state::told::run(ready_node& node) {
  write_queue_state& s = static_cast<told&>(node).of;
  if (!s.has_news()) return;
  const write_queue_share alive = s.share();
  // If the handler throws, the other news are not lost.
  struct at_end {
    write_queue_state& of;
    ~at_end() { of.tell(); }
  };
  if (s.high_ != s.told_high_) {
    s.told_high_ = s.high_;
    const at_end more{s};
    auto& on_level = s.high_ ? s.on_high_ : s.on_low_;
    if (on_level.present()) on_level.call(true);
  } else {
    s.error_told_ = true;
    s.on_error_.call(false, s.error_);
  }
}

// ---- Waiting

bool write_queue_state::aim(waiter& w, goal what) const noexcept {
  w.goal_ = what;
  w.target_ = sent_ + queued();
  return closed_ || broken_ || over(w);
}

bool write_queue_state::over(waiter& w) const noexcept {
  const bool lost = closed_ || broken_;
  if (w.goal_ == goal::flushed) {
    w.reached_ = w.reached_ || sent_ >= w.target_;
  } else {
    w.reached_ = w.reached_ || (!lost && queued() <= how_.low_water);
  }
  return w.reached_ || lost;
}

void write_queue_state::wait(waiter& w, ready_node& node, bool now) noexcept {
  w.node_ = &node;
  if (now) {
    loop_.ready(node);
  } else {
    waiters_.push_back(w);
  }
}

std::error_code write_queue_state::outcome(const waiter& w) const noexcept {
  if (w.reached_) return {};
  return broken_ && !closed_ ? broken_ : code_of(std::errc::operation_canceled);
}

void write_queue_state::wait(goal what, handler<void(result<void>)> on_done) {
  auto* const made = new callback_wait(*this, std::move(on_done));
  callbacks_.push_back(made->entry);
  const bool now = aim(made->waits, what);
  wait(made->waits, *made, now);
}

void write_queue_state::wake() noexcept {
  for (list_node* l = waiters_.next; l != &waiters_;) {
    auto& w = static_cast<waiter&>(*std::exchange(l, l->next));
    if (!over(w)) continue;
    w.unlink();
    loop_.ready(*w.node_);
  }
}

void write_queue_state::close() noexcept {
  // The captures of the handlers may own the queue, so the handlers are destroyed last.
  const auto high = on_high_.take();
  const auto low = on_low_.take();
  const auto error = on_error_.take();
  list_node dropped;
  dropped.splice_back(callbacks_);
  for (list_node* l = dropped.next; l != &dropped; l = l->next) {
    callback_wait& wait = static_cast<callback_wait::entry_of&>(*l).owner;
    wait.withdraw();
    wait.waits.unlink();
  }
  closed_ = true;
  before_wait_.stop();
  keeps_running_.reset();
  told_.withdraw();
  wake();
  pieces_.clear();
  close_stream();
  while (dropped.linked()) {
    delete &static_cast<callback_wait::entry_of&>(*dropped.next).owner;
  }
}

// ---- Awaiting

void expect_loop(const write_queue_state& queue) noexcept {
  if (event_loop::current() == &queue.loop()) return;
  misuse("an operation of a write_queue was awaited on another loop than its own");
}

const char* words_of(write_queue_state::goal what) noexcept {
  return what == write_queue_state::goal::flushed ? "flush a write_queue"
                                                  : "wait for the low-water mark of a write_queue";
}

void fail_wait(write_queue_state::goal what, std::error_code error) {
  throw_error(error, words_of(what));
}

void write_queue_wait::describe(description& to) const { to.add(words_of(goal_)); }

}  // namespace eddy::detail
