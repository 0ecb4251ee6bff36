// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <system_error>

#include <eddy/future/as_result.h>
#include <eddy/future/task.h>
#include <eddy/net/socket_stream.h>

/// Gives the bytes of one read, or an empty string at the end of the stream.
inline eddy::task<std::string> read_some(eddy::socket_stream& from) {
  std::array<char, 4096> buffer;
  const std::size_t n = co_await from.read(buffer);
  co_return std::string(buffer.data(), n);
}

/// Gives all bytes until the end of the stream.
inline eddy::task<std::string> read_all(eddy::socket_stream& from) {
  std::string all;
  for (;;) {
    const std::string some = co_await read_some(from);
    if (some.empty()) co_return all;
    all += some;
  }
}

/// The error of one read, or zero if the read succeeds.
inline eddy::task<std::error_code> read_error(eddy::socket_stream& from) {
  std::array<char, 64> buffer;
  const auto r = co_await eddy::as_result(from.read(buffer));
  co_return r ? std::error_code() : r.error();
}

/// Writes `text`, which is passed by value so that it lives as long as the write.
inline eddy::task<> write_all(eddy::socket_stream& to, std::string text) {
  co_await to.write(text);
}
