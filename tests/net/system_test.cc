// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/net/detail/system.h>, and of the failing_system of the tests.
#include <eddy/net/detail/system.h>

#include <thread>

#include <doctest/doctest.h>
#include <fcntl.h>

#include "support/failing_system.h"
#include "support/socket_pair.h"

using eddy::detail::os;
using eddy::detail::scoped_system;

TEST_CASE("calls go to the kernel unless a scoped_system replaces it") {
  eddy::detail::system& kernel = os();
  {
    eddy::detail::system outer;
    const scoped_system first(outer);
    CHECK(&os() == &outer);
    {
      eddy::detail::system inner;
      const scoped_system second(inner);
      CHECK(&os() == &inner);
    }
    CHECK(&os() == &outer);
  }
  CHECK(&os() == &kernel);
}

TEST_CASE("a scoped_system replaces the kernel on its own thread only") {
  eddy::detail::system& kernel = os();
  eddy::detail::system mine;
  const scoped_system in_place(mine);
  const eddy::detail::system* seen = nullptr;
  std::thread([&seen] { seen = &os(); }).join();
  CHECK(seen == &kernel);
}

TEST_CASE("a failing_system counts calls and fails the k-th of a kind") {
  const socket_pair pair;
  pair.send("abc");
  failing_system system;
  system.fail(call::read, ECONNRESET, 2);
  char byte = 0;

  CHECK(os().read(pair.near(), &byte, 1) == 1);
  CHECK(os().read(pair.near(), &byte, 1) == -1);
  CHECK(errno == ECONNRESET);
  CHECK(os().read(pair.near(), &byte, 1) == 1);
  CHECK(byte == 'b');
  CHECK(system.count(call::read) == 3);
  CHECK(system.total() == 3);
}

TEST_CASE("a failing_system can limit the bytes of a call") {
  const socket_pair pair;
  failing_system system;
  system.limit_bytes(2);
  char bytes[4];
  CHECK(os().send(pair.near(), "abc", 3, 0) == 2);
  pair.send("abc");
  CHECK(os().read(pair.near(), bytes, sizeof bytes) == 2);
}

TEST_CASE("set_non_blocking sets close-on-exec and keeps the other flags") {
  const socket_pair pair;
  REQUIRE(::fcntl(pair.near(), F_SETFL, O_APPEND) == 0);
  REQUIRE(::fcntl(pair.near(), F_SETFD, 0) == 0);
  CHECK(os().set_non_blocking(pair.near()) == 0);
  const int flags = ::fcntl(pair.near(), F_GETFL);
  CHECK((flags & O_NONBLOCK) != 0);
  CHECK((flags & O_APPEND) != 0);
  CHECK(::fcntl(pair.near(), F_GETFD) == FD_CLOEXEC);
  CHECK(os().set_non_blocking(-1) == -1);
  CHECK(errno == EBADF);
}
