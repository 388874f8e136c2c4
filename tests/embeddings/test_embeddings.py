# SPDX-License-Identifier: Apache-2.0
"""Runs examples/embeddings against reqauth-server, and against servers that have never heard of the flag.

What is not there is skipped, with the reason.
"""
import contextlib
import functools
import json
import os
import queue
import re
import socket
import subprocess
import threading

import pytest

import refusals
import servers
from running import CLIENT, PATIENCE, Ran, Server, built, client, home, keeping, leaf, own, path, run, same, two_openssls

AGENTS = ['--agents-ca', path('agents.pem')]


@pytest.fixture(scope='module', autouse=True)
def certificates(pki):
    leaf('second', '/CN=second.example', 'agents', 'DNS:second.example')
    leaf('elsewhere', '/CN=elsewhere.example', 'servers', 'DNS:elsewhere.example,IP:192.0.2.1')


@functools.cache
def program(name):
    """Where an embedding is; skips without it."""
    found = built(f'examples/embeddings/{name}')
    if not os.path.exists(found):
        pytest.skip(f'{name} is not built, since its library is not here')
    if reason := two_openssls(found):
        pytest.skip(reason)
    return found


def embedding(name, *arguments, environment=None):
    done = subprocess.run([program(name), *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True,
                          timeout=PATIENCE, env={**os.environ, **(environment or {})})
    ran = Ran(done.returncode, done.stdout, done.stderr)
    ran.visits = [line for line in ran.out.splitlines() if line.startswith('visit')]
    return ran


def identity(name):
    return path('servers.pem'), path(f'{name}.pem'), path(f'{name}.key')


def url(port):
    return f'https://localhost:{port}/'


# Each visits a server on `port` twice, on two connections, as `who`.
CLIENTS = {
    'openssl-blocking': lambda port, who: (*identity(who), 'localhost', port, 2),
    'openssl-poll': lambda port, who: (*identity(who), 'localhost', port, 2),
    'boost-asio-client': lambda port, who: (*identity(who), 'localhost', port, 2),
    'standalone-asio-client': lambda port, who: (*identity(who), 'localhost', port, 2),
    'threads': lambda port, who: (*identity(who), 'localhost', port, 1, 2),
    'curl-easy': lambda port, who: (*identity(who), url(port)),
}


def visits(name, port, who='crawler'):
    return embedding(name, *CLIENTS[name](port, who))


def finished(ran, status=0):
    assert ran.status == status, (ran.out, ran.err)


each_client = pytest.mark.parametrize('name', CLIENTS)


@each_client
def test_client(name):
    """Authenticated, then resumed; never shown to who does not name its CA."""
    with Server(*AGENTS) as server:
        finished(visits(name, server.port))
        for resumed in (False, True):
            same(server.line(), ok=True, offered=True, outcome='accepted',
                 certificate='verified', subject='CN=crawler.example', trust='agents', resumed=resumed)
        # The request names the agents' CAs: another CA's certificate does not go out.
        finished(visits(name, server.port, 'impostor'))
        same(server.line(), ok=True, outcome='accepted', certificate='empty', subject=None)


@each_client
@pytest.mark.parametrize('how, alert, certificate', [
    pytest.param(['--ca-names', 'off'], 'unknown_ca', 'invalid', id='of another CA'),
    pytest.param(['--on-missing', 'fail'], 'certificate_required', 'empty', id='with nothing to send')])
def test_client_refused(name, how, alert, certificate):
    with Server(*AGENTS, *how) as server:
        ran = visits(name, server.port, 'impostor')
        finished(ran, 3)
        assert ran.err.count('\n') == 1 and alert in ran.err, 'it says so, in one line'
        assert not ran.visits, 'no visit counts'
        same(server.line(), ok=False, certificate=certificate, alert_sent=alert)
        assert server.end().lines.get(timeout=PATIENCE) is None, 'it is not tried again'


@each_client
def test_client_not_acknowledged(name):
    """This server would take the certificate, but does not say that it asks because of the flag: nothing resumes there."""
    with Server('--customers-ca', path('agents.pem'), '--customers-auth', 'request') as server:
        finished(visits(name, server.port))
        for _ in range(2):
            same(server.line(), ok=True, offered=True, outcome='ignored', subject=None, certificate='empty', resumed=False)


@each_client
def test_client_not_asked(name):
    with Server() as server:
        finished(visits(name, server.port))
        for resumed in (False, True):
            same(server.line(), ok=True, offered=True, certificate='not_requested', resumed=resumed)

        # The server's certificate is not one that the client trusts: it says nothing of itself.
        finished(embedding(name, path('others.pem'), *CLIENTS[name](server.port, 'crawler')[1:]), 1)
        same(server.line(), ok=False, subject=None, alert_received='unknown_ca')


@each_client
@pytest.mark.parametrize('certificate, ca', [
    pytest.param('elsewhere', 'servers', id='another name'), pytest.param('server', 'others', id='an unknown CA'),
    pytest.param('elsewhere', 'others', id='both')])
@pytest.mark.parametrize('host', ['localhost', '127.0.0.1'])
def test_identity_stays(name, certificate, ca, host):
    """A server that acknowledges, and has not proven its name, sees nothing: its own log says so."""
    with Server(*AGENTS, certificate=certificate) as server:
        files, *rest = CLIENTS[name](server.port, 'crawler')[1:3], *CLIENTS[name](server.port, 'crawler')[3:]
        ran = embedding(name, path(f'{ca}.pem'), *files, *(str(word).replace('localhost', host) for word in rest))
        finished(ran, 1)
        line = server.line()
        same(line, offered=True, outcome='accepted', subject=None, x5t=None)
        assert line['certificate'] in ('awaited', 'empty'), line


@each_client
def test_address(name):
    """One that the certificate is for. libcurl checks it after the handshake, over a BIO of its own: that proves nothing."""
    with Server(*AGENTS) as server:
        files = CLIENTS[name](server.port, 'crawler')
        finished(embedding(name, *(str(word).replace('localhost', '127.0.0.1') for word in files)))
        same(server.line(), ok=True, outcome='accepted',
             **(dict(certificate='empty', subject=None) if name == 'curl-easy' else dict(certificate='verified', subject='CN=crawler.example')))


@each_client
def test_client_cannot(name):
    """Nobody listens, or the key is that of another."""
    finished(visits(name, servers.unused_port()), 1)
    ca, certificate, _, *rest = CLIENTS[name](1, 'crawler')
    finished(embedding(name, ca, certificate, path('impostor.key'), *rest), 2)


def test_threads():
    with Server(*AGENTS, '--threads', '2') as server:
        ran = embedding('threads', *identity('crawler'), 'localhost', server.port, 4, 5)
        finished(ran)
        lines = [server.line() for _ in range(20)]
        for line in lines:
            same(line, ok=True, certificate='verified', subject='CN=crawler.example')
        resumed = sum(each['resumed'] for each in lines)
        said = re.fullmatch(r'visits: (\d+) showed the certificate, (\d+) resumed\n', ran.out)
        assert said and [*map(int, said.groups())] == [20 - resumed, resumed], ('both sides count the same', ran.out)
        # A thread that has visited has put a session on the shelf for its next visit.
        assert resumed >= 16, 'no thread does more than its first handshake in full'
        assert server.end().lines.get(timeout=PATIENCE) is None, 'nothing more'


@pytest.mark.parametrize('connections', [1, 3])
def test_pool(connections):
    """curl-multi: many transfers, few connections, one identity."""
    urls = 12
    with Server(*AGENTS, '--threads', '2') as server:
        ran = embedding('curl-multi', connections, *identity('crawler'), *[url(server.port)] * urls)
        finished(ran)
        assert len(ran.visits) == urls and all(': 200, ' in each for each in ran.visits)
        told = [line for line in ran.out.splitlines() if line.startswith('connection: localhost, ')]
        assert all('sent flag' in each or each.endswith(' resumed') and 'not' not in each for each in told)
        # curl opens no more than that, and fewer where one is free again in time.
        came = [json.loads(line) for line in iter(lambda: server.lines.get(timeout=PATIENCE), None)] if server.end() else []
        assert 1 <= len(came) <= connections, 'no more connections than that'
        for line in came:
            same(line, certificate='verified', subject='CN=crawler.example')
        assert len(told) >= len(came), 'observe tells of each connection'


def test_pool_refused():
    with Server(*AGENTS, '--ca-names', 'off') as server:
        ran = embedding('curl-multi', 1, *identity('impostor'), url(server.port))
        finished(ran, 3)
        assert 'sent flag, refused' in ran.out, 'said of the connection'
        same(server.line(), ok=False, certificate='invalid', alert_sent='unknown_ca')


def test_pool_not_acknowledged():
    with Server('--customers-ca', path('agents.pem'), '--customers-auth', 'request') as server:
        finished(embedding('curl-multi', 1, *identity('crawler'), url(server.port)))
        same(server.line(), ok=True, outcome='ignored', certificate='empty', subject=None)


def test_shares():
    """curl-share: two agents and nobody in one program. What each has from before is its own."""
    who = ['CN=crawler.example', 'CN=second.example', None]
    with Server(*AGENTS) as server:
        ran = embedding('curl-share', path('servers.pem'), url(server.port), *identity('crawler')[1:], *identity('second')[1:])
        finished(ran)
        assert ran.visits == [f'visit: {each} connection' for each in ['new'] * 3 + ['same'] * 3 + ['new'] * 3]
        for resumed in (False, True):
            for subject in who:
                same(server.line(), ok=True,
                     offered=subject is not None, subject=subject, resumed=resumed,
                     certificate='verified' if subject else 'not_requested')
        assert server.end().lines.get(timeout=PATIENCE) is None, 'nothing more'


class Proxy:
    """A CONNECT proxy that keeps what goes through it; or answers with another status."""

    def __init__(self, status='200 OK'):
        self.status, self.requests, self.seen = status, [], b''
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.address = f'127.0.0.1:{self.listener.getsockname()[1]}'
        threading.Thread(target=self.take, daemon=True).start()

    def take(self):
        while True:
            near, _ = self.listener.accept()
            threading.Thread(target=self.connect, args=(near,), daemon=True).start()

    def connect(self, near):
        head = b''
        while not head.endswith(b'\r\n\r\n'):
            head += near.recv(1)
        self.requests.append(head.split(b'\r\n')[0].decode())
        near.sendall(f'HTTP/1.1 {self.status}\r\n\r\n'.encode())
        if not self.status.startswith('2'):
            return near.close()
        far = socket.create_connection(('127.0.0.1', int(self.requests[-1].split()[1].rsplit(':', 1)[1])))
        for source, target in ((near, far), (far, near)):
            threading.Thread(target=self.pump, args=(source, target), daemon=True).start()

    def pump(self, source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self.seen += data
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)


def by_openssl(through, port, who='crawler'):
    return embedding('connect-proxy', through.address, *identity(who), 'localhost', port)


def by_curl(through, port, who='crawler'):
    return embedding('curl-easy', *identity(who), url(port), environment={'PROXY': f'http://{through.address}'})


@pytest.mark.parametrize('visit, connections', [(by_openssl, 1), (by_curl, 2)])
def test_proxy(visit, connections):
    with Server(*AGENTS) as server:
        through = Proxy()
        finished(visit(through, server.port))
        for number in range(connections):
            same(server.line(), ok=True, server_name='localhost', outcome='accepted', certificate='verified',
                 subject='CN=crawler.example', resumed=number == 1)
        assert through.requests == [f'CONNECT localhost:{server.port} HTTP/1.1'] * connections, 'it was asked for each'
        assert b'localhost' in through.seen and b'crawler.example' not in through.seen, 'it sees the name, and no certificate'
        finished(visit(Proxy('403 No'), server.port), 1)
    with Server(*AGENTS, '--ca-names', 'off') as server:
        finished(visit(Proxy(), server.port, 'impostor'), 3)
        same(server.line(), ok=False, certificate='invalid', alert_sent='unknown_ca')


class Other:
    """Another server program, which has to listen on `port` if that is given; ends with the block."""

    def __init__(self, *command, port=None, **how):
        self.port = port
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        cwd=home.name, **how)
        self.lines = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()
        if port is not None:
            self.answers()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line.decode(errors='replace').rstrip())
        self.lines.put(None)

    def line(self):
        return self.lines.get(timeout=PATIENCE)

    def rest(self):
        self.process.terminate()
        self.process.wait(PATIENCE)
        return [*iter(self.line, None)]

    def answers(self):
        """Waits until it listens."""
        for _ in range(PATIENCE * 20):
            with contextlib.suppress(ConnectionError), socket.create_connection(('127.0.0.1', self.port), timeout=PATIENCE):
                return
            if self.process.poll() is not None:
                raise EOFError(f'the server ended: {self.rest()}')
            threading.Event().wait(0.05)
        raise TimeoutError('the server does not listen')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)


