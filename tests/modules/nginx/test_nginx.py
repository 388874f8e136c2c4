# SPDX-License-Identifier: Apache-2.0
"""Runs the nginx module in a real nginx, on loopback, against clients with and without the flag."""
import asyncio
import base64
import collections
import contextlib
import functools
import json
import os
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time
import urllib.parse

import pytest

import applications
import refusals
import standing
import servers
from servers import Nginx, Tunnel as Carrier, counted_by, unused_port
from running import (CLIENT, EXPIRED, PATIENCE, RSA, authority, built, client_cert, fingerprint, home, keeping, leaf, octets_of, openssl, other, own, path,
                     presenting, request, revocation_list, run, same, sign, write)

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..', '..')
CRAWLER, PERSON, OFFERS = own('crawler'), ['--offer', 'never'], ['--offer', 'always']


@pytest.fixture(scope='module', autouse=True)
def certificates(nginx_with_module):
    if not os.path.exists(Carrier.program):
        pytest.skip('tunnel is not built')
    authority('partners')
    leaf('web', '/CN=a.example', 'servers', 'DNS:a.example,DNS:b.example,DNS:c.example,DNS:localhost,IP:127.0.0.1')
    for site in ('a.example', 'b.example'):
        leaf(site, f'/CN={site}', 'servers', f'DNS:{site}')
    leaf('partner', '/CN=partner.example', 'partners', 'DNS:partner.example')
    leaf('many', '/CN=many.example', 'agents', 'DNS:one.example,URI:https://one.example/,DNS:two.example,email:bot@one.example')
    write('both.pem', octets_of('agents.pem') + octets_of('partners.pem'))
    write('broken.pem', octets_of('agents.pem').replace(b'-----BEGIN CERTIFICATE-----\nMII', b'-----BEGIN CERTIFICATE-----\nQQQ'))
    write('ticket.key', os.urandom(80))
    os.mkdir(path('ca.d'))
    write('ca.d/agents.pem', octets_of('agents.pem'))
    write('ca.d/partners.crt', octets_of('partners.pem'))
    for name in ('ends', 'revoked'):
        leaf(name, f'/CN={name}.example', 'agents', f'DNS:{name}.example')
        revocation_list(f'crl-{name}.pem', 'agents', name)
    revocation_list('crl.pem', 'agents')
    authority('middle', issuer='agents')
    leaf('below', '/CN=below.example', 'middle', 'DNS:below.example')
    write('below-alone.pem', octets_of('below.pem'))
    write('below.pem', octets_of('below.pem') + octets_of('middle.pem'))
    revocation_list('crl-ended.pem', 'agents', dates=EXPIRED)
    authority('ended', dates=EXPIRED)
    leaf('of-ended', '/CN=crawler.example', 'ended', 'DNS:crawler.example')
    leaf('framer', '/CN=x, client: 192.0.2.66, server: y/O=reqauth: refused a, client: 192.0.2.66, server: z', 'others', 'DNS:framer.example')
    leaf('liar', '/CN=x", issuer "CN=agents CA\n[alarm]', 'others', 'DNS:liar.example')


# What the server says of a request: one line for each variable.
REQAUTH = ('outcome', 'reason', 'verify', 'subject', 'issuer', 'serial', 'not_after', 'san_dns', 'san_uri', 'fingerprint',
           'client_cert', 'client_cert_chain', 'resumed')
CUSTOMER = ('cert', 'raw_cert', 'escaped_cert', 's_dn', 'i_dn', 's_dn_legacy', 'i_dn_legacy', 'serial', 'fingerprint', 'verify',
            'v_start', 'v_end', 'v_remain')
PRESENTED = tuple(f'presented_{each}' for each in ('subject', 'issuer', 'serial', 'not_before', 'not_after', 'fingerprint', 'depth', 'failed', 'because'))
SAYS = r'\n'.join([*(f'{each}=$reqauth_{each}' for each in REQAUTH + PRESENTED),
                   *(f'ssl_client_{each}=$ssl_client_{each}' for each in CUSTOMER if each != 'cert' and each != 'raw_cert'),
                   'ssl_client_cert=${ssl_client_cert}.', 'ssl_client_raw_cert=${ssl_client_raw_cert}.',
                   'session=$ssl_session_reused', 'host=$server_name', ''])
NOBODY = dict.fromkeys([f'ssl_client_{each}' for each in CUSTOMER], '') | {
    'ssl_client_verify': 'NONE', 'ssl_client_cert': '.', 'ssl_client_raw_cert': '.'}
NOTHING_PRESENTED = dict.fromkeys(PRESENTED, '')
NO_AGENT = dict.fromkeys(REQAUTH[3:], '') | {'verify': 'NONE'}


def vhost(name, *lines, certificate='web', port='$PORT', says=SAYS, listen='ssl'):
    """A server {} that answers / with what it knows of the client."""
    return f'''server {{
        listen 127.0.0.1:{port} {listen}; server_name {name};
        ssl_certificate {path(certificate)}.pem; ssl_certificate_key {path(certificate)}.key;
        {' '.join(lines)}
        location / {{ default_type text/plain; return 200 "{says}"; }}
    }}'''


def on(ca='agents', *lines):
    return ' '.join(['reqauth on;', f'reqauth_trusted_certificate {path(ca)}{"" if ca.endswith(".d") else ".pem"};', *lines])


def said(text):
    return dict(line.split('=', 1) for line in text.splitlines() if '=' in line)


class Visit:
    def __init__(self, status, page, line, text):
        self.status, self.page, self.line, self.text = status, page, line, text


def visit_of(nginx, name, *options, target='/', port=None):
    """reqauth-client's visit: exit status, what the page says, its own line."""
    ran = run(CLIENT, '--connect', f'127.0.0.1:{port or nginx.port}', '--servername', name, '--ca', path('servers.pem'), '--json',
              '--get', target, *options)
    lines = ran.out.splitlines()
    line = json.loads(lines[-1]) if lines and lines[-1].startswith('{') else {}
    body = '\n'.join(lines[:-1])
    return Visit(ran.status, said(body), line, ran.out + ran.err)


def meets(nginx, name, *options, status=0, line=None, target='/', port=None, **wanted):
    """A visit, what the page says of it and, in `line`, what the client says."""
    seen = visit_of(nginx, name, *options, target=target, port=port)
    assert seen.status == status, seen.text + nginx.log()[-600:]
    for member, value in wanted.items():
        assert seen.page.get(member) == value, f'{member} is not {value!r}: {seen.text}'
    same(seen.line, **(line or {}))
    return seen


AGENT = {'outcome': 'accepted', 'verify': 'SUCCESS', 'subject': 'CN=crawler.example'} | NOBODY | NOTHING_PRESENTED
IGNORED = {'outcome': 'ignored', 'reason': 'ignored'} | NO_AGENT | NOTHING_PRESENTED
STRANGER = {'outcome': 'not_offered', 'reason': 'not_offered'} | NO_AGENT | NOTHING_PRESENTED


def curl(nginx, name, *options, target='/', port=None):
    done = subprocess.run(['curl', '-sS', '--http1.1', '--cacert', path('servers.pem'), '--connect-to', f'{name}:443:127.0.0.1:{port or nginx.port}',
                           '--max-time', str(PATIENCE), '-w', '\\nstatus=%{http_code}\\n', *options, f'https://{name}{target}'],
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE)
    return Visit(done.returncode, said(done.stdout.decode()), {}, done.stdout.decode() + done.stderr.decode())


def person(nginx, name, *options, target='/', port=None, **wanted):
    """curl's visit, unmodified."""
    seen = curl(nginx, name, *options, target=target, port=port)
    assert seen.status == 0, seen.text + nginx.log()[-600:]
    for member, value in {'status': '200', **wanted}.items():
        assert seen.page.get(member) == value, f'{member} is not {value!r}: {seen.text}'
    return seen


class Tunnel(Carrier):
    """Carries plain connections to nginx over TLS, as an agent."""

    def __init__(self, nginx, *more):
        super().__init__(nginx.port, *more)

    def exchange(self, *requests):
        """The answers to requests on one connection: status and what each page says."""
        answers = []
        with socket.create_connection(('127.0.0.1', self.port), timeout=PATIENCE) as connection, connection.makefile('rb') as file:
            for each in requests:
                connection.sendall(each)
                answers.append(answer_of(file))
        return answers

    def get(self, *hosts, target='/', fields=''):
        return self.exchange(*(f'GET {target} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n'.encode() for host in hosts))


def answer_of(file):
    """One answer of HTTP/1.1, with Content-Length: status and body; None where there is nothing."""
    first = file.readline()
    if not first:
        return None
    length = 0
    while (line := file.readline()) not in (b'\r\n', b''):
        if line.lower().startswith(b'content-length:'):
            length = int(line.split(b':')[1])
    body = file.read(length)
    return int(first.split()[1]), said(body.decode()), body.decode()


class Application(applications.Echo):
    def location(self):
        return f'''location /app {{ proxy_pass http://127.0.0.1:{self.port}; proxy_http_version 1.1;
            proxy_set_header Client-Cert $reqauth_client_cert; proxy_set_header Client-Cert-Chain $reqauth_client_cert_chain;
            proxy_set_header X-Agent $reqauth_subject; proxy_set_header X-Customer $ssl_client_s_dn; }}'''


def text_of_certificate(name, *what):
    done = subprocess.run(['openssl', 'x509', '-in', path(f'{name}.pem'), '-noout', *what], check=True, capture_output=True)
    return done.stdout.decode().strip().split('=', 1)[1]


@pytest.fixture
def two_hosts(certificates):
    """Virtual hosts with different trust, and one where reqauth is off, before an application."""
    site = Application().location()
    with Nginx(vhost('a.example', on('agents'), site, certificate='a.example'), vhost('b.example', on('partners'), site, certificate='b.example'),
               vhost('c.example', site)) as nginx:
        yield nginx


def test_agents_at_their_hosts(two_hosts):
    """The outcome on both sides."""
    offered = {'offered': True, 'requested': True, 'acknowledged': True, 'sent': 'flag', 'judged': 'ticket', 'resumed': False}
    crawler = {'issuer': 'CN=agents CA', 'serial': text_of_certificate('crawler', '-serial'), 'san_dns': 'crawler.example',
               'san_uri': 'https://crawler.example/bot', 'fingerprint': fingerprint('crawler'),
               'client_cert': client_cert('crawler'), 'client_cert_chain': client_cert('agents'), 'resumed': '0', 'reason': ''}
    seen = meets(two_hosts, 'a.example', *CRAWLER, line=offered, **AGENT, **crawler)
    ends = subprocess.run(['date', '-u', '+%Y-%m-%dT%H:%M:%SZ', '-d', text_of_certificate('crawler', '-enddate')], capture_output=True, check=True)
    assert seen.page.get('not_after') == ends.stdout.decode().strip()
    meets(two_hosts, 'b.example', *own('partner'), line=offered, **{**AGENT, 'subject': 'CN=partner.example'},
          issuer='CN=partners CA', client_cert=client_cert('partner'))


def test_agents_at_other_hosts(two_hosts):
    """The request names that host's CAs, so a client does not show what they have not signed; one that does is refused."""
    meets(two_hosts, 'b.example', *CRAWLER, status=3, line={'acknowledged': True, 'sent': 'empty', 'unmet': 'authorities'}, outcome='accepted', reason='empty', **NO_AGENT, **NOBODY)
    for who, where in (('crawler', 'b.example'), ('partner', 'a.example'), ('impostor', 'a.example')):
        meets(two_hosts, where, *own(who), '--on-unsatisfiable', 'present', status=1, line={'alert_received': 'unknown_ca', 'judged': 'refused'})
    meets(two_hosts, 'c.example', *CRAWLER, line={'requested': False, 'acknowledged': False, 'sent': 'none'}, **IGNORED, **NOBODY)


@refusals.each_program
def test_no_refusal_is_lost(nginx_with_module, name):
    with nginx_with_module(f'''server {{ listen 127.0.0.1:$PORT ssl; server_name localhost;
        ssl_certificate {path('server.pem')}; ssl_certificate_key {path('server.key')};
        reqauth on; reqauth_trusted_certificate {path('agents.pem')}; reqauth_ca_names off; return 200; }}''') as server:
        refusals.always_noticed(name, server.port)


def test_others_at_hosts(two_hosts):
    meets(two_hosts, 'a.example', *OFFERS, line={'acknowledged': True, 'sent': 'empty'}, outcome='accepted', reason='empty', **NO_AGENT, **NOBODY)
    meets(two_hosts, 'a.example', *CRAWLER, '--tls1.2', line={'offered': False, 'requested': False}, **STRANGER, **NOBODY)
    for name in ('a.example', 'b.example', 'c.example'):
        # curl has a certificate with it, and would show it if it was asked.
        person(two_hosts, name, *CRAWLER, **STRANGER, **NOBODY)


