# SPDX-License-Identifier: Apache-2.0
"""What a client is at the host that it asks for: the table that the tests of nginx's and of Apache's module run.

Each host that a handshake is for (by its name, by none, by one that nobody has) x each host that a request asks for x each
kind of visitor x each door there x HTTP/1.1 and HTTP/2. What is expected comes from the requirements, not from the modules:
  - who is not asked because of the flag meets what the same client without it meets at the same server without the module;
  - an agent is one where its handshake was, and nowhere else (SEC-7), and never a customer (RCA-14): no door of customers
    opens, and a host that requires a customer answers 421 to whoever came in elsewhere.
"""
import collections
import http.client
import socket
import struct

import pytest

from running import PATIENCE, octets_of, path, write
from servers import Tunnel

Host = collections.namedtuple('Host', 'name on ca asks beside misdirected aliases', defaults=('off', 'empty', ()))
NONE, OPTIONAL, NO_CA, REQUIRE = 'none', 'optional', 'optional_no_ca', 'require'

# The first one is the default. `ca`: whose agents it knows; `asks`: what customers' certificates it asks everybody for.
HOSTS = (
    Host('first.example', True, 'agents', OPTIONAL, aliases=('second-name.example', '*.wild.example')),
    Host('open.example', True, 'agents', NONE, aliases=('open-too.example',)),
    Host('open-421.example', True, 'agents', NONE, misdirected='421'),
    Host('other.example', True, 'others', NONE),
    Host('off.example', False, 'agents', NONE),
    Host('off-421.example', False, 'agents', NONE, misdirected='421'),
    Host('asks.example', True, 'agents', OPTIONAL),
    Host('asks-421.example', True, 'agents', OPTIONAL, misdirected='421'),
    Host('no-ca.example', True, 'agents', NO_CA),
    Host('wants.example', True, 'agents', REQUIRE),
    Host('plain.example', False, 'agents', REQUIRE),
    Host('beside.example', True, 'agents', REQUIRE, 'on', aliases=('beside-too.example',)),
    Host('beside-421.example', True, 'agents', REQUIRE, 'on', '421'),
    Host('beside-other.example', True, 'others', REQUIRE, 'on'),
)
BY_NAME = {name: host for host in HOSTS for name in (host.name, *host.aliases)}
BY_NAME |= {'any.wild.example': HOSTS[0], 'nobody-has-it.example': HOSTS[0]}
ASKED = [name for name in BY_NAME if '*' not in name]
# Server names of handshakes: '-' is none.
NAMES = [*(host.name for host in HOSTS), 'beside-too.example', '-', 'localhost']
DOORS_AT = ('first.example', 'open.example', 'asks.example', 'plain.example', 'beside.example')

# The certificate that is shown because of the flag, the CA of it, and whether there is a customer's as well.
Visitor = collections.namedtuple('Visitor', 'flag shows ca customer')
VISITORS = {
    'a person': Visitor(False, None, None, False),
    'a customer': Visitor(False, None, None, True),
    'an agent': Visitor(True, 'crawler', 'agents', False),
    'an agent of another CA': Visitor(True, 'impostor', 'others', False),
    'an agent with nothing to show': Visitor(True, None, None, False),
    'an agent that is a customer': Visitor(True, 'crawler', 'agents', True),
}
# A page says `outcome|verify|subject|verify of a customer|host`; nothing, or -, where there is none.
Meets = collections.namedtuple('Meets', 'status said')  # `said` where it is 200


def certificate_names():
    return ','.join(f'DNS:{name}' for name in (*(host.name for host in HOSTS), 'beside-too.example', 'localhost'))


def tunnel(server, name, visitor, version):
    write('customer-own.pem', octets_of('customer.pem') + octets_of('customer.key'))
    words = [*(['offers'] if visitor.flag else []), 'presents', *([f'own={path("customer-own.pem")}'] if visitor.customer else [])]
    return Tunnel(server.port, name, visitor.shows, {'1.1': 'http/1.1', '2': 'h2'}[version], *words)


class Http1:
    def __init__(self, port):
        self.connection = http.client.HTTPConnection('127.0.0.1', port, timeout=PATIENCE)

    def get(self, host, where):
        self.connection.putrequest('GET', where, skip_host=True)
        self.connection.putheader('Host', host)
        self.connection.endheaders()
        answer = self.connection.getresponse()
        return answer.status, answer.read()

    def close(self):
        self.connection.close()


