// SPDX-License-Identifier: BSD-2-Clause
//
// What the four ways to download two pages share: addresses, requests,
// answers, the two downloads' times, and what is printed of them. Nothing here
// waits for anything.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

/// `http://host[:port][/path]`.
struct url {
  std::string text;
  std::string host;
  std::uint16_t port = 80;
  std::string path = "/";
};

struct page {
  int status = 0;
  std::string body;
};

/// A page, or a sentence that says what went wrong.
using arrival = std::expected<page, std::string>;

/// The bytes that ask for a page. In HTTP/1.0, so that the answer ends where the
/// connection does, or after its Content-Length (RFC 1945).
std::string request_for(const url& from);

/// Puts an answer together from the bytes that come in.
class answer {
public:
  static constexpr std::size_t largest = std::size_t{64} << 20;

  /// Takes more of the answer, and gives the page when it is complete.
  std::optional<arrival> add(std::string_view bytes);
  /// The connection has ended.
  arrival end() const;

private:
  std::optional<std::string> read_head(std::string_view head);

  std::string text_;
  std::size_t body_at_ = 0;  // zero: the head is not complete
  int status_ = 0;
  std::optional<std::size_t> length_;
};

/// The two downloads of one run of the program: which pages, within what time,
/// and how it went. One thread a page may use it.
class downloads {
public:
  using clock = std::chrono::steady_clock;

  /// From the command line; prints what is wrong with it and ends the program.
  downloads(int argc, char** argv);

  [[nodiscard]] const url& from(int which) const { return pages_.at(index(which)).from; }
  [[nodiscard]] std::chrono::seconds limit() const { return limit_; }

  void started(int which);
  void ended(int which, arrival what);

  /// Prints both pages' fates; the program's exit status.
  [[nodiscard]] int report() const;

private:
  struct download {
    url from;
    clock::time_point started;
    clock::time_point ended;
    int threads = 0;  // of the program, when it ended
    arrival what = std::unexpected("it was never started");
  };
  static std::size_t index(int which) { return static_cast<std::size_t>(which); }

  std::array<download, 2> pages_;
  std::chrono::seconds limit_{10};
  bool for_picture_ = false;  // what main.cc reads, instead of sentences
  clock::time_point begin_ = clock::now();
};
