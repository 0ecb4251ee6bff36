// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/future/detail/await_trail.h>

#include <array>
#include <bit>
#include <cstddef>
#include <cstring>
#include <mutex>
#include <string>
#include <typeinfo>

#include <pthread.h>

#include <eddy/future/await_trace.h>
#include <eddy/loop/detail/location.h>
#include <eddy/loop/detail/misuse.h>

namespace eddy::detail {

namespace {

/// Identifies an exception without keeping it alive. Once the exception is gone, its address may be
/// that of another one, which then begins a trail of its own, or is mistaken for the first.
struct identity {
  constexpr identity() noexcept = default;
  explicit identity(const std::exception_ptr& error) noexcept
      : type(error == nullptr ? nullptr : error.__cxa_exception_type()) {
    static_assert(sizeof object == sizeof error);
    std::memcpy(static_cast<void*>(&object), static_cast<const void*>(&error), sizeof object);
  }
  friend bool operator==(const identity&, const identity&) noexcept = default;

  const void* object = nullptr;
  const std::type_info* type = nullptr;
};

class trail {
public:
  constexpr trail() noexcept = default;
  explicit trail(identity error) noexcept : error_(error) {}

  [[nodiscard]] const identity& error() const noexcept { return error_; }

  /// Whether the error was to pass next through the coroutine `by`, at its co_await `where`.
  [[nodiscard]] bool goes_on(const frame* by, const void* where) const noexcept {
    return next_ == by && next_where_ == where;
  }
  /// Whether nobody awaits the error yet.
  [[nodiscard]] bool waits() const noexcept { return next_ == nullptr; }

  void add(const void* where) noexcept {
    if (where == nullptr || size_ == locations_.size()) return;
    if (is_the_users(std::bit_cast<std::source_location>(where))) locations_[size_++] = where;
  }
  void comes_next(const frame* next, const void* where) noexcept {
    next_ = next;
    next_where_ = where;
    if (next != nullptr) {
      add(where);
    } else {
      kept_ = size_;
    }
  }
  /// Passes once more from where the error was stored.
  void comes_again(const frame& next, const void* where) noexcept {
    size_ = kept_;
    comes_next(&next, where);
  }

  void take_trail(const trail& of) noexcept {
    const identity own = error_;
    *this = of;
    error_ = own;
  }

  [[nodiscard]] std::vector<std::source_location> locations() const {
    std::vector<std::source_location> all;
    all.reserve(size_);
    for (std::size_t i = 0; i < size_; ++i) {
      all.push_back(std::bit_cast<std::source_location>(locations_[i]));
    }
    return all;
  }

private:
  identity error_;
  const frame* next_ = nullptr;  // null if nobody awaits the error yet
  const void* next_where_ = nullptr;
  std::size_t size_ = 0;
  std::size_t kept_ = 0;  // the size when the error was stored
  std::array<const void*, 32> locations_{};
};

struct trails {
  trail* find(const identity& error) noexcept {
    for (trail& t : last) {
      if (t.error() == error) return &t;
    }
    return nullptr;
  }
  trail& begin(const identity& error) noexcept {
    oldest = (oldest + 1) % last.size();
    return last[oldest] = trail(error);
  }

  std::array<trail, 64> last;
  std::size_t oldest = 0;
};

// These belong to the process: a program may ask for the trace of an error after its loop is gone,
// also in the destructor of a static object. A throw costs far more than this lock.
constinit std::mutex guard;
constinit trails all_trails;

std::terminate_handler terminate_before = nullptr;

/// The text of the trace; empty if there is no memory for it.
std::string trail_of_last_error() noexcept {
  try {
    return await_trace_text();
  } catch (...) {
    return {};
  }
}

[[noreturn]] void tell_and_terminate() {
  const std::string text = trail_of_last_error();
  if (!text.empty()) {
    print_last_words("eddy: await trace of an error that nobody caught:\n%s", text.c_str());
  }
  if (terminate_before != nullptr) terminate_before();
  std::abort();
}

}  // namespace

void error_passes(const std::exception_ptr& error, const frame& by, const void* where,
                  const frame* next, const void* next_where) noexcept {
  // No other thread holds the lock when the child of a fork begins.
  [[maybe_unused]] static const int registered =
      ::pthread_atfork([] { guard.lock(); }, [] { guard.unlock(); }, [] { guard.unlock(); });
  const std::scoped_lock lock(guard);
  const identity which(error);
  trail* found = all_trails.find(which);
  if (found == nullptr) {
    found = &all_trails.begin(which);
    found->add(where);
  } else if (!found->goes_on(&by, where)) {
    *found = trail(which);
    found->add(where);
  }
  found->comes_next(next, next_where);
}

void error_is_handed_on(const std::exception_ptr& error) noexcept {
  const std::scoped_lock lock(guard);
  if (trail* const found = all_trails.find(identity(error))) found->comes_next(nullptr, nullptr);
}

void error_is_given(const std::exception_ptr& error, const frame* by, const void* where) noexcept {
  const std::scoped_lock lock(guard);
  trail* const found = all_trails.find(identity(error));
  if (found == nullptr || found->waits()) return;
  if (by != nullptr && found->goes_on(by, where)) {
    found->comes_next(nullptr, nullptr);
  } else {
    *found = trail();
  }
}

void error_waits(const std::exception_ptr& error, const frame& next,
                 const void* next_where) noexcept {
  const std::scoped_lock lock(guard);
  trail* const found = all_trails.find(identity(error));
  if (found != nullptr && found->waits()) found->comes_next(&next, next_where);
}

void error_comes_again(const std::exception_ptr& error, const frame& next,
                       const void* next_where) noexcept {
  const std::scoped_lock lock(guard);
  if (trail* const found = all_trails.find(identity(error))) found->comes_again(next, next_where);
}

void error_takes_trail(const std::exception_ptr& error, const std::exception_ptr& of) noexcept {
  const std::scoped_lock lock(guard);
  if (const trail* const found = all_trails.find(identity(of))) {
    const trail before = *found;
    all_trails.begin(identity(error)).take_trail(before);
  }
}

void print_trail_on_terminate() noexcept {
  static const bool once = [] {
    terminate_before = std::set_terminate(&tell_and_terminate);
    return true;
  }();
  static_cast<void>(once);
}

std::vector<std::source_location> trail_of(const std::exception_ptr& error) {
  const std::scoped_lock lock(guard);
  const trail* const found = all_trails.find(identity(error));
  return found == nullptr ? std::vector<std::source_location>() : found->locations();
}

}  // namespace eddy::detail
