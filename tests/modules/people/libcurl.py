# SPDX-License-Identifier: Apache-2.0
"""A libcurl of whichever TLS library, as a program uses it: libcurl.py [--http3] LIBRARY CA CERTIFICATE KEY URL..."""
import ctypes
import sys

SSLCERT, SSLKEY, URL, CAINFO, HTTPHEADER = 10025, 10087, 10002, 10065, 10023

HTTP_VERSION, HTTP3_ONLY = 84, 31

over_quic = sys.argv[1] == '--http3'
library, ca, certificate, key, *urls = sys.argv[1 + over_quic:]
curl = ctypes.CDLL(library)
curl.curl_easy_init.restype = curl.curl_slist_append.restype = ctypes.c_void_p
curl.curl_easy_strerror.restype = ctypes.c_char_p
easy = ctypes.c_void_p(curl.curl_easy_init())
closes = ctypes.c_void_p(curl.curl_slist_append(None, b'Connection: close'))
curl.curl_easy_setopt(easy, HTTPHEADER, closes)
if over_quic and curl.curl_easy_setopt(easy, HTTP_VERSION, ctypes.c_long(HTTP3_ONLY)):
    sys.exit('this libcurl has no HTTP/3')
for url in urls:  # each on a connection of its own
    for option, value in (URL, url), (CAINFO, ca), (SSLCERT, certificate), (SSLKEY, key):
        curl.curl_easy_setopt(easy, option, ctypes.c_char_p(value.encode()))
    if code := curl.curl_easy_perform(easy):
        sys.exit(f'{curl.curl_easy_strerror(code).decode()} ({code})')
