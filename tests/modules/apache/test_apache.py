# SPDX-License-Identifier: Apache-2.0
"""Runs a real Apache httpd, as packaged, with mod_reqauth: its clients are reqauth-client, tunnel and unmodified curl."""
import base64
import contextlib
import http.client
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

import pytest

import refusals
import standing
import applications
from servers import Apache, Tunnel as Carrier, counted_by, found
from running import (CLIENT, EC, EXPIRED, PATIENCE, RSA, Ran, authority, built, client_cert, fingerprint, home, keeping, leaf, octets_of, openssl, other, own,
                     path, presenting, read_all, request, revocation_list, run, same, sign, write)

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..', '..')
AGENT, CUSTOMER = 'CN=crawler.example', 'CN=customer.example'
CRAWLER, PERSON, OFFERS = own('crawler'), ['--offer', 'never'], ['--offer', 'always']


@pytest.fixture(scope='module', autouse=True)
def certificates(httpd_with_module):
    # The signatures of an RSA key have one size, so that two handshakes have the same number of octets.
    for name, kind in (('site', EC), ('rsa', RSA)):
        leaf(name, '/CN=a.example', 'servers', 'DNS:a.example,DNS:b.example,DNS:c.example,DNS:d.example,DNS:localhost', kind)
    leaf('user', '/CN=agent-who-is-a-user', 'agents', 'DNS:crawler.example')
    write('both.pem', octets_of('agents.pem') + octets_of('others.pem'))
    write('broken.pem', octets_of('agents.pem').replace(b'MII', b'M!I', 1))
    write('tickets.key', os.urandom(48))
    write('users', b''.join(name + b':xxj31ZMTZzkVA\n' for name in (b'/CN=crawler.example', b'/CN=customer.example')) + b'person:' +
          subprocess.run(['openssl', 'passwd', '-apr1', 'secret'], capture_output=True, check=True, timeout=PATIENCE).stdout)
    os.chmod(path('users'), 0o644)


application = applications.Echo()

ECHO = f'''
    RequestHeader unset X-Seen early
    ReqAuthHeader Client-Cert REQAUTH_CLIENT_CERT
    RequestHeader set X-Outcome "%{{REQAUTH_OUTCOME}}e"
    RequestHeader set X-Reason "expr=%{{REQAUTH_REASON}}"
    RequestHeader set X-Verify "%{{REQAUTH_VERIFY}}e"
    RequestHeader set X-Subject "expr=%{{REQAUTH_SUBJECT}}"
    RequestHeader set X-Issuer "expr=%{{REQAUTH_ISSUER}}"
    RequestHeader set X-Serial "expr=%{{REQAUTH_SERIAL}}"
    RequestHeader set X-Not-After "expr=%{{REQAUTH_NOT_AFTER}}"
    RequestHeader set X-San-Dns "expr=%{{REQAUTH_SAN_DNS}}"
    RequestHeader set X-San-Uri "expr=%{{REQAUTH_SAN_URI}}"
    RequestHeader set X-Fingerprint "expr=%{{REQAUTH_FINGERPRINT}}"
    RequestHeader set X-Resumed "expr=%{{REQAUTH_RESUMED}}"
    RewriteEngine on
    RewriteRule ^ - [E=REWRITTEN:%{{ENV:REQAUTH_VERIFY}}]
    RequestHeader set X-Rewritten "%{{REWRITTEN}}e"
    RequestHeader set X-Ssl-Verify "%{{SSL_CLIENT_VERIFY}}s"
    RequestHeader set X-Ssl-Subject "%{{SSL_CLIENT_S_DN}}s"
    ProxyPass /echo http://127.0.0.1:{application.port}/echo
'''


def vhost(name, text, port='$PORT', certificate='site', echo=ECHO):
    return f'''
<VirtualHost 127.0.0.1:{port}>
    ServerName {name}
    SSLEngine on
    SSLCertificateFile {path(certificate + '.pem')}
    SSLCertificateKeyFile {path(('site' if certificate == 'site' else certificate) + '.key')}
    Protocols h2 http/1.1
    {echo}
    {text}
</VirtualHost>
'''


def agent(server, name, *options, get=('/echo',)):
    gets = [word for each in get for word in ('--get', each)]
    return run(CLIENT, '--connect', f'127.0.0.1:{server.port}', '--servername', name, '--ca', path('servers.pem'), '--json',
               *options, *gets)


def echoed(ran):
    """The fields as the application behind saw them."""
    return dict(json.loads(ran.out.splitlines()[0])['fields'])


def curl(server, name, where, *options, status=True):
    done = subprocess.run(['curl', '-sS', '--cacert', path('servers.pem'), '--connect-to', f'{name}:443:127.0.0.1:{server.port}',
                           f'https://{name}{where}', *(['-w', '\n%{http_code}'] if status else []), *options],
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE)
    return Ran(done.returncode, done.stdout, done.stderr)


class Tunnel(Carrier):
    def __init__(self, server, name, who='crawler', alpn='http/1.1', resume=False):
        super().__init__(server.port, name, who, alpn, *(['resume'] if resume else []))

    def get(self, where, host, **fields):
        connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=PATIENCE)
        connection.putrequest('GET', where, skip_host=True)
        connection.putheader('Host', host)
        for name, value in fields.items():
            connection.putheader(name.replace('_', '-') if name != 'Client_Cert' else name, value)
        connection.endheaders()
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        return answer.status, body

    def fields(self, where, host, **fields):
        """The same, as the application behind saw it."""
        return dict(json.loads(self.get(where, host, **fields)[1])['fields'])


TWO = '''
ReqAuth on
''' + vhost('a.example', f'ReqAuthCACertificateFile {path("agents.pem")}') + vhost(
    'b.example', f'ReqAuthCACertificateFile {path("others.pem")}') + vhost('c.example', 'ReqAuth off')
TWO = TWO.replace('ReqAuth on\n', f'ReqAuth on\nReqAuthCACertificateFile {path("agents.pem")}\n')


def sees(fields, **wanted):
    for name, value in wanted.items():
        name = name.replace('_', '-')
        assert fields.get(name) == value, (name, fields)


VERIFIED = dict(x_outcome='accepted', x_reason='', x_verify='SUCCESS', x_rewritten='SUCCESS', x_ssl_verify='NONE', x_ssl_subject='(null)')
NOBODY = dict(x_verify='NONE', x_rewritten='NONE', x_subject='', x_fingerprint='', x_san_dns='', client_cert=None, x_ssl_verify='NONE',
              x_ssl_subject='(null)')


@pytest.fixture(scope='module', params=['event', 'prefork'])
def two(request, certificates):
    """Two virtual hosts with different trust, and one where it is off."""
    with Apache(TWO, mpm=request.param) as server:
        yield server
        assert ':error]' not in server.log() and ':emerg]' not in server.log(), server.log()[-3000:]


at_both = pytest.mark.parametrize('name, who, another, ca, uri', [
    ('a.example', 'crawler', 'impostor', 'agents', 'https://crawler.example/bot'), ('b.example', 'impostor', 'crawler', 'others', '')],
    ids=['a.example', 'b.example'])


@at_both
def test_agent(two, name, who, another, ca, uri):
    """On both sides of the wire and behind."""
    ran = agent(two, name, *own(who))
    assert ran.status == 0, (ran.out, ran.err)
    same(ran.line, ok=True, offered=True, acknowledged=True, sent='flag')
    seen = echoed(ran)
    sees(seen, **VERIFIED, x_subject=AGENT, x_fingerprint=fingerprint(who), client_cert=client_cert(who), x_resumed='0', x_issuer=f'CN={ca} CA',
         x_san_dns='crawler.example', x_san_uri=uri)
    assert re.fullmatch(r'([0-9A-F]{2})+', seen['x-serial'])
    assert re.fullmatch(r'20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ', seen['x-not-after'])


@refusals.each_program
def test_no_refusal_is_lost(httpd_with_module, name):
    with httpd_with_module(vhost('localhost', f'ReqAuth on\nReqAuthCACertificateFile {path("agents.pem")}\nReqAuthCANames off', certificate='server',
                                 echo='')) as server:
        refusals.always_noticed(name, server.port)


@at_both
def test_agent_of_the_other_ca(two, name, who, another, ca, uri):
    ran = agent(two, name, *own(another))  # the request names CAs that it does not have
    same(ran.line, ok=True, acknowledged=True, sent='empty')
    sees(echoed(ran), **NOBODY, x_outcome='accepted', x_reason='empty')
    ran = agent(two, name, *own(another), '--on-unsatisfiable', 'present')
    assert ran.status != 0 and ran.line['alert_received'] == 'unknown_ca', ran.out


@pytest.mark.parametrize('name, options, offered, outcome', [
    pytest.param('a.example', PERSON, False, 'not_offered', id='no flag'), pytest.param('c.example', CRAWLER, True, 'ignored', id='ReqAuth off')])
def test_not_asked(two, name, options, offered, outcome):
    ran = agent(two, name, *options)
    same(ran.line, ok=True, offered=offered, requested=False, sent='none')
    sees(echoed(ran), **NOBODY, x_outcome=outcome, x_reason=outcome)


each_version = pytest.mark.parametrize('version', ['--http1.1', '--http2'])


@each_version
def test_person(two, version):
    ran = curl(two, 'a.example', '/echo', version, status=False)
    sees(dict(json.loads(ran.out)['fields']), **NOBODY, x_outcome='not_offered')


# What a request says of itself does not reach the application.
LIES_OF_ITSELF = {'Client-Cert': ':bGll:', 'Client-Cert-Chain': ':bGll:', 'Client_Cert': ':bGll:', 'X-Outcome': 'accepted', 'X-Verify': 'SUCCESS',
                  'X-Subject': AGENT, 'REQAUTH_VERIFY': 'SUCCESS', 'REQAUTH_SUBJECT': 'CN=lie', 'REQAUTH-SUBJECT': 'CN=lie'}


@each_version
def test_spoofed_by_a_person(two, version):
    fields = [word for name, value in LIES_OF_ITSELF.items() for word in ('-H', f'{name}: {value}')]
    seen = dict(json.loads(curl(two, 'a.example', '/echo', version, *fields, status=False).out)['fields'])
    sees(seen, **NOBODY, x_outcome='not_offered')
    assert not [name for name in seen if 'client' in name and 'cert' in name], 'no Client-Cert of any spelling'


def test_spoofed_by_an_agent(two):
    with Tunnel(two, 'a.example') as tunnel:
        seen = tunnel.fields('/echo', 'a.example', **LIES_OF_ITSELF)
    sees(seen, **VERIFIED, x_subject=AGENT, client_cert=client_cert('crawler'))
    assert [name for name in seen if 'client' in name and 'cert' in name] == ['client-cert'], 'its own certificate alone'


OWNED = {'HTTP_CLIENT_CERT', 'HTTP_CLIENT_CERT_CHAIN', 'HTTP_X_AGENT', 'HTTP_X_CUSTOMER'}
LIES = ('X-Agent', 'Client-Cert', 'Client-Cert-Chain', 'X-Customer')
# What is a token to HTTP, and an underscore to somebody.
MARKS = "_.!#$%&'*+^`|~"
SPELLED = [f'{name}: lie' for lie in LIES for name in (lie, lie, lie.lower(), lie.upper(), *(lie.replace('-', mark) for mark in '_.'))]
SPELLED += [f'{"X-Agent".replace("-", mark)}: lie' for mark in MARKS] + ['Client_Cert-Chain: lie', 'client-cert_chain: lie']
LISTED = 'X-Agent, Client-Cert, Client-Cert-Chain, X-Customer'
TRICKS = {  # fields, and trailers
    'nothing': ([], []),
    'spelled': (SPELLED, []),
    'Connection': ([*SPELLED, f'Connection: close, {LISTED}'], []),
    'Connection, first of all': ([f'Connection: {LISTED.lower()}, close', *SPELLED], []),
    'Connection, spelled': ([*SPELLED, f'Connection: close, {LISTED.replace("-", "_")}, {LISTED}'], []),
    'Connection, twice': ([f'Connection: {LISTED}', *SPELLED, 'Connection: close', f'connection: {LISTED.upper()}'], []),
    'Connection, semicolons': ([f'Connection: close;{LISTED.replace(", ", ";")}'], []),
    'Connection, white space': ([f'Connection: close\t{LISTED.replace(", ", "  ")}'], []),
    'Connection, quoted': ([f'Connection: close, "x" {LISTED}, "{LISTED}"'], []),
    'Connection, commas': ([f'Connection: ,,close,,,{LISTED.replace(", ", ",,")},,'], []),
    'Connection, folded': ([f'Connection: close,\r\n {LISTED}'], []),
    'Connection, an upgrade': ([*SPELLED, f'Connection: Upgrade, close, {LISTED}', 'Upgrade: websocket'], []),
    'other lists of names': ([*SPELLED, f'Proxy-Connection: {LISTED}', f'Keep-Alive: {LISTED}', f'TE: trailers, {LISTED}', f'Via: 1.1 x, {LISTED}'], []),
    'Expect': ([*SPELLED, 'Expect: 100-continue', f'Connection: close, {LISTED}'], []),
    'trailers': ([*SPELLED, f'Trailer: {LISTED}'], SPELLED),
    'trailers, and Connection there': ([f'Trailer: Connection, {LISTED}'], [f'Connection: close, {LISTED}', *SPELLED]),
}


