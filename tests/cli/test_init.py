"""`opsloop init`: a first catalog that checks and builds as it is."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from opsloop.catalog.load import load
from opsloop.catalog.scaffold import Answers, Found, FoundService
from opsloop.cli.init import ask
from tests.cli.conftest import ROOT
from tests.cli.test_discover import serving

Run = Callable[..., Result]


def test_init_check_build_in_a_row(run: Run, tmp_path: Path) -> None:
    """On this machine as it is, with a server of the test among what is found."""
    with serving(tmp_path / "program") as server:
        done = run("init")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("opsloop.yaml: written, with ")
    assert server.address in done.stdout
    assert f'- "{server.address}"' in Path("opsloop.yaml").read_text()
    for command in ("check", "build"):
        done = run(command)
        assert done.exit_code == 0, done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["build", "opsloop.yaml", "program"]


def test_without_discovery(run: Run) -> None:
    done = run("init", "--no-discovery")
    assert "with 0 services found" in done.stdout
    assert run("check").stdout == "opsloop.yaml: fine: 1 host, 1 policy (dry-run)\n"
    assert run("build").exit_code == 0


@pytest.mark.full
def test_what_is_written_passes_its_tests(run: Run) -> None:
    run("init", "--no-discovery")
    assert run("build", "--run-tests").exit_code == 0


@pytest.mark.parametrize("kind", ["file", "dangling link", "folder with one"])
def test_never_writes_over_a_catalog_unasked(kind: str, run: Run, tmp_path: Path) -> None:
    arguments = ["init", "--no-discovery"]
    path = Path("opsloop.yaml")
    if kind == "file":
        path.write_text("mine")
    elif kind == "dangling link":
        path.symlink_to("nowhere")
    else:
        Path("catalog").mkdir()
        path = Path("catalog/opsloop.yaml")
        path.write_text("mine")
        arguments += ["--catalog", "catalog"]
    done = run(*arguments)
    assert done.exit_code == 2
    assert done.stderr == f"error: {path}: is there already; give --force to write over it\n"
    if kind != "dangling link":
        assert path.read_text() == "mine"
    assert run(*arguments, "--force").exit_code == 0
    assert path.read_text().startswith("# A first catalog")


def test_where_it_goes(run: Run, tmp_path: Path) -> None:
    assert run("init", "--no-discovery", "--catalog", "deep/er/c.yaml").exit_code == 0
    assert Path("deep/er/c.yaml").stat().st_mode & 0o777 == 0o644
    Path("folder").mkdir()
    done = run("init", "--no-discovery", "--catalog", "folder")
    assert "next: read it, then opsloop check --catalog folder" in done.stdout
    assert [p.name for p in Path("folder").iterdir()] == ["opsloop.yaml"]


def test_a_place_that_cannot_be_written(run: Run) -> None:
    Path("file").write_text("")
    done = run("init", "--no-discovery", "--catalog", "file/opsloop.yaml")
    assert done.exit_code == 1
    assert done.stderr.startswith("error: file")
    assert "Traceback" not in done.stderr


def on_terminal(arguments: list[str], folder: Path, typed: list[str]) -> str:
    """What `opsloop init` shows on a terminal where each line is typed when a question stands."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "opsloop", "init", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "NO_COLOR": "1", "TERM": "dumb"},
        stdin=follower,
        stdout=follower,
        stderr=follower,
    )
    os.close(follower)
    seen, asked = "", 0
    try:
        while True:
            try:
                part = os.read(leader, 65536)
            except OSError:  # the last writer has closed it
                break
            if not part:
                break
            seen += part.decode()
            if seen.endswith("]: ") and len(seen) > asked:
                asked = len(seen)
                assert typed, f"one question more: {seen}"
                os.write(leader, (typed.pop(0) + "\n").encode())
        assert process.wait(60) == 0, seen
    finally:
        process.kill()
        process.wait()
        os.close(leader)
    assert typed == [], seen
    return seen.replace("\r\n", "\n")


def test_on_a_terminal_it_asks_and_takes_defaults(run: Run, tmp_path: Path) -> None:
    asked = on_terminal(["--no-discovery"], tmp_path, ["", "", "", ""])
    assert "opsloop.yaml: written" in asked
    by_asking = Path("opsloop.yaml").read_text()
    assert run("init", "--no-discovery", "--force").exit_code == 0
    assert Path("opsloop.yaml").read_text() == by_asking


def test_answers_are_checked_and_stand_in_the_catalog(run: Run, tmp_path: Path) -> None:
    typed = ["Staging 1", "staging", "payments", "payments-alerts", "sometimes", "approve"]
    asked = on_terminal(["--no-discovery"], tmp_path, typed)
    assert "lower-case letters, digits and dashes" in asked
    assert "is not one of" in asked
    done = run("check", "--json")
    assert done.exit_code == 0, done.stdout
    catalog = load(Path("opsloop.yaml"), {}).catalog
    assert catalog.stack.environment == "staging"
    assert catalog.hosts["local"].team == "payments"
    assert catalog.notifications.slack.channel == "#payments-alerts"
    assert catalog.remediation.mode == "approve"


def test_a_service_that_is_not_wanted_stays_out(tmp_path: Path) -> None:
    found = Found(
        (FoundService("api", "127.0.0.1:1", "x", "http"), FoundService("web", "127.0.0.1:2", "y"))
    )
    with CliRunner().isolation(input="n\ny\n\n\n\n\n"):
        kept, answers = ask(found)
    assert [s.name for s in kept.services] == ["web"]
    assert answers == Answers()


def test_with_yes_a_terminal_is_asked_nothing(tmp_path: Path) -> None:
    assert "[" not in on_terminal(["--no-discovery", "--yes"], tmp_path, [])


def test_the_demo_is_a_catalog_with_its_programs(run: Run, tmp_path: Path) -> None:
    done = run("init", "--demo")
    assert done.exit_code == 0, done.stderr
    assert "next: opsloop up --catalog shop/opsloop.yaml" in done.stdout
    names = {p.name for p in (ROOT / "examples/shop").iterdir() if p.name != "__pycache__"}
    assert {p.name for p in Path("shop").iterdir()} == names
    assert run("check", "--catalog", "shop/opsloop.yaml").exit_code == 0
    (tmp_path / "shop/api.py").write_text("mine")
    again = run("init", "--demo")
    assert again.exit_code == 2
    assert again.stderr == "error: shop: is there already; give --force to write into it\n"
    assert (tmp_path / "shop/api.py").read_text() == "mine"
    assert run("init", "--demo", "--force").exit_code == 0
    assert (tmp_path / "shop/api.py").read_text() != "mine"
    assert [p.name for p in tmp_path.iterdir()] == ["shop"]
