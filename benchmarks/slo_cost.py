"""What objectives cost Prometheus: samples read and rule-manager time, beside Sloth's rules."""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from benchmarks import slo_seed, slo_sloth
from benchmarks._output import Result, report, say
from benchmarks.slo import prometheus, promtool, spec
from benchmarks.slo_seed import Fleet
from opsloop.compile.slo_names import GROUP_BUDGET
from opsloop.compile.slo_rules import slo_groups
from opsloop.compile.slo_spec import SLOSpec
from opsloop.compile.yamltext import dump

Groups = list[dict[str, Any]]
READABLE_S = 60  # how long after their end the counters still give tiles
IMPORT_RATE = 90_000  # samples a second that promtool imports, at least
RAW_S = 40 * 60


@dataclass(frozen=True)
class Round:
    """One evaluation of all groups: summed time of its rules, CPU of the server, longest group."""

    rules_s: float
    cpu_s: float
    longest_s: float
    rounds: float


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.slo_cost", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="within 50 s: samples, and one run")
    parser.add_argument("--json", action="store_true", help="last line of stdout: one object")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="opsloop-slo-cost-") as folder:
        results = measured(Path(folder), quick=options.quick)
    report("slo_cost", results, as_json=options.json)
    return 0


def measured(folder: Path, *, quick: bool) -> list[Result]:
    if quick:
        say("--quick: two SLOs of 8 series stand for the fleets; no 200 series, no run at scale")
        return beside_sloth(folder, Fleet(2), 6)
    return [
        *beside_sloth(folder, Fleet(20), 8),
        *beside_sloth(folder, Fleet(8, 200), 8),
        *layouts(folder),
        *at_scale(folder),
    ]


def specs_of(fleet: Fleet) -> list[SLOSpec]:
    return [spec(name, "30d") for name in fleet.names]


def sloth_groups(fleet: Fleet) -> Groups:
    found: Groups = []
    for name in fleet.names:
        errors = f'http_requests_total{{service="{name}",code=~"5.."}}'
        total = f'http_requests_total{{service="{name}"}}'
        found += slo_sloth.groups(name, "availability", errors, total, 0.999)
    return found


def beside_sloth(folder: Path, fleet: Fleet, rounds: int) -> list[Result]:
    """Both sets of rules over the same counters: samples by rule, then each in a rule manager."""

    def history(out: TextIO, end: int) -> int:
        count = slo_seed.raw(out, fleet, end, 3 * slo_seed.DAY + 600)
        return count + slo_seed.sloth(out, fleet, end) + slo_seed.tiles(out, fleet, end)

    ours, theirs = slo_groups(specs_of(fleet)), sloth_groups(fleet)
    data, end = seeded(folder, history, fleet.services * (4400 * fleet.series + 50_000))
    with prometheus(data) as url:
        own, other = (samples_read(url, g, end) / fleet.services for g in (ours, theirs))
    own_round = in_rule_manager(data, ours, 5, rounds)
    their_round = in_rule_manager(data, theirs, 5, rounds)
    shutil.rmtree(data)
    small = fleet.series <= 8
    name = f"{fleet.services} SLOs of {fleet.series} series"
    return [
        Result(
            f"{name}: samples read, of Sloth's",
            own / other,
            "x",
            0.03 if small else 0.01,
            peer=f"Sloth {other:,.0f} a minute and SLO",
            limit="counters of 36 minutes for the tiles"
            if not small
            else "windows and tiles alike",
            note=f"{own:,.0f} a minute and SLO",
        ),
        Result(
            f"{name}: rule-manager time, of Sloth's",
            own_round.rules_s / their_round.rules_s,
            "x",
            0.12,
            peer=f"Sloth {1000 * their_round.rules_s / fleet.services:.2f} ms a minute and SLO",
            limit="the number of rules: few SLOs share them here",
            note=f"{1000 * own_round.rules_s / fleet.services:.2f} ms a minute and SLO",
        ),
    ]


def layouts(folder: Path) -> list[Result]:
    """One group for all SLOs that share a metric, against one for each SLO."""
    results = []
    for services in (1, 50, 1000):
        fleet = Fleet(services)
        together, apart = slo_groups(specs_of(fleet)), _apart(fleet)
        rounds, every = (8, 5) if services < 1000 else (2, 20)
        times = []
        for groups, sli in ((together, slo_seed.SLI), (apart, None)):

            def history(out: TextIO, end: int, fleet: Fleet = fleet, sli: str | None = sli) -> int:
                count = slo_seed.raw(out, fleet, end, RAW_S)
                return count + slo_seed.tiles(out, fleet, end, sli)

            data, _ = seeded(folder, history, services * 5000)
            times.append(in_rule_manager(data, groups, every, rounds))
            shutil.rmtree(data)
        shared, single = times
        results.append(
            Result(
                f"{services} SLOs: shared rules, of one group for each",
                shared.rules_s / single.rules_s,
                "x",
                1.0 if services > 1 else None,
                note=f"{1000 * shared.rules_s:.1f} ms against {1000 * single.rules_s:.1f} ms a minute;"
                f" CPU {1000 * shared.cpu_s:.0f} ms against {1000 * single.cpu_s:.0f} ms",
            )
        )
    return results


