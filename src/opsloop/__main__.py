"""`python -m opsloop` is the command `opsloop`."""

from __future__ import annotations

from opsloop.cli.main import main

if __name__ == "__main__":
    main()