SPOOFED = ['Client-Cert: :AAAA:', 'client-cert: :BBBB:', 'Client-Cert-Chain: :AAAA:', 'X-Agent: CN=root', 'X-Customer: CN=root',
           'Client_Cert: :AAAA:', 'client.cert: :AAAA:']
# Names that an application may take for an identity.
OF_IDENTITY = {'client-cert', 'client-cert-chain', 'x-agent', 'x-customer', 'client_cert', 'client.cert'}


def behind(body):
    """The fields as the application saw them, by name."""
    fields = collections.defaultdict(list)
    for name, value in json.loads(body)['fields']:
        fields[name].append(value)
    return fields


def test_spoofed_by_a_person(two_hosts):
    ran = curl(two_hosts, 'a.example', *[part for each in SPOOFED for part in ('-H', each)], target='/app')
    assert not OF_IDENTITY & set(behind(ran.text.splitlines()[0]))


@pytest.mark.parametrize('who, host, issuer', [('crawler', 'a.example', 'agents'), ('partner', 'b.example', 'partners')])
def test_spoofed_by_an_agent(two_hosts, who, host, issuer):
    with Tunnel(two_hosts, host, who) as tunnel:
        status, _, body = tunnel.get(host, target='/app', fields='\r\n'.join(SPOOFED) + '\r\n')[0]
    assert status == 200
    assert {name: values for name, values in behind(body).items() if re.match(r'client|x-', name)} == {
        'client-cert': [client_cert(who)], 'client-cert-chain': [client_cert(issuer)], 'x-agent': [f'CN={who}.example']}


def test_application_where_the_flag_is_ignored(two_hosts):
    ran = visit_of(two_hosts, 'c.example', *CRAWLER, target='/app')
    assert not OF_IDENTITY & set(behind(ran.text.splitlines()[0]))


OWNED = {'HTTP_CLIENT_CERT', 'HTTP_CLIENT_CERT_CHAIN', 'HTTP_X_AGENT'}
LIES = ('X-Agent', 'Client-Cert', 'Client-Cert-Chain')
SPELLED = [f'{name}: lie' for lie in LIES for name in (lie, lie, lie.lower(), lie.upper(), *(lie.replace('-', mark) for mark in "_.!#$%&'*+^`|~"))]
LISTED = ', '.join(LIES)
TRICKS = {  # fields, and trailers
    'nothing': ([], []),
    'spelled': (SPELLED, []),
    'Connection': ([*SPELLED, f'Connection: close, {LISTED}'], []),
    'Connection, twice': ([f'Connection: {LISTED}', *SPELLED, 'Connection: close'], []),
    'Connection, an upgrade': ([*SPELLED, f'Connection: Upgrade, close, {LISTED}', 'Upgrade: websocket'], []),
    'other lists of names': ([*SPELLED, f'Proxy-Connection: {LISTED}', f'Keep-Alive: {LISTED}', f'TE: trailers, {LISTED}'], []),
    'Expect': ([*SPELLED, 'Expect: 100-continue'], []),
    'trailers': ([*SPELLED, f'Trailer: {LISTED}'], [f'Connection: {LISTED}', *SPELLED]),
}


def identities(body):
    """What an application saw of the names that carry an identity: pairs, in order of name."""
    return sorted(pair for pair in json.loads(body) if pair[0] in OWNED) if body and body.startswith(b'[') else body


def handed_on(ports):
    """Locations with the lines of docs/nginx.md, for each way to an application."""
    lines = {'proxy': ('proxy_pass http://', 'proxy_set_header Client-Cert $reqauth_client_cert; '
                       'proxy_set_header Client-Cert-Chain $reqauth_client_cert_chain; proxy_set_header X-Agent $reqauth_subject;')}
    for way in ('fastcgi', 'scgi', 'uwsgi'):
        lines[way] = (f'{way}_pass ', f'{way}_param HTTP_CLIENT_CERT $reqauth_client_cert if_not_empty; '
                      f'{way}_param HTTP_CLIENT_CERT_CHAIN $reqauth_client_cert_chain if_not_empty; '
                      f'{way}_param HTTP_X_AGENT $reqauth_subject if_not_empty;')
    lines['grpc'] = ('grpc_pass grpc://', lines['proxy'][1].replace('proxy_', 'grpc_'))
    return ' '.join(f'location /{way} {{ {to}127.0.0.1:{ports[way]}; {fields} }}' for way, (to, fields) in lines.items())


def hosts_with_fields(site, *more):
    return [vhost('a.example', on('agents'), site, listen='ssl http2'), vhost('b.example', on('agents'), site, listen='ssl http2'),
            vhost('c.example', site, listen='ssl http2'), f'server {{ listen 127.0.0.1:$PLAIN; {site} }}', *more]


# Of the last two docs/nginx.md says to leave them; nginx -t warns, and only parameters are safe from them.
LENIENT = {'by default': '', 'underscores': 'underscores_in_headers on;', 'invalid ones': 'ignore_invalid_headers off;',
           'both': 'underscores_in_headers on; ignore_invalid_headers off;'}


@pytest.fixture(scope='module')
def those_behind(certificates):
    """An application for each way to one."""
    return {way: applications.Behind(getattr(applications, speaks)).port for way, speaks in (
        ('proxy', 'http'), ('fastcgi', 'fcgi'), ('scgi', 'scgi'), ('uwsgi', 'uwsgi'))}


@pytest.fixture(scope='module', params=LENIENT.values(), ids=LENIENT)
def before_applications(request, those_behind):
    # What is behind gRPC is a server {} that passes on every spelling.
    behind_grpc = f'''server {{ listen 127.0.0.1:$OTHER http2; underscores_in_headers on; ignore_invalid_headers off;
        location / {{ proxy_pass http://127.0.0.1:{those_behind["proxy"]}; }} }}'''
    with Nginx(*hosts_with_fields(handed_on({'grpc': '$OTHER', **those_behind}), behind_grpc), http=request.param) as nginx:
        nginx.ways = ('fastcgi', 'scgi', 'uwsgi') if request.param else ('proxy', 'grpc', 'fastcgi', 'scgi', 'uwsgi')
        yield nginx


# Whose handshake, by which name (None: none, on a plain port), for which host, by HTTP/2; whether it is an agent there.
WRITERS = {
    'an agent': ('crawler', 'a.example', 'a.example', False, True),
    'an agent, misdirected': ('crawler', 'a.example', 'b.example', False, False),
    'an agent where reqauth is off': ('crawler', 'c.example', 'c.example', False, False),
    'a person': (None, 'a.example', 'a.example', False, False),
    'a person where reqauth is off': (None, 'c.example', 'c.example', False, False),
    'a person, plain': (None, None, 'plain.example', False, False),
    'an agent, HTTP 2': ('crawler', 'a.example', 'a.example', True, True),
    'a person, HTTP 2': (None, 'a.example', 'a.example', True, False),
    'a person where reqauth is off, HTTP 2': (None, 'c.example', 'c.example', True, False),
}


@pytest.mark.parametrize('who, name, host, h2, is_agent', WRITERS.values(), ids=WRITERS)
def test_fields(before_applications, who, name, host, h2, is_agent):
    """Whatever is written into a request, and by whom: the application sees in the fields exactly what nginx set."""
    nginx, wanted = before_applications, sorted([
        ['HTTP_X_AGENT', 'CN=crawler.example'], ['HTTP_CLIENT_CERT', client_cert('crawler')],
        ['HTTP_CLIENT_CERT_CHAIN', client_cert('agents')]]) if is_agent else []
    with contextlib.ExitStack() as tunnels:
        port = tunnels.enter_context(Tunnel(nginx, name, who, 'h2' if h2 else 'http/1.1')).port if name else nginx.plain
        for trick, (mine, trailers) in TRICKS.items():
            for way in nginx.ways:
                if h2:
                    mine, trailers = ([each.split(':')[0].lower() + ':' + each.split(':', 1)[1] for each in which if not each.lower().startswith(
                        ('connection', 'keep-alive', 'proxy-connection', 'te:', 'upgrade'))] for which in (mine, trailers))
                    body = applications.http2(port, host, f'/{way}', mine, trailers)
                else:
                    body = applications.http1(port, host, f'/{way}', mine, trailers)[1]
                # This nginx knows no trailers of HTTP/2, and ends the connection.
                assert identities(body) == wanted or (body is None and h2 and trick == 'trailers'), (trick, way)


@pytest.mark.parametrize('module', ['reqauth on', 'reqauth off'])
@pytest.mark.parametrize('http', LENIENT.values(), ids=LENIENT)
def test_lenient_fields_are_warned_of(those_behind, http, module):
    hosts = hosts_with_fields(handed_on({'grpc': '$OTHER', **those_behind}))
    said = Nginx(*(each.replace('reqauth on', module) for each in hosts), http=http, starts=False).test()
    warned = [line for line in said.err.splitlines() if '[warn] reqauth: ' in line and 'leave it out' in line]
    assert said.status == 0
    assert len(warned) == (1 if http and module == 'reqauth on' else 0)
    assert all(http.split()[0] in line for line in warned)


SHOWN = ['--on-unsatisfiable', 'present']
# The lines of a server {}, what the client is told, how it ends, what it says, what the page says. The last may need certificates.
DIRECTIVES = {
    'a directory of CAs': (on('ca.d'), CRAWLER, 0, {}, AGENT),
    'a directory of CAs, the other one': (on('ca.d'), own('partner'), 0, {}, dict(outcome='accepted', subject='CN=partner.example')),
    'missing continue': (on('agents', 'reqauth_missing continue;'), OFFERS, 0, {}, dict(outcome='accepted', reason='empty', **NO_AGENT)),
    'missing fail': (on('agents', 'reqauth_missing fail;'), OFFERS, 1, {'alert_received': 'certificate_required'}, {}),
    'missing fail, an agent': (on('agents', 'reqauth_missing fail;'), CRAWLER, 0, {}, AGENT),
    'invalid fail': (on('agents', 'reqauth_invalid fail;'), own('impostor') + SHOWN, 1, {'alert_received': 'unknown_ca'}, {}),
    'invalid continue': (on('agents', 'reqauth_invalid continue;'), own('impostor') + SHOWN, 0, {'sent': 'flag'}, dict(
        outcome='accepted', reason='invalid', **{**NO_AGENT, 'verify': 'FAILED:unable to get local issuer certificate'}, **NOBODY)),
    'invalid continue, an agent': (on('agents', 'reqauth_invalid continue;'), CRAWLER, 0, {}, AGENT),
    'ca_names on': (on('agents', 'reqauth_ca_names on;'), own('impostor'), 3, {'sent': 'empty'}, dict(outcome='accepted', reason='empty')),
    'ca_names off': (on('agents', 'reqauth_ca_names off;'), own('impostor'), 1, {'sent': 'flag', 'alert_received': 'unknown_ca'}, {}),
    'flag 81': (on('agents', 'reqauth_flag 81;'), [*CRAWLER, '--flag', '81'], 0, {'acknowledged': True}, AGENT),
    'flag 81, a client with 80': (on('agents', 'reqauth_flag 81;'), CRAWLER, 0, {'acknowledged': False}, STRANGER),
    'extension 65025': (on('agents', 'reqauth_extension 65025;'), [*CRAWLER, '--extension', '65025'], 0, {'acknowledged': True}, AGENT),
    'extension 65025, a client with 62': (on('agents', 'reqauth_extension 65025;'), CRAWLER, 0, {'acknowledged': False}, STRANGER),
    'verify_depth 0': (on('agents', 'reqauth_verify_depth 0;'), CRAWLER, 0, {}, AGENT),
    'a CA between, any depth': (on(), own('below'), 0, {}, dict(outcome='accepted', verify='SUCCESS', subject='CN=below.example')),
    'a CA between, verify_depth 0': (on('agents', 'reqauth_verify_depth 0;'), own('below'), 1, {'alert_received': 'unknown_ca'}, {}),
    'crl': (on('agents', f'reqauth_crl {path("crl.pem")};'), CRAWLER, 0, {}, AGENT),
    'crl, not on it': (on('agents', f'reqauth_crl {path("crl-revoked.pem")};'), CRAWLER, 0, {}, AGENT),
    'crl, on it': (on('agents', f'reqauth_crl {path("crl-revoked.pem")};'), own('revoked'), 1, {'alert_received': 'certificate_revoked'}, {}),
}


@pytest.mark.parametrize('lines, options, status, line, wanted', DIRECTIVES.values(), ids=DIRECTIVES)
def test_directive(lines, options, status, line, wanted):
    """Each, on both sides."""
    with Nginx(vhost('a.example', lines)) as nginx:
        meets(nginx, 'a.example', *options, status=status, line=line, **wanted)


# A certificate for servers alone, and one without a word of it.
@pytest.mark.parametrize('said, who, alert', [
    ('', 'spider', 'unsupported_certificate'), ('reqauth_purpose client;', 'spider', 'unsupported_certificate'), ('reqauth_purpose server;', 'spider', None),
    ('reqauth_purpose any;', 'spider', None), ('reqauth_purpose server;', 'crawler', None)])
