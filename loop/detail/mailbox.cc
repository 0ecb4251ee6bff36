// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/detail/mailbox.h>

#include <array>
#include <memory>
#include <utility>

#include <sys/eventfd.h>
#include <unistd.h>

#include <eddy/loop/event_loop.h>

namespace eddy::detail {

/// What one thread has posted, one function after the other. In the loop's
/// queue it stands for all of them: each run is that of one, and puts it back
/// to the front.
///
/// It is there as long as one of the two needs it: the thread until it has left
/// it, the loop until it has read it. The second to go takes it along.
class post_sheet : public ready_node, public recycled {
public:
  // So many fill a block of the recycler's.
  static constexpr std::uint32_t size = 15;

  post_sheet() noexcept : ready_node(&run) {}

  // The thread's side.

  /// Moves `posted` here and says whether it is on its way now: not if the
  /// post_sheet is full, or the loop has taken it.
  bool write(handler<void()>& posted) noexcept {
    const std::uint32_t seen = state_.load(std::memory_order_relaxed);
    if ((seen & taken) != 0 || (seen & number) == size) return false;
    handler<void()>* const place = std::construct_at(at(seen & number), std::move(posted));
    if ((state_.fetch_add(1, std::memory_order_acq_rel) & taken) == 0) return true;
    posted = std::move(*place);
    std::destroy_at(place);
    return false;
  }

  /// Holds `alone` and no more, and the thread has left it.
  void reserve_for(handler<void()>& alone) noexcept {
    static_cast<void>(write(alone));
    static_cast<void>(leave());
  }

  /// True if the thread has to see to it: the loop has read it.
  [[nodiscard]] bool leave() noexcept {
    return (state_.fetch_or(left, std::memory_order_acq_rel) & read) != 0;
  }

  /// Empty as a new one: after `leave`.
  void clean() noexcept {
    state_.store(0, std::memory_order_relaxed);
    next_ = 0;
  }

  // The loop's side.

  void take() noexcept { count_ = state_.fetch_or(taken, std::memory_order_acq_rel) & number; }

  /// Drops what was not run. True if the loop has to see to it: the thread has
  /// left it.
  [[nodiscard]] bool finish() noexcept {
    while (next_ != count_) std::destroy_at(at(next_++));
    return (state_.fetch_or(read, std::memory_order_acq_rel) & left) != 0;
  }

  static void run(ready_node& node);

  post_sheet* below = nullptr;  // in the stack

private:
  static constexpr std::uint32_t number = 0xff;  // of functions, as the thread counts them
  static constexpr std::uint32_t taken = 0x100;  // by the loop: no more can be written
  static constexpr std::uint32_t read = 0x200;   // the loop needs it no more
  static constexpr std::uint32_t left = 0x400;   // the thread needs it no more

  [[nodiscard]] handler<void()>* at(std::uint32_t index) noexcept {
    return reinterpret_cast<handler<void()>*>(functions_.data()) + index;
  }

  std::atomic<std::uint32_t> state_{0};
  std::uint32_t count_ = 0;  // of functions, when it was taken
  std::uint32_t next_ = 0;   // to run
  alignas(handler<void()>) std::array<std::byte, size * sizeof(handler<void()>)> functions_;
};

/// What a thread writes with: the post_sheet that it is at.
struct mailbox::pen {
  mailbox* box = nullptr;
  post_sheet* at = nullptr;
  bool seen_to = false;  // that it is dropped at the thread's end
  bool dropped = false;

  /// Of this thread. It is trivial, so that it outlives every other
  /// thread_local object's destructor.
  static constinit thread_local pen mine;

