# SPDX-License-Identifier: Apache-2.0
"""A client on GnuTLS that offers the flag, against our server, and against one that acknowledges it wrongly.

Neither the client nor that server shares code with the library.
"""
import subprocess

import pytest

from running import CLIENT, PATIENCE, Server, built, own, path, run, same, thumbprint

GNUTLS, BAD_SERVER = built('tests/gnutls-client'), built('tests/bad-server')
AGENT, AGENTS, CUSTOMERS = own('crawler'), ['--agents-ca', path('agents.pem')], ['--customers-ca', path('customers.pem'), '--customers-auth', 'request']


def gnutls(port, *options):
    return run(GNUTLS, '--connect', f'localhost:{port}', '--ca', path('servers.pem'), '--json', *options)


# What the server is told, what the client is told; what the client has to say, and what the server.
VISITS = {
    'agent': (AGENTS, AGENT, dict(offered=True, requested=True, acknowledged=True, sent='flag', version='TLSv1.3'),
              dict(offered=True, outcome='accepted', certificate='verified', trust='agents', subject='CN=crawler.example', flags=[80], x5t='crawler')),
    'guest': (AGENTS, ['--offer', 'always'], dict(offered=True, requested=True, acknowledged=True, sent='empty'),
              dict(offered=True, outcome='accepted', certificate='empty', subject=None)),
    'no flag': (AGENTS, ['--offer', 'never'], dict(offered=False, requested=False, acknowledged=False, sent='none'),
                dict(offered=False, certificate='not_requested', subject=None)),
    'no flag, and a certificate': (AGENTS, [*AGENT, '--offer', 'never'], dict(offered=False, requested=False, acknowledged=False, sent='none'),
                                   dict(offered=False, certificate='not_requested', subject=None)),
    'impostor': (AGENTS, own('impostor'), dict(ok=False, offered=True, acknowledged=True, sent='flag', alert_received='unknown_ca'),
                 dict(ok=False, offered=True, certificate='invalid', alert_sent='unknown_ca')),
    'another flag': (AGENTS, [*AGENT, '--flag', '81'], dict(offered=True, requested=False, sent='none'), dict(offered=False)),
    'the older extension': (AGENTS, [*AGENT, '--extension', '65025'], dict(offered=True, requested=False, sent='none'), dict(offered=False)),
    'nothing to send': ([*AGENTS, '--on-missing', 'fail'], ['--offer', 'always'],
                        dict(ok=False, sent='empty', alert_received='certificate_required'),
                        dict(ok=False, certificate='empty', alert_sent='certificate_required')),
    'other numbers': ([*AGENTS, '--flag', '7', '--extension', '65025'], [*AGENT, '--flag', '7', '--extension', '65025'],
                      dict(acknowledged=True, sent='flag'), dict(certificate='verified', flags=[7])),
    'not acknowledged': (['--customers-ca', path('agents.pem'), '--customers-auth', 'request'], AGENT,
                         dict(offered=True, requested=True, acknowledged=False, sent='empty'),
                         dict(outcome='ignored', certificate='empty', subject=None)),
    'beside customers': ([*AGENTS, *CUSTOMERS], AGENT, dict(acknowledged=True, sent='flag'),
                         dict(outcome='accepted', certificate='verified', trust='agents')),
}


@pytest.mark.parametrize('server_options, options, client_says, server_says', VISITS.values(), ids=VISITS)
def test_outcome(server_options, options, client_says, server_says):
    """Each outcome of the flag, as both sides saw it."""
    if 'x5t' in server_says:
        server_says = {**server_says, 'x5t': thumbprint(server_says['x5t'])}
    with Server(*server_options) as server:
        ran = gnutls(server.port, *options)
        ok = client_says.get('ok', True)
        assert ran.status == int(not ok), (ran.out, ran.err)
        same(ran.line, **{'ok': ok, **client_says})
        same(server.line(), **{'ok': ok, **server_says})


FLAG_80 = bytes([11, *[0] * 10, 1])
# What it acknowledges, whether the client offers the flag, whether it holds: None is one of no flag of ours.
ACKNOWLEDGEMENTS = {
    'acknowledged': (FLAG_80, True, True),
    'beside another flag': (bytes([11, *[0] * 10, 3]), True, True),
    'another flag alone': (bytes([11, *[0] * 10, 2]), True, None),
    'never offered': (FLAG_80, False, False),
    'a trailing zero': (bytes([12, *[0] * 10, 1, 0]), True, False),
    'no flags': (bytes([0]), True, False),
    'nothing': (b'', True, False),
    'a length that does not fit': (bytes([12]) + FLAG_80[1:], True, False),
}


@pytest.mark.parametrize('octets, offers, holds', ACKNOWLEDGEMENTS.values(), ids=ACKNOWLEDGEMENTS)
def test_acknowledgement(octets, offers, holds):
    """A server of no library's puts anything into its CertificateRequest: our client and GnuTLS's judge it alike."""
    server = subprocess.Popen([BAD_SERVER, path('server.pem'), path('server.key'), octets.hex()], stdout=subprocess.PIPE, text=True)
    try:
        port = server.stdout.readline().removeprefix('port ').strip()
        options = AGENT if offers else ['--offer', 'never']
        ours = run(CLIENT, '--connect', f'localhost:{port}', '--ca', path('servers.pem'), '--json', *options, '--get', '/')
        for ran in (ours, gnutls(port, *options)):
            same(ran.line, ok=holds is not False, offered=offers, sent={True: 'flag', None: 'empty', False: 'none'}[holds],
                 alert_sent='illegal_parameter' if holds is False else None, **({} if holds is False else {'acknowledged': holds is True}))
    finally:
        server.kill()
        server.wait(PATIENCE)
        server.stdout.close()
