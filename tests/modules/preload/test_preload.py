# SPDX-License-Identifier: Apache-2.0
"""Runs unmodified programs under reqauth-exec: clients against reqauth-server, servers visited by reqauth-client, and
whatever cannot work, with what is said of it.

What is not there is skipped, with the reason. RUN_BY names another reqauth-exec.
"""
import contextlib
import glob
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time

import pytest

from servers import unused_port
from running import (CLIENT, EXPIRED, PATIENCE, SERVER, Halfway, Listener, Ran, Server, built, fingerprint, home, in_front_of, keeping, leaf,
                     octets_of, other, own, path, presenting, run, same, write)

EXEC = os.environ.get('RUN_BY') or built('modules/preload/reqauth-exec')
CALLBACKS, SEEN = built('tests/exec-callbacks'), built('tests/exec-seen')
HERE = os.path.dirname(os.path.abspath(__file__))
AGENTS, CRAWLER = ['--agents-ca', path('agents.pem')], own('crawler')
SAYS = 'reqauth-exec: '
SYSTEM = os.pathsep.join(['/usr/local/bin', '/usr/bin', '/bin', '/usr/sbin', '/sbin', built('packages/usr/bin'), built('packages/usr/sbin')])
as_root = pytest.mark.skipif(os.geteuid() != 0, reason='only root can do it')


@pytest.fixture(scope='module', autouse=True)
def certificates(pki):
    leaf('second', '/CN=second.example', 'servers', 'DNS:second.example')
    leaf('expired', '/CN=old.example', 'agents', 'DNS:old.example', dates=EXPIRED)


def program(name):
    return shutil.which(name, path=SYSTEM) or pytest.skip(f'{name} is not installed')


def needs(file):
    if not os.path.exists(file):
        pytest.skip(f'{os.path.basename(file)} is not built')


def under(options, *command, environment=None):
    """Runs a command under reqauth-exec."""
    done = subprocess.run([EXEC, *options, '--', *command], stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE,
                          env={**os.environ, **(environment or {})})
    return Ran(done.returncode, done.stdout, done.stderr)


def noted(name):
    with open(path(name)) as log:
        return [json.loads(line) for line in log]


def curl(server, *options, page='debug'):
    return ['/usr/bin/curl', '-sS', '--cacert', path('servers.pem'), '--connect-to', f'::127.0.0.1:{server.port}', *options,
            f'https://localhost:{server.port}/{page}']


def went_well(ran, status=0):
    assert ran.status == status, (ran.out, ran.err)


def silent(ran):
    assert ran.err == ''


def agent(line, resumed=False):
    same(line, ok=True, offered=True, outcome='accepted', certificate='verified', trust='agents', subject='CN=crawler.example',
         resumed=resumed)


@pytest.fixture
def server(certificates):
    with Server(*AGENTS) as running:
        yield running


def test_curl_alone(server):
    went_well(run(*curl(server)))
    same(server.line(), ok=True, offered=False, outcome='not_offered', certificate='not_requested', subject=None)


def test_curl_as_client(server):
    ran = under([*CRAWLER, '--log', path('curl.log')], *curl(server))
    went_well(ran)
    silent(ran)
    agent(server.line())
    agent(ran.line)
    first, last = noted('curl.log')[0], noted('curl.log')[-1]
    same(first, event='connection', program='curl', side='client', ok=True, server_name='localhost', offered=True,
         requested=True, acknowledged=True, sent='flag', judged='awaited', resumed=False, alert_received=None)
    same(last, judged='ticket')


@pytest.mark.parametrize('danger', [False, True])
@pytest.mark.parametrize('how, why', [
    pytest.param(['-k'], 'untrusted', id='not looked at'),
    pytest.param(['--url', 'https://other.example:PORT/'], 'other_name', id='another name, which curl refuses later'),
    pytest.param(['--url', 'https://127.0.0.1:PORT/'], 'unknown_name', id='an address, over a BIO of curl\'s own')])
def test_unproven_servers(server, how, why, danger):
    """The certificate goes only to a server that has proven its name (SEC-9)."""
    log = path(f'unproven-{why}-{len(how)}-{danger}.log')
    visit = [each.replace('PORT', str(server.port)) for each in how]
    given = curl(server, *visit)
    under([*CRAWLER, '--log', log, *(['--danger-unproven-servers'] if danger else [])], *(given[:-1] if '--url' in visit else given))
    line = server.line()
    same(line, offered=True, outcome='accepted')
    assert (line['subject'] == 'CN=crawler.example') == danger, line
    same(noted(log)[0], unmet=None if danger else why, sent='flag' if danger else 'empty')


@pytest.mark.parametrize('options', [[], ['--verbose']], ids=['', 'verbose'])
def test_what_could_not_be_met(server, options):
    """Which CAs the server named, which issuer the credential has, and what to do: once, whatever the options."""
    log = path(f'unmet-{len(options)}.log')
    ran = under([*own('impostor'), '--log', log, *options], *curl(server))
    went_well(ran)
    told = [line for line in ran.err.splitlines() if 'put the intermediate into --cert' in line]
    assert len(told) >= 1 if options else ran.err.splitlines() == told and len(told) == 1, ran.err
    assert 'it names CN=agents CA, ours is of CN=others CA' in told[0]
    same(server.line(), subject=None, certificate='empty')
    same(noted(log)[0], unmet='authorities', authorities=['CN=agents CA'], issuers=['CN=others CA'], sent='empty')
    assert told[0].endswith(noted(log)[0]['why'])


def test_curl_verbose(server):
    ran = under([*CRAWLER, '--verbose'], *curl(server))
    agent(server.line())
    assert f'{SAYS}curl "localhost": offered, acknowledged, sent: flag' in ran.err, 'it says what came of it'
    assert '1 SSL_CTX, of which 1 was given the flag' in ran.err, 'it counts'
    assert all(line.startswith(SAYS) for line in ran.err.splitlines()), 'each line is marked'


def test_curl_from_a_shell_in_another_directory(server, monkeypatch):
    """The paths are relative to where reqauth-exec was."""
    monkeypatch.chdir(home.name)
    ran = under(['--cert', 'crawler.pem', '--key', 'crawler.key'], 'sh', '-c', 'cd / && "$@"', 'sh', *curl(server))
    went_well(ran)
    silent(ran)
    agent(server.line())


def test_reqauth_exec_in_reqauth_exec(server):
    """The inner one counts."""
    went_well(under(own('impostor'), EXEC, *CRAWLER, '--', *curl(server)))
    agent(server.line())


@pytest.mark.parametrize('options, alert', [
    pytest.param(['--ca-names', 'off'], 'unknown_ca', id='of another CA'),
    pytest.param(['--on-missing', 'fail'], 'certificate_required', id='nothing to send')])
def test_refused(options, alert):
    with Server(*AGENTS, *options) as server:
        ran = under([*own('impostor'), '--log', path(f'{alert}.log')], *curl(server))
        assert ran.status in (35, 55, 56), ('curl fails as it does', ran.err)
        same(server.line(), ok=False, alert_sent=alert, subject=None)
        same(noted(f'{alert}.log')[-1], judged='refused', alert_received=alert)


# The flag's certificate goes to nobody who does not say that it asks for it; the program's own does, as ever.
ASKS, MINE = ['--customers-ca', path('customers.pem'), '--customers-auth', 'request'], ['--cert', path('customer.pem'), '--key', path('customer.key')]


def test_customer_elsewhere():
    with Server(*ASKS, *AGENTS) as server:
        went_well(under(CRAWLER, *curl(server, *MINE)))
        agent(server.line())


@pytest.mark.parametrize('options, certificate, subject', [([], 'empty', None), (MINE, 'verified', 'CN=customer.example')],
                         ids=['nothing of its own', 'its own'])
def test_not_acknowledged(options, certificate, subject):
    with Server(*ASKS) as server:
        went_well(under(CRAWLER, *curl(server, *options)))
        same(server.line(), ok=True, offered=True, outcome='ignored', certificate=certificate, subject=subject)


def test_tls12():
    with Server('--tls1.2', *AGENTS) as server:
        went_well(under([*CRAWLER, '--log', path('tls12.log')], *curl(server, '--tls-max', '1.2')))
        same(server.line(), ok=True, version='TLSv1.2', offered=False, subject=None)


@pytest.mark.parametrize('where', [[], ['SSL']], ids=['SSL_CTX', 'SSL'])
def test_own_callback(where):
    needs(CALLBACKS)
    arguments = [path('servers.pem'), path('customer.pem'), path('customer.key'), *where]
    said = f'asked on the SSL{"" if where else "_CTX"}\n'
    with Server(*ASKS) as server:
        assert run(CALLBACKS, str(server.port), *arguments).out == said, 'alone'
        same(server.line(), offered=False, subject='CN=customer.example')
        assert under(CRAWLER, CALLBACKS, str(server.port), *arguments).out == said, 'it is called'
        same(server.line(), ok=True, offered=True, subject='CN=customer.example', trust='customers')
    with Server(*AGENTS) as server:
        assert under(CRAWLER, CALLBACKS, str(server.port), *arguments).out == said, 'it is called before the flag answers'
        agent(server.line())


