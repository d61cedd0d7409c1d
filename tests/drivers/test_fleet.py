"""The fleet over a real supervisord with real processes."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from opsloop.catalog.model import Catalog
from opsloop.drivers.fleet import ProcessFleet
from opsloop.drivers.probe import probe
from opsloop.drivers.supervisor import Supervisor
from opsloop.errors import DriverError
from opsloop.remediation.plan import Action
from opsloop.settings import Ports
from tests.drivers.fleet_contract import LIMIT_S, FleetContract, Rig, restart, scale
from tests.support.net import free_ports
from tests.support.servers import stop
from tests.support.wait import wait_until

INSTANCE = Path(__file__).parent / "instance.py"
SLOTS = 4


class SupervisedRig:
    """`web` as group web, programs web-0 to web-3, as compile lays it out."""

    def __init__(self, folder: Path, first_port: int, *, autorestart: bool = False) -> None:
        self.folder = folder
        self.first_port = first_port
        self.socket = folder / "s.sock"
        self.wanted: dict[str, int] = {}
        self.catalog = Catalog.model_validate(
            {
                "apiVersion": "opsloop/v1",
                "processes": {
                    "web": {
                        "command": ["x"],
                        "slots": SLOTS,
                        "port": first_port,
                        "health": "/healthz",
                    },
                    "bare": {"command": ["x"]},
                },
                "services": {
                    "web": {
                        "team": "shop",
                        "process": "web",
                        "instances": {"wanted": 2, "min": 1, "max": 3},
                    },
                    "bare": {"team": "shop", "process": "bare"},
                    "elsewhere": {"team": "shop"},
                },
            }
        )
        self._write(autorestart)
        self.process = subprocess.Popen(
            [
                *("setpriv", "--pdeathsig", "KILL", "--"),
                *(sys.executable, "-W", "ignore", "-m", "supervisor.supervisord"),
                *("-n", "-c", str(folder / "d.conf")),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.supervisor = Supervisor(self.socket)
        self.fleet = self._new_fleet()

    def _new_fleet(self) -> ProcessFleet:
        return ProcessFleet(
            self.supervisor, self.catalog, Ports(), self.folder / "state", self.wanted.get
        )

    def reset(self) -> SupervisedRig:
        """As after the start: slots 0 and 1 run, nothing else, and nothing is remembered."""
        for slot in range(SLOTS):
            self.supervisor.signal(self.target(slot), "KILL")
        wait_until(lambda: not any(map(self.pid, range(SLOTS))), "all are down")
        for path in [*self.folder.glob("mode-*"), *self.folder.glob("pids-*")]:
            path.unlink()
        shutil.rmtree(self.folder / "state", ignore_errors=True)
        self.wanted.clear()
        self.fleet = self._new_fleet()
        for slot in range(2):
            self.supervisor.start(self.target(slot))
        return self.wait()

    def _write(self, autorestart: bool) -> None:
        text = (
            f"[unix_http_server]\nfile={self.socket}\n"
            f"[supervisord]\nlogfile={self.folder}/d.log\npidfile={self.folder}/d.pid\n"
            f"childlogdir={self.folder}\n"
            "[rpcinterface:supervisor]\n"
            "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n"
            "[group:web]\nprograms=" + ",".join(f"web-{n}" for n in range(SLOTS)) + "\n"
            "[group:bare]\nprograms=bare-0\n"
            "[program:bare-0]\ncommand=sleep 3600\nstartsecs=0\nautostart=false\n"
        )
        for slot in range(SLOTS):
            text += (
                f"[program:web-{slot}]\n"
                f"command=setpriv --pdeathsig KILL -- {sys.executable} -S -E {INSTANCE}"
                f" {self.first_port + slot} {self.folder}\n"
                f"startsecs=0\nstartretries=0\nautostart={'true' if slot < 2 else 'false'}\n"
                f"autorestart={'true' if autorestart else 'false'}\nstopwaitsecs=10\n"
            )
        (self.folder / "d.conf").write_text(text)

    def wait(self) -> SupervisedRig:
        wait_until(lambda: self.serves(0) and self.serves(1), "two instances serve")
        return self

    def mode(self, slot: int, mode: str) -> None:
        (self.folder / f"mode-{self.first_port + slot}").write_text(mode)

    def pid(self, slot: int) -> int:
        return self.supervisor.process(self.target(slot)).pid

    def starts(self, slot: int) -> int:
        return len((self.folder / f"pids-{self.first_port + slot}").read_text().split())

    def serves(self, slot: int) -> bool:
        return probe(self.address(slot), "/healthz", 2.0).ok

    def address(self, slot: int) -> str:
        return f"127.0.0.1:{self.first_port + slot}"

    def target(self, slot: int) -> str:
        return f"web:web-{slot}"

    def scraped(self) -> list[str]:
        path = self.folder / "state" / "targets" / "web.json"
        if not path.exists():
            return []
        return [t for group in json.loads(path.read_text()) for t in group["targets"]]

    # As a rig of any driver

    @property
    def driver(self) -> ProcessFleet:
        return self.fleet

    def good(self) -> Action:
        return restart(self)

    def bad(self) -> Action:
        self.mode(0, "crash")
        return restart(self)

    def slow(self) -> Action:
        self.mode(0, "deaf")
        return restart(self, limit_s=1.0)

    def impossible(self) -> Action:
        return Action("restart", "web", "engine:engine", self.address(0))

    def effects(self) -> int:
        return sum(self.starts(slot) for slot in range(2))

    def quiet(self) -> bool:
        return True  # what it started is the instance itself

    def close(self) -> None:
        self.process.kill()  # its children die with it, by --pdeathsig
        self.process.wait(30)


def four_ports() -> int:
    """The first of four free ports in a row."""
    while True:
        found = free_ports(SLOTS)
        if found == list(range(found[0], found[0] + SLOTS)):
            return found[0]


@pytest.fixture(scope="module")
def shared() -> Iterator[SupervisedRig]:
    with tempfile.TemporaryDirectory(prefix="ol-") as folder:  # short: it holds a socket
        made = SupervisedRig(Path(folder), four_ports())
        try:
            yield made.wait()
        finally:
            made.close()


@pytest.fixture
def rig(shared: SupervisedRig) -> SupervisedRig:
    return shared.reset()


@contextlib.contextmanager
def own_rig(*, autorestart: bool = False) -> Iterator[SupervisedRig]:
    """One that a test may break."""
    with tempfile.TemporaryDirectory(prefix="ol-") as folder:
        made = SupervisedRig(Path(folder), four_ports(), autorestart=autorestart)
        try:
            yield made.wait()
        finally:
            made.close()


class TestSupervised(FleetContract):
    def orphan(self, rig: Rig) -> Callable[[], None]:
        port = int(rig.address(0).rpartition(":")[2])
        with tempfile.TemporaryDirectory() as elsewhere:
            process = subprocess.Popen([sys.executable, str(INSTANCE), str(port), elsewhere])
            wait_until(lambda: rig.serves(0), "the orphan answers")
        return lambda: stop(process)


def test_supervisord_that_restarts_itself_is_not_fought() -> None:
    """With autorestart it starts a killed process first; that one is waited for."""
    with own_rig(autorestart=True) as rig:
        before = rig.pid(0)
        result = rig.fleet.perform(restart(rig), 1)
        assert result.ok, result.output
        assert rig.pid(0) not in (0, before)
        assert rig.starts(0) == 2
        assert rig.fleet.perform(scale("out", 3), 2).ok
        assert rig.fleet.perform(scale("in", 2), 3).ok
        assert rig.pid(2) == 0


def test_a_dead_supervisord_is_no_inventory_and_starts_nothing() -> None:
    with own_rig() as rig:
        rig.close()
        with pytest.raises(DriverError, match="supervisord does not answer"):
            rig.fleet.inventory("web")
        for action in (restart(rig), scale("out", 3)):
            with pytest.raises(DriverError) as caught:
                rig.fleet.perform(action, 1)
            assert not caught.value.started


def test_supervisord_that_dies_in_the_middle_leaves_it_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The old process was killed and nothing can say what came of it: that is told so."""
    with own_rig() as rig:
        real = rig.supervisor.start

        def start(target: str, wait: bool = False) -> bool:
            rig.close()
            return real(target, wait)

        monkeypatch.setattr(rig.supervisor, "start", start)
        with pytest.raises(DriverError) as caught:
            rig.fleet.perform(restart(rig), 1)
        assert caught.value.started


def test_a_service_without_a_process_is_not_acted_on(rig: SupervisedRig) -> None:
    with pytest.raises(DriverError, match="has no process that the stack runs"):
        rig.fleet.inventory("elsewhere")


def test_a_process_without_a_port_is_well_when_it_runs(rig: SupervisedRig) -> None:
    result = rig.fleet.perform(Action("start", "bare", "bare:bare-0", limit_s=LIMIT_S), 1)
    assert result.ok, result.output
    (instance,) = rig.fleet.inventory("bare").instances
    assert (instance.running, instance.address) == (True, "")


def test_wanted_is_the_stores_within_what_the_catalog_allows(rig: SupervisedRig) -> None:
    assert rig.fleet.wanted("web") == 2
    for stored, wanted in ((3, 3), (9, 3), (0, 1)):
        rig.wanted["web"] = stored
        assert rig.fleet.wanted("web") == wanted


def test_all_targets_are_written_as_wanted(rig: SupervisedRig) -> None:
    rig.wanted["web"] = 3
    rig.fleet.write_all_targets()
    assert rig.scraped() == [rig.address(n) for n in range(3)]
    written = sorted(p.name for p in (rig.folder / "state" / "targets").iterdir())
    assert written == ["bare.json", "web.json"]
