# SPDX-License-Identifier: Apache-2.0
"""Drives resource-server with bound clients, curl and Chromium, and an authorization server that binds its tokens to the
certificate that it saw.

What the modules build, and is not there, is skipped.
"""
import base64
import contextlib
import hashlib
import hmac
import http.server
import json
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.parse

import pytest

from running import (PATIENCE, Server, authority, built, client_cert, leaf, octets_of, openssl, own, path, run, same, thumbprint,
                     two_openssls, write)

jwt = pytest.importorskip('jwt', reason='PyJWT is not here: install python3-jwt')
serialization = pytest.importorskip('cryptography.hazmat.primitives.serialization',  # what PyJWT signs with
                                    reason='cryptography is not here: install python3-cryptography')

ISSUER, AUDIENCE = 'https://as.example', 'https://localhost/resource'
RESOURCE_SERVER, BOUND_CLIENT, EXEC = built('examples/resource-server'), built('examples/bound-client'), built('modules/preload/reqauth-exec')


def unpadded(octets):
    return base64.urlsafe_b64encode(octets).decode().rstrip('=')


def public_jwk(name):
    numbers = serialization.load_pem_private_key(octets_of(f'{name}.key'), None).public_key().public_numbers()
    if name == 'rsa':
        return {'kty': 'RSA', 'n': unpadded(numbers.n.to_bytes(256, 'big')), 'e': 'AQAB'}
    return {'kty': 'EC', 'crv': 'P-256', 'x': unpadded(numbers.x.to_bytes(32, 'big')), 'y': unpadded(numbers.y.to_bytes(32, 'big'))}


@pytest.fixture(scope='module', autouse=True)
def keys(pki):
    for program in (RESOURCE_SERVER, BOUND_CLIENT):
        if reason := two_openssls(program):
            pytest.skip(reason)
    leaf('other-crawler', '/CN=other-crawler.example', 'agents', 'DNS:other-crawler.example')
    authority('proxies')
    leaf('proxy', '/CN=proxy.example', 'proxies', 'DNS:proxy.example')
    leaf('other-proxy', '/CN=other-proxy.example', 'proxies', 'DNS:other-proxy.example')
    openssl('ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', 'ec.key')
    openssl('genrsa', '-out', 'rsa.key', '2048')
    openssl('genrsa', '-out', 'other-rsa.key', '2048')
    for name in ('ec', 'rsa'):
        openssl('pkey', '-in', f'{name}.key', '-pubout', '-out', f'{name}.pub')
        write(f'{name}.jwk', json.dumps(public_jwk(name)).encode())
    secret = serialization.load_pem_private_key(octets_of('ec.key'), None).private_numbers().private_value
    write('private.jwk', json.dumps({**public_jwk('ec'), 'd': unpadded(secret.to_bytes(32, 'big'))}).encode())


# The authorization server: whoever has a certificate of the agents' CA gets a token that is bound to it.

def claims(subject='crawler', **more):
    now = int(time.time())
    return {'iss': ISSUER, 'aud': AUDIENCE, 'sub': subject, 'iat': now, 'exp': now + 600, **more}


def token(cnf=None, key='ec', algorithm='ES256', **more):
    return jwt.encode(claims(**({} if cnf is None else {'cnf': cnf}), **more), octets_of(f'{key}.key'), algorithm)


def bound_to(name):
    return {'x5t#S256': thumbprint(name)}


class TokenEndpoint(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        form = urllib.parse.parse_qs(self.rfile.read(int(self.headers['Content-Length'])).decode())
        der = self.connection.getpeercert(binary_form=True)  # verified, or the handshake had failed
        seen = base64.urlsafe_b64encode(hashlib.sha256(der).digest()).decode().rstrip('=')
        body = json.dumps({'access_token': token({'x5t#S256': seen}, subject=form['client_id'][0]),
                           'token_type': 'Bearer', 'expires_in': 600}).encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def authorization_server():
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(path('server.pem'), path('server.key'))
    tls.load_verify_locations(path('agents.pem'))
    tls.verify_mode = ssl.CERT_REQUIRED
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), TokenEndpoint)
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'https://localhost:{server.server_port}/token'
    server.shutdown()
    server.server_close()


# The resource server, and who visits it.

def settings(unbound='refuse', key='ec', *more):
    return ['--agents-ca', path('agents.pem'), '--token-key', path(f'{key}.jwk'), '--token-alg', 'RS256' if key == 'rsa' else 'ES256',
            '--issuer', ISSUER, '--audience', AUDIENCE, '--unbound', unbound, *more]


