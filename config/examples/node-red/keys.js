// Writes the keys of the example into the working directory: what identity providers and the gateway would hold in
// earnest. Used by scripts/example-node-red, once for each run; nothing of it is worth protecting.
"use strict";
const crypto = require("node:crypto");
const fs = require("node:fs");

const write = (name, text, mode) => fs.writeFileSync(name, text, { mode, flag: "wx" });
const pem = (key, type) => key.export({ format: "pem", type });

// Two issuers: a private key to mint with, and the public key set that the gateway reads.
for (const issuer of ["vendor", "members"]) {
    const { publicKey, privateKey } = crypto.generateKeyPairSync("ec", { namedCurve: "P-256" });
    const jwk = { ...publicKey.export({ format: "jwk" }), kid: issuer, alg: "ES256", use: "sig" };
    write(`${issuer}.pem`, pem(privateKey, "pkcs8"), 0o600);
    write(`${issuer}.jwks.json`, JSON.stringify({ keys: [jwk] }, null, 2) + "\n", 0o644);
}

// The gateway's assertions: it signs with the one half, the application verifies with the other.
const assertion = crypto.generateKeyPairSync("ec", { namedCurve: "P-256" });
write("assertion.pem", pem(assertion.privateKey, "pkcs8"), 0o600);
write("assertion.pub.pem", pem(assertion.publicKey, "spki"), 0o644);
