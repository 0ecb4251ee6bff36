// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/resolve.h>

#include <utility>

#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/text.h>
#include <eddy/net/detail/name_steps.h>

namespace eddy {

namespace {

class category final : public std::error_category {
public:
  [[nodiscard]] const char* name() const noexcept override { return "resolve"; }

  [[nodiscard]] std::string message(int value) const override {
    switch (static_cast<resolve_error>(value)) {
      case resolve_error::not_found: return "name not found";
      case resolve_error::no_address: return "the name has no address that this machine can use";
      case resolve_error::try_again: return "no name server gave an answer; try again later";
      case resolve_error::no_service: return "the service is unknown or has no server";
      case resolve_error::failed: break;
    }
    return "a name server sent an error, or an answer that cannot be read";
  }

  [[nodiscard]] std::error_condition default_error_condition(int value) const noexcept override {
    switch (static_cast<resolve_error>(value)) {
      case resolve_error::try_again: return std::errc::resource_unavailable_try_again;
      default: return {value, *this};
    }
  }
};

}  // namespace

const std::error_category& resolve_category() noexcept {
  static const category the_one;
  return the_one;
}

task<detail::reported<std::vector<address>>> detail::resolve_steps(std::string host,
                                                                   std::uint16_t port) {
  auto finding = find_addresses(std::move(host), port, dns_options());
  auto found = co_await std::move(finding);
  if (!found) co_return std::unexpected(std::move(found.error()));
  co_return std::move(found->all);
}

task<detail::reported<std::vector<address>>> detail::resolve_service_steps(std::string host,
                                                                           std::string service) {
  const std::string words = words_of_service(host, service);
  auto finding_port = find_port(std::move(service));
  const result<std::uint16_t> port = co_await std::move(finding_port);
  if (!port) co_return std::unexpected(failure(port.error(), words));
  auto finding = resolve_steps(std::move(host), *port);
  auto found = co_await std::move(finding);
  co_return found;
}

detail::steps_operation<std::vector<address>> resolve(std::string host, std::uint16_t port) {
  return detail::steps_operation(detail::resolve_steps(std::move(host), port));
}

pending_operation resolve(event_loop& loop, std::string host, std::uint16_t port,
                          handler<void(result<std::vector<address>>)> on_resolved) {
  detail::expect_handler(on_resolved, "resolve");
  return detail::delivery<std::vector<address>>::start(
      loop, detail::resolve_steps(std::move(host), port), std::move(on_resolved));
}

detail::steps_operation<std::vector<address>> resolve(std::string host, std::string service) {
  return detail::steps_operation(
      detail::resolve_service_steps(std::move(host), std::move(service)));
}

pending_operation resolve(event_loop& loop, std::string host, std::string service,
                          handler<void(result<std::vector<address>>)> on_resolved) {
  detail::expect_handler(on_resolved, "resolve");
  return detail::delivery<std::vector<address>>::start(
      loop, detail::resolve_service_steps(std::move(host), std::move(service)),
      std::move(on_resolved));
}

}  // namespace eddy
