"""A scripted world for the engine: Prometheus, Alertmanager, a fleet and workers by hand.

It holds no rule of the engine: the store is the real one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from opsloop.catalog.facts import AlertFacts, EngineInput
from opsloop.catalog.model import Catalog
from opsloop.errors import AlertmanagerError, DriverError, PrometheusError
from opsloop.remediation.engine import Engine
from opsloop.remediation.episode import Alert, Episode
from opsloop.remediation.plan import Action, Run
from opsloop.remediation.ports import (
    Finished,
    Instance,
    Inventory,
    PostedAlert,
    Sample,
    StepResult,
)
from opsloop.store.sqlite import SqliteStore

T0 = 1_700_000_000.0


class Died(BaseException):
    """The engine's process is gone, at this very point. No `except Exception` sees it."""


CATALOG: dict[str, Any] = {
    "apiVersion": "opsloop/v1",
    "stack": {"scrape_interval": "5s"},
    "processes": {
        "database": {"command": ["db"], "port": 5433, "autorestart": False},
        "api": {"command": ["api"], "slots": 4, "port": 8000, "health": "/healthz"},
    },
    "services": {
        "database": {"team": "shop", "tier": 1, "process": "database"},
        "api": {
            "team": "shop",
            "tier": 1,
            "process": "api",
            "instances": {"wanted": 2, "min": 2, "max": 4},
            "depends_on": ["database"],
        },
    },
    "remediation": {
        "mode": "auto",
        "policies": {
            "restart-down": {
                "when": {"alert": ["ServiceDown"]},
                "steps": [{"restart": {"scope": "instance"}}],
                "limits": {"max_runs": 60, "window": "1h", "max_share": "50%"},
                "verify": {"hold": "6s", "timeout": "60s"},
            },
            "restart-on-errors": {
                "when": {"alert": ["HighErrorRate"], "service": ["api"]},
                "steps": [{"restart": {"scope": "service", "stop_wait": "2s"}}],
                "limits": {"cooldown": "30s", "max_runs": 20, "window": "1h"},
                "verify": {"hold": "10s", "timeout": "120s"},
            },
            "scale-on-latency": {
                "when": {"alert": ["HighLatency"], "service": ["api"]},
                "steps": [{"scale_out": {"by": 1}}, {"scale_out": {"by": 1}}],
                "limits": {"max_runs": 20, "window": "1h"},
                "verify": {"hold": "10s", "timeout": "150s"},
                "scale_in_after": "5m",
            },
        },
    },
}

FACTS = [
    AlertFacts(
        alert="ServiceDown",
        policy="restart-down",
        scope="instance",
        severity="P0",
        condition="down",
        fresh="down_fresh",
        sli="up",
        window_s=0,
        interval_s=1,
        grace_s=45,
    ),
    AlertFacts(
        alert="HighErrorRate",
        policy="restart-on-errors",
        scope="service",
        severity="P1",
        condition="errors",
        fresh="fresh",
        sli="ratio",
        window_s=60,
        interval_s=1,
        grace_s=120,
    ),
    AlertFacts(
        alert="HighLatency",
        policy="scale-on-latency",
        scope="service",
        severity="P1",
        condition="slow",
        fresh="fresh",
        sli="p95",
        window_s=60,
        interval_s=1,
        grace_s=120,
    ),
]


def given(**changes: Any) -> EngineInput:
    """The engine's input; changes are merged into `remediation.policies`, by policy."""
    raw = {**CATALOG, "remediation": {**CATALOG["remediation"]}}
    raw["remediation"]["policies"] = {
        name: {**policy, **changes.get(name.replace("-", "_"), {})}
        for name, policy in CATALOG["remediation"]["policies"].items()
    }
    for key in ("mode",):
        if key in changes:
            raw["remediation"][key] = changes[key]
    if "notifications" in changes:
        raw["notifications"] = changes["notifications"]
    return EngineInput(catalog=Catalog.model_validate(raw), facts=FACTS)


@dataclass
class Signals:
    counted: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    observed: list[tuple[str, float]] = field(default_factory=list)

    def count(self, name: str, **labels: str) -> None:
        self.counted.append((name, labels))

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        self.observed.append((name, seconds))

    def total(self, name: str, **labels: str) -> int:
        return sum(n == name and labels.items() <= given.items() for n, given in self.counted)


@dataclass
class Workers:
    """Does work when it is submitted, or, when `hold` is set, when `release` is called."""

    hold: bool = False
    waiting: list[tuple[str, Callable[[], object]]] = field(default_factory=list)
    finished: list[Finished] = field(default_factory=list)

    def submit(self, key: str, work: Callable[[], object]) -> None:
        self.waiting.append((key, work))
        if not self.hold:
            self.release()

    def release(self) -> None:
        while self.waiting:
            key, work = self.waiting.pop(0)
            try:
                self.finished.append(Finished(key, work()))
            except Exception as error:  # noqa: BLE001 - as a worker does
                self.finished.append(Finished(key, None, error))

    def done(self) -> list[Finished]:
        finished, self.finished = self.finished, []
        return finished


