# SPDX-License-Identifier: Apache-2.0
"""Chromium without a window, driven over its DevTools pipe. It leaves nothing behind: its HOME is private, and its
policies are seen by it alone, in a mount namespace of its own."""
import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

PATIENCE = 60  # seconds, only so that a hang fails
POLICIES = '/etc/chromium'  # where Debian's Chromium looks for them, in policies/managed
PRIVATE = ['unshare', '--mount', *([] if os.geteuid() == 0 else ['--map-root-user'])]


def why_not():
    """Why there is no Chromium to be had here, or None."""
    if shutil.which('chromium') is None:
        return 'chromium is not installed'
    return None


def why_no_policies():
    """Why a policy cannot be given to one Chromium alone, or None."""
    if not os.path.isdir(POLICIES):
        return f'{POLICIES} is not there to be covered'
    done = subprocess.run([*PRIVATE, 'mount', '-t', 'tmpfs', 'none', POLICIES], capture_output=True, text=True)
    return f'no mount namespace can be had here ({done.stderr.strip()})' if done.returncode else None


def over_quic(port, certificate):
    """Options by which it visits this port of 127.0.0.1 and localhost over QUIC alone, where it takes roots that are no public ones only
    for a key that it is told of: the certificate's."""
    key = subprocess.run('openssl x509 -noout -pubkey | openssl pkey -pubin -outform DER | openssl dgst -sha256 -binary | base64',
                         shell=True, input=certificate, capture_output=True, check=True).stdout.decode().strip()
    return [f'--origin-to-force-quic-on=127.0.0.1:{port},localhost:{port}', '--host-resolver-rules=MAP localhost 127.0.0.1',
            f'--ignore-certificate-errors-spki-list={key}']


def pipe():
    """A pipe whose two ends have numbers that are in nobody's way."""
    low = os.pipe()
    high = [fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, 10) for each in low]
    for each in low:
        os.close(each)
    return high


