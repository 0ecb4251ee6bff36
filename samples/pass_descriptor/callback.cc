// SPDX-License-Identifier: BSD-2-Clause
//
// An opener opens files for a client, and passes the descriptors over a Unix socket. A daemon
// without privileges gets files from a small program with privileges in this way. Here both are
// objects of one program. await.cc does the same with coroutines.
//
//   ./samples/run pass_descriptor callback

#include <array>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <unistd.h>

#include <eddy/loop/event_loop.h>
#include <eddy/loop/result.h>
#include <eddy/net/unix_connect.h>
#include <eddy/net/unix_listener.h>
#include <eddy/net/unix_stream.h>

#include "files.h"

namespace {

/// Gives the value of a result. An error ends the program.
template <class T>
T value_of(eddy::result<T> r) {
  if (!r) {
    std::fprintf(stderr, "%s\n", r.error().message().c_str());
    std::exit(1);
  }
  if constexpr (!std::is_void_v<T>) return std::move(*r);
}

/// Serves one client, until it closes its connection.
class opener {
public:
  explicit opener(eddy::unix_listener& listener) {
    listener.accept([this](eddy::result<eddy::unix_stream> accepted) {
      client_ = value_of(std::move(accepted));
      const bool own = client_.peer_credentials().uid == ::geteuid();
      std::printf("opener: a client of %s user\n", own ? "the same" : "another");
      read();
    });
  }

private:
  void read() {
    client_.read(buffer_, [this](eddy::result<std::size_t> r) {
      const std::size_t size = value_of(std::move(r));
      if (size == 0) {
        std::puts("opener: the client has gone");
      } else {
        answer(std::string(buffer_.data(), size));
      }
    });
  }
  void answer(const std::string& name) {
    std::printf("opener: asked for %s\n", name.c_str());
    file_ = open_file(name);
    const auto on_sent = [this](eddy::result<void> r) {
      value_of(std::move(r));
      file_.close();
      read();
    };
    if (file_) {
      files_[0] = file_.number();
      client_.send_descriptors("here it is", files_, on_sent);
    } else {
      client_.write("there is no such file", on_sent);
    }
  }

  eddy::unix_stream client_;
  std::array<char, 100> buffer_{};
  eddy::unique_descriptor file_;
  std::array<int, 1> files_{};
};

class client {
public:
  client(eddy::event_loop& loop, const eddy::unix_address& at)
      : connecting_(eddy::connect(loop, at, [this](eddy::result<eddy::unix_stream> connected) {
          opener_ = value_of(std::move(connected));
          ask_for("greeting");
        })) {}

private:
  void ask_for(std::string_view name) {
    opener_.write(name, [this](eddy::result<void> r) {
      value_of(std::move(r));
      receive();
    });
  }
  void receive() {
    opener_.receive_descriptors(buffer_, files_, [this](eddy::result<eddy::received_bytes> r) {
      const eddy::received_bytes got = value_of(std::move(r));
      const std::string answer(buffer_.data(), got.size);
      std::printf("client: %s, with %zu descriptors\n", answer.c_str(), got.descriptors);
      if (got.descriptors == 1) {
        std::printf("client: reads %s\n", contents(files_[0]).c_str());
        ask_for("secret");
      } else {
        opener_.close();
      }
    });
  }

  eddy::pending_operation connecting_;
  eddy::unix_stream opener_;
  std::array<char, 100> buffer_{};
  std::array<eddy::unique_descriptor, 1> files_;
};

}  // namespace

int main() {
  eddy::event_loop loop;
  // The system chooses an abstract name. A real opener would listen at a path, with permissions.
  eddy::unix_listener listener(loop, eddy::unix_address());
  const opener serving(listener);
  const client asking(loop, listener.local_address());
  loop.run();
}
