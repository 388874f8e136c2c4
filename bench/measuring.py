# SPDX-License-Identifier: Apache-2.0
"""Runs the program bench, natively and under callgrind, and gathers what it says: one figure's values by case and name."""
import collections
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = ROOT / "build/bench/bench"
AREAS = ("handshakes", "calls", "scale", "alternatives", "services")
ROUNDS = 21  # signatures take a little more or less each time: the median stands for all
ANCHORS, CONTEXTS = (1, 10, 100, 1000, 10000, 100000), (1, 100, 1000, 10000)  # up to 1,000 anchors are named in the request
REVOKED, CONNECTIONS = (1, 1000, 200000), (1, 1000, 10000)


def set_up():
    subprocess.run([ROOT / "scripts/setup", "--package", "valgrind", "--package", "libc6-dbg", "--wish", "gnuplot-nox",
                    "--target", "bench/bench"], check=True)


def parts(directory):
    """Each part that callgrind has written, as (case, instructions, file)."""
    for part in sorted(Path(directory).glob("out.*"), key=lambda path: int(path.suffix[1:])):
        text = part.read_text(errors="replace")
        case = re.search(r"^desc: Trigger: Client Request: (.*)$", text, re.M)
        spent = re.search(r"^(?:totals|summary): (\d+)$", text, re.M)
        if case and spent:
            yield case[1].strip(), int(spent[1]), part


def under_callgrind(directory, words, with_lines=False):
    options = ["--collect-atstart=no", "--combine-dumps=no", f"--dump-line={'yes' if with_lines else 'no'}"]
    if words[0] == "scale":
        options.append("--instr-atstart=no")
    done = subprocess.run(["valgrind", "--quiet", "--tool=callgrind", f"--callgrind-out-file={directory}/out", *options, PROGRAM, *words],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"bench: {' '.join(words)} failed under callgrind:\n{done.stderr[-2000:]}")


def instructions(words):
    with tempfile.TemporaryDirectory() as directory:
        under_callgrind(directory, words)
        return [(case, "instructions", spent) for case, spent, _ in parts(directory) if case not in ("begun", "close")]


def natively(words):
    return rows_of([PROGRAM, *words])


def rows_of(command):
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    rows = [line.split("\t") for line in said.splitlines()]
    return [(case, *figure.split("=")) for case, *figures in rows for figure in figures]


def in_javascript(_):
    """The npm package web-bot-auth, where npm has it."""
    where = ROOT / "build/npm"
    where.mkdir(exist_ok=True)
    try:
        subprocess.run(["npm", "install", "--prefix", where, "--silent", "--no-audit", "--no-fund", "web-bot-auth"], check=True, timeout=120,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"skipped: the npm package web-bot-auth: {error}")
        return []
    shutil.copy(ROOT / "bench/web-bot-auth.mjs", where)
    return rows_of(["node", where / "web-bot-auth.mjs", "5"])


def jobs_of(areas, quick, judged):
    """(function, its words) of all that is to be run, the longest first. Judged is less than what a curve takes."""
    if "scale" in areas and not quick:
        counts = {"contexts": CONTEXTS, "anchors": (1, 10, 100, 1000) if judged else ANCHORS, "crls": () if judged else REVOKED,
                  "connections": () if judged else CONNECTIONS}
        for of, sizes in counts.items():
            for count in reversed(sizes):
                words = ["scale", f"of={of}", f"count={count}", "rounds=11"]
                yield instructions, words
                yield natively, words
        yield natively, ["scale", "of=generations", "count=10000", "rounds=4"]
    if "handshakes" in areas:
        keys = ["keys=P-256"] if quick or judged else []
        for side in ("server", "client"):
            yield instructions, ["handshakes", f"rounds={ROUNDS}", f"side={side}", *keys]
        yield natively, ["handshakes", f"rounds={ROUNDS}", *keys]
    if "calls" in areas:
        yield instructions, ["calls"]
        yield natively, ["calls"]
    if "alternatives" in areas and not quick:
        for side in ("server", "client"):
            yield instructions, ["alternatives", "rounds=11", f"side={side}"]
        yield natively, ["alternatives", "rounds=11"]
        yield in_javascript, ["web-bot-auth"]
    if "services" in areas and not quick:
        import services
        services.set_up()
        if services.why_not():
            print(f"skipped: services: {services.why_not()}")
            return
        yield services.configuration_test, ["nginx -t"]
        for words in services.cases(judged):
            yield services.cost, words


def measure(areas, quick=False, judged=False):
    """{case: {figure: [values]}}."""
    found = collections.defaultdict(lambda: collections.defaultdict(list))
    jobs = list(jobs_of(areas, quick, judged))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for at, (job, rows) in enumerate(zip(jobs, pool.map(lambda job: job[0](job[1]), jobs)), 1):
            for case, name, value in rows:
                found[case][name].append(float(value))
            progress(f"[{at}/{len(jobs)}] {' '.join(map(str, job[1]))}")
    progress("")
    return found


