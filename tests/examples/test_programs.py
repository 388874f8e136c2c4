# SPDX-License-Identifier: Apache-2.0
"""Drives reqauth-server and reqauth-client as a user would, and checks what both of them say."""
import base64
import contextlib
import hashlib
import json
import os
import random
import re
import signal
import socket
import ssl
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from running import (CLIENT, EXPIRED, PATIENCE, SERVER, Server, authority, client, exchange, home, keeping, leaf, metrics_of, octets_of, other,
                     own, path, presenting, read_all, returns, revocation_list, run, s_client, same, thumbprint, tls, visit, write)


@pytest.fixture(scope='module', autouse=True)
def certificates(pki):
    leaf('hosts', '/CN=hosts', 'servers', 'DNS:localhost,DNS:a.example,DNS:b.example,DNS:c.example,DNS:d.example')
    leaf('own-host', '/CN=c.example', 'servers', 'DNS:c.example')
    write('ticket.keys', os.urandom(80))
    revocation_list('agents.crl', 'agents')
    authority('forger', '/CN=agents CA')
    authority('above')
    authority('between', issuer='above')
    leaf('deep', '/CN=deep.example', 'between', 'DNS:deep.example')
    write('deep-chain.pem', octets_of('deep.pem') + octets_of('between.pem'))
    revocation_list('forged.crl', 'forger')
    revocation_list('ended.crl', 'agents', dates=EXPIRED)
    authority('ended', dates=EXPIRED)
    leaf('of-ended', '/CN=of-ended', 'ended', 'DNS:of-ended')


def host(name, certificate, agents=None, customers=None):
    """A directory for --vhost."""
    os.makedirs(path(name), exist_ok=True)
    for file, source in (('cert.pem', f'{certificate}.pem'), ('key.pem', f'{certificate}.key'), ('agents-ca.pem', agents and f'{agents}.pem'),
                         ('customers-ca.pem', customers and f'{customers}.pem')):
        if source:
            write(f'{name}/{file}', octets_of(source))
    return path(name)


GROUP = 'X25519MLKEM768' if ssl.OPENSSL_VERSION_INFO >= (3, 5) else 'x25519'  # what OpenSSL prefers
SERVER_LINE = ['event', 'ok', 'version', 'server_name', 'offered', 'outcome', 'reason', 'certificate', 'trust', 'resumed',
               'early_data', 'flags', 'subject', 'san', 'x5t#S256', 'presented', 'alert_sent', 'alert_received', 'error']
CLIENT_LINE = ['event', 'ok', 'version', 'cipher', 'group', 'server_name', 'offered', 'withheld', 'requested', 'acknowledged', 'authorities', 'sent',
               'subject', 'judged', 'unmet', 'issuers', 'why', 'server_flags', 'key_provider', 'resumed', 'early_data', 'alert_sent', 'alert_received',
               'error']


CRAWLER, AGENTS_CA, CUSTOMERS = own('crawler'), ['--agents-ca', path('agents.pem')], ['--customers-ca', path('customers.pem'), '--ca-names', 'off']
OPEN = [*AGENTS_CA, '--ca-names', 'off']
# What the server is told, and the client; what the client has to say, and the server.
VISITS = {
    'a visitor without a certificate': (OPEN, [],
        dict(event='connection', ok=True, version='TLSv1.3', cipher='TLS_AES_256_GCM_SHA384', group=GROUP, server_name='localhost',
             offered=False, withheld='no_credential', requested=False, acknowledged=False, authorities=[], sent='none', subject=None, judged='none',
             unmet=None, issuers=[], server_flags=[], resumed=False, early_data='none', alert_sent=None, alert_received=None, error=None),
        dict(event='connection', ok=True, version='TLSv1.3', server_name='localhost', offered=False, outcome='not_offered',
             reason='not_offered', certificate='not_requested', trust=None, resumed=False, early_data=False, flags=[], subject=None,
             san=[], x5t=None, alert_sent=None, alert_received=None, error=None)),
    'a crawler': (OPEN, CRAWLER, dict(ok=True, offered=True, requested=True, acknowledged=True, sent='flag', judged='ticket',
             withheld=None, authorities=[], subject='CN=crawler.example', unmet=None, why=None, server_flags=[80]),
        dict(ok=True, offered=True, outcome='accepted', reason=None, certificate='verified', trust='agents', flags=[80],
             subject='CN=crawler.example', x5t='crawler',
             san=['DNS:crawler.example', 'URI:https://crawler.example/bot', 'IP:192.0.2.1'])),
    'offers, has none': (OPEN, ['--offer', 'always'], dict(ok=True, offered=True, requested=True, acknowledged=True, sent='empty'),
        dict(ok=True, outcome='accepted', reason='empty', certificate='empty', trust=None, subject=None)),
    'has one, never offers': (OPEN, [*CRAWLER, '--offer', 'never'],
        dict(ok=True, offered=False, requested=False, sent='none'), dict(outcome='not_offered', certificate='not_requested')),
    'impostor': (OPEN, own('impostor'),
        dict(ok=False, offered=True, acknowledged=True, sent='flag', alert_received='unknown_ca', alert_sent=None),
        dict(ok=False, outcome='accepted', certificate='invalid', trust=None, subject=None, san=[], x5t=None, alert_sent='unknown_ca',
             alert_received=None)),
    'a customer as an agent': (OPEN, own('customer'),
        dict(ok=False, offered=True, acknowledged=True, sent='flag', alert_received='unknown_ca', alert_sent=None),
        dict(ok=False, outcome='accepted', certificate='invalid', trust=None, subject=None, san=[], x5t=None, alert_sent='unknown_ca',
             alert_received=None)),
    'impostor with a request': (OPEN, [*own('impostor'), '--get', '/'], dict(ok=False, alert_received='unknown_ca'), {}),
    'further flags': (OPEN, [*CRAWLER, '--flags', '3,2039'], {}, dict(flags=[3, 80, 2039], outcome='accepted', certificate='verified')),
    'TLS 1.2 only': (OPEN, ['--tls1.2'],
        dict(ok=False, alert_received='protocol_version', version=None), dict(ok=False, alert_sent='protocol_version', version=None)),
    'no agents CA': ([], CRAWLER, dict(ok=True, offered=True, requested=False, acknowledged=False, sent='none'),
        dict(ok=True, offered=True, outcome='ignored', reason='ignored', certificate='not_requested', flags=[80])),
    'on-missing fail': ([*AGENTS_CA, '--on-missing', 'fail'], ['--offer', 'always'],
        dict(ok=False, sent='empty', alert_received='certificate_required'),
        dict(ok=False, outcome='accepted', certificate='empty', alert_sent='certificate_required')),
    'on-missing fail, verified': ([*AGENTS_CA, '--on-missing', 'fail'], CRAWLER, {}, dict(ok=True, certificate='verified')),
    'on-missing fail, not offered': ([*AGENTS_CA, '--on-missing', 'fail'], [], {}, dict(ok=True, certificate='not_requested')),
    'on-invalid continue': ([*AGENTS_CA, '--on-invalid', 'continue', '--ca-names', 'off'], own('impostor'), dict(ok=True, sent='flag'),
        dict(ok=True, outcome='accepted', reason='invalid', certificate='invalid', trust=None, subject=None, alert_sent=None)),
    'unsatisfiable': (AGENTS_CA, own('impostor'),
        dict(ok=True, acknowledged=True, sent='empty', subject=None, judged='awaited', authorities=['CN=agents CA'], unmet='authorities',
             issuers=['CN=others CA']), dict(certificate='empty')),
    'unsatisfiable close': (AGENTS_CA, [*own('impostor'), '--on-unsatisfiable', 'close'],
        dict(ok=False, alert_sent='handshake_failure', sent='none', unmet='authorities'), dict(ok=False, alert_received='handshake_failure')),
    'unsatisfiable present': (AGENTS_CA, [*own('impostor'), '--on-unsatisfiable', 'present'],
        dict(ok=False, acknowledged=True, sent='flag', alert_received='unknown_ca'),
        dict(ok=False, certificate='invalid', trust=None, alert_sent='unknown_ca')),
    'customer': ([*AGENTS_CA, *CUSTOMERS, '--customers-auth', 'request'], other('customer'),
        dict(ok=True, offered=False, requested=True, acknowledged=False, sent='other'),
        dict(ok=True, outcome='not_offered', reason='not_offered', certificate='verified', trust='customers', subject='CN=customer.example',
             san=['DNS:customer.example', 'IP:192.0.2.2'], x5t='customer')),
    'customer without': ([*AGENTS_CA, *CUSTOMERS, '--customers-auth', 'request'], [],
        dict(ok=True, requested=True, sent='empty'), dict(ok=True, certificate='empty', trust=None)),
    'crawler as a customer': ([*AGENTS_CA, *CUSTOMERS, '--customers-auth', 'request'], other('crawler'),
        dict(ok=False), dict(ok=False, certificate='invalid', alert_sent='unknown_ca', trust=None)),
    'crawler beside customers': ([*AGENTS_CA, *CUSTOMERS, '--customers-auth', 'request'], [*CRAWLER, *other('customer')],
        dict(ok=True, acknowledged=True, sent='flag'), dict(ok=True, certificate='verified', trust='agents', subject='CN=crawler.example')),
    'customer who sends the flag': ([*AGENTS_CA, *CUSTOMERS, '--customers-auth', 'request'], own('customer'),
        dict(ok=False), dict(ok=False, outcome='accepted', certificate='invalid', trust=None, alert_sent='unknown_ca')),
    'a customer of strange name': ([*AGENTS_CA, *CUSTOMERS, '--customers-auth', 'request'], [*other('hostile-customer'), '--get', '/'],
        {}, dict(ok=True, trust='customers', x5t='hostile-customer')),
    'require': ([*AGENTS_CA, *CUSTOMERS, '--customers-auth', 'require'], [],
        dict(ok=False, alert_received='certificate_required'), dict(ok=False, certificate='empty', alert_sent='certificate_required')),
    'require ignores the flag': ([*AGENTS_CA, *CUSTOMERS, '--customers-auth', 'require'], [*CRAWLER, *other('customer')],
        dict(ok=True, offered=True, requested=True, acknowledged=False, sent='other'),
        dict(ok=True, offered=True, outcome='ignored', certificate='verified', trust='customers', flags=[80])),
    'unacknowledged: empty': ([*AGENTS_CA, *CUSTOMERS, '--customers-auth', 'require'], own('customer'),
        dict(ok=False, sent='empty'), dict(outcome='ignored', certificate='empty')),
    'unacknowledged: flag': ([*AGENTS_CA, *CUSTOMERS, '--customers-auth', 'require'], [*own('customer'), '--on-unacknowledged', 'flag'],
        dict(ok=True, acknowledged=False, sent='flag'), dict(ok=True, outcome='ignored', trust='customers')),
    'unacknowledged: told to be empty': ([*AGENTS_CA, *CUSTOMERS, '--customers-auth', 'require'],
        [*CRAWLER, *other('customer'), '--on-unacknowledged', 'empty'],
        dict(ok=False, sent='empty'), {}),
    'beside required': ([*AGENTS_CA, *CUSTOMERS, '--customers-auth', 'require', '--beside-required'], CRAWLER,
        {}, dict(ok=True, outcome='accepted', certificate='verified', trust='agents')),
    'other numbers': ([*AGENTS_CA, '--flag', '9', '--extension', '65025'], [*CRAWLER, '--flag', '9', '--extension', '65025'],
        {}, dict(ok=True, outcome='accepted', certificate='verified', flags=[9])),
    'other numbers on one side': ([*AGENTS_CA, '--flag', '9', '--extension', '65025'], CRAWLER,
        {}, dict(ok=True, outcome='not_offered', flags=[])),
    'TLS 1.2': ([*AGENTS_CA, '--tls1.2', *CUSTOMERS, '--customers-auth', 'request'], [*CRAWLER, *other('customer'), '--tls1.2'],
        dict(ok=True, version='TLSv1.2', offered=False, requested=True, sent='other'),
        dict(ok=True, version='TLSv1.2', outcome='not_offered', trust='customers', flags=[])),
}


