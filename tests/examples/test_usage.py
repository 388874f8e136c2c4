# SPDX-License-Identifier: Apache-2.0
"""What the programs say of a wrong usage: one line with the option, file or host, what was found, and what to do, in the words
of the program's own options."""
import json
import os
import re
import socket
import subprocess
import threading

import pytest

from running import (CLIENT, EXPIRED, PATIENCE, SERVER, Listener, Server, built, client, home, in_front_of, leaf, make_pki, octets_of, openssl, own, path,
                     request, revocation_list, run, sign, write)

CRAWL, EXEC = built('examples/reqauth-crawl'), built('modules/preload/reqauth-exec')
SERVE = [SERVER, *own('server'), '--listen', '127.0.0.1:0']
ASK = [CLIENT, '--connect', 'localhost:1']
FETCH = [CRAWL, '--retries', '0']
RUN = ['--', 'true']
AGENTS = ['--agents-ca', path('agents.pem')]
# Of the library, and of nobody who uses a program.
NOT_OF_PROGRAMS = re.compile(r'RCA-|FLAG-|SEC-|SSL_CTX|X509_|credential_options|_policy|with_crls|shared_anchors|further_flags')


def said(command, status, *words):
    if not os.path.exists(command[0]):
        pytest.skip(f'{os.path.basename(command[0])} is not built')
    ran = run(*command)
    assert ran.status == status, (ran.out, ran.err)
    assert ran.out == '' and ran.err.count('\n') == 1, (ran.out, ran.err)
    for word in words:
        assert word in ran.err, ran.err
    assert not NOT_OF_PROGRAMS.search(ran.err.replace(home.name, '')), ran.err


@pytest.fixture(scope='module')
def files():
    make_pki()
    openssl('x509', '-in', 'server.pem', '-outform', 'DER', '-out', 'certificate.der')
    openssl('pkey', '-in', 'server.key', '-outform', 'DER', '-out', 'key.der')
    openssl('pkcs12', '-export', '-in', 'crawler.pem', '-inkey', 'crawler.key', '-passout', 'pass:x', '-out', 'both.p12')
    openssl('crl2pkcs7', '-nocrl', '-certfile', 'agents.pem', '-out', 'all.p7b')
    openssl('pkey', '-in', 'crawler.key', '-pubout', '-out', 'public.pem')
    revocation_list('agents.crl', 'agents')
    revocation_list('others.crl', 'others')
    openssl('crl', '-in', 'agents.crl', '-outform', 'DER', '-out', 'crl.der')
    write('ssh.key', b'-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n')
    write('pgp.asc', b'-----BEGIN PGP PUBLIC KEY BLOCK-----\nAAAA\n-----END PGP PUBLIC KEY BLOCK-----\n')
    write('page.html', b'<!DOCTYPE html>\n<html><body>404 Not Found</body></html>\n')
    write('utf-16.pem', octets_of('agents.pem').decode().encode('utf-16'))
    write('store.jks', b'\xfe\xed\xfe\xed\0\0\0\2')
    write('short.keys', os.urandom(48))
    write('chain.pem', octets_of('agents.pem') + octets_of('crawler.pem'))
    write('old.key', b'-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: DES-CBC,0123456789ABCDEF\n\nAAAA\n'
                     b'-----END EC PRIVATE KEY-----\n')
    leaf('expired', '/CN=expired.example', 'agents', 'DNS:expired.example', dates=EXPIRED)
    for name in ('empty-directory', 'host'):
        os.makedirs(path(name), exist_ok=True)
    write('host/cert.pem', octets_of('noise.pem'))
    write('host/key.pem', octets_of('server.key'))


