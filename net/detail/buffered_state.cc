// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/detail/buffered_state.h>

#include <algorithm>
#include <array>
#include <new>

#include <eddy/future/as_result.h>
#include <eddy/loop/detail/text.h>

namespace eddy::detail {

buffered_state::buffered_state(event_loop& loop, std::size_t size)
    : in(size), buffer_size(size), loop_(loop) {
  if (size == 0) misuse("a buffered stream was given a buffer of size zero");
}

void buffered_state::close() noexcept {
  loop_.check_thread();
  closed_ = true;
  close_stream();
  reader.stop();
  sender.stop();
}

void buffered_state::wrong_reader() const {
  if (event_loop::current() != &loop_) {
    loop_.check_thread();
    misuse("a buffered stream was awaited on another loop than its own");
  }
  if (!frame::dropped()) misuse("a read is already pending on this buffered stream");
}

buffered_state::writer::writer(buffered_state& of) : of_(of) {
  of.expect_writable();
  of.writing_ = true;
}

void buffered_state::expect_writable() const {
  if (closed_) {
    throw_error(std::errc::operation_canceled, "write to a closed buffered stream");
  }
  // While a write is pending, it is not complete either.
  if (writing_) misuse("a write is already pending on this buffered stream");
  if (lost_) {
    throw_error(std::errc::operation_canceled,
                "write to a buffered stream after a write that did not complete");
  }
}

task<> each_line(buffered_share share, std::size_t limit,
                 handler<void(result<std::optional<std::string_view>>)> on_line) {
  for (;;) {
    using line_result = result<std::optional<std::string_view>>;
    line_result line = std::unexpected(std::make_error_code(std::errc::not_enough_memory));
    try {
      buffered_read<line_unit> next(*share, line_unit(limit));
      line = co_await as_result(std::move(next));
    } catch (const std::bad_alloc&) {
      line = std::unexpected(std::make_error_code(std::errc::not_enough_memory));
    } catch (...) {
      share->reader.leave();  // an error of a stream of the program's own leaves the loop's run
      throw;
    }
    const bool last = !line || !*line;
    if (last) share->reader.leave();
    try {
      on_line(std::move(line));
    } catch (...) {
      // Nobody reads this coroutine's future. If the handler has stopped this, the slot is free, or
      // another read has it.
      if (!last && !frame::dropped()) share->reader.leave();
      throw;
    }
    if (last) co_return;
  }
}

task<> buffered_write(buffered_share share, const_buffer bytes) {
  share->expect_writable();
  if (bytes.size() <= share->buffer_size - std::min(share->waiting.size(), share->buffer_size)) {
    share->append(bytes);
    share->charge(bytes.size(), 0);
    co_return;
  }
  const std::array<const_buffer, 1> list{bytes};
  task<> sent = share->send(list);
  co_await std::move(sent);
}

task<> buffered_write_all(buffered_share share, std::span<const const_buffer> buffers) {
  share->expect_writable();
  const std::size_t space =
      share->buffer_size - std::min(share->waiting.size(), share->buffer_size);
  std::size_t size = 0;
  std::size_t fitting = 0;
  for (const const_buffer& one : buffers) {
    if (one.size() > space - size) break;
    size += one.size();
    ++fitting;
  }
  if (fitting == buffers.size()) {
    for (const const_buffer& one : buffers) share->append(one);
    share->charge(size, fitting);
    co_return;
  }
  share->charge(0, fitting);
  task<> sent = share->send(buffers);
  co_await std::move(sent);
}

task<> buffered_write_frame(buffered_share share, std::size_t length_bytes, std::endian order,
                            const_buffer payload) {
  const std::uint64_t length = payload.size();
  if (length_bytes < 8 && length >> (8 * length_bytes) != 0) {
    throw_error(stream_error::too_long, text({"write a frame of ", length,
                                              " bytes with a length of ", length_bytes, " bytes"}));
  }
  std::array<std::byte, 8> header;
  store_length(header.data(), length_bytes, order, length);
  const const_buffer head = std::span<const std::byte>(header).first(length_bytes);
  const std::array<const_buffer, 2> list{head, payload};
  task<> written = buffered_write_all(std::move(share), list);
  co_await std::move(written);
}

task<> buffered_flush(buffered_share share) {
  task<> sent = share->send({});
  co_await std::move(sent);
}

task<> buffered_shutdown(buffered_share share) {
  task<> sent = share->send({});
  co_await std::move(sent);
  task<> ended = share->end_sending();
  co_await std::move(ended);
}

}  // namespace eddy::detail
