"""A WebSocket echo on streams of HTTP/2 (RFC 8441): frames by the h2 and wsproto libraries.

Writes its port, and ends with its standard input.
"""

import asyncio
import sys

import h2.config
import h2.connection
import h2.events
from h2.settings import SettingCodes, Settings
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage


class Echo:
    """The WebSocket of a stream, and what is left to send on it."""

    def __init__(self):
        self.peer = Connection(ConnectionType.SERVER)
        self.message = None
        self.left = b""
        self.ends = False

    def take(self, received):
        self.peer.receive_data(received)
        for event in self.peer.events():
            if isinstance(event, (TextMessage, BytesMessage)):
                begun = self.message
                self.message = event.data if begun is None else begun + event.data
                if event.message_finished:
                    self.left += self.peer.send(type(event)(self.message))
                    self.message = None
            elif isinstance(event, (Ping, CloseConnection)):
                self.left += self.peer.send(event.response())
                self.ends = isinstance(event, CloseConnection)


class Served(asyncio.Protocol):
    """A connection of HTTP/2."""

    def connection_made(self, transport):
        self.transport = transport
        self.echoes = {}
        self.http = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        )
        known = {SettingCodes.ENABLE_CONNECT_PROTOCOL: 1, SettingCodes.MAX_CONCURRENT_STREAMS: 100}
        self.http.local_settings = Settings(client=False, initial_values=known)
        self.http.initiate_connection()
        self.transport.write(self.http.data_to_send())

    def data_received(self, received):
        for event in self.http.receive_data(received):
            if isinstance(event, h2.events.RequestReceived):
                self.answer(event.stream_id, dict(event.headers))
            elif isinstance(event, h2.events.DataReceived):
                self.http.acknowledge_received_data(
                    event.flow_controlled_length, event.stream_id
                )
                if event.stream_id in self.echoes:
                    self.echoes[event.stream_id].take(event.data)
            elif isinstance(event, h2.events.StreamReset):
                self.echoes.pop(event.stream_id, None)
        for stream in list(self.echoes):
            self.send(stream, self.echoes[stream])
        self.transport.write(self.http.data_to_send())

    def answer(self, stream, asked):
        if (asked[":method"], asked.get(":protocol")) != ("CONNECT", "websocket"):
            self.http.send_headers(stream, [(":status", "426")], end_stream=True)
            return
        assert asked["sec-websocket-version"] == "13", asked
        agreed = [("sec-websocket-protocol", "echo")]
        assert asked["sec-websocket-protocol"] == "echo", asked
        self.http.send_headers(stream, [(":status", "200")] + agreed)
        self.echoes[stream] = Echo()

    def send(self, stream, echo):
        """Sends as the windows allow."""
        while echo.left:
            room = min(
                self.http.local_flow_control_window(stream), self.http.max_outbound_frame_size
            )
            if not room:
                return
            self.http.send_data(stream, echo.left[:room])
            echo.left = echo.left[room:]
        if echo.ends:
            self.http.end_stream(stream)
            del self.echoes[stream]


async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Served, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main())
