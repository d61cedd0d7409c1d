"""Objectives that the SLO tests share: each kind of source, and each kind of period."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from opsloop.catalog.slo import SLO, event_floor, pairs_of
from opsloop.catalog.units import Duration
from opsloop.compile.slo_rules import slo_groups
from opsloop.compile.slo_spec import Age, Counters, Rates, Ratio, Runs, SLOSpec, Source
from opsloop.compile.slo_tests import slo_test_files
from opsloop.compile.yamltext import dump

HTTP = Counters("http_requests_total", 'http_requests_total{code=~"5.."}')
SOURCES: dict[str, Source] = {
    "errors": HTTP,
    "good": Counters("jobs_total", good='jobs_total{result="ok"}'),
    "two-metrics": Counters('calls_total{via="edge"}', 'calls_failed_total{via="edge"}'),
    "latency": Counters(
        "http_request_duration_seconds_count",
        good='http_request_duration_seconds_bucket{le="0.3"}',
    ),
    "all-series": Counters("mails_sent_total", 'mails_sent_total{status!="ok"}', own=False),
    "runs": Runs('probe_success{probe="front"}'),
    "age": Age("backup_last_success_timestamp_seconds", 93_600.0),
    "rates": Rates('rate(x_total{code="500"}[{window}])', "rate(x_total[{window}])"),
    "ratio": Ratio("1 - avg_over_time(up[{window}])"),
}


def spec(
    slo: str = "availability",
    service: str = "api",
    *,
    source: Source = HTTP,
    sli: str = "http-availability",
    objective: str = "99.9%",
    period: str = "30d",
    timeout: str = "10s",
    alerting: str = "",
    runbook: str | None = None,
    **given: object,
) -> SLOSpec:
    declared = SLO.model_validate(
        {"objective": objective, "window": period, "sli": "availability", "alerting": given}
    )
    pairs = pairs_of(declared)
    least = declared.alerting.min_events
    return SLOSpec(
        slo=slo,
        service=service,
        sli=sli,
        source=source,
        objective=declared.objective,
        period=declared.window,
        pairs=pairs,
        floors=tuple(least or event_floor(p, declared.objective) for p in pairs),
        labels={"team": "shop", "tier": "1", "environment": "demo"},
        min_events=least or 10,
        alerting=alerting,
        runbook=runbook,
        scrape_timeout=Duration.parse(timeout),
    )


def of_each_source() -> list[SLOSpec]:
    return [spec(name, source=source, sli=name) for name, source in SOURCES.items()]


def written(specs: Sequence[SLOSpec], root: Path) -> Path:
    """The rules and tests as the bundle has them: root/rules, root/tests."""
    for folder in ("rules", "tests"):
        (root / folder).mkdir(parents=True)
    for group in slo_groups(specs):
        (root / f"rules/{group['name']}.yml").write_text(dump({"groups": [group]}))
    for name, text in slo_test_files(specs).items():
        (root / f"tests/{name}").write_text(text)
    return root
