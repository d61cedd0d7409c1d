"""Maintenance windows, the status of an alert, plans, and the words to people."""

from __future__ import annotations

import calendar
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsloop import names
from opsloop.catalog.notify import MaintenanceWindow
from opsloop.remediation.episode import Alert, Episode, EpisodeState
from opsloop.remediation.escalation import failed_labels, running_labels, tell
from opsloop.remediation.ladder import describe
from opsloop.remediation.maintenance import in_force
from opsloop.remediation.plan import Action, Plan
from opsloop.remediation.situation import alert_status, service_facts
from tests.remediation.world import given as engine_input


def at(text: str) -> float:
    """Unix seconds of `2024-02-29 23:30`, UTC."""
    date, clock = text.split()
    year, month, day = map(int, date.split("-"))
    hour, minute = map(int, clock.split(":"))
    return calendar.timegm((year, month, day, hour, minute, 0))


def window(**fields: Any) -> dict[str, MaintenanceWindow]:
    return {"w": MaintenanceWindow.model_validate(fields)}


@pytest.mark.parametrize(
    ("fields", "when", "until"),
    [
        ({"start": "01:00", "end": "02:00"}, "2024-02-29 00:59", None),
        ({"start": "01:00", "end": "02:00"}, "2024-02-29 01:00", "2024-02-29 02:00"),
        ({"start": "01:00", "end": "02:00"}, "2024-02-29 02:00", None),
        ({"start": "22:00", "end": "24:00"}, "2024-02-29 23:59", "2024-03-01 00:00"),
        ({"start": "23:00", "end": "01:00"}, "2024-02-29 23:30", "2024-03-01 01:00"),
        ({"start": "23:00", "end": "01:00"}, "2024-03-01 00:30", "2024-03-01 01:00"),
        # 2024-02-29 was a Thursday.
        (
            {"start": "01:00", "end": "02:00", "weekdays": ["thursday"]},
            "2024-02-29 01:30",
            "2024-02-29 02:00",
        ),
        ({"start": "01:00", "end": "02:00", "weekdays": ["friday"]}, "2024-02-29 01:30", None),
        # Over midnight it belongs to the day of its start.
        (
            {"start": "23:00", "end": "01:00", "weekdays": ["thursday"]},
            "2024-03-01 00:30",
            "2024-03-01 01:00",
        ),
        ({"start": "23:00", "end": "01:00", "weekdays": ["friday"]}, "2024-03-01 00:30", None),
        ({"start": "06:00", "end": "06:00"}, "2024-02-29 05:00", "2024-02-29 06:00"),
        ({"start": "01:00", "end": "02:00", "services": ["web"]}, "2024-02-29 01:30", None),
        (
            {"start": "01:00", "end": "02:00", "services": ["api"]},
            "2024-02-29 01:30",
            "2024-02-29 02:00",
        ),
    ],
)
def test_a_maintenance_window(fields: dict[str, Any], when: str, until: str | None) -> None:
    found = in_force(window(**fields), "api", at(when))
    assert (found.until if found else None) == (at(until) if until else None)


def test_of_two_windows_the_longer_counts() -> None:
    windows = {
        "a": MaintenanceWindow.model_validate({"start": "01:00", "end": "02:00"}),
        "b": MaintenanceWindow.model_validate({"start": "01:00", "end": "03:00"}),
    }
    found = in_force(windows, None, at("2024-02-29 01:30"))
    assert found is not None
    assert found.name == "b"


@given(st.integers(0, 4_000_000_000), st.integers(0, 1439), st.integers(0, 1439))
def test_a_window_ends_after_now_and_within_a_day(now: int, start: int, end: int) -> None:
    found = in_force(
        window(start=f"{start // 60:02}:{start % 60:02}", end=f"{end // 60:02}:{end % 60:02}"),
        "api",
        now,
    )
    if found is not None:
        assert now < found.until <= now + 86_400
    if start == end:
        assert found is not None  # written as a whole day: the loop rather does nothing


