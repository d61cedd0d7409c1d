"""What arrives at each kind of receiver, and when nobody is told, through the real Alertmanager."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from opsloop import names
from opsloop.web.vendors import check_webhook
from tests.compile.test_alertmanager_live import Stage, stage
from tests.support.smtp import smtp_sink
from tests.support.wait import wait_until
from tests.support.webhook import receiver

FAST = """\
apiVersion: opsloop/v1
stack: {scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms, loop_interval: 500ms}
"""
SHOP = (
    FAST
    + """\
services:
  db: {team: data, postgres: {host: 127.0.0.1, port: 5499}}
  api: {team: shop, targets: {static: ["a:1"]}, metrics: http, depends_on: [db],
        slos: {availability: {objective: 99%, sli: availability}}}
  web: {team: shop, targets: {static: ["w:1"]}, metrics: http, depends_on: [api]}
"""
)


def alert(name: str, severity: str, service: str = "api", **more: str) -> dict[str, str]:
    labels = {"alertname": name, "severity": severity, "service": service, "environment": "demo"}
    return {**labels, "team": "shop", **more}


def clock(at: datetime) -> str:
    return at.strftime("%H:%M")


def heard(s: Stage, *words: str) -> None:
    for word in words:
        s.until_told(word)


TOKYO = ZoneInfo("Asia/Tokyo")


def test_quiet_hours_of_another_place_hold_now_and_p0_passes(tmp_path: Path) -> None:
    now, hour = datetime.now(TOKYO), timedelta(hours=2)
    quiet = f"{{start: '{clock(now - hour)}', end: '{clock(now + hour)}', location: Asia/Tokyo}}"
    text = SHOP + f"notifications: {{quiet_hours: {quiet}}}\n"
    with stage(tmp_path, engine=False, text=text) as s:
        for severity in ("P1", "P2"):
            s.post(alert("Muted", severity))
            s.post(alert(names.REMEDIATION_FAILED, severity, policy="p", original="Muted"))
        s.post(alert("Heard", "P0"))
        s.post(alert(names.REMEDIATION_FAILED, "P0", policy="p", original="Heard"))
        heard(s, "[P0] Heard: api", "[P0] RemediationFailed of Heard: api")
        s.post(alert("Later", "P0", service="web"))  # a whole wait after the others
        heard(s, "Later")
        assert not [m for m in s.slack() if "Muted" in m]
        wait_until(lambda: len(s.pages()) == 3, "all of P0 reach PagerDuty")


@pytest.mark.parametrize("why", ["the hours are others", "the day is another"])
def test_quiet_hours_that_do_not_hold_now_mute_nothing(tmp_path: Path, why: str) -> None:
    now = datetime.now(TOKYO)
    if why == "the hours are others":
        times = (
            f"start: '{clock(now + timedelta(hours=3))}', end: '{clock(now + timedelta(hours=5))}'"
        )
    else:
        days = [(now + timedelta(days=n)).strftime("%A").lower() for n in (2, 3, 4, 5)]
        times = f"start: '00:00', end: '24:00', weekdays: [{', '.join(days)}]"
    text = SHOP + f"notifications: {{quiet_hours: {{{times}, location: Asia/Tokyo}}}}\n"
    with stage(tmp_path, engine=False, text=text) as s:
        for severity in ("P0", "P1", "P2"):
            s.post(alert(f"At{severity}", severity))
        heard(s, "AtP0", "AtP1", "AtP2")


def test_a_window_mutes_its_services_now_and_another_does_not(tmp_path: Path) -> None:
    now, hour = datetime.now(UTC), timedelta(hours=2)
    windows = (
        f"    now: {{services: [db], start: '{clock(now - hour)}', end: '{clock(now + hour)}'}}\n"
        f"    later: {{services: [api], start: '{clock(now + hour)}',"
        f" end: '{clock(now + 2 * hour)}'}}\n"
    )
    teams = "  teams: {data: {slack: '#data'}, shop: {slack: '#shop'}}\n"
    text = SHOP + f"notifications:\n{teams}  maintenance:\n{windows}"
    with stage(tmp_path, engine=False, text=text) as s:
        s.post(alert("Muted", "P0", service="db", team="data"))
        s.post(alert("Heard", "P0", service="api"))
        s.post(alert("Heard", "P1", service="elsewhere", team="data"))
        heard(s, "[P0] Heard: api", "[P1] Heard: elsewhere")
        assert not [m for m in s.slack() if "Muted" in m]


def test_a_database_that_takes_everything_down_is_one_page(tmp_path: Path) -> None:
    with stage(tmp_path, engine=False, text=SHOP) as s:
        for labels in (
            alert("HighErrorRate", "P0"),
            alert("HighLatency", "P1"),
            alert("ServiceDown", "P0", instance="a:1"),
            alert("ServiceDown", "P0", service="web", instance="w:1"),
            alert("HighErrorRate", "P0", service="web"),
            alert("SLOBurnRateCritical", "P0", slo="availability"),
            alert("SLODataMissing", "P1", slo="availability"),
            # The cause comes last, within the wait of its consequences.
            alert("ServiceDown", "P0", service="db", team="data", instance="127.0.0.1:5499"),
        ):
            s.post(labels)
        heard(s, "[P0] ServiceDown: db")
        s.post(alert("Unrelated", "P1", service="web"))
        heard(s, "Unrelated")
        assert len(s.slack()) == 2
        assert len(wait_until(s.pages, "PagerDuty is told")) == 1


def test_the_alerts_of_a_service_are_one_message_that_names_each(tmp_path: Path) -> None:
    with stage(tmp_path, engine=False, text=SHOP) as s:
        s.post(alert("HighErrorRate", "P0"), first_steps="1. Look.\n2. Roll back.\n3. Call.")
        s.post(alert("ServiceDown", "P0", service="web", instance="w:1"))
        s.post(alert("ServiceDown", "P0", service="web", instance="w:2"))
        s.post(alert("QueueStuck", "P0"), runbook="https://runbooks.example.com/queue stuck")
        heard(s, "[P0] ServiceDown: web (2 firing)")
        both = s.until_told("QueueStuck")
        assert both.splitlines()[0] == "[P0] HighErrorRate, QueueStuck: api (2 firing)"
        assert "First steps:\n1. Look.\n2. Roll back.\n3. Call." in both
        page = wait_until(
            lambda: [p for p in s.pages() if p["payload"]["component"] == "api"], "a page"
        )[0]
        assert page["payload"]["class"] == "HighErrorRate, QueueStuck"
        assert page["payload"]["custom_details"]["first_steps"].startswith("1. Look.")
        assert page["payload"]["severity"] == "critical"


@pytest.mark.full
def test_slack_shows_severity_values_and_buttons(tmp_path: Path) -> None:
    text = SHOP + "notifications: {low_priority: '#low'}\n"
    with stage(tmp_path, engine=False, text=text) as s:
        links: dict[str, Any] = {
            "console": "http://127.0.0.1:8080/services/api",
            "runbook": "https://runbooks.example.com/a",
        }
        s.post(alert("Worst", "P0"), **links)
        s.post(alert("Bad", "P1", service="web"), runbook="RUNBOOK.md#bad")
        s.post(alert("Meh", "P2", service="db"))
        heard(s, "Worst", "Bad", "Meh")
        sent = {b["attachments"][0]["title"]: b for b in slack_bodies(s)}
        worst = sent["[P0] Worst: api"]["attachments"][0]
        assert {t: b["attachments"][0]["color"] for t, b in sent.items()} == {
            "[P0] Worst: api": "danger", "[P1] Bad: web": "warning", "[P2] Meh: db": "#439FE0"
        }  # fmt: skip
        assert {t: b["channel"] for t, b in sent.items()} == {
            "[P0] Worst: api": "#alerts", "[P1] Bad: web": "#alerts", "[P2] Meh: db": "#low"
        }  # fmt: skip
        values = {f["title"]: f["value"] for f in worst["fields"]}
        assert (values["Severity"], values["Team"], values["Environment"]) == ("P0", "shop", "demo")
        buttons = {a["text"]: a["url"] for a in worst["actions"]}
        assert buttons["Console"] == links["console"]
        assert buttons["Runbook"] == links["runbook"]
        silence = buttons["Silence"].partition("#/silences/new?filter=")[2]
        assert silence == (
            "%7Benvironment%3D%22demo%22%2Cservice%3D%22api%22%2Cseverity%3D%22P0%22%2C"
            "team%3D%22shop%22%2Calertname%3D%22Worst%22%7D"
        )
        s.resolve(alert("Worst", "P0"))
        heard(s, "[resolved] Worst: api")
        assert slack_bodies(s)[-1]["attachments"][0]["color"] == "good"
        events = [p["event_action"] for p in s.pages()]
        assert events in (["trigger"], ["trigger", "resolve"])
        wait_until(lambda: s.pages()[-1]["event_action"] == "resolve", "PagerDuty is told of it")
        assert len({p["dedup_key"] for p in s.pages()}) == 1


def slack_bodies(s: Stage) -> list[dict[str, Any]]:
    return [r.json() for r in s.people.received if r.path.startswith("/slack")]


@pytest.mark.full
def test_mail_and_webhook_have_their_secrets(tmp_path: Path) -> None:
    with smtp_sink() as sink, receiver() as hook:
        catalog = tmp_path / "catalog"
        catalog.mkdir()
        (catalog / "mail.pw").write_text("a-password")
        (catalog / "hook.token").write_text("a-token")
        mail = (
            f"{{to: 'a@example.com, b@example.com', from: ops@example.com, username: ops,"
            f" smarthost: '127.0.0.1:{sink.port}', password_file: {catalog / 'mail.pw'},"
            " require_tls: false}"
        )
        target = f"{{url: '{hook.url}/in', token_file: {catalog / 'hook.token'}}}"
        text = SHOP + f"notifications:\n  email: {mail}\n  webhook: {target}\n"
        with stage(tmp_path, engine=False, text=text) as s:
            s.post(alert("Bad", "P1"), description="7 of 9 fail", first_steps="1. Look.")
            got = wait_until(lambda: sink.mails, "a mail comes")[0]
            assert (got.sender, got.login) == ("ops@example.com", ("ops", "a-password"))
            assert set(got.to) == {"a@example.com", "b@example.com"}
            assert got.message["Subject"] == "[P1] Bad: api"
            assert "7 of 9 fail" in body_of(got.message)
            assert "1. Look." in body_of(got.message)
            request = hook.wait_for(1)[0]
            assert request.headers["authorization"] == "Bearer a-token"
            assert check_webhook(request.json()) == []
            s.resolve(alert("Bad", "P1"))
            wait_until(
                lambda: any(m.message["Subject"] == "[resolved] Bad: api" for m in sink.mails),
                "a mail of its end",
            )
            heard(s, "[P1] Bad")


def body_of(message: Any) -> str:
    return "\n".join(
        p.get_content() for p in message.walk() if p.get_content_type() == "text/plain"
    )


def test_the_watchdog_beats_outside_beside_the_engine(tmp_path: Path) -> None:
    (tmp_path / "beat.token").write_text("beat-token")
    with receiver() as outside:
        beat = f"{{url: '{outside.url}/beat', every: 10s, token_file: {tmp_path / 'beat.token'}}}"
        with stage(tmp_path, text=SHOP + f"notifications: {{heartbeat: {beat}}}\n") as s:
            s.post({"alertname": names.WATCHDOG, "environment": "demo"})
            wait_until(lambda: (names.WATCHDOG, "", "firing") in s.told_engine(), "the engine")
            assert outside.wait_for(2)[1].headers["authorization"] == "Bearer beat-token"
            assert [r.path for r in outside.received][:2] == ["/beat", "/beat"]
            assert s.slack() == []


def test_what_has_no_secret_is_sent_to_the_inbox(tmp_path: Path) -> None:
    told = """\
