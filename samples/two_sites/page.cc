// SPDX-License-Identifier: BSD-2-Clause

#include "page.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <utility>

#include <sys/resource.h>

namespace {

template <class Number>
bool parse(std::string_view text, Number& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

std::expected<url, std::string> parse_url(std::string_view text) {
  url u;
  u.text = text;
  constexpr std::string_view scheme = "http://";
  if (!text.starts_with(scheme)) return std::unexpected(u.text + ": not an http:// address");
  text.remove_prefix(scheme.size());

  const std::size_t slash = text.find_first_of("/?#");
  std::string_view authority = text.substr(0, slash);
  if (slash != std::string_view::npos) {
    u.path = text.substr(slash, text.find('#') - slash);
    if (!u.path.starts_with('/')) u.path.insert(0, 1, '/');
  }
  const std::size_t bracket = authority.starts_with('[') ? authority.find(']') : 0;
  if (bracket == std::string_view::npos) return std::unexpected(u.text + ": a ] is missing");
  const std::size_t colon = authority.find(':', bracket);
  if (colon != std::string_view::npos) {
    if (!parse(authority.substr(colon + 1), u.port) || u.port == 0) {
      return std::unexpected(u.text + ": not a port number");
    }
    authority = authority.substr(0, colon);
  }
  u.host = bracket == 0 ? authority : authority.substr(1, bracket - 1);
  const bool bad = u.host.empty() || u.path.find_first_of(" \r\n") != std::string::npos ||
                   u.host.find_first_of(" @\r\n") != std::string::npos;
  if (bad) return std::unexpected(u.text + ": not an address of a page");
  return u;
}

bool same_letters(std::string_view a, std::string_view b) {
  return std::ranges::equal(
      a, b, [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

/// A number from /proc/self/status: threads, or memory in kB.
long long own_status(std::string_view name) {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    long long number = 0;
    if (word == name && status >> number) return number;
  }
  return 0;
}

[[noreturn]] void usage(const std::string& wrong) {
  std::fprintf(stderr, "%s\nusage: two_sites URL URL [--limit SECONDS]\n", wrong.c_str());
  std::exit(2);
}

}  // namespace

std::string request_for(const url& from) {
  const std::string port = from.port == 80 ? "" : ":" + std::to_string(from.port);
  const bool six = from.host.find(':') != std::string::npos;
  return "GET " + from.path + " HTTP/1.0\r\nHost: " + (six ? "[" + from.host + "]" : from.host) +
         port + "\r\nUser-Agent: eddy-two_sites\r\nAccept: */*\r\n\r\n";
}

std::optional<std::string> answer::read_head(std::string_view head) {
  const std::string_view status_line = head.substr(0, head.find("\r\n"));
  const bool http = status_line.starts_with("HTTP/1.") && status_line.size() >= 12;
  if (!http || !parse(status_line.substr(9, 3), status_)) {
    return "malformed answer: it does not begin with an HTTP status";
  }
  while (!head.empty()) {
    const std::string_view line = head.substr(0, head.find("\r\n"));
    head.remove_prefix(std::min(head.size(), line.size() + 2));
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    std::string_view value = line.substr(colon + 1);
    value.remove_prefix(std::min(value.size(), value.find_first_not_of(" \t")));
    value = value.substr(0, value.find_last_not_of(" \t") + 1);
    if (same_letters(line.substr(0, colon), "content-length")) {
      if (!parse(value, length_.emplace())) return "malformed answer: no number as Content-Length";
    } else if (same_letters(line.substr(0, colon), "transfer-encoding")) {
      // RFC 9112, 6.1: a server must not send this to an HTTP/1.0 client.
      return "malformed answer: a transfer coding in reply to HTTP/1.0";
    }
  }
  return std::nullopt;
}

std::optional<arrival> answer::add(std::string_view bytes) {
  text_ += bytes;
  if (body_at_ == 0) {
    const std::size_t end = text_.find("\r\n\r\n");
    if (end == std::string::npos) {
      if (text_.size() > 65536) return std::unexpected("malformed answer: its head has no end");
      return std::nullopt;
    }
    body_at_ = end + 4;
    if (auto wrong = read_head(std::string_view(text_).substr(0, end))) {
      return std::unexpected(std::move(*wrong));
    }
  }
  if (text_.size() - body_at_ > largest) return std::unexpected("the page has more than 64 MiB");
  if (!length_ || text_.size() - body_at_ < *length_) return std::nullopt;
  return page{status_, text_.substr(body_at_, *length_)};
}

arrival answer::end() const {
  if (text_.empty()) return std::unexpected("the server closed the connection without an answer");
  if (body_at_ == 0) return std::unexpected("malformed answer: it ends within its head");
  if (length_) {
    return std::unexpected("malformed answer: " + std::to_string(text_.size() - body_at_) + " of " +
                           std::to_string(*length_) + " bytes");
  }
  return page{status_, text_.substr(body_at_)};
}

downloads::downloads(int argc, char** argv) {
  std::size_t count = 0;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--for-picture") {
      for_picture_ = true;
    } else if (word == "--limit") {
      int seconds = 0;
      ++i;
      if (i >= argc || !parse(argv[i], seconds) || seconds <= 0) {
        usage("--limit takes a number of seconds");
      }
      limit_ = std::chrono::seconds(seconds);
    } else {
      auto parsed = parse_url(word);
      if (!parsed) usage(parsed.error());
      if (count == pages_.size()) usage("two pages, no more");
      pages_.at(count++).from = std::move(*parsed);
    }
  }
  if (count != pages_.size()) usage("two pages, no less");
}

void downloads::started(int which) { pages_.at(index(which)).started = clock::now(); }

void downloads::ended(int which, arrival what) {
  download& d = pages_.at(index(which));
  d.threads = static_cast<int>(own_status("Threads:"));
  d.ended = clock::now();
  d.what = std::move(what);
}

int downloads::report() const {
  int status = 0;
  if (for_picture_) {
    ::rusage used{};
    ::getrusage(RUSAGE_SELF, &used);
    std::printf("%lld %ld\n", own_status("VmHWM:"), used.ru_nvcsw + used.ru_nivcsw);
  }
  for (const download& d : pages_) {
    if (!d.what) status = 1;
    const auto us = [&](clock::time_point t) {
      return std::chrono::duration_cast<std::chrono::microseconds>(t - begin_).count();
    };
    if (for_picture_) {
      const std::string& bytes = d.what ? d.what->body : d.what.error();
      std::printf("%lld %lld %d %d %zu\n", static_cast<long long>(us(d.started)),
                  static_cast<long long>(us(d.ended)), d.threads, d.what ? d.what->status : -1,
                  bytes.size());
      std::fwrite(bytes.data(), 1, bytes.size(), stdout);
    } else if (d.what) {
      std::printf("%s: status %d, %zu bytes\n", d.from.text.c_str(), d.what->status,
                  d.what->body.size());
    } else {
      std::fprintf(stderr, "%s: %s\n", d.from.text.c_str(), d.what.error().c_str());
    }
  }
  return status;
}
