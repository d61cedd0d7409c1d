"""The guards: each a reason not to act; their order in GUARDS is the safety argument."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from opsloop.catalog.subject import kind_of
from opsloop.remediation import breaker, ladder, past
from opsloop.remediation.answers import Answer, Ignore, Pass, Refuse, Wait
from opsloop.remediation.episode import EpisodeState
from opsloop.remediation.plan import Plan, RunState
from opsloop.remediation.situation import OWN_ALERTS, Situation

PATIENCE_S: Final = 15.0  # what cannot be read is asked again for less than any grace, then refused
RECHECK_S: Final = 2.0
MUTED_RECHECK_S: Final = 15.0
MAINTENANCE_RECHECK_S: Final = 60.0
HEALED_RECHECK_S: Final = 5.0
BUSY_RECHECK_S: Final = 1.0


Guard = Callable[[Situation], Answer]


def known(s: Situation) -> Answer:
    """The policy, its facts and the service are in the catalog that the engine runs with."""
    if s.episode.alert in OWN_ALERTS:
        return Ignore(f"{s.episode.alert} is the engine's own alert")
    if not s.episode.policy:
        return Ignore(f"no policy acts on {s.episode.alert or 'an alert without a name'}")
    if s.policy is None or s.facts is None:
        return Refuse(
            f"policy {s.episode.policy} for {s.episode.alert} is not in the engine's catalog"
        )
    if s.service is None:
        return Refuse(f"the alert names no {kind_of(s.episode.alert)} of the catalog")
    return Pass(f"policy {s.policy_name}, {s.service.kind} {s.service.subject.name}")


def firing(s: Situation) -> Answer:
    """The episode has not ended (for a scale in: it has)."""
    if s.intent == "scale_in":
        return Wait("the alert fires", s.now + RECHECK_S) if s.episode.firing else Pass("quiet")
    return Pass("firing") if s.episode.firing else Ignore("the alert has resolved")


def mode(s: Situation) -> Answer:
    """The policy is not switched off. Dry-run and approve are held back when all else passed."""
    if s.mode == "off":
        return Ignore(f"policy {s.policy_name} is off")
    return Pass(s.mode)


def not_paused(s: Situation) -> Answer:
    """The kill switch is not on."""
    if s.paused:
        return Wait(f"paused: {s.paused_reason or 'no reason given'}", s.now + RECHECK_S)
    return Pass()


def no_maintenance(s: Situation) -> Answer:
    """No maintenance window holds for the service."""
    if s.maintenance is not None:
        until = min(s.maintenance.until, s.now + MAINTENANCE_RECHECK_S)
        return Wait(f"maintenance window {s.maintenance.name}", until)
    return Pass()


def not_muted(s: Situation) -> Answer:
    """The alert is neither silenced nor inhibited: what binds people binds the loop."""
    if not s.status.known:
        return _patience(s, f"Alertmanager does not say whether it is silenced: {s.status.reason}")
    if s.status.silenced_by:
        return Wait(f"silenced by {', '.join(s.status.silenced_by)}", s.now + MUTED_RECHECK_S)
    if s.status.inhibited_by:
        return Wait(f"inhibited by {', '.join(s.status.inhibited_by)}", s.now + MUTED_RECHECK_S)
    return Pass()


def inventory_known(s: Situation) -> Answer:
    """The service's instances are known, where the step acts on them. An empty list is unknown,
    never `all`."""
    if not ladder.needs_inventory(s):
        return Pass("the step takes no instance out of service")
    if s.inventory is None:
        return _patience(s, f"the instances are not known: {s.inventory_reason}")
    if not s.inventory.instances:
        return Refuse(f"{s.inventory.service} has no instance that can be acted on")
    up = sum(i.running for i in s.inventory.instances)
    should = sum(i.wanted for i in s.inventory.instances)
    return Pass(f"{up} run, {should} should")


def confirmed(s: Situation) -> Answer:
    """Prometheus, asked now, says on fresh data that the fault is there (or, to scale in, not)."""
    answer, reason = s.confirmation.answer, s.confirmation.reason
    if s.intent == "scale_in":
        if answer == "no":
            return Pass(reason)
        return Wait(f"not surely quiet: {reason}", s.now + RECHECK_S)
    if answer == "unknown":
        return _patience(s, f"the fault cannot be confirmed: {reason}")
    if answer == "no":
        healed = s.episode.state is EpisodeState.HEALED
        return Wait(f"not there now: {reason}", s.now + (HEALED_RECHECK_S if healed else RECHECK_S))
    return Pass(reason)


def evidence_newer(s: Situation) -> Answer:
    """The evidence is younger than the process: what has just started is given its time."""
    fresh_at = s.confirmation.fresh_at
    if s.inventory is None or fresh_at is None or s.episode.instance is None:
        return Pass()
    for i in s.inventory.instances:
        # Its start is known in whole seconds, rounded down.
        if i.address == s.episode.instance and i.running and i.started_at + 1 > fresh_at:
            return Wait(f"{i.target} started after the newest sample", s.now + RECHECK_S)
    return Pass()


def outcome_known(s: Situation) -> Answer:
    """No earlier run may have taken effect unseen, unless its step may be done twice."""
    acted = [r for r in s.own_runs if r.state is not RunState.CANCELLED]
    if s.policy is None or not acted or not acted[-1].unknown:
        return Pass()
    last, rung = acted[-1], ladder.next_rung(acted[:-1], s.policy)
    step = s.policy.steps[min(rung, len(s.policy.steps) - 1)]
    if last.state is RunState.FAILED and not step.repeatable:
        return Refuse(
            f"whether run {last.run_id} took effect is not known, and its step is not idempotent"
        )
    return Pass(f"run {last.run_id} was cut short; its step may be done again")


def steps_left(s: Situation) -> Answer:
    """A step of the policy is left for this episode."""
    if s.policy is None or s.intent == "scale_in":
        return Pass()
    rung, steps = ladder.next_rung(s.own_runs, s.policy), len(s.policy.steps)
    if rung >= steps:
        return Refuse("all steps tried" if steps > 1 else "the only step was tried")
    return Pass(f"step {rung + 1} of {steps}")


def plannable(s: Situation) -> Answer:
    """The step makes a plan here: the instance is known, the limit is not reached."""
    plan = ladder.plan_for(s)
    if isinstance(plan, Plan):
        return Pass(ladder.describe(plan))
    if plan.passing or s.intent == "scale_in":
        return Wait(plan.reason, s.now + RECHECK_S)
    return Refuse(plan.reason)


def dependencies_up(s: Situation) -> Answer:
    """Nothing that the service depends on is down: its repair comes first."""
    down = sorted({f"{t.service} ({t.alert})" for t in s.troubles if t.firing and t.serious})
    if down:
        return Wait(f"waits for what it depends on: {', '.join(down)}", s.now + RECHECK_S)
    return _let_dependencies_speak(s)


def _let_dependencies_speak(s: Situation) -> Answer:
    """A whole service fails sooner than the scrape that shows its dependency to be down."""
    if s.service is None or s.facts is None or s.intent != "remedy" or s.facts.scope != "service":
        return Pass()
    until = s.episode.starts_at + s.service.dependencies_speak_s
    if s.episode.starts_at <= s.now < until:
        named = ", ".join(s.service.depends_on)
        return Wait(f"gives {named} a scrape's time to show whether it is down", until)
    return Pass()


def settled(s: Situation) -> Answer:
    """The alert's look-back holds no time from before a repair that could have cured it."""
    plan = ladder.plan_for(s)
    if s.facts is None or s.service is None or not isinstance(plan, Plan):
        return Pass()
    window = s.facts.window_s
    ends = [
        (f"run {r.run_id} repaired it", r.acted_at or r.finished_at or r.created_at)
        for r in s.history
        if r.state is RunState.VERIFIED
        and (r.service in s.service.depends_on or set(r.resources) & set(plan.resources))
    ]
    ends += [
        (f"{t.service} came back", t.ended_at)
        for t in s.troubles
        if t.serious and not t.firing and t.ended_at is not None
    ]
    recent = [(why, at) for why, at in ends if abs(s.now - at) < window]
    if not recent:
        return Pass()
    why, at = max(recent, key=lambda pair: pair[1])
    return Wait(
        f"the alert looks back {window:g} s, and {why} within that time", min(at, s.now) + window
    )


