"""supervisord as a stack runs it: a log that cannot be written does not end it, and so the stack."""

from __future__ import annotations

import contextlib
import sys
from typing import TextIO


class Forgiving:
    """An output whose failed writes are lost, and nothing else with them.

    Where supervisord cannot write a log it tells standard error why; that lies on the same full
    disk, and an error from there would end supervisord and all of its children.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            self._stream.write(text)
            self._stream.flush()
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()


def main() -> None:
    """Run supervisord with the arguments of this process."""
    sys.stdout, sys.stderr = Forgiving(sys.stdout), Forgiving(sys.stderr)
    from supervisor import supervisord

    supervisord.main()


if __name__ == "__main__":
    main()
