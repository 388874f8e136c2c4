# SPDX-License-Identifier: Apache-2.0
"""Clients whose keys are in providers, against reqauth-server: what both sides say, and that nothing ever asks.

What cannot run here says why. scripts/test-providers runs all of it.
"""
import contextlib
import glob
import json
import os
import running
import shutil
import signal
import subprocess
import sys
import termios
import time

import pytest

from running import CLIENT, PATIENCE, Server, built, path, same, write

PIN, ENGINE_CLIENT = '1234', built('tests/engine-client')


def need(*programs):
    for program in programs:
        if shutil.which(program, path=os.environ.get('PATH', '') + ':/usr/sbin:/sbin') is None:
            pytest.skip(f'{program} is not installed')


def module(*places):
    for place in places:
        for found in sorted(glob.glob(place)):
            return found
    pytest.skip(f'{places[0]} is not there')


def tool(*command, **environment):
    done = subprocess.run(command, cwd=running.home.name, env={**os.environ, **environment}, stdin=subprocess.DEVNULL,
                          capture_output=True, timeout=PATIENCE)
    if done.returncode != 0:
        raise RuntimeError(f'{command}: {done.stdout.decode()}{done.stderr.decode()}')
    return done.stdout.decode()


def configuration(name, text):
    """An openssl.cnf; sections are not called as providers are, since one called "default" would be the file's head."""
    return {'OPENSSL_CONF': write(name, text.encode())}


def meets(provider, key, certificate='crawler', program=None, environment=None, more=()):
    """A handshake with the server: the line of the provider, from what both sides say."""
    with Server('--agents-ca', path('agents.pem')) as server:
        command = program or [CLIENT, '--json']
        done = subprocess.run([*command, '--connect', f'localhost:{server.port}', '--ca', path('servers.pem'), '--cert',
                               path(f'{certificate}.pem'), '--key', key, *more], env={**os.environ, **(environment or {})},
                              cwd=running.home.name, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE)
        assert done.returncode == 0, done
        mine, theirs = json.loads(done.stdout.splitlines()[-1]), server.line()
    same(mine, ok=True, offered=True, acknowledged=True, sent='flag', key_provider=provider)
    same(theirs, ok=True, offered=True, outcome='accepted', certificate='verified', trust='agents',
         subject='CN=crawler.example')
    print(f'provider {mine["key_provider"]} ({key}): client: {"offered" if mine["offered"] else "not offered"}, sent '
          f'{mine["sent"]}; server: {theirs["outcome"]}, {theirs["certificate"]}, {theirs["subject"]}'.replace(running.home.name + '/', ''))


def refused(key, *words, certificate='crawler', program=None, environment=None, more=()):
    """The client ends with status 2 before it connects, and one line that says what to do. At a terminal, it writes
    nothing else there and reads nothing."""
    command = [*(program or [CLIENT]), '--connect', 'localhost:1', '--ca', path('servers.pem'),
               '--cert', path(f'{certificate}.pem'), '--key', key, *more]
    status, written, unread = at_a_terminal(command, {**os.environ, **(environment or {})})
    assert status == 2, written
    assert unread == len(TYPED), ('nothing is read from the terminal', written)
    assert written.count('\n') == 1 and written.split(':')[0] in ('reqauth-client', 'engine-client'), 'one line, and no prompt'
    for word in words:
        assert word in written
    assert PIN not in written, 'the error does not have the PIN'
    print(f'refused: {written.strip()}'.replace(running.home.name + '/', ''))


TYPED = b'typed ahead\n'

# Holds the terminal while the command runs: when its session ends, what was typed is gone.
HOLDER = '''
import fcntl, json, os, struct, subprocess, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
status = subprocess.run(sys.argv[2:]).returncode
unread, = struct.unpack("i", fcntl.ioctl(0, termios.FIONREAD, bytes(4)))
os.write(int(sys.argv[1]), json.dumps([status, unread]).encode())
'''


