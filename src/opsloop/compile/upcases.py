"""The cases of alerts that read `up`, or a metric like it: 1 while a target answers, 0 not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from opsloop import names
from opsloop.compile import testseries
from opsloop.compile.testseries import (
    INSTANCE_A,
    INSTANCE_B,
    STRANGER,
    Case,
    Labels,
    Line,
    Phase,
    Subject,
    never,
)


def up_cases(s: Subject, metric: str, base: Labels) -> Iterator[Case]:
    """base: the labels of the subject's targets, with their job."""
    tick, wait = testseries.rhythm(s)
    bad = wait + 4
    alert = {**s.kept, names.INSTANCE: INSTANCE_A}
    value: list[float | None] = [0.0 if 3 <= at < 3 + bad else None for at in range(bad + 7)]

    def line(phases: Sequence[Phase], **labels: str) -> Line:
        return Line.of(
            metric, {**base, names.INSTANCE: INSTANCE_A, **labels}, testseries.gauge(phases)
        )

    hurt = line([(1, 3), (0, bad), (1, 4)])
    well = line([(1, bad + 7)], instance=INSTANCE_B)
    stranger = line([(0, bad + 7)], job=STRANGER, service=STRANGER)
    yield Case(
        "fires for the instance that is down, and resolves",
        tick,
        alert,
        [hurt, well, stranger],
        testseries.turns(value, wait),
    )
    yield Case("does not fire while all answer", tick, alert, [well, stranger], never(bad + 6))
    if wait:
        blip = line([(1, 3), (0, wait), (1, 4)])
        yield Case("does not fire for a moment", tick, alert, [blip], never(wait + 6))
        flapping = line([(0, wait), (1, 1)] * 3)
        yield Case("does not fire while it flaps", tick, alert, [flapping], never(3 * wait + 2))
    stays = line([(1, 3), (0, bad + 7)])
    checks = [*testseries.turns([None] * 3 + [0.0] * (bad + 7), wait), (bad + 9, 0.0)]
    yield Case("goes on for as long as it lasts", tick, alert, [stays], checks)
    yield Case("no data", tick, checks=never(wait + 6))