# Whom a server refused or let pass as nobody: its options, the client's, what it says of the certificate, and its line in text.
PRESENTED = {
    'impostor': (OPEN, own('impostor'),
        dict(subject='CN=crawler.example', issuer='CN=others CA', x5t='impostor', key_proven=False, verify_error=20,
             error='unable to get local issuer certificate', depth=0, failed='CN=crawler.example', because=None, server_at_fault=False),
        '; unable to get local issuer certificate (20) at depth 0; presented, no identity: subject "CN=crawler.example"'),
    'let pass': ([*OPEN, '--on-invalid', 'continue'], own('impostor'), dict(subject='CN=crawler.example', key_proven=True, verify_error=20),
        'ok, TLSv1.3, flag accepted, certificate invalid; unable to get local issuer certificate (20)'),
    'a CRL that has run out': ([*AGENTS_CA, '--crl', path('ended.crl')], CRAWLER,
        dict(subject='CN=crawler.example', x5t='crawler', verify_error=12, error='CRL has expired',
             because='the CRL of CN=agents CA ended 2020-01-02T00:00:00Z', server_at_fault=True),
        "CRL has expired (12) at depth 0: the CRL of CN=agents CA ended 2020-01-02T00:00:00Z, which is this server's to mend; presented"),
    'a CA that has run out': (['--agents-ca', path('ended.pem')], own('of-ended'),
        dict(subject='CN=of-ended', verify_error=10, depth=1, failed='CN=ended CA', because='the anchor CN=ended CA ended 2020-01-02T00:00:00Z',
             server_at_fault=True), 'at depth 1, "CN=ended CA": the anchor CN=ended CA ended 2020-01-02T00:00:00Z'),
    'a crawler': (AGENTS_CA, CRAWLER, None, 'certificate verified by agents, CN=crawler.example'),
    'a visitor': (AGENTS_CA, [], None, 'ok, TLSv1.3, flag not_offered, certificate not_requested'),
    'none came': ([*AGENTS_CA, '--on-missing', 'fail'], ['--offer', 'always'], None, 'certificate empty'),
}


@pytest.mark.parametrize('server_options, options, wanted, text', PRESENTED.values(), ids=PRESENTED)
def test_presented(server_options, options, wanted, text):
    with Server(*server_options) as server:
        mine, theirs = client(server, *options).line, server.line()
        if wanted is None:
            assert theirs['presented'] is None
        else:
            same(theirs, subject=None, trust=None, certificate='invalid', x5t=None)
            same(theirs['presented'], **with_thumbprint(wanted))
            assert re.fullmatch('([0-9A-F]{2})+', theirs['presented']['serial'])
            assert theirs['presented']['not_before'] < theirs['presented']['not_after']
        if wanted and wanted.get('server_at_fault'):
            assert mine['alert_received'] == 'internal_error', 'its owner is not told to renew it'
    with Server(*server_options, plain=True) as server:
        client(server, *options)
        assert text in server.text()


@pytest.mark.parametrize('server_options, options, sentence', [
    pytest.param([*OPEN, '--on-invalid', 'continue'], own('impostor'), 'did not verify (unable to get local issuer certificate)', id='invalid'),
    pytest.param([*OPEN, '--on-invalid', 'continue', '--crl', path('ended.crl')], CRAWLER, 'another certificate would not help', id='CRL'),
    pytest.param(AGENTS_CA, own('impostor'), 'names other CAs than its issuer', id='sends none')])
def test_page_of_a_guest(server_options, options, sentence):
    with Server(*server_options) as server:
        assert sentence in client(server, *options, '--get', '/').out


def with_thumbprint(wanted):
    """A table is older than the certificates: there `x5t` is the name of one."""
    return {**wanted, 'x5t': thumbprint(wanted['x5t'])} if wanted.get('x5t') else wanted


@pytest.mark.parametrize('server_options, options, client_says, server_says', VISITS.values(), ids=VISITS)
def test_visit(server_options, options, client_says, server_says):
    ok = client_says.get('ok', True)
    with Server(*server_options) as server:
        mine, theirs = visit(server, *options, status=3 if client_says.get('unmet') else int(not ok))
    same(mine, **client_says)
    same(theirs, **with_thumbprint(server_says))
    assert list(mine) == CLIENT_LINE
    assert list(theirs) == SERVER_LINE
    assert theirs['subject'] is None or all(32 <= ord(c) < 127 for c in theirs['subject']), 'a strange name is printable'
    if not ok:
        assert mine['error'] and '\n' not in mine['error'], 'the client says why'
    if theirs['certificate'] == 'invalid' and not theirs['ok']:
        assert 'verify failed' in theirs['error'], 'the server says why'


def test_malformed_flags():
    """openssl s_client sends the extension with nothing in it."""
    with Server(*AGENTS_CA) as server:
        said = subprocess.run(['openssl', 's_client', '-connect', server.address, '-serverinfo', '62'], input=b'',
                              capture_output=True, timeout=PATIENCE)
        assert b'alert number 47' in said.stderr, 'illegal_parameter reaches the client'
        line = server.line()
        same(line, ok=False, offered=False, flags=[], alert_sent='illegal_parameter')
        assert 'tls_flags' in line['error']