def at_a_terminal(command, environment):
    """Runs a command whose terminal, standard streams included, is one of ours, where something is typed already.
    Gives its exit status, what it wrote there, and how many of the octets typed it left there."""
    master, slave = os.openpty()
    settings = termios.tcgetattr(slave)
    settings[3] &= ~termios.ECHO
    termios.tcsetattr(slave, termios.TCSANOW, settings)
    os.write(master, TYPED)
    report_in, report_out = os.pipe()
    holder = subprocess.Popen([sys.executable, '-c', HOLDER, str(report_out), *command], stdin=slave, stdout=slave, stderr=slave,
                              env=environment, cwd=running.home.name, start_new_session=True, pass_fds=[report_out])
    os.close(slave)
    os.close(report_out)
    written = b''
    with contextlib.suppress(OSError):  # the end of a terminal
        while more := os.read(master, 4096):
            written += more
    holder.wait(PATIENCE)
    said = os.read(report_in, 4096)
    os.close(master)
    os.close(report_in)
    status, unread = json.loads(said) if said else (None, None)
    return status, written.decode().replace('\r\n', '\n'), unread


@pytest.mark.parametrize('kind', ['', 'file:'], ids=['a file', 'a URI'])
def test_default(kind):
    meets('default', kind + path('crawler.key'))


def test_prompts_are_seen(terminal):
    """This program makes one, and reads what was typed."""
    _, written, unread = at_a_terminal(['openssl', 'pkey', '-in', path('encrypted.key'), '-noout'], os.environ)
    assert 'pass phrase' in written and unread == 0


@pytest.fixture(scope='module')
def encrypted(pki):
    running.openssl('pkcs8', '-topk8', '-in', 'crawler.key', '-passout', 'pass:secret', '-out', 'encrypted.p8')
    running.openssl('pkcs12', '-export', '-in', 'crawler.pem', '-inkey', 'crawler.key', '-passout', 'pass:secret', '-out', 'crawler.p12')


@pytest.mark.parametrize('key, words, more', [
    pytest.param(path('encrypted.key'), ['nobody is asked', 'openssl pkey'], [], id='a file'),
    pytest.param(path('encrypted.p8'), ['nobody is asked', 'openssl pkey'], [], id='a file of PKCS 8'),
    pytest.param('file:' + path('encrypted.key'), ['nobody is asked', 'openssl pkey'], [], id='a URI'),
    pytest.param('file:' + path('encrypted.p8'), ['nobody is asked', 'openssl pkey'], [], id='a URI of PKCS 8'),
    pytest.param('file:' + path('crawler.p12'), ['nobody is asked', 'openssl pkey'], [], id='a URI of PKCS 12'),
    pytest.param(path('crawler.p12'), ['no private key'], [], id='PKCS 12 that is not given as a URI'),
    pytest.param(path('crawler.key'), ['nobody is asked'], ['--other-cert', path('crawler.pem'), '--other-key', path('encrypted.key')],
                 id='another certificate')])
def test_prompts(terminal, encrypted, key, words, more):
    refused(key, *words, more=more)


@pytest.fixture(scope='module')
def token(pki):
    """A SoftHSM token with the crawler's key. Gives the environment and the module."""
    need('softhsm2-util')
    soft = module('/usr/lib/softhsm/libsofthsm2.so', '/usr/lib/*/softhsm/libsofthsm2.so')
    os.makedirs(path('tokens'))
    there = {'SOFTHSM2_CONF': write('softhsm2.conf', f'directories.tokendir = {path("tokens")}\n'.encode())}
    tool('softhsm2-util', '--init-token', '--free', '--label', 'agents', '--pin', PIN, '--so-pin', '5678', **there)
    running.request('rsa', '/CN=crawler.example', running.RSA)
    running.sign('rsa', 'agents')
    for number, name in (('01', 'crawler'), ('02', 'rsa')):
        running.openssl('pkcs8', '-topk8', '-nocrypt', '-in', f'{name}.key', '-out', f'{name}.p8')
        tool('softhsm2-util', '--import', path(f'{name}.p8'), '--token', 'agents', '--label', name, '--id', number, '--pin', PIN, **there)
    return there, soft