def target_free(s: Situation) -> Answer:
    """No open run holds what the plan acts on."""
    plan = ladder.plan_for(s)
    if not isinstance(plan, Plan):
        return Pass()
    for run in past.open_runs(s.history):
        shared = sorted(set(run.resources) & set(plan.resources))
        if shared:
            return Wait(f"{shared[0]} is held by run {run.run_id}", s.now + BUSY_RECHECK_S)
    return Pass()


def cooled_down(s: Situation) -> Answer:
    """The last run on the same target ended long enough ago. A run in the future is recent."""
    plan = ladder.plan_for(s)
    if s.policy is None or not isinstance(plan, Plan):
        return Pass()
    cooldown = s.policy.limits.cooldown.seconds
    if cooldown == 0:
        return Pass("none")
    ends = [
        r.finished_at or r.created_at
        for r in s.history
        if r.state is not RunState.CANCELLED and set(r.resources) & set(plan.resources)
    ]
    last = max(ends, default=-math.inf)
    if s.now - last < cooldown:
        until = min(last, s.now) + cooldown
        return Wait(f"cool-down of {s.policy.limits.cooldown} after the last run", until)
    return Pass()


def within_budget(s: Situation) -> Answer:
    """The policy has runs left for this service in its sliding window."""
    if s.policy is None or s.service is None:
        return Pass()
    limits = s.policy.limits
    used = past.runs_in_window(
        s.history, s.policy_name or "", s.service.name, s.now - limits.window.seconds
    )
    if used >= limits.max_runs:
        reason = f"budget used up: {used} of {limits.max_runs} runs on {s.service.name}"
        return _refuse_to_widen(s, f"{reason} within {limits.window}")
    return Pass(f"{used} of {limits.max_runs} runs used within {limits.window}")


