"""The API's database connections: few, kept, and made anew as soon as the server is back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import psycopg

WAIT_S = 1.0  # for a free connection, for a connect and for an answer


class NoDatabase(Exception):
    """The database did not answer, or no connection is free."""


@dataclass
class Slot:
    """A place for one connection; empty until it is used, and after a failure."""

    connection: psycopg.AsyncConnection[Any] | None = None


class Connections:
    """At most `size` connections. A lost one is opened at the next use: nothing backs off,

    so an instance serves again with the first request after the server is back.
    """

    def __init__(self, conninfo: str, size: int) -> None:
        self._conninfo = conninfo
        self._free: asyncio.Queue[Slot] = asyncio.Queue()
        self._leaked: list[Slot] = []
        for _ in range(size):
            self._free.put_nowait(Slot())

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[Slot]:
        try:
            async with asyncio.timeout(WAIT_S):
                slot = await self._free.get()
        except TimeoutError:
            raise NoDatabase("no free connection") from None
        try:
            yield slot
        finally:
            self._free.put_nowait(slot)

    async def fetch(self, query: str, *values: object, again: bool = False) -> list[Any]:
        """Rows of one statement in its own transaction.

        again: run it once more on a new connection when the old one turns out to be lost;
        only for statements that may run twice. Raises NoDatabase.
        """
        async with self._slot() as slot:
            kept = slot.connection is not None
            try:
                return await self._run(slot, query, values)
            except NoDatabase:
                if not (again and kept):
                    raise
            return await self._run(slot, query, values)

    async def _run(self, slot: Slot, query: str, values: tuple[object, ...]) -> list[Any]:
        try:
            async with asyncio.timeout(WAIT_S):
                if slot.connection is None or slot.connection.closed:
                    slot.connection = await self._connect()
                cursor = await slot.connection.execute(query, values)
                return await cursor.fetchall() if cursor.description else []
        except (psycopg.OperationalError, TimeoutError, OSError) as error:
            await self._drop(slot)
            raise NoDatabase(str(error) or "no answer in time") from error
        except BaseException:  # a cancelled query leaves the connection in an unknown state
            await self._drop(slot)
            raise

    async def _connect(self) -> psycopg.AsyncConnection[Any]:
        return await psycopg.AsyncConnection.connect(self._conninfo, autocommit=True)

    async def _drop(self, slot: Slot) -> None:
        connection, slot.connection = slot.connection, None
        if connection is not None:
            await connection.close()

    async def leak(self, count: int) -> int:
        """Take up to `count` connections and never give them back; returns how many are held."""
        for _ in range(count):
            try:
                slot = self._free.get_nowait()
            except asyncio.QueueEmpty:
                break
            self._leaked.append(slot)
        return len(self._leaked)

    def mend(self) -> None:
        """Give back what was leaked."""
        while self._leaked:
            self._free.put_nowait(self._leaked.pop())

    async def close(self) -> None:
        self.mend()
        while not self._free.empty():
            await self._drop(self._free.get_nowait())