EPISODE = Episode(
    id=1,
    fingerprint="f1",
    starts_at=1.0,
    labels={
        "alertname": "ServiceDown",
        names.SERVICE: "api",
        names.TEAM: "shop",
        names.SEVERITY: "P0",
        names.POLICY: "restart-down",
        names.INSTANCE: "127.0.0.1:8001",
    },
    annotations={"summary": "api is down", "description": "long", "runbook_url": "r"},
    firing=True,
    state=EpisodeState.NEW,
    first_seen=1.0,
    last_seen=1.0,
    ended_at=None,
    due_at=None,
    reason="",
)


def listed(*inhibitors: Alert, **fields: Any) -> list[Alert]:
    own = Alert("f1", 1.0, True, EPISODE.labels, **fields)
    return [own, *inhibitors]


def word(**labels: str) -> Alert:
    return Alert("x1", 1.0, True, running_labels(EPISODE) | labels)


def test_an_alert_that_is_not_listed_is_not_muted() -> None:
    status = alert_status(EPISODE, [])
    assert (status.known, status.silenced_by, status.inhibited_by) == (True, (), ())


def test_own_inhibition_is_left_out_and_any_other_is_named() -> None:
    assert alert_status(EPISODE, listed(word(), inhibited_by=("x1",))).inhibited_by == ()
    other = word(**{names.INSTANCE: "127.0.0.1:8000"})
    assert alert_status(EPISODE, listed(other, inhibited_by=("x1",))).inhibited_by == (
        names.REMEDIATION_RUNNING,
    )
    another = word(**{names.ORIGINAL: "HighLatency"})
    assert alert_status(EPISODE, listed(another, inhibited_by=("x1",))).inhibited_by
    foreign = word(alertname="NodeDown")
    assert alert_status(EPISODE, listed(foreign, inhibited_by=("x1",))).inhibited_by == (
        "NodeDown",
    )
    # An inhibitor that is not in the list cannot be known to be ours.
    assert alert_status(EPISODE, listed(inhibited_by=("gone",))).inhibited_by == ("gone",)


def test_a_silence_is_never_left_out() -> None:
    assert alert_status(EPISODE, listed(word(), silenced_by=("s",))).silenced_by == ("s",)


def test_the_labels_of_the_engines_alerts_inhibit_their_original() -> None:
    for labels in (running_labels(EPISODE), failed_labels(EPISODE, 7)):
        assert all(labels[name] == EPISODE.labels[name] for name in names.EPISODE_LABELS)
        assert labels[names.ORIGINAL] == "ServiceDown"
        assert labels[names.SEVERITY] == "P0"
    assert failed_labels(EPISODE, 7)[names.RUN] == "7"
    assert names.RUN not in failed_labels(EPISODE, None)
    no_instance = replace(
        EPISODE, labels={k: v for k, v in EPISODE.labels.items() if k != "instance"}
    )
    assert names.INSTANCE not in running_labels(no_instance)


def test_people_read_what_fired_what_was_not_done_and_what_to_do() -> None:
    plan = Plan("p", "api", 0, (Action("restart", "api", "api:api-1"),), ("api:api-1",))
    words = tell(EPISODE, "mode is approve", [], {}, plan)
    assert "Nothing was tried." in words["description"]
    assert "Fired: api is down" in words["description"]
    assert "To do: restart api:api-1." in words["description"]
    assert words["runbook_url"] == "r"
    assert words["summary"].startswith("ServiceDown on api (127.0.0.1:8001) needs a person")


def test_plans_in_words() -> None:
    def plan(*actions: Action) -> Plan:
        return Plan("p", "api", 0, actions, ("api",))

    assert describe(plan(Action("restart", "api", "a"), Action("restart", "api", "b"))) == (
        "restart a, b one by one"
    )
    assert describe(plan(Action("scale_in", "api", "api", wanted=2))) == (
        "scale api in to 2 instances"
    )


def test_what_the_catalog_says_of_a_service() -> None:
    given_input = engine_input()
    api = service_facts(given_input, "api")
    assert api is not None
    assert (api.wanted, api.depends_on, api.health) == (2, ("database",), "/healthz")
    assert api.stale_after_s == 20
    assert service_facts(given_input, "nobody") is None
    assert service_facts(given_input, None) is None