  /// A post_sheet with nothing on it.
  /// Errors: `std::bad_alloc`.
  post_sheet& turn(mailbox& to);
  void leave() noexcept {
    if (post_sheet* const s = std::exchange(at, nullptr); s != nullptr && s->leave()) delete s;
  }
};

constinit thread_local mailbox::pen mailbox::pen::mine;

namespace {

int make_eventfd() noexcept { return ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }

// Addresses that no post_sheet has.
alignas(std::max_align_t) constinit char asleep_mark = 0;
alignas(std::max_align_t) constinit char closed_mark = 0;

}  // namespace

post_sheet* mailbox::asleep() noexcept { return reinterpret_cast<post_sheet*>(&asleep_mark); }
post_sheet* mailbox::closed() noexcept { return reinterpret_cast<post_sheet*>(&closed_mark); }

mailbox::mailbox(event_loop& loop)
    : head_(asleep()),
      read_(sizeof(post_sheet)),
      loop_(&loop),
      descriptor_(make_eventfd(), "making a loop's wake-up descriptor") {}

mailbox::~mailbox() { close(); }

void post_sheet::run(ready_node& node) {
  post_sheet& self = static_cast<post_sheet&>(node);
  event_loop& loop = *event_loop::current();
  struct one {
    post_sheet& on;
    mailbox& box;
    handler<void()>* function;
    one(post_sheet& s, mailbox& b) noexcept : on(s), box(b), function(s.at(s.next_++)) {}
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
  const one now(self, *loop.mailbox_);
  if (self.next_ != self.count_) loop.queues_[event_loop::posts].push_front(self);
  (*now.function)();
}
post_sheet& mailbox::pen::turn(mailbox& to) {
  struct at_thread_end {
    ~at_thread_end() {
      mine.leave();
      mine.dropped = true;
    }
  };
  if (!seen_to) {
    // The C library ends the program when it finds no memory for this.
    ::operator delete(::operator new(sizeof(post_sheet)));
    thread_local const at_thread_end cleaner;
    static_cast<void>(&cleaner);
    seen_to = true;
  }

  if (at != nullptr && at->leave()) {
    at->clean();
  } else {
    at = nullptr;
    to.read_.refill();
    at = new post_sheet;
  }
  box = &to;
  return *at;
}

bool mailbox::put(handler<void()>&& function) {
  pen& mine = pen::mine;
  if (mine.box == this && mine.at != nullptr && mine.at->write(function)) return true;
  post_sheet& fresh = mine.turn(*this);
  static_cast<void>(fresh.write(function));
  const bool open = push(fresh);
  if (!open || mine.dropped) mine.leave();
  if (!open) drop(fresh);  // what it captured may post, too
  return open;
}

post_sheet* mailbox::reserve(handler<void()>&& function) {
  auto* const made = new post_sheet;
  made->reserve_for(function);
  return made;
}

bool mailbox::put_reserved(post_sheet& reserved) noexcept {
  // Functions that this thread posts from now on come after it.
  if (pen::mine.box == this) pen::mine.leave();
  const bool open = push(reserved);
  if (!open) drop(reserved);
  return open;
}

void mailbox::drop(post_sheet& reserved) noexcept {
  reserved.take();
  if (reserved.finish()) delete &reserved;
}

std::size_t mailbox::backlog() const noexcept {
  if (head_.load(std::memory_order_relaxed) == closed()) return 0;
  const std::size_t finished = finished_.load(std::memory_order_relaxed);
  const std::size_t pushed = pushed_.load(std::memory_order_relaxed);
  return pushed > finished ? (pushed - finished) * post_sheet::size : 0;
}

bool mailbox::push(post_sheet& fresh) noexcept {
  // The function may end the loop, and with it whatever holds this, before the call
  // has returned.
  std::shared_ptr<mailbox> kept;
  pushed_.fetch_add(1, std::memory_order_relaxed);
  post_sheet* head = head_.load(std::memory_order_relaxed);
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

void mailbox::wake() const noexcept {
  const std::uint64_t one = 1;
  // It can fail only if the counter is full, and then the loop wakes anyway.
  static_cast<void>(!::write(descriptor_.number(), &one, sizeof one));
}

void mailbox::woken() const noexcept {
  std::uint64_t count = 0;
  static_cast<void>(!::read(descriptor_.number(), &count, sizeof count));
}

bool mailbox::sleep() noexcept {
  read_.offer();
  post_sheet* head = nullptr;
  return head_.compare_exchange_strong(head, asleep(), std::memory_order_acq_rel) ||
         head == asleep();
}

void mailbox::take(link& queue) noexcept {
  read_.offer();
  if (head_.load(std::memory_order_relaxed) == nullptr) return;
  post_sheet* s = head_.exchange(nullptr, std::memory_order_acq_rel);
  if (s == asleep()) return;
  link posted;
  for (; s != nullptr; s = s->below) {
    s->take();
    posted.push_front(*s);
  }
  queue.splice_back(posted);
}

bool mailbox::empty() const noexcept {
  const post_sheet* const head = head_.load(std::memory_order_relaxed);
  return head == nullptr || head == asleep();
}

bool mailbox::check_thread() const noexcept {
  const event_loop* const loop = loop_.load(std::memory_order_relaxed);
  if (loop != nullptr) loop->check_thread();
  return loop != nullptr;
}

void mailbox::close() noexcept {
  loop_.store(nullptr, std::memory_order_relaxed);
  post_sheet* s = head_.exchange(closed(), std::memory_order_acq_rel);
  if (s == asleep() || s == closed()) return;
  while (s != nullptr) {
    post_sheet& next = *std::exchange(s, s->below);
    next.take();
    if (next.finish()) delete &next;
  }
}

void mailbox::drop(ready_node& node) noexcept {
  if (node.run_ != &post_sheet::run) return;
  auto& s = static_cast<post_sheet&>(node);
  if (s.finish()) delete &s;
}

void mailbox::renew() { descriptor_.renew(&make_eventfd); }

}  // namespace eddy::detail
