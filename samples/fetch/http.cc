// SPDX-License-Identifier: BSD-2-Clause
#include "http.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <system_error>

namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

char small(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

std::string in_small(std::string_view text) {
  std::string all(text);
  std::ranges::transform(all, all.begin(), small);
  return all;
}

/// The characters of a field's name (RFC 9110, section 5.6.2).
bool is_token(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) {
    return is_digit(c) || (small(c) >= 'a' && small(c) <= 'z') ||
           std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
  });
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

/// A number of digits alone that a file may have as its size.
std::optional<std::uint64_t> number(std::string_view text, int base = 10) {
  std::uint64_t n = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n, base);
  constexpr auto most = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  if (text.empty() || error != std::errc() || end != text.data() + text.size() || n > most) {
    return std::nullopt;
  }
  return n;
}

}  // namespace

url::url(std::string_view text) {
  const auto wrong = [text](const char* why) {
    return http_error(std::string(text) + " is no address of a file: " + why);
  };
  if (!std::ranges::all_of(text, [](char c) { return c > ' ' && c < 0x7f; })) {
    throw wrong("it has a blank, a control character or a letter that is not ASCII");
  }
  std::string_view rest = text.substr(0, text.find('#'));
  const std::size_t colon = rest.find("://");
  if (colon == std::string_view::npos) throw wrong("it does not begin with http:// or https://");
  const std::string scheme = in_small(rest.substr(0, colon));
  if (scheme != "http" && scheme != "https") {
    throw wrong("it does not begin with http:// or https://");
  }
  secure = scheme == "https";
  port = secure ? 443 : 80;
  rest.remove_prefix(colon + 3);
  const std::size_t slash = std::min(rest.find_first_of("/?"), rest.size());
  std::string_view where = rest.substr(0, slash);
  if (slash != rest.size()) {
    path = rest.substr(slash);
    if (path.front() == '?') path.insert(0, "/");
  }
  if (where.find('@') != std::string_view::npos) throw wrong("a name and a password are not sent");
  if (where.starts_with('[')) {
    const std::size_t end = where.find(']');
    if (end == std::string_view::npos) throw wrong("a bracket is open");
    host = where.substr(1, end - 1);
    where.remove_prefix(end + 1);
  } else {
    host = where.substr(0, where.find(':'));
    where.remove_prefix(host.size());
  }
  if (host.empty()) throw wrong("it names no host");
  if (where.empty()) return;
  const auto given = number(where.substr(1));
  if (where.front() != ':' || !given || *given == 0 || *given > 65535) throw wrong("its port");
  port = static_cast<std::uint16_t>(*given);
}

std::string url::authority() const {
  const bool v6 = host.find(':') != std::string::npos;
  std::string all = v6 ? "[" + host + "]" : host;
  if (port != (secure ? 443 : 80)) all += ":" + std::to_string(port);
  return all;
}

std::string url::text() const { return (secure ? "https://" : "http://") + authority() + path; }

url url::follow(std::string_view location) const {
  location = trimmed(location);
  if (location.empty()) throw http_error("a redirection leads nowhere");
  const std::string scheme = secure ? "https:" : "http:";
  if (location.starts_with("//")) return url(scheme + std::string(location));
  if (location.find("://") < location.find_first_of("/?#")) {
    url next(location);
    if (secure && !next.secure) throw http_error("a redirection leads from https to http");
    return next;
  }
  const std::string own = path.substr(0, path.find('?'));
  std::string to(location);
  if (location.starts_with('?')) {
    to = own + to;
  } else if (!location.starts_with('/')) {
    to = own.substr(0, own.rfind('/') + 1) + to;
  }
  return url(scheme + "//" + authority() + to);
}

std::string url::file_name() const {
  const std::string own = path.substr(0, path.find('?'));
  const std::string name = own.substr(own.rfind('/') + 1);
  return name.empty() || name == "." || name == ".." ? "index.html" : name;
}

