# SPDX-License-Identifier: Apache-2.0
"""HTTP/3 with aioquic, whose TLS is its own: aioquic_client.py URL ROOTS CERTIFICATE KEY KEYLOG COUNT. Each visit after the first
presents the session of the one before."""
import asyncio
import sys
import urllib.parse

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration

url, roots, certificate, key, keylog, count = sys.argv[1:]
parts = urllib.parse.urlsplit(url)
session = None


class Client(QuicConnectionProtocol):
    def quic_event_received(self, event):
        for each in self.http.handle_event(event):
            if isinstance(each, (HeadersReceived, DataReceived)):
                self.got += each.data if isinstance(each, DataReceived) else b''
                if each.stream_ended:
                    self.done.set_result(self.got)

    async def get(self):
        self.done, self.got = asyncio.get_running_loop().create_future(), b''
        self.http = H3Connection(self._quic)
        self.http.send_headers(self._quic.get_next_available_stream_id(), [
            (b':method', b'GET'), (b':scheme', b'https'), (b':authority', parts.netloc.encode()),
            (b':path', f'{parts.path}?{parts.query}'.encode())], end_stream=True)
        self.transmit()
        return await asyncio.wait_for(self.done, 60)


def keep(ticket):
    global session
    session = ticket


async def main():
    with open(keylog, 'a') as secrets:
        for _ in range(int(count)):
            how = QuicConfiguration(alpn_protocols=['h3'], secrets_log_file=secrets, session_ticket=session)
            how.load_verify_locations(roots)
            how.load_cert_chain(certificate, key)
            async with connect(parts.hostname, parts.port, configuration=how, create_protocol=Client, session_ticket_handler=keep) as client:
                print((await client.get()).decode())


asyncio.run(main())
