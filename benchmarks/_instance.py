"""An instance of a service under test: its start is an action's effect, on the disk before it serves.

`python -I -S _instance.py LEDGER TARGET PORT`
"""

from __future__ import annotations

import os
import socket
import sys
import time


def main() -> None:
    ledger, target, port = sys.argv[1:]
    out = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(out, f"{target} {os.getpid()} {time.time():.6f}\n".encode())
    os.fsync(out)
    os.close(out)
    with socket.create_server(("127.0.0.1", int(port))) as sock:
        while True:
            sock.accept()[0].close()


if __name__ == "__main__":
    main()
