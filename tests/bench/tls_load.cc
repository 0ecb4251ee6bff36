// SPDX-License-Identifier: BSD-2-Clause
//
// Loads a TLS echo server, with OpenSSL and epoll alone:
//
//   tls_load PORT CONNECTIONS SIZE MESSAGES [SERVER]
//   tls_load PORT CONNECTIONS churn COUNT [SERVER]
//
// The forms and the times that it prints are those of `load`. No certificate is verified, and each
// handshake is a whole one.

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <utility>
#include <vector>

#include <openssl/ssl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "bench/sockets.h"
#include "bench/time_each.h"

namespace {

using bench::fail;

class load {
public:
  load(std::uint16_t port, std::size_t size) : port_(port), message_(size), answer_(size) {
    for (std::size_t i = 0; i < size; ++i) message_[i] = static_cast<char>(i * 7);
    SSL_CTX_set_session_cache_mode(context_, SSL_SESS_CACHE_OFF);
  }

  SSL* connect() {
    SSL* const made = SSL_new(context_);
    const int s = bench::connect_to(port_);
    SSL_set_fd(made, s);
    if (SSL_connect(made) != 1) fail("SSL_connect");
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = made;
    ::epoll_ctl(set_, EPOLL_CTL_ADD, s, &event);
    return made;
  }

  void echo(const std::vector<SSL*>& all, std::uint64_t messages) {
    std::uint64_t sent = 0;
    std::uint64_t received = 0;
    for (SSL* const one : all) {
      if (sent == messages) break;
      ++sent;
      send(one);
    }
    std::array<epoll_event, 256> events;
    while (received != messages) {
      const int count = ::epoll_wait(set_, events.data(), events.size(), 10000);
      if (count == 0) {
        errno = ETIMEDOUT;
        fail("an answer");
      }
      for (int i = 0; i < count; ++i) {
        SSL* const one = static_cast<SSL*>(events[static_cast<std::size_t>(i)].data.ptr);
        receive(one);
        ++received;
        if (sent == messages) continue;
        ++sent;
        send(one);
      }
    }
  }

  void churn(std::uint64_t at_a_time, std::uint64_t count) {
    for (std::uint64_t made = 0; made < count; made += at_a_time) {
      std::vector<SSL*> all;
      for (std::uint64_t i = 0; i < at_a_time; ++i) all.push_back(connect());
      for (SSL* const one : all) send(one);
      for (SSL* const one : all) {
        receive(one);
        ::close(SSL_get_fd(one));
        SSL_free(one);
      }
    }
  }

private:
  void send(SSL* to) {
    if (SSL_write(to, message_.data(), static_cast<int>(message_.size())) <= 0) fail("SSL_write");
  }
  void receive(SSL* from) {
    std::size_t done = 0;
    while (done < answer_.size()) {
      const int n = SSL_read(from, answer_.data() + done, static_cast<int>(answer_.size() - done));
      if (n <= 0) fail("SSL_read");
      done += static_cast<std::size_t>(n);
    }
    if (answer_ != message_) fail("another answer than the message");
  }

  int set_ = ::epoll_create1(EPOLL_CLOEXEC);
  std::uint16_t port_;
  SSL_CTX* context_ = SSL_CTX_new(TLS_client_method());
  std::vector<char> message_;
  std::vector<char> answer_;
};

std::uint64_t number(const char* word) { return std::strtoull(word, nullptr, 10); }

}  // namespace

int main(int count, char** words) {
  if (count < 5 || count > 6) {
    std::fprintf(stderr,
                 "usage: %s PORT CONNECTIONS SIZE MESSAGES [SERVER]\n"
                 "       %s PORT CONNECTIONS churn COUNT [SERVER]\n",
                 words[0], words[0]);
    return 64;
  }
  const auto port = static_cast<std::uint16_t>(number(words[1]));
  const std::uint64_t connections = number(words[2]);
  const char* const server = count > 5 ? words[5] : nullptr;
  if (std::string_view(words[3]) == "churn") {
    load all(port, 64);
    bench::time_each(number(words[4]), connections, server,
                     [&](std::uint64_t n) { all.churn(connections, n); });
  } else {
    load all(port, number(words[3]));
    std::vector<SSL*> made;
    for (std::uint64_t i = 0; i < connections; ++i) made.push_back(all.connect());
    bench::time_each(number(words[4]), connections, server,
                     [&](std::uint64_t n) { all.echo(made, n); });
  }
}
