"""Alerts of objectives over a segment: every built rule in its order, each written for the next.

Tiles, windows, burn rates, budgets and alerts are the built rules. The ledger adds to itself, which
a range query cannot read, so its pages are added up here, as they are where no evaluation is missed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import yaml

from benchmarks.alert_catalog import Built, Target
from benchmarks.alert_replay import Firing, Labels, asked, fired, stretches
from benchmarks.alert_world import BASE_ERRORS, Segment, rate
from benchmarks.alert_write import Series, moment, write
from opsloop.catalog.units import Duration
from opsloop.compile.bundle import RULES_DIR
from opsloop.compile.slo_names import (
    ERRORS_TILE,
    GROUP_BUDGET,
    GROUP_OBJECTIVES,
    GROUP_WINDOWS,
    KINDS,
    TOTAL_TILE,
    closed_page,
    open_page,
    page,
)

TILE_S, PAGE_S = 60, 3600
LEDGER = {made(kind) for kind in KINDS for made in (page, closed_page, open_page)}
Row = dict[int, float]  # by unix time


def objectives(url: str, built: Built, segment: Segment, before: int) -> list[Firing]:
    """When alerts of objectives fired. before: minutes of quiet tiles that come before."""
    tiles: dict[str, dict[Labels, Row]] = {TOTAL_TILE: {}, ERRORS_TILE: {}}
    found: list[Firing] = []
    told = False
    for group in _groups(built):
        step = Duration.parse(group["interval"]).seconds
        for rule in group["rules"]:
            if rule.get("record") in LEDGER:
                if not told:
                    write(url, _ledger(tiles))
                told = True
                continue
            if "alert" in rule:
                found += fired(url, _alert(built, group, rule), segment, step)
                continue
            rows = _evaluated(url, rule, segment, step)
            if rule["record"] in tiles:
                rows = _after_calm(rows, built, segment, before, rule["record"])
                tiles[rule["record"]] |= rows
            write(url, _series(rule["record"], rows))
    return found


def _groups(built: Built) -> Iterator[dict[str, Any]]:
    for name in (GROUP_OBJECTIVES, GROUP_WINDOWS, GROUP_BUDGET):
        path = f"{RULES_DIR}/{name}.yml"
        if path in built.files:
            yield from yaml.safe_load(built.files[path])["groups"]


def _alert(built: Built, group: Mapping[str, Any], rule: Mapping[str, Any]) -> Any:
    return next(
        r for r in built.rules if (r.group, r.alert, r.expr) == (
            group["name"], rule["alert"], rule["expr"]
        )
    )  # fmt: skip


def _evaluated(
    url: str, rule: Mapping[str, Any], segment: Segment, step: float
) -> dict[Labels, Row]:
    rows: dict[Labels, Row] = {}
    for begin, end in stretches(segment, step):
        for labels, values in asked(url, rule["expr"], begin, end, step):
            named = tuple(sorted((labels | rule.get("labels", {})).items()))
            rows.setdefault(named, {}).update((round(at), value) for at, value in values)
    return rows


def _after_calm(
    rows: Mapping[Labels, Row], built: Built, segment: Segment, before: int, record: str
) -> dict[Labels, Row]:
    """Tiles of quiet minutes, then those of the segment."""
    found = {}
    for labels, row in rows.items():
        service = dict(labels)["service"]
        instances = sum(t.job == service for t in built.targets)
        share = BASE_ERRORS if record == ERRORS_TILE else 1.0
        calm: Row = {}
        due = 0.0
        for minute in range(-before, 0):
            at = segment.start + minute * TILE_S
            due += share * instances * rate(service, at) * TILE_S
            calm[at] = float(int(due))
            due -= int(due)
        found[labels] = calm | row
    return found


def _ledger(tiles: Mapping[str, Mapping[Labels, Row]]) -> Iterator[Series]:
    """Closed and open pages: an hour's tiles, closed in the next hour's first minute."""
    for kind in KINDS:
        source = tiles[ERRORS_TILE if kind == "errors" else TOTAL_TILE]
        for labels, row in source.items():
            if not row:
                continue
            closed, opened = (Series(f(kind), dict(labels)) for f in (closed_page, open_page))
            now = 0.0
            for at in range(min(row), max(row) + TILE_S, TILE_S):
                now += (at in row) if kind == "minutes" else row.get(at, 0.0)
                wire = moment(at * 1000)
                if at % PAGE_S < TILE_S:
                    closed.add(wire, now)
                    now = 0.0
                opened.add(wire, now)
            yield from (closed, opened)


def _series(record: str, rows: Mapping[Labels, Row]) -> Iterable[Series]:
    for labels, row in rows.items():
        series = Series(record, dict(labels))
        for at, value in row.items():
            series.add(moment(at * 1000), value)
        yield series


def services(targets: Iterable[Target]) -> set[str]:
    """The jobs whose requests objectives count."""
    return {t.job for t in targets if t.kind == "http"}
