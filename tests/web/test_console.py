"""The console's pages: what they say in each state, what people may do, what bad input gets."""

from __future__ import annotations

import html
import math
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest

from opsloop.remediation.ports import Sample
from opsloop.web import world
from tests.web import console_stage
from tests.web.console_stage import DOWN, HOST, PAGE, PASSWORD, Stage, stage

PAGES = [
    "/",
    "/services",
    "/services/api",
    "/services/web",
    "/slo",
    "/slo/api/availability",
    "/alerts",
    "/alerts?all=1",
    "/runs",
    "/dashboards",
    "/dashboards/opsloop-overview",
    "/dashboards/opsloop-signals?var-service=api",
    "/dashboards/opsloop-slo",
    "/dashboards/opsloop-remediation",
    "/targets",
    "/inbox",
    "/audit",
    "/query?expr=up",
    "/explain/opsloop-overview/1",
    "/explain/slo/api/availability",
]
CHART = "/api/panels/opsloop-overview/7?range=1h"
EVIL = '"><script>alert(1)</script><img src=x onerror=alert(2)>'


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Stage]:
    with stage(tmp_path) as found:
        yield found


def sentences(text: str) -> list[str]:
    """The three of the overview."""
    section = text.partition('id="glance"')[2].partition("</section>")[0]
    found = re.findall(r"<p>(.*?)</p>", section)
    return [html.unescape(re.sub(r"<[^>]*>", "", line)) for line in found]


# What pages say


@pytest.mark.parametrize("state", ["new", "healthy", "burning", "healing", "waiting", "blind"])
def test_every_page_is_one_in_every_state(at: Stage, state: str) -> None:
    setup(at, state)
    for path in PAGES:
        text = at.page(path)
        assert "<h1" in text, path
        assert "Undefined" not in text, path


def setup(at: Stage, state: str) -> None:
    if state == "healthy":
        console_stage.healthy(at)
    elif state == "burning":
        console_stage.burning(at, {k: v for k, v in DOWN.items() if k != "policy"})
    elif state == "healing":
        console_stage.acts(at)
    elif state == "waiting":
        console_stage.asks(at)
    elif state == "blind":
        console_stage.burning(at)
        at.page("/")
        at.metrics.dead = True
        at.refresh()


DOWN_SINCE = r"api is down, since \d\d:\d\d:\d\d UTC \(\d+ s\)\."
WITHIN = r"No budget burns faster than it may: 86 % of api/availability is left\."
SAID = {
    "healthy": (
        r"Nothing is broken: 1 alert rule is quiet\.",
        r"The one objective is within its budget: 86 % of api/availability is left\.",
        r"The loop stands ready; it has done nothing yet\.",
    ),
    "burning": (
        DOWN_SINCE,
        WITHIN,
        (
            r"Nothing acts on ServiceDown by itself: no policy covers it;"
            r" people were told: slack .*\."
        ),
    ),
    "healing": (
        DOWN_SINCE,
        WITHIN,
        r"The loop acts since \d+ s: restart api:api-0 \(run 1\)\.",
    ),
    "waiting": (
        DOWN_SINCE,
        WITHIN,
        (
            r"It waits for a person: may the loop restart api:api-0\? Answer within 1[45]"
            r" min( \d+ s)?\."
        ),
    ),
    "blind": (
        (
            r"Prometheus does not answer since .*, so what is broken now is not known;"
            r" the last that was seen: api is down\."
        ),
        (
            r"No budget burns faster than it may: 86 % of api/availability is left"
            r" when Prometheus answered last\."
        ),
        (
            r"The loop does not act on what it cannot see; look at Prometheus first"
            r" \(opsloop logs prometheus\)\."
        ),
    ),
}


@pytest.mark.parametrize("state", SAID)
def test_the_first_page_begins_with_three_sentences(at: Stage, state: str) -> None:
    """What is broken, what it costs, and what is being done, in each state."""
    setup(at, state)
    said = sentences(at.page("/"))
    assert len(said) == 3
    for found, wanted in zip(said, SAID[state], strict=True):
        assert re.fullmatch(wanted, found), found
    assert at.client.get("/api/glance").json()["state"] == state
    tone = {"healthy": "good", "healing": "info", "waiting": "warn"}.get(state, "bad")
    assert f'class="glance {tone}"' in at.page("/")


def test_a_dead_prometheus_shows_the_last_values_with_their_age(at: Stage) -> None:
    setup(at, "blind")
    at.desk.dead = True
    at.refresh()
    text = at.page("/")
    assert sentences(text)[0].startswith("Prometheus does not answer since ")
    assert "cannot be read now" in text
    assert "shown as of" in text
    assert "connection refused" in text
    assert "api is down" in text  # the last that was seen
    assert "86 %" in at.page("/slo")
    assert at.client.get("/healthz").json() == {"status": "ok"}  # that is not the console's


