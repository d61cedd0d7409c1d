"""What keeps an alert from people and the engine: its cause, or what is told already of it."""

from __future__ import annotations

from typing import Any

from opsloop import names
from opsloop.catalog.model import Catalog
from opsloop.compile.hostdown import Machine, machines
from opsloop.compile.selectors import one_of, quote
from opsloop.compile.slo_names import BURN_CRITICAL, BURN_HIGH, DATA_MISSING, SLO

Node = dict[str, Any]


def inhibitions(catalog: Catalog, met: list[str]) -> list[Node]:
    """What is told already, or is a consequence of it, is not told again.

    met: the alerts that a policy meets.
    """
    found = [*_by_engine(met), *_within_service(catalog)]
    found += [_over_machine(machine) for machine in machines(catalog)]
    for service, users in dependents_of(catalog).items():
        if users:
            found.append(_over_dependents(catalog, service, users))
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
    symptoms = one_of("alertname", (names.HIGH_ERROR_RATE, names.HIGH_LATENCY, *burning))
    down = _is("alertname", names.SERVICE_DOWN)
    found: list[Node] = [
        {
            "source_matchers": [down],
            "target_matchers": [symptoms],
            "equal": [names.SERVICE, names.ENVIRONMENT],
        },
        {  # a database that hangs keeps its exporter waiting
            "source_matchers": [down],
            "target_matchers": [_is("alertname", names.EXPORTER_DOWN)],
            "equal": [names.SERVICE, names.INSTANCE, names.ENVIRONMENT],
        },
    ]
    if burning:
        found += [
            {  # the page of an objective over its ticket
                "source_matchers": [_is("alertname", BURN_CRITICAL)],
                "target_matchers": [_is("alertname", BURN_HIGH)],
                "equal": [names.SERVICE, SLO, names.ENVIRONMENT],
            },
            {  # errors of now over the budget that they burn
                "source_matchers": [_is("alertname", names.HIGH_ERROR_RATE)],
                "target_matchers": [one_of("alertname", (BURN_CRITICAL, BURN_HIGH))],
                "equal": [names.SERVICE, names.ENVIRONMENT],
            },
        ]
    return found


def _over_dependents(catalog: Catalog, service: str, users: list[str]) -> Node:
    """A service that is down over the symptoms of those that depend on it.

    A database takes them down as a whole; of other services one instance can be down while a
    dependent is down for a reason of its own.
    """
    symptoms = [names.HIGH_ERROR_RATE, names.HIGH_LATENCY, *_burning(catalog)]
    if catalog.services[service].postgres is not None:
        symptoms.append(names.SERVICE_DOWN)
    return {
        "source_matchers": [_is("alertname", names.SERVICE_DOWN), _is(names.SERVICE, service)],
        "target_matchers": [one_of("alertname", symptoms), one_of(names.SERVICE, users)],
        "equal": [names.ENVIRONMENT],
    }


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


def dependents_of(catalog: Catalog) -> dict[str, list[str]]:
    """For each service, those that depend on it, directly or through others, without itself."""
    users: dict[str, set[str]] = {name: set() for name in catalog.services}
    for name, service in catalog.services.items():
        for other in service.depends_on:
            users.setdefault(other, set()).add(name)
    found: dict[str, list[str]] = {}
    for name in sorted(users):
        reached, edge = set[str](), users[name]
        while edge:
            reached |= edge
            edge = {user for service in edge for user in users[service]} - reached
        found[name] = sorted(reached - {name})
    return found
