"""Scripts, renewals and backups as real processes: the contract, and what only commands can do."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from opsloop.drivers import command
from opsloop.drivers.script import ScriptDriver
from opsloop.drivers.words import Words
from opsloop.errors import DriverError
from opsloop.remediation.plan import Action, Work
from tests.drivers.driver_contract import DriverContract
from tests.support.wait import wait_until

LIMIT_S = 60.0


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class ScriptRig:
    """Scripts in a folder; each appends a line to `done` when it acts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.state.mkdir()
        self.driver = ScriptDriver(
            Words(self.state, folder, {"api": 8000}, sys.executable), term_wait_s=0.5
        )

    def script(self, body: str, name: str = "do.py") -> str:
        path = self.folder / name
        path.write_text(f"#!{sys.executable} -SE\n" + textwrap.dedent(body))
        path.chmod(0o700)
        return f"./{name}"

    def action(self, *argv: str, limit_s: float = LIMIT_S, **work: object) -> Action:
        return Action(
            "script", "api", "api", limit_s=limit_s, idempotent=False,
            work=Work(id="a1", command=argv, **work),  # type: ignore[arg-type]
        )  # fmt: skip

    def good(self) -> Action:
        return self.action(self.script("open('done', 'a').write('x\\n'); print('fine')"))

    def bad(self) -> Action:
        return self.action(
            self.script("import sys; print('\\x1b[31mno\\x00'); sys.exit(3)", "b.py")
        )

    def slow(self) -> Action:
        body = """
            import os, signal, subprocess, sys, time
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            child = subprocess.Popen(["sleep", "600"])
            open("pids", "w").write(f"{os.getpid()} {child.pid}")
            print("begun", flush=True)
            time.sleep(600)
            """
        return self.action(self.script(body, "slow.py"), limit_s=1.5)

    def impossible(self) -> Action:
        return self.action("./nowhere.py")

    def effects(self) -> int:
        done = self.folder / "done"
        return len(done.read_text().splitlines()) if done.exists() else 0

    def quiet(self) -> bool:
        pids = self.folder / "pids"
        return not pids.exists() or not any(alive(int(p)) for p in pids.read_text().split())


@pytest.fixture
def rig(tmp_path: Path) -> ScriptRig:
    return ScriptRig(tmp_path)


class TestScript(DriverContract):
    pass


def test_the_exit_status_is_the_result(rig: ScriptRig) -> None:
    result = rig.driver.perform(rig.bad(), 1)
    assert (result.ok, result.started) == (False, True)
    assert result.output.startswith("exit status 3 after ")
    killed = rig.script("import os; os.kill(os.getpid(), 9)", "k.py")
    assert "ended by signal 9" in rig.driver.perform(rig.action(killed), 1).output


def test_sigterm_comes_first_and_the_whole_group_is_ended(rig: ScriptRig) -> None:
    polite = rig.script(
        """
        import signal, sys, time
        def leave(*_):
            open("left", "w").write("politely")
            sys.exit(0)
        signal.signal(signal.SIGTERM, leave)
        print("begun", flush=True)
        time.sleep(600)
        """,
        "polite.py",
    )
    with pytest.raises(DriverError, match=r"did not end within 1 s and was ended: begun") as caught:
        rig.driver.perform(rig.action(polite, limit_s=1.0), 1)
    assert caught.value.started
    assert (rig.folder / "left").read_text() == "politely"
    with pytest.raises(DriverError):
        rig.driver.perform(rig.slow(), 1)
    pids = [int(p) for p in (rig.folder / "pids").read_text().split()]
    assert len(pids) == 2
    assert not any(map(alive, pids))


def test_what_it_leaves_behind_is_ended_with_it(rig: ScriptRig) -> None:
    leaves = rig.script(
        """
        import subprocess
        child = subprocess.Popen(["sleep", "600"])
        open("pids", "w").write(str(child.pid))
        """,
        "leaves.py",
    )
    for _ in range(20):
        assert rig.driver.perform(rig.action(leaves), 1).ok
        assert rig.quiet(), "what it left ended before it was called done"


def test_no_shell_reads_any_of_it(rig: ScriptRig) -> None:
    show = rig.script("import json, sys; print(json.dumps(sys.argv[1:]))", "show.py")
    words = ["$(touch owned)", "; touch owned", "`id`", "{port:api}", "{state}", "*"]
    result = rig.driver.perform(rig.action(show, *words), 1)
    said = json.loads(result.output.splitlines()[-1])
    assert said == [*words[:3], "8000", str(rig.state), "*"]
    assert not (rig.folder / "owned").exists()


