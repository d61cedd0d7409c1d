"""The engine's own signals: every metric by name, with its kind, labels and meaning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from opsloop import names


@dataclass(frozen=True, slots=True)
class Signal:
    """One metric as Prometheus scrapes it. Durations are in seconds, times in unix seconds."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()


# What the core counts (by the name without `opsloop_` and `_total`) and how long things take.
CORE: Final = (
    Signal(
        "opsloop_decisions_total",
        "counter",
        "Decisions by kind (act, ask, wait, refuse, ignore) and by the guard that stopped it.",
        ("guard", "kind"),
    ),
    Signal("opsloop_runs_total", "counter", "Runs that ended.", ("outcome", "policy")),
    Signal("opsloop_escalations_total", "counter", "Episodes told to people.", ("policy",)),
    Signal("opsloop_errors_total", "counter", "Bugs that were caught; each is logged.", ("where",)),
    Signal("opsloop_store_errors_total", "counter", "Writes that the store refused.", ("where",)),
    Signal("opsloop_post_errors_total", "counter", "Posts that no Alertmanager took."),
    Signal("opsloop_reconcile_errors_total", "counter", "Lists of alerts that were not answered."),
    Signal(
        "opsloop_intake_to_action_seconds",
        "histogram",
        "From an alert's first receipt to the begin of its first action.",
    ),
    Signal("opsloop_run_seconds", "histogram", "From decision to end of a run.", ("outcome",)),
)

INTAKE: Final = (
    Signal(
        "opsloop_intake_requests_total",
        "counter",
        "Webhooks by what became of them; all but accepted were refused.",
        ("outcome",),
    ),
    Signal("opsloop_intake_alerts_total", "counter", "Alerts of accepted webhooks, durable."),
    Signal(
        "opsloop_intake_seconds",
        "histogram",
        "From a webhook's last byte to its answer, durable.",
    ),
    Signal(
        "opsloop_watchdog_timestamp_seconds",
        "gauge",
        "When the Watchdog alert was heard last; 0: never.",
    ),
)

# Read at each scrape; what cannot be read then is left out.
GAUGES: Final = (
    Signal("opsloop_build_info", "gauge", "Always 1.", ("version",)),
    Signal("opsloop_active", "gauge", "1 while this engine holds the lease."),
    Signal("opsloop_paused", "gauge", "1 while the kill switch is on."),
    Signal(
        names.BREAKER_OPEN,
        "gauge",
        "Targets on which a policy has stopped after failures; a whole policy counts as one.",
        (names.BREAKER,),
    ),
    Signal("opsloop_loop_silent_seconds", "gauge", "Since the engine's loop turned last."),
    Signal("opsloop_episodes", "gauge", "Episodes that are not closed.", ("state",)),
    Signal(names.RUNS_KEPT, "gauge", "Runs that the store has.", ("service", "policy", "state")),
    Signal(
        names.ANNOTATED,
        "gauge",
        "When people marked a deploy or the like.",
        ("kind", "service", "text"),
    ),
    Signal(
        names.LAST_RUN,
        "gauge",
        "When the last run ended so, or began.",
        ("service", "policy", "state"),
    ),
    Signal("opsloop_runs_open", "gauge", "Runs that have not ended."),
    Signal("opsloop_approvals_open", "gauge", "Plans that wait for a person."),
    Signal("opsloop_escalations_open", "gauge", "Episodes that people are told of."),
    Signal("opsloop_actions_under_way", "gauge", "Actions that began and have no result yet."),
    Signal("opsloop_intake_waiting", "gauge", "Webhooks between first byte and answer."),
    Signal("opsloop_store_queue", "gauge", "Writes that wait for the next transaction."),
    Signal("opsloop_store_commits", "gauge", "Transactions since the start; each is an fsync."),
    Signal(
        "opsloop_config_last_reload_successful",
        "gauge",
        "1 when engine.json was taken at the last SIGHUP.",
    ),
    Signal(
        "opsloop_config_last_reload_success_timestamp_seconds",
        "gauge",
        "When engine.json was taken last.",
    ),
    Signal(
        names.CERTIFICATE_NOT_AFTER,
        "gauge",
        "When a certificate in a file expires.",
        (names.CERTIFICATE,),
    ),
)

SIGNALS: Final = (*INTAKE, *CORE, *GAUGES)