@pytest.mark.parametrize('kind', ['boost', 'standalone'])
def test_asio_server(kind):
    agent, session = 'agent CN=crawler.example', f'{kind}.session'
    with Other(program(f'{kind}-asio-server'), path('server.pem'), path('server.key'), path('agents.pem')) as server:
        server.port = int(server.line().removeprefix('port '))
        for who, says, sent, resumed in (([], 'visitor', 'none', False), (own('crawler'), agent, 'flag', False),
                                         (own('crawler'), agent, 'none', True), (own('impostor'), 'visitor', 'empty', False)):
            ran = client(server, *who, '--get', '/', *(keeping(session) if who == own('crawler') else []))
            finished(ran, 3 if who == own('impostor') else 0)
            same(ran.line, ok=True, sent=sent, resumed=resumed)
            assert ran.out.startswith(says + '\n')
            assert server.line() == f'{says}, {"resumed" if resumed else "not resumed"}'
        finished(visits(f'{kind}-asio-client', server.port))
        assert (server.line(), server.line()) == (f'{agent}, not resumed', f'{agent}, resumed'), 'its own client'
        server.process.terminate()
        assert server.process.wait(PATIENCE) == 0, 'SIGTERM ends it'


# Servers that never heard of the flag. Each gives one that asks everyone for a certificate, or nobody.

