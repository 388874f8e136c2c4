# SPDX-License-Identifier: Apache-2.0
"""What the tests in Python share: a PKI, and the two programs."""
import base64
import contextlib
import functools
import hashlib
import json
import os
import queue
import signal
import socket
import ssl
import struct
import subprocess
import tempfile
import threading


def built(name):
    """What scripts/setup has built, by its place in the build's folder, which scripts/pytest names."""
    return os.path.join(os.environ['REQAUTH_BUILD'], *name.split('/'))


SERVER, CLIENT = built('examples/reqauth-server'), built('examples/reqauth-client')
PATIENCE = 60  # seconds, only so that a hang fails: nothing here asserts a time


def same(got, **wanted):
    """Members of a JSON line."""
    __tracebackhide__ = True
    for name, value in wanted.items():
        name = {'x5t': 'x5t#S256'}.get(name, name)
        assert name in got and got[name] == value, f'{name} is not {value!r}: {got}'


@functools.cache
def two_openssls(program):
    """Why a program that loads two is of no use, or None: a library of its that was built with an earlier OpenSSL brings that
    along, and what one makes is nothing to the other."""
    listed = subprocess.run(['ldd', program], capture_output=True, timeout=PATIENCE).stdout.decode()
    found = sorted({word for word in listed.split() if word.startswith('libssl.so') or word.startswith('libcrypto.so')})
    versions = {word.partition('.so')[2] for word in found}
    return f'{os.path.basename(program)} loads two OpenSSLs ({", ".join(found)})' if len(versions) > 1 else None


# A PKI, by the openssl program: with options that 3.0 to 4.0 have, and no word of a configuration that came with it.

home = tempfile.TemporaryDirectory(prefix='reqauth-programs-')


def path(name):
    return os.path.join(home.name, name)


def write(name, data):
    with open(path(name), 'wb') as out:
        out.write(data)
    return path(name)


def openssl(*arguments):
    done = subprocess.run(['openssl', *arguments], cwd=home.name, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE)
    if done.returncode != 0:
        raise RuntimeError(f'openssl {" ".join(arguments)}: {done.stderr.decode()}')


EC, RSA = ('-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'), ('-newkey', 'rsa:2048')
CA = ('basicConstraints=critical,CA:TRUE', 'keyUsage=critical,keyCertSign,cRLSign')  # Python from 3.13 on wants the second too


def request(name, subject, kind=EC):
    """A key, and what its certificate is made of."""
    openssl('req', '-new', *kind, '-noenc', '-utf8', '-config', 'pki.conf', '-subj', subject, '-keyout', f'{name}.key',
            '-out', f'{name}.csr')


def sign(name, issuer, *extensions, dates=None):
    """NAME.pem of NAME.csr, of a CA or by itself. With `dates`, as YYYYMMDDHHMMSSZ, it is from one to the other."""
    alone = issuer == name
    write(f'{name}.ext', '\n'.join([*extensions, 'subjectKeyIdentifier=hash', *([] if alone else ['authorityKeyIdentifier=keyid']),
                                    '']).encode())
    if dates is None:
        by = ['-signkey', f'{name}.key'] if alone else ['-CA', f'{issuer}.pem', '-CAkey', f'{issuer}.key']
        openssl('x509', '-req', '-in', f'{name}.csr', *by, '-days', '2', '-extfile', f'{name}.ext', '-out', f'{name}.pem')
        return
    write('pki.index', b'')  # only `ca` takes dates before 3.4, and from there on nothing takes a number of days below 0
    openssl('ca', '-batch', '-config', 'pki.conf', '-name', 'ca', *(['-selfsign'] if alone else ['-cert', f'{issuer}.pem']),
            '-keyfile', f'{issuer}.key', '-rand_serial',
            '-notext', '-startdate', dates[0], '-enddate', dates[1], '-extfile', f'{name}.ext', '-in', f'{name}.csr', '-out', f'{name}.pem')


def authority(name, subject=None, issuer=None, dates=None):
    request(name, subject or f'/CN={name} CA')
    sign(name, issuer or name, *CA)
    if dates:  # a new certificate for the same key
        sign(name, name, *CA, dates=dates)


def leaf(name, subject, issuer, names, kind=EC, dates=None):
    request(name, subject, kind)
    sign(name, issuer, f'subjectAltName={names}', dates=dates)


EXPIRED = ('20200101000000Z', '20200102000000Z')


