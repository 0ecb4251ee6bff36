// SPDX-License-Identifier: BSD-2-Clause
//
// The part of HTTP/1.1 that fetch needs: addresses, requests, and the heads of answers (RFC 9110,
// RFC 9112). Nothing here waits. Whatever is not exactly right is an error, because a file that is
// a little wrong is worse than none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

/// An answer that is no good, or an address that is none.
struct http_error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct url {
  /// Reads `http[s]://host[:port][/path]`.
  explicit url(std::string_view text);

  /// The address to which a `Location` leads from here.
  [[nodiscard]] url follow(std::string_view location) const;
  /// The last part of the path, as the name of a file.
  [[nodiscard]] std::string file_name() const;
  [[nodiscard]] std::string text() const;

  bool secure = false;
  std::string host;  // an IPv6 address without its brackets
  std::uint16_t port = 80;
  std::string path = "/";  // with the query

private:
  [[nodiscard]] std::string authority() const;
  friend std::string request_for(const url& from, std::uint64_t offset,
                                 const std::string& validator);
};

/// The request for a file, or for its bytes from `offset` on if they are still of the version that
/// `validator` names.
std::string request_for(const url& from, std::uint64_t offset, const std::string& validator);

/// A part of a file: `Content-Range`.
struct byte_range {
  std::optional<std::uint64_t> first;  // none if the server has no such part
  std::uint64_t last = 0;
  std::optional<std::uint64_t> size;  // of the file
};

/// The head of an answer. It gets one line after the other.
class answer_head {
public:
  static constexpr std::size_t longest_line = 8192;
  static constexpr std::size_t most_fields = 100;

  /// Takes a line, and returns whether it was the last one.
  bool add(std::string_view line);

  [[nodiscard]] int status() const { return status_; }
  /// "404 Not Found"
  [[nodiscard]] const std::string& status_text() const { return status_text_; }
  /// The value of a field, or an empty string. `name` is in small letters.
  [[nodiscard]] std::string field(const std::string& name) const;
  [[nodiscard]] bool chunked() const;
  /// The length of the body; none if the body ends with the connection.
  [[nodiscard]] std::optional<std::uint64_t> length() const;
  [[nodiscard]] byte_range range() const;
  /// A strong ETag or the time of the last change: this tells the version of the file from others.
  [[nodiscard]] std::string validator() const;

private:
  void add_status(std::string_view line);

  int status_ = 0;
  bool old_ = false;  // HTTP/1.0
  std::string status_text_;
  std::size_t count_ = 0;
  std::map<std::string, std::string> fields_;
};

/// The size of a chunk, from the line before it.
std::uint64_t chunk_size(std::string_view line);