PYTHON_CLIENT = '''
import socket, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[2])
session = None
for visit in range(2):
    raw = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
    with context.wrap_socket(raw, server_hostname='localhost', session=session) as tls:
        tls.sendall(b'GET /debug HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n')
        answer = b''
        while more := tls.recv(65536):
            answer += more
        session = tls.session
        print(answer.partition(b'\\r\\n\\r\\n')[2].decode().strip())
'''


@pytest.mark.parametrize('python', dict.fromkeys([sys.executable, shutil.which('python3'), '/usr/bin/python3']))
def test_python_as_client(server, python):
    if not os.path.exists(python):
        pytest.skip(f'{python} is not there')
    write('client.py', PYTHON_CLIENT.encode())
    with contextlib.suppress(FileNotFoundError):
        os.remove(path('python.log'))
    command = [python, path('client.py'), str(server.port), path('servers.pem')]
    went_well(run(*command))
    for _ in range(2):
        same(server.line(), offered=False, subject=None)
    ran = under([*CRAWLER, '--log', path('python.log')], *command)
    went_well(ran)
    silent(ran)
    for resumed in (False, True):
        agent(server.line(), resumed=resumed)
    assert [line['resumed'] for line in noted('python.log')][-1] is True, 'the log says so, too'


@pytest.mark.parametrize('visitor', ['python', 'curl'])
def test_halfway(certificates, visitor):
    """A server that asks for the flag without saying so, and fails whoever resumes with it: what worked alone works."""
    write('client.py', PYTHON_CLIENT.encode())
    for by, kind in ([], 'resumed'), ([EXEC, *CRAWLER, '--'], 'full'):
        with Halfway('server') as server:
            page = f'https://localhost:{server.port}/'
            ran = run(*by, *([sys.executable, path('client.py'), str(server.port), path('servers.pem')] if visitor == 'python' else
                             [program('curl'), '-sS', '--cacert', path('servers.pem'), page, page]))
            went_well(ran)
            silent(ran)
            assert [server.line(), server.line()] == ['good full -', f'good {kind} -']


@pytest.mark.parametrize('how, words', [('alert', 'with the alert handshake_failure'), ('close', 'did not answer'), ('reset', 'did not answer')])
def test_ends_on_the_flag(certificates, how, words):
    """Said plainly, once; by option the program's next connections go without the flag, and those to other servers with it."""
    retry = '''import socket, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[1])
for port in sys.argv[2:]:
    try:
        with context.wrap_socket(socket.create_connection(('127.0.0.1', int(port))), server_hostname='localhost') as tls:
            tls.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n')
            print(tls.recv(12).decode())
            while tls.recv(65536):
                pass
    except OSError as failed:
        print('failed')
'''
    write('retry.py', retry.encode())
    with Server(*AGENTS) as behind, Server(*AGENTS) as elsewhere, Listener(in_front_of(behind.port, how)) as box:
        command = [sys.executable, path('retry.py'), path('servers.pem'), str(box.port), str(box.port), str(elsewhere.port)]
        ran = under(CRAWLER, *command)
        assert ran.out.split('\n')[:2] == ['failed', 'failed']
        assert ran.err.count('\n') == 1 and words in ran.err and 'may not take the flag: try --retry-without-flag' in ran.err
        agent(elsewhere.line())
        ran = under([*CRAWLER, '--retry-without-flag'], *command)
        assert ran.out.split('\n')[0] == 'failed' and 'failed' not in ran.out.split('\n')[1:], ran.out
        assert ran.err.count('\n') == 1 and 'the next connection to it goes without' in ran.err
        same(behind.line(), ok=True, offered=False, subject=None)
        agent(elsewhere.line())


def test_ends_on_the_flag_of_another_process(certificates):
    """A shell's second curl goes without; another server has the flag."""
    with Server(*AGENTS) as behind, Server(*AGENTS) as elsewhere, Listener(in_front_of(behind.port, 'reset')) as box:
        visit = f'{program("curl")} -sS --cacert {path("servers.pem")} -o /dev/null https://localhost:'
        ran = under([*CRAWLER, '--retry-without-flag'], 'sh', '-c', f'{visit}{box.port}/ || {visit}{box.port}/')
        went_well(ran)
        same(behind.line(), ok=True, offered=False)
        went_well(under([*CRAWLER, '--retry-without-flag'], 'sh', '-c', f'{visit}{elsewhere.port}/'))
        agent(elsewhere.line())


@pytest.mark.parametrize('answer, certificate, subject', [('empty', 'empty', None), ('other', 'verified', 'CN=customer.example'),
                                                          ('flag', 'invalid', None)])
def test_on_unacknowledged(answer, certificate, subject):
    with Server(*ASKS) as server:
        under([*CRAWLER, '--on-unacknowledged', answer], *curl(server, *MINE))
        same(server.line(), offered=True, outcome='ignored', certificate=certificate, subject=subject)


def cannot(options, *command, status, words, environment=None):
    """Nothing ran: the status, and one line that has these words."""
    ran = under(options, *command, environment=environment)
    assert ran.status == status, (ran.out, ran.err)
    assert ran.err.count('\n') == 1 and ran.err.startswith(SAYS), 'one line'
    for word in words if isinstance(words, tuple) else (words,):
        assert word in ran.err
    assert ran.out == '', 'nothing ran'


CREDENTIALS = {
    'no such certificate': (['--cert', path('none.pem'), '--key', path('crawler.key')], 'none.pem: cannot be read'),
    'no such key': (['--cert', path('crawler.pem'), '--key', path('none.key')], 'none.key: cannot be read'),
    'no certificate in it': (['--cert', path('noise.pem'), '--key', path('crawler.key')], 'noise.pem'),
    "another one's key": (['--cert', path('crawler.pem'), '--key', path('impostor.key')], 'impostor.key'),
    'an expired certificate': (own('expired'), 'expired'),
    'a passphrase': (['--cert', path('crawler.pem'), '--key', path('encrypted.key')], 'is encrypted, and nobody is asked'),
    'a PIN in the URI': (['--cert', path('crawler.pem'), '--key', 'pkcs11:object=a?pin-value=1234'], 'pin-source'),
    'a URI of no provider': (['--cert', path('crawler.pem'), '--key', 'pkcs11:object=a'], 'pkcs11:object=a'),
    'no certificate at all': ([], '--cert and --key'),
    'a certificate alone': (['--cert', path('crawler.pem')], '--key'),
    'a server without anchors': (['--server'], '--agents-ca'),
    'anchors without a server': (AGENTS, '--server'),
    'a server with a certificate': (['--server', *AGENTS, *CRAWLER], '--server'),
    'no such anchors': (['--server', '--agents-ca', path('none.pem')], 'none.pem'),
    'broken anchors': (['--server', '--agents-ca', path('noise.pem')], 'noise.pem'),
    'a broken CRL': (['--server', *AGENTS, '--crl', path('noise.pem')], 'noise.pem'),
    'refused if missing, let in if invalid': (['--server', *AGENTS, '--on-missing', 'fail', '--on-invalid', 'continue'], 'take one of the two out'),
    'an unknown option': ([*CRAWLER, '--nothing'], '--nothing'),
    'a log that cannot be written': ([*CRAWLER, '--log', path('none/log')], 'none/log'),
    'a flag out of range': ([*CRAWLER, '--flag', '9999'], '9999'),
}


@pytest.mark.parametrize('options, words', CREDENTIALS.values(), ids=CREDENTIALS)
def test_options(options, words):
    cannot(options, '/bin/sh', '-c', 'echo it ran', status=125, words=words)


def test_no_program():
    ran = under(CRAWLER)
    assert ran.status == 125 and 'no program is given' in ran.err


def test_environment():
    secret = under(CRAWLER, '/bin/sh', '-c', 'echo "$REQAUTH_EXEC"').out
    assert path('crawler.key') in secret, 'it has the paths'
    assert 'PRIVATE KEY' not in secret and octets_of('crawler.key').decode().split('\n')[1] not in secret, 'it has no key'


def compiled(name, source, *options):
    compiler = shutil.which('cc') or pytest.skip('there is no C compiler')
    write(f'{name}.c', source.encode())
    done = subprocess.run([compiler, path(f'{name}.c'), '-o', path(name), *options], capture_output=True, timeout=PATIENCE)
    if done.returncode != 0:
        pytest.skip(done.stderr.decode().splitlines()[-1])
    return path(name)


VISIT = r'''
#include <openssl/ssl.h>
int main(int count, char** arguments) {
    SSL_CTX* context = SSL_CTX_new(TLS_client_method());
    BIO* bio = BIO_new_ssl_connect(context);
    SSL* ssl;
    BIO_get_ssl(bio, &ssl);
    SSL_set_tlsext_host_name(ssl, "localhost");
    BIO_set_conn_hostname(bio, arguments[1]);
    return BIO_do_handshake(bio) == 1 ? 0 : 1;
}
'''


def test_one_file(server):
    """The certificate and the key in one, in any order."""
    for order in ('key', 'pem'), ('pem', 'key'):
        write('one-file.pem', b''.join(octets_of(f'crawler.{each}') for each in order))
        ran = under(['--cert', path('one-file.pem'), '--key', path('one-file.pem')], *curl(server))
        went_well(ran)
        silent(ran)
        agent(server.line())


# Each program that cannot be given the flag, and what is said of it.

def test_no_such_program():
    cannot(CRAWLER, 'no-such-program', status=127, words='not in the PATH')
    cannot(CRAWLER, './no-such-program', status=127, words='is not there')
    write('plain', b'text')
    cannot(CRAWLER, path('plain'), status=126, words='cannot be executed')


