"""What people read on a page: summary, description, impact, links, and what the loop does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import quote

from opsloop import names
from opsloop.catalog.model import Catalog
from opsloop.catalog.policy import Policy, Step
from opsloop.catalog.units import Duration, Share
from opsloop.compile import firststeps, places
from opsloop.compile.conditions import Clause
from opsloop.compile.options import Options
from opsloop.compile.wording import ByLabel, Label, Raw, Value, Wording

_SERVICE = Label(names.SERVICE)
_INSTANCE = Label(names.INSTANCE)
_RATIO = Value("humanizePercentage")
_SECONDS = Value("humanizeDuration")
NOBODY = "No policy acts on this alert."


def service(
    catalog: Catalog,
    options: Options,
    alert: str,
    policy: str | None,
    services: list[str],
    clauses: Iterable[Clause],
) -> dict[str, Wording]:
    """The annotations of a shipped alert about services."""
    subjects = [(s, c) for c in clauses for s in c.subjects]
    limit = ByLabel.of(names.SERVICE, {s: _limit(alert, c) for s, c in subjects})
    window = ByLabel.of(names.SERVICE, {s: str(c.window) for s, c in subjects})
    users = _dependents(catalog)
    dependents = ByLabel.of(names.SERVICE, {s: users.get(s, "") for s in services})
    if alert == names.CONNECTIONS_HIGH:
        summary = Wording.of(_SERVICE, " has used ", _RATIO, " of its connections")
        description = Wording.of(
            _RATIO, " of the connections that ", _INSTANCE, " of ", _SERVICE,
            " allows are in use (limit ", limit, ").",
        )  # fmt: skip
        impact = "When none is left, its clients are refused."
        series = "pg_stat_database_numbackends"
    elif alert == names.SERVICE_DOWN:
        summary = Wording.of(_INSTANCE, " of ", _SERVICE, " is down")
        description = Wording.of(
            "Prometheus gets no answer from ", _INSTANCE, " of ", _SERVICE, ", which should run."
        )
        impact = "What this instance served fails or falls to the others."
        series = names.INSTANCE_UP
    elif alert == names.HIGH_ERROR_RATE:
        summary = Wording.of(_RATIO, " of requests to ", _SERVICE, " fail")
        description = Wording.of(
            _RATIO, " of requests to ", _SERVICE, " failed in the last ", window,
            " (limit ", limit, ").",
        )  # fmt: skip
        impact = "Users get errors."
        series = names.ERROR_RATIO
    else:
        summary = Wording.of(_SERVICE, " is slow: p95 ", _SECONDS)
        description = Wording.of(
            "95% of requests to ", _SERVICE, " took up to ", _SECONDS, " in the last ", window,
            " (limit ", limit, ").",
        )  # fmt: skip
        impact = "Users wait."
        series = names.LATENCY_P95
    runbooks = {s: _runbook(catalog, s, alert) for s in services}
    return {
        "summary": summary,
        "description": description,
        "impact": Wording.of(impact, dependents),
        "first_steps": firststeps.wording(alert),
        "runbook": Wording.of(ByLabel.of(names.SERVICE, runbooks)),
        **links(catalog, options, series),
        "remediation": Wording.of(in_words(catalog, policy)),
    }


def page(
    catalog: Catalog,
    options: Options,
    alert: str,
    *,
    summary: Wording,
    description: Wording,
    impact: str,
    graph: str,
    console_page: Wording | None = None,
) -> dict[str, Wording]:
    """The annotations of an alert that no policy meets; graph: a query without templates."""
    shown = console_page or Wording.of(f"{console(catalog, options)}/alerts?alertname={alert}")
    return {
        "summary": summary,
        "description": description,
        "impact": Wording.of(impact),
        "first_steps": firststeps.wording(alert),
        "runbook": Wording.of(runbook(catalog, alert)),
        "dashboard": Wording.of(_graph(catalog, options) + quote(graph, safe="")),
        "console": shown,
        "remediation": Wording.of(NOBODY),
    }


def own(catalog: Catalog, options: Options, name: str, policy: str | None) -> dict[str, Wording]:
    """The annotations of a user's alert: their words, our links."""
    alert = catalog.alerts[name]
    page_of = alert.runbook
    if page_of is None and alert.service in catalog.services:
        page_of = catalog.services[alert.service or ""].runbook
    found: dict[str, Wording] = {"summary": Raw.of(alert.summary)}
    if alert.description:
        found["description"] = Raw.of(alert.description)
    found["first_steps"] = firststeps.for_own(alert.service)
    found["runbook"] = Raw.of(page_of or runbook(catalog, name))
    found["console"] = Wording.of(f"{console(catalog, options)}/alerts?alertname={name}")
    found["remediation"] = Wording.of(in_words(catalog, policy))
    return found


