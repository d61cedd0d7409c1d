"""Webhooks: one POST over verified TLS, with a key by which a receiver does not act twice."""

from __future__ import annotations

import json
import ssl
import time
from typing import Final

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
    SSLError,
)

from opsloop.drivers.command import plain
from opsloop.drivers.fence import Fence
from opsloop.drivers.words import Words
from opsloop.errors import DriverError
from opsloop.remediation.plan import Action, Work
from opsloop.remediation.ports import StepResult

MAX_ANSWER: Final = 64 * 1024  # bytes
MAX_SHOWN: Final = 400  # characters of an answer
AGAIN_S: Final = 1.0  # between two tries of what may be done twice
_NOT_SENT: Final = (ConnectTimeoutError, NewConnectionError, NameResolutionError)


class WebhookDriver:
    """2xx is success; 3xx and 4xx are failure: nothing was done. After 5xx, or without an answer,
    nobody knows what was done, unless the step is idempotent: then it is tried again within its
    limit, and has failed at the end of it.
    """

    def __init__(self, words: Words) -> None:
        self._words = words
        self._fence = Fence()

    def perform(self, action: Action, token: int) -> StepResult:
        """Raises DriverError: `started` when it was sent and its effect is not known."""
        self._fence.check(action.target, token)
        work = action.work
        if work is None or not work.url:
            raise DriverError(action.target, "there is no address to call")
        url, headers = self._words.put(work.url), self._headers(work)
        body = json.dumps({"id": work.id, **dict(work.values)}, sort_keys=True).encode()
        deadline = time.monotonic() + action.limit_s
        with self._pool(work) as pool:
            while True:
                try:
                    return _judged(*_post(pool, url, body, headers, deadline), place(url))
                except DriverError as error:
                    if not action.idempotent:
                        raise
                    if time.monotonic() + AGAIN_S >= deadline:
                        return StepResult(ok=False, started=error.started, output=str(error))
                time.sleep(AGAIN_S)

    def _headers(self, work: Work) -> dict[str, str]:
        found = {
            "Content-Type": "application/json",
            "User-Agent": "opsloop",
            "Idempotency-Key": work.id,
        }
        if work.token_file:
            path = self._words.path(work.token_file)
            try:
                token = path.read_text().strip()
            except (OSError, UnicodeDecodeError) as error:
                reason = getattr(error, "strerror", None) or "is no text"
                raise DriverError(str(path), f"cannot be read: {reason.lower()}") from error
            if not token or not token.isprintable() or not token.isascii():
                raise DriverError(str(path), "holds no token: one line of ASCII")
            found["Authorization"] = f"Bearer {token}"
        return found

    def _pool(self, work: Work) -> urllib3.PoolManager:
        """TLS is verified against the system's authorities, or those of ca_file."""
        context = ssl.create_default_context()
        if work.ca_file:
            path = self._words.path(work.ca_file)
            try:
                context = ssl.create_default_context(cafile=str(path))
            except (OSError, ssl.SSLError) as error:
                raise DriverError(str(path), "cannot be read as certificates (PEM)") from error
        return urllib3.PoolManager(retries=False, ssl_context=context)


def _post(
    pool: urllib3.PoolManager, url: str, body: bytes, headers: dict[str, str], deadline: float
) -> tuple[int, str, str]:
    """(status, where it redirects to, start of the answer). Raises DriverError without one."""
    left = max(0.01, deadline - time.monotonic())
    try:
        response = pool.request(
            "POST", url, body=body, headers=headers, redirect=False, preload_content=False,
            timeout=urllib3.Timeout(total=left),
        )  # fmt: skip
    except HTTPError as error:
        cause = error.reason if isinstance(error, MaxRetryError) and error.reason else error
        raise DriverError(
            place(url), f"no answer: {_plain(cause)}", started=not _unsent(cause)
        ) from error
    text = b""
    try:
        # The status says it all: an answer that drips is not waited for.
        while len(text) < MAX_ANSWER and time.monotonic() < deadline:
            chunk = response.read1(MAX_ANSWER)
            if not chunk:
                break
            text += chunk
    except HTTPError:
        pass
    finally:
        response.close()
    said = " ".join(plain(text).split())[:MAX_SHOWN]
    return response.status, response.headers.get("Location", ""), said


def _judged(status: int, location: str, said: str, where: str) -> StepResult:
    output = f"{where} answered HTTP {status}" + (f": {said}" if said else "")
    if 200 <= status < 300:
        return StepResult(ok=True, started=True, output=output)
    if 300 <= status < 400:
        to = plain(location[:MAX_SHOWN].encode()) or "nowhere"
        return StepResult(
            ok=False, started=False, output=f"{output}; its redirect to {to} is not followed"
        )
    if status < 500:
        return StepResult(ok=False, started=False, output=output)
    raise DriverError(
        where, f"answered HTTP {status}" + (f": {said}" if said else ""), started=True
    )


def place(url: str) -> str:
    """The address without what may be secret in it."""
    parts = urllib3.util.parse_url(url)
    return (
        f"{parts.scheme}://{parts.host}{f':{parts.port}' if parts.port else ''}{parts.path or ''}"
    )


def _unsent(error: Exception) -> bool:
    """Whether it failed before a byte of the request was sent."""
    if isinstance(error, SSLError):
        return any(isinstance(a, ssl.SSLCertVerificationError) for a in error.args)
    return isinstance(error, _NOT_SENT)


def _plain(error: Exception) -> str:
    if isinstance(error, SSLError):
        return f"TLS: {error.args[0] if error.args else error}"
    cause = error.__cause__ or error.__context__
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror.lower()
    return str(error.args[-1] if error.args else error)
