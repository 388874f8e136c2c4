# SPDX-License-Identifier: Apache-2.0
"""Writes the tables of docs/performance.md, each between its marks, and the plots beside it."""
import re
import subprocess

from measuring import ANCHORS, CONNECTIONS, CONTEXTS, REVOKED, ROOT, median, peer_of

DOCUMENT, PLOTS = ROOT / "docs/performance.md", ROOT / "docs/performance"
CASES = ("bare, again", "mutual TLS, again", "no flag", "never offers", "other flags", "flag ignored", "flag, certificate",
         "flag, no certificate", "bare, resumed, again", "mutual TLS, resumed, again", "no flag, resumed", "flag, resumed")
WAYS = ("the flag", "everybody is asked", "post-handshake", "ALPN h2+bot", "concealed, ed25519", "signature, ed25519",
        "signature, ecdsa-p256-sha256")
TIMES = (10, 50, 150)  # ms of a round trip


def table(heads, rows):
    return "\n".join(["| " + " | ".join(heads) + " |", "| --- |" + " ---: |" * (len(heads) - 1),
                      *("| " + " | ".join(row) + " |" for row in rows)])


def against(found, case, peer, name="instructions"):
    """A figure, and how many times its peer's."""
    if not found[case][name]:
        return "–"
    value = median(found, case, name)
    return f"{value:,.0f}" + (f" · {value / median(found, peer, name):.4f}" if peer and found[peer][name] else "")


def handshakes(found):
    for kind in dict.fromkeys(case.split(" | ")[0] for case in found if case.endswith("| bare | server")):
        rows = []
        for name in CASES:
            server, client = (f"{kind} | {name} | {side}" for side in ("server", "client"))
            more = [f"{median(found, each, 'allocations') - median(found, peer_of(each), 'allocations'):+.0f}" for each in (server, client)]
            held = median(found, server, "held") - median(found, peer_of(server), "held")
            rows.append([name, peer_of(server).split(" | ")[1], *(against(found, each, peer_of(each)) for each in (server, client)),
                         *(against(found, each, peer_of(each), "octets") for each in (server, client)), " / ".join(more), f"{held:+,.0f}"])
        yield f"**{kind}**\n\n" + table(("handshake", "against", "server, instructions", "client, instructions", "octets to the server",
                                         "octets to the client", "allocations", "held by the server"), rows)


def calls(found):
    names = dict.fromkeys(case.rsplit(" | ", 1)[0] for case in found if "_of | " in case or case.startswith("is_of_agent"))
    yield table(("call", "first", "later", "allocations, first", "later"), (
        [name.replace(" | ", ", "), *(f"{median(found, f'{name} | {when}', figure):,.0f}" for figure in ("instructions", "allocations")
                                      for when in ("first", "third"))] for name in names))


def scale(found):
    rows = []
    for what, sizes in (("CA names", ANCHORS), ("anchors", ANCHORS), ("CRL entries", REVOKED), ("open connections", CONNECTIONS)):
        for size in sizes:
            ours, theirs = f"{what} | {size} | flag", f"{what} | {size} | mutual TLS"
            if found[ours]["instructions"]:
                loaded = [f"{what} | {size} | {way}, {'each' if what == 'open connections' else 'loaded'}" for way in ("mutual TLS", "flag")]
                rows.append([f"{size:,} {what}", against(found, theirs, None), against(found, ours, theirs),
                             *(against(found, each, None, "held") for each in loaded)])
    yield table(("with", "mutual TLS, server", "flag, server", "mutual TLS, octets for each", "flag, octets for each"), rows)
    rows = []
    for size in CONTEXTS:
        name = f"SSL_CTXs | {size} | "
        rows.append([f"{size:,}", *(against(found, name + kind, f"SSL_CTXs | 1 | {kind}") for kind in ("flag", "flag, resumed", "no flag")),
                     *(f"{median(found, name + call, 'seconds'):.3f} s" for call in ("attach all", "replace all")),
                     against(found, name + "attach all", None, "held")])
    yield table(("SSL_CTXs", "flag, at the last", "resumed", "no flag", "attach all", "replace all", "octets for each"), rows)
    name = next(case for case in found if case.startswith("generations"))
    yield (f"`replace` with {int(name.split(' | ')[1]):,} anchors, while an agent of each generation stays connected, keeps "
           f"{median(found, name, 'kept'):,.0f} octets each time.")


def total(found, way, requests, name="instructions"):
    """What a connection with as many requests takes: the server's instructions, or the octets of both directions."""
    sides = ("server",) if name == "instructions" else ("server", "client")
    first, later = (sum(median(found, f"alternatives | {way} | {which} request | {side}", name) for side in sides)
                    for which in ("first", "later"))
    return first + (requests - 1) * later


def crossing(found, ours, theirs, name="instructions"):
    """From which number of requests on ours is cheaper."""
    def difference(requests):
        return total(found, ours, requests, name) - total(found, theirs, requests, name)
    first, saved = difference(1), difference(1) - difference(2)
    if first <= 0:
        return "1" if difference(1000) <= 0 else f"1 to {1 + first / saved:.0f}"
    return f"{1 + first / saved:.1f}" if difference(1000) < 0 else "–"


