"""docs/reference/alerts.md: every alert of a bundle, said from its compiled files alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from opsloop import names
from opsloop.report import alert_tests

_OBJECTIVE = ("services.NAME.slos.NAME.objective", "services.NAME.slos.NAME.window")
# Where the catalog sets what an alert compares with; the others have no limit to set.
SET_IN: Mapping[str, tuple[str, ...]] = {
    "ServiceDown": ("services.NAME.alerts.service_down",),
    "HighErrorRate": (
        "services.NAME.alerts.error_ratio",
        "services.NAME.alerts.window",
    ),
    "HighLatency": (
        "services.NAME.alerts.latency_p95",
        "services.NAME.alerts.window",
    ),
    "ConnectionsHigh": ("services.NAME.alerts.connections",),
    "DiskFull": ("hosts.NAME.disk_full", "hosts.NAME.mountpoints"),
    "DiskWillFill": ("hosts.NAME.disk_will_fill", "hosts.NAME.mountpoints"),
    "MemoryHigh": ("hosts.NAME.memory_high",),
    "ClockSkew": ("stack.clock_skew",),
    "ProbeFailing": ("probes.NAME.fails_for",),
    "CertificateExpiring": ("probes.NAME.expires_within", "certificates.NAME.expires_within"),
    "CertificateUnreadable": ("certificates.NAME.file",),
    "BackupFailed": ("backups.NAME",),
    "BackupStale": ("backups.NAME.every", "backups.NAME.grace"),
    "BackupMissing": ("backups.NAME.every", "backups.NAME.grace"),
    names.SLO_BURN_CRITICAL: _OBJECTIVE,
    names.SLO_BURN_HIGH: _OBJECTIVE,
    names.SLO_BUDGET_EXHAUSTED: _OBJECTIVE,
    names.SLO_DATA_MISSING: _OBJECTIVE,
    names.SLO_ERRORS_EXCEED: _OBJECTIVE,
}
_MATCHER = re.compile(r'^\s*alertname\s*(=~|=)\s*"?(.*?)"?\s*$')
_HEAD = """\
# Alerts

