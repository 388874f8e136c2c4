# SPDX-License-Identifier: Apache-2.0
"""Nobody human is asked: ordinary clients visit a server that answers the flag, and one that asks everyone besides.

Each client comes with a certificate that it would send, and without one. What went over the wire is read by tshark, with
the key log of the server; the server's own word is held against it. What is not installed is skipped, with the reason.
With REQAUTH_ALL there are more clients. Screenshots stay in the build's folder screenshots.
"""
import functools
import json
import os
import shutil
import subprocess
import sys

import pytest

import chromium
import hosts
import wire
from running import PATIENCE, built, home, openssl, own, path, run, same, write

HERE = os.path.dirname(os.path.abspath(__file__))
WHO = 'customer'  # the certificate that a person would have; the agents' CA has not signed it
WAITS = '[it waits for a person]'


def needs(*programs):
    for each in programs:
        if shutil.which(each) is None:
            pytest.skip(f'{each} is not installed')


def needs_built(name, package):
    if not os.path.exists(built(name)):
        pytest.skip(f'{name} is not built, since {package} is not here')
    return built(name)


def program(*command, request=b''):
    """Runs a program to its end; gives what it said, and how it failed."""
    with open(write('request', request), 'rb') as asked:  # a file: tstclnt waits for ever at the end of a pipe
        try:
            ran = subprocess.run([*map(str, command)], stdin=asked, capture_output=True, timeout=PATIENCE, env={**os.environ, 'HOME': home.name})
        except subprocess.TimeoutExpired:
            return '[it does not end]'
    said = ran.stdout.decode(errors='replace')
    return said if ran.returncode == 0 else f'{said}[status {ran.returncode}: {ran.stderr.decode(errors="replace")}]'


def files(how):
    return [path(f'{WHO}.pem'), path(f'{WHO}.key')] if how == 'with' else []


def address(port, name):
    return f'https://localhost:{port}/?{name}'


def plain(name):
    """The request that programs take on standard input."""
    return f'GET /?{name} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'.encode()


# Each gives a function (port, label, whether with the certificate) -> what the page said; or skips, and says why.

def curl():
    needs('curl')
    return lambda port, label, how: program(
        'curl', '--silent', '--show-error', '--cacert', path('servers.pem'), *(own(WHO) if how == 'with' else []), address(port, label))


def python():
    return lambda port, label, how: program(sys.executable, os.path.join(HERE, 'client.py'), address(port, label), path('servers.pem'), *files(how))


def gnutls():
    needs('gnutls-cli')
    return lambda port, label, how: program(
        'gnutls-cli', '--x509cafile', path('servers.pem'), '--port', port, 'localhost',
        *(['--x509certfile', path(f'{WHO}.pem'), '--x509keyfile', path(f'{WHO}.key')] if how == 'with' else []), request=plain(label))


def go():
    needs('go')
    said = subprocess.run(['go', 'build', '-o', path('client-go'), os.path.join(HERE, 'client.go')], capture_output=True, text=True,
                          env={**os.environ, 'HOME': home.name, 'GOFLAGS': '-mod=mod', 'GOTOOLCHAIN': 'local', 'GOPROXY': 'off'})
    assert said.returncode == 0, said.stderr
    return lambda port, label, how: program(path('client-go'), address(port, label), path('servers.pem'), *files(how))


