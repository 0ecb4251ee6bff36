// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/tcp_listener.h>

#include <cerrno>
#include <string>

#include <netinet/in.h>

#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/text.h>
#include <eddy/loop/detail/throw_error.h>
#include <eddy/net/detail/listening_socket.h>
#include <eddy/net/detail/options.h>
#include <eddy/net/detail/system.h>

namespace eddy {

namespace {

using detail::os;

/// Closes a descriptor that nobody owns yet.
class guard {
public:
  explicit guard(int descriptor) noexcept : descriptor_(descriptor) {}
  guard(const guard&) = delete;
  guard& operator=(const guard&) = delete;
  ~guard() {
    if (descriptor_ >= 0) os().close(descriptor_);
  }
  [[nodiscard]] int release() noexcept { return std::exchange(descriptor_, -1); }

private:
  int descriptor_;
};

int listening_descriptor(const address& where, const tcp_listener::options& how) {
  const std::string doing = detail::text({"listen at ", where.to_string()});
  sockaddr_storage name;
  const socklen_t size = where.to(name);
  if (size == 0) detail::throw_error(std::errc::invalid_argument, doing);
  const int descriptor = os().socket(name.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (descriptor < 0) detail::throw_errno(doing);
  guard g(descriptor);
  const auto set = [&](int level, int option, bool on) {
    detail::set_option(descriptor, level, option, int{on}, doing.c_str());
  };
  set(SOL_SOCKET, SO_REUSEADDR, how.reuse_address);
  if (how.reuse_port) set(SOL_SOCKET, SO_REUSEPORT, true);
  if (where.is_v6()) set(IPPROTO_IPV6, IPV6_V6ONLY, how.ipv6_only);
  if (os().bind(descriptor, reinterpret_cast<const sockaddr*>(&name), size) < 0 ||
      os().listen(descriptor, how.backlog) < 0) {
    detail::throw_errno(doing);
  }
  return g.release();
}

detail::socket_owner own(event_loop& loop, int descriptor) {
  guard g(descriptor);
  const address where = detail::local_name(descriptor);
  return detail::socket_owner(detail::listening_socket::make(loop, g.release(), where));
}

int taken_over(int descriptor) {
  if (os().set_non_blocking(descriptor) == 0) return descriptor;
  const std::error_code error(errno, std::generic_category());
  if (descriptor >= 0) os().close(descriptor);
  detail::throw_error(error, detail::text({"take over descriptor ", descriptor}));
}

}  // namespace

tcp_listener::tcp_listener(event_loop& loop, const address& where, const options& how)
    : socket_(own(loop, listening_descriptor(where, how))) {}

tcp_listener::tcp_listener(event_loop& loop, int descriptor)
    : socket_(own(loop, taken_over(descriptor))) {}

void tcp_listener::not_open() noexcept {
  detail::misuse("a tcp_listener was used that is not open: it was closed, or moved from");
}

void tcp_listener::accept(handler<void(result<tcp_stream>)> on_accepted) {
  detail::expect_handler(on_accepted, "tcp_listener::accept");
  detail::called_back<detail::accept_call>::start(socket(), detail::accept_call(),
                                                  std::move(on_accepted));
}

std::optional<result<tcp_stream>> tcp_listener::try_accept() {
  detail::open_socket& s = socket();
  s.expect_free(readiness::direction::read);
  detail::accept_call call;
  const std::optional<int> outcome = call.attempt_without_hold(s);
  if (!outcome) return std::nullopt;
  if (*outcome != 0) return std::unexpected(std::error_code(*outcome, std::generic_category()));
  return call.take();
}

}  // namespace eddy