def test_purpose(said, who, alert):
    request('spider', '/CN=spider.example')
    sign('spider', 'agents', 'subjectAltName=DNS:spider.example', 'extendedKeyUsage=serverAuth')
    with Nginx(vhost('a.example', on('agents', said))) as nginx:
        meets(nginx, 'a.example', *own(who), status=1 if alert else 0, line={'alert_received': alert})


ADMITTED = 'allow dns crawler.example by agents.pem\nallow uri https://crawler.example/bot by agents.pem\n'


@pytest.mark.parametrize('rules, comes', [
    (ADMITTED, True), ('allow dns crawler.example', False), (ADMITTED + 'deny dns crawler.example', False), ('deny dns other.example', True)])
def test_admitted(rules, comes):
    write('admitted', rules.encode())
    with Nginx(vhost('a.example', on('agents', f'reqauth_admitted {path("admitted")};')), vhost('b.example', on('agents'))) as nginx:
        meets(nginx, 'a.example', *CRAWLER, status=0 if comes else 1, line={'alert_received': None if comes else 'access_denied'}, **(AGENT if comes else {}))
        meets(nginx, 'b.example', *CRAWLER, **AGENT)
        if not comes:
            assert 'certificate rejected (28) at depth 0: it verifies, and is not admitted here' in nginx.log()


def test_chain_with_a_ca_between():
    with Nginx(vhost('a.example', on())) as nginx:
        meets(nginx, 'a.example', *own('below'), client_cert_chain=f'{client_cert("middle")}, {client_cert("agents")}')


def test_invalid_continue_and_403():
    refuses = 'if ($reqauth_reason = invalid) { return 403; }'
    with Nginx(vhost('a.example', on(), 'reqauth_invalid continue;', refuses)) as nginx:
        meets(nginx, 'a.example', *CRAWLER, **AGENT)
        person(nginx, 'a.example', **STRANGER)
        seen = visit_of(nginx, 'a.example', *own('impostor'), *SHOWN)
        assert '403 Forbidden' in seen.text and not seen.page, 'an impostor'
        assert '[crit]' not in nginx.log()


# Whom a handshake refuses: the lines of a server {}, what the client is told, its alert, and the log's words.
REFUSED = {
    'unknown CA': (on(), [*own('impostor'), *SHOWN], 'unknown_ca', [
        'unable to get local issuer certificate (20) at depth 0; presented', 'subject "CN=crawler.example", issuer "CN=others CA"', 'impostor']),
    'revoked': (on('agents', f'reqauth_crl {path("crl-revoked.pem")};'), own('revoked'), 'certificate_revoked', [
        'certificate revoked (23) at depth 0: the CRL of CN=agents CA of 20', ' names it; ', 'subject "CN=revoked.example"', 'revoked']),
    'too deep': (on('agents', 'reqauth_verify_depth 0;'), own('below'), 'unknown_ca', [
        'certificate chain too long (22) at depth 1, "CN=middle CA"; ', 'subject "CN=below.example", issuer "CN=middle CA"', 'below-alone']),
    'name of another client': (on(), [*own('framer'), *SHOWN], 'unknown_ca', ['client: 192.0.2.66', 'framer']),
    'hostile name': (on(), [*own('liar'), *SHOWN], 'unknown_ca', [
        r'subject "CN=x\22\2C issuer \22CN=agents CA\0A[alarm]", issuer "CN=others CA"', 'liar']),
    'no certificate': (on('agents', 'reqauth_missing fail;'), OFFERS, 'certificate_required', ['it presented no certificate', None]),
    'CRL that has run out': (on('agents', f'reqauth_crl {path("crl-ended.pem")};'), CRAWLER, 'internal_error', [
        'CRL has expired (12) at depth 0: the CRL of CN=agents CA ended 2020-01-02T00:00:00Z', "which is this server's to mend",
        'subject "CN=crawler.example"', 'crawler']),
    'no CRL': (on('ca.d', f'reqauth_crl {path("crl.pem")};'), own('partner'), 'internal_error', [
        'unable to get certificate CRL (3) at depth 0: no CRL of CN=partners CA can be used', 'subject "CN=partner.example"', 'partner']),
    'expired CA': (on('ended'), own('of-ended'), 'internal_error', [
        'certificate has expired (10) at depth 1, "CN=ended CA": the anchor CN=ended CA ended 2020-01-02T00:00:00Z', 'of-ended']),
}


@pytest.mark.parametrize('lines, options, alert, words', REFUSED.values(), ids=REFUSED)
def test_refused(lines, options, alert, words):
    """One line at nginx's own default level, with all of it, and none beside that alarms."""
    with Nginx(vhost('a.example', lines)) as nginx:
        meets(nginx, 'a.example', *options, status=1, line={'alert_received': alert})
        *words, who = words
        if who is not None:
            words += [f'serial {text_of_certificate(who, "-serial")}, SHA-256 {fingerprint(who)}, valid from 20', 'Z to 20']
        shown = [line for line in nginx.log().splitlines() if not re.search(r' \[(debug|info|notice|warn)\] ', line)]
        assert len(shown) == 1 and ' [error] ' in shown[0], nginx.log()
        for word in ['reqauth: refused a client with the flag, server name "a.example": ', ', client: 127.0.0.1', *words]:
            assert word in shown[0], (word, shown[0])
        assert refusals.banned(shown[0]) == '127.0.0.1'


def test_refused_without_a_server_name():
    with Nginx(vhost('a.example', on())) as nginx:
        run(CLIENT, '--connect', f'127.0.0.1:{nginx.port}', '--servername', '', '--ca', path('servers.pem'), *own('impostor'), *SHOWN)
        assert 'reqauth: refused a client with the flag, without a server name: ' in nginx.log()


def test_presented():
    """What came with `continue`: by names that no identity has, and without making one."""
    with Nginx(vhost('a.example', on(), 'reqauth_invalid continue;'), vhost('b.example', on())) as nginx:
        seen = meets(nginx, 'a.example', *own('impostor'), *SHOWN, outcome='accepted', reason='invalid', presented_subject='CN=crawler.example',
                     presented_issuer='CN=others CA', presented_serial=text_of_certificate('impostor', '-serial'),
                     presented_fingerprint=fingerprint('impostor'), presented_depth='0', presented_failed='CN=crawler.example', presented_because='',
                     **{**NO_AGENT, 'verify': 'FAILED:unable to get local issuer certificate'}, **NOBODY)
        assert re.fullmatch(r'20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ', seen.page['presented_not_after'])
        assert seen.page['presented_not_before'] < seen.page['presented_not_after']
        meets(nginx, 'a.example', *OFFERS, reason='empty', **NOTHING_PRESENTED)
        with Tunnel(nginx, 'a.example', 'impostor', 'presents') as tunnel:
            for host, subject in (('a.example', 'CN=crawler.example'), ('b.example', '')):
                assert tunnel.get(host)[0][1].get('presented_subject') == subject, host


def escaped(name):
    return urllib.parse.quote(octets_of(f'{name}.pem').decode(), safe='')


def x5t_s256(name):
    return base64.urlsafe_b64encode(bytes.fromhex(fingerprint(name))).decode().rstrip('=')


FORMATS = ('raw_cert', 'escaped_cert', 'x5t_s256', 'xfcc', 'customer_client_cert', 'customer_x5t_s256', 'customer_xfcc',
           'unvouched_client_cert', 'unvouched_escaped_cert', 'unvouched_x5t_s256')
IN_FORMATS = r'\n'.join(['outcome=$reqauth_outcome', 'reason=$reqauth_reason', 'subject=$reqauth_subject',
                         *(f'{each}=${{reqauth_{each}}}' for each in FORMATS), ''])
IN_NONE = dict.fromkeys(FORMATS, '')


def test_unvouched():
    """A self-signed certificate is nobody's word: it comes by its own names, to the host that takes it, and opens nothing."""
    openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', '/CN=crawler.example',
            '-days', '2', '-keyout', path('self.key'), '-out', path('self.pem'))
    alone = 'reqauth on; reqauth_unvouched on;'
    with Nginx(vhost('a.example', on(), 'reqauth_unvouched on;', says=IN_FORMATS), vhost('b.example', on(), says=IN_FORMATS),
               vhost('c.example', alone, says=IN_FORMATS)) as nginx:
        unvouched = IN_NONE | {'outcome': 'accepted', 'reason': 'invalid', 'subject': '', 'unvouched_x5t_s256': x5t_s256('self'),
                               'unvouched_escaped_cert': escaped('self'), 'unvouched_client_cert': client_cert('self')}
        for host in ('a.example', 'c.example'):
            meets(nginx, host, *own('self'), *SHOWN, **unvouched)
        meets(nginx, 'b.example', *own('self'), *SHOWN, status=1, line={'alert_received': 'unknown_ca'})
        meets(nginx, 'a.example', *CRAWLER, **{**IN_NONE, 'subject': 'CN=crawler.example', 'x5t_s256': x5t_s256('crawler'),
                                               'escaped_cert': escaped('crawler'), 'raw_cert': '-----BEGIN CERTIFICATE-----',
                                               'xfcc': f'Hash={fingerprint("crawler")};Cert="{escaped("crawler")}";'
                                                       'Subject="CN=crawler.example";DNS="crawler.example";URI="https://crawler.example/bot"'})
        meets(nginx, 'c.example', *CRAWLER, subject='', unvouched_x5t_s256=x5t_s256('crawler'))
        with Tunnel(nginx, 'a.example', 'self', 'presents') as tunnel:
            for host, thumbprint in (('a.example', x5t_s256('self')), ('b.example', ''), ('c.example', '')):
                assert tunnel.get(host)[0][1].get('unvouched_x5t_s256') == thumbprint, host


def test_certificate_of_a_customer():
    with Nginx(vhost('a.example', on(), f'ssl_verify_client optional; {CA}', says=IN_FORMATS)) as nginx:
        seen = curl(nginx, 'a.example', '--cert', path('customer.pem'), '--key', path('customer.key')).page
        assert seen['customer_x5t_s256'] == x5t_s256('customer') and seen['customer_client_cert'] == client_cert('customer')
        assert seen['customer_xfcc'].startswith(f'Hash={fingerprint("customer")};')
        assert seen['xfcc'] == seen['x5t_s256'] == seen['unvouched_x5t_s256'] == ''
        meets(nginx, 'a.example', *CRAWLER, customer_x5t_s256='', customer_client_cert='', customer_xfcc='', x5t_s256=x5t_s256('crawler'))
        assert curl(nginx, 'a.example').page['customer_client_cert'] == ''


def test_end_of_a_certificate_for_ever():
    leaf('device', '/CN=device', 'agents', 'DNS:device.example', dates=('20200101000000Z', '99991231235959Z'))
    with Nginx(vhost('a.example', on())) as nginx:
        meets(nginx, 'a.example', *own('device'), verify='SUCCESS', not_after='9999-12-31T23:59:59Z')


def test_inheritance():
    """http {} says it for all, and a server {} something else for itself. Files are relative to the configuration's directory."""
    with Nginx(vhost('a.example'), vhost('b.example', f'reqauth_trusted_certificate {path("partners.pem")}; reqauth_missing fail;'),
               vhost('c.example', 'reqauth off;'), http='reqauth on; reqauth_trusted_certificate agents.pem;', starts=False) as nginx:
        shutil.copy(path('agents.pem'), nginx.at('agents.pem'))
        nginx.start()
        meets(nginx, 'a.example', *CRAWLER, **AGENT)
        meets(nginx, 'b.example', *own('partner'), outcome='accepted', subject='CN=partner.example')
        meets(nginx, 'b.example', *CRAWLER, status=3, line={'alert_received': 'certificate_required', 'unmet': 'authorities'})
        meets(nginx, 'c.example', *CRAWLER, line={'requested': False}, **IGNORED)
        # It has the module's handlers too.
        assert nginx.says_generation() == 0, 'a server {} without TLS serves on'


def test_two_addresses():
    """They are two listeners: what is decided before the name may differ."""
    second = unused_port()
    with Nginx(vhost('a.example', on()), vhost('a.example', on('agents'), 'reqauth_flag 81; reqauth_session_age 0;', port=second)) as nginx:
        meets(nginx, 'a.example', *CRAWLER, **AGENT)
        meets(nginx, 'a.example', *CRAWLER, '--flag', '81', port=second, **AGENT)
        meets(nginx, 'a.example', *CRAWLER, port=second, **STRANGER)


