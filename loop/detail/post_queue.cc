// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/detail/post_queue.h>

#include <array>
#include <memory>
#include <utility>

#include <sys/eventfd.h>
#include <unistd.h>

#include <eddy/loop/detail/loop_access.h>
#include <eddy/loop/event_loop.h>

namespace eddy::detail {

/// The functions that one thread has posted, one after the other. In the loop's queue a chunk
/// stands for all its functions: each run calls one function, and puts the chunk back to the
/// front.
///
/// A chunk exists as long as its thread or the loop needs it. The thread needs it until it has
/// left the chunk, and the loop until it has run all functions. The second of the two destroys
/// the chunk.
class post_chunk : public ready_node, public recycled {
public:
  // This number of functions fills a block of the block pool.
  static constexpr std::uint32_t size = 15;

  post_chunk() noexcept : ready_node(&run) {}

  // The thread's side.

  /// Moves `posted` into the chunk. False if the chunk is full or the loop has taken it.
  bool write(handler<void()>& posted) noexcept {
    const std::uint32_t seen = state_.load(std::memory_order_relaxed);
    if ((seen & taken) != 0 || (seen & number) == size) return false;
    handler<void()>* const slot = std::construct_at(at(seen & number), std::move(posted));
    if ((state_.fetch_add(1, std::memory_order_acq_rel) & taken) == 0) return true;
    posted = std::move(*slot);
    std::destroy_at(slot);
    return false;
  }

  /// Stores the one function of the chunk, and leaves the chunk.
  void reserve_for(handler<void()>& alone) noexcept {
    static_cast<void>(write(alone));
    static_cast<void>(leave());
  }

  /// The thread needs the chunk no more. True if the thread has to destroy or reuse it: the loop
  /// needs it no more.
  [[nodiscard]] bool leave() noexcept {
    return (state_.fetch_or(left, std::memory_order_acq_rel) & read) != 0;
  }

  /// Makes the chunk empty, as a new one, after `leave`.
  void clean() noexcept {
    state_.store(0, std::memory_order_relaxed);
    next_ = 0;
  }

  // The loop's side.

  void take() noexcept { count_ = state_.fetch_or(taken, std::memory_order_acq_rel) & number; }

  /// Destroys the functions that did not run. True if the loop has to destroy the chunk: the
  /// thread has left it.
  [[nodiscard]] bool finish() noexcept {
    while (next_ != count_) std::destroy_at(at(next_++));
    return (state_.fetch_or(read, std::memory_order_acq_rel) & left) != 0;
  }

  static void run(ready_node& node);

  post_chunk* below = nullptr;  // the next chunk of the stack

private:
  static constexpr std::uint32_t number = 0xff;  // functions that the thread has written
  static constexpr std::uint32_t taken = 0x100;  // the loop has taken the chunk
  static constexpr std::uint32_t read = 0x200;   // the loop needs the chunk no more
  static constexpr std::uint32_t left = 0x400;   // the thread needs the chunk no more

  [[nodiscard]] handler<void()>* at(std::uint32_t index) noexcept {
    return reinterpret_cast<handler<void()>*>(functions_.data()) + index;
  }

  std::atomic<std::uint32_t> state_{0};
  std::uint32_t count_ = 0;  // the number of functions when the loop took the chunk
  std::uint32_t next_ = 0;   // the next function to run
  alignas(handler<void()>) std::array<std::byte, size * sizeof(handler<void()>)> functions_;
};

/// The chunk that a thread writes into.
struct post_queue::producer {
  post_queue* box = nullptr;
  post_chunk* at = nullptr;
  bool seen_to = false;  // whether the thread leaves its chunk when it ends
  bool dropped = false;

  /// The producer of this thread. It is trivial, so it outlives the destructors of all other
  /// thread_local objects.
  static constinit thread_local producer mine;