def identities(body):
    """What an application saw of the owned names: pairs, in order of name. mod_cgi's is a list of lines."""
    text = body.decode('latin-1') if body else ''
    pairs = json.loads(text) if text.startswith('[') else [line.split('=', 1) for line in text.splitlines() if line.startswith('HTTP_')]
    return sorted([name, value] for name, value in pairs if name in OWNED)


@pytest.fixture(scope='module')
def those_behind(certificates):
    """An application for each way to one."""
    os.makedirs(path('cgi'), exist_ok=True)
    write('cgi/environment', b'#!/bin/sh\necho; env | grep ^HTTP_; exit 0\n')
    os.chmod(path('cgi/environment'), 0o755)
    os.chmod(path('cgi'), 0o755)
    return {speaks: applications.Behind(getattr(applications, speaks)).port for speaks in ('http', 'fcgi', 'scgi', 'uwsgi', 'ajp')}


WAYS = {speaks: f'/{speaks}' for speaks in ('http', 'fcgi', 'scgi', 'uwsgi', 'ajp', 'cgi')} | {
    'subrequest': '/page.html', 'ErrorDocument': '/nothing', 'redirect': '/moved'}


def to_applications(ports):
    return '\n'.join(f'ProxyPass /{speaks} {speaks}://127.0.0.1:{port}/' for speaks, port in ports.items()) + f'''
        ScriptAlias /cgi {path("cgi")}/environment
        ErrorDocument 404 /cgi
        ErrorDocument 417 /http
        RewriteEngine on
        RewriteRule ^/moved$ /cgi [PT]
        <Location /page.html>
            SetOutputFilter INCLUDES
        </Location>
        <Directory />
            Options +Includes
        </Directory>
        Protocols h2c h2 http/1.1
        CustomLog trailers "%{{X-Agent}}^ti|%{{x_agent}}^ti|%{{Client_Cert}}^ti"'''


AGENTS_CA = f'ReqAuth on\nReqAuthCACertificateFile {path("agents.pem")}'
HANDED = ('ReqAuthHeader X-Agent REQAUTH_SUBJECT\nReqAuthHeader Client-Cert REQAUTH_CLIENT_CERT\n'
          'ReqAuthHeader Client-Cert-Chain REQAUTH_CLIENT_CERT_CHAIN\nReqAuthHeader X-Customer\n'
          'RequestHeader set X-Customer "%{SSL_CLIENT_S_DN}s" "expr=%{SSL_CLIENT_VERIFY} == \'SUCCESS\'"')


def before_applications(ports, more):
    everywhere = to_applications(ports)
    server = Apache(f'{more}\n' + vhost('a.example', f'{AGENTS_CA}\n{HANDED}', echo=everywhere) + vhost('b.example', AGENTS_CA, echo=everywhere) +
                    vhost('c.example', 'ReqAuth off', echo=everywhere) +
                    f'<VirtualHost 127.0.0.1:$PLAIN>\nServerName plain.example\n{everywhere}\n</VirtualHost>', start=False)
    server.page('page.html', '<!--#include virtual="/cgi" -->')
    return server.start()


@pytest.fixture(scope='module', params=['off', 'on'])
def merges_trailers(request, those_behind):
    with before_applications(those_behind, f'MergeTrailers {request.param}') as server:
        server.tricks = [each for each in TRICKS if request.param == 'off' or 'trailers' in each]
        yield server
        assert set(server.log('trailers').splitlines()) == {'-|-|-'}, 'no trailer is left'
        assert 'exit signal' not in server.log(), ('nothing crashed', server.log()[-2000:])


def of_agent():
    return sorted([['HTTP_X_AGENT', AGENT], ['HTTP_CLIENT_CERT', client_cert('crawler')], ['HTTP_CLIENT_CERT_CHAIN', client_cert('agents')]])


# Whose handshake, by which name (None: none, on a plain port), for which host, by HTTP/2; whether it is an agent there.
WRITERS = {
    'an agent': ('crawler', 'a.example', 'a.example', False, True),
    'an agent at another host': ('crawler', 'b.example', 'b.example', False, False),
    'an agent, misdirected': ('crawler', 'b.example', 'a.example', False, False),
    'an agent, misdirected to where nothing is set': ('crawler', 'a.example', 'b.example', False, False),
    'an agent where ReqAuth is off': ('crawler', 'c.example', 'c.example', False, False),
    'a person': (None, 'a.example', 'a.example', False, False),
    'a person at another host': (None, 'b.example', 'b.example', False, False),
    'a person where ReqAuth is off': (None, 'c.example', 'c.example', False, False),
    'a person, plain': (None, None, 'plain.example', False, False),
    'an agent, HTTP 2': ('crawler', 'a.example', 'a.example', True, True),
    'a person, HTTP 2': (None, 'a.example', 'a.example', True, False),
    'a person where ReqAuth is off, HTTP 2': (None, 'c.example', 'c.example', True, False),
    'a person, plain, HTTP 2': (None, None, 'plain.example', True, False),
}


def writers(names):
    return pytest.mark.parametrize('who, name, host, h2, is_agent', [WRITERS[each] for each in names], ids=names)


@contextlib.contextmanager
def connected(server, name, who, h2):
    """The port of a writer."""
    if name is None:
        yield server.plain
    else:
        with Tunnel(server, name, who=who, alpn='h2' if h2 else 'http/1.1') as tunnel:
            yield tunnel.port


def ask(port, host, way, trick, h2=False):
    mine, trailers = TRICKS[trick]
    if not h2:
        return applications.http1(port, host, way, mine, trailers)[1]
    # HTTP/2 has small letters, and no Connection: who sends one gets no answer.
    mine, trailers = ([each.split(':')[0].lower() + ':' + each.split(':', 1)[1] for each in which if not each.lower().startswith(
        ('connection', 'keep-alive', 'proxy-connection', 'te:', 'upgrade'))] for which in (mine, trailers))
    return applications.http2(port, host, way, mine, trailers)


@writers(WRITERS)
def test_fields(merges_trailers, who, name, host, h2, is_agent):
    """Whatever is written into a request, and by whom: the application sees of the module's fields exactly what the module set."""
    wanted = of_agent() if is_agent else []
    # All ways for some. The others differ in who comes.
    ways = WAYS if name != host or name == 'a.example' else {'http': '/http'}
    with connected(merges_trailers, name, who, h2) as port:
        for trick in merges_trailers.tricks:
            for way, where in ways.items():
                body = ask(port, host, where, trick, h2)
                if 'trailers' in trick and way in ('scgi', 'uwsgi') and b'411 Length Required' in body:
                    continue  # to SCGI and uWSGI httpd sends nothing that is chunked
                assert body and identities(body) == wanted, (trick, way)


@writers([each for each in WRITERS if 'HTTP 2' in each])
def test_fields_of_http2(merges_trailers, who, name, host, h2, is_agent):
    wanted = of_agent() if is_agent else []
    with connected(merges_trailers, name, who, h2) as port:
        body = applications.http2(port, host, '/http', [f'connection: {LISTED}'.lower()])
        assert body is None or identities(body) == wanted, 'if it comes through'
        for way in ('http', 'fcgi'):
            trailers = [each.lower() for each in SPELLED]
            body = applications.http2(port, host, f'/{way}', [*trailers, 'content-length: 4'], trailers)
            assert identities(body) == wanted, 'trailers behind a known length'


@pytest.mark.parametrize('connection', [f'Connection: Upgrade, HTTP2-Settings, {LISTED}', f'Connection: {LISTED}, Upgrade, HTTP2-Settings'],
                         ids=['listed last', 'listed first'])
@pytest.mark.parametrize('trick', ['nothing', 'spelled', 'Connection'])
def test_fields_of_h2c(merges_trailers, trick, connection):
    body, _ = applications.upgraded(merges_trailers.plain, 'plain.example', '/http', [*TRICKS[trick][0][:len(SPELLED)], connection])
    assert body and identities(body) == []


@writers(['an agent', 'a person', 'a person, plain'])
def test_fields_of_417(merges_trailers, who, name, host, h2, is_agent):
    """What does not get as far as a request's hooks is told to an ErrorDocument."""
    with connected(merges_trailers, name, who, h2) as port:
        status, body = applications.http1(port, host, '/http', ['Expect: nothing', *TRICKS['Connection'][0]])
        assert status in (200, 417) and identities(body) == (of_agent() if is_agent else [])


@pytest.mark.parametrize('who', ['crawler', None], ids=['an agent', 'a person'])
def test_fields_of_unsafe(those_behind, who):
    odd = [f'{"X-Agent".replace("-", mark)}: lie' for mark in ' \t@/[]{}()<>"\\,;?=\x7f\x80\xff'] + ['X-Agent : lie', 'Client Cert: lie']
    with before_applications(those_behind, 'HttpProtocolOptions Unsafe') as server, Tunnel(server, 'a.example', who=who) as tunnel:
        for each in odd:
            status, body = applications.http1(tunnel.port, 'a.example', '/http', [each])
            assert status == 400 or (status == 200 and identities(body) == (of_agent() if who else [])), each


@pytest.mark.parametrize('options, wanted', [(own('customer'), [['HTTP_X_CUSTOMER', CUSTOMER]]), ([], [])], ids=['a customer', 'a person'])
def test_field_of_customers(those_behind, options, wanted):
    """It is safe by the same means."""
    host = customers_host('optional', 'ReqAuthHeader X-Customer', 'RequestHeader set X-Customer "%{SSL_CLIENT_S_DN}s" "expr=%{SSL_CLIENT_VERIFY} == \'SUCCESS\'"',
                          to_applications(those_behind), doors={})
    lies = [word for each in TRICKS['Connection'][0] for word in ('-H', each)]
    with Apache(host) as server:
        ran = curl(server, 'a.example', '/http', '--http1.1', *options, *lies, status=False)
    # The other names are nobody's here.
    assert [each for each in identities(ran.out.encode()) if each[0] != 'HTTP_X_AGENT'] == wanted, ran.err


def test_trusted():
    """ReqAuthDangerTrustInboundFields leaves what a proxy says, and says no more."""
    told = applications.Behind(applications.http)
    everywhere = f'ProxyPass /http http://127.0.0.1:{told.port}/\nReqAuthHeader X-Agent REQAUTH_OUTCOME'
    said = ['X-Agent: CN=told', 'Client-Cert: :AAAA:', 'client_cert: :BBBB:']
    with Apache(vhost('a.example', 'ReqAuthDangerTrustInboundFields on', echo=everywhere) + vhost('b.example', AGENTS_CA, echo=everywhere)) as server:
        with Tunnel(server, 'a.example', who=None) as proxy:
            got = identities(applications.http1(proxy.port, 'a.example', '/http', said)[1])
            assert got == [['HTTP_CLIENT_CERT', ':AAAA:'], ['HTTP_CLIENT_CERT', ':BBBB:'], ['HTTP_X_AGENT', 'CN=told']], 'as it came'
        with Tunnel(server, 'b.example', who=None) as person:
            got = identities(applications.http1(person.port, 'b.example', '/http', said)[1])
            assert got == [['HTTP_X_AGENT', 'not_offered']], 'and nowhere else'


@pytest.mark.parametrize('sent', [b'GET /echo HTTP/1.1\r\nHost: a.example\r\nClient-Cert: :bGll:\r\n\r\n', b'\x16\x03\x01\x00\x05hello', b'', b'\x80'],
                         ids=['HTTP', 'a record', 'nothing', 'an octet'])
def test_plain(two, sent):
    """Plain HTTP on the port of TLS, and what does not get as far as a request."""
    with socket.create_connection(('127.0.0.1', two.port), timeout=PATIENCE) as raw:
        raw.sendall(sent)
        raw.shutdown(socket.SHUT_WR)
        answer = read_all(raw)
    assert b' 200 ' not in answer and (b' 400 ' in answer or not sent.startswith(b'GET'))
    for _ in range(3):
        sees(echoed(agent(two, 'a.example', *CRAWLER)), **VERIFIED)
    assert 'exit signal' not in two.log(), ('nothing crashed', two.log()[-2000:])