def _apart(fleet: Fleet) -> Groups:
    found: Groups = []
    for one in specs_of(fleet):
        alone = SLOSpec(**{f: getattr(one, f) for f in SLOSpec.__slots__} | {"sli": one.service})
        for group in slo_groups([alone]):
            mine = [
                r | {"expr": _only(r["expr"], one.service), "labels": dict(r.get("labels", {}))}
                for r in group["rules"]
            ]
            found.append(group | {"name": f"{group['name']}-{one.service}", "rules": mine})
    return found


def _only(expr: str, service: str) -> str:
    """Each group reads what belongs to its SLO alone."""
    matcher = f'service="{service}"'

    def narrowed(match: re.Match[str]) -> str:
        braces = (match.group(2) or "{}")[1:-1]
        return match.group(1) + "{" + ",".join(p for p in (matcher, braces) if p) + "}"

    return re.sub(r"(slo:[a-z_]+:[a-z0-9]+)(\{[^}]*\})?", narrowed, expr)


def at_scale(folder: Path) -> list[Result]:
    results = []
    for services, every, goal in ((1000, 10, 0.1), (10_000, 25, 1.0)):
        fleet = Fleet(services)

        def history(out: TextIO, end: int, fleet: Fleet = fleet) -> int:
            count = slo_seed.raw(out, fleet, end, RAW_S)
            return count + slo_seed.tiles(out, fleet, end)

        data, _ = seeded(folder, history, services * 5000)
        one = in_rule_manager(data, slo_groups(specs_of(fleet)), every, 2, cores=1)
        shutil.rmtree(data)
        note = f"a round takes {one.longest_s:.2f} s of the 60 s on one core; tiles were seeded"
        results.append(
            Result(
                f"{services:,} SLOs on one core",
                one.cpu_s / 60,
                "cores",
                goal,
                limit="one core was given (GOMAXPROCS=1)",
                note=note,
            )
        )
    return results


def seeded(folder: Path, history: Callable[[TextIO, int], int], about: int) -> tuple[Path, int]:
    """A data folder whose counters end now: (its path, the end). about: how many samples."""
    began = time.time()
    end = int(began + about / IMPORT_RATE) + 5
    text, data = folder / "history.om", folder / "data"
    with text.open("w", encoding="ascii") as out:
        count = history(out, end)
        out.write("# EOF\n")
    promtool(
        *("tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=486h"),
        *(str(text), str(data)),
    )
    text.unlink()
    late = time.time() - end
    say(
        f"{count:,} samples ({about:,} foreseen) in {time.time() - began:.0f} s, {late:+.0f} s late"
    )
    if late > 0:
        raise RuntimeError(f"the import took {late:.0f} s longer than foreseen; run it again")
    return data, end


def samples_read(url: str, groups: Groups, at: float) -> float:
    """Samples that all rules read in a minute."""
    total = 0.0
    for group in groups:
        weight = 0.5 if group["name"] == GROUP_BUDGET else 1.0
        for rule in group["rules"]:
            fields = urllib.parse.urlencode({"query": rule["expr"], "time": at, "stats": "all"})
            with urllib.request.urlopen(f"{url}/api/v1/query?{fields}") as answer:
                stats = json.load(answer)["data"]["stats"]
            total += weight * stats["samples"]["totalQueryableSamples"]
    return total


def in_rule_manager(
    data: Path, groups: Groups, every: int, rounds: int, cores: int | None = None
) -> Round:
    """Groups evaluated each `every` seconds (budgets half as often) by a real rule manager."""
    rules = data.parent / "rules.yml"
    timed = [
        g | {"interval": f"{every * (2 if g['name'].startswith(GROUP_BUDGET) else 1)}s"}
        for g in groups
    ]
    rules.write_text(dump({"groups": timed}))
    config = f'rule_files: ["{rules}"]\n'
    environment = {"GOMAXPROCS": str(cores)} if cores else None
    with prometheus(data, config=config, environment=environment) as url:
        time.sleep(every)  # the first round finds nothing in any cache
        first = _state(url)
        last = first
        for _ in range(rounds):
            time.sleep(every)
            last = _state(url)
    done = (last["evaluations"] - first["evaluations"]) / _evaluations(timed)
    if last["failures"]:
        raise RuntimeError(f"{last['failures']:.0f} rule evaluations failed")
    return Round(
        (last["seconds"] - first["seconds"]) / done,
        (last["cpu"] - first["cpu"]) / done,
        last["longest"],
        done,
    )


def _evaluations(groups: Sequence[dict[str, Any]]) -> float:
    """Rule evaluations of one round."""
    return sum(
        len(g["rules"]) * (0.5 if g["name"].startswith(GROUP_BUDGET) else 1.0) for g in groups
    )


def _state(url: str) -> dict[str, float]:
    with urllib.request.urlopen(f"{url}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    found: dict[str, list[float]] = {}
    for line in lines:
        if not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            found.setdefault(name.partition("{")[0], []).append(float(value))
    return {
        "seconds": sum(found["prometheus_rule_evaluation_duration_seconds_sum"]),
        "evaluations": sum(found["prometheus_rule_evaluations_total"]),
        "failures": sum(found["prometheus_rule_evaluation_failures_total"]),
        "longest": max(found["prometheus_rule_group_last_duration_seconds"]),
        "cpu": found["process_cpu_seconds_total"][0],
    }


if __name__ == "__main__":
    sys.exit(main())
