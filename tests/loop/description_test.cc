// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/loop/description.h>.
#include <eddy/loop/description.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <string>
#include <utility>

#include <doctest/doctest.h>

#include <eddy/loop/inspectable.h>

#include "support/tidy.h"

namespace {

using eddy::description;

class described final : public eddy::inspectable {
public:
  described(eddy::event_loop& loop, std::function<void(description&)> function)
      : inspectable(loop), function_(std::move(function)) {}
  described(eddy::event_loop& loop, std::string words)
      : described(loop, [w = std::move(words)](description& to) { to.add(w); }) {}
  void describe(description& to) const override { function_(to); }

private:
  std::function<void(description&)> function_;
};

/// The value of "tasks".
std::string json_of(const eddy::event_loop& loop) {
  const std::string all = loop.dump_json();
  const auto begin = all.find("\"tasks\":") + 8;
  return all.substr(begin, all.size() - begin - 1);
}

std::string text_of(const eddy::event_loop& loop) {
  const std::string all = loop.dump();
  return all.substr(all.find('\n') + 1);
}

}  // namespace

TEST_CASE_FIXTURE(with_still_loop, "nodes are below the node before the scope that adds them") {
  const described tree(loop, [](description& to) {
    CHECK(to.depth() == 1);
    to.set_location("get<int>", "client.cc", 42);
    to.add("all of");
    const description::below all(to);
    CHECK(to.depth() == 2);
    {
      to.set_location("ns::ask", "client.cc", 17);
      to.add("read 127.0.0.1:80");
      const description::below read(to);
      to.set_prefix("... ");
      to.add("a bell");
    }
    to.add("the tide: at last");
  });
  const described other(loop, "other");
  CHECK(text_of(loop) ==
        "  get<int> at client.cc:42: all of\n"
        "    ns::ask at client.cc:17: read 127.0.0.1:80\n"
        "      ... a bell\n"
        "    the tide: at last\n"
        "  other\n");
  CHECK(json_of(loop) ==
        R"([{"function":"get<int>","file":"client.cc","line":42,"waits_for":"all of","below":[)"
        R"({"function":"ns::ask","file":"client.cc","line":17,"waits_for":"read 127.0.0.1:80",)"
        R"("below":[{"waits_for":"... a bell"}]},)"
        R"({"waits_for":"the tide: at last"}]},{"waits_for":"other"}])");
}

TEST_CASE_FIXTURE(with_still_loop, "a node is one level below the node before at most") {
  const described tree(loop, [](description& to) {
    const description::below first(to);
    to.add("root");
    const description::below second(to);
    const description::below third(to);
    to.add("leaf");
  });
  CHECK(text_of(loop) == "  root\n    leaf\n");
  CHECK(json_of(loop) == R"([{"waits_for":"root","below":[{"waits_for":"leaf"}]}])");
}

TEST_CASE_FIXTURE(with_still_loop, "line feeds and spaces in words make no node") {
  const described one(loop, "a reply\n  forged node\n");
  const described other(loop, "    indented\r");
  CHECK(text_of(loop) == "  a reply\\x0a  forged node\\x0a\n  indented\\x0d\n");
  CHECK(json_of(loop) == R"([{"waits_for":"a reply\u000a  forged node\u000a"},)"
                         R"({"waits_for":"    indented\u000d"}])");
}

TEST_CASE_FIXTURE(with_still_loop, "control characters in words reach no terminal") {
  const described one(loop,
                      "\x1b[2J\x7f\xc2\x9b"
                      "2J\xc2\xa0");
  CHECK(text_of(loop) == "  \\x1b[2J\\x7f\\xc2\\x9b2J\xc2\xa0\n");
}

TEST_CASE_FIXTURE(with_still_loop, "quotes in words end no string") {
  const described one(loop, R"(a"},{"waits_for":"b\)");
  CHECK(text_of(loop) == "  a\"},{\"waits_for\":\"b\\\n");
  CHECK(json_of(loop) == R"([{"waits_for":"a\"},{\"waits_for\":\"b\\"}])");
}

TEST_CASE_FIXTURE(with_still_loop, "words and names that look like a location are none") {
  const described one(loop, "f at x.cc:7: a task");
  const described other(loop, [](description& to) {
    to.set_location("f at x:1: g", "y: z at.cc", 7);
    to.add("a task");
    to.add("has no location");
  });
  CHECK(text_of(loop) ==
        "  f at x.cc:7: a task\n  f at x:1: g at y: z at.cc:7: a task\n  has no location\n");
  CHECK(json_of(loop) ==
        R"([{"waits_for":"f at x.cc:7: a task"},)"
        R"({"function":"f at x:1: g","file":"y: z at.cc","line":7,"waits_for":"a task"},)"
        R"({"waits_for":"has no location"}])");
}

TEST_CASE_FIXTURE(with_still_loop, "JSON is UTF-8, whatever the words are") {
  const auto words = [this](const std::string& w) {
    const described one(loop, w);
    return json_of(loop);
  };
  CHECK(words("caf\u00e9 \u20ac \U0001f600") ==
        "[{\"waits_for\":\"caf\u00e9 \u20ac \U0001f600\"}]");
  CHECK(words("caf\xe9") == R"([{"waits_for":"caf\u00e9"}])");
  for (const char* const wrong : {"\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80",
                                  "\xf8\x88\x80\x80\x80", "\xe2\x82", "\x80"}) {
    const std::string told = words(wrong);
    CHECK(std::ranges::none_of(told, [](char c) { return static_cast<unsigned char>(c) > 0x7f; }));
  }
}

TEST_CASE_FIXTURE(with_still_loop, "a JSON parser reads any bytes as the words of their node") {
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
  for (int byte = 0; byte < 256; ++byte) (all += "\xe2\x82") += static_cast<char>(byte);
  const described one(loop, all);
  const described other(loop, [&all](description& to) {
    to.set_location(all, all, 7);
    to.add(all);
  });
  std::FILE* const parser = ::popen(
      "python3 -c 'import json, sys\n"
      "all, located = json.load(sys.stdin.buffer)[\"tasks\"]\n"
      "words = all[\"waits_for\"]\n"
      "assert words[:128] == \"\".join(map(chr, range(128))) and \"\\u20ac\" in words\n"
      "assert all == {\"waits_for\": words}\n"
      "assert located == {\"function\": words, \"file\": words, \"line\": 7, \"waits_for\": "
      "words}'",
      "w");
  REQUIRE(parser != nullptr);
  const std::string json = loop.dump_json();
  CHECK(std::fwrite(json.data(), 1, json.size(), parser) == json.size());
  CHECK(::pclose(parser) == 0);
}

TEST_CASE_FIXTURE(with_still_loop, "a mark is first once in each description") {
  std::uint64_t mark = 0;
  std::string seen;
  const auto look = [&](description& to) { seen += to.is_first(mark) ? '1' : '0'; };
  const described one(loop, look);
  const described other(loop, look);
  static_cast<void>(loop.dump());
  static_cast<void>(loop.dump_json());
  CHECK(seen == "1010");
}