def revocation_list(name, issuer, *revoked, dates=None):
    """A CRL of the CA, in the file `name`. With `dates` it is in force from one to the other."""
    write('pki.index', b'')
    signer = ['-config', 'pki.conf', '-name', 'ca', '-cert', f'{issuer}.pem', '-keyfile', f'{issuer}.key']
    for each in revoked:
        openssl('ca', *signer, '-revoke', f'{each}.pem')
    until = ['-crl_lastupdate', dates[0], '-crl_nextupdate', dates[1]] if dates else ['-crldays', '2']
    openssl('ca', *signer, '-gencrl', *until, '-out', name)
    return path(name)


def make_pki():
    write('pki.conf', b'''[req]
distinguished_name = subject
string_mask = utf8only
[subject]
[ca]
database = pki.index
serial = pki.serial
new_certs_dir = .
default_md = sha256
policy = any
[any]
countryName = optional
organizationName = optional
commonName = optional
''')
    for ca in ('servers', 'agents', 'customers', 'others'):
        authority(ca)
    leaf('server', '/CN=localhost', 'servers', 'DNS:localhost,IP:127.0.0.1,IP:::1')
    leaf('crawler', '/CN=crawler.example', 'agents', 'DNS:crawler.example,URI:https://crawler.example/bot,IP:192.0.2.1')
    leaf('customer', '/CN=customer.example', 'customers', 'DNS:customer.example,IP:192.0.2.2')
    leaf('impostor', '/CN=crawler.example', 'others', 'DNS:crawler.example')
    leaf('hostile', '/O="}\\\\<b>\n\u00e9/CN=\U0001f577<script>alert(1)<\\/script>', 'agents', 'DNS:<script>"')
    leaf('hostile-customer', '/O="}\\\\<b>\n\u00e9/CN=\U0001f577<script>alert(1)<\\/script>', 'customers', 'DNS:<script>"')
    openssl('ec', '-in', 'crawler.key', '-aes128', '-passout', 'pass:secret', '-out', 'encrypted.key')
    write('empty.pem', b'')
    write('noise.pem', b'not a certificate\n')


def own(name):
    return ['--cert', path(f'{name}.pem'), '--key', path(f'{name}.key')]


def other(name):
    return ['--other-cert', path(f'{name}.pem'), '--other-key', path(f'{name}.key')]


def octets_of(name):
    with open(path(name), 'rb') as file:
        return file.read()


def der_of(name):
    with open(path(f'{name}.pem')) as pem:
        return ssl.PEM_cert_to_DER_cert(pem.read())


def thumbprint(name):
    return base64.urlsafe_b64encode(hashlib.sha256(der_of(name)).digest()).decode().rstrip('=')


def fingerprint(name):
    return hashlib.sha256(der_of(name)).hexdigest()


def client_cert(name):
    """The certificate as the field of RFC 9440 has it."""
    return f':{base64.b64encode(der_of(name)).decode()}:'


def metrics_of(text):
    """Prometheus' text format: {'reqauth_handshakes_total{server="x"}': 3, ...}; each name described, once, before its values."""
    values, described = {}, []
    for line in text.splitlines():
        word = line.split(' ')
        if line.startswith('# TYPE'):
            assert word[3:] == ['counter'] and word[2] not in described, line
            described.append(word[2])
        elif not line.startswith('# HELP'):
            name, value = line.rsplit(' ', 1)
            assert name not in values and name.split('{')[0] == described[-1], line
            values[name] = int(value)
    return values


# The two programs.

