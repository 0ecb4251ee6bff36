// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/detail/duplex_state.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/throw_error.h>
#include <eddy/net/detail/expect_space.h>

namespace eddy::detail {

namespace {

// The most bytes that one step copies: the limit of a socket's system call, too.
constexpr std::size_t most_bytes = std::size_t{256} * 1024;

std::error_code code_of(int error) noexcept { return {error, std::generic_category()}; }

}  // namespace

std::size_t duplex_pipe::put(std::span<const std::byte> bytes) noexcept {
  const std::size_t count = std::min(bytes.size(), capacity_ - size_);
  if (count == 0) return 0;
  const std::size_t end =
      size_ < capacity_ - begin_ ? begin_ + size_ : size_ - (capacity_ - begin_);
  const std::size_t first = std::min(count, capacity_ - end);
  std::memcpy(bytes_.get() + end, bytes.data(), first);
  std::memcpy(bytes_.get(), bytes.data() + first, count - first);
  size_ += count;
  return count;
}

std::size_t duplex_pipe::take(std::span<std::byte> into) noexcept {
  const std::size_t count = std::min(into.size(), size_);
  if (count == 0) return 0;
  const std::size_t first = std::min(count, capacity_ - begin_);
  std::memcpy(into.data(), bytes_.get() + begin_, first);
  std::memcpy(into.data() + first, bytes_.get(), count - first);
  begin_ = count < capacity_ - begin_ ? begin_ + count : count - (capacity_ - begin_);
  size_ -= count;
  return count;
}

result<std::size_t> duplex_state::take(unsigned side, mutable_buffer into) noexcept {
  duplex_pipe& pipe = from(side);
  const std::size_t count = pipe.take({into.data(), std::min(into.size(), most_bytes)});
  if (count == 0 && std::exchange(ends_[side].reset, false)) {
    return std::unexpected(code_of(ECONNRESET));
  }
  if (count != 0 && pipe.writer != nullptr) pipe.writer->wake();
  loop_.charge(count);
  return count;
}

int duplex_state::write_error(unsigned side) noexcept {
  if (ends_[side].closed) return ECANCELED;
  if (to(side).ended) return EPIPE;
  if (std::exchange(ends_[side].reset, false)) return ECONNRESET;
  return to(side).reader_closed ? EPIPE : 0;
}

std::size_t duplex_state::put(unsigned side, const_buffer bytes) noexcept {
  duplex_pipe& pipe = to(side);
  const std::size_t count = pipe.put({bytes.data(), std::min(bytes.size(), most_bytes)});
  if (count != 0 && pipe.reader != nullptr) pipe.reader->wake();
  loop_.charge(count);
  return count;
}

void duplex_state::shutdown(unsigned side) noexcept {
  duplex_pipe& pipe = to(side);
  if (pipe.ended || pipe.ending) return;
  if (pipe.writer != nullptr || ends_[side].writing.active()) {
    pipe.ending = true;
  } else {
    end_sending(side);
  }
}

void duplex_state::end_sending(unsigned side) noexcept {
  duplex_pipe& pipe = to(side);
  pipe.ending = false;
  pipe.ended = true;
  if (pipe.reader != nullptr) pipe.reader->wake();
}

void duplex_state::stop_reading(unsigned side) noexcept {
  const counted_ptr<duplex_state> kept = share();  // a handler may own the stream
  if (duplex_read* const reader = from(side).reader) reader->cancel();
  ends_[side].reading.stop();
}

void duplex_state::stop_writing(unsigned side) noexcept {
  const counted_ptr<duplex_state> kept = share();  // a handler may own the stream
  duplex_pipe& pipe = to(side);
  if (pipe.writer != nullptr) pipe.writer->cancel();
  if (pipe.ending) end_sending(side);
  ends_[side].writing.stop();
}

void duplex_state::close(unsigned side) noexcept {
  duplex_pipe& in = from(side);
  duplex_pipe& out = to(side);
  end& own = ends_[side];
  own.closed = true;
  in.reader_closed = true;
  if (in.size() != 0) ends_[1 - side].reset = true;
  if (in.writer != nullptr) in.writer->wake();
  if (duplex_read* const reader = out.reader; reader != nullptr && ends_[1 - side].reset) {
    reader->wake();
  }
  end_sending(side);
  if (in.reader != nullptr) in.reader->cancel();
  if (out.writer != nullptr) out.writer->cancel();
  own.reading.stop();
  own.writing.stop();
}

void duplex_wait::wake() noexcept {
  if (!waiter_->queued()) state_->loop().ready(*waiter_);
}

bool duplex_wait::check_closed() {
  if (state_->closed(side_)) return true;
  if (event_loop::current() != &state_->loop()) {
    state_->check_thread();
    misuse("a duplex_stream was awaited on another loop than its own");
  }
  return false;
}

void duplex_read::check(const argument& into) noexcept { expect_space(into); }

bool duplex_read::await_ready() {
  if (check_closed()) {
    cancelled_ = true;
    return frame::may_go_on();
  }
  if (state_->from(side_).reader != nullptr) misuse(busy);
  return state_->readable(side_) && frame::may_go_on();
}

void duplex_read::begin() noexcept {
  if (!cancelled_) state_->from(side_).reader = this;
  if (cancelled_ || state_->readable(side_)) wake();
}

void duplex_read::forget() noexcept {
  if (!state_) return;
  duplex_pipe& pipe = state_->from(side_);
  if (pipe.reader == this) pipe.reader = nullptr;
}

result<std::size_t> duplex_read::await_result() {
  forget();
  if (cancelled_ || state_->closed(side_)) return std::unexpected(code_of(ECANCELED));
  return state_->take(side_, into_);
}

std::size_t duplex_read::await_resume() {
  const result<std::size_t> r = await_result();
  if (!r) throw_error(r.error(), "read from a duplex");
  return *r;
}

void duplex_read::describe(description& to) const { to.add("read from a duplex"); }

const_buffer duplex_bytes::next() noexcept {
  constexpr int most_empty = 512;
  for (int i = 0; left_ != 0 && i < most_empty; ++i) {
    const const_buffer& first = list_ == nullptr ? one_ : *list_;
    if (begun_ < first.size())
      return std::span<const std::byte>(first.data(), first.size()).subspan(begun_);
    begun_ = 0;
    --left_;
    if (list_ != nullptr) ++list_;
  }
  return {};
}

bool duplex_write::attempt() noexcept {
  duplex_state& shared = *state_;
  while (!over_) {
    error_ = cancelled_ ? ECANCELED : refused_ ? EPIPE : shared.write_error(side_);
    const const_buffer bytes = bytes_.next();
    over_ = error_ != 0 || !bytes_.more();
    if (over_) break;
    if (bytes.size() != 0) {
      if (shared.to(side_).full()) return false;
      bytes_.sent(shared.put(side_, bytes));
      if (bytes_.next().size() == 0 && !bytes_.more()) continue;
      if (shared.to(side_).full()) return false;
    }
    if (!shared.loop().may_go_on()) return false;
  }
  return true;
}

bool duplex_write::await_ready() {
  if (check_closed()) cancelled_ = true;
  if (cancelled_ || refused_) return attempt() && frame::may_go_on();
  if (state_->to(side_).writer != nullptr) misuse(busy);
  begun_ = true;
  return frame::may_go_on() && attempt();
}

void duplex_write::begin() noexcept {
  duplex_pipe& pipe = state_->to(side_);
  if (begun_) pipe.writer = this;
  if (over_ || !pipe.full() || pipe.reader_closed) wake();
}

void duplex_write::run(ready_node& node) {
  auto& waiter = static_cast<frame&>(node);
  auto& self = static_cast<duplex_write&>(waiter.waiting_for());
  if (self.attempt()) {
    frame::resume_after(waiter);
  } else {
    self.begin();
  }
}

void duplex_write::forget() noexcept {
  if (!state_ || !std::exchange(begun_, false)) return;
  duplex_pipe& pipe = state_->to(side_);
  if (pipe.writer == this) pipe.writer = nullptr;
  state_->write_over(side_);
}

result<void> duplex_write::await_result() noexcept {
  forget();
  if (error_ != 0) return std::unexpected(code_of(error_));
  return {};
}

void duplex_write::await_resume() {
  if (const result<void> r = await_result(); !r) throw_error(r.error(), "write to a duplex");
}

void duplex_write::describe(description& to) const { to.add("write to a duplex"); }

}  // namespace eddy::detail
