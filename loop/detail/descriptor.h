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

  /// After fork: takes one that `make` makes, so that nothing is shared with the
  /// parent. It needs no free number, and keeps its own unless somebody else takes
  /// that meanwhile.
  /// Errors: `std::system_error` if `make` fails; then it may be none, and can be
  /// renewed again.
  template <class Make>
  void renew(Make make) {
    int fresh = make();
    if (fresh < 0 && errno == EMFILE && number_ >= 0) {
      ::close(std::exchange(number_, -1));
      fresh = make();
    }
    if (fresh < 0) throw_errno("renewing a loop after fork");
    if (number_ < 0) {
      number_ = fresh;
      return;
    }
    ::dup3(fresh, number_, O_CLOEXEC);
    ::close(fresh);
  }

private:
  int number_;
};

}  // namespace eddy::detail