def test_variables():
    """In map, log_format, limit_req and proxy_set_header; hostile names in all of them."""
    application = Application()
    http_level = '''
        map $reqauth_verify $kind { default people; SUCCESS agents; }
        map $reqauth_subject $known { default no; CN=crawler.example yes; ~CN=second\\. second; }
        limit_req_zone $reqauth_fingerprint zone=agents:1m rate=1r/m;
        log_format plain '$reqauth_outcome|$reqauth_subject|$reqauth_san_dns|$status';
        log_format json escape=json '{"outcome":"$reqauth_outcome","subject":"$reqauth_subject","san":"$reqauth_san_dns","verify":"$reqauth_verify"}';'''
    site = ('access_log logs-plain plain; access_log logs-json json; ' f'location /limited {{ limit_req zone=agents; limit_req_status 429; proxy_pass http://127.0.0.1:{application.port}; }} '
            r'location /kind { return 200 "kind=$kind\nknown=$known\n"; } ' + application.location())
    with Nginx(vhost('a.example', on(), site), http=http_level) as nginx:
        site_logs = [line for line in (nginx.lines('logs-plain'))]
        assert site_logs == [], 'no lines yet'
        meets(nginx, 'a.example', *CRAWLER, target='/kind', kind='agents', known='yes')
        person(nginx, 'a.example', target='/kind', kind='people', known='no')
        meets(nginx, 'a.example', *own('many'), san_dns='one.example,two.example', san_uri='https://one.example/')

        # Each agent has a limit of its own; who is none has none.
        for who, times, wanted in (('crawler', 3, ['200', '429', '429']), ('many', 2, ['200', '429'])):
            with Tunnel(nginx, 'a.example', who) as tunnel:
                statuses = [str(status) for _ in range(times) for status, _, _ in tunnel.get('a.example', target='/limited')]
                assert statuses == wanted, f'limit_req, {who}'
        for _ in range(4):
            person(nginx, 'a.example', target='/limited')

        seen = meets(nginx, 'a.example', *own('hostile'), outcome='accepted', verify='SUCCESS')
        for name in ('subject', 'san_dns'):
            assert (seen.page[name] and re.fullmatch(r'[\x20-\x7e]+', seen.page[name]) and
                    not set('"') & set(seen.page[name].replace('\\"', ''))), f'hostile names: {name} is printable'
        ran = visit_of(nginx, 'a.example', *own('hostile'), target='/app')
        fields = behind(ran.text.splitlines()[0])
        assert fields['x-agent'] == [seen.page['subject']], 'hostile names: one field of the application'
        assert set(fields) - {'host', 'connection', 'user-agent'} == {'client-cert', 'client-cert-chain', 'x-agent'}, 'hostile names: no field more'
        nginx.until(lambda: any('script' in line for line in nginx.lines('logs-json')) and  # written after the answer
                    len(nginx.lines('logs-plain')) == len(nginx.lines('logs-json')))
        lines = nginx.lines('logs-plain')
        assert lines and all(line.count('|') == 3 for line in lines), 'log_format: one line a request, of four fields'
        assert 'accepted|CN=crawler.example|crawler.example|200' in lines and 'not_offered|-|-|200' in lines, 'log_format: an agent and a person'
        parsed = [json.loads(line) for line in nginx.lines('logs-json')]
        assert len(parsed) == len(lines) and any(line['subject'] == seen.page['subject'] for line in parsed), 'log_format escape=json: each line is JSON, with the same text'

        # More than a header field should hold: none, said in the log.
        leaf('large', '/CN=large.example', 'agents', ','.join(f'DNS:{"x" * 60}.{"y" * 60}.{number}.example' for number in range(120)))
        meets(nginx, 'a.example', *own('large'), outcome='accepted', verify='SUCCESS',
              subject='CN=large.example', client_cert='', client_cert_chain='')
        assert 'too large for a header field' in nginx.log(), ('a certificate that is too large: the log says so', nginx.log()[-500:])


# ssl_verify_client beside reqauth: customers as ever, and no agent is one (RCA-14, SEC-7, SEC-8).
CA = f'ssl_client_certificate {path("customers.pem")};'
CHECKS_CUSTOMERS = '''location /customers { if ($ssl_client_verify = SUCCESS) { return 200 "door=open\\n"; } return 403 "door=shut\\n"; }
    location /if { if ($ssl_client_s_dn) { return 200 "name=$ssl_client_s_dn\\n"; } return 200 "name=none\\n"; }'''


def is_customer(nginx, name='a.example'):
    """A customer's certificate, from curl and, as the answer to a request without the flag, from our client."""
    person(nginx, name, *own('customer'), ssl_client_verify='SUCCESS', ssl_client_s_dn='CN=customer.example', **STRANGER)
    person(nginx, name, *own('customer'), target='/customers', door='open')
    meets(nginx, name, *PERSON, *other('customer'), line={'acknowledged': False, 'sent': 'other'},
          ssl_client_verify='SUCCESS', ssl_client_s_dn='CN=customer.example', **STRANGER)


def no_customer(nginx, *options, name='a.example', **wanted):
    meets(nginx, name, *options, **wanted)
    ran = visit_of(nginx, name, *options, target='/customers')
    assert ran.page.get('door') == 'shut', ran.text
    ran = visit_of(nginx, name, *options, target='/if')
    assert ran.page.get('name') == 'none', ran.text


@pytest.fixture(scope='module', params=['off', 'optional', 'optional_no_ca'])
def beside_customers(request, certificates):
    with Nginx(vhost('a.example', on(), f'ssl_verify_client {request.param}; {CA}', CHECKS_CUSTOMERS),
               vhost('b.example', on('agents', 'reqauth_invalid continue;'), f'ssl_verify_client {request.param}; {CA}', CHECKS_CUSTOMERS),
               http='ssl_session_cache shared:all:1m;') as nginx:
        nginx.verify = request.param
        yield nginx


@pytest.mark.parametrize('options, wanted', [
    pytest.param(CRAWLER, {'line': {'acknowledged': True, 'sent': 'flag'}, **AGENT}, id='an agent'),
    pytest.param(OFFERS, {'outcome': 'accepted', 'reason': 'empty', **NO_AGENT, **NOBODY}, id='nothing to show'),
    # A customer who is an agent as well comes as the agent.
    pytest.param([*CRAWLER, *other('customer')], AGENT, id="an agent with a customer's certificate")])
def test_agents_beside_customers(beside_customers, options, wanted):
    no_customer(beside_customers, *options, **wanted)


def test_agents_that_resume_beside_customers(beside_customers):
    visit_of(beside_customers, 'a.example', *CRAWLER, '--session-out', path('agent.session'))
    no_customer(beside_customers, *CRAWLER, *presenting('agent.session'), line={'resumed': True}, session='r', **{**AGENT, 'resumed': '1'})


@pytest.mark.parametrize('who', ['customer', 'impostor'])
def test_others_with_the_flag_beside_customers(beside_customers, who):
    meets(beside_customers, 'a.example', *own(who), *SHOWN, status=1, line={'alert_received': 'unknown_ca'})
    no_customer(beside_customers, *own(who), *SHOWN, name='b.example', line={'acknowledged': True, 'sent': 'flag'},
                outcome='accepted', reason='invalid', subject='', client_cert='', **NOBODY)


def test_people_beside_customers(beside_customers):
    nginx = beside_customers
    person(nginx, 'a.example', **STRANGER, **NOBODY)
    if nginx.verify == 'off':
        person(nginx, 'a.example', *own('customer'), **STRANGER, **NOBODY)
        return
    is_customer(nginx)
    # With the agents' certificate and without the flag.
    ran = curl(nginx, 'a.example', *CRAWLER)
    wanted = {'optional': ('400', None), 'optional_no_ca': ('200', 'FAILED:unable to verify the first certificate')}[nginx.verify]
    assert (ran.page['status'], ran.page.get('ssl_client_verify')) == wanted, ran.text
    ran = curl(nginx, 'a.example', *CRAWLER, target='/customers')
    assert ran.page['status'] in ('400', '403'), ran.text


@pytest.fixture(scope='module')
def requires_customers(certificates):
    """Whoever comes must have a certificate: the flag is ignored, unless the directive says otherwise."""
    with Nginx(vhost('a.example', on(), f'ssl_verify_client on; {CA}', CHECKS_CUSTOMERS),
               vhost('b.example', on(), f'ssl_verify_client on; reqauth_beside_required on; {CA}', CHECKS_CUSTOMERS),
               vhost('c.example', on('agents', 'reqauth_invalid continue;'), f'ssl_verify_client on; reqauth_beside_required on; {CA}')) as nginx:
        yield nginx


def test_customers_are_required(requires_customers):
    nginx = requires_customers
    is_customer(nginx)
    ran = visit_of(nginx, 'a.example', *CRAWLER)
    same(ran.line, requested=True, acknowledged=False, sent='empty')
    assert 'No required SSL certificate was sent' in ran.text, 'an agent gets nginx\'s own 400'
    meets(nginx, 'a.example', *CRAWLER, *other('customer'),
          line={'acknowledged': False, 'sent': 'other'}, ssl_client_verify='SUCCESS', ssl_client_s_dn='CN=customer.example', **IGNORED)


def test_beside_required(requires_customers):
    nginx = requires_customers
    is_customer(nginx, 'b.example')
    no_customer(nginx, *CRAWLER, name='b.example', **AGENT)
    visit_of(nginx, 'b.example', *CRAWLER, '--session-out', path('beside.session'))
    no_customer(nginx, *CRAWLER, *presenting('beside.session'), name='b.example', line={'resumed': True}, **{**AGENT, 'resumed': '1'})


@pytest.mark.parametrize('name, options', [
    pytest.param('b.example', OFFERS, id='nothing to show'), pytest.param('c.example', OFFERS, id='nothing to show, invalid continue'),
    pytest.param('c.example', own('impostor') + SHOWN, id='an impostor, invalid continue')])
def test_beside_required_without_an_agents(requires_customers, name, options):
    ran = visit_of(requires_customers, name, *options)
    assert '400 ' in ran.text and not ran.page, 'nginx\'s own 400'


@pytest.mark.parametrize('name', ['a.example', 'b.example', 'c.example'])
def test_people_where_customers_are_required(requires_customers, name):
    ran = curl(requires_customers, name)
    assert ran.page['status'] == '400' and 'No required SSL' in ran.text
    ran = curl(requires_customers, name, *CRAWLER)  # the agents' certificate without the flag
    assert ran.page['status'] == '400', ran.text


def test_ocsp():
    """With it nginx asks a responder about each customer; there is none here, and none for agents."""
    with Nginx(vhost('a.example', on(), f'ssl_verify_client optional; ssl_ocsp on; ssl_ocsp_responder http://127.0.0.1:9/; {CA}')) as nginx:
        for resumed in (False, True):
            meets(nginx, 'a.example', *CRAWLER, *keeping('ocsp.session'), line={'resumed': resumed}, **AGENT)
        ran = curl(nginx, 'a.example', *own('customer'))
        assert ran.page.get('status') == '400', ('a customer is looked up', ran.text)


CUSTOMERS_TOO, OTHERS_TOO = [f'ssl_verify_client optional; ssl_client_certificate {path(each)};' for each in ('customers.pem', 'others.pem')]
MISDIRECTED = [vhost('a.example www.a.example', on()), vhost('b.example', on(), 'http2_max_field_size 16k;'),
               vhost('c.example', on('agents', 'reqauth_misdirected 421;')), vhost('localhost', 'reqauth off; reqauth_misdirected 421;'),
               vhost('d.example', on(), CUSTOMERS_TOO)]
MIXED = {'outcome': 'misdirected', 'reason': 'misdirected'} | NO_AGENT | NOBODY | NOTHING_PRESENTED
HERE, THERE, NOT_HERE = {'status': '200', **AGENT}, {'status': '200', **MIXED}, {'status': '421'}


@pytest.mark.parametrize('name, who, asked', [
    pytest.param('a.example', 'crawler', {
        'a.example': {'host': 'a.example', **HERE}, 'www.a.example': {'host': 'a.example', **HERE}, 'b.example': {'host': 'b.example', **THERE},
        'c.example': NOT_HERE, 'localhost': NOT_HERE, 'd.example': NOT_HERE  # the last by nginx's own, of everybody
    }, id='an agent'),
    pytest.param('a.example', None, {
        **{host: {'status': '200', 'host': host, **STRANGER, **NOBODY} for host in ('a.example', 'b.example', 'c.example')}, 'd.example': NOT_HERE
    }, id='a person'),
    # An agent with a name that no server {} has, or none, is at the default one.
    *(pytest.param(name, 'crawler', {
        'unknown.example': {'host': 'a.example', **HERE}, 'a.example': {'host': 'a.example', **HERE}, 'b.example': {'host': 'b.example', **THERE},
        'c.example': NOT_HERE, 'd.example': NOT_HERE}, id=f'an agent of {name}') for name in ('-', '127.0.0.1'))])
