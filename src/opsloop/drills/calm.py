"""Whether a drill would be fair now: the service is healthy, and nothing is being repaired."""

from __future__ import annotations

from collections.abc import Callable

from opsloop.drills.faults import Aim
from opsloop.drills.watch import World
from opsloop.errors import OpsloopError, StackError
from opsloop.remediation.ports import Instance

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
    target: Instance,
    note: Callable[[str], None],
    clock: Callable[[], float],
    sleep: Callable[[float], None],
    limit_s: float = CALM_S,
) -> None:
    """Until nothing speaks against the drill. Raises StackError with what does."""
    deadline = clock() + limit_s
    while (reason := unrest(world, aim, target, clock())) is not None:
        note(f"waiting for calm: {reason}")
        if clock() > deadline:
            raise StackError(
                f"drill {aim.drill.name}",
                f"the stack is not healthy before it: {reason}",
                "see `opsloop status` and `opsloop episodes`",
            )
        sleep(POLL_S)


def unrest(world: World, aim: Aim, target: Instance, now: float) -> str | None:
    """Why a drill would not be fair now; None when it would."""
    services = related(world, aim)
    try:
        for service in sorted(services):
            if world.catalog.services[service].process is not None:
                reason = _unhealthy(world, service)
                if reason is not None:
                    return reason
        return (
            _repairing(world, services) or _seen(world, aim) or _unsettled(world, aim, target, now)
        )
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


def _unsettled(world: World, aim: Aim, target: Instance, now: float) -> str | None:
    """What the loop holds back for: a repair that its look-back still sees, a cool-down."""
    facts = aim.facts
    if facts is None:
        return None
    cooldown = world.catalog.remediation.policies[facts.policy].limits.cooldown.seconds
    rest = max(facts.window_s, cooldown)
    for _, run in world.runs_since(now - rest):
        mine = run.service == aim.service and (
            facts.scope == "service" or target.target in run.targets
        )
        ends = [(run.acted_at, facts.window_s), (run.finished_at, cooldown)]
        until = max((at + held for at, held in ends if at is not None), default=0.0)
        if (mine or run.service in aim.depends) and now < until:
            return f"the loop holds back after run {run.id} for another {until - now:.0f} s"
    for episode in world.store.episodes_of(aim.depends, now - facts.window_s):
        return f"{episode.alert} of {episode.service} ended a moment ago"
    return None
