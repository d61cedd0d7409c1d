"""Cases of the alerts about an objective's data: none of it, and more errors than events."""

from __future__ import annotations

from collections.abc import Sequence

from opsloop.compile.slo_alerts import missing_after
from opsloop.compile.slo_cases import Fired, WindowCase, tick_of, told
from opsloop.compile.slo_expected import Count, Timeline
from opsloop.compile.slo_names import DATA_MISSING, ERRORS_EXCEED, TILE
from opsloop.compile.slo_spec import SLOSpec

_SOME = 4  # minutes with data at the beginning


def data_cases(spec: SLOSpec, alike: Sequence[SLOSpec] = ()) -> list[WindowCase]:
    """alike: all objectives of the same alerts, spec among them; empty: spec alone."""
    found = _missing(spec, alike or [spec])
    return [*found, *(_exceeding(spec) if spec.pairs else [])]


def _missing(spec: SLOSpec, alike: Sequence[SLOSpec]) -> list[WindowCase]:
    """Told after the window and the wait without data, and forgotten when it is back."""
    window, wait = (int(d) // int(TILE) for d in missing_after(*alike))
    last = _SOME - 1
    first = last + window + wait  # to fire

    def case(name: str, minutes: Sequence[Count], fires: int, ends: int) -> WindowCase:
        """It fires from a minute on, until another; checked around both and at the end."""
        looks = {0, last, fires - 1, fires, ends - 1, ends, len(minutes) - 1}
        fired = [
            Fired(at, DATA_MISSING, float(spec.budget) if fires <= at < ends else None)
            for at in sorted(looks)
            if 0 <= at < len(minutes)
        ]
        return WindowCase(name, Timeline(TILE, minutes, minutes), fired=fired)

    some: list[Count] = [10.0] * _SOME
    gap: list[Count] = [None] * (window + wait - 1)
    never = first + 4
    back = first + 3
    # A moment of data a minute before it would fire: all of the wait begins again.
    moment: list[Count] = [*some, *gap[1:], 10.0]
    again = len(moment) - 1 + window + wait
    return [
        case("data that stops", [*some, *gap, *[None] * 3, 10.0], first, back),
        case("a gap just below its limit is no end of data", [*some, *gap, 10.0, 10.0],
             never, never),
        case("a moment of data, and missing again", [*moment, *gap, None, None], again, again + 9),
        case("never was any data", [None] * (wait + 3), wait, wait + 9),
        case("idle: no events are data too", [0.0] * (first + 2), never, never),
    ]  # fmt: skip


def _exceeding(spec: SLOSpec) -> list[WindowCase]:
    """As many errors as events is an outage; one more is a wrong selector."""
    pair = min(spec.pairs, key=lambda p: int(p.long))
    full: list[Count] = [10.0] * 8

    def case(
        name: str, total: Sequence[Count], errors: Sequence[Count], fires: int = 8, ends: int = 8
    ) -> WindowCase:
        line = told(tick_of(pair), total, errors)
        per = len(line) // len(total)
        looks = {0, fires - 1, fires, ends - 1, ends, 7}
        fired = [
            Fired(
                at * per + per - 1,
                ERRORS_EXCEED,
                float(spec.budget) if fires <= at < ends else None,
            )
            for at in sorted(looks)
            if 0 <= at < 8
        ]
        return WindowCase(name, line, fired=fired)

    one_more: list[Count] = [10.0, 10.0, 10.0, 10.0, 11.0, 10.0, 10.0, 10.0]
    fewer_then: list[Count] = [10.0, 10.0, 10.0, 10.0, 11.0, 10.0, 9.0, 10.0]
    nothing: list[Count] = [0.0] * 8
    unknown: list[Count] = [None] * 8
    return [
        case("more errors than events are a mistake", full, one_more, fires=4),
        case("as many errors as events are within its limit", full, full),
        case("more errors than events, until fewer are", full, fewer_then, fires=4, ends=6),
        case("no traffic: no errors beyond it", nothing, nothing),
        case("no data: no errors beyond it", unknown, unknown),
    ]
