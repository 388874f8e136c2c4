# SPDX-License-Identifier: Apache-2.0
"""The servers that people already run, as they are packaged: nginx and Apache httpd, each with its module, or without.

Each has ports and a folder of its own, and ends with its block. In a configuration $PORT, $OTHER and $PLAIN are its ports.
"""
import contextlib
import itertools
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.request

from running import PATIENCE, Ran, built, home, metrics_of, path, read_all, write

numbers = itertools.count(1)


def counted_by(server, name, target='/metrics'):
    """The counters of a server name that are not zero, in words, as the server gives them at its plain port: the agents' and impostors'."""
    with urllib.request.urlopen(f'http://127.0.0.1:{server.plain}{target}', timeout=PATIENCE) as answer:
        assert answer.headers['Content-Type'].startswith('text/plain; version=0.0.4')
        values = metrics_of(answer.read().decode())
    found = {}
    for line, value in values.items():
        if value and f'server="{name}"' in line:
            labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
            found[labels.get('reason') or labels.get('code') or re.match(r'reqauth_(?:handshakes_)?(\w+)_total', line).group(1)] = value
    return found


def unused_port():
    with socket.create_server(('127.0.0.1', 0)) as taken:
        return taken.getsockname()[1]


def found(name):
    """A server program: installed, or unpacked by scripts/setup."""
    return shutil.which(name, path=os.pathsep.join([os.environ.get('PATH', ''), '/usr/sbin', built('packages/usr/sbin')]))


class Packaged:
    """What both have."""

    def __init__(self, module):
        self.folder, self.module = path(f'{type(self).__name__}-{next(numbers)}'), module
        os.makedirs(self.folder)
        for each in (home.name, self.folder):
            os.chmod(each, 0o711)  # workers of root's servers are somebody else
        self.port, self.other, self.plain = (unused_port() for _ in range(3))
        self.process = None

    def at(self, name):
        return os.path.join(self.folder, name)

    def ported(self, text):
        for name, port in (('$PORT', self.port), ('$OTHER', self.other), ('$PLAIN', self.plain)):
            text = text.replace(name, str(port))
        return text

    def run(self, environment=None):
        # It leads a session of its own, with its workers.
        self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        cwd=self.folder, start_new_session=True, env={**os.environ, **(environment or {})})

    def until(self, holds):
        for _ in range(PATIENCE * 50):
            if holds():
                return
            if self.process.poll() is not None:
                raise EOFError(f'it ended: {self.process.stdout.read().decode()} {self.log()[-2000:]}')
            time.sleep(0.02)
        raise TimeoutError(self.log()[-2000:])

    def test(self):
        """What it says of its configuration."""
        done = subprocess.run(self.command('-t'), stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE)
        return Ran(done.returncode, done.stdout, done.stderr)

    def log(self, name='error.log'):
        with contextlib.suppress(FileNotFoundError), open(self.at(name), errors='replace') as file:
            return file.read()
        return ''

    def forget_log(self):
        write(self.at('error.log'), b'')

    def end(self):
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(PATIENCE)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if self.process is None:
            return
        try:
            if kind is None and self.process.poll() is None:
                self.end()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(PATIENCE)
            self.process.stdout.close()


