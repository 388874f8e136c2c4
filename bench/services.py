# SPDX-License-Identifier: Apache-2.0
"""nginx and Apache as they are packaged, each in one process under callgrind: what a request takes on a connection that is kept,
and what a connection takes with its one request. Each is the difference between a run with many and a run with few of them.

`$agent` is whom a server asks in the flag's way, or everybody; persons and agents come through tests/modules/tunnel.cpp.
"""
import contextlib
import os
import re
import resource
import socket
import statistics
import subprocess
import sys
from pathlib import Path

from measuring import ROOT, by_function

os.environ.setdefault("REQAUTH_BUILD", str(ROOT / "build"))
sys.path[:0] = [str(ROOT / "tests/examples"), str(ROOT / "tests/modules")]
import running  # noqa: E402
import servers  # noqa: E402
from running import path  # noqa: E402

ALLOCATOR = {"malloc", "calloc", "realloc", "free", "_int_malloc", "_int_free", "_int_realloc", "_int_free_merge_chunk", "malloc_consolidate",
             "unlink_chunk.constprop.0", "unlink_chunk", "unlink_chunk.isra.0", "systrim.constprop.0", "sysmalloc", "alloc_perturb",
             "tcache_get", "tcache_put", "free_perturb", "_int_memalign", "posix_memalign"}
MANY = {"request": (200, 1200), "connection": (10, 40), "resumed connection": (10, 40)}
SERVERS = 3000  # server {} that nginx -t reads


class UnderCallgrind:
    def command(self, *options):
        counting = ["valgrind", "--quiet", "--tool=callgrind", f"--callgrind-out-file={self.at('counted')}"]
        return [*([] if options else counting), *super().command(*options)]

    def start(self, environment=None):
        super().start(environment)
        os.chmod(self.at("counted"), 0o666)  # the server writes it in the end, as whom it has become

    def end(self):
        # Where the signal comes just before nginx begins to wait, only the next one wakes it.
        for _ in range(running.PATIENCE):
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(1)
                return
        raise TimeoutError(self.log()[-2000:])

    def instructions(self):
        """{function: its own}, without the C library's allocator: which of its ways it goes depends on what was freed before, and is
        worth two in a hundred of a request."""
        _, own = by_function(Path(self.at("counted")))
        return {function: spent for function, spent in own.items() if function not in ALLOCATOR}


class Nginx(UnderCallgrind, servers.Nginx):
    name = "nginx"

    def text(self, *blocks, http=""):
        return super().text(*blocks, http=http).replace("master_process on", "master_process off")


class Apache(UnderCallgrind, servers.Apache):
    name = "Apache"

    def __init__(self, text, module):
        super().__init__(text, mpm="prefork", module=module, extra="MaxKeepAliveRequests 0\nTimeout 600")

    def command(self, *options):
        return [*super().command(*options), *([] if options else ["-X"])]


IN_NGINX = {
    "plain": "",
    "mutual TLS": "ssl_verify_client optional; ssl_client_certificate $agents;",
    "flag": "reqauth on; reqauth_trusted_certificate $agents;",
}
# What docs/nginx.md does with an agent, in both ways.
VARIABLES = {
    "mutual TLS": ("$ssl_client_verify", "$ssl_protocol", "$ssl_client_s_dn", "$ssl_client_fingerprint"),
    "flag": ("$reqauth_verify", "$reqauth_outcome $reqauth_reason", "$reqauth_subject", "$reqauth_fingerprint"),
}
IN_APACHE = {
    "plain": "",
    "mutual TLS": "SSLVerifyClient optional\nSSLCACertificateFile $agents",
    "flag": "ReqAuth on\nReqAuthCACertificateFile $agents",
}


def nginx(way, variables=False):
    http, location = "ssl_session_tickets on;", "return 200 'hello\\n';"
    if variables:
        verify, how, subject, fingerprint = VARIABLES[way]
        http += f"""
            log_format agents '$remote_addr $status {how} "{subject}"';
            limit_req_zone {fingerprint} zone=agents:10m rate=100000r/s;
            map {verify} $variant {{ default people; SUCCESS machines; }}"""
        location = "access_log access agents; limit_req zone=agents burst=10000 nodelay; add_header Variant $variant; empty_gif;"
    return Nginx(f"""server {{
        listen 127.0.0.1:$PORT ssl; server_name localhost; keepalive_timeout 600;
        ssl_certificate {path('server.pem')}; ssl_certificate_key {path('server.key')};
        {IN_NGINX[way].replace('$agents', path('agents.pem'))}
        location / {{ {location} }}
    }}""", http=http, module=way == "flag")


