"""What keeps an alert from people and the engine: its cause, or what is told already of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from opsloop import names
from opsloop.catalog.model import Catalog
from opsloop.compile.aftermath import DATA, PAGE, SYMPTOMS, TICKET
from opsloop.compile.dependents import dependents_of
from opsloop.compile.hostdown import Machine, machines
from opsloop.compile.selectors import one_of, quote
from opsloop.compile.slo_names import (
    BUDGET_EXHAUSTED,
    BURN_CRITICAL,
    BURN_HIGH,
    DATA_MISSING,
    PERIOD,
    SLO,
)

Node = dict[str, Any]
# What is seen of a service that is down, or cannot reach what it needs.
_SYMPTOMS = (names.HIGH_ERROR_RATE, names.HIGH_LATENCY, names.PROBE_FAILING)


def inhibitions(catalog: Catalog, met: list[str]) -> list[Node]:
    """What is told already, or is a consequence of it, is not told again.

    met: the alerts that a policy meets.
    """
    found = [*_by_engine(met), *_within_service(catalog), *_within_stack(), *_probes(catalog)]
    found += [_over_machine(machine) for machine in machines(catalog)]
    for service, users in dependents_of(catalog).items():
        if users:
            found += _over_dependents(catalog, service, users)
    return found


def _by_engine(met: list[str]) -> list[Node]:
    """The engine's word on an episode over its original."""
    engine = one_of("alertname", names.ENGINE_POSTS)
    return [
        {
            "source_matchers": [engine, _is(names.ORIGINAL, alert)],
            "target_matchers": [_is("alertname", alert)],
            "equal": list(names.EPISODE_LABELS),
        }
        for alert in met
    ]


def _within_service(catalog: Catalog) -> list[Node]:
    burning = _burning(catalog)
    down = _is("alertname", names.SERVICE_DOWN)
    same = [names.SERVICE, names.ENVIRONMENT]
    found: list[Node] = [
        {
            "source_matchers": [down],
            "target_matchers": [one_of("alertname", (*_SYMPTOMS, *burning))],
            "equal": same,
        },
        *(
            {
                "source_matchers": source,
                "target_matchers": _given_up(_SYMPTOMS),
                "equal": same,
            }
            for source in ([down], _aftermath(SYMPTOMS))
        ),
        {  # a database that hangs keeps its exporter waiting
            "source_matchers": [down],
            "target_matchers": [_is("alertname", names.EXPORTER_DOWN)],
            "equal": [names.SERVICE, names.INSTANCE, names.ENVIRONMENT],
        },
        {
            "source_matchers": _aftermath(SYMPTOMS),
            "target_matchers": [one_of("alertname", _SYMPTOMS)],
            "equal": same,
        },
    ]
    return [*found, *(_of_objectives() if burning else ())]


def _of_objectives() -> list[Node]:
    same = [names.SERVICE, names.ENVIRONMENT]
    burns = one_of("alertname", (BURN_CRITICAL, BURN_HIGH))
    return [
        {  # the page of an objective over its ticket
            "source_matchers": [_is("alertname", BURN_CRITICAL)],
            "target_matchers": [_is("alertname", BURN_HIGH)],
            "equal": [names.SERVICE, SLO, names.ENVIRONMENT],
        },
        {  # either over the budget that it spends: told when the burn has ended
            "source_matchers": [burns],
            "target_matchers": [_is("alertname", BUDGET_EXHAUSTED)],
            "equal": [names.SERVICE, SLO, names.ENVIRONMENT],
        },
        {  # errors of now over the budget that they burn
            "source_matchers": [_is("alertname", names.HIGH_ERROR_RATE)],
            "target_matchers": [burns],
            "equal": same,
        },
        {
            "source_matchers": _aftermath(DATA),
            "target_matchers": [_is("alertname", DATA_MISSING)],
            "equal": same,
        },
        *(
            {
                "source_matchers": _aftermath(covers),
                "target_matchers": [_is("alertname", burn)],
                "equal": [*same, PERIOD],
            }
            for covers, burn in ((PAGE, BURN_CRITICAL), (TICKET, BURN_HIGH))
        ),
    ]


def _within_stack() -> list[Node]:
    """An engine that does not listen is why Alertmanager cannot tell it."""
    return [
        {
            "source_matchers": [one_of("alertname", (names.ENGINE_DOWN, names.ENGINE_STUCK))],
            "target_matchers": [
                _is("alertname", names.NOTIFICATIONS_FAILING),
                _is(names.INTEGRATION, "webhook"),
            ],
            "equal": [names.ENVIRONMENT],
        }
    ]


def _probes(catalog: Catalog) -> list[Node]:
    """What a service shows of itself over what is seen of it from outside."""
    if not catalog.probes:
        return []
    failing = _is("alertname", names.PROBE_FAILING)
    return [
        {
            "source_matchers": [_is("alertname", names.HIGH_ERROR_RATE)],
            "target_matchers": [failing],
            "equal": [names.SERVICE, names.ENVIRONMENT],
        },
        {
            "source_matchers": [failing],
            "target_matchers": [_is("alertname", names.CERTIFICATE_UNREADABLE)],
            "equal": [names.PROBE, names.ENVIRONMENT],
        },
    ]


def _given_up(alerts: Iterable[str]) -> list[str]:
    """That the loop could not heal a symptom is no more news than the symptom."""
    return [_is("alertname", names.REMEDIATION_FAILED), one_of(names.ORIGINAL, alerts)]


def _aftermath(covers: str) -> list[str]:
    return [_is("alertname", names.INCIDENT_AFTERMATH), _is(names.COVERS, covers)]


def _over_dependents(catalog: Catalog, service: str, users: list[str]) -> list[Node]:
    """A service that is down over the symptoms of those that depend on it, and after its end over
    what rates still hold of it; budgets have an aftermath of their own.

    A database takes them down as a whole; of other services one instance can be down while a
    dependent is down for a reason of its own.
    """
    symptoms = list(_SYMPTOMS)
    if catalog.services[service].postgres is not None:
        symptoms.append(names.SERVICE_DOWN)
    about, burning = one_of(names.SERVICE, users), _burning(catalog)
    down = [_is("alertname", names.SERVICE_DOWN), _is(names.SERVICE, service)]
    after = [*_aftermath(SYMPTOMS), _is(names.SERVICE, service)]
    over = (
        (down, [one_of("alertname", (*symptoms, *burning))]),
        (down, _given_up(symptoms)),
        (after, [one_of("alertname", symptoms)]),
        (after, _given_up(symptoms)),
    )
    return [
        {
            "source_matchers": source,
            "target_matchers": [*target, about],
            "equal": [names.ENVIRONMENT],
        }
        for source, target in over
    ]


def _over_machine(machine: Machine) -> Node:
    """A machine that is down over what runs on it; its services' own symptoms are muted by these."""
    down = one_of("alertname", (names.SERVICE_DOWN, names.EXPORTER_DOWN))
    return {
        "source_matchers": [
            _is("alertname", names.HOST_DOWN),
            _is(names.INSTANCE, machine.exporter),
        ],
        "target_matchers": [down, machine.instances],
        "equal": [names.ENVIRONMENT],
    }


def _is(label: str, value: str) -> str:
    return f"{label}={quote(value)}"


def _burning(catalog: Catalog) -> tuple[str, ...]:
    """Alerts of objectives that errors and silence of a service that is down would fire."""
    there = any(service.slos for service in catalog.services.values())
    return (BURN_CRITICAL, BURN_HIGH, DATA_MISSING) if there else ()
