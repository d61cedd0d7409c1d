"""The three sentences of the console's first page, in each state that a stack can be in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from opsloop.drivers.listed import Listed, Rule, RuleAlert
from opsloop.remediation.approval import Approval
from opsloop.remediation.episode import Alert, Episode, EpisodeState
from opsloop.remediation.plan import Run, RunState
from opsloop.report.alerts import Board, Missing, Sources, board
from opsloop.report.glance import Glance, Seen, glance, troubles
from opsloop.report.slo import Budget
from tests.store.samples import plan

NOW = 1_800_000_000.0  # 2027-01-15 08:00:00 UTC
DOWN = {
    "alertname": "ServiceDown",
    "severity": "P0",
    "service": "api",
    "instance": "127.0.0.1:8000",
    "policy": "restart-down",
}
SLOW = {"alertname": "HighLatency", "severity": "P1", "service": "web"}
SUMMARY = "api 127.0.0.1:8000 is down"
GOOD = Budget("api", "availability", "99.5%", "30d", 0.005, 0.9993, 0.86, burn={"5m": 0.2})
BURNING = replace(GOOD, left=0.61, burn={"5m": 14.2, "1h": 3.0}, spent_in_s=36_000.0)


def listed(labels: dict[str, str], at: float = NOW - 34, **status: Any) -> Listed:
    alert = Alert("a1", at, True, labels, {"summary": SUMMARY}, NOW + 240, **status)
    return Listed(alert, ("people",))


def rule(labels: dict[str, str], at: float | None = None, state: str = "firing") -> Rule:
    alerts = [] if at is None else [RuleAlert(state, at, labels, {"summary": SUMMARY}, 1.0)]
    return Rule(labels["alertname"], 0.0, labels, alerts=tuple(alerts))


def episode(state: EpisodeState, reason: str = "") -> Episode:
    return Episode(7, "a1", NOW - 34, DOWN, {}, True, state, NOW, NOW, None, None, reason)


def run(state: RunState, **changed: Any) -> Run:
    found = Run(12, 7, "restart-down", "api", 0, state, plan(), 1, NOW - 10, NOW - 9, None, None,
                None, "", {})  # fmt: skip
    return replace(found, **changed)


def seen(
    *,
    firing: dict[str, str] | None = None,
    state: EpisodeState | None = None,
    reason: str = "",
    doing: Run | None = None,
    budgets: list[Budget] | None = None,
    **more: Any,
) -> Seen:
    rules = [rule(DOWN, NOW - 34 if firing == DOWN else None), rule(SLOW)]
    sources = Sources(
        NOW,
        rules,
        [listed(firing)] if firing else [],
        episodes=[episode(state, reason)] if state else [],
        runs={7: doing} if doing else {},
        paused=more.pop("paused", False),
        paused_why=more.pop("paused_why", ""),
        missing=more.pop("missing", ()),
    )
    shown = [GOOD] if budgets is None else budgets
    return Seen(NOW, board(sources), shown, mode="auto", objectives=1, **more)


def texts(found: Glance) -> tuple[str, ...]:
    return (found.state, *(line.text for line in found.lines))


def test_healthy() -> None:
    assert texts(glance(seen())) == (
        "healthy",
        "Nothing is broken: 2 alert rules are quiet.",
        "The one objective is within its budget: 86 % of api/availability is left.",
        "The loop stands ready; it has done nothing yet.",
    )


def test_healthy_names_what_may_fire_soon() -> None:
    sources = Sources(NOW, [rule(DOWN, NOW - 4, "pending"), rule(SLOW)], [])
    assert glance(Seen(NOW, board(sources), [GOOD])).broken.text == (
        "Nothing is broken; an alert may fire soon: api 127.0.0.1:8000 is down."
    )


def test_healthy_names_what_was_healed_last() -> None:
    last = run(RunState.VERIFIED, finished_at=NOW - 60, created_at=NOW - 78)
    assert glance(seen(last_run=last)).doing.text == (
        "The loop stands ready; last it healed api at 07:59:00 UTC (run 12, 18 s)."
    )


def test_burning_with_no_policy() -> None:
    found = glance(seen(firing=SLOW, budgets=[replace(BURNING, service="web")]))
    assert texts(found) == (
        "burning",
        "api 127.0.0.1:8000 is down, since 07:59:26 UTC (34 s).",
        (
            "It costs web/availability: 14x as fast as its budget allows, 61 % is left, and at this"
            " pace nothing in 10 h."
        ),
        "Nothing acts on HighLatency by itself: no policy covers it.",
    )


def test_a_budget_that_burns_while_nothing_fires_is_burning() -> None:
    found = glance(seen(budgets=[BURNING]))
    assert found.state == "burning"
    assert found.broken.text.startswith("Nothing is broken")
    assert found.cost.text.startswith("It costs api/availability")
    assert found.cost.link == "/slo/api/availability"


def test_healing() -> None:
    found = glance(seen(firing=DOWN, state=EpisodeState.RUNNING, doing=run(RunState.ACTING)))
    assert texts(found) == (
        "healing",
        "api 127.0.0.1:8000 is down, since 07:59:26 UTC (34 s).",
        "No budget burns faster than it may: 86 % of api/availability is left.",
        "The loop acts since 9.0 s: restart api:api-0 (run 12).",
    )
    assert found.doing.link == "/runs/12"


def test_what_the_engine_inhibits_while_it_acts_is_still_broken() -> None:
    running = {**DOWN, "alertname": "RemediationRunning", "original": "ServiceDown"}
    held = listed(DOWN, inhibited_by=("r1",))
    post = Listed(Alert("r1", NOW, True, running, {}, NOW + 60), ("engine",))
    sources = Sources(
        NOW,
        [rule(DOWN, NOW - 34)],
        [held, post],
        episodes=[episode(EpisodeState.RUNNING)],
        runs={7: run(RunState.VERIFYING, good_since=NOW - 4)},
    )
    found = glance(Seen(NOW, board(sources), [GOOD]))
    assert found.state == "healing"
    assert found.doing.text == (
        "The loop did it (restart api:api-0) and checks whether it helped, good for 4.0 s (run 12)."
    )


def test_waiting_for_a_person() -> None:
    asked = Approval(3, 7, plan(), NOW - 60, NOW + 840)
    found = glance(seen(firing=DOWN, state=EpisodeState.ASKED, approvals=[asked]))
    assert found.state == "waiting"
    assert found.doing.text == (
        "It waits for a person: may the loop restart api:api-0? Answer within 14 min."
    )


@pytest.mark.parametrize(
    "answered", [{"approved_by": "anna"}, {"expires_at": NOW - 1}], ids=["approved", "expired"]
)
def test_what_is_answered_does_not_wait(answered: dict[str, Any]) -> None:
    asked = replace(Approval(3, 7, plan(), NOW - 60, NOW + 840), **answered)
    assert glance(seen(firing=DOWN, approvals=[asked])).state == "burning"


def test_waiting_because_the_loop_could_not_fix_it() -> None:
    failed = run(RunState.FAILED, finished_at=NOW - 1)
    found = glance(
        seen(firing=DOWN, state=EpisodeState.ESCALATED, reason="all steps failed", doing=failed)
    )
    assert found.state == "waiting"
    assert found.doing.text == (
        "It waits for a person: the loop could not fix ServiceDown: all steps failed."
    )
    assert found.doing.link == "/runs/12"


def test_what_the_loop_gave_to_people_waits_for_them_when_its_original_is_gone() -> None:
    post = {**DOWN, "alertname": "RemediationFailed", "original": "ServiceDown"}
    alert = Alert("p1", NOW - 34, True, post, {"summary": "the only step was tried"}, NOW + 60)
    found = glance(Seen(NOW, board(Sources(NOW, [], [Listed(alert, ())])), [GOOD]))
    assert found.state == "waiting"
    assert found.broken.text.startswith("the only step was tried, since ")
    assert found.doing.text == "It waits for a person: the loop could not fix ServiceDown."


def test_prometheus_dead_from_the_beginning() -> None:
    found = glance(Seen(NOW, None, None, blind="connection refused"))
    assert found.state == "blind"
    assert found.broken.text == (
        "Prometheus does not answer, so what is broken now is not known; the last that was seen:"
        " nothing fired."
    )
    assert found.cost.text == "What it costs is not known: no error budget has been read yet."
    assert "does not act on what it cannot see" in found.doing.text


def test_prometheus_dead_shows_the_last_values_with_their_age() -> None:
    missing = (Missing("Prometheus", "connection refused", ""),)
    given = seen(firing=DOWN, budgets=[BURNING], missing=missing)
    found = glance(replace(given, blind="connection refused", blind_since=NOW - 40))
    assert found.state == "blind"
    assert found.broken.text == (
        "Prometheus does not answer since 07:59:20 UTC (40 s), so what is broken now is not known;"
        f" the last that was seen: {SUMMARY}."
    )
    assert "61 % is left when Prometheus answered last" in found.cost.text


def test_paused_is_said_whatever_else_is_true() -> None:
    for given in (
        seen(paused=True, paused_why="moving racks"),
        seen(firing=DOWN, paused=True, paused_why="moving racks"),
        replace(seen(paused=True, paused_why="moving racks"), blind="x"),
    ):
        assert glance(given).doing.text.startswith("The loop is paused (moving racks). ")


def test_without_objectives_no_budget_is_named() -> None:
    assert glance(replace(seen(budgets=[]), objectives=0)).cost.text == (
        "No objective is declared, so no error budget can be spent."
    )
    assert "not measured yet" in glance(seen(budgets=[])).cost.text
    uncounted = glance(seen(firing=SLOW)).cost.text
    assert uncounted == "No error budget counts web, so none is spent by it."


def test_what_an_alert_says_of_itself_stays_on_one_line() -> None:
    found = Board((), Sources(NOW))
    assert troubles(found) == []
    labels = {**DOWN, "alertname": "Odd"}
    alert = Alert("a1", NOW, True, labels, {"summary": "one\ntwo\u202e <b>"}, NOW + 1)
    sources = Sources(NOW, [], [Listed(alert, ())])
    text = glance(Seen(NOW, board(sources), [GOOD])).broken.text
    assert text.startswith("one two\ufffd <b>")


def test_the_worst_comes_first_and_the_rest_are_counted() -> None:
    other = Listed(Alert("b2", NOW - 5, True, SLOW, {"summary": "web is slow"}, NOW + 1), ())
    sources = Sources(NOW, [], [other, listed(DOWN)])
    text = glance(Seen(NOW, board(sources), [GOOD])).broken.text
    assert text == f"{SUMMARY}, since 07:59:26 UTC (34 s), and 1 more alert fires."