@pytest.fixture(scope='module')
def always(token):
    """The crawler's key in the token once more, as one that wants its PIN for each signature: its URI."""
    there, soft = token
    need('pkcs11-tool')
    running.openssl('pkey', '-in', 'crawler.key', '-outform', 'DER', '-out', 'crawler.der')
    running.openssl('pkey', '-in', 'crawler.key', '-pubout', '-outform', 'DER', '-out', 'crawler.pub')
    for options in (['crawler.der', '--type', 'privkey', '--always-auth', '--usage-sign'], ['crawler.pub', '--type', 'pubkey']):
        tool('pkcs11-tool', '--module', soft, '--token-label', 'agents', '--login', '--pin', PIN, '--label', 'always',
             '--id', '03', '--write-object', *options, **there)
    return f'pkcs11:token=agents;object=always;type=private;pin-value={PIN}'


@pytest.fixture(scope='module')
def engine(token):
    """SoftHSM by the engine of libp11: such keys have no provider. An environment, and one where openssl.cnf has the PIN."""
    if subprocess.run([ENGINE_CLIENT], capture_output=True, timeout=PATIENCE).returncode == 77:
        pytest.skip('this OpenSSL has no engines')
    there, soft = token
    text = f'''
openssl_conf = init
[init]
engines = engines
[engines]
pkcs11 = pkcs11_section
[pkcs11_section]
engine_id = pkcs11
dynamic_path = {module('/usr/lib/*/engines-3/pkcs11.so')}
MODULE_PATH = {soft}
init = 0
'''
    return there | configuration('engine.cnf', text), there | configuration('engine-pin.cnf', f'{text}PIN = {PIN}\n')


@pytest.mark.parametrize('name', ['crawler', 'rsa'])
def test_legacy(engine, name):
    key = f'pkcs11:token=agents;object={name};type=private;pin-value={PIN}'
    meets('legacy', key, name, [ENGINE_CLIENT], engine[0], ['--vouch'])


@pytest.mark.parametrize('name', ['crawler', 'rsa'])
def test_legacy_not_vouched_for(terminal, engine, name):
    key = f'pkcs11:token=agents;object={name};type=private;pin-value={PIN}'
    refused(key, 'no provider', '"legacy"', 'credential_options::providers', certificate=name, program=[ENGINE_CLIENT], environment=engine[0])


def test_legacy_pin_for_each_signature(terminal, engine, always):
    there, configured = engine
    refused(always, 'each signature asks', 'nobody is asked', program=[ENGINE_CLIENT], environment=there, more=['--vouch'])
    # libp11 0.4.12 and 0.4.13 ask even where the configuration has the PIN: with them there is no use of such a key.
    refused(always, 'each signature asks', program=[ENGINE_CLIENT], environment=configured, more=['--vouch'])


@pytest.fixture(scope='module')
def pkcs11(token):
    """SoftHSM by pkcs11-provider. An environment, and one where openssl.cnf has the PIN."""
    there, soft = token
    module('/usr/lib/*/ossl-modules/pkcs11.so')
    text = f'''
openssl_conf = init
[init]
providers = providers
[providers]
default = default_section
pkcs11 = pkcs11_section
[default_section]
activate = 1
[pkcs11_section]
activate = 1
pkcs11-module-path = {soft}
pkcs11-module-quirks = no-deinit
'''
    write('pin', PIN.encode())
    return (there | configuration('pkcs11.cnf', text),
            there | configuration('pin.cnf', f'{text}pkcs11-module-token-pin = file:{path("pin")}\n'))


VOUCHED = ['--key-provider', 'pkcs11']
OBJECT = 'pkcs11:token=agents;object=crawler;type=private'