def test_static_program():
    static = compiled('static', '#include <stdio.h>\nint main(void) { puts("it ran"); return 0; }', '-static')
    cannot(CRAWLER, static, status=126, words='statically linked')
    for name, interpreter in (('of-static', static), ('by-env', '/usr/bin/env static')):  # scripts for it
        write(name, f'#!{interpreter}\n'.encode())
        os.chmod(path(name), 0o755)
    cannot(CRAWLER, path('of-static'), status=126, words=('statically linked', static))
    cannot(CRAWLER, path('by-env'), status=126, words='statically linked', environment={'PATH': home.name + os.pathsep + os.environ['PATH']})


def test_go_program():
    """It is known by a section that strip leaves."""
    plain = compiled('plain-c', '#include <stdio.h>\nint main(void) { puts("it ran"); return 0; }')
    static = compiled('static-c', '#include <stdio.h>\nint main(void) { puts("it ran"); return 0; }', '-static')
    write('buildinfo', b'\xff Go buildinf:' + bytes(18))
    for source, name, words in ((plain, 'of-go', 'say --anyway'), (static, 'of-go-static', 'take a program that links libssl.so.')):
        made = subprocess.run([program('objcopy'), '--add-section', f'.go.buildinfo={path("buildinfo")}', source, path(name)],
                              capture_output=True, timeout=PATIENCE)
        assert made.returncode == 0, made.stderr
        cannot(CRAWLER, path(name), status=126, words=(f'{path(name)} is written in Go, whose crypto/tls is not OpenSSL', words))
    ran = under([*CRAWLER, '--anyway'], path('of-go'))
    went_well(ran)
    assert ran.out == 'it ran\n' and f'{SAYS}of-go never made an OpenSSL SSL_CTX' in ran.err
    cannot([*CRAWLER, '--anyway'], path('of-go-static'), status=126, words='written in Go')


def test_real_go_program():
    go = program('go')
    write('hello.go', b'package main\nimport _ "net"\nfunc main() { println("it ran") }\n')
    for name, options in (('go-outside', ['-ldflags', '-linkmode external']), ('go-inside', []), ('go-stripped', ['-ldflags', '-s -w'])):
        made = subprocess.run([go, 'build', *options, '-o', path(name), path('hello.go')], capture_output=True, text=True, timeout=300,
                              env={**os.environ, 'GOFLAGS': '-mod=mod', 'GOCACHE': path('go-cache')})
        if made.returncode != 0:
            pytest.skip(f'go cannot build here: {made.stderr.splitlines()[-1]}')
        cannot(CRAWLER, path(name), status=126, words='is written in Go')


def test_program_of_another_machine():
    shutil.copy('/bin/true', path('other-machine'))
    with open(path('other-machine'), 'r+b') as file:
        file.seek(18)  # e_machine
        file.write(b'\xf3\x00' if os.uname().machine != 'riscv64' else b'\x3e\x00')
    cannot(CRAWLER, path('other-machine'), status=126, words='another machine')


def test_program_of_another_c_library():
    """Nothing of it is there: it is the name that counts."""
    musl = compiled('musl', 'int main(void) { return 0; }', '-Wl,--dynamic-linker=/lib/ld-musl-x86_64.so.1')
    cannot(CRAWLER, musl, status=126, words='another C library (/lib/ld-musl')


@as_root
@pytest.mark.parametrize('what, mode, owner', [('setuid', stat.S_ISUID, (65534, -1)), ('setgid', stat.S_ISGID, (-1, 65534))],
                         ids=['setuid', 'setgid'])
def test_program_with_other_rights(what, mode, owner):
    copy = shutil.copy('/usr/bin/curl', path(what))
    os.chown(copy, *owner)
    os.chmod(copy, 0o755 | mode)
    cannot(CRAWLER, copy, '--version', status=126, words='rights of another user or group')


@pytest.mark.parametrize('name', ['wget', 'gnutls-cli'])
def test_program_with_gnutls(name):
    found = program(name)
    listed = run('/usr/bin/ldd', found).out
    if 'libgnutls' not in listed or 'libssl.so' in listed:
        pytest.skip(f'{name} is not one with GnuTLS')
    cannot(CRAWLER, found, '--version', status=126, words=('GnuTLS', '--anyway'))
    ran = under([*CRAWLER, '--anyway'], found, '--version')
    went_well(ran)
    assert f'{name} never made an OpenSSL SSL_CTX' in ran.err, 'it says it at the end'
    # By a shell it cannot be seen before.
    ran = under(CRAWLER, 'sh', '-c', f'{found} --version >/dev/null; exit 3')
    went_well(ran, 3)
    assert ran.err.startswith(f'{SAYS}sh never made an OpenSSL SSL_CTX'), 'it says it at the end'


def test_node():
    node = program('node')
    if b'SSL_CTX_new' not in subprocess.run(['nm', '-D', '--defined-only', node], capture_output=True, timeout=PATIENCE).stdout:
        pytest.skip('node has no OpenSSL inside')
    cannot(CRAWLER, node, '-v', status=126, words=('an OpenSSL of its own inside', '--anyway'))
    ran = under([*CRAWLER, '--anyway'], node, '-e', 'require("tls").createSecureContext()')
    went_well(ran)
    assert 'node never made an OpenSSL SSL_CTX' in ran.err, 'it says it at the end'


def test_openssl_inside(server):
    inside = compiled('inside', VISIT, '-l:libssl.a', '-l:libcrypto.a', '-lpthread', '-ldl')
    ran = under(CRAWLER, inside, f'127.0.0.1:{server.port}')
    went_well(ran)
    assert 'inside never made an OpenSSL SSL_CTX' in ran.err, 'it says it at the end'
    same(server.line(), ok=True, offered=False)


def test_openssl_outside(server):
    ran = under([*CRAWLER, '--danger-unproven-servers'], compiled('outside', VISIT, '-lssl', '-lcrypto'), f'127.0.0.1:{server.port}')
    went_well(ran)
    silent(ran)
    agent(server.line())


def test_another_libssl():
    """Linked, and loaded later by a library."""
    fake = 'void* TLS_method(void) { return 0; } void* SSL_CTX_new(void* m) { (void)m; return "a context"; }'
    compiled('libssl.so.1.1', fake, '-shared', '-fPIC', '-Wl,-soname,libssl.so.1.1')
    use = 'void* TLS_method(void); void* SSL_CTX_new(void*);\n'
    linked = compiled('linked', use + 'int main(void) { return SSL_CTX_new(TLS_method()) == 0; }',
                      path('libssl.so.1.1'), f'-Wl,-rpath,{home.name}')
    cannot(CRAWLER, linked, status=126, words=('libssl.so.1.1', 'libssl.so.'))
    compiled('libmiddle.so', use + 'int visit(void) { return SSL_CTX_new(TLS_method()) == 0; }',
             '-shared', '-fPIC', path('libssl.so.1.1'), f'-Wl,-rpath,{home.name}')
    loads = compiled('loads', f'''#include <dlfcn.h>
        int main(void) {{ void* it = dlopen("{path('libmiddle.so')}", RTLD_NOW); return ((int (*)(void))dlsym(it, "visit"))(); }}''', '-ldl')
    ran = under(CRAWLER, loads)
    went_well(ran)
    assert 'libssl.so.1.1' in ran.err.splitlines()[0] and 'goes on without' in ran.err, 'it says so'
    assert 'made 1 SSL_CTX, and none was given the flag' in ran.err, 'and at the end'


@pytest.mark.parametrize('status', [0, 1, 7, 255])
def test_exit_status(status):
    """It is the program's."""
    ran = under(CRAWLER, 'sh', '-c', f'exit {status}')
    went_well(ran, status)
    assert ran.err.startswith(f'{SAYS}sh never made an OpenSSL SSL_CTX, nor did what it started')


# How a program ends, and with what status. It does nothing else, or makes an SSL_CTX before.
ENDS = {'return': 0, 'exit': 3, '_exit': 4, 'quick_exit': 5, 'system call': 6, 'SIGKILL': -9, 'SIGTERM': -15, 'abort': -6,
        'exec': 0, 'exec, with an empty environment': 0}
ENDINGS = r'''
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>
#ifdef WITH_OPENSSL
#include <openssl/ssl.h>
#endif
int main(int count, char** arguments) {
    const char* how = arguments[1];
    char* const nothing[] = {0};
    (void)count;
#ifdef WITH_OPENSSL
    SSL_CTX_new(TLS_client_method());
#endif
    if (!strcmp(how, "exit")) exit(3);
    if (!strcmp(how, "_exit")) _exit(4);
    if (!strcmp(how, "quick_exit")) quick_exit(5);
    if (!strcmp(how, "system call")) syscall(SYS_exit_group, 6);
    if (!strcmp(how, "SIGKILL")) raise(SIGKILL);
    if (!strcmp(how, "SIGTERM")) raise(SIGTERM);
    if (!strcmp(how, "abort")) abort();
    if (!strcmp(how, "exec")) execl("/bin/true", "true", (char*)0);
    if (!strcmp(how, "exec, with an empty environment")) execle("/bin/true", "true", (char*)0, nothing);
    return 0;
}
'''


