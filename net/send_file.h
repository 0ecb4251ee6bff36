// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>
#include <utility>

#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/handler.h>
#include <eddy/loop/result.h>
#include <eddy/net/detail/operation.h>
#include <eddy/net/detail/splice_calls.h>

namespace eddy {

/// Sends bytes of a file over a stream on a socket, and returns their number.
///
///     const std::uint64_t sent = co_await send_file(stream, file, 0, size);
///
/// The kernel moves the bytes by itself (sendfile(2)). The number is smaller than `size` if the
/// file ends earlier. This counts as a write of the stream. Reading a file that is not in memory
/// blocks the loop for as long as the disk needs.
///
/// Errors: `std::system_error`; `broken_pipe` after `shutdown`, if there are bytes to send;
/// `invalid_seek` if `file` is a pipe or a socket; `invalid_argument` for a directory;
/// `value_too_large` for an offset that no file has. Devices such as /dev/zero are sent, too.
/// Lifetime: the descriptor `file` must stay open until the operation has completed.
/// Cancelling: an unknown part of the bytes has been sent, so close the stream.
template <detail::spliceable Stream>
detail::operation_awaitable<detail::send_file_call> send_file(Stream& to, int file,
                                                              std::uint64_t offset,
                                                              std::uint64_t size) {
  return {detail::stream_access::socket(to), detail::send_file_call(file, offset, size)};
}
/// Sends bytes of a file over a stream on a socket, and calls `on_sent` with their number.
///
/// The number is smaller than `size` if the file ends earlier. The descriptor `file` must stay open
/// until the handler is called. Closing the stream, or `stop_writing`, cancels the operation.
template <detail::spliceable Stream>
void send_file(Stream& to, int file, std::uint64_t offset, std::uint64_t size,
               handler<void(result<std::uint64_t>)> on_sent) {
  detail::expect_handler(on_sent, "send_file");
  using operation = detail::callback_operation<detail::send_file_call>;
  operation::start(detail::stream_access::socket(to), detail::send_file_call(file, offset, size),
                   std::move(on_sent));
}

}  // namespace eddy
