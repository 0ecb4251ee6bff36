#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Tests that eddy-forms finds each wrong form and no right form.

    tests/forms/eddy_forms_test.py EDDY_FORMS FORMS_WRONG_CC FLAGS...
"""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

tool, wrong, flags = sys.argv[1], sys.argv[2], sys.argv[3:]


def run(*arguments, **variables):
    done = subprocess.run([sys.executable, tool, *arguments], capture_output=True, text=True,
                          env={**os.environ, **variables}, check=False)
    assert not done.stderr, done.stderr
    return done.returncode, done.stdout


def findings(output):
    """Maps each line to the forms found in it."""
    found = {}
    for line, form in re.findall(r":(\d+):\d+: (cannot decide|\w+)", output):
        found.setdefault(int(line), set()).add(form)
    return found


status, output = run(wrong, "--", *flags)
if status == 77:
    print(output, end="")
    sys.exit(77)

# 1. eddy-forms finds each marked line and no other.
text = pathlib.Path(wrong).read_text(encoding="utf-8")
expected = {}
for number, row in enumerate(text.split("\n"), 1):
    if mark := re.search(r"// (?:found: (\w+)|(undecided))$", row):
        expected[number] = {mark.group(1) or "cannot decide"}
assert len(expected) > 50
found = findings(output)
for number in sorted(expected.keys() | found.keys()):
    assert expected.get(number) == found.get(number), (
        f"line {number}: expected {expected.get(number)}, found {found.get(number)}")
assert status == 1, status

with tempfile.TemporaryDirectory() as folder:
    def file(name, content):
        path = pathlib.Path(folder) / name
        path.write_text(content, encoding="utf-8")
        return str(path)

    head = "#include <eddy/future/task.h>\neddy::task<bool> yes();\n"
    bad = "eddy::task<int> f() { if (co_await yes()) co_return 1; co_return 0; }\n"
    good = "eddy::task<int> f() { const bool b = co_await yes(); co_return b; }\n"

    # 2. For a file without forms, it prints only the summary.
    status, output = run(file("good.cc", head + good), "--", *flags)
    assert status == 0 and output.startswith("files read: 1, ") and ": 0," in output, output

    # 3. For a file that clang cannot read, it says that it cannot decide.
    status, output = run(file("broken.cc", head + "int x = ;\n"), "--", *flags)
    assert status == 2 and "broken.cc: cannot decide: clang cannot read it" in output, output

    # 4. Findings in a page's C++ blocks have the page's line numbers.
    page = file("page.md", f"# Page\n\n```cpp\n{head}{bad}```\n\n```sh\nif (co_await)\n```\n")
    status, output = run(page, "--", *flags)
    assert status == 1 and findings(output) == {6: {"condition"}}, output

    # 5. With -p it reads the sources that await, and a header that only another source includes.
    file("form.h", "#pragma once\n" + head + "inline " + bad)
    sources = [file("await.cc", head + good), file("plain.cc", '#include "form.h"\nint x;\n'),
               file("broken_but_plain.cc", "int x = ;\n")]
    file("compile_commands.json", json.dumps([
        {"directory": folder, "file": source,
         "arguments": ["c++", "-fno-such-flag", *flags, "-c", source]} for source in sources]))
    status, output = run("-p", folder)
    assert status == 1 and "files read: 2," in output, output
    assert re.search(r"form\.h:4:\d+: condition", output), output
    status, output = run("-p", folder, sources[0])
    assert status == 0 and "files read: 1," in output, output
    status, output = run("-p", folder, wrong)
    assert status == 2 and "does not list it" in output, output

    # 6. Without clang-query it names the missing package.
    status, output = run(wrong, CLANG_QUERY="no-such-program")
    assert status == 77 and "clang-tools-19" in output, output

print(f"{len(expected)} lines found")