# Every option that names a file in PEM: the command, the option, what it wants, and the exit status.
OPTIONS = [
    ([SERVER, '--key', path('server.key'), '--cert', 'FILE'], '--cert', 'certificate', 2),
    ([SERVER, '--cert', path('server.pem'), '--key', 'FILE'], '--key', 'key', 2),
    ([*SERVE, '--agents-ca', 'FILE'], '--agents-ca', 'CA', 2),
    ([*SERVE, '--customers-auth', 'request', '--customers-ca', 'FILE'], '--customers-ca', 'CA', 2),
    ([*SERVE, *AGENTS, '--crl', 'FILE'], '--crl', 'CRL', 2),
    ([*ASK, '--key', path('crawler.key'), '--cert', 'FILE'], '--cert', 'certificate', 2),
    ([*ASK, '--cert', path('crawler.pem'), '--key', 'FILE'], '--key', 'key', 2),
    ([*ASK, '--other-key', path('crawler.key'), '--other-cert', 'FILE'], '--other-cert', 'certificate', 2),
    ([*ASK, '--other-cert', path('crawler.pem'), '--other-key', 'FILE'], '--other-key', 'key', 2),
    ([*ASK, '--ca', 'FILE'], '--ca', 'CA', 2),
    ([*FETCH, 'https://localhost:1/', '--key', path('crawler.key'), '--cert', 'FILE'], '--cert', 'certificate', 2),
    ([*FETCH, 'https://localhost:1/', '--cert', path('crawler.pem'), '--key', 'FILE'], '--key', 'key', 2),
    ([*FETCH, 'https://localhost:1/', '--ca', 'FILE'], '--ca', 'CA', 2),
    ([EXEC, '--key', path('crawler.key'), '--cert', 'FILE', *RUN], '--cert', 'certificate', 125),
    ([EXEC, '--cert', path('crawler.pem'), '--key', 'FILE', *RUN], '--key', 'key', 125),
    ([EXEC, '--server', '--agents-ca', 'FILE', *RUN], '--agents-ca', 'CA', 125),
    ([EXEC, '--server', *AGENTS, '--crl', 'FILE', *RUN], '--crl', 'CRL', 125),
]
# What is given, where it is not right, and the words: what it is, and, where that helps, the cure.
KINDS = [
    ('missing.pem', 'certificate key CA CRL', 'No such file', ''),
    ('empty.pem', 'certificate key CA CRL', 'is empty', 'give PEM with BEGIN'),
    ('noise.pem', 'certificate key CA CRL', 'text without PEM', 'give PEM with BEGIN'),
    ('page.html', 'certificate key CA CRL', 'a web page', 'fetch'),
    ('utf-16.pem', 'certificate key CA CRL', 'text in UTF-16', 'save it as'),
    ('pgp.asc', 'certificate key CA CRL', 'of PGP', 'give a certificate and its key'),
    ('crawler.csr', 'certificate key CA CRL', 'a certificate request', 'have a CA issue'),
    ('public.pem', 'certificate key CA CRL', 'a public key', 'give PEM with BEGIN'),
    ('certificate.der', 'key CRL', 'a certificate in DER', 'give PEM with BEGIN'),
    ('key.der', 'certificate CA CRL', 'a private key in DER', 'give PEM with BEGIN'),
    ('crl.der', 'certificate key', 'a CRL in DER', 'give PEM with BEGIN'),
    ('crl.der', 'CA', 'no certificate', 'give'),
    ('both.p12', 'certificate key CA', 'PKCS#12', 'openssl pkcs12'),
    ('both.p12', 'CRL', 'PKCS#12', 'give PEM with BEGIN X509 CRL'),
    ('all.p7b', 'certificate CA', 'PKCS#7', 'openssl pkcs7 -print_certs'),
    ('store.jks', 'certificate key CA', 'a Java keystore', 'keytool'),
    ('ssh.key', 'key', 'a private key of OpenSSH', 'ssh-keygen -p -m PKCS8'),
    ('ssh.key', 'certificate CA CRL', 'a private key of OpenSSH', 'give PEM with BEGIN'),
    ('crawler.key', 'certificate CA CRL', 'is a private key', 'did two files change places?'),
    ('crawler.pem', 'key CRL', 'is a certificate', 'did two files change places?'),
    ('agents.crl', 'certificate key', 'is a CRL', 'give PEM with BEGIN'),
    ('agents.crl', 'CA', 'no certificate, only CRLs', 'give the CAs'),
    ('encrypted.key', 'key', 'the private key is encrypted', 'openssl pkey -in'),
    ('old.key', 'key', 'encrypted with DES-CBC', '-provider legacy'),
    ('servers.key', 'key', 'is not the key of the certificate in', 'belongs together'),
]
BY_FILE = [(command, option, status, file, words) for command, option, wants, status in OPTIONS
           for file, where, *words in KINDS if wants in where.split()]
