#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Drives both forms of the program that runs commands in parallel.

    SAMPLES=build/samples tests/samples/run_many.py
"""

import os
import signal
import subprocess
import tempfile

samples = os.environ["SAMPLES"]


def program(style):
    return os.path.join(samples, "run_many_" + style)


def run(style, *arguments):
    done = subprocess.run([program(style), *arguments], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout


def outputs_are_apart_and_in_order(style):
    commands = ["for i in 1 2 3; do echo %d; done" % n for n in range(40)]
    code, printed = run(style, "-j", "7", *commands)
    assert code == 0, code
    assert printed == "".join(f"== {c}\n" + f"{n}\n" * 3 for n, c in enumerate(commands)), printed


def no_more_than_the_limit_run(style):
    with tempfile.TemporaryDirectory() as directory:
        # Each command counts the commands that run while it runs.
        count = f"cd {directory}; : >run.$$; ls | wc -l; sleep 0.02; rm run.$$"
        code, printed = run(style, "-j", "3", *[count] * 12)
        assert code == 0, code
        counts = [int(line) for line in printed.splitlines() if not line.startswith("==")]
        assert len(counts) == 12 and max(counts) <= 3, counts


def failures_are_told(style):
    code, printed = run(style, "exit 3", "kill -TERM $$", "echo wrong >&2")
    assert code == 1, code
    assert printed == ("== exit 3\n-- exit code 3\n== kill -TERM $$\n-- ended by signal 15\n"
                       "== echo wrong >&2\n-- standard error\nwrong\n"), printed
    assert run(style, "-j", "none")[0] == 2


def interrupt_ends_the_commands(style):
    with tempfile.TemporaryDirectory() as directory:
        fifo = os.path.join(directory, "fifo")
        os.mkfifo(fifo)
        started = subprocess.Popen([program(style), f"echo $$ >{fifo}; sleep 600"])
        with open(fifo) as told:
            child = int(told.read())
        started.send_signal(signal.SIGINT)
        assert started.wait(timeout=60) == 130
        assert not os.path.exists(f"/proc/{child}"), "a command runs on"


for form in "callback", "await":
    outputs_are_apart_and_in_order(form)
    no_more_than_the_limit_run(form)
    failures_are_told(form)
    interrupt_ends_the_commands(form)
