#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Drives both forms of the supervisor: it starts programs, starts them again, reloads, obeys the
clients of its control socket, sends hostile ones away, and ends. Both forms print the same lines.

    SAMPLES=build/samples tests/samples/supervisor.py
"""

import os
import re
import signal
import socket
import stat
import subprocess
import tempfile

SAMPLES = os.environ["SAMPLES"]
MOST_CLIENTS = 16


class Supervisor:
    """A supervisor that runs, with its configuration and its control socket."""

    def __init__(self, style, directory, *lines, limit="30"):
        self.program = os.path.join(SAMPLES, "supervisor_" + style)
        self.configuration = os.path.join(directory, "programs")
        self.path = os.path.join(directory, "control")
        self.configure(*lines)
        self.seen = []
        os.umask(0)  # the permissions of the socket do not depend on it
        self.process = subprocess.Popen([self.program, self.configuration, self.path, limit],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()

    def configure(self, *lines):
        with open(self.configuration, "w") as out:
            out.write("\n".join(lines) + "\n")

    def until(self, pattern):
        """Reads lines until one matches, and returns the match."""
        while line := self.process.stdout.readline():
            self.seen.append(line.rstrip("\n"))
            if match := re.fullmatch(pattern, self.seen[-1]):
                return match
        raise AssertionError(f"no line {pattern} in {self.seen}")

    def connect(self):
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(60)
        client.connect(self.path)
        return client

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        self.until("stopping")
        self.until("ended")
        assert self.process.wait(timeout=60) == 0
        assert not os.path.exists(self.path)


def alive(pid):
    return os.path.exists(f"/proc/{pid}")


def ask(client, line):
    """Sends a line and returns the answer."""
    client.sendall(line.encode() + b"\n")
    return read_answer(client)


def read_answer(client):
    answer = b""
    while not re.search(rb"(^|\n)(ok|error: [^\n]*)\n$", answer):
        some = client.recv(4096)
        assert some, answer
        answer += some
    return answer.decode()


def is_closed(client):
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


def masked(text):
    return re.sub(r"process \d+", "process N", text)


def runs_programs(style, directory):
    """Restarts, reloads and the end, without a client."""
    with Supervisor(style, directory, "# a comment", "good echo hello; exec sleep 600",
                    "bad echo oh; exit 3",
                    "stubborn trap '' TERM; echo ignoring; while :; do sleep 0.1; done") as all:
        # It starts all, prints their lines, and starts those again that end, later each time.
        all.until("bad: ended with exit code 3; starts again in 100 ms")
        all.until("bad: ended with exit code 3; starts again in 200 ms")
        all.until("bad: ended with exit code 3; starts again in 400 ms")
        for expected in "ready 3", "good: hello", "bad: oh", "stubborn: ignoring":
            assert expected in all.seen, (expected, all.seen)
        numbers = dict(re.findall(r"(good|stubborn): started as process (\d+)",
                                  "\n".join(all.seen)))

        # A program that is killed is started again.
        os.kill(int(numbers["good"]), signal.SIGKILL)
        all.until("good: ended by signal 9; starts again in 100 ms")
        good = all.until(r"good: started as process (\d+)").group(1)
        all.until("good: hello")

        # SIGHUP: what is unchanged runs on.
        all.configure("good echo hello; exec sleep 600", "new echo fresh; exec sleep 600",
                      "stubborn trap '' TERM; echo ignoring; while :; do sleep 0.1; done")
        all.process.send_signal(signal.SIGHUP)
        all.until("bad: stopped")
        all.until("ready 3")
        all.until("new: fresh")
        assert alive(good) and alive(numbers["stubborn"])

        # A configuration that is gone changes nothing.
        os.unlink(all.configuration)
        all.process.send_signal(signal.SIGHUP)
        assert "cannot read" in all.process.stderr.readline()

        # SIGTERM: all end, also the one that ignores it, after its grace.
        all.end()
        assert not alive(good) and not alive(numbers["stubborn"])
        return {masked(line) for line in all.seen if not re.search("in [0-9]{3,} ms", line)}


def obeys_clients(style, directory):
    """Every command of the control socket, by two clients. Returns what was printed and answered."""
    # A socket file that an earlier supervisor left behind is replaced.
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(os.path.join(directory, "control"))
    with Supervisor(style, directory, "one echo a; exec sleep 600", "two exec sleep 600") as all:
        all.until("ready 2")
        one = all.until(r"one: started as process (\d+)").group(1)
        all.until("one: a")
        mode = os.stat(all.path).st_mode
        assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600, oct(mode)
        answers = []
        with all.connect() as first, all.connect() as second:

            def say(client, line):
                answers.append((line, masked(ask(client, line))))
                return answers[-1][1]

            assert say(first, "status") == ("one: runs as process N, started 1 times\n"
                                            "two: runs as process N, started 1 times\nok\n")
            say(second, "status")

            # A restart waits for the end of the program, and starts it at once.
            assert say(second, "restart one") == "ok\n"
            all.until("one: ended by signal 15; starts again in 0 ms")
            again = all.until(r"one: started as process (\d+)").group(1)
            all.until("one: a")
            assert not alive(one) and alive(again)
            assert "one: runs as process N, started 2 times" in say(first, "status")

            # A stopped program stays stopped, also when the configuration is read again.
            assert say(first, "stop one") == "ok\n"
            all.until("one: ended by signal 15; stays stopped")
            assert not alive(again)
            assert say(first, "stop one") == "ok\n"
            all.configure("one echo a; exec sleep 600", "three exit 7")
            assert say(second, "reload") == "ok\n"
            all.until("two: stopped")
            all.until("ready 2")
            all.until("three: ended with exit code 7; starts again in 1600 ms")
            assert say(first, "status") == ("one: is stopped, started 2 times\n"
                                            "three: waits for its next start, started 5 times\n"
                                            "ok\n")

            # The next start of a program can be called off, and both can be started.
            assert say(first, "stop three") == "ok\n"
            all.until("three: did not run; stays stopped")
            assert say(first, "restart three") == "ok\n"
            all.until("three: ended with exit code 7; starts again in 100 ms")
            assert say(first, "restart one") == "ok\n"
            all.until("one: started as process .*")
            all.until("one: a")

            # Mistakes.
            for line in "restart nobody", "stop nobody", "restart", "stop", "status now", "", "\0":
                assert say(first, line).startswith("error: "), line
            os.unlink(all.configuration)
            assert say(second, "reload") == "error: the configuration cannot be read\n"

            # Several lines at once, and a line in pieces.
            first.sendall(b"stop nobody\nstop nobody\r\nsta")
            answers.append(("twice", read_answer(first)))
            first.sendall(b"tus\n")
            while not answers[-1][1].endswith("ok\n"):
                answers[-1] = ("twice", answers[-1][1] + masked(first.recv(4096).decode()))
            assert answers[-1][1].count("error: there is no such program\n") == 2
            answers.pop()  # how often three was started depends on the time
        all.end()
        lines = {masked(line) for line in all.seen if not line.startswith("three: ")}
        return lines, answers


def survives_hostile_clients(style, directory):
    """Long lines, silence, floods without a reader, half a line, and too many clients."""
    with Supervisor(style, directory, "one exec sleep 600", limit="1") as all:
        all.until(r"one: started as process \d+")
        answers = []
        with all.connect() as client:
            try:
                client.sendall(b"x" * 100_000)
            except (BrokenPipeError, ConnectionResetError):
                pass
            answers.append(read_answer(client))
            assert answers[-1] == "error: the line is too long\n"
            assert is_closed(client)
        with all.connect() as client:
            client.sendall(b"stat")
            client.shutdown(socket.SHUT_WR)
            assert is_closed(client)  # half a line is no command
        with all.connect() as client:
            assert is_closed(client)  # after its second of silence
        with all.connect() as client:
            client.settimeout(0.1)
            try:
                while True:
                    client.sendall(b"status\n" * 1000)  # and never reads
            except (BrokenPipeError, ConnectionResetError):
                pass
            except TimeoutError:
                client.settimeout(60)
                try:
                    while client.recv(65536):
                        pass
                except ConnectionResetError:
                    pass
        clients = [all.connect() for _ in range(MOST_CLIENTS)]
        for client in clients:
            assert ask(client, "status").endswith("ok\n")
        with all.connect() as client:
            answers.append(read_answer(client))
            assert answers[-1] == "error: there are too many clients\n"
            assert is_closed(client)
        for client in clients:
            client.close()
        while True:  # the places become free when the supervisor has seen the ends
            with all.connect() as client:
                try:
                    if ask(client, "status").endswith("ok\n"):
                        break
                except (BrokenPipeError, ConnectionResetError):
                    pass
        all.end()
        return {masked(line) for line in all.seen}, answers


for part in runs_programs, obeys_clients, survives_hostile_clients:
    results = []
    for style in "callback", "await":
        with tempfile.TemporaryDirectory() as directory:
            results.append(part(style, directory))
    assert results[0] == results[1], (part.__name__, *results)

# Wrong arguments, and a socket that cannot be made.
for style in "callback", "await":
    program = os.path.join(SAMPLES, "supervisor_" + style)
    for arguments in [], ["a", "b", "0"], ["a", "b", "1x"], ["a", "b", "1", "c"]:
        assert subprocess.run([program, *arguments], stderr=subprocess.DEVNULL).returncode == 2
    for path in "/nowhere/control", "x" * 200:
        done = subprocess.run([program, "/dev/null", path], stderr=subprocess.PIPE, text=True)
        assert done.returncode == 1 and path[:8] in done.stderr, done
