"""The console over a real store and a scripted Prometheus and Alertmanager, in this process."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from opsloop import names
from opsloop.catalog.facts import EngineInput
from opsloop.catalog.model import Catalog
from opsloop.compile import slo_names as series
from opsloop.drivers.http import HttpClient
from opsloop.drivers.listed import Listed, Matcher, Rule, RuleAlert, Silence
from opsloop.drivers.rules import AlertRules
from opsloop.drivers.scraped import EvaluatedRule, Target
from opsloop.drivers.silences import AlertDesk
from opsloop.errors import AlertmanagerError, PrometheusError
from opsloop.remediation.episode import Alert, EpisodeState
from opsloop.remediation.plan import Run, RunState
from opsloop.remediation.ports import Sample, Series, StepResult
from opsloop.store.sqlite import SqliteStore
from opsloop.web import console
from opsloop.web.auth import Secret
from opsloop.web.world import World
from tests.store import samples

PASSWORD = "a-password"  # of these tests
PORT = 8080
HOST = f"127.0.0.1:{PORT}"
PAGE = {"accept": "text/html"}
DOWN = {
    "alertname": "ServiceDown",
    "severity": "P0",
    "service": "api",
    "team": "shop",
    "instance": "127.0.0.1:8000",
    "policy": "restart-down",
}
CATALOG: dict[str, Any] = {
    "apiVersion": "opsloop/v1",
    "processes": {"api": {"command": ["x"], "slots": 2, "port": 8000}},
    "services": {
        "api": {
            "team": "shop",
            "process": "api",
            "metrics": "http",
            "description": "the shop's API",
            "slos": {"availability": {"objective": "99.5%", "sli": "availability"}},
        },
        "web": {"team": "front", "targets": {"static": ["127.0.0.1:1"]}, "metrics": "http"},
    },
    "hosts": {"local": {}},
    "remediation": {"mode": "auto"},
}
OBJECTIVE = {
    "service": "api",
    "slo": "availability",
    "sli": "http",
    "period": "30d",
    "objective": "99.5%",
}


class Metrics(AlertRules):
    """A Prometheus that answers what it is told: by the text that a query contains."""

    def __init__(self) -> None:
        super().__init__(HttpClient(), "http://127.0.0.1:1")
        self.dead = False
        self.alerts: list[RuleAlert] = []
        self.values: dict[str, list[Sample]] = {}
        self.asked: list[str] = []
        self.points: list[float] | None = None
        self.said = "connection refused"  # of a target, and of a rule
        self.series_labels: list[dict[str, str]] = [{"service": "api", "instance": "a"}]

    def _answer(self, what: str) -> None:
        self.asked.append(what)
        if self.dead:
            raise PrometheusError("http://127.0.0.1:1", "connection refused")

    def query(self, expr: str, at: float | None = None) -> list[Sample]:
        self._answer(expr if at is None else f"{expr} @ {at:.0f}")
        for text, found in self.values.items():
            if text in expr:
                return found
        if expr.startswith("group by"):
            label = expr.partition("(")[2].partition(")")[0]
            return [Sample({label: "api"}, 1.0)]
        if expr.startswith(("slo:", "increase", "sum by (integration)")):
            return []
        return [Sample({"service": "api"}, 0.5)]

    def query_range(self, expr: str, start: float, end: float, step: float) -> list[Series]:
        self._answer(f"{expr} @ {start:.0f} {end:.0f} {step:.0f}")
        count = round((end - start) / step) + 1
        values = self.points or [1.0 + (i % 7) / 10 for i in range(count)]
        points = tuple((start + i * step, v) for i, v in enumerate(values[:count]))
        return [Series(labels, points) for labels in self.series_labels]

    def rules(self) -> list[Rule]:
        self._answer("rules")
        found = [Rule(a.labels["alertname"], 0.0, {}, alerts=(a,)) for a in self.alerts]
        return [*found, Rule("HighLatency", 0.0, {})]

    def label_values(self, label: str, since: float) -> list[str]:
        self._answer(f"values {label}")
        return {"service": ["api", "web"], "severity": ["P0", "P1"]}.get(label, ["one", "two"])

    def targets(self) -> list[Target]:
        self._answer("targets")
        return [
            Target("web", "127.0.0.1:1", "down", "http://127.0.0.1:1/", self.said, 1e9),
            Target("api", "127.0.0.1:8000", "up", "http://127.0.0.1:8000/", "", time.time(), 0.004),
        ]

    def evaluated(self) -> list[EvaluatedRule]:
        self._answer("evaluated")
        return [
            EvaluatedRule("loop", "ServiceDown", "alerting", "up == 0", "ok", "inactive"),
            EvaluatedRule("own", "bad:rule", "recording", "x", "err", error=self.said),
        ]


class Desk(AlertDesk):
    """An Alertmanager in memory."""

    def __init__(self) -> None:
        super().__init__(HttpClient(), [])
        self.fires: list[Listed] = []
        self.made: list[Silence] = []
        self.ended: list[str] = []
        self.dead = False

    def _alive(self) -> None:
        if self.dead:
            raise AlertmanagerError("http://127.0.0.1:2", "connection refused")

    def listed(self, matchers: Any = ()) -> list[Listed]:
        self._alive()
        return list(self.fires)

    def every_silence(self) -> list[Silence]:
        self._alive()
        return list(self.made)

    def silence(
        self, matchers: Any, starts_at: float, ends_at: float, author: str, comment: str
    ) -> str:
        number = f"silence-{len(self.made)}"
        found: tuple[Matcher, ...] = tuple(matchers)
        self.made.append(Silence(number, "active", found, comment, author, starts_at, ends_at))
        return number

    def end_silence(self, silence_id: str) -> None:
        self.ended.append(silence_id)

    def configuration(self) -> str:
        self._alive()
        return "receivers: [{name: people, slack_configs: [{channel: x}]}]"

    def metrics(self) -> str:
        self._alive()
        return ""


@dataclass
class Stage:
    """Everything under the pages. `client` is a browser without a sign-in."""

    state: Path
    store: SqliteStore
    metrics: Metrics
    desk: Desk
    world: World
    app: Any
    client: TestClient
    texts: dict[str, str] = field(default_factory=dict)

    def page(self, path: str, status: int = 200) -> str:
        """The text of a page, which must be one."""
        answer = self.client.get(path, headers=PAGE)
        assert answer.status_code == status, f"{path}: {answer.status_code}\n{answer.text[-2000:]}"
        return str(answer.text)

    def token(self) -> str:
        text = self.page("/inbox")
        return text.partition('data-csrf="')[2].partition('"')[0]

    def send(self, path: str, status: int = 200, /, **fields: str) -> str:
        """A form of one of its pages; the text that one lands on."""
        data = {"csrf": self.token(), "back": "/runs", **fields}
        answer = self.client.post(path, data=data, headers=PAGE)
        assert answer.status_code == status, f"{path}: {answer.status_code}\n{answer.text[-2000:]}"
        return str(answer.text)

    def refresh(self) -> None:
        """What was read before is asked again."""
        for key in list(self.world.shared._entries):
            self.world.shared.forget(key)


@contextmanager
def stage(
    folder: Path, changed: Mapping[str, Any] | None = None, bind: str = "127.0.0.1"
) -> Iterator[Stage]:
    """changed: sections of the catalog in place of those above."""
    catalog = Catalog.model_validate({**CATALOG, **(changed or {})})
    state = folder / ".opsloop"
    secrets = state / names.SECRETS_DIR
    secrets.mkdir(parents=True)
    (secrets / names.SECRET_SCRAPE_PASSWORD).write_text(PASSWORD)
    path = state / names.BUILD_DIR / names.ENGINE_JSON
    path.parent.mkdir(parents=True)
    given = EngineInput(catalog=catalog, facts=[], port_base=0)
    path.write_text(given.model_dump_json(by_alias=True))
    store = SqliteStore(state / names.STORE_FILE)
    metrics, desk = Metrics(), Desk()
    world = World(state, metrics, desk)
    password = Secret(secrets / names.SECRET_SCRAPE_PASSWORD)
    try:
        app = console.create(world, password, bind, PORT)
        with TestClient(app, base_url=f"http://{HOST}", raise_server_exceptions=False) as client:
            yield Stage(state, store, metrics, desk, world, app, client)
    finally:
        store.close()


def healthy(at: Stage) -> None:
    """Budgets there, nothing fires."""
    at.metrics.values |= {
        series.BUDGET: [Sample(OBJECTIVE, 0.005)],
        series.LEFT_RATIO: [Sample(OBJECTIVE, 0.86)],
        series.LEFT_EVENTS: [Sample(OBJECTIVE, 4300.0)],
        series.LEFT_MINUTES: [Sample(OBJECTIVE, 180.0)],
        series.RATIO_PERIOD: [Sample(OBJECTIVE, 0.0007)],
        series.COVERAGE_PERIOD: [Sample(OBJECTIVE, 1.0)],
    }


def burning(at: Stage, labels: Mapping[str, str] = DOWN, summary: str = "api is down") -> None:
    """An alert fires in Prometheus and Alertmanager, and the engine has it."""
    healthy(at)
    since = time.time() - 30
    said = {"summary": summary, "runbook": "https://example.org/runbook"}
    at.metrics.alerts = [RuleAlert("firing", since, dict(labels), said, 1.0)]
    alert = Alert("a1", since, True, dict(labels), said, since + 400)
    at.desk.fires = [Listed(alert, ("people",))]
    at.store.intake([alert], time.time())


def asks(at: Stage, left_s: float = 900.0) -> int:
    """A plan waits for a person; the number of its approval."""
    burning(at)
    (episode,) = at.store.episodes(10)
    at.store.record(samples.wish(episode, expires_at=time.time() + left_s), time.time())
    return at.store.approvals()[-1].id


def acts(at: Stage) -> Run:
    """A run that is in the middle of its first action."""
    burning(at)
    (episode,) = at.store.episodes(10)
    now = time.time() - 20
    run = at.store.record(samples.act(episode), now)
    assert run is not None
    at.store.begin_action(run, 0, now + 1)
    return run


def heals(at: Stage, output: str = "restarted") -> int:
    """A run that acted and was verified; its number."""
    run = acts(at)
    now = time.time() - 20
    at.store.end_action(run, 0, StepResult(True, True, output), now + 2)
    run = at.store.run(run.id)
    seen = {"before": {"value": 1.0}, "after": {"value": math.nan, "answering": True}}
    at.store.move_run(run, RunState.VERIFYING, "did it", now + 3, detail=seen)
    at.store.move_run(at.store.run(run.id), RunState.VERIFIED, "it helped", now + 9)
    at.store.set_episode(run.episode_id, EpisodeState.HEALED, "it helped", None, now + 9)
    return run.id


def hostile(at: Stage, text: str) -> list[str]:
    """`text` wherever something comes from outside; the pages that only this state has."""
    burning(at, {**DOWN, "instance": text, "service": text, "x": text}, text)
    alert = at.desk.fires[0].alert
    bad = {**alert.annotations, "runbook": "javascript:alert(1)", "dashboard": "//evil.example"}
    at.desk.fires = [replace(at.desk.fires[0], alert=replace(alert, annotations=bad))]
    at.desk.made = [Silence("s1", "active", (Matcher("x", "=", text),), text, text, 0.0, 9e9)]
    at.metrics.series_labels = [{"instance": text, "service": text}]
    at.metrics.said = text
    (episode,) = at.store.episodes(10)
    now = time.time()
    run = at.store.record(replace(samples.act(episode), reason=text), now - 9)
    assert run is not None
    at.store.begin_action(run, 0, now - 8)
    at.store.end_action(run, 0, StepResult(False, True, text), now - 7)
    at.store.move_run(at.store.run(run.id), RunState.FAILED, text, now - 6, detail={"after": text})
    asked = {**DOWN, "instance": "b", "service": text}
    at.store.intake([Alert("a2", now - 30, True, asked, {"summary": text}, now + 400)], now)
    other = next(e for e in at.store.episodes(10) if e.id != episode.id)
    at.store.record(replace(samples.wish(other, expires_at=now + 900), reason=text), now)
    at.store.note("annotation", {"text": text, "by": text}, now)  # as a commit message
    at.store.note("console", {"by": text, "did": text, "about": text}, now)
    at.store.pause(text, now)
    return [f"/runs/{run.id}", f"/approvals/{at.store.approvals()[-1].id}"]
