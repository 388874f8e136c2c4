# SPDX-License-Identifier: Apache-2.0
"""A reqauth-server that is killed and started again, over and over, under clients that keep their sessions.

The servers share nothing but the ticket keys in a file. What each client is to the server is checked at every visit; a
visit that a kill cut short is none. REQAUTH_KILLS says how many kills (default: 3). It fails where no session outlived one.
"""
import collections
import json
import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from running import PATIENCE, Server, client, keeping, other, own, path, same, write

KILLS = int(os.environ.get('REQAUTH_KILLS', '3'))
OPTIONS = ['--agents-ca', path('agents.pem'), '--on-missing', 'fail', '--customers-auth', 'request', '--customers-ca',
           path('customers.pem'), '--ticket-key', path('killed.keys'), '--threads', '2']

# Who comes: options of the client, what the server has to say of them, in full and resumed, and the alert for others.
AGENT = {'offered': True, 'outcome': 'accepted', 'certificate': 'verified', 'trust': 'agents', 'subject': 'CN=crawler.example'}
VISITOR = {'offered': False, 'outcome': 'not_offered', 'trust': None, 'subject': None}
CUSTOMER = {'offered': False, 'outcome': 'not_offered', 'trust': 'customers', 'subject': 'CN=customer.example'}
CROWD = {
    'agent': (own('crawler'), AGENT, None),
    'second-agent': (own('crawler'), AGENT, None),
    'visitor': ([], VISITOR, None),
    'customer': (other('customer'), CUSTOMER, None),
    'impostor': ([*own('impostor'), '--on-unsatisfiable', 'present'], None, 'unknown_ca'),
    'empty-handed': (['--offer', 'always'], None, 'certificate_required'),
}


class Ground:
    """The server of the moment, and what was counted."""

    def __init__(self):
        self.server = Server(*OPTIONS)
        self.port = self.server.port
        self.generation = 0  # of the server; odd while there is none
        self.done, self.lock = threading.Event(), threading.Lock()
        self.counts, self.across = collections.Counter(), collections.Counter()

    def kill(self):
        self.generation += 1
        self.server.process.kill()
        self.server.process.wait(PATIENCE)
        self.server = Server(*OPTIONS, listen=f'127.0.0.1:{self.port}')
        self.generation += 1

    def come_back(self, name):
        options, wanted, alert = CROWD[name]
        made = None  # the generation of the server that made the session
        while not self.done.is_set():
            before = self.generation
            ran = client(self.server, *keeping(name), *options, '--get', '/debug', connect=f'localhost:{self.port}')
            line = json.loads(ran.out.splitlines()[-1])
            calm = before == self.generation and before % 2 == 0  # no kill meanwhile
            if ran.status != 0:
                with self.lock:
                    self.counts['visits'] += calm
                if calm or line['alert_received'] is not None:
                    assert wanted is None and line['alert_received'] == alert, ran.out
                continue
            seen = json.loads(ran.out.splitlines()[0])
            assert wanted is not None, (name, ran.out)
            same(seen, **wanted)
            assert seen['resumed'] == line['resumed'], 'both sides say whether it resumed'
            with self.lock:
                self.counts['visits'] += 1
                self.counts['resumed'] += seen['resumed']
                if seen['resumed'] and made is not None and made != before:
                    self.counts['resumed after a kill'] += 1
                    self.across[name] += 1
            made = before


def test_sessions_outlive_a_kill():
    write('killed.keys', os.urandom(80))
    ground = Ground()
    with ThreadPoolExecutor(len(CROWD)) as pool:
        crowd = [pool.submit(ground.come_back, name) for name in CROWD]
        try:
            for _ in range(KILLS):
                time.sleep(random.uniform(0.5, 1.5))
                ground.kill()
            time.sleep(2)
        finally:
            ground.done.set()
    for each in crowd:
        each.result()
    ground.server.end()
    for name, (_, wanted, _) in CROWD.items():
        assert wanted is None or ground.across[name] > 0, f'no session of {name} outlived a kill'
    assert ground.counts['visits']
    print(', '.join([f'kills: {KILLS}', *(f'{name}: {count}' for name, count in ground.counts.items())]))
