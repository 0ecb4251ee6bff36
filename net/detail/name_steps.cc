// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/detail/name_steps.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <memory>
#include <new>
#include <optional>
#include <set>
#include <system_error>
#include <utility>

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <eddy/future/as_result.h>
#include <eddy/future/run_blocking.h>
#include <eddy/future/select.h>
#include <eddy/future/until.h>
#include <eddy/loop/detail/current_loop.h>
#include <eddy/loop/detail/text.h>
#include <eddy/loop/detail/worker_pool.h>
#include <eddy/net/detail/loopback_names.h>
#include <eddy/net/detail/name_limits.h>
#include <eddy/net/detail/system.h>
#include <eddy/net/resolve.h>

namespace eddy::detail {

namespace {

// A name in DNS has 255 bytes at most. /etc/hosts may have longer names.
constexpr std::size_t longest_name = 1000;

using addresses = found_names<address>;
using services = found_names<srv_record>;

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
constinit process_pool workers({.at_once = 16, .threads = 64, .idle = std::chrono::seconds(10)});

/// Runs on a worker thread.
result<std::vector<address>> look_up(const std::string& host, std::uint16_t port, system& system) {
  // AI_ADDRCONFIG avoids queries for a family of which this machine has no address. It does not
  // count loopback addresses, so it would also hide those of that family; glibc would turn ::1 into
  // 127.0.0.1.
  const bool local = is_localhost(host);
  const char* const name = local ? "localhost" : host.c_str();
  addrinfo wanted{};
  wanted.ai_socktype = SOCK_STREAM;
  wanted.ai_flags = local || system.is_loopback_name(name) ? 0 : AI_ADDRCONFIG;
  addrinfo* first = nullptr;
  const int answer = system.look_up(name, &wanted, &first);
  if (answer != 0 && !local) return std::unexpected(as_error(answer, errno));
  std::vector<address> all;
  if (answer == 0) {
    const auto free = [&system](addrinfo* found) { system.free_addresses(found); };
    const std::unique_ptr<addrinfo, decltype(free)> found(first, free);
    std::set<address> known;
    for (const addrinfo* a = first; a != nullptr; a = a->ai_next) {
      const address one = address::from(a->ai_addr, a->ai_addrlen).with_port(port);
      if (one != address().with_port(port) && known.insert(one).second) all.push_back(one);
    }
  }
  if (local) keep_loopback(all, port);
  if (all.empty()) return std::unexpected(make_error_code(resolve_error::no_address));
  return all;
}

task<result<addresses>> ask_system(std::string host, std::uint16_t port) {
  const auto look = [](const std::string& name, std::uint16_t p, system* system) {
    return look_up(name, p, *system);
  };
  if (os().answers_at_once()) {
    result<std::vector<address>> at_once = look_up(host, port, os());
    if (!at_once) co_return std::unexpected(at_once.error());
    addresses answer(std::move(*at_once), std::chrono::seconds(0));
    co_return answer;
  }
  auto looking =
      as_result(run_on(&workers, "the look-up of a name", look, std::move(host), port, &os()));
  auto looked = co_await std::move(looking);
  // There was no thread for the look-up.
  if (!looked) co_return std::unexpected(looked.error());
  result<std::vector<address>>& found = *looked;
  if (!found) co_return std::unexpected(found.error());
  addresses answer(std::move(*found), std::chrono::seconds(0));
  co_return answer;
}

/// Asks the system, and gives up after a time of the real clock, as c-ares does.
task<result<addresses>> ask_system_within(std::chrono::milliseconds limit, std::string host,
                                          std::uint16_t port) {
  const socket_descriptor timer(os().open_timer());
  if (timer.number() < 0) {
    co_return std::unexpected(std::error_code(errno, std::generic_category()));
  }
  os().set_timer(timer.number(), limit);
  auto first = select(ask_system(std::move(host), port), until_readable(timer.number()));
  auto ended = co_await std::move(first);
  if (ended.index() == 1) co_return std::unexpected(make_error_code(resolve_error::try_again));
  co_return std::get<0>(std::move(ended));
}

/// Asks the system, within the limits of a resolver that has some.
task<result<addresses>> ask_system(std::string host, std::uint16_t port, const dns_options& how) {
  if (how.timeout.count() <= 0 && how.tries <= 0) return ask_system(std::move(host), port);
  const name_limits limits = limits_of(how.timeout, how.tries);
  constexpr int usual_tries = 2;  // of getaddrinfo: resolv.conf(5)
  const int tries = limits.tries > 0 ? limits.tries : usual_tries;
  return ask_system_within(limits.timeout * tries, std::move(host), port);
}

task<reported<addresses>> ask_name_servers(std::string host, std::uint16_t port, dns_options how) {
  event_loop& loop = current_loop("resolve");
  const lookup_words words(host);
  const name_plan plan(host);
  wake_up happened;
  dns_query query(loop, happened);
  if (const std::error_code error = query.open(how, plan.from)) {
    co_return std::unexpected(failure(error, words.describe()));
  }
  query.ask_addresses(0, plan.name, port, plan.which);
  dns_answer& answer = query.answer(0);
  while (!answer.complete) {
    co_await adapt(wake_up_wait(happened, words));
  }
  if (answer.lacks_memory()) throw std::bad_alloc();
  if (plan.local) {
    keep_loopback(answer.addresses, port);
  } else if (answer.error) {
    co_return std::unexpected(dns_failure(answer.error, words.describe(), query, how));
  }
  addresses found(std::move(answer.addresses), answer.lifetime);
  co_return found;
}

}  // namespace

name_plan::name_plan(const std::string& host)
    : name(host),
      which(dns_query::family::any),
      from(dns_query::source::hosts_and_dns),
      local(is_localhost(host)) {
  if (local) {
    name = "localhost";
    from = dns_query::source::hosts;
    return;
  }
  if (!is_host_name(host)) from = dns_query::source::hosts;
  // c-ares takes 08.0.0.1 for an address, although a number that begins with 0 is octal. A name
  // with a dot at the end is a name.
  if (host.find_first_not_of("0123456789.") == std::string::npos &&
      std::ranges::count(host, '.') == 3) {
    name += '.';
  }
  if (!os().is_loopback_name(host.c_str())) {
    // As AI_ADDRCONFIG of getaddrinfo: no questions for a family that this machine does not use.
    const used_families used = os().families();
    if (used.v4 && !used.v6) which = dns_query::family::v4;
    if (used.v6 && !used.v4) which = dns_query::family::v6;
  }
}

bool is_no_name(const std::string& host) noexcept {
  return host.empty() || host.size() > longest_name || host.find('\0') != std::string::npos;
}

bool is_host_name(std::string_view host) noexcept {
  constexpr std::string_view allowed =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
  return !host.starts_with('-') && host.find_first_not_of(allowed) == std::string_view::npos;
}

std::optional<address> literal_address(const std::string& host, std::uint16_t port) noexcept {
  if (is_no_name(host)) return std::nullopt;
  if (const auto parsed = address::parse(host, port)) return *parsed;
  // inet_aton ignores what follows a blank.
  in_addr v4{};
  if (!is_host_name(host) || ::inet_aton(host.c_str(), &v4) == 0) return std::nullopt;
  address::v4_bytes bytes;
  std::memcpy(bytes.data(), &v4, bytes.size());
  return address(bytes, port);
}

bool asks_dns(const std::string& host, const dns_options& how) {
  if (!dns_available()) return false;
  return !how.servers.empty() || (is_host_name(host) && os().asks_dns(host.c_str()));
}

void keep_loopback(std::vector<address>& all, std::uint16_t port) {
  std::erase_if(all, [](const address& a) { return !a.is_loopback(); });
  if (all.empty()) all = {address::loopback_v4(port), address::loopback_v6(port)};
}

std::string shown_host(const std::string& host) {
  if (host.empty()) return "\"\"";
  if (host.size() <= longest_name) return visible(host);
  return text(
      {visible(std::string_view(host).substr(0, longest_name)), "... (", host.size(), " bytes)"});
}

std::string words_of_service(const std::string& host, const std::string& service) {
  return text({"resolve ", shown_host(host), ", service ", shown_host(service)});
}

failure dns_failure(std::error_code error, std::string doing, const dns_query& asked,
                    const dns_options& how) {
  if (asked.asked()) {
    const char* before = ", asked ";
    for (const address& server : how.servers) {
      const std::uint16_t port = server.port() == 0 ? 53 : server.port();
      add_text(doing, {std::exchange(before, " and "), server.with_port(port).to_string()});
    }
  }
  return {error, std::move(doing)};
}

task<reported<found_names<address>>> find_addresses(std::string host, std::uint16_t port,
                                                    dns_options how) {
  const lookup_words words(host);
  if (const auto literal = literal_address(host, port)) {
    addresses one(std::vector<address>{*literal}, std::chrono::seconds(0));
    co_return one;
  }
  if (is_no_name(host)) {
    co_return std::unexpected(failure(resolve_error::not_found, words.describe()));
  }
  if (asks_dns(host, how)) {
    auto asking = ask_name_servers(std::move(host), port, std::move(how));
    auto answered = co_await std::move(asking);
    co_return answered;
  }
  auto asking = ask_system(std::move(host), port, how);
  result<addresses> found = co_await std::move(asking);
  if (!found) co_return std::unexpected(failure(found.error(), words.describe()));
  co_return std::move(*found);
}

task<reported<found_names<srv_record>>> find_services(std::string name, dns_options how) {
  event_loop& loop = current_loop("resolve_srv");
  const lookup_words words = lookup_words::of_services(name);
  if (is_no_name(name)) {
    co_return std::unexpected(failure(resolve_error::not_found, words.describe()));
  }
  if (!dns_available()) {
    co_return std::unexpected(
        failure(std::make_error_code(std::errc::not_supported), words.describe()));
  }
  wake_up happened;
  dns_query query(loop, happened);
  if (const std::error_code error = query.open(how, dns_query::source::hosts_and_dns)) {
    co_return std::unexpected(failure(error, words.describe()));
  }
  query.ask_services(0, name);
  dns_answer& answer = query.answer(0);
  while (!answer.complete) {
    co_await adapt(wake_up_wait(happened, words));
  }
  if (answer.lacks_memory()) throw std::bad_alloc();
  if (answer.error) {
    co_return std::unexpected(dns_failure(answer.error, words.describe(), query, how));
  }
  services found(std::move(answer.services), answer.lifetime);
  co_return found;
}

task<result<std::uint16_t>> find_port(std::string service) {
  std::uint16_t port = 0;
  const char* const end = service.data() + service.size();
  const auto [read_to, error] = std::from_chars(service.data(), end, port);
  if (error == std::errc() && read_to == end) co_return port;
  if (is_no_name(service)) {
    co_return std::unexpected(make_error_code(resolve_error::no_service));
  }
  const auto look = [](const std::string& name, system* system) {
    return system->service_port(name.c_str());
  };
  int found = -1;
  if (os().answers_at_once()) {
    found = look(service, &os());
  } else {
    auto looking =
        as_result(run_on(&workers, "the look-up of a service", look, std::move(service), &os()));
    const auto looked = co_await std::move(looking);
    if (!looked) co_return std::unexpected(looked.error());
    found = *looked;
  }
  if (found < 0) co_return std::unexpected(make_error_code(resolve_error::no_service));
  co_return static_cast<std::uint16_t>(found);
}

void order_services(std::vector<srv_record>& all) {
  std::ranges::sort(all, {}, [](const srv_record& r) { return std::pair(r.priority, r.weight); });
  for (auto first = all.begin(); first != all.end();) {
    const auto last = std::find_if(
        first, all.end(), [p = first->priority](const srv_record& r) { return r.priority != p; });
    // RFC 2782: those of weight zero come first, so that they are chosen seldom; then the first
    // record is chosen at which the running sum of the weights reaches a random number.
    for (; first != last; ++first) {
      std::uint64_t sum = 0;
      for (auto r = first; r != last; ++r) sum += r->weight;
      const std::uint64_t wanted = os().random() % (sum + 1);
      auto chosen = first;
      for (std::uint64_t running = chosen->weight; running < wanted; running += chosen->weight) {
        ++chosen;
      }
      std::rotate(first, chosen, chosen + 1);
    }
  }
}

}  // namespace eddy::detail