def test_server_is_verified():
    with Server(*AGENTS_CA) as server:
        ran = run(CLIENT, '--connect', f'localhost:{server.port}', '--ca', path('others.pem'), '--json')
        assert ran.status == 1
        same(ran.line, ok=False, alert_sent='unknown_ca')
        same(server.line(), ok=False, alert_received='unknown_ca')
        ran = client(server, '--servername', 'elsewhere.example')
        assert ran.status == 1 and 'mismatch' in ran.line['error']
        same(server.line(), ok=False, server_name='elsewhere.example')
        ran = client(server, connect=f'127.0.0.1:{server.port}')
        assert ran.status == 0, 'an IP address is verified as one'
        same(server.line(), ok=True, server_name=None)


@pytest.fixture
def asks_again(certificates):
    """A server that asks once more after the handshake; gives what it is told, and says."""
    with Server(*OPEN, '--customers-ca', path('customers.pem'), '--customers-auth', 'request', '--post-handshake') as server:
        def ask(*options):
            ran = client(server, '--get', '/pha', '--get', '/debug', *options)
            theirs = server.line()
            return ran, theirs, [json.loads(line) for line in ran.out.splitlines()]
        yield ask


def test_post_handshake(asks_again):
    ran, _, said = asks_again('--post-handshake', *other('customer'))
    assert ran.status == 0, ran.out
    same(said[0], certificate='verified', trust='customers', subject='CN=customer.example')


def test_post_handshake_none(asks_again):
    _, _, said = asks_again('--post-handshake')
    same(said[0], certificate='empty', trust=None)


def test_post_handshake_not_offered(asks_again):
    ran, _, said = asks_again(*other('customer'))
    assert said[0]['error'] and ran.status == 0, 'it says so'


def test_post_handshake_after_the_flag(asks_again):
    ran, before, said = asks_again('--post-handshake', *CRAWLER, *other('customer'))
    same(before, outcome='accepted', certificate='verified', trust='agents')
    assert ran.status == 0, ran.out
    same(said[0], certificate='verified', trust='customers', subject='CN=customer.example')
    assert not said[2]['acknowledged'], 'the request does not acknowledge it'


def test_post_handshake_bad_certificate(asks_again):
    ran, _, _ = asks_again('--post-handshake', *CRAWLER, *other('impostor'))
    same(ran.line, ok=False, alert_received='unknown_ca')


def test_post_handshake_no_trust():
    with Server('--post-handshake') as server:
        ran = client(server, '--post-handshake', '--get', '/pha', *CRAWLER, '--on-unacknowledged', 'flag')
        same(ran.line, ok=False, alert_received='unknown_ca')


def test_no_post_handshake():
    with Server() as server:
        assert 'Nothing here' in client(server, '--post-handshake', '--get', '/pha').out


def counted(server):
    """What GET /metrics says, but for what is zero, to a person, who is in it."""
    values = metrics_of(client(server, '--get', '/metrics').out.rsplit('\n', 2)[0])
    return {name.removeprefix('reqauth_').replace('_total', ''): value for name, value in values.items() if value}


# Who comes, to a server with which options, and what is counted beside the person who asks.
COUNTS = {
    'a crawler': (OPEN, CRAWLER, 'offered asked acknowledged verified'),
    'a person': (OPEN, [], ''),
    'ignored': ([], CRAWLER, 'offered unverified{reason="ignored"}'),
    'empty': (OPEN, ['--offer', 'always'], 'offered asked acknowledged unverified{reason="empty"}'),
    'impostor': (OPEN, own('impostor'), 'offered asked acknowledged refused unverified{reason="invalid"} '
                 'verify_errors{code="20",error="unable to get local issuer certificate"}'),
    'impostor, continue': ([*OPEN, '--on-invalid', 'continue'], own('impostor'), 'offered asked acknowledged unverified{reason="invalid"} '
                           'verify_errors{code="20",error="unable to get local issuer certificate"}'),
    'missing, fail': ([*OPEN, '--on-missing', 'fail'], ['--offer', 'always'],
                      'offered asked acknowledged refused unverified{reason="empty"}'),
}


@pytest.mark.parametrize('name', COUNTS)
def test_metrics(name):
    options, visitor, expected = COUNTS[name]
    with Server(*options) as server:
        client(server, *visitor)
        client(server, *visitor)
        persons = 1 + 2 * (not expected)
        names = re.findall(r'verify_errors{[^}]*}|[^ ]+', expected)
        assert counted(server) == {'handshakes': 3, 'handshakes_unverified{reason="not_offered"}': persons,
                                   **{each if each.startswith('verify') else f'handshakes_{each}': 2 for each in names}}


def test_metrics_of_hosts():
    with Server(*OPEN, '--vhost', f'b.example={host("counted-b", "hosts")}') as server:
        client(server, *CRAWLER)
        client(server, *CRAWLER, '--servername', 'b.example')
        found = counted(server)
        same(found, **{'handshakes_offered': 1, 'handshakes_verified': 1, 'handshakes_offered{server="b.example"}': 1,
                       'handshakes_unverified{server="b.example",reason="ignored"}': 1})


