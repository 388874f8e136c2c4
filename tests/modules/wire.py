# SPDX-License-Identifier: Apache-2.0
"""What went over the wire: a relay that keeps each octet, and tshark, which reads it with a key log."""
import contextlib
import selectors
import shutil
import socket
import struct
import subprocess
import threading

PATIENCE = 60  # seconds, only so that a hang fails
CLIENT_HELLO, SERVER_HELLO, NEW_SESSION_TICKET, ENCRYPTED_EXTENSIONS, CERTIFICATE, CERTIFICATE_REQUEST = 1, 2, 4, 8, 11, 13
CERTIFICATE_VERIFY, FINISHED = 15, 20
COMPRESSED_CERTIFICATE = 25  # RFC 8879: of later OpenSSL, and a Certificate like any other here


def why_not():
    return 'tshark is not installed' if shutil.which('tshark') is None else None


class Conversation:
    """One connection: pieces of octets, each with whether it is of the client. The handshake's messages are filled in by `read`."""

    def __init__(self, label):
        self.label, self.pieces = label, []
        self.client, self.server = [], []  # types of messages, in order
        self.certificates = 0              # octets of certificates in the client's Certificate

    def octets(self, of_client):
        return b''.join(piece for mine, piece in self.pieces if mine == of_client)


class Relay:
    """Listens, and carries everything to `port` and back."""

    def __init__(self, port, record=True):
        self.to, self.record, self.label = port, record, ''
        self.conversations, self.sockets, self.open = [], set(), 0
        self.changed = threading.Condition()
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.take, daemon=True).start()

    def take(self):
        with contextlib.suppress(OSError):  # closed
            while True:
                near, _ = self.listener.accept()
                far = socket.create_connection(('127.0.0.1', self.to))
                conversation = Conversation(self.label)
                with self.changed:
                    self.conversations.append(conversation)
                    self.sockets |= {near, far}
                    self.open += 2
                for source, target, of_client in ((near, far, True), (far, near, False)):
                    threading.Thread(target=self.carry, args=(conversation, source, target, of_client), daemon=True).start()

    def carry(self, conversation, source, target, of_client):
        with contextlib.suppress(OSError):
            while octets := source.recv(1 << 16):
                if self.record:
                    conversation.pieces.append((of_client, octets))
                target.sendall(octets)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)
        with self.changed:
            self.open -= 1
            self.changed.notify_all()

    def settle(self):
        """Waits until each connection has ended in both directions."""
        with self.changed:
            if not self.changed.wait_for(lambda: self.open == 0, PATIENCE):
                raise TimeoutError('a connection does not end')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for each in (self.listener, *self.sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


class Datagrams:
    """The same for QUIC: each address of a client is a connection, and each piece a datagram."""

    def __init__(self, port):
        self.to, self.label, self.conversations, self.known, self.settled = port, '', [], {}, threading.Event()
        self.near, self.marks = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        for each in (self.near, self.marks):
            each.bind(('127.0.0.1', 0))
        self.port = self.near.getsockname()[1]
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.near, selectors.EVENT_READ)
        self.thread = threading.Thread(target=self.carry, daemon=True)
        self.thread.start()

    def far(self, client):
        """The socket that stands for this client before the server."""
        if client not in self.known:
            far, conversation = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), Conversation(self.label)
            far.connect(('127.0.0.1', self.to))
            self.conversations.append(conversation)
            self.known[client] = far, conversation
            self.selector.register(far, selectors.EVENT_READ, (client, conversation))
        return self.known[client]

    def carry(self):
        while True:
            for key, _ in self.selector.select():
                with contextlib.suppress(ConnectionRefusedError):  # one end has gone
                    octets, source = key.fileobj.recvfrom(1 << 16)
                    if key.fileobj is not self.near:
                        client, conversation = key.data
                        conversation.pieces.append((False, octets))
                        self.near.sendto(octets, client)
                    elif source == self.marks.getsockname():
                        self.settled.set()
                        if octets == b'end':
                            return
                    else:
                        far, conversation = self.far(source)
                        conversation.pieces.append((True, octets))
                        far.send(octets)

    def settle(self, mark=b'here'):
        """Waits until all has been carried that clients sent before."""
        self.settled.clear()
        self.marks.sendto(mark, ('127.0.0.1', self.port))
        if not self.settled.wait(PATIENCE):
            raise TimeoutError('a datagram is not carried')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.settle(b'end')
        self.thread.join(PATIENCE)
        for each in (self.selector, self.near, self.marks, *(far for far, _ in self.known.values())):
            each.close()


def capture(conversations, file, quic=False):
    """Writes a capture, as if the n-th client were 10.0.0.1, port 10000 + n, and the server 10.0.0.2, port 443."""
    with open(file, 'wb') as out:
        out.write(struct.pack('<IHHiIII', 0xa1b2c3d4, 2, 4, 0, 0, 1 << 18, 101))  # 101: packets begin with the IP header
        clock = 0
        for number, conversation in enumerate(conversations):
            sent = {True: 1, False: 1}
            for of_client, octets in conversation.pieces:
                size = len(octets) if quic else 1400
                for start in range(0, len(octets), size):
                    part = octets[start:start + size]
                    ports = (10000 + number, 443) if of_client else (443, 10000 + number)
                    hosts = bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2))
                    head = (struct.pack('>HHHH', *ports, 8 + len(part), 0) if quic else
                            struct.pack('>HHIIBBHHH', *ports, sent[of_client], sent[not of_client], 0x50, 0x18, 65535, 0, 0))
                    long = 20 + len(head) + len(part)
                    ip = struct.pack('>BBHHHBBH', 0x45, 0, long, 0, 0x4000, 64, 17 if quic else 6, 0) + b''.join(hosts if of_client else hosts[::-1])
                    clock += 1
                    out.write(struct.pack('<IIII', clock, 0, long, long) + ip + head + part)
                    sent[of_client] += len(part)


def decode(file, keylog, *fields):
    """The values of these fields, of each packet with handshake messages."""
    done = subprocess.run(['tshark', '-n', '-r', file, '-o', f'tls.keylog_file:{keylog}', '-Y', 'tls.handshake.type', '-T', 'fields',
                           *(argument for field in fields for argument in ('-e', field))],
                          capture_output=True, text=True, check=True, timeout=PATIENCE)
    return [line.split('\t') for line in done.stdout.splitlines()]


def read(conversations, keylog, file, quic=False):
    """Fills in the handshake messages of the conversations, which have to be those that the key log is of."""
    capture(conversations, file, quic)
    port = 'udp' if quic else 'tcp'
    for source, target, types, certificates, uncompressed in decode(
            file, keylog, f'{port}.srcport', f'{port}.dstport', 'tls.handshake.type', 'tls.handshake.certificates_length',
            'tls.compress_certificate.uncompressed_length'):
        of_client = target == '443'
        conversation = conversations[int(source if of_client else target) - 10000]
        (conversation.client if of_client else conversation.server).extend(
            CERTIFICATE if int(each) == COMPRESSED_CERTIFICATE else int(each) for each in types.split(','))
        if of_client and certificates:
            conversation.certificates += sum(int(each) for each in certificates.split(','))
        elif of_client and uncompressed:  # with the lengths of an empty context and of the list
            conversation.certificates += sum(int(each) - 4 for each in uncompressed.split(','))
    return conversations
