# SPDX-License-Identifier: Apache-2.0
"""Three reqauth-servers with one ticket key behind one address: what resumes where, and what a reload of one changes."""
import contextlib
import os
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor, wait

from running import PATIENCE, Server, client, keeping, octets_of, own, path, presenting, same, write

AGENTS = ('agents', 'others')  # the CAs of agents; impostor is an agent here
NODES = 3


def trust(node, *authorities):
    """Writes the agents' CAs of one node: each has a file of its own, as machines of a fleet have."""
    return write(f'node-{node}.pem', b''.join(octets_of(f'{each}.pem') for each in authorities))


class Fleet:
    """The nodes, and an address that hands each connection to the next of them."""

    def __init__(self, *options):
        self.options = options
        write('ticket.keys', os.urandom(80))
        self.nodes = [self.start(node) for node in range(NODES)]
        self.turn = 0
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.forward, daemon=True).start()

    def start(self, node):
        return Server('--agents-ca', trust(node, *AGENTS), '--ticket-key', path('ticket.keys'), '--threads', '2', *self.options)

    def forward(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            node = self.nodes[self.turn % NODES]
            self.turn += 1
            far = socket.create_connection(('127.0.0.1', node.port))
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=self.pump, args=(source, target), daemon=True).start()

    @staticmethod
    def pump(source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def visit(self, *options):
        """One visit through the address: the node, the client's line, the node's line."""
        node = self.turn % NODES
        ran = client(self, *options)
        assert ran.status == (3 if ran.line['unmet'] == 'authorities' else 0), (ran.out, ran.err)
        return node, ran.line, self.nodes[node].line()

    def round(self, name, *options, resumed, keep=False, **wanted):
        """A visit to each node, with the session `name`; `resumed` has the nodes where it resumes."""
        for _ in range(NODES):
            node, mine, theirs = self.visit(*(keeping(name) if keep else presenting(name)), *options)
            for line in (mine, theirs):
                same(line, ok=True, resumed=node in resumed)
            same(theirs, **wanted.get('at', {}).get(node, wanted['seen']))

    def __enter__(self):
        return self

    def __exit__(self, *how):
        self.listener.close()
        for node in self.nodes:
            node.__exit__(*how)


def agent(subject='CN=crawler.example'):
    return {'offered': True, 'outcome': 'accepted', 'certificate': 'verified', 'trust': 'agents', 'subject': subject, 'reason': None}


EVERY = set(range(NODES))
CRAWLER, PARTNER = own('crawler'), own('impostor')
VISITOR = {'offered': False, 'outcome': 'not_offered', 'certificate': 'not_requested', 'trust': None}


def test_one_session_everywhere():
    with Fleet() as fleet:
        for name, options, seen in (('crawler', CRAWLER, agent()), ('partner', PARTNER, agent()), ('visitor', [], VISITOR)):
            node, mine, theirs = fleet.visit('--session-out', path(name), *options)
            same(theirs, resumed=False, **seen)
            same(mine, resumed=False)
            fleet.round(name, *options, resumed=EVERY, seen=seen)
            fleet.round(name, *options, resumed=EVERY, seen=seen, keep=True)

        # One node no longer trusts the partners' CA. It asks again; the policy lets who has no good certificate in as a
        # guest, and the client keeps back one that the server has not named.
        trust(1, 'agents')
        same(fleet.nodes[1].hang_up(), event='reload', ok=True, error=None)
        guest = {'offered': True, 'outcome': 'accepted', 'certificate': 'empty', 'reason': 'empty', 'trust': None, 'subject': None}
        fleet.round('partner', *PARTNER, resumed={0, 2}, seen=agent(), at={1: guest})
        fleet.round('crawler', *CRAWLER, resumed={0, 2}, seen=agent())
        fleet.round('visitor', resumed=EVERY, seen=VISITOR)
        fleet.round('partner', '--offer', 'always', resumed={0, 2}, seen=agent(), at={1: guest})

        # A node that dies, and one that takes its place.
        fleet.nodes[2].process.kill()
        fleet.nodes[2].process.wait(PATIENCE)
        fleet.nodes[2] = fleet.start(2)
        fleet.round('crawler', *CRAWLER, resumed={0, 2}, seen=agent())

        # The others follow. The sessions from before do not go on; with one trust again a new one does at all.
        for node in (0, 2):
            trust(node, 'agents')
            same(fleet.nodes[node].hang_up(), ok=True)
        fleet.round('partner', *PARTNER, resumed=set(), seen=guest)
        fleet.round('crawler', *CRAWLER, resumed=set(), seen=agent())
        fleet.visit('--session-out', path('crawler'), *CRAWLER)
        fleet.round('crawler', *CRAWLER, resumed=EVERY, seen=agent())


def test_nothing_fails_while_nodes_reload():
    with Fleet() as fleet:
        crowd, visits = 4, 12
        done = threading.Event()

        def come_back(number):
            for _ in range(visits):
                ran = client(fleet, *keeping(f'crowd-{number}'), *(CRAWLER if number % 2 else []))
                assert ran.status == 0 and ran.line['ok'], (ran.out, ran.err)

        def reload():
            number = 0
            while not done.wait(0.02):
                node, number = number % NODES, number + 1
                trust(node, *(AGENTS if number % 2 else ('agents',)))
                fleet.nodes[node].process.send_signal(signal.SIGHUP)

        with ThreadPoolExecutor(crowd + 1) as pool:
            reloads = pool.submit(reload)
            clients = [pool.submit(come_back, number) for number in range(crowd)]
            wait(clients)
            done.set()
        for each in (*clients, reloads):
            each.result()
        seen, reloaded = [], 0
        for node in fleet.nodes:
            node.end()
            with contextlib.suppress(EOFError):
                while True:
                    line = node.line()
                    if line['event'] == 'connection':
                        seen.append(line)
                    else:  # a node that reads a file while it is written keeps what it has
                        reloaded += line['ok']
        assert reloaded > 0, 'nodes reloaded meanwhile'
        assert len(seen) == crowd * visits, 'each visit has its line'
        for line in seen:
            wanted = agent() if line['offered'] else VISITOR
            same(line, ok=True, **wanted)
        visitors = [line['resumed'] for line in seen if not line['offered']]
        assert len(visitors) == crowd * visits // 2, ('half of them are visitors', seen)
        assert sum(visitors) == len(visitors) - crowd // 2, 'a reload is nothing to a visitor: each comes back'


def test_early_data_stays_at_home():
    """With early data a session is kept where it was made: it resumes there, and elsewhere a full handshake follows."""
    question = 'GET /debug HTTP/1.1\r\nHost: x\r\n\r\n'
    with Fleet('--early-data', '1000') as fleet:
        home, _, _ = fleet.visit('--session-out', path('early'), *CRAWLER)
        for _ in range(NODES):
            node, mine, theirs = fleet.visit(*presenting('early'), '--early-data', question, *CRAWLER)
            same(mine, ok=True, resumed=node == home, early_data='accepted' if node == home else 'rejected')
            same(theirs, ok=True, resumed=node == home, early_data=node == home, **agent())
