# SPDX-License-Identifier: Apache-2.0
"""What may not be exceeded. Each figure is a median."""
from measuring import median


def ratio(case, peer, name="instructions"):
    return lambda found: median(found, case, name) / median(found, peer, name)


def more(case, peer, name="allocations"):
    return lambda found: median(found, case, name) - median(found, peer, name)


def plain(case, name="instructions"):
    return lambda found: median(found, case, name)


def handshake(ours, peer, side):
    return f"P-256 | {ours} | {side}", f"P-256 | {peer} | {side}"


def limits():
    """(what, its figure, at most)."""
    for side in ("server", "client"):
        yield f"flag, full, {side}: instructions / mutual TLS", ratio(*handshake("flag, certificate", "mutual TLS", side)), 1.003
        yield f"flag, resumed, {side}: instructions / mutual TLS", ratio(*handshake("flag, resumed", "mutual TLS, resumed", side)), 1.005
    for kind in ("", ", resumed"):
        unflagged = handshake(f"no flag{kind}", f"bare{kind}", "server")
        yield f"no flag{kind or ', full'}, server: instructions / bare", ratio(*unflagged), 1.001
        yield f"no flag{kind or ', full'}, server: allocations more than bare", more(*unflagged), 0
        yield f"no flag{kind or ', full'}: octets to the server / bare", ratio(*unflagged, "octets"), 1
        yield (f"no flag{kind or ', full'}: octets to the client / bare",
               ratio(*handshake(f"no flag{kind}", f"bare{kind}", "client"), "octets"), 1.001)  # a signature's length varies
    yield "never offers, client: instructions / bare", ratio(*handshake("never offers", "bare", "client")), 1.001
    for ours, peer, most in (("flag, certificate", "mutual TLS", (67, 22)), ("flag, resumed", "mutual TLS, resumed", (20, 17))):
        for side, at_most in zip(("server", "client"), most):
            yield f"{ours}, {side}: allocations more than mutual TLS", more(*handshake(ours, peer, side)), at_most
    yield ("flag, full, two tickets: octets to the client / mutual TLS",
           ratio(*handshake("flag, certificate", "mutual TLS", "client"), "octets"), 1.05)
    yield ("flag, resumed: octets to the client / mutual TLS",
           ratio(*handshake("flag, resumed", "mutual TLS, resumed", "client"), "octets"), 1.06)
    yield ("flag, open connection, server: octets held more than mutual TLS",
           more(*handshake("flag, certificate", "mutual TLS", "server"), "held"), 512)
    for who in ("agent", "resumed agent"):
        yield f"peer_of, {who}, after the first call: instructions", plain(f"peer_of | {who} | second"), 500
        yield f"peer_of, {who}, after the first call: allocations", plain(f"peer_of | {who} | second", "allocations"), 0
    for names in (10, 100, 1000):
        yield f"{names} CA names, server: instructions / mutual TLS", ratio(f"CA names | {names} | flag", f"CA names | {names} | mutual TLS"), 1.01
    for kind in ("flag", "flag, resumed", "no flag"):
        yield (f"10000 SSL_CTXs, {kind}, at the last: instructions / one SSL_CTX",
               ratio(f"SSL_CTXs | 10000 | {kind}", f"SSL_CTXs | 1 | {kind}"), 1.01)
    for call in ("attach all", "replace all"):
        yield f"{call} of 1000 SSL_CTXs: instructions / those of 100", ratio(f"SSL_CTXs | 1000 | {call}", f"SSL_CTXs | 100 | {call}"), 11
        yield f"{call} of 10000 SSL_CTXs: seconds of CPU", plain(f"SSL_CTXs | 10000 | {call}", "seconds"), 1
    yield "replace with 10000 anchors, an agent of each stays: octets kept each time", plain("generations | 10000", "kept"), 65536
    for variables, most in (("", 1.01), (", variables", 1.05)):
        case = f"nginx | agent, request{variables} | "
        yield f"nginx, an agent's request{variables}: instructions / mutual TLS", ratio(case + "flag", case + "mutual TLS"), most
    yield ("Apache, a person's request: instructions / without the module",
           ratio("Apache | person, request | flag", "Apache | person, request | plain"), 1.005)
    yield ("nginx -t, 3000 server {}: seconds of CPU / without the module",
           ratio("nginx -t, 3000 server {} | flag", "nginx -t, 3000 server {} | plain", "seconds"), 1.1)


# What is not reached yet, and must not get worse meanwhile.
YET = {
    "flag, full, server: instructions / mutual TLS": 1.006,
    "flag, resumed, server: instructions / mutual TLS": 1.0065,
    "flag, full, client: instructions / mutual TLS": 1.008,
    "flag, resumed, client: instructions / mutual TLS": 1.012,
    "no flag, full, server: instructions / bare": 1.002,
    "no flag, resumed, server: instructions / bare": 1.002,
    "never offers, client: instructions / bare": 1.005,
    "flag, open connection, server: octets held more than mutual TLS": 800,
    "peer_of, agent, after the first call: instructions": 520,
    "peer_of, resumed agent, after the first call: instructions": 520,
}


def judge(found, quick):
    """With `quick` a limit of YET counts in place of the one that is not reached."""
    held = missed = worse = 0
    for what, figure, most in limits():
        try:
            value = figure(found)
        except ValueError:  # the median of nothing: it was not measured
            if not quick:
                print(f"skipped: {what}")
            continue
        good = value <= most
        held, missed, worse = held + good, missed + (not good), worse + (value > max(most, YET.get(what, most)))
        digits = ",.0f" if most > 11 or most == 0 else ".4f"
        print(f"{'held  ' if good else 'missed'} {value:14{digits}}  at most {most:10{digits}}  {what}")
    if quick and missed:
        print(f"{worse} of the missed are worse than they were")
    print(f"limits: {held} held, {missed} missed")
    return 1 if (worse if quick else missed) or not held else 0
