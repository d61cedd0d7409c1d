"""When certificates in files expire, read again only when a file has changed.

openssl reads them: Python's ssl shows no certificate that it did not meet in a handshake, and a
reader of our own, or a library of megabytes in the engine, would be much for one date. It is
there wherever TLS is: Debian's ca-certificates needs it.
"""

from __future__ import annotations

import logging
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

log = logging.getLogger("opsloop.certificates")
_BLOCK: Final = re.compile(
    rb"-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----.*?-----END [A-Z0-9 ]*CERTIFICATE-----",
    re.DOTALL,
)
_FORM: Final = "%b %d %H:%M:%S %Y GMT"
_LARGEST: Final = 1 << 20  # bytes; a chain takes some thousand
_DEADLINE_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class _Reading:
    stamp: tuple[int, int, int] | None  # inode, size, time of change; None: no file
    not_after: float | None  # unix seconds; None: it cannot be read
    reason: str = ""


class CertificateFiles:
    """The certificates of a catalog, by name. For one thread at a time."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._files = dict(files)
        self._read: dict[str, _Reading] = {}

    def not_after(self) -> dict[str, float]:
        """name -> when the first certificate of its file expires, unix seconds. One that cannot
        be read is left out; why is logged when it changes."""
        found = {}
        for name, path in self._files.items():
            before, now = self._read.get(name), _reading(path, self._read.get(name))
            self._read[name] = now
            if now.reason and (before is None or before.reason != now.reason):
                log.error("certificate %s cannot be read: %s: %s", name, path, now.reason)
            if now.not_after is not None:
                found[name] = now.not_after
        return found


def _reading(path: Path, before: _Reading | None) -> _Reading:
    try:
        status = path.stat()
        stamp = (status.st_ino, status.st_size, status.st_mtime_ns)
        if before is not None and before.stamp == stamp and not before.reason:
            return before
        if status.st_size > _LARGEST:
            return _Reading(stamp, None, "it is larger than 1 MiB, so it is no certificate")
        return _Reading(stamp, first_expiry(path.read_bytes()))
    except OSError as error:
        return _Reading(None, None, (error.strerror or str(error)).lower())
    except ValueError as error:
        return _Reading(stamp, None, str(error))


def first_expiry(text: bytes) -> float:
    """When the first of the certificates in a PEM text expires, unix seconds.

    Raises ValueError when there is none, or one cannot be read; OSError without openssl.
    """
    blocks = _BLOCK.findall(text)
    if not blocks:
        raise ValueError("there is no PEM certificate in it")
    return min(_expiry(block) for block in blocks)


def _expiry(block: bytes) -> float:
    try:
        done = subprocess.run(
            ["openssl", "x509", "-noout", "-enddate"],
            input=block,
            capture_output=True,
            timeout=_DEADLINE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ValueError("openssl did not answer") from None
    except FileNotFoundError:
        raise ValueError("openssl is not installed") from None
    said = done.stdout.decode(errors="replace").strip()
    if done.returncode != 0 or not said.startswith("notAfter="):
        raise ValueError("openssl takes it for no certificate")
    when = datetime.strptime(said.removeprefix("notAfter="), _FORM).replace(tzinfo=UTC)
    return when.timestamp()
