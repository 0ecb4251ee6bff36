// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/unix_message_socket.h>

#include <sys/socket.h>

#include <eddy/loop/detail/misuse.h>
#include <eddy/net/detail/once.h>
#include <eddy/net/detail/options.h>
#include <eddy/net/detail/unix_names.h>

namespace eddy {

using detail::callback_operation;
using detail::once;

void unix_message_socket::receive(mutable_buffer into,
                                  handler<void(result<received_message>)> on_received) {
  detail::expect_handler(on_received, "unix_message_socket::receive");
  using call = detail::receive_message_call;
  callback_operation<call>::start(socket(), call(into, {}), std::move(on_received));
}

std::optional<result<received_message>> unix_message_socket::try_receive(mutable_buffer into) {
  return once(socket(), detail::receive_message_call(into, {}));
}

void unix_message_socket::receive_descriptors(mutable_buffer into,
                                              std::span<unique_descriptor> slots,
                                              handler<void(result<received_message>)> on_received) {
  detail::expect_handler(on_received, "unix_message_socket::receive_descriptors");
  using call = detail::receive_message_call;
  callback_operation<call>::start(socket(), call(into, slots), std::move(on_received));
}

std::optional<result<received_message>> unix_message_socket::try_receive_descriptors(
    mutable_buffer into, std::span<unique_descriptor> slots) {
  return once(socket(), detail::receive_message_call(into, slots));
}

void unix_message_socket::send(const_buffer bytes, handler<void(result<void>)> on_sent) {
  detail::expect_handler(on_sent, "unix_message_socket::send");
  using call = detail::send_message_call;
  callback_operation<call>::start(socket(), call(bytes, {}), std::move(on_sent));
}

std::optional<result<void>> unix_message_socket::try_send(const_buffer bytes) {
  return once(socket(), detail::send_message_call(bytes, {}));
}

void unix_message_socket::send_descriptors(const_buffer bytes, std::span<const int> descriptors,
                                           handler<void(result<void>)> on_sent) {
  detail::expect_handler(on_sent, "unix_message_socket::send_descriptors");
  using call = detail::send_message_call;
  callback_operation<call>::start(socket(), call(bytes, descriptors), std::move(on_sent));
}

std::optional<result<void>> unix_message_socket::try_send_descriptors(
    const_buffer bytes, std::span<const int> descriptors) {
  return once(socket(), detail::send_message_call(bytes, descriptors));
}

void unix_message_socket::wait_readable(handler<void(result<void>)> on_readable) {
  detail::expect_handler(on_readable, "unix_message_socket::wait_readable");
  using call = detail::wait_call<readiness::direction::read>;
  callback_operation<call>::start(socket(), call(), std::move(on_readable));
}

void unix_message_socket::wait_writable(handler<void(result<void>)> on_writable) {
  detail::expect_handler(on_writable, "unix_message_socket::wait_writable");
  using call = detail::wait_call<readiness::direction::write>;
  callback_operation<call>::start(socket(), call(), std::move(on_writable));
}

unix_address unix_message_socket::local_address() const {
  return detail::local_unix_name(descriptor());
}

unix_address unix_message_socket::peer_address() const {
  return detail::peer_unix_name(descriptor());
}

void unix_message_socket::set_send_buffer(std::size_t size) {
  detail::set_option(descriptor(), SOL_SOCKET, SO_SNDBUF, detail::as_int(size),
                     "setting the send buffer");
}

std::size_t unix_message_socket::send_buffer() const {
  return static_cast<std::size_t>(
      detail::get_option(descriptor(), SOL_SOCKET, SO_SNDBUF, "asking for the send buffer"));
}

}  // namespace eddy
