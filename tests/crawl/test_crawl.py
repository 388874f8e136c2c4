# SPDX-License-Identifier: Apache-2.0
"""reqauth-crawl against 50 hosts of every kind, and what a person does with it."""
import collections
import contextlib
import fcntl
import http.server
import json
import os
import pty
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import termios
import threading
import types

import pytest

from running import (EXPIRED, PATIENCE, Halfway, Listener, Server, built, in_front_of, leaf, octets_of, own, path, request, reset,
                     reset_after_hello, run, same, sign, two_openssls, write)

CRAWL = built('examples/reqauth-crawl')
AGENT = 'CN=crawler.example'
PAGES = 20


@pytest.fixture(scope='module', autouse=True)
def certificates(pki):
    if reason := two_openssls(CRAWL):
        pytest.skip(reason)
    leaf('hosts', '/CN=hosts', 'servers', 'DNS:*.crawl.test')
    leaf('elsewhere', '/CN=elsewhere.example', 'servers', 'DNS:elsewhere.example')
    leaf('unknown', '/CN=hosts', 'others', 'DNS:*.crawl.test')
    leaf('second', '/CN=second.example', 'agents', 'DNS:second.example')
    leaf('expired', '/CN=expired', 'servers', 'DNS:*.crawl.test', dates=EXPIRED)
    request('hostile-server', '/CN=\x1b[2J\x1b]0;owned\x07')
    sign('hostile-server', 'servers')  # no alternative names


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in [name for name in os.environ if name.lower().endswith('_proxy')]:
        monkeypatch.delenv(name)


def virtual_host(name, **files):
    """The directory of a --vhost; `files` are its trust anchors."""
    directory = path(f'vhost-{name}')
    os.makedirs(directory, exist_ok=True)
    for source, target in {'hosts.pem': 'cert.pem', 'hosts.key': 'key.pem', **files}.items():
        shutil.copy(path(source), os.path.join(directory, target))
    return ['--vhost', f'{name}.crawl.test={directory}']


# Servers that never heard of the flag, in this process.

