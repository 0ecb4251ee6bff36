// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/file_stream.h>

#include <cerrno>
#include <memory>
#include <system_error>

#include <fcntl.h>
#include <sys/stat.h>

#include <eddy/loop/detail/current_loop.h>
#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/text.h>
#include <eddy/loop/detail/throw_error.h>
#include <eddy/net/detail/system.h>

namespace eddy {

namespace {

using detail::failure;
using detail::file_access;
using detail::file_share;
using detail::file_state;
using detail::os;
using detail::reported;
using detail::shared_file;

// O_NONBLOCK lets the open of a pipe return at once, and does nothing for a regular file.
constexpr int always = O_NONBLOCK | O_NOCTTY;

int flags_of(file_mode mode) noexcept {
  switch (mode) {
    case file_mode::read: return O_RDONLY;
    case file_mode::truncate: return O_WRONLY | O_CREAT | O_TRUNC;
    case file_mode::create_new: return O_WRONLY | O_CREAT | O_EXCL;
    case file_mode::append: return O_WRONLY | O_CREAT | O_APPEND;
    case file_mode::update: return O_RDWR;
    case file_mode::update_or_create: return O_RDWR | O_CREAT;
  }
  detail::misuse("open_file was given a mode that is no file_mode");
}

/// Zero for a regular file, or an errno.
int check_kind(const shared_file& file) {
  struct stat status{};
  if (file.calls().file_status(file.descriptor(), &status) < 0) return errno;
  if (S_ISDIR(status.st_mode)) return EISDIR;
  return S_ISREG(status.st_mode) ? 0 : EINVAL;
}

/// As `check_kind`, for a descriptor that the program has opened.
int check_adopted(const shared_file& file) {
  if (const int error = check_kind(file); error != 0) return error;
  const int flags = file.calls().status_flags(file.descriptor());
  if (flags < 0) return errno;
  return (flags & O_PATH) != 0 ? EBADF : 0;  // such a descriptor only names the file
}

/// The error of an open that failed with `error`. The kernel opens no socket, no pipe for writing
/// that nobody reads, and no device without a driver: these are refused as others of their kind.
int refusal_of(int error) noexcept { return error == ENXIO || error == ENODEV ? EINVAL : error; }

/// Opens a file on a worker.
class open_job final : public detail::file_job {
public:
  open_job(std::string path, int flags, mode_t permissions)
      : path_(std::move(path)), flags_(flags), permissions_(permissions), calls_(os()) {}

  void run() noexcept override {
    if (abandoned()) return;
    // The system would open the file whose name ends before the zero.
    if (path_.contains('\0')) {
      error_ = EINVAL;
      return;
    }
    const int descriptor = calls_.open(path_.c_str(), flags_, permissions_);
    if (descriptor < 0) {
      error_ = refusal_of(errno);
      return;
    }
    try {
      file_ = std::make_shared<shared_file>(calls_, descriptor);
    } catch (const std::bad_alloc&) {
      calls_.close(descriptor);
      error_ = ENOMEM;
      return;
    }
    error_ = check_kind(*file_);
  }