def by_http2(tunnel, host, where):
    """curl's request through a tunnel: the lines of the answer, and HTTP's version and the status in the last."""
    done = subprocess.run(['curl', '-sS', '--http2-prior-knowledge', f'http://127.0.0.1:{tunnel.port}{where}', '-H', f'Host: {host}',
                           '-w', '\n%{http_version} %{http_code}'], capture_output=True, timeout=PATIENCE)
    return done.stdout.decode().splitlines()


def test_http2():
    with Apache(TWO) as server, Tunnel(server, 'a.example', alpn='h2') as tunnel:
        for _ in range(2):
            lines = by_http2(tunnel, 'a.example', '/echo')
            assert lines[-1] == '2 200'
            sees(dict(json.loads(lines[0])['fields']), **VERIFIED, x_subject=AGENT, client_cert=client_cert('crawler'))


# Every way that mod_ssl has to let a client in by its certificate. Each is open to the customer alone; those of the second
# list would be, by the name, open to the agent as well, if mod_ssl told of it.
DOORS = {
    'require-ssl-verify-client': 'Require ssl-verify-client',
    'sslrequire-verify': 'SSLRequire %{SSL_CLIENT_VERIFY} eq "SUCCESS"',
    'sslrequire-function': 'SSLRequire SSL("SSL_CLIENT_VERIFY") eq "SUCCESS"',
    'require-expr-verify': 'Require expr "%{SSL_CLIENT_VERIFY} == \'SUCCESS\'"',
    'require-expr-case': 'Require expr "%{ssl_client_verify} == \'SUCCESS\'"',
    'strict': 'SSLOptions +StrictRequire\nSSLRequire %{SSL_CLIENT_VERIFY} eq "SUCCESS"\nRequire all granted',
}
BY_NAME = {
    'sslrequire-name': 'SSLRequire %{SSL_CLIENT_S_DN_CN} in {"crawler.example", "customer.example"}',
    'sslrequire-serial': 'SSLRequire %{SSL_CLIENT_M_SERIAL} ne ""',
    'sslrequire-function-name': 'SSLRequire SSL("SSL_CLIENT_S_DN_CN") =~ m/example/',
    'sslrequire-extensions': 'SSLRequire "DNS:crawler.example, URI:https://crawler.example/bot, IP Address:192.0.2.1" in PeerExtList("2.5.29.17") or "DNS:customer.example, IP Address:192.0.2.2" in '
                             'PeerExtList("subjectAltName")',
    'require-expr-name': 'Require expr "%{SSL_CLIENT_S_DN_CN} =~ /example/"',
    'require-expr-function': 'Require expr "%{SSL:SSL_CLIENT_S_DN} =~ /example/"',
    'require-expr-certificate': 'Require expr "-n %{SSL_CLIENT_CERT}"',
    'require-expr-san': 'Require expr "%{SSL_CLIENT_SAN_DNS_0} =~ /example/"',
    'if': '<If "%{SSL_CLIENT_S_DN_CN} !~ /example/">\nRequire all denied\n</If>',
    'fake-basic': f'SSLOptions +FakeBasicAuth\nAuthType Basic\nAuthName n\nAuthBasicProvider file\nAuthUserFile {path("users")}\nRequire valid-user',
    'user-name': f'SSLUserName SSL_CLIENT_S_DN_CN\nAuthType Basic\nAuthName n\nAuthBasicProvider file\nAuthUserFile {path("users")}\nRequire user crawler.example customer.example',
    'rewrite': 'RewriteEngine on\nRewriteCond %{SSL:SSL_CLIENT_S_DN} !example\nRewriteRule ^ - [F]',
    'rewrite-verify': 'RewriteEngine on\nRewriteCond %{SSL:SSL_CLIENT_VERIFY} !SUCCESS\nRewriteRule ^ - [F]',
    'environment': 'SSLOptions +StdEnvVars\nRequire expr "%{SSL_CLIENT_S_DN_CN} =~ /example/"',
}
DOORS |= BY_NAME
TOLD = """
    <Location /told>
        SSLOptions +StdEnvVars +ExportCertData
        Header always set X-Env-Verify "%{SSL_CLIENT_VERIFY}e"
        Header always set X-Env-Subject "%{SSL_CLIENT_S_DN}e"
        Header always set X-Env-Name "%{SSL_CLIENT_S_DN_CN}e"
        Header always set X-Env-San "%{SSL_CLIENT_SAN_DNS_0}e"
        Header always set X-Env-Cert there "expr=-n %{reqenv:SSL_CLIENT_CERT}"
        Header always set X-Env-Chain there "expr=-n %{reqenv:SSL_CLIENT_CERT_CHAIN_0}"
        Header always set X-Env-Server "%{SSL_SERVER_S_DN_CN}e"
        Header always set X-Looked-Verify "%{SSL_CLIENT_VERIFY}s"
        Header always set X-Looked-Subject "%{SSL_CLIENT_S_DN}s"
        Header always set X-Expr-Verify "expr=%{SSL_CLIENT_VERIFY}"
        Header always set X-Expr-Subject "expr=%{SSL_CLIENT_S_DN}"
        Header always set X-Expr-Protocol "expr=%{SSL_PROTOCOL}"
        Header always set X-User "expr=%{REMOTE_USER}"
        Header always set X-Reqauth "%{REQAUTH_VERIFY}e"
    </Location>
    CustomLog logged "%{SSL_CLIENT_VERIFY}x|%{SSL_CLIENT_S_DN}x|%{ssl_client_m_serial}x|%{subjectdn}c|%{issuerdn}c|%{errstr}c|%{SSL_PROTOCOL}x|%{version}c|%{REQAUTH_VERIFY}e|%{REQAUTH_SUBJECT}n"
"""


def customers_host(asks, *directives, doors=DOORS):
    return vhost('a.example', '\n'.join((
        'ReqAuth on', f'ReqAuthCACertificateFile {path("agents.pem")}', f'SSLCACertificateFile {path("customers.pem")}',
        f'SSLVerifyClient {asks}', *directives, TOLD,
        *(f'<Location /{name}>\n{text}\n</Location>' for name, text in doors.items()))))


def customers_server(asks, *directives, doors=DOORS, more=''):
    server = Apache(customers_host(asks, *directives, doors=doors) + more, start=False)
    for name in ('told', *doors):
        server.page(name, f'{name}\n')
    return server.start()


def status_of(server, where, who):
    """The HTTP status, seen as the agent, with a tunnel; or as a customer or nobody, with curl."""
    if isinstance(who, Tunnel):
        return who.get(where, 'a.example')[0]
    return int(curl(server, 'a.example', where, '--http1.1', *who, '-o', '/dev/null').out.split()[-1])


def headers_of(server, where, who):
    server.logged_before = server.log('logged').count('\n')
    if isinstance(who, Tunnel):
        connection = http.client.HTTPConnection('127.0.0.1', who.port, timeout=PATIENCE)
        connection.request('GET', where, headers={'Host': 'a.example'})
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return {name.lower(): value for name, value in answer.getheaders()}
    said = curl(server, 'a.example', where, '--http1.1', *who, '-D', '-', '-o', '/dev/null', status=False).out
    return {name.lower(): value for name, value in (line.split(': ', 1) for line in said.splitlines() if ': ' in line)}


def logged(server):
    """The line of the last headers_of: it comes after the answer."""
    server.until(lambda: server.log('logged').count('\n') > server.logged_before)
    return server.log('logged').splitlines()[-1].split('|')


# mod_ssl's own doors: open to customers as before, closed to agents as to anybody without a certificate.
each_door = pytest.mark.parametrize('door', DOORS)


def closed(door):
    return 401 if door in ('fake-basic', 'user-name') else 403


@pytest.fixture(scope='module', params=['optional', 'optional_no_ca'])
def asks_customers(request, certificates):
    """With an agent, and one that resumes."""
    with customers_server(request.param) as server, Tunnel(server, 'a.example') as server.agent, \
            Tunnel(server, 'a.example', resume=True) as server.resuming:
        for handshake in (b'in full', b'resumed'):
            server.resuming.get('/told', 'a.example')
            assert handshake in server.resuming.process.stdout.readline()
        yield server


@each_door
def test_door(asks_customers, door):
    assert status_of(asks_customers, f'/{door}', own('customer')) == 200, 'the customer comes in'
    assert status_of(asks_customers, f'/{door}', []) == closed(door), 'nobody does not'
    assert status_of(asks_customers, f'/{door}', asks_customers.agent) == closed(door), 'the agent does not'
    assert status_of(asks_customers, f'/{door}', asks_customers.resuming) == closed(door), 'nor where it resumes'


IS_NOBODY = {'x-env-verify': 'NONE', 'x-env-subject': '(null)', 'x-env-name': '(null)', 'x-env-san': '(null)', 'x-env-cert': None,
             'x-env-chain': None, 'x-looked-verify': 'NONE', 'x-looked-subject': '(null)', 'x-expr-verify': 'NONE', 'x-expr-subject': '',
             'x-user': '', 'x-env-server': 'a.example', 'x-expr-protocol': 'TLSv1.3'}


def test_told_of_agents(asks_customers):
    """The same as of nobody, here and in the log."""
    told = {}
    for who, how in (('nobody', []), ('agent', asks_customers.agent), ('agent that resumes', asks_customers.resuming)):
        told[who] = headers_of(asks_customers, '/told', how)
        line = logged(asks_customers)
        assert line[:8] == ['NONE', '-', '-', '-', '-', '-', 'TLSv1.3', 'TLSv1.3']
        assert line[8:] == (['NONE', '-'] if who == 'nobody' else ['SUCCESS', AGENT]), 'what the module says'
        sees(told[who], **IS_NOBODY)
    same_but = {'x-reqauth', 'date', 'connection', 'upgrade'}  # curl alone asks for HTTP/2
    nobody, agent = ({name: value for name, value in told[who].items() if name not in same_but} for who in ('nobody', 'agent'))
    assert agent == nobody


def test_told_of_customers(asks_customers):
    sees(headers_of(asks_customers, '/told', own('customer')), x_env_verify='SUCCESS', x_env_subject=CUSTOMER,
         x_env_name='customer.example', x_looked_subject=CUSTOMER, x_expr_subject=CUSTOMER, x_expr_verify='SUCCESS', x_env_cert='there',
         x_reqauth='NONE')
    line = logged(asks_customers)
    assert line[:2] == ['SUCCESS', CUSTOMER] and line[3:5] == [CUSTOMER, 'CN=customers CA'] and line[8] == 'NONE'


@pytest.mark.parametrize('password, status', [('person:secret', 200), ('person:wrong', 401), ('/CN=crawler.example:password', 403)])
def test_password_of_an_agent(asks_customers, password, status):
    """Its own counts, as anybody's does."""
    basic = {'Authorization': 'Basic ' + base64.b64encode(password.encode()).decode()}
    assert asks_customers.agent.get('/fake-basic', 'a.example', **basic)[0] == status


EXEC = built('modules/preload/reqauth-exec')
VISITS = ('import sys, socket, ssl\n'
          'raw = socket.create_connection(("127.0.0.1", int(sys.argv[1])))\n'
          'tls = ssl.create_default_context(cafile=sys.argv[2]).wrap_socket(raw, server_hostname=sys.argv[3])\n'
          'tls.sendall(f"GET /echo HTTP/1.0\\r\\nHost: {sys.argv[3]}\\r\\n\\r\\n".encode())\n'
          'print(b"".join(iter(lambda: tls.recv(65536), b"")).split(b"\\r\\n\\r\\n", 1)[1].decode())\n')


@pytest.mark.skipif(not os.path.exists(EXEC), reason='reqauth-exec is not built')
@at_both
@pytest.mark.parametrize('program', ['curl, HTTP/1.1', 'curl, HTTP/2', 'python3'])
def test_executed(two, program, name, who, another, ca, uri):
    """Programs that know nothing of the flag, under reqauth-exec."""
    command = ['/usr/bin/python3', '-c', VISITS, str(two.port), path('servers.pem'), name] if program == 'python3' else [
        'curl', '-sS', '--http2' if program.endswith('2') else '--http1.1', '--cacert', path('servers.pem'),
        '--connect-to', f'{name}:443:127.0.0.1:{two.port}', f'https://{name}/echo']
    for mine, verified in ((who, True), (another, False)):
        ran = run(EXEC, *own(mine), '--', *command)
        assert ran.status == 0, ran.err
        sees(json_of(ran.out, 'fields'), x_outcome='accepted', x_verify='SUCCESS' if verified else 'NONE',
             x_fingerprint=fingerprint(mine) if verified else '', client_cert=client_cert(mine) if verified else None)


@pytest.fixture(scope='module')
def lets_in_invalid(certificates):
    with customers_server('optional', 'ReqAuthInvalid continue', 'ReqAuthCANames off') as server, \
            Tunnel(server, 'a.example', who='impostor') as server.impostor:
        yield server


