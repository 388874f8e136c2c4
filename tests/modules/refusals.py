# SPDX-License-Identifier: Apache-2.0
"""Whether a refusal is noticed, each time, by every program and embedding: with a certificate of another CA.

The server has to name no CAs, so that it is shown the certificate.
"""
import functools
import json
import os
import re

import pytest

from running import CLIENT, built, own, path, run, two_openssls

VISITS = 40
CRAWL = built('examples/reqauth-crawl')
EXEC = built('modules/preload/reqauth-exec')
FILES = [path('servers.pem'), path('impostor.pem'), path('impostor.key')]
IDENTITY = ['--ca', FILES[0], *own('impostor'), '--json']
VISIT = 'import ssl, sys, urllib.request as u; u.urlopen(sys.argv[2], context=ssl.create_default_context(cafile=sys.argv[1]))'
PROGRAMS = {
    'reqauth-client': lambda port: [CLIENT, '--connect', f'localhost:{port}', *IDENTITY],
    'reqauth-client --get': lambda port: [CLIENT, '--connect', f'localhost:{port}', *IDENTITY, '--get', '/'],
    'reqauth-crawl': lambda port: [CRAWL, *IDENTITY, '--retries', '0', f'https://localhost:{port}/'],
    'reqauth-exec curl': lambda port: [EXEC, *own('impostor'), '--log', path('refused.log'), '--',
                                       '/usr/bin/curl', '-sS', '--cacert', FILES[0], f'https://localhost:{port}/'],
    'reqauth-exec python': lambda port: [EXEC, *own('impostor'), '--log', path('refused.log'), '--',
                                         '/usr/bin/python3', '-c', VISIT, FILES[0], f'https://localhost:{port}/'],
    'openssl-blocking': lambda port: [*FILES, 'localhost', port, 1],
    'openssl-poll': lambda port: [*FILES, 'localhost', port, 1],
    'boost-asio-client': lambda port: [*FILES, 'localhost', port, 1],
    'standalone-asio-client': lambda port: [*FILES, 'localhost', port, 1],
    'threads': lambda port: [*FILES, 'localhost', port, 1, 1],
    'curl-easy': lambda port: [*FILES, f'https://localhost:{port}/'],
    'curl-multi': lambda port: [1, *FILES, f'https://localhost:{port}/'],
    'curl-share': lambda port: [FILES[0], f'https://localhost:{port}/', *FILES[1:]],
}
ROLLOUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..', 'docs', 'rollout.md')


def banned(line):
    """Whom fail2ban bans for a line of an error log, by the filter of docs/rollout.md; None: nobody."""
    with open(ROLLOUT) as document:
        lines = re.search(r'^failregex = (.*)\n +(.*)$', document.read(), re.M).groups()
    found = {match['host'] for each in lines for match in [re.search(each.replace('<HOST>', r'(?P<host>[0-9a-f.:]+)'), line)] if match}
    assert len(found) < 2, found
    return found.pop() if found else None


each_program = pytest.mark.parametrize('name', PROGRAMS)


@functools.cache
def there(program):
    """An embedding's place; skips without it."""
    found = program if '/' in program else built(f'examples/embeddings/{program}')
    if not os.path.exists(found):
        pytest.skip(f'{os.path.basename(found)} is not built, since its library is not here')
    if reason := two_openssls(found):
        pytest.skip(reason)
    return found


def notices(name, port):
    command = [str(each) for each in PROGRAMS[name](port)]
    if not name.startswith('reqauth-'):
        return run(there(name), *command).status == 3
    if name.startswith('reqauth-exec') and os.path.exists(log := path('refused.log')):
        os.remove(log)
    ran = run(there(command[0]), *command[1:])
    if name.startswith('reqauth-exec'):
        with open(path('refused.log')) as lines:
            last = json.loads(lines.readlines()[-1])
        return (last['judged'], last['alert_received']) == ('refused', 'unknown_ca')
    if name == 'reqauth-crawl':
        return ran.line['hosts'][0]['refused'] == 'unknown_ca'
    return ran.status == 1 and (ran.line['judged'], ran.line['alert_received']) == ('refused', 'unknown_ca')


def always_noticed(name, port):
    noticed = sum(notices(name, port) for _ in range(VISITS))
    assert noticed == VISITS, f'{name} notices {noticed} of {VISITS} refusals'