@pytest.mark.parametrize('how, status', ENDS.items(), ids=ENDS)
@pytest.mark.parametrize('openssl', [False, True], ids=['no SSL_CTX', 'an SSL_CTX'])
def test_endings(how, status, openssl):
    """Whatever a program ends by, one line says that the flag was in nothing; with --verbose one at its start, and one that counts."""
    ends = compiled('ends-ssl' if openssl else 'ends', ENDINGS, *(['-DWITH_OPENSSL', '-lssl', '-lcrypto'] if openssl else []))
    ran = under(CRAWLER, ends, how)
    went_well(ran, status)
    never = re.compile(rf'{SAYS}(ends|true) never made an OpenSSL SSL_CTX, nor did what it started: the flag was in nothing\..*\n')
    assert ran.err == '' if openssl else never.fullmatch(ran.err), ran.err
    ran = under([*CRAWLER, '--verbose'], ends, how)
    went_well(ran, status)
    first, last = ran.err.splitlines(keepends=True)
    assert re.fullmatch(rf'{SAYS}runs {re.escape(ends)}, which links {"" if openssl else "no "}libssl\.so\.\d+.*\n', first), first
    counts = re.compile(rf'{SAYS}(ends-ssl|true) and what it started made 1 SSL_CTX, of which 1 was given the flag\n')
    assert (counts if openssl else never).fullmatch(last), last


def test_script_verbose():
    write('script', b'#!/bin/sh\nexit 7\n')
    os.chmod(path('script'), 0o755)
    ran = under([*CRAWLER, '--verbose'], path('script'))
    went_well(ran, 7)
    assert re.match(rf'{SAYS}runs {path("script")} by /\S+, which links no libssl', ran.err), ran.err


def test_keeper():
    """The process beside the program is not its child, holds nothing of its open, and ends with it."""
    reading, writing = os.pipe()
    code = ('import os, sys\n'
            'try:\n    os.waitpid(-1, os.WNOHANG)\nexcept ChildProcessError:\n    print("no child", flush=True)\n'
            'print(os.environ["REQAUTH_EXEC_TALLY"].split(":")[1], flush=True)\n'
            'print([each for each in os.listdir("/proc/self/fd") if "memfd" in os.path.realpath(f"/proc/self/fd/{each}")], flush=True)\n'
            f'os.close(1)\nos.close({writing})\nsys.stdin.read()\n')
    process = subprocess.Popen([EXEC, *CRAWLER, '--', sys.executable, '-c', code], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, pass_fds=[writing], text=True)
    os.close(writing)
    child, keeper, memfds = process.stdout.read().splitlines()  # to its end, which is there although the program runs
    assert (child, memfds) == ('no child', '[]')
    assert os.read(reading, 1) == b'', 'the pipe that the program has closed is closed'
    os.close(reading)
    with open(f'/proc/{keeper}/stat') as file:
        assert file.read().split()[4] != str(os.getpgrp()), 'what is typed at the terminal does not end it'
    process.stdin.close()
    assert 'never made' in process.stderr.read() and process.wait(PATIENCE) == 0, 'it ends, and so does the keeper'
    for _ in range(PATIENCE * 50):
        if not os.path.exists(f'/proc/{keeper}') or 'Z' in octets_at(f'/proc/{keeper}/stat').split()[2]:
            return
        time.sleep(0.02)
    raise TimeoutError('the keeper is still there')


def octets_at(file):
    with contextlib.suppress(OSError), open(file) as there:
        return there.read()
    return '0 (gone) Z'


# Files that can be read only once: a word of bash in the place of each.
ONCE = {
    'process substitution': '--cert <(cat {0}.pem) --key <(cat {0}.key)',
    'a certificate alone': '--cert <(cat {0}.pem) --key {0}.key',
    'a key alone': '--cert {0}.pem --key <(cat {0}.key)',
    'standard input': '--cert {0}.pem --key /dev/stdin < <(cat {0}.key)',
    'a file as standard input': '--cert {0}.pem --key /dev/stdin <{0}.key',
    'both in one pipe': '--cert /dev/stdin --key /dev/stdin < <(cat {0}.pem {0}.key)',
    'a here-document': '--cert {0}.pem --key /dev/fd/5 5<<<"$(cat {0}.key)"',
    'FIFOs': '--cert fifo.pem --key fifo.key',
}


def in_bash(words, *command):
    """reqauth-exec with options that bash makes files of."""
    written = ' '.join(f"'{each}'" for each in command)
    done = subprocess.run([program('bash'), '-c', f'{EXEC} {words[0]} -- {written} {words[1]}'], stdin=subprocess.DEVNULL, cwd=home.name,
                          capture_output=True, timeout=PATIENCE)
    return Ran(done.returncode, done.stdout, done.stderr)


def split(words):
    """Options, and redirections, which stand behind the command."""
    at = re.search(r' (?=\d?<(?!\())', words)
    return (words[:at.start()], words[at.start():]) if at else (words, '')


@pytest.mark.parametrize('words', ONCE.values(), ids=ONCE)
def test_read_once(server, words):
    """They are read once, for all that the program starts; and none of it inherits the key."""
    writers = []
    for name in ('fifo.pem', 'fifo.key'):
        with contextlib.suppress(FileExistsError):
            os.mkfifo(path(name))
        if 'fifo' in words:
            writers.append(threading.Thread(target=lambda name=name: write(name, octets_of(name.replace('fifo', 'crawler'))), daemon=True))
            writers[-1].start()
    twice = f'{" ".join(curl(server))} >one && {" ".join(curl(server))} && ls -l /proc/self/fd && env'
    ran = in_bash(split(words.format('crawler')), 'sh', '-c', twice)
    went_well(ran)
    silent(ran)
    agent(server.line())
    agent(server.line())
    assert 'memfd' not in ran.out, 'no descriptor'
    assert octets_of('crawler.key').decode().split('\n')[1] not in ran.out, 'nor the environment'
    for each in writers:
        each.join(PATIENCE)


def test_read_once_server():
    with python_server(['--agents-ca', '/dev/stdin'], stdin=octets_of('agents.pem')) as server:
        visited(server, *CRAWLER, **ACCEPTED, line=IS_AGENT)
        visited(server, *CRAWLER, **ACCEPTED, line=IS_AGENT)


@pytest.mark.parametrize('words, says', [
    ('--cert <(echo nothing) --key crawler.key', '/dev/fd/63: '),
    ('--cert crawler.pem --key <(cat impostor.key)', '/dev/fd/63'),
    ('--cert crawler.pem --key /dev/zero', '/dev/zero: cannot be read: it does not end'),
    ('--cert crawler.pem --key <(cat encrypted.key)', '--key /dev/fd/63: the private key is encrypted'),
], ids=['no certificate', 'another key', 'no end', 'encrypted'])
def test_read_once_wrong(words, says):
    ran = in_bash((words, ''), 'sh', '-c', 'echo it ran')
    assert ran.status == 125 and ran.out == '' and ran.err.count('\n') == 1, ran.err
    assert says in ran.err and '/proc/' not in ran.err, ran.err


PYTHON_SERVER = '''
import socket, ssl, sys
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
if len(sys.argv) > 3:
    context.load_verify_locations(sys.argv[3])
    context.verify_mode = ssl.CERT_OPTIONAL
with socket.create_server(('127.0.0.1', 0)) as listener:
    print('port', listener.getsockname()[1], flush=True)
    while True:
        raw, _ = listener.accept()
        try:
            with context.wrap_socket(raw, server_side=True) as tls:
                tls.recv(65536)
                der = tls.getpeercert(True)
                page = 'it has %s' % (ssl.DER_cert_to_PEM_cert(der) if der else 'no certificate')
                tls.sendall(('HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nContent-Length: %d\\r\\n\\r\\n%s' % (len(page), page)).encode())
                tls.unwrap()
        except OSError:
            pass
'''