std::string request_for(const url& from, std::uint64_t offset, const std::string& validator) {
  std::string all = "GET " + from.path + " HTTP/1.1\r\nHost: " + from.authority() +
                    "\r\nUser-Agent: eddy-fetch\r\nAccept-Encoding: identity\r\n"
                    "Connection: close\r\n";
  if (offset != 0) {
    all += "Range: bytes=" + std::to_string(offset) + "-\r\nIf-Range: " + validator + "\r\n";
  }
  return all + "\r\n";
}

bool answer_head::add(std::string_view line) {
  if (status_ == 0) {
    add_status(line);
    return false;
  }
  if (line.empty()) return true;
  if (++count_ > most_fields) throw http_error("the answer has too many fields");
  const std::size_t colon = line.find(':');
  const std::string_view value = trimmed(line.substr(std::min(colon, line.size() - 1) + 1));
  if (colon == std::string_view::npos || !is_token(line.substr(0, colon)) ||
      !std::ranges::all_of(value, [](unsigned char c) { return c >= ' ' || c == '\t'; })) {
    throw http_error("the answer has a field that is no field");
  }
  const auto [entry, is_new] = fields_.emplace(in_small(line.substr(0, colon)), value);
  if (!is_new) (entry->second += ", ") += value;
  return false;
}

void answer_head::add_status(std::string_view line) {
  const bool good = line.size() >= 12 &&
                    (line.starts_with("HTTP/1.1 ") || line.starts_with("HTTP/1.0 ")) &&
                    line[9] >= '1' && line[9] <= '5' && is_digit(line[10]) && is_digit(line[11]) &&
                    (line.size() == 12 || line[12] == ' ');
  if (!good) throw http_error("the answer is not of HTTP/1.1");
  old_ = line[7] == '0';
  status_ = (line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0');
  for (const char c : trimmed(line.substr(9))) status_text_ += c >= ' ' && c < 0x7f ? c : '?';
}

std::string answer_head::field(const std::string& name) const {
  const auto found = fields_.find(name);
  return found == fields_.end() ? std::string() : found->second;
}

bool answer_head::chunked() const {
  if (!fields_.contains("transfer-encoding")) return false;
  // An answer with both might end at two places (RFC 9112, section 6.3).
  if (old_ || fields_.contains("content-length") ||
      in_small(field("transfer-encoding")) != "chunked") {
    throw http_error("the answer has a transfer encoding that is not known");
  }
  return true;
}

std::optional<std::uint64_t> answer_head::length() const {
  if (!fields_.contains("content-length")) return std::nullopt;
  const auto n = number(field("content-length"));
  if (!n) throw http_error("the answer has a wrong length");
  return n;
}

byte_range answer_head::range() const {
  const http_error wrong("the answer has a wrong Content-Range");
  std::string_view rest;
  const std::string all = field("content-range");
  if (!all.starts_with("bytes ")) throw wrong;
  rest = trimmed(std::string_view(all).substr(6));
  const std::size_t slash = rest.find('/');
  if (slash == std::string_view::npos) throw wrong;
  byte_range r;
  if (rest.substr(slash + 1) != "*") {
    r.size = number(rest.substr(slash + 1));
    if (!r.size) throw wrong;
  }
  if (rest.substr(0, slash) == "*") return r;
  const std::size_t dash = rest.find('-');
  if (dash > slash) throw wrong;
  r.first = number(rest.substr(0, dash));
  const auto last = number(rest.substr(dash + 1, slash - dash - 1));
  if (!r.first || !last || *last < *r.first || (r.size && *last >= *r.size)) throw wrong;
  r.last = *last;
  return r;
}

std::string answer_head::validator() const {
  std::string tag = field("etag");
  if (tag.size() >= 2 && tag.front() == '"' && tag.back() == '"') return tag;
  return tag.empty() ? field("last-modified") : std::string();
}

std::uint64_t chunk_size(std::string_view line) {
  const auto n = number(trimmed(line.substr(0, line.find(';'))), 16);
  if (!n) throw http_error("the answer has a wrong chunk");
  return *n;
}
