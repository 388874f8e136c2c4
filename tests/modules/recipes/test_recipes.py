# SPDX-License-Identifier: Apache-2.0
"""Runs the files of examples/recipes as docs/recipes.md says. What is not there is skipped, with the reason."""
import contextlib
import json
import os
import re
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import threading
import types

import pytest

import applications
from servers import unused_port
from running import CLIENT, PATIENCE, Server, built, client_cert, fingerprint, home, octets_of, other, own, path, read_all, run, same, write

RECIPES = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..', '..', 'examples', 'recipes')
EXEC = built('modules/preload/reqauth-exec')
SYSTEM = os.pathsep.join(['/usr/local/bin', '/usr/bin', '/bin', '/usr/sbin', '/sbin', built('packages/usr/bin'), built('packages/usr/sbin')])
AS_AGENT = [EXEC, *own('crawler'), '--']


def program(name):
    return shutil.which(name, path=SYSTEM) or pytest.skip(f'{name} is not installed')


def recipe(name):
    with open(os.path.join(RECIPES, name)) as file:
        return file.read()


def went_well(ran):
    assert ran.status == 0, (ran.out, ran.err)


class Haproxy:
    """The configuration of the recipe, on another port and another name of its sockets."""

    def __init__(self, page=r'client-cert %[req.hdr(client-cert)]\n', application=None):
        self.port = unused_port()
        text = recipe('haproxy.cfg').replace('127.0.0.1:8443', f'127.0.0.1:{self.port}').replace('abns@reqauth', f'abns@reqauth-{self.port}')
        text = text.replace(r'client-cert %[req.hdr(client-cert)]\n', page)
        if application:
            self.agents = unused_port()
            direct = next(line for line in text.splitlines() if 'accept-proxy ssl' in line and 'verify' in line)
            text = text.replace(direct, direct + '\n' + re.sub(r'abns@\S+ accept-proxy', f'127.0.0.1:{self.agents}', direct))
            text = re.sub('http-request return .*', f'server application 127.0.0.1:{application.port}', text)
        write('haproxy.cfg', text.encode())
        write('haproxy-tls-flags.lua', recipe('haproxy-tls-flags.lua').encode())
        write('server-with-key.pem', octets_of('server.pem') + octets_of('server.key'))
        write('agents-ca.pem', octets_of('agents.pem'))
        self.process = subprocess.Popen([program('haproxy'), '-db', '-f', 'haproxy.cfg'], cwd=home.name, stdin=subprocess.DEVNULL)
        while True:
            try:
                socket.create_connection(('127.0.0.1', self.port), timeout=PATIENCE).close()
                return
            except ConnectionRefusedError:
                if self.process.poll() is not None:
                    raise EOFError('haproxy ended')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait(PATIENCE)


@pytest.fixture(scope='module')
def haproxy(pki):
    with Haproxy() as server:
        yield server
        assert server.process.poll() is None, 'haproxy is still there'


CRAWLER = [*own('crawler'), '--on-unacknowledged', 'flag']
# What the client is told, whether its certificate comes through, what it says.
VISITS = {
    'an agent': (CRAWLER, True, dict(offered=True, requested=True, acknowledged=False, sent='flag')),
    'an agent that waits for the acknowledgement': (own('crawler'), False, dict(offered=True, requested=True, acknowledged=False, sent='empty')),
    'nobody': ([], False, dict(requested=False, sent='none')),
    "a customer's certificate and no flag": ([*other('customer'), '--offer', 'never'], False, dict(requested=False, sent='none')),
    'an impostor': ([*own('impostor'), '--on-unacknowledged', 'flag', '--on-unsatisfiable', 'present'], None,
                    dict(ok=False, alert_received='unknown_ca')),
    'another flag': (['--offer', 'never', '--flags', '8,79,81'], False, dict(requested=False)),
    'this flag and others': ([*CRAWLER, '--flags', '8,200'], True, dict(requested=True)),
    'another extension': ([*CRAWLER, '--extension', '65025'], False, dict(requested=False)),
}


