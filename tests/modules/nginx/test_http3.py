# SPDX-License-Identifier: Apache-2.0
"""The nginx module over HTTP/3: curl as it is is a person, and under reqauth-exec an agent. All is as over TCP."""
import json
import os
import subprocess

import pytest

import chromium
import wire
from servers import counted_by
from running import PATIENCE, authority, built, leaf, octets_of, own, path, revocation_list, run, same, write
from test_nginx import AGENT, STRANGER, on, said, vhost as over_tcp

EXEC = built('modules/preload/reqauth-exec')


def vhost(name, *lines, **more):
    return over_tcp(name, 'listen 127.0.0.1:$PORT quic;', *lines, **more)


@pytest.fixture(scope='module', autouse=True)
def certificates(nginx_with_module):
    if not os.path.exists(EXEC):
        pytest.skip(f'{EXEC} is not built')
    refused = nginx_with_module(vhost('localhost', certificate='server'), starts=False).test()
    if 'invalid parameter "quic"' in refused.err:
        pytest.skip('this nginx has no HTTP/3')
    if 'HTTP3' not in run('/usr/bin/curl', '-V').out:
        pytest.skip('this curl has no HTTP/3')
    leaf('web', '/CN=a.example', 'servers', 'DNS:a.example,DNS:b.example,DNS:c.example,DNS:localhost,IP:127.0.0.1')
    leaf('revoked', '/CN=revoked.example', 'agents', 'DNS:revoked.example')
    revocation_list('crl.pem', 'agents')
    revocation_list('crl-revoked.pem', 'agents', 'revoked')
    authority('partners')
    write('both.pem', octets_of('agents.pem') + octets_of('partners.pem'))


def noted(log):
    with open(log) as file:
        return [json.loads(line) for line in file]


def visit(nginx, name, *options, who='crawler', how='--http3-only', log=None, **environment):
    """What the page says to curl; as the agent `who`, or as a person."""
    agent = [EXEC, *own(who), '--danger-unproven-servers', *(['--log', log] if log else []), '--'] if who else []
    done = subprocess.run([*agent, '/usr/bin/curl', '-sS', how, '--cacert', path('servers.pem'), '--resolve', f'{name}:{nginx.port}:127.0.0.1',
                           '--max-time', str(PATIENCE), '-w', '\\nstatus=%{http_code}\\nversion=%{http_version}\\n', *options,
                           f'https://{name}:{nginx.port}/'], stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, env={**os.environ, **environment})
    return said(done.stdout.decode()) | {'exit': done.returncode, 'errors': done.stderr.decode()}


def alike(nginx, name, *options, who='crawler', **wanted):
    """A visit over HTTP/3, of which the page says what it says over TCP."""
    tcp, quic = (visit(nginx, name, *options, who=who, how=how) for how in ('--http1.1', '--http3-only'))
    assert quic['version'] == '3', quic['errors']
    assert {key: value for key, value in quic.items() if key not in ('version', 'errors')} == {
        key: value for key, value in tcp.items() if key not in ('version', 'errors')}
    for member, value in wanted.items():
        assert quic.get(member) == value, f'{member} is not {value!r}: {quic}'


OTHERS = [vhost('b.example', on('agents')), vhost('c.example')]


@pytest.mark.parametrize('several', [False, True], ids=['one server', 'several'])
@pytest.mark.parametrize('verify, agent, person', [
    ('off', '200', '200'), ('optional', '200', '200'), ('optional_no_ca', '200', '200'), ('on', '400', '400'),
    ('on; reqauth_beside_required on', '200', '400')])
def test_agents_and_people(nginx, several, verify, agent, person):
    customers = '' if verify == 'off' else f'ssl_client_certificate {path("customers.pem")}; ssl_verify_client {verify};'
    with nginx(vhost('a.example', on('agents'), customers), *(OTHERS if several else [])) as there:
        alike(there, 'a.example', status=agent, **(AGENT if agent == '200' else {}))
        alike(there, 'a.example', who=None, status=person, **(STRANGER if person == '200' else {}))
        if verify != 'off':
            alike(there, 'a.example', *own('customer'), who=None, status='200', ssl_client_verify='SUCCESS', outcome='not_offered')
        # A customer's certificate that curl has does not go out where the flag is acknowledged.
        if agent == '200':
            alike(there, 'a.example', *own('customer'), status='200', subject='CN=crawler.example')
        # Without a server name in the handshake, and with one that no server {} has.
        alike(there, '127.0.0.1', status=agent)
        alike(there, 'localhost', status=agent)


@pytest.mark.parametrize('misdirected', ['empty', '421'])
@pytest.mark.parametrize('verify', ['off', 'optional'])
def test_host_is_not_the_name_of_the_handshake(nginx, misdirected, verify):
    customers = '' if verify == 'off' else f'ssl_client_certificate {path("customers.pem")}; ssl_verify_client {verify};'
    more = f'reqauth_misdirected {misdirected};'
    with nginx(vhost('a.example', on('agents'), customers, more), vhost('b.example', on('agents'), more), vhost('c.example', customers, more)) as there:
        for name in ('a.example', 'b.example', 'c.example', '127.0.0.1', 'localhost'):
            for host in ('a.example', 'b.example', 'c.example', 'localhost'):
                alike(there, name, '-H', f'Host: {host}')
                alike(there, name, '-H', f'Host: {host}', who=None)
        alike(there, 'a.example', '-H', 'Host: b.example', subject=None if misdirected == '421' else '')


