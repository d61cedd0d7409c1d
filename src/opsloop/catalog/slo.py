"""Service level objectives in the catalog: what is promised, over what time, measured how."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StringConstraints,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from opsloop.catalog.units import DURATION_PATTERN, Duration, Share

Selector = Annotated[str, StringConstraints(min_length=1, max_length=2000)]
Query = Annotated[str, StringConstraints(min_length=1, max_length=2000)]
_Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,47}$")]

MINUTE = Duration(60_000)
DAY = Duration(86_400_000)
SHORTEST_PERIOD = DAY
LONGEST_PERIOD = Duration(90 * DAY)
NOMINAL_MONTH = Duration(30 * DAY)  # what the windows of a calendar month are scaled by
RETENTION_UNSET = Duration(15 * DAY)  # kept where no objective needs more
RETENTION_MARGIN = Duration(2 * DAY)
SHORTEST_SHORT = Duration(2 * MINUTE)
SHORTEST_LONG = Duration(10 * MINUTE)
COMPLETE = Fraction(9, 10)  # an error ratio that every alert must notice, whatever the objective
MOST_EVENTS = 10  # the default floor never asks for more errors than this
WINDOW_PLACEHOLDER = "{window}"
# The bounds of http_request_duration_seconds in the profile `http`.
HTTP_BUCKETS = tuple(
    Duration(ms) for ms in (5, 10, 25, 50, 75, 100, 250, 500, 1000, 2500, 5000, 10_000)
)


@dataclass(frozen=True, slots=True)
class Objective:
    """The share of events that must be good, exact: `99.9%` is 999/1000."""

    ratio: Fraction

    @classmethod
    def parse(cls, text: str) -> Objective:
        """Percent as text; ValueError gives the reason, also for 100%, which leaves no budget."""
        number = text.strip().removesuffix("%").strip()
        try:
            percent = Fraction(Decimal(number))
        except (ArithmeticError, ValueError):
            percent = Fraction(-1)
        if not text.strip().endswith("%") or percent < 0 or not number[:1].isdigit():
            raise ValueError(f"{text!r} is not an objective; write it in percent, as 99.9%")
        if percent == 100:
            raise ValueError(
                "an objective of 100% leaves no error budget, so every burn rate would divide"
                " by zero; write what users would notice, as 99.9%"
            )
        if not 0 < percent < 100:
            raise ValueError(f"{text!r} is not between 0% and 100%, both excluded")
        return cls(percent / 100)

    @property
    def budget(self) -> Fraction:
        """The share of events that may fail."""
        return 1 - self.ratio

    def __str__(self) -> str:
        return f"{decimal(self.ratio * 100)}%"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls._validate, serialization=core_schema.to_string_ser_schema()
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"type": "string", "pattern": r"^\s*\d[^%]*%\s*$"}

    @classmethod
    def _validate(cls, value: Any) -> Objective:
        if isinstance(value, Objective):
            return value
        if isinstance(value, str):
            return cls.parse(value)
        raise ValueError(f"{value!r} has no unit; write an objective in percent, as 99.9%")


def decimal(value: Fraction) -> str:
    """A fraction of tens as decimal text without an exponent: 1/1000 is `0.001`."""
    text = f"{Decimal(value.numerator) / Decimal(value.denominator):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


@dataclass(frozen=True, slots=True)
class Period:
    """The time that an objective is promised over: rolling days, or the calendar month (UTC)."""

    length: Duration  # of a month: its nominal 30 days
    calendar: bool = False

    @classmethod
    def parse(cls, text: str) -> Period:
        if text.strip() == "calendar-month":
            return cls(NOMINAL_MONTH, calendar=True)
        length = Duration.parse(text)
        if not SHORTEST_PERIOD <= length <= LONGEST_PERIOD:
            raise ValueError(f"{text!r} is not between 1d and 90d; or write calendar-month")
        if length % MINUTE:
            raise ValueError(f"{text!r} is not a whole number of minutes")
        return cls(length)

    def __str__(self) -> str:
        return "calendar-month" if self.calendar else str(self.length)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls._validate, serialization=core_schema.to_string_ser_schema()
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"type": "string", "pattern": rf"{DURATION_PATTERN}|^\s*calendar-month\s*$"}

    @classmethod
    def _validate(cls, value: Any) -> Period:
        if isinstance(value, Period):
            return value
        if isinstance(value, str):
            return cls.parse(value)
        raise ValueError(f"{value!r} has no unit; write a window as 30d, or calendar-month")


class SLOModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Availability(SLOModel):
    """Requests that did not fail, by the service's metric profile."""


