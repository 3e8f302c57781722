"""A gRPC client of its own library walks through the gateway: all four forms as a member, then support with consent, what
support may not, and a removal that cuts a call under way. Ends with 1 at the first thing that is otherwise.

    walk.py http://127.0.0.1:8080 DIRECTORY-OF-TOKENS
"""

import json
import queue
import subprocess
import sys
import threading

import grpc

gateway, directory = sys.argv[1], sys.argv[2]
authority = gateway.removeprefix("http://")
checks = 0


def token(name):
    with open(f"{directory}/{name}.token") as file:
        return file.read().strip()


def holds(what, is_so, found=""):
    global checks
    if not is_so:
        sys.exit(f"FAILED: {what}: {found}")
    checks += 1
    print(f"  {what}")


def metadata(name):
    return (("authorization", f"Bearer {token(name)}"), ("x-tenant", "acme"))


def refused(what, status, call):
    try:
        call()
    except grpc.RpcError as fault:
        holds(what, fault.code() == status, f"{fault.code()} {fault.details()}")
        return fault
    sys.exit(f"FAILED: {what}: it passed")


def api(method, path, who, body=None):
    """The support API speaks HTTP/2 here as everything does; curl speaks it by prior knowledge."""
    command = ["curl", "-s", "--http2-prior-knowledge", "-m", "20", "-X", method, f"{gateway}/_postern/v1{path}"]
    command += ["-H", f"authorization: Bearer {token(who)}"]
    if body is not None:
        command += ["-H", "content-type: application/json", "-d", json.dumps(body)]
    text = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    return json.loads(text) if text else {}


channel = grpc.insecure_channel(authority)
get = channel.unary_unary("/notes.Notes/Get")
watch = channel.unary_stream("/notes.Notes/Watch")
upload = channel.stream_unary("/notes.Notes/Upload")
chat = channel.stream_stream("/notes.Notes/Chat")

print("== a member")
answer, call = get.with_call(b"7", metadata=metadata("member"), timeout=10)
holds("unary", answer == b"note 7", answer)
trailers = dict(call.trailing_metadata())
holds("its trailers, binary ones too", trailers == {"x-caller": "a member", "x-told-bin": b"\x00\x01"}, trailers)
fault = refused(
    "an error of the application arrives with code and words",
    grpc.StatusCode.NOT_FOUND,
    lambda: get(b"nothing", metadata=metadata("member"), timeout=10),
)
holds("its words", fault.details() == "no such note", fault.details())
told = list(watch(b"1000", metadata=metadata("member"), timeout=20))
holds("a stream of the application", told == [b"%d" % n for n in range(1000)], len(told))
pieces = (b"x" * 50_000 for _ in range(100))
answer = upload(pieces, metadata=metadata("member"), timeout=20)
holds("a stream of the client", answer == b"5000000 bytes", answer)
words = queue.Queue()
call = chat(iter(words.get, None), metadata=metadata("member"), timeout=20)
for number in range(50):
    words.put(b"word %d" % number)
    answer = next(call)
    if answer != b"WORD %d" % number:
        sys.exit(f"FAILED: both ways: {answer}")
words.put(None)
holds("both ways, in turns", list(call) == [] and call.code() == grpc.StatusCode.OK, call.code())
threads, wrong = [], []


def many():
    for number in range(50):
        if get(b"%d" % number, metadata=metadata("member"), timeout=20) != b"note %d" % number:
            wrong.append(number)


for _ in range(16):
    threads.append(threading.Thread(target=many))
    threads[-1].start()
for thread in threads:
    thread.join()
holds("eight hundred calls at once", not wrong, wrong)

print("== nobody, and support")
refused(
    "without a token: UNAUTHENTICATED",
    grpc.StatusCode.UNAUTHENTICATED,
    lambda: get(b"7", metadata=(("x-tenant", "acme"),), timeout=10),
)
refused(
    "without a session: PERMISSION_DENIED",
    grpc.StatusCode.PERMISSION_DENIED,
    lambda: get(b"7", metadata=metadata("staff"), timeout=10),
)
wanted = {"environment": "production", "basis": "consent", "reason": "a note is missing"}
session = api("POST", "/tenants/acme/sessions", "staff", wanted).get("session", {})
holds("a session by consent", "id" in session, session)
answer, call = get.with_call(b"7", metadata=metadata("staff"), timeout=10)
holds("support reads", answer == b"note 7", answer)
trailers = dict(call.trailing_metadata())
holds("and is asserted", trailers["x-caller"] == "staff sam", trailers)
refused(
    "what the level does not give: PERMISSION_DENIED",
    grpc.StatusCode.PERMISSION_DENIED,
    lambda: upload(iter([b"x"]), metadata=metadata("staff"), timeout=10),
)
words = queue.Queue()
call = chat(iter(words.get, None), metadata=metadata("staff"), timeout=20)
words.put(b"still here")
holds("a call of support is under way", next(call) == b"STILL HERE")
api("DELETE", f"/tenants/acme/sessions/{session['id']}", "member")
words.put(b"still here")
refused("its removal cuts it: CANCELLED", grpc.StatusCode.CANCELLED, lambda: next(call))
words.put(None)
refused(
    "and none begins: PERMISSION_DENIED",
    grpc.StatusCode.PERMISSION_DENIED,
    lambda: get(b"7", metadata=metadata("staff"), timeout=10),
)
print(f"\n{checks} things hold")