def resource_server(*options):
    return Server(*options, program=RESOURCE_SERVER)


class Answer:
    def __init__(self, status, challenge, body):
        self.status, self.challenge, self.body = status, challenge, body

    @property
    def json(self):
        return json.loads(self.body)


def curl(port, *options, target='/resource', program=('curl',)):
    done = run(*program, '--silent', '--include', '--noproxy', '*', '--http1.1', '--max-time', str(PATIENCE), '--cacert',
               path('servers.pem'), *options, f'https://localhost:{port}{target}')
    assert done.status == 0, ('curl ends well', done.err)
    head, _, body = done.out.partition('\r\n\r\n')
    lines = head.split('\r\n')
    found = [line.split(': ', 1)[1] for line in lines if line.lower().startswith('www-authenticate: ')]
    assert len(found) < 2, 'at most one challenge'
    return Answer(int(lines[0].split()[1]), found[0] if found else None, body)


def bearer(value):
    return ['--header', f'Authorization: Bearer {value}']


def bound_client(server, name, *token_server, **environment):
    done = subprocess.run([BOUND_CLIENT, path('servers.pem'), path(f'{name}.pem'), path(f'{name}.key'),
                           f'https://localhost:{server.port}/resource', *token_server],
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, env={**os.environ, **environment})
    lines = done.stdout.decode().splitlines()
    assert lines, done.stderr
    challenge = lines[1].partition('WWW-Authenticate: ')[2] if len(lines) > 1 and lines[1].startswith('WWW-') else None
    assert done.returncode == (0 if lines[0] == '200' else 1), 'bound-client exits as it should'
    return Answer(int(lines[0]), challenge, lines[-1])


def logged(server, cause, **connection):
    """The connection's line, and the request's."""
    same(server.line(), event='connection', ok=True, **connection)
    same(server.line(), event='request', cause=cause)


def refused(answer, status, error, says):
    assert answer.status == status
    assert answer.challenge == f'Bearer realm="resource", error="{error}", error_description="{says}"'
    assert answer.json == {'error': error, 'error_description': says}


BOUND = 'the token is bound to the client certificate that it was issued to, and '
NOT_OFFERED = (BOUND + 'this connection has none: the client did not offer the TLS flag request_client_auth, so the server did not '
               'ask; connect with TLS 1.3, offer the flag, and present that certificate, which must not have expired')
NOT_FORWARDED = BOUND + 'this connection shows none: present that certificate'
MISMATCH = ('the token is bound to another certificate than that of this connection: connect with the certificate that the token '
            'was issued to, or get a token for this one')
UNBOUND = ('the token is not bound to a client certificate, and has to be: get one from the authorization server over a '
           'connection with the client certificate (RFC 8705)')
NEVER_ASKED = {'offered': False, 'asked': False, 'certificate': 'not_requested', 'subject': None}
AN_AGENT = {'offered': True, 'asked': True, 'outcome': 'accepted', 'certificate': 'verified', 'trust': 'agents'}


def test_bound_client():
    with resource_server(*settings()) as server, authorization_server() as token_server:
        answer = bound_client(server, 'crawler', token_server, 'crawler-7')
        assert answer.status == 200 and answer.challenge is None
        assert answer.json == {'resource': 'forty-two', 'sub': 'crawler-7', 'binding': 'bound'}
        logged(server, 'bound', subject='CN=crawler.example', x5t=thumbprint('crawler'), **AN_AGENT)


THIEVES = {
    'curl without a certificate': lambda: [],
    'curl with the certificate, without the flag': lambda: own('crawler'),  # its own, and it is never asked for it
    'Client-Cert': lambda: ['--header', f'Client-Cert: {client_cert("crawler")}'],  # a header is no certificate, whoever writes it
}


@pytest.mark.parametrize('options', THIEVES.values(), ids=THIEVES)
def test_stolen_token(options):
    """At the name and port of the bound client."""
    with resource_server(*settings()) as server:
        refused(curl(server.port, *bearer(token(bound_to('crawler'))), *options()), 401, 'invalid_token', NOT_OFFERED)
        logged(server, 'missing_certificate', **NEVER_ASKED)