def address(target: str) -> str:
    port = 5433 if target.startswith("database") else 8000 + int(target.rsplit("-", 1)[1])
    return f"127.0.0.1:{port}"


@dataclass
class World:
    """The truth outside, and the four ports to it. Time moves by `run_for`."""

    path: Path
    input: EngineInput = field(default_factory=given)
    now: float = T0
    scrape_s: float = 5.0
    up: dict[str, bool] = field(
        default_factory=lambda: {"database:database": True, "api:api-0": True, "api:api-1": True}
    )
    spare: list[str] = field(default_factory=lambda: ["api:api-2", "api:api-3"])
    curable: bool = True  # whether a restart helps
    series: dict[str, list[tuple[dict[str, str], float]]] = field(default_factory=dict)
    faults: dict[str, set[str]] = field(default_factory=dict)  # condition -> services with it
    measured: bool = True
    fresh: bool = True  # samples keep coming
    prometheus: bool = True
    alertmanager: bool = True
    fleet: bool = True
    listed: list[Alert] = field(default_factory=list)
    posted: list[PostedAlert] = field(default_factory=list)
    performed: list[Action] = field(default_factory=list)
    perform_with: Callable[[Action], StepResult] | None = None
    cures: Callable[[Action], None] | None = None
    queries: int = 0
    signals: Signals = field(default_factory=Signals)
    workers: Workers = field(default_factory=Workers)
    holder: str = "engine-1"
    commits_left: int | None = None  # the engine dies at the commit after so many
    dies_durable: bool = False  # that commit is on the disk, and the engine does not know it

    def __post_init__(self) -> None:
        self.store = self._opened()
        self.engine = self.new_engine()

    def _opened(self) -> SqliteStore:
        store = SqliteStore(self.path / "engine.sqlite")
        commit = store.writer.call

        def call(work: Callable[[Any], Any]) -> Any:
            if self.commits_left is None:
                return commit(work)
            if self.commits_left > 0:
                self.commits_left -= 1
                return commit(work)
            if self.dies_durable:
                commit(work)
            raise Died

        store.writer.call = call  # type: ignore[method-assign]
        return store

    def new_engine(
        self,
        store: SqliteStore | None = None,
        workers: Workers | None = None,
        holder: str | None = None,
    ) -> Engine:
        return Engine(
            self.input,
            store=store or self.store,
            metrics=_Metrics(self),
            alerts=_Alerts(self),
            fleet=_Fleet(self),
            workers=workers or self.workers,
            signals=self.signals,
            holder=holder or self.holder,
        )

    def crash(self) -> None:
        """The engine's memory is gone; so is what its workers did not finish."""
        self.commits_left = None
        self.store.close()
        self.workers = Workers(hold=self.workers.hold)
        self.store = self._opened()
        self.engine = self.new_engine()

    # What Prometheus would say

    def sample_at(self) -> float:
        """When the newest sample was scraped."""
        if not self.fresh:
            return T0 - 1000
        return self.now - (self.now - T0 + 1) % self.scrape_s

    def answer(self, expr: str) -> list[Sample]:
        if expr in self.series:
            return [Sample(labels, value) for labels, value in self.series[expr]]
        if expr == "down":
            return [self._of(t, 0) for t, up in self.up.items() if not up]
        if expr == "down_fresh":
            return [self._of(t, self.sample_at()) for t in self.up]
        if expr == "up":
            return [self._of(t, float(up)) for t, up in self.up.items() if self.measured]
        if expr in ("errors", "slow"):
            return [Sample({"service": s}, 0.5) for s in sorted(self.faults.get(expr, ()))]
        if expr == "fresh":
            return [Sample({"service": s}, self.sample_at()) for s in ("api", "database")]
        if expr in ("ratio", "p95"):
            return [Sample({"service": "api"}, 0.01)] if self.measured else []
        raise AssertionError(expr)

    def _of(self, target: str, value: float) -> Sample:
        labels = {
            "service": target.split(":", maxsplit=1)[0],
            "instance": address(target),
            "job": "x",
        }
        return Sample(labels, value)

    # What happens

    def labels(self, alert: str, service: str, target: str | None = None) -> dict[str, str]:
        policy = {f.alert: f.policy for f in FACTS}.get(alert)
        severity = {f.alert: f.severity for f in FACTS}.get(alert, "P2")
        labels = {"alertname": alert, "service": service, "team": "shop", "severity": severity}
        if policy is not None:
            labels["policy"] = policy
        if target is not None:
            labels["instance"] = address(target)
        return labels

    def alert(self, name: str, service: str, target: str | None = None, **more: Any) -> Alert:
        labels = self.labels(name, service, target) | more.pop("labels", {})
        print_ = "-".join((name, service, target or "")).lower()[:60]
        annotations = {"summary": f"{name} on {service}", "runbook_url": "runbook.md"}
        values: dict[str, Any] = {"starts_at": self.now, "firing": True} | more
        return Alert(fingerprint=print_, labels=labels, annotations=annotations, **values)

    def kill(self, target: str) -> Alert:
        """An instance dies, its alert fires, and the webhook comes."""
        self.up[target] = False
        return self.fire("ServiceDown", target.split(":", maxsplit=1)[0], target)

    def fire(self, name: str, service: str, target: str | None = None, **more: Any) -> Alert:
        alert = self.alert(name, service, target, **more)
        if name in ("HighErrorRate", "HighLatency"):
            self.faults.setdefault({"HighErrorRate": "errors"}.get(name, "slow"), set()).add(
                service
            )
        self.listed.append(alert)
        self.store.intake([alert], self.now)
        return alert

    def resolve(self, alert: Alert, *, webhook: bool = True) -> None:
        """The alert is over in Alertmanager."""
        self.listed = [a for a in self.listed if a.fingerprint != alert.fingerprint]
        if webhook:
            self.store.intake([replace(alert, firing=False, ends_at=self.now)], self.now)

    def tick(self) -> float:
        return self.engine.tick(self.now)

    def settle(self) -> None:
        """Tick until the engine has nothing more to do at this moment."""
        for _ in range(200):
            if self.tick() > self.now and not self.workers.finished:
                return
        raise AssertionError("the engine does not come to rest")

    def run_for(self, seconds: float, *, step: float = 60.0) -> None:
        """Let time pass; the engine is woken when it asked to be."""
        end, turns = self.now + seconds, 0
        while True:
            wake = self.tick()
            if self.workers.finished:
                wake = self.now
            if wake > end:
                break
            turns += 1
            if turns > 40 * (seconds + 10):
                raise AssertionError("the engine spins")
            self.now = min(max(wake, self.now + 0.001), self.now + step)
        self.now = end
        self.settle()

    # What can be seen of it

    def episode(self, alert: Alert) -> Episode:
        return next(
            e
            for e in self.store.episodes(1000, closed=True)
            if e.fingerprint == alert.fingerprint and abs(e.starts_at - alert.starts_at) < 0.01
        )

    def runs(self, alert: Alert) -> list[Run]:
        return self.store.runs_of(self.episode(alert).id)

    def posts(self, name: str) -> list[PostedAlert]:
        return [p for p in self.posted if p.labels["alertname"] == name]

    def live_posts(self, name: str) -> list[PostedAlert]:
        """Posted alerts that Alertmanager would hold as firing now."""
        newest = {frozenset(p.labels.items()): p for p in self.posts(name)}
        return [p for p in newest.values() if p.ends_at > self.now]

    def audit(self, alert: Alert, kind: str = "decision") -> list[dict[str, Any]]:
        found = self.store.audit_of(episode_id=self.episode(alert).id)
        return [row["body"] for row in found if row["kind"] == kind]


