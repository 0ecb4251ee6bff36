// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/detail/operation.h>

#include <eddy/loop/description.h>
#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/text.h>
#include <eddy/loop/detail/throw_error.h>
#include <eddy/loop/event_loop.h>

namespace eddy::detail {

void expect_loop(const open_socket& socket) noexcept {
  if (event_loop::current() == &socket.loop()) return;
  socket.loop().check_thread();
  misuse("a socket was awaited on another loop than its own");
}

void operation::describe_as(description& to, const char* name) const {
  to.add(text({name, " ", socket_->description()}));
}

void operation::describe_as(description& to, const std::string& doing) const {
  if (socket_->closed()) return to.add(text({doing, " (closed)"}));
  to.add(text({doing, " (descriptor ", socket_->descriptor(), ")"}));
}

void operation::fail(const std::string& doing) const { throw_error(std::errc(error_), doing); }

void operation::fail(const char* name) const {
  throw_error(std::errc(error_), text({name, " ", socket_->peer_words()}));
}

}  // namespace eddy::detail