class Latency(SLOModel):
    """Requests faster than `threshold`, which must be a bucket bound of the profile's histogram."""

    threshold: Duration


class Freshness(SLOModel):
    """Minutes in which `metric`, a unix time in seconds, is at most `max_age` old."""

    metric: Selector
    max_age: Duration


class Events(SLOModel):
    """Own counters: all events, and the failed or the good ones among them."""

    total: Selector
    errors: Selector | None = None
    good: Selector | None = None
    series: Literal["own", "all"] = "own"  # own: only series with this service's label `service`

    @model_validator(mode="after")
    def _one_of(self) -> Events:
        if (self.errors is None) == (self.good is None):
            raise ValueError("events have exactly one of errors and good")
        return self


class PromQL(SLOModel):
    """Free PromQL with {window}, where no selector can say it; rates instead of exact counts.

    errors and total are events a second over {window}; error_ratio is the share of failures,
    which knows no number of events, so that each minute weighs the same.
    """

    error_ratio: Query | None = None
    errors: Query | None = None
    total: Query | None = None

    @model_validator(mode="after")
    def _one_of(self) -> PromQL:
        ratio, counts = self.error_ratio is not None, (self.errors, self.total)
        if ratio == all(counts) or any(counts) != all(counts):
            raise ValueError("promql has either error_ratio, or errors and total")
        for query in (self.error_ratio, *counts):
            if query is not None and WINDOW_PLACEHOLDER not in query:
                raise ValueError(f"{query!r} does not contain {WINDOW_PLACEHOLDER}")
        return self


SLI_KINDS = ("availability", "latency", "freshness", "probe", "events", "promql")


class SLI(SLOModel):
    """What is measured: exactly one kind. `sli: availability` is short for the kind alone."""

    availability: Availability | None = None
    latency: Latency | None = None
    freshness: Freshness | None = None
    probe: _Name | None = None  # runs of this probe that succeeded
    events: Events | None = None
    promql: PromQL | None = None

    @property
    def kind(self) -> str:
        return next(k for k in SLI_KINDS if getattr(self, k) is not None)

    @model_validator(mode="before")
    @classmethod
    def _bare_kind(cls, value: object) -> object:
        if value == "availability":
            return {"availability": {}}
        if isinstance(value, Mapping) and list(value.items()) == [("availability", None)]:
            return {"availability": {}}
        return value

    @model_validator(mode="after")
    def _one_kind(self) -> SLI:
        kinds = [k for k in SLI_KINDS if getattr(self, k) is not None]
        if len(kinds) != 1:
            raise ValueError(
                f"an sli has exactly one of {', '.join(SLI_KINDS)}"
                + (f", not {' and '.join(kinds)}" if kinds else "")
            )
        return self


class BurnWindow(SLOModel):
    """An own alert window: fires when `budget` of the period's budget burns within `long`."""

    kind: Literal["page", "ticket"]
    long: Duration
    short: Duration
    budget: Share


class Alerting(SLOModel):
    """Which burn-rate alerts an objective has."""

    page: bool = True
    ticket: bool = True
    min_events: Annotated[int, Field(ge=1)] | None = None  # errors; unset: from the objective
    windows: list[BurnWindow] = []  # empty: the shipped ones, scaled to the period


class SLO(SLOModel):
    """One promise of a service."""

    objective: Objective
    window: Period = Period(NOMINAL_MONTH)
    sli: SLI
    description: str = ""
    alerting: Alerting = Alerting()


