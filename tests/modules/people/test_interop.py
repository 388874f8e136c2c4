# SPDX-License-Identifier: Apache-2.0
"""scripts/interop with peers of a folder: a good agent, a good person, and two that are not what their names say."""
import os
import shutil
import subprocess
import sys

import pytest

import wire
from running import CLIENT, home, path, write

HERE = os.path.dirname(os.path.abspath(__file__))
INTEROP = os.path.join(HERE, '..', '..', '..', 'scripts', 'interop')
PEER = f'''#!/bin/sh
if [ "$1" = --version ]; then echo "a peer 1.0"; exit; fi
session=$(mktemp)
for each in $(seq "$7"); do
    {CLIENT} --connect "$1:$2" --ca "$3" --get "$6" OPTIONS $in --session-out "$session" || exit
    in="--session-in $session"
done
'''
PEERS = {  # name: options, what stands in the last four columns
    'agent-good': ('--cert "$4" --key "$5"', ['yes', 'yes', 'yes', 'yes']),
    'good': ('--offer never --other-cert "$4" --other-key "$5"', ['yes', 'yes', '–', 'yes']),
    'agent-without-the-flag': ('--offer never', ['**no**', '**no**', '**no**', 'yes']),
    'with-the-flag': ('--offer always', ['**no**', '–', '–', '**no**']),
}


@pytest.mark.parametrize('name', PEERS)
def test_peer(pki, name):
    if reason := wire.why_not():
        pytest.skip(reason)
    options, cells = PEERS[name]
    if name == 'agent-good':  # as a person it has a certificate, and does not offer
        options = f'$(case "$4" in */customer.pem) echo --offer never;; *) echo {options.replace(chr(34), "")};; esac)'
    shutil.rmtree(path('peers'), ignore_errors=True)
    os.makedirs(path('peers'))
    os.chmod(write(f'peers/{name}', PEER.replace('OPTIONS', options).encode()), 0o755)
    ran = subprocess.run([sys.executable, INTEROP, '--peers', path('peers'), name], capture_output=True, text=True, cwd=home.name)
    rows = [line.strip('| ').split(' | ') for line in ran.stdout.splitlines() if line.startswith('| ')][2:]
    assert rows and all(row[1:4] == [name, 'a peer 1.0', 'TCP'] and row[4:] == cells for row in rows), ran.stdout + ran.stderr
    assert ran.returncode == ('**no**' in cells)
