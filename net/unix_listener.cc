// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/unix_listener.h>

#include <string>
#include <type_traits>
#include <utility>

#include <sys/socket.h>

#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/text.h>
#include <eddy/loop/detail/throw_error.h>
#include <eddy/net/detail/adopt.h>
#include <eddy/net/detail/listening_socket.h>
#include <eddy/net/detail/system.h>
#include <eddy/net/detail/unix_bind.h>
#include <eddy/net/detail/unix_names.h>

namespace eddy {

namespace detail {

/// A listening socket and its file.
class unix_listening_socket {
public:
  unix_listening_socket(event_loop& loop, socket_descriptor descriptor, socket_file bound)
      : listening(loop, std::move(descriptor), address()), file(std::move(bound)) {}

  listening_socket listening;
  socket_file file;  // removed before the socket is closed
};

}  // namespace detail

namespace {

using detail::os;
using detail::socket_descriptor;
using detail::unix_listening_socket;

template <class Stream>
constexpr int type_of = std::is_same_v<Stream, unix_stream> ? SOCK_STREAM : SOCK_SEQPACKET;

void set_sheds(unix_listening_socket& own, at_limit what, const unix_address& at) {
  if (own.listening.set_sheds(what == at_limit::shed)) return;
  detail::throw_errno(
      detail::text({"keep a descriptor in reserve for the listener at ", at.to_string()}));
}

std::unique_ptr<unix_listening_socket> listen_at(event_loop& loop, int type,
                                                 const unix_address& local,
                                                 const unix_listener_options& how) {
  const std::string doing = detail::text({"listen at ", local.to_string()});
  socket_descriptor descriptor(os().socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
                               doing.c_str());
  detail::unix_binding binding;
  binding.replace_stale = how.replace_stale;
  binding.permissions = how.permissions;
  detail::socket_file file = detail::bind_unix(descriptor.number(), local, binding, doing);
  if (os().listen(descriptor.number(), how.backlog) < 0) detail::throw_errno(doing);
  auto made = std::make_unique<unix_listening_socket>(loop, std::move(descriptor), std::move(file));
  set_sheds(*made, how.connections_at_limit, local);
  if (!how.remove_file) made->file.keep();
  return made;
}

std::unique_ptr<unix_listening_socket> take_over(event_loop& loop, int type, const char* as,
                                                 int number) {
  socket_descriptor descriptor = detail::adopt_unix(number, type, as);
  detail::expect_listening(number, as);
  return std::make_unique<unix_listening_socket>(loop, std::move(descriptor),
                                                 detail::socket_file());
}

template <class Stream>
constexpr const char* own_name =
    std::is_same_v<Stream, unix_stream> ? "a unix_listener" : "a unix_seqpacket_listener";

}  // namespace

template <class Stream>
basic_unix_listener<Stream>::basic_unix_listener() noexcept = default;

template <class Stream>
basic_unix_listener<Stream>::basic_unix_listener(event_loop& loop, const unix_address& local,
                                                 const options& how)
    : listening_(listen_at(loop, type_of<Stream>, local, how)) {}

template <class Stream>
basic_unix_listener<Stream>::basic_unix_listener(event_loop& loop, int descriptor)
    : listening_(take_over(loop, type_of<Stream>, own_name<Stream>, descriptor)) {}

template <class Stream>
basic_unix_listener<Stream>::basic_unix_listener(basic_unix_listener&&) noexcept = default;

template <class Stream>
basic_unix_listener<Stream>& basic_unix_listener<Stream>::operator=(
    basic_unix_listener&& other) noexcept {
  std::unique_ptr<unix_listening_socket> before = std::move(other.listening_);
  before.swap(listening_);
  return *this;
}

template <class Stream>
basic_unix_listener<Stream>::~basic_unix_listener() {
  close();
}

template <class Stream>
void basic_unix_listener<Stream>::close() noexcept {
  // A handler that is destroyed with the socket may use this listener.
  const std::unique_ptr<unix_listening_socket> dying = std::move(listening_);
}

template <class Stream>
bool basic_unix_listener<Stream>::open() const noexcept {
  if (listening_ != nullptr) listening_->listening.socket().loop().check_thread();
  return listening_ != nullptr;
}

template <class Stream>
void basic_unix_listener<Stream>::keep_file() noexcept {
  checked().file.keep();
}

template <class Stream>
unix_address basic_unix_listener<Stream>::local_address() const {
  return detail::local_unix_name(descriptor());
}

template <class Stream>
int basic_unix_listener<Stream>::descriptor() const noexcept {
  return checked().listening.socket().descriptor();
}

template <class Stream>
event_loop& basic_unix_listener<Stream>::loop() const noexcept {
  return listening().listening.socket().loop();
}

template <class Stream>
unix_listening_socket& basic_unix_listener<Stream>::listening() const noexcept {
  if (listening_ == nullptr) {
    detail::misuse("a unix_listener was used that is not open: it was closed, or moved from");
  }
  return *listening_;
}

template <class Stream>
unix_listening_socket& basic_unix_listener<Stream>::checked() const noexcept {
  unix_listening_socket& own = listening();
  own.listening.socket().loop().check_thread();
  return own;
}

template <class Stream>
detail::operation_awaitable<detail::basic_accept_call<Stream>>
basic_unix_listener<Stream>::accept() {
  detail::listening_socket& own = checked().listening;
  return {own.socket(), detail::basic_accept_call<Stream>(own)};
}

template <class Stream>
void basic_unix_listener<Stream>::accept(handler<void(result<Stream>)> on_accepted) {
  detail::expect_handler(on_accepted, "unix_listener::accept");
  detail::listening_socket& own = checked().listening;
  using call = detail::basic_accept_call<Stream>;
  detail::callback_operation<call>::start(own.socket(), call(own), std::move(on_accepted));
}

template <class Stream>
std::optional<result<Stream>> basic_unix_listener<Stream>::try_accept() {
  detail::listening_socket& own = checked().listening;
  detail::basic_accept_call<Stream> call(own);
  own.socket().expect_free(readiness::direction::read, call.busy);
  const std::optional<int> outcome = call.attempt_without_pause(own.socket());
  if (!outcome) return std::nullopt;
  if (*outcome != 0) return std::unexpected(std::error_code(*outcome, std::generic_category()));
  return call.take();
}

template <class Stream>
void basic_unix_listener<Stream>::set_at_limit(at_limit what) {
  set_sheds(checked(), what, local_address());
}

template <class Stream>
std::uint64_t basic_unix_listener<Stream>::shed_count() const noexcept {
  return checked().listening.shed_count();
}

template <class Stream>
void basic_unix_listener<Stream>::stop_accepting() noexcept {
  checked().listening.stop_accepting();
}

template class basic_unix_listener<unix_stream>;
template class basic_unix_listener<unix_seqpacket>;

}  // namespace eddy
