"""Owns the barest HTTP server: any request gets the same body; a floor for servers, never one of them."""

import socket
import sys
import threading


def serve(connection: socket.socket, reply: bytes) -> None:
    """Answers each request head on a connection until it ends; request bodies are not read."""
    with connection:
        pending = b""
        while data := connection.recv(65_536):
            pending += data
            while (end := pending.find(b"\r\n\r\n")) >= 0:
                pending = pending[end + 4 :]
                connection.sendall(reply)


def main(size: int) -> None:
    """Prints its port, then serves bodies of `size` bytes until it is killed."""
    reply = f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode() + bytes(size)
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    print(listener.getsockname()[1], flush=True)
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=serve, args=(connection, reply), daemon=True).start()


if __name__ == "__main__":
    main(int(sys.argv[1]))