BY_FILE += [(command, option, status, 'empty-directory', ['Is a directory', 'name a file in it'])
            for command, option, wants, status in OPTIONS if option != '--agents-ca']
BY_FILE += [(command, option, status, 'empty-directory', ['.pem, .crt, .cer, .crl or .der'])
            for command, option, wants, status in OPTIONS if option == '--agents-ca']


@pytest.mark.parametrize('command, option, status, file, words', BY_FILE,
                         ids=[f'{os.path.basename(each[0][0])} {each[1]} {each[3]}' for each in BY_FILE])
def test_file(files, command, option, status, file, words):
    said([path(file) if word == 'FILE' else word for word in command], status, option, path(file), *words)


def test_not_readable(files):
    """Root reads all, and so becomes another user."""
    if os.geteuid() == 0 and subprocess.run(['setpriv', '--version'], capture_output=True).returncode != 0:
        pytest.skip('there is no setpriv to become another user with')
    secret = write('secret.key', octets_of('server.key'))
    os.chmod(secret, 0)
    nobody = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'] if os.geteuid() == 0 else []
    for name in ('server.pem', 'server.key', ''):
        os.chmod(path(name), 0o755)
    if nobody and subprocess.run([*nobody, SERVER, '--help'], capture_output=True).returncode != 0:
        pytest.skip('another user cannot read the build')
    for option, command in (('--key', [SERVER, '--cert', path('server.pem')]), ('--agents-ca', SERVE), ('--ca', ASK)):
        ran = run(*nobody, *command, option, secret) if nobody else run(*command, option, secret)
        assert ran.status == 2 and ran.err.count('\n') == 1
        assert option in ran.err and secret in ran.err and 'Permission denied; let this user read it' in ran.err


