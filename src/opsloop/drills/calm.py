"""Whether a drill would be fair now: the service is healthy, and nothing is being repaired."""

from __future__ import annotations

from collections.abc import Callable

from opsloop.drills.faults import Aim
from opsloop.drills.watch import World
from opsloop.errors import OpsloopError, StackError

CALM_S = 240.0  # how long to wait for it
POLL_S = 0.5


def related(world: World, aim: Aim) -> frozenset[str]:
    """The drill's service, what it depends on, and what depends on it."""
    services = world.catalog.services
    dependents = [name for name, s in services.items() if aim.service in s.depends_on]
    return frozenset({aim.service, *aim.depends, *dependents})


def wait_for_calm(
    world: World,
    aim: Aim,
    note: Callable[[str], None],
    clock: Callable[[], float],
    sleep: Callable[[float], None],
    limit_s: float = CALM_S,
) -> None:
    """Until nothing speaks against the drill. Raises StackError with what does."""
    deadline = clock() + limit_s
    while (reason := unrest(world, aim, clock())) is not None:
        note(f"waiting for calm: {reason}")
        if clock() > deadline:
            raise StackError(
                f"drill {aim.drill.name}",
                f"the stack is not healthy before it: {reason}",
                "see `opsloop status` and `opsloop episodes`",
            )
        sleep(POLL_S)


def unrest(world: World, aim: Aim, now: float) -> str | None:
    """Why a drill would not be fair now; None when it would."""
    services = related(world, aim)
    try:
        for service in sorted(services):
            if world.catalog.services[service].process is not None:
                reason = _unhealthy(world, service)
                if reason is not None:
                    return reason
        return _repairing(world, services) or _seen(world, aim) or _unsettled(world, aim, now)
    except OpsloopError as error:
        return str(error)


def _unhealthy(world: World, service: str) -> str | None:
    wanted = [i for i in world.instances(service) if i.wanted]
    for instance in wanted:
        if not instance.running:
            return f"{instance.target} does not run"
        if not world.answers(service, instance):
            return f"{instance.target} does not answer"
    up = world.instances_seen_up(service)
    if up < len(wanted):
        return f"Prometheus sees {up} of {len(wanted)} instances of {service} up"
    return None


def _repairing(world: World, services: frozenset[str]) -> str | None:
    for episode in world.store.firing():
        if episode.service in services:
            return f"{episode.alert} of {episode.service} is firing"
    for run in world.store.open_runs():
        if run.service in services:
            return f"run {run.id} on {run.service} is open"
    return None


def _seen(world: World, aim: Aim) -> str | None:
    if world.sees(aim, None):
        return f"the condition of {aim.drill.alert} holds"
    if world.is_listed(aim, None):
        return f"Alertmanager still lists {aim.drill.alert}"
    return None


def _unsettled(world: World, aim: Aim, now: float) -> str | None:
    """The loop holds back for a while after a repair, so a drill would measure that."""
    if aim.facts is None:
        return None
    policy = world.catalog.remediation.policies[aim.facts.policy]
    rest = max(aim.facts.window_s, policy.limits.cooldown.seconds)
    services = related(world, aim)
    for run in world.store.runs(50):
        ended = run.finished_at or run.created_at
        if run.service in services and ended + rest > now:
            return f"run {run.id} ended, the loop looks back {rest:g} s"
    return None
