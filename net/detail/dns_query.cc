// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/detail/dns_query.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <set>
#include <span>
#include <utility>

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>

// Debian 12 has only the older of two forms of these functions.
#define CARES_NO_DEPRECATED  // NOLINT(readability-identifier-naming): the name is that of c-ares
#include <ares.h>

#include <eddy/loop/detail/loop_access.h>
#include <eddy/loop/detail/throw_error.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/readiness.h>
#include <eddy/loop/ready_node.h>
#include <eddy/net/detail/name_limits.h>
#include <eddy/net/detail/shortest_ttl.h>
#include <eddy/net/detail/system.h>
#include <eddy/net/resolve.h>

namespace eddy::detail {

namespace {

using namespace std::chrono_literals;
using direction = readiness::direction;
using std::chrono::seconds;

std::error_code as_error(int status) noexcept {
  switch (status) {
    case ARES_SUCCESS: return {};
    case ARES_ENODATA: return resolve_error::no_address;
    case ARES_ENOTFOUND:
    case ARES_EBADNAME: return resolve_error::not_found;
    // c-ares asks the next server after each of these three, and 1.18 then tells the last reason.
    case ARES_ESERVFAIL:
    case ARES_ENOTIMP:
    case ARES_EREFUSED:
    case ARES_ECONNREFUSED:
    case ARES_ETIMEOUT: return resolve_error::try_again;
    case ARES_ENOMEM: return std::make_error_code(std::errc::not_enough_memory);
    case ARES_EBADSTR: return std::make_error_code(std::errc::invalid_argument);
    default: return resolve_error::failed;
  }
}

seconds lifetime_of(long long ttl) noexcept {
  return std::clamp(seconds(ttl), seconds(0), longest_lifetime);
}

/// Facts about the calls of a channel that c-ares does not tell.
struct call_notes {
  bool asked = false;         // a name server was asked, or could not be reached
  bool unknown_code = false;  // an answer by UDP has a code of error that c-ares does not know
  int no_socket = 0;          // the error of the last socket, if the system had no room for it
};

/// Whether an answer has a code of error that c-ares 1.18 takes for success.
bool has_unknown_code(std::span<const unsigned char> message) noexcept {
  constexpr std::size_t at = 3;
  constexpr unsigned mask = 0xf;
  constexpr unsigned last_known = 5;  // REFUSED
  return message.size() > at && (message[at] & mask) > last_known;
}

// The system calls of c-ares. A socket function of c-ares returns -1 and sets `errno`.

ares_socket_t make_socket(int family, int type, int protocol, void* notes) {
  const int made = os().socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
  // Not ENOMEM: it would be taken for a lack of memory for the answer.
  const bool no_room = made < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS);
  static_cast<call_notes*>(notes)->no_socket = no_room ? errno : 0;
  return made;
}

int close_socket(ares_socket_t descriptor, void* /*unused*/) { return os().close(descriptor); }

int connect_socket(ares_socket_t descriptor, const sockaddr* to, ares_socklen_t size, void* notes) {
  static_cast<call_notes*>(notes)->asked = true;
  int done = os().connect(descriptor, to, size);
  // A connect of TCP that a signal interrupted goes on, and that of UDP has to be made again.
  while (done < 0 && errno == EINTR) {
    done = os().connect(descriptor, to, size);
    if (done < 0 && errno == EALREADY) errno = EINPROGRESS;
    if (done < 0 && errno == EISCONN) return 0;
  }
  return done;
}

ares_ssize_t receive(ares_socket_t descriptor, void* data, std::size_t size, int flags,
                     sockaddr* from, ares_socklen_t* from_size, void* notes) {
  iovec part{data, size};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_name = from;
  message.msg_namelen = from_size == nullptr ? 0 : *from_size;
  for (;;) {
    const ssize_t n = os().receive_message(descriptor, &message, flags);
    if (n < 0 && errno == EINTR) continue;
    if (from_size != nullptr) {  // UDP
      *from_size = message.msg_namelen;
      const auto* const bytes = static_cast<const unsigned char*>(data);
      if (n > 0 && has_unknown_code({bytes, static_cast<std::size_t>(n)})) {
        static_cast<call_notes*>(notes)->unknown_code = true;
      }
    }
    return n;
  }
}

ares_ssize_t send(ares_socket_t descriptor, const iovec* parts, int count, void* /*unused*/) {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(parts);
  message.msg_iovlen = static_cast<std::size_t>(count);
  for (;;) {
    const ssize_t n = os().send_message(descriptor, &message, MSG_NOSIGNAL);
    if (n >= 0 || errno != EINTR) return n;
  }
}

constexpr ares_socket_functions through_the_seam{
    .asocket = &make_socket,
    .aclose = &close_socket,
    .aconnect = &connect_socket,
    .arecvfrom = &receive,
    .asendv = &send,
};

}  // namespace

