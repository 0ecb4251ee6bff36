// SPDX-License-Identifier: BSD-2-Clause
// The forms of co_await that g++ 12 compiles wrongly, beside similar forms that it compiles right.
// No build compiles this file. eddy_forms_test.py runs eddy-forms on it and expects a finding in
// each line that ends in `// found: FORM` or `// undecided`, and in no other line. All forms were
// measured with g++ 12.2 at -O0 and -O2, each in a program of its own.
#include <array>
#include <cstdio>
#include <initializer_list>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <eddy/future/run_blocking.h>
#include <eddy/future/task.h>
#include <eddy/future/yield.h>

namespace {

struct request {
  std::string path;
  int tries = 1;
};

struct point {
  int x, y;
};

struct options {
  std::string name;
  options() = default;
};

struct reason {
  std::size_t size;
  explicit reason(const std::string& text) : size(text.size()) {}
};

struct aggregate_awaiter {
  std::string text;
  bool await_ready() { return true; }
  void await_suspend(std::coroutine_handle<>) {}
  std::size_t await_resume() { return text.size(); }
};

struct awaiter : aggregate_awaiter {
  explicit awaiter(std::string t) : aggregate_awaiter{std::move(t)} {}
};

struct numbers {
  std::size_t size;
  numbers(std::initializer_list<int> l) : size(l.size()) {}
};

eddy::task<bool> yes();
eddy::task<int> number(int);
eddy::task<std::string> line();
eddy::task<int> length(std::string);
eddy::task<int> length_of(const std::string&);
eddy::task<int> send(request);
eddy::task<int> send_all(std::vector<request>);
eddy::task<int> move_to(point);
eddy::task<int> configure(options);
eddy::task<int> defaulted(request = {"path", 1});
eddy::task<int> sum(numbers);
std::string text(int);
int size_of(const std::string&);
void take(int);

// ---- condition: only where the coroutine declares nothing

eddy::task<int> if_await() {
  if (co_await yes()) co_return 1;  // found: condition
  co_return 0;
}
eddy::task<int> if_not_await() {
  if (!co_await yes()) co_return 1;  // found: condition
  co_return 0;
}
eddy::task<> while_await() {
  while (co_await number(1) > 2) std::puts("again");  // found: condition
}
eddy::task<> do_await() {
  do std::puts("again");
  while (co_await yes());  // found: condition
}
eddy::task<> for_await() {
  for (; co_await yes();) std::puts("again");  // found: condition
}
eddy::task<int> switch_await() {
  switch (co_await number(1)) {  // found: condition
    case 1: co_return 7;
  }
  co_return 0;
}
eddy::task<int> await_in_the_body(bool c) {
  if (c) co_await yes();
  while (c) co_await yes();
  co_return 0;
}
eddy::task<int> await_into_a_name() {
  if (const bool ok = co_await yes()) co_return ok;
  co_return 0;
}
eddy::task<int> await_in_a_condition_beside_a_variable() {
  if (co_await yes()) co_return 1;
  const int n = 2;
  co_return n;
}

// ---- branch

eddy::task<int> return_chosen(bool c) {
  co_return c ? co_await number(1) : 5;  // found: branch
}
eddy::task<bool> return_both(bool c) {
  co_return c&& co_await yes();  // found: branch
}
eddy::task<bool> return_either(bool c) {
  co_return c || co_await yes();  // found: branch
}
eddy::task<bool> return_await_first(bool c) { co_return co_await yes() && c; }
eddy::task<> branches(bool c) {
  int n = 0;
  take(c ? co_await number(1) : 5);                      // found: branch
  n = co_await number(c ? co_await number(1) : 5);       // found: branch
  n += c ? co_await number(1) : 5;                       // found: branch
  const std::string s(c ? co_await number(1) : 5, 'a');  // found: branch
  while (c && co_await yes()) c = false;                 // found: branch
  for (; c && co_await yes();) c = false;                // found: branch
  n = 1 + (c ? co_await number(1) : 5);                  // found: branch
  const bool five = (c ? co_await number(1) : 5) == 5;   // found: branch
  if ((c ? co_await number(1) : 5) == 5) ++n;            // found: branch
  long wide = c ? co_await number(1) : 5;
  wide = c ? co_await number(1) : 5;  // found: branch
  n = c ? co_await number(1) : 5;
  int chosen = c ? co_await number(1) : 5;
  const bool both = c && co_await yes();
  const point p{c ? co_await number(1) : 5, 1};
  if (!(c && co_await yes())) ++n;
  if (c && co_await yes()) ++n;
  while (co_await yes() && c) c = false;
  take(chosen + both + five + p.x + n + static_cast<int>(wide));
}

// ---- temporary: an internal compiler error

eddy::task<> temporaries(bool c) {
  if (text(1).empty() && co_await yes()) take(1);          // found: temporary
  const int n = text(1).empty() ? co_await number(1) : 5;  // found: temporary
  const bool after = co_await yes() && text(1).empty();
  const bool awaited = co_await length(text(1)) && co_await yes();
  take(n + after + awaited + c);
}

// ---- choice

eddy::task<> choices(bool c) {
  std::string name = text(1), other = text(2);
  co_await (c ? line() : line());                             // found: choice
  co_await length(c ? "text" + name : "none");                // found: choice
  co_await length_of(c ? std::string("text") : "none");       // found: choice
  std::string s = c ? co_await line() : std::string("none");  // found: choice
  s = c ? co_await line() : co_await line();                  // found: choice
  std::string built = co_await yes() ? text(1) : text(2);     // found: choice
  co_await length(c ? name : other);
  co_await length(std::move(c ? name : other));
  co_await number(c ? 1 : 2);
  co_await number(c ? size_of(text(1)) : size_of(text(2)));
  co_await length_of(c ? "a" : "b");
  co_await move_to(c ? point{1, 2} : point{3, 4});
  const int n = co_await yes() ? 1 : 2;
  s = c ? text(1) : text(2);
  take(n + size_of(s + built));
}

// ---- capture

eddy::task<> captures(std::string path, int n) {
  co_await eddy::run_blocking([path] { return path.size(); });                    // found: capture
  co_await eddy::run_blocking([=] { return path.size(); });                       // found: capture
  co_await eddy::run_blocking([s = std::move(path)] { return s.size(); });        // found: capture
  co_await eddy::run_blocking([&n, path]() mutable { return path.size() + n; });  // found: capture
  co_await [path]() -> eddy::task<> { co_return; }();                             // found: capture
  auto made = [s = co_await line()] { return s.size(); };                         // found: capture
  co_await eddy::run_blocking([&path] { return path.size(); });
  co_await eddy::run_blocking([&] { return path.size(); });
  co_await eddy::run_blocking([n] { return n; });
  co_await eddy::run_blocking([=] { return n; });
  co_await eddy::run_blocking([size = path.size()] { return size; });
  co_await [&] { return eddy::run_blocking([s = std::move(path)] { return s.size(); }); }();
  auto job = [path] { return path.size(); };
  co_await eddy::run_blocking(std::move(job));
  auto begun = eddy::run_blocking([path] { return path.size(); });
  co_await std::move(begun);
  take(static_cast<int>(made()));
}

// ---- aggregate

eddy::task<> aggregates(std::string path) {
  co_await send({.path = path, .tries = 3});             // found: aggregate
  co_await send({path, 3});                              // found: aggregate
  co_await send(request{});                              // found: aggregate
  co_await send({});                                     // found: aggregate
  co_await send(request(path, 3));                       // found: aggregate
  co_await defaulted();                                  // found: aggregate
  co_await aggregate_awaiter{path};                      // found: aggregate
  co_await send(*std::make_unique<request>(request{}));  // found: aggregate
  co_await send(*new request{path, 1});                  // found: aggregate
  co_await move_to({1, 2});
  co_await move_to(point{.x = 1, .y = 2});
  co_await configure({});
  co_await configure(options{});
  co_await length({"text", 2});
  co_await length(std::string{"text"});
  co_await awaiter{path};
  request named{path, 3};
  co_await send(named);
  co_await send(std::move(named));
}

// ---- member

eddy::task<request> return_aggregate() {
  co_return request{co_await line(), 3};  // found: member
}
eddy::task<request> return_braces() {
  co_return {co_await line(), 3};  // found: member
}
eddy::task<> members() {
  request r{co_await line(), 3};                      // found: member
  request e = {text(1), co_await number(1)};          // found: member
  std::array<std::string, 2> a{co_await line(), ""};  // found: member
  std::vector<request> all;
  all.push_back(request{"name", co_await number(1)});  // found: member
  r = {co_await line(), 3};                            // found: member
  const point p{co_await number(1), 2};
  const std::string s{co_await line()};
  const std::pair<std::string, int> pair{co_await line(), 1};
  const int ints[]{co_await number(1), 2};
  co_await move_to({co_await number(1), 2});
  take(p.x + size_of(s + pair.first + a[0] + e.path) + ints[0]);
}

// ---- list

eddy::task<> lists(std::string path) {
  co_await sum({1, 2, 3});                       // found: list
  co_await sum(numbers{1, 2, 3});                // found: list
  const numbers made{1, 2, co_await number(3)};  // found: list
  for (const int n : {1, 2, co_await number(3)}) take(n);
  const numbers named{1, 2, 3};
  co_await sum(named);
  co_await sum([] { return numbers{1, 2, 3}; }());
  take(static_cast<int>(made.size + path.size()));
}

// ---- statement

eddy::task<int> statements() {
  const int n = __extension__({  // found: statement
    int awaited = co_await number(1);
    if (awaited == 0) co_return 1;
    awaited;
  });
  const int m = co_await number(__extension__({
    const int one = 1;
    one;
  }));
  co_return n + m;
}

// ---- throw

eddy::task<> throw_error() {
  throw std::runtime_error(co_await line());  // found: throw
}
eddy::task<> throw_awaited() {
  throw co_await line();  // found: throw
}
eddy::task<> throw_int() { throw co_await number(1); }
eddy::task<> throw_trivial() { throw reason(co_await line()); }
eddy::task<> throw_named() {
  const std::string why = co_await line();
  throw std::runtime_error(why);
}

// ---- templates, which eddy-forms reads as they are instantiated

template <class T>
eddy::task<> with_strings(T value) {
  co_await eddy::run_blocking([value] { return value; });  // found: capture
}
template <class T>
eddy::task<> with_ints(T value) {
  co_await eddy::run_blocking([value] { return value; });
}
template <class T>
eddy::task<> with_nothing(T value) {
  co_await eddy::run_blocking([value] { return value; });  // undecided
  co_await eddy::run_blocking([=] { return value; });      // undecided
  co_await send({.path = value, .tries = 1});              // undecided
  co_await eddy::run_blocking([&value] { return value; });
  co_await eddy::run_blocking([&] { return value; });  // undecided
}
template <class T>
eddy::task<bool> structure_shows(T value) {
  co_return value&& co_await yes();  // found: branch
}

auto instantiated = std::pair(with_strings(text(1)), with_ints(1));

// ---- co_await in comments and strings

// if (co_await f())
[[maybe_unused]] const char* const quoted = "if (co_await f())";

}  // namespace