class Nginx(Packaged):
    """nginx with `servers` in its http {}."""
    shared_object = built('modules/nginx/ngx_http_reqauth_module.so')

    def __init__(self, *servers, http='', module=True, workers=1, starts=True, environment=None):
        super().__init__(module)
        self.generation, self.control, self.workers = 0, unused_port(), workers
        self.configure(*servers, http=http)
        if starts:
            self.start(environment)

    def text(self, *servers, http=''):
        temporary = ' '.join(f'{kind}_temp_path {self.at(kind)};' for kind in ('client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'))
        return '\n'.join([
            f'load_module {self.shared_object};' if self.module else '',
            f'daemon off; master_process on; worker_processes {self.workers}; pid {self.at("nginx.pid")};',
            'user root;' if os.geteuid() == 0 else '',
            f'error_log {self.at("error.log")} info;',
            'events { worker_connections 1024; }',
            f'http {{ access_log off; {temporary} ssl_protocols TLSv1.2 TLSv1.3; keepalive_requests 100000;',
            f'server {{ listen 127.0.0.1:{self.control}; return 200 "{self.generation}\\n"; }}',
            self.ported('\n'.join([http, *servers])), '}', ''])

    def configure(self, *servers, http=''):
        self.write(self.text(*servers, http=http))

    def write(self, text):
        write(self.at('nginx.conf'), text.encode())

    def command(self, *options):
        return [found('nginx'), '-p', self.folder, '-e', self.at('error.log'), '-c', self.at('nginx.conf'), *options]

    def start(self, environment=None):
        self.run(environment)
        self.until(lambda: self.says_generation() == self.generation)

    def says_generation(self):
        with contextlib.suppress(OSError, ValueError), socket.create_connection(('127.0.0.1', self.control), timeout=PATIENCE) as plain:
            plain.sendall(b'GET / HTTP/1.0\r\n\r\n')
            return int(read_all(plain).split(b'\r\n\r\n')[1])

    def children(self):
        with open(f'/proc/{self.process.pid}/task/{self.process.pid}/children') as file:
            return [int(each) for each in file.read().split()]

    @staticmethod
    def accepts(pid):
        """Whether this worker still takes connections: one that goes away gracefully says so in its title."""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError), open(f'/proc/{pid}/cmdline') as file:
            title = file.read()
            return 'worker process' in title and 'shutting down' not in title
        return False

    def reload(self, *servers, http=''):
        """A new configuration by SIGHUP; waits until only it serves."""
        before = [each for each in self.children() if self.accepts(each)]
        self.generation += 1
        self.configure(*servers, http=http)
        self.process.send_signal(signal.SIGHUP)
        self.until(lambda: self.says_generation() == self.generation and not any(map(self.accepts, before)))

    def lines(self, name):
        return self.log(name).splitlines()

    def end(self):
        super().end()
        assert self.process.returncode == 0, self.log()[-2000:]
        # What the servers and the library did wrong would be here.
        bad = [line for line in self.log().splitlines() if re.search(r'\[(alert|emerg|crit)\]|exited on signal', line)]
        assert not bad, 'nginx has no alerts in its log'