Every alert that opsloop ships, as `opsloop build` compiles it for a catalog with a bit of everything
(`benchmarks/alert_catalog.py`, scrapes and evaluations each 15 s). Made by `make docs`; a test fails when it is
stale. What to do about each: [RUNBOOK](../../RUNBOOK.md). An example stands for all: its names and values are
those of a unit test.
"""
_FIGURES = """\
*Tests* are promtool unit tests in that bundle. *Recall*, *precision*, *to detect* (p95, beside the
least that the alert's own window and `for` allow) and *per quiet week* are figures of
`python -m benchmarks.alert_quality`, which replays labelled incidents and quiet weeks through the built rules; a dash:
no incident of this kind yet, or no kept run that knew this alert.
"""


@dataclass(frozen=True, slots=True)
class _Alert:
    """All rules of one name, with what other files of the bundle say of them."""

    name: str
    rules: Sequence[Mapping[str, Any]]
    routes: Sequence[Mapping[str, Any]]
    inhibited_by: Sequence[str]
    tests: int
    said: Mapping[str, str] = field(default_factory=dict)
    figures: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def severity(self) -> str:
        """Empty where nobody is told."""
        return next((str(r["labels"].get(names.SEVERITY, "")) for r in self.rules), "")

    @property
    def policies(self) -> list[str]:
        found = {r["labels"].get(names.POLICY) for r in self.rules}
        return sorted(p for p in found if p)


def page(files: Mapping[str, str], figures: Iterable[Mapping[str, Any]] = ()) -> str:
    """The page. files: of a bundle, path -> text; figures: results of alert_quality, if kept."""
    alerts = sorted(_alerts(files, list(figures)), key=lambda a: (a.severity or "P9", a.name))
    summary = [_HEAD, *_summary(alerts), "", _FIGURES]
    return "\n".join([*summary, *(line for a in alerts for line in _section(a))])


def _alerts(files: Mapping[str, str], figures: Sequence[Mapping[str, Any]]) -> Iterator[_Alert]:
    rules: dict[str, list[Mapping[str, Any]]] = {}
    for path, text in files.items():
        if path.startswith(alert_tests.RULES):
            for group in _read(text)["groups"]:
                for rule in group["rules"]:
                    if "alert" in rule:
                        rules.setdefault(rule["alert"], []).append(
                            {**rule, "interval": group["interval"]}
                        )
    routes = _read(files[names.ROUTES_YML])["routes"]
    inhibitions = _read(files[names.ALERTMANAGER_YML]).get("inhibit_rules", [])
    tests = {row.alert: row.tests for row in alert_tests.table(files)}
    said = _said(files)
    for alert, found in rules.items():
        yield _Alert(
            alert,
            found,
            [r for r in routes if r["labels"]["alertname"] == alert],
            _inhibited_by(alert, inhibitions),
            tests.get(alert, 0),
            said.get(alert, found[0]["annotations"]),
            _figures_of(alert, figures),
        )


def _said(files: Mapping[str, str]) -> dict[str, Mapping[str, str]]:
    """What people read, by alert: the first that a unit test expects."""
    found: dict[str, Mapping[str, str]] = {}
    for path in sorted(files):
        if not path.startswith(alert_tests.TESTS):
            continue
        for test in _read(files[path])["tests"]:
            for check in test.get("alert_rule_test") or ():
                for expected in check.get("exp_alerts") or ():
                    found.setdefault(check["alertname"], expected["exp_annotations"])
    return found


def _inhibited_by(alert: str, rules: Iterable[Mapping[str, Any]]) -> list[str]:
    found: set[str] = set()
    for rule in rules:
        if alert in _named(rule["target_matchers"]):
            found |= {s for s in _named(rule["source_matchers"]) if s not in names.ENGINE_POSTS}
    return sorted(found)


def _named(matchers: Iterable[str]) -> set[str]:
    """The alerts that matchers name."""
    for matcher in matchers:
        if met := _MATCHER.match(matcher):
            return set(met.group(2).split("|"))
    return set()


def _figures_of(alert: str, figures: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    found = {}
    for figure in figures:
        head, _, what = str(figure["name"]).partition(": ")
        if head.partition(" (")[0] == alert:
            found[what] = figure
    return found


def _summary(alerts: Iterable[_Alert]) -> Iterator[str]:
    yield "| Alert | | Tests | Recall | Precision | To detect (least) | Per quiet week |"
    yield "|---|---|---|---|---|---|---|"
    for a in alerts:
        cells = [
            f"[{a.name}](#{a.name.lower()})",
            a.severity or "-",
            str(a.tests),
            _number(a, "recall", "{:.0%}"),
            _number(a, "precision", "{:.0%}"),
            _detect(a),
            _number(a, "per quiet week", "{:.2g}"),
        ]
        yield f"| {' | '.join(cells)} |"


def _number(alert: _Alert, what: str, form: str) -> str:
    value = alert.figures.get(what, {}).get("value")
    return "-" if value is None else form.format(value)


def _detect(alert: _Alert) -> str:
    figure = alert.figures.get("time to detect, p95")
    if figure is None or figure["value"] is None:
        return "-"
    least = str(figure["limit"]).removeprefix("arithmetic minimum ")
    low, _, high = least.removesuffix(" s").partition(" to ")
    return f"{figure['value']:.0f} s ({low if low == high else f'{low} to {high}'} s)"


def _section(alert: _Alert) -> Iterator[str]:
    yield f"## {alert.name}"
    yield ""
    said = alert.said
    text = said.get("description") or said.get("summary", "")
    yield f"{alert.severity}: {text}" if alert.severity else text
    if impact := said.get("impact"):
        yield f"Impact: {impact}"
    yield ""
    yield from (f"- {line}" for line in _facts(alert))
    yield ""
    yield "```promql"
    yield alert.rules[0]["expr"].strip()
    yield "```"
    if len(alert.rules) > 1:
        yield ""
        yield f"One of {len(alert.rules)} rules of this name: they differ in what they are about."
    yield ""


def _facts(alert: _Alert) -> Iterator[str]:
    yield f"Fires: {_timing(alert)}."
    paths = SET_IN.get(alert.name)
    yield f"Set by: {', '.join(f'`{p}`' for p in paths) if paths else 'nothing in the catalog'}."
    yield f"Told: {_told(alert)}."
    if alert.inhibited_by:
        yield f"Not told while one of these is the cause: {_linked(alert.inhibited_by)}."
    yield f"Runbook: [{alert.name}](../../RUNBOOK.md#{alert.name.lower()})."
    met = ", ".join(f"`{p}`" for p in alert.policies)
    yield f"Loop: {f'{met} may act on it' if met else 'no policy of this catalog acts on it'}."
    if late := alert.figures.get("beyond its arithmetic minimum, most"):
        yield f"Measured: {_measured(alert, late)}."


def _timing(alert: _Alert) -> str:
    found = []
    for rule in alert.rules:
        every = f"evaluated each {rule['interval']}"
        wait = f"after {rule['for']}" if rule.get("for") else "at once"
        policy = " where a policy acts on it" if rule["labels"].get(names.POLICY) else ""
        text = f"{wait} ({every}){policy}"
        if text not in found:
            found.append(text)
    return "; ".join(found)


def _told(alert: _Alert) -> str:
    found = []
    for route in alert.routes:
        who = ", ".join(f"`{r}`" for r in route["receivers"])
        people = route.get("people") or {}
        after = f" (people after {people['after']})" if people.get("after") else ""
        muted = f", not in {', '.join(people['muted'])}" if people.get("muted") else ""
        text = f"{who}{after}{muted}"
        if text not in found:
            found.append(text)
    return "; or ".join(found) or "nobody"


def _linked(alerts: Iterable[str]) -> str:
    return ", ".join(f"[{a}](#{a.lower()})" for a in alerts)


def _measured(alert: _Alert, late: Mapping[str, Any]) -> str:
    recall = alert.figures["recall"]["note"]
    met = "" if late["met"] is not False else ", which misses its goal"
    return (
        f"recall {recall}; at most {late['value']:.0f} s beyond the arithmetic minimum"
        f" (goal {late['goal']:g} s{met})"
    )


def _read(text: str) -> Any:
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
