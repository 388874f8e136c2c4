# SPDX-License-Identifier: Apache-2.0
"""The servers that people visit: reqauth-server, nginx with the module, Apache with the module, all with the flag on.

start(kind, asks), also with QUIC, gives a running one; with `asks` it asks everyone else for a certificate too, and trusts customers. Each has
    port      where it listens
    keylog    the secrets of its connections
    says      what its page says to a visitor with the subject, or without one
    logged    what it has logged about the visit: [{'offered': bool, 'subject': str or None}]

Servers other than reqauth-server are run with tests/modules/keylog.cpp preloaded.
"""
import json
import os
import subprocess
import time

import running
import servers
from running import PATIENCE, built, path

KEYLOG = built('tests/keylog.so')


class Example(running.Server):
    """reqauth-server."""

    def __init__(self, asks):
        self.asks, self.keylog = asks, path(f'keys-{asks}')
        super().__init__('--agents-ca', path('agents.pem'), '--keylog', self.keylog, '--threads', '2',
                         *(['--customers-ca', path('customers.pem'), '--customers-auth', 'request'] if asks else []))

    def says(self, who, asks):
        return 'CN=customer.example' if who else 'you sent none' if asks else 'never asked for a certificate'

    def logged(self, conversations, label, served):
        lines = [self.line() for _ in conversations]
        for line in lines:
            asked = self.asks or line['offered']
            assert line['resumed'] or (line['certificate'] != 'not_requested') == asked, line
        return lines


class Visited:
    """What the others have: a log of JSON lines."""

    def start(self, *_):
        self.keylog = self.at('keys')
        return super().start({'LD_PRELOAD': KEYLOG, 'KEYLOG': self.keylog})

    def logged(self, conversations, label, served):
        """Each line is of one request. Where there was one, it waits for its line."""
        deadline = time.monotonic() + PATIENCE
        while True:
            lines = [json.loads(line) for line in self.log('access').split('\n')[:-1]]
            lines = [line for line in lines if line['uri'] == f'/?{label}']
            if lines or not served or time.monotonic() > deadline:
                return [{'offered': line['outcome'] != 'not_offered', 'subject': line['subject'].strip('-') or None} for line in lines]
            time.sleep(0.05)


class Nginx(Visited, servers.Nginx):
    listen = 'ssl;'

    def __init__(self, asks):
        super().__init__(f'''server {{
        listen 127.0.0.1:$PORT {self.listen} server_name localhost; access_log access json;
        ssl_certificate {path('server.pem')}; ssl_certificate_key {path('server.key')};
        reqauth on; reqauth_trusted_certificate {path('agents.pem')};
        {f'ssl_verify_client optional; ssl_client_certificate {path("customers.pem")};' if asks else ''}
        location / {{ default_type text/html; return 200 '<!DOCTYPE html><title>nginx</title><h1>You are $whom.</h1>'; }}
    }}''', http='''
    log_format json escape=json '{"uri":"$request_uri","outcome":"$reqauth_outcome","subject":"$ssl_client_s_dn$reqauth_subject"}';
    map $ssl_client_s_dn $whom { '' nobody; default $ssl_client_s_dn; }''')

    def says(self, who, asks):
        return f'You are CN={who}.example.' if who else 'You are nobody.'

    def end(self):
        self.forget_log()  # clients that leave are no fault of its
        super().end()


class NginxOverQuic(Nginx):
    """Where nginx's QUIC is not OpenSSL's own it takes the key log callback for itself, so the key log is the clients'."""
    listen = 'quic; keepalive_timeout 1s;'  # some clients stay as long as it lets them

    def start(self, *_):
        self.keylog = self.at('keys')
        return servers.Nginx.start(self)


class Apache(Visited, servers.Apache):
    """Its pages come in pieces."""

    def __init__(self, asks):
        running.write('types', b'text/html html\n')
        os.chmod(path('types'), 0o644)
        super().__init__(f'''
TypesConfig {path('types')}
SSIUndefinedEcho nobody
<Location />
    Options +Includes
    SetOutputFilter INCLUDES
</Location>
LogFormat "{{\\"uri\\":\\"/%q\\",\\"outcome\\":\\"%{{REQAUTH_OUTCOME}}e\\",\\"subject\\":\\"%{{SSL_CLIENT_S_DN}}x%{{REQAUTH_SUBJECT}}e\\"}}" json
CustomLog access json
<VirtualHost 127.0.0.1:$PORT>
    ServerName localhost
    SSLEngine on
    SSLProtocol -all +TLSv1.2 +TLSv1.3
    SSLOptions +StdEnvVars
    SSLCertificateFile {path('server.pem')}
    SSLCertificateKeyFile {path('server.key')}
    ReqAuth on
    ReqAuthCACertificateFile {path('agents.pem')}
    {f'SSLVerifyClient optional{chr(10)}SSLCACertificateFile {path("customers.pem")}' if asks else ''}
</VirtualHost>
''', load=['mime'], start=False)
        self.page('index.html', '<!DOCTYPE html><title>Apache</title><h1>You are</h1><!--#echo var="SSL_CLIENT_S_DN" -->\n')
        self.start()

    def says(self, who, asks):
        return f'CN={who}.example' if who else 'nobody'


KINDS = {'reqauth-server': Example, 'nginx': Nginx, 'apache2': Apache}
QUIC = 'nginx over QUIC'  # the programs of KINDS do not come over it


def why_not(kind):
    """Why there is no such server here, or None."""
    if kind == 'reqauth-server':
        return None
    if servers.found(kind.split()[0]) is None:
        return f'{kind} is not installed'
    if kind == QUIC:
        said = subprocess.run([servers.found('nginx'), '-V'], capture_output=True, text=True).stderr
        return why_not('nginx') or (None if '--with-http_v3_module' in said else 'this nginx has no HTTP/3')
    return next((f'{os.path.basename(each)} is not built' for each in (KINDS[kind].shared_object, KEYLOG) if not os.path.exists(each)), None)


def start(kind, asks):
    return (NginxOverQuic if kind == QUIC else KINDS[kind])(asks)
