// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cerrno>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

#include <eddy/loop/detail/throw_error.h>

namespace eddy::detail {

/// Owns a descriptor.
class descriptor {
public:
  /// Takes what a system call returned.
  /// Errors: `std::system_error` with `errno` if that is negative.
  descriptor(int number, const char* doing) : number_(number) {
    if (number < 0) throw_errno(doing);
  }
  descriptor(descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  descriptor& operator=(descriptor&&) = delete;
  ~descriptor() {
    if (number_ >= 0) ::close(number_);
  }

  [[nodiscard]] int number() const noexcept { return number_; }

private:
  int number_;
};

/// After fork: gives `number` to a descriptor that `make` makes, so that what
/// knows the number goes on, and nothing is shared with the parent. It needs
/// no free number.
/// Errors: `std::system_error` if `make` fails, and then `number` is closed or
/// as it was.
template <class Make>
void renew_descriptor(int number, Make make) {
  int fresh = make();
  if (fresh < 0 && errno == EMFILE) {
    ::close(number);
    fresh = make();
  }
  if (fresh < 0) throw_errno("renewing a loop after fork");
  if (fresh == number) return;
  ::dup3(fresh, number, O_CLOEXEC);
  ::close(fresh);
}

}  // namespace eddy::detail
