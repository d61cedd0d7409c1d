"""One pooled HTTP client: each call has a deadline, answers a size limit, failures a sentence."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
)

from opsloop.errors import SourceError

MAX_ANSWER: Final = 32 * 1024 * 1024  # bytes
_CHUNK: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said."""

    status: int
    body: bytes

    @property
    def text(self) -> str:
        """The start of the body on one line, for people."""
        return " ".join(self.body[:300].decode("utf-8", "replace").split())


@dataclass(frozen=True, slots=True)
class BasicAuth:
    """A user whose password is a file, read at each call so that it can be changed."""

    user: str
    password_file: Path

    def headers(self) -> Mapping[str, str]:
        """Raises SourceError when the file cannot be read."""
        try:
            password = self.password_file.read_text().strip()
        except OSError as error:
            raise SourceError(
                str(self.password_file), f"cannot be read: {error.strerror}", "run `opsloop up`"
            ) from error
        return dict(urllib3.make_headers(basic_auth=f"{self.user}:{password}"))


class HttpClient:
    """Threads may share it. It follows no redirect and reads no proxy from the environment."""

    def __init__(self, *, timeout_s: float = 5.0, max_answer: int = MAX_ANSWER) -> None:
        self.timeout_s = timeout_s
        self.max_answer = max_answer
        self._pool = urllib3.PoolManager(
            num_pools=16, maxsize=8, retries=False, headers={"User-Agent": "opsloop"}
        )

    def call(
        self,
        method: str,
        url: str,
        *,
        body: bytes | None = None,
        content_type: str | None = None,
        auth: BasicAuth | None = None,
        timeout_s: float | None = None,
    ) -> Answer:
        """The whole exchange, within timeout_s. Raises SourceError when there was no answer.

        A kept connection that the server had closed is tried once more on a new one: use it
        for calls that may be made twice.
        """
        deadline = time.monotonic() + (timeout_s or self.timeout_s)
        headers: dict[str, str] = {"User-Agent": "opsloop"}
        if auth is not None:
            headers.update(auth.headers())
        if content_type is not None:
            headers["Content-Type"] = content_type
        try:
            try:
                return self._exchange(method, url, body, headers, deadline)
            except ProtocolError:
                return self._exchange(method, url, body, headers, deadline)
        except HTTPError as error:
            raise SourceError(_place(url), _reason(error)) from error

    def close(self) -> None:
        self._pool.clear()

    def _exchange(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str], deadline: float
    ) -> Answer:
        response = self._pool.request(
            method,
            url,
            body=body,
            headers=headers,
            redirect=False,
            preload_content=False,
            timeout=urllib3.Timeout(total=max(0.01, deadline - time.monotonic())),
        )
        try:
            parts, size = [], 0
            # What has come, not a whole piece: one that drips must not outlive the deadline.
            while chunk := response.read1(_CHUNK, decode_content=True):
                parts.append(chunk)
                size += len(chunk)
                if size > self.max_answer:
                    raise SourceError(_place(url), f"answered more than {self.max_answer} bytes")
                if time.monotonic() > deadline:
                    raise SourceError(_place(url), "timed out while it answered")
        except BaseException:
            response.close()
            raise
        response.release_conn()
        return Answer(response.status, b"".join(parts))


def _place(url: str) -> str:
    parts = urllib3.util.parse_url(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path or ''}"


def _reason(error: HTTPError) -> str:
    if isinstance(error, (ConnectTimeoutError, ReadTimeoutError)) and not isinstance(
        error, NewConnectionError
    ):
        return "timed out"
    cause = error.__cause__ or error.__context__
    for found in (cause, *error.args[1:2]):
        if isinstance(found, OSError) and found.strerror:
            return found.strerror.lower()
    return str(error.args[0] if error.args else error) or type(error).__name__
