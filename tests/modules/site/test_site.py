# SPDX-License-Identifier: Apache-2.0
"""examples/site with a real nginx and the module: people, agents, guests and impostors; the live page in Chromium.

What is not there is skipped, with the reason. Screenshots stay in the build's folder screenshots.
"""
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time

import pytest

import chromium
import hosts
import servers
from running import CLIENT, PATIENCE, authority, built, home, keeping, leaf, octets_of, own, path, read_all, run, same, tls, write

SITE = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..', '..', 'examples', 'site')
GNUTLS = built('tests/gnutls-client')
AGENT = own('crawler')
with_gnutls = pytest.mark.skipif(not os.path.exists(GNUTLS), reason='the client on GnuTLS is not built, since libgnutls28-dev is not here')


@pytest.fixture(scope='module', autouse=True)
def certificates(pki):
    if missing := hosts.why_not('nginx'):
        pytest.skip(missing)
    leaf('second', '/CN=second.example', 'agents', 'DNS:second.example')
    # One whose CA calls itself as the agents' does: a client shows nothing to a server that would not know its CA by name.
    authority('false', '/CN=agents CA')
    leaf('false-crawler', '/CN=crawler.example', 'false', 'DNS:crawler.example')


class Site:
    """`serve`, with an nginx of its own."""

    def __init__(self, *options, starts=True):
        self.run = path(f'site-{time.monotonic_ns()}')
        self.process = subprocess.Popen([os.path.join(SITE, 'serve'), '--listen', '127.0.0.1:0', '--nginx', servers.found('nginx'), '--module',
                                         servers.Nginx.shared_object, '--cert', path('server.pem'), '--key', path('server.key'), '--agents-ca',
                                         path('agents.pem'), '--run', self.run, *options],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if starts:
            line = self.process.stdout.readline()
            if not line:
                raise EOFError(f'serve ended: {self.process.stderr.read()}')
            self.port = int(re.search(r':(\d+)/', line)[1])
            self.url = f'https://localhost:{self.port}'

    def status(self):
        with open(os.path.join(self.run, 'pages', 'live', 'status.json')) as file:
            return json.load(file)

    def wait(self, kind, member, number):
        """Waits until a number of the live page has come that far; gives the whole."""
        deadline = time.monotonic() + PATIENCE
        while (now := self.status())['counts'][kind][member] < number and time.monotonic() < deadline:
            time.sleep(0.05)
        return now

    def __enter__(self):
        os.chmod(home.name, 0o711)  # nginx's workers may be somebody else
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
        said = self.process.communicate(timeout=PATIENCE)
        assert self.process.returncode == 0, ('serve ends well', said)
        assert not listens(self.port), 'nothing listens any more'
        assert not re.search(r'\[(warn|error|crit|alert|emerg)\](?!.* access forbidden by rule)', said[1]), 'nginx has nothing to complain of'


def listens(port):
    with contextlib.suppress(ConnectionError), socket.create_connection(('127.0.0.1', port), timeout=PATIENCE):
        return True
    return False


class Answer:
    def __init__(self, text):
        self.status, self.body = int(text.split()[1]), text.partition('\r\n\r\n')[2]
        self.fields = {name.lower(): value for name, _, value in (each.partition(': ') for each in text.partition('\r\n\r\n')[0].split('\r\n')[1:])}

    @property
    def is_html(self):
        return self.fields.get('content-type') == 'text/html; charset=utf-8' and self.body.startswith('<!DOCTYPE html>')

    @property
    def json(self):
        return json.loads(self.body)


def curl(site, *options, at='/'):
    ran = run('curl', '--silent', '--show-error', '--include', '--http1.1', '--cacert', path('servers.pem'), *options, site.url + at)
    assert ran.status == 0, ('curl: exits with 0', ran.err)
    return Answer(ran.out.replace('\n', '\r\n').replace('\r\r\n', '\r\n') if ran.out else 'HTTP/1.1 0')


def agent(site, *options, gets=1):
    """reqauth-client's visit: its line, and the bodies."""
    ran = run(CLIENT, '--connect', f'localhost:{site.port}', '--ca', path('servers.pem'), '--json', *options, *['--get', '/'] * gets)
    assert ran.status in (0, 3), ('the client: its visit was made', ran.out, ran.err)
    return ran.line, ran.out[:ran.out.rindex('{"event"')]


def test_visitors():
    """What each kind of visitor gets at the same address."""
    with Site() as site:
        for what, options in (('a person', []), ('a person with a certificate', own('customer')),
                              ('a person who wants JSON', ['--header', 'Accept: application/json'])):
            page = curl(site, *options)
            assert page.status == 200 and page.is_html and 'Northmole harbour' in page.body, (f'{what}: gets the page', page.fields)
        line, body = agent(site, *AGENT, '--session-out', path('site.session'))
        same(line, offered=True, acknowledged=True, sent='flag')
        notices = json.loads(body)['notices']
        assert len(notices) == 3, ('an agent: gets the notices as JSON', body)
        for each in notices:
            for part in (each['title'], each['text'], f'id="{each["id"]}"', f'datetime="{each["date"]}"'):
                assert part in page.body, 'both say the same'
        assert page.body.count('<article') == 3
        line, again = agent(site, *AGENT, '--session-in', path('site.session'))
        same(line, resumed=True)
        assert again == body, 'an agent that resumes: gets the same'
        for what, options, sent in (('a guest', ['--offer', 'always'], 'empty'), ('one of another CA', own('impostor'), 'empty')):
            line, body = agent(site, *options)
            same(line, offered=True, acknowledged=True, sent=sent)
            assert body.startswith('<!DOCTYPE html>'), f'{what}: gets the page'
        for _ in range(2):
            line, body = agent(site, *own('false-crawler'), *keeping('false.session'))
            same(line, offered=True, acknowledged=True, sent='flag', resumed=False)
            assert json.loads(body)['verify'].startswith('FAILED:') and 'harbour' not in body, 'an impostor: is refused, and told why'
        now = site.wait('impostor', 'requests', 2)
        assert {kind: now['counts'][kind]['connections'] for kind in now['counts']} == {'person': 3, 'agent': 2, 'guest': 2, 'impostor': 2}
        resumed = [each for each in now['recent'] if each['resumed'] == '1']
        assert len(resumed) == 1 and resumed[0]['visitor'] == 'agent', ('the numbers: one resumed', now)
        assert not any(each['subject'] for each in now['recent'] if each['visitor'] != 'agent'), 'nothing of an impostor\'s name is believed'


@pytest.fixture(scope='module')
def site(certificates):
    """One where nobody looks at the numbers."""
    with Site() as running:
        yield running


def test_counters_are_for_this_machine(site):
    page = curl(site, at='/live/metrics')
    assert page.status == 200 and 'reqauth_handshakes_total{server="localhost"}' in page.body, page.body
    assert curl(site, '--interface', '127.0.0.2', at='/live/metrics').status == 403


def test_live_page_is_for_this_machine(site):
    page = curl(site, at='/live/')
    assert page.status == 200 and page.is_html, page.fields
    page = curl(site, '--interface', '127.0.0.2', at='/live/')
    assert page.status == 403


@pytest.mark.parametrize('at', ['/nginx.conf', '/visits.log', '/../visits.log', '/%2e%2e/visits.log', '/live/../../visits.log',
                                '/live%2f..%2f..%2fvisits.log'])
def test_not_to_be_had(site, at):
    assert curl(site, '--path-as-is', at=at).status in (400, 404)


@with_gnutls
@pytest.mark.parametrize('accept, html', [('Accept: text/html,*/*', True), ('Accept: */*', False)])
def test_accept(site, accept, html):
    """An agent gets the page if it asks for that."""
    ran = run(GNUTLS, '--connect', f'localhost:{site.port}', '--ca', path('servers.pem'), *AGENT, '--get', '/', '--header', accept)
    same(ran.line, ok=True, acknowledged=True, sent='flag')
    assert ran.out.startswith('<!DOCTYPE html>') == html


def test_limit_of_an_agent():
    """It is its own: it touches neither people nor another agent, all of one address."""
    with Site('--agent-rate', '1r/m', '--agent-burst', '4') as site:
        _, bodies = agent(site, *AGENT, gets=20)
        served, refused = bodies.count('"harbour"'), bodies.count('"too many requests')
        assert served >= 5 and refused >= 10 and served + refused == 20, 'an agent: gets its share'
        line, bodies = agent(site, *AGENT)  # on another connection
        assert 'too many requests' in bodies, 'an agent: the limit is not the connection\'s'
        _, bodies = agent(site, *own('second'), gets=5)
        assert bodies.count('"harbour"') == 5, 'another agent: has a limit of its own'
        ran = run('curl', '--silent', '--output', '/dev/null', '--write-out', '%{http_code} ', '--cacert', path('servers.pem'),
                  f'{site.url}/?[1-100]')
        assert ran.out.split() == ['200'] * 100, 'people: are served as ever'
        _, bodies = agent(site, '--offer', 'always', gets=20)
        assert bodies.count('<!DOCTYPE html>') == 20, ('guests: are served as people are', bodies[:300])
        now = site.wait('agent', 'requests', 26)
        assert now['counts']['agent']['limited'] >= 11 and now['counts']['person']['limited'] == 0, 'the numbers: who was limited'


@with_gnutls
def test_limit_is_the_certificates():
    with Site('--agent-rate', '1r/m', '--agent-burst', '4') as site:
        _, bodies = agent(site, *AGENT, gets=20)
        assert 'too many requests' in bodies
        ran = run(GNUTLS, '--connect', f'localhost:{site.port}', '--ca', path('servers.pem'), *AGENT, '--get', '/')
        assert 'too many requests' in ran.out, 'an agent on GnuTLS'


def test_limit_of_an_address():
    with Site('--others-rate', '1r/m', '--others-burst', '4') as site:
        ran = run('curl', '--silent', '--output', '/dev/null', '--write-out', '%{http_code} ', '--cacert', path('servers.pem'), f'{site.url}/?[1-20]')
        assert ran.out.split()[:5] == ['200'] * 5 and '429' in ran.out, 'an address has a limit, too'
        answer = curl(site)
        assert answer.status == 429 and answer.fields.get('retry-after') == '60' and answer.json['error'], 'it is told when to come back'
        same(answer.fields, **ALWAYS)
        _, bodies = agent(site, *AGENT, gets=5)
        assert bodies.count('"harbour"') == 5, 'agents: are served all the same'


def test_numbers():
    """The log is read while it grows, across its rotation, and whatever is in it."""
    with Site() as site:
        log = os.path.join(site.run, 'visits.log')
        curl(site)
        site.wait('person', 'requests', 1)
        with open(log, 'a') as file:
            file.write('no json\n{"visitor":"agent"}\n[]\n{"visitor":1,"connection":[]}\n')
        os.rename(log, log + '.1')
        with open(os.path.join(site.run, 'nginx.pid')) as pid:
            os.kill(int(pid.read()), signal.SIGUSR1)
        deadline = time.monotonic() + PATIENCE
        while not os.path.exists(log) and time.monotonic() < deadline:
            time.sleep(0.05)
        agent(site, *AGENT, gets=2)
        now = site.wait('agent', 'requests', 2)
        assert {kind: [*each.values()] for kind, each in now['counts'].items()} == {
            'person': [1, 1, 0], 'agent': [1, 2, 0], 'guest': [0, 0, 0], 'impostor': [0, 0, 0]}, 'each is counted once'

        # SIGHUP: other trust, from the same file.
        before = octets_of('agents.pem')
        write('agents.pem', octets_of('others.pem'))
        with open(os.path.join(site.run, 'nginx.pid')) as pid:
            nginx = pid.read().strip()
        workers = lambda: set(octets_of(f'/proc/{nginx}/task/{nginx}/children').split())  # noqa: E731
        old = workers()
        assert old, 'numbers: nginx has workers'
        site.process.send_signal(signal.SIGHUP)
        try:
            deadline = time.monotonic() + PATIENCE
            while old & workers() and time.monotonic() < deadline:  # they may take connections until they have gone
                time.sleep(0.05)
            assert '"harbour"' in agent(site, *own('impostor'))[1], 'after SIGHUP another CA counts'
            assert agent(site, *AGENT)[1].startswith('<!DOCTYPE'), 'and the first no longer'
        finally:
            write('agents.pem', before)


@pytest.mark.parametrize('options, word', [
    pytest.param(['--module', path('none.so')], 'the module is not there', id='no module'),
    pytest.param(['--agents-ca', path('none.pem')], 'agents_ca is not there', id='no CA'),
    pytest.param(['--agents-ca', path('noise.pem')], 'noise.pem', id='a CA file without a certificate'),
    pytest.param(['--agents-ca', path('a"b.pem')], 'use another path', id='a path with a quote'),
])
def test_refusal(options, word):
    """What is wrong is said, and nothing is served."""
    write('a"b.pem', b'')
    site = Site(*options, starts=False)
    out, err = site.process.communicate(timeout=PATIENCE)
    assert site.process.returncode == 1 and word in err and not out


def test_trial():
    """Without certificates it makes some, and what it prints to try them works as it stands."""
    process = subprocess.Popen([os.path.join(SITE, 'serve'), '--listen', '127.0.0.1:0', '--nginx', servers.found('nginx'), '--module', servers.Nginx.shared_object],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        said = [process.stdout.readline() for _ in range(4)]
        folder = re.search(r'--cacert (\S+)/server-ca.pem', said[1])[1]
        as_agent = said[2].partition(': ')[2].split()
        assert os.path.basename(as_agent[0]) == 'reqauth-client', ('trial: it names a client', said)
        for what, command, wanted in (('a person', said[1].partition(': ')[2].split(), '<!DOCTYPE html>'), ('an agent', [CLIENT, *as_agent[1:]], '"harbour"'),
                                      ('an impostor', [CLIENT, *[each.replace('agent.', 'impostor.') for each in as_agent[1:]]], '{"error"')):
            ran = run(*command)
            assert ran.status == 0 and wanted in ran.out[:60], (f'trial: {what}', ran.out[:200], ran.err)
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)
    assert process.returncode == 0 and not os.path.exists(folder), 'trial: nothing stays'


@pytest.fixture
def browser(certificates):
    if reason := chromium.why_not() or (None if shutil.which('certutil') else 'certutil (libnss3-tools) is not installed'):
        pytest.skip(reason)
    with chromium.Chromium({'servers': path('servers.pem')}) as page:
        yield page


def test_live(browser):
    """The live page, as a person sees it, with hostile text in a certificate and a path."""
    page, pictures = browser, built('screenshots')
    with Site() as site:
        assert page.open(site.url + '/') is None and 'Bridge closed on Thursday' in page.text(), 'people see the page'
        page.look(900, 800)
        page.screenshot(os.path.join(pictures, 'site.png'))
        assert page.open(site.url + '/live/') is None, 'the live page opens'
        counts = lambda: [int(each) for each in page.evaluate("[...document.querySelectorAll('.number')].map(each => each.textContent).join(' ')").split()]  # noqa: E731
        is_person = "document.getElementById('person').textContent"
        page.until(f"{is_person} === '1'")
        assert counts() == [1, 0, 0, 0], 'the live page: this browser, alone'

        for _ in range(2):
            curl(site)
        agent(site, *AGENT, '--session-out', path('live.session'))
        agent(site, *AGENT, '--session-in', path('live.session'), gets=3)
        agent(site, *own('second'))
        agent(site, '--offer', 'always')
        for _ in range(2):
            agent(site, *own('false-crawler'))
        page.until("document.getElementById('impostor').textContent === '2'")
        assert counts() == [3, 3, 1, 2], 'the live page: counts by outcome'
        told = page.evaluate("[...document.querySelectorAll('#recent tr')].map(each => [...each.cells].slice(1).map(cell => cell.innerText.replaceAll('\\n', ': ')).join(' | ')).join('\\n')")
        wanted = ['Impostor: unable to get local issuer certificate | / | refused'] * 2 + ['Guest: no certificate | / | served', 'Agent: CN=second.example | / | served',
                  'Agent: CN=crawler.example (resumed) | / | served, 3 requests', 'Agent: CN=crawler.example | / | served'] + ['A person | / | served'] * 3
        assert told.split('\n') == wanted, 'the live page: the last connections'
        shown = "[...document.querySelectorAll('#counters tr')].map(each => [...each.cells].map(cell => cell.innerText).join(': ')).join('\\n')"
        page.until(f"({shown}).includes('Not verified: unable to get local issuer certificate: 2')")
        told = dict(line.rsplit(': ', 1) for line in page.evaluate(shown).split('\n'))
        same(told, **{'Offered the flag': '6', 'Asked for a certificate': '5', 'Verified': '3', 'Of these, resumed': '1', 'Refused by an alert': '0'})
        assert int(told['All']) >= 9, told
        for name, width, height, dark in (('wide', 1200, 900, False), ('wide-dark', 1200, 900, True), ('narrow', 390, 1000, False), ('narrow-dark', 390, 1000, True)):
            page.look(width, height, dark)
            assert page.evaluate('document.scrollingElement.scrollWidth <= innerWidth'), f'{name}: fits'
            page.screenshot(os.path.join(pictures, f'site-live-{name}.png'))

        # Text that would be markup, a script, or another line of the log.
        agent(site, *own('hostile'))
        curl(site, '--path-as-is', at='/%3Cimg%20src=x%20onerror=document.title=1%3E')
        with tls(site) as raw:
            raw.sendall(b'GET /"}<img/src=x/onerror=document.title=1>{" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n')
            read_all(raw)
        page.until(f"document.getElementById('agent').textContent === '4' && {is_person} === '5'")
        assert page.evaluate(
            "document.querySelectorAll('script').length === 1 && !document.querySelector('#recent :not(tr, td, b, span)') && document.title") == 'Who visits', 'hostile text: the page is as it was made'
        assert page.evaluate("document.querySelector('#recent .agent span').textContent === 'CN=\\\\F0\\\\9F\\\\95\\\\B7\\\\3Cscript\\\\3Ealert(1)\\\\3C/script\\\\3E,O=\\\\22}\\\\5C\\\\3Cb\\\\3E\\\\0A\\\\C3\\\\A9'"), page.text()
        assert page.evaluate("[...document.querySelectorAll('#recent .path')].some(each => each.textContent === '/\"}<img/src=x/onerror=document.title=1>{\"')"), page.text()
        assert not any(each['method'] == 'Page.javascriptDialogOpening' for each in page.events), 'hostile text: no dialog'
        assert [*site.status()['counts']['person'].values()][:2] == [5, 5], 'hostile text: one line a request'
        page.look(1200, 900)
        page.screenshot(os.path.join(pictures, 'site-live-hostile.png'))


def test_live_page_without_its_server(browser):
    """It says so, and keeps what it knew."""
    page = browser
    with Site() as site:
        page.open(site.url + '/live/')
        page.until("document.getElementById('person').textContent === '0'")
        assert page.evaluate("!document.getElementById('nobody').hidden"), 'the live page: nobody yet'
        site.process.terminate()
        site.process.wait(PATIENCE)
        page.until("document.getElementById('state').textContent.includes('could not be had')")
        assert page.evaluate("document.getElementById('person').textContent") == '0', 'the live page: the last numbers stay'



# What every answer has, whatever became of the request.
ALWAYS = {'x-content-type-options': 'nosniff', 'cache-control': 'private, no-cache', 'vary': 'Accept',
          'content-security-policy': "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; "
                                     "form-action 'none'; frame-ancestors 'none'"}


@pytest.mark.parametrize('target, status', [('/', 200), ('/none', 404), ('/live', 301), ('/live/', 200)])
def test_headers(target, status):
    with Site() as site:
        answer = curl(site, at=target)
        assert answer.status == status and 'retry-after' not in answer.fields
        same(answer.fields, **ALWAYS)


def test_several_addresses():
    """--listen twice: IPv4 and IPv6."""
    with Site('--listen', '[::1]:0') as site:
        ports = re.findall(r'listen ((?:127.0.0.1|\[::1\]):(\d+)) ssl;', octets_of(os.path.join(site.run, 'nginx.conf')).decode())
        assert len(ports) == 2
        for address, port in ports:
            with socket.create_connection(('::1' if '[' in address else '127.0.0.1', int(port)), timeout=PATIENCE):
                pass