@pytest.fixture(scope='module')
def under_exec(pki):
    """haproxy-exec.cfg, run as its head says."""
    if not os.path.exists(EXEC):
        pytest.skip('reqauth-exec is not built')
    port, found = unused_port(), program('haproxy')
    write('haproxy-exec.cfg', recipe('haproxy-exec.cfg').replace('127.0.0.1:8444', f'127.0.0.1:{port}').encode())
    write('server-with-key.pem', octets_of('server.pem') + octets_of('server.key'))
    write('agents-ca.pem', octets_of('agents.pem'))
    command = re.search(r'#   reqauth-exec (.*) -- haproxy (.*)', recipe('haproxy-exec.cfg'))
    server = subprocess.Popen([EXEC, *command[1].split(), '--', found, *command[2].split()], cwd=home.name, stdin=subprocess.DEVNULL)
    while True:
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(('127.0.0.1', port), timeout=PATIENCE).close()
            break
        assert server.poll() is None, 'haproxy ended'
    yield types.SimpleNamespace(port=port)
    server.kill()
    server.wait(PATIENCE)


@pytest.mark.parametrize('options, known, wanted', [
    pytest.param(own('crawler'), True, dict(acknowledged=True, sent='flag'), id='an agent'),
    pytest.param([], False, dict(requested=False), id='a person'),
    pytest.param([*own('impostor'), '--on-unsatisfiable', 'present'], None, dict(ok=False, alert_received='unknown_ca'), id='an impostor'),
    pytest.param(['--offer', 'always'], False, dict(acknowledged=True, sent='empty'), id='an agent without a certificate')])
def test_haproxy_under_exec(under_exec, options, known, wanted):
    visit(under_exec, *options, known=known, **wanted)


@pytest.mark.parametrize('field', ['Client-Cert: :AAAA:', 'client_cert: :AAAA:', 'Client-Cert-Chain: :AAAA:'])
def test_haproxy_under_exec_forged(under_exec, field):
    """What a client writes into the field itself goes no further."""
    ran = run('/usr/bin/curl', '-sS', '--cacert', path('servers.pem'), '--connect-to', f'::127.0.0.1:{under_exec.port}', '-H', field,
              f'https://localhost:{under_exec.port}/')
    went_well(ran)
    assert ran.out == 'client-cert \n'


def visit(server, *options, known=False, **wanted):
    """A visit of which haproxy is to know the crawler, nobody, or (None) to refuse it."""
    ran = run(CLIENT, '--connect', f'127.0.0.1:{server.port}', '--servername', 'localhost', '--ca', path('servers.pem'), '--json',
              *options, '--get', '/')
    assert ran.status == (known is None), (ran.out, ran.err)
    same(ran.line, **wanted)
    assert known is None or ran.out.startswith(f'client-cert {client_cert("crawler")}\n' if known else 'client-cert \n')


@pytest.mark.parametrize('options, known, wanted', VISITS.values(), ids=VISITS)
def test_haproxy(haproxy, options, known, wanted):
    visit(haproxy, *options, known=known, **wanted)


def test_haproxy_session_without_the_flag(haproxy):
    """It is worth nothing."""
    visit(haproxy, *CRAWLER, '--session-out', path('agent.session'), known=True)
    visit(haproxy, '--session-in', path('agent.session'), '--foreign-session', '--offer', 'never', offered=False, requested=False, resumed=False)


@pytest.mark.parametrize('sent', [b'GET / HTTP/1.0\r\n\r\n', b'\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03', b'\x16\x03\x01\xff\xff' + b'\x01' * 100],
                         ids=['HTTP', 'a piece of a ClientHello', 'a record that is too long'])
