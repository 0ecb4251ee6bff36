#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Checks the compile errors of common mistakes.

    run.py [--table] COMPILER [ARGUMENTS...]

Each file here holds one mistake under `#ifdef MISTAKE`, or names it after `// mistake:` as
compiler arguments. With its mistake, a file must not compile, and the first error must contain the
words after `// says:`. g++ 12 may print 20 lines for it; g++ 14 shows more of a concept and may
print 25. Without their mistakes, all files must compile. Each public header must refuse C++20.
`--table` prints how many lines each mistake costs.
"""

import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys

table = sys.argv[1] == "--table"
compiler = [*sys.argv[2 if table else 1:], "--std=c++23", "-fsyntax-only", "-Wall", "-Wextra",
            "-Werror", "-fno-diagnostics-color"]
version = subprocess.run([*compiler, "--version"], capture_output=True, text=True, check=True)
clang = "clang" in version.stdout
most_lines = 20 if re.search(r"^\S+ \(.*\) 12\.", version.stdout) else 25
files = sorted(pathlib.Path(__file__).parent.glob("*.cc"))
headers = sorted({str(path.relative_to(root[2:])) for root in compiler if root.startswith("-I")
                  for path in pathlib.Path(root[2:]).glob("eddy/**/*.h")
                  if "detail" not in path.parts})


def compile_with(arguments, source=None):
    return subprocess.run([*compiler, *arguments], input=source, capture_output=True, text=True,
                          check=False, env={**os.environ, "LC_ALL": "C"})


def marked(text, key):
    found = re.search(rf"^// {key}: (.*)$", text, re.M)
    return found.group(1) if found else None


def check(path):
    """The number of lines that the compiler prints, and the failure or None."""
    text = path.read_text(encoding="utf-8")
    says = marked(text, "clang says" if clang else "g\\+\\+ says") or marked(text, "says")
    mistake = marked(text, "mistake")
    run = compile_with([*(mistake.split() if mistake else ["-DMISTAKE"]), str(path)])
    lines = run.stderr.splitlines()
    first = next((line for line in lines if "error: " in line), "")
    if run.returncode == 0:
        return len(lines), "compiles"
    if not says or says not in first:
        return len(lines), f"the first error does not say: {says}\n{run.stderr}"
    if not clang and len(lines) > most_lines:
        return len(lines), f"prints {len(lines)} lines\n{run.stderr}"
    return len(lines), None


def refuses_cxx20(header):
    run = compile_with(["--std=c++20", "-x", "c++", "-"], f"#include <{header}>\n")
    first = next((line for line in run.stderr.splitlines() if "error: " in line), "")
    return "eddy needs C++23" in first


with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    right = pool.submit(compile_with, ["-Wno-unknown-warning-option", "-Wno-subobject-linkage",
                                       "-x", "c++", "-"],
                        "".join(f'#include "{path}"\n' for path in files))
    checks = list(pool.map(check, files))
    accepting = [h for h, refuses in zip(headers, pool.map(refuses_cxx20, headers)) if not refuses]

for path, (lines, wrong) in zip(files, checks):
    if table:
        print(f"{path.stem:28}{lines:5}  {'' if wrong is None else wrong.splitlines()[0]}")
    elif wrong:
        print(f"{path.name}: {wrong}")
if right.result().returncode != 0:
    print(f"without their mistakes the files do not compile:\n{right.result().stderr}")
for header in accepting:
    print(f"{header} does not refuse C++20")
failed = (sum(wrong is not None for _, wrong in checks) + len(accepting) +
          (right.result().returncode != 0))
print(f"{len(files)} mistakes, {len(headers)} headers, {failed} failed")
sys.exit(1 if failed or not files or not headers else 0)