bool dns_available() noexcept { return true; }

/// The channel, its sockets, and its timers.
struct dns_query::implementation {
  implementation(dns_query& owner, event_loop& loop)
      : of(owner), on(loop), timer(*this), trouble(*this) {}
  implementation(const implementation&) = delete;
  implementation& operator=(const implementation&) = delete;
  ~implementation() {
    going = true;
    if (channel != nullptr) ares_destroy(channel);
  }

  /// A wait of a socket in one direction.
  struct wait_node : ready_node {
    wait_node(implementation& o, direction d) noexcept : ready_node(&run), owner(o), which(d) {}
    static void run(ready_node& node) {
      const auto& self = static_cast<wait_node&>(node);
      implementation& all = self.owner;
      // A socket that cannot be watched would be reported as ready again and again.
      if (const std::error_code refused = self.watch_error()) return all.report(refused);
      const ares_socket_t none = ARES_SOCKET_BAD;
      const ares_socket_t ready = self.descriptor;
      const bool reads = self.which == direction::read;
      // This may close the socket and destroy the node.
      ares_process_fd(all.channel, reads ? ready : none, reads ? none : ready);
      all.arm();
    }
    [[nodiscard]] std::error_code watch_error() const noexcept;

    implementation& owner;
    direction which;
    ares_socket_t descriptor = ARES_SOCKET_BAD;
  };

  struct socket {
    socket(implementation& owner, event_loop& loop, ares_socket_t number)
        : to_read(owner, direction::read), to_write(owner, direction::write), watch(loop, number) {
      to_read.descriptor = to_write.descriptor = number;
    }
    wait_node& node(direction which) noexcept {
      return which == direction::read ? to_read : to_write;
    }
    void arm(direction which, bool wanted) {
      if (!wanted) {
        watch.stop(which);
        node(which).withdraw();
      } else if (!watch.waiting(which) && !node(which).queued()) {
        watch.wait(which, node(which));
      }
    }

    wait_node to_read;
    wait_node to_write;
    readiness watch;  // destroyed first: its waits refer to the nodes
    bool reads = false;
    bool writes = false;
  };

  struct timeout_node : timer_node {
    explicit timeout_node(implementation& o) noexcept : timer_node(o.on, &run), owner(o) {}
    static void run(ready_node& node) { static_cast<timeout_node&>(node).owner.time_out(); }
    implementation& owner;
  };

  /// A time limit on the real clock, for a loop whose clock is moved by hand.
  struct real_timeout : ready_node {
    explicit real_timeout(implementation& o)
        : ready_node(&run), owner(o), timer(make_timer()), watch(o.on, timer.number()) {}
    static int make_timer() {
      const int made = os().open_timer();
      if (made < 0) throw_errno("make a timer");
      return made;
    }
    static void run(ready_node& node) {
      const auto& self = static_cast<real_timeout&>(node);
      if (const std::error_code refused = self.watch.error()) return self.owner.report(refused);
      self.owner.time_out();
    }
    void set_after(std::chrono::microseconds left) {
      // Setting the timer makes its descriptor unreadable.
      os().set_timer(timer.number(), left);
      if (!watch.waiting(direction::read) && !queued()) watch.wait(direction::read, *this);
    }
    void clear() noexcept {
      watch.stop(direction::read);
      withdraw();
    }
    implementation& owner;
    socket_descriptor timer;
    readiness watch;  // destroyed first: it watches the timer, and its wait refers to the node
  };

