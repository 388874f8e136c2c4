# SPDX-License-Identifier: Apache-2.0
"""An ordinary program in Python that fetches a page: client.py URL CA [CERTIFICATE KEY]."""
import ssl
import sys
import urllib.request

url, ca, *own = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
if own:
    context.load_cert_chain(*own)
with urllib.request.urlopen(url, context=context) as answer:
    sys.stdout.write(answer.read().decode())