  [[nodiscard]] const std::shared_ptr<shared_file>& file() const noexcept { return file_; }

private:
  std::string path_;
  int flags_;
  mode_t permissions_;
  detail::system& calls_;
  std::shared_ptr<shared_file> file_;
};

task<reported<file_stream>> open_steps(std::string path, file_mode mode, mode_t permissions) {
  event_loop& loop = detail::current_loop("open_file");
  const int flags = flags_of(mode) | always;
  // A state without a file, which the stream gets when it is open.
  file_share state(new file_state(loop, nullptr, "the file " + detail::visible(path)));
  const auto job = std::make_shared<open_job>(std::move(path), flags, permissions);
  task<> opening = detail::wait_for(state, &file_state::read_wait, job, "open ");
  co_await std::move(opening);
  if (job->error() != 0) {
    co_return std::unexpected(
        failure(std::error_code(job->error(), std::generic_category()), "open " + state->words()));
  }
  state->adopt(job->file());
  co_return file_access::make(std::move(state));
}

void start_write(file_state& file, detail::steps_operation<void> work,
                 handler<void(result<void>)> on_done, const char* who) {
  detail::expect_handler(on_done, who);
  detail::expect_no_write(file);
  file.writer.start(file.loop(), std::move(work), std::move(on_done));
}

}  // namespace

file_stream detail::file_access::make(file_share state) noexcept {
  return file_stream(std::move(state));
}

file_stream::file_stream(event_loop& loop, int descriptor) {
  detail::socket_descriptor own(descriptor);
  auto file = std::make_shared<shared_file>(os(), descriptor);
  static_cast<void>(own.release());
  const std::string words = detail::text({"the file of descriptor ", descriptor});
  const int error = check_adopted(*file);
  if (error != 0) {
    detail::throw_error(std::error_code(error, std::generic_category()),
                        "take over descriptor " + std::to_string(descriptor));
  }
  state_ = file_share(new file_state(loop, std::move(file), words));
}

void file_stream::not_open() noexcept {
  detail::misuse("a file_stream was used that is not open: it was closed, or moved from");
}

void file_stream::read(mutable_buffer into, handler<void(result<std::size_t>)> on_read) {
  detail::expect_handler(on_read, "file_stream::read");
  file_state& own = state();
  detail::expect_no_read(own);
  own.reader.start(own.loop(), read(into), std::move(on_read));
}

detail::steps_operation<void> file_stream::write(const_buffer bytes) {
  return detail::steps_operation(detail::write_file(share(), detail::unwritten(bytes)));
}

void file_stream::write(const_buffer bytes, handler<void(result<void>)> on_written) {
  start_write(state(), write(bytes), std::move(on_written), "file_stream::write");
}

detail::steps_operation<void> file_stream::write(std::span<const const_buffer> buffers) {
  return detail::steps_operation(detail::write_file(share(), detail::unwritten(buffers)));
}

void file_stream::write(std::span<const const_buffer> buffers,
                        handler<void(result<void>)> on_written) {
  start_write(state(), write(buffers), std::move(on_written), "file_stream::write");
}

detail::steps_operation<void> file_stream::shutdown() {
  return detail::steps_operation(detail::shut_down_file(share()));
}

void file_stream::shutdown(handler<void(result<void>)> on_ended) {
  start_write(state(), shutdown(), std::move(on_ended), "file_stream::shutdown");
}

detail::steps_operation<void> file_stream::sync() {
  return detail::steps_operation(detail::sync_file(share()));
}

void file_stream::sync(handler<void(result<void>)> on_synced) {
  start_write(state(), sync(), std::move(on_synced), "file_stream::sync");
}

detail::steps_operation<void> file_stream::resize(std::uint64_t size) {
  return detail::steps_operation(detail::resize_file(share(), size));
}

void file_stream::resize(std::uint64_t size, handler<void(result<void>)> on_resized) {
  start_write(state(), resize(size), std::move(on_resized), "file_stream::resize");
}

detail::steps_operation<std::uint64_t> file_stream::size() {
  return detail::steps_operation(detail::size_of_file(share()));
}

void file_stream::size(handler<void(result<std::uint64_t>)> on_size) {
  detail::expect_handler(on_size, "file_stream::size");
  file_state& own = state();
  detail::expect_no_read(own);
  own.reader.start(own.loop(), size(), std::move(on_size));
}

void file_stream::seek_read(std::uint64_t position) noexcept {
  detail::expect_no_read(state());
  state().read_position = position;
}

void file_stream::seek_write(std::uint64_t position) noexcept {
  detail::expect_no_write(state());
  state().write_position = position;
}

void file_stream::close() noexcept {
  if (!state_) return;
  state_->check_thread();
  const file_share dying = std::move(state_);
  dying->close();
}

detail::steps_operation<file_stream> open_file(std::string path, file_mode mode,
                                               mode_t permissions) {
  return detail::steps_operation(open_steps(std::move(path), mode, permissions));
}

pending_operation open_file(event_loop& loop, std::string path, file_mode mode, mode_t permissions,
                            handler<void(result<file_stream>)> on_open) {
  detail::expect_handler(on_open, "open_file");
  return detail::delivery<file_stream>::start(loop, open_steps(std::move(path), mode, permissions),
                                              std::move(on_open));
}

}  // namespace eddy
