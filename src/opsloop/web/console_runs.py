"""The loop's pages: runs, one run from alert to verdict, and people's answers to what waits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from opsloop.remediation.approval import Approval
from opsloop.remediation.ladder import describe
from opsloop.report import page as run_page
from opsloop.report import runs as report
from opsloop.report.approvals import state_of
from opsloop.report.times import length
from opsloop.web.console_frame import Frame, waiting
from opsloop.web.gate import form
from opsloop.web.signin import local_path

MOST_ID: Final = 2**63
LONGEST_WHY: Final = 1000


@dataclass(frozen=True, slots=True)
class Asked:
    """A plan that waits for a person, or waited, in words."""

    approval: Approval
    plan: str
    state: str
    left: str


def asked_rows(approvals: Iterable[Approval], now: float) -> list[Asked]:
    return [
        Asked(a, describe(a.plan), state_of(a, now), length(a.expires_at - now))
        for a in waiting(approvals, now)
    ]


class RunPages:
    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self._world = frame.world

    def routes(self) -> list[Route]:
        return [
            Route("/runs", self.listed),
            Route("/runs/{id:int}", self.run),
            Route("/approvals/{id:int}", self.approval),
            Route("/approvals/{id:int}/{answer}", self.answer, methods=["POST"]),
            Route("/pause", self.pause, methods=["POST"]),
            Route("/resume", self.resume, methods=["POST"]),
        ]

    async def listed(self, request: Request) -> Response:
        loop = await self._world.loop()
        now = self._world.clock()
        return await self._frame.page(
            request,
            "runs.html",
            "Runs",
            runs=list(loop.value.runs) if loop.value else [],
            asked=asked_rows(loop.value.approvals if loop.value else (), now),
            error=loop.error,
        )

    async def run(self, request: Request) -> Response:
        """From alert to verdict."""
        number = _known(request.path_params["id"])
        story = await run_in_threadpool(lambda: report.gather(self._world.store, number))
        return await self._frame.page(
            request,
            "run.html",
            f"Run {number}",
            story=story,
            run=story.run,
            episode=story.episode,
            guards=run_page.guard_rows(story),
            actions=run_page.action_rows(story),
            evidence=run_page.evidence_rows(story.run),
            moments=run_page.moments(story),
        )

    async def approval(self, request: Request) -> Response:
        """One question, which a page to people links to."""
        number = _known(request.path_params["id"])
        found = await run_in_threadpool(self._world.store.all_approvals, 1000)
        asked = next((a for a in found if a.id == number), None)
        if asked is None:
            raise HTTPException(404, f"there is no approval {number}")
        now = self._world.clock()
        episode = await run_in_threadpool(self._world.store.episode, asked.episode_id)
        return await self._frame.page(
            request,
            "approval.html",
            f"Approval {number}",
            asked=Asked(
                asked, describe(asked.plan), state_of(asked, now), length(asked.expires_at - now)
            ),
            episode=episode,
        )

    async def answer(self, request: Request) -> Response:
        """Approve or reject. Raises Conflict when somebody was quicker."""
        person, fields = await form(request, "operator")
        number, word = _known(request.path_params["id"]), request.path_params["answer"]
        if word not in ("approve", "reject"):
            raise HTTPException(404)
        agreed, why, now = word == "approve", _why(fields), self._world.clock()
        try:
            found = await run_in_threadpool(
                lambda: self._world.store.answer_approval(
                    number, person.name, why, now, agreed=agreed
                )
            )
        finally:
            self._world.changed()
        done = "approved" if agreed else "rejected"
        what = f"approval {number}: {describe(found.plan)}"
        await run_in_threadpool(self._frame.note, person.name, done, what)
        loop = await self._world.loop()
        text = f"{person.name} {done}: {describe(found.plan)}."
        if agreed and loop.value is not None and loop.value.paused:
            return self._frame.go(
                request, _back(fields), f"{text} The loop is paused: nothing begins yet.", "warn"
            )
        return self._frame.go(request, _back(fields), text)

    async def pause(self, request: Request) -> Response:
        """The kill switch."""
        person, fields = await form(request, "operator")
        why = _why(fields)
        said = f"{why} ({person.name})" if why else person.name
        await run_in_threadpool(self._world.store.pause, said, self._world.clock())
        self._world.changed()
        await run_in_threadpool(self._frame.note, person.name, "paused the loop", why)
        return self._frame.go(
            request, _back(fields), "Paused: no action begins until somebody resumes.", "warn"
        )

    async def resume(self, request: Request) -> Response:
        person, fields = await form(request, "operator")
        why = _why(fields)
        said = f"{why} ({person.name})" if why else person.name
        await run_in_threadpool(self._world.store.resume, said, self._world.clock())
        self._world.changed()
        await run_in_threadpool(self._frame.note, person.name, "resumed the loop", why)
        return self._frame.go(request, _back(fields), "The loop may act again.")


def _known(number: int) -> int:
    if number >= MOST_ID:
        raise HTTPException(404, "there is no such number")
    return number


def _why(fields: dict[str, str]) -> str:
    return " ".join(fields.get("why", "").split())[:LONGEST_WHY]


def _back(fields: dict[str, str]) -> str:
    return local_path(fields.get("back", "/"))
