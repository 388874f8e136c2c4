# SPDX-License-Identifier: Apache-2.0
"""Attempts to break what docs/ promises of the modules and programs, each against the real thing, with the id that docs/attacks.md has.

What is not there is skipped, with the reason.
"""
import base64
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time

import pytest

import hosts
from applications import Behind, PREFACE, ajp, answer, frame, frames, http as speaks_http, http1, literal, plainly
from servers import Apache, Nginx, Tunnel as Carrier, found, unused_port
from running import (CLIENT, PATIENCE, Ran, Server, built, client_cert, home, keeping, leaf, octets_of, openssl, other, own, path,
                     presenting, read_all, run, same, thumbprint, write)

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..', '..')
EXEC = built('modules/preload/reqauth-exec')
AGENT, CUSTOMER = 'CN=crawler.example', 'CN=customer.example'
CRAWLER, PERSON = own('crawler'), ['--offer', 'never']


@pytest.fixture(scope='module', autouse=True)
def certificates(pki):
    for file in (Carrier.program, EXEC):
        if not os.path.exists(file):
            pytest.skip(f'{file} is not built')
    write('ticket.key', os.urandom(80))
    write('apache.key', os.urandom(48))
    names = 'DNS:a.example,DNS:b.example,DNS:c.example,DNS:d.example,DNS:e.example,DNS:x.wild.example,DNS:localhost,IP:127.0.0.1'
    leaf('site', '/CN=a.example', 'servers', names)
    os.chmod(home.name, 0o711)  # servers' children have another user
    strange('lines', tlv(0x30, rdn(b'a\r\nX-Admin: 1\r\n\0"\\,+=\x1b[31m'), rdn('\u202e\u00e9'.encode('utf-16-be'), 30)),
            [(DNS, b'good.example\0.evil.example'), (DNS, b'a,DNS:good.example'), (URI, b'x\r\nX-Admin: 1'), (0x81, b'DNS:good.example')])
    strange('long', tlv(0x30, rdn(b'\n' * 30000)))
    strange('giant', tlv(0x30, rdn(b'giant')), more=os.urandom(60000))


def eventually(holds):
    """Waits for what comes after an answer, as a line of a log does: whether it came."""
    for _ in range(PATIENCE * 50):
        if holds():
            return True
        time.sleep(0.02)
    return False


def listens(port):
    with contextlib.suppress(ConnectionError), plainly(port):
        return True
    return False


def said(text):
    return dict(line.split('=', 1) for line in (text or b'').decode('latin-1').splitlines() if '=' in line)


# Certificates that no tool makes.

