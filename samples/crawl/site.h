// SPDX-License-Identifier: BSD-2-Clause
//
// The site that both styles crawl, served on loopback, and their common output.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <vector>

#include <eddy/future/scope.h>
#include <eddy/future/task.h>
#include <eddy/loop/event_loop.h>
#include <eddy/net/tcp_listener.h>
#include <eddy/net/tcp_stream.h>

#include "../two_sites/page.h"

/// Serves /1 to /24. The first two requests for /7, /14 and /21 fail, each request for /13
/// fails, and a request for /24 is never answered.
///
/// Lifetime: the loop must outlive the site. Destroying the site closes all connections.
class site {
public:
  static constexpr std::size_t pages = 24;

  /// Errors: `std::system_error` if no loopback port is available.
  explicit site(eddy::event_loop& loop);

  [[nodiscard]] std::vector<url> urls() const;

private:
  eddy::task<> accept_all();
  eddy::task<> serve(eddy::tcp_stream stream);

  std::array<int, pages + 1> asked_{};
  eddy::tcp_listener listener_;
  eddy::scope connections_;
};

/// The progress of the crawl. Prints a changing line if standard error is a terminal, and a
/// report at the end.
class progress {
public:
  static constexpr std::size_t at_once = 6;
  static constexpr unsigned attempts = 3;
  static constexpr std::chrono::milliseconds first_delay{10};
  static constexpr std::chrono::milliseconds limit{1500};

  explicit progress(std::vector<url> all);

  void asking();
  void asked() { --running_; }
  void arrived(const url& from, const page& what);
  void given_up(const url& from, const char* why);

  void print_end() const;

private:
  void print_line() const;

  struct fate {
    url from;
    bool arrived = false;
    bool given_up = false;
  };
  fate& fate_of(const url& from);

  std::vector<fate> fates_;
  std::size_t done_ = 0;
  std::size_t bytes_ = 0;
  std::size_t requests_ = 0;
  std::size_t running_ = 0;
  std::size_t most_ = 0;
};
