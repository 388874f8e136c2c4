# SPDX-License-Identifier: Apache-2.0
"""Fetches URLs with Python's standard library. Under reqauth-exec it does so as an agent, with no line changed:

    reqauth-exec --cert agent.pem --key agent.key -- python3 fetch.py CA URL...
"""
import ssl
import sys
import urllib.request

context = ssl.create_default_context(cafile=sys.argv[1])
for url in sys.argv[2:]:
    with urllib.request.urlopen(url, context=context) as answer:
        sys.stdout.write(answer.read().decode())