def tlv(tag, *parts):
    body = b''.join(parts)
    size = len(body)
    length = bytes([size]) if size < 128 else (lambda digits: bytes([0x80 | len(digits)]) + digits)(size.to_bytes((size.bit_length() + 7) // 8, 'big'))
    return bytes([tag]) + length + body


def oid(*arcs):
    def base128(value):
        return bytes([value >> 7 * at & 0x7f | (0x80 if at else 0) for at in range(max(value.bit_length() - 1, 0) // 7, -1, -1)])
    return tlv(6, bytes([arcs[0] * 40 + arcs[1]]), *map(base128, arcs[2:]))


def rdn(value, tag=12):
    return tlv(0x31, tlv(0x30, oid(2, 5, 4, 3), tlv(tag, value)))


def strange(name, subject, alternatives=(), more=b''):
    """A certificate of the agents' CA for crawler's key: `subject` is DER, `alternatives` pairs of a GeneralName's tag and octets."""
    openssl('pkey', '-in', 'crawler.key', '-pubout', '-outform', 'DER', '-out', f'{name}.spki')
    algorithm = tlv(0x30, oid(1, 2, 840, 10045, 4, 3, 2))
    extensions = [tlv(0x30, oid(2, 5, 29, 17), tlv(4, tlv(0x30, *(tlv(tag, octets) for tag, octets in alternatives))))] if alternatives else []
    extensions += [tlv(0x30, oid(1, 3, 6, 1, 4, 1, 55555, 1), tlv(4, more))] if more else []
    day = [time.strftime('%y%m%d%H%M%SZ', time.gmtime(time.time() + ahead)).encode() for ahead in (-3600, 86400)]
    body = tlv(0x30, tlv(0xa0, tlv(2, b'\2')), tlv(2, b'\1' + os.urandom(8)), algorithm, tlv(0x30, rdn(b'agents CA')),
               tlv(0x30, *(tlv(23, each) for each in day)), subject, octets_of(f'{name}.spki'),
               *([tlv(0xa3, tlv(0x30, *extensions))] if extensions else []))
    write(f'{name}.tbs', body)
    openssl('dgst', '-sha256', '-sign', 'agents.key', '-out', f'{name}.sig', f'{name}.tbs')
    pem = base64.encodebytes(tlv(0x30, body, algorithm, tlv(3, b'\0', octets_of(f'{name}.sig'))))
    write(f'{name}.pem', b'-----BEGIN CERTIFICATE-----\n' + pem + b'-----END CERTIFICATE-----\n')
    shutil.copy(path('crawler.key'), path(f'{name}.key'))


DNS, URI = 0x82, 0x86

def chain(name, length):
    """An agent below so many CAs, which all have one key; it shows all of them."""
    shutil.copy(path('agents.key'), path(f'{name}-ca.key'))
    issuer, shown = 'agents', b''
    for number in range(length):
        below = f'{name}-{number}'
        openssl('req', '-new', '-config', 'pki.conf', '-subj', f'/CN={below}', '-key', 'agents.key', '-out', f'{below}.csr')
        write('ca.ext', b'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n')
        openssl('x509', '-req', '-in', f'{below}.csr', '-CA', f'{issuer}.pem', '-CAkey', 'agents.key', '-days', '2', '-extfile', 'ca.ext',
            '-out', f'{below}.pem')
        issuer, shown = below, octets_of(f'{below}.pem') + shown
    shutil.copy(path('agents.key'), path(f'{issuer}.key'))
    leaf(name, f'/CN={name}', issuer, 'DNS:deep.example')
    write(f'{name}.pem', octets_of(f'{name}.pem') + shown)


# Visitors.

class Tunnel(Carrier):
    def ask(self, host, target='/says', fields=()):
        status, body = http1(self.port, host, target, fields)
        return status, said(body)

    def send(self, octets, answers=1):
        """The answers to what is written: status and page of each."""
        with plainly(self.port) as connection, connection.makefile('rb') as stream:
            connection.sendall(octets)
            return [(status, said(body)) for status, body in (answer(stream) for _ in range(answers))]


def get(host, target='/says', version='1.1', *fields):
    return '\r\n'.join([f'GET {target} HTTP/{version}', *([f'Host: {host}'] if host is not None else []), *fields, '', '']).encode('latin-1')


def streams(port, *requests):
    """Requests on one connection of HTTP/2, each its own pairs: the status and the page of each. Status 0: reset."""
    seen = []
    with plainly(port) as connection, connection.makefile('rb') as stream:
        connection.sendall(PREFACE + frame(4, 0, 0))
        for number, pairs in enumerate(requests):
            connection.sendall(frame(1, 5, 2 * number + 1, b''.join(literal(*pair) for pair in ((':method', 'GET'), (':scheme', 'https'), *pairs))))
            seen.append(said(frames(stream, 2 * number + 1)))
    return seen


def visit_by(port, name, *options, target='/says', status=0):
    """reqauth-client's visit: its own line, and the page."""
    ran = run(CLIENT, '--connect', f'127.0.0.1:{port}', '--servername', name, '--ca', path('servers.pem'), '--json', *options,
        *(['--get', target] if target else []))
    lines = ran.out.splitlines()
    line = json.loads(lines[-1]) if lines and lines[-1].startswith('{') else {}
    return line, dict(each.split('=', 1) for each in lines[:-1] if '=' in each), ran


def s_client(port, name, *options, agent=True, sent=None):
    """openssl s_client, as an agent or as it is. It says much, and the page after it."""
    done = subprocess.run([*([EXEC, *CRAWLER, '--'] if agent else []), 'openssl', 's_client', '-connect', f'127.0.0.1:{port}',
        '-servername', name,
                           '-CAfile', path('servers.pem'), '-ign_eof', *options], input=sent or
                               get('a.example', '/says', '1.1', 'Connection: close'), capture_output=True, timeout=PATIENCE)
    return said(done.stdout.rpartition(b'HTTP/1.1 ')[2]) if b'HTTP/1.1 ' in done.stdout else {}, done.stdout.decode(errors='replace')


def with_key_update(port):
    """The page that an agent gets who changes its keys first, and has the server change its own."""
    with subprocess.Popen([EXEC, *CRAWLER, '--', 'openssl', 's_client', '-connect', f'127.0.0.1:{port}', '-servername', 'a.example',
        '-CAfile', path('servers.pem')],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as client:
        client.stdin.write(b'K\n')
        client.stdin.flush()
        while client.stderr.readline().strip() not in (b'KEYUPDATE', b''):
            pass
        client.stdin.write(get('a.example', '/says', '1.1', 'Connection: close'))
        client.stdin.flush()
        text = client.stdout.read()
        return said(text.rpartition(b'HTTP/1.1 ')[2]), text[-600:]


class Pieces:
    """A relay to `to` that has the client's first flight come in other pieces: `cut` gets its octets, and gives the pieces."""

    def __init__(self, to, cut):
        self.listener, self.to, self.cut = socket.create_server(('127.0.0.1', 0)), to, cut
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.take, daemon=True).start()

    def take(self):
        with contextlib.suppress(OSError):
            while True:
                near, far = self.listener.accept()[0], socket.create_connection(('127.0.0.1', self.to))
                far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for source, target, cut in ((near, far, self.cut), (far, near, None)):
                    threading.Thread(target=self.carry, args=(source, target, cut), daemon=True).start()

    @staticmethod
    def carry(source, target, cut):
        with contextlib.suppress(OSError):
            while octets := source.recv(1 << 16):
                for piece in cut(octets) if cut else [octets]:
                    target.sendall(piece)
                cut = None
            target.shutdown(socket.SHUT_WR)


def octet_by_octet(flight):
    return [flight[at:at + 1] for at in range(len(flight))]


def record_by_record(flight):
    """The ClientHello in records of 16 octets: only how it is carried differs."""
    size = int.from_bytes(flight[3:5], 'big')
    hello, rest = flight[5:5 + size], flight[5 + size:]
    parts = [hello[at:at + 16] for at in range(0, size, 16)]
    return [b''.join(flight[:3] + len(each).to_bytes(2, 'big') + each for each in parts) + rest]


# nginx.

CERTIFICATE = f'ssl_certificate {path("site.pem")}; ssl_certificate_key {path("site.key")};'


SAYS = r'host=$server_name\noutcome=$reqauth_outcome\nreason=$reqauth_reason\nverify=$reqauth_verify\nsubject=$reqauth_subject\nresumed=$reqauth_resumed\n' \
       r'san=$reqauth_san_dns\nuri=$reqauth_san_uri\ncustomer=$ssl_client_verify\nname=$ssl_client_s_dn\nlegacy=$ssl_client_s_dn_legacy\nmark=$ssl_client_fingerprint\nsession=$ssl_session_reused\n'
FIELDS = '''proxy_set_header Client-Cert $reqauth_client_cert; proxy_set_header Client-Cert-Chain $reqauth_client_cert_chain;
    proxy_set_header X-Agent $reqauth_subject; proxy_set_header Host $host;'''
ON = f'reqauth on; reqauth_trusted_certificate {path("agents.pem")};'
ASKS = f'ssl_client_certificate {path("customers.pem")}; ssl_verify_client optional;'


def server(name, *lines, listen='127.0.0.1:$PORT ssl http2'):
    return f'server {{ listen {listen}; server_name {name}; {" ".join(lines)} location = /says {{ return 200 "{SAYS}"; }} }}'


def is_agent(page, host='a.example', **more):
    wanted = {'host': host, 'outcome': 'accepted', 'reason': '', 'verify': 'SUCCESS', 'subject': AGENT, 'customer': 'NONE', 'name': '',
        'mark': '', **more}
    return all(page.get(name) == value for name, value in wanted.items())


def is_nobody(page, **more):
    """Neither an agent nor a customer."""
    wanted = {'verify': 'NONE', 'subject': '', 'customer': 'NONE', 'name': '', 'mark': '', **more}
    return all(page.get(name) == value for name, value in wanted.items())


def places(application):
    """An address with everything that leads a request somewhere else."""
    key = f"ssl_session_ticket_key {path('ticket.key')};"
    everywhere = """access_log access.log one; ssl_early_data on;
        location / { proxy_pass http://127.0.0.1:$APPLICATION; $FIELDS }
        location /grpc { grpc_pass grpc://127.0.0.1:$PLAIN; grpc_set_header Client-Cert $reqauth_client_cert; grpc_set_header X-Agent $reqauth_subject; }
        location = /rewritten { rewrite ^ /says last; }
        location = /tried { try_files /none @named; }
        location @named { return 200 "$SAYS"; }
        location = /failed { error_page 404 =200 @named; return 404; }
        location = /moved { error_page 418 =200 /says; if ($reqauth_verify) { return 418; } return 500; }
        location = /check { internal; if ($door = shut) { return 403; } return 204; }
        location = /asked { auth_request /check; auth_request_set $seen $reqauth_subject; error_page 403 @shut; try_files /none @seen; }
        location @seen { return 200 "subject=$seen\\nverify=$reqauth_verify\\n"; }
        location @shut { return 403 "$SAYS"; }
        location = /any { satisfy any; deny all; auth_request /check; try_files /none @named; }
        location = /included { ssi on; default_type text/html; return 200 '<!--#echo var="reqauth_verify" -->|<!--#echo var="ssl_client_s_dn" default="-" -->|<!--#include virtual="/says" -->'; }
        location = /mirrored { mirror /copy; return 200 "ok"; }
        location = /copy { internal; proxy_pass http://127.0.0.1:$APPLICATION/copy; $FIELDS }
        location = /itself { proxy_pass https://127.0.0.1:$PORT/says; proxy_ssl_server_name on; proxy_ssl_name a.example; $FIELDS }
        """.replace('$APPLICATION', str(application)).replace('$FIELDS', FIELDS).replace('$SAYS', SAYS)
    return '\n'.join([
        "map $reqauth_verify $door { SUCCESS open; default shut; }",
        "log_format one '$status|$reqauth_verify|$reqauth_subject|$reqauth_san_dns|$reqauth_san_uri|$ssl_client_s_dn|$request';",
        server('a.example', ON, ASKS, key, everywhere, listen='127.0.0.1:$PORT ssl http2 default_server'),
        server('b.example', ON, key),
        server('c.example', ON, ASKS.replace('optional', 'on'),
            'reqauth_beside_required on; error_page 421 =200 /says; error_page 400 495 496 =200 /says;'),
        server('d.example', 'reqauth off;', key, 'ssl_early_data on;'),
        server('"~^(?<who>[a-z]+)[.]wild[.]example$"', ON, 'add_header X-Who $who;'),
        server('a.example', ASKS, key, listen='127.0.0.1:$OTHER ssl'),
        r'server { listen 127.0.0.1:$PLAIN http2; location / { return 200 "cert=$http_client_cert\nagent=$http_x_agent\n"; } }'])


@pytest.fixture(scope='module')
def front(nginx_with_module, certificates):
    """nginx with everything that leads a request somewhere else."""
    application = Behind(speaks_http)
    for name, length in (('deep', 60), ('deeper', 101)):
        chain(name, length)
    with Nginx(places(application.port), http=CERTIFICATE) as nginx:
        nginx.application = application.port
        yield nginx
        assert not re.search(r'\[(alert|emerg)\]|exited on signal', nginx.log()), ('N50: nothing of it is an alert, or ends a worker', nginx.log()[-1000:])
        nginx.forget_log()


def tunnel_to(name, who='crawler', *more):
    @pytest.fixture(scope='module')
    def tunnel(front):
        with Tunnel(front.port, name, who, *more) as through:
            yield through
    return tunnel


agent, person, unnamed = tunnel_to('a.example'), tunnel_to('a.example', None), tunnel_to('-')
agent2, unnamed2 = tunnel_to('a.example', 'crawler', 'h2'), tunnel_to('-', 'crawler', 'h2')


def h2(tunnel, *requests):
    return streams(tunnel.port, *[((':path', '/says'), *pairs) for pairs in requests])


# Names in every spelling, on one connection and on several.

def test_N1(agent):
    """An absolute URI of another host than Host."""
    page = agent.send(get('a.example', 'https://b.example/says'))[0][1]
    assert is_nobody(page, host='b.example', outcome='misdirected')


def test_N2(agent):
    """An absolute URI of the handshake's host, Host of another."""
    page = agent.send(get('b.example', 'https://a.example/says'))[0][1]
    assert is_agent(page)


def test_N3(agent):
    """Two Host fields."""
    seen = agent.send(get('a.example', '/says', '1.1', 'Host: b.example'))
    assert seen == [(400, {})]


@pytest.mark.parametrize('host, same_host', [('A.EXAMPLE.:9', True), ('B.ExAmPlE.:443', False), ('a.example:0', True)])
def test_N4(agent, host, same_host):
    page = agent.ask(host)[1]
    assert is_agent(page) if same_host else is_nobody(page, host='b.example', outcome='misdirected'), f'N4: Host: {host}'


@pytest.mark.parametrize('host', ['b.example\t', 'b.example@a.example', 'a.example#b.example', 'a.example\\b.example', '[::1', 'a.example/b.example', ''])
def test_N5(agent, host):
    seen = agent.ask(host)
    assert (seen[0] in (200, 400, 421) and
            (is_nobody(seen[1]) if seen[1] and seen[1]['host'] != 'a.example' else True)), f'N5: Host: {host!r}'


def test_N6(agent):
    """HTTP/1.0 without Host: nginx's own 421, since customers are asked here."""
    seen = agent.send(get(None, '/says', '1.0'))[0]
    assert seen == (421, {})


def test_N7(agent):
    """Five hosts, written at once."""
    seen = agent.send(get('a.example') + get('b.example') + get('x.wild.example') + get('d.example') + get('a.example'), 5)
    assert ([is_agent(page) for _, page in seen] == [True, False, False, False, True] and
            all(is_nobody(page, outcome='misdirected') for _, page in seen[1:4]))


def test_N8(agent, unnamed):
    """At a host for customers and for agents beside them, by an error page that says 200."""
    seen = [agent.ask('c.example'), unnamed.ask('c.example')]
    assert all(not page.get('subject') and page.get('verify') != 'SUCCESS' and
            page.get('customer') != 'SUCCESS' for _, page in seen) and seen[0][0] == 421


def test_N9(unnamed):
    """No server name: a host by a regular expression, by name, the default, an unknown one."""
    seen = unnamed.send(get('x.wild.example') + get('b.example') + get('a.example') + get('none.example'), 4)
    assert (is_nobody(seen[0][1], outcome='misdirected') and
            is_nobody(seen[1][1], outcome='misdirected') and is_agent(seen[2][1]) and is_agent(seen[3][1]))


def test_N10(unnamed):
    """No server name, an absolute URI."""
    page = unnamed.send(get('a.example', 'https://b.example/says'))[0][1]
    assert is_nobody(page, host='b.example', outcome='misdirected')


def test_N11(agent2):
    """HTTP/2: :authority and host differ."""
    seen = h2(agent2, [(':authority', 'b.example'), ('host', 'a.example')], [(':authority', 'a.example'), ('host', 'b.example')],
        [('host', 'b.example')], [])
    assert (not any(page.get('subject') and page['host'] != 'a.example' for page in seen) and
            is_nobody(seen[2], host='b.example', outcome='misdirected'))


def test_N12(agent2, unnamed2):
    for name, tunnel in (('a name', agent2), ('none', unnamed2)):
        seen = h2(tunnel, [(':authority', 'a.example')], [(':authority', 'b.example')], [(':authority', 'x.wild.example')],
            [(':authority', 'a.example')])
        assert (is_agent(seen[0]) and is_agent(seen[3]) and
                all(is_nobody(page, outcome='misdirected') for page in seen[1:3])), f'N12: HTTP/2, {name}: streams of several hosts on one connection'


def test_N13(agent2):
    """HTTP/2: a host of customers, two authorities, and the connection after it."""
    seen = h2(agent2, [(':authority', 'c.example')], [(':authority', 'a.example'), (':authority', 'b.example')],
        [(':authority', 'a.example')])
    assert (not seen[0].get('subject') and
            not seen[1].get('subject') and is_agent(seen[2] or h2(agent2, [(':authority', 'a.example')])[0]))


@pytest.mark.parametrize('place', ['/rewritten', '/tried', '/failed', '/moved'])
def test_N14(agent, person, place):
    assert is_agent(agent.ask('a.example', place)[1]), f'N14: {place}, an agent'
    assert is_nobody(person.ask('a.example', place)[1], outcome='not_offered'), f'N14: {place}, a person'


def test_N15(agent, person):
    """Auth_request."""
    seen = agent.ask('a.example', '/asked'), person.ask('a.example', '/asked')
    assert seen[0] == (200, {'subject': AGENT, 'verify': 'SUCCESS'}) and seen[1][0] == 403 and is_nobody(seen[1][1])


def test_N16(agent, person):
    """Satisfy any."""
    seen = agent.ask('a.example', '/any')[0], person.ask('a.example', '/any')[0]
    assert seen == (200, 403)


def test_N17(agent, person):
    """SSI, with a subrequest."""
    seen = [http1(each.port, 'a.example', '/included')[1].decode() for each in (agent, person)]
    assert (seen[0].startswith('SUCCESS|-|host=') and f'subject={AGENT}\n' in seen[0] and
            'customer=NONE' in seen[0] and
            seen[1].startswith('NONE|-|host=') and 'subject=\n' in seen[1])


def test_N18(agent):
    """A proxy to itself: it offers no flag, and its second connection is a person's."""
    page = agent.ask('a.example', '/itself')[1]
    assert is_nobody(page, outcome='not_offered')


FORGED = ['X-Agent: CN=crawler.example', 'x-aGENT: CN=crawler.example', 'X_Agent: CN=crawler.example', 'Client-Cert: :AAAA:',
          'CLIENT-CERT: :AAAA:', 'Client_Cert: :AAAA:', 'Client-Cert-Chain: :AAAA:', 'Connection: close, Client-Cert, X-Agent',
          'Client.Cert: :AAAA:', 'Client-Cert\t: :AAAA:']


@pytest.mark.parametrize('place', ['/', '/grpc', '/mirrored'])
@pytest.mark.parametrize('many', [FORGED[:-1], *([each] for each in FORGED)], ids=['all of them', *FORGED])
def test_N19(agent, person, place, many):
    for visitor, tunnel in (('an agent', agent), ('a person', person)):
        status, body = http1(tunnel.port, 'a.example', place, many)
        text = body.decode()
        assert b':AAAA:' not in body and status in (400, 200), (visitor, text)
        assert visitor == 'an agent' or 'crawler' not in text, text
        if visitor == 'an agent' and status == 200 and place == '/':
            assert text.count('CN=crawler.example') == 1 and 'HTTP_CLIENT_CERT"' in text, text


def test_N20(agent):
    """Grpc_set_header."""
    page = said(http1(agent.port, 'a.example', '/grpc')[1])
    assert page.get('agent') == AGENT and page.get('cert', '').startswith(':MI')


def test_N21(agent):
    """Two lengths of one body: no second request."""
    seen = agent.send(b'GET /says HTTP/1.1\r\nHost: a.example\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n' + get('b.example'), 2)
    assert seen[0][0] == 400 and seen[1][0] == 0


def test_N22(front):
    """HTTP in clear on the port of TLS: every variable is empty."""
    status, body = http1(front.port, 'a.example', '/says')
    assert status == 400 and eventually(lambda: '\n400|-|-|-|-|-|GET /says' in front.log('access.log')), (front.log('access.log')[-300:])





def test_N23(front):
    """Nothing of it is an alert, or ends a worker."""
    assert not re.search(r'\[(alert|emerg|crit)\]|exited on signal', front.log()), front.log()[-1000:]


# Sessions, early data, certificates and ClientHellos of every kind.

EARLY = get('a.example').decode()


def comes(front, *options, name='a.example', port=None, **more):
    return visit_by(port or front.port, name, *options, **more)


def kept(front, name, *options, **more):
    """A visit whose session is kept: what presents it."""
    comes(front, *options, '--session-out', path(name), **more)
    return presenting(name)


@pytest.fixture(scope='module')
def kept_sessions(front):
    return {'a person': kept(front, 'person.session', *PERSON), 'an agent': kept(front, 'agent.session', *CRAWLER),
            'a customer': kept(front, 'customer.session', *PERSON, *other('customer'))}


def test_N24(front, kept_sessions):
    """The control: a person's early data is served."""
    line, page, ran = comes(front, *PERSON, *kept_sessions['a person'], '--early-data', EARLY, target=None)
    assert line['early_data'] == 'accepted' and page.get('outcome') == 'not_offered', ran.out


@pytest.mark.parametrize('name', ['a.example', 'd.example'])
@pytest.mark.parametrize('whose', ['a person', 'a customer', 'an agent'])
def test_N25_N26_N27(front, kept_sessions, whose, name):
    """The flag, early data and a session of somebody."""
    line, page, ran = comes(front, *CRAWLER, *kept_sessions[whose], '--early-data', EARLY.replace('a.example', name), name=name)
    assert line.get('early_data') in ('none', 'rejected') and page.get('customer') == 'NONE', (ran.out, ran.err)
    assert 'not_offered' not in ran.out and (is_agent(page) if name == 'a.example' else is_nobody(page, outcome='ignored')), ran.out


@pytest.mark.parametrize('whose, verified', [('an agent', 'NONE'), ('a customer', 'SUCCESS')])
def test_N28_N29(front, kept_sessions, whose, verified):
    """A session of somebody at a port without the module, under the same ticket key."""
    line, page, ran = comes(front, *PERSON, *kept_sessions[whose], port=front.other)
    assert page.get('customer') == 'NONE' or (page.get('customer'), page.get('name')) == (verified, CUSTOMER), (ran.out, ran.err)


def test_N30(front):
    """A customer's session of a port without the module, with the flag."""
    customers = kept(front, 'elsewhere.session', *PERSON, *other('customer'), port=front.other)
    line, page, ran = comes(front, *CRAWLER, *customers)
    assert not line['resumed'] and is_agent(page), ran.out


def test_N31(front):
    """The same without a certificate."""
    customers = kept(front, 'elsewhere.session', *PERSON, *other('customer'), port=front.other)
    line, page, ran = comes(front, '--offer', 'always', *customers)
    assert not line['resumed'] and is_nobody(page, reason='empty'), ran.out


def test_N32(front, kept_sessions):
    """A server name in capitals; and with a session of the other spelling: refused by newer nginx, where customers are asked."""
    line, page, ran = comes(front, *CRAWLER, name='A.EXAMPLE')
    assert is_agent(page), ran.out
    line, page, ran = comes(front, *CRAWLER, *kept_sessions['an agent'], name='A.EXAMPLE')
    assert is_agent(page) or line['alert_received'] == 'access_denied', ran.out


@pytest.mark.parametrize('groups', ['P-521:X25519:P-256', 'ffdhe2048:P-384:P-256'])
def test_N33_N34(front, groups):
    """Groups where it takes a HelloRetryRequest, twice."""
    page, text = s_client(front.port, 'a.example', '-groups', groups, '-sess_out', path('retry.session'))
    assert is_agent(page), text[-600:]
    page, text = s_client(front.port, 'a.example', '-groups', groups, '-sess_in', path('retry.session'))
    assert is_agent(page, session=page.get('session')), text[-600:]


def test_N35(front):
    """The flag where at most TLS 1.2 is spoken."""
    page, text = s_client(front.port, 'a.example', '-tls1_2')
    assert is_nobody(page, outcome='not_offered'), text[-600:]


def test_N36(front):
    """The same of a customer."""
    page, text = s_client(front.port, 'a.example', '-tls1_2', '-cert', path('customer.pem'), '-key', path('customer.key'))
    assert page.get('name') == CUSTOMER and page['subject'] == '' and page['outcome'] == 'not_offered', text[-600:]


def test_N37(front):
    """An agent's certificate over TLS 1.2: nobody's."""
    page, text = s_client(front.port, 'a.example', '-tls1_2', '-cert', path('crawler.pem'), '-key', path('crawler.key'))
    assert not page.get('subject') and page.get('customer') != 'SUCCESS', text[-600:]


@pytest.mark.parametrize('cut', [octet_by_octet, record_by_record])
def test_N38_N39(front, cut):
    """A ClientHello in pieces."""
    line, page, ran = comes(front, *CRAWLER, port=Pieces(front.port, cut).port)
    assert is_agent(page), ran.out


def test_N40(front):
    """A key update before the request."""
    page, text = with_key_update(front.port)
    assert is_agent(page), text


def test_N41(front):
    """An agent's ClientHello with one octet changed, in many places: nginx goes on."""
    whole = []
    with Tunnel(Pieces(front.port, lambda flight: whole.append(flight) or [flight]).port, 'a.example') as tunnel:
        tunnel.ask('a.example')
    for at in range(0, len(whole[0]), 7):
        with plainly(front.port) as cut:
            cut.sendall(whole[0][:at] + bytes([whole[0][at] ^ 0x55]) + whole[0][at + 1:])
    assert is_agent(comes(front, *CRAWLER)[1]) and 'exited on signal' not in front.log(), (front.log()[-600:])


def test_N42(front):
    """A name with lines, NUL, quotes and escapes: printable ASCII."""
    # Certificates.
    line, page, ran = comes(front, *own('lines'))
    assert (page.get('verify') == 'SUCCESS' and
            not re.search('X-Admin.*\n(?!.*subject)', page['subject']) and
            all(each.isascii() and each.isprintable() for each in page.values()) and '\\0D\\0A' in page['subject']), (ran.out)


def test_N43(front):
    """An alternative name with NUL, and one with a comma, are one each."""
    line, page, ran = comes(front, *own('lines'))
    assert page.get('san') == 'good.example\\00.evil.example,a\\2CDNS:good.example'


def test_N44(front):
    """And make no field of the application's."""
    line, page, ran = comes(front, *own('lines'), target='/')
    sent = [each for each in json.loads(ran.out.splitlines()[0]) if 'ADMIN' in each[0]]
    assert sent == [], ran.out


def test_N45(front):
    """Nor a line of the log."""
    comes(front, *own('lines'))
    assert (eventually(lambda: 'evil' in front.log('access.log')) and
            all(each.count('|') >= 6 for each in front.log('access.log').splitlines())), (front.log('access.log')[-600:])


def test_N46(front):
    """A name of 30,000 octets."""
    line, page, ran = comes(front, *own('long'))
    assert page.get('verify') == 'SUCCESS' and page['subject'] == 'CN=' + '\\0A' * 30000, ran.out[:300]


def test_N47(front):
    """A certificate of 60 KB: too large for a field, and an agent's."""
    line, page, ran = comes(front, *own('giant'), target='/')
    assert '"HTTP_CLIENT_CERT"' not in ran.out and 'CN=giant' in ran.out and line.get('acknowledged')


def test_N48(front):
    """60 CAs between: the chain is too large for a field, the certificate is not."""
    line, page, ran = comes(front, *own('deep'), target='/')
    assert '"HTTP_CLIENT_CERT"' in ran.out and 'HTTP_CLIENT_CERT_CHAIN' not in ran.out, ran.out[:300]


def test_N49(front):
    """101 CAs between: refused."""
    line, page, ran = comes(front, *own('deeper'))
    assert ran.status == 1 and not page, ran.out[:300]


def test_N51_to_N56(nginx_with_module, front):
    """A worker that is killed, new configurations, a module that is gone."""
    key = f"ssl_session_ticket_key {path('ticket.key')};"
    with Nginx(places(front.application), http=CERTIFICATE) as nginx:
        agents = kept(nginx, 'killed.session', *CRAWLER)
        before = nginx.children()
        for each in before:
            os.kill(each, signal.SIGKILL)
        nginx.until(lambda: nginx.children() and not set(before) & set(nginx.children()) and nginx.says_generation() is not None)
        line, page, ran = comes(nginx, *CRAWLER, *agents)
        assert line['resumed'] and is_agent(page, resumed='1', session='r'), ('N51: a session of a worker that was killed', ran.out)
        with Tunnel(nginx.port, 'a.example') as tunnel, plainly(tunnel.port) as connection, connection.makefile('rb') as stream:
            connection.sendall(get('a.example'))
            assert is_agent(said(answer(stream)[1])), 'N52: a connection before a reload'
            nginx.module = False
            nginx.reload(re.sub(r'\$reqauth_\w+', '', server('a.example', ASKS, key)), server('b.example').replace('$reqauth_', ''), http=CERTIFICATE)
            for options in (CRAWLER, PERSON):
                line, page, ran = comes(nginx, *options, *agents)
                assert not line['resumed'] and page.get('customer') == 'NONE' and page['name'] == '', (
                    'N53, N54: an agent\'s session after a reload without the module: nobody\'s, with the flag or without', ran.out)
            customers = kept(nginx, 'customer.session', *PERSON, *other('customer'))
            nginx.module = True
            nginx.reload(places(front.application), http=CERTIFICATE)
            line, page, ran = comes(nginx, *CRAWLER, *customers)
            assert not line['resumed'] and is_agent(page), ('N55: a customer\'s session of a configuration without the module, with the flag', ran.out)
        assert nginx.log().count('exited on signal') == 1, ('N56: no worker ended by a signal that was not sent', nginx.log()[-600:])
        nginx.forget_log()


# What nginx -t has to refuse, and orders that have to make no difference.
TLS = '127.0.0.1:$PORT ssl'
WRITTEN = {
    'N57, set': server('a.example', ON, 'set $reqauth_verify SUCCESS;', listen=TLS),
    'N58, map': f'map $http_x $reqauth_verify {{ default SUCCESS; }} {server("a.example", ON, listen=TLS)}',
    'N59, geo': f'geo $reqauth_subject {{ default CN=crawler.example; }} {server("a.example", ON, listen=TLS)}',
    'N60, a capture of location': server('a.example', ON, 'location ~ "^/(?<reqauth_verify>.*)$" { return 204; }', listen=TLS),
    'N61, a capture of server_name': server('"~^(?<reqauth_verify>.*)[.]example$"', ON, listen=TLS),
    'N62, auth_request_set': server('a.example', ON, 'location /x { auth_request /y; auth_request_set $reqauth_verify $upstream_http_x; }', listen=TLS),
}


@pytest.mark.parametrize('text', WRITTEN.values(), ids=WRITTEN)
def test_written_variable(nginx_with_module, text):
    """A variable of the module, written by somebody else."""
    said = Nginx(text, http=CERTIFICATE, starts=False).test()
    assert said.status == 1 and 'duplicate' in said.err


def test_N71(nginx_with_module):
    """A name of 30,000 octets, and a limit by fingerprint."""
    with Nginx('limit_req_zone $reqauth_fingerprint zone=one:1m rate=1r/m;' + server('a.example', ON, 'limit_req zone=one;', listen=TLS),
               http=CERTIFICATE) as nginx, Tunnel(nginx.port, 'a.example', 'long') as agent:
        seen = agent.send(get('a.example', '/none') + get('a.example', '/none'), 2)
        assert [status for status, _ in seen] == [404, 503]


@pytest.mark.parametrize('session, options', [('agent', CRAWLER), ('customer', [*PERSON, *other('customer')])])
@pytest.mark.parametrize('flag', [True, False], ids=['the flag', 'no flag'])
@pytest.mark.parametrize('name', ['a.example', 'b.example'])
def test_N72(nginx_with_module, name, flag, session, options):
    """A session in a builtin cache."""
    stateful = 'ssl_session_tickets off; ssl_session_cache builtin:100;'
    with Nginx(*(server(f'{each}.example', ON, ASKS, stateful, listen=TLS) for each in 'ab'), http=CERTIFICATE) as nginx:
        visit_by(nginx.port, 'a.example', *options, '--session-out', path('builtin.session'))
        line, page, ran = visit_by(nginx.port, name, '--offer', 'always' if flag else 'never', *presenting('builtin.session'))
        resumes = name == 'a.example' and flag == (session == 'agent')
        assert line['resumed'] == resumes, ran.out
        assert (page.get('subject') or page.get('name') or None) == ((AGENT if flag else CUSTOMER) if resumes else None), ran.out


# The same by any order; the handshake's own variables; a certificate's name that asks for what is not known yet.
BY_NAME = f'ssl_certificate {home.name}/$reqauth_verify.pem; ssl_certificate_key {home.name}/$reqauth_verify.key;'


@pytest.mark.parametrize('text', [
    f'{server("a.example", "reqauth on;", listen=TLS)} reqauth_trusted_certificate {path("agents.pem")};',
    f'{ON} {server("a.example", listen=TLS)} {server("b.example", "reqauth off;", listen=TLS)}',
    server('a.example', ON, BY_NAME, listen=TLS)],
    ids=['N68, directives of http {} after the server {}', 'N69, on in http {}, off in another server {}', 'N70, a certificate by $reqauth_verify'])
def test_order(nginx_with_module, text):
    for each in ('pem', 'key'):
        shutil.copy(path(f'site.{each}'), path(f'NONE.{each}'))
    with contextlib.suppress(FileNotFoundError):
        os.remove(path('order.session'))
    with Nginx(text, http=CERTIFICATE) as nginx:
        for resumed in (False, True):
            line, page, ran = visit_by(nginx.port, 'a.example', *CRAWLER, *keeping('order.session'))
            assert is_agent(page, session='r' if resumed else '.', resumed=str(int(resumed))), (ran.out, nginx.log()[-500:])
        if 'reqauth off' in text:
            line, page, ran = visit_by(nginx.port, 'b.example', *CRAWLER)
            assert is_nobody(page, outcome='ignored') and not line['acknowledged'], ran.out


STREAM = next((each for each in ('/usr/lib/nginx/modules/ngx_stream_module.so', built('packages/usr/lib/nginx/modules/ngx_stream_module.so'))
               if os.path.exists(each)), None)


def with_stream(more=''):
    """stream {}: what passes TLS on, and what ends it with the same ticket keys."""
    files = f'{CERTIFICATE} ssl_session_ticket_key {path("ticket.key")}; ssl_protocols TLSv1.2 TLSv1.3;'
    nginx = Nginx(server('a.example', ON, ASKS, f'ssl_session_ticket_key {path("ticket.key")};', listen=TLS), http=CERTIFICATE, starts=False)
    nginx.write(nginx.ported(f'''load_module {STREAM}; {octets_of(nginx.at('nginx.conf')).decode()} stream {{ {more}
        server {{ listen 127.0.0.1:$PLAIN; ssl_preread on; proxy_pass 127.0.0.1:$PORT; }}
        server {{ listen 127.0.0.1:$OTHER ssl; {files} {ASKS} return "customer=$ssl_client_verify\\nname=$ssl_client_s_dn\\n"; }} }}'''))
    return nginx


needs_stream = pytest.mark.skipif(STREAM is None, reason='the stream module of nginx is not here')


@needs_stream
def test_N63(nginx_with_module):
    """reqauth on in stream {}."""
    said = with_stream(ON).test()
    assert said.status == 1 and 'is not allowed here' in said.err


@needs_stream
def test_N64_N65(nginx_with_module):
    nginx = with_stream()
    nginx.start()
    with nginx:
        line, page, ran = visit_by(nginx.plain, 'a.example', *CRAWLER, '--session-out', path('stream.session'))
        assert is_agent(page), ('N64: an agent that a stream {} passes on', ran.out)
        for options in (PERSON, CRAWLER):
            line, page, ran = visit_by(nginx.other, 'a.example', *options, *presenting('stream.session'), target=None)
            page, text = s_client(nginx.other, 'a.example', agent=options == CRAWLER)
            assert not line['resumed'] and not line['acknowledged'] and 'customer=NONE' in text, (
                'N65: its session at a stream {} that ends TLS', ran.out, text[-300:])
        nginx.forget_log()


# Apache.

def vhost(name, *lines, port='127.0.0.1:$PORT', on=True):
    return '\n'.join([f'<VirtualHost {port}>', f'ServerName {name}', 'SSLEngine on', f'SSLCertificateFile {path("site.pem")}',
        f'SSLCertificateKeyFile {path("site.key")}',
                      'Protocols h2 http/1.1', *(['ReqAuth on', f'ReqAuthCACertificateFile {path("agents.pem")}'] if on else []), *lines,
                          '</VirtualHost>'])


TOLD = {'host': 'HTTP_HOST', 'server': 'SERVER_NAME', 'outcome': 'REQAUTH_OUTCOME', 'reason': 'REQAUTH_REASON', 'verify': 'REQAUTH_VERIFY',
    'subject': 'REQAUTH_SUBJECT',
        'resumed': 'REQAUTH_RESUMED', 'san': 'REQAUTH_SAN_DNS', 'customer': 'SSL_CLIENT_VERIFY', 'name': 'SSL_CLIENT_S_DN',
            'mark': 'SSL_CLIENT_CERT', 'user': 'REMOTE_USER',
        'redirected': 'REDIRECT_SSL_CLIENT_S_DN', 'redirected_verify': 'REDIRECT_REQAUTH_VERIFY', 'forged': 'FORGED'}
SSI = ''.join(f'{name}=<!--#echo encoding="none" var="{variable}" -->\n' for name, variable in TOLD.items())
LUA = '''function handle(r)
    r.content_type = "text/plain"
    r:puts("name=" .. (r:ssl_var_lookup("SSL_CLIENT_S_DN") or "-") .. "\\ncustomer=" .. (r:ssl_var_lookup("SSL_CLIENT_VERIFY") or "-") .. "\\nverify=" .. (r.subprocess_env["REQAUTH_VERIFY"] or "-") .. "\\n")
    return apache2.OK
end
'''
CUSTOMERS = f'SSLVerifyClient optional\nSSLCACertificateFile {path("customers.pem")}\nSSLOptions +StdEnvVars +ExportCertData'


def httpd_text(ajp_port, application):
    key = f'SSLSessionTicketKeyFile {path("apache.key")}'
    everywhere = f'''
        CustomLog access.log one
        SetEnvIf REQAUTH_VERIFY ^SUCCESS$ FORGED=yes
        SetEnvIfNoCase ^REQAUTH_VERI FAILED FORGED=by-a-pattern
        RewriteEngine on
        RewriteRule ^/moved$ /says.shtml [PT]
        ErrorDocument 403 /says.shtml
        ErrorDocument 400 /says.shtml
        <Location /machines.shtml>\nRequire reqauth\n</Location>
        <Location /customers.shtml>\nSSLRequire %{{SSL_CLIENT_VERIFY}} eq "SUCCESS"\n</Location>
        <Location /good.shtml>\nRequire reqauth DNS:good.example\n</Location>
        <Location /any.shtml>\nSatisfy any\nOrder deny,allow\nDeny from all\nRequire reqauth\n</Location>
        <Location /either.shtml>\nSatisfy any\nOrder deny,allow\nDeny from all\nRequire ssl-verify-client\n</Location>
        <Location /user.shtml>\nSSLUserName SSL_CLIENT_S_DN\n</Location>
        <Location /pha.shtml>\nSSLVerifyClient require\n</Location>
        <Location /denied.shtml>\n<If "%{{SSL_CLIENT_VERIFY}} != 'SUCCESS' && %{{SSL:SSL_CLIENT_S_DN}} == ''">\nRequire all denied\n</If>\n</Location>
        ReqAuthHeader Client-Cert REQAUTH_CLIENT_CERT
        ReqAuthHeader X-Agent REQAUTH_SUBJECT
        ProxyPass /ajp ajp://127.0.0.1:{ajp_port}/ajp
        ProxyPass /application http://127.0.0.1:{application}/
        SSLProxyEngine on
        SSLProxyCheckPeerName off
        SSLProxyMachineCertificateFile {path("crawler.both")}
        ProxyPreserveHost on
        ProxyPass /itself https://127.0.0.1:$PORT/says.shtml'''
    return '\n'.join([
        f'TypesConfig {path("types")}', '<Directory />', 'Options +Includes +MultiViews', '</Directory>', 'AddOutputFilter INCLUDES .shtml', 'SSIUndefinedEcho -',
            'AddHandler lua-script .lua', 'DirectoryIndex says.shtml',
        'LogFormat "%>s|%{REQAUTH_VERIFY}n|%{REQAUTH_SUBJECT}n|%{REQAUTH_SAN_DNS}n|%{SSL_CLIENT_S_DN}x|%{SSL_CLIENT_VERIFY}x|%r" one',
        vhost('a.example', CUSTOMERS, key, everywhere), vhost('b.example', CUSTOMERS, key),
        vhost('c.example', CUSTOMERS.replace('optional', 'require'), 'ReqAuthBesideRequired on', 'ErrorDocument 421 /says.shtml',
            'ErrorDocument 403 /says.shtml'),
        vhost('d.example', CUSTOMERS, key, on=False), vhost('a.example', CUSTOMERS, key, port='127.0.0.1:$OTHER', on=False),
        vhost('e.example', key, f'SSLCACertificateFile {path("customers.pem")}', 'SSLOptions +StdEnvVars +OptRenegotiate',
            '<Location /quick.shtml>\nSSLVerifyClient optional\n</Location>',
              '<Location /quick-any.shtml>\nSSLVerifyClient optional_no_ca\n</Location>'),
        '<VirtualHost 127.0.0.1:$PLAIN>\n<Location /machines.shtml>\nRequire reqauth\n</Location>\nSetEnvIf REQAUTH_VERIFY SUCCESS FORGED=yes\n</VirtualHost>'])


def told(page, **wanted):
    return all(page.get(name) == value for name, value in wanted.items())


def apache_agent(page, **more):
    return told(page, **{'outcome': 'accepted', 'reason': '-', 'verify': 'SUCCESS', 'subject': AGENT, 'customer': 'NONE', 'name': '-',
        'mark': '-', 'user': '-', 'redirected': '-', **more})


def apache_nobody(page, **more):
    return page.get('mark', '-') in ('', '-') and told(page,
        **{'verify': 'NONE', 'subject': '-', 'customer': 'NONE', 'name': '-', 'user': '-', 'redirected': '-', **more})


class Written:
    """A stream that keeps what is read of it."""

    def __init__(self, stream, octets):
        self.stream, self.octets = stream, octets

    def read(self, size):
        self.octets.append(self.stream.read(size))
        return self.octets[-1]


PAGE = '/says.shtml'


@pytest.fixture(scope='module')
def httpd_starts(httpd_with_module, certificates):
    """Starts an httpd with everything that leads a request somewhere else, or asks mod_ssl for a certificate."""
    over_ajp = []
    application, tomcat = Behind(speaks_http), Behind(lambda stream: ajp(Written(stream, over_ajp)))
    write('crawler.both', octets_of('crawler.pem') + octets_of('crawler.key'))
    write('types', b'text/html html shtml\n')
    os.chmod(path('types'), 0o644)

    def start():
        text = httpd_text(tomcat.port, application.port)
        httpd = Apache(text, load=('access_compat', 'lua', 'mime', 'negotiation'), start=False)
        for name in ('says', 'machines', 'good', 'any', 'either', 'user', 'pha', 'denied', 'customers', 'quick', 'quick-any'):
            httpd.page(f'{name}.shtml', SSI)
        httpd.page('includes.shtml', SSI + '<!--#include virtual="/pha.shtml" --><!--#include virtual="/machines.shtml" -->')
        httpd.page('looks.lua', LUA)
        os.remove(httpd.at('www/index.html'))
        httpd.over_ajp, httpd.text = over_ajp, text
        return httpd.start()
    return start


@pytest.fixture(scope='module')
def httpd(httpd_starts):
    with httpd_starts() as running:
        yield running
        assert 'exit signal' not in running.log(), ('A41: no child ended by a signal', running.log()[-600:])


def tunnel_to_httpd(name, who='crawler', alpn='http/1.1'):
    @pytest.fixture(scope='module')
    def tunnel(httpd):
        with Tunnel(httpd.port, name, who, alpn) as through:
            yield through
    return tunnel


httpd_agent, httpd_person, httpd_without_name = tunnel_to_httpd('a.example'), tunnel_to_httpd('a.example', None), tunnel_to_httpd('-')
httpd_another_hosts, httpd_by_http2 = tunnel_to_httpd('b.example'), tunnel_to_httpd('a.example', 'crawler', 'h2')


def visits(httpd, *options, name='a.example', port=None, target=PAGE):
    return visit_by(port or httpd.port, name, *options, target=target)


# Names in every spelling, places, and whatever asks mod_ssl for a certificate.

def test_A1(httpd_agent):
    """An absolute URI of another host than Host."""
    page = httpd_agent.send(get('a.example', f'https://b.example{PAGE}'))[0][1]
    assert apache_nobody(page, outcome='misdirected')


def test_A2(httpd_agent):
    """An absolute URI of the handshake's host, Host of another."""
    seen = httpd_agent.send(get('b.example', f'https://a.example{PAGE}'))
    assert apache_agent(seen[0][1]) or seen[0][0] in (400, 421)


def test_A3(httpd_agent):
    """Two Host fields."""
    seen = httpd_agent.send(get('a.example', PAGE, '1.1', 'Host: b.example'))
    assert seen[0][0] == 400 and seen[0][1].get('server') in ('a.example', None)


@pytest.mark.parametrize('host, same_host', [('A.EXAMPLE.:9', True), ('B.ExAmPlE.:443', False), ('a.example:0', True), ('b.example@a.example', None),
    ('a.example#b.example', None),
    ('[::1', None), ('', None), ('a.example,b.example', None)])
def test_A4(httpd_agent, host, same_host):
    seen = httpd_agent.ask(host, PAGE)
    assert ((same_host is not False and apache_agent(seen[1]) and (same_host or seen[1]['server'] != 'b.example')) or
            (same_host is not True and (seen[0] in (400, 421) or apache_nobody(seen[1], outcome='misdirected')))), f'A4: Host: {host!r}'


def test_A5(httpd_agent, httpd_another_hosts):
    """HTTP/1.0 without Host."""
    seen = [httpd_agent.send(get(None, PAGE, '1.0'))[0], httpd_another_hosts.send(get(None, PAGE, '1.0'))[0]]
    assert all(status in (400, 421) or apache_agent(page) for status, page in seen)


def test_A6(httpd_agent):
    """Four hosts, written at once."""
    seen = httpd_agent.send(get('a.example', PAGE) + get('b.example', PAGE) + get('d.example', PAGE) + get('a.example', PAGE), 4)
    assert ([apache_agent(page) for _, page in seen] == [True, False, False, True] and
            all(apache_nobody(page, outcome='misdirected') for _, page in seen[1:3]))


def test_A7(httpd_without_name):
    """No server name: another host, the first one, an unknown one."""
    seen = httpd_without_name.send(get('b.example', PAGE) + get('a.example', PAGE) + get('none.example', PAGE), 3)
    assert apache_nobody(seen[0][1]) and apache_agent(seen[1][1]) and apache_agent(seen[2][1])


def test_A8(httpd_agent, httpd_without_name):
    """At a host for customers, with an error document."""
    seen = httpd_agent.ask('c.example', PAGE), httpd_without_name.ask('c.example', PAGE)
    assert all(status == 421 and not page.get('subject', '-').startswith('CN') and page.get('customer') != 'SUCCESS' for status,
            page in seen)


def test_A9_A10(httpd_by_http2):
    seen = streams(httpd_by_http2.port, *[[(':path', PAGE), *pairs] for pairs in (
        [(':authority', 'a.example')], [(':authority', 'b.example')], [(':authority', 'd.example')],
        [(':authority', 'a.example'), ('host', 'b.example')], [(':authority', 'b.example'), ('host', 'a.example')], [(':authority', 'a.example')])])
    assert apache_agent(seen[0]) and apache_agent(seen[5]), 'A9: HTTP/2: streams of several hosts on one connection'
    assert all(apache_nobody(page) for page in seen[1:3]), 'A9'
    assert all(page['server'] == 'a.example' for page in seen[3:5] if page.get('verify') == 'SUCCESS'), 'A10: HTTP/2: :authority and host differ'


@pytest.mark.parametrize('place', ['/moved', '/', '/says', '/user.shtml'])
def test_A11(httpd_agent, httpd_person, place):
    assert apache_agent(httpd_agent.ask('a.example', place)[1]), f'A11: {place}, an agent'
    assert apache_nobody(httpd_person.ask('a.example', place)[1], outcome='not_offered'), f'A11: {place}, a person'


@pytest.mark.parametrize('place, opens', [('/machines.shtml', True), ('/any.shtml', True), ('/either.shtml', False), ('/good.shtml', False),
    ('/customers.shtml', False), ('/denied.shtml', False), ('/pha.shtml', False)])
def test_A12(httpd_agent, httpd_person, httpd_another_hosts, httpd_by_http2, place, opens):
    status, page = httpd_agent.ask('a.example', place)
    assert (status == (200 if opens else 403) and
            apache_agent(page, redirected_verify='-' if opens else page['redirected_verify'])), f'A12: {place}, an agent'
    if place != '/pha.shtml':
        status, page = httpd_person.ask('a.example', place)
        assert status == 403 and apache_nobody(page), f'A12: {place}, a person: closed, also where an error document is served'
        page = streams(httpd_by_http2.port, [(':path', place), (':authority', 'a.example')])[0]
        assert (apache_agent(page, redirected_verify=page['redirected_verify']) and
                (page['redirected_verify'] == '-') == opens), f'A12: {place}, an agent by HTTP/2'
    status, page = httpd_another_hosts.ask('a.example', place)
    assert (status == 403 and apache_nobody(page)) or status == 421, f'A12: {place}, an agent of another host'


def test_A13(httpd_agent):
    """A proxy to itself with an agent's certificate to show: it offers no flag."""
    page = httpd_agent.ask('a.example', '/itself')[1]
    assert apache_nobody(page, outcome='not_offered')


def test_A14(httpd_agent, httpd_person):
    """Mod_lua's ssl_var_lookup."""
    for tunnel in (httpd_agent, httpd_person):
        page = said(http1(tunnel.port, 'a.example', '/looks.lua')[1])
        assert page == {'name': '', 'customer': 'NONE', 'verify': 'SUCCESS' if tunnel is httpd_agent else 'NONE'}


def test_A15(httpd):
    """AJP, the control: a customer's certificate goes to the application."""
    line, page, ran = visit_by(httpd.port, 'a.example', *PERSON, *other('customer'), target='/ajp')
    assert b'BEGIN CERTIFICATE' in b''.join(httpd.over_ajp)


def test_A16(httpd, httpd_agent):
    """AJP: an agent's does not."""
    httpd.over_ajp.clear()
    http1(httpd_agent.port, 'a.example', '/ajp')
    assert b'BEGIN CERTIFICATE' not in b''.join(httpd.over_ajp) and b'CN=crawler' in b''.join(httpd.over_ajp)


@pytest.mark.parametrize('field', ['REQAUTH_VERIFY', 'reqauth_verify', 'Reqauth-Verify'])
def test_A45_A17(httpd, httpd_person, httpd_another_hosts, field):
    for what, tunnel in (('a person', httpd_person), ('an agent of another host', httpd_another_hosts)):
        page = tunnel.ask('a.example', PAGE, [f'{field}: SUCCESS', 'REQAUTH_SUBJECT: CN=crawler.example'])[1]
        assert apache_nobody(page, forged='-'), f'A17: {what} writes a field {field}, and SetEnvIf looks for it'
    page = said(http1(httpd.plain, 'a.example', PAGE, [f'{field}: SUCCESS'])[1])
    assert http1(httpd.plain, 'a.example', '/machines.shtml', [f'{field}: SUCCESS'])[0] == 403, f'A45: Require reqauth on a plain port, with the field {field}'
    assert page.get('forged') == '-' and page['verify'] == '-', f'A17: {field} on a plain port'


def test_A18(httpd_person):
    """And a pattern."""
    page = httpd_person.ask('a.example', PAGE, ['REQAUTH_VERI: FAILED'])[1]
    assert apache_nobody(page)


def test_A19(httpd_agent):
    """SetEnvIf sees an httpd_agent."""
    assert httpd_agent.ask('a.example', PAGE)[1].get('forged') == 'yes'


@pytest.mark.parametrize('many', [['X-Agent: CN=crawler.example'], ['X_Agent: CN=crawler.example'], ['x.agent: CN=crawler.example'],
    ['Connection: close, X-Agent'], ['Client_Cert: :AAAA:']])
def test_A20(httpd_agent, httpd_person, many):
    seen = [http1(each.port, 'a.example', '/application', many)[1].decode() for each in (httpd_person, httpd_agent)]
    assert ('crawler' not in seen[0] and 'AAAA' not in ''.join(seen) and
            seen[1].count('CN=crawler.example') == 1 and '"HTTP_CLIENT_CERT"' in seen[1]), f'A20: {many[0]} to the application'


def test_A21(httpd_agent):
    """A request that cannot be read."""
    # A request that cannot be read has no notes; what mod_ssl knows is hidden all the same.
    seen = httpd_agent.send(b'GET /malformed HTTP/1.1\r\nHost: a.example\r\nno colon\r\n\r\n')
    assert (seen[0][0] == 400 and seen[0][1].get('customer', 'NONE') in ('NONE', '-') and
            seen[0][1].get('name', '-') == '-')


def test_A22(httpd, httpd_agent):
    """And its line of the log."""
    httpd_agent.send(b'GET /malformed HTTP/1.1\r\nHost: a.example\r\nno colon\r\n\r\n')
    assert (eventually(lambda: '/malformed' in httpd.log('access.log')) and
            all(line.split('|')[4:6] == ['-', 'NONE'] for line in httpd.log('access.log').splitlines() if '/malformed' in line)), (httpd.log('access.log')[-500:])


def test_A23(httpd_agent):
    """Two lengths of one body: no second identity."""
    seen = httpd_agent.send(b'GET /says.shtml HTTP/1.1\r\nHost: a.example\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n' + get('b.example', PAGE), 2)
    assert all(page.get('verify') != 'SUCCESS' for status, page in seen[1:])


def test_A24(httpd):
    """The flag, no agent's certificate, and a customer's after the handshake: 403, as it says."""
    line, page, ran = visits(httpd, '--offer', 'always', *other('customer'), '--post-handshake', target='/pha.shtml')
    assert 'customer=SUCCESS' not in ran.out and CUSTOMER not in ran.out


@pytest.mark.parametrize('who', ['customer', 'crawler'], ids=['A25, a customer who offers the flag', "A26, an agent's certificate"])
def test_A25_A26(httpd, who):
    """TLS 1.2, SSLVerifyClient in a place."""
    page, text = s_client(httpd.port, 'a.example', '-tls1_2', '-legacy_renegotiation', '-cert', path(f'{who}.pem'), '-key',
                          path(f'{who}.key'), sent=get('a.example', '/pha.shtml', '1.0'))
    if who == 'customer':
        assert page.get('name') == CUSTOMER and page['outcome'] == 'not_offered', text[-1000:]
    else:
        assert page.get('customer') != 'SUCCESS' and not page.get('subject', '-').startswith('CN'), text[-1000:]


@pytest.mark.parametrize('cut', [octet_by_octet, record_by_record])
def test_A27_A28(httpd, cut):
    """A ClientHello in pieces."""
    line, page, ran = visits(httpd, *CRAWLER, port=Pieces(httpd.port, cut).port)
    assert apache_agent(page), ran.out


def test_A29(httpd):
    """A HelloRetryRequest, perhaps."""
    page, text = s_client(httpd.port, 'a.example', '-groups', 'P-521:X25519', sent=get('a.example', PAGE, '1.0'))
    assert apache_agent(page), text[-600:]


def test_A30(httpd):
    """A name with lines, NUL, quotes and escapes: printable ASCII."""
    # Certificates.
    line, page, ran = visits(httpd, *own('lines'))
    assert (page.get('verify') == 'SUCCESS' and
            all(each.isascii() and each.isprintable() for each in page.values()) and
            '\\0D\\0A' in page['subject']), (ran.out)


def test_A31(httpd):
    """Require reqauth DNS:good.example, of good.example NUL .evil.example and the like."""
    line, page, ran = visits(httpd, *own('lines'), target='/good.shtml')
    assert page.get('redirected_verify') == 'SUCCESS', ran.out


def test_A32(httpd):
    """And make no field of the application's."""
    line, page, ran = visits(httpd, *own('lines'), target='/application')
    assert 'ADMIN' not in ''.join(name for name, _ in json.loads(ran.out.splitlines()[0]))


def test_A33(httpd):
    """Nor a line of the log."""
    visits(httpd, *own('lines'))
    assert (eventually(lambda: 'evil' in httpd.log('access.log')) and
            all(line.count('|') == 6 for line in httpd.log('access.log').splitlines())), (httpd.log('access.log')[-500:])


def test_A34(httpd):
    """A certificate of 60 KB: too large for a field, and an agent's."""
    line, page, ran = visits(httpd, *own('giant'), target='/application')
    assert line.get('acknowledged') and 'CN=giant' in ran.out and 'HTTP_CLIENT_CERT' not in ran.out


def test_A35(httpd):
    """A name of 30,000 octets."""
    line, page, ran = visits(httpd, *own('long'))
    assert page.get('verify') == 'SUCCESS' and page['subject'] == 'CN=' + '\\0A' * 30000, ran.out[:300]


# mod_ssl can look at a certificate that is there already, in place of asking; and a page can include a place that asks.

@pytest.mark.parametrize('place', ['/quick.shtml', '/quick-any.shtml'])
def test_A42(httpd, place):
    """SSLOptions +OptRenegotiate: closed to an httpd_agent."""
    line, page, ran = visits(httpd, *CRAWLER, name='e.example', target=place)
    body = re.sub(r'^\{"event":.*', '', ran.out, flags=re.M)
    assert '403' in body and 'verify=SUCCESS' not in body and 'crawler' not in body, (ran.out, httpd.log()[-1500:])


def test_A43(httpd):
    """An agent's page that includes a place of customers, and one of agents."""
    line, page, ran = visits(httpd, *CRAWLER, target='/includes.shtml')
    assert ran.out.count('verify=SUCCESS') == 2 and 'an error occurred' in ran.out and 'customer=SUCCESS' not in ran.out


def test_A44(httpd):
    """And a person's."""
    line, page, ran = visits(httpd, *PERSON, target='/includes.shtml')
    assert 'verify=SUCCESS' not in ran.out and ran.out.count('customer=NONE') == 1


def httpd_keeps(httpd, name, *options):
    """A visit whose session is kept: what presents it."""
    visits(httpd, *options, '--session-out', path(name))
    return presenting(name)


@pytest.mark.parametrize('options', [PERSON, CRAWLER], ids=['A36, without the flag', 'A37, with it'])
def test_A36_A37(httpd, options):
    """An agent's session at a port where ReqAuth is off."""
    agents = httpd_keeps(httpd, 'httpd.session', *CRAWLER)
    line, page, ran = visits(httpd, *options, *agents, port=httpd.other)
    assert not line['resumed'] and told(page, customer='NONE', name='-', verify='NONE'), ran.out


def test_A38(httpd):
    """A customer's session with the flag."""
    customers = httpd_keeps(httpd, 'httpd-customer.session', *PERSON, *other('customer'))
    line, page, ran = visits(httpd, *CRAWLER, *customers)
    assert not line['resumed'] and apache_agent(page), ran.out


def test_A39_A40_A41(httpd_starts):
    """An agent's session after a restart without the module."""
    with httpd_starts() as httpd:
        agents = httpd_keeps(httpd, 'restart.session', *CRAWLER)
        without = '\n'.join(line for line in httpd.text.splitlines() if 'ReqAuth' not in line and 'Require reqauth' not in line)
        httpd.configure(without, module=False)
        httpd.graceful(alone=False)
        eventually(lambda: visits(httpd, *PERSON)[1].get('outcome') == '-')
        for options in (PERSON, CRAWLER):
            line, page, ran = visits(httpd, *options, *agents)
            assert not line['resumed'] and told(page, customer='NONE', name='-', verify='-'), ran.out
        assert 'exit signal' not in httpd.log(), httpd.log()[-600:]


# reqauth-exec.

def under(*command, options=None, **more):
    """A command under reqauth-exec as an agent: its status, and what it says."""
    done = subprocess.run([EXEC, *(options or own('crawler')), '--', *command], stdin=subprocess.DEVNULL, capture_output=True,
        timeout=PATIENCE, **more)
    return Ran(done.returncode, done.stdout, done.stderr)


def curl(*options):
    return ['/usr/bin/curl', '-sS', '--noproxy', '*', '--cacert', path('servers.pem'), *options]


BOTH_SIDES = """
import socket, ssl, sys, warnings
warnings.simplefilter('ignore')
def name(tls):
    return 'CN ' + dict(each[0] for each in tls.getpeercert()['subject'])['commonName']
context = ssl.SSLContext(ssl.PROTOCOL_TLS)
context.verify_mode = ssl.CERT_REQUIRED
try:
    if sys.argv[1] == 'client':
        context.check_hostname = True
        context.load_verify_locations(sys.argv[3])
        with context.wrap_socket(socket.create_connection(('127.0.0.1', int(sys.argv[2]))), server_hostname=sys.argv[4]) as tls:
            print(name(tls))
    else:
        context.load_verify_locations(sys.argv[2])
        context.load_cert_chain(sys.argv[3], sys.argv[4])
        listener = socket.create_server(('127.0.0.1', 0))
        print(listener.getsockname()[1], flush=True)
        with context.wrap_socket(listener.accept()[0], server_side=True) as tls:
            print(name(tls))
except ssl.SSLError as error:
    print(type(error).__name__)
"""


class Redirecting:
    """Not a server of ours: HTTPS in Python, which sends everybody to `where`."""

    def __init__(self, where):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(path('server.pem'), path('server.key'))
        self.listener, self.where = socket.create_server(('127.0.0.1', 0)), where
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            with contextlib.suppress(OSError), self.context.wrap_socket(self.listener.accept()[0], server_side=True) as tls:
                tls.recv(65536)
                tls.sendall(f'HTTP/1.1 302 Found\r\nLocation: {self.where}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'.encode())


AGENTS, ASKS_ALL = ['--agents-ca', path('agents.pem')], ['--customers-ca', path('customers.pem'), '--customers-auth', 'request']


@pytest.fixture
def here(certificates):
    with Server(*AGENTS) as running:
        running.page = f'https://localhost:{running.port}/debug'
        yield running


@pytest.fixture
def elsewhere(certificates):
    """A server that asks everybody."""
    with Server(*ASKS_ALL) as running:
        running.page = f'https://localhost:{running.port}/debug'
        yield running


# The environment, children, other servers, and names that nobody expects.

def test_E1(elsewhere):
    """A redirect to a host that asks everybody: no certificate."""
    under(*curl('-L', f'https://localhost:{Redirecting(elsewhere.page).port}/'))
    same(elsewhere.line(), offered=True, certificate='empty', subject=None)


def test_E2(here, elsewhere):
    """Three transfers to two hosts in one process."""
    under(*curl(here.page, '--next', *curl(elsewhere.page)[1:], '--next', *curl(here.page)[1:]))
    same(here.line(), subject=AGENT)
    same(elsewhere.line(), subject=None)


def test_E3(here):
    """A server whose own certificate the program does not take: no certificate before."""
    ran = under(*curl('--cacert', path('others.pem'), here.page))
    line = here.line()
    assert ran.status == 60 and line['subject'] is None and line['certificate'] != 'verified', (ran.err, line)


PYTHON = '/usr/bin/python3'
# Words before the command, what is in the environment, and whether it is an agent: else nobody, and the program runs.
CHILDREN = {
    'E4, env -i': (['env', '-i'], {}, False),
    'E5, a child without LD_PRELOAD': (['env', '-u', 'LD_PRELOAD'], {}, False),
    'E6, a child without the settings': (['env', '-u', 'REQAUTH_EXEC'], {}, False),
    'E7, a child with other settings': (['env', 'REQAUTH_EXEC={"server":"no"'], {}, False),
    "E8, a tally that is another process's file": (['env', 'REQAUTH_EXEC_TALLY=1:1:0'], {}, True),
    'E9, a tally of no number': (['env', 'REQAUTH_EXEC_TALLY=%n%n:1:99999999999999999999'], {}, True),
    'E10, vfork, by Python': ([PYTHON, '-c', 'import subprocess, sys; sys.exit(subprocess.run(sys.argv[1:], close_fds=True).returncode)'], {}, True),
    'E11, posix_spawn, without any descriptor': ([PYTHON, '-c', 'import os, sys; sys.exit(os.waitstatus_to_exitcode(os.waitpid('
                                                  'os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ), 0)[1]))'], {}, True),
    'E12, a chain of programs': (['sh', '-c', 'exec env X=1 nice setsid -w sh -c \'"$@"\' sh "$@"', 'sh'], {}, True),
    'E13, its standard error closed': (['sh', '-c', '"$@" 2>&-', 'sh'], {}, True),
    'E14, another LD_PRELOAD beside it': ([], {'LD_PRELOAD': hosts.KEYLOG, 'KEYLOG': path('exec.keys')}, True),
    'E15, LD_BIND_NOW': ([], {'LD_BIND_NOW': '1'}, True),
}


@pytest.mark.parametrize('words, environment, is_known', CHILDREN.values(), ids=CHILDREN)
def test_child(here, words, environment, is_known):
    if environment.get('LD_PRELOAD') and not os.path.exists(hosts.KEYLOG):
        pytest.skip('keylog is not built')
    ran = under(*words, *curl(here.page), env={**os.environ, **environment})
    assert ran.status == 0, ran.err
    same(here.line(), ok=True, subject=AGENT if is_known else None)


def test_E16(here):
    """What an environment without settings says."""
    assert 'goes on without the flag' in under('env', '-u', 'REQAUTH_EXEC', *curl(here.page)).err


@pytest.mark.parametrize('name', ['a "quoted\\" name\n\t\u00e9.pem', 'not UTF-8 \udcff.pem'], ids=['E17, quoted', 'E18, not UTF-8'])
def test_file_name(here, name):
    """It is used, or there is an error in one line."""
    shutil.copy(path('crawler.pem'), path(name))
    shutil.copy(path('crawler.key'), path(name + '.key'))
    ran = under(*curl(here.page), options=['--cert', path(name), '--key', path(name + '.key')])
    if ran.status == 0:
        assert here.line()['subject'] == AGENT and ran.err == ''
    else:
        assert ran.status == 125 and ran.err.count('\n') == 1 and ran.out == '', ran.err


def test_E19_E20(here):
    """A program with a line in its name."""
    strange_program = path('cu\nrl "x" \x1b[2J')
    shutil.copy('/usr/bin/curl', strange_program)
    ran = under(strange_program, *curl(here.page)[1:], options=[*CRAWLER, '--log', path('strange.log'), '--verbose'])
    with open(path('strange.log')) as log:
        lines = [json.loads(line) for line in log]
    assert ran.status == 0 and lines and all(each['program'] == os.path.basename(strange_program) for each in lines), 'E19: a JSON object a line'
    assert all(line.startswith('reqauth-exec: ') for line in ran.err.splitlines()) and '\x1b' not in ran.err, 'E20: each line of --verbose is marked'


def test_E21(here):
    """A second reqauth-exec whose credentials are not there: nothing runs."""
    ran = under(EXEC, '--cert', path('none.pem'), '--key', path('none.key'), '--', *curl(here.page))
    assert ran.status == 125 and ran.out == '', ran.err


# One SSL_METHOD for both sides: each SSL_CTX is a client's and a server's.

@pytest.mark.parametrize('ca, name, wanted', [('servers', 'localhost', 'CN localhost'), ('others', 'localhost', 'SSLCertVerificationError'),
                                              ('servers', 'b.example', 'SSLCertVerificationError')],
                         ids=['E27, a server that is trusted', 'E28, a server of an unknown CA', 'E29, a server of another name'])
@pytest.mark.parametrize('options', [['--server', *AGENTS], ['--server', *AGENTS, '--visible'], CRAWLER], ids=['server', 'visible', 'client'])
def test_client_by_tls_method(here, options, ca, name, wanted):
    write('both.py', BOTH_SIDES.encode())
    ran = under(PYTHON, path('both.py'), 'client', str(here.port), path(f'{ca}.pem'), name, options=options)
    assert ran.out.strip() == wanted, ran.err


@pytest.mark.parametrize('who, wanted', [('customer', 'CN customer.example'), ('crawler', 'Error'), (None, 'Error')])
def test_E30(who, wanted):
    """A server by TLS_method under --cert."""
    write('both.py', BOTH_SIDES.encode())
    with subprocess.Popen([EXEC, *own('impostor'), '--', PYTHON, path('both.py'), 'server', path('customers.pem'), path('site.pem'), path('site.key')],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        port = int(process.stdout.readline())
        visit_by(port, 'a.example', '--offer', 'always', *(other(who) if who else []), target=None)
        seen = process.stdout.readline().decode().strip()
        process.kill()
    assert wanted in seen


@pytest.fixture(scope='module')
def s_server(certificates):
    """A server that knows nothing: openssl s_server, with a second SSL_CTX for another name. `noted` gives what the log has of a name."""
    port, log = unused_port(), path('s_server.log')
    command = ['openssl', 's_server', '-accept', f'127.0.0.1:{port}', '-cert', path('site.pem'), '-key', path('site.key'), '-servername',
               'b.example', '-cert2', path('site.pem'), '-key2', path('site.key'), '-www']

    def noted(name):
        def lines():
            with contextlib.suppress(FileNotFoundError), open(log) as file:
                return [line for line in map(json.loads, file) if line['server_name'] == name]
            return []
        return lines()[-1] if eventually(lines) else {}
    with subprocess.Popen([EXEC, '--server', *AGENTS, '--verbose', '--log', log, '--', *command], stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        eventually(lambda: listens(port) or process.poll() is not None)
        process.port, process.noted = port, noted
        yield process
        process.terminate()
        text = process.stderr.read().decode(errors='replace')
        assert '\nreqauth-exec: openssl "a.example": an agent, CN=crawler.example\x1b' not in text and '\x1b' not in text, (
            'E26: no line of --verbose says what a client wants', text)


@pytest.mark.parametrize('name', ['a.example', 'b.example'], ids=['E22', 'E23'])
def test_s_server(s_server, name):
    line, page, ran = visit_by(s_server.port, name, *CRAWLER, target=None)
    assert line.get('acknowledged') and s_server.noted(name).get('subject') == AGENT, ran.out


def test_E24(s_server):
    """A server name with a line in it: one JSON object."""
    hostile = 'x\nreqauth-exec: openssl "a.example": an agent, CN=crawler.example\x1b[2J'
    subprocess.run(['openssl', 's_client', '-connect', f'127.0.0.1:{s_server.port}', '-servername', hostile], stdin=subprocess.DEVNULL,
                   capture_output=True, timeout=PATIENCE)
    assert s_server.noted(hostile).get('subject', '') is None


@pytest.mark.parametrize('cut', [octet_by_octet, record_by_record])
def test_E25(s_server, cut):
    """A ClientHello in pieces."""
    line, page, ran = visit_by(Pieces(s_server.port, cut).port, 'a.example', *CRAWLER, target=None)
    assert line.get('acknowledged'), ran.out


def test_E31():
    """DTLS: over UDP there is no flag, and all is as without."""
    udp = unused_port()
    with subprocess.Popen([EXEC, '--server', *AGENTS, '--', 'openssl', 's_server', '-dtls', '-accept', str(udp), '-cert',
                           path('site.pem'), '-key', path('site.key')], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as over_udp:
        while over_udp.stdout.readline().strip() not in (b'ACCEPT', b''):
            pass
        done = subprocess.run([EXEC, *CRAWLER, '--', 'openssl', 's_client', '-dtls', '-connect', f'127.0.0.1:{udp}', '-CAfile',
                               path('servers.pem')], input=b'Q\n', capture_output=True, timeout=PATIENCE)
        over_udp.kill()
    assert b'Verify return code: 0 (ok)' in done.stdout and b'DTLSv1.2' in done.stdout, done


# The example programs, and the recipes.

@pytest.fixture(scope='module')
def program(certificates):
    """reqauth-server: what comes before and beside the request. Gives what a visitor is told, and the server's line."""
    os.makedirs(path('vhost-b'))
    for file, source in (('cert.pem', 'site.pem'), ('key.pem', 'site.key'), ('agents-ca.pem', 'others.pem')):
        shutil.copy(path(source), path(f'vhost-b/{file}'))
    with Server(*AGENTS, *ASKS_ALL, '--post-handshake', '--early-data', '4096', '--vhost', f'b.example={path("vhost-b")}', '--tls1.2',
                certificate='site') as server:
        def comes(*options, name='a.example', target='/debug', port=None):
            while not server.lines.empty():  # of those before
                server.line()
            ran = run(CLIENT, '--connect', f'127.0.0.1:{port or server.port}', '--servername', name, '--ca', path('servers.pem'), '--json',
                      *options, *[word for each in target.split() for word in ('--get', each)])
            return ran, server.line()
        server.comes = comes
        yield server


def test_P1(program):
    """An agent that shows a customer's certificate after the handshake: no agent from then on."""
    ran, _ = program.comes(*CRAWLER, *other('customer'), '--post-handshake', target='/debug /pha /debug')
    seen = [json.loads(each) for each in ran.out.splitlines()[:-1]]
    assert seen[0]['reason'] is None
    for each in seen[1:]:
        assert each['reason'] == 'not_witnessed' and each['subject'] != AGENT


EARLY_DEBUG = ['--early-data', 'GET /debug HTTP/1.1\r\nHost: a.example\r\n\r\n']


def test_P2(program):
    """The flag, early data and a session of a customer."""
    program.comes(*PERSON, *other('customer'), '--session-out', path('p-person'))
    ran, line = program.comes(*CRAWLER, *presenting('p-person'), *EARLY_DEBUG)
    assert line['subject'] == AGENT and not line['resumed'] and CUSTOMER not in ran.out


def test_P3(program):
    """An agent's early data without the flag."""
    program.comes(*CRAWLER, '--session-out', path('p-agent'))
    ran, line = program.comes(*PERSON, *presenting('p-agent'), *EARLY_DEBUG)
    assert line['subject'] is None and not line['resumed'] and AGENT not in ran.out


def test_P4(program):
    """An agent's session at another host with other trust."""
    program.comes(*CRAWLER, '--session-out', path('p-agent'))
    ran, line = program.comes(*CRAWLER, *presenting('p-agent'), name='b.example')
    assert line['subject'] is None and not line['resumed'], ran.out


def test_P5(program):
    """Fifty requests at once: fifty answers."""
    with Tunnel(program.port, 'a.example') as tunnel:
        seen = tunnel.send(b''.join(get('b.example', f'/debug?{each}') for each in range(50)), 50)
    assert [status for status, _ in seen] == [200] * 50, seen[:3]


@pytest.mark.parametrize('octets', [b'GET /debug HTTP/1.1\r\nHost: a\r\nX: ' + b'a' * 100000 + b'\r\n\r\n', b'\0' * 10000,
                                    b'GET ' + b'/' * 70000 + b' HTTP/1.1\r\n\r\n', b'GET /debug HTTP/9.9\r\n\r\n'],
                         ids=['a field', 'NUL', 'a target', 'a version'])
def test_P6(program, octets):
    """Much of it: no page."""
    with Tunnel(program.port, 'a.example') as tunnel, plainly(tunnel.port) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(octets)
            connection.shutdown(socket.SHUT_WR)
        assert AGENT.encode() not in read_all(connection)


@pytest.mark.parametrize('cut', [octet_by_octet, record_by_record])
def test_P7_P8(program, cut):
    """A ClientHello in pieces."""
    ran, _ = program.comes(*CRAWLER, port=Pieces(program.port, cut).port)
    assert json.loads(ran.out.splitlines()[0])['subject'] == AGENT


@pytest.mark.parametrize('name', ['lines', 'giant', 'long'],
                         ids=['P9, a name with lines, NUL and quotes', 'P10, a certificate of 60 KB', 'P11, a name of 30,000 octets'])
def test_strange_certificate(program, name):
    """It is printable."""
    ran, _ = program.comes(*own(name), target='/debug /')
    seen = json.loads(ran.out.splitlines()[0])['subject']
    assert seen.startswith('CN=') and seen.isascii() and seen.isprintable()
    assert '\r\nX-Admin' not in ran.out and '\x1b' not in ran.out, ran.out[:500]


def unpadded(octets):
    return base64.urlsafe_b64encode(octets).rstrip(b'=').decode()


def token(**claims):
    """A JWT of issuer.key, by ES256."""
    text = '.'.join(unpadded(json.dumps(each).encode()) for each in ({'alg': 'ES256'},
        {'iss': 'https://as.example', 'aud': 'https://a.example', 'sub': 'somebody', 'exp': time.time() + 600, **claims}))
    write('token', text.encode())
    openssl('dgst', '-sha256', '-sign', 'issuer.key', '-out', 'token.sig', 'token')
    at, halves = 2, []
    signature = octets_of('token.sig')
    for _ in range(2):
        size = signature[at + 1]
        halves.append(signature[at + 2:at + 2 + size].lstrip(b'\0').rjust(32, b'\0'))
        at += 2 + size
    return f'{text}.{unpadded(b"".join(halves))}'


@pytest.fixture(scope='module')
def resource_server(certificates):
    """Whose token counts on which request: with tokens of three kinds, an agent, and a person."""
    program = built('examples/resource-server')
    if not os.path.exists(program):
        pytest.skip('resource-server is not built')
    openssl('ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', 'issuer.key')
    openssl('pkey', '-in', 'issuer.key', '-pubout', '-outform', 'DER', '-out', 'issuer.der')
    point = octets_of('issuer.der')[-64:]
    write('issuer.jwk', json.dumps({'kty': 'EC', 'crv': 'P-256', 'x': unpadded(point[:32]), 'y': unpadded(point[32:])}).encode())
    with Server(*AGENTS, '--token-key', path('issuer.jwk'), '--issuer', 'https://as.example', '--audience', 'https://a.example', '--unbound', 'refuse',
                certificate='site', program=program) as server, Tunnel(server.port, 'a.example') as server.agent, \
            Tunnel(server.port, 'a.example', None) as server.person:
        server.mine, server.others, server.unbound = (token(cnf={'x5t#S256': thumbprint('crawler')}),
                                                      token(cnf={'x5t#S256': thumbprint('customer')}), token())
        yield server


def bears(target, *tokens):
    return get('a.example', target, '1.1', *(f'Authorization: Bearer {each}' for each in tokens))


def test_R1(resource_server):
    """Five requests at once, of which two have a token that is bound to this certificate."""
    mine, others, unbound = resource_server.mine, resource_server.others, resource_server.unbound
    seen = [status for status, _ in resource_server.agent.send(b''.join(bears('/resource', *each) for each in (
        [mine], [], [others], [unbound], [mine])), 5)]
    assert seen == [200, 401, 401, 401, 200]


def test_R2(resource_server):
    """Two Authorization fields, in each order."""
    mine, others = resource_server.mine, resource_server.others
    for each in ((mine, others), (others, mine), (mine, mine)):
        assert resource_server.agent.send(bears('/resource', *each))[0][0] == 400, each


@pytest.mark.parametrize('target', ['//resource', '/resource/', '/%72esource', '/./resource', 'https://a.example/resource',
                                    '/resource?access_token=MINE', '/resource#'])
def test_R3(resource_server, target):
    """The resource by other spellings, and by a token in the query."""
    assert resource_server.agent.send(bears(target.replace('MINE', resource_server.mine)))[0][0] in (400, 401, 404)


def test_R4(resource_server):
    """A stolen token, with the certificate in a field."""
    field = f'Client-Cert: {client_cert("crawler")}'
    for each in (field, field.lower(), field.replace('-', '_', 1), 'Connection: close\r\n' + field):
        assert http1(resource_server.person.port, 'a.example', '/resource', [f'Authorization: Bearer {resource_server.mine}', each])[0] == 401, each


def test_R5_R6(resource_server):
    """Tokens that nobody signed; and the right one after them."""
    mine = resource_server.mine
    header, claims, signature = mine.split('.')
    for each in (f'{header}.{claims}.', f'{header}.{claims}', f'{unpadded(b"{}")}.{claims}.{signature}', f'{mine}.', '..', '.' * 5000,
                 f'{header}.{claims}.{unpadded(bytes(64))}', f'{unpadded(json.dumps(dict(alg="none")).encode())}.{claims}.',
                 f'{header}.{claims}{claims}.{signature}'):
        assert resource_server.agent.send(bears('/resource', each))[0][0] in (400, 401), each
    assert resource_server.agent.send(bears('/resource', mine))[0][0] == 200


@pytest.fixture(scope='module')
def haproxy(certificates):
    """The recipe: ClientHellos in other pieces, and in more of them than it reads."""
    program, port = found('haproxy') or pytest.skip('haproxy is not installed'), unused_port()
    os.makedirs(path('haproxy'))
    for name in ('haproxy.cfg', 'haproxy-tls-flags.lua'):
        with open(os.path.join(ROOT, 'examples', 'recipes', name)) as file:
            write(f'haproxy/{name}', file.read().replace('127.0.0.1:8443', f'127.0.0.1:{port}').replace(
                'abns@reqauth', f'abns@attempts-{os.getpid()}').encode())
    write('haproxy/server-with-key.pem', octets_of('site.pem') + octets_of('site.key'))
    write('haproxy/agents-ca.pem', octets_of('agents.pem'))
    with subprocess.Popen([program, '-db', '-f', 'haproxy.cfg'], cwd=path('haproxy'), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as process:
        eventually(lambda: listens(port) or process.poll() is not None)
        process.port = port
        yield process
        process.kill()


TRUSTING = [*CRAWLER, '--on-unacknowledged', 'flag']


@pytest.mark.parametrize('cut', [octet_by_octet, record_by_record], ids=['H1', 'H2'])
@pytest.mark.parametrize('options, is_asked', [(TRUSTING, True), ([*PERSON, *other('customer')], False)], ids=['an agent', 'a person'])
def test_haproxy_in_pieces(haproxy, options, is_asked, cut):
    line, page, ran = visit_by(Pieces(haproxy.port, cut).port, 'a.example', *options, target='/')
    assert line['requested'] == is_asked and ran.out.startswith('client-cert :MI' if is_asked else 'client-cert \n'), ran.out


def test_H3(haproxy):
    """An agent's ClientHello with one octet changed, in many places: HAProxy goes on."""
    whole = []
    with Tunnel(Pieces(haproxy.port, lambda flight: whole.append(flight) or [flight]).port, 'a.example') as tunnel:
        http1(tunnel.port, 'a.example', '/')
    for at in range(0, len(whole[0]), 5):
        with plainly(haproxy.port) as cut:
            cut.sendall(whole[0][:at] + bytes([whole[0][at] ^ 0xff]) + whole[0][at + 1:])
    line, page, ran = visit_by(haproxy.port, 'a.example', *TRUSTING, target='/')
    assert haproxy.poll() is None and line['requested'], ran.out


def test_H4(haproxy):
    """What the flag looks like, within another extension: a person."""
    context = ssl.create_default_context(cafile=path('servers.pem'))
    context.load_cert_chain(path('crawler.pem'), path('crawler.key'))
    context.set_alpn_protocols(['\0\x3e\0\x0c\x0b' + '\0' * 10 + '\x01'])
    status, body = http1(haproxy.port, 'a.example', '/', connect=lambda to: context.wrap_socket(plainly(to), server_hostname='a.example'))
    assert (status, body) == (200, b'client-cert \n')


@pytest.mark.parametrize('many', [['Client-Cert: :AAAA:', 'client_cert: :AAAA:'], ['Connection: Client-Cert']], ids=['a field', 'Connection'])
def test_H5(haproxy, many):
    """A person writes it."""
    with Tunnel(haproxy.port, 'a.example', None) as tunnel:
        status, body = http1(tunnel.port, 'a.example', '/', many)
    assert status == 400 or body == b'client-cert \n'


@pytest.fixture(scope='module')
def site(nginx_with_module, certificates):
    """examples/site: its live page, its limits, and its JSON."""
    leaf('false', '/CN=crawler.example', 'others', 'DNS:crawler.example')
    run_in = path('site-run')
    with subprocess.Popen([os.path.join(ROOT, 'examples', 'site', 'serve'), '--listen', '127.0.0.1:0', '--nginx', found('nginx'), '--module',
                           Nginx.shared_object, '--cert', path('server.pem'), '--key', path('server.key'), '--agents-ca', path('agents.pem'),
                           '--run', run_in, '--agent-rate', '1r/m', '--agent-burst', '3'],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as serve:
        try:
            serve.port = int(re.search(rb':(\d+)/', serve.stdout.readline())[1])

            def requests(kind):
                with open(os.path.join(run_in, 'pages', 'live', 'status.json'), 'rb') as file:
                    serve.recent = (now := json.load(file))['recent']
                return now['counts'][kind]['requests']
            serve.requests = requests
            with Tunnel(serve.port, 'localhost', None) as serve.person, Tunnel(serve.port, 'localhost', 'false') as impostor:
                http1(impostor.port, 'localhost', '/')
                yield serve
        finally:
            serve.terminate()


@pytest.mark.parametrize('target', ['/\xff\xfe', '/"},{"visitor":"agent\\', '/%0a%00<script>'], ids=['S1', 'S2', 'S3'])
def test_live_page(site, target):
    """A visitor is there, and (S4) is no agent there."""
    before, agents = site.requests('person'), site.requests('agent')
    http1(site.person.port, 'localhost', target)
    assert eventually(lambda: site.requests('person') == before + 1)
    assert site.requests('agent') == agents


@pytest.mark.parametrize('target', ['/live/status.json', '//live//status.json', '/x/../live/status.json', '/%6cive/status.json', '/live%2fstatus.json',
                                    '/live/../live/status.json.new'], ids=['S5', 'S6', 'S7', 'S8', 'S9', 'S10'])
def test_live_page_from_another_address(site, target):
    tls = ssl.create_default_context(cafile=path('servers.pem'))
    status, body = http1(site.port, 'localhost', target, connect=lambda to: tls.wrap_socket(socket.create_connection(
        ('127.0.0.1', to), timeout=PATIENCE, source_address=('127.0.0.2', 0)), server_hostname='localhost'))
    assert status in (403, 404) and b'counts' not in body


def test_S11(site):
    """A person who accepts JSON alone gets the page."""
    status, body = http1(site.person.port, 'localhost', '/', ['Accept: application/json', 'X-Agent: 1', 'Client-Cert: :AAAA:'])
    assert status == 200 and b'<html' in body.lower(), body[:100]


def test_S13(site):
    """A name of 30,000 octets, on the live page."""
    before = site.requests('agent')
    visit_by(site.port, 'localhost', *own('long'), target='/')
    assert eventually(lambda: site.requests('agent') == before + 1)
    for each in site.recent:
        assert len(each['subject']) <= 200


def test_S12(site):
    """An agent's share over many connections and spellings of the name."""
    seen = []
    for name in ('localhost', 'LOCALHOST', 'localhost', 'localhost', 'localhost', 'localhost'):
        line, page, ran = visit_by(site.port, name, *CRAWLER, target='/')
        seen.append('too many requests' in ran.out)
    assert seen == [False] * 4 + [True] * 2
