"""What people read on a page: summary, description, impact, links, and what the loop does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from opsloop import names
from opsloop.catalog.model import Catalog
from opsloop.catalog.policy import Policy
from opsloop.catalog.steps import Step
from opsloop.catalog.units import Duration, Share
from opsloop.compile import firststeps, places
from opsloop.compile.conditions import Clause
from opsloop.compile.dashboard_parts import OBJECTIVES, OVERVIEW, REMEDIATION, SIGNALS
from opsloop.compile.options import Options
from opsloop.compile.wording import ByLabel, Label, Part, Raw, Value, Wording

_SERVICE = Label(names.SERVICE)
_INSTANCE = Label(names.INSTANCE)
_RATIO = Value("humanizePercentage")
_SECONDS = Value("humanizeDuration")
NOBODY = "No policy acts on this alert."
_OF_SERVICE = (SIGNALS, (names.SERVICE,))
_OF_OBJECTIVE = (OBJECTIVES, (names.SERVICE, "slo"))
_OF_MACHINE = (OVERVIEW, (names.INSTANCE,))
DASHBOARD_OF: Mapping[str, tuple[str, tuple[str, ...]]] = {
    names.SERVICE_DOWN: _OF_SERVICE,
    names.HIGH_ERROR_RATE: _OF_SERVICE,
    names.HIGH_LATENCY: _OF_SERVICE,
    names.CONNECTIONS_HIGH: _OF_SERVICE,
    names.SLO_BURN_CRITICAL: _OF_OBJECTIVE,
    names.SLO_BURN_HIGH: _OF_OBJECTIVE,
    names.SLO_BUDGET_EXHAUSTED: _OF_OBJECTIVE,
    names.SLO_DATA_MISSING: _OF_OBJECTIVE,
    names.SLO_ERRORS_EXCEED: _OF_OBJECTIVE,
    names.DISK_FULL: _OF_MACHINE,
    names.DISK_WILL_FILL: _OF_MACHINE,
    names.MEMORY_HIGH: _OF_MACHINE,
    names.CLOCK_SKEW: _OF_MACHINE,
    names.HOST_DOWN: _OF_MACHINE,
    names.ENGINE_DOWN: (REMEDIATION, ()),
    names.ENGINE_STUCK: (REMEDIATION, ()),
    names.POLICY_STOPPED: (REMEDIATION, ()),
    names.WATCHDOG: (REMEDIATION, ()),
}
"""Alert -> the dashboard that shows it, and the variables that its labels set there; of others
it is the overview."""


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
    elif alert == names.SERVICE_DOWN:
        summary = Wording.of(_INSTANCE, " of ", _SERVICE, " is down")
        description = Wording.of(
            "Prometheus gets no answer from ", _INSTANCE, " of ", _SERVICE, ", which should run."
        )
        impact = "What this instance served fails or falls to the others."
    elif alert == names.HIGH_ERROR_RATE:
        summary = Wording.of(_RATIO, " of requests to ", _SERVICE, " fail")
        description = Wording.of(
            _RATIO, " of requests to ", _SERVICE, " failed in the last ", window,
            " (limit ", limit, ").",
        )  # fmt: skip
        impact = "Users get errors."
    else:
        summary = Wording.of(_SERVICE, " is slow: p95 ", _SECONDS)
        description = Wording.of(
            "95% of requests to ", _SERVICE, " took up to ", _SECONDS, " in the last ", window,
            " (limit ", limit, ").",
        )  # fmt: skip
        impact = "Users wait."
    runbooks = {s: _runbook(catalog, s, alert) for s in services}
    logs = {s: firststeps.log_of(catalog.services[s].process) for s in services}
    return {
        "summary": summary,
        "description": description,
        "impact": Wording.of(impact, dependents),
        "first_steps": firststeps.wording(alert, ByLabel.of(names.SERVICE, logs)),
        "runbook": Wording.of(ByLabel.of(names.SERVICE, runbooks)),
        **links(catalog, options, alert),
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
    console_page: Wording | None = None,
) -> dict[str, Wording]:
    """The annotations of an alert that no policy meets."""
    shown = console_page or Wording.of(f"{console(catalog, options)}/alerts?alertname={alert}")
    return {
        "summary": summary,
        "description": description,
        "impact": Wording.of(impact),
        "first_steps": firststeps.wording(alert),
        "runbook": Wording.of(runbook(catalog, alert)),
        "dashboard": dashboard(catalog, options, alert),
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
    served = catalog.services.get(alert.service or "")
    found["first_steps"] = firststeps.for_own(served.process if served else None)
    found["runbook"] = Raw.of(page_of or runbook(catalog, name))
    about = names.SERVICE_DOWN if alert.service in catalog.services else name
    known = {names.SERVICE: alert.service or ""}
    found["dashboard"] = dashboard(catalog, options, about).bound(known)
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
    if step.scale_in is not None:
        return f"scale in by {step.scale_in.by}"
    if step.script is not None:
        return f"run {step.script.command[0]}"
    if step.playbook is not None:
        return f"run the playbook {step.playbook.path}"
    if step.webhook is not None:
        return f"call {urlsplit(step.webhook.url).netloc}"
    if step.clean is not None:
        return "delete old files in " + ", ".join(r.folder for r in step.clean.rules)
    if step.wait is not None:
        return f"wait {step.wait.for_} and see"
    return "renew the certificate" if step.renew is not None else "run the backup again"


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


def links(catalog: Catalog, options: Options, alert: str) -> Mapping[str, Wording]:
    """The dashboard of what the alert is about, and the page of its service in the console."""
    return {
        "dashboard": dashboard(catalog, options, alert),
        "console": Wording.of(f"{console(catalog, options)}/services/", _SERVICE),
    }


def dashboard(catalog: Catalog, options: Options, alert: str) -> Wording:
    """The address of the dashboard that shows what an alert is about."""
    return dashboard_at(dashboards(catalog, options), alert)


def dashboards(catalog: Catalog, options: Options) -> str:
    """Where dashboards are: in Grafana where the catalog names one, else in the console."""
    if catalog.stack.grafana_url:
        return f"{catalog.stack.grafana_url.rstrip('/')}/d"
    return f"{console(catalog, options)}/dashboards"


def dashboard_at(base: str, alert: str) -> Wording:
    """Below base; with what tells the subject of the alert from others there."""
    uid, passes = DASHBOARD_OF.get(alert, (OVERVIEW, ()))
    parts: list[Part] = [f"{base}/{uid}"]
    for mark, name in zip("?" + "&" * len(passes), passes, strict=False):
        parts += [f"{mark}var-{name}=", Label(name)]
    return Wording.of(*parts)
