// SPDX-License-Identifier: BSD-2-Clause
//
// Downloads files over HTTP/1.1 and TLS, several at once. A download that was cut off goes on where
// it ended, if the server says that its file is still the same. There is only an await version:
// each step is a sentence here, and would be a handler with the state of all others.
//
//   ./samples/run fetch -o downloads https://example.org/one.iso http://example.org/two.iso
//
// -o DIR       where the files go; they must have different names
// -c FILE      the certificates to trust, instead of those of the system
// -t SECONDS   the limit of each connect, and of each silence of a server; 30 unless given
//
// NAME.part is a file that is not complete, and NAME.tag says which version of it. Ctrl-C leaves
// both. The exit code is 0 if all files are complete, 1 if some are not, 2 for wrong arguments, and
// 130 after Ctrl-C.

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <signal.h>
#include <unistd.h>

#include <eddy/future/as_result.h>
#include <eddy/future/block_on.h>
#include <eddy/future/future.h>
#include <eddy/future/run_blocking.h>
#include <eddy/future/scope.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/future/task.h>
#include <eddy/future/timeout.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/signal.h>
#include <eddy/net/any_stream.h>
#include <eddy/net/buffered.h>
#include <eddy/net/connect.h>
#include <eddy/net/file_stream.h>
#include <eddy/net/tcp_stream.h>
#ifdef SAMPLES_TLS
#include <eddy/net/tls/tls_context.h>
#include <eddy/net/tls/tls_stream.h>
#endif

#include "http.h"

namespace {

using connection = eddy::buffered<eddy::any_stream>;

constexpr int most_redirections = 5;
constexpr int most_interim_answers = 5;
constexpr std::size_t at_once = 8;
constexpr std::size_t buffer_size = std::size_t{64} * 1024;
constexpr std::chrono::milliseconds between_lines_of_progress(200);

/// The command line.
struct arguments {
  arguments(int count, char** words);

  std::string directory = ".";
  std::string authorities;
  std::chrono::seconds limit{30};
  std::vector<url> urls;
};

[[noreturn]] void usage(const std::string& why) {
  std::fprintf(stderr, "fetch: %s\nusage: fetch [-o DIR] [-c FILE] [-t SECONDS] URL...\n",
               why.c_str());
  std::exit(2);
}

arguments::arguments(int count, char** words) {
  for (int option = 0; (option = ::getopt(count, words, "o:c:t:")) != -1;) {
    if (option == 'o') {
      directory = optarg;
    } else if (option == 'c') {
      authorities = optarg;
    } else if (option == 't') {
      const std::string_view text = optarg;
      int n = 0;
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
      if (error != std::errc() || end != text.data() + text.size() || n < 1) {
        usage("a time limit is a number of seconds");
      }
      limit = std::chrono::seconds(n);
    } else {
      usage("an option is wrong");
    }
  }
  if (optind == count) usage("there is nothing to download");
  std::set<std::string> names;
  for (const char* word : std::span(words, static_cast<std::size_t>(count)).subspan(optind)) {
    try {
      urls.emplace_back(word);
    } catch (const http_error& e) {
      usage(e.what());
    }
    const std::string name = urls.back().file_name();
    if (!names.insert(name).second) usage("two files would be named " + name);
#ifndef SAMPLES_TLS
    if (urls.back().secure) usage("this fetch was built without TLS");
#endif
  }
}

/// The downloads of one run.
class downloads {
public:
  downloads(eddy::event_loop& loop, const arguments& how) : loop_(loop), how_(how) {
#ifdef SAMPLES_TLS
    if (!how.authorities.empty()) {
      eddy::tls_client_options options;
      options.ca_file = how.authorities;
      options.system_roots = false;
      context_.reload(options);
    }
#endif
  }

  eddy::task<> run() {
    auto progress = eddy::spawn(loop_, print_progress());
    eddy::scope all(loop_, at_once);
    for (const url& from : how_.urls) all.spawn(fetch(from));
    co_await all.join();
  }

  [[nodiscard]] int exit_code() const { return failed_ ? 1 : 0; }
  void clear_progress() {
    if (std::exchange(shown_, false)) std::fprintf(stderr, "\r\033[K");
  }

private:
  /// A file that grows, and what is known of it.
  struct partial {
    explicit partial(const std::string& whole)
        : name(whole), part(whole + ".part"), tag(whole + ".tag") {}
    std::string name;
    std::string part;
    std::string tag;
    std::string validator;       // empty if the download cannot go on
    std::uint64_t was = 0;       // bytes that an earlier run has left
    std::uint64_t complete = 0;  // bytes, in the end
    eddy::file_stream file;
  };

