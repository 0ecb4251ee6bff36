// SPDX-License-Identifier: BSD-2-Clause
// epoll by hand. A flood is done in portions, and after each portion the program looks
// at the timer and at the epoll set.
#include "bench/lateness.h"

#include <climits>
#include <deque>
#include <functional>
#include <mutex>
#include <queue>
#include <utility>

#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/uio.h>

using bench::numbers;
using time_point = bench::clock::time_point;
using function = std::function<void()>;

namespace {

constexpr int portion = 1024;     // functions
constexpr int system_calls = 32;  // small reads or writes
constexpr int gathers = 16;       // writes of 8 KiB
constexpr int events = 64;        // each makes one big system call

/// An epoll set, and the timer of 1 ms.
class epoll_loop {
public:
  explicit epoll_loop(std::uint64_t ticks) : late(ticks) {
    ::prctl(PR_SET_TIMERSLACK, 1UL);  // makes a wait end as exactly as a timerfd
    late.start(bench::clock::now() + bench::period);
  }
  epoll_loop(const epoll_loop&) = delete;
  epoll_loop& operator=(const epoll_loop&) = delete;
  ~epoll_loop() { ::close(set_); }

  void watch(int descriptor, unsigned what, std::function<void()> on_ready) {
    on_ready_.push_back(std::move(on_ready));
    epoll_event e{};
    e.events = what;
    e.data.ptr = &on_ready_.back();
    ::epoll_ctl(set_, EPOLL_CTL_ADD, descriptor, &e);
  }

  /// Calls the timer's handler, if the timer is due, and those of the descriptors that
  /// are ready. False if the timer has ticked for the last time.
  bool look() { return look(bench::clock::duration::zero()); }
  /// Like look(), but waits until `until` if nothing is ready.
  bool wait(time_point until = time_point::max()) {
    const auto left = std::min(until, late.due()) - bench::clock::now();
    return look(std::max(left, bench::clock::duration::zero()));
  }

  bench::lateness late;

private:
  bool look(bench::clock::duration most) {
    const timespec timeout{.tv_sec = 0, .tv_nsec = most.count()};
    const int count = ::epoll_pwait2(set_, events_.data(), events, &timeout, nullptr);
    if (late.due() <= bench::clock::now() && late.call()) return false;
    for (int i = 0; i < count; ++i) {
      (*static_cast<std::function<void()>*>(events_[static_cast<std::size_t>(i)].data.ptr))();
    }
    return true;
  }

  int set_ = ::epoll_create1(EPOLL_CLOEXEC);
  std::array<epoll_event, events> events_;
  std::deque<std::function<void()>> on_ready_;
};

void nothing(const numbers& n) {
  epoll_loop loop(n[1]);
  while (loop.wait()) {
  }
  loop.late.tell("nothing", 0, "-");
}

class writer {
public:
  explicit writer(int s) : socket_(s) {}

  /// Writes at most one piece. epoll reports the socket again if its buffer has more space.
  void write() {
    static const std::vector<char> piece(bench::piece_size);
    const ssize_t n = ::send(socket_, piece.data() + sent_, piece.size() - sent_, MSG_NOSIGNAL);
    if (n > 0) sent_ = (sent_ + static_cast<std::size_t>(n)) % piece.size();
  }

private:
  int socket_;
  std::size_t sent_ = 0;  // bytes of the piece
};

void writers(const numbers& n) {
  bench::readers others(n[0]);
  epoll_loop loop(n[1]);
  for (const int s : others.sockets()) {
    loop.watch(s, EPOLLOUT, [w = writer(s)]() mutable { w.write(); });
  }
  while (loop.wait()) {
  }
  loop.late.tell("writers", static_cast<double>(others.received()) / loop.late.seconds(), "MB/s");
  for (const int s : others.sockets()) ::close(s);
}

/// Runs functions that queue themselves again. Returns how many ran per second.
double requeue(const numbers& n, epoll_loop& loop) {
  std::uint64_t count = 0;
  std::deque<function> queue;
  struct again {
    void operator()() const {
      ++*count;
      queue->emplace_back(*this);
    }
    std::deque<function>* queue;
    std::uint64_t* count;
  };
  for (std::uint64_t i = 0; i < n[0]; ++i) queue.emplace_back(again{&queue, &count});
  loop.late.start(bench::clock::now() + bench::period);
  while (loop.look()) {
    for (int i = 0; i < portion; ++i) {
      const function next = std::move(queue.front());
      queue.pop_front();
      next();
    }
  }
  return static_cast<double>(count) / loop.late.seconds();
}

void tasks(const numbers& n) {
  epoll_loop loop(n[1]);
  const double rate = requeue(n, loop);
  loop.late.tell("tasks", rate, "M/s");
}

void awaits(const numbers& n) {
  epoll_loop loop(n[1]);
  const double rate = requeue(n, loop);
  loop.late.tell("awaits", rate, "M/s");
}

/// The queue holds only the flood's timers. The timer of 1 ms is separate, so that it does not
/// wait behind a million timers that were due before it.
void timers(const numbers& n) {
  struct timer {
    time_point due;
    const function* fire;
    bool operator>(const timer& other) const { return due > other.due; }
  };
  std::priority_queue<timer, std::vector<timer>, std::greater<>> queue;
  std::vector<function> all(n[0]);
  const auto first = bench::clock::now() + std::chrono::milliseconds(n[1] / 10);
  bench::bursts when(n[0], first);
  const auto set = [&](const function* fire) { queue.push({when.fired(), fire}); };
  for (function& f : all) {
    f = [&set, &f] { set(&f); };
    queue.push({first, &f});
  }
  epoll_loop loop(n[1]);
  while (loop.wait(queue.top().due)) {
    const auto now = bench::clock::now();
    for (int i = 0; i < portion && queue.top().due <= now; ++i) {
      const function* const fire = queue.top().fire;
      queue.pop();
      (*fire)();
    }
  }
  loop.late.tell("timers", when.rate(), "M/s");
}

void reads(const numbers& n) {
  const bench::sender other;
  epoll_loop loop(n[1]);
  std::vector<char> buffer(n[0]);
  std::uint64_t bytes = 0;
  loop.watch(other.socket(), EPOLLIN, [&] {
    for (int i = 0; i < system_calls; ++i) {
      const ssize_t got = ::read(other.socket(), buffer.data(), buffer.size());
      if (got <= 0) break;
      bytes += static_cast<std::uint64_t>(got);
    }
  });
  while (loop.wait()) {
  }
  loop.late.tell("reads", static_cast<double>(bytes) / loop.late.seconds(), "MB/s");
  ::close(other.socket());
}

/// Functions that another thread posts: a queue with a lock, and a wake-up if the queue was
/// empty.
class inbox {
public:
  inbox() = default;
  inbox(const inbox&) = delete;
  inbox& operator=(const inbox&) = delete;
  ~inbox() { ::close(bell_); }