@each_door
def test_invalid_at_a_door(lets_in_invalid, door):
    assert status_of(lets_in_invalid, f'/{door}', lets_in_invalid.impostor) == closed(door)


def test_invalid_continue(lets_in_invalid):
    server = lets_in_invalid
    sees(headers_of(server, '/told', server.impostor), x_reqauth='FAILED:unable to get local issuer certificate', x_env_verify='NONE', x_env_subject='(null)',
         x_env_cert=None, x_looked_verify='NONE', x_looked_subject='(null)', x_expr_verify='NONE', x_expr_subject='', x_user='')
    assert logged(server)[:6] == ['NONE', '-', '-', '-', '-', '-']
    sees(echoed(agent(server, 'a.example', *own('impostor'))), x_outcome='accepted', x_reason='invalid', x_subject='', client_cert=None)
    sees(echoed(agent(server, 'a.example', *CRAWLER)), **VERIFIED, x_subject=AGENT)
    ran = agent(server, 'a.example', *PERSON, *other('customer'))
    sees(echoed(ran), x_outcome='not_offered', x_verify='NONE', x_ssl_verify='SUCCESS', x_ssl_subject=CUSTOMER)


# Whom a handshake refuses: the directives, what the client is told, its alert, the log's level and words.
SHOWN = ['--on-unsatisfiable', 'present']
REFUSED = {
    'unknown CA': ([], own('impostor') + SHOWN, 'unknown_ca', 'warn', [
        'unable to get local issuer certificate (20) at depth 0; presented', 'subject "CN=crawler.example", issuer "CN=others CA"', 'impostor']),
    'hostile name': ([], own('liar') + SHOWN, 'unknown_ca', 'warn', [
        r'subject "CN=x\\22\\2C issuer \\22CN=agents CA\\0A[alarm]", issuer "CN=others CA"', 'liar']),  # httpd doubles each \
    'no certificate': (['ReqAuthMissing fail'], OFFERS, 'certificate_required', 'warn', ['it presented no certificate', None]),
    'CRL that has run out': (['ReqAuthCARevocationFile $HOME/crl-ended.pem'], CRAWLER, 'internal_error', 'error', [
        'CRL has expired (12) at depth 0: the CRL of CN=agents CA ended 2020-01-02T00:00:00Z', "which is this server's to mend",
        'subject "CN=crawler.example"', 'crawler']),
    'expired CA': (['ReqAuthCACertificateFile $HOME/ended.pem'], own('of-ended'), 'internal_error', 'error', [
        'certificate has expired (10) at depth 1, "CN=ended CA": the anchor CN=ended CA ended 2020-01-02T00:00:00Z', 'of-ended']),
}


def text_of_certificate(name, what):
    done = subprocess.run(['openssl', 'x509', '-in', path(f'{name}.pem'), '-noout', what], check=True, capture_output=True)
    return done.stdout.decode().strip().split('=', 1)[1]


@pytest.mark.parametrize('lines, options, alert, level, words', REFUSED.values(), ids=REFUSED)
def test_refused(certificates, lines, options, alert, level, words):
    """One line at Apache's own default level, with all of it, and in the log of that virtual host."""
    revocation_list('crl-ended.pem', 'agents', dates=EXPIRED)
    authority('ended', dates=EXPIRED)
    leaf('of-ended', '/CN=crawler.example', 'ended', 'DNS:crawler.example')
    leaf('liar', '/CN=x", issuer "CN=agents CA\n[alarm]', 'others', 'DNS:liar.example')
    lines = '\n'.join(lines).replace('$HOME', home.name)
    with Apache(vhost('b.example', AGENTS_CA) + vhost('a.example', f'{AGENTS_CA}\nErrorLog own.log\n{lines}')) as server:
        ran = agent(server, 'a.example', *options)
        assert ran.status != 0 and ran.line['alert_received'] == alert, ran.out
        server.until(lambda: 'refused a client' in server.log('own.log'))
        *words, who = words
        if who is not None:
            words += [f'serial {text_of_certificate(who, "-serial")}, SHA-256 {fingerprint(who)}, valid from 20', 'Z to 20']
        # What was wrong with the list or CA was said when it started, too.
        loud = [line for line in server.log('own.log').splitlines()
                if re.search(r':(warn|error|crit|alert|emerg)\]', line) and '[client ' in line]
        assert len(loud) == 1 and f'[reqauth:{level}]' in loud[0], server.log('own.log')
        for word in ['[client 127.0.0.1:', 'refused a client with the flag, server name "a.example": ', *words]:
            assert word in loud[0], (word, loud[0])
        assert refusals.banned(loud[0]) == '127.0.0.1'


def test_presented():
    """What came with `continue`: by names that no identity has, and without making one."""
    told = '\n'.join(f'Header always set X-{each.replace("_", "-")} "expr=%{{REQAUTH_PRESENTED_{each}}}"' for each in (
        'SUBJECT', 'ISSUER', 'SERIAL', 'NOT_BEFORE', 'NOT_AFTER', 'FINGERPRINT', 'DEPTH', 'FAILED', 'BECAUSE'))
    told += '\nHeader always set X-Env "%{REQAUTH_PRESENTED_SUBJECT}e"'
    with Apache(vhost('a.example', f'{AGENTS_CA}\nReqAuthInvalid continue\nReqAuthCANames off\n{told}') +
                vhost('b.example', f'{AGENTS_CA}\n{told}')) as server:
        with Tunnel(server, 'a.example', who='impostor') as tunnel:
            seen = headers_of(server, '/echo', tunnel)
            sees(seen, x_subject='CN=crawler.example', x_env='CN=crawler.example', x_issuer='CN=others CA', x_depth='0',
                 x_serial=text_of_certificate('impostor', '-serial'), x_fingerprint=fingerprint('impostor'), x_failed='CN=crawler.example', x_because='')
            assert re.fullmatch(r'20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ', seen['x-not-after']) and seen['x-not-before'] < seen['x-not-after']
            sees(tunnel.fields('/echo', 'a.example'), x_verify='FAILED:unable to get local issuer certificate', x_subject='', client_cert=None)
        with Tunnel(server, 'a.example') as tunnel:
            sees(headers_of(server, '/echo', tunnel), x_subject='', x_env='(null)')
        with Tunnel(server, 'a.example', who='impostor') as tunnel:
            assert 'x-subject: CN=' not in raw_of(tunnel, 'b.example'), 'at another virtual host'


def x5t_s256(name):
    return base64.urlsafe_b64encode(bytes.fromhex(fingerprint(name))).decode().rstrip('=')


def test_formats():
    """One certificate in other spellings, by whose word it is; one that is nobody's comes by its own names alone."""
    openssl('req', '-x509', *EC, '-nodes', '-subj', '/CN=crawler.example', '-days', '2', '-keyout', path('self.key'), '-out', path('self.pem'))
    told = '\n'.join(f'Header always set X-{each.replace("_", "-")} "expr=%{{REQAUTH_{each}}}"' for each in (
        'SUBJECT', 'ESCAPED_CERT', 'X5T_S256', 'XFCC', 'CUSTOMER_CLIENT_CERT', 'CUSTOMER_X5T_S256', 'UNVOUCHED_CLIENT_CERT', 'UNVOUCHED_X5T_S256'))
    nothing = dict.fromkeys(('x_subject', 'x_escaped_cert', 'x_x5t_s256', 'x_xfcc', 'x_customer_client_cert', 'x_customer_x5t_s256',
                             'x_unvouched_client_cert', 'x_unvouched_x5t_s256'), '')
    with Apache(vhost('a.example', f'{AGENTS_CA}\nReqAuthUnvouched on\n{told}') + vhost('b.example', f'{AGENTS_CA}\n{told}')) as server:
        with Tunnel(server, 'a.example', who='self') as tunnel:
            sees(headers_of(server, '/echo', tunnel), **nothing | {'x_unvouched_client_cert': client_cert('self'), 'x_unvouched_x5t_s256': x5t_s256('self')})
            assert x5t_s256('self') not in raw_of(tunnel, 'b.example'), 'at another virtual host'
        with Tunnel(server, 'a.example') as tunnel:
            sees(headers_of(server, '/echo', tunnel), **nothing | {
                'x_subject': 'CN=crawler.example', 'x_x5t_s256': x5t_s256('crawler'),
                'x_escaped_cert': urllib.parse.quote(octets_of('crawler.pem').decode(), safe=''),
                'x_xfcc': f'Hash={fingerprint("crawler")};Cert="{urllib.parse.quote(octets_of("crawler.pem").decode(), safe="")}";'
                          'Subject="CN=crawler.example";DNS="crawler.example";URI="https://crawler.example/bot"'})


def raw_of(tunnel, host):
    with socket.create_connection(('127.0.0.1', tunnel.port), timeout=PATIENCE) as connection:
        connection.sendall(f'GET /echo HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n'.encode())
        return read_all(connection).decode()


def test_end_of_a_certificate_for_ever():
    leaf('device', '/CN=device', 'agents', 'DNS:device.example', dates=('20200101000000Z', '99991231235959Z'))
    with Apache(vhost('a.example', AGENTS_CA)) as server:
        sees(echoed(agent(server, 'a.example', *own('device'))), x_verify='SUCCESS', x_not_after='9999-12-31T23:59:59Z')


def test_missing_fail():
    with customers_server('none', 'ReqAuthMissing fail', 'ReqAuthCANames off', doors={}) as server:
        for options, alert in ((own('impostor'), 'unknown_ca'), (OFFERS, 'certificate_required')):
            ran = agent(server, 'a.example', *options)
            assert ran.status != 0 and ran.line['alert_received'] == alert, ran.out
        assert agent(server, 'a.example', *PERSON).status == 0, 'not for others'


def test_required():
    """SSLVerifyClient require: the flag is ignored, unless ReqAuthBesideRequired."""
    with customers_server('require', doors={}) as server:
        assert 'asks everybody here, so the flag is ignored' in server.log() + server.test().err
        ran = agent(server, 'a.example', *CRAWLER)
        assert ran.status != 0 and ran.line['acknowledged'] is False and ran.line['alert_received'] == 'certificate_required', ran.out
        ran = agent(server, 'a.example', *CRAWLER, *other('customer'))
        sees(echoed(ran), x_outcome='ignored', x_reason='ignored', x_verify='NONE',
             x_ssl_verify='SUCCESS', x_ssl_subject=CUSTOMER, client_cert=None)


@pytest.fixture(scope='module')
def beside_required(certificates):
    with customers_server('require', 'ReqAuthBesideRequired on') as server, Tunnel(server, 'a.example') as server.agent:
        yield server


@each_door
def test_beside_required_at_a_door(beside_required, door):
    """It is open to the customer alone."""
    assert status_of(beside_required, f'/{door}', beside_required.agent) == closed(door)
    assert status_of(beside_required, f'/{door}', own('customer')) == 200


def test_beside_required(beside_required):
    assert 'the flag is ignored' not in beside_required.test().err
    sees(echoed(agent(beside_required, 'a.example', *CRAWLER)), **VERIFIED, x_subject=AGENT)
    for who in (OFFERS, PERSON, own('impostor')):
        ran = agent(beside_required, 'a.example', *who)
        assert ran.status != 0 and not ran.line['ok'], ('without a certificate nobody comes in', ran.out)


def test_beside_required_invalid_continue():
    """A certificate that does not verify is none: mod_ssl ends it."""
    with customers_server('require', 'ReqAuthBesideRequired on', 'ReqAuthInvalid continue', 'ReqAuthCANames off', doors={}) as server:
        ran = agent(server, 'a.example', *own('impostor'))
        assert ran.status != 0 and not ran.line['ok'], ran.out
        assert 'AH02010' in server.log(), server.log()[-2000:]
        sees(echoed(agent(server, 'a.example', *CRAWLER)), **VERIFIED)


@pytest.fixture(scope='module')
def asks_after_the_handshake(certificates):
    """SSLVerifyClient for a directory."""
    with customers_server('none', doors={'door': 'SSLVerifyClient require', 'either': 'SSLVerifyClient optional'}) as server:
        yield server


def test_post_handshake_of_customers(asks_after_the_handshake):
    server = asks_after_the_handshake
    assert status_of(server, '/door', own('customer')) == 200, 'the customer comes in'
    sees(headers_of(server, '/told', own('customer')), x_env_verify='NONE', x_reqauth='NONE')
    assert status_of(server, '/door', []) in (0, 403), 'nobody does not'  # OpenSSL ends the connection
    ran = agent(server, 'a.example', *PERSON, *other('customer'), '--post-handshake', get=('/told', '/door', '/echo'))
    sees(json_of(ran.out, 'fields'), x_ssl_verify='SUCCESS', x_ssl_subject=CUSTOMER, x_outcome='not_offered')


