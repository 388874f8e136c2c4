# SPDX-License-Identifier: Apache-2.0
"""The servers that people visit: reqauth-server, nginx with the module, Apache with the module, all with the flag on.

start(kind, asks) gives a running one; with `asks` it asks everyone else for a certificate too, and trusts customers. Each has
    port      where it listens
    keylog    the secrets of its connections
    says      what its page says to a visitor with the subject, or without one
    log       what it has logged about the visit: [{'offered': bool, 'subject': str or None}]

Its PKI is that of running.py. Servers other than reqauth-server are run with tests/modules/keylog.cpp preloaded.
"""
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import running
from running import PATIENCE, path, write

BUILD = running.BUILD
KEYLOG = os.path.abspath(os.path.join(BUILD, 'tests', 'keylog.so'))


class Example(running.Server):
    """reqauth-server."""

    def __init__(self, asks):
        self.asks, self.keylog = asks, path(f'keys-{asks}')
        super().__init__('--bots-ca', path('bots.pem'), '--keylog', self.keylog, '--threads', '2',
                         *(['--default-ca', path('customers.pem'), '--default-auth', 'request'] if asks else []))

    def says(self, who, asks):
        return 'CN=customer.example' if who else 'you sent none' if asks else 'never asked for a certificate'

    def log(self, conversations, label, served):
        lines = [self.line() for _ in conversations]
        for line in lines:
            asked = (self.asks or line['offered']) and not line['resumed']
            running.check('the server: what it says of asking', (line['certificate'] != 'not_requested') == asked, line)
        return lines


def unused_port():
    with socket.create_server(('127.0.0.1', 0)) as taken:
        return taken.getsockname()[1]


def found(name):
    """A server program: installed, or unpacked by scripts/setup."""
    return shutil.which(name, path=os.pathsep.join([os.environ.get('PATH', ''), '/usr/sbin', os.path.join(BUILD, 'packages', 'usr', 'sbin')]))


class Packaged:
    """A server as it is packaged, with its configuration in a folder of its own, and a log of JSON lines."""

    def __init__(self, asks):
        self.asks = asks
        self.folder = tempfile.mkdtemp(dir=running.home.name)
        os.chmod(running.home.name, 0o711)  # workers of root's servers are somebody else
        os.chmod(self.folder, 0o711)
        self.port, self.keylog, self.access = unused_port(), self.at('keys'), self.at('access')
        write(os.path.join(self.folder, 'conf'), self.configuration().encode())
        self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=self.folder,
                                        env={**os.environ, 'LD_PRELOAD': KEYLOG, 'KEYLOG': self.keylog}, start_new_session=True)
        deadline = time.monotonic() + PATIENCE
        while True:
            if self.process.poll() is not None:
                raise EOFError(f'the server ended: {self.process.stdout.read().decode()}')
            with contextlib.suppress(ConnectionError), socket.create_connection(('127.0.0.1', self.port), timeout=PATIENCE):
                break
            if time.monotonic() > deadline:
                self.__exit__()
                raise TimeoutError('the server does not listen')
            time.sleep(0.05)

    def at(self, name):
        return os.path.join(self.folder, name)

    def log(self, conversations, label, served):
        """Each line is of one request. Where there was one, it waits for its line."""
        deadline = time.monotonic() + PATIENCE
        while True:
            with open(self.access) as file:
                lines = [json.loads(line) for line in file.read().split('\n')[:-1]]
            lines = [line for line in lines if line['uri'] == f'/?{label}']
            if lines or not served or time.monotonic() > deadline:
                return [{'offered': line['outcome'] != 'not_offered', 'subject': line['subject'].strip('-') or None} for line in lines]
            time.sleep(0.05)

    def says(self, who, asks):
        return f'You are CN={who}.example.' if who else 'You are nobody.'

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)  # it leads a session of its own
                self.process.wait(PATIENCE)
        self.process.stdout.close()


