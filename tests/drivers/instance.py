"""A small service for tests of the fleet: `instance.py PORT FOLDER`.

Serves /healthz. FOLDER/mode-PORT says how it behaves: `crash` (ends at once), `deaf` (listens
and never answers), `ill` (answers 500), `stubborn` (ignores SIGTERM); else it is well.
FOLDER/pids-PORT gets a line for each start.
"""

import os
import signal
import socket
import sys
from pathlib import Path


def main() -> None:
    port, folder = int(sys.argv[1]), sys.argv[2]
    with Path(f"{folder}/pids-{port}").open("a") as file:
        file.write(f"{os.getpid()}\n")
    try:
        mode = Path(f"{folder}/mode-{port}").read_text().strip()
    except FileNotFoundError:
        mode = ""
    if mode == "crash":
        sys.exit(3)
    if mode == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(64)
    while True:
        connection, _ = listener.accept()
        if mode == "deaf":
            continue
        connection.settimeout(5)
        try:
            connection.recv(4096)
            status = b"500 Broken" if mode == "ill" else b"200 OK"
            connection.sendall(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")
        except OSError:
            pass
        connection.close()


main()
