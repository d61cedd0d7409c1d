"""Who is at the console: people, their sessions, and how often one may try to sign in."""

from __future__ import annotations

import hmac
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from opsloop.catalog.console import ROLES, Role

COOKIE: Final = "opsloop_session"
MOST_SESSIONS: Final = 10_000
MOST_TRIES: Final = 10  # failed sign-ins of one address or name
TRIES_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who looks at the console."""

    name: str
    role: Role

    def may(self, role: Role) -> bool:
        return ROLES.index(self.role) >= ROLES.index(role)


@dataclass(slots=True)
class Session:
    """What the server remembers of a browser. person None: not signed in yet.

    csrf: the token that its forms carry. pending: of a sign-in under way. ends_at: monotonic.
    """

    id: str
    csrf: str
    ends_at: float
    person: Person | None = None
    pending: dict[str, Any] = field(default_factory=dict)

    def has_token(self, given: str) -> bool:
        return hmac.compare_digest(self.csrf.encode(), given.encode())


class Sessions:
    """In memory: after a restart of the console people sign in again."""

    def __init__(self, life_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._life_s = life_s
        self._clock = clock
        self._kept: OrderedDict[str, Session] = OrderedDict()

    def find(self, cookie: str | None) -> Session | None:
        """The session of a cookie, None when it has ended."""
        session = self._kept.get(cookie or "")
        if session is None:
            return None
        if session.ends_at <= self._clock():
            del self._kept[session.id]
            return None
        return session

    def begin(self, person: Person | None = None, life_s: float | None = None) -> Session:
        """A new one, with an id that nobody can guess. The oldest goes where there are too many."""
        ends_at = self._clock() + (self._life_s if life_s is None else life_s)
        session = Session(secrets.token_urlsafe(32), secrets.token_urlsafe(32), ends_at, person)
        self._kept[session.id] = session
        while len(self._kept) > MOST_SESSIONS:
            self._kept.popitem(last=False)
        return session

    def end(self, session: Session) -> None:
        self._kept.pop(session.id, None)


class Tries:
    """Failed sign-ins by key (an address, a name), so that nobody guesses passwords for long."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failed: OrderedDict[str, deque[float]] = OrderedDict()

    def wait_s(self, *keys: str) -> float:
        """How long until the next try is allowed; 0: now."""
        now, longest = self._clock(), 0.0
        for key in keys:
            times = self._failed.get(key)
            if times and len(times) >= MOST_TRIES:
                longest = max(longest, times[0] + TRIES_S - now)
        return longest

    def failed(self, *keys: str) -> None:
        for key in keys:
            times = self._failed.setdefault(key, deque(maxlen=MOST_TRIES))
            times.append(self._clock())
            self._failed.move_to_end(key)
        while len(self._failed) > MOST_SESSIONS:
            self._failed.popitem(last=False)

    def succeeded(self, *keys: str) -> None:
        for key in keys:
            self._failed.pop(key, None)
