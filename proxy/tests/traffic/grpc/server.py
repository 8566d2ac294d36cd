"""A server of gRPC with methods of all four kinds; messages are bytes.

Writes its port, and ends with its standard input.
"""

import sys
import threading
from concurrent import futures

import grpc


def echo(message, context):
    metadata = dict(context.invocation_metadata())
    context.send_initial_metadata((("x-asked", metadata.get("x-ask", "")),))
    context.set_trailing_metadata((("x-length", str(len(message))),))
    return message


def count(message, context):
    for number in range(int(message)):
        yield b"%d" % number


def total(messages, context):
    return b"%d" % sum(len(message) for message in messages)


def chat(messages, context):
    for message in messages:
        yield b"re: " + message


def fail(message, context):
    context.set_trailing_metadata((("x-why", "because"),))
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not like this: %d %%" % len(message))


def wait(message, context):
    ended = threading.Event()
    context.add_callback(ended.set)
    # How long the caller still waits has come along.
    assert 0 < context.time_remaining() <= 60
    ended.wait(60)
    return b""


METHODS = {
    "Echo": grpc.unary_unary_rpc_method_handler(echo),
    "Count": grpc.unary_stream_rpc_method_handler(count),
    "Total": grpc.stream_unary_rpc_method_handler(total),
    "Chat": grpc.stream_stream_rpc_method_handler(chat),
    "Fail": grpc.unary_unary_rpc_method_handler(fail),
    "Wait": grpc.unary_unary_rpc_method_handler(wait),
    "Late": grpc.unary_unary_rpc_method_handler(wait),
}

server = grpc.server(
    futures.ThreadPoolExecutor(max_workers=16),
    options=(("grpc.max_receive_message_length", -1),),
)
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Calls", METHODS),))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(port, flush=True)
sys.stdin.read()
server.stop(0)
