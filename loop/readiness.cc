// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/readiness.h>

#include <array>
#include <utility>

#include <eddy/loop/detail/engine.h>
#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/recycler.h>
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
    : watch_(make_watch(*loop.engine_, descriptor)) {
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
  // What they captured may own this object: they are dropped last.
  const auto dropped = std::array{take(direction::read), take(direction::write)};
  // The nodes leave before the watch that names them.
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
  auto& place = slot(which);
  if (!place) place = std::make_unique<callback>(watch());
  wait(which, *place);
  place->on_ready = std::move(on_ready);
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
    detail::misuse(which == direction::read
                       ? "two wait for one descriptor to become readable: one may"
                       : "two wait for one descriptor to become writable: one may");
  }
  watch_->wait(which, node);
}

bool readiness::waiting(direction which) const noexcept {
  loop().check_thread();
  const auto& place = which == direction::read ? on_readable_ : on_writable_;
  return watch_->waiter(which) != nullptr || (place && place->queued());
}

handler<void(std::error_code)> readiness::take(direction which) noexcept {
  if (!watch_) return nullptr;
  loop().check_thread();
  watch_->forget(which);
  auto& place = slot(which);
  if (!place) return nullptr;
  place->withdraw();
  return std::exchange(place->on_ready, nullptr);
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
