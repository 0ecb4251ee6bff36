// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/testing/detail/simulated_unix.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <utility>

#include <sys/socket.h>

namespace eddy::detail {

namespace {

using state = simulated_socket::state;

std::shared_ptr<simulated_connection> new_connection() {
  auto made = std::make_shared<simulated_connection>();
  made->local = true;
  for (simulated_end& end : made->ends) end.established = true;
  return made;
}

}  // namespace

int simulated_unix::bind(simulated_socket& socket, const unix_address& to) {
  if (socket.bound) return -EINVAL;
  if (to.is_unnamed()) {
    // The kernel chooses five hexadecimal digits: unix(7).
    std::array<char, 16> name{};
    std::snprintf(name.data(), name.size(), "%05x", ++last_chosen_);
    return bind(socket, unix_address::abstract(name.data()));
  }
  const bool made =
      to.is_path()
          ? files_.try_emplace(std::string(to.name()), &socket, last_inode_ + 1, socket.mode).second
          : abstract_.try_emplace(to, &socket).second;
  if (!made) return -EADDRINUSE;
  if (to.is_path()) ++last_inode_;
  socket.path = to;
  socket.bound = true;
  return 0;
}

int simulated_unix::connect(simulated_socket& socket, const unix_address& to) {
  if (socket.is != state::unconnected) return -EISCONN;
  simulated_socket* listener = nullptr;
  if (to.is_abstract()) {
    const auto found = abstract_.find(to);
    if (found == abstract_.end()) return -ECONNREFUSED;
    listener = found->second;
  } else {
    const auto found = files_.find(std::string(to.name()));
    if (found == files_.end()) return -ENOENT;
    listener = found->second.socket;
  }
  if (listener == nullptr) return -ECONNREFUSED;
  if (listener->type != socket.type) return -EPROTOTYPE;
  if (listener->is != state::listening) return -ECONNREFUSED;
  if (listener->queue.size() > listener->backlog) return -EAGAIN;  // as Linux, one more
  const auto connection = new_connection();
  simulated_end& far = connection->ends[1];
  far.path = listener->path;
  far.send_buffer = listener->send_buffer;
  simulated_streams::attach(socket, connection, 0);
  socket.end().path = socket.path;
  socket.is = state::connected;
  listener->queue.push_back(connection);
  context_.note({socket.words, " connects to ", to.to_string()});
  context_.changed(*listener);
  return 0;
}

void simulated_unix::close(simulated_socket& socket) {
  if (socket.bound && socket.path.is_abstract()) abstract_.erase(socket.path);
  if (socket.bound) {
    for (auto& [path, f] : files_) {
      if (f.socket == &socket) f.socket = nullptr;  // it may have been renamed
    }
  }
  for (const auto& connection : socket.queue) {
    connection->ends[1].gone = true;
    streams_.fail(connection->ends[0], ECONNRESET);
  }
  socket.queue.clear();
}

void simulated_unix::pair(simulated_socket& one, simulated_socket& other) {
  const auto connection = new_connection();
  simulated_streams::attach(one, connection, 0);
  simulated_streams::attach(other, connection, 1);
  one.is = other.is = state::connected;
}

int simulated_unix::status(const std::string& path, struct ::stat* what) const {
  const auto found = files_.find(path);
  if (found == files_.end()) return -ENOENT;
  *what = {};
  what->st_dev = 1;
  what->st_ino = found->second.inode;
  what->st_mode = S_IFSOCK | found->second.mode;
  return 0;
}

int simulated_unix::set_mode(const std::string& path, ::mode_t mode) {
  const auto found = files_.find(path);
  if (found == files_.end()) return -ENOENT;
  found->second.mode = mode;
  return 0;
}

int simulated_unix::rename(const std::string& from, const std::string& to, bool replaces) {
  const auto found = files_.find(from);
  if (found == files_.end()) return -ENOENT;
  if (!replaces && files_.contains(to)) return -EEXIST;
  const file moved = found->second;
  files_.erase(found);
  files_.insert_or_assign(to, moved);
  return 0;
}

int simulated_unix::remove(const std::string& path) {
  return files_.erase(path) != 0 ? 0 : -ENOENT;
}

}  // namespace eddy::detail