  void post(function f) {
    bool first = false;
    {
      const std::scoped_lock lock(guard_);
      first = come_.empty();
      come_.push_back(std::move(f));
    }
    if (first) ::eventfd_write(bell_, 1);
  }

  /// Moves the posted functions to `into`. Call it when `bell` is readable.
  void take(std::vector<function>& into) {
    eventfd_t times = 0;
    ::eventfd_read(bell_, &times);
    into.clear();
    const std::scoped_lock lock(guard_);
    come_.swap(into);
  }
  [[nodiscard]] int bell() const { return bell_; }

private:
  int bell_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  std::mutex guard_;
  std::vector<function> come_;
};

void posts(const numbers& n) {
  bench::pace pace(n[0]);
  inbox in;
  epoll_loop loop(n[1]);
  std::vector<function> taken;
  std::size_t next = 0;
  loop.watch(in.bell(), EPOLLIN, [&] {
    if (next != taken.size()) return;
    in.take(taken);
    next = 0;
  });
  std::thread other = bench::start_other([&] {
    while (pace.next()) in.post([&pace] { pace.count(); });
  });
  while (next == taken.size() ? loop.wait() : loop.look()) {
    for (int i = 0; i < portion && next < taken.size(); ++i) taken[next++]();
  }
  loop.late.tell("posts", static_cast<double>(pace.ran()) / loop.late.seconds(), "M/s");
  pace.end();
  other.join();
}

/// Writes the same list of pieces again and again.
class gatherer {
public:
  gatherer(int s, std::uint64_t pieces) : socket_(s), pieces_(pieces, whole()) {}

  void write() {
    for (int i = 0; i < gathers; ++i) {
      msghdr message{};
      message.msg_iov = &pieces_[next_];
      message.msg_iovlen = std::min<std::size_t>(pieces_.size() - next_, IOV_MAX);
      const ssize_t n = ::sendmsg(socket_, &message, MSG_NOSIGNAL);
      if (n < 0) break;
      pass(static_cast<std::size_t>(n));
    }
  }

private:
  static iovec whole() {
    static constinit char piece[] = {'8', ' ', 'b', 'y', 't', 'e', 's', '.'};
    return {piece, sizeof piece};
  }

  void pass(std::size_t bytes) {
    for (; bytes >= pieces_[next_].iov_len; next_ = (next_ + 1) % pieces_.size()) {
      bytes -= pieces_[next_].iov_len;
      pieces_[next_] = whole();
    }
    pieces_[next_].iov_base = static_cast<char*>(pieces_[next_].iov_base) + bytes;
    pieces_[next_].iov_len -= bytes;
  }

  int socket_;
  std::vector<iovec> pieces_;
  std::size_t next_ = 0;  // the first piece that is not completely written
};

void pieces(const numbers& n) {
  bench::readers other(1);
  const int s = other.sockets().front();
  gatherer g(s, n[0]);
  epoll_loop loop(n[1]);
  loop.watch(s, EPOLLOUT, [&] { g.write(); });
  while (loop.wait()) {
  }
  loop.late.tell("pieces", static_cast<double>(other.received()) / loop.late.seconds(), "MB/s");
  ::close(s);
}

}  // namespace

int main(int count, char** words) {
  return bench::lateness_main(count, words,
                              {.nothing = nothing,
                               .writers = writers,
                               .tasks = tasks,
                               .timers = timers,
                               .reads = reads,
                               .posts = posts,
                               .awaits = awaits,
                               .pieces = pieces});
}
