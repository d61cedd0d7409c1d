"""Whether data flows through a stack: targets scraped, rules evaluated, Watchdog at the engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from opsloop import names
from opsloop.errors import PartFailed
from opsloop.stack.ready import Http
from opsloop.stack.state import StateFolder

_POLL_S = 0.2
PROMPT_S = 20.0
_NEVER = "0001-01-01"


@dataclass(frozen=True, slots=True)
class Flow:
    """One look. Only the stack's own targets can hold `up` back: others are what it watches."""

    targets_up: int = 0
    targets: int = 0  # that Prometheus should have
    own_down: tuple[str, ...] = ()
    others_down: tuple[str, ...] = ()
    groups: int = 0
    not_evaluated: tuple[str, ...] = ()
    broken_rules: tuple[str, ...] = ()
    firing: int = 0  # alerts, without those that nobody is told of
    watchdog: bool = True
    silent: str = ""  # a part that does not answer at all, with the reason
    waits: tuple[str, ...] = field(default=())

    @property
    def flows(self) -> bool:
        return not self.waits


class FlowReader:
    """Reads the flow of one stack from Prometheus and the engine."""

    def __init__(
        self,
        state: StateFolder,
        http: Http,
        prometheus: str,
        engine: str | None,
        own: Collection[str],
        since: float,
    ) -> None:
        """prometheus, engine: host:port. own: addresses of the stack. since: unix seconds of
        its start; a Watchdog from before it proves nothing."""
        self._http = http
        self._prometheus = f"http://{prometheus}"
        self._engine = f"http://{engine}" if engine else None
        self._own = frozenset(own)
        self._since = since
        self._expected = expected_targets(state)
        self._has_rules = any((state.build / "prometheus" / "rules").glob("*.yml"))

    def read(self) -> Flow:
        """Never raises for what does not answer: that is in `silent`."""
        try:
            targets = self._get("/api/v1/targets?state=active")["activeTargets"]
            groups = self._get("/api/v1/rules")["groups"]
            watchdog = self._watchdog_seen()
        except (OSError, KeyError, TypeError) as error:
            reason = f"prometheus or engine: {error}"
            return Flow(silent=reason, targets=self._expected, watchdog=False, waits=(reason,))
        up = [t for t in targets if t["health"] == "up"]
        down = [t for t in targets if t["health"] != "up"]
        own = [_told(t) for t in down if urlsplit(t["scrapeUrl"]).netloc in self._own]
        others = [_told(t) for t in down if urlsplit(t["scrapeUrl"]).netloc not in self._own]
        stale = [g["name"] for g in groups if _is_prompt(g) and not _is_evaluated(g)]
        broken = [
            f"{rule['name']}: {rule.get('lastError', '')}"
            for g in groups
            for rule in g["rules"]
            if rule["health"] == "err"
        ]
        waits = []
        if len(targets) < self._expected:
            waits.append(f"{len(targets)} of {self._expected} targets known to prometheus")
        if own:
            waits.append(f"target {', '.join(own)}")
        if stale or (self._has_rules and not groups):
            waits.append(f"rule group {', '.join(stale) or 'of any name'} not evaluated")
        if broken:
            waits.append(f"rule {'; '.join(broken)}")
        if not watchdog:
            waits.append("Watchdog not seen by the engine")
        return Flow(
            targets_up=len(up),
            targets=max(len(targets), self._expected),
            own_down=tuple(own),
            others_down=tuple(others),
            groups=len(groups),
            not_evaluated=tuple(stale),
            broken_rules=tuple(broken),
            firing=_firing(groups),
            watchdog=watchdog,
            waits=tuple(waits),
        )

    def _get(self, path: str) -> Any:
        return self._http.json(self._prometheus + path, protected=True)["data"]

    def _watchdog_seen(self) -> bool:
        if self._engine is None:
            return True
        age = self._http.json(f"{self._engine}/healthz", protected=False).get("watchdog_age_s")
        return age is not None and time.time() - float(age) >= self._since


def wait_flowing(
    reader: FlowReader, deadline: float, show: Callable[[Flow], None], state: StateFolder
) -> Flow:
    """Look until data flows; returns the last look. Raises PartFailed when time is up."""
    while True:
        flow = reader.read()
        show(flow)
        if flow.flows:
            return flow
        if time.monotonic() > deadline:
            part = "engine" if flow.waits[0].startswith("Watchdog") else "prometheus"
            raise PartFailed(
                "data does not flow",
                "; ".join(flow.waits),
                f"read `opsloop logs {part}` ({state.log(part)}), then `opsloop up`",
            )
        time.sleep(_POLL_S)


def expected_targets(state: StateFolder) -> int:
    """How many targets prometheus.yml and its targets files name; discovered ones not counted."""
    path = state.build / names.PROMETHEUS_YML
    try:
        config = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError):
        return 0
    total = 0
    for job in config.get("scrape_configs") or []:
        groups = list(job.get("static_configs") or [])
        for discovery in job.get("file_sd_configs") or []:
            for pattern in discovery.get("files") or []:
                groups += _file_groups(path.parent, pattern)
        total += len({t for group in groups for t in group.get("targets") or []})
    return total


def _file_groups(folder: Path, pattern: str) -> list[dict[str, Any]]:
    base = folder / pattern
    found: list[dict[str, Any]] = []
    for file in sorted(base.parent.glob(base.name)):
        try:
            # JSON is YAML; Prometheus takes both.
            content = yaml.safe_load(file.read_text())
        except (OSError, yaml.YAMLError):
            continue
        found += [g for g in content or [] if isinstance(g, dict)]
    return found


def _told(target: Any) -> str:
    labels = target["labels"]
    reason = target.get("lastError") or "not scraped yet"
    return f"{labels.get('job', '?')} {labels.get('instance', '?')} ({reason})"


def _is_prompt(group: Any) -> bool:
    """Whether its first evaluation comes soon enough to wait for; budgets take a minute or two."""
    return float(group["interval"]) <= PROMPT_S


def _is_evaluated(group: Any) -> bool:
    return not group["lastEvaluation"].startswith(_NEVER) and all(
        rule["health"] != "unknown" for rule in group["rules"]
    )


def _firing(groups: Any) -> int:
    return sum(
        1
        for group in groups
        for rule in group["rules"]
        if rule.get("type") == "alerting"
        and rule["name"] not in (names.WATCHDOG, names.INCIDENT_AFTERMATH)
        for alert in rule.get("alerts") or []
        if alert["state"] == "firing"
    )
