# SPDX-License-Identifier: BSD-2-Clause
"""The measurements of tests/bench/run. A measurement returns a figure, or None if the program has
no such workload."""
import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
BUILD = Path(os.environ.get('EDDY_BUILD', ROOT / 'build/bench'))
BIN = BUILD / 'tests/bench'
LOAD_CPU, SERVER_CPU = 1, 0


def there(programs):
    return {name: p for name, p in programs.items() if (BIN / p).exists()}


def on(cpu):
    cpus = os.sched_getaffinity(0)
    return (lambda: os.sched_setaffinity(0, {cpu})) if cpu in cpus else None


def output(command, **how):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **how).stdout


class server:
    """A context manager that runs an echo server, on a port or on a Unix socket."""

    def __init__(self, program, prefix=(), environment=None, variant=None, buffer=4096, unix=False):
        self.folder = tempfile.TemporaryDirectory(prefix='eddy-bench-') if unix else None
        words = [f'{self.folder.name}/socket' if unix else '0', str(buffer), *([variant] if variant else [])]
        self.process = subprocess.Popen(
            [*prefix, BIN / program, *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            preexec_fn=on(SERVER_CPU), env={**os.environ, **(environment or {})})
        word, _, self.address = self.process.stdout.readline().strip().partition(' ')
        if word != 'ready':
            raise RuntimeError(f'{program} does not serve')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()
        if self.folder:
            self.folder.cleanup()

    def load(self, connections, messages, what='64', program='load'):
        cpu = SERVER_CPU if connections == 1 else LOAD_CPU
        words = output([BIN / program, self.address, str(connections), what, str(messages),
                        str(self.process.pid)], preexec_fn=on(cpu)).split()
        return float(words[3])


def resident(pid):
    for line in Path(f'/proc/{pid}/smaps_rollup').read_text().splitlines():
        if line.startswith('Rss:'):
            return int(line.split()[1]) * 1024
    raise LookupError('Rss')


def echo_cpu(connections, messages, variant=None, of=''):
    """Runs programs whose name begins with `of` as the variant, and the others without it."""
    def measure(program):
        with server(program, variant=variant if program.startswith(of) else None) as s:
            return s.load(connections, messages)
    return measure


def churn_cpu(connections, count, what='churn', load='load'):
    def measure(program):
        with server(program) as s:
            return s.load(connections, count, what, load)
    return measure


def bulk_cpu(connections, size, messages, unix):
    def measure(program):
        with server(program, buffer=size, unix=unix) as s:
            return s.load(connections, messages, str(size))
    return measure


def per_message(connections, messages, count):
    """Takes the difference of two runs, so that work done once per run does not count."""
    def measure(program):
        few, many = (count(program, connections, n) for n in (messages, 3 * messages))
        return (many - few) / (2.2 * messages)
    return measure


def traced(run):
    """The number of the system calls of the program that `run(prefix=…)` starts behind `prefix`."""
    with tempfile.NamedTemporaryFile('r') as told:
        run(prefix=('strace', '-f', '-c', '-o', told.name))
        total = 0
        for line in told.read().splitlines()[2:]:
            words = line.split()
            if len(words) >= 5 and words[-1] != 'total' and words[3].isdigit():
                total += int(words[3])
        return total


def system_calls(size=64, **how):
    def count(program, connections, messages):
        def run(prefix):
            with server(program, prefix, **how) as s:
                children = Path(f'/proc/{s.process.pid}/task/{s.process.pid}/children').read_text()
                s.load(connections, messages, str(size))
                subprocess.run(['kill', *children.split()], check=True)
                s.process.wait()
        return traced(run)
    return count


def counted(run):
    """Returns how often the program calls malloc that `run(environment=…)` starts."""
    with tempfile.NamedTemporaryFile() as f:
        f.write(bytes(8))
        f.flush()
        run(environment={'LD_PRELOAD': str(BIN / 'count_malloc.so'), 'COUNT_MALLOC': f.name})
        return int.from_bytes(Path(f.name).read_bytes()[:8], sys.byteorder)


def message_mallocs(program, connections, messages):
    def run(environment):
        with server(program, environment=environment) as s:
            s.load(connections, messages)
    return counted(run)


def micro(*words):
    """Runs on one processor, except `post`, in which two threads work at the same time."""
    def measure(program):
        done = subprocess.run([BIN / program, *map(str, words)], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True,
                              preexec_fn=None if words[0] == 'post' else on(SERVER_CPU))
        if done.returncode == 64:
            return None
        done.check_returncode()
        return float(done.stdout.split()[1])
    return measure


def lateness(flood, size, milliseconds):
    """Returns the median and the worst in microseconds, the work per second, and its unit."""
    def measure(program):
        words = output([BIN / program, flood, str(size), str(milliseconds)]).split()
        return float(words[2]), float(words[4]), float(words[6]), words[7]
    return measure


def per_operation(count, number, workload, *words):
    """Takes the difference of two runs, so that work done once per run does not count. The last word
    counts rounds of `number` operations."""
    def measure(program):
        found = []
        for n in (words[-1], 2 * words[-1]):
            command = [BIN / program, workload, *map(str, words[:-1]), str(n)]
            codes = []

            def run(prefix=(), environment=None):
                codes.append(subprocess.run([*prefix, *command], stdout=subprocess.DEVNULL,
                                            stderr=subprocess.DEVNULL,
                                            env={**os.environ, **(environment or {})}).returncode)
            found.append(count(run))
            if codes[0] == 64:
                return None
        return (found[1] - found[0]) / (1.1 * words[-1] * number)
    return measure


def micro_mallocs(number, workload, *words):
    return per_operation(counted, number, workload, *words)


def micro_calls(workload, *words):
    return per_operation(traced, 1, workload, *words)


def sleeping_bytes(tasks):
    def measure(program):
        def bytes_of(n):
            p = subprocess.Popen([BIN / program, 'sleep', str(n)], stdout=subprocess.PIPE,
                                 stderr=subprocess.DEVNULL, text=True)
            try:
                return resident(p.pid) if p.stdout.readline() == 'ready\n' else None
            finally:
                p.kill()
                p.wait()
                p.stdout.close()
        few, many = bytes_of(1), bytes_of(tasks)
        return None if many is None else (many - few) / tasks
    return measure


def connection_bytes(connections):
    def measure(program):
        with server(program) as s:
            before = resident(s.process.pid)
            load = subprocess.Popen([BIN / 'load', s.address, str(connections), 'idle'],
                                    stdout=subprocess.PIPE, text=True)
            try:
                if load.stdout.readline() != 'ready\n':
                    raise RuntimeError('the load has failed')
                return (resident(s.process.pid) - before) / connections
            finally:
                load.kill()
                load.wait()
                load.stdout.close()
    return measure


def compile_seconds(program):
    subject, _, name = program.partition('_')
    for entry in json.loads((BUILD / 'compile_commands.json').read_text()):
        if entry['file'].endswith(f'tests/bench/{subject}/{name}.cc'):
            words = [w for w in shlex.split(entry['command']) if w != 'ccache']
            words[words.index('-o') + 1] = '/dev/null'
            begin = os.times()
            subprocess.run(words, check=True, cwd=entry['directory'])
            end = os.times()
            return end.children_user - begin.children_user + end.children_system - begin.children_system
    return None  # not C++


def stripped_size(program):
    with tempfile.NamedTemporaryFile() as f:
        subprocess.run(['strip', '-o', f.name, BIN / program], check=True)
        return os.path.getsize(f.name) / 1000


def collected(run):
    """The instructions of the program that `run(prefix)` starts behind `prefix`."""
    with tempfile.NamedTemporaryFile('r') as told:
        run(['valgrind', '--tool=callgrind', '--callgrind-out-file=/dev/null',
             f'--log-file={told.name}'])
        return int(next(line.split()[-1] for line in told if 'Collected' in line))


def message_instructions(program, connections, messages):
    def run(prefix):
        with server(program, prefix) as s:
            s.load(connections, messages)
    return collected(run)


def micro_instructions(workload, *words):
    """On a clock that stands still: their number must not depend on the speed of the machine."""
    return collected(lambda prefix: subprocess.run(
        [*prefix, BIN / 'eddy_micro', workload, *map(str, words)], check=True,
        stdout=subprocess.DEVNULL, env={**os.environ, 'EDDY_STILL_CLOCK': '1'}))


def interleaved(programs, measure, rounds):
    """The figures of each round, for each program that has the workload."""
    found = {name: [] for name in programs}
    for _ in range(rounds):
        for name in list(found):
            value = measure(programs[name])
            if value is None:
                del found[name]
            else:
                found[name].append(value)
    return found