@pytest.mark.parametrize('pin', [f'pin-value={PIN}', f'pin-source=file:{path("pin")}'], ids=['pin-value', 'pin-source'])
@pytest.mark.parametrize('name', ['crawler', 'rsa'])
def test_pkcs11(pkcs11, name, pin):
    meets('pkcs11', f'pkcs11:token=agents;object={name};type=private?{pin}', name, environment=pkcs11[0], more=VOUCHED)


def test_pkcs11_configured(pkcs11):
    meets('pkcs11', OBJECT, environment=pkcs11[1], more=VOUCHED)


@pytest.mark.parametrize('key, words, certificate, more', [
    pytest.param(f'{OBJECT}?pin-value={PIN}', ['provider "pkcs11"', 'credential_options::providers', '--key-provider'], 'crawler', [],
                 id='not vouched for'),
    pytest.param(OBJECT, ['nobody is asked', 'pin-source'], 'crawler', VOUCHED, id='no PIN'),
    pytest.param(OBJECT, ['nobody is asked', 'pin-source'], 'crawler', [], id='no PIN, not vouched for'),
    pytest.param(f'{OBJECT}?pin-value=99999', ['PIN'], 'crawler', VOUCHED, id='another PIN'),
    pytest.param(f'pkcs11:token=agents;object=nobody?pin-value={PIN}', ['name'], 'crawler', VOUCHED, id='another name'),
    pytest.param(f'pkcs11:token=agents;object=crawler;type=public?pin-value={PIN}', ['no private key'], 'crawler', VOUCHED, id='public only'),
    pytest.param(f'{OBJECT}?pin-value={PIN}', ['is not the key of the certificate'], 'customer', VOUCHED, id='another certificate')])
def test_pkcs11_refused(terminal, pkcs11, key, words, certificate, more):
    refused(key, *words, certificate=certificate, environment=pkcs11[0], more=more)


def test_pkcs11_pin_for_each_signature(terminal, pkcs11, always):
    there, configured = pkcs11
    refused(always, 'each signature asks', 'nobody is asked', environment=there, more=VOUCHED)
    meets('pkcs11', always, environment=configured, more=VOUCHED)


@contextlib.contextmanager
def daemon(*command, **environment):
    process = subprocess.Popen(command, cwd=running.home.name, env={**os.environ, **environment}, stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE)


def until(what, holds):
    for _ in range(PATIENCE * 10):
        if holds():
            return
        time.sleep(0.1)
    raise RuntimeError(f'{what} did not start')


@pytest.fixture(scope='module')
def tpm2(pki):
    """swtpm, with its resource manager: the environment."""
    need('swtpm', 'tpm2-abrmd', 'dbus-daemon', 'tpm2_createprimary')
    module('/usr/lib/*/ossl-modules/tpm2.so')
    os.makedirs(path('tpm'), exist_ok=True)
    # A bus of its own: the resource manager takes its name there.
    bus = write('bus.conf', f'''<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd"><busconfig><type>custom</type><listen>unix:path={path("bus")}</listen>
<policy context="default"><allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/></policy></busconfig>'''.encode())
    there = {'DBUS_SYSTEM_BUS_ADDRESS': f'unix:path={path("bus")}', 'DBUS_SESSION_BUS_ADDRESS': f'unix:path={path("bus")}',
             'TPM2OPENSSL_TCTI': 'tabrmd:bus_type=session', 'TPM2TOOLS_TCTI': 'tabrmd:bus_type=session'}
    with contextlib.ExitStack() as daemons:
        daemons.enter_context(daemon('dbus-daemon', '--nofork', f'--config-file={bus}'))
        until('dbus-daemon', lambda: os.path.exists(path('bus')))
        daemons.enter_context(daemon('swtpm', 'socket', '--tpm2', '--tpmstate', f'dir={path("tpm")}', '--ctrl',
                                     f'type=unixio,path={path("swtpm.ctrl")}', '--server', f'type=unixio,path={path("swtpm")}',
                                     '--flags', 'not-need-init,startup-clear'))
        until('swtpm', lambda: os.path.exists(path('swtpm')))
        daemons.enter_context(daemon('tpm2-abrmd', '--allow-root', '--session', f'--tcti=swtpm:path={path("swtpm")}', **there))
        until('tpm2-abrmd', lambda: subprocess.run(['tpm2_getrandom', '1'], env={**os.environ, **there}, capture_output=True,
                                                   timeout=PATIENCE).returncode == 0)
        there |= configuration('tpm2.cnf', '''
openssl_conf = init
[init]
providers = providers
alg_section = algorithms
[algorithms]
default_properties = ?provider=tpm2,tpm2.digest!=yes,tpm2.cipher!=yes
[providers]
default = default_section
tpm2 = tpm2_section
[default_section]
activate = 1
[tpm2_section]
activate = 1
''')
        yield there


