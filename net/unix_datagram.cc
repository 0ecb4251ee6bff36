// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/unix_datagram.h>

#include <cstddef>
#include <string>
#include <utility>

#include <sys/socket.h>

#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/text.h>
#include <eddy/loop/detail/throw_error.h>
#include <eddy/net/detail/adopt.h>
#include <eddy/net/detail/io.h>
#include <eddy/net/detail/once.h>
#include <eddy/net/detail/stream_access.h>
#include <eddy/net/detail/system.h>
#include <eddy/net/detail/unix_bind.h>
#include <eddy/net/detail/unix_pair.h>

namespace eddy {

namespace {

using detail::os;
using detail::socket_descriptor;

socket_descriptor new_socket(const char* doing) {
  return {os().socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), doing};
}

detail::stream_socket bound(event_loop& loop, const unix_address& local,
                            const unix_datagram::options& how,
                            std::unique_ptr<detail::socket_file>& file) {
  const std::string doing = detail::text({"bind a datagram socket to ", local.to_string()});
  socket_descriptor descriptor = new_socket(doing.c_str());
  auto made = std::make_unique<detail::socket_file>();
  detail::unix_binding binding;
  binding.replace_stale = how.replace_stale;
  binding.permissions = how.permissions;
  *made = detail::bind_unix(descriptor.number(), local, binding, doing);
  detail::stream_socket socket = detail::make_socket(loop, std::move(descriptor), address(), false);
  if (!how.remove_file) made->keep();
  file = std::move(made);
  return socket;
}

}  // namespace

unix_datagram::unix_datagram() noexcept = default;

unix_datagram::unix_datagram(detail::stream_socket socket) noexcept
    : unix_message_socket(std::move(socket)) {}

unix_datagram::unix_datagram(event_loop& loop)
    : unix_message_socket(
          detail::make_socket(loop, new_socket("make a datagram socket"), address(), false)) {}

unix_datagram::unix_datagram(event_loop& loop, const unix_address& local, const options& how) {
  std::unique_ptr<detail::socket_file> file;
  unix_datagram made(bound(loop, local, how, file));
  made.file_ = std::move(file);
  *this = std::move(made);
}

unix_datagram::unix_datagram(event_loop& loop, int descriptor)
    : unix_message_socket(detail::make_socket(
          loop, detail::adopt_unix(descriptor, SOCK_DGRAM, "a unix_datagram"), address(), false)) {}

unix_datagram::unix_datagram(unix_datagram&&) noexcept = default;

unix_datagram& unix_datagram::operator=(unix_datagram&& other) noexcept {
  if (this == &other) return *this;
  const unix_datagram before(std::move(*this));
  file_ = std::move(other.file_);
  unix_message_socket::operator=(std::move(other));
  return *this;
}

unix_datagram::~unix_datagram() { close(); }

void unix_datagram::close() noexcept {
  file_.reset();  // while the socket is open
  unix_message_socket::close();
}

int unix_datagram::release() noexcept {
  const int descriptor = give_up();
  if (file_ != nullptr) file_->keep();
  file_.reset();
  return descriptor;
}

void unix_datagram::connect(const unix_address& peer) {
  sockaddr_storage name;
  socklen_t size = peer.to(name);
  if (peer.is_unnamed()) {
    name.ss_family = AF_UNSPEC;
    size = sizeof name.ss_family;
  }
  const auto* const generic = reinterpret_cast<const sockaddr*>(&name);
  if (detail::uninterrupted([&] { return os().connect(descriptor(), generic, size); }) < 0) {
    detail::throw_errno(detail::text({"connect to ", peer.to_string()}));
  }
}

void unix_datagram::send_to(const_buffer bytes, const unix_address& to,
                            handler<void(result<void>)> on_sent) {
  detail::expect_handler(on_sent, "unix_datagram::send_to");
  using call = detail::send_to_call;
  detail::callback_operation<call>::start(socket(), call(bytes, {}, to), std::move(on_sent));
}

std::optional<result<void>> unix_datagram::try_send_to(const_buffer bytes, const unix_address& to) {
  return detail::once(socket(), detail::send_to_call(bytes, {}, to));
}

void unix_datagram::send_descriptors_to(const_buffer bytes, std::span<const int> descriptors,
                                        const unix_address& to,
                                        handler<void(result<void>)> on_sent) {
  detail::expect_handler(on_sent, "unix_datagram::send_descriptors_to");
  using call = detail::send_to_call;
  detail::callback_operation<call>::start(socket(), call(bytes, descriptors, to),
                                          std::move(on_sent));
}

std::optional<result<void>> unix_datagram::try_send_descriptors_to(const_buffer bytes,
                                                                   std::span<const int> descriptors,
                                                                   const unix_address& to) {
  return detail::once(socket(), detail::send_to_call(bytes, descriptors, to));
}

std::pair<unix_datagram, unix_datagram> datagram_pair(event_loop& loop) {
  auto [near, far] = detail::unix_pair(loop, SOCK_DGRAM, false);
  return {detail::stream_access::make<unix_datagram>(std::move(near)),
          detail::stream_access::make<unix_datagram>(std::move(far))};
}

}  // namespace eddy