@pytest.mark.parametrize('door', ['door', 'either'])
def test_post_handshake_of_agents(asks_after_the_handshake, door):
    """An agent's connection gets no second identity."""
    server = asks_after_the_handshake
    for resumed in (False, True):
        ran = agent(server, 'a.example', *CRAWLER, *other('customer'), '--post-handshake', *keeping(f'pha-{door}'),
                    get=('/told', f'/{door}', '/echo'))
        assert ran.line['resumed'] == resumed, ran.out
        assert 'told' in ran.out and f'{door}\n' not in ran.out.replace('told\n', '')
        assert '403' in ran.out and CUSTOMER not in ran.out
        for line in server.log('logged').splitlines()[-3:]:
            assert CUSTOMER not in line and 'crawler' not in line.split('|REQ')[0].rsplit('|', 2)[0], 'nor in the log'
    says = ['it gets no second identity', 'cannot perform post-handshake', *(['this place is for customers'] if door == 'door' else [])]
    assert any(each in server.log() for each in says), ('the log says so', server.log()[-2000:])


def test_purpose_and_who_may_come():
    request('web', '/CN=web.example')
    sign('web', 'agents', 'subjectAltName=DNS:web.example', 'extendedKeyUsage=serverAuth')
    write('admitted', b'allow dns crawler.example\nallow uri https://crawler.example/bot\n')
    rows = [('', 'web', 'unsupported_certificate'), ('ReqAuthPurpose client', 'web', 'unsupported_certificate'), ('ReqAuthPurpose server', 'web', None),
            ('ReqAuthPurpose any', 'web', None), (f'ReqAuthAdmittedFile {path("admitted")}', 'crawler', None),
            (f'ReqAuthPurpose any\nReqAuthAdmittedFile {path("admitted")}', 'web', 'access_denied')]
    with Apache(vhost('a.example', AGENTS_CA)) as server:
        for said, who, alert in rows:
            server.configure(vhost('a.example', f'{AGENTS_CA}\n{said}'))
            server.graceful()
            ran = agent(server, 'a.example', *own(who))
            assert (ran.status != 0) == (alert is not None) and ran.line['alert_received'] == alert, (said, ran.out)
        assert 'it verifies, and is not admitted here' in server.log()


def test_settings():
    """The numbers in use, CRLs, depth, and directives that have no effect."""
    revocation_list('crl-False.pem', 'agents')
    revocation_list('crl-True.pem', 'agents', 'crawler')
    with Apache(vhost('a.example', f'{AGENTS_CA}\nReqAuthCARevocationFile {path("crl-False.pem")}\nReqAuthVerifyDepth 0') + vhost('b.example', 'ReqAuth off')) as server:
        sees(echoed(agent(server, 'a.example', *CRAWLER)), **VERIFIED)
        server.configure(vhost('a.example', f'{AGENTS_CA}\nReqAuthCARevocationFile {path("crl-True.pem")}'))
        server.graceful()
        ran = agent(server, 'a.example', *CRAWLER)
        assert ran.status != 0 and ran.line['alert_received'] == 'certificate_revoked', ran.out
        assert 'AH02008' in server.log() and 'certificate verify failed' in server.log(), ('the log tells of the refused', server.log()[-2000:])
        server.configure('ReqAuthFlag 99\nReqAuthExtension 65025\n' + vhost('a.example', AGENTS_CA))
        server.graceful()
        sees(echoed(agent(server, 'a.example', *CRAWLER, '--flag', '99', '--extension', '65025')), **VERIFIED)
        for numbers in ([], ['--flag', '99'], ['--extension', '65025']):
            sees(echoed(agent(server, 'a.example', *CRAWLER, *numbers)), **NOBODY, x_outcome='not_offered')
        assert 'has no effect' not in server.log()
        server.configure(vhost('a.example', AGENTS_CA) + f'<VirtualHost 127.0.0.1:$PORT>\nServerName p.example\n{AGENTS_CA}\n</VirtualHost>')
        server.graceful()
        assert re.search(r'ReqAuth on \(\S+:\d+\) has no effect: SSLEngine is not on', server.log()), ('a virtual host without TLS', server.log()[-2000:])


def json_of(text, member):
    return dict(json.loads(next(line for line in text.splitlines() if line.startswith('{') and member in line))[member])


# Who comes in: the agent (a), an impostor whose CA is trusted here too (i), a customer (c), nobody (n).
REQUIRE = {
    'agents': ('Require reqauth', 'ai'),
    'crawler': ('Require reqauth DNS:other.example DNS:crawler.example', 'ai'),
    'uri': ('Require reqauth URI:https://crawler.example/bot', 'a'),
    'fingerprint': ('Require reqauth SHA256:%FINGERPRINT%', 'a'),
    'other': ('Require reqauth DNS:other.example', ''),
    'prefix': ('Require reqauth DNS:crawler', ''),
    'not': ('<RequireAll>\nRequire all granted\nRequire not reqauth\n</RequireAll>', 'cn'),
    'both': ('<RequireAny>\nRequire reqauth\nRequire ssl-verify-client\n</RequireAny>', 'aic'),
    'expr': ('Require expr "%{REQAUTH_VERIFY} == \'SUCCESS\' && %{REQAUTH_SUBJECT} == \'CN=crawler.example\'"', 'ai'),
    'env': ('SetEnvIf REQAUTH_VERIFY ^SUCCESS$ is_agent\nRequire env is_agent', 'ai'),
    'if': ('<If "%{REQAUTH_VERIFY} != \'SUCCESS\'">\nRequire all denied\n</If>', 'ai'),
    'liar': ('SetEnv REQAUTH_VERIFY SUCCESS\nSetEnvIf Host . REQAUTH_VERIFY=SUCCESS REQAUTH_SUBJECT=CN=crawler.example\nRequire reqauth', 'ai'),
    'liar-expr': ('SetEnvIf Host . REQAUTH_VERIFY=SUCCESS\nRequire expr "%{REQAUTH_VERIFY} == \'SUCCESS\'"', 'ai'),
}


@pytest.fixture(scope='module')
def requires(certificates):
    """With an agent and an impostor."""
    host = customers_host('optional', doors={name: text for name, (text, _) in REQUIRE.items()})
    server = Apache(start=False)
    server.configure(host.replace(path('agents.pem'), path('both.pem')).replace('%FINGERPRINT%', fingerprint('crawler').upper()) +
                     f'\n<Directory {server.folder}/www>\nAllowOverride AuthConfig\n</Directory>')
    for name in (*REQUIRE, 'told', 'hidden/page'):
        server.page(name, 'page\n')
    server.page('hidden/.htaccess', 'Require reqauth DNS:crawler.example\n')
    with server.start(), Tunnel(server, 'a.example') as crawler, Tunnel(server, 'a.example', who='impostor') as impostor:
        server.visitors = {'a': crawler, 'i': impostor, 'c': own('customer'), 'n': []}
        yield server


@pytest.mark.parametrize('door, who', [*((door, who) for door, (_, who) in REQUIRE.items()), ('hidden/page', 'ai')])
def test_require(requires, door, who):
    """Require reqauth."""
    for key, visitor in requires.visitors.items():
        assert status_of(requires, f'/{door}', visitor) == (200 if key in who else 403), key


def test_require_by_http2(requires):
    with Tunnel(requires, 'a.example', alpn='h2') as tunnel:
        assert by_http2(tunnel, 'a.example', '/agents')[-1] == '2 200'


@pytest.fixture(scope='module', params=[('', 200), ('ReqAuthMisdirected empty', 200), ('ReqAuthMisdirected 421', 421)],
                ids=['by default', 'empty', '421'])
def misdirects(request, certificates):
    """A request for another virtual host than the handshake's is told nothing of the agent."""
    directive, status = request.param
    echo = ECHO + '<Location /agents>\nRequire reqauth\n</Location>\nSSLOptions +StdEnvVars\nRequestHeader set X-Env-Subject "%{SSL_CLIENT_S_DN}e"'
    with Apache(''.join(vhost(name, f'{AGENTS_CA}\n{directive}', echo=echo) for name in ('a.example', 'b.example'))) as server:
        server.status = status
        yield server


def test_misdirected(misdirects):
    with Tunnel(misdirects, 'a.example') as tunnel:
        sees(tunnel.fields('/echo', 'a.example'), **VERIFIED, x_subject=AGENT)
        got, body = tunnel.get('/echo', 'b.example')
        assert got == misdirects.status, body
        if got == 200:
            sees(dict(json.loads(body)['fields']), **NOBODY, x_outcome='misdirected', x_reason='misdirected', x_env_subject='(null)')
            assert tunnel.get('/agents', 'b.example')[0] == 403, 'it opens nothing'
    for _ in range(2):
        sees(echoed(agent(misdirects, 'b.example', *CRAWLER)), **VERIFIED, x_subject=AGENT)


def test_misdirected_by_http2(misdirects):
    with Tunnel(misdirects, 'a.example', alpn='h2') as tunnel:
        lines = by_http2(tunnel, 'b.example', '/echo')
        assert lines[-1] == f'2 {misdirects.status}'
        if misdirects.status == 200:
            sees(dict(json.loads(lines[0])['fields']), **NOBODY, x_outcome='misdirected')


def test_nobody_else_is_misdirected(misdirects):
    raw = ssl.create_default_context(cafile=path('servers.pem')).wrap_socket(
        socket.create_connection(('127.0.0.1', misdirects.port), timeout=PATIENCE), server_hostname='a.example')
    raw.sendall(b'GET /echo HTTP/1.1\r\nHost: b.example\r\nConnection: close\r\n\r\n')
    answer = read_all(raw)
    assert answer.startswith(b'HTTP/1.1 200') and b'"x-outcome", "not_offered"' in answer


# The table of tests/modules/standing.py, with every door that mod_ssl has for a place.
PLACES = {
    '/verify': '<Location /verify>\nRequire ssl-verify-client\n</Location>',
    '/expression': '<Location /expression>\nRequire expr "%{SSL_CLIENT_VERIFY} == \'SUCCESS\'"\n</Location>',
    '/required': '<Location /required>\nSSLRequire %{SSL_CLIENT_S_DN_CN} ne ""\n</Location>',
    '/location': '<Location /location>\nSSLVerifyClient require\n</Location>',
    '/match': '<LocationMatch ^/mat>\nSSLVerifyClient on\n</LocationMatch>',
    '/within/deep': '<Location /within>\nSSLVerifyClient optional\n</Location>\n<Location /within/deep>\nSSLVerifyClient require\n</Location>',
    '/directory/page': '<Directory %ROOT%/www/directory>\nSSLVerifyClient require\n</Directory>',
    '/files': '<Files files>\nSSLVerifyClient require\n</Files>',
    '/if': '<If "%{REQUEST_URI} == \'/if\'">\nSSLVerifyClient require\n</If>',
    '/htaccess/page': '',
    '/depth': '<Location /depth>\nSSLVerifyClient require\nSSLVerifyDepth 9\n</Location>',
    '/any': '<Location /any>\nSSLVerifyClient require\n<RequireAny>\nRequire all granted\nRequire reqauth\n</RequireAny>\n</Location>',
}


def asked_server(module, policy='secure'):
    made = Apache('', module=module, start=False, extra=f'<IfDirective SSLVHostSNIPolicy>\nSSLVHostSNIPolicy {policy}\n</IfDirective>')
    text = f'SSIUndefinedEcho -\n<Directory {made.folder}/www>\nAllowOverride AuthConfig\nOptions +Includes\nSetOutputFilter INCLUDES\n</Directory>\n'
    for host in standing.HOSTS:
        lines = [f'SetEnv HOST_IS {host.name}', 'SSLOptions +StdEnvVars', f'SSLVerifyClient {host.asks}', f'SSLCACertificateFile {path("customers.pem")}', *PLACES.values()]
        if host.aliases:
            lines.append(f'ServerAlias {" ".join(host.aliases)}')
        if module:
            lines += [f'ReqAuth {"on" if host.on else "off"}', f'ReqAuthCACertificateFile {path(host.ca + ".pem")}', 'ReqAuthInvalid continue',
                      f'ReqAuthBesideRequired {host.beside}', f'ReqAuthMisdirected {host.misdirected}']
        text += vhost(host.name, '\n'.join(lines).replace('%ROOT%', made.folder), certificate='hosts', echo='')
    made.configure(text if module else text.replace('Require reqauth\n', ''))
    says = ('REQAUTH_OUTCOME', 'REQAUTH_VERIFY', 'REQAUTH_SUBJECT', 'SSL_CLIENT_VERIFY', 'HOST_IS')
    for place in ('/index.html', *PLACES):
        made.page(place[1:], '|'.join(f'<!--#echo encoding="none" var="{name}" -->' for name in says) + '\n')
    made.page('htaccess/.htaccess', 'SSLVerifyClient require\n')
    return made.start()


