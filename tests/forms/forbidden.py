#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Fails if the tree holds a form of co_await that g++ 12 miscompiles in silence.

    forbidden.py FOLDER...    looks at *.h, *.cc, and the C++ blocks of *.md
    forbidden.py --self-test  shows that it knows each form, and no right one

The rule for users in one sentence: make each co_await a statement of its own, and
name what it needs first. README and tests/forms/forms_right_test.cc
have what is right.
"""
import pathlib
import re
import sys

CONDITION = "A1: co_await in the condition of an if, while, do or switch"
BRANCH = "A2, A6: co_await in a branch of ?:, or behind && or ||"
CAPTURE = "A3: a lambda with captures by value within the statement of a co_await"
CHOICE = "A7: co_await of a parenthesis that chooses"
BRACES = "A8: a braced list as an argument in a co_await"
STATEMENT = "A9: a statement expression that awaits or returns"
MEMBER = "A10: co_await within the braces that make an object"
THROW = "A11: co_await in a throw"
ARGUMENT = "a choice by ?: among the arguments of a co_await"

# What a plain scalar initialiser may say, since it was measured right, is left
# out for simplicity: write an if.


def blanked(text):
    """The text without comments and the insides of literals; the places stay."""
    pattern = re.compile(
        r'//[^\n]*|/\*.*?\*/|R"([^(\s]*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"'
        r"|(?<![0-9A-Fa-f])'(?:\\.|[^'\\\n])+'",
        re.S)
    return pattern.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text)


def closing(text, at):
    """The place of the bracket that closes the one at `at`."""
    depth = 0
    for i in range(at, len(text)):
        if text[i] in "([{":
            depth += 1
        elif text[i] in ")]}":
            depth -= 1
            if depth == 0:
                return i
    return len(text) - 1


def statement_end(text, at):
    """Where the full expression ends that `at` is in."""
    depth = 0
    for i in range(at, len(text)):
        if text[i] in "([{":
            depth += 1
        elif text[i] in ")]}":
            depth -= 1
            if depth < 0:
                return i
        elif text[i] == ";" and depth == 0:
            return i
    return len(text)


def statement_start(text, at):
    """Where the full expression begins that `at` is in: other statements' bodies
    and enclosing blocks are not part of it."""
    depth = 0
    for i in range(at - 1, -1, -1):
        if text[i] in ")]}":
            if text[i] == "}" and depth == 0:
                return i + 1
            depth += 1
        elif text[i] in "([{":
            if depth == 0 and text[i] == "{":
                return i + 1
            depth = max(depth - 1, 0)
        elif text[i] == ";" and depth == 0:
            return i + 1
    return 0


def without_bodies(expression):
    """The expression with the bodies of its lambdas blanked: they are code of
    their own."""
    out = expression
    for m in re.finditer(r"\)\s*(?:mutable|noexcept|->\s*[\w:<>,&*\s]+?|\s)*\{|\]\s*\{", expression):
        start = m.end() - 1
        end = closing(expression, start)
        out = out[:start + 1] + re.sub(r"[^\n]", " ", out[start + 1:end]) + out[end:]
    return out


def without_heads(statement):
    """The statement without the heads of the ifs and loops before it."""
    while m := re.match(r"\s*(?:else\b\s*)?(?:if|for|while|switch)\s*(?:constexpr\s*)?(\()",
                        statement):
        end = closing(statement, m.start(1))
        if statement[end] != ")":
            break
        statement = statement[end + 1:]
    return statement


def owning_capture(expression):
    """A lambda that captures by value what may have a destructor: by its name,
    by [=], or with an initialiser. One that captures references, or this, is safe."""
    for m in re.finditer(r"(?<![\w\])])\s*\[([^\[\]]*)\]\s*(?=[({]|mutable)", expression):
        captures = [c.strip() for c in m.group(1).split(",") if c.strip()]
        if any(not c.startswith("&") and c not in ("this", "*this") for c in captures):
            return m.start(1)
    return None


def in_initializer(text, at):
    """Whether braces that make an object enclose the place: a block has statements."""
    depth = 0
    for i in range(at - 1, -1, -1):
        if text[i] in ")]}":
            depth += 1
        elif text[i] in "([{":
            if depth > 0:
                depth -= 1
            elif text[i] == "{":
                return ";" not in without_bodies(text[i + 1:closing(text, i)])
        elif text[i] == ";" and depth == 0:
            return False
    return False


def findings(text):
    text = blanked(text)
    text = re.sub(r"\boperator\s+co_await\b", lambda m: " " * len(m.group()), text)
    for m in re.finditer(r"\b(if|while|switch)\s*(?:constexpr\s*)?\(", text):
        inside = without_bodies(text[m.end():closing(text, m.end() - 1)])
        # A declaration names the value: if (auto o = co_await f())
        if re.search(r"\bco_await\b", inside) and not re.match(
                r"\s*(?:const\s+)?(?:auto|[\w:<>]+)\s*[&*]*\s+\w+\s*=(?!=)", inside):
            yield m.start(), CONDITION
    for m in re.finditer(r"\(\s*\{", text):
        body = text[m.end():closing(text, m.end() - 1)]
        # Not an initialiser list and no block of a lambda: it has statements.
        if ";" in body and re.search(r"\bco_(?:await|return)\b", body):
            yield m.start(), STATEMENT
    for m in re.finditer(r"\bco_await\b", text):
        start, end = statement_start(text, m.start()), statement_end(text, m.end())
        before = without_heads(without_bodies(text[start:m.start()]))
        after = without_bodies(text[m.end():end])
        if re.search(r"\?|&&(?!\s*\w+\s*[,)=])|\|\|", before):
            yield m.start(), BRANCH
        if re.match(r"\s*\((?:[^()]|\([^()]*\))*\?", after):
            yield m.start(), CHOICE
        elif "?" in after:
            yield m.start(), ARGUMENT
        if re.match(r"\s*[\w:.<>\->]*[\w>]\s*\((?:.*[(,])?\s*\{", after, re.S):
            yield m.start(), BRACES
        if in_initializer(text, m.start()):
            yield m.start(), MEMBER
        if re.match(r"\s*throw\b", before):
            yield m.start(), THROW
        if owning_capture(text[start:m.start()]) is not None or owning_capture(after) is not None:
            yield m.start(), CAPTURE


def cpp_of_markdown(text):
    """The C++ blocks alone; the places stay."""
    keep = re.compile(r"^```(?:cpp|c\+\+|cc)\n(.*?)^```", re.S | re.M)
    out = re.sub(r"[^\n]", " ", text)
    for m in keep.finditer(text):
        out = out[:m.start(1)] + m.group(1) + out[m.end(1):]
    return out


WRONG = {
    CONDITION: ["if (co_await f()) g();", "while (co_await f()) g();", "switch (co_await f()) {}",
                "if (!co_await f()) g();", "do g(); while (1 < co_await f());"],
    BRANCH: ["co_return c ? co_await f() : 5;", "co_return a && co_await f();",
             "g(c ? 5 : co_await f());", "std::string s = c ? co_await f() : std::string();",
             "bool b = a || co_await f();"],
    CAPTURE: ["co_await run([s = std::move(s)] { return s; });",
              "co_await run([&, s = name]() mutable { return s; });",
              "const int n = co_await run(1, [p = std::move(p)](int) { return 1; });",
              "co_await run([path] { return path.size(); });",
              "co_await run([&, path] { return path.size(); });",
              "co_await run([=] { return path.size(); });"],
    CHOICE: ["co_await (c ? f() : g());"],
    ARGUMENT: ['co_await say(c ? "text" + name : "none");', "co_await s.f(1, g(c ? a() : b()));"],
    BRACES: ["co_await f({1, 2, 3});", "co_await a.f(x, {.host = name});", "co_await f(g({1}));"],
    MEMBER: ["{ request r{co_await f(), 3}; }", "{ request r = {co_await f(), 3}; }",
             "{ all.push_back(header{name, co_await f()}); }", "{ co_return request{co_await f()}; }",
             "{ g({1, h(co_await f())}); }"],
    THROW: ["{ throw error(co_await f()); }"],
    STATEMENT: ["auto x = ({ auto r = f(); if (!r) co_return r.error(); *r; });"],
}
RIGHT = [
    "const bool ok = co_await f(); if (ok) g();",
    "if (auto o = co_await f()) g();",
    "auto job = [s = std::move(s)] {}; co_await run(std::move(job));",
    "co_await [&] { return run([s = std::move(s)] {}); }();",
    "co_await run([&s, this] { return s; });",
    "task<> f() { co_await g(); }",
    "auto f = []() -> task<> { co_await g(); };",
    "try { co_await f(); } catch (...) { g(); }",
    "switch (n) { case 1: co_await f(); break; }",
    "int r = 5; if (c && d) r = co_await f(); else if (c ? d : e) co_await g();",
    "for (int i = 0; i < 9 && more; ++i) co_await f();",
    "for (auto& x : co_await f()) g(x ? 1 : 2);",
    "// if (co_await f())\nint x;",
    'puts("if (co_await f())");',
    "const int n = 1'000 + co_await f(1'000);",
    "void f(task<>&& t) { co_await std::move(t); }",
    "co_await f(); g([s = 1] {});",
    "const int n = co_await f(); const int m = n ? 1 : 2;",
    "template <class A> decltype(auto) f(A&& a) { if (requires { operator co_await(a); }) {} }",
    "auto f = spawn([h = g()]() -> task<int> { co_await yield(); co_return 1; });",
]


def self_test():
    wrong = [(form, code) for form, codes in WRONG.items() for code in codes
             if form not in [f for _, f in findings(code)]]
    right = [(form, code) for code in RIGHT for _, form in findings(code)]
    for form, code in wrong:
        print(f"missed: {form}: {code}")
    for form, code in right:
        print(f"wrongly found: {form}: {code}")
    return not wrong and not right


def main(arguments):
    if arguments == ["--self-test"]:
        return 0 if self_test() else 1
    found = files = 0
    for folder in arguments:
        root = pathlib.Path(folder)
        for path in sorted(root.rglob("*") if root.is_dir() else [root]):
            if path.suffix not in (".h", ".cc", ".md") or not path.is_file():
                continue
            text = path.read_text(encoding="utf-8")
            files += 1
            for at, form in findings(cpp_of_markdown(text) if path.suffix == ".md" else text):
                print(f"{path}:{text.count(chr(10), 0, at) + 1}: {form}")
                found += 1
    print(f"{files} files, {found} forms that g++ 12 compiles wrongly")
    return 1 if found or not files else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
