"""A WebSocket server and a client of it, with the real `websockets`.

    websocket_peer.py serve PORT
    websocket_peer.py call ADDRESS URL

The server prints `ready` and sends back what it gets. The client prints one line when all is as it should be, and ends with
1 if not.
"""

import socket
import sys

from websockets.sync.client import connect
from websockets.sync.server import serve


def echo(connection):
    for message in connection:
        connection.send(message)


def run_server(port):
    with serve(echo, "127.0.0.1", port, subprotocols=["chat"]) as server:
        print("ready", flush=True)
        server.serve_forever()


def run_client(address, url):
    host, port = address.rsplit(":", 1)
    stream = socket.create_connection((host, int(port)))
    with connect(url, sock=stream, subprotocols=["chat"]) as connection:
        assert connection.subprotocol == "chat", connection.subprotocol
        for message in ("hello", b"\x00\x01", "x" * 300_000):
            connection.send(message)
            assert connection.recv(timeout=30) == message, "another message came back"
        assert connection.ping().wait(30), "no pong"
        connection.close(1000, "enough")
        assert connection.close_code == 1000, connection.close_code
    print("websocket: good", flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        run_server(int(sys.argv[2]))
    else:
        run_client(sys.argv[2], sys.argv[3])
