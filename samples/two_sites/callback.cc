// SPDX-License-Identifier: BSD-2-Clause
//
// Downloads two pages at once with callbacks: each step is a handler that starts the next
// step. The files beside this one do the same with coroutines, futures and threads.
//
//   ./samples/run two_sites callback http://127.0.0.1:8000/a http://127.0.0.1:8000/b

#include <array>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <eddy/loop/event_loop.h>
#include <eddy/loop/timer.h>
#include <eddy/net/connect.h>
#include <eddy/net/pending_operation.h>
#include <eddy/net/tcp_stream.h>

#include "page.h"

namespace {

class download {
public:
  download(eddy::event_loop& loop, downloads& all, int which)
      : all_(all), which_(which), request_(request_for(all.from(which))), limit_(loop) {
    const url& from = all_.from(which_);
    all_.started(which_);
    limit_.start(all_.limit(), [this] { end(std::unexpected("not done within the limit")); });
    connecting_ = eddy::connect(loop, from.host, from.port,
                                [this](eddy::result<eddy::tcp_stream> s) { connected(s); });
  }

private:
  void connected(eddy::result<eddy::tcp_stream>& stream) {
    if (!stream) return fail("connect", stream.error());
    stream_ = std::move(*stream);
    stream_.write(request_, [this](eddy::result<void> sent) {
      if (!sent) return fail("write", sent.error());
      read();
    });
  }

  void read() {
    stream_.read(buffer_, [this](eddy::result<std::size_t> size) {
      if (!size) return fail("read", size.error());
      if (*size == 0) return end(incoming_.end());
      std::optional<arrival> complete = incoming_.add({buffer_.data(), *size});
      if (complete) return end(std::move(*complete));
      read();
    });
  }

  void fail(const char* step, std::error_code error) {
    end(std::unexpected(std::string(step) + ": " + error.message()));
  }

  void end(arrival what) {
    limit_.stop();
    connecting_.stop();
    stream_ = {};
    all_.ended(which_, std::move(what));
  }

  downloads& all_;
  int which_;
  std::string request_;
  answer incoming_;
  std::array<char, 16384> buffer_;
  eddy::timer limit_;
  eddy::pending_operation connecting_;
  eddy::tcp_stream stream_;
};

}  // namespace

int main(int argc, char** argv) {
  downloads all(argc, argv);
  eddy::event_loop loop;
  const download first(loop, all, 0);
  const download second(loop, all, 1);
  loop.run();
  return all.report();
}