class Chromium:
    """One Chromium with a new profile, and one page in it.

    authorities: {name: file}, trusted for servers; identity: a PKCS #12 file with its password, as (file, password);
    policies: a dict for policies/managed; options: more words of its command."""

    def __init__(self, authorities=None, identity=None, policies=None, options=()):
        self.home = tempfile.TemporaryDirectory(prefix='reqauth-chromium-')
        self.database(authorities or {}, identity)
        command = ['chromium', '--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run',
                   '--disable-component-update', '--disable-background-networking', '--remote-debugging-pipe',
                   f'--user-data-dir={self.home.name}/profile', *options]
        if policies is not None:
            with open(os.path.join(self.home.name, 'policies.json'), 'w') as file:
                json.dump(policies, file)
            command = [*PRIVATE, 'sh', '-c', 'mount -t tmpfs none "$1" && mkdir -p "$1/policies/managed" && '
                       'cp "$2" "$1/policies/managed/" && shift 2 && exec "$@"', 'sh', POLICIES, file.name, *command]
        theirs_in, self.to = pipe()
        self.back, theirs_out = pipe()
        self.errors = open(os.path.join(self.home.name, 'errors'), 'wb')
        # It reads commands from descriptor 3 and writes to 4.
        command = ['bash', '-c', f'exec 3<&{theirs_in} 4>&{theirs_out} {theirs_in}<&- {theirs_out}>&-; exec "$@"', 'bash', *command]
        self.process = subprocess.Popen(command, pass_fds=(theirs_in, theirs_out), stdin=subprocess.DEVNULL, stdout=self.errors,
                                        stderr=self.errors, cwd=self.home.name, start_new_session=True,
                                        env={**os.environ, 'HOME': self.home.name, 'XDG_DATA_HOME': os.path.join(self.home.name, '.local/share')})
        os.close(theirs_in)
        os.close(theirs_out)
        self.buffer, self.number, self.events, self.session = b'', 0, [], None
        try:
            target = self.call('Target.createTarget', url='about:blank')['targetId']
            self.session = self.call('Target.attachToTarget', targetId=target, flatten=True)['sessionId']
            self.call('Page.enable')
        except BaseException:
            self.close()
            raise

    def database(self, authorities, identity):
        """An NSS database where Chromium looks for one."""
        folder = os.path.join(self.home.name, '.pki', 'nssdb')
        os.makedirs(folder)
        run = lambda *command: subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE)  # noqa: E731
        run('certutil', '-N', '-d', f'sql:{folder}', '--empty-password')
        for name, file in authorities.items():
            run('certutil', '-A', '-d', f'sql:{folder}', '-n', name, '-t', 'C,,', '-i', file)
        if identity is not None:
            run('pk12util', '-i', identity[0], '-W', identity[1], '-d', f'sql:{folder}', '-K', '')

    def receive(self, deadline):
        while b'\0' not in self.buffer:
            if not select.select([self.back], [], [], max(0, deadline - time.monotonic()))[0]:
                raise TimeoutError('Chromium says nothing')
            more = os.read(self.back, 1 << 16)
            if not more:
                raise EOFError(f'Chromium ended: {self.said()}')
            self.buffer += more
        text, self.buffer = self.buffer.split(b'\0', 1)
        return json.loads(text)

    def said(self):
        with open(self.errors.name, errors='replace') as file:
            return file.read()[-2000:]

    def call(self, method, patience=PATIENCE, **parameters):
        """Sends a command, and gives its result."""
        self.number += 1
        request = {'id': self.number, 'method': method, 'params': parameters}
        if self.session is not None:
            request['sessionId'] = self.session
        os.write(self.to, json.dumps(request).encode() + b'\0')
        deadline = time.monotonic() + patience
        while True:
            message = self.receive(deadline)
            if 'method' in message:
                self.events.append(message)
            elif message.get('id') == self.number:
                if 'error' in message:
                    raise RuntimeError(f'{method}: {message["error"]}')
                return message['result']

    def open(self, url, patience=PATIENCE):
        """Loads a page. Gives the network's error, None if there is none; a TimeoutError where it never comes."""
        self.events.clear()
        error = self.call('Page.navigate', patience, url=url).get('errorText')
        deadline = time.monotonic() + patience
        while error is None and not any(each['method'] == 'Page.loadEventFired' for each in self.events):
            message = self.receive(deadline)
            if 'method' in message:
                self.events.append(message)
        return error

    def evaluate(self, expression):
        """The value of a JavaScript expression in the page."""
        done = self.call('Runtime.evaluate', expression=expression, returnByValue=True, awaitPromise=True)
        if 'exceptionDetails' in done:
            raise RuntimeError(f'{expression}: {done["exceptionDetails"]}')
        return done['result'].get('value')

    def text(self):
        return self.evaluate('document.body.innerText')

    def until(self, expression):
        """Waits until an expression of the page is true; gives its value."""
        deadline = time.monotonic() + PATIENCE
        while not (value := self.evaluate(expression)):
            if time.monotonic() > deadline:
                raise TimeoutError(f'{expression} stays {value!r}: the page says {self.text()!r}')
            time.sleep(0.1)
        return value

    def look(self, width, height, dark=False):
        """The size of the window, and whether the person likes it dark."""
        self.call('Emulation.setDeviceMetricsOverride', width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call('Emulation.setEmulatedMedia', features=[{'name': 'prefers-color-scheme', 'value': 'dark' if dark else 'light'}])

    def screenshot(self, file):
        """Keeps a picture of the whole page for a person to look at."""
        os.makedirs(os.path.dirname(file), exist_ok=True)
        with open(file, 'wb') as out:
            out.write(base64.b64decode(self.call('Page.captureScreenshot', captureBeyondViewport=True)['data']))
        print(f'screenshot: {file}', flush=True)

    def close(self):
        if self.process.poll() is None:
            try:
                self.session = None
                self.call('Browser.close', 5)
                self.process.wait(5)
            except (OSError, EOFError, TimeoutError, RuntimeError, subprocess.TimeoutExpired):
                pass
        try:
            os.killpg(self.process.pid, 9)  # it leads a session of its own: what is left of it, and nothing else
        except ProcessLookupError:
            pass
        self.process.wait(PATIENCE)
        for each in (self.to, self.back):
            os.close(each)
        self.errors.close()
        for _ in range(50):  # its helpers may still write there
            try:
                self.home.cleanup()
                return
            except OSError:
                time.sleep(0.1)
        self.home.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