def test_stolen_token_another_certificate():
    with resource_server(*settings()) as server:
        refused(bound_client(server, 'other-crawler', TOKEN=token(bound_to('crawler'))), 401, 'invalid_token', MISMATCH)
        logged(server, 'mismatch', subject='CN=other-crawler.example', **AN_AGENT)


def test_on_missing_invalid_request():
    with resource_server(*settings('refuse', 'ec', '--on-missing', 'invalid_request')) as server:
        refused(curl(server.port, *bearer(token(bound_to('crawler')))), 400, 'invalid_request', NOT_OFFERED)
        logged(server, 'missing_certificate')
        refused(curl(server.port, *bearer(token())), 401, 'invalid_token', UNBOUND)
        logged(server, 'unbound')


@pytest.mark.skipif(not os.access(EXEC, os.X_OK), reason='reqauth-exec is not built')
@pytest.mark.parametrize('name, status, cause', [('crawler', 200, 'bound'), ('other-crawler', 401, 'mismatch')])
def test_curl_under_the_flag(name, status, cause):
    """curl itself, unchanged, with the flag from reqauth-exec."""
    with resource_server(*settings()) as server:
        answer = curl(server.port, *bearer(token(bound_to('crawler'))), program=(EXEC, *own(name), '--', 'curl'))
        assert answer.status == status, answer.body
        logged(server, cause, subject=f'CN={name}.example', **AN_AGENT)


# What a token can be, each with the flag and the right certificate. They are made when they are asked for: there are no keys before.
TOKENS = {
    'bound': (lambda: token(bound_to('crawler')), 'bound'),
    'unbound': (lambda: token(), 'unbound'),
    'bound to a DPoP key too': (lambda: token({'x5t#S256': thumbprint('crawler'), 'jkt': thumbprint('crawler')}), 'proof_left'),
    'bound to a DPoP key alone': (lambda: token({'jkt': thumbprint('crawler')}), 'unbound'),
    'unknown member': (lambda: token({'x5t#S256': thumbprint('crawler'), 'kid': 'a'}), 'confirmation_not_understood'),
    'cnf is null': (lambda: token_as_is(claims(cnf=None)), 'confirmation_malformed'),
    'hex': (lambda: token({'x5t#S256': base64.urlsafe_b64decode(thumbprint('crawler') + '=').hex()}), 'thumbprint_in_hex'),
    'padding': (lambda: token({'x5t#S256': thumbprint('crawler') + '='}), 'thumbprint_padded'),
    'short': (lambda: token({'x5t#S256': thumbprint('crawler')[:-1]}), 'thumbprint_of_wrong_length'),
    'inactive': (lambda: token(bound_to('crawler'), active=False), 'inactive'),
    'expired': (lambda: token(bound_to('crawler'), exp=int(time.time()) - 1), 'token_not_valid'),
    'no end': (lambda: token(bound_to('crawler'), exp=0), 'token_not_valid'),
    'not yet': (lambda: token(bound_to('crawler'), nbf=int(time.time()) + 600), 'token_not_valid'),
    'nbf is text': (lambda: token_as_is({**claims(cnf=bound_to('crawler')), 'nbf': '0'}), 'token_not_valid'),
    'another issuer': (lambda: token(bound_to('crawler'), iss='https://other.example'), 'token_not_valid'),
    'issuer is a number': (lambda: token_as_is({**claims(cnf=bound_to('crawler')), 'iss': 1}), 'token_not_valid'),
    'another audience': (lambda: token(bound_to('crawler'), aud='https://other.example'), 'token_not_valid'),
    'several audiences': (lambda: token(bound_to('crawler'), aud=['a', AUDIENCE]), 'bound'),
    'another key': (lambda: token(bound_to('crawler'), key='other-rsa', algorithm='RS256'), 'token_not_valid'),
    'alg none': (lambda: jwt.encode(claims(cnf=bound_to('crawler')), None, 'none'), 'token_not_valid'),
    'the public key as a secret': (lambda: with_the_public_key(), 'token_not_valid'),
    'the public JWK as a secret': (lambda: with_the_public_key('ec.jwk'), 'token_not_valid'),
    'a changed claim': (lambda: changed(token(bound_to('other-crawler'))), 'token_not_valid'),
    'crit': (lambda: jwt.encode(claims(cnf=bound_to('crawler')), octets_of('ec.key'), 'ES256', headers={'crit': ['x'], 'x': 1}),
             'token_not_valid'),
    'subject is a list': (lambda: token_as_is({**claims(cnf=bound_to('crawler')), 'sub': ['a']}), 'bound'),
    'two cnf': (lambda: token_as_text(json.dumps(claims(cnf=bound_to('crawler')))[:-1] + ', "cnf": {}}'), 'claims_repeat_a_member'),
    'no JSON': (lambda: token_as_text('noise'), 'token_not_valid'),
    'no JWT': (lambda: 'noise', 'token_not_valid'),
    'dots': (lambda: '..', 'token_not_valid'),
    'more dots': (lambda: 'e30.e30.e30.e30.e30', 'token_not_valid'),
    'empty parts': (lambda: 'e30..', 'token_not_valid'),
}


