"""Talks to an echo by the websockets library: text, bytes, pings, a large message, goodbye.

Usage: by_http1.py ADDRESS [CA]
"""

import ssl
import sys

from websockets.sync.client import connect

# Only so that nothing hangs for ever: a machine may be slow.
PATIENCE = 60

options = {"subprotocols": ["echo"], "max_size": None, "proxy": None, "open_timeout": PATIENCE}
if len(sys.argv) > 2:
    options["ssl"] = ssl.create_default_context(cafile=sys.argv[2])
    options["server_hostname"] = "localhost"
    url = "wss://" + sys.argv[1]
else:
    url = "ws://" + sys.argv[1]

with connect(url + "/echo", **options) as connection:
    assert connection.subprotocol == "echo"
    large = bytes(range(256)) * (1 << 12)
    for message in ["text \u00e4", b"bytes", "", large]:
        connection.send(message)
        assert connection.recv(timeout=PATIENCE) == message
    for number in range(200):
        connection.send(str(number))
    assert [connection.recv(timeout=PATIENCE) for _ in range(200)] == [str(n) for n in range(200)]
    assert connection.ping().wait(PATIENCE)
assert connection.close_code == 1000, connection.close_code
print("done")
