"""Dashboards and charts: their pages, their data, the marks on them, and how each number is made."""

from __future__ import annotations

from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from opsloop.compile import slo_names as series
from opsloop.compile.selectors import quote
from opsloop.errors import OpsloopError
from opsloop.report.times import stamp
from opsloop.web import panels
from opsloop.web.console_frame import Frame
from opsloop.web.console_panels import Panels
from opsloop.web.gate import form, require

MOST_MARKS: Final = 200
MOST_RAW: Final = 100  # values that an explanation lists
LONGEST_QUERY: Final = 4000


class ChartPages:
    """All that is drawn. The browser names a panel; its query is the server's."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self._world = frame.world
        self._panels = Panels(frame.world)

    def routes(self) -> list[Route]:
        return [
            Route("/dashboards", self.listed),
            Route("/dashboards/{uid}", self.dashboard),
            Route("/api/panels/{uid}/{number:int}", self.data),
            Route("/api/marks", self.marks),
            Route("/annotations", self.annotate, methods=["POST"]),
            Route("/explain/slo/{service}/{slo}", self.explain_slo),
            Route("/explain/{uid}/{number:int}", self.explain),
            Route("/query", self.query),
        ]

    async def listed(self, request: Request) -> Response:
        return await self._frame.page(
            request, "dashboards.html", "Dashboards", dashboards=self._panels.all()
        )

    async def dashboard(self, request: Request) -> Response:
        found = self._panels.dashboard(request.path_params["uid"])
        drawn = await self._panels.draw(found, request.query_params)
        return await self._frame.page(request, "dashboard.html", found.title, drawn=drawn)

    async def data(self, request: Request) -> Response:
        """A panel's data for its chart."""
        uid, number = request.path_params["uid"], request.path_params["number"]
        dashboard, panel = self._panels.panel(uid, number)
        span = self._panels.span(request.query_params, dashboard)
        values, _ = await self._panels.values(dashboard, request.query_params)
        found = await panels.answer(self._world, panel, values, span)
        return JSONResponse(panels.chart(found, span) | {"promql": found.promql})

    async def marks(self, request: Request) -> Response:
        """Alerts, deploys and runs of a time: {"marks": [{"at", "ended", "kind", "text", "url"}]}."""
        from starlette.concurrency import run_in_threadpool

        span = self._panels.span(request.query_params)
        service = request.query_params.get("service", "")
        try:
            until = span.end + span.step  # what happened after the last point of the grid, too
            found = await run_in_threadpool(self._marks, span.start, until, service)
        except OpsloopError as error:
            return JSONResponse({"marks": [], "error": str(error)})
        return JSONResponse({"marks": found[:MOST_MARKS], "left_out": len(found) - MOST_MARKS})

    def _marks(self, start: float, end: float, service: str) -> list[dict[str, Any]]:
        store = self._world.store
        found: list[dict[str, Any]] = [
            {
                "at": n["at"],
                "kind": "deploy",
                "text": str(n["body"].get("text", "")),
                "url": "",
            }
            for n in store.notes("annotation", start, end, MOST_MARKS)
            if not service or n["body"].get("service") in ("", service)
        ]
        for run in store.runs(MOST_MARKS):
            if start <= run.created_at <= end and service in ("", run.service):
                text = f"run {run.id}: {run.policy} on {run.service}, {run.state}"
                mark = {"kind": "run", "text": text, "url": f"/runs/{run.id}"}
                found.append({"at": run.created_at, "ended": run.finished_at, **mark})
        for episode in store.episodes(MOST_MARKS, closed=True):
            inside = start <= episode.starts_at <= end
            if inside and service in ("", episode.service or ""):
                text = f"{episode.alert} of {episode.service or episode.instance or 'the stack'}"
                mark = {"kind": "alert", "text": text, "url": f"/alerts?alertname={episode.alert}"}
                found.append({"at": episode.starts_at, "ended": episode.ended_at, **mark})
        return sorted(found, key=lambda m: -float(m["at"]))

    async def annotate(self, request: Request) -> Response:
        """Mark this moment on the charts."""
        from starlette.concurrency import run_in_threadpool

        person, fields = await form(request, "operator")
        text = " ".join(fields.get("text", "").split())[:300]
        if not text:
            raise HTTPException(400, "the mark has no text")
        body = {"text": text, "service": fields.get("service", "")[:48], "by": person.name}
        now = self._world.clock()
        await run_in_threadpool(self._world.store.note, "annotation", body, now)
        return self._frame.go(request, _back(fields), f"Marked: {text}")

    # How a number is made

    async def explain(self, request: Request) -> Response:
        """The queries of a panel, and the raw values behind what it shows."""
        uid, number = request.path_params["uid"], request.path_params["number"]
        dashboard, panel = self._panels.panel(uid, number)
        span = self._panels.span(request.query_params, dashboard)
        values, _ = await self._panels.values(dashboard, request.query_params)
        found = await panels.answer(self._world, panel, values, span)
        questions = [
            await self._question(
                a.query.name({}) or a.query.ref, a.promql, a.query.expr, span.moment
            )
            for a in found.answers
        ]
        return await self._frame.page(
            request,
            "explain.html",
            f"How “{panel.title}” is made",
            about=panel.description,
            unit=panel.unit,
            thresholds=panel.thresholds,
            questions=questions,
            back=f"/dashboards/{uid}?{request.url.query}",
        )

    async def explain_slo(self, request: Request) -> Response:
        """The series behind an error budget."""
        service, slo = request.path_params["service"], request.path_params["slo"]
        matcher = f"{{service={quote(service)},slo={quote(slo)}}}"
        asked = [
            ("The budget: the share of events that may fail", series.BUDGET),
            ("What is left of it, as a share", series.LEFT_RATIO),
            ("How many more events may fail", series.LEFT_EVENTS),
            ("Minutes of a whole outage that are left", series.LEFT_MINUTES),
            ("Seconds until nothing is left, at the present burn", series.EXHAUSTION),
        ]
        questions = [await self._question(title, name + matcher, name) for title, name in asked]
        return await self._frame.page(
            request,
            "explain.html",
            f"How the budget of {service}/{slo} is made",
            about=(
                "Recording rules of Prometheus count failed and all events in tiles of a minute; "
                "these sums over the objective's period are what every page and alert reads."
            ),
            unit="",
            thresholds=(),
            questions=questions,
            back=f"/slo/{service}/{slo}",
        )

    async def query(self, request: Request) -> Response:
        """An operator's own question."""
        require(request, "operator")
        expr = request.query_params.get("expr", "").strip()[:LONGEST_QUERY]
        questions = [await self._question("Your query", expr, expr)] if expr else []
        return await self._frame.page(
            request, "query.html", "Query", expr=expr, questions=questions
        )

    async def _question(
        self, title: str, promql: str, declared: str, at: float | None = None
    ) -> dict[str, Any]:
        held = await self._world.query(promql, at=at)
        samples = held.value or []
        return {
            "title": title,
            "promql": promql,
            "declared": declared if declared != promql else "",
            "at": held.at,
            "whole_at": stamp(held.at if at is None else at) if held.value is not None else None,
            "error": held.error,
            "samples": [(sorted(s.labels.items()), repr(s.value)) for s in samples[:MOST_RAW]],
            "left_out": max(0, len(samples) - MOST_RAW),
        }


def _back(fields: dict[str, str]) -> str:
    from opsloop.web.signin import local_path

    return local_path(fields.get("back", "/"))