class Server:
    def __init__(self, *options, listen='127.0.0.1:0', plain=False, certificate='server', program=SERVER):
        mode = [] if plain else ['--json']
        self.process = subprocess.Popen([program, '--listen', listen, *own(certificate), *options, *mode],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.lines = queue.Queue()
        self.errors = b''
        threading.Thread(target=self.read, daemon=True).start()
        self.stderr = threading.Thread(target=self.read_errors, daemon=True)
        self.stderr.start()
        if plain:
            self.address = self.text().split()[-1]
        else:
            first = self.line()
            assert list(first) == ['event', 'address'] and first['event'] == 'listening'
            self.address = first['address']
        self.port = int(self.address.rsplit(':', 1)[1])

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def read_errors(self):
        self.errors = self.process.stderr.read()

    def text(self):
        line = self.lines.get(timeout=PATIENCE)
        if line is None:
            raise EOFError(f'the server ended: {self.errors!r}')
        return line.decode('ascii')

    def line(self):
        return json.loads(self.text())

    def hang_up(self):
        """Sends SIGHUP, and gives the line that says what came of it."""
        self.process.send_signal(signal.SIGHUP)
        return self.line()

    def end(self, how=signal.SIGTERM):
        if how is not None:
            self.process.send_signal(how)
        status = self.process.wait(PATIENCE)
        self.stderr.join(PATIENCE)
        assert status == 0, self.errors
        return self

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if self.process.poll() is None:
            self.process.kill() if kind else self.end()


class Ran:
    def __init__(self, status, out, err):
        self.status, self.out, self.err = status, out.decode(), err.decode()

    @property
    def line(self):
        return json.loads(self.out.splitlines()[-1])


def run(program, *arguments):
    done = subprocess.run([program, *arguments], stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE)
    return Ran(done.returncode, done.stdout, done.stderr)


def client(server, *options, connect=None):
    """Runs the client with --json against `server`."""
    return run(CLIENT, '--connect', connect or f'localhost:{server.port}', '--ca', path('servers.pem'), '--json', *options)


def visit(server, *options, status=0):
    """One visit: the client's line, the server's line."""
    ran = client(server, *options)
    assert ran.status == status, (ran.out, ran.err)
    return ran.line, server.line()


def s_client(server, *options, verify=True):
    """openssl s_client, which asks one question and stays for the answer: then it has the tickets, too."""
    return subprocess.run(['openssl', 's_client', '-connect', server.address, '-servername', 'localhost', '-ign_eof',
                           *(['-CAfile', path('servers.pem')] if verify else []), *options],
                          input=b'GET / HTTP/1.1\r\nConnection: close\r\n\r\n', capture_output=True, timeout=PATIENCE).stdout


def presenting(name):
    """The client's options to present the session `name`, whoever it is of: servers are tested here."""
    return ['--session-in', path(name), '--foreign-session']


def keeping(name):
    """The client's options to resume from a session file, if it is there, and to save to it."""
    return [*(presenting(name) if os.path.exists(path(name)) else []), '--session-out', path(name)]


def returns(server, name, *options, resumed, status=0, **wanted):
    """A visit that presents the session `name`, if it is there, and saves the next: both sides say whether it resumed."""
    mine, theirs = visit(server, *keeping(name), *options, status=status)
    same(mine, resumed=resumed)
    same(theirs, resumed=resumed, **wanted)
    return mine, theirs


def tls(server):
    """A TLS connection of Python's, for requests that no client makes."""
    context = ssl.create_default_context(cafile=path('servers.pem'))
    context.verify_flags |= ssl.VERIFY_X509_STRICT  # the default from 3.13 on
    raw = socket.create_connection(('127.0.0.1', server.port), timeout=PATIENCE)
    return context.wrap_socket(raw, server_hostname='localhost')


def read_all(connection):
    data = b''
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while more := connection.recv(65536):
            data += more
    return data


def exchange(server, request):
    with tls(server) as connection:
        connection.sendall(request)
        return read_all(connection)


# What stands before a server, or is one that never heard of the flag.

class Listener:
    """TCP alone: `handle` gets each connection, in a thread of its own."""

    def __init__(self, handle):
        self.handle = handle
        self.listener = socket.create_server(('127.0.0.1', 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                threading.Thread(target=self.handle, args=(near,), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()


def reset(connection):
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        connection.shutdown(socket.SHUT_RD)  # wakes who reads from it
    connection.close()


def reset_after_hello(near):
    with contextlib.suppress(OSError):
        near.recv(65536)
    reset(near)


def in_front_of(port, how):
    """Hands connections on to `port`, but for those whose ClientHello has tls_flags: they end at once, as with some middleboxes."""
    def hand_on(source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def handle(near):
        hello = near.recv(65536)
        if b'\x00\x3e\x00\x0c\x0b' not in hello:
            with contextlib.suppress(OSError), socket.create_connection(('127.0.0.1', port)) as far:
                far.sendall(hello)
                back = threading.Thread(target=hand_on, args=(far, near), daemon=True)
                back.start()
                hand_on(near, far)
                back.join(PATIENCE)
        elif how == 'reset':
            return reset(near)
        elif how == 'alert':
            near.sendall(bytes([21, 3, 3, 0, 2, 2, 40]))
        near.close()
    return handle


class Halfway:
    """A server that asks for the flag without saying so, and wants a Certificate of whoever resumes."""

    def __init__(self, certificate='localhost'):
        self.process = subprocess.Popen([built('tests/halfway-server'), path(f'{certificate}.pem'), path(f'{certificate}.key')],
                                        stdout=subprocess.PIPE)
        self.port = int(self.process.stdout.readline().split()[1])

    def line(self):
        return self.process.stdout.readline().decode().strip()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate(timeout=PATIENCE)
