"""Do burn alerts fire when raw windows would? Both sets of rules over a corpus of incidents."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks._output import Result, report, say
from benchmarks.slo import program, spec
from benchmarks.slo_traffic import DAY, rhythm
from opsloop.catalog.slo import BurnPair, Period, windows_for
from opsloop.compile.slo_alerts import factor_text
from opsloop.compile.slo_names import BUDGET, BURN_CRITICAL, BURN_HIGH, GROUP_WINDOWS
from opsloop.compile.slo_rules import slo_groups
from opsloop.compile.yamltext import dump

BASE = 0.0002  # share of errors when nothing is wrong
BUDGET_SHARE = 0.001
RAW = {"page": "RawPage", "ticket": "RawTicket"}
OURS = {"page": BURN_CRITICAL, "ticket": BURN_HIGH}
Share = Callable[[int], float]


def spans(*parts: tuple[int, int, float]) -> Share:
    """The usual share, and another in each (first minute, length, share)."""

    def share(at: int) -> float:
        return next((h for first, length, h in parts if first <= at < first + length), BASE)

    return share


def incidents(start: int) -> dict[str, Share]:
    """Fifteen incidents; `start` is the minute, a full day, after which they begin."""
    noon, night = start + 700, start + 30
    return {
        "outage of 10m at noon": spans((noon, 10, 1.0)),
        "outage of 10m at night": spans((night, 10, 1.0)),
        "outage of 2m": spans((noon, 2, 1.0)),
        "outage of 3h": spans((noon, 180, 1.0)),
        "20% for 30m": spans((noon, 30, 0.2)),
        "5% for 1h": spans((noon, 60, 0.05)),
        "2% for 4h": spans((noon, 240, 0.02)),
        "1% for 12h": spans((night, 720, 0.01)),
        "0.7% for 10h": spans((noon, 600, 0.007)),
        "0.4% for 30h": spans((night, 1800, 0.004)),
        "0.2% for 3d": spans((night, 4320, 0.002)),
        "flapping, 5m in 20m": spans(*((noon + 20 * n, 5, 0.3) for n in range(18))),
        "two bursts, 2h apart": spans((noon, 20, 0.1), (noon + 120, 20, 0.1)),
        "night burst": spans((night, 45, 0.5)),
        "rising over 6h": lambda at: (
            BASE + 0.03 * min(1.0, max(0, at - noon) / 360) if at < noon + 360 else BASE
        ),
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.slo_alerts", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="within 50 s: pages of five incidents")
    parser.add_argument("--json", action="store_true", help="last line of stdout: one object")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="opsloop-slo-alerts-") as folder:
        results = compared(Path(folder), quick=options.quick)
    report("slo_alerts", results, as_json=options.json)
    return 0


def compared(folder: Path, *, quick: bool) -> list[Result]:
    if quick:
        say("--quick: 6 hours after 6 of history, pages alone; tickets need days")
        # Their noon is six hours after the start; the nights lie before it.
        named = [(n, s) for n, s in incidents(-340).items() if "night" not in n][:5]
        return judged(folder, named, 12 * 60, ("page",))
    return judged(folder, list(incidents(3 * DAY).items()), 7 * DAY, ("page", "ticket"))


def judged(
    folder: Path, named: Sequence[tuple[str, Share]], minutes: int, kinds: Sequence[str]
) -> list[Result]:
    services = [f"s{n:02d}" for n in range(len(named))]
    pairs = [p for p in windows_for(Period.parse("30d")) if p.kind in kinds]
    groups = [
        next(
            g for g in slo_groups([spec(s, "30d") for s in services]) if g["name"] == GROUP_WINDOWS
        ),
        {"name": "raw", "interval": "1m", "rules": raw_rules(pairs)},
    ]
    if "ticket" not in kinds:
        groups[0]["rules"] = [r for r in groups[0]["rules"] if not _long_only(r)]
    (folder / "rules.yml").write_text(dump({"groups": groups}))
    series = [_budget(s, minutes) for s in services]
    for service, (_, share) in zip(services, named, strict=True):
        series += _counters(service, share, minutes)
    asked = [
        (service, kind, name, query)
        for service in services
        for kind in kinds
        for name, query in _questions(service, kind, minutes).items()
    ]
    test = {
        "interval": "1m",
        "input_series": series,
        "promql_expr_test": [
            # A value that no answer has: promtool prints what it got.
            {"expr": q, "eval_time": f"{minutes}m", "exp_samples": [{"labels": "{}", "value": -99}]}
            for _, _, _, q in asked
        ],
    }
    value = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": "1m",
        "group_eval_order": [GROUP_WINDOWS, "raw"],
        "tests": [test],
    }
    (folder / "test.yml").write_text(json.dumps(value))
    done = subprocess.run(
        [program("promtool"), "test", "rules", str(folder / "test.yml")],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    answers = _answers(done.stderr)
    if len(answers) != len(asked):
        raise RuntimeError(
            f"{len(answers)} answers to {len(asked)} questions: {done.stderr[:2000]}"
        )
    found: dict[tuple[str, str], dict[str, float]] = {}
    for (service, kind, name, _), answer in zip(asked, answers, strict=True):
        found.setdefault((service, kind), {})[name] = answer
    return list(_results(services, named, kinds, found))


def _results(
    services: Sequence[str],
    named: Sequence[tuple[str, Share]],
    kinds: Sequence[str],
    found: dict[tuple[str, str], dict[str, float]],
) -> list[Result]:
    results = []
    for kind in kinds:
        late, early, apart, fired, missed = 0.0, 0.0, 0.0, 0, []
        for service, (name, _) in zip(services, named, strict=True):
            one = found[service, kind]
            if (one["first"] < 0) != (one["raw first"] < 0):
                missed.append(name)
            if one["raw first"] < 0:
                continue
            fired += 1
            late = max(late, one["first"] - one["raw first"])
            early = max(early, one["raw first"] - one["first"])
            apart = max(apart, one["minutes"] + one["raw minutes"] - 2 * one["both"])
        note = f"{fired} of {len(named)} incidents fire it; told by one alone: {missed or 'none'}"
        results += [
            Result(f"{kind}: first fires later than raw windows", late, "s", 60, note=note,
                   limit="the delay that lets a scrape end"),
            Result(f"{kind}: first fires earlier than raw windows", early, "s", 60),
            Result(f"{kind}: minutes of an incident in which only one fires", apart, "minutes",
                   note="a shift of one minute makes two for each time that it fires"),
            Result(f"{kind}: incidents that only one tells", float(len(missed)), "", 0),
        ]  # fmt: skip
    return results


def raw_rules(pairs: Sequence[BurnPair]) -> list[dict[str, Any]]:
    """The same windows and factors from raw counters, for all services at once."""
    windows = sorted({w for p in pairs for w in p.windows})
    rules: list[dict[str, Any]] = []
    for window in windows:
        errors, total = (
            f"sum by (service) (rate(http_requests_total{m}[{window}]))"
            for m in ('{code=~"5.."}', "")
        )
        rules.append({"record": f"raw:error_ratio:{window}", "expr": f"{errors}\n/\n{total}"})
    for kind, alert in RAW.items():
        clauses = []
        for pair in pairs:
            if pair.kind == kind:
                limit = float(factor_text(pair.factor)) * BUDGET_SHARE
                both = (f"raw:error_ratio:{w} > {limit:.10g}" for w in pair.windows)
                clauses.append("(" + " and ".join(both) + ")")
        if clauses:
            rules.append({"alert": alert, "expr": "\nor\n".join(clauses)})
    return rules


def _long_only(rule: dict[str, Any]) -> bool:
    """Rules that only tickets need."""
    name = str(rule.get("record", rule.get("alert")))
    return name == BURN_HIGH or name.endswith(("2h", "1d", "3d"))


def _budget(service: str, minutes: int) -> dict[str, str]:
    labels = spec(service, "30d").series_labels
    inside = ",".join(f'{k}="{v}"' for k, v in sorted(labels.items()))
    return {"series": f"{BUDGET}{{{inside}}}", "values": f"{BUDGET_SHARE}x{minutes}"}


def _counters(service: str, share: Share, minutes: int) -> list[dict[str, str]]:
    good, failed = [0], [0]
    for at in range(minutes):
        events = round(10 * rhythm(at))
        errors = round(events * share(at))
        good.append(good[-1] + events - errors)
        failed.append(failed[-1] + errors)
    base = f'service="{service}",job="{service}",instance="a"'
    return [
        {"series": f'http_requests_total{{{base},code="{code}"}}', "values": " ".join(map(str, v))}
        for code, v in (("200", good), ("500", failed))
    ]


def _questions(service: str, kind: str, minutes: int) -> dict[str, str]:
    def firing(alert: str) -> str:
        return f'ALERTS{{alertname="{alert}",alertstate="firing",service="{service}"}}'

    ours, raw = firing(OURS[kind]), firing(RAW[kind])
    span = f"[{minutes}m:1m]"
    asked = {
        "first": f"min(min_over_time(timestamp({ours}){span}))",
        "raw first": f"min(min_over_time(timestamp({raw}){span}))",
        "minutes": f"sum(count_over_time({ours}{span}))",
        "raw minutes": f"sum(count_over_time({raw}{span}))",
        "both": f"sum(count_over_time(({ours} and on (service) {raw}){span}))",
    }
    none = {"first": "-1", "raw first": "-1"}
    return {k: f"({q}) or vector({none.get(k, '0')})" for k, q in asked.items()}


def _answers(text: str) -> list[float]:
    """What promtool got for each expression, in order."""
    return [float(v) for v in re.findall(r"^ +got: \{\} (\S+)$", text, re.MULTILINE)]


if __name__ == "__main__":
    sys.exit(main())