notifications:
  email: {to: a@example.com, from: b@example.com, smarthost: 'mail:25', username: a, password_file: pw}
  teams: {shop: {slack: {channel: '#shop', url_file: url}, pagerduty: {routing_key_file: key}}}
"""
    with stage(tmp_path, engine=False, text=SHOP + told, stand_ins=("key", "pw", "url")) as s:
        s.post(alert("Worst", "P0"))
        wait_until(s.pages, "the page comes")
        paths = {"/slack/services/demo", "/pagerduty/v2/enqueue", "/webhook/email"}

        def used() -> bool:
            found = {r.path for r in s.people.received}
            assert paths <= found, f"{sorted(paths - found)} is not used"
            return True

        wait_until(used, "all ways are used", 240)


def test_a_machine_that_is_down_is_one_page(tmp_path: Path) -> None:
    text = SHOP + 'hosts: {box: {team: ops, targets: {static: ["a:9100"]}}}\n'
    with stage(tmp_path, engine=False, text=text) as s:
        s.post(alert("ServiceDown", "P0", instance="a:1"))
        s.post(alert("HighErrorRate", "P0"))
        s.post(alert("ExporterDown", "P1", service="box", team="ops", instance="a:9100"))
        s.post(alert("HostDown", "P0", service="box", team="ops", instance="a:9100"))
        heard(s, "[P0] HostDown: box")
        s.post(alert("ServiceDown", "P0", service="web", instance="w:1"))
        heard(s, "[P0] ServiceDown: web")
        assert len(s.slack()) == 2
