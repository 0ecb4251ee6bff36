// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/detail/held_stream.h>

#include <eddy/loop/detail/deep_stack.h>

namespace eddy::detail {

namespace {

constexpr const char* busy_read = "a read is already pending on this stream";
constexpr const char* busy_write = "a write is already pending on this stream";

void start_write(held_stream& held, task<> work, handler<void(result<void>)> on_done,
                 const char* who) {
  expect_handler(on_done, who);
  if (held.writer.active()) misuse(busy_write);
  held.writer.start(held.loop(), std::move(work), std::move(on_done));
}

}  // namespace

void held_stream::close() noexcept {
  // The stream below may be around another one, and so on.
  without_overflow([this] {
    closed = true;
    close_stream();
    reader.stop();
    writer.stop();
  });
}

task<std::size_t> read_held(held_share held, mutable_buffer into) {
  held->expect_open();
  const held_stream::direction used(held->read_pending, busy_read);
  task<std::size_t> reading = held->read(into);
  const std::size_t count = co_await std::move(reading);
  co_return count;
}

task<> write_held(held_share held, const_buffer bytes, write_observer* observer) {
  held->expect_open();
  const held_stream::direction used(held->write_pending, busy_write);
  task<> writing = held->write(bytes, observer);
  co_await std::move(writing);
}

task<> write_held_list(held_share held, std::span<const const_buffer> buffers) {
  held->expect_open();
  const held_stream::direction used(held->write_pending, busy_write);
  task<> writing = held->write_all(buffers);
  co_await std::move(writing);
}

task<> shut_down_held(held_share held) {
  held->expect_open();
  const held_stream::direction used(held->write_pending, busy_write);
  task<> ending = held->end_sending();
  co_await std::move(ending);
}

void stream_around::read(mutable_buffer into, handler<void(result<std::size_t>)> on_read) {
  expect_handler(on_read, "read");
  held_stream& own = held();
  if (own.reader.active()) misuse(busy_read);
  own.reader.start(own.loop(), read(into), std::move(on_read));
}

void stream_around::write(const_buffer bytes, handler<void(result<void>)> on_written) {
  start_write(held(), write(bytes), std::move(on_written), "write");
}

void stream_around::write(std::span<const const_buffer> buffers,
                          handler<void(result<void>)> on_written) {
  start_write(held(), write(buffers), std::move(on_written), "write");
}

void stream_around::shutdown(handler<void(result<void>)> on_ended) {
  start_write(held(), shutdown(), std::move(on_ended), "shutdown");
}

}  // namespace eddy::detail