class Unmodified:
    """A server under reqauth-exec, or alone."""

    def __init__(self, options, *command, port=None, alone=False, log='server.log', stdin=None):
        self.log = path(log)
        with contextlib.suppress(FileNotFoundError):
            os.remove(self.log)
        how = [] if alone else [EXEC, '--server', *([] if stdin else AGENTS), '--log', self.log, *options, '--']
        self.process = subprocess.Popen([*how, *command], cwd=home.name, stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if stdin:
            self.process.stdin.write(stdin.decode())
            self.process.stdin.close()
        self.port, self.errors = port, []
        reader = threading.Thread(target=lambda: self.errors.extend(self.process.stderr), daemon=True)
        reader.start()
        if port is None:
            self.port = int(self.process.stdout.readline().split()[1])
        else:
            threading.Thread(target=lambda: self.process.stdout.read(), daemon=True).start()
            self.answers()

    def answers(self):
        while True:
            try:
                return socket.create_connection(('127.0.0.1', self.port), timeout=PATIENCE).close()
            except (ConnectionRefusedError, ConnectionResetError):  # hitch begins to listen twice
                if self.process.poll() is not None:
                    raise EOFError(f'the server ended: {self.errors}')

    def lines(self):
        with open(self.log) as log:
            return [json.loads(line) for line in log]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait(PATIENCE)


def calls(server, *options, name='localhost'):
    return run(CLIENT, '--connect', f'127.0.0.1:{server.port}', '--servername', name, '--ca', path('servers.pem'), '--json', *options,
               '--get', '/')


def visited(server, *options, name='localhost', status=0, line=None, **wanted):
    """One visit by reqauth-client: what it says, and what the server's log says."""
    before = len(server.lines()) if os.path.exists(server.log) else 0
    ran = calls(server, *options, name=name)
    went_well(ran, status)
    same(ran.line, **wanted)
    # A connection that began no handshake, to see whether the server is there, may have a line, too.
    found = [line for line in server.lines()[before:] if line['server_name']]
    assert len(found) == 1, 'the log has one line more'
    if line is not None:
        same(found[0], side='server', **line)
    return ran


ACCEPTED = dict(offered=True, requested=True, acknowledged=True, sent='flag')
IS_AGENT = dict(ok=True, outcome='accepted', certificate='verified', subject='CN=crawler.example', reason=None)


def every_visitor(server, kept='agent.session'):
    """An agent, twice; one with nothing to show, an impostor, an ordinary client; curl."""
    ran = visited(server, *CRAWLER, '--session-out', path(kept), **ACCEPTED, line=dict(IS_AGENT, resumed=False))
    same(ran.line, judged='ticket')
    visited(server, *CRAWLER, '--session-in', path(kept), resumed=True, line=dict(IS_AGENT, resumed=True))
    visited(server, '--offer', 'always', acknowledged=True, sent='empty',
            line=dict(ok=True, outcome='accepted', certificate='empty', reason='empty', subject=None))
    visited(server, *own('impostor'), '--on-unsatisfiable', 'present', status=1, ok=False,
            alert_received='unknown_ca', line=dict(ok=False, certificate='invalid', subject=None, alert_sent='unknown_ca'))
    same(server.lines()[-1]['presented'], subject='CN=crawler.example', issuer='CN=others CA', fingerprint=fingerprint('impostor'),
         verify_error=20, depth=0, key_proven=False, because=None, server_at_fault=False)
    visited(server, requested=False, line=dict(ok=True, offered=False, certificate='not_requested'))
    ran = run(*curl(server, page=''))
    went_well(ran)
    same(server.lines()[-1], ok=True, offered=False, certificate='not_requested')
    return ran


def python_server(options, *more, **how):
    write('server.py', PYTHON_SERVER.encode())
    return Unmodified(options, sys.executable, path('server.py'), *own('server')[1::2], *more, **how)


def test_python_as_server_alone():
    with python_server([], alone=True) as server:
        same(calls(server, *CRAWLER).line, offered=True, requested=False)


def test_python_as_server():
    with python_server([]) as server:
        every_visitor(server)
        assert 'it has no certificate' in calls(server, *CRAWLER).out, 'it sees none of the agent'
        assert server.errors == []


def test_python_as_server_on_missing_fail():
    with python_server(['--on-missing', 'fail']) as server:
        visited(server, '--offer', 'always', status=1, alert_received='certificate_required')


@pytest.mark.parametrize('how', [[], ['--visible']], ids=['hidden', 'visible'])
def test_python_as_server_of_customers(how):
    with python_server(how, path('customers.pem')) as server:
        ran = visited(server, *other('customer'), sent='other', line=dict(ok=True, offered=False))
        assert octets_of('customer.pem').decode().split('\n')[3] in ran.out, 'it has the customer\'s certificate'
        ran = visited(server, *CRAWLER, **ACCEPTED, line=IS_AGENT)
        # It goes by the presence of a certificate: shown one, it takes an agent for a customer.
        assert (octets_of('crawler.pem').decode().strip().split('\n')[3] if how else 'no certificate') in ran.out


def test_python_as_server_with_shared_anchors():
    """It says so, and asks nobody because of the flag."""
    with python_server([], path('agents.pem')) as server:
        same(calls(server, *CRAWLER).line, ok=True, acknowledged=False, sent='empty')
        assert any('a trust anchor for agents and for customers' in line and 'take it out of what the program itself trusts' in line
                   for line in server.errors)


@contextlib.contextmanager
def haproxy(bind, *how):
    found, port = program('haproxy'), unused_port()
    os.makedirs(path('crt'), exist_ok=True)
    for name in ('server', 'second'):
        write(f'crt/{name}.pem', octets_of(f'{name}.pem') + octets_of(f'{name}.key'))
    configuration = write('haproxy.cfg', f'''global
    log stderr local0 emerg
defaults
    mode http
    timeout client 30s
    timeout server 30s
    timeout connect 30s
frontend web
    bind 127.0.0.1:{port} ssl {bind}
    http-request return status 200 content-type text/plain lf-string "used %[ssl_c_used], verify %[ssl_c_verify], %[ssl_c_s_dn]\\n"
'''.encode())
    with Unmodified(how, found, '-db', '-f', configuration, port=port) as server:
        yield server


def test_haproxy():
    with haproxy(f'crt {path("crt")}/') as server:
        every_visitor(server, 'haproxy.session')
        # HAProxy gives each session its own id context, for whoever presents it: an agent's keeps that of the library.
        visited(server, '--offer', 'never', *presenting('haproxy.session'), resumed=False,
                line=dict(ok=True, offered=False, resumed=False, certificate='not_requested'))
        assert calls(server, *CRAWLER).out.startswith('used 0, verify 0, \n'), 'the agent has no certificate'
        visited(server, *CRAWLER, name='second.example', **ACCEPTED, line=dict(IS_AGENT, server_name='second.example'))
        visited(server, name='second.example', requested=False, line=dict(offered=False))
        assert not any(SAYS in line for line in server.errors), 'nothing on standard error'


CUSTOMERS_TOO = f'crt {path("crt")}/server.pem ca-file {path("customers.pem")} verify '


@pytest.mark.parametrize('how, sees', [([], 'used 0, verify 0, '), (['--visible'], 'used 1, verify 50, /CN=crawler.example')],
                         ids=['hidden', 'visible'])
def test_haproxy_with_customers(how, sees):
    with contextlib.suppress(FileNotFoundError):
        os.remove(path('optional.session'))
    with haproxy(CUSTOMERS_TOO + 'optional', *how) as server:
        for again in range(3):
            ran = visited(server, *CRAWLER, *(keeping('optional.session') if again else []), line=IS_AGENT)
            assert ran.out.startswith(sees + '\n')
        ran = visited(server, *other('customer'), sent='other', line=dict(offered=False))
        assert ran.out.startswith('used 1, verify 0, /CN=customer.example\n'), 'a customer is verified'


def test_haproxy_that_requires_one():
    """Of everybody."""
    with haproxy(CUSTOMERS_TOO + 'required') as server:
        visited(server, *CRAWLER, *other('customer'), acknowledged=False, sent='other', line=dict(ok=True, outcome='ignored', subject=None))


def test_haproxy_with_tls12_alone():
    with haproxy(f'crt {path("crt")}/server.pem ssl-max-ver TLSv1.2') as server:
        calls(server, *CRAWLER)
        went_well(run('/usr/bin/curl', '-sS', '--cacert', path('servers.pem'), '--connect-to', f'::127.0.0.1:{server.port}',
                      f'https://localhost:{server.port}/'))
        assert any('TLS 1.3, to which the flag belongs, is not allowed' in line for line in server.errors), 'it says so'


@pytest.fixture
def stunnel(certificates):
    """Gives one with these lines in its configuration, before a page."""
    found, behind = shutil.which('stunnel4', path=SYSTEM) or program('stunnel'), unused_port()
    write('web.py', b"""
import http.server, sys
class page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header('Content-Length', '3')
        self.end_headers()
        self.wfile.write(b'hi\\n')
    def log_message(self, *_):
        pass
http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), page).serve_forever()
""")

    def start(options, more=''):
        port = unused_port()
        return Unmodified(options, found, write('stunnel.conf', f'''foreground = yes
pid =
debug = 0
[web]
accept = 127.0.0.1:{port}
connect = 127.0.0.1:{behind}
cert = {path('server.pem')}
key = {path('server.key')}
{more}'''.encode()), port=port)

    with Unmodified([], sys.executable, path('web.py'), str(behind), port=behind, alone=True):
        yield start


def test_stunnel(stunnel):
    with stunnel([]) as server:
        # It writes tickets' application data of its own, which stand beside the library's.
        assert every_visitor(server).out == 'hi\n', 'the page behind it'


# It wants a certificate of everybody.
WANTS = f"CAfile = {path('customers.pem')}\nverifyChain = yes\n"


def test_stunnel_that_requires_one(stunnel):
    with stunnel([], WANTS) as server:
        visited(server, *CRAWLER, *other('customer'), acknowledged=False, sent='other', line=dict(ok=True, outcome='ignored', subject=None))


@pytest.mark.parametrize('how', [[], ['--visible']], ids=['hidden', 'visible'])
def test_stunnel_that_lets_agents_in_beside(stunnel, how):
    with stunnel(['--beside-required', *how], WANTS) as server:
        ran = visited(server, *CRAWLER, **ACCEPTED, line=IS_AGENT)
        assert ran.out.startswith('hi\n'), 'the page behind it'


def page(ran):
    """What exec-seen answered, as name and value."""
    return dict(line.split(': ', 1) for line in ran.out[:ran.out.rfind('{"event"')].splitlines())


def is_seen(got, as_this):
    assert got and {name: value for name, value in got.items() if value != as_this.get(name)} == {}
    assert set(got) == set(as_this)


# exec-seen: a program that looks at its client by every getter. Of an agent it sees what it sees of a client that nobody asks, and
# of a customer what it sees without us.
SEES = [SEEN, *own('server')[1::2], path('customers.pem')]


@pytest.fixture(scope='module')
def unasked(certificates):
    """What it sees of a client that nobody asks, and what of one that comes again."""
    needs(SEEN)
    # SSL_get_peer_cert_chain gives a server what comes after the leaf.
    for name, issuer in (('crawler', 'agents'), ('customer', 'customers'), ('impostor', 'others')):
        write(f'{name}-with-chain.pem', octets_of(f'{name}.pem') + octets_of(f'{issuer}.pem'))
        shutil.copy(path(f'{name}.key'), path(f'{name}-with-chain.key'))
    with Unmodified([], *SEES, 'none', alone=True) as alone:
        first, again = page(calls(alone, *keeping('nobody.session'))), page(calls(alone, *keeping('nobody.session')))
    assert len(first) > 100 and len(again) > len(first), 'every way is taken'
    return first, again


each_mode = pytest.mark.parametrize('mode', ['none', 'optional', 'required'])


def without_callback(expected, got):
    return {name: value.replace('mine', '') for name, value in expected.items() if name in got}


@each_mode
@pytest.mark.parametrize('options', [[], ['--on-invalid', 'continue'], ['--session-age', '0']], ids=['as it is', 'on-invalid', 'session-age'])
def test_every_getter(unasked, mode, options):
    first_time, again = unasked
    with Unmodified([], *SEES, mode, 'own', 'callback', alone=True) as alone:
        customer = page(calls(alone, *other('customer-with-chain')))
    # Where everybody must have a certificate, a program may look at the result alone.
    result = {name: '50' if mode == 'required' and name.startswith('result') else value for name, value in first_time.items()}
    expected = {**result, 'mode': {'none': '0', 'optional': '1', 'required': '3'}[mode]}
    with Unmodified([*options, '--beside-required'], *SEES, mode, 'own', 'callback') as server:
        first = page(visited(server, *own('crawler-with-chain'), '--session-out', path('seen.session'), **ACCEPTED, line=IS_AGENT))
        if '--session-age' not in options:
            is_seen(first, expected)
            ran = visited(server, *own('crawler-with-chain'), *presenting('seen.session'), resumed=True, line=IS_AGENT)
            is_seen(page(ran), {**expected, **{name: value for name, value in again.items() if name not in expected}})
        else:  # no ticket is made, and no callback for one runs
            is_seen(first, without_callback(expected, first))
        if '--on-invalid' in options and mode != 'required':
            got = page(visited(server, *own('impostor-with-chain'), '--on-unsatisfiable', 'present', ok=True,
                               line=dict(certificate='invalid', reason='invalid')))
            is_seen(got, without_callback(expected, got))
        is_seen(page(calls(server, *other('customer-with-chain'))), customer)


@each_mode
def test_every_getter_visible(unasked, mode):
    with Unmodified(['--beside-required', '--visible'], *SEES, mode, 'own', 'callback') as server:
        shown = page(visited(server, *own('crawler-with-chain'), **ACCEPTED, line=IS_AGENT))
        assert (shown['certificate'], shown['result']) == ('/CN=crawler.example', '50')
        assert (shown['DER peer'], shown['cert_verify callback']) == ('/CN=crawler.example', '/CN=crawler.example')


def test_every_getter_after_the_handshake(unasked):
    """What an agent answers then is for the program's own trust."""
    write('post.py', b'''
import socket, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[2])
context.post_handshake_auth = True
context.load_cert_chain(*sys.argv[3:])
with context.wrap_socket(socket.create_connection(('127.0.0.1', int(sys.argv[1]))), server_hostname='localhost') as tls:
    tls.sendall(b'GET / HTTP/1.1\\r\\n\\r\\n')
    tls.recv(1)
    tls.sendall(b'.')
    answer = b''
    while more := tls.recv(65536):
        answer += more
    print(answer.partition(b'\\r\\n\\r\\n')[2].decode())
''')
    with Unmodified(['--beside-required'], *SEES, 'optional', 'post') as server:
        ran = under(own('crawler-with-chain'), sys.executable, path('post.py'), str(server.port), path('servers.pem'), path('customer.pem'),
                    path('customer.key'))
        went_well(ran)
        assert 'certificate: /CN=customer.example\n' in ran.out and 'result: 0\n' in ran.out, ('a customer is one', server.lines())


def test_postgresql():
    """It takes a certificate that is there for one that was verified against its own CA, and its CN for the user's name."""
    homes = sorted(glob.glob('/usr/lib/postgresql/*/bin') + glob.glob(built('packages/usr/lib/postgresql/*/bin')))
    homes = [each for each in homes if os.path.exists(os.path.join(each, 'initdb')) and os.path.exists(os.path.join(each, 'psql'))]
    if not homes:
        pytest.skip('it is not here')
    initdb, postgres, psql = (os.path.join(homes[-1], each) for each in ('initdb', 'postgres', 'psql'))
    missing = [line.split()[0] for each in (initdb, postgres, psql) for line in run('/usr/bin/ldd', each).out.splitlines() if 'not found' in line]
    if missing:
        pytest.skip(f'{missing[0]} is not installed')
    leaf('superuser', '/CN=postgres', 'agents', 'DNS:superuser.example')
    leaf('user', '/CN=postgres', 'customers', 'DNS:user.example')
    # It does not run as root.
    who = dict(user=65534, group=65534, extra_groups=[]) if os.geteuid() == 0 else {}
    with tempfile.TemporaryDirectory(prefix='reqauth-postgresql-') as folder:
        for name in ('server.pem', 'server.key', 'customers.pem', 'agents.pem'):
            shutil.copy(path(name), folder)
            os.chmod(os.path.join(folder, name), 0o600)
        for each in (folder, *(os.path.join(folder, name) for name in os.listdir(folder))):
            if who:
                os.chown(each, 65534, 65534)
        data, port = os.path.join(folder, 'data'), unused_port()
        try:
            made = subprocess.run([initdb, '-D', data, '-U', 'postgres', '-A', 'reject', '-N'], capture_output=True, timeout=PATIENCE,
                                  cwd=folder, **who)
        except PermissionError as why:
            pytest.skip(f'another user cannot run it: {why}')
        if made.returncode != 0 or (who and not reachable(EXEC, SERVER)):
            pytest.skip(made.stderr.decode().strip() or 'another user cannot read the build')
        with open(os.path.join(data, 'pg_hba.conf'), 'w') as rules:
            rules.write('hostssl all all 127.0.0.1/32 cert\n')
        settings = dict(ssl='on', ssl_cert_file=os.path.join(folder, 'server.pem'), ssl_key_file=os.path.join(folder, 'server.key'),
                        ssl_ca_file=os.path.join(folder, 'customers.pem'), listen_addresses='127.0.0.1', port=port,
                        unix_socket_directories=folder)
        asked = [psql, '-w', '-tA', '-c', 'select current_user, ssl, client_dn from pg_stat_ssl where pid = pg_backend_pid()',
                 f'host=localhost hostaddr=127.0.0.1 port={port} user=postgres dbname=postgres sslmode=verify-full sslrootcert={path("servers.pem")}']
        for how in ([], ['--visible']):
            log = os.path.join(folder, f'{len(how)}.log')
            process = subprocess.Popen([EXEC, '--server', '--agents-ca', os.path.join(folder, 'agents.pem'), '--log', log, *how, '--', postgres, '-D', data,
                                        *(word for name, value in settings.items() for word in ('-c', f'{name}={value}'))],
                                       cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **who)
            try:
                for line in process.stderr:
                    if 'ready to accept connections' in line:
                        break
                threading.Thread(target=process.stderr.read, daemon=True).start()
                agent = under(own('superuser'), *asked)
                customer = run('/usr/bin/env', f'PGSSLCERT={path("user.pem")}', f'PGSSLKEY={path("user.key")}', *asked)
                assert customer.out == 'postgres|t|/CN=postgres\n', (f'postgresql {how}: a customer comes in', customer.err)
                if how:
                    # This is what --visible says of itself.
                    assert agent.out == 'postgres|t|/CN=postgres\n', ('postgresql, visible: takes the agent for its superuser', agent.err)
                else:
                    assert agent.status == 2 and 'valid client certificate' in agent.err, ('postgresql: an agent has no certificate', agent.out)
                with open(log) as file:
                    lines = [json.loads(each) for each in file]
                assert [line['subject'] for line in lines if line['offered']] == ['CN=postgres'], f'postgresql {how}: the log tells of the agent'
            finally:
                process.send_signal(signal.SIGQUIT)
                process.wait(PATIENCE)


def reachable(*files):
    """Whether another user gets there."""
    return subprocess.run(['/usr/bin/test', *' -a '.join(f'-x {each}' for each in files).split()], user=65534, group=65534,
                          extra_groups=[]).returncode == 0


LATE = r'''
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <arpa/inet.h>
/* Changes what its paths mean, before its first SSL_CTX: late FOLDER [unprivileged] */
int main(int count, char** arguments) {
    if (syscall(SYS_chroot, arguments[1]) != 0 || chdir("/") != 0) return 3;
    if (count > 2 && (setgid(65534) != 0 || setuid(65534) != 0)) return 4;
    SSL_CTX* context = SSL_CTX_new(TLS_server_method());
    if (SSL_CTX_use_certificate_chain_file(context, "/server.pem") != 1 ||
        SSL_CTX_use_PrivateKey_file(context, "/server.key", SSL_FILETYPE_PEM) != 1) return 5;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr*)&address, size) != 0 || listen(listener, 9) != 0) return 6;
    getsockname(listener, (struct sockaddr*)&address, &size);
    printf("port %d\n", ntohs(address.sin_port));
    fflush(stdout);
    for (;;) {
        const char* page = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nhi\n";
        char request[4096];
        SSL* ssl = SSL_new(context);
        int connection = accept(listener, 0, 0);
        SSL_set_fd(ssl, connection);
        if (SSL_accept(ssl) == 1 && SSL_read(ssl, request, sizeof request) > 0) SSL_write(ssl, page, strlen(page));
        SSL_shutdown(ssl);
        SSL_free(ssl);
        close(connection);
    }
}
'''

LATE_PYTHON = '''
import ctypes, os, sys
import ssl
if sys.argv[2] == 'chroot':
    os.chroot(sys.argv[1])
else:
    assert ctypes.CDLL(None).syscall(int(sys.argv[3]), sys.argv[1].encode()) == 0
os.chdir('/')
ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
'''


@pytest.fixture(scope='module')
def jail(certificates):
    """Another root, with a library and trust where those of this one are."""
    jail = path('jail')
    evil = compiled('evil.so', '''#include <fcntl.h>
        __attribute__((constructor)) static void ran(void) { open("/ran", O_CREAT | O_WRONLY, 0600); }''', '-shared', '-fPIC')
    for name in ('libreqauth-exec.so', 'libreqauth-preload.so'):
        inside = jail + os.path.join(os.path.realpath(os.path.dirname(EXEC)), name)
        os.makedirs(os.path.dirname(inside), exist_ok=True)
        shutil.copy(evil, inside)
    os.makedirs(jail + home.name, exist_ok=True)
    shutil.copy(path('others.pem'), jail + path('agents.pem'))
    for name in ('server.pem', 'server.key'):
        shutil.copy(path(name), jail)
        os.chmod(os.path.join(jail, name), 0o644)
    os.chmod(path('agents.pem'), 0o600)
    yield jail
    assert not os.path.exists(os.path.join(jail, 'ran')), 'nothing in it was loaded'


# A program that changes its root before its first SSL_CTX takes neither library nor trust out of the new one.

@as_root
@pytest.mark.parametrize('more', [[], ['unprivileged']], ids=['root', 'unprivileged'])
def test_another_root(jail, more):
    with Unmodified([], compiled('late', LATE, '-lssl', '-lcrypto'), jail, *more) as server:
        visited(server, *CRAWLER, **ACCEPTED, line=IS_AGENT)
        visited(server, *own('impostor'), '--on-unsatisfiable', 'present', status=1,
                alert_received='unknown_ca', line=dict(certificate='invalid'))
        assert server.errors == []


@as_root
@pytest.mark.parametrize('how, says', [('chroot', 'of which 1 was given the flag'), ('by a system call', 'it changed its root')])
def test_another_root_of_python(jail, how, says):
    write('late.py', LATE_PYTHON.encode())
    number = str(161 if os.uname().machine == 'x86_64' else 51)
    ran = under(['--server', *AGENTS, '--verbose'], sys.executable, path('late.py'), jail, how, number)
    went_well(ran)
    assert says in ran.err, 'it is given the flag, or says why not'


FORKS = r'''
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
static int ends[2];
static __thread int slow;
static int made(void* of, void* p, CRYPTO_EX_DATA* d, int i, long l, void* a) {
    if (slow) { slow = 0; (void)!write(ends[1], "x", 1); usleep(300000); } /* in the middle of an SSL_new */
    return 1;
}
static void* make(void* unused) {
    SSL_CTX* context = SSL_CTX_new(TLS_method());
    slow = 1;
    SSL_free(SSL_new(context));
    return 0;
}
int main(void) {
    char octet;
    pthread_t other;
    int status = 0;
    if (pipe(ends) != 0) return 2;
    SSL_CTX_free(SSL_CTX_new(TLS_method()));
    SSL_get_ex_new_index(0, 0, made, 0, 0);
    pthread_create(&other, 0, make, 0);
    (void)!read(ends[0], &octet, 1);
    pid_t child = fork();
    if (child == 0) {
        alarm(20);
        SSL_CTX* context = SSL_CTX_new(TLS_method());
        SSL_free(SSL_new(context));
        SSL_CTX_free(context);
        _exit(0);
    }
    waitpid(child, &status, 0);
    pthread_join(other, 0);
    puts(status == 0 ? "the child ended" : "the child hung");
    return status != 0;
}
'''

MANY = r'''
#include <openssl/ssl.h>
#include <stdio.h>
static int freed;
static int slot;
static void gone(void* of, void* p, CRYPTO_EX_DATA* d, int i, long l, void* a) { freed += p != 0; }
static SSL_CTX* made(void) {
    SSL_CTX* context = SSL_CTX_new(TLS_method());
    SSL_CTX_set_ex_data(context, slot, context); // ours, and none that libreqauth makes to look at it
    return context;
}
int main(void) {
    slot = SSL_CTX_get_ex_new_index(0, 0, 0, 0, gone);
    for (int i = 0; i < 50; ++i) SSL_CTX_free(made());
    printf("%d ", freed);
    SSL_CTX* kept = made();
    SSL_CTX* other = made();
    SSL* ssl = SSL_new(kept);
    SSL_CTX_free(other);
    SSL_CTX_free(kept);
    SSL_free(ssl);
    printf("%d\n", freed);
    return 0;
}
'''


def test_many_contexts():
    """As without us: an SSL_CTX that nobody uses ends when it is freed."""
    ran = under(['--server', *AGENTS, '--verbose'], compiled('many', MANY, '-lssl', '-lcrypto'))
    assert ran.out == '50 52\n', ran.err
    assert 'made 52 SSL_CTXs, of which 52 were given the flag' in ran.err


@pytest.mark.parametrize('options', [['--server', *AGENTS], CRAWLER], ids=['a server', 'a client'])
def test_fork(options):
    """While another thread makes an SSL: the child makes its own."""
    ran = under(options, compiled('forks', FORKS, '-lssl', '-lcrypto', '-lpthread'))
    assert ran.out == 'the child ended\n', ran.err


CLOSES = '''
import os, runpy, sys
import ssl
ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
for number in range(3, 1024):
    try:
        if '/log/' in os.readlink(f'/proc/self/fd/{number}'):
            os.close(number)
    except OSError:
        pass
change = sys.argv.pop(1)
if change != 'nothing':
    os.rename(change, change + '.old')
    if change.endswith('linked'):
        os.symlink(sys.argv[1] + '.target', change)
    else:
        open(change, 'w').close()
sys.argv.pop(0)
runpy.run_path(sys.argv[0], run_name='__main__')
'''


@pytest.fixture(scope='module')
def logs(certificates):
    for name in ('mine', 'theirs'):
        os.makedirs(path(f'log/{name}'))
    os.mkfifo(path('log/fifo'))
    write('log/target', b'')
    os.symlink(path('log/target'), path('log/link'))
    os.symlink(path('log/nowhere'), path('log/dangling'))
    os.symlink(path('log/mine'), path('log/folder'))
    write('log/first', b'')
    os.link(path('log/first'), path('log/second'))
    write('log/of-another', b'')
    if os.geteuid() == 0:
        for name in ('theirs', 'of-another'):
            os.chown(path(f'log/{name}'), 65534, 65534)
    write('closes.py', CLOSES.encode())


@pytest.mark.parametrize('name, words', [
    pytest.param('fifo', 'is a FIFO', id='a FIFO'), pytest.param('link', 'is a symbolic link', id='a symbolic link'),
    pytest.param('dangling', 'is a symbolic link', id='a link to nowhere'), pytest.param('folder/log', 'is a symbolic link', id='a linked folder'),
    pytest.param('second', 'has another name', id='a second name'), pytest.param('mine', 'Is a directory', id='a folder'),
    pytest.param('none/log', 'No such file', id='no folder'), pytest.param('/dev/null', 'no regular file', id='a device'),
    pytest.param('theirs/log', "another user's", id="in another user's folder", marks=as_root),
    pytest.param('of-another', "another user's", id="another user's", marks=as_root)])
def test_log(logs, name, words):
    """A log goes to a regular file of one's own, by no other name, and nobody waits for it."""
    log = os.path.join(path('log'), name)
    cannot([*CRAWLER, '--log', log], '/bin/echo', 'it ran', status=125, words=(f'--log {log}', words))
    assert os.listdir(path('log/theirs')) == [] and octets_of('log/target') == b'' and not os.path.exists(path('log/nowhere')), 'nothing was written'


def test_log_closed_by_the_program(logs):
    with closing('nothing', 'closed') as server:
        visited(server, *CRAWLER, **ACCEPTED, line=IS_AGENT)


@pytest.mark.parametrize('name, words', [('linked', 'is a symbolic link'), ('moved', 'is another file by now')])
def test_log_closed_and_another_by_now(logs, name, words):
    with closing(path(f'log/mine/{name}'), name) as server:
        for _ in range(2):
            calls(server, *CRAWLER)
        said = [line for line in server.errors if f'log/mine/{name}' in line]
        assert len(said) == 1 and words in said[0], ('it says so once', server.errors)
        assert not os.path.exists(server.log) or octets_of(server.log) == b'', 'nothing is written'
    assert not os.path.exists(path('server.py.target')), 'it is not followed'


def closing(change, log):
    """A server that closes its log, and puts something else in its place."""
    write('server.py', PYTHON_SERVER.encode())
    return Unmodified([], sys.executable, path('closes.py'), change, path('server.py'), *own('server')[1::2], log=f'log/mine/{log}')


def test_exported():
    """A function that libssl has and nobody has looked at."""
    nm = shutil.which('nm')
    if nm is None:
        pytest.skip('there is no nm')
    listed = run('/usr/bin/ldd', EXEC).out
    libssl = re.search(r'libssl\S* => (\S+)', listed).group(1)
    names = {line.split()[2].split('@')[0] for line in run(nm, '-D', '--defined-only', libssl).out.splitlines() if ' T ' in line}
    assert len(names) > 400, 'libssl has functions'
    with open(os.path.join(HERE, 'libssl.functions')) as file:
        known = [re.compile(each) for line in file if not line.startswith('#') for each in line.split()]
    for name in sorted(names):
        assert any(each.fullmatch(name) for each in known), f'{name}: see modules/preload/hidden.cpp and tests/modules/preload/libssl.functions'


def test_ssl_ctrl():
    """What it gives of the peer."""
    header = next((each for each in ('/usr/include/openssl/ssl.h', '/usr/local/include/openssl/ssl.h') if os.path.exists(each)), None)
    if header is None:
        pytest.skip('there is no openssl/ssl.h')
    with open(header) as file:
        commands = set(re.findall(r'SSL_CTRL_GET_PEER\w+', file.read()))
    # The key of the key exchange is there with or without a certificate.
    assert commands <= {'SSL_CTRL_GET_PEER_SIGNATURE_NID', 'SSL_CTRL_GET_PEER_SIGNATURE_NAME', 'SSL_CTRL_GET_PEER_TMP_KEY'}, 'another one'


# Servers that are there already: the table of docs/reqauth-exec.md has a row for each of these, and for no other.

PYTHON_WEB = '''
import http.server, ssl, sys
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain('server.pem', 'server.key')
server = http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), http.server.SimpleHTTPRequestHandler)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
'''


def lighttpd(port, _):
    modules = next((each for each in ('/usr/lib/lighttpd', built('packages/usr/lib/lighttpd')) if os.path.isdir(each)), '')
    configuration = write('lighttpd.conf', f'''server.document-root = "{home.name}"
server.bind = "127.0.0.1"
server.port = {port}
server.modules = ("mod_openssl")
ssl.engine = "enable"
ssl.pemfile = "{path('server.pem')}"
ssl.privkey = "{path('server.key')}"
'''.encode())
    return [program('lighttpd'), '-D', '-m', modules, '-f', configuration]


def hitch(port, behind):
    both = write('server-with-key.pem', octets_of('server.key') + octets_of('server.pem'))
    return [program('hitch'), f'--frontend=[127.0.0.1]:{port}', f'--backend=[127.0.0.1]:{behind}', '--ocsp-dir=',
            *(['--user=nobody'] if os.geteuid() == 0 else []), both]


def stunnel_server(port, behind):
    return [shutil.which('stunnel4', path=SYSTEM) or program('stunnel'), write('stunnel-web.conf', f'''foreground = yes
pid =
[web]
accept = 127.0.0.1:{port}
connect = 127.0.0.1:{behind}
cert = {path('server.pem')}
key = {path('server.key')}
'''.encode())]


def haproxy_server(port, behind):
    both = write('server-with-key.pem', octets_of('server.pem') + octets_of('server.key'))
    return [program('haproxy'), '-db', '-f', write('haproxy-web.cfg', f'''defaults
    mode http
    timeout client 30s
    timeout server 30s
    timeout connect 30s
listen web
    bind 127.0.0.1:{port} ssl crt {both}
    server behind 127.0.0.1:{behind}
'''.encode())]


SERVERS = {
    'HAProxy': haproxy_server,
    'hitch': hitch,
    'lighttpd': lighttpd,
    'nghttpx': lambda port, behind: [program('nghttpx'), f'--frontend=127.0.0.1,{port}', f'--backend=127.0.0.1,{behind}', '--workers=1',
                                     '--conf=/dev/null', path('server.key'), path('server.pem')],
    'openssl s_server': lambda port, _: ['openssl', 's_server', '-accept', f'127.0.0.1:{port}', *own_of_s_server(), '-www'],
    'Python': lambda port, _: [sys.executable, write('web-server.py', PYTHON_WEB.encode()), str(port)],
    'stunnel': stunnel_server,
}


def own_of_s_server():
    return ['-cert', path('server.pem'), '-key', path('server.key')]


@pytest.fixture(scope='module')
def behind(certificates):
    """A page in plain HTTP."""
    write('index.html', b'hi\n')
    port = unused_port()
    web = subprocess.Popen([sys.executable, '-m', 'http.server', '--bind', '127.0.0.1', str(port)], cwd=home.name, stderr=subprocess.DEVNULL)
    yield port
    web.kill()
    web.wait(PATIENCE)


@pytest.mark.parametrize('name', SERVERS)
def test_servers_that_are_there(behind, name):
    """An agent is known in the log, and resumes; a person is not asked. Both get the page."""
    port = unused_port()
    with contextlib.suppress(FileNotFoundError):
        os.remove(path('there.session'))
    with Unmodified([], *SERVERS[name](port, behind), port=port) as server:
        ran = visited(server, *CRAWLER, '--session-out', path('there.session'), **ACCEPTED, line=IS_AGENT)
        assert ran.out.splitlines()[:-1], 'it gets the page'
        visited(server, *CRAWLER, '--session-in', path('there.session'), line=IS_AGENT)
        visited(server, '--offer', 'never', requested=False, line=dict(ok=True, offered=False, certificate='not_requested'))
        assert not any(SAYS in line for line in server.errors), server.errors


def test_servers_of_the_document():
    with open(os.path.join(HERE, '..', '..', '..', 'docs', 'reqauth-exec.md')) as page:
        table = page.read().partition('| server | under reqauth-exec |')[2].partition('\n\n')[0]
    assert {row.split(' | ')[0].strip('| ') for row in table.splitlines()[2:]} == {*SERVERS, 'PostgreSQL', 'Apache httpd', 'nginx'}


def test_apache(certificates):
    """mod_ssl resets the connection of every agent: it is known before it runs, and where it was started by a script."""
    found = program('apache2')
    cannot(['--server', *AGENTS], found, '-v', status=126, words=('is Apache httpd', 'load mod_reqauth into it'))
    went_well(under(['--server', *AGENTS, '--anyway'], found, '-v'))
    went_well(under(CRAWLER, found, '-v'))


def test_apache_anyway(certificates):
    """It goes on without the flag, and says so where its standard error goes."""
    program('apache2')
    from servers import Apache
    web = Apache(f'''<VirtualHost 127.0.0.1:$PORT>
    ServerName localhost
    SSLEngine on
    SSLProtocol TLSv1.3
    SSLCertificateFile {path('server.pem')}
    SSLCertificateKeyFile {path('server.key')}
</VirtualHost>''', module=False, start=False)
    with Unmodified(['--anyway'], *web.command(), port=web.port) as server:
        ran = calls(server, *CRAWLER)
        assert ran.out.startswith('hello\n')
        same(ran.line, ok=True, requested=False)
        assert f'{web.log()}{server.errors}'.count('is Apache httpd') == 1
        server.process.terminate()
        server.process.wait(PATIENCE)


@pytest.mark.parametrize('verify', ['off', 'on', 'optional', 'optional_no_ca'])
def test_nginx(certificates, verify):
    """With ssl_verify_client it answers every agent with 400: so it goes on without the flag, and says so."""
    port = unused_port()
    os.makedirs(path('nginx'), exist_ok=True)
    configuration = write('nginx.conf', f'''daemon off;
pid {path('nginx')}/pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {path('nginx')}; proxy_temp_path {path('nginx')}; fastcgi_temp_path {path('nginx')};
    uwsgi_temp_path {path('nginx')}; scgi_temp_path {path('nginx')};
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_protocols TLSv1.3;
        ssl_certificate {path('server.pem')};
        ssl_certificate_key {path('server.key')};
        ssl_client_certificate {path('customers.pem')};
        ssl_verify_client {verify};
        return 200 "verify $ssl_client_verify\\n";
    }}
}}
'''.encode())
    with Unmodified([], program('nginx'), '-c', configuration, '-p', path('nginx'), port=port) as server:
        if verify == 'off':
            ran = visited(server, *CRAWLER, **ACCEPTED, line=IS_AGENT)
            assert ran.out.startswith('verify NONE\n')
            return
        ran = calls(server, *CRAWLER, *other('customer'))
        same(ran.line, acknowledged=False, sent='other')
        assert ran.out.startswith('verify SUCCESS\n'), 'a customer is one, whatever it offers'
        if verify != 'on':
            assert calls(server, *CRAWLER).out.startswith('verify NONE\n')
        assert sum('is nginx with ssl_verify_client' in line and 'load ngx_http_reqauth_module' in line for line in server.errors) == 1
