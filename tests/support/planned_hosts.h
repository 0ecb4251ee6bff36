// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <eddy/loop/clock.h>
#include <eddy/net/address.h>

#include "support/name_server.h"

/// A network of hosts that answer a connect as the test says: at once, later, or never. `Base` is
/// the system beside it, such as a `name_server`.
///
/// A connect that is under way is one end of a full pair of sockets. `establish` empties the pair,
/// so that the connect completes.
template <class Base>
class planned_network : public Base {
public:
  explicit planned_network(const eddy::manual_clock& clock) : clock_(clock), begun_(clock.now()) {
    // A scenario fails each allocation, also those of this object.
    under_way_.reserve(1000);
  }
  ~planned_network() override {
    for (const host& h : under_way_) ::close(h.far);
  }

  /// Adds a host. A connect to it fails at once with `error`, or if that is zero, is under way
  /// until `establish` or `refuse`.
  void add_host(std::string_view name, int error = 0) { errors_[std::string(name)] = error; }
  /// Makes a connect to the host complete as soon as it is under way.
  void accepts(std::string_view name) { accepting_.emplace_back(name); }

  /// Completes the connect to a host that is under way.
  void establish(std::string_view name) { end(name, 0); }
  /// Fails the connect to a host that is under way.
  void refuse(std::string_view name, int error) { end(name, error); }
  /// Whether a connect to the host is under way.
  [[nodiscard]] bool connecting(std::string_view name) const {
    return std::ranges::find(under_way_, name, &host::name) != under_way_.end();
  }

  /// The connects, in order: "::1 at 0, 192.0.2.1 at 250".
  std::string connects;

  int connect(int descriptor, const sockaddr* to, socklen_t size) override {
    using std::chrono::milliseconds;
    int type = 0;
    socklen_t type_size = sizeof type;
    ::getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &type, &type_size);
    if (type == SOCK_DGRAM) return Base::connect(descriptor, to, size);
    const std::string name = eddy::address::from(to, size).host();
    if (!connects.empty()) connects += ", ";
    const auto passed = std::chrono::duration_cast<milliseconds>(clock_.now() - begun_);
    connects += name + " at " + std::to_string(passed.count());
    const bool failed = fails_to_connect();
    const bool interrupted = failed && errno == EINTR;  // it goes on
    if (failed && !interrupted) return -1;
    if (errors_.at(name) != 0) {
      errno = errors_.at(name);
      return -1;
    }
    std::array<int, 2> ends;
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()) == 0);
    REQUIRE(::dup3(ends[0], descriptor, O_CLOEXEC) == descriptor);
    ::close(ends[0]);
    const std::array<char, 4096> bytes{};
    while (::send(descriptor, bytes.data(), bytes.size(), MSG_NOSIGNAL) > 0) {
    }
    under_way_.push_back({name, descriptor, ends[1], 0});
    if (std::ranges::find(accepting_, name) != accepting_.end()) establish(name);
    errno = interrupted ? EINTR : EINPROGRESS;
    return -1;
  }

  int get_option(int descriptor, int level, int name, void* value, socklen_t* size) override {
    const int done = Base::get_option(descriptor, level, name, value, size);
    const auto h =
        std::ranges::find(under_way_.rbegin(), under_way_.rend(), descriptor, &host::descriptor);
    if (done == 0 && name == SO_ERROR && h != under_way_.rend()) {
      *static_cast<int*>(value) = h->error;
    }
    return done;
  }

private:
  struct host {
    std::string name;
    int descriptor;
    int far;
    int error;
  };

  /// Counts a connect, and fails it if the test wants that.
  bool fails_to_connect() {
    // An address without a family makes the kernel's own connect fail, if the test does not.
    const sockaddr nowhere{};
    Base::connect(-1, &nowhere, sizeof nowhere);
    return errno != EBADF;
  }

  void end(std::string_view name, int error) {
    const auto h = std::ranges::find(under_way_.rbegin(), under_way_.rend(), name, &host::name);
    REQUIRE(h != under_way_.rend());
    h->error = error;
    std::array<char, 65536> bytes;
    while (::recv(h->far, bytes.data(), bytes.size(), 0) > 0) {
    }
  }

  const eddy::manual_clock& clock_;
  eddy::time_point begun_;
  std::map<std::string, int> errors_;
  std::vector<std::string> accepting_;
  std::vector<host> under_way_;
};

/// A `planned_network` whose hosts are the addresses of every name.
class planned_hosts : public planned_network<name_server> {
public:
  using planned_network::planned_network;

  /// Adds a host, as `add_host` does, to the answers of the name server.
  void add(std::string_view name, int error = 0) {
    const std::string bare(name);
    knows.push_back(bare.contains(':') ? '[' + bare + "]:0" : bare + ":0");
    add_host(bare, error);
  }
};
