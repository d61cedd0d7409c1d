"""Every command that a page shows is one that there is; those in its sh blocks are run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import click
import pytest

from opsloop.cli.main import COMMANDS, cli
from tests.docs import scripts
from tests.docs.pages import ROOT
from tests.docs.scripts import PAGES
from tests.drills.whole import CATALOG, PROGRAMS, whole_stack
from tests.support.servers import require
from tests.support.stack import free_port_base
from tools import site

_INLINE = re.compile(r"`(?:eval \"\$\()?(opsloop [^`\n]+?)(?:\)\")?`")
_SHOWN = re.compile(r"^(?: {4}|\$ )(?:\.venv/bin/)?(opsloop [^#\n]+)", re.MULTILINE)
_SH = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# What stands for a value of the reader's own -> one that the command line takes.
_VALUES = {"ID": "1", "RUN": "1", "N": "1", "S": "1"}
# Of the books: what is not run beside the others, and why.
_NOT_BESIDE = {
    "opsloop drill": "tests/drills runs each of them",
    "opsloop backup-run": "tests/cli/test_backup_run.py: the demo has no backup",
    "opsloop policy test": "tests/cli/test_replay.py: it takes a folder of cases",
    "opsloop down": "it ends the test",
}
# Pages of what was, not of what is.
_HISTORY = {"CHANGELOG.md"}


def shown(page: Path) -> Iterator[str]:
    """Every `opsloop ...` on a page: inline, in indented blocks, in console and sh blocks."""
    text = (ROOT / page).read_text(encoding="utf-8")
    yield from _INLINE.findall(text)
    yield from _SHOWN.findall(text)
    for block in _SH.findall(text):
        for line in block.splitlines():
            command = line.split("  #")[0].strip().removeprefix(".venv/bin/")
            if command.startswith("opsloop "):
                yield command


def refusal(line: str) -> str:
    """What the command line has against `line`, without doing it; nothing when it is fine."""
    line = re.sub(r"\s*(?:&&|\||>|;).*", "", line).rstrip(".,:")
    if re.search(r"[<…\[]|\.\.\.", line) and '"..."' not in line:
        return ""  # a form, not a command
    words = [_VALUES.get(word, word) for word in shlex.split(line)[1:]]
    if "--" in words:
        words = [*words[: words.index("--")], "--", "true"]
    group: click.Command = cli
    context = click.Context(cli, info_name="opsloop")
    while isinstance(group, click.Group) and words and not words[0].startswith("-"):
        name = words[0]
        found = group.get_command(context, name)
        if found is None:
            if group is not cli:
                break
            return f"no command {name!r}"
        group, words = found, words[1:]
    if not words and group is not cli:
        return ""  # named, not called
    try:
        group.make_context("opsloop", words, parent=context)
    except click.exceptions.Exit:
        return ""
    except click.MissingParameter:
        return ""  # named with some of its options
    except click.ClickException as error:
        return error.format_message()
    return ""


@pytest.mark.parametrize("page", [p for p in site.pages() if str(p) not in _HISTORY], ids=str)
def test_commands_that_are_shown_exist(page: Path) -> None:
    wrong = {line: said for line in shown(page) if (said := refusal(line))}
    assert wrong == {}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("opsloop biuld", "no command"),
        ("opsloop up --foregruond", "No such option"),
        ("opsloop drill no-such", "is not one of"),
        ("opsloop completion csh", "is not one of"),
    ],
)
def test_a_wrong_command_would_be_seen(line: str, words: str) -> None:
    assert words in refusal(line)


def test_every_command_is_in_a_guide_or_the_books() -> None:
    """Somewhere a person is told when to use it, beside the reference."""
    told = {
        line.split()[1]
        for page in site.pages()
        if not str(page).startswith("docs/reference") and str(page) not in _HISTORY
        for line in shown(page)
        if len(line.split()) > 1
    }
    assert set(COMMANDS) - told == set()


def test_every_page_with_commands_is_run_somewhere() -> None:
    with_commands = {
        str(p) for p in site.pages() if _SH.search((ROOT / p).read_text(encoding="utf-8"))
    }
    assert with_commands == set(PAGES)
    for name, page in PAGES.items():
        if page.elsewhere:
            assert f'"{name}"' in (ROOT / page.elsewhere).read_text(encoding="utf-8"), name


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.full] if page.slow else [])
        for name, page in PAGES.items()
        if not page.full and not page.elsewhere
    ],
)
def test_a_page_runs(name: str, tmp_path: Path) -> None:
    scripts.save_files(name, tmp_path)
    scripts.run(name, tmp_path, {}, 240)


class Metrics(BaseHTTPRequestHandler):
    """A service with the metrics of the profile `http`."""

    def do_GET(self) -> None:
        body = b'http_requests_total{code="200"} 1\nhttp_request_duration_seconds_bucket{le="+Inf"} 1\n'
        body += b"http_request_duration_seconds_sum 0.1\nhttp_request_duration_seconds_count 1\n"
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder with a short path, for sockets; a stack in it is stopped whatever happens."""
    folder = Path(tempfile.mkdtemp(prefix="od-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.long
def test_the_books_on_a_stack_where_something_broke(tmp_path: Path) -> None:
    """RUNBOOK and PLAYBOOK are read at night: each command does what it says, on a real stack."""
    books = ("RUNBOOK.md", "PLAYBOOK.md")
    lines = sorted({" ".join(line.split()) for page in books for line in shown(Path(page))})
    assert len(lines) > 20
    values = {"ID": "1", "PART": "engine", "SERVICE": "api"}
    with whole_stack() as stack:
        assert stack.opsloop("drill", "service-kill").code == 0
        failed = {}
        for line in lines:
            reason = next((why for what, why in _NOT_BESIDE.items() if line.startswith(what)), "")
            if reason:
                print(f"not run: {line}: {reason}")
                continue
            words = [values.get(word, word) for word in shlex.split(line)[1:]]
            if words[0] in ("build", "check", "up", "reload"):
                words += ["--catalog", str(CATALOG), "--port-base", str(stack.port_base)]
            if words[0] == "build":
                words += ["--out", str(tmp_path / "build")]
            done = stack.opsloop(*words)
            if done.code:
                failed[line] = f"{done.code}: {done.err}"
        assert failed == {}
        assert stack.opsloop("resume").code == 0


@pytest.mark.long
def test_monitor_your_own_service(short_folder: Path) -> None:
    for program in PROGRAMS[:4]:
        require(*program)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Metrics)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environ = {"OPSLOOP_PORT_BASE": str(free_port_base()), "OPSLOOP_STATE": str(short_folder / "s")}
    name = "docs/guides/own-service.md"
    try:
        scripts.save_files(name, short_folder)
        catalog = short_folder / "opsloop.yaml"
        assert "127.0.0.1:8000" in catalog.read_text()
        address = f"127.0.0.1:{server.server_port}"
        catalog.write_text(catalog.read_text().replace("127.0.0.1:8000", address))
        said = scripts.run(name, short_folder, environ, 400)
        assert "0 warnings" in said or "fine: 1 service" in said
    finally:
        server.shutdown()
        server.server_close()
        _down(short_folder / "s")


def _down(state: Path) -> None:
    """Stop what a page that failed left running."""
    subprocess.run(
        [sys.executable, "-m", "opsloop", "down", "--state", str(state)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        timeout=300,
        check=False,
    )
    record = state / "data" / "database.path"
    if record.exists():
        cluster = Path(record.read_text().strip())
        if state not in cluster.parents:
            shutil.rmtree(cluster.parent, ignore_errors=True)