  /// Ends the query with an error that came up inside of a callback of c-ares.
  struct trouble_node : ready_node {
    explicit trouble_node(implementation& o) noexcept : ready_node(&run), owner(o) {}
    static void run(ready_node& node) {
      const auto& self = static_cast<trouble_node&>(node);
      self.owner.fail(self.error);
    }
    implementation& owner;
    std::error_code error;
  };

  /// One question, the argument of its callback.
  struct question {
    implementation* owner = nullptr;
    std::size_t slot = 0;
    std::uint16_t port = 0;
  };

  void report(std::error_code error) noexcept {
    if (going || trouble.queued()) return;
    trouble.error = error;
    on.ready(trouble);
  }

  void fail(std::error_code error) noexcept {
    for (const question& q : questions) {
      if (q.owner != nullptr) complete(q.slot, error);
    }
  }

  void complete(std::size_t slot, std::error_code error) noexcept {
    dns_answer& a = of.answers_[slot];
    if (a.complete) return;
    a.complete = true;
    a.error = error;
    if (!going) of.happened_->note();
  }

  /// The reason of an error, which may be one that c-ares does not tell.
  [[nodiscard]] std::error_code reason(std::error_code error) const noexcept {
    if (error == resolve_error::no_address && notes.unknown_code) return resolve_error::failed;
    if (error == resolve_error::try_again && notes.no_socket != 0) {
      return {notes.no_socket, std::generic_category()};
    }
    return error;
  }

  /// Has the loop watch what c-ares waits for.
  void arm() noexcept {
    try {
      for (const auto& s : sockets) {
        s->arm(direction::read, s->reads);
        s->arm(direction::write, s->writes);
      }
      timeval most{};
      const timeval* const left = ares_timeout(channel, nullptr, &most);
      if (left == nullptr) return clear_timeout();
      // c-ares 1.18 cuts off parts of a millisecond: without the rest, this would come too early,
      // and again and again.
      set_timeout(seconds(left->tv_sec) + std::chrono::microseconds(left->tv_usec) + 1ms);
    } catch (const std::system_error& e) {
      report(e.code());
    } catch (const std::bad_alloc&) {
      report(std::make_error_code(std::errc::not_enough_memory));
    }
  }

  /// c-ares counts its time limits on the real clock.
  void set_timeout(std::chrono::microseconds left) {
    if (!loop_access(on).holds_clock()) return timer.set_after(left);
    if (!real_timer) real_timer.emplace(*this);
    real_timer->set_after(left);
  }

  void clear_timeout() noexcept {
    timer.clear();
    if (real_timer) real_timer->clear();
  }