@dataclass(frozen=True, slots=True)
class BurnPair:
    """A burn-rate alert: both windows must burn faster than `factor` times the even pace."""

    kind: Literal["page", "ticket"]
    long: Duration
    short: Duration
    factor: Fraction

    @property
    def windows(self) -> tuple[Duration, Duration]:
        return self.short, self.long


# Of a period of 30d: kind, long and short window in minutes, share of the budget in percent.
_PAIRS: tuple[tuple[Literal["page", "ticket"], int, int, int], ...] = (
    ("page", 60, 5, 2),
    ("page", 360, 30, 5),
    ("ticket", 1440, 120, 10),
    ("ticket", 4320, 360, 10),
)


@lru_cache(maxsize=100)
def windows_for(period: Period) -> tuple[BurnPair, ...]:
    """The alert windows of a period, in whole minutes, and their factors.

    For 30d: 14.4 over 1h and 5m, 6 over 6h and 30m, 3 over 1d and 2h, 1 over 3d and 6h. The
    windows scale with the period, at least 2m short and 10m long; 1d and 3d stay multiples of 6h.
    A pair that another of its kind always forestalls, with a lower factor over a shorter window,
    is left out: that is one of a 1d period.
    """
    unit = _scaled(360, period)
    pairs: list[BurnPair] = []
    for kind, long, short, percent in _PAIRS:
        longer = unit * (long // 360) if long > 360 else _scaled(long, period)
        longer = max(longer, int(SHORTEST_LONG))
        shorter = max(_scaled(short, period), int(SHORTEST_SHORT))
        factor = Fraction(percent, 100) * Fraction(int(period.length), longer)
        forestalled = any(p.kind == kind and p.factor <= factor for p in pairs)
        if not forestalled:
            pairs.append(BurnPair(kind, Duration(longer), Duration(shorter), factor))
    return tuple(pairs)


def _scaled(minutes: int, period: Period) -> int:
    """Milliseconds of a window of 30d, scaled and rounded down to whole minutes.

    Down, so that no factor gets smaller than that of 30d: a ticket at 1 must not fire below it.
    """
    return int(MINUTE) * (minutes * int(period.length) // int(NOMINAL_MONTH))


def pairs_of(slo: SLO) -> tuple[BurnPair, ...]:
    """The burn-rate alerts that an objective has.

    Where the budget is so large that a factor asks for more than 90 % errors, the factor is
    lowered to that: a complete outage is always noticed.
    """
    declared = tuple(
        BurnPair(
            w.kind,
            w.long,
            w.short,
            Fraction(str(float(w.budget))) * Fraction(int(slo.window.length), max(1, int(w.long))),
        )
        for w in slo.alerting.windows
    )
    wanted = {"page": slo.alerting.page, "ticket": slo.alerting.ticket}
    most = COMPLETE / slo.objective.budget
    return tuple(
        BurnPair(p.kind, p.long, p.short, min(p.factor, most))
        for p in declared or windows_for(slo.window)
        if wanted[p.kind]
    )


@lru_cache(maxsize=1000)
def event_floor(pair: BurnPair, objective: Objective) -> int:
    """How many errors the long window must hold: with fewer, chance alone could fire the alert.

    The smallest number (2 to 10) at which a service that fails exactly as often as its objective
    allows fires this alert at most once a year, taking each long window as one independent look.
    """
    budget = float(objective.budget)
    looks = 365 * int(DAY) / int(pair.long)
    for errors in range(2, MOST_EVENTS):
        events = max(errors, math.floor(errors / (float(pair.factor) * budget)))
        fewer = sum(
            math.comb(events, k) * budget**k * (1 - budget) ** (events - k) for k in range(errors)
        )
        if 1 - fewer <= 1 / looks:
            return errors
    return MOST_EVENTS


def required_retention(period: Period) -> Duration:
    """How long Prometheus must keep data: the period (a month: 31 days) and two days."""
    length = Duration(31 * DAY) if period.calendar else period.length
    return Duration(length + RETENTION_MARGIN)