class Rules:
    no_certificate = 0  # mod_ssl ends the handshake

    @staticmethod
    def turned_away(name, there, asked, here):
        """mod_ssl answers 421 between virtual hosts of other settings."""
        return here.asks != there.asks


@pytest.fixture(scope='module')
def hosts_certificate(certificates):
    leaf('hosts', '/CN=first.example', 'servers', standing.certificate_names())


@pytest.fixture(scope='module')
def asked_hosts(hosts_certificate):
    with asked_server(True) as httpd, asked_server(False) as plain:
        yield httpd, plain
        assert 'exit signal' not in httpd.log(), ('nothing crashed', httpd.log()[-2000:])


@standing.table
def test_asked_hosts(asked_hosts, version, name):
    standing.check(version, name, *asked_hosts, tuple(PLACES), Rules)


@pytest.fixture(scope='module')
def insecure_hosts(hosts_certificate):
    with asked_server(True, 'insecure') as httpd:
        yield httpd


@pytest.mark.parametrize('version', ['1.1', '2'], ids=['HTTP 1.1', 'HTTP 2'])
@pytest.mark.parametrize('name', [host.name for host in standing.HOSTS if host.on and host.ca == 'agents' and
                                  (host.asks != standing.REQUIRE or host.beside == 'on')])
def test_insecure_hosts(insecure_hosts, name, version):
    """SSLVHostSNIPolicy insecure: where mod_ssl compares nothing, the module does alone."""
    asked = [(here.name, '/') for here in standing.HOSTS if here.asks == standing.REQUIRE and here.name != name]
    with standing.tunnel(insecure_hosts, name, standing.VISITORS['an agent that is a customer'], version) as tunnel:
        for host, met in standing.ask(version, tunnel.port, asked).items():
            assert met.status == 421, host


@pytest.fixture(scope='module', params=['on', 'off'], ids=['CacheQuickHandler on', 'CacheQuickHandler off'])
def caches(request, certificates):
    """mod_cache, with two agents."""
    host = vhost('a.example', f'''{AGENTS_CA}
        CacheEnable disk /
        CacheQuickHandler {request.param}
        CacheHeader on
        CacheDefaultExpire 60
        CacheIgnoreNoLastMod on
        RewriteRule ^/moved/(.*) /echo/$1 [PT]
        RewriteCond %{{ENV:REQAUTH_VERIFY}} =SUCCESS
        RewriteRule ^/sent/ https://a.example/for-agents [R=301,L]
        FallbackResource /echo/fallback''')
    kept = path(f'cache-{request.param}')
    os.mkdir(kept)
    os.chmod(kept, 0o777)
    with Apache(host, load=('cache', 'cache_disk'), extra=f'CacheRoot {kept}') as server, Tunnel(server, 'a.example') as server.agent, \
            Tunnel(server, 'a.example', who='user') as server.another:
        yield server


@pytest.mark.parametrize('where', ['/echo', '/moved/x', '/directory/'])
def test_cache(caches, where):
    """No answer to an agent is kept, also none that an internal redirect leads to."""
    for _ in range(2):
        assert '"CN=crawler.example"' in caches.agent.get(where, 'a.example')[1], 'an agent gets its own'
    ran = curl(caches, 'a.example', where, '-D', '-', '--http1.1')
    assert 'crawler' not in ran.out and '"not_offered"' in ran.out and 'X-Cache: HIT' not in ran.out, 'a person gets nothing of it'
    assert 'agent-who-is-a-user' in caches.another.get(f'{where}?1', 'a.example')[1], 'another agent gets its own'
    ran = curl(caches, 'a.example', f'{where}?1', '--http1.1')
    assert 'agent-who' not in ran.out and '"not_offered"' in ran.out, 'nor of that'


def test_cache_of_people(caches):
    """Theirs is kept."""
    for _ in range(2):
        ran = curl(caches, 'a.example', '/echo', '-D', '-', '--http1.1')
    assert 'X-Cache: HIT' in ran.out


def test_cache_of_a_redirect(caches):
    """An agent is sent elsewhere, and nobody else."""
    assert caches.agent.get('/sent/x', 'a.example')[0] == 301
    assert curl(caches, 'a.example', '/sent/x', '--http1.1').out.split()[-1] != '301'


def shown(ran):
    fields = echoed(ran)
    return {name: fields.get(f'x-{name}') for name in ('outcome', 'verify', 'subject', 'resumed')}


VERIFIES = dict(outcome='accepted', verify='SUCCESS', subject=AGENT)
# What is in each virtual host, the cache, whether sessions resume, and whether they survive a restart.
KINDS = {
    'ticket keys': (f'SSLSessionTicketKeyFile {path("tickets.key")}', 'SSLSessionCache none', True, True),
    'no ticket keys': ('', 'SSLSessionCache none', True, False),
    'shared cache': ('SSLSessionTickets off', 'SSLSessionCache shmcb:run/cache(512000)', True, False),
    'no tickets and no cache': ('SSLSessionTickets off', 'SSLSessionCache none', False, False),
}


def session_hosts(directive, ca='agents', age=''):
    """The first trusts `ca`."""
    return age + ''.join(vhost(name, f'ReqAuth on\nReqAuthCACertificateFile {path(each + ".pem")}\n{directive}') for name, each in (
        ('a.example', ca), ('b.example', 'others'), ('c.example', 'agents')))


def comes_back(server, name, resumed):
    """The crawler at its virtual host, with the session `name`."""
    ran = agent(server, 'a.example', *CRAWLER, *keeping(name))
    assert ran.status == 0 and ran.line['resumed'] is resumed, (ran.out, ran.err)
    assert shown(ran) == VERIFIES | {'resumed': '1' if resumed else '0'}


@pytest.mark.parametrize('kind, mpm', [(kind, mpm) for kind in KINDS for mpm in ('event', 'prefork')
                                       if mpm == 'event' or kind in ('ticket keys', 'shared cache')])
def test_sessions(kind, mpm):
    """Resumption: at its virtual host, across them, and after a graceful restart."""
    directive, cache, resumes, survives = KINDS[kind]
    name = f'{mpm}-{kind}'.replace(' ', '-')
    with Apache(session_hosts(directive), mpm=mpm, extra=cache) as server:
        comes_back(server, name, resumed=False)
        for _ in range(2):
            comes_back(server, name, resumed=resumes)
        if not resumes:
            return
        # Trusted at a, it is nobody at b, and in full at c, which has the same trust.
        ran = agent(server, 'b.example', *CRAWLER, *presenting(name))
        assert ran.line['resumed'] is False and ran.line['sent'] == 'empty', ran.out
        assert shown(ran) == {'outcome': 'accepted', 'verify': 'NONE', 'subject': '', 'resumed': ''}
        ran = agent(server, 'c.example', *CRAWLER, *presenting(name))
        assert ran.line['resumed'] is False and shown(ran) == VERIFIES | {'resumed': '0'}, ran.out
        ran = agent(server, 'a.example', *PERSON, *presenting(name))
        assert ran.line['resumed'] is False and shown(ran)['outcome'] == 'not_offered', ran.out
        assert echoed(ran)['x-ssl-verify'] == 'NONE', ran.out
        agent(server, 'a.example', *PERSON, '--session-out', path(f'plain-{name}'))
        ran = agent(server, 'a.example', *CRAWLER, *presenting(f'plain-{name}'))
        assert ran.line['resumed'] is False and shown(ran)['verify'] == 'SUCCESS', ('a session from before the flag', ran.out)
        ran = agent(server, 'a.example', *PERSON, *presenting(f'plain-{name}'))
        assert ran.line['resumed'] is True and shown(ran)['outcome'] == 'not_offered', ('others resume as ever', ran.out)

        server.graceful()
        # mod_ssl's tickets of before do not open after a restart with prefork, and on Debian 13 not with event, whoever they
        # are of: so agents are compared with others.
        plain = agent(server, 'a.example', *PERSON, *presenting(f'plain-{name}')).line['resumed']
        assert survives or not plain, 'only with ticket keys do sessions survive a restart'
        comes_back(server, name, resumed=plain)
        comes_back(server, name, resumed=True)
        server.configure(session_hosts(directive, 'customers'))
        server.graceful()
        ran = agent(server, 'a.example', *CRAWLER, *presenting(name))
        assert ran.line['resumed'] is False and shown(ran)['verify'] == 'NONE', ('its CA is no longer trusted', ran.out)
        server.configure(session_hosts(directive, age='ReqAuthSessionAge 1800\n'))
        server.graceful()
        comes_back(server, name, resumed=False)
        server.configure(session_hosts(directive, age='ReqAuthSessionAge 0\n'))
        server.graceful()
        os.unlink(path(name))
        for _ in range(2):
            comes_back(server, name, resumed=False)


@pytest.mark.parametrize('module, flagged', [(False, False), (True, False), (True, True)], ids=['without the module', 'no flag', 'the flag'])
def test_crossing(module, flagged):
    """CVE-2025-23048: a customer trusted at one virtual host presents its session at another, with and without the module."""
    reqauth = f'{AGENTS_CA}\nReqAuthBesideRequired on\n' if module else ''
    echo = f'ProxyPass /echo http://127.0.0.1:{application.port}/echo\nRequestHeader set X-Ssl-Subject "%{{SSL_CLIENT_S_DN}}s"'
    hosts = ''.join(vhost(name, f'{reqauth}SSLCACertificateFile {path(ca + ".pem")}\nSSLVerifyClient require\n'
                                f'SSLSessionTicketKeyFile {path("tickets.key")}', echo=echo)
                    for name, ca in (('a.example', 'customers'), ('b.example', 'others')))
    who, name = CRAWLER if flagged else [*PERSON, *other('customer')], f'crossing-{module}-{flagged}'
    with Apache(hosts, module=module) as server:
        for resumed in (False, True):
            ran = agent(server, 'a.example', *who, *keeping(name))
            assert ran.status == 0 and ran.line['resumed'] is resumed, ran.out
        ran = agent(server, 'b.example', *who, *presenting(name))
        assert ran.line['resumed'] is False
        if flagged:  # b trusts the same agents, and asks anew
            assert ran.status == 0 and ran.line['sent'] == 'flag', ran.out
        else:
            assert ran.status != 0, ('at b it does not come in', ran.out)


class Visitor:
    """One connection at a time, kept alive; what a program with a connection pool does."""

    def __init__(self, server, tunnel, expected):
        self.server, self.tunnel, self.expected = server, tunnel, expected
        self.connection, self.connections, self.repeated, self.done, self.lost = None, 0, 0, 0, []

    def open(self):
        self.connections += 1
        if self.tunnel is not None:
            connection = http.client.HTTPConnection('127.0.0.1', self.tunnel.port, timeout=PATIENCE)
        else:
            connection = http.client.HTTPSConnection('a.example', self.server.port, timeout=PATIENCE,
                                                     context=ssl.create_default_context(cafile=path('servers.pem')))
            connection._create_connection = lambda address, *rest, **more: socket.create_connection(('127.0.0.1', address[1]), PATIENCE)
        connection.connect()
        return connection

    def once(self):
        if self.connection is None:
            self.connection = self.open()
        self.connection.request('GET', '/echo', headers={'Host': 'a.example'})
        answer = self.connection.getresponse()
        body = answer.read()
        if answer.will_close:
            self.connection.close()
            self.connection = None
        seen = dict(json.loads(body)['fields']) if answer.status == 200 else {}
        got = answer.status, seen.get('x-verify'), seen.get('x-subject')
        if got != (200, *self.expected):
            self.lost.append(got)
        self.done += 1

    def visit(self):
        """HTTP/1.1 lets a server close a connection that waits for its next request. A request that meets that, with not one octet
        of an answer, on a connection that has answered before, is sent again on a new one (RFC 9112, section 9.3.1); only there."""
        waited = self.connection is not None
        try:
            self.once()
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError, ssl.SSLEOFError) as closed:
            self.connection = None
            if not waited:
                self.lost.append(repr(closed))
                return
            self.repeated += 1
            try:
                self.once()
            except Exception as failed:
                self.lost.append(repr(failed))
        except Exception as failed:
            self.connection = None
            self.lost.append(repr(failed))


STATUS = '<VirtualHost 127.0.0.1:$PLAIN>\n<Location /metrics>\nSetHandler reqauth-status\n</Location>\n</VirtualHost>'


