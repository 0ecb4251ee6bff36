#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Compiles the C++ that a README.md shows, each block as a file of its own.

    tests/samples/readme.py README.md COMPILER [ARGUMENTS...]
"""

import re
import subprocess
import sys

text = open(sys.argv[1], encoding="utf-8").read()
blocks = re.findall(r"^```cpp\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
assert blocks, f"{sys.argv[1]} shows no programs"
for block in blocks:
    subprocess.run([*sys.argv[2:], "--std=c++23", "-fsyntax-only", "-Wall", "-Wextra", "-Werror",
                    "-x", "c++", "-"], input=block, text=True, check=True)
print(f"{len(blocks)} blocks compile")
