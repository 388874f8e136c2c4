# SPDX-License-Identifier: Apache-2.0
"""The servers that people already run, as they are packaged: nginx and Apache httpd, each with its module, or without.

Each has ports and a folder of its own, and ends with its block. In a configuration $PORT, $OTHER and $PLAIN are its ports.
"""
import contextlib
import itertools
import os
import re
import shutil
import signal
import socket
import subprocess
import time

from running import PATIENCE, Ran, built, home, path, read_all, write

numbers = itertools.count(1)


def unused_port():
    with socket.create_server(('127.0.0.1', 0)) as taken:
        return taken.getsockname()[1]


def found(name):
    """A server program: installed, or unpacked by scripts/setup."""
    return shutil.which(name, path=os.pathsep.join([os.environ.get('PATH', ''), '/usr/sbin', built('packages/usr/sbin')]))


class Packaged:
    """What both have."""
    files = ()  # that the process gets

    def __init__(self, module):
        self.folder, self.module = path(f'{type(self).__name__}-{next(numbers)}'), module
        os.makedirs(self.folder)
        for each in (home.name, self.folder):
            os.chmod(each, 0o711)  # workers of root's servers are somebody else
        self.port, self.other, self.plain, self.control = (unused_port() for _ in range(4))
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
        self.generation, self.workers = 0, workers
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
        with contextlib.suppress(OSError, ValueError), socket.create_connection(('127.0.0.1', self.control), timeout=PATIENCE) as control:
            control.sendall(b'GET / HTTP/1.0\r\n\r\n')
            return int(read_all(control).split(b'\r\n\r\n')[1])

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
        bad = [line for line in self.log().splitlines() if re.search(r'\[(alert|emerg|crit)\]|exited on signal', line)
               and not re.search(r'certificate verify failed|peer did not return a certificate', line)]
        assert not bad, 'nginx has no alerts in its log'
