# SPDX-License-Identifier: Apache-2.0
"""Applications behind a server, one for each way in which servers hand requests on; and clients that write each octet themselves.

An application answers with the variables HTTP_... that a program behind would see, as JSON: a list of [name, value]. Of HTTP itself it
folds names as WSGI and the like do at their worst: whatever is no letter and no digit is an underscore.
"""
import http.server as http_server
import json
import re
import socket
import socketserver
import struct
import threading

PATIENCE = 60  # seconds, only so that a hang fails


def folded(name):
    return 'HTTP_' + re.sub('[^A-Z0-9]', '_', name.upper())


def seen(pairs):
    return json.dumps([pair for pair in pairs if pair[0].startswith('HTTP_')]).encode()


def http(stream):
    """Reads trailers, too, which is what an application that takes them for fields would see."""
    stream.readline()
    fields, chunked, length = [], False, 0

    def section():
        while (line := stream.readline().decode('latin-1').rstrip('\r\n')) != '':
            name, value = line.split(':', 1)
            yield name, value.strip()
    for name, value in section():
        fields.append([folded(name), value])
        chunked = chunked or (name.lower() == 'transfer-encoding' and 'chunked' in value)
        length = int(value) if name.lower() == 'content-length' else length
    if chunked:
        while size := int(stream.readline().split(b';')[0], 16):
            stream.read(size + 2)
        fields += [[folded(name), value] for name, value in section()]
    else:
        stream.read(length)
    body = seen(fields)
    return b'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n' % len(body) + body


def plain_cgi(pairs):
    return b'Status: 200 OK\r\nContent-Type: application/json\r\n\r\n' + seen(pairs)


def scgi(stream):
    size = b''
    while (octet := stream.read(1)) != b':':
        size += octet
    words = stream.read(int(size) + 1)[:-2].decode('latin-1').split('\0')
    stream.read(int(words[1]) if words[1] else 0)
    return plain_cgi(list(zip(words[::2], words[1::2])))


def uwsgi(stream):
    _, size, _ = struct.unpack('<BHB', stream.read(4))
    data, words, at = stream.read(size), [], 0
    while at < len(data):
        length, = struct.unpack_from('<H', data, at)
        words.append(data[at + 2:at + 2 + length].decode('latin-1'))
        at += 2 + length
    variables = dict(zip(words[::2], words[1::2]))
    stream.read(int(variables.get('CONTENT_LENGTH') or 0))
    return b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n' + seen(list(zip(words[::2], words[1::2])))


def fcgi(stream):
    parameters, ended = b'', False
    while not ended:
        _, kind, request, size, padding, _ = struct.unpack('>BBHHBB', stream.read(8))
        content = stream.read(size)
        stream.read(padding)
        parameters += content if kind == 4 else b''
        ended = kind == 5 and size == 0
    words, at = [], 0
    while at < len(parameters):
        sizes = []
        for _ in range(2):
            long = parameters[at] & 0x80
            sizes.append(struct.unpack_from('>I', parameters, at)[0] & 0x7fffffff if long else parameters[at])
            at += 4 if long else 1
        for size in sizes:
            words.append(parameters[at:at + size].decode('latin-1'))
            at += size
    body = plain_cgi(list(zip(words[::2], words[1::2])))
    return (struct.pack('>BBHHBB', 1, 6, request, len(body), 0, 0) + body + struct.pack('>BBHHBB', 1, 6, request, 0, 0, 0) +
            struct.pack('>BBHHBBIB3x', 1, 3, request, 8, 0, 0, 0, 0))


def ajp(stream):
    _, size = struct.unpack('>HH', stream.read(4))
    data, at = stream.read(size), 2

    def string():
        nonlocal at
        length, = struct.unpack_from('>H', data, at)
        at += 2
        if length in (0xffff, *range(0xa001, 0xa00f)):  # none, or a name of AJP's own
            return f'x-known-{length:x}'
        at += length + 1
        return data[at - length - 1:at - 1].decode('latin-1')
    for _ in range(5):  # protocol, target, address, host, server name
        string()
    at += 3
    number, = struct.unpack_from('>H', data, at)
    at += 2
    body = seen([[folded(string()), string()] for _ in range(number)])
    packets = (b'\x04' + struct.pack('>H', 200) + b'\0\2OK\0' + b'\0\0', b'\x03' + struct.pack('>H', len(body)) + body + b'\0', b'\x05\0')
    return b''.join(b'AB' + struct.pack('>H', len(each)) + each for each in packets)