USAGES = [  # the command, its exit status, and words of the line
    ([SERVER], 2, '--cert'),
    ([SERVER, *own('server')[:2]], 2, '--key'),
    ([*SERVE, '--agent-ca', 'x'], 2, '--agent-ca', '--help'),
    ([*SERVE, 'word'], 2, 'word', '--help'),
    ([*SERVE, '--label'], 2, '--label'),
    ([*SERVE, '--crl', path('agents.crl')], 2, '--crl', 'add --agents-ca'),
    ([*SERVE, *AGENTS, '--on-missing', 'fail', '--on-invalid', 'continue'], 2, '--on-invalid', 'take one of the two out'),
    ([*SERVE, *AGENTS, '--customers-ca', path('agents.pem'), '--customers-auth', 'request'], 2, '--agents-ca', path('agents.pem'),
     'a trust anchor for agents and for customers', 'take it out of one of the two'),
    ([*SERVE, '--customers-ca', path('customers.pem')], 2, '--customers-ca', 'add --customers-auth'),
    ([*SERVE, '--flag', '2040'], 2, '--flag', '0 to 2039', '2040'),
    ([*SERVE, '--extension', '65536'], 2, '--extension', '0 to 65535'),
    ([*SERVE, '--extension', '51'], 2, '--extension', '51', 'take another'),
    ([*SERVE, '--session-age', '604801'], 2, '--session-age', '0 to 604800'),
    ([*SERVE, '--threads', '0'], 2, '--threads', '1'),
    ([*SERVE, '--vhost', 'x'], 2, '--vhost x', 'NAME=DIR'),
    ([*SERVE, '--vhost', f'a.example={path("empty-directory")}'], 2, '--vhost a.example', 'empty-directory/cert.pem', 'No such file'),
    ([*SERVE, '--vhost', f'a.example={path("host")}'], 2, '--vhost a.example', 'host/cert.pem', 'text without PEM'),
    ([*SERVE, '--ticket-key', path('short.keys')], 2, '--ticket-key', '48 octets', 'openssl rand'),
    ([CLIENT, '--conect', 'localhost:1'], 2, '--conect is not expected', '--help'),
    ([CLIENT, '--connect'], 2, '--connect has no value', '--help'),
    ([*SERVE, '--ticket-key'], 2, '--ticket-key has no value', '--help'),
    ([*SERVE, '--ticket-key', path('missing')], 2, '--ticket-key', 'No such file'),
    ([*SERVE, '--keylog', '/nowhere/keys'], 2, '--keylog /nowhere/keys', 'cannot be written', 'a directory that this user can write to'),
    ([*SERVE[:-1], '127.0.0.1'], 2, '--listen 127.0.0.1', 'has no port', '127.0.0.1:PORT'),
    ([*SERVE[:-1], '[::1]'], 2, '--listen [::1]', 'has no port'),
    ([*SERVE[:-1], '127.0.0.1:99999'], 2, '--listen 127.0.0.1:99999', '0 to 65535'),
    ([*SERVE[:-1], '127.0.0.1:https'], 2, '--listen', '"https" is no port'),
    ([*SERVE[:-1], '::1:8443'], 2, '--listen ::1:8443', 'brackets', '[::1]:8443'),
    ([*SERVE[:-1], ':8443'], 2, '--listen :8443', 'has no host'),
    ([*SERVE[:-1], '192.0.2.77:8443'], 1, '--listen 192.0.2.77:8443', 'no address of this machine', '0.0.0.0'),
    ([*SERVE[:-1], 'nosuch.invalid:8443'], 1, '--listen nosuch.invalid:8443', 'does not resolve'),
    ([CLIENT], 2, '--connect'),
    ([CLIENT, '--connect', 'localhost'], 2, '--connect localhost', 'has no port'),
    ([CLIENT, '--connect', 'https://localhost:443'], 2, '--connect https://localhost:443', 'is a URL', 'HOST:PORT'),
    ([CLIENT, '--connect', 'fe80::1:443'], 2, '--connect fe80::1:443', 'brackets'),
    ([*ASK, '--cert', path('crawler.pem')], 2, '--cert', '--key'),
    ([*ASK, *own('expired')], 2, '--cert', path('expired.pem'), 'expired at 2020-01-02', 'get a new one'),
    ([*ASK, '--cert', path('chain.pem'), '--key', path('crawler.key')], 2, '--cert', path('chain.pem'), 'CN=crawler.example',
     'the leaf has to come first'),
    ([*ASK, '--cert', path('crawler.pem'), '--key', 'nosuchscheme:object=me'], 2, '--key nosuchscheme:object=me', 'no provider',
     'openssl list -store-loaders'),
    ([*ASK, '--flags', '80'], 2, '--flags', '80', '--offer'),
    ([*ASK, '--flags', '1,2040'], 2, '--flags', '2039'),
    ([*ASK, '--get', 'x'], 2, '--get x', 'begins with /'),
    ([*ASK, '--session-in', path('missing')], 2, '--session-in', 'No such file'),
    ([*ASK, '--session-in', path('crawler.pem')], 2, '--session-in', path('crawler.pem'), 'no session in PEM', '--session-out'),
    ([*ASK, '--session-out', '/nowhere/session'], 2, '--session-out /nowhere/session', 'cannot be written', 'this user can write to'),
    ([*ASK, '--keylog', '/nowhere/keys'], 2, '--keylog /nowhere/keys', 'cannot be written'),
    ([*ASK, '--early-data', 'x'], 2, '--early-data', 'add --session-in'),
    ([CRAWL], 2, '--urls'),
    ([CRAWL, 'example.org/x'], 2, 'example.org/x', 'is not an https:// URL', 'https://example.org/x'),
    ([CRAWL, 'http://example.org/'], 2, 'http://example.org/', 'is not an https:// URL'),
    ([CRAWL, '--urls', path('missing')], 2, '--urls', path('missing'), 'No such file'),
    ([CRAWL, '--urls', path('noise.pem')], 2, path('noise.pem') + ':1', 'is not an https:// URL'),
    ([CRAWL, '--cert', path('crawler.pem'), 'https://x.example/'], 2, '--cert', '--key'),
    ([CRAWL, *own('expired'), 'https://x.example/'], 2, '--cert', path('expired.pem'), 'expired at'),
    ([EXEC], 125, 'no program', '-- PROGRAM'),
    ([EXEC, *RUN], 125, '--cert', '--server'),
    ([EXEC, *own('crawler')], 125, 'no program'),
    ([EXEC, '--cert'], 125, '--cert has no value', '--help'),
    ([EXEC, '--crt', path('crawler.pem'), *RUN], 125, '--crt is not expected', '--help'),
    ([EXEC, *own('crawler'), '--', 'no-such-program'], 127, 'no-such-program', 'PATH'),
    ([EXEC, *own('expired'), *RUN], 125, '--cert', path('expired.pem'), 'expired at'),
    ([EXEC, '--server', *AGENTS, '--flag', '2040', *RUN], 125, '--flag', '0 to 2039'),
    ([EXEC, '--server', *AGENTS, '--on-missing', 'fail', '--on-invalid', 'continue', *RUN], 125, '--on-invalid', 'take one of the two out'),
    ([EXEC, *own('crawler'), '--log', '/nowhere/log', *RUN], 125, '--log /nowhere/log'),
]