def test_pages():
    with Server(*OPEN) as server:
        debug = json.loads(client(server, *CRAWLER, '--get', '/debug').out.splitlines()[0])
        assert debug == server.line(), '/debug is the log line'
        page = client(server, *own('hostile'), '--get', '/').out
        line = server.line()
        same(line, ok=True, certificate='verified', trust='agents')
        assert '<script' not in page.lower() and '&lt;script' in page, ('the page escapes what it shows', page[-1500:])
        for who, sentence in ((CRAWLER, 'it verified'), ([], 'never asked'), (['--offer', 'always'], 'sent none'), (['--offer', 'always'], 'it can tell you which')):
            assert sentence in client(server, '--get', '/', *who).out, f'the page says: {sentence}'

        head, _, body = exchange(server, b'GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n').decode().partition('\r\n\r\n')
        assert head.startswith('HTTP/1.1 200 '), '200'
        style = body.split('<style>')[1].split('</style>')[0]
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        assert f"style-src 'sha256-{digest}'" in head and "default-src 'none'" in head, 'the policy allows this very style'
        assert 'X-Content-Type-Options: nosniff' in head, 'nosniff'
        assert 'name="viewport"' in body and 'prefers-color-scheme: dark' in body, 'phones and dark mode'
        assert f'Content-Length: {len(body)}\r\n' in head + '\r\n', 'Content-Length fits'

        many = exchange(server, b'GET /debug HTTP/1.1\r\nHost: x\r\n\r\n' * 50 + b'GET /debug HTTP/1.1\r\nConnection: close\r\n\r\n')
        assert many.count(b'HTTP/1.1 200 ') == 51, ('51 requests on one connection', many[-200:])
        answer = exchange(server, b'HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
        assert answer.startswith(b'HTTP/1.1 200 ') and answer.endswith(b'\r\n\r\n'), 'HEAD has no body'
        assert f'Content-Length: {len(body)}'.encode() in answer


@pytest.mark.parametrize('request_, status', [
    (b'GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n', 404),
    (b'GET /debug?x=1 HTTP/1.0\r\n\r\n', 200),
    (b'DELETE / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n', 405),
    (b'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc', 405),
    (b'nonsense\r\n\r\n', 400),
    (b'\x00' * 100, 400),
    (b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 400),
    (b'GET / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n', 400),
    (b'GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n', 400),
    (b'GET /' + b'a' * 100000 + b' HTTP/1.1\r\n\r\n', 400),
    (b'GET / HTTP/1.1\r\nX: ' + b'a' * 100000, 400),
    (b'GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;' + b'a' * 100000, 400),
], ids=lambda value: str(value[:30]) if isinstance(value, bytes) else None)
def test_requests(request_, status):
    """Each is answered so, and the connection closed."""
    with Server() as server:
        answer = exchange(server, request_)
        assert answer.startswith(f'HTTP/1.{0 if b"/1.0" in request_ else 1} {status} '.encode()), answer[:200]
        assert client(server, '--get', '/').status == 0, 'the server still serves'


def ticket_size(name):
    """Octets of the session's ticket, as the openssl program shows them: 16 a line."""
    text = subprocess.run(['openssl', 'sess_id', '-in', path(name), '-text', '-noout'], check=True, capture_output=True,
                          timeout=PATIENCE).stdout.decode()
    dump = text.split('TLS session ticket:\n')[1].split('\n\n')[0]
    return 16 * sum(line.strip()[4:7] == ' - ' for line in dump.splitlines())


KEYS = ['--ticket-key', path('ticket.keys')]
VERIFIED = {'outcome': 'accepted', 'reason': None, 'certificate': 'verified', 'trust': 'agents', 'subject': 'CN=crawler.example'}


def forget(name):
    with contextlib.suppress(FileNotFoundError):
        os.remove(path(name))


def test_sessions():
    crawler, agent = CRAWLER, VERIFIED
    with Server(*AGENTS_CA) as server:
        returns(server, 'one', *crawler, resumed=False, **agent)
        assert os.stat(path('one')).st_mode & 0o777 == 0o600, 'a session is private'
        assert not [name for name in os.listdir(home.name) if name.startswith('one.')], 'nothing is left beside it'
        assert ticket_size('one') > 100, 'a ticket holds the session'
        first = octets_of('one')
        for _ in range(3):
            mine, theirs = returns(server, 'one', *crawler, resumed=True, early_data=False, flags=[80],
                                   san=['DNS:crawler.example', 'URI:https://crawler.example/bot', 'IP:192.0.2.1'],
                                   x5t=thumbprint('crawler'), **agent)
            same(mine, ok=True, offered=True, requested=False, acknowledged=False, sent='none',
                 early_data='none')
        assert octets_of('one') != first, 'the last session is kept'
        for options in ([], ['--offer', 'always'], own('impostor'), [*crawler, *other('customer')], [*crawler, '--flags', '9']):
            ran = client(server, '--session-in', path('one'), *options)
            assert ran.status == 2 and ran.out == '' and "another client's" in ran.err, ('a session is presented by its own client alone', options)
        ran = client(server, '--session-in', path('one'), '--session-out', path('one'), *crawler)
        same(ran.line, ok=True, resumed=True, judged='resumed')
        same(server.line(), resumed=True, **agent)
        ran = client(server, *presenting('one'), *crawler, '--get', '/debug', '--get', '/')
        said = json.loads(ran.out.splitlines()[0])
        assert said == server.line() and said['resumed'], '/debug of a resumed connection is its log line'
        assert 'You resumed' in ran.out and ', resumed' in ran.out, 'the page says that it was resumed'

        write('same', octets_of('one'))
        returns(server, 'same', '--offer', 'never', resumed=False, outcome='not_offered',
                certificate='not_requested', trust=None, subject=None)
        returns(server, 'plain', resumed=False, outcome='not_offered')
        returns(server, 'plain', resumed=True, outcome='not_offered', certificate='not_requested', trust=None)
        returns(server, 'plain', *crawler, resumed=False, **agent)
        returns(server, 'none', '--offer', 'always', resumed=False, certificate='empty')
        returns(server, 'one', '--offer', 'always', resumed=True, **agent)  # its ticket is its word

        session = octets_of('one')
        ran = client(server, '--session-out', path('one'), *own('impostor'), '--on-unsatisfiable', 'present')
        server.line()
        assert ran.status == 1 and octets_of('one') == session, ('a connection that fails saves no session', ran.out)

        # The openssl program reads and writes the same files.
        s_client(server, '-sess_out', path('s_client'))
        same(server.line(), ok=True, resumed=False)
        returns(server, 's_client', resumed=True)
        said = s_client(server, '-sess_in', path('s_client'))
        assert b'Reused, TLSv1.3' in said, 'openssl s_client with a session of ours'
        same(server.line(), ok=True, resumed=True)


def made_by(*options):
    """Sessions of a crawler and of a visitor, in the files `one` and `plain`, by a server that has gone."""
    forget('one'), forget('plain')
    with Server(*options) as server:
        returns(server, 'one', *CRAWLER, resumed=False, **VERIFIED)
        returns(server, 'plain', resumed=False)


def test_restart_without_ticket_keys():
    made_by(*AGENTS_CA)
    with Server(*AGENTS_CA) as server:
        returns(server, 'one', *CRAWLER, resumed=False, **VERIFIED)


def test_restart_with_ticket_keys():
    made_by(*AGENTS_CA, *KEYS)
    with Server(*AGENTS_CA, *KEYS) as server:
        returns(server, 'one', *CRAWLER, resumed=True, **VERIFIED)
        returns(server, 'plain', resumed=True)


@pytest.mark.parametrize('options', [['--ticket-key', path('other.keys')], [*KEYS, '--label', 'elsewhere']], ids=['other ticket keys', 'another label'])
def test_restart_elsewhere(options):
    write('other.keys', os.urandom(80))
    made_by(*AGENTS_CA, *KEYS)
    with Server(*AGENTS_CA, *options) as server:
        for resumed in (False, True):
            returns(server, 'one', *CRAWLER, resumed=resumed, **VERIFIED)
        for resumed in (False, True):
            returns(server, 'plain', resumed=resumed)


@pytest.mark.parametrize('options', [['--on-missing', 'fail'], ['--session-age', '3599']], ids=['another policy', 'another session age'])
def test_restart_with_other_settings(options):
    """They are of agents: a visitor's session goes on."""
    made_by(*AGENTS_CA, *KEYS)
    with Server(*AGENTS_CA, *KEYS, *options) as server:
        returns(server, 'one', *CRAWLER, resumed=False, **VERIFIED)
        returns(server, 'plain', resumed=True)


# The server's own client authentication: what was asked and trusted belongs to a session.
REQUIRES, REQUESTS = [['--customers-auth', each, '--customers-ca'] for each in ('require', 'request')]
CUSTOMER = {'certificate': 'verified', 'trust': 'customers', 'subject': 'CN=customer.example'}


def test_sessions_of_customers():
    forget('customer')
    with Server(*KEYS, *REQUIRES, path('customers.pem')) as server:
        returns(server, 'customer', *other('customer'), resumed=False, **CUSTOMER)
        returns(server, 'customer', resumed=True, **CUSTOMER)
        write('ignored', octets_of('customer'))
        for more, resumed in ((other('customer'), False), ([], True)):  # with the flag, which is ignored
            returns(server, 'ignored', *CRAWLER, *more, resumed=resumed, outcome='ignored', reason='ignored', **CUSTOMER)
    with Server(*KEYS, *REQUIRES, path('customers.pem')) as server:
        returns(server, 'customer', resumed=True, **CUSTOMER)


@pytest.mark.parametrize('options, status', [([*REQUIRES, path('others.pem')], 1), ([*REQUESTS, path('customers.pem')], 0)],
                         ids=['of another CA', 'otherwise'])
def test_sessions_of_customers_where_others_are_asked(options, status):
    forget('customer')
    with Server(*KEYS, *REQUIRES, path('customers.pem')) as server:
        returns(server, 'customer', *other('customer'), resumed=False, **CUSTOMER)
    with Server(*KEYS, *options) as server:
        returns(server, 'customer', resumed=False, trust=None, status=status)


def test_no_tickets():
    forget('stateful')
    with Server(*AGENTS_CA, '--no-tickets') as server:
        returns(server, 'stateful', *CRAWLER, resumed=False, **VERIFIED)
        assert ticket_size('stateful') == 32, 'no ticket holds the session'
        for _ in range(2):
            returns(server, 'stateful', *CRAWLER, resumed=True, **VERIFIED)
    with Server(*AGENTS_CA, '--no-tickets') as server:
        returns(server, 'stateful', *CRAWLER, resumed=False, **VERIFIED)


def test_session_age_of_0():
    with Server(*AGENTS_CA, '--session-age', '0') as server:
        ran = client(server, '--session-out', path('ageless'), *CRAWLER)
        same(server.line(), resumed=False, **VERIFIED)
    assert not os.path.exists(path('ageless')) and ran.status == 0, 'no session comes'
    assert 'gave no session' in ran.err and ran.err.count('\n') == 1, 'the client says so'


def test_session_age_of_3():
    with Server(*AGENTS_CA, '--session-age', '3') as server:
        returns(server, 'short', *CRAWLER, resumed=False, **VERIFIED)
        time.sleep(4)
        returns(server, 'short', *CRAWLER, resumed=False, **VERIFIED)


@pytest.fixture(scope='module')
def virtual_hosts(certificates):
    host('a', 'hosts', agents='agents')
    host('b', 'hosts', agents='others', customers='customers')
    host('c', 'own-host')
    host('d', 'hosts', agents='agents')


HOSTS = [word for name in ('a.example', 'B.example', 'c.example', 'd.example') for word in ('--vhost', f'{name}={path(name[0].lower())}')]
FIRST = [*OPEN, '--customers-ca', path('others.pem'), '--customers-auth']


def at(name):
    return ['--servername', name]


# What the first host does with everybody, what the client is told; what it has to say, and the server.
AT_HOSTS = {
    'a visitor of the first host': ('require', [], dict(ok=False), dict(ok=False, alert_sent='certificate_required', certificate='empty')),
    'a visitor of a': ('require', at('a.example'), dict(requested=False),
                       dict(ok=True, server_name='a.example', certificate='not_requested', reason='not_offered')),
    'an agent at a': ('require', [*at('A.Example'), *CRAWLER], {}, dict(ok=True, outcome='accepted', certificate='verified', trust='agents')),
    'a visitor of b': ('require', at('b.example'), dict(ok=False), dict(ok=False, alert_sent='certificate_required', certificate='empty')),
    'a customer of b': ('require', [*at('b.example'), *other('customer')], {},
                        dict(ok=True, certificate='verified', trust='customers', subject='CN=customer.example')),
    'a customer of b at the first host': ('require', other('customer'), dict(ok=False),
                                          dict(ok=False, certificate='invalid', alert_sent='unknown_ca')),
    'an agent at c': ('require', [*at('c.example'), *CRAWLER], {}, dict(ok=True, outcome='ignored', certificate='not_requested')),
    'an agent of b': ('request', [*at('b.example'), *own('impostor')], {}, dict(ok=True, outcome='accepted', trust='agents', x5t='impostor')),
    'an agent of the first host at b': ('request', [*at('b.example'), *CRAWLER], dict(ok=False),
                                        dict(ok=False, certificate='invalid', alert_sent='unknown_ca')),
    'b asks': ('request', at('b.example'), dict(ok=True, requested=True, sent='empty'), {}),
    'a still asks nobody': ('request', at('a.example'), dict(ok=True, requested=False), {}),
    'a name of no host is the first host': ('request', other('impostor'), dict(ok=True, requested=True, sent='other'), {}),
}


@pytest.mark.parametrize('asks, options, client_says, server_says', AT_HOSTS.values(), ids=AT_HOSTS)
def test_virtual_hosts(virtual_hosts, asks, options, client_says, server_says):
    with Server(*FIRST, asks, *HOSTS, '--threads', '2', certificate='hosts') as server:
        mine, theirs = visit(server, *options, status=int(not client_says.get('ok', True)))
    same(mine, **client_says)
    same(theirs, **with_thumbprint(server_says))


@pytest.mark.parametrize('version', [[], ['--tls1.2']], ids=['TLS 1.3', 'TLS 1.2'])
@pytest.mark.parametrize('kind', [[], ['--no-tickets'], ['--early-data', '1000']], ids=['tickets', 'no tickets', 'early data'])
def test_sessions_of_hosts(virtual_hosts, kind, version):
    with Server(*FIRST, 'request', '--tls1.2', *kind, *HOSTS, certificate='hosts') as server:
        # Each pair of hosts: a session of one is none of the other's, and goes on at its own.
        for options, places in (([], ('localhost', 'a.example', 'b.example', 'd.example')),
                                (CRAWLER, ('localhost', 'a.example', 'd.example'))):
            for here in places:
                for there in places:
                    forget('carried')
                    returns(server, 'carried', *at(here), *options, *version, resumed=False)
                    returns(server, 'carried', *at(there), *options, *version, resumed=here == there, server_name=there)
        # Two that ask, of different customers.
        for name, here, there in (('impostor', 'localhost', 'b.example'), ('customer', 'b.example', 'localhost')):
            forget('carried')
            known = {'certificate': 'verified', 'trust': 'customers', 'x5t': thumbprint(name)}
            returns(server, 'carried', *at(here), *other(name), *version, resumed=False, **known)
            returns(server, 'carried', *at(here), *version, resumed=True, **known)
            returns(server, 'carried', *at(there), *version, resumed=False, certificate='empty', trust=None, subject=None)


def test_session_of_another_host(virtual_hosts):
    with Server(*FIRST, 'request', *HOSTS, '--keylog', path('hosts.keys'), certificate='hosts') as server:
        visit(server, *at('c.example'), '--session-out', path('of-c'))
        ran = client(server, *at('a.example'), *presenting('of-c'))
        assert ran.status == 2 and ran.out == '' and 'another server' in ran.err, 'the client keeps a session to its server'
        for resumed in (False, True):  # at a host that ignores the flag
            returns(server, 'of-nobody', *at('c.example'), *CRAWLER, resumed=resumed, ok=True, outcome='ignored')
        assert b'CLIENT_TRAFFIC_SECRET_0' in octets_of('hosts.keys'), 'the key log has every host'


def test_reloads():
    write('trust.pem', octets_of('agents.pem'))
    revocation_list('trust.crl', 'agents')
    where = host('reloaded', 'hosts', agents='agents')
    crawler, agent = own('crawler'), {'ok': True, 'outcome': 'accepted', 'certificate': 'verified', 'trust': 'agents'}
    at_a = ['--servername', 'a.example']
    with Server('--agents-ca', path('trust.pem'), '--crl', path('trust.crl'), '--ca-names', 'off', '--vhost', f'a.example={where}') as server:
        def good(what):
            same(server.hang_up(), event='reload', ok=True, error=None)

        def bad(what, file):
            line = server.hang_up()
            same(line, event='reload', ok=False)
            assert file in line['error'] and '\n' not in line['error'], f'{what}: the error names the file'

        returns(server, 'kept', *crawler, resumed=False, **agent)
        returns(server, 'kept-at-a', *at_a, *crawler, resumed=False, **agent)
        returns(server, 'kept-plain', resumed=False)
        good('the same again')
        returns(server, 'kept', *crawler, resumed=True, **agent)

        with tls(server) as idle:
            idle.sendall(b'GET /debug HTTP/1.1\r\nHost: x\r\n\r\n')
            assert idle.recv(65536).startswith(b'HTTP/1.1 200'), 'before'
            server.line()
            raw = socket.create_connection(('127.0.0.1', server.port), timeout=PATIENCE)
            into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
            halfway = ssl.create_default_context(cafile=path('servers.pem')).wrap_bio(into, out, server_hostname='localhost')
            with contextlib.suppress(ssl.SSLWantReadError):
                halfway.do_handshake()
            hello = out.read()
            raw.sendall(hello[:100])
            for content in (b'', b'noise', b'-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n',
                            octets_of('agents.pem')[:300], octets_of('agents.pem') + octets_of('agents.pem')[:300]):
                write('trust.pem', content)
                bad('a broken file', path('trust.pem'))
                returns(server, 'kept', *crawler, resumed=True, **agent)
                _, theirs = visit(server, *crawler)
                same(theirs, **agent)
            os.remove(path('trust.pem'))
            bad('a missing file', path('trust.pem'))

            # All hosts at one moment, or none.
            write('trust.pem', octets_of('others.pem'))
            write('reloaded/agents-ca.pem', b'noise')
            bad('one of two is broken', 'reloaded/agents-ca.pem')
            returns(server, 'kept', *crawler, resumed=True, **agent)
            returns(server, 'kept-at-a', *at_a, *crawler, resumed=True, **agent)
            os.remove(path('reloaded/agents-ca.pem'))
            bad('one of two is gone', 'reloaded/agents-ca.pem')
            write('reloaded/agents-ca.pem', octets_of('agents.pem'))
            write('trust.crl', b'noise')
            bad('a broken CRL', path('trust.crl'))
            returns(server, 'kept', *crawler, resumed=True, **agent)

            write('trust.pem', octets_of('customers.pem'))
            revocation_list('trust.crl', 'customers')
            write('reloaded/agents-ca.pem', octets_of('customers.pem'))
            good('another CA')
            returns(server, 'kept', *crawler, resumed=False, status=1, ok=False, outcome='accepted',
                    certificate='invalid', trust=None, alert_sent='unknown_ca')
            returns(server, 'kept-at-a', *at_a, *crawler, resumed=False, status=1, ok=False,
                    alert_sent='unknown_ca')
            _, theirs = visit(server, *own('customer'))
            same(theirs, **agent)
            returns(server, 'kept-plain', resumed=True, trust=None)

            # What was open all the while.
            idle.sendall(b'GET /debug HTTP/1.1\r\nConnection: close\r\n\r\n')
            assert b'"ok":true' in read_all(idle), 'a connection goes on'
            raw.sendall(hello[100:])
            while True:
                try:
                    halfway.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    into.write(raw.recv(65536))
            raw.sendall(out.read())
            same(server.line(), ok=True)
            raw.close()

        write('trust.pem', octets_of('agents.pem'))
        write('reloaded/agents-ca.pem', octets_of('agents.pem'))
        revocation_list('trust.crl', 'agents')
        good('the first CA again')
        returns(server, 'kept', *crawler, resumed=False, **agent)
        returns(server, 'kept', *crawler, resumed=True, **agent)
        revocation_list('trust.crl', 'agents', 'crawler')
        returns(server, 'kept', *crawler, resumed=True, **agent)
        good('a CRL that names the crawler')
        returns(server, 'kept', *crawler, resumed=False, status=1, ok=False, certificate='invalid',
                alert_sent='certificate_revoked')
        _, theirs = visit(server, *at_a, *crawler, status=1)
        same(theirs, ok=False, alert_sent='certificate_revoked')
    assert server.errors.count(b'nothing is reloaded') == 9 and b'trust.pem' in server.errors, 'standard error says so, too'

    server = Server('--agents-ca', path('trust.pem'), plain=True)
    server.process.send_signal(signal.SIGHUP)
    assert server.text() == 'reloaded\n', 'without --json: a line'
    server.end()
    with Server() as server:
        same(server.hang_up(), ok=True)


EARLY = ['--early-data', '50000']
AGENT = {'ok': True, 'outcome': 'accepted', 'certificate': 'verified', 'trust': 'agents'}
QUESTION = 'GET /debug HTTP/1.1\r\nHost: x\r\n\r\n'


def sends(server, name, text, *options, status, resumed, **wanted):
    """A visit that presents the session `name`, with early data; it saves the next, and the one that it had as `before`."""
    write('before', octets_of(name))
    ran = client(server, *keeping(name), '--early-data', text, *options)
    theirs = server.line()
    assert ran.status == 0, (ran.out, ran.err)
    same(ran.line, early_data=status, resumed=resumed)
    same(theirs, early_data=status == 'accepted', resumed=resumed, **wanted)
    return ran, theirs


@pytest.mark.parametrize('who, options, seen', [('crawler', CRAWLER, AGENT), ('visitor', [], {'ok': True, 'outcome': 'not_offered'})],
                         ids=['a crawler', 'a visitor'])
def test_early_data(who, options, seen):
    name = f'early {who}'
    with Server(*AGENTS_CA, *KEYS, *EARLY) as server:
        returns(server, name, *options, resumed=False, early_data=False, **seen)
        for _ in range(2):
            ran, theirs = sends(server, name, QUESTION, *options, status='accepted', resumed=True, **seen)
            assert json.loads(ran.out.splitlines()[0]) == theirs, 'what came early is answered'
        write(name, octets_of('before'))
        ran, _ = sends(server, name, QUESTION, *options, status='rejected', resumed=False, **seen)
        assert len(ran.out.splitlines()) == 1, 'a replay is not answered'
        returns(server, name, *options, resumed=True, early_data=False, **seen)
        ran, _ = sends(server, name, QUESTION, *options, '--get', '/', status='accepted', resumed=True, **seen)
        assert '"event"' in ran.out.splitlines()[0] and 'replay' in ran.out, 'both are answered, in order'
        sends(server, name, 'nonsense', *options, status='accepted', resumed=True, **seen)
        ran, _ = sends(server, name, f'GET / HTTP/1.1\r\nX: {"a" * 40000}\r\n\r\n', *options, status='accepted', resumed=True, **seen)
        assert 'Not understood' in ran.out, 'too long a header'
        sends(server, name, 'a' * 50001, *options, status='none', resumed=True, **seen)
        ran = client(server, '--servername', '127.0.0.1', *presenting(name), '--early-data', QUESTION, *options)
        same(ran.line, ok=True, early_data='none')
        server.line()
        # That has used up the session: it resumes once.
        returns(server, name, *options, resumed=False, **seen)


def test_early_data_of_s_client():
    with Server(*AGENTS_CA, *EARLY) as server:
        s_client(server, '-sess_out', path('early s_client'))
        server.line()
        said = s_client(server, '-sess_in', path('early s_client'), '-early_data', write('question', QUESTION.encode()))
        assert b'Early data was accepted' in said
        assert b'"early_data":true' in said, 'what came early is answered'
        same(server.line(), ok=True, early_data=True, resumed=True)


@pytest.mark.parametrize('options', [[], EARLY], ids=['a server without it', 'another server of a fleet'])
def test_early_data_elsewhere(options):
    """Sessions for early data stay where they were made, whatever the ticket keys."""
    with Server(*AGENTS_CA, *KEYS, *EARLY) as server:
        visit(server, '--session-out', path('early'), *CRAWLER)
    with Server(*AGENTS_CA, *KEYS, *options) as server:
        ran, _ = sends(server, 'early', QUESTION, *CRAWLER, status='rejected', resumed=False, **AGENT)
        assert len(ran.out.splitlines()) == 1, 'nothing is answered'


def test_early_data_to_s_server():
    """It knows nothing of the flag."""
    server = subprocess.Popen(['openssl', 's_server', '-accept', '127.0.0.1:0', '-naccept', '2', '-early_data', '-cert',
                               path('server.pem'), '-key', path('server.key')], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said = b''
    while b'ACCEPT' not in said:
        said += server.stdout.readline()
    address = said.split()[-1].decode().replace('127.0.0.1', 'localhost')
    first = client(None, '--session-out', path('early s_server'), *CRAWLER, connect=address)
    same(first.line, ok=True, offered=True, requested=False, early_data='none')
    then = client(None, *presenting('early s_server'), '--early-data', 'hello, early bird', *CRAWLER, connect=address)
    same(then.line, ok=True, resumed=True, early_data='accepted')
    said, _ = server.communicate(timeout=PATIENCE)
    assert b'hello, early bird' in said, 'it received it early'


def test_session_without_early_data():
    with Server(*AGENTS_CA) as server:
        returns(server, 'late', *CRAWLER, resumed=False, **AGENT)
        sends(server, 'late', QUESTION, *CRAWLER, status='none', resumed=True, **AGENT)


def test_garbage_to_the_server():
    chance = random.Random(20240601)
    hello = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), hello, server_hostname='localhost').do_handshake()
    hello = hello.read()
    attacks = [b'', b'\x16', b'\x16\x03\x01\xff\xff', b'\x16\x03\x01\x00\x00', b'GET / HTTP/1.1\r\n\r\n', b'\x80\x2e\x01\x00\x02',
               b'\x16\x03\x01\x00\x04\x01\xff\xff\xff', b'\x16\x03\x03\x40\x01' + b'a' * 0x4001, b'\x15\x03\x03\x00\x02\x02\x28',
               hello[:len(hello) // 2], hello + b'\xff' * 500, hello + hello, b'\x14\x03\x03\x00\x01\x01' * 1000,
               hello[:9] + bytes(len(hello) - 9)]
    attacks += [chance.randbytes(chance.randrange(1, 5000)) for _ in range(20)]
    for _ in range(60):
        broken = bytearray(hello)
        for _ in range(chance.randrange(1, 8)):
            broken[chance.randrange(5, len(broken))] = chance.randrange(256)
        attacks.append(bytes(broken))

    with Server(*AGENTS_CA, '--threads', '1') as server:
        # Two that stall for as long as this lasts: before the first byte, and in the middle of a ClientHello.
        silent = socket.create_connection(('127.0.0.1', server.port))
        halfway = socket.create_connection(('127.0.0.1', server.port))
        halfway.sendall(hello[:len(hello) // 2])
        served = 0
        for number, attack in enumerate(attacks):
            with socket.create_connection(('127.0.0.1', server.port), timeout=PATIENCE) as raw:
                with contextlib.suppress(OSError):
                    raw.sendall(attack)
                    raw.shutdown(socket.SHUT_WR)
                    while raw.recv(65536):
                        pass
            if number % 10 == 0:
                ran = client(server, *CRAWLER, '--get', '/debug')
                served += 1
                assert ran.status == 0 and '"verified"' in ran.out, 'a crawler is served meanwhile'
        silent.close()  # before any byte
        halfway.close()
        lines = [server.line() for _ in range(len(attacks) + served + 2)]
        assert sum(line['ok'] for line in lines) == served, 'each connection has one line'
        for line in lines:
            if not line['ok']:
                assert line['error'] and '\n' not in line['error'], 'a failure has a reason in one line'
                assert line['trust'] is None and line['subject'] is None, 'a failure verified nobody'

        # These two are left to the server's own deadline.
        silent = socket.create_connection(('127.0.0.1', server.port), timeout=PATIENCE)
        halfway = socket.create_connection(('127.0.0.1', server.port), timeout=PATIENCE)
        halfway.sendall(hello[:20])
        for raw in (silent, halfway):
            assert raw.recv(1) == b'', 'the server ends what stalls'
            raw.close()
        for _ in range(2):
            same(server.line(), ok=False, version=None)


@contextlib.contextmanager
def answering(octets, context=None):
    """The address of a listener that gives one client this answer, with TLS or without."""
    def serve():
        with contextlib.suppress(OSError):
            raw, _ = listener.accept()
            with (context.wrap_socket(raw, server_side=True) if context else raw) as connection:
                connection.recv(65536)
                connection.sendall(octets)
                if context:
                    connection.unwrap()

    with socket.create_server(('127.0.0.1', 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield f'127.0.0.1:{listener.getsockname()[1]}'


CHANCE, RECORD = random.Random(20240602), b'\x16\x03\x03\x00\x2c'
GARBAGE = [b'', b'\x00', b'HTTP/1.1 400 Bad Request\r\n\r\n', b'\x15\x03\x03\x00\x02\x02\x28', RECORD, RECORD + bytes(44),
           b'\x16\x03\x03\xff\xff' + bytes(70000), b'\x16\x03\x03\x00\x04\x02\xff\xff\xff',
           *(CHANCE.randbytes(CHANCE.randrange(1, 3000)) for _ in range(12))]


@pytest.mark.parametrize('octets', GARBAGE, ids=lambda octets: octets[:12].hex() or 'nothing')
def test_garbage_to_the_client(octets):
    with answering(octets) as address:
        ran = client(None, *CRAWLER, '--get', '/', connect=address)
    assert ran.status == 1, (ran.out, ran.err)
    same(ran.line, ok=False, event='connection', version=None)
    if octets.startswith(b'\x15'):
        same(ran.line, alert_received='handshake_failure')
    assert ran.line['error'] and '\n' not in ran.line['error'], 'the error is one line'


@pytest.mark.parametrize('answer, body, status', [
    (b'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok', 'ok', 0),
    (b'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok', 'ok', 0),
    (b'HTTP/1.1 200 OK\r\n\r\nuntil the end', 'until the end', 0),
    (b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n', 'ok', 0),
    (b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\ncut', '', 1),
    (b'HTTP/1.1 200 OK\r\nContent-Length: 9999999999999\r\n\r\n', '', 1),
    (b'HTTP/1.1 200 OK\r\nX: ' + b'a' * 200000, '', 1), (b'rubbish\r\n\r\n', '', 1), (b'', '', 1)],
    ids=['a length', 'a 100 before', 'no length', 'chunked', 'cut', 'too long', 'too long a header', 'rubbish', 'nothing'])
def test_answers_to_the_client(answer, body, status):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path('server.pem'), path('server.key'))
    with answering(answer, context) as address:
        ran = client(None, '--get', '/', connect=address)
    assert ran.status == status, ran.out[:300]
    assert ran.out.split('{"event"')[0].rstrip('\n') == body, 'the body, then the line'
    assert json.loads(ran.out.splitlines()[-1])['ok'] == (status == 0), 'the line stands alone'


def test_silent_server():
    with socket.create_server(('127.0.0.1', 0)) as listener:  # accepts, and never says a word
        ran = client(None, connect=f'127.0.0.1:{listener.getsockname()[1]}')
    assert ran.status == 1, ran.out
    same(ran.line, ok=False, error='the server took too long')


def test_nobody_listens():
    with socket.create_server(('127.0.0.1', 0)) as listener:
        port = listener.getsockname()[1]
    ran = client(None, connect=f'127.0.0.1:{port}')
    assert ran.status == 1, ran.out
    same(ran.line, ok=False, version=None, sent='none')
    assert str(port) in ran.line['error'], 'it says where'


def test_max_connections():
    with Server('--max-connections', '3') as server:
        for _ in range(3):
            assert client(server).status == 0
        server.end(how=None)


@pytest.mark.parametrize('threads', ['1', '4'])
def test_sigterm(threads):
    server = Server('--threads', threads)
    served, idle = tls(server), tls(server)
    idle.sendall(b'GET /debug HTTP/1.1\r\nHost: x\r\n\r\n')
    assert b'200 OK' in idle.recv(65536), 'keep-alive'
    served.sendall(b'GET /debug HTTP/1.1\r\n')  # half a request
    for _ in range(2):
        server.line()
    server.process.send_signal(signal.SIGTERM)
    assert idle.recv(1) == b'', 'an idle connection is closed'
    idle.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(('127.0.0.1', server.port))
    assert server.process.poll() is None, 'the server waits for the open connection'
    served.sendall(b'Host: x\r\n\r\n')
    answer = read_all(served)
    assert answer.startswith(b'HTTP/1.1 200 ') and b'Connection: close' in answer, 'a request is answered'
    served.close()
    server.end(how=None)


def test_sigint():
    Server().end(signal.SIGINT)


def test_without_json():
    server = Server(*AGENTS_CA, plain=True)
    client(server, *CRAWLER)
    text = server.text()
    assert 'accepted' in text and 'CN=crawler.example' in text and '{' not in text, 'a line for people'
    server.end()


# What the client's one line says, without an option, and its exit status.
LINES = {
    'an agent': (AGENTS_CA, CRAWLER, 0, ['ok', 'TLSv1.3', 'TLS_AES_256_GCM_SHA384', GROUP, 'server name localhost', 'flag offered, acknowledged',
                                         'asked for a certificate of CN=agents CA', 'sent CN=crawler.example', 'a ticket came']),
    'a person': (AGENTS_CA, [], 0, ['ok', 'flag not offered', 'not asked for a certificate']),
    'not asked': ([], CRAWLER, 0, ['ok', 'flag offered', 'not asked for a certificate']),
    'no intermediate': (['--agents-ca', path('above.pem')], own('deep'), 3, [
        'sent an empty Certificate', 'names CN=above CA', 'ours is of CN=between CA', 'put the intermediate into --cert']),
    'the intermediate': (['--agents-ca', path('above.pem')], ['--cert', path('deep-chain.pem'), '--key', path('deep.key')], 0, ['sent CN=deep.example']),
    'another CA, required': ([*AGENTS_CA, '--on-missing', 'fail'], own('impostor'), 3, [
        'names CN=agents CA', 'ours is of CN=others CA', 'the server refused: certificate_required']),
    'another CA, closed': (AGENTS_CA, [*own('impostor'), '--on-unsatisfiable', 'close'], 3, ['sent the alert handshake_failure', 'names CN=agents CA']),
    'refused': (OPEN, own('impostor'), 1, ['sent CN=crawler.example', 'received the alert unknown_ca', 'refused the certificate', 'do not try again']),
    'for another reason': ([*CUSTOMERS, '--customers-auth', 'request'], CRAWLER, 0, ['asked for another reason', 'sent an empty Certificate']),
    'a customer': ([*CUSTOMERS, '--customers-auth', 'request'], other('customer'), 0, ['asked for another reason', 'sent --other-cert']),
    'with nothing, on purpose': (AGENTS_CA, ['--offer', 'always'], 0, ['acknowledged', 'sent an empty Certificate']),
}


@pytest.mark.parametrize('body', [False, True], ids=['no body', 'a body'])
@pytest.mark.parametrize('server_options, options, status, words', LINES.values(), ids=LINES)
def test_line_of_the_client(server_options, options, status, words, body):
    """On standard output, or on standard error where that has a body, or the connection failed."""
    with Server(*server_options) as server:
        ran = run(CLIENT, '--connect', f'localhost:{server.port}', '--ca', path('servers.pem'), *options, *(['--get', '/'] if body else []))
    assert ran.status == status, (ran.out, ran.err)
    ok = ': ok, ' in ran.out + ran.err
    line = ran.err if body or not ok else ran.out
    assert line.count('\n') == 1 and (line.startswith('localhost:') or line.startswith('reqauth-client: localhost:')), line
    assert bool(ran.out) == ok, 'a body, or the line'
    for word in words:
        assert word in line, line
    assert 'RCA-' not in line and '::' not in line, 'no number of a rule and no name of the library'


def test_lines_of_several_threads_do_not_mix():
    with Server('--threads', '4', *AGENTS_CA) as server, ThreadPoolExecutor(4) as pool:
        for _ in range(20):
            pool.submit(client, server, *CRAWLER, '--get', '/debug')
        for _ in range(20):
            assert server.line()['certificate'] == 'verified'


def test_ipv6():
    try:
        socket.create_server(('::1', 0), family=socket.AF_INET6).close()
    except OSError as why:
        pytest.skip(f'this machine does not have IPv6 ({why})')
    with Server(listen='[::1]:0') as server:
        assert server.address.startswith('[::1]:')
        assert client(server, connect=server.address).status == 0


def test_a_name_to_listen_on():
    with Server(listen='localhost:0') as server:
        assert client(server, connect=server.address).status == 0


def test_keylog_and_trace():
    logs = path('server.keys'), path('client.keys')
    with Server(*AGENTS_CA, '--keylog', logs[0], '--trace') as server:
        ran = client(server, *CRAWLER, '--keylog', logs[1], '--trace')
        server.line()
    keys = [sorted(open(log).read().splitlines()) for log in logs]
    assert keys[0] == keys[1] and any('CLIENT_TRAFFIC_SECRET_0' in k for k in keys[0]), 'both key logs say the same'
    assert all(os.stat(log).st_mode & 0o77 == 0 for log in logs), 'a key log is private'
    for sent, received, text in (('→', '←', ran.err), ('←', '→', server.errors.decode())):
        # From OpenSSL 3.2 on a Certificate may go out compressed.
        messages = [line.split('] ')[-1].replace('CompressedCertificate', 'Certificate') for line in text.splitlines()]
        for wanted in (f'{sent} ClientHello  tls_flags {{80}}', f'{received} CertificateRequest  tls_flags {{80}}',
                       f'{received} EncryptedExtensions', f'{sent} Certificate', f'{sent} Finished'):
            assert wanted in messages


def test_trace_of_an_empty_certificate():
    with Server(*AGENTS_CA, '--on-missing', 'fail', '--trace') as server:
        ran = client(server, '--offer', 'always', '--trace')
        server.line()
    assert '→ Certificate (empty)' in ran.err and '← alert certificate_required' in ran.err


SERVING, PEER = [SERVER, *own('server'), '--listen', '127.0.0.1:0'], [CLIENT, '--connect', 'localhost:1']
WRONG = [
    [SERVER], [SERVER, *own('server')[:2]], [*SERVING, '--unknown'], [*SERVING, 'word'], [*SERVING, '--flag', 'x'],
    [*SERVING, '--flag', '2040'], [*SERVING, '--flag', '-1'], [*SERVING, '--extension', '65536'], [*SERVING, '--threads', '0'],
    [*SERVING, '--max-connections', '0'], [*SERVING, '--customers-auth', 'maybe'], [*SERVING, '--ca-names', 'perhaps'],
    [*SERVING[:-1], '127.0.0.1'], [*SERVING[:-1], 'x'], [*SERVING[:-1], '::1:8443'], [*SERVING[:-1], '127.0.0.1:65536'],
    [*SERVING, '--customers-ca', path('customers.pem')],
    [*SERVING, '--customers-ca', path('customers.pem'), '--customers-auth', 'none'],
    [*SERVING, '--agents-ca', path('agents.pem'), '--on-missing', 'fail', '--on-invalid', 'continue'],
    [*SERVING, '--agents-ca', path('agents.pem'), '--customers-ca', path('agents.pem'), '--customers-auth', 'request'],
    [*SERVING, '--keylog', path('no/such/dir')], [*SERVING, '--agents-ca'],
    *([*SERVING, '--vhost', word] for word in ('x', '=x', 'x=', '=', f'x={path("missing")}', f'x={home.name}')),
    [*SERVING, '--vhost', f'a.example={path("a")}', '--vhost', f'A.example={path("a")}'],
    [*SERVING, '--vhost', f'a.example={path("asking")}'],
    [*SERVING, '--vhost', f'a.example={path("shared")}', '--customers-auth', 'request'],
    *([*SERVING, '--ticket-key', path(f'{size}.keys')] for size in (0, 48, 79, 81)),
    [*SERVING, '--ticket-key', path('ticket.keys'), '--no-tickets'],
    *([*SERVING, '--early-data', word] for word in ('x', '-1', '1048577', '99999999999')),
    *([*SERVING, '--session-age', word] for word in ('x', '-1', '604801')),
    [*SERVING, '--crl', path('agents.crl')], [*SERVING, '--agents-ca', path('agents.pem'), '--crl', path('agents.pem')],
    [*SERVING, '--agents-ca', path('agents.pem'), '--crl', path('forged.crl')],
    [CLIENT], [*PEER, '--unknown'], [CLIENT, '--connect', 'localhost'], [*PEER, '--cert', path('crawler.pem')],
    [*PEER, '--key', path('crawler.key')], [*PEER, '--other-cert', path('crawler.pem')], [*PEER, '--offer', 'maybe'],
    [*PEER, '--on-unacknowledged', 'x'], [*PEER, '--on-unacknowledged', 'other'], [*PEER, '--flags', '80'],
    [*PEER, '--on-unacknowledged', 'flag'], [*PEER, '--flags', '1,2040'], [*PEER, '--flags', 'a'], [*PEER, '--flag', '2040'],
    [*PEER, '--get', 'x'], [*PEER, '--get', '/a b'], [*PEER, '--keylog', path('no/such/dir')],
    [*PEER, '--early-data', 'x'], [*PEER, '--session-in', path('server.pem')], [*PEER, '--session-out', path('no/such/file')],
    [*PEER, '--session-out', home.name], [*PEER, '--session-out', '/dev/null'],
    [*PEER, '--session-in', path('usage.session'), '--servername', 'elsewhere.example'],
    [*PEER, '--session-in', path('unverified.session')],
    [*PEER, '--cert', path('crawler.pem'), '--key', path('customer.key')],
    [*PEER, '--cert', path('crawler.pem'), '--key', path('encrypted.key')],
    [*PEER, '--other-cert', path('crawler.pem'), '--other-key', path('encrypted.key')],
    [*PEER, '--other-cert', path('crawler.pem'), '--other-key', path('customer.key')],
    [*PEER, '--cert', path('crawler.pem'), '--key', 'pkcs11:object=nothing'], [*PEER, '--key-provider', 'pkcs11'],
    [SERVER, '--cert', path('crawler.pem'), '--key', path('encrypted.key')],
    [SERVER, '--cert', path('crawler.pem'), '--key', path('server.key')],
]
NO_GOOD = {'missing.pem': path('missing.pem'), 'empty.pem': path('empty.pem'), 'noise.pem': path('noise.pem'), 'a-folder': home.name}
for name, file in NO_GOOD.items():
    WRONG += [[*SERVING, '--agents-ca', file], [*SERVING, '--customers-ca', file, '--customers-auth', 'request'],
              [SERVER, '--cert', file, '--key', path('server.key')], [SERVER, '--cert', path('server.pem'), '--key', file],
              [*PEER, '--session-in', file], [*SERVING, '--ticket-key', file],
              [*SERVING, '--agents-ca', path('agents.pem'), '--crl', file], [*SERVING, '--vhost', f'a.example={path(f"broken-{name}")}'],
              [*PEER, '--ca', file], [*PEER, '--cert', file, '--key', path('crawler.key')],
              [*PEER, '--cert', path('crawler.pem'), '--key', file],
              [*PEER, '--other-cert', file, '--other-key', path('crawler.key')],
              [*PEER, '--other-cert', path('crawler.pem'), '--other-key', file]]


@pytest.fixture(scope='module')
def usage_files(certificates):
    host('a', 'hosts')
    host('asking', 'hosts', customers='customers')
    host('shared', 'hosts', agents='agents', customers='agents')
    for name, file in NO_GOOD.items():  # where it is the agents' CA; a link to nowhere is no missing file
        os.symlink(file, os.path.join(host(f'broken-{name}', 'hosts'), 'agents-ca.pem'))
    for size in (0, 48, 79, 81):
        write(f'{size}.keys', os.urandom(size))
    # Sessions that are no good here: with another server, and with one that was not verified.
    with Server() as there:
        visit(there, '--session-out', path('usage.session'))
        s_client(there, '-sess_out', path('unverified.session'), verify=False)
        there.line()


@pytest.mark.parametrize('command', WRONG, ids=lambda command: ' '.join(
    os.path.basename(word) if word in (SERVER, CLIENT) else word.replace(f'{home.name}/', '').replace(home.name, 'a-folder') for word in command))
def test_usage(usage_files, command):
    """Exit status 2, and one line."""
    ran = run(*command)
    assert ran.status == 2, (ran.out, ran.err)
    assert ran.out == '' and ran.err.count('\n') == 1 and len(ran.err) > 30


@pytest.mark.parametrize('option', ['--cert', '--other-cert'])
def test_encrypted_key(option):
    """What to do is said."""
    assert 'openssl pkey' in run(*PEER, option, path('crawler.pem'), option.replace('cert', 'key'), path('encrypted.key')).err


@pytest.mark.parametrize('program, options', [
    (SERVER, 'listen cert key agents-ca customers-ca customers-auth on-missing beside-required crl ca-names session-age label on-invalid vhost '
             'flag extension ticket-key no-tickets early-data post-handshake tls1.2 threads max-connections keylog json trace'),
    (CLIENT, 'connect servername ca cert key key-provider other-cert other-key offer on-unacknowledged on-unsatisfiable flag extension '
             'flags session-in foreign-session session-out early-data post-handshake tls1.2 get keylog json trace')], ids=['server', 'client'])
def test_help(program, options):
    ran = run(program, '--help')
    assert ran.status == 0 and ran.err == ''
    for option in options.split():
        assert f'  --{option} ' in ran.out


def test_address_in_use():
    with socket.create_server(('127.0.0.1', 0)) as taken:
        ran = run(*SERVING[:-1], f'127.0.0.1:{taken.getsockname()[1]}')
    assert ran.status == 1 and ran.err.count('\n') == 1