  void time_out() noexcept {
    ares_process_fd(channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    arm();
  }

  static void note_socket(void* data, ares_socket_t number, int reads, int writes) noexcept {
    auto& self = *static_cast<implementation*>(data);
    const auto has_number = [number](const auto& s) { return s->watch.descriptor() == number; };
    auto found = std::ranges::find_if(self.sockets, has_number);
    if (reads == 0 && writes == 0) {  // c-ares is about to close it
      if (found != self.sockets.end()) self.sockets.erase(found);
      return;
    }
    try {
      if (found == self.sockets.end()) {
        self.sockets.push_back(std::make_unique<socket>(self, self.on, number));
        found = self.sockets.end() - 1;
      }
      (*found)->reads = reads != 0;
      (*found)->writes = writes != 0;
    } catch (const std::system_error& e) {
      self.report(e.code());
    } catch (const std::bad_alloc&) {
      self.report(std::make_error_code(std::errc::not_enough_memory));
    }
  }

  static void take_addresses(void* argument, int status, int /*timeouts*/,
                             ares_addrinfo* found) noexcept {
    const std::unique_ptr<ares_addrinfo, decltype(&ares_freeaddrinfo)> freed(found,
                                                                             &ares_freeaddrinfo);
    const question& q = *static_cast<question*>(argument);
    implementation& self = *q.owner;
    if (self.going) return;
    dns_answer& a = self.of.answers_[q.slot];
    if (a.complete) return;
    try {
      std::error_code error = as_error(status);
      // c-ares reports that it has nobody else to ask.
      if (self.hosts_only && error == resolve_error::try_again) error = resolve_error::not_found;
      if (!error && found != nullptr) take(a, *found, q.port);
      if (!error && a.addresses.empty()) error = resolve_error::no_address;
      self.complete(q.slot, self.reason(error));
    } catch (const std::bad_alloc&) {
      self.complete(q.slot, std::make_error_code(std::errc::not_enough_memory));
    }
  }

  static void take(dns_answer& a, const ares_addrinfo& found, std::uint16_t port) {
    seconds shortest = longest_lifetime;
    std::set<address> known;  // no hash table: a name server could choose equal hashes
    for (const ares_addrinfo_node* n = found.nodes; n != nullptr; n = n->ai_next) {
      const address one =
          address::from(n->ai_addr, static_cast<std::size_t>(n->ai_addrlen)).with_port(port);
      shortest = std::min(shortest, lifetime_of(n->ai_ttl));
      if (known.insert(one).second) a.addresses.push_back(one);
    }
    for (const ares_addrinfo_cname* c = found.cnames; c != nullptr; c = c->next) {
      // An entry of the hosts file has the name as an alias without a TTL.
      shortest = std::min(shortest, lifetime_of(c->ttl));
    }
    a.lifetime = shortest;
  }

  static void take_services(void* argument, int status, int /*timeouts*/, unsigned char* message,
                            int size) noexcept {
    const question& q = *static_cast<question*>(argument);
    implementation& self = *q.owner;
    if (self.going) return;
    dns_answer& a = self.of.answers_[q.slot];
    if (a.complete) return;
    ares_srv_reply* first = nullptr;
    if (status == ARES_SUCCESS) {
      status = ares_parse_srv_reply(message, size, &first);
      if (status == ARES_EBADNAME) status = ARES_EBADRESP;  // a wrong name in the answer
    }
    const std::unique_ptr<ares_srv_reply, void (*)(void*)> freed(first, &ares_free_data);
    if (status != ARES_SUCCESS) {
      const std::error_code error = self.reason(as_error(status));
      return self.complete(q.slot, error == resolve_error::no_address
                                       ? make_error_code(resolve_error::no_service)
                                       : error);
    }
    try {
      for (const ares_srv_reply* r = first; r != nullptr; r = r->next) {
        srv_record one;
        one.host = r->host;
        one.port = r->port;
        one.priority = r->priority;
        one.weight = r->weight;
        // The root as the server says that there is none: RFC 2782.
        if (!one.host.empty() && one.host != ".") a.services.push_back(std::move(one));
      }
      a.lifetime = shortest_ttl({message, static_cast<std::size_t>(size)});
      self.complete(q.slot, a.services.empty() ? make_error_code(resolve_error::no_service)
                                               : std::error_code());
    } catch (const std::bad_alloc&) {
      self.complete(q.slot, std::make_error_code(std::errc::not_enough_memory));
    }
  }

  question& new_question(std::size_t slot, std::uint16_t port) noexcept {
    question& q = questions[slot];
    q.owner = this;
    q.slot = slot;
    q.port = port;
    return q;
  }

  dns_query& of;
  event_loop& on;
  ares_channel channel = nullptr;
  std::vector<std::unique_ptr<socket>> sockets;
  std::array<question, 2> questions{};
  timeout_node timer;
  std::optional<real_timeout> real_timer{};
  trouble_node trouble;
  call_notes notes{};
  bool hosts_only = false;  // no name server is asked
  bool going = false;       // callbacks are of no interest
};

std::error_code dns_query::implementation::wait_node::watch_error() const noexcept {
  const auto is_this = [this](const auto& s) { return s->watch.descriptor() == descriptor; };
  const auto found = std::ranges::find_if(owner.sockets, is_this);
  return found == owner.sockets.end() ? std::error_code() : (*found)->watch.error();
}

dns_query::dns_query(event_loop& loop, wake_up& happened) noexcept
    : loop_(&loop), happened_(&happened) {}

dns_query::~dns_query() = default;

std::error_code dns_query::open(const dns_options& how, source from) {
  inside_ = std::make_unique<implementation>(*this, *loop_);
  ares_options options{};
  int given = ARES_OPT_SOCK_STATE_CB;
  options.sock_state_cb = [](void* data, ares_socket_t number, int reads, int writes) {
    implementation::note_socket(data, number, reads, writes);
  };
  options.sock_state_cb_data = inside_.get();
  std::array<char, 2> hosts_only{'f', '\0'};
  if (from == source::hosts) {
    options.lookups = hosts_only.data();
    given |= ARES_OPT_LOOKUPS;
    inside_->hosts_only = true;
  } else {
    const name_limits limits = limits_of(how.timeout, how.tries);
    options.timeout = static_cast<int>(limits.timeout.count());
    given |= ARES_OPT_TIMEOUTMS;
    if (limits.tries > 0) {
      options.tries = limits.tries;
      given |= ARES_OPT_TRIES;
    }
  }
  int status = ares_init_options(&inside_->channel, &options, given);
  if (status != ARES_SUCCESS) {
    inside_->channel = nullptr;
    return as_error(status);
  }
  ares_set_socket_functions(inside_->channel, &through_the_seam, &inside_->notes);
  if (const std::error_code error = note_order()) return error;
  if (how.servers.empty()) return {};
  std::vector<ares_addr_port_node> servers(how.servers.size());
  for (std::size_t i = 0; i < servers.size(); ++i) {
    const address& a = how.servers[i];
    ares_addr_port_node& s = servers[i];
    if ((!a.is_v4() && !a.is_v6()) || a.scope() != 0) {
      return std::make_error_code(std::errc::invalid_argument);
    }
    s.family = a.is_v4() ? AF_INET : AF_INET6;
    std::memcpy(&s.addr, a.bytes().data(), a.is_v4() ? 4 : 16);
    s.udp_port = s.tcp_port = a.port() == 0 ? 53 : a.port();
    s.next = i + 1 < servers.size() ? &servers[i + 1] : nullptr;
  }
  status = ares_set_servers_ports(inside_->channel, servers.data());
  return as_error(status);
}

std::error_code dns_query::note_order() noexcept {
  ares_options in_use{};
  int given = 0;
  const int status = ares_save_options(inside_->channel, &in_use, &given);
  if (status != ARES_SUCCESS) return as_error(status);
  hosts_first_ = in_use.lookups != nullptr && in_use.lookups[0] == 'f';
  ares_destroy_options(&in_use);
  return {};
}

bool dns_query::asked() const noexcept { return inside_ && inside_->notes.asked; }

void dns_query::ask_addresses(std::size_t slot, const std::string& host, std::uint16_t port,
                              family which) {
  ares_addrinfo_hints wanted{};
  wanted.ai_family = which == family::any ? AF_UNSPEC : which == family::v4 ? AF_INET : AF_INET6;
  wanted.ai_socktype = SOCK_STREAM;
  ares_getaddrinfo(inside_->channel, host.c_str(), nullptr, &wanted,
                   &implementation::take_addresses, &inside_->new_question(slot, port));
  inside_->arm();
}

void dns_query::ask_services(std::size_t slot, const std::string& name) {
  constexpr int internet = 1;
  constexpr int srv = 33;
  ares_query(inside_->channel, name.c_str(), internet, srv, &implementation::take_services,
             &inside_->new_question(slot, 0));
  inside_->arm();
}

}  // namespace eddy::detail
