// SPDX-License-Identifier: BSD-2-Clause
//
// Downloads all pages of a site, some of them concurrently, retries failed downloads, and
// limits the time of the whole crawl. With handlers, each of these needs a class or members
// of its own. The program serves the site itself. await.cc does the same with coroutines.
//
//   ./samples/run crawl callback

#include <array>
#include <cstddef>
#include <cstdio>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <eddy/loop/event_loop.h>
#include <eddy/loop/handler.h>
#include <eddy/loop/result.h>
#include <eddy/loop/timer.h>
#include <eddy/net/connect.h>
#include <eddy/net/pending_operation.h>
#include <eddy/net/tcp_stream.h>

#include "site.h"

namespace {

/// One attempt to download a page.
class fetch {
public:
  fetch(eddy::event_loop& loop, progress& all, const url& from, eddy::handler<void(arrival)> on_end)
      : all_(all), request_(request_for(from)), on_end_(std::move(on_end)) {
    all_.asking();
    connecting_ = eddy::connect(loop, from.host, from.port,
                                [this](eddy::result<eddy::tcp_stream> s) { connected(s); });
  }
  fetch(const fetch&) = delete;
  fetch& operator=(const fetch&) = delete;
  ~fetch() { all_.asked(); }

private:
  void connected(eddy::result<eddy::tcp_stream>& stream) {
    if (!stream) return fail(stream.error());
    stream_ = std::move(*stream);
    stream_.write(request_, [this](eddy::result<void> sent) {
      if (!sent) return fail(sent.error());
      read();
    });
  }

  void read() {
    stream_.read(buffer_, [this](eddy::result<std::size_t> size) {
      if (!size) return fail(size.error());
      if (*size == 0) return end(incoming_.end());
      std::optional<arrival> complete = incoming_.add({buffer_.data(), *size});
      if (complete) return end(std::move(*complete));
      read();
    });
  }

  void fail(std::error_code error) { end(std::unexpected(error.message())); }

  /// Calls the handler, which destroys this object. Call end() last.
  void end(arrival what) { std::exchange(on_end_, nullptr)(std::move(what)); }

  progress& all_;
  std::string request_;
  eddy::handler<void(arrival)> on_end_;
  answer incoming_;
  std::array<char, 16384> buffer_;
  eddy::pending_operation connecting_;
  eddy::tcp_stream stream_;
};

/// Downloads one page after the other and retries each failed download.
class worker {
public:
  using next_page = eddy::handler<std::optional<url>()>;

  worker(eddy::event_loop& loop, progress& all, next_page next)
      : loop_(loop), all_(all), next_(std::move(next)), pause_(loop) {
    begin_next();
  }

private:
  void begin_next() {
    attempts_ = 0;
    delay_ = progress::first_delay;
    from_ = next_();
    if (from_) attempt();
  }

  void attempt() {
    ++attempts_;
    fetch_ =
        std::make_unique<fetch>(loop_, all_, *from_, [this](const arrival& what) { ended(what); });
  }

  void ended(const arrival& what) {
    fetch_.reset();
    if (what) {
      all_.arrived(*from_, *what);
    } else if (attempts_ < progress::attempts) {
      std::uniform_real_distribution<double> jitter(0, 1);
      const double part = jitter(random_);
      pause_.start(std::chrono::duration_cast<eddy::duration>(delay_ * part),
                   [this] { attempt(); });
      delay_ *= 2;
      return;
    } else {
      all_.given_up(*from_, what.error().c_str());
    }
    begin_next();
  }

  eddy::event_loop& loop_;
  progress& all_;
  next_page next_;
  eddy::timer pause_;
  std::optional<url> from_;
  std::unique_ptr<fetch> fetch_;
  unsigned attempts_ = 0;
  std::chrono::milliseconds delay_{};
  std::minstd_rand random_{std::random_device()()};
};

class crawl {
public:
  crawl(eddy::event_loop& loop, const site& where)
      : loop_(loop), urls_(where.urls()), all_(where.urls()), limit_(loop) {
    limit_.start(progress::limit, [this] { end(); });
    for (std::size_t i = 0; i < progress::at_once; ++i) {
      workers_.push_back(std::make_unique<worker>(loop, all_, [this] { return next(); }));
    }
  }

private:
  std::optional<url> next() {
    if (begun_ < urls_.size()) return urls_.at(begun_++);
    // No page is left. If all workers are idle now, the crawl is complete.
    if (++idle_ == progress::at_once) loop_.defer([this] { end(); });
    return std::nullopt;
  }

  void end() {
    limit_.stop();
    workers_.clear();
    all_.print_end();
    loop_.stop();
  }

  eddy::event_loop& loop_;
  std::vector<url> urls_;
  progress all_;
  eddy::timer limit_;
  std::size_t begun_ = 0;
  std::size_t idle_ = 0;
  std::vector<std::unique_ptr<worker>> workers_;
};

}  // namespace

int main() try {
  eddy::event_loop loop;
  const site served(loop);
  const crawl all(loop, served);
  loop.run();
} catch (const std::exception& e) {
  std::fprintf(stderr, "crawl: %s\n", e.what());
  return 1;
}
