"""People who sign in by name and password: a file of bcrypt hashes, or the stack's own user."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import bcrypt

from opsloop import names
from opsloop.catalog.console import ConsoleRoles, role_of
from opsloop.errors import StateUnusable
from opsloop.web.auth import Secret
from opsloop.web.sessions import Person

LONGEST: Final = 72  # bytes that bcrypt reads of a password
# Checked for a name that is not known, so that it takes as long as one that is.
_NOBODY: Final = bcrypt.hashpw(b"nobody", bcrypt.gensalt(10))


class StackUser:
    """One user, the stack's own, who is admin."""

    def __init__(self, password: Secret) -> None:
        self._password = password

    def person(self, name: str, password: str) -> Person | None:
        """Who this is; None for a wrong name or password."""
        import hmac

        right = hmac.compare_digest(password.encode(), self._password.value())
        return Person(name, "admin") if right and name == names.SCRAPE_USER else None


class UsersFile:
    """Lines `name:hash`; read again for each try, so that it can be changed."""

    def __init__(self, path: Path, roles: ConsoleRoles) -> None:
        """Raises StateUnusable when it cannot be read or has no user."""
        self._path = path
        self._roles = roles
        if not self._read():
            raise StateUnusable(str(path), "has no user", "add one: htpasswd -B -c FILE NAME")

    def person(self, name: str, password: str) -> Person | None:
        """Who this is; None for a wrong name or password, or without a role."""
        hashed = self._read().get(name, _NOBODY)
        given = password.encode()
        try:
            right = len(given) <= LONGEST and bcrypt.checkpw(given, hashed)
        except ValueError:
            return None  # no bcrypt hash
        role = role_of(self._roles, name, []) if right and hashed is not _NOBODY else None
        return Person(name, role) if role is not None else None

    def _read(self) -> Mapping[str, bytes]:
        try:
            text = self._path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise StateUnusable(
                str(self._path), f"cannot be read: {error}", "see console.users_file"
            ) from error
        found = {}
        for line in text.splitlines():
            name, _, hashed = line.strip().partition(":")
            if name and hashed and not name.startswith("#"):
                found[name] = hashed.strip().encode()
        return found