class Apache(Packaged):
    """Apache httpd, which listens on those of its ports that `text` has. `extra` goes before it, outside of virtual hosts."""
    shared_object, modules = built('modules/apache/mod_reqauth.so'), '/usr/lib/apache2/modules'
    loaded = ('authn_core authn_file authz_core authz_host authz_user auth_basic alias cgi dir env headers http2 include proxy '
              'proxy_ajp proxy_fcgi proxy_http proxy_scgi proxy_uwsgi rewrite setenvif socache_shmcb ssl').split()

    def __init__(self, text='', mpm='event', module=True, start=True, extra='', load=(), environment=None):
        super().__init__(module)
        for made in ('www', 'run/socks', 'lock'):
            os.makedirs(self.at(made))
        self.page('index.html', 'hello\n')
        self.mpm, self.extra, self.load, self.conf = mpm, extra, load, self.at('apache2.conf')
        self.configure(text)
        if start:
            self.start(environment)

    def configure(self, text, module=None):
        self.module = self.module if module is None else module
        load = [f'LoadModule mpm_{self.mpm}_module {self.modules}/mod_mpm_{self.mpm}.so',
                *(f'LoadModule {name}_module {self.modules}/mod_{name}.so' for name in (*self.loaded, *self.load)),
                *([f'LoadModule reqauth_module {self.shared_object}'] if self.module else [])]
        lines = [f'ServerRoot {self.folder}', 'PidFile run/httpd.pid', 'DefaultRuntimeDir run', f'Mutex file:{self.at("lock")} default',
                 *(f'Listen 127.0.0.1:{port}' for port in ('$PORT', '$OTHER', '$PLAIN') if port == '$PORT' or port in text), 'ServerName localhost',
                 *load, *(['User nobody', 'Group nogroup'] if os.geteuid() == 0 else []), 'ErrorLog error.log', 'LogLevel info',
                 'DocumentRoot www', 'DirectoryIndex index.html', 'StartServers 2', 'MaxRequestWorkers 150',
                 'MaxConnectionsPerChild 0', 'KeepAliveTimeout 30', 'GracefulShutdownTimeout 60', 'SSLSessionCache none', self.extra, text]
        write(self.conf, self.ported('\n'.join(lines) + '\n').encode())

    def page(self, name, text):
        os.makedirs(os.path.dirname(self.at(f'www/{name}')), exist_ok=True)
        write(self.at(f'www/{name}'), text.encode())

    def line_of(self, text):
        with open(self.conf) as file:
            return next(number for number, line in enumerate(file, 1) if text in line)

    def command(self, *options):
        return [found('apache2'), '-d', self.folder, '-f', self.conf, *(options or ['-DFOREGROUND'])]

    def start(self, environment=None):
        self.run(environment)
        self.until(self.listens)
        return self

    def listens(self):
        with contextlib.suppress(ConnectionError), socket.create_connection(('127.0.0.1', self.port), timeout=PATIENCE):
            return True
        return False

    def control(self, action):
        """apachectl, as it is packaged."""
        done = subprocess.run([found('apachectl'), action], stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, env={
            **os.environ, 'APACHE_CONFDIR': self.folder, 'APACHE_ENVVARS': '/nonexistent', 'APACHE_HTTPD': found('apache2'),
            'APACHE_RUN_DIR': self.at('run'), 'APACHE_LOCK_DIR': self.at('lock'),
            'APACHE_RUN_USER': pwd.getpwuid(os.getuid()).pw_name, 'APACHE_ULIMIT_MAX_FILES': ':'})
        return Ran(done.returncode, done.stdout, done.stderr)

    def children(self):
        """The processes that serve, with the processor time of each so far, in ticks."""
        found = {}
        for pid in filter(str.isdigit, os.listdir('/proc')):
            with contextlib.suppress(OSError), open(f'/proc/{pid}/stat') as file:
                fields = file.read().rsplit(')', 1)[1].split()
                if int(fields[1]) == self.process.pid:
                    found[pid] = int(fields[11]) + int(fields[12])
        return found

    def catches_sigusr1(self):
        with open(f'/proc/{self.process.pid}/status') as file:
            return int(re.search(r'^SigCgt:\s*(\w+)$', file.read(), re.MULTILINE)[1], 16) >> (signal.SIGUSR1 - 1) & 1

    def graceful(self, alone=True):
        """Has it read the configuration again; and, without open connections, waits until those that had read the old one are gone."""
        self.until(self.catches_sigusr1)  # which ends a process that listens and has come no further
        restarts, old = self.log().count('resuming normal operations'), self.children()
        self.process.send_signal(signal.SIGUSR1)
        self.until(lambda: self.log().count('resuming normal operations') > restarts and not (alone and old.keys() & self.children().keys()))

    def processor_time(self):
        return sum(self.children().values()) / os.sysconf('SC_CLK_TCK')


class Tunnel:
    """Plain connections to its port reach the server at `to` over TLS: as the agent `who`, or as a person. `more`: words of tunnel."""
    program = built('tests/tunnel')

    def __init__(self, to, name, who='crawler', *more):
        files = [path(f'{who}.pem'), path(f'{who}.key')] if who else ['-', '-']
        self.process = subprocess.Popen([self.program, str(to), name, path('servers.pem'), *files, *more], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE)
        self.port = int(self.process.stdout.readline().split()[-1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait(PATIENCE)
        self.process.stdout.close()
