"""The alerts about the stack itself: who watches the watchers, and what people read of it."""

from __future__ import annotations

from opsloop import names
from opsloop.catalog.model import Catalog
from opsloop.compile import alertrule, texts
from opsloop.compile import conditions_stack as on
from opsloop.compile.alertrule import SEVERITY, AlertRule
from opsloop.compile.conditions import Clause
from opsloop.compile.options import Options
from opsloop.compile.prometheus import OWN_TEAM, labels_of
from opsloop.compile.wording import ByLabel, Label, Part, Value, Wording

_MINUTE = 60_000
BACK_SOON = _MINUTE  # ms; a part that restarts is back before
ENGINE_BACK = 30_000  # ms; supervisord has it back in 2 s, and a page is late by a grace at most
LASTING = 5 * _MINUTE  # with a window of as long: it happened more than once
_NAME, _INSTANCE = Label(names.SERVICE), Label(names.INSTANCE)
_COUNT, _RATIO, _SECONDS = Value("count"), Value("humanizePercentage"), Value("humanizeDuration")
_GROUP = Label("rule_group")
_BREAKER = Label(names.BREAKER)


def stack_rules(catalog: Catalog, options: Options) -> list[AlertRule]:
    """The rules about the stack, one for each alert."""
    return [
        *_parts(catalog, options),
        *_engine(catalog, options),
        *_prometheus(catalog, options),
        *_delivery(catalog, options),
    ]


def _rule(
    catalog: Catalog,
    options: Options,
    alert: str,
    clauses: list[Clause],
    *,
    least: int,
    summary: tuple[Part, ...],
    description: tuple[Part, ...],
    impact: str,
    labels: dict[str, str] | None = None,
) -> AlertRule:
    """labels: all of them, of a condition that has none itself. least: milliseconds."""
    said = texts.page(
        catalog,
        options,
        alert,
        summary=Wording.of(*summary),
        description=Wording.of(*description),
        impact=impact,
    )
    return AlertRule(
        shape=alert,
        alert=alert,
        severity=SEVERITY[alert],
        policy=None,  # the process manager restarts the stack's own parts
        scope="instance",
        clauses=tuple(clauses),
        for_=alertrule.wait(catalog, None, least),
        labels={**alertrule.labels(SEVERITY[alert], None), **(labels or {})},
        annotations={k: w.bound(labels or {}) for k, w in said.items()},
        about="declared" if labels else "part",
    )


def _parts(catalog: Catalog, options: Options) -> list[AlertRule]:
    return [
        _rule(
            catalog, options, names.EXPORTER_DOWN, on.exporters(catalog),
            least=BACK_SOON,
            summary=("The exporter of ", _NAME, " (", _INSTANCE, ") does not answer"),
            description=(
                "Prometheus cannot read the exporter of ", _NAME, " (", _INSTANCE,
                "); whether what it watches is well is not known.",
            ),
            impact="Alerts about what it watches cannot fire meanwhile.",
        ),
        _rule(
            catalog, options, names.MONITORING_DOWN, on.parts(catalog),
            least=BACK_SOON,
            summary=(_NAME, " (", _INSTANCE, ") does not answer"),
            description=("Prometheus cannot read ", _NAME, " (", _INSTANCE, "), a part of the stack."),
            impact="What it does is not done meanwhile; without Alertmanager nobody is told.",
        ),
        _rule(
            catalog, options, names.SCRAPE_SLOW, on.scrapes(catalog, options),
            least=2 * LASTING,
            summary=("Reading ", _NAME, " (", _INSTANCE, ") takes ", _SECONDS),
            description=(
                "A scrape of ", _NAME, " (", _INSTANCE, ") takes ", _SECONDS,
                f", more than {on.SLOW:.0%} of its time-out.",
            ),
            impact="A little slower, and it counts as down.",
        ),
    ]  # fmt: skip


