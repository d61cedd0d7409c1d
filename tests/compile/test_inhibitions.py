"""What keeps an alert from people, stated pair by pair; a changed rule must break a statement."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import yaml

from opsloop import names
from opsloop.compile.alertrule import SEVERITY
from tests.compile import catalogs
from tests.compile.inhibiting import inhibited
from tests.compile.route_mutants import changed

CATALOG = """\
apiVersion: opsloop/v1
processes:
  api: {command: [a], port: 8000}
services:
  db: {team: data, postgres: {host: 10.0.0.9}}
  api: {team: shop, process: api, metrics: http, depends_on: [db],
        slos: {availability: {objective: 99%, sli: availability}}}
  web: {team: shop, targets: {static: ["10.0.0.1:80"]}, metrics: http, depends_on: [api]}
  lone: {team: shop, targets: {static: ["10.0.0.2:80"]}, metrics: http}
hosts:
  box: {targets: {static: ["10.0.0.1:9100"]}}
probes:
  front: {target: "https://shop.example.com/", service: api, team: shop}
remediation:
  mode: auto
  policies:
    restart: {when: {alert: [ServiceDown, HighErrorRate], service: [api]}, steps: [restart], limits: {max_runs: 6, window: 1h}}
"""
SYMPTOMS = ("HighErrorRate", "HighLatency", "ProbeFailing")
BURNS = ("SLOBurnRateCritical", "SLOBurnRateHigh")
OBJECTIVES = (*BURNS, "SLODataMissing")
SAME = {"environment": "demo", "service": "api"}
OTHER = "another"


@dataclass(frozen=True)
class Statement:
    """Each of these alerts keeps each of those from people, while the labels `same` are equal.

    not_from, not_of: changes of the source, and of the target, with which it does not.
    """

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    source: dict[str, str] = field(default_factory=dict)
    target: dict[str, str] = field(default_factory=dict)
    same: tuple[str, ...] = ("service", "environment")
    not_from: tuple[dict[str, str], ...] = ({"alertname": "DiskFull"},)
    not_of: tuple[dict[str, str], ...] = ({"alertname": "DiskFull"},)

    def pairs(self) -> Iterator[tuple[dict[str, str], dict[str, str], bool]]:
        """(source, target, whether it is inhibited)."""
        for first in self.sources:
            for second in self.targets:
                source = {**SAME, **_usual(first), **self.source}
                target = {**SAME, **_usual(second), **self.target}
                yield source, target, True
                yield from ((source, target | {k: OTHER}, False) for k in self.same)
                yield from ((source | change, target, False) for change in self.not_from)
                yield from ((source, target | change, False) for change in self.not_of)


def _usual(alert: str) -> dict[str, str]:
    """The labels that an alert has of itself."""
    severity = SEVERITY.get(alert) or ("P0" if alert == names.SLO_BURN_CRITICAL else "P1")
    if alert == names.INCIDENT_AFTERMATH:
        return {"alertname": alert}
    if alert in names.ENGINE_POSTS:  # of an episode of ServiceDown
        return {"alertname": alert, "severity": "P0", "instance": "i:1"}
    by_instance = (names.SERVICE_DOWN, names.EXPORTER_DOWN, names.NOTIFICATIONS_FAILING)
    instance = {"instance": "i:1"} if alert in by_instance else {}
    return {"alertname": alert, "severity": severity, **instance}


def aftermath(covers: str, *targets: str, **more: Any) -> Statement:
    others = [c for c in ("symptoms", "data", "page", "ticket") if c != covers]
    wrong = ({"alertname": "DiskFull"}, *({names.COVERS: c} for c in others))
    wrong += more.pop("not_from", ())
    source = {names.COVERS: covers, **more.pop("source", {})}
    return Statement(("IncidentAftermath",), targets, source=source, not_from=wrong, **more)


def of_down(
    targets: tuple[str, ...],
    service: str,
    target: dict[str, str],
    same: tuple[str, ...],
    not_of: tuple[dict[str, str], ...],
) -> Statement:
    wrong = ({"alertname": "DiskFull"}, {"service": "lone"})
    return Statement(("ServiceDown",), targets, {"service": service}, target, same, wrong, not_of)


def of_aftermath(
    targets: tuple[str, ...],
    service: str,
    target: dict[str, str],
    same: tuple[str, ...],
    not_of: tuple[dict[str, str], ...],
) -> Statement:
    wrong = ({"service": "lone"},)
    source = {"service": service}
    return aftermath(
        "symptoms", *targets, source=source, target=target, same=same, not_from=wrong, not_of=not_of
    )


EPISODE = {"policy": "restart", "instance": "i:1"}
OBJECTIVE = {"slo": "availability", "period": "30d"}
STATEMENTS = [
    *(
        Statement(
            ("RemediationFailed", "RemediationRunning", "ApprovalNeeded"),
            (alert,),
            source={**EPISODE, "original": alert},
            target=EPISODE,
            same=("policy", "service", "instance"),
            not_from=({"alertname": "DiskFull"}, {"original": OTHER}),
        )
        for alert in ("ServiceDown", "HighErrorRate")
    ),
    Statement(("ServiceDown",), (*SYMPTOMS, *OBJECTIVES)),
    Statement(
        ("ServiceDown",),
        ("ExporterDown",),
        source={"service": "db", "instance": "i:1"},
        target={"service": "db", "instance": "i:1"},
        same=("service", "instance", "environment"),
    ),
    Statement(
        BURNS[:1], BURNS[1:], source=OBJECTIVE, target=OBJECTIVE,
        same=("service", "slo", "environment"),
    ),
    Statement(
        BURNS, ("SLOBudgetExhausted",), source=OBJECTIVE, target=OBJECTIVE,
        same=("service", "slo", "environment"),
    ),
    Statement(("HighErrorRate",), BURNS),
    Statement(("HighErrorRate",), ("ProbeFailing",)),
    Statement(
        ("ProbeFailing",), ("CertificateUnreadable",), source={"probe": "front"},
        target={"probe": "front"}, same=("probe", "environment"),
    ),
    Statement(
        ("EngineDown", "EngineStuck"), ("NotificationsFailing",), source={"service": "engine"},
        target={"service": "alertmanager", "integration": "webhook"}, same=("environment",),
        not_of=({"alertname": "DiskFull"}, {"integration": "slack"}, {"integration": ""}),
    ),
    Statement(
        ("HostDown",), ("ServiceDown", "ExporterDown"),
        source={"service": "box", "instance": "10.0.0.1:9100"},
        target={"service": "web", "instance": "10.0.0.1:80"}, same=("environment",),
        not_from=({"alertname": "DiskFull"}, {"instance": "10.0.0.2:9100"}),
        not_of=({"alertname": "DiskFull"}, {"instance": "10.0.0.2:80"}, {"instance": "10.0.0.11:80"}),
    ),
    *(
        Statement(
            ("ServiceDown",), (*SYMPTOMS, *OBJECTIVES, "ServiceDown"), source={"service": "db"},
            target={"service": user}, same=("environment",),
            not_from=({"alertname": "DiskFull"}, {"service": "lone"}),
            not_of=({"alertname": "DiskFull"}, {"service": "lone"}),
        )
        for user in ("api", "web")
    ),
    Statement(  # one instance of it may be down, while a user is down for a reason of its own
        ("ServiceDown",), (*SYMPTOMS, *OBJECTIVES), target={"service": "web"}, same=("environment",),
        not_from=({"alertname": "DiskFull"}, {"service": "lone"}),
        not_of=({"alertname": "ServiceDown"}, {"service": "lone"}),
    ),
    aftermath("symptoms", *SYMPTOMS, not_of=({"alertname": BURNS[0]}, {"alertname": "ServiceDown"})),
    aftermath("data", "SLODataMissing"),
    aftermath("page", BURNS[0], source=OBJECTIVE, target=OBJECTIVE,
              same=("service", "environment", "period"), not_of=({"alertname": BURNS[1]},)),
    aftermath("ticket", BURNS[1], source=OBJECTIVE, target=OBJECTIVE,
              same=("service", "environment", "period"), not_of=({"alertname": BURNS[0]},)),
    *(
        aftermath("symptoms", *SYMPTOMS, "ServiceDown", source={"service": "db"},
                  target={"service": user}, same=("environment",), not_from=({"service": "lone"},),
                  not_of=({"alertname": BURNS[0]}, {"service": "lone"}))
        for user in ("api", "web")
    ),
    aftermath("symptoms", *SYMPTOMS, target={"service": "web"}, same=("environment",),
              not_from=({"service": "lone"},),
              not_of=({"alertname": "ServiceDown"}, {"service": "lone"})),
]  # fmt: skip
GIVEN_UP = ("RemediationFailed",)
NO_SYMPTOM = ({"alertname": "ApprovalNeeded"}, {"original": "DiskFull"})
STATEMENTS += [
    make(
        GIVEN_UP, service,
        {"service": user, "original": symptom, "severity": _usual(symptom)["severity"]}, same,
        (*NO_SYMPTOM, *({"service": "lone"} for _ in (user,) if user != service)),
    )
    for make in (of_down, of_aftermath)
    for service, user, more in (
        ("api", "api", ()), ("db", "api", ("ServiceDown",)), ("db", "web", ("ServiceDown",)),
        ("api", "web", ()),
    )
    for symptom in (*SYMPTOMS, *more)
    for same in ((("service", "environment") if user == service else ("environment",)),)
]  # fmt: skip
# Changes that no statement sees, by how their words end, and why.
UNSEEN = {
    "equal instance added": "neither side has an instance",
    'original="HighErrorRate" over alertname="HighErrorRate": equal severity added': "one episode",
    'original="ServiceDown" over alertname="ServiceDown": equal severity added': "one episode",
}


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    catalog = catalogs.catalog_of(CATALOG, tmp_path_factory.mktemp("catalog"))
    build = catalogs.built(catalog, tmp_path_factory.mktemp("build"))
    found: list[dict[str, Any]] = yaml.safe_load((build / names.ALERTMANAGER_YML).read_text())[
        "inhibit_rules"
    ]
    return found


PAIRS = [pair for statement in STATEMENTS for pair in statement.pairs()]


def mutants(rules: list[dict[str, Any]]) -> Iterator[tuple[str, int, dict[str, Any] | None]]:
    """(what was changed, which rule, what it is now; None: it is not there)."""
    for nth, rule in enumerate(rules):
        about = f"{', '.join(rule['source_matchers'])} over {', '.join(rule['target_matchers'])}"
        yield f"{about}: dropped", nth, None
        for side in ("source_matchers", "target_matchers"):
            for at, matcher in enumerate(rule[side]):
                for other in (None, *changed(matcher)):
                    mutant = copy.deepcopy(rule)
                    mutant[side][at : at + 1] = [other] if other else []
                    yield f"{about}: {matcher} to {other or 'nothing'}", nth, mutant
        for label in rule["equal"]:
            mutant = {**rule, "equal": [x for x in rule["equal"] if x != label]}
            yield f"{about}: equal {label} dropped", nth, mutant
        for label in sorted({"instance", "severity"} - set(rule["equal"])):
            mutant = {**rule, "equal": [*rule["equal"], label]}
            yield f"{about}: equal {label} added", nth, mutant


def seen(nth: int, rule: dict[str, Any] | None, by: list[set[int]]) -> bool:
    """Whether a statement breaks. by: for each pair, the rules that hold it as they are."""
    for (source, target, expected), holding in zip(PAIRS, by, strict=True):
        now = bool(holding - {nth}) or (rule is not None and inhibited([rule], source, target))
        if now is not expected:
            return True
    return False


def test_what_is_stated_is_so(rules: list[dict[str, Any]]) -> None:
    for source, target, expected in PAIRS:
        assert inhibited(rules, source, target) is expected, (source, target)


def test_every_changed_inhibition_breaks_a_statement(rules: list[dict[str, Any]]) -> None:
    by = [{n for n, r in enumerate(rules) if inhibited([r], s, t)} for s, t, _ in PAIRS]
    made = list(mutants(rules))
    assert len(made) > 250
    alive = [what for what, nth, mutant in made if not seen(nth, mutant, by)]
    print(f"{len(made)} changes of inhibitions, {len(alive)} not seen:", *alive, sep="\n  ")
    assert [what for what in alive if not what.endswith(tuple(UNSEEN))] == []
    assert len(alive) <= 0.05 * len(made)