def java():
    needs('java', 'javac')
    said = subprocess.run(['javac', '-d', home.name, os.path.join(HERE, 'Client.java')], capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    return lambda port, label, how: program('java', '-cp', home.name, 'Client', address(port, label), path('servers.pem'),
                                             *([path(f'{WHO}.p12'), 'secret'] if how == 'with' else []))


def node():
    needs('node')
    return lambda port, label, how: program(
        'node', os.path.join(HERE, 'client.mjs'), address(port, label), path('servers.pem'), *files(how))


def nss():
    needs('tstclnt', 'certutil', 'pk12util')
    for name in ('nss', 'nss-own'):  # without a nickname it would choose whatever fits: so each has a database of its own
        os.mkdir(path(name))
        subprocess.run(['certutil', '-N', '-d', f'sql:{path(name)}', '--empty-password'], check=True, capture_output=True)
        subprocess.run(['certutil', '-A', '-d', f'sql:{path(name)}', '-n', 'servers', '-t', 'C,,', '-i', path('servers.pem')],
                       check=True, capture_output=True)
    subprocess.run(['pk12util', '-i', path(f'{WHO}.p12'), '-W', 'secret', '-d', f'sql:{path("nss-own")}', '-K', ''],
                   check=True, capture_output=True)
    return lambda port, label, how: program('tstclnt', '-4', '-h', 'localhost', '-p', port, '-V', 'tls1.3:tls1.3', '-d',
                                             'sql:' + path('nss-own' if how == 'with' else 'nss'), *(['-n', WHO] if how == 'with' else []), request=plain(label))


def wolfssl():
    client = needs_built('tests/wolfssl-client', 'libwolfssl-dev')
    return lambda port, label, how: program(client, port, path('servers.pem'), f'/?{label}', *files(how))


def browser():
    """Chromium: with a certificate, and a policy that sends it unasked; without; and as a person has it, who would be asked."""
    reason = chromium.why_not() or (None if shutil.which('pk12util') else 'certutil and pk12util (libnss3-tools) are not installed')
    if reason := reason or chromium.why_no_policies():
        pytest.skip(reason)

    def fetch(port, label, how, options=()):
        identity = {} if how == 'without' else {'identity': (path(f'{WHO}.p12'), 'secret')}
        policies = {} if how != 'with' else {'policies': {'AutoSelectCertificateForUrls': [
            json.dumps({'pattern': f'https://localhost:{port}', 'filter': {}})]}}
        with chromium.Chromium({'servers': path('servers.pem')}, **identity, **policies, options=options) as page:
            try:  # a bound for a hang only, and shorter where one is what has to be seen
                error = page.open(address(port, label), patience=5 if label.endswith('Chromium-person-asked') else PATIENCE)
            except TimeoutError:
                return WAITS
            page.look(900, 700)
            page.screenshot(built(f'screenshots/people-{label}.png'))
            return page.text() if error is None else f'[{error}]'
    return fetch


CLIENTS = {'curl': curl, 'Python': python, 'GnuTLS': gnutls, 'Chromium': browser}
MORE = {'Go': go, 'Java': java, 'Node': node, 'NSS': nss, 'wolfSSL': wolfssl}


@functools.cache
def client(name):
    """A client's function, made once."""
    return {**CLIENTS, **MORE}[name]()


@pytest.fixture(scope='module', autouse=True)
def certificates(pki):
    openssl('pkcs12', '-export', '-in', f'{WHO}.pem', '-inkey', f'{WHO}.key', '-name', WHO, '-passout', 'pass:secret', '-out', f'{WHO}.p12')


KINDS = pytest.mark.parametrize('kind', hosts.KINDS, scope='module')
ASKS = pytest.mark.parametrize('asks', [False, True], ids=['agents are asked', 'everyone is asked'], scope='module')


@pytest.fixture(scope='module')
def server(kind, asks, pki):
    if reason := hosts.why_not(kind):
        pytest.skip(reason)
    with hosts.start(kind, asks) as running:
        yield running


@pytest.fixture(scope='module')
def relay(server):
    if reason := wire.why_not():
        pytest.skip(reason)
    with wire.Relay(server.port) as running:
        yield running


@KINDS
@ASKS
@pytest.mark.parametrize('name, how', [(name, how) for name in [*CLIENTS, *(MORE if os.environ.get('REQAUTH_ALL') else ())]
                                       for how in ('with', 'without', 'person') if how != 'person' or name == 'Chromium'])
def test_nobody_human_is_asked(server, relay, name, how, kind, asks):
    """Each client with a certificate, without one, and with one that a person chooses."""
    label = relay.label = f'{kind}-{name}-{how}-{"asked" if asks else "not-asked"}'
    page = client(name)(relay.port, label, how)
    relay.settle()
    theirs = [each for each in relay.conversations if each.label == label and each.pieces]
    lines = server.logged(theirs, label, page != WAITS)
    wire.read(theirs, server.keylog, path('people.pcap'))
    if asks and how == 'person':
        assert page == WAITS
    else:
        assert server.says(WHO if asks and how == 'with' else None, asks) in page
    assert lines or page == WAITS, 'the server has logged it'
    assert not any(each['offered'] for each in lines), 'no agent, says the server'
    assert {each['subject'] for each in lines} - {None} == ({'CN=customer.example'} if asks and how == 'with' else set()), 'says the server'

    shown = [(each.client, each.server, each.certificates) for each in theirs]
    whole = [each for each in theirs if wire.CERTIFICATE in each.server]
    assert whole, ('a whole handshake was read', shown)
    for each in whole:
        assert each.client[:1] == [wire.CLIENT_HELLO] and wire.FINISHED in each.server, ('TLS 1.3, decrypted', shown)
        assert each.server[:2] == [wire.SERVER_HELLO, wire.ENCRYPTED_EXTENSIONS], ('TLS 1.3, decrypted', shown)
        assert (wire.CERTIFICATE_REQUEST in each.server) == asks, shown
    assert asks or not any(wire.CERTIFICATE_REQUEST in each.server for each in theirs), ('not asked on any connection', shown)
    # Chromium leaves the connection on which it is asked, and comes back with its answer.
    assert any(wire.CERTIFICATE in each.client for each in theirs) == (asks and how != 'person'), ('answers if asked', shown)
    assert any(each.certificates for each in theirs) == (asks and how == 'with'), ('a certificate goes out', shown)


# What a client that offers the flag is told; what it says; what the server says: whether it offered, and its subject.
FLAGGED = {
    'agent': (own('crawler'), dict(offered=True, requested=True, acknowledged=True, sent='flag'), (True, 'CN=crawler.example')),
    'guest': (['--offer', 'always'], dict(offered=True, requested=True, acknowledged=True, sent='empty'), (True, None)),
    'impostor': (own('impostor'), dict(ok=False, offered=True, acknowledged=True, sent='flag', alert_received='unknown_ca'), None),
    'customer-with-the-flag': (own(WHO), dict(ok=False, offered=True, acknowledged=True, sent='flag', alert_received='unknown_ca'), None),
    'no-flag': ([*own(WHO), '--offer', 'never'], dict(offered=False, acknowledged=False), (False, None)),
}


@KINDS
@ASKS
@pytest.mark.parametrize('label, options, wanted, seen', [(label, *row) for label, row in FLAGGED.items()], ids=FLAGGED)
def test_flagged(server, label, options, wanted, seen, asks):
    """Beside them: a client on GnuTLS that offers the flag is asked there, and shows its certificate."""
    gnutls_client = needs_built('tests/gnutls-client', 'libgnutls28-dev')
    if label == 'no-flag':
        wanted = {**wanted, 'requested': asks, 'sent': 'empty' if asks else 'none'}
    served = wanted.get('ok', True)
    ran = run(gnutls_client, '--connect', f'localhost:{server.port}', '--ca', path('servers.pem'), '--get', f'/?{label}', *options)
    lines = server.logged([ran], label, served)
    assert ran.status == int(not served), (ran.out, ran.err)
    same(ran.line, **{'ok': served, **wanted})
    assert seen is None or [(each['offered'], each['subject']) for each in lines] == [seen], 'says the server'


@KINDS
@pytest.mark.parametrize('asks', [False], scope='module')
@pytest.mark.parametrize('command', [['curl', '-sS', '--cacert'], ['/usr/bin/python3', os.path.join(HERE, '../../../examples/recipes/fetch.py')]],
                         ids=['curl', 'python3'])
def test_executed(server, command):
    """And programs that know nothing of the flag, under reqauth-exec: they offer it, are asked, and are known."""
    needs(command[0])
    launcher = needs_built('modules/preload/reqauth-exec', 'what it takes')
    label, journal = f'executed-{os.path.basename(command[0])}', path(f'journal-{server.port}')
    ran = run(launcher, '--log', journal, *own('crawler'), '--', *command, path('servers.pem'), f'https://localhost:{server.port}/?{label}')
    seen = [(each['offered'], each['subject']) for each in server.logged([ran], label, True)]
    assert ran.status == 0 and ran.out, (ran.status, ran.out, ran.err)
    with open(journal) as lines:
        last = [json.loads(line) for line in lines if '"connection"' in line][-1]
    same(last, offered=True, requested=True, acknowledged=True, sent='flag', judged='ticket')
    assert seen == [(True, 'CN=crawler.example')], 'says the server'