@dataclass
class _Metrics:
    world: World

    def query(self, expr: str) -> list[Sample]:
        self.world.queries += 1
        if not self.world.prometheus:
            raise PrometheusError("Prometheus", "does not answer")
        return self.world.answer(expr)


@dataclass
class _Alerts:
    world: World

    def alerts(self) -> list[Alert]:
        if not self.world.alertmanager:
            raise AlertmanagerError("Alertmanager", "does not answer")
        return list(self.world.listed)

    def post(self, alerts: Sequence[PostedAlert]) -> None:
        if not self.world.alertmanager:
            raise AlertmanagerError("Alertmanager", "does not answer")
        self.world.posted += alerts


@dataclass
class _Fleet:
    world: World

    def inventory(self, service: str) -> Inventory:
        world = self.world
        if not world.fleet:
            raise DriverError("supervisord", "does not answer")
        mine = [t for t in world.up if t.startswith(f"{service}:")]
        spare = [t for t in world.spare if t.startswith(f"{service}:")]
        instances = [Instance(t, address(t), world.up[t], wanted=True) for t in mine]
        instances += [Instance(t, address(t), running=False, wanted=False) for t in spare]
        floor = 2 if service == "api" else 1
        return Inventory(service, tuple(instances), limit=len(instances), floor=floor)

    def perform(self, action: Action, token: int) -> StepResult:
        world = self.world
        world.performed.append(action)
        if world.perform_with is not None:
            return world.perform_with(action)
        if action.kind == "restart":
            world.up[action.target] = world.curable or world.up[action.target]
        mine = [t for t in world.up if t.startswith(f"{action.service}:")]
        if action.kind == "scale_out":
            for target in world.spare[: action.wanted - len(mine)]:
                world.up[target] = True
                world.spare.remove(target)
        if action.kind == "scale_in":
            for target in mine[action.wanted :]:
                del world.up[target]
                world.spare.insert(0, target)
        if world.cures is not None:
            world.cures(action)
        return StepResult(ok=True, started=True, output=f"{action.kind} {action.target}")
