"""The pages that are looked at: overview, services, objectives, targets, inbox, audit."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from opsloop import names
from opsloop.catalog.model import Service
from opsloop.errors import OpsloopError, PrometheusError
from opsloop.report import slo as slo_report
from opsloop.report import slo_history as history
from opsloop.report.alerts import Row
from opsloop.report.glance import troubles
from opsloop.report.slo import Budget
from opsloop.web.console_frame import Frame
from opsloop.web.console_panels import Panels
from opsloop.web.console_runs import asked_rows
from opsloop.web.gate import require
from opsloop.web.messages import Message

OVERVIEW_UID: Final = "opsloop-overview"
SIGNALS_UID: Final = "opsloop-signals"
SLO_UID: Final = "opsloop-slo"
MOST_SERVICES: Final = 100  # on one page of the list
FEW: Final = 8
_AUDIT_S: Final = 30 * 86400.0


@dataclass(frozen=True, slots=True)
class ServiceRow:
    """A service in one line. None: not measured."""

    name: str
    declared: Service
    rate: float | None = None
    errors: float | None = None
    p95: float | None = None
    up: float | None = None
    budget: Budget | None = None
    alert: Row | None = None

    @property
    def rank(self) -> tuple[Any, ...]:
        """Worst first: what fires, what is down, the least budget."""
        severity = self.alert.severity if self.alert else "P9"
        left = self.budget.left if self.budget and self.budget.left is not None else 2.0
        return severity or "P8", 1.0 if self.up is None else self.up, left, self.name


class Pages:
    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self._world = frame.world
        self._panels = Panels(frame.world)

    def routes(self) -> list[Route]:
        return [
            Route("/", self.overview),
            Route("/services", self.services),
            Route("/services/{service}", self.service),
            Route("/slo", self.slo),
            Route("/slo/{service}/{slo}", self.objective),
            Route("/targets", self.targets),
            Route("/inbox", self.inbox),
            Route("/audit", self.audit),
            Route("/api/glance", self.glance),
        ]

    async def glance(self, _: Request) -> Response:
        """The three sentences, for programs: {"state", "broken", "cost", "doing"}."""
        found = await self._world.glance()
        texts = {"broken": found.broken.text, "cost": found.cost.text, "doing": found.doing.text}
        return JSONResponse({"state": found.state} | texts)

    async def overview(self, request: Request) -> Response:
        glance, seen = await self._world.glance(), await self._world.board()
        loop, budgets = await self._world.loop(), await self._world.budgets()
        shown = troubles(seen.value) if seen.value else []
        services = await self._services(shown)
        now = self._world.clock()
        return await self._frame.page(
            request,
            "overview.html",
            "Overview",
            glance=glance,
            board=seen.value,
            board_at=seen.at,
            board_error=seen.error,
            alerts=shown[:FEW],
            more_alerts=max(0, len(shown) - FEW),
            asked=asked_rows(loop.value.approvals if loop.value else (), now),
            runs=list(loop.value.runs[:FEW]) if loop.value else [],
            budgets=(budgets.value or [])[:FEW],
            budgets_error=budgets.error,
            budgets_at=budgets.at,
            services=services[:FEW],
            more_services=max(0, len(services) - FEW),
            drawn=await self._charts_of_overview(request),
        )

    async def _charts_of_overview(self, request: Request) -> Any:
        dashboard = next((d for d in self._panels.all() if d.uid == OVERVIEW_UID), None)
        if dashboard is None:
            return None
        charts = [p.id for p in dashboard.panels if p.kind == "timeseries"][:4]
        return await self._panels.draw(dashboard, request.query_params, only=charts)

    async def _services(self, shown: Sequence[Row]) -> list[ServiceRow]:
        """Every service of the catalog, the worst first."""
        budgets = await self._world.budgets()
        values = {
            name: await self._by_service(name)
            for name in (names.REQUEST_RATE, names.ERROR_RATIO, names.LATENCY_P95, names.UP_RATIO)
        }
        worst: dict[str, Budget] = {}
        for budget in budgets.value or ():
            worst.setdefault(budget.service, budget)
        alerts: dict[str, Row] = {}
        for row in shown:
            alerts.setdefault(row.service or "", row)
        found = [
            ServiceRow(
                name,
                declared,
                rate=values[names.REQUEST_RATE].get(name),
                errors=values[names.ERROR_RATIO].get(name),
                p95=values[names.LATENCY_P95].get(name),
                up=values[names.UP_RATIO].get(name),
                budget=worst.get(name),
                alert=alerts.get(name),
            )
            for name, declared in self._world.engine.catalog.services.items()
        ]
        return sorted(found, key=lambda r: r.rank)

    async def _by_service(self, metric: str) -> Mapping[str, float]:
        held = await self._world.query(metric)
        return {s.labels.get(names.SERVICE, ""): s.value for s in held.value or ()}

    async def services(self, request: Request) -> Response:
        """?find=TEXT, ?page=N."""
        seen = await self._world.board()
        rows = await self._services(troubles(seen.value) if seen.value else [])
        text = request.query_params.get("find", "").strip().lower()[:100]
        if text:
            rows = [r for r in rows if text in r.name or text in r.declared.team]
        number = _number(request.query_params.get("page", "1"))
        start = (number - 1) * MOST_SERVICES
        return await self._frame.page(
            request,
            "services.html",
            "Services",
            rows=rows[start : start + MOST_SERVICES],
            count=len(rows),
            find=text,
            number=number,
            pages=max(1, -(-len(rows) // MOST_SERVICES)),
            stale=(await self._world.query(names.UP_RATIO)).error,
        )

    async def service(self, request: Request) -> Response:
        name = request.path_params["service"]
        declared = self._world.engine.catalog.services.get(name)
        if declared is None:
            raise HTTPException(404, f"the catalog has no service {name[:60]!r}")
        seen, budgets = await self._world.board(), await self._world.budgets()
        shown = [r for r in (troubles(seen.value) if seen.value else []) if r.service == name]
        loop = await self._world.loop()
        dashboard = next((d for d in self._panels.all() if d.uid == SIGNALS_UID), None)
        drawn = None
        if dashboard is not None:
            asked = request.query_params
            drawn = await self._panels.draw(dashboard, asked, fixed={names.SERVICE: name})
        return await self._frame.page(
            request,
            "service.html",
            name,
            name=name,
            declared=declared,
            board=seen.value,
            alerts=shown,
            budgets=[b for b in budgets.value or () if b.service == name],
            runs=[r for r in (loop.value.runs if loop.value else ()) if r.service == name][:FEW],
            drawn=drawn,
        )

    async def slo(self, request: Request) -> Response:
        held = await self._world.budgets()
        rows = held.value or []
        return await self._frame.page(
            request,
            "slo.html",
            "Service level objectives",
            rows=rows,
            sentence=slo_report.sentence(rows) if rows else "",
            young=slo_report.young(rows),
            error=held.error,
            at=held.at,
        )

    async def objective(self, request: Request) -> Response:
        service, slo = request.path_params["service"], request.path_params["slo"]
        held = await self._world.budgets()
        row = next((b for b in held.value or () if (b.service, b.slo) == (service, slo)), None)
        declared = self._world.engine.catalog.services.get(service)
        if row is None and (declared is None or slo not in declared.slos):
            raise HTTPException(404, f"the catalog has no objective {service[:50]}/{slo[:50]}")
        spent = await self._spent(row) if row is not None else None
        dashboard = next((d for d in self._panels.all() if d.uid == SLO_UID), None)
        drawn = None
        if dashboard is not None:
            fixed = {names.SERVICE: service, "slo": slo}
            drawn = await self._panels.draw(dashboard, request.query_params, fixed=fixed)
        return await self._frame.page(
            request,
            "objective.html",
            f"{service}/{slo}",
            service=service,
            slo=slo,
            row=row,
            spent=spent,
            error=held.error,
            at=held.at,
            drawn=drawn,
        )

    async def _spent(self, row: Budget) -> Any:
        """The incidents that spent it; None when they cannot be read."""

        def read() -> list[history.Incident]:
            episodes = self._world.store.episodes(10_000, closed=True)
            return history.incidents(self._world.prometheus, row, episodes, self._world.clock())

        try:
            key = ("spent", row.service, row.slo)
            return await self._world.shared.ask(key, read, fresh_s=60.0, deadline_s=5.0)
        except PrometheusError:
            return None

    async def targets(self, request: Request) -> Response:
        targets, rules = await self._world.targets(), await self._world.rules()
        find = request.query_params.get("find", "").strip().lower()[:100]
        shown = [
            t for t in targets.value or () if find in f"{t.job} {t.instance} {t.health}".lower()
        ]
        found = [r for r in rules.value or () if find in f"{r.name} {r.group} {r.health}".lower()]
        found.sort(key=lambda r: (r.health == "ok", r.group, r.name))
        return await self._frame.page(
            request,
            "targets.html",
            "Targets and rules",
            targets=shown,
            targets_at=targets.at,
            targets_error=targets.error,
            rules=found,
            rules_at=rules.at,
            rules_error=rules.error,
            find=find,
        )

    async def inbox(self, request: Request) -> Response:
        held = await self._world.inbox()
        messages = [(m, _body(m)) for m in (held.value or [])[:100]]
        return await self._frame.page(
            request, "inbox.html", "Inbox", messages=messages, error=held.error
        )

    async def audit(self, request: Request) -> Response:
        """Who did what in the console; for admins."""
        require(request, "admin")
        now = self._world.clock()
        try:
            notes = await run_in_threadpool(
                self._world.store.notes, "console", now - _AUDIT_S, now, 500
            )
            error = ""
        except OpsloopError as failed:
            notes, error = [], str(failed)
        return await self._frame.page(request, "audit.html", "Audit", notes=notes, error=error)


def _number(text: str) -> int:
    return min(int(text), 1000) if text.isascii() and text.isdigit() and 0 < len(text) < 5 else 1


def _body(message: Message) -> str:
    body = message.as_json()["body"]
    return body if isinstance(body, str) else json.dumps(body, indent=2, ensure_ascii=False)
