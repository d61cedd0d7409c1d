"""Every SLO rule is broken in each small way, and a generated promtool test must see it."""

from __future__ import annotations

import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from opsloop.compile.slo_spec import SLOSpec
from opsloop.compile.yamltext import dump
from tests.compile.slo_mutants import Mutant, Rule, mutants, sampled
from tests.compile.slo_specs import SOURCES, spec, written
from tests.support.servers import require

# Which mutants may live, and why: a pattern of the rule's name, and the mutant's words.
_ENDS = "the newest sample is newest at both ends"
_LOOK_BACK = "a millisecond of a look-back"
_THERE = "only whether it is there"
_ZERO = "it is multiplied by 0"
_OTHER = "the sum's other side decides"
_TOLD = "what is open now was told in this evaluation"
SURVIVORS = {
    (r":tile1m$", "[59999ms] to [60000ms]"): _ENDS,
    (r":tile1m$", "[30m] to [1800001ms]"): _LOOK_BACK,
    (r":tile1m$", "[5m] to [300001ms]"): _LOOK_BACK,
    (r":tile1m$", "last_over_time( to count_over_time( 4"): _THERE,
    (r"errors:tile1m$", "last_over_time( to count_over_time( 5"): _ZERO,
    (r":page$", "[3599999ms] to [3600000ms]"): _OTHER,
    (r":page$", "[3599999ms] to [3659999ms]"): _OTHER,
    (r":page$", "[59999ms] to [60000ms]"): _OTHER,
    (r":page$", "[59999ms] to [119999ms]"): _OTHER,
    (r":page$", "last_over_time( to count_over_time( 4"): _ZERO,
    (r":page$", "* to / 1"): "0 divided by what is above 0",
    (r"minutes:page$", "count_over_time( to sum_over_time( 2"): _ZERO,
    (r"minutes:page$", "* to / 2"): "0 divided by what is above 0",
    (r"minutes:page1h$", "[59999ms] to [60000ms]"): "a minute with data is above 0",
    (r"minutes:page1h$", "[59999ms] to [119999ms]"): "a minute with data is above 0",
    (r":month1h$", "60 to 61"): "a second within the minute",
    (r":month1h$", "60 to 59"): "a second within the minute",
    (r":month1h$", "* to / 1"): "times 1",
    (r"(coverage:period|exhaustion:seconds)$", "90 to 91"): "a second within the minute",
    (r"(coverage:period|exhaustion:seconds)$", "90 to 89"): "a second within the minute",
    # A page at the one end and a minute at the other are never of one month.
    (r":period$", "[2678399999ms] to [2678400000ms]"): "no month is longer than 31 days",
    (r"exhaustion:seconds$", "0 to -1"): _OTHER,
    (r"exhaustion:seconds$", "> to >="): _OTHER,
    (r":period|:sum|:error_ratio:(?!5m)", "[299999ms] to [300000ms]"): _TOLD,
    (r":sum|:error_ratio:(?!5m)", "[299999ms] to [359999ms]"): _TOLD,
    (r":sum|:error_ratio:(?!5m)", "[299999ms] to [239999ms]"): _TOLD,
}
# And of the tiles of one source: how many of equal words, in the rule of the total or the errors.
_LATER = "with nothing newer, the other side has nothing either"
OF_SOURCE: dict[str, dict[tuple[str, str], tuple[int, str]]] = {
    "age": {},
    "good": {
        ("total", "[59999ms] to [119999ms]"): (1, _LATER),
        ("total", "last_over_time( to count_over_time( 3"): (1, _THERE),
        ("errors", "[59999ms] to [119999ms]"): (3, _LATER),
        ("errors", "0 to -1"): (1, "good events of the same metric are never more than all"),
        ("errors", "last_over_time( to count_over_time( 6"): (1, _ZERO),
    },
    "runs": {("errors", "[59999ms] to [119999ms]"): (1, _LATER)},
}
NOTICED: Counter[tuple[str, str]] = Counter()  # mutants by rule and test file
# The core and the full tests take about each so manieth mutant.
CORE, FULL = 331, 23


