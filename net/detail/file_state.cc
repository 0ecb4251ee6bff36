// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/detail/file_state.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <limits>
#include <span>
#include <system_error>

#include <sys/stat.h>
#include <sys/uio.h>

#include <eddy/future/yield.h>
#include <eddy/loop/detail/misuse.h>
#include <eddy/net/detail/io.h>
#include <eddy/net/detail/system.h>

namespace eddy::detail {

namespace {

constexpr const char* busy_read = "a read is already pending on this file_stream";
constexpr const char* busy_write = "a write is already pending on this file_stream";
constexpr std::size_t most_buffers = 64;  // of one system call, as for a TCP stream

std::error_code system_error(int error) noexcept { return {error, std::generic_category()}; }

/// Whether the system has an offset `size` bytes after `position`.
bool has_offset(std::uint64_t position, std::size_t size) noexcept {
  constexpr auto most = static_cast<std::uint64_t>(std::numeric_limits<off_t>::max());
  return position <= most && size <= most - position;
}

/// A piece of a file that the system can be asked for.
struct file_piece {
  std::uint64_t position;
  std::size_t size;
};

/// The part of a read that the system can make. No file is longer than its largest offset, so what
/// lies behind that is a read of zero bytes at the end.
file_piece readable(std::uint64_t position, std::size_t size) noexcept {
  constexpr auto most = static_cast<std::uint64_t>(std::numeric_limits<off_t>::max());
  const std::uint64_t begin = std::min(position, most);
  return {begin, static_cast<std::size_t>(std::min<std::uint64_t>(size, most - begin))};
}

class read_job final : public file_job {
public:
  read_job(std::shared_ptr<shared_file> file, std::uint64_t position, std::size_t size)
      : file_(std::move(file)),
        bytes_(std::make_unique_for_overwrite<std::byte[]>(size)),
        position_(position),
        size_(size) {}

  void run() noexcept override {
    const std::lock_guard lock(file_->busy);
    if (abandoned()) return;
    const ssize_t n = uninterrupted([this] {
      return file_->calls().read_at(file_->descriptor(), bytes_.get(), size_,
                                    static_cast<off_t>(position_));
    });
    if (n < 0) {
      error_ = errno;
    } else {
      count_ = static_cast<std::size_t>(n);
    }
  }

  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return {bytes_.get(), count_}; }

private:
  std::shared_ptr<shared_file> file_;
  std::unique_ptr<std::byte[]> bytes_;
  std::uint64_t position_;
  std::size_t size_;
  std::size_t count_ = 0;
};

class write_job final : public file_job {
public:
  write_job(std::shared_ptr<shared_file> file, std::uint64_t position, std::span<const iovec> parts,
            std::size_t size)
      : file_(std::move(file)),
        bytes_(std::make_unique_for_overwrite<std::byte[]>(size)),
        position_(position),
        size_(size) {
    std::byte* to = bytes_.get();
    for (const iovec& part : parts) {
      if (part.iov_len == 0) continue;
      std::memcpy(to, part.iov_base, part.iov_len);
      to += part.iov_len;
    }
  }

  void run() noexcept override {
    const std::lock_guard lock(file_->busy);
    while (written_ < size_ && !abandoned()) {
      const ssize_t n = uninterrupted([this] {
        return file_->calls().write_at(file_->descriptor(), bytes_.get() + written_,
                                       size_ - written_, static_cast<off_t>(position_ + written_));
      });
      if (n <= 0) {
        error_ = n < 0 ? errno : EIO;
        return;
      }
      written_ += static_cast<std::size_t>(n);
    }
  }

  [[nodiscard]] std::size_t written() const noexcept { return written_; }

private:
  std::shared_ptr<shared_file> file_;
  std::unique_ptr<std::byte[]> bytes_;
  std::uint64_t position_;
  std::size_t size_;
  std::size_t written_ = 0;
};

/// A job of one call, which gives zero or an errno.
template <class Call>
class call_job final : public file_job {
public:
  call_job(std::shared_ptr<shared_file> file, Call call)
      : file_(std::move(file)), call_(std::move(call)) {}

  void run() noexcept override {
    if (!abandoned()) error_ = call_(*file_);
  }

private:
  std::shared_ptr<shared_file> file_;
  Call call_;
};

template <class Call>
std::shared_ptr<file_job> make_call(const file_state& file, Call call) {
  return std::make_shared<call_job<Call>>(file.file(), std::move(call));
}

/// A job that runs. Its destructor cancels it.
class running_job {
public:
  running_job(event_loop& loop, file_wait& wait, completer<void> done,
              const std::shared_ptr<file_job>& job)
      : wait_(wait),
        job_(job),
        running_(loop, [job] { job->run(); }, [&wait] { wait.complete(); }) {
    wait_.done = done;
  }
  running_job(const running_job&) = delete;
  running_job& operator=(const running_job&) = delete;
  ~running_job() {
    wait_.done.reset();
    job_->abandon();
  }

private:
  file_wait& wait_;
  std::shared_ptr<file_job> job_;
  blocking_job running_;
};

/// Starts a job, for `adapt`.
class job_start {
public:
  job_start(file_state& file, file_wait& wait, std::shared_ptr<file_job> job,
            const char* doing) noexcept
      : file_(&file), wait_(&wait), job_(std::move(job)), doing_(doing) {}

