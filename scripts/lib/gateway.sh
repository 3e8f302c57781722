# Shared by the scripts that put a gateway under test: a program, keys, people, a configuration, processes that end with
# the script. Sourced, never run. Whoever sources it sets `root` and `run` (a directory of their own, made anew here).

pids=()
say() { printf '%s\n' "$*"; }
step() { printf '\n== %s\n' "$*"; }
fail() {
    printf 'FAILED: %s\n' "$*" >&2
    exit 1
}

# Ends what this script started, by process id, and waits until it is gone.
stop() {
    local pid
    for pid in "$@"; do
        kill "$pid" 2>/dev/null || continue
        for _ in $(seq 100); do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.1
        done
        kill -9 "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
}
finish() {
    local status=$?
    trap - EXIT
    ((${#pids[@]})) && stop "${pids[@]}"
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

# wants TOOL HINT: it is there, or the script ends.
wants() { command -v "$1" >/dev/null || fail "\`$1\` is needed and not installed: $2"; }

# fresh DIRECTORY: empty, and of this project's making.
fresh() {
    if [[ -e $1 || -L $1 ]]; then
        [[ -d $1 && ! -L $1 && -f $1/.made-by-postern-scripts ]] ||
            fail "$1 is there and not of this script's making; move it away"
        rm -rf "$1"
    fi
    mkdir -p "$1"
    chmod 700 "$1"
    : >"$1/.made-by-postern-scripts"
}

# The gateway to test: the one that POSTERN names, or one built here. Sets `postern`.
build_postern() {
    if [[ -n ${POSTERN:-} ]]; then
        postern=$POSTERN
        return
    fi
    wants cargo "install a Rust toolchain, or name a built gateway: POSTERN=..."
    (cd "$root" && cargo build --quiet --profile ci --bin postern)
    postern=${CARGO_TARGET_DIR:-$root/target}/ci/postern
}

# Keys of two issuers, of assertions and of ledgers; in $run.
make_keys() {
    local name
    for name in vendor members assertion; do
        "$postern" token key --algorithm ES256 --kid "$name" --private "$run/$name.pem" --jwks "$run/$name.jwks.json" >/dev/null
    done
}

# A certificate for localhost, $run/tls.pem with its key $run/tls.key, signed by a CA of this run's, $run/ca.pem; both
# together are $run/chain.pem.
make_certificate() {
    wants openssl "Debian: apt-get install openssl"
    local key=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)
    openssl req -x509 "${key[@]}" -keyout "$run/ca.key" -out "$run/ca.pem" -days 30 -subj "/CN=a CA for tests" \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign 2>/dev/null
    openssl req "${key[@]}" -keyout "$run/tls.key" -out "$run/tls.csr" -subj /CN=localhost 2>/dev/null
    printf '%s\n' subjectAltName=DNS:localhost,IP:127.0.0.1 keyUsage=critical,digitalSignature \
        extendedKeyUsage=serverAuth basicConstraints=CA:FALSE >"$run/tls.ext"
    openssl x509 -req -in "$run/tls.csr" -CA "$run/ca.pem" -CAkey "$run/ca.key" -CAcreateserial -days 30 \
        -extfile "$run/tls.ext" -out "$run/tls.pem" 2>/dev/null
    cat "$run/tls.pem" "$run/ca.pem" >"$run/chain.pem"
}

# start_gateway NAME APPLICATION MORE: a gateway before that application (host:port), MORE being more of its configuration.
# Sets `address` and `operations` (host:port each) and `gateway_pid`. Its people are those of `member` and `staff`.
start_gateway() {
    local name=$1 application=$2 more=$3 at=$run/$1
    mkdir -m 700 "$at"
    "$postern" audit key --origin "example.com/postern/$name" --private "$at/ledger.key" --public "$at/ledger.pub" >/dev/null
    cat >"$at/postern.yaml" <<YAML
gateway: $name
listen: 127.0.0.1:${GATEWAY_PORT:-0}
operations: 127.0.0.1:0
state: { path: state.redb }
ledger: { path: ledger, origin: example.com/postern/$name, key: { file: ledger.key } }
assertion: { key: { file: ../assertion.pem } }
upstreams: { app: { url: "http://$application" } }
issuers:
  - { name: vendor, issuer: "https://id.vendor.example", kind: staff, audience: postern, algorithms: [ES256], keys: { file: ../vendor.jwks.json }, claims: { support: { everybody: true } } }
  - { name: members, issuer: "https://id.app.example", kind: member, audience: app, algorithms: [ES256], keys: { file: ../members.jwks.json } }
tenants:
  from: { path: tenant }
  environments: { known: [production], default: production }
  known: [{ id: acme, zone: UTC }]
permissions: [orders:read, orders:write]
roles:
  clerk: { allow: "orders:*" }
  read_only: { allow: "*:read" }
consent:
  levels: [{ level: block }, { level: read_only, role: read_only }, { level: edit, role: clerk }]
  default: edit
sessions: { last: 8h }
grants: { longest: 30d }
members: { unmapped: refuse }
routes:
  - { route: "GET /t/{tenant}/orders", permission: orders:read }
  - { route: "POST /t/{tenant}/orders", permission: orders:write }
  - { route: "GET /t/{tenant}/socket", permission: orders:write, upgrade: websocket }
$more
YAML
    "$postern" check --config "$at/postern.yaml" >"$at/check.log" 2>&1 || { cat "$at/check.log" >&2; fail "the configuration of $name"; }
    "$postern" state init --config "$at/postern.yaml" >/dev/null
    "$postern" run --config "$at/postern.yaml" >"$at/out" 2>"$at/log" &
    gateway_pid=$!
    pids+=("$gateway_pid")
    for _ in $(seq 100); do
        grep -q '^operations on' "$at/out" && break
        kill -0 "$gateway_pid" 2>/dev/null || { cat "$at/log" >&2; fail "the gateway $name does not start"; }
        sleep 0.1
    done
    address=$(sed -n 's,^listening on https*://,,p' "$at/out")
    operations=$(sed -n 's,^operations on http://,,p' "$at/out")
    for _ in $(seq 100); do
        curl -s -m 2 "http://$operations/metrics" | grep -q '^postern_staff_served 1' && return
        sleep 0.1
    done
    fail "the gateway $name does not serve staff"
}

# Tokens, for eight hours.
member() {
    "$postern" token mint --issuer https://id.app.example --subject ada --audience app --key "$run/members.pem" \
        --kid members --lifetime 8h --claim tenant=acme --claim 'roles:=["clerk"]'
}
staff() {
    "$postern" token mint --issuer https://id.vendor.example --subject sam --audience postern --key "$run/vendor.pem" \
        --kid vendor --lifetime 8h
}

# enter URL TOKEN CURL-ARGUMENTS...: a support session in the tenant acme.
enter() {
    local url=$1 token=$2 answer
    shift 2
    answer=$(curl -s -m 20 -w '\n%{http_code}' "$@" -H "Authorization: Bearer $token" -H 'content-type: application/json' \
        -d '{"environment":"production","basis":"consent","reason":"conformance"}' "$url/_postern/v1/tenants/acme/sessions")
    [[ ${answer##*$'\n'} == 201 ]] || fail "no support session: $answer"
}

# A kept ledger is proven at the end: prove NAME.
prove() {
    "$postern" audit verify "$run/$1/ledger" --key "$run/$1/ledger.pub"
}