def apache(way):
    return Apache(f"""
        <VirtualHost 127.0.0.1:$PORT>
            ServerName localhost
            SSLEngine on
            SSLProtocol -all +TLSv1.3
            SSLCertificateFile {path('server.pem')}
            SSLCertificateKeyFile {path('server.key')}
            {IN_APACHE[way].replace('$agents', path('agents.pem'))}
        </VirtualHost>""", way == "flag")


def client(server, who, way, resumes):
    more = ["resume"] if resumes else []
    if who == "agent" and way == "flag":
        return servers.Tunnel(server.port, "localhost", "crawler", *more)
    if who == "agent":
        return servers.Tunnel(server.port, "localhost", None, f"own={path('both.pem')}", *more)
    return servers.Tunnel(server.port, "localhost", None, *more)


def ask(connection, count):
    for _ in range(count):
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        got = b""
        while b"\r\n\r\n" not in got or len(got.partition(b"\r\n\r\n")[2]) < int(re.search(rb"Content-Length: (\d+)", got)[1]):
            more = connection.recv(65536)
            if not more:
                raise EOFError(f"the server closed after {got!r}")
            got += more
        if not got.startswith(b"HTTP/1.1 200 "):
            raise ValueError(got)


def run(make, who, way, what, count):
    with make() as server:
        with client(server, who, way, what.startswith("resumed")) as tunnel:
            for _ in range(1 if what == "request" else count):
                with socket.create_connection(("127.0.0.1", tunnel.port), timeout=running.PATIENCE) as connection:
                    ask(connection, count if what == "request" else 1)
        server.end()
        return sum(server.instructions().values())


def cost(words):
    """(case, figure, value) of one case of `cases`."""
    kind, who, way, what, variables = words
    few, many = MANY[what]
    make = (lambda: nginx(way, variables)) if kind == "nginx" else (lambda: apache(way))
    spent = [run(make, who, way, what, count) for count in (few, many)]
    case = f"{kind} | {who}, {what}{', variables' if variables else ''} | {way}"
    return [(case, "instructions", (spent[1] - spent[0]) / (many - few))]


def cases(judged=False):
    if judged:
        for way in VARIABLES:
            yield "nginx", "agent", way, "request", False
            yield "nginx", "agent", way, "request", True
        for way in ("plain", "flag"):
            yield "Apache", "person", way, "request", False
        return
    for kind in ("nginx", "Apache"):
        for what in MANY:
            for way in IN_NGINX:
                yield kind, "person", way, what, False
            for way in VARIABLES:
                yield kind, "agent", way, what, False
    for way in VARIABLES:
        yield "nginx", "agent", way, "request", True


def configuration_test(_):
    """What `nginx -t` takes, in seconds of its CPU: each way in turn, since the machine does other things, too."""
    def one(way):
        block = (f"server {{ listen 127.0.0.1:$PORT ssl; server_name host$NUMBER.example; ssl_certificate {path('server.pem')}; "
                 f"ssl_certificate_key {path('server.key')}; {IN_NGINX[way].replace('$agents', path('agents.pem'))} }}")
        server = servers.Nginx(*(block.replace("$NUMBER", str(number)) for number in range(SERVERS)), module=way == "flag", starts=False,
                               http="server_names_hash_max_size 65536;")
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = server.test()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.status != 0:
            raise ValueError(done.err[-2000:])
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    spent = {way: [] for way in IN_NGINX}
    for _ in range(5):
        for way in spent:
            spent[way].append(one(way))
    return [(f"nginx -t, {SERVERS} server {{}} | {way}", "seconds", statistics.median(values)) for way, values in spent.items()]


def why_not():
    """Why this cannot run here, or None."""
    for kind, module in (("nginx", servers.Nginx.shared_object), ("apache2", servers.Apache.shared_object)):
        if servers.found(kind) is None:
            return f"{kind} is not here"
        if not os.path.exists(module):
            return f"{os.path.basename(module)} is not built"
    return None


def set_up():
    subprocess.run([ROOT / "scripts/setup", "--wish", "apache2-dev", "--wish", "apache2-bin", "--target", "for-bench"], check=True)
    if why_not():
        return
    running.make_pki()
    with open(path("both.pem"), "w") as both:
        for name in ("crawler.pem", "crawler.key"):
            with open(path(name)) as file:
                both.write(file.read())
