// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/tls/detail/tls_connection.h>

#include <eddy/loop/detail/misuse.h>
#include <eddy/net/detail/expect_space.h>

namespace eddy::detail {

void tls_connection::not_open() noexcept {
  misuse("a tls_stream was used that is not open: it was closed, or moved from");
}

void tls_connection::close() noexcept {
  if (!state_) return;
  state_->check_thread();
  const tls_share dying = std::move(state_);
  dying->close();
}

tls_read tls_connection::read(mutable_buffer into) {
  expect_space(into);
  return {share(), into};
}

void tls_connection::read(mutable_buffer into, handler<void(result<std::size_t>)> on_read) {
  expect_handler(on_read, "tls_stream::read");
  tls_read operation = read(into);
  tls_state& own = state();
  if (own.reader.active()) misuse("a read is already pending on this tls_stream");
  own.reader.start(own.loop(), std::move(operation), std::move(on_read));
}

void tls_connection::start_write(task<> work, handler<void(result<void>)> on_done) {
  expect_handler(on_done, "tls_stream::write");
  tls_state& own = state();
  if (own.writer.active()) misuse("a write is already pending on this tls_stream");
  own.writer.start(own.loop(), std::move(work), std::move(on_done));
}

void tls_connection::write(const_buffer bytes, handler<void(result<void>)> on_written) {
  start_write(write(bytes), std::move(on_written));
}

void tls_connection::write(std::span<const const_buffer> buffers,
                           handler<void(result<void>)> on_written) {
  start_write(write(buffers), std::move(on_written));
}

void tls_connection::shutdown(handler<void(result<void>)> on_ended) {
  expect_handler(on_ended, "tls_stream::shutdown");
  tls_state& own = state();
  if (own.ender.active()) misuse("a shutdown is already pending on this tls_stream");
  own.ender.start(own.loop(), shutdown(), std::move(on_ended));
}

}  // namespace eddy::detail
