"""A WebSocket echo by the websockets library. Writes its port, and ends with its standard input."""

import asyncio
import sys

from websockets.asyncio.server import serve


async def echo(connection):
    async for message in connection:
        await connection.send(message)


async def main():
    # A machine may be slow.
    patience = {"open_timeout": 60, "ping_timeout": 60, "close_timeout": 60}
    async with serve(
        echo, "127.0.0.1", 0, subprotocols=["echo"], max_size=None, **patience
    ) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


asyncio.run(main())