def test_haproxy_garbage(haproxy, sent):
    """Not TLS, and ClientHellos that are not whole: no answer that says more."""
    with socket.create_connection(('127.0.0.1', haproxy.port), timeout=PATIENCE) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        assert b'client-cert' not in read_all(connection)
    assert haproxy.process.poll() is None


# What comes in under that name, or one that ends in the same variable of CGI, goes no further.
NAMES = ('Client-Cert', 'client-cert', 'Client_Cert', 'Client.Cert', 'Client-Cert-Chain', 'CLIENT_CERT-chain')
LIES = [f'{name}: :AAAA:' for name in NAMES]


@pytest.mark.parametrize('under', [[], AS_AGENT], ids=['a person', 'an agent'])
def test_haproxy_spoofed(under):
    with Haproxy(page='%[req.hdrs]') as server:
        ran = run(*under, '/usr/bin/curl', '-sS', '--cacert', path('servers.pem'), '--connect-to', f'::127.0.0.1:{server.port}', '-H',
                  'X-Other: :AAAA:', *[word for lie in LIES for word in ('-H', lie)], f'https://localhost:{server.port}/')
    went_well(ran)
    assert ran.out.count(':AAAA:') == 1 and 'x-other: :AAAA:' in ran.out, 'none is passed on'


@pytest.fixture(scope='module')
def before_an_application(pki):
    with Haproxy(application=applications.Behind(applications.http)) as server:
        yield server


@pytest.mark.parametrize('what, fields, trailers', [
    ('nothing', [], []), ('spelled', LIES, []), ('Connection', ['Connection: close, client-cert'], []),
    ('Connection, spelled', [*LIES, 'Connection: Client-Cert'], []),
    ('Connection, twice', ['Connection: close', 'Connection: Client-Cert-Chain'], []), ('trailers', LIES, LIES)])
@pytest.mark.parametrize('alpn', ['http/1.1', 'h2'])
@pytest.mark.parametrize('who', ['an agent', 'a person'])
def test_haproxy_fields(before_an_application, who, alpn, what, fields, trailers):
    """Nor does a client take it out on the way, or write it into a trailer. Python never offers the flag, so it comes in by a port
    that leads straight to the agents' frontend."""
    context = ssl.create_default_context(cafile=path('servers.pem'))
    context.set_alpn_protocols([alpn])
    port, known = before_an_application.port, []
    if who == 'an agent':
        port, known = before_an_application.agents, [client_cert('crawler')]
        context.load_cert_chain(path('crawler.pem'), path('crawler.key'))

    def connect(to):
        return context.wrap_socket(applications.plainly(to), server_hostname='localhost')
    if alpn == 'h2':
        small = [[each.split(':')[0].lower() + ':' + each.split(':', 1)[1] for each in which if not each.startswith('Connection')]
                 for which in (fields, trailers)]
        body = applications.http2(port, 'localhost', '/', *small, connect=connect)
    else:
        body = applications.http1(port, 'localhost', '/', fields, trailers, connect=connect)[1]
    seen = json.loads(body) if body.startswith(b'[') else [['HTTP_CLIENT_CERT', 'refused']]
    wanted = ['refused'] if what.startswith('Connection') and alpn != 'h2' else known
    if what == 'trailers':  # they come through, as such, as docs/recipes.md says
        wanted = [*wanted, *[':AAAA:'] * len(LIES)]
    assert [value for name, value in seen if name.startswith('HTTP_CLIENT_CERT')] == wanted, body