def alternatives(found):
    for more in ("", ", resumed"):
        rows = []
        for way in ("nobody is authenticated", *WAYS):
            way += more
            trips = median(found, f"alternatives | {way} | first request | server", "round trips")
            ours = f"the flag{more}"
            rows.append([way, *(f"{total(found, way, count):,.0f}" for count in (1, 10, 100, 1000)),
                         *(f"{total(found, way, count, 'octets'):,.0f}" for count in (1, 1000)),
                         f"{trips:.0f}: " + ", ".join(f"{trips * each:.0f}" for each in TIMES) + " ms",
                         *(("–", "–") if way in (ours, f"nobody is authenticated{more}") else
                           (crossing(found, ours, way), crossing(found, ours, way, "octets")))])
        yield table(("way", "1 request", "10", "100", "1,000", "octets, 1", "1,000", "round trips", "flag cheaper from: instructions", "octets"),
                    rows)
    alone, package = (f"web-bot-auth | {which}" for which in ("verification alone", "package"))
    if found[package]["microseconds"]:
        times = median(found, package, "microseconds") / median(found, alone, "microseconds")
        yield f"The npm package web-bot-auth takes {times:.1f} times the CPU of the Ed25519 verification alone, in one process of Node."


def services(found):
    rows = []
    for case in list(found):
        if case.startswith(("nginx |", "Apache |")) and case.endswith("| flag"):
            plain, mutual = (case.replace("| flag", f"| {way}") for way in ("plain", "mutual TLS"))
            rows.append([case.replace(" | flag", "").replace(" | ", ": "), against(found, plain, None), against(found, mutual, None),
                         against(found, case, peer_of(case))])
    yield table(("what", "plain", "ssl_verify_client optional", "with the module"), rows)
    tests = [case for case in found if case.startswith("nginx -t")]
    if tests:
        spent = {case.split(" | ")[1]: median(found, case, "seconds") for case in tests}
        yield table((tests[0].split(" | ")[0], "seconds of CPU", "times"),
                    ([way, f"{seconds:.2f}", f"{seconds / spent['plain']:.2f}"] for way, seconds in spent.items()))


def noise(found):
    ratios = [abs(median(found, case, "instructions") / median(found, peer_of(case), "instructions") - 1)
              for case in found if ", again |" in case and found[case]["instructions"]]
    yield f"Bare against bare, and mutual TLS against mutual TLS, differ by {max(ratios):.5f} at most."


def machine_of(on):
    yield "; ".join(f"{name}: {value}" for name, value in on.items())


# Each reads on white and on black: a grey for what is written, and colours in between.
STYLE = """set terminal svg size 860,460 noenhanced font 'sans-serif,14' linewidth 1.3 background rgb 'white'
set border 3 lc rgb '#808080'
set grid lc rgb '#808080' lw 0.3
set tics nomirror textcolor rgb '#808080'
set key outside right center Left reverse textcolor rgb '#808080' samplen 2
set logscale x
set xlabel textcolor rgb '#808080'
set ylabel textcolor rgb '#808080'
set title textcolor rgb '#808080'
"""
COLOURS = ("#d1495b", "#2a9d8f", "#e08e0b", "#5b7fd1", "#9b5fb5", "#7a9a01", "#8d6e63", "#4aa3c7")


def plot(name, title, across, up, curves, extra=""):
    """curves: {label: [(x, y)]}."""
    blocks = "".join(f"$data{at} << END\n" + "".join(f"{x} {y}\n" for x, y in points) + "END\n" for at, points in enumerate(curves.values()))
    lines = ", ".join(f"$data{at} using 1:2 with linespoints pt 7 ps 0.5 lc rgb '{colour}' title '{label}'"
                      for at, (label, colour) in enumerate(zip(curves, COLOURS)))
    script = f"{STYLE}set title '{title}'\nset xlabel '{across}'\nset ylabel '{up}'\n{extra}\n{blocks}plot {lines}\n"
    drawn = subprocess.run(["gnuplot"], input=script, stdout=subprocess.PIPE, text=True, check=True).stdout
    # Without a background it takes that of the page.
    drawn = re.sub(r'<rect x="0" y="0" width="\d+" height="\d+" fill="[^"]*"/>', "", drawn)
    PLOTS.mkdir(exist_ok=True)
    (PLOTS / f"{name}.svg").write_text(drawn)


def plots(found):
    counts = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000)
    for more, name in (("", "requests"), (", resumed", "requests-resumed")):
        plot(name, f"A connection{more}: the server''s instructions for each request", "requests on one connection",
             "millions of instructions for each", {
                 way: [(count, total(found, way + more, count) / count / 1e6) for count in counts] for way in ("nobody is authenticated", *WAYS)},
             "set logscale y")
    for what, sizes in (("CA names", ANCHORS), ("anchors", ANCHORS), ("CRL entries", REVOKED)):
        curves = {way: [(size, median(found, f"{what} | {size} | {way}", "instructions") / 1e6) for size in sizes
                        if found[f"{what} | {size} | {way}"]["instructions"]] for way in ("mutual TLS", "flag")}
        plot(what.replace(" ", "-"), "A full handshake, the server''s side", what, "millions of instructions", curves, "set yrange [0:*]")
    plot("SSL_CTXs", "A handshake at the last of them, the server''s side", "SSL_CTXs", "millions of instructions", {
        kind: [(size, median(found, f"SSL_CTXs | {size} | {kind}", "instructions") / 1e6) for size in CONTEXTS
               if found[f"SSL_CTXs | {size} | {kind}"]["instructions"]] for kind in ("flag", "flag, resumed", "no flag")}, "set yrange [0:*]")


def write(on, found):
    text = DOCUMENT.read_text()
    for name, made in {"machine": machine_of(on), "noise": noise(found), "handshakes": handshakes(found), "calls": calls(found),
                       "scale": scale(found), "alternatives": alternatives(found), "services": services(found)}.items():
        text, count = re.subn(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", lambda at: at[1] + "\n\n".join(made) + "\n" + at[2], text, flags=re.S)
        if not count:
            raise ValueError(f"{DOCUMENT} has no place for {name}")
    DOCUMENT.write_text(text)
    plots(found)
