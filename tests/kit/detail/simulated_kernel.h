// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <eddy/loop/detail/readiness_source.h>
#include <eddy/net/address.h>
#include <eddy/net/detail/system.h>
#include <eddy/testing/detail/simulated_context.h>
#include <eddy/testing/detail/simulated_socket.h>
#include <eddy/testing/detail/simulated_streams.h>
#include <eddy/testing/detail/simulated_tcp.h>
#include <eddy/testing/detail/simulated_unix.h>
#include <eddy/testing/detail/simulated_wire.h>

namespace eddy::detail {

/// The system calls of a `simulated_network`, and the readiness of its sockets.
///
/// A call on a descriptor of the kernel goes to the kernel. The memory of this class is not that of
/// the tested program, so `every_point` fails none of its allocations.
class simulated_kernel final : public system,
                               private readiness_source,
                               private simulated_context,
                               private simulated_wire::receiver {
public:
  simulated_kernel(event_loop& loop, const simulated_network_options& how);
  ~simulated_kernel() override;

  void add_name(std::string name, std::vector<address> addresses);
  [[nodiscard]] simulated_wire& wire() noexcept { return wire_; }
  void reset_all();
  [[nodiscard]] std::size_t open_sockets() const noexcept { return sockets_.size(); }
  using readiness_source::loop;
  using simulated_context::trace;

  // ---- The calls that are simulated

  int socket(int family, int type, int protocol) override;
  int socket_pair(int type, int* both) override;
  int bind(int descriptor, const sockaddr* to, socklen_t size) override;
  int listen(int descriptor, int backlog) override;
  int accept(int descriptor, sockaddr* peer, socklen_t* size, int flags) override;
  int connect(int descriptor, const sockaddr* to, socklen_t size) override;
  ssize_t read(int descriptor, void* data, std::size_t size) override;
  ssize_t receive(int descriptor, void* data, std::size_t size, int flags) override;
  ssize_t receive_message(int descriptor, msghdr* message, int flags) override;
  ssize_t send(int descriptor, const void* data, std::size_t size, int flags) override;
  ssize_t send_message(int descriptor, const msghdr* message, int flags) override;
  ssize_t send_file(int to, int file, off_t* offset, std::size_t size) override;
  int shutdown(int descriptor, int how) override;
  int poll(int descriptor, short events) override;
  int unread(int descriptor, int* bytes) override;
  int close(int descriptor) override;
  int get_option(int descriptor, int level, int name, void* value, socklen_t* size) override;
  int set_option(int descriptor, int level, int name, const void* value, socklen_t size) override;
  int local_name(int descriptor, sockaddr* name, socklen_t* size) override;
  int peer_name(int descriptor, sockaddr* name, socklen_t* size) override;
  int set_non_blocking(int descriptor) override;
  int set_blocking(int descriptor) override;
  int next_descriptor(int descriptor) override;
  std::size_t descriptor_limit() override;

  int status(const char* path, struct ::stat* what) override;
  int set_mode(int descriptor, mode_t mode) override;
  int set_path_mode(const char* path, mode_t mode) override;
  int rename(const char* from, const char* to, bool replaces) override;
  int remove(const char* path) override;

  bool is_loopback_name(const char* host) override;
  bool answers_at_once() override;
  int look_up(const char* host, const addrinfo* hints, addrinfo** found) override;
  void free_addresses(addrinfo* found) override;
  bool asks_dns(const char* host) override;
  used_families families() override;
  std::uint64_t random() override;

  // ---- The calls that are not simulated, and fail

  ssize_t splice_in(int socket, int pipe, std::size_t size) override;
  ssize_t splice_out(int pipe, int socket, std::size_t size) override;
  int send_messages(int descriptor, mmsghdr* messages, unsigned count, int flags) override;
  int receive_messages(int descriptor, mmsghdr* messages, unsigned count, int flags) override;
  ssize_t write(int descriptor, const iovec* parts, int count) override;
  ssize_t read_now(int descriptor, void* data, std::size_t size) override;
  ssize_t write_now(int descriptor, const iovec* parts, int count) override;
  int file_status(int descriptor, struct stat* status) override;
  int duplicate(int descriptor) override;

private:
  [[nodiscard]] bool is_open(int descriptor) const noexcept override;
  [[nodiscard]] bool is_ready(int descriptor, direction which) const noexcept override;
  void changed(const simulated_socket& socket) noexcept override;
  void arrive(const simulated_packet& packet) override;
  void expire(simulated_connection& connection, unsigned side) override;

  /// Makes a socket. Returns its descriptor or a negative `errno`.
  int make(int family, int type);
  /// The socket of a descriptor of this class, or null if it is closed.
  [[nodiscard]] simulated_socket* find(int descriptor) const noexcept;
  /// Calls `function` with the socket. Returns its result, or sets `errno` and returns -1.
  template <class Function>
  auto with(int descriptor, Function function) -> decltype(function(*find(0)));
  template <class Result>
  static Result done(Result result) noexcept;
  /// Notes a call that is not simulated, and returns -1.
  int refuse(std::string_view call);
  int refuse_datagrams(std::string_view call);
  int accept_from(simulated_socket& listener, sockaddr* peer, socklen_t* size);

  scoped_system in_place_{*this};
  std::map<int, std::unique_ptr<simulated_socket>> sockets_;
  simulated_wire wire_;
  simulated_streams streams_;
  simulated_tcp tcp_;
  simulated_unix unix_;
  unsigned made_ = 0;
  std::map<std::string, std::vector<address>, std::less<>> names_;
};

}  // namespace eddy::detail
