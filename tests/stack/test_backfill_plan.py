"""Which stretches a back-fill takes, in which pieces; and its ledger against the rules themselves."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from opsloop.catalog.units import Duration
from opsloop.compile.slo_names import TOTAL_TILE, closed_page, open_page
from opsloop.compile.slo_past import Past, Tiles, month_of, page_of, pasts, recorded, samples_of
from opsloop.compile.slo_windows import ledger_rules
from opsloop.compile.yamltext import dump
from opsloop.stack.backfill_journal import Entries, Journal, Reach, merged
from opsloop.stack.backfill_plan import MOST_SAMPLES, Plan, make_plan, on_grid, start_of
from opsloop.stack.tsdb import Storage
from tests.compile.slo_specs import HTTP, of_each_source, spec
from tests.support.servers import require

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
NOW = 1_795_000_000_000  # 2026-11-18 11:06:40
SLI = "http-availability"
KEY = (SLI, "api")


def planned(folder: Path, storage: Storage, tiles: dict[tuple[str, str], int], days: int) -> Plan:
    return make_plan(pasts([spec()]), storage, tiles, Journal(folder).read(), NOW - days * DAY, NOW)


@pytest.mark.parametrize("phase", [0, 1, 17_250, 59_999])
def test_pages_hold_sixty_evaluations_whatever_the_phase(phase: int) -> None:
    for page in (498_000, 498_001):
        first = on_grid(start_of(page) - 1, phase)
        grid = [first + n * MINUTE for n in range(60)]
        assert {page_of(at) for at in grid} == {page}
        assert page_of(first - MINUTE) == page - 1
        assert page_of(grid[-1] + MINUTE) == page + 1
        # The last one of a page is the first of an hour: the rules close it there.
        assert grid[-1] % HOUR < MINUTE


def test_it_ends_before_the_rules_began_and_before_memory(tmp_path: Path) -> None:
    began = NOW - 30 * MINUTE + 1_250
    plan = planned(tmp_path, Storage(NOW - 2 * HOUR), {KEY: began}, 30)
    (span,) = plan.spans
    assert NOW - 2 * HOUR - MINUTE <= span.last < NOW - 2 * HOUR
    assert span.last % MINUTE == began % MINUTE
    assert span.carried == range(span.last + MINUTE, began, MINUTE)
    assert start_of(span.first_page) <= NOW - 30 * DAY < start_of(span.first_page + 1)
    (waiting,) = plan.waiting
    assert waiting == Reach(KEY, span.last + MINUTE, began)


def test_rules_that_are_older_than_memory_leave_nothing_to_wait_for(tmp_path: Path) -> None:
    began = NOW - 10 * DAY + 1_250
    plan = planned(tmp_path, Storage(NOW - 2 * HOUR), {KEY: began}, 30)
    (span,) = plan.spans
    assert span.last == began - MINUTE
    assert not span.carried
    assert plan.waiting == ()


def test_a_past_that_is_younger_than_memory_is_one_page(tmp_path: Path) -> None:
    head = NOW - 40 * MINUTE
    plan = planned(tmp_path, Storage(head, lowest=head), {KEY: NOW - 5 * MINUTE}, 30)
    (span,) = plan.spans
    assert span.first_page == span.last_page
    assert span.last < head
    assert len(span.carried) >= 34
    assert len(plan.pieces) == 1


def test_it_does_not_begin_before_retention_or_the_first_sample(tmp_path: Path) -> None:
    kept = Storage(NOW, retention=Duration(15 * DAY))
    (span,) = planned(tmp_path, kept, {}, 30).spans
    assert NOW - 15 * DAY < start_of(span.first_page) <= NOW - 15 * DAY + HOUR
    young = Storage(NOW, lowest=NOW - 3 * DAY)
    (span,) = planned(tmp_path, young, {}, 30).spans
    assert start_of(span.first_page) <= NOW - 3 * DAY < start_of(span.first_page + 1)


def test_pieces_are_days_from_new_to_old_without_a_hole(tmp_path: Path) -> None:
    plan = planned(tmp_path, Storage(NOW), {}, 30)
    assert len(plan.pieces) == 31
    for newer, older in zip(plan.pieces, plan.pieces[1:], strict=False):
        assert older[1] == newer[0]
        assert newer[0] % 24 == 0
    (span,) = plan.spans
    assert plan.pieces[0][1] == span.last_page + 1
    assert plan.pieces[-1][0] == span.first_page
    minutes = [at for p in plan.pieces for at in span.grid(*p)]
    assert sorted(minutes) == list(range(min(minutes), span.last + 1, MINUTE))


def test_many_series_make_small_pieces(tmp_path: Path) -> None:
    many = pasts([spec(service=f"s{n}", source=HTTP) for n in range(1000)])
    plan = make_plan(many, Storage(NOW), {}, Journal(tmp_path).read(), NOW - 2 * DAY, NOW)
    hours = max(end - first for first, end in plan.pieces)
    assert hours == 2
    assert 1000 * samples_of(60, months=False) * hours <= MOST_SAMPLES
    assert plan.queries == 2 * len(plan.pieces)  # one SLI, whatever the number of services


def test_what_is_done_is_not_done_again_and_more_can_be_added(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    with journal.alone():
        done = Reach(KEY, start_of(page_of(NOW - 10 * DAY)), NOW)
        journal.begin_move([], Entries(done=[done]))
        journal.end_move()
    assert not planned(tmp_path, Storage(NOW), {}, 10)
    (span,) = planned(tmp_path, Storage(NOW), {}, 11).spans
    assert (span.first_page, span.last) == (
        page_of(NOW - 11 * DAY),
        on_grid(done.first - MINUTE, 0) - MINUTE,
    )
    # What an interrupted run had not come to yet, also when Prometheus shows its newer part.
    (same,) = planned(tmp_path, Storage(NOW), {KEY: NOW - 4 * DAY - NOW % MINUTE}, 11).spans
    assert same == span


def test_waiting_minutes_are_ripe_when_memory_begins_after_them(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    gap = Reach(KEY, NOW - 5 * HOUR, NOW - 4 * HOUR)
    with journal.alone():
        journal.begin_move([], Entries(done=[Reach(KEY, NOW - 90 * DAY, NOW)], waiting=[gap]))
        journal.end_move()
    early = planned(tmp_path, Storage(gap.end - 1), {}, 30)
    assert (bool(early), early.waiting) == (False, (gap,))
    ripe = planned(tmp_path, Storage(gap.end), {}, 30)
    assert (ripe.ripe, ripe.waiting, ripe.samples) == ((gap,), (), 120)


def test_journals_of_pieces_add_up() -> None:
    newer, older = Reach(KEY, 500, 900), Reach(KEY, 100, 500)
    gap = Reach(KEY, 900, 950)
    both = merged(Entries([newer], [gap]), Entries([older]))
    assert both == Entries([Reach(KEY, 100, 900)], [gap])
    assert merged(both, Entries(filled=[gap])) == Entries([Reach(KEY, 100, 900)], [])


def test_queries_read_no_tile_that_is_not_there_yet() -> None:
    for past in pasts(of_each_source()):
        assert TOTAL_TILE not in past.total + past.errors, past.name


def test_queries_are_valid(tmp_path: Path) -> None:
    rules = [
        {"record": f"x:{kind}:{n}", "expr": expr}
        for n, past in enumerate(pasts(of_each_source()))
        for kind, expr in (("total", past.total), ("errors", past.errors))
    ]
    file = tmp_path / "rules.yml"
    file.write_text(dump({"groups": [{"name": "past", "rules": rules}]}))
    subprocess.run([str(require("promtool")), "check", "rules", str(file)], check=True)


# The ledger


GRID = range(2 * HOUR + MINUTE, 8 * HOUR + MINUTE, MINUTE)  # promtool evaluates at full minutes


def random_tiles(seed: int) -> Tiles:
    """With single minutes, half hours and more than an hour without data."""
    rng = random.Random(seed)
    away = {t for t in GRID if rng.random() < 0.05}
    for length in (30, 95):
        begin = rng.randrange(len(GRID) - length)
        away |= set(GRID[begin : begin + length])
    total = {t: float(rng.randrange(100)) for t in GRID if t not in away}
    return Tiles(total, {t: float(rng.randrange(int(v) + 1)) for t, v in total.items()})


@pytest.mark.parametrize("seed", range(2))
def test_the_ledger_is_what_the_rules_write(tmp_path: Path, seed: int) -> None:
    """promtool runs the rules of the ledger on random tiles; both name every sample."""
    tiles = random_tiles(seed)
    found = recorded(tiles, GRID)
    labels = f'{{sli="{SLI}",service="api"}}'
    end = GRID[-1] // MINUTE
    expected = []
    for kind in ("total", "errors", "minutes"):
        for name in (closed_page(kind), open_page(kind)):
            at = dict(found.get((name, ""), []))
            for t in GRID[:-1]:
                samples = [{"labels": f"{name}{labels}", "value": at[t]}] if t in at else []
                expr = f"last_over_time({name}[59999ms])"
                expected.append(
                    {"expr": expr, "eval_time": f"{t // MINUTE}m", "exp_samples": samples}
                )
    test = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [
                    {
                        "series": f"slo:{kind}:tile1m{labels}",
                        "values": " ".join(
                            str(of[n * MINUTE]) if n * MINUTE in of else "_" for n in range(end + 1)
                        ),
                    }
                    for kind, of in (("total", tiles.total), ("errors", tiles.errors))
                ],
                "promql_expr_test": expected,
            }
        ],
    }
    group = {"name": "slo", "interval": "1m", "rules": ledger_rules([])}
    (tmp_path / "rules.yml").write_text(dump({"groups": [group]}))
    (tmp_path / "test.yml").write_text(dump(test))
    done = subprocess.run(
        [str(require("promtool")), "test", "rules", "test.yml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[:3000]


def test_every_event_is_in_one_closed_page() -> None:
    tiles = random_tiles(9)
    later = dict.fromkeys(range(GRID[-1] + MINUTE, GRID[-1] + HOUR, MINUTE), 7.0)
    for grid in (GRID, GRID[: len(GRID) - 25]):
        own = tiles.between(grid[0], grid[-1] + 1)
        found = recorded(own, grid, carried=Tiles(later, {}))
        closed = sum(v for _, v in found[closed_page("total"), ""])
        assert closed == sum(own.total.values()) + sum(later.values())
        minutes = sum(v for _, v in found[closed_page("minutes"), ""])
        assert minutes == len(own.total) + len(later)


def test_what_is_carried_over_a_month_s_end_goes_to_its_month() -> None:
    october = 1_793_491_200_000 - 20 * MINUTE  # 20 minutes before 2026-11-01
    grid = range(october - 30 * MINUTE, october, MINUTE)
    own = Tiles(dict.fromkeys(grid, 10.0), dict.fromkeys(grid, 1.0))
    later = range(october, october + 40 * MINUTE, MINUTE)
    carried = Tiles(dict.fromkeys(later, 5.0), dict.fromkeys(later, 0.0))
    found = recorded(own, grid, carried=carried, months=True)
    assert month_of(october + 20 * MINUTE) == "10"  # that tile is the last of October
    at = grid[-1]
    assert found["slo:total:month1h", "10"] == [(at, 300.0 + 21 * 5.0)]
    assert found["slo:total:month1h", "11"] == [(at, 19 * 5.0)]
    assert found["slo:total:page1h", ""] == [(at, 300.0 + 40 * 5.0)]
    assert found["slo:errors:month1h", "11"] == [(at, 0.0)]


def test_a_past_that_is_carried_whole_has_all_three_counts() -> None:
    later = {HOUR + n * MINUTE: 5.0 for n in range(10)}
    carried = Tiles(later, dict.fromkeys(later, 0.0))
    found = recorded(Tiles(), range(HOUR - MINUTE, HOUR, MINUTE), carried=carried)
    assert found["slo:total:page1h", ""] == [(HOUR - MINUTE, 50.0)]
    assert found["slo:errors:page1h", ""] == [(HOUR - MINUTE, 0.0)]
    assert found["slo:minutes:page1h", ""] == [(HOUR - MINUTE, 10.0)]


def test_months_are_written_where_the_rules_write_them() -> None:
    mixed = [spec(), spec("month", "web", period="calendar-month")]
    (past,) = pasts(mixed)
    assert isinstance(past, Past)
    assert past.calendar == frozenset({"web"})