BY_TPM2 = ['--key-provider', 'tpm2']


@pytest.mark.parametrize('name, kind', [('tpm-ec', ['EC', '-pkeyopt', 'group:P-256']), ('tpm-rsa', ['RSA', '-pkeyopt', 'bits:2048'])],
                         ids=['EC', 'RSA'])
def test_tpm2(terminal, tpm2, name, kind):
    tool('openssl', 'genpkey', '-algorithm', *kind, '-out', f'{name}.key', **tpm2)
    tool('openssl', 'req', '-new', '-key', f'{name}.key', '-subj', '/CN=crawler.example', '-out', f'{name}.csr', **tpm2)
    running.sign(name, 'agents')
    for key in (path(f'{name}.key'), f'file:{path(name)}.key'):
        meets('tpm2', key, name, environment=tpm2, more=BY_TPM2)
    refused(path(f'{name}.key'), 'provider "tpm2"', 'credential_options::providers', '--key-provider', certificate=name, environment=tpm2)


def test_tpm2_handles(terminal, tpm2):
    tool('tpm2_createprimary', '-Q', '-G', 'ecc', '-c', 'primary', **tpm2)
    for handle, more in (('0x81010001', []), ('0x81010002', ['-p', PIN])):
        tool('tpm2_create', '-Q', '-C', 'primary', '-G', 'ecc256', '-u', 'public', '-r', 'private', *more, **tpm2)
        tool('tpm2_load', '-Q', '-C', 'primary', '-u', 'public', '-r', 'private', '-c', 'loaded', **tpm2)
        tool('tpm2_evictcontrol', '-Q', '-c', 'loaded', handle, **tpm2)
    tool('openssl', 'req', '-new', '-key', 'handle:0x81010001', '-subj', '/CN=crawler.example', '-out', 'handle.csr', **tpm2)
    running.sign('handle', 'agents')
    meets('tpm2', 'handle:0x81010001', 'handle', environment=tpm2, more=BY_TPM2)
    tool('openssl', 'genpkey', '-algorithm', 'EC', '-pkeyopt', 'group:P-256', '-pkeyopt', f'user-auth:{PIN}', '-out', 'locked.key', **tpm2)
    for key in ('file:' + path('locked.key'), path('locked.key'), 'handle:0x81010002?pass'):  # each with a password
        refused(key, 'nobody is asked', environment=tpm2, more=BY_TPM2)


@pytest.fixture(scope='module')
def fips(pki):
    fips_module = module('/usr/lib/*/ossl-modules/fips.so')
    tool('openssl', 'fipsinstall', '-out', path('fipsmodule.cnf'), '-module', fips_module)
    running.openssl('pkey', '-in', 'crawler.key', '-out', 'plain.key')
    return configuration('fips.cnf', f'''
openssl_conf = init
.include {path("fipsmodule.cnf")}
[init]
providers = providers
alg_section = algorithms
[algorithms]
default_properties = fips=yes
[providers]
fips = fips_sect
base = base_section
[base_section]
activate = 1
''')


@pytest.mark.parametrize('kind', ['', 'file:'], ids=['a file', 'a URI'])
def test_fips(fips, kind):
    meets('fips', kind + path('plain.key'), environment=fips)


def test_fips_refused(terminal, fips):
    refused(path('encrypted.key'), 'nobody is asked', environment=fips)