class Recorded:
    """A TCP proxy in front of a server, for one connection; what went through it as a capture file."""

    def __init__(self, port):
        self.segments = []
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.port = self.listener.getsockname()[1]
        self.ahead = port
        self.thread = threading.Thread(target=self.pass_on)
        self.thread.start()

    def pass_on(self):
        client, _ = self.listener.accept()
        server = socket.create_connection(('127.0.0.1', self.ahead))
        lock = threading.Lock()

        def one_way(source, target, from_client):
            with contextlib.suppress(OSError):
                while data := source.recv(16384):
                    with lock:
                        self.segments.append((from_client, data))
                    target.sendall(data)
                target.shutdown(socket.SHUT_WR)

        back = threading.Thread(target=one_way, args=(server, client, False))
        back.start()
        one_way(client, server, True)
        back.join(PATIENCE)

    def capture(self, name):
        self.thread.join(PATIENCE)
        out = [struct.pack('<IHHiIII', 0xa1b2c3d4, 2, 4, 0, 0, 65535, 101)]  # raw IP
        sequence = {True: 1, False: 1}
        for time, (from_client, data) in enumerate(self.segments):
            ports = (50000, 443) if from_client else (443, 50000)
            tcp = struct.pack('>HHIIBBHHH', *ports, sequence[from_client], sequence[not from_client], 0x50, 0x18, 65535, 0, 0) + data
            sequence[from_client] += len(data)
            ends = (b'\x0a\0\0\1', b'\x0a\0\0\2') if from_client else (b'\x0a\0\0\2', b'\x0a\0\0\1')
            packet = struct.pack('>BBHHHBBH', 0x45, 0, 20 + len(tcp), time, 0, 64, 6, 0) + ends[0] + ends[1] + tcp
            out.append(struct.pack('<IIII', time, 0, len(packet), len(packet)) + packet)
        return write(name, b''.join(out))


def wireshark_version():
    said = subprocess.run(['tshark', '--version'], capture_output=True, timeout=PATIENCE).stdout.decode()
    return tuple(int(number) for number in re.search(r'(\d+)\.(\d+)', said).groups())


def tshark(capture, *options):
    """(message, flags, request_client_auth, malformed) of each extension, and the info column of those packets."""
    script, another = write('flags.lua', recipe('wireshark-tls-flags.lua').encode()), []
    if os.geteuid() == 0:  # from 4.2 on it runs no Lua as root
        another = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', 'env', 'HOME=/nonexistent']
        os.chmod(home.name, 0o711)
        for each in (script, capture, path('keys.log')):
            os.chmod(each, 0o644)
    fields = ['tls_flags.message', 'tls_flags.flag', 'tls_flags.request_client_auth', 'tls_flags.malformed', '_ws.col.Info']
    done = subprocess.run([*another, 'tshark', '-X', f'lua_script:{script}', '-r', capture, '-Y', 'tls_flags',
                           '-T', 'fields', '-E', 'occurrence=a', *[word for field in fields for word in ('-e', field)],
                           *options], capture_output=True, timeout=PATIENCE)
    assert b'Lua' not in done.stderr, 'tshark has no complaint about Lua'
    assert done.returncode == 0, done.stderr
    return [tuple({'True': '1', 'False': '0'}.get(each, each) for each in line.split('\t')) for line in done.stdout.decode().splitlines()]


