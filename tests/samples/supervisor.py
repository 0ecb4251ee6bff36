#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Drives the supervisor: it starts programs, starts them again, reloads, and ends them.

    SAMPLES=build/samples tests/samples/supervisor.py
"""

import os
import re
import signal
import subprocess
import tempfile

directory = tempfile.TemporaryDirectory()
configuration = os.path.join(directory.name, "programs")


def configure(*lines):
    with open(configuration, "w") as out:
        out.write("\n".join(lines) + "\n")


configure("# a comment", "good echo hello; exec sleep 600", "bad echo oh; exit 3",
          "stubborn trap '' TERM; echo ignoring; while :; do sleep 0.1; done")
process = subprocess.Popen([os.path.join(os.environ["SAMPLES"], "supervisor"), configuration],
                           stdout=subprocess.PIPE, text=True)
try:
    seen = []

    def until(pattern):
        """Reads lines until one matches, and returns the match."""
        while line := process.stdout.readline():
            seen.append(line.rstrip("\n"))
            if match := re.fullmatch(pattern, seen[-1]):
                return match
        raise AssertionError(f"no line {pattern} in {seen}")

    def alive(pid):
        return os.path.exists(f"/proc/{pid}")

    # It starts all, prints their lines, and starts those again that end, later each time.
    until("bad: ended with exit code 3; starts again in 100 ms")
    until("bad: ended with exit code 3; starts again in 200 ms")
    until("bad: ended with exit code 3; starts again in 400 ms")
    for expected in "ready 3", "good: hello", "bad: oh", "stubborn: ignoring":
        assert expected in seen, (expected, seen)
    numbers = dict(re.findall(r"(good|stubborn): started as process (\d+)", "\n".join(seen)))

    # A program that is killed is started again.
    os.kill(int(numbers["good"]), signal.SIGKILL)
    until("good: ended by signal 9; starts again in 100 ms")
    good = until(r"good: started as process (\d+)").group(1)
    until("good: hello")

    # SIGHUP: what is unchanged runs on.
    configure("good echo hello; exec sleep 600", "new echo fresh; exec sleep 600",
              "stubborn trap '' TERM; echo ignoring; while :; do sleep 0.1; done")
    process.send_signal(signal.SIGHUP)
    until("bad: stopped")
    until("ready 3")
    until("new: fresh")
    assert alive(good) and alive(numbers["stubborn"])

    # A configuration that is gone changes nothing.
    os.unlink(configuration)
    process.send_signal(signal.SIGHUP)

    # SIGTERM: all end, also the one that ignores it, after its grace.
    process.send_signal(signal.SIGTERM)
    until("stopping")
    until("ended")
    assert process.wait(timeout=60) == 0
    assert not alive(good) and not alive(numbers["stubborn"])
finally:
    process.kill()
