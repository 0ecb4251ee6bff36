// SPDX-License-Identifier: BSD-2-Clause
// KJ, Cap'n Proto's event loop: a chain of promises per connection.
#include "bench/echo.h"

#include <vector>

#include <kj/async-io.h>

namespace {

class errors : public kj::TaskSet::ErrorHandler {
public:
  void taskFailed(kj::Exception&&) override {}  // the peer has closed the connection
};

struct connection {
  connection(kj::Own<kj::AsyncIoStream> s, std::size_t buffer) : stream(kj::mv(s)), data(buffer) {}

  kj::Promise<void> echo() {
    return stream->tryRead(data.data(), 1, data.size())
        .then([this](std::size_t size) -> kj::Promise<void> {
          if (size == 0) return kj::READY_NOW;
          return stream->write(data.data(), size).then([this] { return echo(); });
        });
  }

  kj::Own<kj::AsyncIoStream> stream;
  std::vector<char> data;
};

kj::Promise<void> accept(kj::ConnectionReceiver& listener, kj::TaskSet& all,
                         const bench::echo_arguments& a) {
  return listener.accept().then([&listener, &all, &a](kj::Own<kj::AsyncIoStream> stream) {
    const int one = 1;
    if (a.path == nullptr) stream->setsockopt(IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    auto c = kj::heap<connection>(kj::mv(stream), a.buffer);
    auto echoing = c->echo();
    all.add(echoing.attach(kj::mv(c)));
    return accept(listener, all, a);
  });
}

}  // namespace

int main(int count, char** words) {
  const auto arguments = bench::echo_main(count, words);
  auto io = kj::setupAsyncIo();
  errors ignored;
  kj::TaskSet all(ignored);
  const int s = bench::listen_at(arguments);
  auto listener =
      io.lowLevelProvider->wrapListenSocketFd(s, kj::LowLevelAsyncIoProvider::TAKE_OWNERSHIP |
                                                     kj::LowLevelAsyncIoProvider::ALREADY_NONBLOCK |
                                                     kj::LowLevelAsyncIoProvider::ALREADY_CLOEXEC);
  accept(*listener, all, arguments).wait(io.waitScope);
}
