// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/socket_stream.h>

#include <utility>

#include <sys/socket.h>

#include <eddy/loop/detail/misuse.h>
#include <eddy/net/detail/once.h>
#include <eddy/net/detail/options.h>

namespace eddy {

namespace {

using detail::callback_operation;
using detail::once;
using detail::set_option;

}  // namespace

void socket_stream::read(mutable_buffer into, handler<void(result<std::size_t>)> on_read) {
  detail::expect_handler(on_read, "socket_stream::read");
  callback_operation<detail::read_call>::start(socket(), detail::read_call(into),
                                               std::move(on_read));
}

std::optional<result<std::size_t>> socket_stream::try_read(mutable_buffer into) {
  return once(socket(), detail::read_call(into));
}

void socket_stream::wait_readable(handler<void(result<void>)> on_readable) {
  detail::expect_handler(on_readable, "socket_stream::wait_readable");
  using call = detail::wait_call<readiness::direction::read>;
  callback_operation<call>::start(socket(), call(), std::move(on_readable));
}

void socket_stream::write(const_buffer bytes, handler<void(result<void>)> on_written) {
  detail::expect_handler(on_written, "socket_stream::write");
  callback_operation<detail::write_call>::start(socket(), detail::write_call(bytes),
                                                std::move(on_written));
}

void socket_stream::write(std::span<const const_buffer> buffers,
                          handler<void(result<void>)> on_written) {
  detail::expect_handler(on_written, "socket_stream::write");
  callback_operation<detail::write_call>::start(socket(), detail::write_call(buffers),
                                                std::move(on_written));
}

std::optional<result<std::size_t>> socket_stream::try_write(const_buffer bytes) {
  return once(socket(), detail::write_some_call(bytes));
}

std::optional<result<std::size_t>> socket_stream::try_write(std::span<const const_buffer> buffers) {
  return once(socket(), detail::write_some_of_call(buffers));
}

void socket_stream::wait_writable(handler<void(result<void>)> on_writable) {
  detail::expect_handler(on_writable, "socket_stream::wait_writable");
  using call = detail::wait_call<readiness::direction::write>;
  callback_operation<call>::start(socket(), call(), std::move(on_writable));
}

void socket_stream::shutdown() noexcept { socket().shutdown_writing(); }

void socket_stream::shutdown_read() noexcept { socket().shutdown_reading(); }

std::error_code socket_stream::take_error() noexcept {
  return {detail::connect_call().attempt(socket()).value_or(0), std::generic_category()};
}

void socket_stream::set_send_buffer(std::size_t size) {
  set_option(descriptor(), SOL_SOCKET, SO_SNDBUF, detail::as_int(size), "setting the send buffer");
}

void socket_stream::set_receive_buffer(std::size_t size) {
  set_option(descriptor(), SOL_SOCKET, SO_RCVBUF, detail::as_int(size),
             "setting the receive buffer");
}

std::size_t socket_stream::send_buffer() const {
  return static_cast<std::size_t>(
      detail::get_option(descriptor(), SOL_SOCKET, SO_SNDBUF, "asking for the send buffer"));
}

std::size_t socket_stream::receive_buffer() const {
  return static_cast<std::size_t>(
      detail::get_option(descriptor(), SOL_SOCKET, SO_RCVBUF, "asking for the receive buffer"));
}

}  // namespace eddy
