// SPDX-License-Identifier: Apache-2.0
// An ordinary program for Node that fetches a page: client.mjs URL CA [CERTIFICATE KEY].
import { readFileSync } from 'node:fs';
import { get } from 'node:https';

const [url, ca, certificate, key] = process.argv.slice(2);
const own = certificate ? { cert: readFileSync(certificate), key: readFileSync(key) } : {};
get(url, { ca: readFileSync(ca), agent: false, ...own }, (answer) => answer.pipe(process.stdout));