def s_server(asks):
    port = servers.unused_port()
    return Other('openssl', 's_server', '-accept', str(port), '-www', '-trace', '-cert', path('server.pem'), '-key', path('server.key'),
                 *(['-verify', '2', '-CAfile', path('agents.pem')] if asks else []), port=port)


def gnutls_serv(asks):
    port = servers.unused_port()
    return Other(servers.found('gnutls-serv') or pytest.skip('gnutls-serv is not installed'), '--port', str(port), '--http', '--x509certfile',
                 path('server.pem'), '--x509keyfile', path('server.key'),
                 *(['--x509cafile', path('agents.pem')] if asks else ['--disable-client-cert']), port=port)


def nginx_as_packaged(asks):
    if servers.found('nginx') is None:
        pytest.skip('nginx is not here; scripts/setup gets it')
    return servers.Nginx(f'''server {{ listen 127.0.0.1:$PORT ssl; ssl_protocols TLSv1.3;
        {f'ssl_verify_client optional; ssl_client_certificate {path("agents.pem")};' if asks else ''}
        ssl_certificate {path('server.pem')}; ssl_certificate_key {path('server.key')};
        location / {{ return 200 "it says $ssl_client_verify, $ssl_client_s_dn\\n"; }} }}''', module=False)


each_server = pytest.mark.parametrize('start', [s_server, gnutls_serv, nginx_as_packaged])
each_asks = pytest.mark.parametrize('asks', [False, True], ids=['asks nobody', 'asks everyone'])


