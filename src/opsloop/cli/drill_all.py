"""`opsloop drill --all`: every drill in a random order, a control, and what they show together."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from opsloop.cli import output
from opsloop.drills.kinds import DRILLS
from opsloop.errors import ArgumentError, NotRunning, StackError
from opsloop.report import drills as report

CONTROL = "service-kill"  # what would have happened is shown on this one
Run = Callable[[str, bool], dict[str, Any]]
"""One drill by its name, with the loop paused or not: its JSON."""


def order(seed: int, *, control: bool, only_controls: bool) -> Iterator[tuple[str, bool]]:
    """(drill, whether the loop is paused): shuffled by `seed`; the control comes last."""
    names = list(DRILLS)
    random.Random(seed).shuffle(names)
    for name in names:
        yield name, only_controls
    if control and not only_controls:
        yield CONTROL, True


def run_all(
    run: Run,
    seed: int | None,
    *,
    control: bool,
    only_controls: bool,
    page: Path | None,
    as_json: bool,
) -> int:
    """Run them and print what they show; 0 when each showed what it should.

    One that the catalog cannot have is left out and named, one that could not be done has failed.
    """
    if seed is None:
        seed = random.randrange(1_000_000)
    began = time.time()
    found = []
    for name, paused in order(seed, control=control, only_controls=only_controls):
        try:
            found.append(run(name, paused))
        except NotRunning:
            raise
        except ArgumentError as error:  # this catalog has nothing that could break so
            output.note(f"not run: {error}")
        except StackError as error:
            output.complain(str(error))
            found.append(report.not_finished(name, error.reason, control=paused))
    series = report.Series(seed, tuple(found))
    if page is not None:
        when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(began))
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(report.page(series, when), encoding="utf-8")
    if as_json:
        output.print_json(report.as_json(series), one_line=True)
    else:
        output.say()
        output.print_table(report.HEADERS, report.rows(series))
        for line in report.sentences(series):
            output.say(line)
    if page is not None:
        output.note(f"report: {page}")
    return 0 if series.passed else 1
