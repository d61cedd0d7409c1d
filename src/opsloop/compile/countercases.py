"""The cases of alerts on what a counter counted in a window."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from opsloop.catalog.units import Duration
from opsloop.compile import testseries
from opsloop.compile.testseries import START, Case, Labels, Line, Phase, Subject, never, ticks_in


def counter_cases(
    s: Subject,
    lines: Callable[[str], list[Line]],
    kept: Labels,
    strangers: Sequence[Line] = (),
    series: int = 1,
) -> Iterator[Case]:
    """Of an alert that fires when there was any at all.

    kept: the labels that it keeps. series: how many counters `lines` makes, all alike. No sample lies on the edge of the window, and the counter is
    far from zero, so that `increase` extrapolates by one known factor.
    """
    window, for_ = int(s.clause.window), s.rule.for_
    tick = Duration(int(window / 7.3) // 1000 * 1000)
    seen, wait = window // int(tick), ticks_in(for_, tick)
    factor = series * window / (seen * int(tick))

    def case(name: str, phases: Callable[[int], Sequence[Phase]]) -> Case:
        """Of the first phases whose values are told plainly."""
        for step in range(7, 400):
            chosen = phases(step)
            added = testseries.steps(chosen)
            counted = [testseries.over(added, at, seen) * factor for at in range(len(added))]
            holds: list[float | None] = [v or None for v in counted]
            checks = testseries.turns(holds, wait, from_tick=seen + 1)
            if all(_plain(s, kept, v) for _, v in checks if v is not None):
                break
        if not any(v is not None for _, v in checks):
            checks = never(len(added) - 1)
        values = testseries.counter(chosen)
        return Case(name, tick, kept, [*lines(values), *strangers], checks)

    calm, last = seen + 2, wait + 3
    yield case("fires, and resolves", lambda n: [(0, calm), (n, last), (0, seen + wait + 4)])
    yield case("does not fire while there are none", lambda _: [(0, 3 * seen)])
    yield case(
        "goes on for as long as it lasts", lambda n: [(0, calm), (n / 1000, seen + wait + 9)]
    )
    if wait > seen:
        yield case("does not fire for one", lambda n: [(0, calm), (n, 1), (0, seen + wait)])
    reset = f"{START}x{calm} 0x{seen + wait}"
    checks = never(calm + seen + wait)
    yield Case("a restart is none", tick, kept, [*lines(reset), *strangers], checks)
    yield Case("no data", tick, checks=never(seen + wait))


def _plain(s: Subject, labels: Labels, value: float) -> bool:
    """Whether no annotation rounds the value on an edge, where its last bit would decide."""
    said = s.rule.annotations.values()
    return all(
        w.render(labels, value * (1 - 1e-9)) == w.render(labels, value * (1 + 1e-9)) for w in said
    )
