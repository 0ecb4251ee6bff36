// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/detail/deep_stack.h>

#include <algorithm>
#include <cstdint>

#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define EDDY_TELLS_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define EDDY_TELLS_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define EDDY_TELLS_TSAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define EDDY_TELLS_TSAN 1
#endif
#ifdef EDDY_TELLS_ASAN
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef EDDY_TELLS_TSAN
#include <sanitizer/tsan_interface.h>
#endif

namespace eddy::detail {

constinit thread_local destroying_stack destroying_here [[gnu::tls_model("initial-exec")]];

namespace {

// Each is twice as large as the one before, so that few are needed. The first is as large
// as a thread's usual stack, for a destructor may need much; what is not used takes no
// memory. On a machine with short addresses, less has to do.
constexpr std::size_t usual = std::size_t{8} * 1024 * 1024;
constexpr std::size_t smallest = std::size_t{256} * 1024;
constexpr std::size_t largest = std::size_t{64} * 1024 * 1024;

std::size_t page_size() noexcept {
  static const auto size = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return size;
}

/// A stack above a page that nobody may touch. Without memory its size is zero.
class new_stack {
public:
  explicit new_stack(std::size_t size) noexcept : size_(size) {
    constexpr int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK;
    for (; size_ >= smallest; size_ /= 2) {
      void* const there =
          ::mmap(nullptr, page_size() + size_, PROT_READ | PROT_WRITE, flags, -1, 0);
      if (there == MAP_FAILED) continue;
      base_ = static_cast<char*>(there);
      ::mprotect(base_, page_size(), PROT_NONE);
      return;
    }
    size_ = 0;
  }
  new_stack(const new_stack&) = delete;
  new_stack& operator=(const new_stack&) = delete;
  ~new_stack() {
    if (size_ != 0) ::munmap(base_, page_size() + size_);
  }

  [[nodiscard]] char* bottom() const noexcept { return base_ + page_size(); }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  /// Below this address there is room only for calls that come to no further check.
  [[nodiscard]] const char* floor() const noexcept { return bottom() + size_ / 8; }

private:
  char* base_ = nullptr;
  std::size_t size_;
};

/// A call that changes the stack.
struct switched_call {
  void (*work)(void*);
  void* argument;
  ucontext_t here;
  ucontext_t there;
#ifdef EDDY_TELLS_ASAN
  void* fake_stack = nullptr;
  const void* old_bottom = nullptr;
  std::size_t old_size = 0;
#endif
#ifdef EDDY_TELLS_TSAN
  void* old_fiber = nullptr;
#endif

  void run() noexcept {
#ifdef EDDY_TELLS_ASAN
    __sanitizer_finish_switch_fiber(nullptr, &old_bottom, &old_size);
#endif
    work(argument);
#ifdef EDDY_TELLS_ASAN
    __sanitizer_start_switch_fiber(nullptr, old_bottom, old_size);
#endif
#ifdef EDDY_TELLS_TSAN
    __tsan_switch_to_fiber(old_fiber, 0);
#endif
  }
};

// A pointer does not fit into what makecontext passes on.
void begin(unsigned high, unsigned low) noexcept {
  const auto address = static_cast<std::uintptr_t>(std::uint64_t{high} << 32 | low);
  reinterpret_cast<switched_call*>(address)->run();  // NOLINT(performance-no-int-to-ptr)
}

}  // namespace

void call_on_new_stack(void (*work)(void*), void* argument) noexcept {
  const destroying_stack before = destroying_here;
  const new_stack stack(std::clamp(before.size * 2, usual, largest));
  if (stack.size() == 0) return work(argument);  // there may still be enough of this one

  switched_call call{.work = work, .argument = argument, .here = {}, .there = {}};
  ::getcontext(&call.there);
  call.there.uc_stack.ss_sp = stack.bottom();
  call.there.uc_stack.ss_size = stack.size();
  call.there.uc_link = &call.here;
  const auto address = static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(&call));
  ::makecontext(&call.there, reinterpret_cast<void (*)()>(&begin), 2,
                static_cast<unsigned>(address >> 32), static_cast<unsigned>(address));
  destroying_here = {.floor = stack.floor(), .size = stack.size()};
#ifdef EDDY_TELLS_ASAN
  __sanitizer_start_switch_fiber(&call.fake_stack, stack.bottom(), stack.size());
#endif
#ifdef EDDY_TELLS_TSAN
  call.old_fiber = __tsan_get_current_fiber();
  void* const fiber = __tsan_create_fiber(0);
  __tsan_switch_to_fiber(fiber, 0);
#endif
  ::swapcontext(&call.here, &call.there);
#ifdef EDDY_TELLS_ASAN
  __sanitizer_finish_switch_fiber(call.fake_stack, nullptr, nullptr);
#endif
#ifdef EDDY_TELLS_TSAN
  __tsan_destroy_fiber(fiber);
#endif
  destroying_here = before;
}

}  // namespace eddy::detail
