// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/future/await_trace.h>

#include <array>
#include <bit>
#include <cstddef>
#include <cstring>
#include <mutex>
#include <typeinfo>

#include <pthread.h>

#include <eddy/future/detail/await_place.h>
#include <eddy/future/detail/frame.h>
#include <eddy/future/detail/way_of_error.h>
#include <eddy/loop/detail/misuse.h>

namespace eddy {

namespace detail {

namespace {

/// An exception, without being kept alive: its ways are forgotten, or taken
/// over by the next one at that place that can't have come by another.
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

class way {
public:
  constexpr way() noexcept = default;
  explicit way(identity error) noexcept : error_(error) {}

  [[nodiscard]] const identity& error() const noexcept { return error_; }

  /// Whether it is `by` through which this error comes next, at this co_await.
  [[nodiscard]] bool goes_on(const frame* by, const void* where) const noexcept {
    return next_ == by && next_where_ == where;
  }
  /// Whether it waits to be awaited.
  [[nodiscard]] bool waits() const noexcept { return next_ == nullptr; }

  void add(const void* where) noexcept {
    if (where == nullptr || size_ == places_.size()) return;
    if (is_the_users(std::bit_cast<std::source_location>(where))) places_[size_++] = where;
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
  /// Comes once more from where it was kept.
  void comes_again(const frame& next, const void* where) noexcept {
    size_ = kept_;
    comes_next(&next, where);
  }

  void take_way(const way& of) noexcept {
    const identity own = error_;
    *this = of;
    error_ = own;
  }

  [[nodiscard]] std::vector<std::source_location> places() const {
    std::vector<std::source_location> all;
    all.reserve(size_);
    for (std::size_t i = 0; i < size_; ++i) {
      all.push_back(std::bit_cast<std::source_location>(places_[i]));
    }
    return all;
  }

private:
  identity error_;
  const frame* next_ = nullptr;  // null if nobody awaits it yet
  const void* next_where_ = nullptr;
  std::size_t size_ = 0;
  std::size_t kept_ = 0;  // the size when nobody awaited it
  std::array<const void*, 32> places_{};
};

struct ways {
  way* find(const identity& error) noexcept {
    for (way& w : last) {
      if (w.error() == error) return &w;
    }
    return nullptr;
  }
  way& begin(const identity& error) noexcept {
    oldest = (oldest + 1) % last.size();
    return last[oldest] = way(error);
  }

  std::array<way, 64> last;
  std::size_t oldest = 0;
};

// Of the process: the error of a loop that has gone may be asked for its way, in a
// destructor of a static object, too. Whoever throws has time for a lock.
constinit std::mutex guard;
constinit ways all_ways;

std::terminate_handler terminate_before = nullptr;

/// Its words, or none for want of memory.
std::string way_of_last_error() noexcept {
  try {
    return await_trace_text();
  } catch (...) {
    return {};
  }
}

[[noreturn]] void tell_and_terminate() {
  const std::string text = way_of_last_error();
  if (!text.empty()) {
    print_last_words("eddy: an error that nobody caught came by\n%s", text.c_str());
  }
  if (terminate_before != nullptr) terminate_before();
  std::abort();
}

}  // namespace

void error_passes(const std::exception_ptr& error, const frame& by, const void* where,
                  const frame* next, const void* next_where) noexcept {
  // No other thread holds the lock when a child begins.
  [[maybe_unused]] static const int registered =
      ::pthread_atfork([] { guard.lock(); }, [] { guard.unlock(); }, [] { guard.unlock(); });
  const std::scoped_lock lock(guard);
  const identity which(error);
  way* found = all_ways.find(which);
  if (found == nullptr) {
    found = &all_ways.begin(which);
    found->add(where);
  } else if (!found->goes_on(&by, where)) {
    *found = way(which);
    found->add(where);
  }
  found->comes_next(next, next_where);
}

void error_is_handed_on(const std::exception_ptr& error) noexcept {
  const std::scoped_lock lock(guard);
  if (way* const found = all_ways.find(identity(error))) found->comes_next(nullptr, nullptr);
}

void error_is_given(const std::exception_ptr& error, const frame* by, const void* where) noexcept {
  const std::scoped_lock lock(guard);
  way* const found = all_ways.find(identity(error));
  if (found == nullptr || found->waits()) return;
  if (by != nullptr && found->goes_on(by, where)) {
    found->comes_next(nullptr, nullptr);
  } else {
    *found = way();
  }
}

void error_waits(const std::exception_ptr& error, const frame& next,
                 const void* next_where) noexcept {
  const std::scoped_lock lock(guard);
  way* const found = all_ways.find(identity(error));
  if (found != nullptr && found->waits()) found->comes_next(&next, next_where);
}

void error_comes_again(const std::exception_ptr& error, const frame& next,
                       const void* next_where) noexcept {
  const std::scoped_lock lock(guard);
  if (way* const found = all_ways.find(identity(error))) found->comes_again(next, next_where);
}

void error_takes_way(const std::exception_ptr& error, const std::exception_ptr& of) noexcept {
  const std::scoped_lock lock(guard);
  if (const way* const found = all_ways.find(identity(of))) {
    const way before = *found;
    all_ways.begin(identity(error)).take_way(before);
  }
}

void tell_way_on_terminate() noexcept {
  static const bool once = [] {
    terminate_before = std::set_terminate(&tell_and_terminate);
    return true;
  }();
  static_cast<void>(once);
}

}  // namespace detail

std::vector<std::source_location> await_trace(const std::exception_ptr& error) {
  if (error == nullptr) return {};
  const std::scoped_lock lock(detail::guard);
  const detail::way* const found = detail::all_ways.find(detail::identity(error));
  return found == nullptr ? std::vector<std::source_location>() : found->places();
}

std::string await_trace_text(const std::exception_ptr& error) {
  std::string text;
  for (const std::source_location& where : await_trace(error)) {
    detail::indent(text, 1);
    detail::add_place(text, where);
    text += '\n';
  }
  return text;
}

}  // namespace eddy
