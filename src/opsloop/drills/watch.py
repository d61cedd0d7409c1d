"""Looks at a running stack from outside: probes, Prometheus, the store, the inbox, the pids."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from opsloop import names
from opsloop.catalog.facts import EngineInput
from opsloop.drills.faults import Aim
from opsloop.drills.timeline import Page, RunSeen
from opsloop.drivers.alertmanager import Alertmanagers
from opsloop.drivers.fleet import ProcessFleet
from opsloop.drivers.http import BasicAuth, HttpClient
from opsloop.drivers.probe import PostgresLogin, probe
from opsloop.drivers.prometheus import Prometheus
from opsloop.drivers.supervisor import Supervisor
from opsloop.drivers.wire import parse_time
from opsloop.errors import NotRunning, OpsloopError, SourceError, StackError
from opsloop.remediation.episode import Episode
from opsloop.remediation.plan import Run
from opsloop.remediation.ports import Instance
from opsloop.settings import Ports
from opsloop.stack.state import StateFolder
from opsloop.store.sqlite import SqliteStore

PROBE_EVERY_S = 0.05
PROBE_LIMIT_S = 0.4
_TOLD = re.compile(
    r'^alertmanager_notifications_total\{.*integration="(slack|pagerduty|email|webhook)".*\} (\S+)$',
    re.MULTILINE,
)


class World:
    """Everything that a drill asks, over one running stack. Close it after use."""

    def __init__(self, state: StateFolder) -> None:
        """Raises NotRunning when the stack is not up."""
        info = state.read()
        if info is None or not info.started:
            raise NotRunning("the stack", "is not up", "start it with `opsloop up`")
        self.supervisor = Supervisor(Path(info.socket))
        if not self.supervisor.alive():
            raise NotRunning("the stack", "supervisord does not answer", "run `opsloop up` again")
        self.state = state
        self.engine = _engine_input(state)
        self.catalog = self.engine.catalog
        self.ports = Ports(self.engine.port_base)
        self.token = _secret(state, names.SECRET_FAULT_TOKEN)
        self._http = HttpClient(timeout_s=2.0)
        self._auth = BasicAuth(names.SCRAPE_USER, state.secrets / names.SECRET_SCRAPE_PASSWORD)
        self._prometheus_url = _local(self.ports.prometheus)
        self._alertmanager_url = _local(self.ports.alertmanager)
        self.prometheus = Prometheus(self._http, self._prometheus_url, self._auth, timeout_s=2.0)
        self.alertmanagers = Alertmanagers(self._http, [self._alertmanager_url], self._auth)
        self.store = SqliteStore(state.root / names.STORE_FILE, create=False)
        self.fleet = ProcessFleet(
            self.supervisor, self.catalog, self.ports, state.root, self.store.wanted
        )
        slack = _secret(state, names.SECRET_SLACK_URL)
        self.inbox_stands_in = f":{self.ports.inbox}/" in slack

    def close(self) -> None:
        self.store.close()
        self._http.close()

    # Instances

    def instances(self, service: str) -> list[Instance]:
        """All slots of a service's process, running or not."""
        return list(self.fleet.inventory(service).instances)

    def addresses(self, process: str) -> list[str]:
        """host:port of each slot of a process that is no service."""
        declared = self.catalog.processes[process]
        port = declared.port or 0
        return [f"127.0.0.1:{self.ports.process(port, n)}" for n in range(declared.slots)]

    def answers(self, service: str, instance: Instance) -> bool:
        """Whether the instance serves, asked directly."""
        postgres = self.catalog.services[service].postgres
        login = PostgresLogin(postgres.user, postgres.database) if postgres else None
        return probe(instance.address, instance.health, PROBE_LIMIT_S, login).ok

    def pids(self) -> dict[str, int]:
        """target -> pid of every program of the stack, 0 when it does not run."""
        return {p.target: p.pid if p.running else 0 for p in self.supervisor.processes()}

    # Prometheus and Alertmanager

    def sees(self, aim: Aim, address: str | None) -> bool:
        """Whether the alert's condition holds on the samples that Prometheus has now."""
        if aim.facts is None:
            return self.fired_at(aim, address) is not None
        return any(
            _meant(s.labels, aim, address) for s in self.prometheus.query(aim.facts.condition)
        )

    def fired_at(self, aim: Aim, address: str | None) -> float | None:
        """When the alert began to fire, unix seconds; None while it does not."""
        for alert in self._json(f"{self._prometheus_url}/api/v1/alerts")["data"]["alerts"]:
            labels = alert["labels"]
            if labels.get("alertname") != aim.drill.alert or alert["state"] != "firing":
                continue
            if _meant(labels, aim, address):
                return parse_time(alert["activeAt"])
        return None

    def is_listed(self, aim: Aim, address: str | None) -> bool:
        """Whether Alertmanager still has the alert: while it does, people may be told."""
        return any(
            a.name == aim.drill.alert and _meant(a.labels, aim, address)
            for a in self.alertmanagers.alerts()
        )

    def instances_seen_up(self, service: str) -> int:
        """How many instances of a service Prometheus has as up."""
        found = self.prometheus.query(f'{names.INSTANCE_UP}{{{names.SERVICE}="{service}"}} == 1')
        return len(found)

    # The loop's own record

    def episode(self, aim: Aim, address: str | None, since: float) -> Episode | None:
        """The newest episode of the drill's alert that the engine received since."""
        found = [
            e
            for e in self.store.episodes(200, closed=True)
            if e.alert == aim.drill.alert
            and e.first_seen >= since
            and _meant(e.labels, aim, address)
        ]
        return max(found, key=lambda e: e.id, default=None)

    def runs_since(self, since: float) -> list[tuple[int, RunSeen]]:
        """(episode id, run) of every run that was open or made since, oldest first."""
        found = [r for r in self.store.runs(200) if (r.finished_at or time.time()) >= since]
        return [(r.episode_id, seen(r)) for r in sorted(found, key=lambda r: r.id)]

    # People

    def last_message(self) -> int:
        """The id of the newest message in the inbox."""
        last = 0
        while found := self.messages(last):
            last = found[-1]["id"]
        return last

    def messages(self, after: int) -> list[dict[str, Any]]:
        """Messages of the inbox with a greater id, oldest first."""
        if not self.inbox_stands_in:
            return []
        found = self._json(f"{_local(self.ports.inbox)}/api/v1/messages?since={after}")["messages"]
        return list(found)

    def told_elsewhere(self) -> int:
        """Notifications to people that Alertmanager counts, where no inbox stands in."""
        if self.inbox_stands_in:
            return 0
        text = self._get(f"{self._alertmanager_url}/metrics").decode()
        return sum(int(float(n)) for kind, n in _TOLD.findall(text) if kind != "webhook")

    def _json(self, url: str) -> Any:
        try:
            return msgspec.json.decode(self._get(url))
        except msgspec.DecodeError as error:
            raise SourceError(url, f"answered no JSON: {error}") from error

    def _get(self, url: str) -> bytes:
        auth = None if url.startswith(_local(self.ports.inbox)) else self._auth
        answer = self._http.call("GET", url, auth=auth)
        if answer.status != 200:
            raise SourceError(url, f"answered HTTP {answer.status}: {answer.text}")
        return answer.body


