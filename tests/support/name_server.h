// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <semaphore>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <netdb.h>

#include <eddy/net/address.h>

#include "support/failing_system.h"

/// Replaces the system's resolver until it is destroyed. The test sets its answers.
class name_server : public failing_system {
public:
  ~name_server() override { wait_for_workers(); }

  std::vector<std::string> knows;  // the addresses of every name
  int answer = 0;                  // if not 0, the EAI_ error of every look-up
  std::atomic<int> asked = 0;
  std::atomic<int> kept = 0;  // answers that were not freed
  std::string last_name;
  int last_flags = 0;
  std::vector<std::string> in_hosts;  // the names of the loopback address

  /// Returns when no worker thread uses this object any more.
  void wait_for_workers() const {
    while (busy_ != 0 || kept != 0) std::this_thread::yield();
  }

  bool asks_dns(const char* /*host*/) override { return false; }

  bool is_loopback_name(const char* host) override {
    return std::ranges::find(in_hosts, host) != in_hosts.end();
  }

  int look_up(const char* host, const addrinfo* hints, addrinfo** found) override {
    ++busy_;
    ++asked;
    last_name = host;
    last_flags = hints->ai_flags;
    const int error = answer;
    if (error == 0) {
      *found = nullptr;
      for (auto text = knows.rbegin(); text != knows.rend(); ++text) {
        *found = &(new entry(*eddy::address::parse(*text), *found))->info;
      }
      if (*found != nullptr) ++kept;
    }
    errno = EMFILE;
    --busy_;
    return error;
  }

  void free_addresses(addrinfo* found) override {
    while (found != nullptr) {
      auto* const e = reinterpret_cast<entry*>(found);
      found = found->ai_next;
      delete e;
    }
    --kept;
  }

private:
  struct entry {
    entry(const eddy::address& a, addrinfo* next) {
      info.ai_addrlen = a.to(name);
      info.ai_family = name.ss_family;
      info.ai_addr = reinterpret_cast<sockaddr*>(&name);
      info.ai_next = next;
    }
    addrinfo info{};
    sockaddr_storage name{};
  };

  std::atomic<int> busy_ = 0;
};

/// A `name_server` whose look-ups of names that begin with "slow" return when it is destroyed.
class slow_name_server : public name_server {
public:
  slow_name_server() { knows = {"10.0.0.1:0"}; }
  ~slow_name_server() override {
    go_.release(begun);
    while (ended_ != begun) std::this_thread::yield();
  }

  int look_up(const char* host, const addrinfo* hints, addrinfo** found) override {
    if (!std::string_view(host).starts_with("slow")) {
      return name_server::look_up(host, hints, found);
    }
    ++begun;
    go_.acquire();
    ++ended_;
    return EAI_AGAIN;
  }

  std::atomic<int> begun = 0;

private:
  std::atomic<int> ended_ = 0;
  std::counting_semaphore<> go_{0};
};