@pytest.mark.parametrize('version', ['1.1', '2'])
def test_misdirected(version, name, who, asked):
    """A request whose Host names another server {} than the handshake chose: by HTTP/1.1 and HTTP/2."""
    h2 = version == '2'
    with Nginx(*[each.replace('ssl;', 'ssl http2;', 1) for each in MISDIRECTED]) as nginx, \
            Tunnel(nginx, name, who, *(['h2'] if h2 else [])) as tunnel:
        for host, wanted in asked.items():
            done = subprocess.run(['curl', '-sS', '--http2-prior-knowledge' if h2 else '--http1.1', '-w', '\\nstatus=%{http_code}\\nversion=%{http_version}\\n',
                                   '--connect-to', f'{host}:80:127.0.0.1:{tunnel.port}', '--max-time', str(PATIENCE), f'http://{host}/'],
                                  capture_output=True, stdin=subprocess.DEVNULL, timeout=PATIENCE)
            text = done.stdout.decode()
            for member, value in {'version': version, **wanted}.items():
                assert said(text).get(member) == value, (host, member, value, text + done.stderr.decode())


def test_misdirected_without_a_certificate():
    """A server {} without a certificate has the default one's, whose directives decided: it is another one, too."""
    without = f'server {{ listen 127.0.0.1:$PORT ssl; server_name c.example; location / {{ return 200 "{SAYS}"; }} }}'
    with Nginx(vhost('a.example', on(), CUSTOMERS_TOO), without) as nginx:
        meets(nginx, 'c.example', *CRAWLER, line={'acknowledged': True}, host='c.example', **MIXED)
        meets(nginx, 'a.example', *CRAWLER, host='a.example', **AGENT)


def test_misdirected_in_turns():
    """The same name and server {} on one connection."""
    with Nginx(*MISDIRECTED) as nginx, Tunnel(nginx, 'a.example') as tunnel:
        answers = tunnel.get('a.example', 'b.example', 'a.example')
        assert [(status, page['outcome']) for status, page, _ in answers] == [(200, 'accepted'), (200, 'misdirected'), (200, 'accepted')]


@pytest.mark.parametrize('at', ['-', 'a.example'])
def test_default_server_that_asks_customers(at):
    """An agent without a name gets in where it asks for no other."""
    with Nginx(vhost('a.example', on(), CUSTOMERS_TOO), vhost('b.example', on(), f'ssl_verify_client on; reqauth_beside_required on; {CA}')) as nginx, \
            Tunnel(nginx, at) as tunnel:
        status, page, text = tunnel.get('unknown.example' if at == '-' else at)[0]
        assert status == 200 and page.get('outcome') == 'accepted', text
        status, page, text = tunnel.get('b.example')[0]
        assert status in (400, 421) and not page, text


@pytest.mark.parametrize('version', ['http/1.1', 'h2'])
@pytest.mark.parametrize('verify', ['optional', 'optional_no_ca', 'on'])
def test_default_server_by_its_name(verify, version):
    """An agent without a name gets in where Host names the very server {} that it is at, though each asks customers."""
    lines = f'ssl_verify_client {verify}; reqauth_beside_required on; {CA}'
    with Nginx(*(vhost(f'{each}.example www.{each}.example', on(), lines, listen='ssl http2') for each in 'ab')) as nginx, \
            Tunnel(nginx, '-', 'crawler', *(['h2'] if version == 'h2' else [])) as tunnel:
        for name, wanted in ('a.example', '200'), ('www.a.example', '200'), ('unknown.example', '200'), ('b.example', '421'):
            ran = run('curl', '-s', *(['--http2-prior-knowledge'] if version == 'h2' else []), '-H', f'Host: {name}', '-w', 'status=%{http_code}\n',
                      f'http://127.0.0.1:{tunnel.port}/')
            page = said(ran.out)
            assert page['status'] == wanted and page.get('outcome') == ('accepted' if wanted == '200' else None), (name, ran.out)


def asked_host(host, module):
    lines = [f'ssl_verify_client {dict(none="off", require="on").get(host.asks, host.asks)}; {CA}']
    if module:
        lines += [f'reqauth {"on" if host.on else "off"}; reqauth_trusted_certificate {path(host.ca)}.pem; reqauth_invalid continue;',
                  f'reqauth_beside_required {host.beside}; reqauth_misdirected {host.misdirected};']
    says = ('$reqauth_outcome|$reqauth_verify|$reqauth_subject|' if module else '|||') + f'$ssl_client_verify|{host.name}'
    doors = [f'location /{door} {{ if ({shut}) {{ return 403; }} return 200 "{says}"; }}' for door, shut in
             (('customers', '$ssl_client_verify != SUCCESS'), ('by-name', '$ssl_client_s_dn = ""'))]
    return vhost(' '.join((host.name, *host.aliases)), *lines, *doors, certificate='hosts', says=says, listen='ssl http2')


class Rules:
    no_certificate = 400

    @staticmethod
    def turned_away(name, there, asked, here):
        """Where customers are asked, nginx answers 421 to each name but that of the handshake; to an agent also where that had none."""
        settled = name in standing.BY_NAME
        return here.asks != standing.NONE and (asked != name if settled else here is not there)


@pytest.fixture(scope='module')
def asked_hosts(certificates):
    leaf('hosts', '/CN=first.example', 'servers', standing.certificate_names())
    hash_sizes = 'server_names_hash_bucket_size 128;'
    with Nginx(*[asked_host(host, True) for host in standing.HOSTS], http=hash_sizes) as nginx, \
            Nginx(*[asked_host(host, False) for host in standing.HOSTS], http=hash_sizes, module=False) as plain:
        yield nginx, plain


@standing.table
def test_asked_hosts(asked_hosts, version, name):
    """The table of tests/modules/standing.py."""
    standing.check(version, name, *asked_hosts, ('/customers', '/by-name'), Rules)


@pytest.fixture
def with_http2(certificates):
    with Nginx(vhost('a.example localhost', on(), f'{CUSTOMERS_TOO} access_log streams kept;', listen='ssl http2'),
               http="log_format kept '$connection $server_protocol $reqauth_subject $ssl_client_verify $status';") as nginx:
        yield nginx


@pytest.mark.skipif(not os.path.exists(built('examples/embeddings/curl-multi')), reason='curl-multi is not built')
def test_http2_streams(with_http2):
    """Many streams at one time on one connection, which was authenticated once."""
    nginx = with_http2
    ran = run(built('examples/embeddings/curl-multi'), '1', path('servers.pem'), path('crawler.pem'), path('crawler.key'),
              *[f'https://localhost:{nginx.port}/'] * 40)
    nginx.until(lambda: len(nginx.lines('streams')) >= 40)  # each is written after its answer
    lines = [line.split() for line in nginx.lines('streams')]
    assert ran.status == 0 and len(lines) == 40, (ran.out, ran.err)
    assert len({line[0] for line in lines}) == 1, 'one connection'
    assert {tuple(line[1:]) for line in lines} == {('HTTP/2.0', 'CN=crawler.example', 'NONE', '200')}


def test_http2_people(with_http2):
    person(with_http2, 'a.example', '--http2', *own('customer'), ssl_client_verify='SUCCESS', **STRANGER)
    person(with_http2, 'a.example', '--http2', **STRANGER)


def test_certificates():
    """Certificates that the connection's name chooses, and a default server {} that refuses to speak."""
    chosen = f'ssl_certificate {home.name}/$ssl_server_name.pem; ssl_certificate_key {home.name}/$ssl_server_name.key;'

    def by_name(name, *lines):
        return f'''server {{ listen 127.0.0.1:$PORT ssl; server_name {name}; {chosen} {' '.join(lines)}
            location / {{ return 200 "{SAYS}"; }} }}'''

    refuses = 'server { listen 127.0.0.1:$PORT ssl default_server; server_name _; ssl_reject_handshake on; }'
    with Nginx(refuses, by_name('a.example', on()), by_name('b.example', on('partners'))) as nginx:
        for resumed in (False, True):
            meets(nginx, 'a.example', *CRAWLER, *keeping('variable.session'), line={'resumed': resumed},
                  **{**AGENT, 'resumed': str(int(resumed))})
        meets(nginx, 'b.example', *own('partner'), outcome='accepted', subject='CN=partner.example')
        person(nginx, 'b.example', **STRANGER)
        for options in (CRAWLER, []):
            ran = visit_of(nginx, 'c.example', *options)
            assert ran.status == 1 and ran.line['alert_received'] == 'unrecognized_name', ('ssl_reject_handshake refuses as ever', ran.text)


@pytest.mark.parametrize('options, early', [(CRAWLER, 'none'), (PERSON, 'accepted')], ids=['an agent', 'a person'])
def test_early_data(options, early):
    """0-RTT: nginx serves it before the handshake ends, so an agent's session takes none; a person's is as ever."""
    with Nginx(vhost('a.example', on(), 'ssl_early_data on; location /early { return 200 "early outcome=$reqauth_outcome\\n"; }')) as nginx:
        visit_of(nginx, 'a.example', *options, '--session-out', path('early.session'))
        seen = visit_of(nginx, 'a.example', *options, *presenting('early.session'), '--early-data', 'GET /early HTTP/1.1\r\nHost: a.example\r\n\r\n')
        same(seen.line, ok=True, resumed=True, early_data=early)
        if early == 'accepted':
            assert 'early outcome=not_offered' in seen.text, 'it is answered'
        else:
            assert seen.page.get('subject') == 'CN=crawler.example', ('the request after the handshake is the agent\'s', seen.text)


# An answer to an agent is an agent's: what docs/nginx.md says of caches, with one in between; and nginx -t warns.
ZONES = ' '.join(f'{kind}_cache_path {path(kind)} keys_zone={kind}:1m;' for kind in ('proxy', 'fastcgi', 'uwsgi', 'scgi'))


@pytest.mark.parametrize('lines', [
    '', 'proxy_cache_key $scheme$proxy_host$request_uri$reqauth_fingerprint;',
    'proxy_no_cache $reqauth_fingerprint; proxy_cache_bypass $reqauth_fingerprint;'], ids=['neither', 'a key', 'left out'])
def test_cache(lines):
    passes = f'proxy_pass http://127.0.0.1:{Application().port}; proxy_cache_valid any 1m; proxy_set_header X-Agent $reqauth_subject;'
    shutil.rmtree(path('proxy'), ignore_errors=True)
    with Nginx(vhost('a.example', on(), f'location /app {{ {passes} proxy_cache proxy; {lines} }}'), http=ZONES) as nginx:
        def sees(seen):
            return dict(json.loads(seen.text.splitlines()[0])['fields']).get('x-agent')

        def agent(name='crawler'):
            return sees(visit_of(nginx, 'a.example', *own(name), target='/app'))
        for _ in range(2):
            assert agent() == 'CN=crawler.example', 'an agent gets its own'
        # Without the lines it goes to people: this test sees it.
        for _ in range(2):
            assert (sees(curl(nginx, 'a.example', target='/app')) is None) == bool(lines), 'what a person gets of it'
        assert agent() == 'CN=crawler.example'
        if lines:
            assert agent('many') == 'CN=many.example', 'another agent gets its own'


def warned(*servers, http=''):
    """The warnings of nginx -t, and the places that they have to name: lines with HERE."""
    nginx = Nginx(*servers, http=f'\n{ZONES}\n{http}', starts=False)
    said = nginx.test()
    assert said.status == 0, said.err
    rows = octets_of(nginx.at('nginx.conf')).decode().splitlines()
    return ([line for line in said.err.splitlines() if '[warn] reqauth: ' in line],
            [f' in {nginx.at("nginx.conf")}:{at}' for at, row in enumerate(rows, 1) if 'HERE' in row])


def passing_on(kind):
    return 'proxy_pass http://127.0.0.1:9;' if kind == 'proxy' else f'{kind}_pass 127.0.0.1:9;'


def cached(kind, *lines, before='', reqauth=on()):
    """A server {} whose location passes on; before it stands `before`."""
    has_key = kind == 'proxy' or any('_cache_key' in each for each in (before, *lines))
    key = '' if has_key else f'{kind}_cache_key $request_uri;'
    return vhost('a.example', reqauth, before.replace('KIND', kind), f'location /x {{ {passing_on(kind)} {key}\n',
                 *(each.replace('KIND', kind) for each in lines), '\n}')


HERE_CACHED = 'KIND_cache KIND; # HERE\n'
UNSAFE = {
    'nothing more': ((HERE_CACHED,), {}),
    'a key': ((HERE_CACHED, 'KIND_cache_key $host$request_uri$reqauth_subject$reqauth_outcome;'), {}),
    'bypassed alone': ((HERE_CACHED, 'KIND_cache_bypass $reqauth_fingerprint;'), {}),
    'left out by other things': ((HERE_CACHED, 'KIND_no_cache $cookie_a $reqauth_subject;'), {}),
    'of the server {}': ((), {'before': f'\n{HERE_CACHED}'}),
    'in a location within': (('location /x/y { PASS\n', HERE_CACHED, '}'), {}),
    'a zone by variable': (('KIND_cache $host; # HERE\n',), {}),
}
SAFE = {
    'no cache': ((), {}),
    'off': (('KIND_cache off;',), {'before': HERE_CACHED}),
    'a key': ((HERE_CACHED, 'KIND_cache_key $request_uri$reqauth_fingerprint;'), {}),
    'a key in braces': ((HERE_CACHED, 'KIND_cache_key "${request_uri}:${reqauth_verify}";'), {}),
    'a key of the server {}': ((HERE_CACHED,), {'before': 'KIND_cache_key $request_uri$reqauth_fingerprint;'}),
    'left out': ((HERE_CACHED, 'KIND_no_cache $cookie_a $reqauth_fingerprint;'), {}),
    'left out, twice': ((HERE_CACHED, 'KIND_no_cache $reqauth_fingerprint; KIND_no_cache $cookie_a;'), {}),
    'reqauth off': ((HERE_CACHED,), {'reqauth': 'reqauth off;'}),
}
each_kind = pytest.mark.parametrize('kind', ['proxy', 'fastcgi', 'uwsgi', 'scgi'])