def test_impostor_is_refused(nginx):
    with nginx(vhost('a.example', on('agents'))) as there:
        # It has no certificate of a CA that the server names, so it shows none.
        alike(there, 'a.example', who='impostor', status='200', reason='empty')
    log = path('http3.log')
    with nginx(vhost('a.example', on('agents', 'reqauth_missing fail;'))) as there:
        seen = visit(there, 'a.example', who='impostor', log=log)
        assert seen['exit'] != 0 and seen['status'] == '000', 'it gets nothing'
        assert 'reqauth: refused a client with the flag, server name "a.example"' in there.log()
        # nginx does not always send its alert: its close may have no error.
        refused = noted(log)[-1]['judged'] == 'refused'
        assert seen['errors'].count('the server refused: certificate_required') == refused, seen['errors']
    lines = noted(log)
    same(lines[0], event='connection', side='client', offered=True, acknowledged=True, sent='empty', unmet='authorities', alert_received=None)
    same(lines[-1], judged='refused' if refused else 'awaited', alert_received='certificate_required' if refused else None)


def test_journal_of_an_agent(nginx):
    log = path('http3-agent.log')
    with nginx(vhost('a.example', on('agents'))) as there:
        assert visit(there, 'a.example', log=log)['verify'] == 'SUCCESS'
    first, *_, last = noted(log)
    same(first, event='connection', program='curl', side='client', ok=True, server_name='a.example', version='QUICv1', offered=True,
         requested=True, acknowledged=True, sent='flag', judged='awaited', resumed=False, alert_received=None)
    same(last, judged='ticket')


def test_resumption(nginx):
    """Two connections of OpenSSL's own QUIC, since curl resumes none. The counters say what the server says."""
    status = 'server { listen 127.0.0.1:$PLAIN; location = /metrics { reqauth_status; } }'
    with nginx(vhost('a.example', on('agents')), status, http='ssl_session_cache shared:all:1m;') as there:
        def twice(*who):
            return run(built('tests/quic-twice'), str(there.port), 'a.example', path('servers.pem'), *who).out.splitlines()
        assert twice(path('crawler.pem'), path('crawler.key')) == ['good flag ticket', 'good resumed none resumed']
        assert {*twice(path('impostor.pem'), path('impostor.key'))} <= {'good flag refused', 'good flag awaited'}, 'nothing is there to resume'
        assert [line.split()[0] for line in twice()] == ['good', 'good']
        same(counted_by(there, 'a.example'), handshakes=6, offered=4, acknowledged=3, verified=2, resumed=1, refused=2)


def test_packets(nginx):
    """The handshakes of an agent and of a person, as tshark decodes them with curl's key log."""
    if reason := wire.why_not():
        pytest.skip(reason)
    keys, file = path('http3.keys'), path('http3.pcap')
    with nginx(vhost('a.example', on('agents'))) as there, wire.Datagrams(there.port) as relay:
        for who in ('crawler', None):
            assert visit(relay, 'a.example', who=who, SSLKEYLOGFILE=keys)['status'] == '200'
        relay.settle()
    agent, person = wire.read(relay.conversations, keys, file, quic=True)
    whole = [wire.SERVER_HELLO, wire.ENCRYPTED_EXTENSIONS, wire.CERTIFICATE, wire.CERTIFICATE_VERIFY, wire.FINISHED]
    assert person.client == [wire.CLIENT_HELLO, wire.FINISHED] and not person.certificates
    assert [each for each in person.server if each != wire.NEW_SESSION_TICKET] == whole, 'a person is not asked'
    assert agent.client == [wire.CLIENT_HELLO, wire.CERTIFICATE, wire.CERTIFICATE_VERIFY, wire.FINISHED] and agent.certificates
    assert [each for each in agent.server if each != wire.NEW_SESSION_TICKET] == [*whole[:2], wire.CERTIFICATE_REQUEST, *whole[2:]]
    flags = [(source == '443', types) for source, types, extensions in wire.decode(
        file, keys, 'udp.srcport', 'tls.handshake.type', 'tls.handshake.extension.type') if '62' in extensions.split(',')]
    assert len(flags) == 2, flags
    (of_server, hello), (acknowledges, messages) = flags
    assert not of_server and hello == '1', 'the agent offers the flag in its ClientHello, and no person does'
    assert acknowledges and str(wire.CERTIFICATE_REQUEST) in messages.split(','), 'and the server acknowledges it'


def test_reload(nginx):
    def with_list(name):
        return vhost('a.example', on('agents', f'reqauth_crl {path(name)};'))
    with nginx(with_list('crl.pem')) as there:
        alike(there, 'a.example', who='revoked', subject='CN=revoked.example')
        there.reload(with_list('crl-revoked.pem'))
        assert visit(there, 'a.example', who='revoked')['exit'] != 0
        alike(there, 'a.example', status='200', **AGENT)
        there.reload(vhost('a.example', 'reqauth off;'))
        alike(there, 'a.example', status='200', outcome='not_offered')


def test_chromium_is_not_asked(nginx):
    if reason := chromium.why_not():
        pytest.skip(reason)
    with nginx(vhost('localhost', on('agents'), certificate='server', says='$server_protocol $reqauth_outcome $reqauth_verify')) as there:
        with chromium.Chromium({'servers CA': path('servers.pem')}, options=chromium.over_quic(there.port, octets_of('server.pem'))) as browser:
            assert browser.open(f'https://127.0.0.1:{there.port}/') is None
            assert browser.until('document.body && document.body.innerText').strip() == 'HTTP/3.0 not_offered NONE'