class Behind:
    """An application on a port of its own; ends with the process."""

    def __init__(self, speaks):
        class Handler(socketserver.StreamRequestHandler):
            timeout = PATIENCE

            def handle(self):
                if self.rfile.peek(1):  # a server may connect, and then refuse the request
                    self.wfile.write(speaks(self.rfile))

        self.server = socketserver.ThreadingTCPServer(('127.0.0.1', 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Echo:
    """An application on a port of its own, which answers with the header fields as they came to it: names in lower case."""

    class Handler(http_server.BaseHTTPRequestHandler):
        protocol_version = 'HTTP/1.1'

        def do_GET(self):
            body = json.dumps({'path': self.path, 'fields': [[name.lower(), value] for name, value in self.headers.items()]}).encode()
            self.send_response(200)
            self.send_header('Content-Length', str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    def __init__(self):
        server = http_server.ThreadingHTTPServer(('127.0.0.1', 0), self.Handler)
        self.port = server.server_port
        threading.Thread(target=server.serve_forever, daemon=True).start()


# Clients, on plain connections: of a port without TLS, or of a tunnel.

def plainly(port):
    return socket.create_connection(('127.0.0.1', port), timeout=PATIENCE)


def http1(port, host, target, fields=(), trailers=(), connect=plainly):
    """The status, and the body, of one request. With trailers it is chunked."""
    lines = [f'GET {target} HTTP/1.1', f'Host: {host}', *fields, *(['Transfer-Encoding: chunked'] if trailers else [])]
    if not any(each.lower().startswith('connection:') for each in fields):
        lines.append('Connection: close')
    sent = '\r\n'.join(lines).encode('latin-1') + b'\r\n\r\n'
    if trailers:
        sent += b'0\r\n' + ''.join(f'{each}\r\n' for each in trailers).encode('latin-1') + b'\r\n'
    with connect(port) as connection, connection.makefile('rb') as stream:
        connection.sendall(sent)
        return answer(stream)


def answer(stream):
    """The status and the body of one answer of HTTP/1.1; 0 where there is none."""
    first = stream.readline()
    if not first:
        return 0, b''
    fields = {}
    while (line := stream.readline()) not in (b'\r\n', b'\n', b''):
        name, value = line.decode('latin-1').split(':', 1)
        fields[name.lower()] = value.strip()
    status = int(first.split()[1])
    if status == 101 or status < 200:
        return (status, b'') if status == 101 else answer(stream)
    if 'chunked' in fields.get('transfer-encoding', ''):
        body = b''
        while size := int(stream.readline(), 16):
            body += stream.read(size)
            stream.readline()
        while stream.readline() not in (b'\r\n', b''):
            pass
        return status, body
    return status, stream.read(int(fields['content-length'])) if 'content-length' in fields else stream.read()


def literal(name, value):
    """One field of HPACK, without tables and Huffman."""
    def string(text):
        data = text.encode('latin-1')
        return bytes([len(data)]) + data if len(data) < 127 else b'\x7f' + bytes([(len(data) - 127) & 0x7f | 0x80, (len(data) - 127) >> 7]) + data
    return b'\0' + string(name) + string(value)


def frame(kind, flags, stream, data=b''):
    return struct.pack('>I', len(data))[1:] + bytes([kind, flags]) + struct.pack('>I', stream) + data


def frames(stream, number):
    """What comes for one stream of HTTP/2, to its end: its data; None where it was reset."""
    body = b''
    while True:
        head = stream.read(9)
        if len(head) < 9:
            return None
        size, kind, flags, of = int.from_bytes(head[:3], 'big'), head[3], head[4], int.from_bytes(head[5:], 'big')
        data = stream.read(size)
        if kind == 7 or (kind == 3 and of == number):
            return None
        if of == number and kind == 0:
            body += data
        if of == number and kind in (0, 1) and flags & 1:
            return body


PREFACE = b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'


def http2(port, host, target, fields=(), trailers=(), connect=plainly):
    """The body of one request over HTTP/2, as the fields are written; None where it was refused."""
    pairs = [(':method', 'GET'), (':scheme', 'https'), (':authority', host), (':path', target),
             *(tuple(each.split(': ', 1)) for each in fields)]
    sent = PREFACE + frame(4, 0, 0) + frame(1, 4 if trailers else 5, 1, b''.join(literal(*pair) for pair in pairs))
    if trailers:
        sent += frame(0, 0, 1, b'body') + frame(1, 5, 1, b''.join(literal(*each.split(': ', 1)) for each in trailers))
    with connect(port) as connection, connection.makefile('rb') as stream:
        connection.sendall(sent)
        return frames(stream, 1)


def upgraded(port, host, target, fields=()):
    """The same where the connection began as HTTP/1.1 and goes on as HTTP/2 (h2c); None where the server stays with HTTP/1.1."""
    lines = [f'GET {target} HTTP/1.1', f'Host: {host}', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA', *fields]
    with plainly(port) as connection, connection.makefile('rb') as stream:
        connection.sendall('\r\n'.join(lines).encode('latin-1') + b'\r\n\r\n')
        status, body = answer(stream)
        if status != 101:
            return None, body
        connection.sendall(PREFACE + frame(4, 0, 0))
        return frames(stream, 1), b''
