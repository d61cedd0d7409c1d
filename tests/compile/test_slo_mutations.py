"""Every SLO rule is broken in each small way, and a generated promtool test must see it."""

from __future__ import annotations

import os
import re
import subprocess
import time
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

# Which mutants may live, and why: a pattern of the rule (see `of_rule`), and the mutant's words,
# with their number where only that one may live.
_ENDS = "the newest sample is newest at both ends"
_LOOK_BACK = "a millisecond of a look-back"
_THERE = "only whether it is there"
_ZERO = "it is multiplied by 0"
_OTHER = "the sum's other side decides"
_TOLD = "what is open now was told in this evaluation"
_LATER = "with nothing newer, the other side has nothing either"
_SECOND = "a second within the minute"
_LONGEST = "no month is longer than 31 days"
_ROUND = "no ratio of two counts is 14.4 budgets of 0.001, as numbers of a computer go"
SURVIVORS = {
    (r":tile1m$", "[59999ms] to [60000ms]"): _ENDS,
    (r":tile1m$", "[59999ms] to [119999ms] (3)"): _LATER,
    (r":tile1m$", "[30m] to [1800001ms]"): _LOOK_BACK,
    (r":tile1m$", "[5m] to [300001ms]"): _LOOK_BACK,
    (r":tile1m$", "last_over_time( to count_over_time( 3"): _THERE,
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
    (r":month1h$", "60 to 61"): _SECOND,
    (r":month1h$", "60 to 59"): _SECOND,
    (r":month1h$", "* to / 1"): "times 1",
    (r"(:period|exhaustion:seconds) calendar-month$", "90 to 91"): _SECOND,
    (r"(:period|exhaustion:seconds) calendar-month$", "90 to 89"): _SECOND,
    # No more minutes have data than have passed: the limit is for what was filled in by hand.
    (r"coverage:period calendar-month$", "1 to 2 (3)"): "a month has no minute twice",
    # A page at the one end and a minute at the other are never of one month.
    (r":period calendar-month$", "[2678399999ms] to [2678400000ms]"): _LONGEST,
    (r":period calendar-month$", "[2678399999ms] to [2681999999ms]"): _LONGEST,
    (r"exhaustion:seconds", "0 to -1"): _OTHER,
    (r"exhaustion:seconds", "> to >="): _OTHER,
    (r":period|:sum|:error_ratio:(?!5m)", "[299999ms] to [300000ms]"): _TOLD,
    (r":period|:sum|:error_ratio:(?!5m)", "[299999ms] to [359999ms]"): _TOLD,
    (r":period|:sum|:error_ratio:(?!5m)", "[299999ms] to [239999ms]"): _TOLD,
    (r"SLODataMissing", "last_over_time( to count_over_time( 1"): _THERE,
    (r"SLOBurnRateCritical calendar-month$", "> to >= (1)"): _ROUND,
    (r"SLOBurnRateCritical calendar-month$", "> to >= (2)"): _ROUND,
}
# And of the tiles of one source: the mutant's words in the rule of the total or the errors.
OF_SOURCE: dict[str, dict[tuple[str, str], str]] = {
    "age": {},
    "good": {
        ("errors", "[59999ms] to [119999ms]"): _LATER,
        ("errors", "[59999ms] to [119999ms] (4)"): _LATER,
        ("errors", "[59999ms] to [119999ms] (6)"): _LATER,
        ("errors", "0 to -1 (3)"): "good events of the same metric are never more than all",
        ("errors", "last_over_time( to count_over_time( 4"): _THERE,
        ("errors", "last_over_time( to count_over_time( 6"): _ZERO,
    },
    "runs": {("errors", "[59999ms] to [119999ms]"): _LATER},
}
NOTICED: Counter[tuple[str, str]] = Counter()  # mutants by rule and test file
TRIED: Counter[tuple[str, str]] = Counter()
SECONDS: dict[str, float] = {}  # that a test file took when it was last run
# Of so many mutants the core and the full tests take about one.
CORE, FULL = 331, 122


def rules_of(root: Path) -> Iterator[tuple[str, int, Rule]]:
    """(file, place in its group, rule)."""
    for name in ("slo.yml", "slo-budget.yml"):
        group = yaml.safe_load((root / "rules" / name).read_text())["groups"][0]
        for at, rule in enumerate(group["rules"]):
            yield name, at, rule


def named(rule: Rule) -> str:
    return str(rule.get("record", rule.get("alert")))


def of_rule(rule: Rule) -> str:
    """Its name, with the period of its objectives where it has one."""
    return " ".join([named(rule), *filter(None, [rule.get("labels", {}).get("period")])])


def files_of(root: Path, rule: Rule) -> list[Path]:
    """The test files that name what a rule writes; first those that notice most in a second."""
    name = re.compile(rf"{re.escape(named(rule))}\b")
    found = [p for p in (root / "tests").glob("*.yml") if name.search(p.read_text())]

    def cost(path: Path) -> float:
        """Seconds to the notice that it is likely to give, as it did for this rule's others."""
        key = of_rule(rule), path.name
        often = (NOTICED[key] + 0.5) / (TRIED[key] + 1)
        return SECONDS.get(path.name, path.stat().st_size / 20_000) / often

    return sorted(found, key=cost)


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
        begun = time.monotonic()
        ended = subprocess.run([promtool, "test", "rules", path], capture_output=True).returncode
        SECONDS[test.name] = time.monotonic() - begun
        TRIED[of_rule(mutant.rule), test.name] += 1
        if ended:
            NOTICED[of_rule(mutant.rule), test.name] += 1
            return True
    return False


def explained(rule: Rule, what: str) -> bool:
    whole = what if what.endswith(")") else f"{what} (1)"
    words = whole, re.sub(r" \(\d+\)$", "", whole)
    return any(re.search(name, of_rule(rule)) and w in words for name, w in SURVIVORS)


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


@pytest.mark.full
def test_no_broken_rule_passes_its_tests(tmp_path: Path) -> None:
    """MUTANTS_EVERY=1 takes all of them, two hours of one core."""
    root = written(objectives(), tmp_path / "built")
    every = int(os.environ.get("MUTANTS_EVERY", FULL))
    assert living(root, tmp_path / "mutants", every) == []


@pytest.mark.full
@pytest.mark.parametrize("name", OF_SOURCE)
def test_no_broken_tile_passes_its_tests(name: str, tmp_path: Path) -> None:
    root = written([spec(source=SOURCES[name], sli=name)], tmp_path / "built")
    found: set[tuple[str, str]] = set()
    for file, at, rule in rules_of(root):
        kind = re.fullmatch(r"slo:(\w+):tile1m", named(rule))
        if not kind:
            continue
        for n, mutant in enumerate(mutants(rule)):
            folder = tmp_path / f"{kind[1]}-{n}"
            if not explained(rule, mutant.what) and not killed(
                root, file, at, mutant, folder, "slo-sli-"
            ):
                found.add((kind[1], mutant.what))
    assert found == OF_SOURCE[name].keys()
