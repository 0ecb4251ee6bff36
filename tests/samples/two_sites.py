#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The main job overlaps, brings the same bytes four times, and survives bad servers.

    SAMPLES=build/samples tests/samples/two_sites.py
"""

import os
import socket
import subprocess
import threading

STYLES = ("threads", "callback", "future", "await")


def run(program, *arguments):
    return subprocess.run([os.path.join(os.environ["SAMPLES"], program), *arguments],
                          capture_output=True, text=True, timeout=60)


class bad_server:
    """Answers each connection with some bytes, or with none, and then closes it or not."""

    def __init__(self, answer=b"", close=True):
        self.answer, self.close, self.kept = answer, close, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = "http://127.0.0.1:%d/page" % self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            connection, _ = self.listener.accept()
            request = b""
            while b"\r\n\r\n" not in request:
                piece = connection.recv(4096)
                if not piece:
                    break
                request += piece
            connection.sendall(self.answer)
            if self.close:
                connection.close()
            else:
                self.kept.append(connection)


def refused_url():
    with socket.create_server(("127.0.0.1", 0)) as gone:
        return "http://127.0.0.1:%d/gone" % gone.getsockname()[1]


def overlaps_in_all_four():
    done = run("two_sites")
    print(done.stdout)
    assert done.returncode == 0, done
    assert done.stdout.count("at the same time") == 4
    assert "all four brought the same bytes" in done.stdout
    assert done.stdout.count("on 1 thread,") == 3
    assert done.stdout.count("on 3 threads,") == 1


def survives(bad, sentence, *options):
    """The error names the page and the other page arrives, in either place."""
    good = bad_server(b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello")
    for style in STYLES:
        for urls in ((bad, good.url), (good.url, bad)):
            done = run("two_sites_" + style, *urls, *options)
            assert done.returncode == 1, done
            assert f"{good.url}: status 200, 5 bytes" in done.stdout, done
            assert done.stderr.startswith(bad + ": ") and sentence in done.stderr, done
    done = run("two_sites", bad, good.url, *options)
    assert done.returncode == 1 and done.stdout.count(bad) >= 4, done
    assert done.stdout.count("status 200, 5 bytes") == 4, done


def takes_what_http_allows():
    to_the_end = bad_server(b"HTTP/1.1 404 Not Found\r\nServer: x\r\n\r\nnothing here")
    empty = bad_server(b"HTTP/1.0 204 No Content\r\ncontent-length: 0\r\n\r\n", close=False)
    for style in STYLES:
        done = run("two_sites_" + style, to_the_end.url, empty.url)
        assert done.returncode == 0, done
        assert done.stdout.splitlines() == [f"{to_the_end.url}: status 404, 12 bytes",
                                            f"{empty.url}: status 204, 0 bytes"], done


def says_what_is_wrong():
    for arguments in (["http://127.0.0.1/"], ["ftp://127.0.0.1/", "http://127.0.0.1/"],
                      ["http://127.0.0.1:99999/", "http://127.0.0.1/"],
                      ["http://127.0.0.1/", "http://127.0.0.1/", "--limit", "soon"]):
        for program in ["two_sites"] + ["two_sites_" + style for style in STYLES]:
            wrong = run(program, *arguments)
            assert wrong.returncode == 2 and "usage" in wrong.stderr, wrong


overlaps_in_all_four()
survives(refused_url(), "refused")
survives(bad_server(b"GARBAGE\r\n\r\n").url, "malformed")
survives(bad_server(b"HTTP/1.0 200 OK\r\nContent-Length: 10\r\n\r\nhello").url, "5 of 10 bytes")
survives(bad_server(b"HTTP/1.0 200 OK\r\n").url, "within its head")
survives(bad_server(b"").url, "without an answer")
survives(bad_server(close=False).url, "not done within", "--limit", "1")
takes_what_http_allows()
says_what_is_wrong()
