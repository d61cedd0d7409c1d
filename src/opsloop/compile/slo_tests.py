"""promtool unit tests of objectives, as files: windows and alerts, budgets, and each SLI."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from opsloop import names
from opsloop.catalog.units import Duration
from opsloop.compile.slo_alerts import SLOAlert, alike, slo_alerts
from opsloop.compile.slo_budget import forecast_window
from opsloop.compile.slo_budget_cases import LOOK, TICK, BudgetCase, budget_cases
from opsloop.compile.slo_cases import Fired, Sample, WindowCase, window_cases
from opsloop.compile.slo_data_cases import data_cases
from opsloop.compile.slo_edge_cases import edge_cases
from opsloop.compile.slo_ledger_tests import ledger_test_files
from opsloop.compile.slo_names import (
    BUDGET,
    ERRORS_TILE,
    GROUP_BUDGET,
    GROUP_WINDOWS,
    KINDS,
    MONTH,
    PERIOD,
    SLI,
    TILE,
    TOTAL_TILE,
    Kind,
    burn_rate,
    closed_page,
    half_open,
    month_page,
    open_page,
)
from opsloop.compile.slo_promtool import UNDER_TEST, series, test_file, values, values_at
from opsloop.compile.slo_sli_cases import SLICase, sli_cases
from opsloop.compile.slo_spec import Indicator, SLOSpec, indicators

MOST_SLIS = 2  # of one shape that are tested when only a sample is


def slo_test_files(specs: Iterable[SLOSpec], *, sample: bool = False) -> dict[str, str]:
    """File name to text: one for each set of objectives with equal alerts, and for each SLI.

    sample: of the sets that differ in the objective alone the strictest, and of the SLIs with a
    source of one shape the first two: the rest are the same rules with other numbers.
    """
    ordered = sorted(specs, key=lambda s: (s.service, s.slo))
    alerts = slo_alerts(ordered)
    files = ledger_test_files(ordered)
    for members in _strictest(alike(ordered)) if sample else alike(ordered):
        subject = Subject(members[0], alerts)
        windows = [*window_cases(subject.spec), *data_cases(subject.spec, members)]
        for at, group in enumerate(_by_tick(windows)):
            tests = [_windows(subject, c) for c in group]
            name = f"slo-windows-{subject.stem}.{at}.yml"
            files[name] = test_file(tests, group[0].timeline.tick, GROUP_WINDOWS)
        window = forecast_window(subject.spec.period, ordered)
        budgets = budget_cases(subject.spec, window is not None)
        tests = [_budget(subject, c, window) for c in budgets]
        files[f"slo-budget-{subject.stem}.yml"] = test_file(tests, LOOK, GROUP_BUDGET)
        seldom, edges = edge_cases(subject.spec)
        if edges:
            tests = [_budget(subject, c, None) for c in edges]
            files[f"slo-edges-{subject.stem}.yml"] = test_file(tests, seldom, GROUP_WINDOWS)
    found = indicators(ordered)
    for indicator in _of_each_shape(found) if sample else found:
        if cases := sli_cases(indicator):
            tests = [_sli(indicator, c) for c in cases]
            name = re.sub(r"[^A-Za-z0-9.-]", "_", indicator.name)
            files[f"slo-sli-{name}.yml"] = test_file(tests, TILE, GROUP_WINDOWS)
    return files


def _strictest(sets: Iterable[list[SLOSpec]]) -> list[list[SLOSpec]]:
    chosen: dict[tuple[str, str], list[SLOSpec]] = {}
    for members in sorted(sets, key=lambda m: m[0].objective.budget):
        chosen.setdefault((str(members[0].period), members[0].alerting), members)
    return list(chosen.values())


def _of_each_shape(found: Iterable[Indicator]) -> list[Indicator]:
    shapes: dict[tuple[object, ...], list[Indicator]] = {}
    for indicator in found:
        source = indicator.source
        parts = tuple(getattr(source, part, None) is not None for part in ("errors", "good"))
        shapes.setdefault((type(source), source.own, parts), []).append(indicator)
    return [i for members in shapes.values() for i in members[:MOST_SLIS]]


@dataclass(frozen=True, slots=True)
class Subject:
    """One objective, and the alerts that there are."""

    spec: SLOSpec
    alerts: Sequence[SLOAlert]
    sli: str = UNDER_TEST

    @property
    def stem(self) -> str:
        """Of file names: the objectives that are alike."""
        parts = (str(self.spec.period), str(self.spec.objective), self.spec.alerting)
        return re.sub(r"[^A-Za-z0-9.-]", "_", "-".join(p for p in parts if p).replace("%", ""))

    @property
    def own(self) -> dict[str, str]:
        """The labels of its SLI's series."""
        return {names.SERVICE: self.spec.service, SLI: self.sli}

    @property
    def labels(self) -> dict[str, str]:
        return self.spec.series_labels | {SLI: self.sli}

    def alert(self, name: str) -> SLOAlert:
        return next(a for a in self.alerts if a.alert == name and self.spec in a.members)


