// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/tcp_listener.h>

#include <string>

#include <sys/socket.h>

#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/text.h>
#include <eddy/loop/detail/throw_error.h>
#include <eddy/net/detail/adopt.h>
#include <eddy/net/detail/listening_socket.h>
#include <eddy/net/detail/options.h>
#include <eddy/net/detail/socket_setup.h>
#include <eddy/net/detail/system.h>

namespace eddy {

namespace {

using detail::os;
using detail::socket_descriptor;

socket_descriptor listening_descriptor(const address& local, const tcp_listener::options& how) {
  const std::string doing = detail::text({"listen at ", local.to_string()});
  sockaddr_storage name;
  const socklen_t size = local.to(name);
  if (size == 0) detail::throw_error(std::errc::invalid_argument, doing);
  socket_descriptor descriptor(
      os().socket(name.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), doing.c_str());
  const char* const refused =
      detail::set_up(descriptor.number(), name.ss_family, detail::socket_use::listener, how);
  if (refused != nullptr) detail::throw_errno(detail::text({doing, ", option ", refused}));
  if (os().bind(descriptor.number(), reinterpret_cast<const sockaddr*>(&name), size) < 0 ||
      os().listen(descriptor.number(), how.backlog) < 0) {
    detail::throw_errno(doing);
  }
  return descriptor;
}

socket_descriptor taken_over(int number) {
  socket_descriptor descriptor = detail::adopt_tcp(number, "a tcp_listener");
  detail::expect_listening(number, "a tcp_listener");
  return descriptor;
}

std::unique_ptr<detail::listening_socket> make(event_loop& loop, socket_descriptor descriptor) {
  const address name = detail::local_name(descriptor.number());
  return std::make_unique<detail::listening_socket>(loop, std::move(descriptor), name);
}

}  // namespace

tcp_listener::tcp_listener() noexcept = default;

tcp_listener::tcp_listener(event_loop& loop, const address& local, const options& how)
    : listening_(make(loop, listening_descriptor(local, how))) {
  set_at_limit(how.connections_at_limit);
}

tcp_listener::tcp_listener(event_loop& loop, int descriptor)
    : listening_(make(loop, taken_over(descriptor))) {}

tcp_listener::tcp_listener(tcp_listener&&) noexcept = default;

tcp_listener& tcp_listener::operator=(tcp_listener&& other) noexcept {
  std::unique_ptr<detail::listening_socket> before = std::move(other.listening_);
  before.swap(listening_);
  return *this;
}

tcp_listener::~tcp_listener() { close(); }

void tcp_listener::close() noexcept {
  // A handler that is destroyed with the socket may use this listener.
  const std::unique_ptr<detail::listening_socket> dying = std::move(listening_);
}

void tcp_listener::set_at_limit(at_limit what) {
  detail::listening_socket& own = checked();
  if (own.set_sheds(what == at_limit::shed)) return;
  detail::throw_errno(detail::text(
      {"keep a descriptor in reserve for the listener at ", own.socket().name().to_string()}));
}

std::uint64_t tcp_listener::shed_count() const noexcept { return checked().shed_count(); }

bool tcp_listener::open() const noexcept {
  if (listening_ != nullptr) listening_->socket().loop().check_thread();
  return listening_ != nullptr;
}

const address& tcp_listener::local_address() const noexcept { return checked().socket().name(); }

int tcp_listener::descriptor() const noexcept { return checked().socket().descriptor(); }

event_loop& tcp_listener::loop() const noexcept { return listening().socket().loop(); }

std::size_t tcp_listener::count() noexcept { return detail::listening_socket::count(); }

detail::listening_socket& tcp_listener::listening() const noexcept {
  if (listening_ == nullptr) {
    detail::misuse("a tcp_listener was used that is not open: it was closed, or moved from");
  }
  return *listening_;
}

detail::listening_socket& tcp_listener::checked() const noexcept {
  detail::listening_socket& own = listening();
  own.socket().loop().check_thread();
  return own;
}

detail::operation_awaitable<detail::accept_call> tcp_listener::accept() {
  detail::listening_socket& own = checked();
  return {own.socket(), detail::accept_call(own)};
}

void tcp_listener::accept(handler<void(result<tcp_stream>)> on_accepted) {
  detail::expect_handler(on_accepted, "tcp_listener::accept");
  detail::listening_socket& own = checked();
  detail::callback_operation<detail::accept_call>::start(own.socket(), detail::accept_call(own),
                                                         std::move(on_accepted));
}

std::optional<result<tcp_stream>> tcp_listener::try_accept() {
  detail::listening_socket& own = checked();
  own.socket().expect_free(readiness::direction::read, detail::accept_call::busy);
  detail::accept_call call(own);
  const std::optional<int> outcome = call.attempt_without_pause(own.socket());
  if (!outcome) return std::nullopt;
  if (*outcome != 0) return std::unexpected(std::error_code(*outcome, std::generic_category()));
  return call.take();
}

void tcp_listener::stop_accepting() noexcept { checked().stop_accepting(); }

}  // namespace eddy
