"""The ladder: which of a policy's steps comes next, and the plan that it makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from opsloop.catalog.policy import Policy
from opsloop.catalog.steps import OF_INSTANCES, Restart, Step
from opsloop.remediation import works
from opsloop.remediation.plan import SCALES, Action, Plan, RunState
from opsloop.remediation.ports import Inventory, PastRun
from opsloop.remediation.situation import ServiceFacts, Situation

SCALE_IN_RUNG = -1  # a scale in when quiet is no step of the policy
SCALE_IN_LIMIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Unplannable:
    """Why a step makes no plan here. `passing`: it is a matter of moments, look again."""

    reason: str
    passing: bool = False


@dataclass(frozen=True, slots=True)
class _Core:
    """The actions of a step without its conditions, and what they hold."""

    actions: tuple[Action, ...]
    resources: tuple[str, ...]


def next_attempt(runs: Sequence[PastRun]) -> int:
    """The number of the next run of an episode and policy; numbers are never used twice."""
    return max((r.attempt for r in runs), default=-1) + 1


def next_rung(runs: Sequence[PastRun], policy: Policy) -> int:
    """The index of the step that comes next, len(steps) when all were tried.

    runs: those of one episode and policy, oldest first. A verified run starts the ladder
    over; a cancelled one did nothing; a repeatable step whose outcome a crash hid may be
    done again. A repeat after a crash is held by the budget and the breaker.
    """
    rung = 0
    for run in runs:
        if run.state is RunState.VERIFIED:
            rung = 0
        elif run.state is not RunState.CANCELLED and rung < len(policy.steps):
            hidden = run.unknown and policy.steps[rung].repeatable
            rung += 0 if hidden else 1
    return rung


def next_step(situation: Situation) -> Step | None:
    """The step that comes next; None when none is left, or for a scale in."""
    policy = situation.policy
    if policy is None or situation.intent == "scale_in":
        return None
    rung = next_rung(situation.own_runs, policy)
    return policy.steps[rung] if rung < len(policy.steps) else None


def needs_inventory(situation: Situation) -> bool:
    """Whether what comes next acts on instances, so that they must be known."""
    step = next_step(situation)
    if step is None:  # a scale in, or a step that is not there: nothing is waived
        return situation.service is not None and situation.service.subject.kind == "service"
    return step.touches != "nothing"


def plan_for(situation: Situation) -> Plan | Unplannable:
    """The plan of what comes next. Nothing missing is guessed: it makes no plan."""
    policy, service = situation.policy, situation.service
    if policy is None or situation.policy_name is None or service is None:
        return Unplannable("no policy, or no service of the catalog")
    if needs_inventory(situation) and (
        situation.inventory is None or not situation.inventory.instances
    ):
        return Unplannable(f"the instances of {service.name} are not known")
    if situation.intent == "scale_in":
        found = _scale(situation, -1, SCALE_IN_LIMIT_S, idempotent=True)
        if isinstance(found, Unplannable):
            return found
        return Plan(
            situation.policy_name, service.name, SCALE_IN_RUNG, found.actions, found.resources
        )
    step = next_step(situation)
    if step is None:
        return Unplannable("all steps were tried")
    core = _core(situation, service, step)
    if isinstance(core, Unplannable):
        return core
    rung = next_rung(situation.own_runs, policy)
    return _whole(situation, service, step, core, rung)


def _whole(
    situation: Situation, facts: ServiceFacts, step: Step, core: _Core, rung: int
) -> Plan | Unplannable:
    """The core of a step with its conditions before and after, and its undo."""
    name, service = situation.policy_name or "", facts.name
    target = core.actions[0].target
    undo = _undo(situation, facts, step, target)
    if isinstance(undo, Unplannable):
        return undo
    actions = (
        *works.checks(step.before, service, target),
        *core.actions,
        *works.checks(step.after, service, target),
        *undo,
    )
    attempt = next_attempt(situation.own_runs)
    numbered = tuple(
        a
        if a.work is None or a.kind == "check"
        else replace(
            a, work=replace(a.work, id=works.action_id(situation.episode, name, attempt, i))
        )
        for i, a in enumerate(actions)
    )
    return Plan(
        policy=name,
        service=service,
        rung=rung,
        actions=numbered,
        resources=core.resources,
        undo=len(undo),
        worse=step.undo.worse if step.undo else "",
    )


def _core(situation: Situation, service: ServiceFacts, step: Step) -> _Core | Unplannable:
    inventory = situation.inventory
    if step.restart is not None and inventory is not None:
        return _restart(situation, inventory, step, step.restart)
    if step.kind in SCALES:
        by = step.scale_out.by if step.scale_out else -(step.scale_in.by if step.scale_in else 0)
        return _scale(situation, by, step.timeout.seconds, idempotent=step.repeatable)
    return _other(situation, service, step)


def _other(situation: Situation, service: ServiceFacts, step: Step) -> _Core | Unplannable:
    """A step of a kind that is done by no fleet."""
    subject = service.subject
    if step.kind == "wait":
        lasts = step.wait.for_.seconds if step.wait else 0.0
        action = Action("wait", service.name, subject.resource, limit_s=lasts)
        return _Core((action,), (subject.resource,))
    touched = _touched(situation, service, step)
    if isinstance(touched, Unplannable):
        return touched
    command = service.commands.get(step.kind, ())
    if step.kind in ("renew", "backup") and not command:
        return Unplannable(f"{subject} has no command for the step {step.kind}")
    try:
        values = works.values_of(situation.episode)
    except works.NotPlain as error:
        return Unplannable(str(error))
    action = Action(
        kind=step.kind,  # type: ignore[arg-type]
        service=service.name,
        target=touched[0],
        limit_s=step.timeout.seconds,
        idempotent=step.repeatable,
        work=works.work_of(works.given_of(step), values, command),
    )
    return _Core((action,), touched)


def _touched(
    situation: Situation, service: ServiceFacts, step: Step
) -> tuple[str, ...] | Unplannable:
    """What a step holds, the thing that it is about first."""
    if step.touches == "nothing":
        return (service.subject.resource,)
    inventory = situation.inventory
    if inventory is None:
        return Unplannable(f"the instances of {service.name} are not known")
    if step.touches == "instance":
        found = _instance(situation, inventory)
        return found if isinstance(found, Unplannable) else (found,)
    return (inventory.service, *(i.target for i in inventory.instances if i.wanted))


def _undo(
    situation: Situation, service: ServiceFacts, step: Step, target: str
) -> tuple[Action, ...] | Unplannable:
    undo = step.undo
    if undo is None:
        return ()
    if undo.scale_in is not None:
        if situation.inventory is None:
            return Unplannable(f"the instances of {service.name} are not known")
        current = sum(i.wanted for i in situation.inventory.instances)
        return (
            Action(
                "scale_in", service.name, service.name, health=service.health, wanted=current,
                limit_s=undo.timeout.seconds,
            ),
        )  # fmt: skip
    try:
        values = works.values_of(situation.episode)
    except works.NotPlain as error:
        return Unplannable(str(error))
    return (
        Action(
            kind=undo.kind,  # type: ignore[arg-type]
            service=service.name,
            target=target,
            limit_s=undo.timeout.seconds,
            idempotent=False,
            work=works.work_of(works.given_of(undo), values),
        ),
    )


def _instance(situation: Situation, inventory: Inventory) -> str | Unplannable:
    """The target of the alert's instance."""
    address = situation.episode.instance
    if not address:
        return Unplannable("the alert names no instance, and no label is not every instance")
    found = [i for i in inventory.instances if i.address == address]
    if len(found) != 1:
        return Unplannable(f"{address} is not one of {inventory.service}'s instances")
    if not found[0].wanted:
        return Unplannable(f"{found[0].target} is not meant to run", passing=True)
    return found[0].target


