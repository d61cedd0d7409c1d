"""The cases of IncidentAftermath: alerts that fired, and budgets that burn anew or do not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from opsloop import names
from opsloop.catalog.units import Duration
from opsloop.compile import aftermath, testseries
from opsloop.compile.aftermath import CAUSES, KINDS, MOST_NAMED, PAGE, Kind
from opsloop.compile.dependents import dependents_of
from opsloop.compile.slo_names import (
    BUDGET,
    ERRORS_TILE,
    PERIOD,
    SLI,
    SLO,
    burn_rate,
)
from opsloop.compile.slo_promtool import UNDER_TEST
from opsloop.compile.testseries import INSTANCE_A, STRANGER, Case, Labels, Line, Subject, never

_BEFORE = 2  # ticks before anything fires
_LONGEST_TICK = 240  # seconds: Prometheus looks back five minutes


def aftermath_cases(s: Subject) -> Iterator[Case]:
    kind = next((k for k in KINDS if s.rule.part.startswith(f"{k}.")), None)
    yield from _Burns(s, kind).cases() if kind else _simple(s)


def _alert(service: str, alert: str, values: str, state: str = "firing") -> Line:
    labels = {
        "alertname": alert,
        "alertstate": state,
        names.SERVICE: service,
        names.INSTANCE: INSTANCE_A,
    }
    return Line.of("ALERTS", labels, values)


def _other_service(s: Subject, values: str) -> list[Line]:
    """Another service that is down; a clause of very many services does not name them."""
    named = len(s.clause.subjects) <= MOST_NAMED or BUDGET in s.clause.expr
    return [_alert(STRANGER, names.SERVICE_DOWN, values)] if named else []


def _own(s: Subject, alert: str, values: str, state: str = "firing") -> Line:
    labels = {"alertname": alert, "alertstate": state, names.INSTANCE: INSTANCE_A, **s.kept}
    return Line.of("ALERTS", labels, values)


def _fired(ticks: int, after: int) -> str:
    """Of an alert that fires for so many ticks, after a time without it."""
    return f"_x{_BEFORE} 1x{ticks - 1} stale _x{after}"


# What looks back at ServiceDown alone.


def _simple(s: Subject) -> Iterator[Case]:
    window = int(s.clause.window)
    tick = Duration(window // 5 // 1000 * 1000 + 1000)  # no sample lies on the window's edge
    held = window // int(tick)
    down, lasts = names.SERVICE_DOWN, 3
    whole = _BEFORE + lasts + held + 4

    def checks(fires: int) -> list[tuple[int, float | None]]:
        until = _BEFORE + fires + held
        holds = [1.0 if _BEFORE <= at < until else None for at in range(until + 3)]
        return testseries.turns(holds, 0)

    def case(name: str, *lines: Line, fires: int = 0) -> Case:
        expected = checks(fires) if fires else never(whole - 1)
        return Case(name, tick, s.kept, lines, expected)

    strangers = [*_other_service(s, "1x40"), _own(s, names.DISK_FULL, "1x40")]
    yield case(
        "fires while an instance is down and for its window after, and resolves",
        _own(s, down, _fired(lasts, held + 6)), *strangers, fires=lasts,
    )  # fmt: skip
    yield case("does not fire just before one is down", _own(s, down, "1x40", "pending"))
    yield case("does not fire for another service or alert", *strangers)
    yield case("goes on for as long as it lasts", _own(s, down, _fired(20, 12)), fires=20)
    flaps = f"_x{_BEFORE} 1 stale 1 stale 1 stale _x{held + 6}"
    yield case("goes on while it flaps", _own(s, down, flaps), fires=5)
    yield case("no data")


@dataclass(frozen=True, slots=True)
class _Burn:
    """What is told of a burn: from one second to another, so fast and with so many errors."""

    begin: float
    end: float
    over: bool = True
    enough: bool = True


class _Burns:
    """Cases of a clause over budgets. All times are seconds; a test's series begin at 0."""

    def __init__(self, s: Subject, kind: Kind) -> None:
        self.s, self.kind = s, kind
        self.last, self.clean = s.clause.window.seconds, s.clause.short.seconds
        self.first = Duration(int(s.clause.short) - int(aftermath.SETTLED))
        (offset,) = set(re.findall(r" offset (\w+)\)", s.clause.expr))
        ((step),) = set(re.findall(r":(\w+)\]", s.clause.expr))
        self.wait, self.step = Duration.parse(offset).seconds, Duration.parse(step).seconds
        self.period = s.rule.labels[PERIOD]
        self.tick = self._tick()
        self.lasts = int(self.wait // self.tick) + 3  # ticks of an incident that is told
        self.ends = (_BEFORE + self.lasts) * self.tick
        self.whole = int((self.ends + self.last) // self.tick) + 4

    def _tick(self) -> int:
        """Of the series and evaluations: no moment lies on the edge of a window."""
        longest = 60 if self.kind == PAGE else _LONGEST_TICK
        for tick in range(longest, 29, -1):
            edges = ((w - self.step) % tick for w in (self.last, self.clean))
            if tick % self.step == 0 and all(edges):
                return tick
        return longest - 1

    @property
    def causes(self) -> list[str]:
        """What the services of this clause depend on; none where it is about their own."""
        if BUDGET not in self.s.clause.expr:
            return []
        users = dependents_of(self.s.catalog)
        told = set(re.findall(r"[\w-]+", self.s.clause.expr))
        return [name for name in sorted(users) if self.s.name in users[name] and name in told]

    def cases(self) -> Iterator[Case]:
        if self.causes:
            for cause in self.causes:
                incident = [_alert(cause, names.SERVICE_DOWN, self._told()), *self._budget()]
                yield self._case(f"fires after {cause} was down, and resolves", incident)
            yield self._case("no objective, no aftermath", incident[:1], fires=False)
            others = [_alert(self.causes[0], names.HIGH_ERROR_RATE, self._told()), *self._budget()]
        else:
            for alert in CAUSES[self.kind]:
                incident = [_own(self.s, alert, self._told())]
                yield self._case(f"fires after {alert}, and resolves", incident)
            others = [_own(self.s, names.DISK_FULL, self._told())]
        yield from self._of_burns(incident)
        others += _other_service(self.s, self._told())
        pending = [_alert(self.s.name, names.SERVICE_DOWN, self._told(), "pending")]
        yield self._case(
            "does not fire for another service or alert", [*others, *pending], fires=False
        )
        yield self._untold()
        yield Case("no data", Duration.of(self.tick), checks=never(9))

    def _told(self) -> str:
        return _fired(self.lasts, self.whole)

    def _budget(self) -> list[Line]:
        labels = {**self.s.kept, **self._labels(self.period)}
        return [Line.of(BUDGET, labels, f"0.001x{self.whole}")]

    def _labels(self, period: str) -> Labels:
        return {SLI: UNDER_TEST, SLO: UNDER_TEST, PERIOD: period}

    def _of_burns(self, incident: Sequence[Line]) -> Iterator[Case]:
        after = self.ends + self.clean + 2 * self.tick
        long = self.ends + self.last + 9 * self.tick
        yield self._case("ends when it burns anew, and goes on when that ends", incident,
                         _Burn(after, after + 3 * self.tick))  # fmt: skip
        yield self._case("goes on while the windows hold what the incident burnt", incident,
                         _Burn(0, self.ends + self.first.seconds))  # fmt: skip
        yield self._case("a burn that does not end is told as soon as it is one", incident,
                         _Burn(0, long))  # fmt: skip
        yield self._case("a pace just within the limit is no new burn", incident,
                         _Burn(after, long, over=False))  # fmt: skip
        if self.kind == PAGE:
            yield self._case("too few errors are no new burn", incident,
                             _Burn(after, long, enough=False))  # fmt: skip

    def _case(
        self, name: str, lines: Sequence[Line], burn: _Burn | None = None, *, fires: bool = True
    ) -> Case:
        """Another service burns all the time, and another period of this one."""
        series = [*lines, *self._burning(STRANGER, self.period, _Burn(0, 1e9))]
        series += self._burning(self.s.name, "another", _Burn(0, 1e9), errors=burn is None)
        if burn:
            series += self._burning(self.s.name, self.period, burn)
        holds = [1.0 if fires and self._holds(at * self.tick, burn) else None
                 for at in range(self.whole)]  # fmt: skip
        checks = testseries.turns(holds, 0) if fires else never(self.whole - 1)
        return Case(name, Duration.of(self.tick), self.s.kept, series, checks)

    def _burning(
        self, service: str, period: str, burn: _Burn, *, errors: bool = True
    ) -> list[Line]:
        labels = {names.SERVICE: service, **self._labels(period)}
        limit = self.s.clause.threshold
        fast = testseries.number(round(limit * (1.01 if burn.over else 0.99), 6))
        rate = Line.of(burn_rate(self.first), labels, self._while(burn, fast))
        if not errors or self.kind != PAGE:
            return [rate]
        # As many in each tick as the window needs in all; too few: one in the whole.
        per = max(1, int(self.first.seconds // self.tick))
        least = -(-self.s.clause.least // per)
        counts = str(least) if burn.enough else testseries.number((self.s.clause.least - 0.5) / per)
        where = {SLI: UNDER_TEST, names.SERVICE: service}
        return [rate, Line.of(ERRORS_TILE, where, f"{counts}x{self.whole}")]

    def _while(self, burn: _Burn, value: str) -> str:
        begin = -(-burn.begin // self.tick)
        ticks = min(self.whole, -(-burn.end // self.tick)) - begin
        before = f"0x{int(begin) - 1} " if begin else ""
        rest = self.whole - begin - ticks
        after = f" 0x{int(rest) - 1}" if rest > 0 else ""
        return f"{before}{value}x{int(ticks) - 1}{after}"

    def _holds(self, at: float, burn: _Burn | None) -> bool:
        """What the clause says at a time, from its words."""
        if not self._incident(at, self.last):
            return False
        anew = burn is not None and burn.over and burn.enough and burn.begin <= at < burn.end
        return not anew or self._incident(at, self.clean)

    def _incident(self, at: float, window: float) -> bool:
        """Whether at one of the steps within the window it had fired for longer than the wait."""
        first = -(-(_BEFORE * self.tick + self.wait) // self.step) * self.step
        last = self.ends - self.step
        return first <= at and last > at - window

    def _untold(self) -> Case:
        """It ends when people would be told."""
        tick = max(1, int(self.wait // 3))
        whole = 4 * self.tick // tick + 20
        values = f"_x{_BEFORE} 1x2 stale _x{whole}"
        cause, about = (self.causes or [self.s.name])[0], self._budget() if self.causes else []
        line = _alert(cause, names.SERVICE_DOWN, values)
        return Case(
            "does not fire for what nobody was told of", Duration.of(tick), self.s.kept,
            [line, *about], never(whole),
        )  # fmt: skip
