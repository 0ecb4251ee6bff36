// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cerrno>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

#include <eddy/loop/detail/throw_error.h>

namespace eddy::detail {

/// Owns a descriptor and closes it with `Close`, which is `::close` or a seam in front of it.
template <int (*Close)(int)>
class owned_descriptor {
public:
  /// Owns nothing.
  owned_descriptor() noexcept = default;
  /// Owns `number`, or nothing if that is negative.
  explicit owned_descriptor(int number) noexcept : number_(number) {}
  /// Takes the result of a system call.
  /// Errors: `std::system_error` with `errno` and the words `doing` if `number` is negative.
  owned_descriptor(int number, const char* doing) : number_(number) {
    if (number < 0) throw_errno(doing);
  }
  owned_descriptor(owned_descriptor&& other) noexcept : number_(other.release()) {}
  owned_descriptor& operator=(owned_descriptor&& other) noexcept {
    owned_descriptor before(std::move(other));
    std::swap(number_, before.number_);
    return *this;
  }
  ~owned_descriptor() {
    if (number_ >= 0) Close(number_);
  }

  /// The descriptor; negative if this owns nothing.
  [[nodiscard]] int number() const noexcept { return number_; }

  /// Gives the descriptor to the caller, who closes it.
  [[nodiscard]] int release() noexcept { return std::exchange(number_, -1); }

  /// After a fork: replaces the descriptor by a new one from `make`, so that nothing is shared
  /// with the parent.
  ///
  /// The number stays the same, and no second number has to be free, unless another thread takes
  /// the number meanwhile.
  /// Errors: `std::system_error` if `make` fails. There may be no descriptor then; `renew` can
  /// be called again.
  template <class Make>
  void renew(Make make) {
    int fresh = make();
    if (fresh < 0 && errno == EMFILE && number_ >= 0) {
      Close(release());
      fresh = make();
    }
    if (fresh < 0) throw_errno("renewing a loop after fork");
    if (number_ < 0) {
      number_ = fresh;
      return;
    }
    ::dup3(fresh, number_, O_CLOEXEC);
    Close(fresh);
  }

private:
  int number_ = -1;
};

/// Owns a descriptor of `loop/`, which has no seam.
struct descriptor : owned_descriptor<&::close> {
  using owned_descriptor::owned_descriptor;
};

}  // namespace eddy::detail