def progress(text):
    """One line, which the next replaces; where nobody looks, nothing."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def median(found, case, name):
    return statistics.median(found[case][name])


def machine():
    def first_line(*command):
        return subprocess.run(command, stdout=subprocess.PIPE, text=True).stdout.splitlines()[0]
    return {"date": time.strftime("%Y-%m-%d"), "system": platform.freedesktop_os_release()["PRETTY_NAME"], "machine": platform.machine(),
            "openssl": first_line("openssl", "version"), "valgrind": first_line("valgrind", "--version")}


def write_json(on, found, path):
    path.write_text(json.dumps({"on": on, "figures": found}, indent=1) + "\n")


def read_json(path):
    whole = json.loads(path.read_text())
    found = collections.defaultdict(lambda: collections.defaultdict(list))
    for case, figures in whole["figures"].items():
        found[case].update(figures)
    return whole["on"], found


def peer_of(case):
    """What a case is compared with."""
    for ours, theirs in (("no flag, resumed", "bare, resumed"), ("flag, resumed", "mutual TLS, resumed"), ("flag, certificate", "mutual TLS"),
                         ("flag, no certificate", "mutual TLS, no certificate"), ("no flag", "bare"), ("never offers", "bare"),
                         ("flag ignored", "bare"), ("other flags", "bare")):
        if f"| {ours} |" in case:
            return case.replace(f"| {ours} |", f"| {theirs} |")
    if case.endswith(", again | server") or case.endswith(", again | client"):
        return case.replace(", again", "")
    if case.startswith("SSL_CTXs |"):
        return re.sub(r"\| \d+ \|", "| 1 |", case)
    if case.startswith(("nginx", "Apache")) and " person" in case or case.startswith("nginx -t"):
        return re.sub(r"\| (flag|mutual TLS)$", "| plain", case)
    return re.sub(r"\| flag\b", "| mutual TLS", case) if "| flag" in case else None


def print_table(found):
    print(f"{'':58} instructions   times  allocations     more     octets   times       held")
    for case in found:
        peer, cells = peer_of(case), []
        for name, width in (("instructions", 14), ("allocations", 12), ("octets", 10)):
            if not found[case][name]:
                cells.append(" " * (width + 8))
                continue
            value = median(found, case, name)
            base = median(found, peer, name) if peer != case and peer in found and found[peer][name] else None
            than = "" if not base else f"{value - base:+.0f}" if name == "allocations" else f"{value / base:.4f}"
            cells.append(f"{value:{width},.0f}{than:>8}")
        held = f"{median(found, case, 'held'):11,.0f}" if found[case]["held"] else ""
        seconds = f" {median(found, case, 'seconds'):.3f} s" if found[case]["seconds"] else ""
        print(f"{case:58}{''.join(cells)}{held}{seconds}")


def by_function(part):
    """({function of the library: instructions with all that it calls}, {function: its own})."""
    names, whole, own = {}, collections.Counter(), collections.Counter()
    function, called = "", False
    for line in part.read_text(errors="replace").splitlines():
        if named := re.match(r"c?fn=\((\d+)\)(?: (.*))?$", line):
            name = names.setdefault(named[1], named[2])
            if line.startswith("fn="):
                function = name
        elif line.startswith("calls="):
            called = True
        elif cost := re.match(r"[+*-]?\d* ?(\d+)$", line):
            whole[function] += int(cost[1])
            own[function] += 0 if called else int(cost[1])
            called = False
    return whole, own


def profile(case, peer=None):
    peer = peer or peer_of(case)
    kind, side = case.split(" | ")[0], case.split(" | ")[-1]
    with tempfile.TemporaryDirectory() as directory:
        under_callgrind(directory, ["handshakes", "rounds=5", f"keys={kind}", f"side={side}"], with_lines=True)
        counted = {}
        for name in (case, peer):
            of_it = sorted((spent, part) for each, spent, part in parts(directory) if each == name)
            if not of_it:
                sys.exit(f"bench: there is no case {name!r}")
            spent, part = of_it[len(of_it) // 2]
            counted[name] = (spent, *by_function(part))
    (more, whole, own), (less, _, other) = counted[case], counted[peer]
    print(f"{case}: {more:,}; {peer}: {less:,}; {more - less:+,}, {more / less:.4f} times\n\nthe library's functions, with all that they call")
    for name, spent in [each for each in whole.most_common() if "reqauth::" in each[0]][:30]:
        print(f"{spent:12,}  {name[:150]}")
    print("\nby themselves, against the peer")
    more_of_it = collections.Counter({name: own[name] - other[name] for name in {*own, *other}}).most_common()
    for name, spent in more_of_it[:25] + more_of_it[-10:]:
        print(f"{spent:+12,}  {name[:150]}")
