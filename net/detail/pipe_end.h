// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <optional>
#include <system_error>
#include <utility>

#include <eddy/loop/result.h>
#include <eddy/net/detail/open_socket.h>
#include <eddy/net/detail/operation.h>
#include <eddy/net/detail/pipe_calls.h>

namespace eddy::detail {

struct pipe_access;  // makes readers and writers, for `process`
struct terminal_access;

/// Owns an open descriptor that is no socket, and closes it when it is destroyed.
class pipe_end {
public:
  /// Owns nothing.
  pipe_end() noexcept = default;
  /// Takes over `descriptor`, also if this throws.
  /// Errors: `std::bad_alloc`.
  pipe_end(event_loop& loop, int descriptor, const pipe_kind& kind);
  pipe_end(pipe_end&& other) noexcept
      : socket_(std::exchange(other.socket_, nullptr)), kind_(other.kind_) {}
  pipe_end& operator=(pipe_end&& other) noexcept {
    pipe_end before(std::move(other));
    std::swap(socket_, before.socket_);
    std::swap(kind_, before.kind_);
    return *this;
  }
  ~pipe_end() { close(); }

  void close() noexcept;
  [[nodiscard]] bool open() const noexcept;
  /// Aborts the program with `not_open` if this owns nothing.
  [[nodiscard]] open_socket& socket(const char* not_open) const noexcept;
  [[nodiscard]] const pipe_kind& kind() const noexcept { return *kind_; }

private:
  open_socket* socket_ = nullptr;
  const pipe_kind* kind_ = &pipe_itself;
};

/// Attempts a call once, for the forms that never wait.
template <class Call>
std::optional<result<typename Call::value>> attempt_once(open_socket& socket, Call call) {
  socket.expect_free(Call::which, Call::busy);
  const std::optional<int> outcome = call.attempt(socket);
  if (!outcome) return std::nullopt;
  if (*outcome != 0) return std::unexpected(std::error_code(*outcome, std::generic_category()));
  return call.take();
}

}  // namespace eddy::detail