@pytest.mark.parametrize('mpm', ['event', 'prefork'])
def test_status(mpm):
    """The counters of each virtual host, over all processes, also of handshakes that no access log has; restarts leave them."""
    hosts = vhost('a.example', f'{AGENTS_CA}\nReqAuthCANames off') + vhost('b.example', '')
    with Apache(hosts + STATUS, mpm=mpm) as server:
        assert counted_by(server, 'a.example') == {}
        for _ in range(8):
            agent(server, 'a.example', *CRAWLER)
            agent(server, 'a.example', *own('impostor'))
            agent(server, 'b.example', *CRAWLER)
        agent(server, 'a.example', *OFFERS)
        curl(server, 'a.example', '/')
        wanted = {'handshakes': 18, 'offered': 17, 'asked': 17, 'acknowledged': 17, 'verified': 8, 'refused': 8, 'not_offered': 1, 'empty': 1,
                  'invalid': 8, '20': 8}
        assert counted_by(server, 'a.example') == wanted
        assert counted_by(server, 'b.example') == {'handshakes': 8, 'offered': 8, 'ignored': 8}
        server.configure(hosts + vhost('c.example', AGENTS_CA) + STATUS)
        server.graceful()
        assert counted_by(server, 'a.example') == wanted
        agent(server, 'c.example', *CRAWLER)
        assert counted_by(server, 'c.example') == {'handshakes': 1, 'offered': 1, 'asked': 1, 'acknowledged': 1, 'verified': 1}


def test_count_alone():
    """ReqAuthCount: offers are counted where nobody asks. Without it nothing is attached, and nothing counted."""
    with Apache(vhost('a.example', 'ReqAuthCount on') + vhost('b.example', '') + STATUS) as server:
        ran = agent(server, 'a.example', *CRAWLER)
        assert ran.line['offered'] and not ran.line['requested'], ran.out
        curl(server, 'a.example', '/')
        assert counted_by(server, 'a.example') == {'handshakes': 2, 'offered': 1, 'ignored': 1, 'not_offered': 1}
        posted = subprocess.run(['curl', '-sS', '-o', '/dev/null', '-w', '%{http_code}', '-d', 'x', f'http://127.0.0.1:{server.plain}/metrics'],
                                capture_output=True, timeout=PATIENCE)
        assert posted.stdout == b'405'
        server.configure(vhost('a.example', '') + STATUS)
        server.graceful()
        agent(server, 'a.example', *CRAWLER)
        assert counted_by(server, 'a.example')['handshakes'] == 2


def test_reload():
    """2,000 requests on 100 connections during 20 graceful restarts."""
    host = vhost('a.example', f'{AGENTS_CA}\nSSLSessionTicketKeyFile {path("tickets.key")}')
    # The tunnel outlives httpd, which crashes at times, with and without the module, where clients leave as it ends.
    with contextlib.ExitStack() as after:
        with Apache(host, extra='ServerLimit 64\nThreadsPerChild 25\nThreadLimit 25\nMaxRequestWorkers 400\nMaxKeepAliveRequests 0') as server:
            tunnel = after.enter_context(Tunnel(server, 'a.example', resume=True))
            visitors = [Visitor(server, tunnel if number % 2 else None, ('SUCCESS', AGENT) if number % 2 else ('NONE', '')) for number in range(100)]
            restarts, over = 0, threading.Event()

            def work(visitor):
                for _ in range(20):
                    # The requests are spread over the restarts, without a look at the clock.
                    while visitor.done + len(visitor.lost) > restarts and not over.is_set():
                        time.sleep(0.01)
                    visitor.visit()
            with ThreadPoolExecutor(len(visitors)) as pool:
                working = [pool.submit(work, visitor) for visitor in visitors]
                try:
                    for restarts in range(1, 21):
                        server.graceful(alone=False)
                finally:
                    over.set()
            for each in working:
                each.result()
            lost = [each for visitor in visitors for each in visitor.lost]
            done = sum(visitor.done for visitor in visitors)
            assert done == 2000, '2,000 requests are answered'
            assert not lost, ('none is lost, and each is the right one\'s', lost[:10])
            assert server.log().count('AH00493') == 20, 'the server restarted 20 times'
        tunnel.process.kill()
        handshakes = tunnel.process.stdout.read().decode().split('\n')
        print(f'{done} requests on 100 connections during 20 graceful restarts, {len(lost)} lost; '
              f'{sum(visitor.connections for visitor in visitors) - 100} connections made anew after a restart closed them, '
              f'{sum(visitor.repeated for visitor in visitors)} requests met that and were sent again; '
              f'agents\' handshakes: {handshakes.count("resumed")} resumed, {handshakes.count("in full")} in full')
        assert handshakes.count('resumed') > 0, 'agents resumed across restarts'
        assert 'exit signal' not in server.log(), ('nothing crashed, to the end', [line for line in server.log().splitlines() if 'signal' in line][:5])


def messages(server, *options):
    """The handshake messages of a client without the flag, with their sizes, by openssl s_client."""
    said = subprocess.run(['openssl', 's_client', '-connect', f'127.0.0.1:{server.port}', '-servername', 'a.example', '-CAfile', path('servers.pem'),
                           '-msg', '-ign_eof', *options], input=b'GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n', capture_output=True,
                          timeout=PATIENCE).stdout.decode(errors='replace')
    return [line for line in said.splitlines() if line.startswith(('<<< ', '>>> ')) and 'RecordHeader' not in line and 'InnerContent' not in line]


class Wire:
    """Stands between a client and the server, and counts the octets of each direction."""

    def __init__(self, server):
        self.server, self.octets = server, None
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.port = self.listener.getsockname()[1]

    def carry(self):
        near, _ = self.listener.accept()
        far = socket.create_connection(('127.0.0.1', self.server.port))
        counts = [0, 0]

        def pump(source, target, which):
            with contextlib.suppress(OSError):
                while data := source.recv(65536):
                    counts[which] += len(data)
                    target.sendall(data)
            with contextlib.suppress(OSError):
                target.shutdown(socket.SHUT_WR)
        other_way = threading.Thread(target=pump, args=(far, near, 1))
        other_way.start()
        pump(near, far, 0)
        other_way.join(PATIENCE)
        self.octets = tuple(counts)

    def count(self, *options):
        thread = threading.Thread(target=self.carry)
        thread.start()
        messages(self, *options)
        thread.join(PATIENCE)
        return self.octets


@pytest.fixture(scope='module')
def with_and_without(certificates):
    """Two servers, without the module and with it, whose second virtual host asks customers."""
    asks = f'SSLCACertificateFile {path("customers.pem")}\nSSLVerifyClient optional'

    def hosts(on):
        return vhost('a.example', on, certificate='rsa', echo='') + vhost('b.example', f'{on}\n{asks}', certificate='rsa', echo='')
    often = 'MaxKeepAliveRequests 0'
    with Apache(hosts(''), module=False, extra=often) as without, Apache(hosts(AGENTS_CA), extra=often) as with_it:
        yield without, with_it


AT_B = ['-servername', 'b.example']


@pytest.mark.parametrize('options, is_asked, is_customer', [
    pytest.param([], False, False, id='TLS 1.3'), pytest.param(['-tls1_2'], False, False, id='TLS 1.2'),
    pytest.param(AT_B, True, False, id='asked, TLS 1.3'), pytest.param([*AT_B, '-tls1_2'], True, False, id='asked, TLS 1.2'),
    pytest.param([*AT_B, '-cert', path('customer.pem'), '-key', path('customer.key'), '-sigalgs', 'RSA-PSS+SHA256:ECDSA+SHA256'], True, True,
                 id='a customer')])
def test_wire(with_and_without, options, is_asked, is_customer):
    """To a client without the flag the module adds nothing."""
    # A ticket has numbers in it whose length differs from one to the next: in several tries some are equal.
    for _ in range(20):
        both = [messages(server, *options) for server in with_and_without]
        if is_customer:  # an ECDSA signature has 70 to 72 octets
            both = [[re.sub(r'length \w+\], CertificateVerify', 'CertificateVerify', line) for line in each] for each in both]
        if both[0] == both[1]:
            break
    assert both[0] == both[1] and len(both[0]) > 8, 'the same messages of the same size'
    assert any('CertificateRequest' in line for line in both[1]) == is_asked
    if not is_customer:
        for _ in range(20):
            counts = [Wire(server).count(*options) for server in with_and_without]
            if counts[0] == counts[1]:
                break
        assert counts[0] == counts[1] and min(counts[0]) > 200, 'the same number of octets in each direction'


@pytest.mark.parametrize('fresh, number', [(True, 50), (False, 500)], ids=['a connection each', 'one connection'])
def test_rate(with_and_without, fresh, number):
    """The ratio of requests per second is printed."""
    def visits(server):
        context = ssl.create_default_context(cafile=path('servers.pem'))
        connection = None
        begin = time.perf_counter()
        for _ in range(number):
            if connection is None:
                connection = context.wrap_socket(socket.create_connection(('127.0.0.1', server.port), timeout=PATIENCE), server_hostname='a.example')
            connection.sendall(b'GET / HTTP/1.1\r\nHost: a.example\r\n\r\n')
            data = b''
            while not data.endswith(b'hello\n'):
                more = connection.recv(65536)
                if not more:
                    raise EOFError(data)
                data += more
            if fresh:
                connection.close()
                connection = None
        return time.perf_counter() - begin

    without, with_it = with_and_without
    spent, used = {without: [], with_it: []}, {server: server.processor_time() for server in (without, with_it)}
    for turn in range(11):
        for server in ((without, with_it), (with_it, without))[turn % 2]:
            spent[server].append(visits(server))
    rates = [number / sorted(spent[server])[5] for server in (without, with_it)]
    used = [(server.processor_time() - used[server]) / 11 / number * 1e6 for server in (without, with_it)]
    print(f'requests per second: {rates[0]:.0f} without the module, {rates[1]:.0f} with it, ratio {rates[1] / rates[0]:.3f}; '
          f'processor time of the server for one: {used[0]:.0f} us, {used[1]:.0f} us, ratio {used[1] / used[0]:.3f}')


