// SPDX-License-Identifier: BSD-2-Clause
//
// The code that the four styles share: addresses, requests, answers, the times of the two
// downloads, and the report. Nothing here waits.
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

/// A page, or an error message.
using arrival = std::expected<page, std::string>;

/// The HTTP/1.0 request for a page. With HTTP/1.0, the answer ends with the connection or
/// after its Content-Length (RFC 1945).
std::string request_for(const url& from);

/// Assembles an answer from the bytes received.
class answer {
public:
  static constexpr std::size_t largest = std::size_t{64} << 20;

  /// Adds bytes, and returns the page when the answer is complete.
  std::optional<arrival> add(std::string_view bytes);
  /// Returns the page at the end of the connection, or an error if the answer is incomplete.
  arrival end() const;

private:
  std::optional<std::string> read_head(std::string_view head);

  std::string text_;
  std::size_t body_at_ = 0;  // zero while the head is incomplete
  int status_ = 0;
  std::optional<std::size_t> length_;
};

/// The two downloads of one run of the program: their pages, their time limit and their
/// results. Threads: each download may be used on a thread of its own.
class downloads {
public:
  using clock = std::chrono::steady_clock;

  /// Reads the command line. Prints any mistake in it and exits.
  downloads(int argc, char** argv);

  [[nodiscard]] const url& from(int which) const { return pages_.at(index(which)).from; }
  [[nodiscard]] std::chrono::seconds limit() const { return limit_; }

  void started(int which);
  void ended(int which, arrival what);

  /// Prints the result of both downloads and returns the program's exit status.
  [[nodiscard]] int report() const;

private:
  struct download {
    url from;
    clock::time_point started;
    clock::time_point ended;
    int threads = 0;  // the program's threads when the download ended
    arrival what = std::unexpected("it was never started");
  };
  static std::size_t index(int which) { return static_cast<std::size_t>(which); }

  std::array<download, 2> pages_;
  std::chrono::seconds limit_{10};
  bool for_picture_ = false;  // prints numbers for main.cc instead of sentences
  clock::time_point begin_ = clock::now();
};
