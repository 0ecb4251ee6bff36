// SPDX-License-Identifier: BSD-2-Clause
// epoll by hand, the limit: the cost of a queue and of a wake-up without anything else.
#include <atomic>
#include <cstdlib>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "bench/scratch_file.h"
#include "bench/subscribers.h"
#include "bench/workload.h"

using bench::numbers;
using bench::time_each;

namespace {

/// A queue of functions to call, and nothing else.
struct node {
  void (*run)(node&);
  node* next = nullptr;
};

struct queue {
  node* first = nullptr;
  node** last = &first;

  void push(node& n) {
    n.next = nullptr;
    *last = &n;
    last = &n.next;
  }
  node* pop() {
    node* const n = first;
    first = n->next;
    if (first == nullptr) last = &first;
    return n;
  }
};

struct turning : node {
  turning(queue& q, std::uint64_t r) : node{&turn}, all(&q), left(r) {}
  static void turn(node& n) {
    auto& self = static_cast<turning&>(n);
    if (--self.left != 0) self.all->push(self);
  }
  queue* all;
  std::uint64_t left;
};

double yields(std::uint64_t tasks, std::uint64_t rounds) {
  queue all;
  std::vector<turning> nodes(tasks, turning(all, rounds));
  const auto begin = bench::clock::now();
  for (auto& n : nodes) all.push(n);
  while (all.first != nullptr) {
    node* const n = all.pop();
    n->run(*n);
  }
  return bench::nanoseconds(bench::clock::now() - begin) / static_cast<double>(tasks * rounds);
}

void yield(const numbers& n) {
  yields(n[0], n[1] / 10 + 1);
  bench::tell("yield", yields(n[0], n[1]));
}

/// Calls from other threads: a queue with a lock, and a wake-up if the queue was empty.
class inbox {
public:
  inbox() {
    epoll_event e{};
    e.events = EPOLLIN | EPOLLET;
    ::epoll_ctl(set_, EPOLL_CTL_ADD, bell_, &e);
  }
  ~inbox() {
    ::close(set_);
    ::close(bell_);
  }
  inbox(const inbox&) = delete;
  inbox& operator=(const inbox&) = delete;

  void post(void (*run)(void*), void* with) {
    bool first = false;
    {
      const std::scoped_lock lock(guard_);
      first = come_.empty();
      come_.push_back({run, with});
    }
    if (first) ::eventfd_write(bell_, 1);
  }

  void turn() {
    epoll_event e{};
    ::epoll_wait(set_, &e, 1, -1);
    {
      const std::scoped_lock lock(guard_);
      come_.swap(taken_);
    }
    for (const call& c : taken_) c.run(c.with);
    taken_.clear();
  }

private:
  struct call {
    void (*run)(void*);
    void* with;
  };

  int set_ = ::epoll_create1(EPOLL_CLOEXEC);
  int bell_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  std::mutex guard_;
  std::vector<call> come_;
  std::vector<call> taken_;
};

void post(const numbers& n) {
  inbox in;
  const auto run = [&](std::uint64_t count) {
    std::uint64_t left = count;
    bench::clock::time_point begin;
    std::thread other([&] {
      begin = bench::clock::now();
      for (std::uint64_t i = 0; i < count; ++i) {
        in.post([](void* counter) { --*static_cast<std::uint64_t*>(counter); }, &left);
      }
    });
    while (left != 0) in.turn();
    const auto end = bench::clock::now();
    other.join();
    return bench::nanoseconds(end - begin) / static_cast<double>(count);
  };
  run(n[0] / 10 + 1);
  bench::tell("post", run(n[0]));
}

void wake(const numbers& n) {
  const int set = ::epoll_create1(EPOLL_CLOEXEC);
  const int ask = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  const int answer = ::eventfd(0, EFD_CLOEXEC);
  epoll_event e{};
  e.events = EPOLLIN | EPOLLET;
  ::epoll_ctl(set, EPOLL_CTL_ADD, ask, &e);
  std::atomic<bool> over = false;
  std::thread other([&] {
    time_each("wake", n[0], [&](std::uint64_t count) {
      for (std::uint64_t i = 0; i < count; ++i) {
        ::eventfd_write(ask, 1);
        eventfd_t value = 0;
        ::eventfd_read(answer, &value);
      }
    });
    over = true;
    ::eventfd_write(ask, 1);
  });
  for (;;) {
    ::epoll_wait(set, &e, 1, -1);
    if (over) break;
    ::eventfd_write(answer, 1);
  }
  other.join();
  for (const int descriptor : {set, ask, answer}) ::close(descriptor);
}

/// Publishes by a buffer for each subscriber, which is sent once a turn.
void fan_out(const numbers& n) {
  const bench::subscribers all;
  std::vector<std::string> buffers(all.near().size());
  const std::string text(bench::message_size, 'm');
  bench::time_fan_out("fan-out", all, n[0], [&](std::uint64_t count) {
    for (std::uint64_t i = 0; i < count; ++i) {
      for (std::string& buffer : buffers) buffer += text;
    }
    for (std::size_t i = 0; i < buffers.size(); ++i) {
      const auto sent = ::send(all.near()[i], buffers[i].data(), buffers[i].size(), MSG_NOSIGNAL);
      if (sent != static_cast<ssize_t>(buffers[i].size())) std::abort();
      buffers[i].clear();
    }
  });
  for (const int s : all.near()) ::close(s);
}

/// Has `call(buffer, size, place)` move all bytes. The calls may wait for the disk.
template <class Call>
void time_file(const char* name, const numbers& n, Call call) {
  const bench::scratch_file file(n[0]);
  std::vector<char> buffer(bench::file_step, 'f');
  bench::cpu_each(name, n[1], [&](std::uint64_t count) {
    for (bench::file_parts parts(file, count); !parts.empty();) {
      const auto [at, size] = parts.next();
      const ssize_t moved = call(file.descriptor(), buffer.data(), size, static_cast<off_t>(at));
      if (moved <= 0) std::abort();
      parts.pass(static_cast<std::size_t>(moved));
    }
  });
}

void file_read(const numbers& n) { time_file("file-read", n, &::pread); }

void file_write(const numbers& n) { time_file("file-write", n, &::pwrite); }

}  // namespace

int main(int count, char** words) {
  return bench::main(count, words,
                     {{"fan-out", {1, fan_out}},
                      {"file-read", {2, file_read}},
                      {"file-write", {2, file_write}},
                      {"post", {1, post}},
                      {"wake", {1, wake}},
                      {"yield", {2, yield}}});
}