  /// Downloads one file, and prints how that went. Its errors concern no other file.
  eddy::task<> fetch(url from) {
    std::string error;
    try {
      partial to(how_.directory + "/" + from.file_name());
      co_await open_partial(to, from);
      co_await download(to, from);
      co_await to.file.shutdown();
      to.file.close();
      const auto finish = [](const std::string& part, const std::string& name,
                             const std::string& tag) {
        std::filesystem::rename(part, name);
        std::filesystem::remove(tag);
      };
      co_await eddy::run_blocking(finish, to.part, to.name, to.tag);
      ++done_;
      clear_progress();
      std::printf("%s: %llu bytes, %llu of them from an earlier run\n", to.name.c_str(),
                  static_cast<unsigned long long>(to.complete),
                  static_cast<unsigned long long>(to.was));
      std::fflush(stdout);
    } catch (const std::exception& e) {
      error = e.what();
    }
    if (error.empty()) co_return;
    failed_ = true;
    clear_progress();
    std::fprintf(stderr, "fetch: %s: %s\n", from.text().c_str(), error.c_str());
  }

  /// Opens the file, and finds out whether the download of an earlier run can go on.
  eddy::task<> open_partial(partial& to, const url& from) {
    to.file = co_await eddy::open_file(to.part, eddy::file_mode::update_or_create);
    to.was = co_await to.file.size();
    if (to.was == 0) co_return;
    auto opening = eddy::as_result(eddy::open_file(to.tag));
    auto tag = co_await std::move(opening);
    if (tag) {
      eddy::buffered<eddy::file_stream> lines(std::move(*tag));
      auto first_line = eddy::as_result(lines.read_line(answer_head::longest_line));
      const auto first = co_await std::move(first_line);
      const bool same = first && *first && **first == from.text();
      auto second_line = eddy::as_result(lines.read_line(answer_head::longest_line));
      const auto second = co_await std::move(second_line);
      if (same && second && *second) to.validator = **second;
    }
    if (to.validator.empty()) to.was = 0;
  }

  eddy::task<> download(partial& to, const url& asked) {
    url from = asked;
    for (int redirections = 0;;) {
      connection server = co_await connect(from);
      const answer_head head = co_await ask(server, request_for(from, to.was, to.validator));
      const int status = head.status();
      const bool moved =
          status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
      if (moved) {
        if (++redirections > most_redirections) throw http_error("there are too many redirections");
        from = from.follow(head.field("location"));
        continue;
      }
      if (status == 416 && to.was != 0) {
        const byte_range range = head.range();
        if (range.size == to.was) {  // the file was complete already
          to.complete = to.was;
          co_return;
        }
        to.was = 0;
        continue;
      }
      if (status != 200 && (status != 206 || to.was == 0)) {
        throw http_error("the server answered " + head.status_text());
      }
      co_await begin_file(to, asked, head);
      co_await take_body(to, server, head);
      co_return;
    }
  }

  eddy::task<connection> connect(const url& to) {
    auto connecting = eddy::timeout(how_.limit, eddy::connect(to.host, to.port));
    eddy::tcp_stream plain = co_await std::move(connecting);
#ifdef SAMPLES_TLS
    if (to.secure) {
      auto handshake =
          eddy::timeout(how_.limit, eddy::tls_connect(context_, std::move(plain), to.host));
      auto secure = co_await std::move(handshake);
      eddy::any_stream any(std::move(secure));
      co_return connection(std::move(any), buffer_size);
    }
#endif
    if (to.secure) throw http_error("this fetch was built without TLS");
    eddy::any_stream any(std::move(plain));
    co_return connection(std::move(any), buffer_size);
  }

  /// Reads a line, which the server has to send soon.
  eddy::task<std::string> read_line(connection& from, std::size_t limit) {
    auto reading = eddy::timeout(how_.limit, from.read_line(limit));
    const auto line = co_await std::move(reading);
    if (!line) throw http_error("the connection ended in the middle of the answer");
    std::string copy(*line);
    co_return copy;
  }

  /// Sends a request, and reads the head of the answer.
  eddy::task<answer_head> ask(connection& server, std::string request) {
    server.put(request);
    auto sending = eddy::timeout(how_.limit, server.flush());
    co_await std::move(sending);
    for (int interim = 0;; ++interim) {
      answer_head head;
      for (bool last = false; !last;) {
        const std::string line = co_await read_line(server, answer_head::longest_line);
        last = head.add(line);
      }
      if (head.status() >= 200) co_return head;
      if (interim == most_interim_answers) throw http_error("the server never answers for good");
    }
  }

