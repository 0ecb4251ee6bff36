# SPDX-License-Identifier: BSD-2-Clause
"""The output of tests/bench/run: the lines of its table, and its picture."""
import os
import statistics
import subprocess
import time
from pathlib import Path

from measure import output


def figure(value):
    if abs(value) < 0.005:
        return '0'
    return f'{value:.2f}' if value < 10 else f'{value:.1f}' if value < 100 else f'{value:,.0f}'


def spread(values):
    if len(values) == 1:
        return figure(values[0])
    return f'{figure(statistics.median(values))} ({figure(min(values))}–{figure(max(values))})'


def table_line(r, found):
    if r.against in found:
        limit = found[r.against]
        found = {name: [v / l for v, l in zip(values, limit)] for name, values in found.items()}
    ours = {name: v for name, v in found.items() if name.startswith('eddy')}
    limit = found.get('epoll')
    peers = {name: v for name, v in found.items() if name not in ours and name != 'epoll'}
    by_value = sorted(peers, key=lambda name: statistics.median(peers[name]))

    def tell(values):
        unit = f' {r.unit}' if r.unit else ''
        return spread(values) + unit

    us = []
    for name, values in ours.items():
        text = (name.removeprefix('eddy').strip() + ' ' + tell(values)).strip()
        peer = r.beside.get(name) if r.beside else by_value[0] if r.unit == 'ns' and peers else None
        if peer in peers:
            text += f'; {spread([v / p for v, p in zip(values, peers[peer])])} × {peer}'
        us.append(text)
    best_of_ours = min((statistics.median(values) for values in ours.values()), default=0)
    ahead = [name for name in by_value if statistics.median(peers[name]) < best_of_ours and
             figure(statistics.median(peers[name])) != figure(best_of_ours)]
    said = ', '.join(f'**{name} {tell(peers[name])}**' if name in ahead else f'{name} {tell(peers[name])}'
                     for name in by_value)
    return f'| {r.what} | {" · ".join(us)} | {tell(limit) if limit else "–"} | {said or "–"} | {r.goal or "–"} |'


def lateness_line(r, found):
    def tell(values):
        medians, worsts, works, units = zip(*values)
        unit = '' if units[0] == '-' else f'; {figure(statistics.median(works))} {units[0]}'
        return f'median {figure(statistics.median(medians))}, worst {spread(worsts)} µs{unit}'

    ours, limit = found['eddy'], found['epoll']
    ratio = spread([e[1] / l[1] for e, l in zip(ours, limit)])
    return f'| {r.what} | {tell(ours)}; worst {ratio} × by hand | {tell(limit)} | – | {r.goal} |'


def machine():
    cpu = next((line.split(':')[1].strip() for line in Path('/proc/cpuinfo').read_text().splitlines()
                if line.startswith('model name')), 'a processor without a name')
    compiler = output(['g++', '--version']).splitlines()[0].split()[-1]
    return (f'{os.cpu_count()} × {cpu}, Linux {os.uname().release}, g++ {compiler} -O2, '
            f'{time.strftime("%Y-%m-%d")}')


def draw(found, into):
    script = ["set terminal svg size 900,640 font 'sans-serif,12' background rgb 'white'",
              f"set output '{into}'", 'set multiplot layout 2,2', 'set logscale x', 'set yrange [0:*]',
              'set autoscale xfix', 'set key bottom right', 'set grid', "set format x '10^{%L}'"]
    for title, subjects in found.items():
        lines = []
        for number, (name, points) in enumerate(subjects.items()):
            script.append(f'$d{number} << end\n' + '\n'.join(f'{x} {y}' for x, y in points) + '\nend')
            style = 'lw 2 pt 7' if name.startswith('eddy') else 'lw 1 pt 6'
            lines.append(f"$d{number} using 1:2 with linespoints {style} title '{name}'")
        script.append(f"set title '{title}, ns'\nplot " + ', '.join(lines))
    subprocess.run(['gnuplot'], input='\n'.join(script), text=True, check=True)


def write_table(page, lines):
    text = page.read_text()
    begin, end = '<!-- tests/bench/run -->\n', '<!-- end -->'
    head, rest = text.split(begin)
    page.write_text(head + begin + '\n'.join(lines) + '\n' + end + rest.split(end, 1)[1])