def _restart(
    situation: Situation, inventory: Inventory, step: Step, restart: Restart
) -> _Core | Unplannable:
    service = inventory.service
    if restart.scope == "instance":
        target = _instance(situation, inventory)
        if isinstance(target, Unplannable):
            return target
        targets = [i for i in inventory.instances if i.target == target]
        resources = [target]
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
            idempotent=step.repeatable,
        )
        for instance in targets
    )
    return _Core(actions, tuple(resources))


def _scale(
    situation: Situation, by: int, limit_s: float, *, idempotent: bool
) -> _Core | Unplannable:
    inventory = situation.inventory
    if inventory is None:
        return Unplannable("the instances are not known")
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
    return _Core((action,), (service, *(i.target for i in touched)))


def batch(plan: Plan, inventory: Inventory | None) -> frozenset[str]:
    """The instances that do not serve at the same time because of a plan: its radius.

    A restart takes one instance after the other, so it is the first; a scale out takes none.
    """
    main = plan.main
    if main.kind == "scale_out" or inventory is None:
        return frozenset()
    if main.kind in ("restart", "start"):
        return frozenset({main.target})
    return frozenset(i.target for i in inventory.instances if i.wanted) & frozenset(plan.resources)


def describe(plan: Plan) -> str:
    """The plan in words, as `restart api:api-0` or `scale api out to 3 instances`."""
    main = plan.main
    if main.kind in OF_INSTANCES and main.kind not in SCALES:
        targets = [a.target for a in plan.forward if a.kind == main.kind]
        what = f"{main.kind} {', '.join(targets)}" + (" one by one" if len(targets) > 1 else "")
    else:
        what = works.text_of(main)
    conditions = sum(a.kind == "check" for a in plan.forward)
    if conditions:
        what += f" ({conditions} condition{'s' if conditions > 1 else ''})"
    return what
