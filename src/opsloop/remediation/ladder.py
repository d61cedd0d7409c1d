"""The ladder: which of a policy's steps comes next, and the plan that it makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from opsloop.catalog.policy import Policy, Restart, Step
from opsloop.remediation.plan import Action, Plan, RunState
from opsloop.remediation.ports import Inventory, PastRun
from opsloop.remediation.situation import Situation

SCALE_IN_RUNG = -1  # a scale in when quiet is no step of the policy
SCALE_IN_LIMIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Unplannable:
    """Why a step makes no plan here. `passing`: it is a matter of moments, look again."""

    reason: str
    passing: bool = False


def is_idempotent(step: Step) -> bool:
    """Whether doing the step twice is as good as once: as declared, else as its kind is."""
    return True if step.idempotent is None else step.idempotent


def next_attempt(runs: Sequence[PastRun]) -> int:
    """The number of the next run of an episode and policy; numbers are never used twice."""
    return max((r.attempt for r in runs), default=-1) + 1


def next_rung(runs: Sequence[PastRun], policy: Policy) -> int:
    """The index of the step that comes next, len(steps) when all were tried.

    runs: those of one episode and policy, oldest first. A verified run starts the ladder
    over; a cancelled one did nothing; an idempotent step whose outcome a crash hid may be
    done again. A repeat after a crash is held by the budget and the breaker.
    """
    rung = 0
    for run in runs:
        if run.state is RunState.VERIFIED:
            rung = 0
        elif run.state is not RunState.CANCELLED and rung < len(policy.steps):
            hidden = run.unknown and is_idempotent(policy.steps[rung])
            rung += 0 if hidden else 1
    return rung


def plan_for(situation: Situation) -> Plan | Unplannable:
    """The plan of what comes next. Nothing missing is guessed: it makes no plan."""
    policy, inventory, service = situation.policy, situation.inventory, situation.service
    if policy is None or situation.policy_name is None or service is None:
        return Unplannable("no policy, or no service of the catalog")
    if inventory is None or not inventory.instances:
        return Unplannable(f"the instances of {service.name} are not known")
    if situation.intent == "scale_in":
        return _scale(situation, inventory, SCALE_IN_RUNG, -1, SCALE_IN_LIMIT_S, idempotent=True)
    rung = next_rung(situation.own_runs, policy)
    if rung >= len(policy.steps):
        return Unplannable("all steps were tried")
    step = policy.steps[rung]
    if step.restart is not None:
        return _restart(situation, inventory, rung, step, step.restart)
    by = step.scale_out.by if step.scale_out else -(step.scale_in.by if step.scale_in else 0)
    return _scale(
        situation, inventory, rung, by, step.timeout.seconds, idempotent=is_idempotent(step)
    )


def _restart(
    situation: Situation, inventory: Inventory, rung: int, step: Step, restart: Restart
) -> Plan | Unplannable:
    service = inventory.service
    if restart.scope == "instance":
        address = situation.episode.instance
        if not address:
            return Unplannable("the alert names no instance, and no label is not every instance")
        found = [i for i in inventory.instances if i.address == address]
        if len(found) != 1:
            return Unplannable(f"{address} is not one of {service}'s instances")
        if not found[0].wanted:
            return Unplannable(f"{found[0].target} is not meant to run", passing=True)
        targets, resources = found, [found[0].target]
    else:
        wanted = [i for i in inventory.instances if i.wanted]
        if not wanted:
            return Unplannable(f"no instance of {service} is meant to run")
        # What does not run comes first: when it cannot be started, what runs is not touched.
        targets = sorted(wanted, key=lambda i: i.running)
        resources = [service, *(i.target for i in wanted)]
    health = situation.service.health if situation.service else ""
    actions = tuple(
        Action(
            kind="restart",
            service=service,
            target=instance.target,
            address=instance.address,
            health=health,
            stop_wait_s=restart.stop_wait.seconds,
            limit_s=step.timeout.seconds,
            idempotent=is_idempotent(step),
        )
        for instance in targets
    )
    return Plan(situation.policy_name or "", service, rung, actions, tuple(resources))


def _scale(
    situation: Situation,
    inventory: Inventory,
    rung: int,
    by: int,
    limit_s: float,
    *,
    idempotent: bool,
) -> Plan | Unplannable:
    service = inventory.service
    current = sum(i.wanted for i in inventory.instances)
    wanted = current + by
    if current == 0:
        return Unplannable(f"no instance of {service} is meant to run")
    if by > 0 and wanted > inventory.limit:
        return Unplannable(
            f"{service} has {current} of at most {inventory.limit} instances, {by} more is too many"
        )
    floor = max(1, inventory.floor)
    if situation.intent == "scale_in" and situation.service is not None:
        floor = max(floor, situation.service.wanted)
    if by < 0 and wanted < floor:
        return Unplannable(f"{service} has {current} instances and needs at least {floor}")
    spare = [i for i in inventory.instances if not i.wanted]
    kept = [i for i in inventory.instances if i.wanted]
    touched = spare[:by] if by > 0 else kept[by:]
    action = Action(
        kind="scale_out" if by > 0 else "scale_in",
        service=service,
        target=service,
        health=situation.service.health if situation.service else "",
        wanted=wanted,
        limit_s=limit_s,
        idempotent=idempotent,
    )
    resources = (service, *(i.target for i in touched))
    return Plan(situation.policy_name or "", service, rung, (action,), resources)


def batch(plan: Plan, inventory: Inventory) -> frozenset[str]:
    """The instances that do not serve at the same time because of a plan: its radius.

    A restart takes one instance after the other, so it is the first; a scale out takes none.
    """
    first = plan.actions[0]
    if first.kind == "scale_out":
        return frozenset()
    if first.kind == "scale_in":
        wanted = frozenset(i.target for i in inventory.instances if i.wanted)
        return wanted & frozenset(plan.resources)
    return frozenset({first.target})


def describe(plan: Plan) -> str:
    """The plan in words, as `restart api:api-0` or `scale api out to 3 instances`."""
    first = plan.actions[0]
    if first.kind == "scale_out":
        return f"scale {plan.service} out to {first.wanted} instances"
    if first.kind == "scale_in":
        return f"scale {plan.service} in to {first.wanted} instances"
    targets = ", ".join(a.target for a in plan.actions)
    return f"{first.kind} {targets}" + (" one by one" if len(plan.actions) > 1 else "")
