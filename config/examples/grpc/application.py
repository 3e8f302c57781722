"""A gRPC application of four methods, one of each form. Messages are plain bytes, so nothing has to be generated.

What it answers says what it was told: the trailers carry the caller that the gateway asserts, unverified here (an
application in earnest verifies the assertion with the gateway's public key).
"""

import base64
import json
import sys
from concurrent import futures

import grpc


def caller(context):
    told = dict(context.invocation_metadata())
    assertion = told.get("postern-assertion")
    if "authorization" in told and assertion:
        context.abort(grpc.StatusCode.INTERNAL, "a token and an assertion")
    if not assertion:
        return "a member"
    body = assertion.split(".")[1]
    return "staff " + json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))["sub"]


def get(request, context):
    context.set_trailing_metadata((("x-caller", caller(context)), ("x-told-bin", b"\x00\x01")))
    if request == b"nothing":
        context.abort(grpc.StatusCode.NOT_FOUND, "no such note")
    return b"note " + request


def watch(request, context):
    for number in range(int(request)):
        yield b"%d" % number


def upload(requests, context):
    return b"%d bytes" % sum(len(request) for request in requests)


def chat(requests, context):
    for request in requests:
        yield request.upper()


def main(port):
    server = grpc.server(futures.ThreadPoolExecutor(16))
    methods = {
        "Get": grpc.unary_unary_rpc_method_handler(get),
        "Watch": grpc.unary_stream_rpc_method_handler(watch),
        "Upload": grpc.stream_unary_rpc_method_handler(upload),
        "Chat": grpc.stream_stream_rpc_method_handler(chat),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("notes.Notes", methods),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main(int(sys.argv[1]))