class Nginx(Packaged):
    """nginx with the module."""
    module = os.path.abspath(os.path.join(BUILD, 'modules', 'nginx', 'ngx_http_reqauth_module.so'))

    def command(self):
        return [found('nginx'), '-p', self.folder, '-e', 'stderr', '-c', self.at('conf')]

    def configuration(self):
        temporary = ' '.join(f'{kind}_temp_path {self.at(kind)};' for kind in ('client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'))
        return f'''load_module {self.module}; daemon off; pid {self.at('pid')}; error_log stderr; worker_processes 1; events {{}}
http {{ {temporary}
    log_format json escape=json '{{"uri":"$request_uri","outcome":"$reqauth_outcome","subject":"$ssl_client_s_dn$reqauth_subject"}}';
    access_log {self.access} json;
    map $ssl_client_s_dn $whom {{ '' nobody; default $ssl_client_s_dn; }}
    server {{
        listen 127.0.0.1:{self.port} ssl; server_name localhost; ssl_protocols TLSv1.2 TLSv1.3;
        ssl_certificate {path('server.pem')}; ssl_certificate_key {path('server.key')};
        reqauth on; reqauth_trusted_certificate {path('bots.pem')};
        {f'ssl_verify_client optional; ssl_client_certificate {path("customers.pem")};' if self.asks else ''}
        location / {{ default_type text/html; return 200 '<!DOCTYPE html><title>nginx</title><h1>You are $whom.</h1>'; }}
    }}
}}
'''


class Apache(Packaged):
    """Apache httpd with the module. Its pages come in pieces."""
    module = os.path.abspath(os.path.join(BUILD, 'modules', 'apache', 'mod_reqauth.so'))

    def says(self, who, asks):
        return f'CN={who}.example' if who else 'nobody'

    def command(self):
        return [found('apache2'), '-d', self.folder, '-f', self.at('conf'), '-DFOREGROUND']

    def configuration(self):
        www = self.at('www')
        os.mkdir(www)
        write(os.path.join(www, 'index.html'), b'<!DOCTYPE html><title>Apache</title><h1>You are</h1><!--#echo var="SSL_CLIENT_S_DN" -->\n')
        os.mkdir(self.at('run'))
        load = '\n'.join(f'LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so' for name in
                         ('mpm_event', 'authz_core', 'dir', 'env', 'include', 'mime', 'socache_shmcb', 'ssl'))
        write(os.path.join(self.folder, 'types'), b'text/html html\n')
        return f'''ServerRoot {self.folder}
PidFile run/pid
DefaultRuntimeDir run
Mutex file:{self.at('run')} default
Listen 127.0.0.1:{self.port}
ServerName localhost
{load}
LoadModule reqauth_module {self.module}
{"User nobody" if os.geteuid() == 0 else ""}
{"Group nogroup" if os.geteuid() == 0 else ""}
ErrorLog error.log
TypesConfig types
DirectoryIndex index.html
DocumentRoot {www}
SSIUndefinedEcho nobody
<Directory {www}>
    Options +Includes
    SetOutputFilter INCLUDES
</Directory>
LogFormat "{{\\"uri\\":\\"/%q\\",\\"outcome\\":\\"%{{REQAUTH_OUTCOME}}e\\",\\"subject\\":\\"%{{SSL_CLIENT_S_DN}}x%{{REQAUTH_SUBJECT}}e\\"}}" json
CustomLog {self.access} json
<VirtualHost 127.0.0.1:{self.port}>
    ServerName localhost
    SSLEngine on
    SSLProtocol -all +TLSv1.2 +TLSv1.3
    SSLOptions +StdEnvVars
    SSLCertificateFile {path('server.pem')}
    SSLCertificateKeyFile {path('server.key')}
    ReqAuth on
    ReqAuthCACertificateFile {path('bots.pem')}
    {f'SSLVerifyClient optional{chr(10)}SSLCACertificateFile {path("customers.pem")}' if self.asks else ''}
</VirtualHost>
'''


KINDS = {'reqauth-server': Example, 'nginx': Nginx, 'apache2': Apache}


def why_not(kind):
    """Why there is no such server here, or None."""
    if kind == 'reqauth-server':
        return None
    if kind not in KINDS or found(kind) is None:
        return f'{kind} is not installed'
    return next((f'{os.path.basename(each)} is not built' for each in (KINDS[kind].module, KEYLOG) if not os.path.exists(each)), None)


def start(kind, asks):
    return KINDS[kind](asks)