def rules_of(root: Path) -> Iterator[tuple[str, int, Rule]]:
    """(file, place in its group, rule)."""
    for name in ("slo.yml", "slo-budget.yml"):
        group = yaml.safe_load((root / "rules" / name).read_text())["groups"][0]
        for at, rule in enumerate(group["rules"]):
            yield name, at, rule


def named(rule: Rule) -> str:
    return str(rule.get("record", rule.get("alert")))


def files_of(root: Path, rule: Rule) -> list[Path]:
    """The test files that name what a rule writes, the likeliest and quickest first."""
    name = re.compile(rf"{re.escape(named(rule))}\b")
    found = [p for p in (root / "tests").glob("*.yml") if name.search(p.read_text())]
    found.sort(key=lambda p: ("slo-sli" not in p.name, p.stat().st_size))
    # What noticed another mutant of this rule most often notices this one too.
    return sorted(found, key=lambda p: -NOTICED[named(rule), p.name])


def killed(
    root: Path, file: str, at: int, mutant: Mutant, folder: Path, tests: str = "slo-"
) -> bool:
    """Whether a test fails whose file's name begins so; also True for a mutant that is no rule."""
    (folder / "rules").mkdir(parents=True)
    (folder / "tests").mkdir()
    for path in (root / "rules").glob("*.yml"):
        if path.name != file:
            (folder / "rules" / path.name).symlink_to(path)
    value = yaml.safe_load((root / "rules" / file).read_text())
    value["groups"][0]["rules"][at] = mutant.rule
    (folder / "rules" / file).write_text(dump(value))
    promtool = require("promtool")
    checked = subprocess.run(
        [promtool, "check", "rules", folder / "rules" / file], capture_output=True
    )
    if checked.returncode:
        return True
    for test in files_of(root, mutant.rule):
        if not test.name.startswith(tests):
            continue
        path = folder / "tests" / test.name
        path.write_text(test.read_text())
        if subprocess.run([promtool, "test", "rules", path], capture_output=True).returncode:
            NOTICED[named(mutant.rule), test.name] += 1
            return True
    return False


def explained(rule: Rule, what: str) -> bool:
    name = named(rule)
    return any(re.search(n, name) and what == w for n, w in SURVIVORS)


def living(root: Path, folder: Path, every: int) -> list[str]:
    """Survivors that nothing explains, among each `every`th mutant."""
    found: list[str] = []
    count = 0
    for file, at, rule in rules_of(root):
        for nth, mutant in enumerate(mutants(rule)):
            count += 1
            if not sampled(f"{named(rule)} {nth} {mutant.what}", every):
                continue
            if explained(rule, mutant.what):
                continue
            if not killed(root, file, at, mutant, folder / str(count)):
                found.append(f"{named(rule)}: {mutant.what}")
    assert count > 500, "mutants are made"
    return found


def objectives() -> list[SLOSpec]:
    """Of one day, whose windows are the shortest, and of a month."""
    return [spec(period="1d", objective="99%"), spec("month", period="calendar-month")]


def test_some_broken_rules(tmp_path: Path) -> None:
    root = written(objectives(), tmp_path / "built")
    assert living(root, tmp_path / "mutants", CORE) == []


@pytest.mark.long
def test_no_broken_rule_passes_its_tests(tmp_path: Path) -> None:
    """MUTANTS_EVERY=1 takes all of them, most of an hour."""
    root = written(objectives(), tmp_path / "built")
    every = int(os.environ.get("MUTANTS_EVERY", FULL))
    assert living(root, tmp_path / "mutants", every) == []


@pytest.mark.full
@pytest.mark.parametrize("name", OF_SOURCE)
def test_no_broken_tile_passes_its_tests(name: str, tmp_path: Path) -> None:
    root = written([spec(source=SOURCES[name], sli=name)], tmp_path / "built")
    found: Counter[tuple[str, str]] = Counter()
    for file, at, rule in rules_of(root):
        kind = re.fullmatch(r"slo:(\w+):tile1m", named(rule))
        if not kind:
            continue
        for n, mutant in enumerate(mutants(rule)):
            folder = tmp_path / f"{kind[1]}-{n}"
            if not explained(rule, mutant.what) and not killed(
                root, file, at, mutant, folder, "slo-sli-"
            ):
                found[kind[1], mutant.what] += 1
    assert found == {what: count for what, (count, _) in OF_SOURCE[name].items()}
