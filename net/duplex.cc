// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/duplex.h>

#include <cerrno>

#include <eddy/loop/detail/current_loop.h>
#include <eddy/loop/detail/misuse.h>

namespace eddy {

namespace {

std::error_code code_of(int error) noexcept { return {error, std::generic_category()}; }

}  // namespace

void duplex_stream::not_open() noexcept {
  detail::misuse("a duplex_stream was used that is not open: it was closed, or moved from");
}

void duplex_stream::close() noexcept {
  if (!state_) return;
  state_->check_thread();
  const detail::counted_ptr<detail::duplex_state> dying = std::move(state_);
  dying->close(side_);
}

void duplex_stream::read(mutable_buffer into, handler<void(result<std::size_t>)> on_read) {
  detail::expect_handler(on_read, "duplex_stream::read");
  auto operation = read(into);
  detail::duplex_state& shared = state();
  if (shared.reading(side_).active()) detail::misuse(detail::duplex_read::busy);
  shared.reading(side_).start(shared.loop(), std::move(operation), std::move(on_read));
}

std::optional<result<std::size_t>> duplex_stream::try_read(mutable_buffer into) {
  detail::duplex_read::check(into);
  detail::duplex_state& shared = state();
  if (shared.from(side_).reader != nullptr || shared.reading(side_).active())
    detail::misuse(detail::duplex_read::busy);
  if (!shared.readable(side_)) return std::nullopt;
  return shared.take(side_, into);
}

void duplex_stream::write(const_buffer bytes, handler<void(result<void>)> on_written) {
  detail::expect_handler(on_written, "duplex_stream::write");
  start(write(bytes), std::move(on_written));
}

void duplex_stream::write(std::span<const const_buffer> buffers,
                          handler<void(result<void>)> on_written) {
  detail::expect_handler(on_written, "duplex_stream::write");
  start(write(buffers), std::move(on_written));
}

void duplex_stream::start(detail::duplex_operation<detail::duplex_write> operation,
                          handler<void(result<void>)> on_written) {
  detail::duplex_state& shared = state();
  if (shared.writing(side_).active()) detail::misuse(detail::duplex_write::busy);
  shared.writing(side_).start(shared.loop(), std::move(operation), std::move(on_written));
}

std::optional<result<std::size_t>> duplex_stream::try_write(const_buffer bytes) {
  detail::duplex_state& shared = state();
  const detail::duplex_pipe& pipe = shared.to(side_);
  if (pipe.ending) return std::unexpected(code_of(EPIPE));
  if (pipe.writer != nullptr || shared.writing(side_).active())
    detail::misuse(detail::duplex_write::busy);
  if (const int error = shared.write_error(side_)) return std::unexpected(code_of(error));
  if (bytes.size() != 0 && pipe.full()) return std::nullopt;
  return shared.put(side_, bytes);
}

std::pair<duplex_stream, duplex_stream> duplex(event_loop& loop, std::size_t a_to_b,
                                               std::size_t b_to_a) {
  if (a_to_b == 0 || b_to_a == 0) {
    detail::misuse("a duplex was given a buffer of size zero: a write would wait for ever");
  }
  const detail::counted_ptr<detail::duplex_state> shared(
      new detail::duplex_state(loop, a_to_b, b_to_a));
  return {duplex_stream(shared, 0), duplex_stream(shared, 1)};
}

std::pair<duplex_stream, duplex_stream> duplex(std::size_t a_to_b, std::size_t b_to_a) {
  return duplex(detail::current_loop("duplex"), a_to_b, b_to_a);
}

}  // namespace eddy
