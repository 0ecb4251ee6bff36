// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/detail/pipe_base.h>

#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/text.h>
#include <eddy/net/detail/adopt.h>
#include <eddy/net/detail/once.h>
#include <eddy/net/detail/system.h>

namespace eddy::detail {

pipe_end make_pipe_end(event_loop& loop, int descriptor, const pipe_kind& kind) {
  return {make_socket(loop, socket_descriptor(descriptor), address(), false), kind};
}

void pipe_base::not_open() const noexcept {
  misuse(text({"a ", type_, " was used that is not open: it was closed, or moved from"}).c_str());
}

template <class Call>
void pipe_base::start(const char* operation, Call call,
                      handler<void(result<typename Call::value>)> on_done) {
  if (!on_done) null_handler(text({type_, "::", operation}).c_str());
  callback_operation<Call>::start(socket(), std::move(call), std::move(on_done));
}

void pipe_base::read(mutable_buffer into, handler<void(result<std::size_t>)> on_read) {
  start("read", pipe_read_call(into, *end_.kind), std::move(on_read));
}

std::optional<result<std::size_t>> pipe_base::try_read(mutable_buffer into) {
  return once(socket(), pipe_read_call(into, *end_.kind));
}

void pipe_base::wait_readable(handler<void(result<void>)> on_readable) {
  using call = pipe_wait_call<readiness::direction::read>;
  start("wait_readable", call(*end_.kind), std::move(on_readable));
}

void pipe_base::write(const_buffer bytes, handler<void(result<void>)> on_written) {
  start("write", pipe_write_call(bytes, *end_.kind), std::move(on_written));
}

void pipe_base::write(std::span<const const_buffer> buffers,
                      handler<void(result<void>)> on_written) {
  start("write", pipe_write_call(buffers, *end_.kind), std::move(on_written));
}

std::optional<result<std::size_t>> pipe_base::try_write(const_buffer bytes) {
  return once(socket(), pipe_write_some_call(bytes, *end_.kind));
}

void pipe_base::wait_writable(handler<void(result<void>)> on_writable) {
  using call = pipe_wait_call<readiness::direction::write>;
  start("wait_writable", call(*end_.kind), std::move(on_writable));
}

}  // namespace eddy::detail