class Site(http.server.ThreadingHTTPServer):
    """An HTTPS server of Python's; `answer` gives (status, headers) for a request, with `asks` it asks for a
    certificate. Where it requires one it closes before it has read what the client sends with its Certificate: a reset
    comes right after its alert."""
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, answer, certificate='hosts', asks=ssl.CERT_NONE):
        self.answer, self.shown, self.failed, self.lock = answer, [], 0, threading.Lock()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(path(f'{certificate}.pem'), path(f'{certificate}.key'))
        if asks:
            self.context.verify_mode = asks
            self.context.load_verify_locations(path('agents.pem'))
        super().__init__(('127.0.0.1', 0), Page)
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def get_request(self):
        raw, address = super().get_request()
        return self.context.wrap_socket(raw, server_side=True, do_handshake_on_connect=False), address

    def handle_error(self, *_):
        with self.lock:
            self.failed += 1  # a handshake, or a client that leaves

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    disable_nagle_algorithm = True

    def do_GET(self):
        with self.server.lock:
            self.server.shown.append(self.connection.getpeercert(binary_form=True))
        status, headers = self.server.answer(self)
        self.send_response(status)
        for name, value in {'Content-Length': '3', **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(b'ok\n')

    def log_message(self, *_):
        pass


def fine(_):
    return 200, {}


class Busy:
    """Says 500 to the first request for some pages, and 429 to that for others."""

    def __init__(self):
        self.seen = collections.Counter()

    def __call__(self, request):
        number = int(request.path.rsplit('=', 1)[1])
        which = request.headers['Host'], number
        self.seen[which] += 1
        if self.seen[which] == 1 and number < 3:
            return 500, {}
        if self.seen[which] == 1 and number == 3:
            return 429, {'Retry-After': '1'}
        return 200, {}


class Held:
    """Answers nothing until it may."""

    def __init__(self):
        self.arrived, self.may = threading.Event(), threading.Event()

    def __call__(self, _):
        self.arrived.set()
        self.may.wait(PATIENCE)
        return 200, {}


def cut_in_front_of(port, octets):
    """Hands connections on to `port`, and resets each once so much has come back."""
    def up(near, far):
        with contextlib.suppress(OSError):
            while data := near.recv(65536):
                far.sendall(data)
        with contextlib.suppress(OSError):
            far.shutdown(socket.SHUT_WR)

    def handle(near):
        far = socket.create_connection(('127.0.0.1', port))
        threading.Thread(target=up, args=(near, far), daemon=True).start()
        left = octets
        with contextlib.suppress(OSError):
            while left > 0 and (data := far.recv(4096)):
                near.sendall(data)
                left -= len(data)
        reset(near)
        with contextlib.suppress(OSError):
            far.shutdown(socket.SHUT_RDWR)
    return handle


# The program.

AGENTS = ['--agents-ca', path('agents.pem')]
IDENTITY = ['--ca', path('servers.pem'), *own('crawler')]


def reach(name, port):
    return ['--resolve', f'{name}.crawl.test:{port}:127.0.0.1']


def url(name, port, number):
    return f'https://{name}.crawl.test:{port}/debug?n={number}'


class Crawl:
    """The program with --json, whose lines are read as they come."""

    def __init__(self, *options, lines=()):
        self.process = subprocess.Popen([CRAWL, '--json', *options, '--urls', '-'], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.process.stdin.write('\n'.join(lines).encode() + b'\n')
        self.process.stdin.close()

    def line(self):
        return json.loads(self.process.stdout.readline())

    def end(self, status):
        errors = self.process.stderr.read().decode()
        assert self.process.wait(PATIENCE) == status, (f'the crawl exits with {status}', self.process.returncode, errors)
        return errors


def connections(server):
    """Ends the server: the line of each connection it had."""
    server.end()
    lines = []
    while (text := server.lines.get(timeout=PATIENCE)) is not None:
        lines.append(json.loads(text))
    return lines


OF_ANOTHER_CA = ('no credential is of a CA that the server names: it names CN=others CA, ours is of CN=agents CA; '
                 'put the intermediate into --cert, or give a certificate of one of the CAs that it names')


def row(done=PAGES, acknowledged=False, authenticated=False, refused=None, unmet=None, **more):
    return {'done': done, 'failed': PAGES - done, 'offered': True, 'withheld': None, 'acknowledged': acknowledged,
            'authenticated': authenticated, 'refused': refused, 'unmet': unmet, **more}


KNOWN = row(acknowledged=True, authenticated=True)
GUEST = row(acknowledged=True, unmet=OF_ANOTHER_CA)
UNASKED = row()
DEAD = row(done=0, resumed=0)


def refusal(alert, acknowledged, unmet=None):
    words = f'; the server refused: {alert}; put'.join(unmet.split('; put')) if unmet else None
    return row(done=0, acknowledged=acknowledged, refused=alert, unmet=words, resumed=0, failures={f'refused: {alert}': PAGES})


# Kinds of hosts: how many, which server they are at, and the row of each.
KINDS = {
    'agent': (5, 'agents', KNOWN),
    'ignores': (3, 'agents', UNASKED),
    'guest': (3, 'agents', GUEST),
    'requires': (4, 'requires', KNOWN),
    'strict': (3, 'requires', refusal('certificate_required', True, OF_ANOTHER_CA)),
    'unnamed': (3, 'unnamed', refusal('unknown_ca', True)),
    'asks': (3, 'asks', UNASKED),
    'demands': (3, 'demands', refusal('certificate_required', False)),
    'plain': (4, 'plain', UNASKED),
    'old': (3, 'old', UNASKED),
    'oldasks': (2, 'old_asks', UNASKED),
    'hasty': (2, 'hasty', refusal('certificate_required', False)),
    'expired': (2, 'expired', DEAD),
    'busy': (3, 'busy', UNASKED),
    'slow': (2, 'slow', UNASKED),
    'resets': (2, 'resets', DEAD),
    'cut': (3, 'cuts', KNOWN),
}
HOSTS = {f'{kind}{number}': (at, wanted) for kind, (count, at, wanted) in KINDS.items() for number in range(1, count + 1)}


def of(kind):
    return [f'{kind}{number}' for number in range(1, KINDS[kind][0] + 1)]


@pytest.fixture(scope='module')
def crawled(certificates):
    """A crawl of 20 pages of each of the hosts: its summary, each host's row, each URL's line, what each server saw."""
    slow, seen = Held(), types.SimpleNamespace(urls=[], lines=collections.defaultdict(list))
    with contextlib.ExitStack() as running:
        start = running.enter_context

        def serve(*options, kinds=(), **files):
            return start(Server(*options, *sum((virtual_host(name, **files) for kind in kinds for name in of(kind)), []), certificate='hosts'))
        agents, others, customers = (['--agents-ca', path('agents.pem')], {'others.pem': 'agents-ca.pem'}, ['--customers-ca', path('customers.pem')])
        ignoring = sum((virtual_host(name) for name in of('ignores')), [])
        servers = {
            'agents': serve(*agents, *ignoring, kinds=['guest'], **others),
            'requires': serve(*agents, '--on-missing', 'fail', kinds=['strict'], **others),
            'unnamed': serve('--agents-ca', path('others.pem'), '--ca-names', 'off'),
            'asks': serve('--customers-auth', 'request', *customers),
            'demands': serve('--customers-auth', 'require', *customers),
            'plain': serve(),
        }
        seen.sites = {
            'old': start(Site(fine)), 'expired': start(Site(fine, 'expired')), 'old_asks': start(Site(fine, asks=ssl.CERT_OPTIONAL)),
            'hasty': start(Site(fine, asks=ssl.CERT_REQUIRED)), 'busy': start(Site(Busy())), 'slow': start(Site(slow)),
        }
        everybody = {**servers, **seen.sites, 'resets': start(Listener(reset_after_hello)),
                     'cuts': start(Listener(cut_in_front_of(servers['agents'].port, 5000)))}
        where = {name: everybody[at].port for name, (at, _) in HOSTS.items()}
        seen.list = [url(name, port, number) for number in range(PAGES) for name, port in where.items()]

        # The slow hosts answer once all others have ended: they hold nobody up.
        crawl = Crawl(*IDENTITY, *sum((reach(name, port) for name, port in where.items()), []), '--parallel', '24', '--per-host', '2',
                      '--timeout', str(PATIENCE), lines=seen.list)
        waited_for = len(seen.list) - 2 * PAGES
        while (line := crawl.line())['event'] == 'url':
            seen.urls.append(line)
            waited_for -= not line['host'].startswith('slow')
            if waited_for == 0:
                slow.may.set()
        seen.errors, seen.summary = crawl.end(3), line
        seen.rows = {each['host'].split('.')[0]: each for each in line['hosts']}
        for server in servers.values():
            for each in connections(server):
                seen.lines[each['server_name'].split('.')[0]].append(each)
    return seen


def test_fifty_hosts(crawled):
    assert len(HOSTS) == 50
    assert crawled.errors == '', 'nothing on standard error, which is no terminal'
    same(crawled.summary, event='summary', urls=1000, not_fetched=0, interrupted=False)


@pytest.mark.parametrize('kind', KINDS)
def test_row(crawled, kind):
    for name in of(kind):
        row = crawled.rows[name]
        same(row, **KINDS[kind][2])
        assert kind != 'cut' or row['resumed'] > 0
        assert kind != 'expired' or any('certificate has expired' in why for why in row['failures'])


def test_each_url_ends_once(crawled):
    assert sorted(each['url'] for each in crawled.urls) == sorted(crawled.list)


@pytest.mark.parametrize('kind', KINDS)
def test_urls(crawled, kind):
    for name in of(kind):
        ended = [each for each in crawled.urls if each['host'].startswith(f'{name}.')]
        assert len(ended) == PAGES
        if (alert := crawled.rows[name]['refused']) is not None:
            for each in ended:
                same(each, ok=False, refused=alert, authenticated=False, status=None)
                assert each['tries'] < 2, 'it is not tried again'
        if kind == 'busy':
            assert sorted(each['tries'] for each in ended) == [1] * 16 + [2] * 4, 'four pages are fetched twice'


@pytest.mark.parametrize('kind', [kind for kind, (_, at, _) in KINDS.items() if at in ('agents', 'requires', 'unnamed', 'asks', 'demands', 'plain', 'cuts')])
def test_what_the_server_saw(crawled, kind):
    _, at, wanted = KINDS[kind]
    for name in of(kind):
        lines = crawled.lines[name]
        assert lines, 'it was visited'
        assert sum(each['resumed'] for each in lines) == crawled.rows[name]['resumed'], 'resumed as often as the row says'
        if wanted['refused']:
            assert len(lines) <= 2, 'no connection after the refusals'
        for seen in lines:
            if wanted is KNOWN:
                same(seen, offered=True, outcome='accepted', certificate='verified', subject=AGENT)
                continue
            # Only an acknowledging server that names no CAs gets to see the certificate, and cannot verify it.
            asked = not seen['resumed'] and (wanted['acknowledged'] or at in ('asks', 'demands'))
            shown = 'invalid' if at == 'unnamed' else 'empty' if asked else 'not_requested'
            same(seen, offered=True, certificate=shown, subject=None, x5t=None)
            assert (seen['outcome'] == 'accepted') == wanted['acknowledged']


@pytest.mark.parametrize('at', ['old', 'old_asks', 'busy', 'slow'])
def test_server_that_never_heard_of_the_flag(crawled, at):
    """It was visited, and saw no certificate."""
    assert crawled.sites[at].shown and not any(crawled.sites[at].shown)


def test_server_that_requires_a_certificate(crawled):
    """It saw no connection after the refusals."""
    assert 1 <= crawled.sites['hasty'].failed <= 4


def test_servers_that_have_not_proven_their_names():
    """A wrong name, an unknown CA, an address over a BIO of libcurl's own, and none of it: only the last sees who comes."""
    with Server(*AGENTS, certificate='elsewhere') as elsewhere, Server(*AGENTS, certificate='unknown') as unknown, \
            Server(*AGENTS, certificate='server') as address, Server(*AGENTS, certificate='hosts') as good:
        ran = run(CRAWL, '--json', *IDENTITY, *reach('wrong', elsewhere.port), *reach('unknown', unknown.port), *reach('good', good.port),
                  '--retries', '0', *(url(name, at.port, number) for number in range(3)
                                      for name, at in (('wrong', elsewhere), ('unknown', unknown), ('good', good))),
                  f'https://127.0.0.1:{address.port}/')
        assert ran.status == 3, ran.err
        rows = {each['host'].split(':')[0].split('.')[0]: each for each in ran.line['hosts']}
        same(rows['wrong'], done=0, failed=3, authenticated=False)
        same(rows['unknown'], done=0, failed=3, authenticated=False, unmet=None)
        same(rows['good'], done=3, failed=0, authenticated=True, unmet=None)
        same(rows['127'], done=1, authenticated=False)
        assert 'is for another name' in rows['wrong']['unmet'] and "as the URL's host" in rows['wrong']['unmet']
        assert 'which name was asked for' in rows['127']['unmet']
        seen = {name: connections(server) for name, server in
                {'wrong': elsewhere, 'unknown': unknown, 'address': address, 'good': good}.items()}
    assert all(seen.values()), 'each was visited'
    for name, lines in seen.items():
        for each in lines:
            assert each['outcome'] == 'accepted' and (each['subject'] == AGENT) == (name == 'good'), (name, each)
            assert name == 'good' or each['certificate'] in ('empty', 'awaited'), (name, each)


def test_a_host_that_hangs():
    held = Held()
    with Site(held) as site:
        ran = run(CRAWL, '--json', *IDENTITY, *reach('hangs', site.port), '--timeout', '1', '--retries', '1', '--give-up', '2',
                  '--per-host', '1', *(url('hangs', site.port, number) for number in range(5)))
        held.may.set()
    assert ran.status == 1, ran.err
    row_of_it = ran.line['hosts'][0]
    same(row_of_it, done=0, failed=5, offered=True, refused=None)
    assert (row_of_it['failures'].pop('not tried: the 2 before had no answer', 0) == 3 and
            list(row_of_it['failures'].values()) == [2]), (ran.line)
    tries = [json.loads(each)['tries'] for each in ran.out.splitlines()[:-1]]
    assert tries == [2, 2, 0, 0, 0], 'two are tried twice'


def test_an_alert_that_is_not_about_the_certificate():
    """It is final."""
    def no_thanks(near):
        with contextlib.suppress(OSError):
            near.recv(65536)
            near.sendall(b'\x15\x03\x03\x00\x02\x02\x28')  # a fatal alert, handshake_failure
            near.recv(65536)
        near.close()
    with Listener(no_thanks) as listener:
        ran = run(CRAWL, '--json', *IDENTITY, *reach('declines', listener.port), url('declines', listener.port, 1))
    same(ran.line['hosts'][0], done=0, failed=1, offered=True, refused=None,
         failures={f'{ENDS["alert"]}; it, or something before it, may not take the flag: try --retry-without-flag': 1})
    same(json.loads(ran.out.splitlines()[0]), tries=1)


def test_the_table():
    long = 'a-name-that-leaves-no-room-for-the-rest-of-its-row-in-a-table-of-80-columns'[:60]
    with Server('--agents-ca', path('agents.pem'), certificate='hosts') as agents, Site(fine, 'hostile-server') as hostile, \
            Server('--agents-ca', path('others.pem'), '--ca-names', 'off', certificate='hosts') as unnamed, \
            Site(lambda _: (200, {'Content-Length': '100', 'Connection': 'close'})) as partial:
        ran = run(CRAWL, *IDENTITY, *reach('agent', agents.port), *reach('hostile', hostile.port), *reach(long, agents.port),
                  *reach('unnamed', unnamed.port), *reach('partial', partial.port), '--retries', '1', '--per-host', '1', '--output', path('pages'), url('agent', agents.port, 1),
                  url('hostile', hostile.port, 1), url('unnamed', unnamed.port, 1), url(long, agents.port, 1),
                  f'https://agent.crawl.test:{agents.port}/nothing', url('partial', partial.port, 1))
    assert ran.status == 1, ('some failed: status 1', ran.err)
    assert ran.err == '', 'no progress bar where there is no terminal'
    lines = ran.out.splitlines()
    assert all(len(line) <= 80 or line.startswith(long) for line in lines), ('80 columns, but for a host that is longer', ran.out)
    assert all(' ' <= char <= '~' for char in ran.out.replace('\n', '')), 'printable ASCII'
    assert '\\1B[2J' in ran.out, 'what the server sent is shown'
    rows = {line.split(':')[0]: line.split()[1:] for line in lines}
    assert lines[0].split() == ['host', 'done', 'failed', 'offered', 'acked', 'authed', 'resumed', 'refused'], 'the head'
    for name, wanted in {'agent.crawl.test': '1 1 yes yes yes 0 no', 'hostile.crawl.test': '0 1 yes no no 0 no',
                         'unnamed.crawl.test': '0 1 yes yes no 0 yes', 'partial.crawl.test': '0 1 yes no no 1 no'}.items():
        assert rows.get(name) == wanted.split(), (f'the row of {name}', ran.out)
    for why in ('HTTP 404', 'refused: unknown_ca'):
        assert f'    1 failed: {why}' in lines, ('what failed is said', ran.out)
    # The other two are in libcurl's words, which are not the same in all its versions.
    assert sum(line.startswith('    1 failed: ') for line in lines) == 4, ('every failure is said', ran.out)
    assert lines[-2:] == ['6 URLs: 2 fetched, 4 failed, 0 not fetched',
            '5 hosts: 3 acknowledged the flag, 2 authenticated us, 1 refused the certificate'], ('the sums', ran.out)
    assert sorted(os.listdir(path('pages'))) == ['000001', '000004'], 'what was fetched is kept, and nothing else'
    same(json.loads(octets_of('pages/000001')), subject=AGENT)


class Terminal:
    """The program in a session of its own on a terminal."""

    def __init__(self, *options):
        self.side, inner = pty.openpty()
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 80, 0, 0))
        self.process = subprocess.Popen([CRAWL, *options], stdin=inner, stdout=inner, stderr=inner, start_new_session=True,
                                        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(inner)
        self.seen = b''

    def read(self):
        try:
            data = os.read(self.side, 65536)
        except OSError:  # how Linux says that the other side is closed
            data = b''
        self.seen += data
        return data

    def until(self, pattern):
        while not re.search(pattern, self.seen):
            if not self.read():
                break
        assert re.search(pattern, self.seen), f'the terminal shows {pattern}'

    def press(self, key):
        os.write(self.side, key)

    def end(self):
        while self.read():
            pass
        os.close(self.side)
        return self.process.wait(PATIENCE)


def test_a_person_stops_it(terminal):
    held = Held()
    with Site(held) as site, Server('--agents-ca', path('agents.pem'), certificate='hosts') as agents:
        everything = [*IDENTITY, *reach('agent', agents.port), *reach('held', site.port), '--output', path('stopped'),
                      url('agent', agents.port, 1), *(url('held', site.port, number) for number in range(4))]
        program = Terminal(*everything)
        program.until(rb'\r\x1b\[K\[#+\.+\] 1/5  0 failed  2 running')
        program.press(b'\x03')
        program.until(rb'stopping')
        assert program.end() == 130, ('Ctrl-C: status 130', program.process.returncode)
        last = program.seen.rsplit(b'\x1b[K', 1)[1].decode().splitlines()
        assert last[0].startswith('host '), 'Ctrl-C: the table, in place of the bar'
        assert '5 URLs: 1 fetched, 0 failed, 4 not fetched' in last, 'Ctrl-C: what was not fetched'
        assert os.listdir(path('stopped')) == ['000001'], 'Ctrl-C: what was fetched is kept'

        program = Terminal(*everything)
        program.until(rb'1/5  0 failed  2 running')
        program.press(b'\x03')
        program.until(rb'stopping')
        program.press(b'\x03')
        assert program.end() == -signal.SIGINT, ('a second Ctrl-C ends it at once', program.process.returncode)
        held.may.set()


def test_a_signal_stops_it():
    """What runs may end."""
    held = Held()
    with Site(held) as site:
        crawl = Crawl(*IDENTITY, *reach('held', site.port), '--per-host', '1',
                      lines=[url('held', site.port, number) for number in range(4)])
        held.arrived.wait(PATIENCE)
        crawl.process.send_signal(signal.SIGTERM)
        held.may.set()
        while (line := crawl.line())['event'] == 'url':
            pass
        assert line['interrupted'] and line['done'] + line['not_fetched'] == 4, 'SIGTERM: the summary'
        crawl.end(128 + signal.SIGTERM)


def test_new_credentials():
    """A host before and one after each SIGHUP; what is held in between gives it its moment."""
    for part in ('pem', 'key'):
        shutil.copy(path(f'crawler.{part}'), path(f'mine.{part}'))
    helds = [Held() for _ in range(3)]
    with Server('--agents-ca', path('agents.pem'), certificate='hosts') as agents, contextlib.ExitStack() as sites:
        list_, addresses = [], []
        for number in range(4):
            list_.append(url(f'agent{number}', agents.port, 1))
            addresses += reach(f'agent{number}', agents.port)
            if number < 3:
                site = sites.enter_context(Site(helds[number]))
                list_.append(url(f'held{number}', site.port, 1))
                addresses += reach(f'held{number}', site.port)
        crawl = Crawl('--ca', path('servers.pem'), *own('mine'), *addresses, '--parallel', '1', lines=list_)

        def hang_up(held, **wanted):
            same(crawl.line(), ok=True, authenticated=True)
            assert held.arrived.wait(PATIENCE), 'the next one waits'
            crawl.process.send_signal(signal.SIGHUP)
            same(line := crawl.line(), event='reload', **wanted)
            held.may.set()
            same(crawl.line(), ok=True)
            return line

        hang_up(helds[0], ok=True, changed=False, error=None)
        shutil.copy(path('second.pem'), path('mine.pem'))
        broken = hang_up(helds[1], ok=False, changed=False)
        assert 'mine.key' in broken['error'] or 'mine.pem' in broken['error'], 'half a pair: what is wrong is said'
        shutil.copy(path('second.key'), path('mine.key'))
        hang_up(helds[2], ok=True, changed=True, error=None)
        same(crawl.line(), ok=True, authenticated=True)
        same(crawl.line(), event='summary', done=7, failed=0)
        said = crawl.end(0)
        assert len(said.splitlines()) == 3, 'each SIGHUP is a line'
        subjects = [agents.line()['subject'] for _ in range(4)]
        assert subjects == [AGENT, AGENT, AGENT, 'CN=second.example'], 'who came'


@pytest.mark.parametrize('pairs', [('impostor', 'crawler'), ('crawler', 'impostor')])
def test_several_credentials(pairs):
    """The first that the server can take, whichever place it has."""
    with Server('--agents-ca', path('agents.pem'), certificate='hosts') as agents:
        ran = run(CRAWL, '--json', '--ca', path('servers.pem'), *own(pairs[0]), *own(pairs[1]),
                  *reach('agent', agents.port), url('agent', agents.port, 1))
        assert ran.status == 0, (ran.out, ran.err)
        same(ran.line['hosts'][0], authenticated=True, refused=None)
        same(agents.line(), subject=AGENT)


@pytest.mark.parametrize('options, shown', [([], None), (['--on-unacknowledged', 'flag'], AGENT)], ids=['by default', 'flag'])
def test_unacknowledged(options, shown):
    with Server('--customers-auth', 'request', '--customers-ca', path('agents.pem'), certificate='hosts') as asks:
        ran = run(CRAWL, '--json', *IDENTITY, *options, *reach('asks', asks.port), url('asks', asks.port, 1))
        same(ran.line['hosts'][0], acknowledged=False, authenticated=shown is not None)
        same(asks.line(), subject=shown)


@pytest.mark.parametrize('options, offered, withheld', [
    (['--offer', 'never', *own('crawler')], False, 'never'), (['--offer', 'always'], True, None), ([], False, 'no_credential')],
    ids=['never', 'always', 'by default'])
def test_offer(options, offered, withheld):
    with Server('--agents-ca', path('agents.pem'), certificate='hosts') as agents:
        ran = run(CRAWL, '--json', '--ca', path('servers.pem'), *options, *reach('agent', agents.port), url('agent', agents.port, 1))
        same(ran.line['hosts'][0], offered=offered, withheld=withheld, authenticated=False, done=1)
        same(agents.line(), offered=offered, subject=None)


@pytest.mark.parametrize('name, options', [('agent', own('crawler')), ('unasked', own('crawler')), ('agent', ['--offer', 'never']), ('agent', [])],
                         ids=['an agent', 'not asked', 'no flag', 'no certificate'])
def test_sessions(name, options):
    """Connections that are cut: the next ones resume, also without a certificate or the flag."""
    with Server('--agents-ca', path('agents.pem'), *virtual_host('unasked'), certificate='hosts') as agents, \
            Listener(cut_in_front_of(agents.port, 4000)) as cuts:
        ran = run(CRAWL, '--json', '--ca', path('servers.pem'), *options, *reach(name, cuts.port), '--per-host', '1',
                  *(url(name, cuts.port, number) for number in range(30)))
        same(ran.line['hosts'][0], done=30, authenticated=name == 'agent' and '--cert' in options)
        seen = [each['resumed'] for each in connections(agents)]
    assert len(seen) > 2 and seen == [False] + [True] * (len(seen) - 1), 'all but the first resume'


def test_halfway(certificates):
    """A server that asks for the flag without saying so, and fails whoever resumes with it: no visit is lost."""
    for options, shown in ([], '-'), (['--on-unacknowledged', 'flag'], '/CN=crawler.example'):
        with Halfway('hosts') as server:
            ran = run(CRAWL, '--json', *IDENTITY, *options, '--retries', '0', '--per-host', '1', *reach('halfway', server.port),
                      *(url('halfway', server.port, number) for number in range(4)))
            same(ran.line, done=4, failed=0)
            assert [server.line() for _ in range(4)] == [f'good full {shown}'] * 4


ENDS = {'alert': 'the server answered the ClientHello, which had the flag, with the alert handshake_failure',
        'close': 'the server did not answer the ClientHello, which had the flag',
        'reset': 'the server did not answer the ClientHello, which had the flag'}


@pytest.mark.parametrize('how', ENDS)
@pytest.mark.parametrize('fall_back', [False, True], ids=['', 'retry without flag'])
def test_ends_on_the_flag(certificates, how, fall_back):
    """Something before a server ends connections on the flag: said plainly. By option its URLs are fetched without, and the
    certificate stays here, whatever the server asks for. Another host has the flag as ever."""
    words = f'{ENDS[how]}; it, or something before it, may not take the flag: try --retry-without-flag'
    with Server('--customers-ca', path('customers.pem'), '--customers-auth', 'request', certificate='hosts') as server, \
            Server('--agents-ca', path('agents.pem'), certificate='hosts') as agents, \
            Listener(in_front_of(server.port, how)) as box:
        ran = run(CRAWL, '--json', *IDENTITY, '--on-unacknowledged', 'flag', '--retries', '0', *reach('boxed', box.port),
                  *reach('agent', agents.port), *(['--retry-without-flag'] if fall_back else []),
                  *(url('boxed', box.port, number) for number in range(3)), url('agent', agents.port, 1))
        assert ran.status == (0 if fall_back else 1)
        rows = {each['host'].split('.')[0]: each for each in ran.line['hosts']}
        same(rows['agent'], done=1, offered=True, authenticated=True)
        same(rows['boxed'], done=3 if fall_back else 0, offered=True, acknowledged=False, authenticated=False,
             withheld='by_application' if fall_back else None, failures={} if fall_back else {words: 3})
        if fall_back:
            same(server.line(), ok=True, offered=False, certificate='empty', subject=None)


FINE = 'https://a.test/'


@pytest.mark.parametrize('options, words', [
    pytest.param([], 'nothing to fetch', id='no URL'),
    pytest.param(['http://a.test/'], 'http://a.test/ is not an https:// URL', id='http'),
    pytest.param(['a.test\x1b'], 'a.test\\1B is not an https:// URL', id='no URL at all'),
    pytest.param(['--urls', path('urls')], f'{path("urls")}:4: http://b.test/ is not an https:// URL', id='http in a list'),
    pytest.param(['--urls', path('none')], f'--urls {path("none")}: cannot be read: No such file', id='no list'),
    pytest.param(['--nonsense', FINE], '--nonsense', id='unknown option'),
    pytest.param(['--cert', path('crawler.pem'), FINE], 'each --cert needs its --key', id='half a pair'),
    pytest.param(['--cert', path('none'), '--key', path('none'), FINE], path('none'), id='no such file'),
    pytest.param(['--cert', path('crawler.pem'), '--key', path('customer.key'), FINE], 'customer.key', id='another key'),
    pytest.param(['--cert', path('crawler.pem'), '--key', path('encrypted.key'), FINE], 'is encrypted', id='a passphrase'),
    pytest.param(['--ca', path('none'), FINE], f'--ca {path("none")}: cannot be read: No such file', id='no CA'),
    pytest.param(['--ca', path('noise.pem'), FINE], 'holds no certificate', id='an empty CA'),
    pytest.param(['--resolve', 'a.test', FINE], 'is not HOST:PORT:ADDR', id='no address'),
    pytest.param(['--parallel', '0', FINE], '--parallel', id='none at once'),
    pytest.param(['--output', path('noise.pem'), FINE], '--output', id='no directory'),
    pytest.param(['--on-unacknowledged', 'flag', FINE], 'needs --cert', id='flag without a certificate'),
])
def test_bad_usage(options, words):
    """Status 2, and one line that says it."""
    write('urls', b'# a list\n\n  https://a.test/ \nhttp://b.test/\n')
    ran = run(CRAWL, *options)
    assert ran.status == 2, (ran.out, ran.err)
    assert ran.err.count('\n') == 1 and words in ran.err and not ran.out


def test_help():
    helped = run(CRAWL, '--help')
    assert helped.status == 0 and '--on-unacknowledged' in helped.out and helped.err == '', '--help'