@pytest.mark.parametrize('value, cause', TOKENS.values(), ids=TOKENS)
def test_token(value, cause):
    good = cause == 'bound'
    with resource_server(*settings()) as server:
        answer = bound_client(server, 'crawler', TOKEN=value())
        assert answer.status == (200 if good else 401), answer.body
        assert (answer.challenge is None) == good
        assert good or answer.challenge.startswith('Bearer realm="resource", error="invalid_token", error_description="')
        logged(server, cause, **AN_AGENT)


CHALLENGE, INVALID_REQUEST = 'Bearer realm="resource"', 'Bearer realm="resource", error="invalid_request"'
AUTHORIZATIONS = {
    'no token': ([], 401, CHALLENGE, 'no_token'),
    'Basic': (['--user', 'a:b'], 401, CHALLENGE, 'other_scheme'),
    'DPoP': (['--header', 'Authorization: DPoP a.b.c'], 401, CHALLENGE, 'other_scheme'),
    'no value': (['--header', 'Authorization: Bearer '], 400, INVALID_REQUEST, 'malformed_authorization'),
    'a quote': (bearer('a"b'), 400, INVALID_REQUEST, 'malformed_authorization'),
    'twice': ([*bearer('a.b.c'), *bearer('d.e.f')], 400, INVALID_REQUEST, 'malformed_authorization'),
}


@pytest.mark.parametrize('options, status, challenge, cause', AUTHORIZATIONS.values(), ids=AUTHORIZATIONS)
def test_authorization(options, status, challenge, cause):
    with resource_server(*settings()) as server:
        answer = curl(server.port, *options)
        assert answer.status == status
        assert answer.challenge == challenge
        logged(server, cause, **NEVER_ASKED)


def test_unbound_accept():
    with resource_server(*settings('accept')) as server:
        assert curl(server.port, *bearer(token())).status == 200
        logged(server, 'unbound_accepted', **NEVER_ASKED)
        assert curl(server.port, *bearer(token(bound_to('crawler')))).status == 401
        logged(server, 'missing_certificate', **NEVER_ASKED)


@pytest.mark.parametrize('key, algorithm, cause', [('rsa', 'RS256', 'bound'), ('rsa', 'RS384', 'token_not_valid'),
                                                   ('other-rsa', 'RS256', 'token_not_valid'), ('ec', 'ES256', 'token_not_valid')])
def test_rs256(key, algorithm, cause):
    with resource_server(*settings('refuse', 'rsa')) as server:
        bound_client(server, 'crawler', TOKEN=token(bound_to('crawler'), key=key, algorithm=algorithm))
        logged(server, cause, **AN_AGENT)


def token_as_text(payload):
    """Signs any octets."""
    return jwt.api_jws.encode(payload.encode(), octets_of('ec.key'), 'ES256')


def token_as_is(payload):
    return token_as_text(json.dumps(payload))


def with_the_public_key(file='ec.pub'):
    """Signed with HMAC, whose secret is a file that everybody may read."""
    text = unpadded(b'{"alg":"HS256","typ":"JWT"}') + '.' + unpadded(json.dumps(claims(cnf=bound_to('crawler'))).encode())
    return text + '.' + unpadded(hmac.digest(octets_of(file), text.encode(), 'sha256'))


def changed(value):
    head, payload, signature = value.split('.')
    text = json.loads(base64.urlsafe_b64decode(payload + '=='))
    return '.'.join([head, unpadded(json.dumps({**text, 'cnf': bound_to('crawler')}).encode()), signature])


def everything_but(name=None):
    options = [*own('server'), '--listen', '127.0.0.1:0', *settings()]
    if name is not None:
        at = options.index(name)
        del options[at:at + 2]
    return options