@each_kind
@pytest.mark.parametrize('lines, how', UNSAFE.values(), ids=UNSAFE)
def test_unsafe_cache(kind, lines, how):
    """One warning, with its line."""
    found, places = warned(cached(kind, *(each.replace('PASS', passing_on(kind)) for each in lines), **how))
    assert len(found) == 1 and found[0].endswith(places[0])
    assert f'{kind}_cache_key' in found[0] and '$reqauth_fingerprint' in found[0]


@each_kind
def test_unsafe_cache_of_http(kind):
    found, places = warned(cached(kind), cached(kind).replace('a.example', 'b.example'), http=HERE_CACHED.replace('KIND', kind))
    assert len(found) == 1 and found[0].endswith(places[0])


@each_kind
@pytest.mark.parametrize('lines, how', SAFE.values(), ids=SAFE)
def test_safe_cache(kind, lines, how):
    assert warned(cached(kind, *lines, **how))[0] == []


@each_kind
def test_cache_that_nothing_uses(kind):
    assert warned(vhost('a.example', on(), HERE_CACHED.replace('KIND', kind)))[0] == []


def test_caches_of_configurations():
    """One that does not load, and others after it: each is read as the first."""
    with Nginx(cached('proxy', 'proxy_cache proxy;'), http=ZONES) as nginx:
        for bad in (True, False):
            nginx.configure(cached('proxy', 'proxy_cache proxy;'), http=ZONES + (' nonsense on;' if bad else ''))
            before = nginx.log().count('\n')
            nginx.process.send_signal(signal.SIGHUP)
            nginx.until(lambda: any(('unknown directive' if bad else 'gives agents') in line for line in nginx.log().splitlines()[before:]))
        nginx.reload(cached('proxy', 'proxy_cache proxy;', reqauth='reqauth off;'), http=ZONES)
        nginx.forget_log()  # its [emerg] line was wanted


STORES = {
    'tickets': '',
    'a ticket key': f'ssl_session_ticket_key {path("ticket.key")};',
    'a shared cache': 'ssl_session_cache shared:all:2m; ssl_session_tickets off;',
    'a shared cache and tickets': 'ssl_session_cache shared:all:2m;',
    'a shared cache and a ticket key': f'ssl_session_cache shared:all:2m; ssl_session_ticket_key {path("ticket.key")};',
}
each_store = pytest.mark.parametrize('store', STORES)


@functools.cache
def lasting():
    """nginx makes new ticket keys with each configuration. What is in a file or a shared cache stays; since 1.23.2 the latter has
    ticket keys too."""
    said = subprocess.run([servers.found('nginx'), '-v'], capture_output=True).stderr.decode()
    since = tuple(map(int, re.search(r'nginx/(\d+)\.(\d+)\.(\d+)', said).groups())) >= (1, 23, 2)
    return ('a ticket key', 'a shared cache', 'a shared cache and a ticket key', *(['a shared cache and tickets'] if since else []))


def keep(name):
    return ['--session-out', path(name)]


def resumes(nginx, name, session, *options, again, **wanted):
    meets(nginx, name, *options, *presenting(session), line={'resumed': again}, session='r' if again else '.', **wanted)


def session_hosts(a=on('agents'), b=on('both')):
    return [vhost('a.example', a), vhost('b.example', b), vhost('c.example', on('agents')), vhost('localhost', 'reqauth off;')]


@pytest.fixture
def keeps_sessions(store, certificates):
    """At its host an agent has the session `agent`, a person the session `person`."""
    with Nginx(*session_hosts(), http=STORES[store], workers=2 if store in lasting() else 1) as nginx:
        meets(nginx, 'a.example', *CRAWLER, *keep('agent'), line={'resumed': False}, **{**AGENT, 'resumed': '0'})
        meets(nginx, 'a.example', *PERSON, *keep('person'), line={'resumed': False}, **STRANGER)
        yield nginx


@each_store
def test_sessions(keeps_sessions):
    """Resumption at one host and across hosts, flagged and not: nothing crosses."""
    nginx = keeps_sessions
    for _ in range(3):  # each gives the next ticket
        meets(nginx, 'a.example', *CRAWLER, *presenting('agent'), *keep('agent'), line={'resumed': True},
              client_cert=client_cert('crawler'), client_cert_chain='', **{**AGENT, 'resumed': '1'})
    resumes(nginx, 'a.example', 'person', *PERSON, again=True, **STRANGER)
    for host in ('b.example', 'c.example'):
        resumes(nginx, host, 'agent', *CRAWLER, again=False, outcome='accepted', subject='CN=crawler.example')
        resumes(nginx, host, 'agent', *OFFERS, again=False, outcome='accepted', reason='empty', **NO_AGENT)
    resumes(nginx, 'localhost', 'agent', *CRAWLER, again=False, **IGNORED, **NOBODY)
    for host in ('a.example', 'b.example', 'localhost'):
        resumes(nginx, host, 'agent', *PERSON, again=False, **STRANGER, **NOBODY)
        resumes(nginx, host, 'person', *CRAWLER, again=False, subject='' if host == 'localhost' else 'CN=crawler.example')


@each_store
def test_sessions_after_a_reload(keeps_sessions, store):
    nginx, lines, stays = keeps_sessions, STORES[store], store in lasting()
    nginx.reload(*session_hosts(), http=lines)
    resumes(nginx, 'a.example', 'agent', *CRAWLER, again=stays, **AGENT)
    resumes(nginx, 'a.example', 'person', *PERSON, again=stays, **STRANGER)
    # With other trust, at this host or at another: agents are verified anew, people are no concern of it.
    for others in (session_hosts(a=on('both')), session_hosts(b=on('partners'))):
        meets(nginx, 'a.example', *CRAWLER, *keep('agent'))
        nginx.reload(*others, http=lines)
        resumes(nginx, 'a.example', 'agent', *CRAWLER, again=False, **AGENT)
        resumes(nginx, 'a.example', 'person', *PERSON, again=stays, **STRANGER)
        nginx.reload(*session_hosts(), http=lines)
    meets(nginx, 'a.example', *CRAWLER, *keep('agent'))
    meets(nginx, 'a.example', *own('ends'), *keep('ends'))
    nginx.reload(*session_hosts(a=on('agents', f'reqauth_crl {path("crl-ends.pem")};')), http=lines)
    ran = visit_of(nginx, 'a.example', *own('ends'), *presenting('ends'))
    assert ran.status == 1 and ran.line['alert_received'] == 'certificate_revoked', ('one that is revoked meanwhile', ran.text)
    nginx.reload(*session_hosts(a='reqauth off;'), http=lines)
    resumes(nginx, 'a.example', 'agent', *CRAWLER, again=False, **IGNORED, **NOBODY)


@each_store
def test_cve_2025_23419(store):
    """A customer of one host at another, by a session; and an agent."""
    with Nginx(vhost('a.example', on('agents'), CUSTOMERS_TOO), vhost('b.example', on('partners'), OTHERS_TOO), http=STORES[store]) as nginx:
        meets(nginx, 'a.example', *PERSON, *other('customer'), *keep('customer'), ssl_client_verify='SUCCESS')
        meets(nginx, 'a.example', *PERSON, *presenting('customer'), line={'resumed': True}, ssl_client_verify='SUCCESS')
        meets(nginx, 'a.example', *CRAWLER, *keep('agent'), **AGENT)
        for session in ('customer', 'agent'):
            for options in (PERSON, OFFERS, CRAWLER):
                ran = visit_of(nginx, 'b.example', *options, *presenting(session))
                assert (ran.page.get('ssl_client_verify', 'NONE'), ran.page.get('verify', 'NONE')) == ('NONE', 'NONE'), ran.text
                assert not ran.page.get('subject'), ran.text
        for options in (OFFERS, CRAWLER):
            meets(nginx, 'a.example', *options, *presenting('customer'), line={'resumed': False}, **NOBODY)
        meets(nginx, 'a.example', *PERSON, *presenting('agent'), line={'resumed': False}, **STRANGER, **NOBODY)


def test_session_age_0():
    with Nginx(vhost('a.example', on('agents', 'reqauth_session_age 0;'))) as nginx:
        ran = run(CLIENT, '--connect', f'127.0.0.1:{nginx.port}', '--servername', 'a.example', '--ca', path('servers.pem'), *CRAWLER, '--get', '/', *keep('none'))
        assert 'gave no session' in ran.err


class Load:
    """Keep-alive connections that ask for pages as long as nginx reloads, and until so many are served. With a tunnel half
    of them are agents."""

    def __init__(self, nginx, tunnel, connections, requests):
        self.nginx, self.tunnel, self.least, self.reloading = nginx, tunnel, requests, True
        self.count, self.served, self.retried, self.lost, self.opened = connections, 0, 0, [], 0
        self.context = ssl.create_default_context(cafile=path('servers.pem'))

    async def open(self, agent):
        self.opened += 1
        if agent:
            return await asyncio.open_connection('127.0.0.1', self.tunnel.port)
        return await asyncio.open_connection('127.0.0.1', self.nginx.port, ssl=self.context, server_hostname='a.example')

    async def one(self, number):
        """A connection. It opens another only where the server has ended the last one between two answers."""
        agent, streams, fresh = self.tunnel is not None and number % 2 == 0, None, True
        wanted = 'CN=crawler.example' if agent else ''
        while self.reloading or self.served < self.least:
            for attempt in range(5):
                try:
                    if streams is not None and streams[0].at_eof():
                        streams[1].close()
                        streams = None
                    if streams is None:
                        streams, fresh = await self.open(agent), True
                    got = await asyncio.wait_for(self.ask(streams), PATIENCE)
                except (OSError, asyncio.TimeoutError, ValueError) as error:
                    got = f'{type(error).__name__}: {error}'
                if isinstance(got, dict):
                    if got.get('subject') != wanted or got.get('end') != 'yes':
                        self.lost.append((number, got))
                    self.served += 1
                    fresh = False
                    if got['closes']:
                        streams[1].close()
                        streams = None
                    break
                if streams is not None:
                    streams[1].close()
                    streams = None
                # RFC 9112, 9.3.1: a connection that was idle may end while a request is on its way. If no octet of an answer
                # came, the client sends it again on another. On a new connection there is no such excuse.
                if got != 'nothing' or fresh:
                    self.lost.append((number, fresh, got))
                    break
                self.retried += 1
            await asyncio.sleep(random.uniform(0, 0.3))
        if streams is not None:
            streams[1].close()

    async def ask(self, streams):
        reader, writer = streams
        writer.write(b'GET / HTTP/1.1\r\nHost: a.example\r\n\r\n')
        try:
            first = await reader.readline()
        except ConnectionError:
            first = b''
        if not first:
            return 'nothing'
        if b' 200 ' not in first:
            return first
        length, closes = None, False
        while (line := (await reader.readline()).lower()) not in (b'\r\n', b''):
            if line.startswith(b'content-length:'):
                length = int(line.split(b':')[1])
            closes = closes or line.startswith(b'connection: close')
        return {**said((await reader.readexactly(length)).decode()), 'closes': closes}

    async def all(self, reloads):
        clients = [asyncio.create_task(self.one(number)) for number in range(self.count)]
        for number in range(reloads):
            served = self.served
            await asyncio.get_running_loop().run_in_executor(None, self.reload, number)
            while self.served < served + self.count // 2 and not all(each.done() for each in clients):
                await asyncio.sleep(0.01)
        self.reloading = False
        await asyncio.gather(*clients)

    def reload(self, number):
        self.nginx.reload(*self.servers(self.tunnel is not None), http='ssl_session_cache shared:all:2m;')

    @staticmethod
    def servers(module=True):
        ticket_key = f'ssl_session_ticket_key {path("ticket.key")};'
        says = r'subject=$reqauth_subject\nend=yes\n' if module else r'subject=\nend=yes\n'
        return [vhost('a.example', on() if module else '', ticket_key, says=says)]


