"""What `up`, `logs` and `down` say, without a stack that runs."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from opsloop.cli import logs, up
from opsloop.cli.main import cli
from opsloop.cli.progress import PlainProgress, flow_text
from opsloop.drivers.supervisor import Updated
from opsloop.errors import ArgumentError, NotRunning
from opsloop.settings import Settings
from opsloop.stack.build_folder import Changes
from opsloop.stack.flow import Flow
from opsloop.stack.native import Applied
from opsloop.stack.parts import Part
from opsloop.stack.ready import Health, PartStatus


def status(name: str, health: Health = "healthy", detail: str = "", **rest: object) -> PartStatus:
    return PartStatus(Part(name, f"{name}:{name}", **rest), health, "RUNNING", detail=detail)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("applied", "words"),
    [
        (Applied(True), "the stack is up: all parts are healthy and data flows (3.0 s)"),
        (Applied(False), "already up, and nothing changed"),
        (
            Applied(
                False,
                Changes(("x",)),
                Updated(("new",), ("api",), ("old",)),
                ("prometheus",),
                ("load-0",),
            ),
            (
                "applied: added new; restarted api; removed old; reloaded prometheus; "
                "started load-0 (3.0 s)"
            ),
        ),
        (Applied(False, Changes(("manifest.json",))), "files that nothing reads while it runs"),
    ],
)
def test_the_headline_says_what_was_done(applied: Applied, words: str) -> None:
    assert words in up.headline(applied, 3.0)


@pytest.mark.parametrize(
    ("state", "words"), [(".opsloop", ""), ("/srv/a", " --state /srv/a"), ("b c", " --state 'b c'")]
)
def test_the_next_commands_can_be_pasted(state: str, words: str) -> None:
    assert up.state_option(Settings(state=Path(state))) == words


def test_addresses_are_those_a_person_opens() -> None:
    slot: dict[str, Any] = {"process": "api", "path": "/healthz"}
    found = up.addresses(
        [
            status("prometheus", address="127.0.0.1:9090"),
            status("node-exporter", address="127.0.0.1:9100"),
            status("api-0", address="127.0.0.1:8000", **slot),
            status("api-1", address="127.0.0.1:8001", **slot),
            status("api-2", "off", address="127.0.0.1:8002", **slot),
            status("database-0", address="127.0.0.1:5433", process="database"),
        ]
    )
    assert found == [
        ("Prometheus", "http://127.0.0.1:9090"),
        ("api", "http://127.0.0.1:8000, http://127.0.0.1:8001"),
        ("database", "127.0.0.1:5433"),
    ]


def test_plain_progress_says_each_change_once(capsys: pytest.CaptureFixture[str]) -> None:
    progress = PlainProgress()
    readings: Sequence[Sequence[PartStatus]] = [
        [status("a", "starting"), status("b", "off")],
        [status("a"), status("b", "off")],
        [status("a"), status("b", "failed", "fatal")],
    ]
    for reading in readings:
        progress.parts(reading)
    progress.flow(Flow(targets=2, waits=("x",)))
    progress.flow(Flow(targets=2, waits=("x",)))
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" s  ")[1] for line in lines] == [
        "a healthy",
        "b failed: fatal",
        "targets 0 of 2 up, rules not evaluated yet, Watchdog seen by the engine",
    ]


def test_flow_text() -> None:
    done = Flow(targets_up=2, targets=2, groups=1)
    assert flow_text(done) == "targets 2 of 2 up, rules evaluated, Watchdog seen by the engine"
    assert flow_text(Flow(silent="prometheus: refused")) == "waiting for prometheus: refused"
    assert "1 rules fail" in flow_text(Flow(groups=1, broken_rules=("x",), watchdog=False))


def test_logs_choose_a_part_a_process_or_all(tmp_path: Path) -> None:
    for name in ("api-0", "api-1", "engine", "node-exporter"):
        (tmp_path / f"{name}.log").write_text("")
    assert [p.stem for p in logs.choose(tmp_path, "api")] == ["api-0", "api-1"]
    assert [p.stem for p in logs.choose(tmp_path, "engine")] == ["engine"]
    assert len(logs.choose(tmp_path, None)) == 4
    with pytest.raises(ArgumentError, match="there are: api-0, api-1"):
        logs.choose(tmp_path, "node")
    with pytest.raises(NotRunning):
        logs.choose(tmp_path / "nowhere", None)


def test_last_lines_of_a_long_log(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("".join(f"line {n} {'x' * 200}\n" for n in range(2000)) + "unfinished")
    found = logs.last_lines(log, 3)
    assert [line.split(" x")[0] for line in found] == ["line 1998", "line 1999", "unfinished"]
    assert logs.last_lines(log, 0) == []
    assert len(logs.last_lines(log, 10_000)) == 2001


def test_following_goes_over_a_rotation(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("old\n")
    seen: list[str] = []
    came = {text: threading.Event() for text in ("one", "whole", "after")}

    def follow() -> None:
        for _, line in logs.followed([log]):
            seen.append(line)
            came[line].set()
            if line == "after":
                return

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()

    def write(text: str) -> None:
        with log.open("a") as file:
            file.write(text)

    # Until the follower has looked once, what is written is the past to it.
    while not came["one"].wait(0.05):
        if not seen:
            write("one\n")
    write("who")
    write("le\n")
    assert came["whole"].wait(20)
    log.rename(tmp_path / "x.log.1")
    log.write_text("after\n")
    assert came["after"].wait(20)
    assert set(seen[:-2]) == {"one"}


def test_commands_without_a_stack(tmp_path: Path) -> None:
    runner = CliRunner()
    where = ["--state", str(tmp_path / "state")]
    down = runner.invoke(cli, ["down", *where])
    assert (down.exit_code, down.output) == (0, "the stack was not running\n")
    assert not (tmp_path / "state").exists()
    status_ = runner.invoke(cli, ["status", *where, "--json"])
    assert status_.exit_code == 1
    assert '"running": false' in status_.output
    for words in (["status"], ["reload"], ["logs"]):
        done = runner.invoke(cli, [*words, *where])
        assert done.exit_code == 1
        assert "opsloop up" in done.output


def test_up_with_a_file_as_state_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "opsloop.yaml").write_text(
        "apiVersion: opsloop/v1\n"
        "services:\n  web: {team: a, targets: {static: ['127.0.0.1:1999']}, metrics: http}\n"
    )
    (tmp_path / "state").write_text("")
    words = ["up", "--catalog", str(tmp_path / "opsloop.yaml"), "--state", str(tmp_path / "state")]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 3
    assert "is a file, not a folder" in done.output
