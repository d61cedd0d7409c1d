"""Values for tests of the store."""

from __future__ import annotations

from opsloop.remediation.episode import Alert, Episode, EpisodeState
from opsloop.remediation.plan import Action, Plan, Run, RunState
from opsloop.remediation.ports import StepResult, Written
from opsloop.store.sqlite import SqliteStore

START = 1_700_000_000.125


def alert(
    fingerprint: str = "a1",
    *,
    starts_at: float = START,
    firing: bool = True,
    severity: str = "P0",
    service: str = "api",
    **labels: str,
) -> Alert:
    return Alert(
        fingerprint=fingerprint,
        starts_at=starts_at,
        firing=firing,
        labels={
            "alertname": "ServiceDown",
            "service": service,
            "policy": "restart-down",
            "severity": severity,
            **labels,
        },
        annotations={"summary": "it is down"},
    )


def plan(*targets: str, policy: str = "restart-down", resources: tuple[str, ...] = ()) -> Plan:
    targets = targets or ("api:api-0",)
    return Plan(
        policy=policy,
        service="api",
        rung=0,
        actions=tuple(Action("restart", "api", t, "127.0.0.1:8000", "/healthz") for t in targets),
        resources=resources or targets,
    )


def act(episode: Episode, what: Plan | None = None, attempt: int = 0) -> Written:
    return Written(
        episode=episode,
        kind="act",
        reason="it is down",
        guards=(("mode", "pass", "auto"), ("paused", "pass", "")),
        state=EpisodeState.RUNNING,
        due_at=None,
        plan=what or plan(),
        attempt=attempt,
        situation='{"now": 1.5}',
    )


def wish(episode: Episode, what: Plan | None = None, expires_at: float = 200.0) -> Written:
    """A decision to ask people for a plan."""
    return Written(
        episode=episode,
        kind="ask",
        reason="a person has to approve",
        guards=(("mode", "pass", "approve"),),
        state=EpisodeState.ASKED,
        due_at=110.0,
        plan=what or plan(),
        expires_at=expires_at,
    )


def taken(store: SqliteStore, fingerprint: str = "a1", now: float = 100.0) -> Episode:
    """An episode in the store."""
    (episode_id,) = store.intake([alert(fingerprint)], now)
    return store.episode(episode_id)


def started(
    store: SqliteStore, fingerprint: str = "a1", what: Plan | None = None, now: float = 101.0
) -> Run:
    """An open run of a new episode."""
    run = store.record(act(taken(store, fingerprint, now - 1), what), now)
    assert run is not None
    return run


def filled(store: SqliteStore) -> Run:
    """Something in every table: a run that healed and one that is open, a question, a pause."""
    healed = taken(store, "healed")
    store.record(act(healed, plan("api:api-1")), 101.0)
    (run,) = store.open_runs()
    store.begin_action(run, 0, 102.0)
    store.end_action(run, 0, StepResult(ok=True, started=True, output="restarted"), 103.0)
    store.move_run(run, RunState.VERIFYING, "acted", 104.0)
    store.move_run(run, RunState.VERIFIED, "healed", 120.0, good_since=105.0)
    store.record(act(taken(store, "open", 130.0)), 131.0)
    store.record(wish(taken(store, "asked", 140.0), plan("api:api-2"), expires_at=9e9), 141.0)
    told = taken(store, "told", 142.0)
    store.escalate(told, None, "a guard refused", {"service": "api"}, {"summary": "down"}, 143.0)
    store.set_wanted("api", 3, 145.0)
    store.pause("a person", 150.0)
    return run
