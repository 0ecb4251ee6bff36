// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <system_error>

#include <eddy/future/as_result.h>
#include <eddy/future/task.h>

// Tasks on any stream of bytes.

/// Returns the bytes of one read, or an empty string at the end of the stream.
template <class Stream>
eddy::task<std::string> read_some(Stream& from) {
  std::array<char, 4096> buffer;
  const std::size_t n = co_await from.read(buffer);
  co_return std::string(buffer.data(), n);
}

/// Returns all bytes until the end of the stream.
template <class Stream>
eddy::task<std::string> read_all(Stream& from) {
  std::string all;
  for (;;) {
    const std::string some = co_await read_some(from);
    if (some.empty()) co_return all;
    all += some;
  }
}

/// The error of one read, or zero if the read succeeds.
template <class Stream>
eddy::task<std::error_code> read_error(Stream& from) {
  std::array<char, 64> buffer;
  const auto r = co_await eddy::as_result(from.read(buffer));
  co_return r ? std::error_code() : r.error();
}

/// Writes `text`, which is passed by value so that it lives as long as the write.
template <class Stream>
eddy::task<> write_all(Stream& to, std::string text) {
  co_await to.write(text);
}
