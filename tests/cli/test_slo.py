"""`opsloop slo` and `opsloop slo backfill` on a state folder whose Prometheus is real."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from opsloop import names
from opsloop.catalog.facts import EngineInput
from opsloop.catalog.load import load
from opsloop.cli import output
from opsloop.cli.main import cli
from opsloop.compile.options import Options
from opsloop.compile.slo_resolve import slo_specs
from opsloop.stack import backfill
from opsloop.stack.blocks import blocks_in
from opsloop.stack.state import StackInfo, StateFolder
from opsloop.store.sqlite import SqliteStore
from tests.cli.conftest import start
from tests.stack.backfill_world import (
    DAY,
    HOUR,
    MINUTE,
    History,
    World,
    evaluate,
    raw_lines,
)
from tests.support.net import free_port

Run = Callable[..., Result]

CATALOG = """\
apiVersion: opsloop/v1
stack: {scrape_interval: 60s, scrape_timeout: 10s}
services:
  api:
    team: shop
    targets: {static: ["127.0.0.1:8000"]}
    metrics: http
    alerts: {window: 4m}
    slos:
      availability: {objective: 98%, window: 3d, sli: availability}
      strict: {objective: 99.99%, window: 2d, sli: availability}
"""


class Stage:
    """A state folder as `up` leaves it, without the parts that no test here needs."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        catalog = folder / "opsloop.yaml"
        catalog.write_text(CATALOG)
        loaded = load(catalog, {}).catalog
        self.world = World(folder / "world", slo_specs(loaded, Options()))
        self.now = int(time.time() * 1000)
        self.history = History((self.now - 4 * DAY) // MINUTE, self.now // MINUTE - 1)
        self._prepare(EngineInput(catalog=loaded, facts=[]), catalog)

    def _prepare(self, engine: EngineInput, catalog: Path) -> None:
        folder = StateFolder(self.state)
        folder.prepare()
        folder.write(StackInfo(self.world.port - 9090, str(catalog), "", 1.0))
        (folder.secrets / names.SECRET_SCRAPE_PASSWORD).write_text("secret\n")
        path = folder.build / names.ENGINE_JSON
        path.parent.mkdir(parents=True)
        path.write_text(engine.model_dump_json(by_alias=True))
        (folder.data / "prometheus").symlink_to(self.world.data)
        SqliteStore(self.state / names.STORE_FILE).close()


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


@pytest.fixture
def unwatched(monkeypatch: pytest.MonkeyPatch) -> None:
    """A running Prometheus looks for new blocks once a minute; these tests start it again."""
    monkeypatch.setattr(backfill, "_seen", lambda *_: True)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Four days, back-filled, and the rules evaluated once; tests only read it."""
    stage = Stage(tmp_path_factory.mktemp("filled"))
    stage.world.remember(raw_lines(stage.history))
    with pytest.MonkeyPatch.context() as patch, stage.world.start():
        patch.setattr(backfill, "_seen", lambda *_: True)
        done = CliRunner().invoke(cli, ["slo", "backfill", "--state", str(stage.state)])
        assert done.exit_code == 0, done.output
    with stage.world.start(rules=False) as server:
        evaluate(server, stage.world.specs, int(time.time() * 1000))
        yield stage


def test_budgets_after_a_back_fill_are_those_of_the_true_events(filled: Stage, run: Run) -> None:
    done = run("slo", "--json", "--state", str(filled.state))
    assert done.exit_code == 0, done.output
    rows = {r["slo"]: r for r in json.loads(done.stdout)["slos"]}
    for name, days, budget in (("availability", 3, 0.02), ("strict", 2, 0.0001)):
        last = filled.now // MINUTE * MINUTE - MINUTE
        total, failed = filled.history.true(last - days * DAY, last, 0)
        assert failed > 0
        row = rows[name]
        assert 1 - row["sli"] == pytest.approx(failed / total, rel=0.001)
        assert row["budget_left"] == pytest.approx(1 - failed / total / budget, rel=0.001)
        assert row["errors_left"] == pytest.approx(budget * total - failed, rel=0.001)
        assert row["coverage"] > 0.99
    assert [r["slo"] for r in json.loads(done.stdout)["slos"]] == ["strict", "availability"]
    assert rows["strict"]["state"] == "spent"
    assert rows["strict"]["exhausted_at"] is None


def test_the_table_and_one_service_in_a_pipe(filled: Stage, run: Run) -> None:
    done = run("slo", "--state", str(filled.state))
    sentence, empty, headers, strict, availability = done.stdout.splitlines()
    assert sentence.startswith("2 objectives; 1 spent: api/strict")
    assert empty == ""
    assert headers.split()[:3] == ["SERVICE/SLO", "OBJECTIVE", "SLI"]
    assert strict.split()[:4] == ["api/strict", "99.99%", "/", "2d"]
    assert availability.split()[:4] == ["api/availability", "98%", "/", "3d"]

    done = run("slo", "api", "--state", str(filled.state))
    assert done.exit_code == 0, done.output
    assert "api/strict: 99.99% over 2d, budget spent\n" in done.stdout
    # Each day has an incident, and it may just have been: then it burns still.
    left = r"within budget|burning faster than evenly|budget spent in .* at this burn"
    assert re.search(rf"^api/availability: 98% over 3d, ({left})$", done.stdout, re.MULTILINE)
    sparks = re.findall(r"burn-down  (\S+)", done.stdout)
    assert len(sparks) == 2
    assert all(len(s) > 40 for s in sparks)  # of the whole period, before any rule had run
    assert "✗" in sparks[0]
    assert "✗" not in sparks[1]


def test_incidents_are_those_that_happened(filled: Stage, run: Run) -> None:
    done = run("slo", "api", "--json", "--state", str(filled.state))
    rows = {r["slo"]: r for r in json.loads(done.stdout)["slos"]}
    incidents = rows["availability"]["incidents"]
    # Each day has one of twelve minutes; some of the other kind are three minutes long.
    days = {i["began_at"][:10] for i in incidents if i["began_at"][11:16] in ("11:40", "11:41")}
    now = time.gmtime(filled.now / 1000)
    assert len(days) >= 2, (now, incidents)
    for incident in incidents:
        assert incident["errors"] > 0
        assert 0 < incident["budget_spent"] < 1
        assert incident["peak_burn"] > 1
    left = rows["availability"]["burn_down"]
    assert len(left) > 40
    # Of the last minutes one knows more than the other, and one may be within an incident.
    assert left[-1][1] == pytest.approx(rows["availability"]["budget_left"], abs=0.03)


@pytest.mark.parametrize("columns", [40, 80, 140])
def test_on_a_terminal_no_line_is_wider_than_it(
    filled: Stage, run: Run, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setattr(output, "is_terminal", lambda *_: True)
    environ = {"COLUMNS": str(columns), "NO_COLOR": "1"}
    done = run("slo", "--state", str(filled.state), environ=environ)
    assert done.exit_code == 0, done.output
    _, _, *table = done.stdout.splitlines()
    assert max(map(len, table)) <= columns
    assert sum("api/availability" in line for line in table) == 1  # no row is broken in two
    assert any("api/strict" in line and "%" in line for line in table)
    assert ("MIN LEFT" in done.stdout) == (columns == 140)


def test_a_second_back_fill_and_a_dry_run_do_nothing(filled: Stage, run: Run) -> None:
    before = sorted(p.name for p in filled.world.data.iterdir())
    for more in ([], ["--dry-run"]):
        with_json = run("slo", "backfill", "--json", *more, "--state", str(filled.state))
        # No rule is loaded in this Prometheus: nothing is measured, and it says so.
        assert json.loads(with_json.stdout)["estimate"]["without_rules"] == ["http-availability"]
        assert with_json.exit_code == 1
    assert sorted(p.name for p in filled.world.data.iterdir()) == before


def test_back_fill_tells_first_how_much_it_is(stage: Stage, run: Run, unwatched: None) -> None:
    stage.world.remember(raw_lines(stage.history))
    state = str(stage.state)
    with stage.world.start():
        dry = run("slo", "backfill", "--dry-run", "--state", state)
        assert dry.exit_code == 0, dry.output
        head, size = dry.stdout.splitlines()[:2]
        assert re.fullmatch(r"1 SLI of 1 service, \d{4}-.* to \d{4}-.* UTC", head)
        assert re.match(r"at most 2\d,\d{3} samples, 0\.1 MiB; \d+ queries, about ", size)
        assert not (stage.state / "data/backfill").exists()
        done = run("slo", "backfill", "--since", "1d", "--service", "api", "--state", state)
        assert done.exit_code == 0, done.output
        assert "Prometheus has them; budgets follow within 3 minutes" in done.stdout
        assert re.search(r"^2/2 back to ", done.stderr, re.MULTILINE)
        again = run("slo", "backfill", "--since", "1d", "--state", state)
        assert "nothing to do: what Prometheus has is counted already" in again.stdout
        longer = run("slo", "backfill", "--json", "--state", state)
        told = json.loads(longer.stdout)
        assert set(told) == {"estimate", "written", "waiting"}
        assert told["written"]["samples"] > 10_000
        assert told["estimate"]["slis"] == ["http-availability"]


def test_words_that_are_wrong(stage: Stage, run: Run, tmp_path: Path) -> None:
    state = ("--state", str(stage.state))
    stage.world.remember(raw_lines(stage.history, 0))
    cases = {
        ("--since", "soon"): (2, "'soon' is not a duration"),
        ("--since", "5m"): (2, "5m is less than an hour; write it as 30d"),
        ("--service", "nobody"): (2, "'nobody' has no objective in the catalog; those that have"),
        ("--url", "http://127.0.0.1:1"): (2, "--url and --out belong together"),
        ("--url", "127.0.0.1:1", "--out", "out"): (2, "is no URL; write it as http://HOST:9090"),
        ("--user", "ada"): (2, "--user and --password-file belong together"),
    }
    for words, (code, message) in cases.items():
        done = run("slo", "backfill", *words, *state)
        assert (done.exit_code, message in done.output) == (code, True), (words, done.output)


def test_a_dead_prometheus_is_told_at_once(stage: Stage, run: Run) -> None:
    state = ("--state", str(stage.state))
    for words in (("slo",), ("slo", "api"), ("slo", "backfill"), ("slo", "backfill", "--dry-run")):
        done = run(*words, *state)
        assert done.exit_code == 1
        assert "connection refused" in done.stderr
        assert "Traceback" not in done.output


def test_no_stack_no_objective_and_an_unknown_service(
    stage: Stage, run: Run, tmp_path: Path
) -> None:
    done = run("slo", "--state", str(tmp_path / "nowhere"))
    assert (done.exit_code, "is not running; start it" in done.stderr) == (1, True)
    with stage.world.start(rules=False):
        state = ("--state", str(stage.state))
        done = run("slo", *state)
        assert done.exit_code == 0
        assert done.stdout.startswith("no budget yet of 2 objectives: the first come")
        assert json.loads(run("slo", "--json", *state).stdout) == {"slos": []}
        done = run("slo", "nobody", *state)
        assert done.exit_code == 2
        assert "nobody: has no objective that Prometheus knows; `opsloop slo` lists" in done.stderr
        (stage.state / names.BUILD_DIR / names.ENGINE_JSON).unlink()
        assert run("slo", *state).stdout.startswith("no objective is declared; give a service")


def test_killed_in_the_middle_the_same_command_goes_on(stage: Stage, tmp_path: Path) -> None:
    """Blocks for a Prometheus that opsloop does not run; kill -9 after the first piece."""
    world, out = stage.world, tmp_path / "out"
    world.remember(raw_lines(stage.history))
    words = ("slo", "backfill", "--url", world.url, "--out", str(out), "--json")
    with world.start():
        process = start(*words, cwd=tmp_path)
        assert process.stderr is not None
        seen = [process.stderr.readline()]
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=300)
        assert process.returncode == -signal.SIGKILL
        assert "1/" in seen[0], seen
        process = start(*words, cwd=tmp_path)
        stdout, stderr = process.communicate(timeout=300)
        assert process.returncode == 0, stderr
        process = start(*words, cwd=tmp_path)
        again, _ = process.communicate(timeout=300)
    assert json.loads(stdout)["written"]["samples"] > 0
    assert json.loads(again)["written"]["samples"] == 0
    for block in blocks_in(out):
        block.path.rename(world.data / block.path.name)
    with world.start(rules=False) as server:
        last = stage.now // MINUTE * MINUTE - MINUTE
        tiles = server.get(
            "/api/v1/query",
            query=f"sum(sum_over_time(slo:total:tile1m[{3 * DAY - HOUR - 1}ms]))",
            time=f"{last / 1000}",
        )["data"]["result"]
        true, _ = stage.history.true(last - 3 * DAY + HOUR, last, 0)
        assert float(tiles[0]["value"][1]) == true


def test_a_port_without_a_prometheus(run: Run, tmp_path: Path) -> None:
    (tmp_path / "opsloop.yaml").write_text(CATALOG)
    url = f"http://127.0.0.1:{free_port()}"
    done = run("slo", "backfill", "--url", url, "--out", "out")
    assert (done.exit_code, "connection refused" in done.stderr) == (1, True)