class Prober(threading.Thread):
    """Looks every 50 ms, from the fault on; remembers when it first was well again."""

    def __init__(self, look: Callable[[], bool]) -> None:
        super().__init__(name="prober", daemon=True)
        self._look = look
        self._ended = threading.Event()
        self.well_at: float | None = None  # unix seconds

    def run(self) -> None:
        while not self._ended.is_set():
            try:
                well = self._look()
            except OpsloopError:
                well = False
            if well:
                self.well_at = time.time()
                return
            self._ended.wait(PROBE_EVERY_S)

    def end(self) -> None:
        self._ended.set()
        self.join()


@dataclass(frozen=True, slots=True)
class Sorted:
    """Messages to people: those about the drill's service, and how many others."""

    pages: list[Page]
    others: int


def sort_messages(messages: list[dict[str, Any]], services: frozenset[str]) -> Sorted:
    """A firing message to Slack or PagerDuty that names one of the services is a page.

    A refused one is, too: only its form kept it from people. Resolved ones are no pages.
    """
    pages, others = [], 0
    named = re.compile(r"\b(" + "|".join(map(re.escape, sorted(services))) + r")\b")
    for message in messages:
        if message["vendor"] == "webhook" or message["status"] != "firing":
            continue
        text = f"{message['title']} {msgspec.json.encode(message['body']).decode()}"
        if not named.search(text):
            others += 1
            continue
        pages.append(
            Page(message["received_at"], message["vendor"], message["title"], message["accepted"])
        )
    return Sorted(pages, others)


def seen(run: Run) -> RunSeen:
    """What a drill needs of a run."""
    return RunSeen(
        id=run.id,
        state=run.state.value,
        service=run.service,
        targets=frozenset(a.target for a in run.plan.actions),
        acting_at=run.acting_at,
        finished_at=run.finished_at,
        acted_at=run.acted_at,
        reason=run.reason,
    )


def _meant(labels: Any, aim: Aim, address: str | None) -> bool:
    if labels.get(names.SERVICE) != aim.service:
        return False
    instance = labels.get(names.INSTANCE)
    return address is None or instance is None or instance == address


def _local(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def _engine_input(state: StateFolder) -> EngineInput:
    path = state.build / names.ENGINE_JSON
    try:
        return EngineInput.model_validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise StackError(str(path), f"cannot be read: {error}", "run `opsloop up`") from error


def _secret(state: StateFolder, name: str) -> str:
    try:
        return (state.secrets / name).read_text().strip()
    except OSError as error:
        raise StackError(
            str(state.secrets / name), f"cannot be read: {error.strerror}", "run `opsloop up`"
        ) from error
