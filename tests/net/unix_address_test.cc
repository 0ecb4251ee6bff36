// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/net/unix_address.h>.
#include <eddy/net/unix_address.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <functional>
#include <ostream>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <vector>

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "support/thrown.h"

using eddy::unix_address;

static_assert(std::is_trivially_copyable_v<unix_address>);
static_assert(sizeof(unix_address) <= 110);

namespace {

unix_address round_trip(const unix_address& a) {
  sockaddr_storage name;
  const unsigned size = a.to(name);
  return unix_address::from(reinterpret_cast<const sockaddr*>(&name), size);
}

}  // namespace

TEST_CASE("an address is a path, an abstract name, or unnamed") {
  const unix_address path("/run/x.sock");
  CHECK(path.is_path());
  CHECK(!path.is_abstract());
  CHECK(path.name() == "/run/x.sock");
  CHECK(path.to_string() == "/run/x.sock");
  const unix_address abstract = unix_address::abstract("x");
  CHECK(abstract.is_abstract());
  CHECK(!abstract.is_path());
  CHECK(abstract.name() == "x");
  CHECK(abstract.to_string() == "@x");
  const unix_address unnamed;
  CHECK(unnamed.is_unnamed());
  CHECK(!unnamed.is_path());
  CHECK(!unnamed.is_abstract());
  CHECK(unnamed.name().empty());
  CHECK(unnamed.to_string() == "unnamed");
}

TEST_CASE("a path of 107 bytes is an address, and the refusal of 108 bytes names the path") {
  const std::string longest(107, 'p');
  CHECK(unix_address(longest).name() == longest);
  const std::string too_long = "/" + std::string(107, 'p');
  CHECK(words_from([&] { return unix_address(too_long); }) ==
        "a Unix address of 108 bytes, at most 107 are possible: " + too_long +
            ": File name too long");
  CHECK(unix_address::abstract(longest).name() == longest);
  CHECK(words_from([&] { return unix_address::abstract(too_long); }).find("@/ppp") !=
        std::string::npos);
  CHECK(unix_address::parse(too_long).error() == std::errc::filename_too_long);
  CHECK(unix_address::parse("@" + too_long).error() == std::errc::filename_too_long);
}

TEST_CASE("an empty path, an empty name and a path with a zero byte are no addresses") {
  using namespace std::string_view_literals;
  for (const auto text : {""sv, "@"sv, "/a\0b"sv}) {
    CHECK(unix_address::parse(text).error() == std::errc::invalid_argument);
  }
  CHECK_THROWS_AS(unix_address(""), std::system_error);
  CHECK_THROWS_AS(unix_address("/a\0b"sv), std::system_error);
  CHECK_THROWS_AS(static_cast<void>(unix_address::abstract("")), std::system_error);
  CHECK(unix_address::abstract("a\0b"sv).name() == "a\0b"sv);
}

TEST_CASE("parse reads what to_string prints") {
  for (const unix_address& a :
       {unix_address("/run/x"), unix_address("x"), unix_address::abstract("x"),
        unix_address::abstract("@x"), unix_address("./@x")}) {
    const auto again = unix_address::parse(a.to_string());
    REQUIRE(again.has_value());
    CHECK(*again == a);
  }
  CHECK(unix_address("@x").to_string() == "./@x");
  CHECK(unix_address("unnamed").to_string() == "./unnamed");
}

TEST_CASE("control characters of an address are printed as their numbers") {
  CHECK(unix_address("/a\n\x1b[2J").to_string() == "/a\\x0a\\x1b[2J");
  CHECK(words_from([] { return unix_address(std::string(200, '\n')); }).find('\n') ==
        std::string::npos);
}

TEST_CASE("an address that goes through a sockaddr stays the same") {
  for (const unix_address& a :
       {unix_address(), unix_address("/run/x"), unix_address(std::string(107, 'p')),
        unix_address::abstract("x"), unix_address::abstract(std::string(107, '\0'))}) {
    CHECK(round_trip(a) == a);
  }
}

TEST_CASE("a path that fills sun_path without a zero is read as the kernel reports it") {
  std::array<char, offsetof(sockaddr_un, sun_path) + 109> storage{};
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  std::memcpy(storage.data(), &name, offsetof(sockaddr_un, sun_path));
  std::fill_n(storage.begin() + offsetof(sockaddr_un, sun_path), 108, 'p');
  const auto a =
      unix_address::from(reinterpret_cast<const sockaddr*>(storage.data()), storage.size());
  CHECK(a.name() == std::string(108, 'p'));
  CHECK(round_trip(a) == a);
}

TEST_CASE("a sockaddr of another family or of no bytes is unnamed") {
  sockaddr_storage name{};
  name.ss_family = AF_INET;
  const auto* const generic = reinterpret_cast<const sockaddr*>(&name);
  CHECK(unix_address::from(generic, sizeof name).is_unnamed());
  name.ss_family = AF_UNIX;
  CHECK(unix_address::from(generic, 0).is_unnamed());
  CHECK(unix_address::from(generic, sizeof name.ss_family).is_unnamed());
}

TEST_CASE("addresses are ordered and hashed by kind and bytes") {
  std::vector<unix_address> all{unix_address("b"), unix_address("a"), unix_address::abstract("b"),
                                unix_address()};
  std::ranges::sort(all);
  CHECK(all == std::vector<unix_address>{unix_address(), unix_address::abstract("b"),
                                         unix_address("a"), unix_address("b")});
  const std::hash<unix_address> hash;
  CHECK(hash(unix_address("a")) == hash(unix_address("a")));
  CHECK(hash(unix_address("a")) != hash(unix_address::abstract("a")));
  CHECK(unix_address("a") != unix_address::abstract("a"));
}