def _engine(catalog: Catalog, options: Options) -> list[AlertRule]:
    return [
        _rule(
            catalog, options, names.ENGINE_DOWN, on.engine_down(),
            least=ENGINE_BACK,
            summary=("The engine is down: nothing heals by itself",),
            description=("Prometheus gets no answer from opsloop's engine.",),
            impact="No policy acts; people are told of each fault, later by the policy's grace.",
            labels=labels_of(catalog, on.ENGINE, OWN_TEAM),
        ),
        _rule(
            catalog, options, names.ENGINE_STUCK, on.engine_stuck(),
            least=_MINUTE,
            summary=("The engine answers, but does not work",),
            description=(
                (f"Its loop has not turned for {on.SILENT}, it has heard no Watchdog for"
                f" {on.UNHEARD}, or it may not act (another engine, or its store refuses)."),
            ),
            impact="Policies act late or not at all; people are told after the policy's grace.",
        ),
        _rule(
            catalog, options, names.POLICY_STOPPED, on.policy_stopped(),
            least=0,  # its failures were told one by one
            summary=("Policy ", _BREAKER, " has stopped: its runs failed in a row"),
            description=(
                "The breaker of policy ", _BREAKER, " is open: its runs failed in a row.",
                " Targets that it leaves alone: ", _COUNT, " (all at once count as one more).",
            ),
            impact="It does not act there for an hour after its failures; people are told instead.",
        ),
    ]  # fmt: skip


def _prometheus(catalog: Catalog, options: Options) -> list[AlertRule]:
    return [
        _rule(
            catalog, options, names.SAMPLES_DROPPED, on.dropped(),
            least=LASTING,
            summary=("Prometheus dropped ", _COUNT, " samples"),
            description=(
                "In the last ", str(on.WINDOW), ", Prometheus dropped ", _COUNT,
                " samples (or scrapes) that came twice, out of order, or in too great a number.",
            ),
            impact="Alerts and objectives rest on data with holes.",
        ),
        _rule(
            catalog, options, names.RULES_FAILING, on.rules_failing(),
            least=_MINUTE,
            summary=("Rules fail: ", _COUNT, " times in ", str(on.WINDOW)),
            description=(
                "Rules of the group ", _GROUP, " failed ", _COUNT, f" times in {on.WINDOW}.",
            ),
            impact="Alerts of that group may not fire, and its recordings have holes.",
        ),
        _rule(
            catalog, options, names.RULES_MISSED, on.rules_missed(),
            least=2 * LASTING,
            summary=("Rules fall behind: ", _RATIO, " of turns missed"),
            description=(
                "The group ", _GROUP, " missed ", _RATIO, (f" of its turns in {on.WINDOW}"
                f" (limit {on.MISSED:.0%}): the turn before took too long."),
            ),
            impact="Faults are seen later, and the loop acts later.",
        ),
        _rule(
            catalog, options, names.TSDB_TROUBLE, on.tsdb(),
            least=2 * LASTING,
            summary=("Prometheus's database has trouble: ", _COUNT, " failures"),
            description=(
                f"Within {on.TSDB_WINDOW}, ", _COUNT,
                " compactions, truncations, writes or reads of blocks failed, or damage was found.",
            ),
            impact="Samples may be lost, and the disk may fill up.",
        ),
    ]  # fmt: skip


def _delivery(catalog: Catalog, options: Options) -> list[AlertRule]:
    way = ByLabel.of(
        names.SERVICE,
        {on.PROMETHEUS: "alerts from Prometheus to Alertmanager", on.ALERTMANAGER: "notifications"},
    )
    limit = ByLabel.of(
        names.SERVICE,
        {on.PROMETHEUS: f"{on.UNSENT:.0%}", on.ALERTMANAGER: f"{on.UNDELIVERED:.0%}"},
    )
    integration = Label("integration")
    return [
        _rule(
            catalog, options, names.NOTIFICATIONS_FAILING, on.notifications(),
            least=_MINUTE,
            summary=(_RATIO, " of ", way, " fail (", _NAME, " ", integration, ")"),
            description=(
                f"In the last {on.WINDOW}, ", _RATIO, " of ", way, " failed (", _NAME, " ",
                integration, ", limit ", limit, ").",
            ),
            impact="People are not told, or not all of them.",
        ),
        _rule(
            catalog, options, names.CONFIG_REJECTED, on.config(),
            least=_MINUTE,
            summary=(_NAME, " refused its new configuration"),
            description=(
                _NAME, " (", _INSTANCE, (") could not read its configuration again and goes on"
                " with the one before."),
            ),
            impact="What was changed in the catalog is not in force.",
        ),
    ]  # fmt: skip
