"""The first three steps that people take for each alert, with the commands where there are some."""

from __future__ import annotations

from typing import Final, TypeAlias

from opsloop import names
from opsloop.compile.wording import Label, Part, Wording

Step: TypeAlias = tuple[Part, ...]
_SERVICE, _INSTANCE = Label(names.SERVICE), Label(names.INSTANCE)
_MOUNT, _BACKUP = Label("mountpoint"), Label(names.BACKUP)
_BREAKER = Label(names.BREAKER)
# Stands for the log of the service that an alert is about; `wording` puts it in its place.
_LOGS: Final = "its log."

_SERVICES: Final[dict[str, tuple[Step, Step, Step]]] = {
    names.SERVICE_DOWN: (
        ("Is the loop at work, or did a guard refuse? `opsloop episodes`.",),
        ("Its last words: ", _LOGS),
        ("What it depends on comes first: `opsloop alerts`.",),
    ),
    names.HIGH_ERROR_RATE: (
        ("Is something down that it depends on? `opsloop alerts`.",),
        ("Did a deploy of ", _SERVICE, " just end? Roll it back."),
        ("One instance or all? ", _LOGS),
    ),
    names.HIGH_LATENCY: (
        ("More traffic, or slower work? Compare rate and saturation with last week.",),
        ("Is something slow that it depends on? `opsloop alerts`.",),
        ("Is there room to scale out? `opsloop runs`.",),
    ),
    names.CONNECTIONS_HIGH: (
        (
            (
                "Who holds them: `SELECT usename, application_name, state, count(*) FROM"
                " pg_stat_activity GROUP BY 1, 2, 3 ORDER BY 4 DESC`."
            ),
        ),
        (
            (
                "Idle in a transaction, or idle for hours? End them with pg_terminate_backend(pid),"
                " and restart the client that leaks."
            ),
        ),
        ("None leaks? Put a pool before the database, or raise max_connections (a restart).",),
    ),
}
_OBJECTIVES: Final[dict[str, tuple[Step, Step, Step]]] = {
    names.SLO_BURN_CRITICAL: (
        ("Which objective, since when: `opsloop slo ", _SERVICE, "`."),
        ("Does HighErrorRate or ServiceDown fire too? `opsloop alerts`. Start there.",),
        ("None does: compare error codes before and after the start; roll back the last deploy.",),
    ),
    names.SLO_BURN_HIGH: (
        ("When will it be spent, and on what: `opsloop slo ", _SERVICE, "`."),
        ("Look for a steady cause: one route, one instance, one client, a time of day.",),
        ("Plan the repair before the budget is spent; hold risky changes until then.",),
    ),
    names.SLO_DATA_MISSING: (
        ("Is ", _SERVICE, " scraped? `opsloop status`, and the targets page of Prometheus."),
        ("Do its selectors match any series? `opsloop check --live`.",),
        ("After a release: were metrics or labels renamed?",),
    ),
    names.SLO_ERRORS_EXCEED: (
        ("Which series are in one selector only: `opsloop check --live`.",),
        ("Correct `sli` of the objective in the catalog.",),
        ("Apply it: `opsloop reload`.",),
    ),
    names.SLO_BUDGET_EXHAUSTED: (
        ("What spent it: `opsloop slo ", _SERVICE, "`. Is that repaired for good?"),
        ("Stop risky changes; spend the time on the largest of these causes.",),
        ("Was the promise wrong? Change the objective, with those who rely on it.",),
    ),
}
_HOSTS: Final[dict[str, tuple[Step, Step, Step]]] = {
    names.DISK_FULL: (
        ("What is large: `du -xh --max-depth=2 ", _MOUNT, " | sort -h | tail`."),
        ("Remove old logs, core files and package caches; never a database's files.",),
        ("Still full? Make the file system larger, or move data.",),
    ),
    names.DISK_WILL_FILL: (
        ("What grows: `du -xh --max-depth=2 ", _MOUNT, " | sort -h | tail`, twice."),
        ("Stop it at its source: rotation, retention, a job that repeats.",),
        ("Meant to grow? Make the file system larger before it is full.",),
    ),
    names.MEMORY_HIGH: (
        ("Who has it: `ps -eo pid,rss,comm --sort=-rss | head`.",),
        ("A leak after a deploy? Restart that service, then roll back.",),
        ("None leaks? Move load, or add memory.",),
    ),
    names.CLOCK_SKEW: (
        ("On ", _INSTANCE, ": `timedatectl` or `chronyc tracking`."),
        ("Start the time service, or let it reach its servers (UDP 123).",),
        ("Off by minutes? Step the clock once (`chronyc makestep`), then look at its jobs.",),
    ),
}
_DECLARED: Final[dict[str, tuple[Step, Step, Step]]] = {
    names.BACKUP_FAILED: (
        ("Read what the job of `opsloop backup-run ", _BACKUP, "` printed: cron's mail, journal."),
        ("Mend the cause: room at its target, credentials, the network.",),
        ("Run it again by hand: `opsloop backup-run ", _BACKUP, " -- COMMAND`."),
    ),
    names.BACKUP_STALE: (
        ("Does its timer still run? `crontab -l`, `systemctl list-timers`.",),
        ("Does it run and hang? `pgrep -af 'backup-run ", _BACKUP, "'`."),
        ("Run it by hand: `opsloop backup-run ", _BACKUP, " -- COMMAND`."),
    ),
    names.BACKUP_MISSING: (
        ("Run it once: `opsloop backup-run ", _BACKUP, " -- COMMAND`, and put it on a timer."),
        ("Does it run with the --state of this stack, or a --textfile-dir that is read?",),
        ("Is node-exporter up, and has its folder backup_", _BACKUP, ".prom? `opsloop status`."),
    ),
    names.PROBE_FAILING: (
        ("Look yourself, from here and from elsewhere: `curl -v`, `nc -vz` or `ping` its target.",),
        ("Does what serves it run, and what lies before it: name, network, proxy, certificate?",),
        ("What the prober saw: the page of blackbox-exporter, with its logs of this probe.",),
    ),
    names.CERTIFICATE_EXPIRING: (
        ("Who renews it, and what did that say last? Run the renewal by hand.",),
        ("Reload what serves it: it may hold the old one in memory.",),
        ("Look again: `openssl x509 -noout -enddate`, or `openssl s_client -connect`.",),
    ),
    names.CERTIFICATE_UNREADABLE: (
        ("A file: is it there, readable for the engine, PEM? `openssl x509 -noout -enddate -in`.",),
        (
            "An endpoint: does it answer, and is its certificate valid? `openssl s_client -connect`.",
        ),
        ("Why the engine cannot read a file: `opsloop logs engine`.",),
    ),
}
_STACK: Final[dict[str, tuple[Step, Step, Step]]] = {
    names.HOST_DOWN: (
        ("Machine or network? `ping` the host of ", _INSTANCE, " from here and from another one."),
        ("Its console, or its provider's page: does it run, did it restart, is its disk full?",),
        ("Start it, or move what runs on it: `opsloop alerts` names what is muted by it.",),
    ),
    names.EXPORTER_DOWN: (
        (
            "Is it the exporter or the machine? `opsloop status`, `ping` the host of ",
            _INSTANCE,
            ".",
        ),
        ("Its last words: `opsloop logs`, or the journal there.",),
        ("Start it again there; by itself the stack restarts only its own exporters.",),
    ),
    names.MONITORING_DOWN: (
        ("Which part: `opsloop status`.",),
        ("Its last words: `opsloop logs ", _SERVICE, "`."),
        ("Bring it back: `opsloop up` starts what does not run.",),
    ),
    names.ENGINE_DOWN: (
        ("Why it ended: `opsloop logs engine`.",),
        ("Bring it back: `opsloop up`; what it had accepted is kept.",),
        ("Meanwhile act by hand on what fires: `opsloop alerts`.",),
    ),
    names.ENGINE_STUCK: (
        ("What it says of itself: `opsloop status`, `opsloop logs engine`.",),
        ("Does Alertmanager reach it? `opsloop logs alertmanager`, looking for webhook errors.",),
        ("Restart it: kill its process, the stack starts it again; nothing accepted is lost.",),
    ),
    names.POLICY_STOPPED: (
        ("What it tried, and why that failed: `opsloop runs`, then `opsloop runs show ID`.",),
        ("Mend the cause by hand: `opsloop alerts` says what still fires.",),
        ("Correct policy ", _BREAKER, "; it acts again when its failures are an hour old."),
    ),
    names.SCRAPE_SLOW: (
        ("How slow: graph scrape_duration_seconds of ", _INSTANCE, "."),
        ("Too many series, or a busy machine? Compare scrape_samples_scraped with last week.",),
        ("Raise scrape.timeout and scrape.interval in the catalog, then `opsloop reload`.",),
    ),
    names.SAMPLES_DROPPED: (
        ("Which target: `opsloop logs prometheus`, looking for `Error on ingesting`.",),
        ("One address in two services, or a target that sends its own timestamps? Mend that.",),
        ("Is the clock of that machine right? `timedatectl`.",),
    ),
    names.RULES_FAILING: (
        ("Which rule and why: `opsloop logs prometheus`, looking for `Evaluating rule failed`.",),
        ("Mostly two series meet where one is expected: narrow the query of that rule.",),
        ("Check before it is applied: `opsloop build`, then `opsloop reload`.",),
    ),
    names.RULES_MISSED: (
        ("Is the machine busy? `top`; Prometheus needs a share of a core.",),
        ("Which group takes long: graph prometheus_rule_group_last_duration_seconds.",),
        ("Make stack.evaluation_interval or stack.loop_interval longer, or the machine larger.",),
    ),
    names.NOTIFICATIONS_FAILING: (
        ("Why: `opsloop logs alertmanager`, looking for `Notify for alerts failed`.",),
        ("A wrong or expired address or key? Set it in the environment, then `opsloop up`.",),
        ("Until then look yourself: `opsloop alerts` shows all that fires.",),
    ),
    names.TSDB_TROUBLE: (
        ("Is its disk full? `df -h`; that is the commonest cause.",),
        ("What it says: `opsloop logs prometheus`, looking for `tsdb`.",),
        ("A damaged block? Move its folder out of data/prometheus with the stack stopped.",),
    ),
    names.CONFIG_REJECTED: (
        ("What it refuses: `opsloop logs ", _SERVICE, "`."),
        ("Does the catalog build? `opsloop build`.",),
        ("Apply it again: `opsloop reload`.",),
    ),
    names.INCIDENT_AFTERMATH: (
        ("Nothing to do: it is why a burn rate of an incident that ended is not told again.",),
        ("What it keeps from you: `opsloop alerts`, the lines `inhibited by`.",),
        ("What the incident cost: `opsloop slo ", _SERVICE, "`."),
    ),
    names.WATCHDOG: (
        ("It should fire always: nothing to do.",),
        ("Is it missing where it is awaited? `opsloop status`.",),
        ("Then the logs of prometheus, alertmanager and engine, in that order.",),
    ),
}
STEPS: Final = {**_SERVICES, **_OBJECTIVES, **_HOSTS, **_DECLARED, **_STACK}


def wording(alert: str, logs: Part = _LOGS) -> Wording:
    """The annotation `first_steps`: three numbered lines. logs: where the log of its service is."""
    parts: list[Part] = []
    for number, step in enumerate(STEPS[alert], 1):
        parts += ["\n" if number > 1 else "", f"{number}. "]
        parts += [logs if part is _LOGS else part for part in step]
    return Wording.of(*parts)


def log_of(process: str | None) -> str:
    """Where the log of a service is; process: of the catalog, that serves it."""
    return (
        f"`opsloop logs {process}`." if process else "the journal of the machine that it runs on."
    )


def for_own(process: str | None) -> Wording:
    """Of a user's alert, whose meaning only they know. process: that serves its service."""
    about = f" {process}" if process else ""
    return Wording.of(
        "1. What fires beside it: `opsloop alerts`.\n",
        f"2. What the loop does about it: `opsloop episodes`; the logs: `opsloop logs{about}`.\n",
        "3. The runbook of this alert, and who owns it.",
    )
