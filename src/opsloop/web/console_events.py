"""Server-sent events: a page is told that something changed, and reads itself anew."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from opsloop.web.world import World

LOOK_S: Final = 1.0
BEAT_S: Final = 15.0  # a line that says nothing, so that a dead connection is noticed
MOST: Final = 200  # pages that listen


class Events:
    """All listeners look at the same answers, so that twenty cost what one does."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.listening = 0

    async def stream(self, request: Request) -> Response:
        """Events `change` with the digest of what pages show. Raises HTTPException 503."""
        if self.listening >= MOST:
            raise HTTPException(503, f"{MOST} pages listen already")
        headers = {"x-accel-buffering": "no", "cache-control": "no-store"}
        return StreamingResponse(
            self._lines(request), media_type="text/event-stream", headers=headers
        )

    async def _lines(self, request: Request) -> AsyncIterator[str]:
        self.listening += 1
        try:
            yield "retry: 2000\n\n"
            known, quiet_s = await self.digest(), 0.0
            yield f"event: hello\ndata: {known}\n\n"
            while not await request.is_disconnected():
                await asyncio.sleep(LOOK_S)
                quiet_s += LOOK_S
                digest = await self.digest()
                if digest != known:
                    known, quiet_s = digest, 0.0
                    yield f"event: change\ndata: {digest}\n\n"
                elif quiet_s >= BEAT_S:
                    quiet_s = 0.0
                    yield ": still here\n\n"
        finally:
            self.listening -= 1

    async def digest(self) -> str:
        """Differs when a page would say something else."""
        seen, loop = await self._world.board(), await self._world.loop()
        parts: list[object] = [seen.error != "", loop.error != ""]
        if loop.value is not None:
            parts += [loop.value.last_change, loop.value.paused, loop.value.paused_why]
            parts += [(r.id, str(r.state), r.reason) for r in loop.value.runs[:20]]
            parts += [(a.id, a.approved_by, a.open) for a in loop.value.approvals]
        if seen.value is not None:
            parts += [m.part for m in seen.value.sources.missing]
            for row in seen.value.shown(everything=False):
                parts.append((sorted(row.labels.items()), row.state, len(row.told)))
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
