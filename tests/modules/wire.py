# SPDX-License-Identifier: Apache-2.0
"""What went over the wire: a relay that keeps each octet, and tshark, which reads it with the key log of the server."""
import contextlib
import shutil
import socket
import struct
import subprocess
import threading

PATIENCE = 60  # seconds, only so that a hang fails
CLIENT_HELLO, SERVER_HELLO, ENCRYPTED_EXTENSIONS, CERTIFICATE, CERTIFICATE_REQUEST, FINISHED = 1, 2, 8, 11, 13, 20
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


def capture(conversations, file):
    """Writes a capture, as if the n-th client were 10.0.0.1, port 10000 + n, and the server 10.0.0.2, port 443."""
    with open(file, 'wb') as out:
        out.write(struct.pack('<IHHiIII', 0xa1b2c3d4, 2, 4, 0, 0, 1 << 18, 101))  # 101: packets begin with the IP header
        clock = 0
        for number, conversation in enumerate(conversations):
            sent = {True: 1, False: 1}
            for of_client, octets in conversation.pieces:
                for start in range(0, len(octets), 1400):
                    part = octets[start:start + 1400]
                    ports = (10000 + number, 443) if of_client else (443, 10000 + number)
                    hosts = bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2))
                    tcp = struct.pack('>HHIIBBHHH', *ports, sent[of_client], sent[not of_client], 0x50, 0x18, 65535, 0, 0)
                    ip = struct.pack('>BBHHHBBH', 0x45, 0, 40 + len(part), 0, 0x4000, 64, 6, 0) + b''.join(hosts if of_client else hosts[::-1])
                    clock += 1
                    out.write(struct.pack('<IIII', clock, 0, 40 + len(part), 40 + len(part)) + ip + tcp + part)
                    sent[of_client] += len(part)


def read(conversations, keylog, file):
    """Fills in the handshake messages of the conversations, which have to be those that the key log is of."""
    capture(conversations, file)
    fields = ['tcp.srcport', 'tcp.dstport', 'tls.handshake.type', 'tls.handshake.certificates_length', 'tls.compress_certificate.uncompressed_length']
    done = subprocess.run(['tshark', '-n', '-r', file, '-o', f'tls.keylog_file:{keylog}', '-Y', 'tls.handshake.type', '-T', 'fields',
                           *(argument for field in fields for argument in ('-e', field))],
                          capture_output=True, text=True, check=True, timeout=PATIENCE)
    for line in done.stdout.splitlines():
        source, target, types, certificates, uncompressed = line.split('\t')
        of_client = target == '443'
        conversation = conversations[int(source if of_client else target) - 10000]
        (conversation.client if of_client else conversation.server).extend(
            CERTIFICATE if int(each) == COMPRESSED_CERTIFICATE else int(each) for each in types.split(','))
        if of_client and certificates:
            conversation.certificates += sum(int(each) for each in certificates.split(','))
        elif of_client and uncompressed:  # with the lengths of an empty context and of the list
            conversation.certificates += sum(int(each) - 4 for each in uncompressed.split(','))
    return conversations