@pytest.mark.parametrize('command, status, words', [(command, status, words) for command, status, *words in USAGES],
                         ids=[' '.join(os.path.basename(word) for word in command) for command, *_ in USAGES])
def test_usage(files, command, status, words):
    said(command, status, *words)


def test_port_in_use(files):
    with socket.create_server(('127.0.0.1', 0)) as taken:
        address = f'127.0.0.1:{taken.getsockname()[1]}'
        said([*SERVE[:-1], address], 1, f'--listen {address}', 'another program listens there', 'another port')


# What a client meets.

@pytest.fixture(scope='module')
def plain_http():
    """A server that answers whatever comes as HTTP servers do."""
    with socket.create_server(('127.0.0.1', 0)) as there:
        def serve():
            while True:
                try:
                    peer = there.accept()[0]
                except OSError:
                    return
                with peer:
                    peer.recv(4096)
                    peer.sendall(b'HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n')
        threading.Thread(target=serve, daemon=True).start()
        yield there.getsockname()[1]
        there.shutdown(socket.SHUT_RDWR)


def test_plain_http(files, plain_http):
    said([CLIENT, '--connect', f'localhost:{plain_http}'], 1, 'does not speak TLS', 'HTTP')
    assert 'plain HTTP' in crawled(f'https://localhost:{plain_http}/')


@pytest.mark.parametrize('how, words', [('alert', 'with the alert handshake_failure'), ('close', 'did not answer'), ('reset', 'did not answer')])
def test_ends_on_the_flag(files, how, words):
    """In one line: that the ClientHello had the flag, and what to try. Without the flag nothing is said of it."""
    with Listener(in_front_of(1, how)) as box:
        said([CLIENT, '--connect', f'localhost:{box.port}', *own('crawler')], 1, words, 'had the flag', 'try --offer never')
        ran = run(CLIENT, '--connect', f'localhost:{box.port}', '--offer', 'never')
        assert ran.status == 1 and 'flag' not in ran.err + ran.out


def test_nobody_there(files):
    with socket.create_server(('127.0.0.1', 0)) as taken:
        port = taken.getsockname()[1]
    said([CLIENT, '--connect', f'127.0.0.1:{port}'], 1, f'127.0.0.1:{port}', 'Connection refused', 'is this its port?')
    said([CLIENT, '--connect', 'nosuch.invalid:443'], 1, 'nosuch.invalid does not resolve')
    assert 'Connection refused' in crawled(f'https://127.0.0.1:{port}/')
    assert 'resolve' in crawled('https://nosuch.invalid/')