def _by_tick(cases: Sequence[WindowCase]) -> list[list[WindowCase]]:
    ticks = sorted({int(c.timeline.tick) for c in cases})
    return [[c for c in cases if int(c.timeline.tick) == tick] for tick in ticks]


def _windows(subject: Subject, case: WindowCase) -> dict[str, Any]:
    """The input is tiles or open pages, so that what is above them is tested by itself."""
    line, spec = case.timeline, subject.spec
    budget = f"{spec.budget}x{len(line)}"
    told: list[tuple[str, Kind]]
    if line.in_pages:
        told = [(open_page(kind), kind) for kind in KINDS]
    else:
        told = [(TOTAL_TILE, "total"), (ERRORS_TILE, "errors")]
    return {
        "name": case.name,
        "interval": str(line.tick),
        "input_series": [
            {"series": series(BUDGET, subject.labels), "values": budget},
            *(
                {"series": series(name, subject.own), "values": values(line.values(kind))}
                for name, kind in told
            ),
        ],
        "promql_expr_test": [_sample(subject, s, line.time(s.at)) for s in case.samples],
        "alert_rule_test": [_fired(subject, f, line.time(f.at)) for f in case.fired],
    }


def _budget(subject: Subject, case: BudgetCase, window: Duration | None) -> dict[str, Any]:
    spec, ticks = subject.spec, case.end // int(TICK) + 1
    told = [(series(BUDGET, subject.labels), f"{spec.budget}x{ticks}")]
    for nth, kind in enumerate(KINDS):
        closed = {at: counts[nth] for at, counts in case.closed.items()}
        opened = {at: counts[nth] for at, counts in case.opened.items()}
        if case.months:
            for month in sorted(set(case.months.values())):
                labels = subject.own | {MONTH: str(month)}
                mine = {at: v for at, v in closed.items() if case.months[at] == month}
                told.append((series(month_page(kind), labels), _at_times(mine)))
        else:
            told.append((series(closed_page(kind), subject.own), _at_times(closed)))
        told.append((series(open_page(kind), subject.own), _at_times(opened)))
    if window is not None:
        told.append((series(burn_rate(window), subject.labels), _at_times(case.burn)))
    return {
        "name": case.name,
        "interval": str(TICK),
        "input_series": [{"series": name, "values": text} for name, text in told if text],
        "promql_expr_test": [_sample(subject, s, str(Duration(s.at))) for s in case.samples],
        "alert_rule_test": [_fired(subject, f, str(Duration(f.at))) for f in case.fired],
    }


def _sli(indicator: Indicator, case: SLICase) -> dict[str, Any]:
    own = {names.SERVICE: indicator.services[0], SLI: indicator.name}
    checks = []
    for at in range(len(case.tiles)):
        for name, found in ((TOTAL_TILE, case.tiles.total), (ERRORS_TILE, case.tiles.errors)):
            wanted = series(name, own)
            value = found[at]
            expected = [] if value is None else [{"labels": wanted, "value": value}]
            # A plain selector would find an older tile where there is none.
            fresh = f"last_over_time({wanted}[{half_open(TILE)}])"
            checks.append(
                {"expr": fresh, "eval_time": case.tiles.time(at), "exp_samples": expected}
            )
    return {
        "name": case.name,
        "interval": str(case.interval),
        "input_series": [
            {"series": series(s.metric, s.labels), "values": values(s.samples)}
            for s in case.series
            if any(v is not None for v in s.samples)
        ],
        "promql_expr_test": checks,
    }


def _at_times(found: Mapping[int, float]) -> str:
    """Values at these times (ms), and nothing between them."""
    return values_at({at // int(TICK): value for at, value in found.items()})


def _sample(subject: Subject, sample: Sample, time: str) -> dict[str, Any]:
    """The one series of this name, of this objective or of its SLI."""
    labels = {
        "sli": subject.own,
        "period": subject.own | {PERIOD: str(subject.spec.period)},
        "whole": subject.labels,
    }[sample.of]
    found = series(sample.name, labels)
    expected = [] if sample.value is None else [{"labels": found, "value": sample.value}]
    return {"expr": found, "eval_time": time, "exp_samples": expected}


def _fired(subject: Subject, fired: Fired, time: str) -> dict[str, Any]:
    check: dict[str, Any] = {"eval_time": time, "alertname": fired.alert}
    if fired.value is not None:
        rule = subject.alert(fired.alert)
        labels = rule.labels_for(subject.spec) | {SLI: subject.sli}
        said = {k: w.render(labels, fired.value) for k, w in rule.annotations.items()}
        check["exp_alerts"] = [{"exp_labels": labels, "exp_annotations": said}]
    return check