# Wrong configurations: configtest says which line and what to do. A running server keeps its old one.
ANCHORS = f'ReqAuthCACertificateFile {path("agents.pem")}'
WRONG = [  # what is in the virtual host, the line that is named, words of the message
    ('ReqAuth maybe', 'ReqAuth maybe', 'takes on or off, not "maybe"'),
    ('ReqAuth', 'ReqAuth\n', 'takes one argument'),
    ('ReqAuths on', 'ReqAuths on', "Invalid command 'ReqAuths'"),
    ('ReqAuthCACertificateFile /nowhere/ca.pem', '/nowhere/ca.pem', 'No such file or directory'),
    (f'ReqAuthCACertificateFile {path("empty.pem")}', 'empty.pem', 'holds no certificate'),
    (f'ReqAuthCACertificateFile {path("noise.pem")}', 'noise.pem', 'holds no certificate'),
    (f'ReqAuthCACertificateFile {path("broken.pem")}', 'broken.pem', 'broken.pem'),
    (f'ReqAuthCACertificateFile {path("half.pem")}', 'half.pem', 'half.pem'),
    (f'ReqAuthCACertificateFile {path("half.der")}', 'half.der', 'holds no certificate'),
    (f'ReqAuthCACertificateFile {path("crawler.key")}', 'crawler.key', 'crawler.key'),
    (f'ReqAuthCACertificatePath {path("no-certificates")}', 'no-certificates', 'no-certificates'),
    ('ReqAuthCACertificatePath /nowhere', '/nowhere', 'No such file or directory'),
    ('ReqAuth on', 'ReqAuth on', 'ReqAuthCACertificateFile: no CA of agents is given'),
    (f'{AGENTS_CA}\nReqAuthCARevocationFile /nowhere/crl.pem', 'ReqAuthCARevocationFile', 'No such file or directory'),
    (f'{AGENTS_CA}\nReqAuthCARevocationFile {path("agents.pem")}', 'ReqAuthCARevocationFile', 'CRL'),
    (f'{AGENTS_CA}\nReqAuthMissing fail\nReqAuthInvalid continue', 'ReqAuth on', 'take one of the two out'),
    (f'{AGENTS_CA}\nSSLProtocol TLSv1.2', 'SSLProtocol TLSv1.2', 'leaves out TLSv1.3'),
    (f'{AGENTS_CA}\nSSLProtocol all -TLSv1.3', 'SSLProtocol all -TLSv1.3', 'leaves out TLSv1.3'),
    (f'{AGENTS_CA}\nSSLProtocol +TLSv1.2 -TLSv1.1', 'SSLProtocol +TLSv1.2', 'leaves out TLSv1.3'),
    (f'{AGENTS_CA}\nSSLCACertificateFile {path("agents.pem")}', 'ReqAuth on', 'is a trust anchor for agents and for customers'),
    ('ReqAuthCount on\nSSLProtocol TLSv1.2', 'SSLProtocol TLSv1.2', 'leaves out TLSv1.3'),
    ('ReqAuthMissing maybe', 'ReqAuthMissing', 'takes fail or continue'),
    ('ReqAuthInvalid maybe', 'ReqAuthInvalid', 'takes continue or fail'),
    ('ReqAuthCANames maybe', 'ReqAuthCANames', 'takes on or off'),
    ('ReqAuthVerifyDepth -1', 'ReqAuthVerifyDepth', 'takes a number of CAs, 0 to 100, not "-1"'),
    ('ReqAuthPurpose mail', 'ReqAuthPurpose', 'takes client, server or any, not "mail"'),
    ('ReqAuthVerifyDepth 1x', 'ReqAuthVerifyDepth', 'not "1x"'),
    ('ReqAuthVerifyDepth 101', 'ReqAuthVerifyDepth', 'not "101"'),
    ('ReqAuthBesideRequired 1', 'ReqAuthBesideRequired', 'takes on or off'),
    ('ReqAuthHeader', 'ReqAuthHeader', 'takes 1-2 arguments'),
    ('ReqAuthHeader X_Agent REQAUTH_SUBJECT', 'ReqAuthHeader', 'letters, digits and hyphens, not "X_Agent"'),
    ('ReqAuthHeader connection REQAUTH_SUBJECT', 'ReqAuthHeader', 'another field than "connection"'),
    ('ReqAuthHeader X-Agent REQAUTH_PRESENTED_SUBJECT', 'ReqAuthHeader', 'hands on identities, and REQAUTH_PRESENTED_SUBJECT is none'),
    ('ReqAuthHeader Client-Cert REQAUTH_UNVOUCHED_CLIENT_CERT', 'ReqAuthHeader', 'give it a field of another name'),
    ('ReqAuthHeader X-Agent SUBJECT', 'ReqAuthHeader', 'takes a variable REQAUTH_... after the field\'s name, not "SUBJECT"'),
    ('<Location /x>\nReqAuthHeader X-Agent\n</Location>', 'ReqAuthHeader', 'not allowed in'),
    ('ReqAuthDangerTrustInboundFields 1', 'ReqAuthDangerTrustInboundFields', 'takes on or off'),
    (f'{AGENTS_CA}\nReqAuthDangerTrustInboundFields on', 'ReqAuthDangerTrustInboundFields', 'say ReqAuth off there'),
    ('ReqAuthMisdirected 404', 'ReqAuthMisdirected', 'takes 421 or empty'),
    ('ReqAuthSessionAge 60', 'ReqAuthSessionAge', 'write it outside of <VirtualHost>'),
    ('ReqAuthFlag 80', 'ReqAuthFlag', 'write it outside of <VirtualHost>'),
    ('ReqAuthExtension 62', 'ReqAuthExtension', 'write it outside of <VirtualHost>'),
    ('<Location /x>\nReqAuth on\n</Location>', 'ReqAuth on', 'not allowed in'),
    ('<Location /x>\nRequire reqauth crawler.example\n</Location>', 'Require reqauth', 'write DNS:name'),
]
WRONG_OUTSIDE = [
    ('ReqAuthSessionAge 604801', 'ReqAuthSessionAge', 'takes seconds, 0 to 604800, not "604801"'),
    ('ReqAuthFlag 2040', 'ReqAuthFlag', 'takes the flag\'s number, 0 to 2039'),
    ('ReqAuthExtension 65536', 'ReqAuthExtension', 'takes an extension type, 0 to 65535'),
    ('ReqAuthExtension 51', 'ReqAuth on', '51'),
]
RIGHT = [f'{AGENTS_CA}', f'ReqAuth on\nReqAuthCACertificatePath {path("anchors")}', f'ReqAuth off\n{ANCHORS}', f'{AGENTS_CA}\nSSLProtocol all -TLSv1.2',
         f'{AGENTS_CA}\nSSLProtocol TLSv1.2 +TLSv1.3', f'{AGENTS_CA}\nSSLCACertificateFile {path("customers.pem")}',
         f'ReqAuth off\n{ANCHORS}\nSSLCACertificateFile {path("agents.pem")}\nSSLProtocol TLSv1.2',
         f'{AGENTS_CA}\nReqAuthMissing fail\nReqAuthInvalid fail\nReqAuthCANames off\nReqAuthVerifyDepth 3\nReqAuthBesideRequired off\nReqAuthMisdirected 421']


@pytest.fixture(scope='module')
def not_started(certificates):
    write('half.pem', octets_of('agents.pem')[:200])
    openssl('x509', '-in', 'customers.pem', '-outform', 'DER', '-out', 'der.pem')
    write('half.der', octets_of('der.pem')[:-1])
    for name in ('no-certificates', 'anchors'):
        os.makedirs(path(name), exist_ok=True)
    shutil.copy(path('agents.pem'), os.path.join(path('anchors'), 'agents.pem'))
    return Apache('', start=False)


def short(text):
    return text.splitlines()[-1].replace(home.name, '') if isinstance(text, str) else None


def is_wrong(server, line, words):
    ran = server.test()
    assert ran.status != 0 and 'Syntax OK' not in ran.err
    assert words in ran.err
    number = server.line_of(line.rstrip('\n'))
    assert re.search(rf'line {number} of {re.escape(server.conf)}|{re.escape(server.conf)}:{number}\b', ran.err), f'it names line {number}'


@pytest.mark.parametrize('text, line, words', WRONG, ids=[short(text) for text, _, _ in WRONG])
def test_configtest(not_started, text, line, words):
    not_started.configure(vhost('a.example', text, echo=''))
    is_wrong(not_started, line, words)


@pytest.mark.parametrize('text, line, words', WRONG_OUTSIDE, ids=[text for text, _, _ in WRONG_OUTSIDE])
def test_configtest_outside(not_started, text, line, words):
    not_started.configure(f'{text}\n' + vhost('a.example', AGENTS_CA, echo=''))
    is_wrong(not_started, line, words)


@pytest.mark.parametrize('text', RIGHT, ids=short)
def test_configtest_right(not_started, text):
    not_started.configure('ReqAuthSessionAge 600\nReqAuthFlag 80\nReqAuthExtension 62\n' + vhost('a.example', text, echo=''))
    ran = not_started.test()
    assert ran.status == 0 and ran.err.strip().endswith('Syntax OK')


CANNOT_WORK = [  # what is in the virtual host, and words of the warning
    (f'ReqAuth on\nReqAuthCACertificateFile {path("crawler.pem")}', 'crawler.pem', 'is no CA', 'lets nobody in', 'CN=agents CA'),
    (f'ReqAuth on\nReqAuthCACertificateFile {path("old.pem")}', 'old.pem', 'CN=old CA', 'expired at 2020-01-02'),
    (f'{AGENTS_CA}\nReqAuthCARevocationFile {path("others.crl")}', 'others.crl', 'CN=others CA', 'is of no CA here'),
    (f'{AGENTS_CA}\nReqAuthCARevocationFile {path("old.crl")}', 'old.crl', 'CN=agents CA', 'ran out at 2020-01-02'),
    (f'{AGENTS_CA}\nSSLVerifyClient require\nSSLCACertificateFile {path("customers.pem")}', 'the flag is ignored', 'ReqAuthBesideRequired on'),
]


@pytest.mark.parametrize('text, words', [(text, words) for text, *words in CANNOT_WORK], ids=[short(text) for text, *_ in CANNOT_WORK])
def test_configtest_warns(not_started, text, words):
    """One line, with file and line of the directive, the file, and what to do."""
    revocation_list('others.crl', 'others')
    revocation_list('old.crl', 'agents', dates=EXPIRED)
    authority('old', dates=EXPIRED)
    not_started.configure(vhost('a.example', text, echo=''))
    ran = not_started.test()
    lines = [line for line in ran.err.splitlines() if 'warn' in line and 'ReqAuth on (' in line]
    assert ran.status == 0 and len(lines) == 1, ran.err
    assert f'({not_started.conf}:{not_started.line_of("ReqAuth on")})' in lines[0] and all(word in lines[0] for word in words)
    assert 'RCA-' not in lines[0] and 'SSL_CTX' not in lines[0]


def test_configtest_inherited(not_started):
    """From outside, and from an included file."""
    server = not_started
    write('included.conf', b'SSLProtocol TLSv1.2\n')
    server.configure(f'{AGENTS_CA}\nInclude {path("included.conf")}\n' + vhost('a.example', '', echo=''))
    ran = server.test()
    assert f'{path("included.conf")}:1' in ran.err and 'leaves out TLSv1.3' in ran.err, 'it says where'
    server.configure(f'{AGENTS_CA}\nSSLProtocol TLSv1.2\n' + vhost('a.example', 'SSLProtocol TLSv1.3', echo=''))
    assert server.test().status == 0, ('its own counts', server.test().err)
    for reqauth in (f'{AGENTS_CA}', 'ReqAuth off'):
        server.configure(vhost('a.example', reqauth, echo='') + vhost('b.example', 'SSLProtocol TLSv1.2', echo=''))
        ran = server.test()
        named = f'{server.conf}:{server.line_of("SSLProtocol")}' in ran.err and 'leaves out TLSv1.3' in ran.err
        assert (ran.status != 0 and named) == ('on' in reqauth[:10]), ('another without TLS 1.3', ran.err)
    server.configure(f'{AGENTS_CA}\n' + vhost('a.example', '', echo='') + '<VirtualHost 127.0.0.1:$PORT>\nServerName p\nSSLProtocol TLSv1.2\n</VirtualHost>')
    assert server.test().status == 0, ('without TLS it needs no TLS 1.3', server.test().err)


def test_configtest_without_mod_ssl(not_started):
    server = not_started
    load = f'LoadModule ssl_module {Apache.modules}/mod_ssl.so'
    server.configure(f'{AGENTS_CA}\n')
    with open(server.conf) as file:
        text = file.read().replace(load, '').replace('SSLSessionCache none', '')
    with open(server.conf, 'w') as file:
        file.write(text)
    ran = server.test()
    assert ran.status != 0 and 'mod_ssl is not loaded: load it' in ran.err, 'it says so'


def test_keeps():
    """apachectl on a running server: a configuration that is wrong changes nothing."""
    if found('apachectl') is None:
        pytest.skip('there is no apachectl (package apache2, unpacked)')
    good = vhost('a.example', AGENTS_CA)
    with Apache(good) as server:
        def serves():
            sees(echoed(agent(server, 'a.example', *CRAWLER)), **VERIFIED, x_subject=AGENT)
        serves()
        for bad, words in ((good.replace('agents.pem', 'missing.pem'), 'missing.pem'), (good.replace('agents.pem', 'broken.pem'), 'broken.pem'),
                           (good.replace('ReqAuth on', 'ReqAuth maybe'), 'takes on or off'), (good + '\nReqAuthFlag 9999', '0 to 2039')):
            server.configure(bad)
            for action in ('configtest', 'graceful', 'restart'):
                ran = server.control(action)
                assert ran.status != 0 and words in ran.err + ran.out and server.conf in ran.err + ran.out, 'it fails and says why'
                assert server.process.poll() is None, 'the server runs'
            serves()
        assert 'AH00493' not in server.log() and 'AH00494' not in server.log(), 'it never restarted'
        server.configure(good)
        ran = server.control('configtest')
        assert ran.status == 0, (ran.out, ran.err)
        ran = server.control('graceful')
        assert ran.status == 0, (ran.out, ran.err)
        server.until(lambda: 'AH00493' in server.log() and server.log().count('resuming normal operations') == 2)
        serves()


def test_documents():
    """The configurations in docs/apache.md are taken as they are."""
    with open(os.path.join(ROOT, 'docs', 'apache.md')) as file:
        document = file.read()
    blocks = re.findall(r'```apache\n(.*?)```', document, re.S)
    assert len(blocks) == 5, 'there are examples'
    server = Apache('', start=False)
    os.makedirs(server.at('logs'))
    for name, there in (('www.example.pem', 'site.pem'), ('www.example.key', 'site.key'), ('agents-ca.pem', 'agents.pem')):
        shutil.copy(path(there), server.at(name))
    first = blocks[0].replace('*:443', f'127.0.0.1:{server.port}')
    server.configure(first.replace('</VirtualHost>', ''.join(blocks[1:]) + '</VirtualHost>'))
    ran = server.test()
    assert ran.status == 0, ran.err
    server.configure(first)
    with server.start():
        ran = run(CLIENT, '--connect', f'127.0.0.1:{server.port}', '--servername', 'a.example', '--ca', path('servers.pem'), *CRAWLER, '--get', '/')
        assert ran.status == 0 and ran.out == 'hello\n', ran.err
    for name in re.findall(r'`(ReqAuth[A-Za-z]+|REQAUTH_[A-Z_]+)', document):
        with open(Apache.shared_object, 'rb') as file:
            assert name.encode() in file.read(), f'{name} is there'
    with open(Apache.shared_object, 'rb') as file:
        for name in set(re.findall(rb'(?:ReqAuth[A-Z][A-Za-z]+|REQAUTH_[A-Z_]+)\x00', file.read())):
            assert f'`{name[:-1].decode()}' in document, f'{name.decode()} is described'