@pytest.mark.parametrize('module', [True, False], ids=['half of them agents', 'without the module'])
def test_reloads(module):
    """2,000 requests and more on 100 connections during 20 reloads; and the same of people, without the module."""
    with contextlib.ExitStack() as ends:
        nginx = ends.enter_context(Nginx(*Load.servers(module), http='ssl_session_cache shared:all:2m;', workers=2, module=module))
        tunnel = ends.enter_context(Tunnel(nginx, 'a.example', 'crawler', 'resume')) if module else None
        load = Load(nginx, tunnel, 100, 2000)
        asyncio.run(load.all(20))
        assert nginx.generation == 20 and nginx.log().count('signal 1 (SIGHUP) received from') >= 20, nginx.log()[-500:]
        assert not load.lost, load.lost[:5]
        assert load.served >= 2000
    print(f'{load.served} requests on 100 connections, {load.opened} handshakes, 20 reloads, '
          f'{load.retried} sent again since an idle connection had ended')


def test_upgrade():
    """A new binary by SIGUSR2, and the old one away by SIGQUIT: sessions and service go on."""
    ticket_key = f'ssl_session_ticket_key {path("ticket.key")};'
    nginx = Nginx(vhost('a.example', on(), ticket_key), starts=False)
    # nginx takes SIGUSR2 only if the process that started it is gone.
    shell = subprocess.Popen(['sh', '-c', '"$@" & read line', 'sh', *nginx.command()], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        nginx.process = subprocess.Popen(['sleep', '1000'])  # stands for it in until()

        def pid_in(name):
            with contextlib.suppress(FileNotFoundError, ValueError), open(nginx.at(name)) as file:
                return int(file.read())

        def is_there(pid):
            with contextlib.suppress(FileNotFoundError), open(f'/proc/{pid}/stat') as file:
                return file.read().rsplit(')', 1)[1].split()[0] != 'Z'
            return False

        nginx.until(lambda: nginx.says_generation() == 0 and pid_in('nginx.pid'))
        old = pid_in('nginx.pid')
        shell.stdin.close()
        shell.wait(PATIENCE)
        meets(nginx, 'a.example', *CRAWLER, '--session-out', path('upgrade.session'), **AGENT)
        with Tunnel(nginx, 'a.example') as tunnel, socket.create_connection(('127.0.0.1', tunnel.port), timeout=PATIENCE) as long, long.makefile('rb') as file:
            request = b'GET / HTTP/1.1\r\nHost: a.example\r\n\r\n'
            long.sendall(request)
            assert answer_of(file)[1]['subject'] == 'CN=crawler.example', 'a connection before it'
            os.kill(old, signal.SIGUSR2)
            nginx.until(lambda: pid_in('nginx.pid') not in (None, old) and pid_in('nginx.pid.oldbin') == old and 'start worker process' in
                        nginx.log().split('changing binary')[-1])
            long.sendall(request)
            assert answer_of(file)[1]['subject'] == 'CN=crawler.example', 'the connection goes on'
            os.kill(old, signal.SIGQUIT)
            nginx.until(lambda: not is_there(old))
        new = pid_in('nginx.pid')
        assert new != old and is_there(new), 'another process serves'
        meets(nginx, 'a.example', *CRAWLER, *presenting('upgrade.session'), line={'resumed': True}, **AGENT)
        meets(nginx, 'a.example', *CRAWLER, line={'resumed': False}, **AGENT)
        person(nginx, 'a.example', **STRANGER)
        assert not re.search(r'\[(alert|emerg|crit)\]|exited on signal', nginx.log()), ('nothing bad in the log', nginx.log()[-2000:])
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)
        nginx.process.kill()
        nginx.process.wait(PATIENCE)


def messages(nginx, *options, session=None):
    """The handshake messages of a server, as openssl s_client sees them: name and octets, each."""
    done = subprocess.run(['openssl', 's_client', '-connect', f'127.0.0.1:{nginx.port}', '-servername', 'a.example', '-CAfile', path('servers.pem'),
                           '-msg', '-ign_eof', *options], input=b'GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n', capture_output=True, timeout=PATIENCE)
    text, found = done.stdout.decode(errors='replace'), []
    for block in re.finditer(r'^<<< (TLS [^\n]*)\n((?:    (?: ?[0-9a-f]{2})+\n)*)', text, re.M):
        head = re.sub(r'\[length [0-9a-f]+\]', '', block[1])
        if 'Handshake' in head or 'ChangeCipherSpec' in head or 'Alert' in head:
            found.append((head.split(', ')[-1], bytes.fromhex(block[2].replace('\n', ''))))
    assert 'outcome' in text or 'hello' in text, ('the page came', text[-500:])
    return found


def comparable(name, octets):
    """What has to be equal: all of a message but its random numbers, keys, signatures and secrets, which count by length."""
    if name == 'ServerHello':
        after = 4 + 2 + 32
        extensions, offset = [], after + 1 + octets[after] + 3 + 2
        while offset < len(octets):
            kind, size = int.from_bytes(octets[offset:offset + 2], 'big'), int.from_bytes(octets[offset + 2:offset + 4], 'big')
            extensions.append((kind, size))
            offset += 4 + size
        return octets[:6], octets[after + 1 + octets[after]:after + 4 + octets[after]], extensions
    if name in ('EncryptedExtensions', 'Certificate', 'CertificateRequest', 'ServerHelloDone', 'ChangeCipherSpec'):
        return octets
    if name == 'NewSessionTicket':
        return octets[:1], octets[4:8] if len(octets) > 8 else b''  # the ticket's length follows the time in it
    return octets[:1], len(octets)


WAYS = {
    'TLS 1.3': ('', []),
    'TLS 1.2': ('', ['-tls1_2']),
    'ALPN': ('', ['-alpn', 'http/1.1']),
    'HelloRetryRequest': ('ssl_ecdh_curve secp384r1;', ['-groups', 'X25519:P-384']),
    'customers are asked': (CUSTOMERS_TOO, []),
    'a customer': (CUSTOMERS_TOO, ['-cert', path('customer.pem'), '-key', path('customer.key')]),
    'everybody is asked': (f'ssl_verify_client on; {CA}', ['-cert', path('customer.pem'), '-key', path('customer.key')]),
    'no tickets': ('ssl_session_tickets off;', []),
}


@pytest.fixture(scope='module')
def steady(certificates):
    leaf('steady', '/CN=a.example', 'steady', 'DNS:a.example', RSA)  # its signatures have one length


@pytest.mark.parametrize('lines, options', WAYS.values(), ids=WAYS)
def test_unflagged(steady, lines, options):
    """For clients without the flag: the same messages with and without the module."""
    seen = []
    for module in (False, True):
        with Nginx(vhost('a.example', on() if module else '', lines, says='hello', certificate='steady'), module=module) as nginx:
            once = messages(nginx, '-CAfile', path('steady.pem'), '-sess_out', path('wire.session'), *options)
            again = messages(nginx, '-CAfile', path('steady.pem'), '-sess_in', path('wire.session'), *options)
            seen.append([once, again])
    for without, with_module in zip(*seen):
        names = [name for name, _ in without]
        assert names == [name for name, _ in with_module] and 'ServerHello' in names, 'the same messages'
        for (name, one), (_, another) in zip(without, with_module):
            assert comparable(name, one) == comparable(name, another), ('the same octets', name, one.hex(), another.hex())


def test_unflagged_is_compared(steady):
    """The comparison would see it: another list of CAs, and a request."""
    with Nginx(vhost('a.example', CUSTOMERS_TOO, says='hello', certificate='steady')) as one, \
            Nginx(vhost('a.example', f'ssl_verify_client optional; ssl_client_certificate {path("both.pem")};', says='hello', certificate='steady')) as another:
        differ = [(dict(messages(each, '-CAfile', path('steady.pem')))) for each in (one, another)]
        assert len({comparable('CertificateRequest', each['CertificateRequest']) for each in differ}) == 2


def test_unflagged_costs():
    """How fast each is, without the module and with it."""
    def processor(nginx):
        """Seconds that the worker has computed."""
        with open(f'/proc/{nginx.children()[0]}/stat') as file:
            return sum(map(int, file.read().rsplit(')', 1)[1].split()[11:13])) / os.sysconf('SC_CLK_TCK')

    def handshakes(nginx):
        context = ssl.create_default_context(cafile=path('servers.pem'))
        for _ in range(200):
            with context.wrap_socket(socket.create_connection(('127.0.0.1', nginx.port)), server_hostname='a.example'):
                pass
        return 200

    def requests(nginx):
        context = ssl.create_default_context(cafile=path('servers.pem'))
        with context.wrap_socket(socket.create_connection(('127.0.0.1', nginx.port)), server_hostname='a.example') as connection, connection.makefile('rb') as file:
            for _ in range(100):
                connection.sendall(b'GET / HTTP/1.1\r\nHost: a.example\r\n\r\n' * 50)
                for _ in range(50):
                    answer_of(file)
        return 5000

    with Nginx(vhost('a.example', says='hello'), module=False) as without, Nginx(vhost('a.example', on(), says='hello')) as with_module:
        for what, make in (('handshakes', handshakes), ('requests', requests)):
            done, wall, cpu = [0, 0], [0, 0], [0, 0]
            for _ in range(4):  # in turns, since the machine does other things too
                for which, nginx in enumerate((without, with_module)):
                    began, computed = time.monotonic(), processor(nginx)
                    done[which] += make(nginx)
                    wall[which] += time.monotonic() - began
                    cpu[which] += processor(nginx) - computed
            assert min(done) > 0, f'{what} are made'
            rates = [count / seconds for count, seconds in zip(done, wall)]
            print(f'{what} per second: {rates[0]:.0f} without the module, {rates[1]:.0f} with it, ratio {rates[1] / rates[0]:.2f}; '
                  f'nginx computes {1e6 * cpu[0] / done[0]:.0f} and {1e6 * cpu[1] / done[1]:.0f} microseconds for each')


# Wrong configurations: nginx -t fails with a line that says where and what to do, and a reload leaves the old one in force.
ASKS_BOTS = f'ssl_client_certificate {path("agents.pem")}; ssl_verify_client optional;'
TRUSTED = f'reqauth_trusted_certificate {path("agents.pem")};'


def one(*lines, **how):
    return [vhost('a.example', '\n'.join(['', *lines, '']), **how)]


# Each with the text of the line that is to be named, and words of the message.
WRONG = {
    'no CA': (one('reqauth on;'), 'reqauth on;', ['reqauth_trusted_certificate: no CA of agents is given', 'name a PEM file']),
    'a missing CA file': (one('reqauth on;', 'reqauth_trusted_certificate missing.pem;'), 'missing.pem;', ['reqauth_trusted_certificate: ', '/missing.pem', 'No such file']),
    'a missing CA file, in http {}': (one('reqauth on;'), 'absent.pem;', ['/absent.pem'], 'reqauth_trusted_certificate absent.pem;'),
    'a missing CA file where the flag is ignored': (one('reqauth on;', 'reqauth_trusted_certificate missing.pem;', f'ssl_verify_client on; ssl_client_certificate {path("customers.pem")};'),
                                                    'missing.pem;', ['/missing.pem']),
    'an empty CA file': (one('reqauth on;', f'reqauth_trusted_certificate {path("empty.pem")};'), '/empty.pem;', ['empty.pem', 'no certificate']),
    'a CA file that is none': (one('reqauth on;', f'reqauth_trusted_certificate {path("noise.pem")};'), '/noise.pem;', ['noise.pem', 'no certificate']),
    'a CA file with a broken certificate': (one('reqauth on;', f'reqauth_trusted_certificate {path("broken.pem")};'), '/broken.pem;', ['broken.pem']),
    'a CA file with a key alone': (one('reqauth on;', f'reqauth_trusted_certificate {path("crawler.key")};'), '/crawler.key;', ['crawler.key']),
    'a directory without CAs': (one('reqauth on;', f'reqauth_trusted_certificate {path("empty.d")};'), '/empty.d;', ['empty.d']),
    'a missing CRL': (one('reqauth on;', TRUSTED, 'reqauth_crl missing.crl;'), 'missing.crl;', ['reqauth_crl: ', '/missing.crl', 'No such file']),
    'a CRL that is none': (one('reqauth on;', TRUSTED, f'reqauth_crl {path("der.crl")};'), '/der.crl;', ['reqauth_crl: ', 'der.crl']),
    'no TLS 1.3': (one('reqauth on;', TRUSTED, 'ssl_protocols TLSv1.2;'), None, ['TLS 1.3', 'ssl_protocols', 'add it']),
    'no TLS 1.3 in a neighbour': ([*one('reqauth on;', TRUSTED), vhost('b.example', '\nssl_protocols TLSv1.2;\n')], None,
                                  ['lacks TLSv1.3: add it', 'an address of its own']),
    'counting without TLS 1.3': (one('reqauth_count on;', 'ssl_protocols TLSv1.2;'), None, ['reqauth_count on at ', 'TLS 1.3', 'add it']),
    'counters in a server {}': (one('reqauth_status;'), 'reqauth_status;', ['is not allowed here']),
    'a CA of customers too': (one('reqauth on;', TRUSTED, ASKS_BOTS), TRUSTED, ['trust anchor', 'ssl_client_certificate', 'take it out']),
    'fail and continue': (one('reqauth on;', TRUSTED, 'reqauth_missing fail;', 'reqauth_invalid continue;'), 'reqauth_invalid continue;', ['take one of the two out']),
    'no TLS': ([f'server {{ listen 127.0.0.1:$PORT; \n reqauth on; {TRUSTED} \n }}'], 'reqauth on;', ['without TLS', 'ssl_certificate']),
    'flags that differ': ([*one('reqauth on;', TRUSTED), vhost('b.example', f'\nreqauth on; {TRUSTED} reqauth_flag 81;\n')], 'reqauth_flag 81;', ['reqauth_flag differs', 'best in http {}']),
    'session ages that differ': ([*one('reqauth on;', TRUSTED), vhost('b.example', f'\nreqauth on; {TRUSTED} reqauth_session_age 5m;\n')], 'reqauth_session_age 5m;', ['reqauth_session_age differs']),
    'extensions that differ': ([*one('reqauth on;', TRUSTED), vhost('b.example', f'\nreqauth on; {TRUSTED} reqauth_extension 65025;\n')], 'reqauth_extension 65025;', ['reqauth_extension differs']),
    'an extension that OpenSSL has': (one('reqauth on;', TRUSTED, 'reqauth_extension 51;'), 'reqauth_extension 51;', ['reqauth_extension: ', 'extension type 51']),
    'a session age that is too long': (one('reqauth on;', TRUSTED, 'reqauth_session_age 8d;'), 'reqauth_session_age 8d;', ['reqauth_session_age takes seconds', '0 to 604800']),
    'a flag out of range': (one('reqauth on;', TRUSTED, 'reqauth_flag 2040;'), 'reqauth_flag 2040;', ['2039']),
    'an extension out of range': (one('reqauth on;', TRUSTED, 'reqauth_extension 65536;'), 'reqauth_extension 65536;', ['65535']),
    'a depth out of range': (one('reqauth on;', TRUSTED, 'reqauth_verify_depth 101;'), 'reqauth_verify_depth 101;', ['0 to 100']),
    'a word that is none': (one('reqauth on;', TRUSTED, 'reqauth_missing perhaps;'), 'reqauth_missing perhaps;', ['takes fail or continue, not "perhaps"']),
    'neither on nor off': (one('reqauth yes;', TRUSTED), 'reqauth yes;', ['reqauth takes on or off, not "yes"']),
    'a directive twice': (one('reqauth on;', 'reqauth off;', TRUSTED), 'reqauth off;', ['is duplicate']),
    'a directive in a location': (one('reqauth on;', TRUSTED, 'location /x {', 'reqauth_flag 80;', '}'), 'reqauth_flag 80;', ['is not allowed here']),
}


