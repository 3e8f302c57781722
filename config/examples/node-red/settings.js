// Node-RED's own settings file, for an instance that stands behind Postern. Node-RED itself is unchanged: everything
// here is configuration that its manual documents (https://nodered.org/docs/user-guide/runtime/configuration).
//
// What it does: nobody is let in by a password or a cookie of Node-RED's. Each request must carry the assertion that
// Postern signs for exactly this request; without one the answer is 401, even to somebody who reaches the port. This is
// the "back door" of docs/guides/your-application.md, closed by the application itself.
//
// Taken from the environment, so that nothing secret stands here:
//   POSTERN_ASSERTION_KEY   file with the gateway's public assertion key, PEM (required)
//   POSTERN_ASSERTION_AUD   the name of this upstream in the route map (default: app)
//   NODE_RED_PORT           port on loopback (default: 1880)
//   NODE_RED_SECRET         key under which Node-RED encrypts the flows' credentials (required)
"use strict";
const crypto = require("node:crypto");
const fs = require("node:fs");

const HEADER = "postern-assertion";
const TYPE = "postern-assertion+jwt";
const AUDIENCE = process.env.POSTERN_ASSERTION_AUD || "app";
const SKEW_SECONDS = 5; // one machine, or machines with disciplined clocks; the assertion itself lives 30 seconds
const key = crypto.createPublicKey(fs.readFileSync(required("POSTERN_ASSERTION_KEY")));

function required(name) {
    const value = process.env[name];
    if (!value) {
        throw new Error(`${name} is not set; without it this instance would be open to everybody`);
    }
    return value;
}

// The key decides which algorithm is right, never the token's own header: that is how forged tokens get in.
const ALGORITHMS = {
    ed25519: { alg: "EdDSA", verify: (data, signature) => crypto.verify(null, data, key, signature) },
    ec: { alg: "ES256", verify: (data, signature) => crypto.verify("sha256", data, { key, dsaEncoding: "ieee-p1363" }, signature) },
};
const algorithm = ALGORITHMS[key.asymmetricKeyType];
if (!algorithm) {
    throw new Error(`POSTERN_ASSERTION_KEY: unexpected key type \`${key.asymmetricKeyType}\``);
}

// Returns the claims of a genuine assertion for this method and path, or a word saying what is wrong with it.
function judge(token, method, path) {
    if (typeof token !== "string") {
        return "assertion missing";
    }
    const parts = token.split(".");
    if (parts.length !== 3) {
        return "assertion malformed";
    }
    let head, claims;
    try {
        head = JSON.parse(Buffer.from(parts[0], "base64url"));
        claims = JSON.parse(Buffer.from(parts[1], "base64url"));
    } catch {
        return "assertion malformed";
    }
    if (!head || !claims || head.typ !== TYPE || head.alg !== algorithm.alg) {
        return "assertion of another kind";
    }
    if (!algorithm.verify(Buffer.from(`${parts[0]}.${parts[1]}`), Buffer.from(parts[2], "base64url"))) {
        return "assertion not signed by the gateway";
    }
    const now = Date.now() / 1000;
    if (typeof claims.exp !== "number" || typeof claims.iat !== "number" || claims.exp + SKEW_SECONDS < now || claims.iat - SKEW_SECONDS > now) {
        return "assertion not current";
    }
    if (claims.aud !== AUDIENCE) {
        return "assertion for another application";
    }
    // An assertion taken from one request opens no other.
    if (claims.method !== method || claims.path !== path) {
        return "assertion for another request";
    }
    return claims;
}

function onlyThroughPostern(req, res, next) {
    if (req.postern) {
        return next(); // the admin API and the flows' own endpoints share a root: judged already
    }
    const token = req.headers[HEADER]; // Node joins repeated headers with ", ", which no signature survives
    const claims = judge(token, req.method, req.originalUrl.split("?")[0]); // `originalUrl` is what came over the wire
    if (typeof claims === "string") {
        return res.status(401).json({ code: "not_through_gateway", message: claims });
    }
    req.postern = claims;
    inHand.set(token, claims);
    res.on("close", () => inHand.delete(token));
    next();
}

// Assertions of the requests being answered at this moment. Node-RED asks for the user behind a token without saying for
// which request, and asks the same for the editor's WebSocket, which no middleware sees. So only a token counts that was
// judged above and is still in hand, or one for the WebSocket itself, once.
const inHand = new Map();
const COMMS = "/comms";
const opened = new Map(); // the ids of assertions that opened a WebSocket, until they are over

function forComms(token) {
    const claims = judge(token, "GET", COMMS);
    for (const [id, end] of opened) {
        if (end < Date.now() / 1000) {
            opened.delete(id);
        }
    }
    if (typeof claims === "string" || !claims.jti || opened.has(claims.jti)) {
        return undefined;
    }
    opened.set(claims.jti, claims.exp + SKEW_SECONDS);
    return claims;
}

module.exports = {
    uiHost: "127.0.0.1",
    uiPort: Number(process.env.NODE_RED_PORT || 1880),
    flowFile: "flows.json",
    credentialSecret: required("NODE_RED_SECRET"),

    // Judged before everything else: the admin API, the editor's files, and what flows serve with "http in".
    httpAdminMiddleware: onlyThroughPostern,
    httpNodeMiddleware: onlyThroughPostern,

    // Node-RED's own user model, fed from the assertion: its log and its permissions then name the person. Staff get
    // Node-RED's "read" and, for the level `operate`, its inject buttons: a second wall behind Postern's first.
    adminAuth: {
        tokenHeader: HEADER,
        tokens: async (token) => {
            const claims = inHand.get(token) ?? forComms(token);
            if (!claims) {
                return null;
            }
            const staff = claims.session !== undefined || claims.act !== undefined;
            return { username: (claims.act || claims).sub, permissions: staff ? ["read", "inject.write"] : "*" };
        },
    },

    // Starting and stopping flows is a route of its own (POST /flows/state), and off unless asked for.
    runtimeState: { enabled: true, ui: false },
    // Code from elsewhere is not installed through the API: two walls again, see the ceiling in postern.yaml.
    externalModules: { palette: { allowInstall: false }, modules: { allowInstall: false } },
    diagnostics: { enabled: true, ui: false },
    editorTheme: { projects: { enabled: false }, tours: false },
    telemetry: { enabled: false, updateNotification: false },
    logging: { console: { level: "info", metrics: false, audit: true } },
};