OPTIONS = {
    'no --unbound': (everything_but('--unbound'), '--unbound'),
    'no --agents-ca': (everything_but('--agents-ca'), '--agents-ca'),
    'a key of another kind': ([*everything_but('--token-key'), '--token-key', path('rsa.jwk')], 'no public key for ES256'),
    'a private key': ([*everything_but('--token-key'), '--token-key', path('private.jwk')], 'no public key for ES256'),
    'a key in PEM': ([*everything_but('--token-key'), '--token-key', path('ec.pub')], 'no public key for ES256'),
    'HS256': ([*everything_but('--token-alg'), '--token-alg', 'HS256'], '--token-alg'),
    'proxies without a CA': ([*everything_but(), '--proxy-listen', '127.0.0.1:0'], '--proxy'),
    'no proxy named': ([*everything_but(), '--proxy-listen', '127.0.0.1:0', '--proxies-ca', path('proxies.pem')], '--proxy-cert'),
}


@pytest.mark.parametrize('options, says', OPTIONS.values(), ids=OPTIONS)
def test_options(options, says):
    """There is no default for tokens without a binding, and what cannot work is said at the start."""
    ran = run(RESOURCE_SERVER, *options)
    assert ran.status == 2
    assert says in ran.err and ran.err.count('\n') == 1


@pytest.fixture
def behind_proxies(keys):
    """A resource-server; its `proxied` is the port where only proxies come in."""
    with resource_server(*settings(), '--proxy-listen', '127.0.0.1:0', '--proxies-ca', path('proxies.pem'), '--proxy-cert',
                         path('proxy.pem')) as server:
        server.proxied = int(server.line()['address'].rsplit(':', 1)[1])
        yield server


# As whom, what it writes into Client-Cert, to whose certificate the token is bound.
PROXIED = {
    'the proxy, for an agent': ('proxy', lambda: [client_cert('crawler')], 'crawler', 200, 'bound'),
    'the proxy, for another': ('proxy', lambda: [client_cert('other-crawler')], 'crawler', 401, 'mismatch'),
    'the proxy, for nobody': ('proxy', lambda: [], 'crawler', 401, 'missing_certificate'),
    'the proxy, a token bound to its own certificate': ('proxy', lambda: [], 'proxy', 401, 'missing_certificate'),
    'the proxy, two fields': ('proxy', lambda: [client_cert('crawler')] * 2, 'crawler', 401, 'missing_certificate'),
    'the proxy, a list': ('proxy', lambda: [', '.join([client_cert('crawler')] * 2)], 'crawler', 401, 'missing_certificate'),
    'the proxy, no byte sequence': ('proxy', lambda: [client_cert('crawler').strip(':')], 'crawler', 401, 'missing_certificate'),
    'another proxy of that CA': ('other-proxy', lambda: [client_cert('crawler')], 'crawler', 401, 'wrong_outcome'),
    'another proxy, a token bound to its own': ('other-proxy', lambda: [], 'other-proxy', 401, 'wrong_outcome'),
}


@pytest.mark.parametrize('who, fields, bound, status, cause', PROXIED.values(), ids=PROXIED)
def test_proxied(behind_proxies, who, fields, bound, status, cause):
    """Client-Cert counts from the proxy whose certificate is named, where only proxies come in."""
    headers = [part for field in fields() for part in ('--header', f'Client-Cert: {field}')]
    answer = curl(behind_proxies.proxied, *own(who), *headers, *bearer(token(bound_to(bound))))
    assert answer.status == status, answer.body
    logged(behind_proxies, cause, from_proxies=True, trust='customers')
    if cause == 'missing_certificate' and not headers:
        refused(answer, 401, 'invalid_token', NOT_FORWARDED)


def test_proxied_trailer(behind_proxies):
    """A trailer is no header field: proxies may pass on what clients write there."""
    context = ssl.create_default_context(cafile=path('servers.pem'))
    context.load_cert_chain(path('proxy.pem'), path('proxy.key'))
    raw = socket.create_connection(('127.0.0.1', behind_proxies.proxied), timeout=PATIENCE)
    with context.wrap_socket(raw, server_hostname='localhost') as connection:
        connection.sendall(f'GET /resource HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token(bound_to("crawler"))}\r\n'
                           f'Transfer-Encoding: chunked\r\nTrailer: Client-Cert\r\n\r\n0\r\nClient-Cert: {client_cert("crawler")}\r\n\r\n'.encode())
        answer = connection.recv(65536)
    assert b' 200 ' not in answer
    same(behind_proxies.line(), event='connection', ok=True, from_proxies=True)