@pytest.fixture(scope='module')
def wrong_files(certificates):
    write('der.crl', b'\x30\x03\x02\x01\x00')
    os.mkdir(path('empty.d'))


@pytest.mark.parametrize('wrong', WRONG.values(), ids=WRONG)
def test_wrong_configuration(wrong_files, wrong):
    hosts, line, words, *http_level = wrong
    with Nginx(vhost('a.example', on())) as nginx:
        meets(nginx, 'a.example', *CRAWLER, **AGENT)
        nginx.configure(*hosts, http='\n' + http_level[0] + '\n' if http_level else '')
        rows = octets_of(nginx.at('nginx.conf')).decode().splitlines()
        number = [at for at, row in enumerate(rows, 1) if (line in row if line else re.search('server_name [ab].example', row))][-1]
        number -= 0 if line else 1  # where its server { stands
        tried = nginx.test()
        said_of_it = [each for each in tried.err.splitlines() if '[emerg]' in each]
        assert tried.status == 1 and 'test failed' in tried.err
        assert len(said_of_it) == 1 and said_of_it[0].endswith(f' in {nginx.at("nginx.conf")}:{number}'), 'one line, with file and line'
        for word in words:
            assert word in said_of_it[0]
        before = nginx.log().count('[emerg]')
        nginx.process.send_signal(signal.SIGHUP)
        nginx.until(lambda: nginx.log().count('[emerg]') > before)
        seen = visit_of(nginx, 'a.example', *CRAWLER)
        assert seen.page.get('subject') == 'CN=crawler.example', ('the old configuration stays in force', seen.text)
        nginx.reload(vhost('a.example', on('partners')))
        meets(nginx, 'a.example', *own('partner'), outcome='accepted', subject='CN=partner.example')
        nginx.forget_log()  # its [emerg] lines were wanted


# What is fine, and near to it.
FINE = {
    'reqauth on in http {}, and a server {} without TLS': ([vhost('a.example')], f'reqauth on; {TRUSTED}'),
    'reqauth off with a missing file': (one('reqauth off;', 'reqauth_trusted_certificate missing.pem;'), ''),
    'a neighbour at another address without TLS 1.3': ([*one('reqauth on;', TRUSTED), vhost('b.example', 'ssl_protocols TLSv1.2;', port='$OTHER')], ''),
    'everything at its bound': (one('reqauth on;', TRUSTED, 'reqauth_flag 2039; reqauth_extension 65535; reqauth_session_age 7d; reqauth_verify_depth 100;'), ''),
    'counters alone, and shown twice': (one('reqauth_count on; location /a { reqauth_status; } location /b { reqauth_status; }'), ''),
    'counters shown where nothing is attached': (one('location /a { reqauth_status; }'), ''),
    'nothing of reqauth': ([vhost('a.example', 'ssl_protocols TLSv1.2;')], ''),
}


@pytest.mark.parametrize('hosts, http_level', FINE.values(), ids=FINE)
def test_fine_configuration(hosts, http_level):
    said = Nginx(*hosts, http=http_level, starts=False).test()
    assert said.status == 0 and 'successful' in said.err


STATUS = 'server { listen 127.0.0.1:$PLAIN; location = /metrics { reqauth_status; } }'


def test_status():
    """The counters of each server {}, over all workers, also of handshakes that no access log has; a reload leaves them."""
    hosts = [vhost('a.example', on('agents', 'reqauth_ca_names off;')), vhost('b.example', certificate='b.example')]
    with Nginx(*hosts, STATUS, workers=3) as nginx:
        assert counted_by(nginx, 'a.example') == {}
        for _ in range(8):
            visit_of(nginx, 'a.example', *CRAWLER)
            visit_of(nginx, 'a.example', *own('impostor'))
            visit_of(nginx, 'b.example', *CRAWLER)
        visit_of(nginx, 'a.example', *OFFERS)
        person(nginx, 'a.example')
        wanted = {'handshakes': 18, 'offered': 17, 'asked': 17, 'acknowledged': 17, 'verified': 8, 'refused': 8, 'not_offered': 1, 'empty': 1,
                  'invalid': 8, '20': 8}
        assert counted_by(nginx, 'a.example') == wanted
        assert counted_by(nginx, 'b.example') == {'handshakes': 8, 'offered': 8, 'ignored': 8}
        nginx.reload(*hosts, vhost('c.example', on(), certificate='web'), STATUS)
        assert counted_by(nginx, 'a.example') == wanted
        meets(nginx, 'c.example', *CRAWLER, outcome='accepted')
        meets(nginx, 'a.example', *CRAWLER, outcome='accepted')
        assert counted_by(nginx, 'c.example') == {'handshakes': 1, 'offered': 1, 'asked': 1, 'acknowledged': 1, 'verified': 1}
        assert counted_by(nginx, 'a.example') == wanted | {'handshakes': 19, 'offered': 18, 'asked': 18, 'acknowledged': 18, 'verified': 9}


def test_count_alone():
    """reqauth_count: offers are counted where nobody asks. Without it nothing is attached, and nothing counted."""
    with Nginx(vhost('a.example', 'reqauth_count on;'), vhost('b.example', port='$OTHER', certificate='b.example'), STATUS) as nginx:
        meets(nginx, 'a.example', *CRAWLER, outcome='ignored', line={'offered': True, 'requested': False})
        person(nginx, 'a.example')
        meets(nginx, 'b.example', *CRAWLER, outcome='not_offered', port=nginx.other)
        assert counted_by(nginx, 'a.example') == {'handshakes': 2, 'offered': 1, 'ignored': 1, 'not_offered': 1}
        assert counted_by(nginx, 'b.example') == {}
        posted = subprocess.run(['curl', '-sS', '-o', '/dev/null', '-w', '%{http_code}', '-d', 'x', f'http://127.0.0.1:{nginx.plain}/metrics'],
                                capture_output=True, timeout=PATIENCE)
        assert posted.stdout == b'405'


def test_namesake():
    """A CA of the customers' name with another key: a rollover, or a mistake. Said, with the line, and no error."""
    authority('namesake', '/CN=customers CA')
    said = Nginx(vhost('a.example', on('namesake'), CUSTOMERS_TOO), starts=False).test()
    assert said.status == 0 and re.search(r'\[warn\] reqauth_trusted_certificate: .*customers CA.* in .*nginx.conf:\d+', said.err)


CANNOT_WORK = {  # what reqauth is told beside `on`, and words of the warning
    'an anchor that is no CA': (on('crawler'), 'reqauth_trusted_certificate', 'crawler.pem', 'is no CA', 'lets nobody in', 'CN=agents CA'),
    'an anchor that has expired': (on('old'), 'reqauth_trusted_certificate', 'old.pem', 'CN=old CA', 'expired at 2020-01-02'),
    'a CRL of nobody': (on('agents', f'reqauth_crl {path("others.crl")};'), 'others.crl', 'CN=others CA', 'is of no CA here', 'give the CRL'),
    'a CRL that has run out': (on('agents', f'reqauth_crl {path("old.crl")};'), 'old.crl', 'CN=agents CA', 'ran out at 2020-01-02'),
    'everybody is required': (f'{on()} ssl_verify_client on; ssl_client_certificate {path("customers.pem")};', 'the flag is ignored here',
                              'reqauth_beside_required on'),
}


@pytest.mark.parametrize('told, words', [(told, words) for told, *words in CANNOT_WORK.values()], ids=CANNOT_WORK)
def test_what_cannot_work(told, words):
    """One [warn] line, however many server {} have it, with the file and what to do."""
    revocation_list('others.crl', 'others')
    revocation_list('old.crl', 'agents', dates=EXPIRED)
    authority('old', dates=EXPIRED)
    said = Nginx(f'{vhost("a.example", told)} {vhost("b.example", told)}'.replace('\n', ' '), starts=False).test()
    lines = [line for line in said.err.splitlines() if '[warn]' in line]
    assert said.status == 0 and len(lines) == 1, said.err
    assert all(word in lines[0] for word in words) and re.search(r' in \S*nginx\.conf:\d+$', lines[0]), lines
    assert 'RCA-' not in lines[0] and 'SSL_CTX' not in lines[0]


def test_documented():
    """What docs/nginx.md shows is what nginx takes, and what the module has is in it."""
    with open(os.path.join(ROOT, 'docs', 'nginx.md')) as file:
        document = file.read()
    blocks = re.findall(r'^```nginx\n(.*?)^```$', document, re.M | re.S)
    assert len(blocks) == 6, 'docs/nginx.md has six blocks'
    whole, limits, location, key, status, condition = blocks
    if 'http_v3_module' not in run(servers.found('nginx'), '-V').err:
        whole = re.sub(r'^ *listen 443 quic.*\n', '', whole, flags=re.M)
    location = location.replace('}', f'{key} proxy_cache zone; }}')
    nginx = Nginx(starts=False)
    for name, file in (('agents-ca.pem', 'agents.pem'), ('www.example.pem', 'server.pem'), ('www.example.key', 'server.key')):
        shutil.copy(path(file), nginx.at(name))
    body = whole.replace('listen 443', f'listen 127.0.0.1:{nginx.port}').replace('/var/log/nginx', nginx.folder)
    temporary = ' '.join(f'{kind}_temp_path {nginx.folder}/{kind};' for kind in ('client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'))
    server_ends = body.rindex('    }')
    body = body[:server_ends] + location + status + condition + body[server_ends:]
    body = body.replace('http {', f'http {{ {temporary} {limits} proxy_cache_path {nginx.folder}/cache keys_zone=zone:1m;', 1)
    nginx.write(f'load_module {Nginx.shared_object}; pid {nginx.folder}/nginx.pid; events {{}}\n{body}')
    said = nginx.test()
    assert said.status == 0 and 'warn' not in said.err
    with open(os.path.join(ROOT, 'modules', 'nginx', 'settings.cpp')) as file:
        for directive in re.findall(r'ngx_string\("(reqauth\w*)"\)', file.read()):
            assert re.search(rf'^\| `{directive}[ ;]', document, re.M), f'docs/nginx.md has {directive}'
    for variable in REQAUTH + PRESENTED:
        assert re.search(rf'^\|.*`\$reqauth_{variable}`.*\|', document, re.M), f'docs/nginx.md has $reqauth_{variable}'