@each_server
@each_asks
@pytest.mark.parametrize('who', [[], own('crawler')], ids=['without the flag', 'with the flag'])
def test_ordinary(start, asks, who):
    """The handshake with a server that never heard of the flag: it works, and nothing of the client is shown."""
    with start(asks) as server:
        ran = run(CLIENT, '--connect', f'localhost:{server.port}', '--ca', path('servers.pem'), '--json', *who, '--get', '/')
        said = '\n'.join(server.rest()) if isinstance(server, Other) else ''
    finished(ran)
    same(ran.line, ok=True, version='TLSv1.3', offered=bool(who), requested=asks,
         acknowledged=False, sent='empty' if asks else 'none', resumed=False, alert_sent=None, alert_received=None)
    assert 'crawler.example' not in said, 'no certificate came'
    assert start is not s_server or bool(re.search(r'extension_type=.*\(62\)', said)) == bool(who), 'the extension came'
    assert start is not nginx_as_packaged or ran.out.startswith('it says NONE, \n'), 'no certificate came'


@each_server
@each_asks
@each_client
def test_ordinary_embedding(start, asks, name):
    with start(asks) as server:
        ran = visits(name, server.port)
        said = '\n'.join(server.rest()) if isinstance(server, Other) else ''
    finished(ran)
    assert 'crawler.example' not in said, 'no certificate came'
    if name != 'threads':
        assert f'sent {"empty" if asks else "none"}' in ran.visits[0]
        assert ('not resumed' in ran.visits[1]) == asks


def closing(how):
    server = Other(built('tests/closes-at-once'), path('server.pem'), path('server.key'), path('agents.pem'), how)
    server.port = int(server.line().removeprefix('port '))
    return server


def httplib():
    if not os.path.exists(program_ := built('tests/httplib-server')):
        pytest.skip('cpp-httplib is not here (libcpp-httplib-dev)')
    port = servers.unused_port()
    return Other(program_, path('server.pem'), path('server.key'), path('agents.pem'), str(port), port=port)


@pytest.mark.parametrize('start', [
    pytest.param(lambda: closing('close'), id='one that closes at once'),
    pytest.param(lambda: closing('reset'), id='one that resets'),
    pytest.param(lambda: closing('linger'), id='one that lingers'),
    pytest.param(httplib, id='cpp-httplib')])
@refusals.each_program
def test_no_refusal_is_lost(start, name):
    with start() as server:
        refusals.always_noticed(name, server.port)


def test_http2(nginx):
    """Many streams on one connection, which was authenticated once; another identity has its own."""
    with nginx('server { listen 127.0.0.1:$PORT http2; location / { return 200 "hello\\n"; } }', module=False) as server, \
            Other(built('tests/h2-front'), path('server.pem'), path('server.key'), path('agents.pem'), str(server.port)) as front:
        port = int(front.line().removeprefix('port '))
        for who in ('crawler', 'second'):
            ran = embedding('curl-multi', 1, *identity(who), *[url(port)] * 20)
            finished(ran)
            assert len(ran.visits) == 20 and all(': 200, HTTP/2' in each for each in ran.visits)
            assert front.line() == f'CN={who}.example, not resumed', 'the connection is its own'
        assert len(front.rest()) == 0, 'one connection for each'