  /// Has the file begin where the answer does.
  eddy::task<> begin_file(partial& to, const url& asked, const answer_head& head) {
    if (head.status() == 206) {
      const byte_range range = head.range();
      const std::string validator = head.validator();
      if (range.first != to.was || (range.size && range.last + 1 != *range.size) ||
          (!validator.empty() && validator != to.validator)) {
        throw http_error("the server sent another part of the file than the one that was asked");
      }
      const auto length = head.length();
      if (length && *length != range.last - *range.first + 1) {
        throw http_error("the answer has a length that contradicts its Content-Range");
      }
      to.complete = range.last + 1;
      to.file.seek_write(to.was);
      co_return;
    }
    // The old tag must never stand beside new bytes.
    to.was = 0;
    co_await to.file.resize(0);
    to.file.seek_write(0);
    eddy::file_stream tag = co_await eddy::open_file(to.tag, eddy::file_mode::truncate);
    const std::string lines = asked.text() + "\n" + head.validator() + "\n";
    co_await tag.write(lines);
    co_await tag.shutdown();
  }

  eddy::task<> take_body(partial& to, connection& server, const answer_head& head) {
    if (!head.chunked()) {
      std::optional<std::uint64_t> size = head.length();
      if (head.status() == 206 && !size) size = to.complete - to.was;
      co_await take_bytes(to, server, size);
    } else {
      for (;;) {
        const std::string line = co_await read_line(server, 1024);
        const std::uint64_t size = chunk_size(line);
        if (size == 0) break;
        co_await take_bytes(to, server, size);
        const std::string end = co_await read_line(server, 1024);
        if (!end.empty()) throw http_error("the answer has a wrong chunk");
      }
      for (std::size_t trailers = 0;; ++trailers) {
        const std::string line = co_await read_line(server, answer_head::longest_line);
        if (line.empty()) break;
        if (trailers == answer_head::most_fields) throw http_error("the answer never ends");
      }
    }
    const std::uint64_t size = to.file.write_position();
    if (head.status() == 206 && size != to.complete) {
      throw http_error("the server sent another part of the file than it had said");
    }
    to.complete = size;
  }

  /// Writes the next bytes to the file: `size` of them, or all to the end of the connection.
  eddy::task<> take_bytes(partial& to, connection& server, std::optional<std::uint64_t> size) {
    std::vector<char> buffer(buffer_size);
    for (std::uint64_t taken = 0; !size || taken < *size;) {
      std::size_t most = buffer.size();
      if (size) most = static_cast<std::size_t>(std::min<std::uint64_t>(most, *size - taken));
      auto reading = eddy::timeout(how_.limit, server.read(std::span(buffer).first(most)));
      const std::size_t n = co_await std::move(reading);
      if (n == 0 && !size) co_return;
      if (n == 0) {
        throw http_error("the connection ended after " + std::to_string(taken) + " of " +
                         std::to_string(*size) + " bytes; fetch again to go on");
      }
      co_await to.file.write(std::span<const char>(buffer).first(n));
      taken += n;
      bytes_ += n;
    }
  }

  /// Shows on a terminal how much has arrived.
  eddy::task<> print_progress() {
    if (::isatty(STDERR_FILENO) == 0) co_return;
    for (;;) {
      co_await eddy::sleep(between_lines_of_progress);
      std::fprintf(stderr, "\r\033[K%zu of %zu files, %llu KiB", done_, how_.urls.size(),
                   static_cast<unsigned long long>(bytes_ / 1024));
      shown_ = true;
    }
  }

  eddy::event_loop& loop_;
  const arguments& how_;
#ifdef SAMPLES_TLS
  eddy::tls_client_context context_;
#endif
  std::uint64_t bytes_ = 0;  // of this run
  std::size_t done_ = 0;     // files
  bool failed_ = false;
  bool shown_ = false;
};

}  // namespace

int main(int count, char** words) try {
  const arguments how(count, words);
  ::signal(SIGPIPE, SIG_IGN);  // for printf; eddy itself never raises it
  eddy::event_loop loop;
  downloads all(loop, how);
  std::optional<eddy::future<>> running = eddy::spawn(loop, all.run());
  bool interrupted = false;
  const auto interrupt = [&] {
    interrupted = true;
    running.reset();  // which closes all connections and files
  };
  eddy::signal on_interrupt(loop, SIGINT);
  eddy::signal on_terminate(loop, SIGTERM);
  for (eddy::signal* one : {&on_interrupt, &on_terminate}) {
    one->start(interrupt);
    one->background(true);
  }
  loop.run();
  all.clear_progress();
  if (!interrupted) return all.exit_code();
  std::fprintf(stderr, "fetch: interrupted; fetch again to go on\n");
  return 130;
} catch (const std::exception& e) {
  std::fprintf(stderr, "fetch: %s\n", e.what());
  return 1;
}
