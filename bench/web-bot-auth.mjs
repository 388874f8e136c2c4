// SPDX-License-Identifier: Apache-2.0
// What the npm package web-bot-auth takes to verify a request, against the verification of its Ed25519 signature alone by the same
// OpenSSL: microseconds of this process, each in turn. node web-bot-auth.mjs ROUNDS, where the package is installed.
import { createPublicKey, generateKeyPairSync, sign, verify } from "node:crypto";
import { signatureHeaders, verify as verifyRequest } from "web-bot-auth";
import { signerFromJWK, verifierFromJWK } from "web-bot-auth/crypto";

const { privateKey, publicKey } = generateKeyPairSync("ed25519");
const now = new Date();
const url = "https://server.example/articles/1";
const agent = { "Signature-Agent": '"https://crawler.example"' };
const fields = await signatureHeaders(new Request(url, { headers: agent }), await signerFromJWK(privateKey.export({ format: "jwk" })), {
  created: now,
  expires: new Date(now.getTime() + 60000),
});
const request = new Request(url, { headers: { ...agent, ...fields } });
const verifier = await verifierFromJWK(publicKey.export({ format: "jwk" }));
const base = Buffer.alloc(300, "x");
const signature = sign(null, base, privateKey);
const key = createPublicKey(publicKey.export({ format: "pem", type: "spki" }));

async function microseconds(work) {
  const before = process.cpuUsage();
  for (let i = 0; i < 500; i++) await work();
  const spent = process.cpuUsage(before);
  return (spent.user + spent.system) / 500;
}

for (let round = -2; round < Number(process.argv[2]); round++) {
  const alone = await microseconds(() => verify(null, base, key, signature));
  const whole = await microseconds(() => verifyRequest(request, verifier));
  if (round >= 0) console.log(`web-bot-auth | verification alone\tmicroseconds=${alone}\nweb-bot-auth | package\tmicroseconds=${whole}`);
}