@pytest.mark.parametrize('options', [[], own('crawler')], ids=['no certificate', 'an agent'])
def test_not_a_proxy(behind_proxies, options):
    """Without a certificate of the proxies' CA nobody comes in there."""
    ran = run('curl', '--silent', '--max-time', str(PATIENCE), '--cacert', path('servers.pem'), *options,
              f'https://localhost:{behind_proxies.proxied}/resource')
    assert ran.status != 0, ran.out
    same(behind_proxies.line(), event='connection', ok=False, from_proxies=True)


def test_proxy_at_the_wrong_door(behind_proxies):
    """Where everybody comes in, a proxy's certificate is not asked for, and its word counts nothing."""
    answer = curl(behind_proxies.port, *own('proxy'), '--header', f'Client-Cert: {client_cert("crawler")}', *bearer(token(bound_to('crawler'))))
    refused(answer, 401, 'invalid_token', NOT_OFFERED)
    logged(behind_proxies, 'missing_certificate', **NEVER_ASKED)


FRONTED = {
    'a bound client': (lambda front: bound_client(front, 'crawler', TOKEN=token(bound_to('crawler'))), 200, 'bound'),
    'a stolen token': (lambda front: bound_client(front, 'other-crawler', TOKEN=token(bound_to('crawler'))), 401, 'mismatch'),
    'no flag': (lambda front: curl(front.port, *bearer(token(bound_to('crawler')))), 401, 'missing_certificate'),
    'no flag, and Client-Cert of its own': (lambda front: curl(front.port, *bearer(token(bound_to('crawler'))), '--header',
                                                               f'Client-Cert: {client_cert("crawler")}'), 401, 'missing_certificate'),
}


@pytest.mark.parametrize('visit, status, cause', FRONTED.values(), ids=FRONTED)
def test_nginx(nginx_with_module, behind_proxies, visit, status, cause):
    """A real nginx with the module in front: it asks, and passes on what it verified."""
    with nginx_with_module(f'''server {{
            listen 127.0.0.1:$PORT ssl;
            ssl_certificate {path('server.pem')}; ssl_certificate_key {path('server.key')};
            reqauth on;
            reqauth_trusted_certificate {path('agents.pem')};
            location / {{
                proxy_pass https://127.0.0.1:{behind_proxies.proxied};
                proxy_ssl_certificate {path('proxy.pem')}; proxy_ssl_certificate_key {path('proxy.key')};
                proxy_ssl_trusted_certificate {path('servers.pem')}; proxy_ssl_verify on; proxy_ssl_name localhost;
                proxy_ssl_protocols TLSv1.3;
                proxy_set_header Client-Cert $reqauth_client_cert; # replaces what the client wrote; empty: no such field
            }}
        }}''') as front:
        got = visit(front)
    assert got.status == status, got.body
    line = behind_proxies.line()
    while line['event'] != 'request':
        line = behind_proxies.line()
    same(line, status=status, cause=cause)


def test_browser():
    """Chromium gets the page, and is never asked."""
    program = shutil.which('chromium') or pytest.skip('chromium is not installed')
    with resource_server(*settings()) as server, tempfile.TemporaryDirectory(prefix='reqauth-chromium-') as profile:
        for target, shows in (('/', 'You were never asked for a certificate'), ('/resource', 'this needs an access token')):
            done = subprocess.run([program, '--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run',
                                   '--ignore-certificate-errors', f'--user-data-dir={profile}', '--dump-dom',
                                   f'https://localhost:{server.port}{target}'],
                                  stdin=subprocess.DEVNULL, capture_output=True, timeout=3 * PATIENCE)
            assert shows.encode() in done.stdout, (f'Chromium shows {target}', done.stdout[-600:], done.stderr[-300:])
        server.process.terminate()
        connections, requests = [], []
        with contextlib.suppress(EOFError):
            while True:
                line = server.line()
                (connections if line['event'] == 'connection' else requests).append(line)
        assert (len([line for line in connections if line['ok']]) > 0 and
                {'/', '/resource'} <= {line['target'] for line in requests}), 'Chromium came'
        for line in connections:
            if line['ok']:
                same(line, **NEVER_ASKED)
            assert line['asked'] is False, 'Chromium is asked for no certificate'