  running_job operator()(completer<void> done) const { return {file_->loop(), *wait_, done, job_}; }
  [[nodiscard]] std::string describe() const { return doing_ + file_->words(); }

private:
  file_state* file_;
  file_wait* wait_;
  std::shared_ptr<file_job> job_;
  const char* doing_;
};

std::unexpected<failure> failed(const file_state& file, int error, const char* doing) {
  return std::unexpected(failure(system_error(error), doing + file.words()));
}

/// Has a worker make one call that counts as a write.
task<reported<void>> call_as_write(file_share file, std::shared_ptr<file_job> job,
                                   const char* doing) {
  const held_stream::direction used(file->write_pending, busy_write);
  task<> waiting = wait_for(file, &file_state::write_wait, job, doing);
  co_await std::move(waiting);
  if (file->closed()) co_return failed(*file, ECANCELED, doing);
  if (job->error() != 0) co_return failed(*file, job->error(), doing);
  co_return reported<void>();
}

/// The first bytes that are left, by the first elements of `parts`.
unwritten::filled fill(unwritten& left, std::span<iovec> parts) noexcept {
  if (!left.of_one()) {
    left.skip(0, parts.size());
    return left.fill(parts, most_bytes);
  }
  const std::span<const std::byte> piece = left.piece(most_bytes);
  parts[0] = {.iov_base = const_cast<std::byte*>(piece.data()), .iov_len = piece.size()};
  return {1, piece.size()};
}

/// Copies the next bytes for a worker.
std::shared_ptr<write_job> make_write(const file_state& file, unwritten& left) {
  std::array<iovec, most_buffers> parts;
  const auto [count, size] = fill(left, parts);
  return std::make_shared<write_job>(file.file(), file.write_position,
                                     std::span(parts.data(), count), size);
}

constexpr const char* reads = "read from ";
constexpr const char* writes = "write to ";

}  // namespace

shared_file::~shared_file() { calls_.close(descriptor_); }

void file_state::close() noexcept {
  file_.reset();
  read_wait.complete();
  write_wait.complete();
  reader.stop();
  writer.stop();
}

std::optional<result<std::size_t>> file_state::read_now(void* data, std::uint64_t position,
                                                        std::size_t size) {
  if (!reads_now_) return std::nullopt;
  const std::unique_lock lock(file_->busy, std::try_to_lock);
  if (!lock) return std::nullopt;
  const ssize_t n = uninterrupted([&] {
    return file_->calls().read_at_now(descriptor(), data, size, static_cast<off_t>(position));
  });
  if (n > 0) return static_cast<std::size_t>(n);
  // Linux 5.9 and 5.10 may return 0 before the end of a file: preadv2(2). So a worker has to find
  // the end.
  if (n == 0 || would_block()) return std::nullopt;
  if (errno != EOPNOTSUPP) return std::unexpected(system_error(errno));
  reads_now_ = false;
  return std::nullopt;
}

std::optional<int> file_state::write_now(unwritten& left) {
  std::array<iovec, most_buffers> parts;
  const auto [count, size] = fill(left, parts);
  if (size == 0) {
    left.pass(count);  // all of them are empty, and there may be millions more
    return 0;
  }
  if (!has_offset(write_position, size)) return EFBIG;
  if (!writes_now_) return std::nullopt;
  const std::unique_lock lock(file_->busy, std::try_to_lock);
  if (!lock) return std::nullopt;
  const ssize_t n = uninterrupted([&] {
    return file_->calls().write_at_now(descriptor(), parts.data(), static_cast<int>(count),
                                       static_cast<off_t>(write_position));
  });
  if (n > 0) {
    pass(left, static_cast<std::size_t>(n));
    return 0;
  }
  if (n == 0 || would_block()) return std::nullopt;
  if (errno != EOPNOTSUPP) return errno;
  writes_now_ = false;
  return std::nullopt;
}

void file_state::pass(unwritten& left, std::size_t written) noexcept {
  write_position += written;
  loop_.charge(written);
  if (left.of_one()) {
    left.pass_piece(written);
  } else {
    left.skip(written, most_buffers);
  }
}

task<> wait_for(file_share file, file_wait file_state::* which, std::shared_ptr<file_job> job,
                const char* doing) {
  auto waiting = adapt(job_start(*file, (*file).*which, std::move(job), doing));
  co_await std::move(waiting);
}