class Http2:
    """As much of RFC 9113 and RFC 7541 as it takes to read a status and a body: one stream after the other."""
    DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
    INDEXED = dict(zip(range(0x88, 0x8f), (200, 204, 206, 304, 400, 404, 500)))

    def __init__(self, port):
        self.socket, self.stream = socket.create_connection(('127.0.0.1', port), timeout=PATIENCE), 1
        self.file = self.socket.makefile('rb')
        # HEADER_TABLE_SIZE 0: each header stands for itself. And a window that is never used up.
        self.socket.sendall(b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n' + self.frame(self.SETTINGS, 0, 0, struct.pack('>HI', 1, 0)) +
                            self.frame(self.WINDOW_UPDATE, 0, 0, struct.pack('>I', 1 << 30)))

    @staticmethod
    def frame(kind, flags, stream, payload):
        return struct.pack('>I', len(payload))[1:] + bytes((kind, flags)) + struct.pack('>I', stream) + payload

    def status_of(self, block):
        while block[0] >> 5 == 1:  # the size of the table
            block = block[1:]
        if block[0] in self.INDEXED:
            return self.INDEXED[block[0]]
        if block[0] not in (0x48, 0x08, 0x18):
            raise OSError(f'the status is not the first header: {block[:8].hex()}')
        value = block[2:2 + (block[1] & 0x7f)]
        if block[1] < 0x80:
            return int(value)
        digits = {**{f'{digit:05b}': digit for digit in range(3)}, **{f'{digit + 22:06b}': digit for digit in range(3, 10)}}
        number, code = '', ''
        for bit in ''.join(f'{octet:08b}' for octet in value):
            code += bit
            if code in digits:
                number, code = number + str(digits[code]), ''
        return int(number)

    def get(self, host, where):
        text = b''.join(bytes((name, len(value))) + value.encode() for name, value in ((4, where), (1, host)))
        stream, self.stream, status, body = self.stream, self.stream + 2, 0, b''
        self.socket.sendall(self.frame(self.HEADERS, 5, stream, b'\x82\x87' + text))  # GET, https; END_STREAM, END_HEADERS
        while True:
            head = self.file.read(9)
            if len(head) < 9:
                raise OSError('the connection ended')
            payload = self.file.read(int.from_bytes(head[:3], 'big'))
            kind, flags, of = head[3], head[4], int.from_bytes(head[5:], 'big')
            if kind in (self.SETTINGS, self.PING) and not flags & 1:
                self.socket.sendall(self.frame(kind, 1, 0, b'' if kind == self.SETTINGS else payload))
            if kind == self.GOAWAY or (kind == self.RST_STREAM and of == stream):
                raise OSError('the server ends it')
            if of == stream and kind == self.HEADERS:
                status = self.status_of(payload)
            if of == stream and kind == self.DATA:
                body += payload
            if of == stream and kind in (self.HEADERS, self.DATA) and flags & 1:
                return status, body

    def close(self):
        self.file.close()
        self.socket.close()


def answer_to(connection, host, where):
    status, body = connection.get(host, where)
    said = tuple(word if word != '-' else '' for word in body.decode().strip().split('|'))
    return Meets(status, said if status == 200 else None)


def ask(version, port, asked):
    """One connection for all that is asked: {(host, place): Meets}. A request that finds it ended after other answers is sent again
    on a new one (RFC 9112, section 9.3.1). Status 0: not one octet of an answer."""
    connection, met = None, {}
    for host, where in asked:
        met[host, where] = Meets(0, None)
        for again in (connection is not None, False):
            try:
                connection = connection or (Http1 if version == '1.1' else Http2)(port)
                met[host, where] = answer_to(connection, host, where)
                break
            except (http.client.HTTPException, OSError):
                if connection:
                    connection.close()
                connection = None
                if not again:
                    break
    if connection:
        connection.close()
    return met


def walk(server, name, visitors, doors, version):
    """Gives what each of the visitors meets: {(visitor, host, place): Meets}. The doors of a few hosts: of the handshake's
    own, and of some others if they let it in at all, else one of them. If there is no handshake the first request is all."""
    met, own = {}, BY_NAME.get(name, HOSTS[0]).name
    for who in visitors:
        with tunnel(server, name, VISITORS[who], version) as through:
            seen = ask(version, through.port, [(ASKED[0], '/')])
            if seen[ASKED[0], '/'].status:
                seen |= ask(version, through.port, [(host, '/') for host in ASKED])
                seen |= ask(version, through.port, [(host, door) for host in dict.fromkeys((own, *DOORS_AT))
                                                    for door in doors[:1 if seen[host, '/'].status == 421 else None]])
            met |= {(who, *what): answer for what, answer in seen.items()}
    return met


def expected(name, who, asked, door, ever, rules):
    """The oracle: what a visitor whose handshake was for `name` has to meet at the host `asked`, at `door` ('/': none).

    `ever` is what was met without the module. `rules` has what a server does of itself, with everybody or without a module:
    turned_away(name, there, asked, here), whether nobody comes from there to here, and no_certificate, the status where one is
    required and there is none: 0, if the handshake ends.
    """
    visitor, there, here = VISITORS[who], BY_NAME.get(name, HOSTS[0]), BY_NAME[asked]
    accepted = visitor.flag and there.on and (there.asks != REQUIRE or there.beside == 'on')
    if not accepted:
        status, said = ever['a customer' if visitor.customer else 'a person', asked, door]
        return Meets(status, ('ignored' if visitor.flag else 'not_offered', 'NONE', '', *said[3:]) if status == 200 else None)
    verified = visitor.ca == there.ca
    if there.asks == REQUIRE and not verified and rules.no_certificate == 0:
        return Meets(0, None)
    if rules.turned_away(name, there, asked, here) or (here is not there and here.asks == REQUIRE):
        return Meets(421, None)
    if here is not there and here.misdirected == '421':
        return Meets(421, None)
    if here is there and here.asks == REQUIRE and not verified:
        return Meets(rules.no_certificate, None)
    if door != '/':
        return Meets(403, None)
    if here is not there:
        return Meets(200, ('misdirected', 'NONE', '', 'NONE', here.name))
    failed = 'NONE' if visitor.shows is None else 'FAILED:unable to get local issuer certificate'
    agent = ('SUCCESS', 'CN=crawler.example') if verified else (failed, '')
    return Meets(200, ('accepted', *agent, 'NONE', here.name))


def table(test):
    """Rows: HTTP's version, and the name of the handshake."""
    return pytest.mark.parametrize('version', ['1.1', '2'], ids=['HTTP 1.1', 'HTTP 2'])(pytest.mark.parametrize('name', NAMES)(test))


def check(version, name, server, plain, doors, rules):
    """One row at `server`, against `plain`, which is the same without the module."""
    ever = walk(plain, name, [who for who, visitor in VISITORS.items() if not visitor.flag], doors, version)
    for (who, asked, door), met in walk(server, name, VISITORS, doors, version).items():
        assert met == expected(name, who, asked, door, ever, rules), f'{who} asks for {asked}{door}'
