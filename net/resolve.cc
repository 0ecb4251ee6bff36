// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/resolve.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <memory>
#include <utility>

#include <netdb.h>

#include <eddy/future/as_result.h>
#include <eddy/future/run_blocking.h>
#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/text.h>
#include <eddy/loop/detail/worker_pool.h>
#include <eddy/net/detail/loopback_names.h>
#include <eddy/net/detail/system.h>

namespace eddy {

namespace {

class category final : public std::error_category {
public:
  [[nodiscard]] const char* name() const noexcept override { return "resolve"; }

  [[nodiscard]] std::string message(int value) const override {
    switch (static_cast<resolve_error>(value)) {
      case resolve_error::not_found: return "name not found";
      case resolve_error::no_address: return "the name has no address";
      case resolve_error::try_again: return "no name server answered";
      case resolve_error::failed: break;
    }
    return "the name server failed";
  }

  [[nodiscard]] std::error_condition default_error_condition(int value) const noexcept override {
    switch (static_cast<resolve_error>(value)) {
      case resolve_error::try_again: return std::errc::resource_unavailable_try_again;
      default: return {value, *this};
    }
  }
};

std::error_code as_error(int answer, int error) noexcept {
  switch (answer) {
    case EAI_NONAME: return resolve_error::not_found;
    case EAI_NODATA:
    case EAI_ADDRFAMILY: return resolve_error::no_address;
    case EAI_AGAIN: return resolve_error::try_again;
    case EAI_MEMORY: return std::make_error_code(std::errc::not_enough_memory);
    case EAI_SYSTEM: return {error, std::generic_category()};
    default: return resolve_error::failed;
  }
}

// The threads that call getaddrinfo. A call hangs for as long as no name server answers.
constinit detail::process_pool workers({.at_once = 16,
                                        .threads = 64,
                                        .idle = std::chrono::seconds(10)});

/// The addresses of `localhost` if getaddrinfo has none.
std::vector<address> loopback(std::uint16_t port) {
  return {address::loopback_v4(port), address::loopback_v6(port)};
}

/// Runs on a worker thread.
result<std::vector<address>> look_up(const std::string& host, std::uint16_t port,
                                     detail::system& system) {
  // AI_ADDRCONFIG avoids queries for a family of which this machine has no address. It does not
  // count loopback addresses, so it would also hide those of that family; glibc would turn ::1 into
  // 127.0.0.1.
  const bool local = detail::is_localhost(host);
  const char* const name = local ? "localhost" : host.c_str();
  addrinfo wanted{};
  wanted.ai_socktype = SOCK_STREAM;
  wanted.ai_flags = local || system.is_loopback_name(name) ? 0 : AI_ADDRCONFIG;
  addrinfo* first = nullptr;
  const int answer = system.look_up(name, &wanted, &first);
  if (answer != 0 && local) return loopback(port);
  if (answer != 0) return std::unexpected(as_error(answer, errno));
  const auto free = [&system](addrinfo* all) { system.free_addresses(all); };
  const std::unique_ptr<addrinfo, decltype(free)> found(first, free);
  std::vector<address> all;
  for (const addrinfo* a = first; a != nullptr; a = a->ai_next) {
    const address one = address::from(a->ai_addr, a->ai_addrlen).with_port(port);
    if (one != address().with_port(port) && std::ranges::find(all, one) == all.end()) {
      all.push_back(one);
    }
  }
  if (local) std::erase_if(all, [](const address& a) { return !a.is_loopback(); });
  if (all.empty() && local) return loopback(port);
  if (all.empty()) return std::unexpected(make_error_code(resolve_error::no_address));
  return all;
}

}  // namespace

const std::error_category& resolve_category() noexcept {
  static const category the_one;
  return the_one;
}

task<detail::reported<std::vector<address>>> detail::resolve_steps(std::string host,
                                                                   std::uint16_t port) {
  std::string doing = "resolve " + detail::visible(host);
  if (const auto literal = address::parse(host, port)) co_return std::vector<address>{*literal};
  // getaddrinfo would read a name with a zero in it as another, shorter name.
  if (host.find('\0') != std::string::npos) {
    co_return std::unexpected(failure(resolve_error::not_found, std::move(doing)));
  }
  const auto look = [](const std::string& name, std::uint16_t p, detail::system* system) {
    return look_up(name, p, *system);
  };
  auto looking = as_result(
      detail::run_on(&workers, "the look-up of a name", look, std::move(host), port, &os()));
  auto looked = co_await std::move(looking);
  // There was no thread for the look-up.
  if (!looked) co_return std::unexpected(failure(looked.error(), std::move(doing)));
  result<std::vector<address>>& found = *looked;
  if (!found) co_return std::unexpected(failure(found.error(), std::move(doing)));
  co_return std::move(*found);
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

}  // namespace eddy
