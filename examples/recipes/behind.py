# SPDX-License-Identifier: Apache-2.0
"""A WSGI application behind a server that ends TLS and sends Client-Cert (RFC 9440): it knows agents by thumbprint.

It believes that field, so only that server may reach it, and that server removes the field from what comes in.
"""
import base64
import binascii
import hashlib

AGENTS = {}  # SHA-256 of the certificate in hex: a name


def thumbprint(field):
    """SHA-256 of the certificate in a Client-Cert field; None where it is no such field."""
    if len(field) < 3 or field[0] != ':' or field[-1] != ':':
        return None
    try:
        der = base64.b64decode(field[1:-1], validate=True)
    except (binascii.Error, ValueError):
        return None
    return hashlib.sha256(der).hexdigest()


def application(environ, start_response):
    agent = AGENTS.get(thumbprint(environ.get('HTTP_CLIENT_CERT', '')))
    start_response('200 OK', [('Content-Type', 'text/plain; charset=utf-8')])
    return [f'hello, {agent or "whoever you are"}\n'.encode()]