def crawled(url, *options):
    """What is said of the one URL that failed."""
    if not os.path.exists(CRAWL):
        pytest.skip('reqauth-crawl is not built')
    ran = run(*FETCH, '--json', *([] if '--ca' in options else ['--ca', path('servers.pem')]), *options, url)
    assert ran.status == 1, (ran.out, ran.err)
    return json.loads(ran.out.splitlines()[0])['error']


def test_server_that_does_not_verify(files):
    with Server() as server:
        connect = [CLIENT, '--connect', f'127.0.0.1:{server.port}']
        said([*connect, '--ca', path('others.pem')], 1, 'no CA that is trusted here issued', '--ca')
        said([*connect, '--ca', path('servers.pem'), '--servername', 'other.example'], 1, 'localhost', '127.0.0.1', '--servername')
        said([*connect, '--ca', path('servers.pem'), '--servername', '192.0.2.1'], 1, 'localhost', '--servername')
        assert '--ca' in crawled(f'https://localhost:{server.port}/', '--ca', path('others.pem'))


def test_http_to_a_port_for_tls(files):
    with Server() as server:
        with socket.create_connection(('127.0.0.1', server.port), timeout=PATIENCE) as peer:
            peer.sendall(b'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
            assert 'plain HTTP' in server.line()['error']


# What starts, and cannot work: a warning.

WARNINGS = [
    (['--customers-auth', 'request'], 'customers are asked', 'no CA', "give the customers' CAs"),
    ([*AGENTS, '--customers-auth', 'require', '--customers-ca', path('customers.pem')], 'the flag is ignored', 'set --beside-required'),
    (['--agents-ca', path('crawler.pem')], path('crawler.pem'), 'is no CA', 'lets nobody in', 'CN=agents CA'),
    ([*AGENTS, '--crl', path('others.crl')], path('others.crl'), 'CN=others CA', 'is of no CA here', 'give the CRL'),
]


def test_own_certificate_has_expired(files):
    server = Server(*AGENTS, certificate='expired').end()
    assert server.errors.decode() == ('reqauth-server: warning: --cert: the server\'s own certificate has expired: renew it; '
                                      'until then clients that verify it do not connect\n')


@pytest.mark.parametrize('options, words', [(options, words) for options, *words in WARNINGS])
def test_warning(files, options, words):
    server = Server(*options).end()
    lines = server.errors.decode().splitlines()
    assert len(lines) == 1 and lines[0].startswith('reqauth-server: warning: ')
    assert all(word in lines[0] for word in words) and not NOT_OF_PROGRAMS.search(lines[0])


def test_warning_of_exec(files):
    if not os.path.exists(EXEC):
        pytest.skip('reqauth-exec is not built')
    ran = run(EXEC, '--server', '--agents-ca', path('crawler.pem'), '--', 'python3', '-c', 'pass')
    lines = [line for line in ran.err.splitlines() if line.startswith('reqauth-exec: warning: ')]
    assert len(lines) == 1 and path('crawler.pem') in lines[0] and 'is no CA' in lines[0]


# What can be read only once.

@pytest.mark.parametrize('with_crl', [False, True])
def test_pipes(files, with_crl):
    """Process substitution, as shells have it."""
    def shell(command):
        return subprocess.run(['bash', '-c', command], stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE)
    crl = f'--crl <(cat {path("agents.crl")})' if with_crl else ''
    server = Server(program=write_script(
        'serves', f'exec {SERVER} --listen 127.0.0.1:0 --json --max-connections 1 --cert <(cat {path("server.pem")}) --key <(cat {path("server.key")}) '
                  f'--agents-ca <(cat {path("agents.pem")}) {crl}'))
    ran = shell(f'exec {CLIENT} --connect localhost:{server.port} --ca <(cat {path("servers.pem")}) --cert <(cat {path("crawler.pem")}) '
                f'--key <(cat {path("crawler.key")})')
    assert ran.returncode == 0, ran.stderr
    assert server.line()['certificate'] == 'verified'
    server.end(how=None)


# Files as people have them: each command with what it takes, made of `name`, in another form.

FORMS = {
    'DER': {'certificate': 'crawler.der', 'key': 'crawler-key.der', 'CA': 'agents.der', 'CRL': 'crl.der'},
    'blocks of other names beside it': {'certificate': 'crowd.pem', 'key': 'crowd.pem', 'CA': 'crowd-ca.pem', 'CRL': 'crowd-crl.pem'},
    'TRUSTED CERTIFICATE': {'certificate': 'trusted.pem'},
}


@pytest.mark.parametrize('form', FORMS)
def test_forms(files, form):
    openssl('x509', '-in', 'agents.pem', '-outform', 'DER', '-out', 'agents.der')
    openssl('x509', '-in', 'crawler.pem', '-outform', 'DER', '-out', 'crawler.der')
    openssl('pkey', '-in', 'crawler.key', '-outform', 'DER', '-out', 'crawler-key.der')
    openssl('x509', '-in', 'crawler.pem', '-trustout', '-addtrust', 'clientAuth', '-out', 'trusted.pem')
    others = octets_of('crawler.csr') + b'-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n'
    write('crowd.pem', others + octets_of('crawler.pem') + octets_of('crawler.key'))
    write('crowd-ca.pem', others + octets_of('crawler.key') + octets_of('agents.pem'))
    write('crowd-crl.pem', others + octets_of('agents.pem') + octets_of('agents.crl'))
    has = {'certificate': 'crawler.pem', 'key': 'crawler.key', 'CA': 'agents.pem', 'CRL': 'agents.crl', **FORMS[form]}
    mine = ['--cert', path(has['certificate']), '--key', path(has['key'])]
    server = Server('--agents-ca', path(has['CA']), '--crl', path(has['CRL']))
    ran = client(server, *mine)
    assert ran.status == 0 and ran.line['sent'] == 'flag', ran.err
    assert server.line()['certificate'] == 'verified'
    if os.path.exists(CRAWL):
        fetched = run(CRAWL, f'https://localhost:{server.port}/', '--ca', path('servers.pem'), *mine)
        assert fetched.status == 0, fetched.err
        assert server.line()['certificate'] == 'verified'
    if os.path.exists(EXEC):
        assert run(EXEC, *mine, *RUN).status == 0
        assert run(EXEC, '--server', '--agents-ca', path(has['CA']), '--crl', path(has['CRL']), *RUN).status == 0
    server.end()


def test_der_of_the_server(files):
    """Its own certificate and key, and the anchor by which it is verified."""
    openssl('x509', '-in', 'server.pem', '-outform', 'DER', '-out', 'in-der.pem')
    openssl('pkey', '-in', 'server.key', '-outform', 'DER', '-out', 'in-der.key')
    openssl('x509', '-in', 'servers.pem', '-outform', 'DER', '-out', 'servers.der')
    server = Server(*AGENTS, certificate='in-der')
    ran = run(CLIENT, '--connect', f'localhost:{server.port}', '--ca', path('servers.der'), '--json', *own('crawler'))
    assert ran.status == 0 and ran.line['sent'] == 'flag', ran.err
    server.end()


# What certificates are for, and who may come.

ADMITTED = 'allow dns crawler.example by agents.pem\nallow uri https://crawler.example/bot by agents.pem\n'


@pytest.mark.parametrize('options, rules, who, alert', [
    ([], '', 'web', 'unsupported_certificate'), (['--purpose', 'server'], '', 'web', None), (['--purpose', 'any'], '', 'web', None),
    ([], ADMITTED, 'crawler', None), ([], 'deny dns crawler.example', 'crawler', 'access_denied'), (['--purpose', 'any'], ADMITTED, 'web', 'access_denied')])
def test_purpose_and_who_may_come(files, options, rules, who, alert):
    request('web', '/CN=web.example')
    sign('web', 'agents', 'subjectAltName=DNS:web.example', 'extendedKeyUsage=serverAuth')
    options = options + (['--admitted', write('admitted', rules.encode())] if rules else [])
    server = Server('--agents-ca', path('agents.pem'), *options)
    ran = client(server, *own(who))
    assert ran.line['alert_received'] == alert and ran.status == (1 if alert else 0), ran.out
    seen = server.line()
    assert (seen['certificate'] == 'verified') == (alert is None) and seen['ok'] == (alert is None)
    if os.path.exists(EXEC):
        assert run(EXEC, '--server', '--agents-ca', path('agents.pem'), *options, *RUN).status == 0
    server.end()


def test_rules_that_are_none(files):
    for rules, *words in [('', 'holds no rule'), ('allow crawler.example', 'admitted:1: is no rule'), ('allow dns x by c.pem', 'no anchor here is of c.pem')]:
        for command, status in (([*SERVE, *AGENTS], 2), ([EXEC, '--server', *AGENTS], 125)):
            said([*command, '--admitted', write('admitted', rules.encode()), *(RUN if status == 125 else [])], status, '--admitted', *words)
    said([*SERVE, '--admitted', path('admitted')], 2, '--admitted', 'add --agents-ca')
    said([*SERVE, *AGENTS, '--purpose', 'mail'], 2, '--purpose', 'takes client, server or any')


# Names as people write them.

@pytest.mark.parametrize('given, sent', [
    ('bücher.localhost', 'xn--bcher-kva.localhost'), ('BÜCHER.localhost', 'xn--bcher-kva.localhost'),
    ('xn--bcher-kva.localhost', 'xn--bcher-kva.localhost'), ('localhost.', 'localhost'), ('LOCALHOST.', 'LOCALHOST')])
def test_name_of_a_server(files, given, sent):
    leaf('named', '/CN=named', 'servers', 'DNS:xn--bcher-kva.localhost,DNS:localhost')
    server = Server('--agents-ca', path('agents.pem'), certificate='named')
    ran = client(server, '--servername', given, *own('crawler'))
    assert ran.status == 0 and ran.line['server_name'] == sent and ran.line['sent'] == 'flag', ran.err
    assert server.line()['server_name'] == sent
    server.end()


def test_name_that_is_none(files):
    for name in ('ü' * 70, os.fsdecode(b'b\xfccher.example')):
        ran = run(CLIENT, '--connect', 'localhost:1', '--servername', name)
        assert ran.status == 2 and '--servername' in ran.err and 'is no name of a host' in ran.err, ran.err


def test_list_with_a_byte_order_mark(files):
    if not os.path.exists(CRAWL):
        pytest.skip('reqauth-crawl is not built')
    leaf('named', '/CN=named', 'servers', 'DNS:xn--bcher-kva.example,DNS:localhost')
    server = Server('--agents-ca', path('agents.pem'), certificate='named')
    urls = [f'https://localhost:{server.port}/', f'https://bücher.example:{server.port}/', f'https://localhost.:{server.port}/']
    write('list-win.txt', ('\ufeff' + '\r\n'.join(['# as Windows has it', '', *urls, ''])).encode())
    ran = run(CRAWL, '--urls', path('list-win.txt'), '--ca', path('servers.pem'), '--json', *own('crawler'),
              '--resolve', f'xn--bcher-kva.example:{server.port}:127.0.0.1', '--resolve', f'localhost.:{server.port}:127.0.0.1')
    assert ran.status == 0, (ran.out, ran.err)
    names = {server.line()['server_name'] for _ in urls}
    assert names == {'localhost', 'xn--bcher-kva.example'}
    server.end()


def test_one_pipe_for_certificate_and_key(files):
    write('mine.pem', octets_of('crawler.pem') + octets_of('crawler.key'))
    server = Server(*AGENTS)
    for program in (f'{CLIENT} --connect localhost:{server.port}', f'{CRAWL} https://localhost:{server.port}/'):
        if os.path.exists(program.split()[0]):
            ran = subprocess.run(['bash', '-c', f'cat {path("mine.pem")} | {program} --ca {path("servers.pem")} --cert /dev/stdin --key /dev/stdin'],
                                 capture_output=True, timeout=PATIENCE)
            assert ran.returncode == 0, ran.stderr
            assert server.line()['certificate'] == 'verified'
    server.end()


def write_script(name, command):
    script = write(name, f'#!/bin/bash\n{command}\n'.encode())
    os.chmod(script, 0o755)
    return script
