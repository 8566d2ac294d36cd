"""Talks to an echo on a stream of HTTP/2 (RFC 8441): frames by the h2 and wsproto libraries.

Usage: by_http2.py ADDRESS [CA]
"""

import socket
import ssl
import sys

import h2.config
import h2.connection
import h2.events
from h2.settings import SettingCodes
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage

host, port = sys.argv[1].rsplit(":", 1)
wire = socket.create_connection((host, int(port)), timeout=60)
if len(sys.argv) > 2:
    context = ssl.create_default_context(cafile=sys.argv[2])
    context.set_alpn_protocols(["h2"])
    wire = context.wrap_socket(wire, server_hostname="localhost")
    assert wire.selected_alpn_protocol() == "h2"

http = h2.connection.H2Connection(
    h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
)
http.initiate_connection()
wire.sendall(http.data_to_send())


def events():
    """The events of what came next."""
    received = wire.recv(65536)
    assert received, "closed"
    found = http.receive_data(received)
    for event in found:
        if isinstance(event, h2.events.DataReceived):
            http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
    wire.sendall(http.data_to_send())
    return found


while not http.remote_settings.get(SettingCodes.ENABLE_CONNECT_PROTOCOL):
    events()

STREAM = http.get_next_available_stream_id()
http.send_headers(
    STREAM,
    [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "https" if len(sys.argv) > 2 else "http"),
        (":path", "/echo"),
        (":authority", "localhost"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "echo"),
    ],
)
wire.sendall(http.data_to_send())

peer = Connection(ConnectionType.CLIENT)
ended = False
answer = None


def take():
    """Hands what came to the WebSocket."""
    global answer, ended
    for event in events():
        if isinstance(event, h2.events.ResponseReceived):
            answer = dict(event.headers)
        elif isinstance(event, h2.events.DataReceived) and event.data:
            peer.receive_data(event.data)
        elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
            ended = True


def send(message):
    """Sends, as the windows allow, and takes what comes meanwhile."""
    left = peer.send(message)
    while left:
        room = min(http.local_flow_control_window(STREAM), http.max_outbound_frame_size)
        if room:
            http.send_data(STREAM, left[:room])
            left = left[room:]
            wire.sendall(http.data_to_send())
        else:
            take()


def receive():
    """The next whole message."""
    whole = None
    while True:
        for event in peer.events():
            if isinstance(event, (TextMessage, BytesMessage)):
                whole = event.data if whole is None else whole + event.data
                if event.message_finished:
                    return whole
            else:
                return event
        take()


while answer is None:
    take()
assert answer[":status"] == "200", answer
assert answer["sec-websocket-protocol"] == "echo", answer

large = bytes(range(256)) * (1 << 12)
for message in ["text \u00e4", large]:
    send(TextMessage(message) if isinstance(message, str) else BytesMessage(message))
    assert receive() == message
for number in range(200):
    send(TextMessage(str(number)))
assert [receive() for _ in range(200)] == [str(n) for n in range(200)]
send(Ping(b"there?"))
pong = receive()
assert isinstance(pong, Pong) and pong.payload == b"there?", pong
send(CloseConnection(1000))
goodbye = receive()
assert isinstance(goodbye, CloseConnection) and goodbye.code == 1000, goodbye
while not ended:
    take()
print("done")
