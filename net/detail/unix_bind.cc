// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/detail/unix_bind.h>

#include <atomic>
#include <cerrno>
#include <string_view>
#include <system_error>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <eddy/loop/detail/text.h>
#include <eddy/loop/detail/throw_error.h>
#include <eddy/net/detail/io.h>
#include <eddy/net/detail/system.h>

namespace eddy::detail {

namespace {

/// Whether `path` is the file of a socket that nobody has open any more. False if that cannot be
/// found out.
///
/// A datagram socket connects to a file without a trace at the other end: the kernel refuses a
/// socket of another type with EPROTOTYPE, also before it listens, and a file without a socket with
/// ECONNREFUSED.
bool is_stale(const unix_address& path) {
  struct ::stat file{};
  const std::string name(path.name());
  if (os().status(name.c_str(), &file) < 0 || !S_ISSOCK(file.st_mode)) return false;
  const socket_descriptor probe(os().socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (probe.number() < 0) return false;
  sockaddr_storage to;
  const socklen_t size = path.to(to);
  const auto* const generic = reinterpret_cast<const sockaddr*>(&to);
  return uninterrupted([&] { return os().connect(probe.number(), generic, size); }) < 0 &&
         errno == ECONNREFUSED;
}

/// A name beside `path` that nobody else uses: loops on several threads may replace files at a
/// time.
unix_address name_beside(const unix_address& path) {
  static constinit std::atomic<unsigned> names{0};
  const std::string_view all = path.name();
  const auto slash = all.rfind('/');
  const std::string_view folder = slash == std::string_view::npos ? "" : all.substr(0, slash + 1);
  return unix_address(text({folder, ".stale.", os().process(), ".", ++names}));
}

/// Removes the file at `path` if it is stale. Returns false if it is not, or cannot be removed.
///
/// Another process may replace the file at the same time. The file is therefore moved aside, and
/// tested again there. If it is in use by now, or cannot be removed, it is moved back.
bool remove_stale(const unix_address& path) {
  if (!is_stale(path)) return false;
  const unix_address aside = name_beside(path);
  const std::string from(path.name());
  const std::string to(aside.name());
  if (os().rename(from.c_str(), to.c_str(), true) < 0) return errno == ENOENT;
  if (is_stale(aside) && os().remove(to.c_str()) == 0) return true;
  if (os().rename(to.c_str(), from.c_str(), false) == 0) return false;
  if (errno == EEXIST) {
    os().remove(to.c_str());  // a third process has the path by now
  } else {
    os().rename(to.c_str(), from.c_str(), true);  // the file system knows only this kind
  }
  return false;
}

}  // namespace

socket_file::socket_file(const unix_address& path, ::dev_t device, ::ino_t inode) noexcept
    : path_(path), device_(device), inode_(inode), owner_(os().process()) {}

socket_file& socket_file::operator=(socket_file&& other) noexcept {
  socket_file before(std::move(other));
  std::swap(path_, before.path_);
  std::swap(device_, before.device_);
  std::swap(inode_, before.inode_);
  std::swap(owner_, before.owner_);
  return *this;
}

void socket_file::remove() noexcept {
  const unix_address path = std::exchange(path_, unix_address());
  if (path.is_unnamed() || owner_ != os().process()) return;
  sockaddr_storage storage;  // has the path with a zero at its end
  static_cast<void>(path.to(storage));
  const char* const name = reinterpret_cast<const sockaddr_un&>(storage).sun_path;
  struct ::stat file{};
  if (os().status(name, &file) < 0 || file.st_dev != device_ || file.st_ino != inode_) return;
  os().remove(name);
}

socket_file bind_unix(int descriptor, const unix_address& local, const unix_binding& how,
                      const std::string& doing) {
  const bool sets_mode = local.is_path() && how.permissions.has_value();
  const auto mode = static_cast<mode_t>(how.permissions.value_or(0));
  // The file gets the permissions of the socket, without those that the umask takes away: there is
  // never a moment with more than were asked for.
  if (sets_mode && os().set_mode(descriptor, mode) < 0) throw_errno(doing);
  const std::string path(local.name());  // before there is a file that an exception would leave
  sockaddr_storage name;
  const socklen_t size = local.to(name);
  const auto* const generic = reinterpret_cast<const sockaddr*>(&name);
  if (os().bind(descriptor, generic, size) < 0) {
    const std::error_code error(errno, std::generic_category());
    if (error != std::errc::address_in_use || !local.is_path() || !how.replace_stale ||
        !remove_stale(local)) {
      throw_error(error, doing);
    }
    if (os().bind(descriptor, generic, size) < 0) throw_errno(doing);
  }
  if (!local.is_path()) return {};
  struct ::stat file{};
  if (os().status(path.c_str(), &file) < 0) {
    const std::error_code error(errno, std::generic_category());
    os().remove(path.c_str());  // bound a moment ago
    throw_error(error, doing);
  }
  socket_file made(local, file.st_dev, file.st_ino);
  if (sets_mode && (file.st_mode & 07777) != mode && os().set_path_mode(path.c_str(), mode) < 0) {
    throw_errno(doing);
  }
  return made;
}

}  // namespace eddy::detail