def test_the_environment_is_scrubbed_and_values_come_beside_the_command(
    rig: ScriptRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "PYTHONPATH", "LD_PRELOAD_X", "OPSLOOP_SOCKET"):
        monkeypatch.setenv(name, "leaks")
    show = rig.script(
        "import json, os, sys; print(json.dumps([dict(os.environ), sys.stdin.read()]))", "env.py"
    )
    action = rig.action(
        show,
        values=(("OPSLOOP_ALERT", "DiskFull"), ("OPSLOOP_SERVICE", "api")),
        environment=(("MODE", "{state}/x"),),
    )
    environment, document = json.loads(rig.driver.perform(action, 1).output.splitlines()[-1])
    allowed = {*command.KEPT, "OPSLOOP_ALERT", "OPSLOOP_SERVICE", "OPSLOOP_ACTION_ID", "MODE"}
    assert environment.keys() <= {*allowed, command.MARK, command.RUN, "LC_CTYPE"}
    assert environment["MODE"] == f"{rig.state}/x"
    assert environment["OPSLOOP_ALERT"] == "DiskFull"
    assert json.loads(document) == {
        "OPSLOOP_ACTION_ID": "a1", "OPSLOOP_ALERT": "DiskFull", "OPSLOOP_SERVICE": "api"
    }  # fmt: skip


def test_of_much_output_the_end_is_kept(rig: ScriptRig) -> None:
    loud = rig.script(
        "for _ in range(2000): print('x' * 1000)\nprint('the end')",
        "loud.py",
    )
    result = rig.driver.perform(rig.action(loud), 1)
    assert result.output.endswith("the end")
    assert "bytes are left out)" in result.output
    assert len(result.output) < 2 * command.MAX_OUTPUT


def test_one_that_does_not_read_its_stdin_is_not_waited_for(rig: ScriptRig) -> None:
    deaf = rig.script("import os; os.close(0); print('fine')", "deaf.py")
    many = tuple((f"OPSLOOP_{n}", "v" * 200) for n in range(2000))
    ended = command.run(
        [deaf], environment={}, document=json.dumps(dict(many)).encode(), folder=rig.folder,
        limit_s=LIMIT_S, state=rig.state,
    )  # fmt: skip
    assert (ended.code, ended.timed_out) == (0, False)


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (("./nowhere.py",), "there is no such file"),
        (("./plain.txt",), "is not executable"),
        (("surely-not-installed",), "is not installed"),
        (("./{port:nosuch}",), "no such process with a port"),
    ],
)
def test_what_cannot_be_run_is_said_and_starts_nothing(
    rig: ScriptRig, argv: tuple[str, ...], reason: str
) -> None:
    (rig.folder / "plain.txt").write_text("x")
    with pytest.raises(DriverError, match=reason) as caught:
        rig.driver.perform(rig.action(*argv), 1)
    assert not caught.value.started


def test_a_backup_leaves_its_result_as_metrics(rig: ScriptRig) -> None:
    done = rig.script("open('done', 'a').write('x\\n')")
    for body, ok, code in ((done, True, "1.0"), ("/bin/false", False, "0.0")):
        action = Action("backup", "database", "backup/orders", work=Work(command=(body,)))
        assert rig.driver.perform(action, 1).ok is ok
        metrics = (rig.state / "textfile" / "backup_orders.prom").read_text()
        assert f'opsloop_backup_success{{backup="orders"}} {code}' in metrics
    assert rig.effects() == 1


ENGINE = """
import sys
from pathlib import Path
from opsloop.drivers.script import ScriptDriver
from opsloop.drivers.words import Words
from opsloop.remediation.plan import Action, Work
folder = Path(sys.argv[1])
driver = ScriptDriver(Words(folder / "state", folder, {}))
driver.perform(Action("script", "api", "api", limit_s=600, work=Work(command=("./slow.py",))), 1)
"""


@contextlib.contextmanager
def engine_that_acts(rig: ScriptRig) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that runs the slow script, which ignores SIGTERM and has a child."""
    rig.slow()
    process = subprocess.Popen(
        [sys.executable, "-c", ENGINE, str(rig.folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        wait_until((rig.folder / "pids").exists, "the script runs")
        wait_until(lambda: len((rig.folder / "pids").read_text().split()) == 2, "its child too")
        yield process
    finally:
        process.kill()
        process.wait(30)


def test_what_an_engine_that_died_left_running_is_ended_before_the_next_looks(
    rig: ScriptRig,
) -> None:
    with engine_that_acts(rig) as engine:
        bystander = subprocess.Popen(
            ["sleep", "600"], env={command.MARK: str(rig.state)}, start_new_session=True
        )
        try:
            pids = [int(p) for p in (rig.folder / "pids").read_text().split()]
            engine.send_signal(signal.SIGKILL)
            engine.wait(30)
            found = command.sweep(rig.state)
            assert set(pids) & set(found)
            assert rig.quiet(), "the script and its child have ended"
            # A service that an action started is in a session of its own.
            assert bystander.poll() is None
            assert command.sweep(rig.state) == []
        finally:
            bystander.kill()
            bystander.wait(30)