def test_one_page_for_all_viewers_is_one_question(
    at: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.monotonic(), time.time()
    monkeypatch.setattr(at.world.shared, "_clock", lambda: now[0])
    monkeypatch.setattr(at.world, "clock", lambda: now[1])
    at.page("/dashboards/opsloop-overview")
    asked = len(at.metrics.asked)
    for _ in range(20):
        at.page("/dashboards/opsloop-overview")
    assert len(at.metrics.asked) == asked
    assert len(set(at.metrics.asked)) == asked  # and identical ones were made once


def test_a_run_is_told_from_alert_to_verdict(at: Stage) -> None:
    number = console_stage.heals(at, output=f"{EVIL}\nsecond line")
    text = at.page(f"/runs/{number}")
    for part in ("What fired", "What was decided", "What was done", "Evidence", "Timeline"):
        assert part in text
    assert "second line" in text
    assert "restart api:api-0" in text
    assert "<script>alert" not in text


def test_alerts_can_be_narrowed_by_the_address(at: Stage) -> None:
    setup(at, "burning")
    assert "api is down" in at.page("/alerts?alertname=ServiceDown&service=api")
    assert "Nothing fires that fits." in at.page("/alerts?alertname=HighLatency")


def test_how_a_number_is_made(at: Stage) -> None:
    console_stage.healthy(at)
    at.metrics.values["slo:error_budget:left_ratio"] = [Sample({"slo": "x"}, 0.8600000000000001)]
    text = html.unescape(at.page("/explain/slo/api/availability"))
    assert '{service="api",slo="availability"}' in text
    assert "0.005" in text


# Charts


def test_a_chart_is_answered_on_a_grid(at: Stage) -> None:
    path = chart_of(at)
    at.metrics.points = [1.0, math.nan, math.inf, -math.inf, 5.0]
    found = at.client.get(path).json()
    assert found["count"] == round(3600 / found["step"]) + 1
    for one in found["series"]:
        assert len(one["v"]) == found["count"]
        assert one["v"][:5] == [1.0, None, None, None, 5.0]


def chart_of(at: Stage, path: str = "/dashboards/opsloop-overview") -> str:
    return html.unescape(at.page(path).partition('data-chart="')[2].partition('"')[0])


def test_nothing_is_an_answer_too(at: Stage) -> None:
    at.metrics.series_labels = []
    assert at.client.get(chart_of(at)).json()["series"] == []


def test_a_million_points_are_cut_to_what_can_be_drawn(at: Stage) -> None:
    at.metrics.series_labels = [{"instance": str(i)} for i in range(5000)]
    answer = at.client.get(chart_of(at))
    found = answer.json()
    assert found["count"] * 5000 > 1_000_000
    assert sum(len(s["v"]) for s in found["series"]) <= found["count"] * 50 * 4
    assert len(answer.content) < 1_000_000
    assert found["left_out"] >= 4950


def test_a_query_that_never_ends_holds_no_page(at: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each page is there after its deadline, with what it has and the reason for the rest."""
    monkeypatch.setattr(world, "DEADLINE_S", 0.05)
    ends = threading.Event()
    monkeypatch.setattr(at.metrics, "_answer", lambda _: ends.wait(60))
    try:
        for path in ("/", "/services", "/targets"):
            assert "no answer within 0.05 s" in at.page(path), path
        assert "no answer within" in at.client.get(CHART).json()["error"]
        assert at.client.get("/healthz").json() == {"status": "ok"}
    finally:
        ends.set()


def test_a_thousand_series_are_cut_and_that_is_said(at: Stage) -> None:
    at.metrics.series_labels = [{"instance": str(i)} for i in range(1000)]
    found = at.client.get(chart_of(at)).json()
    assert found["left_out"] >= 950
    assert len(found["series"]) <= 50 * 4


def test_ten_years_are_no_question_for_prometheus(at: Stage) -> None:
    path = chart_of(at).partition("?")[0]
    answer = at.client.get(f"{path}?from=0&to={time.time():.0f}")
    assert answer.status_code == 200
    *_, last = (a for a in at.metrics.asked if "@" in a)
    start, end, step = map(float, last.rsplit("@", 1)[1].split())
    assert end - start <= 90 * 86400
    assert (end - start) / step <= 241


def test_a_time_of_the_past_shows_the_numbers_of_then(at: Stage) -> None:
    """As Grafana does: a single value is that of the end of the chosen time."""
    at.page("/dashboards/opsloop-overview?from=1699999800&to=1700003400")
    instant = [a for a in at.metrics.asked if a.startswith("count(up{")]
    assert instant
    assert all(a.endswith(" @ 1700003400") for a in instant)
    asked = len(at.metrics.asked)
    at.page("/explain/opsloop-overview/1?from=1699999800&to=1700003400")
    assert all(a.endswith(" @ 1700003400") or "group by" in a for a in at.metrics.asked[asked:])


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/dashboards/nosuch", 404),
        ("/api/panels/opsloop-overview/99999", 404),
        ("/api/panels/opsloop-overview/1?range=zzz", 400),
        ("/dashboards/opsloop-overview?from=nan", 400),
        ("/services/nosuch", 404),
        ("/slo/api/nosuch", 404),
        ("/runs/12345", 404),
        ("/runs/99999999999999999999", 404),
        ("/approvals/77", 404),
        ("/nosuch", 404),
        ("/static/../console.py", 404),
        ("/static/%2e%2e/console.py", 404),
    ],
)
def test_what_is_not_there_is_said(at: Stage, path: str, status: int) -> None:
    answer = at.client.get(path, headers=PAGE)
    assert answer.status_code == status
    assert "Traceback" not in answer.text
    assert "import annotations" not in answer.text


def test_the_browser_names_panels_and_no_queries(at: Stage) -> None:
    at.client.get(chart_of(at) + "&query=evil&expr=evil")
    assert not any("evil" in a for a in at.metrics.asked)
    at.page('/dashboards/opsloop-signals?var-service=x"}) or vector(1) or ({a="')
    wild = [a for a in at.metrics.asked if "vector(1) or ({" in a]
    assert all(r"x\"}) or vector(1)" in a for a in wild)


# What comes from outside


def test_nothing_from_outside_is_taken_for_html(at: Stage) -> None:
    for path in [*PAGES, *console_stage.hostile(at, EVIL), f"/query?expr={quote(EVIL)}"]:
        text = at.page(path)
        assert "<script>alert" not in text, path
        assert "<img src=x" not in text, path
        assert 'href="javascript:' not in text, path
        assert 'href="//evil' not in text, path


def test_a_page_may_load_nothing_from_elsewhere(at: Stage) -> None:
    for path in ("/", "/nosuch", "/healthz", "/static/console.css"):
        headers = at.client.get(path, headers=PAGE).headers
        assert headers["content-security-policy"].startswith("default-src 'self'; ")
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
    text = at.page("/services/api")
    assert not re.search(r"<[^>]+\s(style|on\w+)=", text)  # which the policy would refuse
    assert not re.search(r"<script(?![^>]* src=)", text)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "[", "a" * 5000])
def test_another_host_name_is_not_served(at: Stage, host: str) -> None:
    answer = at.client.get("/", headers={**PAGE, "host": host})
    assert answer.status_code == 421
    assert "three" not in answer.text


# What people do


def test_a_plan_is_approved_once_by_one_of_two(at: Stage) -> None:
    number = console_stage.asks(at)
    assert "May the loop restart api:api-0?" in at.page("/runs")
    text = at.send(f"/approvals/{number}/approve", why="it is broken")
    assert "local approved: restart api:api-0." in text
    (approval,) = at.store.all_approvals()
    assert (approval.approved_by, approval.why) == ("local", "it is broken")
    again = at.send(f"/approvals/{number}/approve", 409, why="me too")
    assert "Too late" in again
    assert at.store.all_approvals()[0].approved_by == "local"
    assert "approved" in at.page("/audit")


def test_of_two_who_answer_at_the_same_moment_one_is_too_late(at: Stage) -> None:
    number, csrf = console_stage.asks(at), at.token()
    begin = threading.Barrier(8)

    def answer(word: str) -> int:
        begin.wait(30)
        data = {"csrf": csrf, "back": "/runs", "why": word}
        path = f"/approvals/{number}/{word}"
        answer = at.client.post(path, data=data, headers=PAGE, follow_redirects=False)
        return int(answer.status_code)

    with ThreadPoolExecutor(8) as people:
        codes = sorted(people.map(answer, ["approve", "reject"] * 4))
    assert codes == [303] + [409] * 7
    (approval,) = at.store.all_approvals()
    assert approval.why == ("approve" if approval.approved_by else "local: reject")


def test_a_plan_is_rejected(at: Stage) -> None:
    number = console_stage.asks(at)
    assert "local rejected" in at.send(f"/approvals/{number}/reject", why="no")
    assert str(at.store.all_approvals()[0].ending) == "rejected"


def test_the_kill_switch_is_on_every_page(at: Stage) -> None:
    assert "The loop is paused" in at.send("/pause", why="moving racks")
    assert at.store.paused() == (True, "moving racks (local)")
    for path in PAGES:
        assert "The loop is paused" in at.page(path), path
    assert "may act again" in at.send("/resume")
    assert "The loop is paused" not in at.page("/slo")


def test_an_alert_is_acknowledged_until_it_fires_anew(at: Stage) -> None:
    setup(at, "burning")
    key = at.page("/alerts").partition('name="key" value="')[2].partition('"')[0]
    assert "local has seen ServiceDown of api." in at.send(
        "/alerts/acknowledge", key=key, back="/alerts"
    )
    assert "Seen by local" in at.page("/alerts")
    fires = at.desk.fires[0]
    at.desk.fires = [replace(fires, alert=replace(fires.alert, starts_at=time.time() + 9))]
    at.refresh()
    assert "Seen by local" not in at.page("/alerts")
    assert "does not fire any more" in at.send("/alerts/acknowledge", 409, key="gone")


def test_an_alert_is_silenced_and_that_is_ended(at: Stage) -> None:
    setup(at, "burning")
    matchers = 'alertname="ServiceDown"\nservice="api"'
    fields = {"matchers": matchers, "for": "1h", "why": "new racks", "back": "/alerts"}
    assert "Silenced for 1h" in at.send("/silences", 200, **fields)
    (made,) = at.desk.made
    assert [str(m) for m in made.matchers] == ['alertname="ServiceDown"', 'service="api"']
    assert made.ends_at - made.starts_at == 3600
    assert (made.created_by, made.comment) == ("local", "new racks")
    at.send(f"/silences/{made.id}/end", back="/alerts")
    assert at.desk.ended == [made.id]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"matchers": "", "for": "1h", "why": "x"}, "has no matcher"),
        ({"matchers": "nonsense", "for": "1h", "why": "x"}, "is not LABEL=VALUE"),
        ({"matchers": "service=api", "for": "1h", "why": " "}, "has no reason"),
        ({"matchers": "service=api", "for": "2d", "why": "x"}, "not within"),
        ({"matchers": "service=api", "for": "soon", "why": "x"}, "for"),
        ({"matchers": "service=~.*", "for": "1h", "why": "x"}, "would mute every alert"),
    ],
)
def test_a_silence_that_hides_too_much_is_refused(
    at: Stage, fields: dict[str, str], said: str
) -> None:
    assert said in at.send("/silences", 400, **fields)
    assert at.desk.made == []


def test_a_deploy_is_marked(at: Stage) -> None:
    at.send("/annotations", text="deploy v12", back="/dashboards/opsloop-overview")
    (mark,) = at.client.get("/api/marks?range=1h").json()["marks"]
    assert (mark["kind"], mark["text"]) == ("deploy", "deploy v12")
    assert "has no text" in at.send("/annotations", 400, text="  ")


def test_runs_and_alerts_are_marks_too(at: Stage) -> None:
    console_stage.heals(at)
    found = at.client.get("/api/marks?range=1h&service=api").json()["marks"]
    assert {m["kind"] for m in found} == {"run", "alert"}
    assert at.client.get("/api/marks?range=1h&service=web").json()["marks"] == []


@pytest.mark.parametrize(
    ("headers", "csrf"),
    [
        ({"origin": "http://evil.example"}, None),
        ({"origin": "null"}, None),
        ({}, ""),
        ({}, "wrong"),
    ],
)
def test_a_form_of_another_page_changes_nothing(
    at: Stage, headers: dict[str, str], csrf: str | None
) -> None:
    data = {"csrf": at.token() if csrf is None else csrf}
    answer = at.client.post("/pause", data=data, headers={**PAGE, **headers})
    assert answer.status_code == 403
    assert at.store.paused()[0] is False


def test_a_form_that_is_too_large_is_not_read(at: Stage) -> None:
    answer = at.client.post("/pause", data={"why": "x" * 200_000}, headers=PAGE)
    assert answer.status_code == 413


def test_a_way_back_stays_here(at: Stage) -> None:
    for back in ("//evil.example", "https://evil.example", "/\\evil.example", "javascript:x"):
        data = {"csrf": at.token(), "back": back}
        answer = at.client.post("/pause", data=data, headers=PAGE, follow_redirects=False)
        assert answer.headers["location"].startswith("/?said=")


# Machines


def test_it_is_scraped_with_the_stacks_password(at: Stage) -> None:
    assert at.client.get("/metrics").status_code == 401
    answer = at.client.get("/metrics", auth=("opsloop", PASSWORD))
    assert answer.status_code == 200
    for name in ("opsloop_console_requests_total", "opsloop_console_questions_total"):
        assert name in answer.text


def test_programs_read_the_sentences(at: Stage) -> None:
    console_stage.healthy(at)
    found = at.client.get("/api/glance").json()
    assert set(found) == {"state", "broken", "cost", "doing"}
    assert found["state"] == "healthy"


def test_files_may_be_kept_since_their_address_has_their_hash(at: Stage) -> None:
    address = re.search(r"/static/console\.css\?[0-9a-f]{12}", at.page("/"))
    assert address is not None
    assert "immutable" in at.client.get(address[0]).headers["cache-control"]
    assert at.client.get("/", headers={**PAGE, "host": HOST}).headers["cache-control"] == "no-store"
