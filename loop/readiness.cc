// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/readiness.h>

#include <array>
#include <utility>

#include <eddy/loop/detail/block_pool.h>
#include <eddy/loop/detail/engine.h>
#include <eddy/loop/detail/loop_access.h>
#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/text.h>
#include <eddy/loop/detail/throw_error.h>
#include <eddy/loop/event_loop.h>

namespace eddy {

namespace {

std::unique_ptr<detail::watch> make_watch(detail::engine& engine, int descriptor) {
  engine.check(descriptor);
  return std::make_unique<detail::watch>(engine.watches(), descriptor);
}

std::string about(const char* what, int descriptor) {
  return detail::text({what, " descriptor ", descriptor});
}

}  // namespace

struct readiness::callback : ready_node, detail::recycled {
  explicit callback(detail::watch& w) noexcept : ready_node(&run), watch(&w) {}

  static void run(ready_node& node) {
    auto& self = static_cast<callback&>(node);
    auto on_ready = std::exchange(self.on_ready, nullptr);
    on_ready(self.watch->failure());
  }

  detail::watch* watch;
  handler<void(std::error_code)> on_ready;
};

readiness::readiness(event_loop& loop, int descriptor) try
    : watch_(make_watch(detail::loop_access(loop).engine(), descriptor)) {
} catch (const std::system_error& e) {
  detail::throw_error(e.code(), about("watching", descriptor));
}

readiness::readiness(readiness&& other) noexcept
    : watch_(std::move(other.watch_)),
      on_readable_(std::move(other.on_readable_)),
      on_writable_(std::move(other.on_writable_)) {
  if (watch_) loop().check_thread();
}

readiness& readiness::operator=(readiness&& other) noexcept {
  // The captures of the handlers may own this object, so the handlers are destroyed last.
  const auto dropped = std::array{take(direction::read), take(direction::write)};
  // The nodes are destroyed before the watch that points at them.
  on_readable_ = std::move(other.on_readable_);
  on_writable_ = std::move(other.on_writable_);
  watch_ = std::move(other.watch_);
  return *this;
}

readiness::~readiness() {
  if (watch_) loop().check_thread();
}

std::unique_ptr<readiness::callback>& readiness::slot(direction which) noexcept {
  return which == direction::read ? on_readable_ : on_writable_;
}

detail::watch& readiness::watch() const noexcept {
  if (!watch_) detail::misuse("a readiness was used that was moved from");
  return *watch_;
}

void readiness::call_back(direction which, handler<void(std::error_code)>&& on_ready) {
  detail::expect_handler(
      on_ready, which == direction::read ? "readiness::wait_readable" : "readiness::wait_writable");
  auto& waiter = slot(which);
  if (!waiter) waiter = std::make_unique<callback>(watch());
  wait(which, *waiter);
  waiter->on_ready = std::move(on_ready);
}

void readiness::wait_readable(handler<void(std::error_code)> on_ready) {
  call_back(direction::read, std::move(on_ready));
}

void readiness::wait_writable(handler<void(std::error_code)> on_ready) {
  call_back(direction::write, std::move(on_ready));
}

void readiness::wait(direction which, ready_node& node) {
  loop().check_thread();
  if (watch().waiter(which) != nullptr || node.queued()) {
    const char* const pending = which == direction::read
                                    ? "a wait to read is already pending on this readiness of"
                                    : "a wait to write is already pending on this readiness of";
    detail::misuse(about(pending, descriptor()).c_str());
  }
  watch_->wait(which, node);
}

bool readiness::waiting(direction which) const noexcept {
  loop().check_thread();
  const auto& waiter = which == direction::read ? on_readable_ : on_writable_;
  return watch_->waiter(which) != nullptr || (waiter && waiter->queued());
}

handler<void(std::error_code)> readiness::take(direction which) noexcept {
  if (!watch_) return nullptr;
  loop().check_thread();
  watch_->forget(which);
  auto& waiter = slot(which);
  if (!waiter) return nullptr;
  waiter->withdraw();
  return std::exchange(waiter->on_ready, nullptr);
}

void readiness::stop(direction which) noexcept { const auto dropped = take(which); }

void readiness::stop() noexcept {
  const auto dropped = std::array{take(direction::read), take(direction::write)};
}

void readiness::background(bool on) noexcept {
  loop().check_thread();
  watch_->set_background(on);
}
std::error_code readiness::error() const noexcept {
  loop().check_thread();
  return watch().failure();
}
int readiness::descriptor() const noexcept { return watch().descriptor(); }
event_loop& readiness::loop() const noexcept { return watch().loop(); }

}  // namespace eddy