  /// Returns an empty chunk.
  /// Errors: `std::bad_alloc`.
  post_chunk& turn(post_queue& to);
  void leave() noexcept {
    if (post_chunk* const s = std::exchange(at, nullptr); s != nullptr && s->leave()) delete s;
  }
};

constinit thread_local post_queue::producer post_queue::producer::mine;

namespace {

int make_eventfd() noexcept { return ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }

// Addresses that no post_chunk has.
alignas(std::max_align_t) constinit char asleep_mark = 0;
alignas(std::max_align_t) constinit char closed_mark = 0;

}  // namespace

post_chunk* post_queue::asleep() noexcept { return reinterpret_cast<post_chunk*>(&asleep_mark); }
post_chunk* post_queue::closed() noexcept { return reinterpret_cast<post_chunk*>(&closed_mark); }

post_queue::post_queue(event_loop& loop)
    : head_(asleep()),
      read_(sizeof(post_chunk)),
      loop_(&loop),
      descriptor_(make_eventfd(), "making a loop's wake-up descriptor") {}

post_queue::~post_queue() { close(); }

void post_chunk::run(ready_node& node) {
  post_chunk& self = static_cast<post_chunk&>(node);
  const loop_access inside(*event_loop::current());
  struct one {
    post_chunk& on;
    post_queue& box;
    handler<void()>* function;
    one(post_chunk& s, post_queue& b) noexcept : on(s), box(b), function(s.at(s.next_++)) {}
    one(const one&) = delete;
    one& operator=(const one&) = delete;
    ~one() {
      std::destroy_at(function);
      if (on.next_ != on.count_) return;
      box.finished_.fetch_add(1, std::memory_order_relaxed);
      if (!on.finish()) return;
      std::destroy_at(&on);
      box.read_.give(&on);
    }
  };
  const one now(self, inside.posts());
  if (self.next_ != self.count_) inside.come_first_of_posts(self);
  (*now.function)();
}
post_chunk& post_queue::producer::turn(post_queue& to) {
  struct at_thread_end {
    ~at_thread_end() {
      mine.leave();
      mine.dropped = true;
    }
  };
  if (!seen_to) {
    // The C library ends the program if it has no memory for the thread_local destructor below.
    ::operator delete(::operator new(sizeof(post_chunk)));
    thread_local const at_thread_end cleaner;
    static_cast<void>(&cleaner);
    seen_to = true;
  }

  if (at != nullptr && at->leave()) {
    at->clean();
  } else {
    at = nullptr;
    to.read_.refill();
    at = new post_chunk;
  }
  box = &to;
  return *at;
}

bool post_queue::put(handler<void()>&& function) {
  producer& mine = producer::mine;
  if (mine.box == this && mine.at != nullptr && mine.at->write(function)) return true;
  post_chunk& fresh = mine.turn(*this);
  static_cast<void>(fresh.write(function));
  const bool open = push(fresh);
  if (!open || mine.dropped) mine.leave();
  if (!open) drop(fresh);  // last, because a destructor of the captures may post, too
  return open;
}

post_chunk* post_queue::reserve(handler<void()>&& function) {
  auto* const made = new post_chunk;
  made->reserve_for(function);
  return made;
}

bool post_queue::put_reserved(post_chunk& reserved) noexcept {
  // Functions that this thread posts from now on run after the reserved one.
  if (producer::mine.box == this) producer::mine.leave();
  const bool open = push(reserved);
  if (!open) drop(reserved);
  return open;
}

void post_queue::drop(post_chunk& reserved) noexcept {
  reserved.take();
  if (reserved.finish()) delete &reserved;
}

std::size_t post_queue::backlog() const noexcept {
  if (head_.load(std::memory_order_relaxed) == closed()) return 0;
  const std::size_t finished = finished_.load(std::memory_order_relaxed);
  const std::size_t pushed = pushed_.load(std::memory_order_relaxed);
  return pushed > finished ? (pushed - finished) * post_chunk::size : 0;
}

bool post_queue::push(post_chunk& fresh) noexcept {
  // The function may end the loop, and destroy all owners of this queue, before this call returns.
  std::shared_ptr<post_queue> kept;
  pushed_.fetch_add(1, std::memory_order_relaxed);
  post_chunk* head = head_.load(std::memory_order_relaxed);
  do {
    if (head == closed()) {
      pushed_.fetch_sub(1, std::memory_order_relaxed);
      return false;
    }
    const bool sleeps = head == asleep();
    if (sleeps && kept == nullptr) kept = weak_from_this().lock();
    fresh.below = sleeps ? nullptr : head;
  } while (!head_.compare_exchange_weak(head, &fresh, std::memory_order_acq_rel,
                                        std::memory_order_relaxed));
  if (head == asleep()) wake();
  return true;
}

void post_queue::wake() const noexcept {
  const std::uint64_t one = 1;
  // The write can fail only if the counter is full, and then the loop wakes anyway.
  static_cast<void>(!::write(descriptor_.number(), &one, sizeof one));
}

void post_queue::woken() const noexcept {
  std::uint64_t count = 0;
  static_cast<void>(!::read(descriptor_.number(), &count, sizeof count));
}

bool post_queue::sleep() noexcept {
  read_.offer();
  post_chunk* head = nullptr;
  return head_.compare_exchange_strong(head, asleep(), std::memory_order_acq_rel) ||
         head == asleep();
}

void post_queue::take(list_node& queue) noexcept {
  read_.offer();
  if (head_.load(std::memory_order_relaxed) == nullptr) return;
  post_chunk* s = head_.exchange(nullptr, std::memory_order_acq_rel);
  if (s == asleep()) return;
  list_node posted;
  for (; s != nullptr; s = s->below) {
    s->take();
    posted.push_front(*s);
  }
  queue.splice_back(posted);
}

bool post_queue::empty() const noexcept {
  const post_chunk* const head = head_.load(std::memory_order_relaxed);
  return head == nullptr || head == asleep();
}

bool post_queue::check_thread() const noexcept {
  const event_loop* const loop = loop_.load(std::memory_order_relaxed);
  if (loop != nullptr) loop->check_thread();
  return loop != nullptr;
}

void post_queue::close() noexcept {
  loop_.store(nullptr, std::memory_order_relaxed);
  post_chunk* s = head_.exchange(closed(), std::memory_order_acq_rel);
  if (s == asleep() || s == closed()) return;
  while (s != nullptr) {
    post_chunk& next = *std::exchange(s, s->below);
    next.take();
    if (next.finish()) delete &next;
  }
}

void post_queue::drop(ready_node& node) noexcept {
  auto& s = static_cast<post_chunk&>(node);
  if (s.finish()) delete &s;
}

void post_queue::renew() { descriptor_.renew(&make_eventfd); }

}  // namespace eddy::detail
