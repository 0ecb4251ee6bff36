// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/detail/make_loop.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <string>
#include <system_error>

#include <ev.h>
#include <malloc.h>

#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/throw_error.h>

namespace eddy::detail {

namespace {

// libev aborts when memory is short, in the midst of ev_run, where nobody could
// be given an error. It gets a reserve instead; `readiness`, which can be given
// one, asks for memory before libev does.
alignas(std::max_align_t) std::array<std::byte, std::size_t{1} << 20> reserve;
std::atomic<std::size_t> reserve_used{0};

bool in_reserve(const void* p) noexcept {
  return p >= reserve.data() && p < reserve.data() + reserve.size();
}

void* from_reserve(void* old, std::size_t size) noexcept {
  constexpr std::size_t unit = alignof(std::max_align_t);
  const std::size_t at = reserve_used.fetch_add((size + unit - 1) / unit * unit);
  if (at + size > reserve.size()) misuse("no memory is left, not even libev's reserve of 1 MiB");
  void* const fresh = reserve.data() + at;
  if (in_reserve(old)) {
    // Its size is not known; whatever lies behind it does no harm.
    const auto before = static_cast<std::byte*>(fresh) - static_cast<const std::byte*>(old);
    std::memcpy(fresh, old, std::min(size, static_cast<std::size_t>(before)));
  } else if (old != nullptr) {
    std::memcpy(fresh, old, std::min(size, ::malloc_usable_size(old)));
    std::free(old);
  }
  return fresh;
}

void* allocate_for_libev(void* old, long size) noexcept {
  if (size == 0) {
    if (!in_reserve(old)) std::free(old);
    return nullptr;
  }
  const auto wanted = static_cast<std::size_t>(size);
  if (in_reserve(old)) return from_reserve(old, wanted);
  void* const fresh = std::realloc(old, wanted);
  return fresh != nullptr ? fresh : from_reserve(old, wanted);
}

void stop_on_failed_call(const char* message) noexcept {
  std::string sentence(message);
  sentence += ": ";
  sentence += std::strerror(errno);
  sentence += ": was a descriptor of the loop's closed?";
  misuse(sentence.c_str());
}

}  // namespace

struct ev_loop* make_loop() {
  [[maybe_unused]] static const bool prepared = [] {
    ev_set_allocator(&allocate_for_libev);
    ev_set_syserr_cb(&stop_on_failed_call);
    return true;
  }();
  struct ev_loop* const made =
      ev_loop_new(unsigned{EVBACKEND_EPOLL} | unsigned{EVFLAG_NOENV} | unsigned{EVFLAG_NOTIMERFD});
  if (made == nullptr) throw_errno("making an event loop");
  return made;
}

}  // namespace eddy::detail