def breaker_closed(s: Situation) -> Answer:
    """The last runs on the target, and of the policy anywhere, did not all fail."""
    plan = ladder.plan_for(s)
    if s.policy is None or not isinstance(plan, Plan):
        return Pass()
    limit = breaker.limit_of(s.policy)
    on_target = breaker.failures_on(s.history, plan.resources, s.now)
    if on_target >= limit:
        return _refuse_to_widen(
            s, f"breaker open: the last {on_target} runs on {plan.resources[0]} failed"
        )
    of_policy = breaker.failures_of(s.history, s.policy_name, s.now)
    if of_policy >= 2 * limit:
        return _refuse_to_widen(
            s, f"breaker open: the last {of_policy} runs of {s.policy_name} failed"
        )
    return Pass()


def within_radius(s: Situation) -> Answer:
    """Open runs and this one together touch no more than the allowed share of instances."""
    plan = ladder.plan_for(s)
    if s.policy is None or not isinstance(plan, Plan):
        return Pass()
    if not ladder.needs_inventory(s):
        return Pass("takes no instance out of service")
    if s.inventory is None:
        return _refuse_to_widen(s, f"the instances of {plan.service} are not known")
    total = sum(i.wanted for i in s.inventory.instances)
    if total == 0:
        return _refuse_to_widen(s, f"how many instances {plan.service} should have is not known")
    touched = ladder.batch(plan, s.inventory)
    allowed = max(1, math.floor(float(s.policy.limits.max_share) * total + 1e-9))
    share = f"{allowed} of {total} instances at once (max_share {s.policy.limits.max_share})"
    if len(touched) > allowed:
        return _refuse_to_widen(s, f"{len(touched)} instances are more than {share}")
    held = {
        resource
        for run in past.open_runs(s.history)
        if run.service == plan.service
        for resource in run.resources
        if resource != plan.service
    }
    if touched and len(held | touched) > allowed:
        return Wait(f"{', '.join(sorted(held))} is being acted on; {share}", s.now + BUSY_RECHECK_S)
    return Pass(f"{len(touched)} of {share}")


GUARDS: Final[tuple[tuple[str, Guard], ...]] = (
    # What the engine knows without asking anybody:
    ("known", known),
    ("firing", firing),
    ("mode", mode),
    ("paused", not_paused),
    ("maintenance", no_maintenance),
    # What people, the machines and the data say:
    ("muted", not_muted),
    ("inventory", inventory_known),
    ("confirmed", confirmed),
    ("newer", evidence_newer),
    # What was done before, and what comes next:
    ("outcome", outcome_known),
    ("steps", steps_left),
    ("plan", plannable),
    # Whether this is the moment for it:
    ("dependencies", dependencies_up),
    ("settled", settled),
    ("target", target_free),
    ("cooldown", cooled_down),
    # How much of it is allowed:
    ("budget", within_budget),
    ("breaker", breaker_closed),
    ("radius", within_radius),
)
FIRST_GUARD_OF_THE_WORLD: Final = "muted"  # those before it need no answer from outside


def _refuse_to_widen(s: Situation, reason: str) -> Answer:
    """A limit is reached. Nobody is paged for a scale in that does not happen."""
    return Refuse(reason, pages=s.intent == "remedy")


def _patience(s: Situation, reason: str) -> Answer:
    """Ask again for a while, then refuse: what cannot be read is never taken as good."""
    waited = 0.0 if s.unknown_since is None else abs(s.now - s.unknown_since)
    patient = s.intent == "scale_in" or s.episode.state is EpisodeState.HEALED
    if waited < PATIENCE_S or patient:
        return Wait(reason, s.now + RECHECK_S)
    return Refuse(f"{reason}; asked for {PATIENCE_S:g} s")
