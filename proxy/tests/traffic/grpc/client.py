"""Calls of all four kinds, through a proxy to the server beside this file.

Usage: client.py ADDRESS [CA]
"""

import queue
import sys

import grpc

options = (("grpc.max_receive_message_length", -1), ("grpc.ssl_target_name_override", "localhost"))
if len(sys.argv) > 2:
    with open(sys.argv[2], "rb") as ca:
        credentials = grpc.ssl_channel_credentials(ca.read())
    channel = grpc.secure_channel(sys.argv[1], credentials, options)
else:
    channel = grpc.insecure_channel(sys.argv[1], options)

LIMIT = 20

echo = channel.unary_unary("/test.Calls/Echo")
answer, call = echo.with_call(b"hello", metadata=(("x-ask", "me"),), timeout=LIMIT)
assert answer == b"hello"
assert dict(call.initial_metadata())["x-asked"] == "me"
assert dict(call.trailing_metadata())["x-length"] == "5"
assert echo(b"", timeout=LIMIT) == b""
large = bytes(range(256)) * (1 << 13)
assert echo(large, timeout=LIMIT) == large

count = channel.unary_stream("/test.Calls/Count")
assert list(count(b"1000", timeout=LIMIT)) == [b"%d" % number for number in range(1000)]
assert list(count(b"0", timeout=LIMIT)) == []

total = channel.stream_unary("/test.Calls/Total")
assert total(iter([b"abc"] * 1000), timeout=LIMIT) == b"3000"
assert total(iter([]), timeout=LIMIT) == b"0"

# Each message is answered before the next one is sent.
chat = channel.stream_stream("/test.Calls/Chat")
said = queue.Queue()
answers = chat(iter(said.get, None), timeout=LIMIT)
for number in range(100):
    said.put(b"%d" % number)
    assert next(answers) == b"re: %d" % number
said.put(None)
assert list(answers) == []
assert answers.code() == grpc.StatusCode.OK


def failure(method, message, timeout=LIMIT):
    try:
        channel.unary_unary("/test.Calls/" + method)(message, timeout=timeout)
    except grpc.RpcError as error:
        return error
    raise AssertionError(method + " succeeded")


error = failure("Fail", b"12345")
assert error.code() == grpc.StatusCode.FAILED_PRECONDITION, error
assert error.details() == "not like this: 5 %", error
assert dict(error.trailing_metadata())["x-why"] == "because", error
assert failure("Missing", b"").code() == grpc.StatusCode.UNIMPLEMENTED
assert failure("Wait", b"", 0.5).code() == grpc.StatusCode.DEADLINE_EXCEEDED
# The proxy's own limit, which is sooner, in words that are not this library's.
error = failure("Late", b"")
assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED, error
assert error.details() == "the response did not begin in time", error

# A call that is cancelled leaves the connection to the others.
numbers = count(b"1000000", timeout=LIMIT)
assert next(numbers) == b"0"
numbers.cancel()
calls = [echo.future(b"%d" % number, timeout=LIMIT) for number in range(200)]
assert [call.result() for call in calls] == [b"%d" % number for number in range(200)]
print("done")
