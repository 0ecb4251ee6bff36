// SPDX-License-Identifier: BSD-2-Clause
// OpenSSL by hand, on epoll and sockets: the limit.
#include "bench/echo.h"

#include <array>
#include <cstddef>
#include <vector>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "support/tls_authority.h"

namespace {

class echo_server {
public:
  explicit echo_server(const bench::echo_arguments& a)
      : listener_(bench::listen_at(a)), context_(SSL_CTX_new(TLS_server_method())) {
    const tls_identity own = tls_authority::self_signed();
    BIO* const certificate = BIO_new_mem_buf(own.certificate.data(), -1);
    BIO* const key = BIO_new_mem_buf(own.key.data(), -1);
    SSL_CTX_use_certificate(context_, PEM_read_bio_X509(certificate, nullptr, nullptr, nullptr));
    SSL_CTX_use_PrivateKey(context_, PEM_read_bio_PrivateKey(key, nullptr, nullptr, nullptr));
    SSL_CTX_set_session_cache_mode(context_, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_read_ahead(context_, 1);  // one system call a record instead of two
    watch(EPOLL_CTL_ADD, listener_, EPOLLIN);
  }

  [[noreturn]] void run() {
    std::array<epoll_event, 256> events;
    for (;;) {
      const int count = ::epoll_wait(set_, events.data(), events.size(), -1);
      for (int i = 0; i < count; ++i) {
        const int s = events[static_cast<std::size_t>(i)].data.fd;
        if (s == listener_) {
          accept();
        } else {
          go_on(s);
        }
      }
    }
  }

private:
  struct connection {
    SSL* ssl = nullptr;
    int rest = 0;  // bytes of `buffer` that are being written
    bool waits_to_write = false;
    std::array<char, 16384> buffer;
  };

  void watch(int operation, int s, unsigned events) const {
    epoll_event e{};
    e.events = events;
    e.data.fd = s;
    ::epoll_ctl(set_, operation, s, &e);
  }

  void accept() {
    for (int s = bench::accept_from(listener_); s >= 0; s = bench::accept_from(listener_)) {
      const auto index = static_cast<std::size_t>(s);
      if (index >= connections_.size()) connections_.resize(index + 1);
      connection* const made = new connection;
      made->ssl = SSL_new(context_);
      SSL_set_fd(made->ssl, s);
      SSL_set_accept_state(made->ssl);
      connections_[index] = made;
      watch(EPOLL_CTL_ADD, s, EPOLLIN);
    }
  }

  void go_on(int s) {
    connection& c = *connections_[static_cast<std::size_t>(s)];
    for (;;) {
      ERR_clear_error();
      const bool writes = c.rest != 0;
      const int n = writes ? SSL_write(c.ssl, c.buffer.data(), c.rest)
                           : SSL_read(c.ssl, c.buffer.data(), static_cast<int>(c.buffer.size()));
      if (n > 0) {
        c.rest = writes ? 0 : n;
        if (writes && c.waits_to_write) watch(EPOLL_CTL_MOD, s, EPOLLIN);
        if (writes) c.waits_to_write = false;
        // As with `read`, a short record means that there is most likely no more.
        if (writes && SSL_has_pending(c.ssl) == 0) return;
        continue;
      }
      const int error = SSL_get_error(c.ssl, n);
      if (error == SSL_ERROR_WANT_READ) return;
      if (error == SSL_ERROR_WANT_WRITE) {
        c.waits_to_write = true;
        return watch(EPOLL_CTL_MOD, s, EPOLLIN | EPOLLOUT);
      }
      SSL_free(c.ssl);
      delete &c;
      ::close(s);
      return;
    }
  }

  int set_ = ::epoll_create1(EPOLL_CLOEXEC);
  int listener_;
  SSL_CTX* context_;
  std::vector<connection*> connections_;
};

}  // namespace

int main(int count, char** words) { echo_server(bench::echo_main(count, words)).run(); }