def test_wireshark():
    program('tshark')
    says = wireshark_version() < (4, 2)  # later ones leave the info column alone
    keys = path('keys.log')
    with Server('--agents-ca', path('agents.pem'), '--keylog', keys) as server:
        recorded = Recorded(server.port)
        ran = run(CLIENT, '--connect', f'127.0.0.1:{recorded.port}', '--servername', 'localhost', '--ca', path('servers.pem'), '--json',
                  *own('crawler'), '--flags', '8', '--get', '/')
        same(ran.line, ok=True, acknowledged=True)
        capture = recorded.capture('agent.pcap')
        seen = tshark(capture)
        assert [each[:4] for each in seen] == [('ClientHello', '8,80', '1', '')], 'ClientHello, without keys'
        assert ('[request_client_auth in ClientHello]' in seen[0][4]) == says, 'the info column'
        seen = tshark(capture, '-o', f'tls.keylog_file:{keys}')
        assert [each[:4] for each in seen] == [('ClientHello', '8,80', '1', ''), ('CertificateRequest', '80', '1', '')], 'CertificateRequest, with the key log'
        assert ('[request_client_auth in CertificateRequest]' in seen[-1][4]) == says, 'its info column'

        recorded = Recorded(server.port)
        run(CLIENT, '--connect', f'127.0.0.1:{recorded.port}', '--servername', 'localhost', '--ca', path('servers.pem'), '--offer', 'never')
        seen = tshark(recorded.capture('nobody.pcap'), '-o', f'tls.keylog_file:{keys}')
        assert seen == [], 'no flag'

        # openssl s_client sends the extension empty.
        recorded = Recorded(server.port)
        subprocess.run(['openssl', 's_client', '-connect', f'127.0.0.1:{recorded.port}', '-servername', 'localhost', '-serverinfo', '62'],
                       stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE)
        capture = recorded.capture('empty.pcap')
        seen = tshark(capture)
        assert all(each[2] != '1' for each in seen), 'an extension without octets has no flag'

        recorded = Recorded(server.port)
        run(CLIENT, '--connect', f'127.0.0.1:{recorded.port}', '--servername', 'localhost', '--ca', path('servers.pem'), '--offer', 'never',
            '--flags', '8')
        seen = tshark(recorded.capture('eight.pcap'))
        assert [each[:4] for each in seen] == [('ClientHello', '8', '0', '')], 'another flag'
        # The same with its last octet emptied.
        body = octets_of('eight.pcap').replace(b'\x00\x3e\x00\x03\x02\x00\x01', b'\x00\x3e\x00\x03\x02\x00\x00')
        assert body != octets_of('eight.pcap'), 'there is something to break'
        seen = tshark(write('broken.pcap', body))
        assert [each[:4] for each in seen] == [('ClientHello', '', '0', 'it ends in a zero octet')], 'a zero octet at the end'
        for _ in range(4):
            server.line()


@pytest.mark.parametrize('options, under, is_asked', [
    pytest.param(['--agents-ca', path('agents.pem')], [], False, id='a server that asks flagged clients only'),
    pytest.param(['--agents-ca', path('agents.pem')], AS_AGENT, True, id='the same under reqauth-exec'),
    pytest.param(['--customers-ca', path('customers.pem'), '--customers-auth', 'request'], [], True, id='a server that asks everybody')])
def test_curl(options, under, is_asked):
    """Who is asked: the recipe's grep."""
    with Server(*options) as server:
        ran = run(*under, '/usr/bin/curl', '-v', '--cacert', path('servers.pem'), '--connect-to', f'::127.0.0.1:{server.port}',
                  f'https://localhost:{server.port}/')
    went_well(ran)
    assert bool(re.search(r'\(IN\), TLS handshake, Request CERT', ran.err)) == is_asked


@pytest.mark.parametrize('under, subject', [([], None), (AS_AGENT, 'CN=crawler.example')], ids=['alone', 'under reqauth-exec'])
def test_fetch(under, subject):
    with Server('--agents-ca', path('agents.pem')) as server:
        ran = run(*under, sys.executable, os.path.join(RECIPES, 'fetch.py'), path('servers.pem'), f'https://localhost:{server.port}/debug')
    went_well(ran)
    same(ran.line, subject=subject)


def test_behind(monkeypatch):
    monkeypatch.syspath_prepend(RECIPES)
    import behind
    field = client_cert('crawler')
    behind.AGENTS[fingerprint('crawler')] = 'crawler'

    def answers(environ):
        return b''.join(behind.application(environ, lambda *_: None)).decode()

    assert answers({'HTTP_CLIENT_CERT': field}) == 'hello, crawler\n', 'behind.py knows the agent'
    for wrong in ('', ':', '::', field[1:], field[:-1], field + ', ' + field, field.replace('M', '!', 1), field[:40] + ':', '\u00fc'):
        assert answers({'HTTP_CLIENT_CERT': wrong}) == 'hello, whoever you are\n', ('behind.py knows nobody else', wrong[:60])
    assert answers({}) == 'hello, whoever you are\n', 'behind.py without the field'
