// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/net/address.h>.
#include <eddy/net/address.h>

#include <cstring>
#include <ostream>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_set>
#include <vector>

#include <doctest/doctest.h>
#include <net/if.h>
#include <sys/socket.h>

#include <eddy/net/detail/system.h>

using eddy::address;

static_assert(std::is_trivially_copyable_v<address>);
static_assert(sizeof(address) <= 24);
static_assert(address::loopback_v4(80).port() == 80);
static_assert(address::loopback_v6(0) != address::any_v6(0));
static_assert(!address().is_v4() && !address().is_v6());

namespace {

std::string again(const std::string& text) {
  const auto a = address::parse(text);
  return a ? a->to_string() : a.error().message();
}

}  // namespace

TEST_CASE("an address prints as the text from which it was parsed") {
  for (const std::string text : {
           "1.2.3.4:80",
           "0.0.0.0:0",
           "255.255.255.255:65535",
           "[::1]:80",
           "[::]:0",
           "[2001:db8::8:800:200c:417a]:443",
           "[::ffff:1.2.3.4]:80",
           "[fe80::1%77777]:80",
       }) {
    CHECK(again(text) == text);
  }
  CHECK(again("[2001:DB8:0:0::1]:08") == "[2001:db8::1]:8");
}

TEST_CASE("a text that is no address is refused") {
  for (const std::string text : {
           "",
           ":",
           ":80",
           "1.2.3.4",
           "1.2.3.4:",
           "1.2.3.4:-1",
           "1.2.3.4:+1",
           "1.2.3.4:65536",
           "1.2.3.4:80x",
           "1.2.3.4:0x50",
           "1.2.3.4: 80",
           " 1.2.3.4:80",
           "1.2.3:80",
           "1.2.3.4.5:80",
           "1.2.3.256:80",
           "localhost:80",
           "::1:80",
           "[::1]",
           "[::1]80",
           "[::1:80",
           "::1]:80",
           "[1.2.3.4]:80",
           "[]:80",
           "[[::1]]:80",
           "[::1%]:80",
           "[fe80::1%an_interface_of_a_long_name]:80",
           "[1:2:3:4:5:6:7:8:9]:80",
       }) {
    INFO(text);
    const auto a = address::parse(text);
    REQUIRE(!a);
    CHECK(a.error() == std::errc::invalid_argument);
  }
  CHECK(!address::parse(std::string(1000, '1') + ":80"));
  CHECK(!address::parse(std::string("1.2.3.4\0:80", 11)));
  CHECK(!address::parse(std::string("1.2.3.4\0x:80", 12)));
}

TEST_CASE("a scope is a number or the name of an interface") {
  const auto by_name = address::parse("[fe80::1%lo]:80");
  REQUIRE(by_name);
  CHECK(by_name->scope() == ::if_nametoindex("lo"));
  CHECK(by_name->to_string() == "[fe80::1%lo]:80");
  CHECK(address::parse("[fe80::1%" + std::to_string(by_name->scope()) + "]:80") == *by_name);
  CHECK(*by_name != *address::parse("[fe80::1]:80"));

  const auto unknown = address::parse("[fe80::1%no_such]:80");
  REQUIRE(!unknown);
  CHECK(unknown.error() == std::errc::no_such_device);
}

TEST_CASE("an interface whose name is a number is printed as its own number") {
  class odd_names : public eddy::detail::system {
  public:
    unsigned interface_index(const char* name) override {
      return std::string_view(name) == "7" ? 1 : 0;
    }
    char* interface_name(unsigned, char* name) override { return std::strcpy(name, "7"); }
  };
  odd_names names;
  const eddy::detail::scoped_system in_place(names);
  const auto where = address::parse("[fe80::1%1]:80");
  REQUIRE(where);
  CHECK(where->to_string() == "[fe80::1%1]:80");
  CHECK(address::parse(where->to_string()) == *where);
  CHECK(address::parse("[fe80::1%7]:80")->scope() == 7);
}

TEST_CASE("a host is parsed without a port") {
  CHECK(address::parse("1.2.3.4", 80) == address::parse("1.2.3.4:80"));
  CHECK(address::parse("::1", 80) == address::loopback_v6(80));
  CHECK(address::parse("[::1]", 80) == address::loopback_v6(80));
  CHECK(!address::parse("example.org", 80));
  CHECK(!address::parse("", 80));
  CHECK(address::parse("[::1]:80")->host() == "::1");
  CHECK(address::loopback_v4(80).host() == "127.0.0.1");
}

TEST_CASE("an address converted to a sockaddr and back is the same") {
  for (const address& a : {address::loopback_v4(80), address::any_v6(65535),
                           *address::parse("[fe80::1%3]:1"), *address::parse("[::2]:3")}) {
    sockaddr_storage name;
    const auto size = a.to(name);
    CHECK(size > 0);
    CHECK(address::from(reinterpret_cast<const sockaddr*>(&name), size) == a);
  }
}

TEST_CASE("a sockaddr that is neither IPv4 nor IPv6 gives an empty address") {
  sockaddr_storage name{};
  CHECK(address().to(name) == 0);
  name.ss_family = AF_UNIX;
  CHECK(address::from(reinterpret_cast<const sockaddr*>(&name), sizeof name) == address());
  name.ss_family = AF_INET6;
  CHECK(address::from(reinterpret_cast<const sockaddr*>(&name), 8) == address());
  CHECK(address().to_string() == "nowhere");
}

TEST_CASE("addresses have one order: family, bytes, scope, port") {
  const std::vector<address> sorted = {
      address(),
      *address::parse("1.2.3.4:80"),
      *address::parse("1.2.3.4:81"),
      *address::parse("1.2.4.3:1"),
      *address::parse("200.0.0.0:1"),
      *address::parse("[::1]:9"),
      *address::parse("[fe80::1]:9"),
      *address::parse("[fe80::1%1]:8"),
      *address::parse("[fe80::1%2]:7"),
  };
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    for (std::size_t j = 0; j < sorted.size(); ++j) CHECK((sorted[i] <=> sorted[j]) == (i <=> j));
  }
  const std::set<address> ordered(sorted.rbegin(), sorted.rend());
  CHECK(std::vector<address>(ordered.begin(), ordered.end()) == sorted);
  const std::unordered_set<address> hashed(sorted.begin(), sorted.end());
  CHECK(hashed.size() == sorted.size());
  CHECK(hashed.contains(*address::parse("[fe80::1%2]:7")));
}

TEST_CASE("is_loopback and is_any tell the kinds of addresses apart") {
  CHECK(address::loopback_v4(1).is_loopback());
  CHECK(address::parse("127.9.9.9:1")->is_loopback());
  CHECK(address::loopback_v6(1).is_loopback());
  CHECK(!address::any_v4(1).is_loopback());
  CHECK(!address::parse("[7f00::]:1")->is_loopback());
  CHECK(address::any_v4(1).is_any());
  CHECK(address::any_v6(1).is_any());
  CHECK(!address::loopback_v6(1).is_any());
  CHECK(!address().is_any());
  CHECK(address::any_v4(1).with_port(2) == address::any_v4(2));
}

TEST_CASE("the hash of an address depends on its bytes, scope, port and family") {
  const std::hash<address> hash;
  const address a = *address::parse("[fe80::1%1]:8");
  CHECK(hash(a) != hash(*address::parse("[fe80::2%1]:8")));
  CHECK(hash(a) != hash(*address::parse("[fe80::1%2]:8")));
  CHECK(hash(a) != hash(a.with_port(9)));
  CHECK(hash(address::any_v4(8)) != hash(address::any_v6(8)));
}
