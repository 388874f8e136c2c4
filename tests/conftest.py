# SPDX-License-Identifier: Apache-2.0
"""What every test in Python has: the PKI, what it may need of the machine, and a count of what was asserted."""
import os
import re

import pytest

pytest.register_assert_rewrite('running', 'hosts', 'servers', 'standing', 'refusals')
import running  # noqa: E402
import servers  # noqa: E402

checks = 0


def pytest_assertion_pass():
    global checks
    checks += 1


def why(skipped):
    """The same for each row of a table."""
    name = re.sub(r'.*(::|/)|\[.*', '', skipped.nodeid)
    return f'skipped: {name}: {skipped.longrepr[2].removeprefix("Skipped: ")}'


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_sessionfinish(session):
    """After pytest's own words: each reason for which something was skipped, and the count."""
    yield
    seen = session.config.pluginmanager.get_plugin('terminalreporter').stats
    skipped = dict.fromkeys(why(each) for each in seen.get('skipped', ()))
    print(*skipped, sep='\n', end='\n' if skipped else '')
    failed = len(seen.get('failed', ())) + len(seen.get('error', ()))
    if skipped and os.environ.get('REQAUTH_REQUIRED'):
        failed += len(skipped)
        session.exitstatus = 1
    elif skipped and not failed and 'passed' not in seen:
        session.exitstatus = 77
    print(f'{checks} passed, {failed} failed')


@pytest.fixture(scope='session', autouse=True)
def pki():
    """The certificates that running.py names, made once."""
    for program in (running.SERVER, running.CLIENT):
        if reason := running.two_openssls(program):
            pytest.skip(reason)
    running.make_pki()


@pytest.fixture
def terminal():
    """For what needs a pseudo-terminal."""
    try:
        for end in os.openpty():
            os.close(end)
    except OSError as why:
        pytest.skip(f'no pseudo-terminal can be had ({why.strerror}): is /dev/pts mounted?')


@pytest.fixture(scope='session')
def nginx(pki):
    """nginx, whether its module is built or not."""
    if servers.found('nginx') is None:
        pytest.skip('nginx is not here; scripts/setup gets it')
    return servers.Nginx


@pytest.fixture(scope='session')
def nginx_with_module(nginx):
    if not os.path.exists(nginx.shared_object):
        pytest.skip(f'{nginx.shared_object} is not built')
    # An nginx that the module is not built for loads no module at all: that is no fault of either.
    if 'instead of' in (said := nginx(starts=False).test().err):
        pytest.skip(f'nginx is another version than the headers that the module was built with: {said.splitlines()[0]}')
    return nginx


@pytest.fixture(scope='session')
def httpd_with_module(pki):
    """Apache httpd."""
    for file in (servers.found('apache2'), f'{servers.Apache.modules}/mod_ssl.so', servers.Apache.shared_object, servers.Tunnel.program):
        if file is None or not os.path.exists(file):
            pytest.skip(f'{file or "apache2"} is not here: it takes the packages apache2-bin and apache2-dev')
    return servers.Apache