task<reported<std::size_t>> read_file(file_share file, mutable_buffer into) {
  if (file->closed()) co_return failed(*file, ECANCELED, reads);
  const auto [position, size] = readable(file->read_position, std::min(into.size(), most_bytes));
  const auto now = file->read_now(into.data(), position, size);
  if (now) {
    if (!*now) co_return failed(*file, now->error().value(), reads);
    file->loop().charge(**now);
    co_return **now;
  }
  const auto job = std::make_shared<read_job>(file->file(), position, size);
  task<> waiting = wait_for(file, &file_state::read_wait, job, reads);
  co_await std::move(waiting);
  if (file->closed()) co_return failed(*file, ECANCELED, reads);
  if (job->error() != 0) co_return failed(*file, job->error(), reads);
  const std::span<const std::byte> bytes = job->bytes();
  if (!bytes.empty()) std::memcpy(into.data(), bytes.data(), bytes.size());
  file->loop().charge(bytes.size());
  co_return bytes.size();
}

task<reported<void>> write_file(file_share file, unwritten left) {
  if (file->closed()) co_return failed(*file, ECANCELED, writes);
  if (file->ended) co_return failed(*file, EPIPE, writes);
  const held_stream::direction used(file->write_pending, busy_write);
  while (!left.empty()) {
    const std::optional<int> now = file->write_now(left);
    if (!now) {
      const auto job = make_write(*file, left);
      task<> waiting = wait_for(file, &file_state::write_wait, job, writes);
      co_await std::move(waiting);
      if (file->closed()) co_return failed(*file, ECANCELED, writes);
      file->pass(left, job->written());
      if (job->error() != 0) co_return failed(*file, job->error(), writes);
    } else if (*now != 0) {
      co_return failed(*file, *now, writes);
    }
    if (!left.empty() && !file->loop().may_go_on()) {
      co_await yield();
      if (file->closed()) co_return failed(*file, ECANCELED, writes);
    }
  }
  co_return reported<void>();
}

task<reported<void>> shut_down_file(file_share file) {
  constexpr const char* doing = "close ";
  if (file->closed()) co_return failed(*file, ECANCELED, doing);
  // A descriptor of its own, so that reads go on: the system reports the errors of writes whenever
  // one is closed.
  const auto close = [](shared_file& f) {
    const int copy = f.calls().duplicate(f.descriptor());
    return copy < 0 || f.calls().close(copy) < 0 ? errno : 0;
  };
  file->ended = true;
  auto ending = call_as_write(file, make_call(*file, close), doing);
  co_return co_await std::move(ending);
}

task<reported<void>> sync_file(file_share file) {
  constexpr const char* doing = "sync ";
  if (file->closed()) co_return failed(*file, ECANCELED, doing);
  const auto sync = [](shared_file& f) {
    return uninterrupted([&f] { return f.calls().sync(f.descriptor()); }) < 0 ? errno : 0;
  };
  auto syncing = call_as_write(file, make_call(*file, sync), doing);
  co_return co_await std::move(syncing);
}

task<reported<void>> resize_file(file_share file, std::uint64_t size) {
  constexpr const char* doing = "resize ";
  if (file->closed()) co_return failed(*file, ECANCELED, doing);
  if (!has_offset(size, 0)) co_return failed(*file, EFBIG, doing);
  const auto resize = [size](shared_file& f) {
    const std::lock_guard lock(f.busy);
    const auto call = [&] { return f.calls().resize(f.descriptor(), static_cast<off_t>(size)); };
    return uninterrupted(call) < 0 ? errno : 0;
  };
  auto resizing = call_as_write(file, make_call(*file, resize), doing);
  co_return co_await std::move(resizing);
}

task<reported<std::uint64_t>> size_of_file(file_share file) {
  constexpr const char* doing = "get the size of ";
  if (file->closed()) co_return failed(*file, ECANCELED, doing);
  const held_stream::direction used(file->read_pending, busy_read);
  const auto size = std::make_shared<std::uint64_t>(0);
  const auto ask = [size](shared_file& f) {
    struct stat status{};
    if (f.calls().file_status(f.descriptor(), &status) < 0) return errno;
    *size = static_cast<std::uint64_t>(status.st_size);
    return 0;
  };
  const std::shared_ptr<file_job> job = make_call(*file, ask);
  task<> waiting = wait_for(file, &file_state::read_wait, job, doing);
  co_await std::move(waiting);
  if (file->closed()) co_return failed(*file, ECANCELED, doing);
  if (job->error() != 0) co_return failed(*file, job->error(), doing);
  co_return *size;
}

void expect_no_read(const file_state& file) noexcept {
  if (file.read_pending || file.reader.active()) misuse(busy_read);
}

void expect_no_write(const file_state& file) noexcept {
  if (file.write_pending || file.writer.active()) misuse(busy_write);
}

file_read_wait::file_read_wait(file_share&& file, mutable_buffer into)
    : file_(std::move(file)),
      used_(file_->read_pending, busy_read),
      inner_(read_file(file_, into)) {}

result<std::size_t> file_read_wait::await_result() {
  result<std::size_t> r = inner_.await_result();
  if (r) file_->read_position += *r;
  return r;
}

std::size_t file_read_wait::await_resume() {
  const std::size_t size = inner_.await_resume();
  file_->read_position += size;
  return size;
}

file_read_wait file_read_operation::operator co_await() && {
  if (!file_) misuse("an operation was awaited twice, or after it was moved from");
  return {std::move(file_), into_};
}

}  // namespace eddy::detail