def watchdog(catalog: Catalog, options: Options) -> dict[str, Wording]:
    return page(
        catalog,
        options,
        names.WATCHDOG,
        summary=Wording.of("The way from Prometheus to the engine works"),
        description=Wording.of(
            "This alert always fires; the engine counts the seconds since it last heard of it."
        ),
        impact="None: it is when this alert is missing that something is wrong.",
        graph="opsloop_watchdog_timestamp_seconds",
    )


def runbook(catalog: Catalog, alert: str) -> str:
    """The section of an alert: on the catalog's own page, else in RUNBOOK.md."""
    return f"{catalog.stack.runbook_url or 'RUNBOOK.md'}#{alert.lower()}"


def console(catalog: Catalog, options: Options) -> str:
    """The console's address without a slash at its end."""
    own = f"http://{places.address(catalog.stack.bind, options.ports.console)}"
    return (catalog.stack.console_url or own).rstrip("/")


def in_words(catalog: Catalog, name: str | None) -> str:
    """A policy in one sentence."""
    if name is None:
        return NOBODY
    policy = catalog.remediation.policies[name]
    mode = {
        "auto": "is set to act by itself (unless the loop is paused)",
        "approve": "waits for a person's approval (and while the loop is paused)",
        "dry-run": "only says what it would do",
        "off": "is off",
    }[catalog.remediation.mode_of(name)]
    steps = ", then ".join(_step(s) for s in policy.steps)
    return f"Policy {name} {mode}: {steps}; {_limits(policy)}."


def _step(step: Step) -> str:
    if step.restart is not None:
        what = "the instance" if step.restart.scope == "instance" else "the service's instances"
        return f"restart {what}"
    if step.scale_out is not None:
        return f"scale out by {step.scale_out.by}"
    by = step.scale_in.by if step.scale_in is not None else 0
    return f"scale in by {by}"


def _limits(policy: Policy) -> str:
    hold, limits = policy.verify.hold, policy.limits
    return f"healed when well for {hold}; at most {limits.max_runs} runs in {limits.window}"


def _limit(alert: str, clause: Clause) -> str:
    if alert == names.HIGH_LATENCY:
        return str(Duration.of(clause.threshold))
    return str(Share(clause.threshold))


def _runbook(catalog: Catalog, name: str, alert: str) -> str:
    return catalog.services[name].runbook or runbook(catalog, alert)


def _dependents(catalog: Catalog) -> dict[str, str]:
    """For each service that others depend on, a sentence that names them."""
    found: dict[str, list[str]] = {}
    for name, service in sorted(catalog.services.items()):
        for other in sorted(set(service.depends_on)):
            found.setdefault(other, []).append(name)
    return {
        name: f" {', '.join(users)} {'depends' if len(users) == 1 else 'depend'} on it."
        for name, users in found.items()
    }


def links(catalog: Catalog, options: Options, series: str) -> Mapping[str, Wording]:
    """A graph of the series that the alert is about, and the alert's page in the console."""
    before = quote(f'{series}{{service="', safe="")
    after = quote('"}', safe="")
    return {
        "dashboard": Wording.of(f"{_graph(catalog, options)}{before}", _SERVICE, after),
        "console": Wording.of(f"{console(catalog, options)}/services/", _SERVICE),
    }


def _graph(catalog: Catalog, options: Options) -> str:
    server = places.address(catalog.stack.bind, options.ports.prometheus)
    return f"http://{server}/graph?g0.tab=0&g0.range_input=1h&g0.expr="
