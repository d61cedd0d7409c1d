"""supervisord.conf as supervisor itself reads it."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from supervisor.options import ServerOptions

from opsloop import names
from opsloop.catalog.model import Catalog
from opsloop.catalog.units import Duration
from opsloop.compile.bundle import compile_catalog
from opsloop.compile.options import Options
from opsloop.errors import InputError
from opsloop.settings import Ports
from tests.compile import catalogs

PROGRAMS = ("PROMETHEUS", "ALERTMANAGER", "NODE_EXPORTER", "BLACKBOX_EXPORTER", "POSTGRES_EXPORTER")


class Conf:
    """The programs of a catalog, by name, as supervisord would start them in `state`."""

    def __init__(
        self, catalog: Catalog, state: Path, monkeypatch: pytest.MonkeyPatch, options: Options
    ) -> None:
        for folder in ("logs", "run"):
            (state / folder).mkdir(parents=True, exist_ok=True)
        monkeypatch.setenv("OPSLOOP_STATE", str(state))
        monkeypatch.setenv("OPSLOOP_PYTHON", sys.executable)
        monkeypatch.setenv("OPSLOOP_CATALOG_DIR", str(state))
        monkeypatch.setenv("OPSLOOP_SOCKET", str(state / "run" / "s"))
        for name in PROGRAMS:
            monkeypatch.setenv(f"OPSLOOP_BIN_{name}", f"/opt/{name.lower()}")
        path = state / "supervisord.conf"
        path.write_text(compile_catalog(catalog, options).files[names.SUPERVISORD_CONF])
        self.options = ServerOptions()
        self.options.realize(["-c", str(path)], doc="supervisord")
        self.groups = {g.name: g for g in self.options.process_group_configs}
        self.programs: dict[str, Any] = {
            p.name: p for g in self.groups.values() for p in g.process_configs
        }

    def words(self, program: str) -> list[str]:
        return shlex.split(self.programs[program].command)


@pytest.fixture
def everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Conf:
    catalog = catalogs.catalog_of(catalogs.EVERYTHING, tmp_path / "catalog")
    return Conf(catalog, tmp_path / "a state; of 'mine'", monkeypatch, Options(Ports(100)))


def test_the_programs_of_the_shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conf = Conf(catalogs.shop(), tmp_path, monkeypatch, Options())
    stack = ["alertmanager", "blackbox-exporter", "console", "engine", "inbox", "node-exporter",
             "postgres-exporter", "prometheus"]  # fmt: skip
    slots = ["api-0", "api-1", "api-2", "api-3", "database-0", "load-0"]
    assert sorted(conf.programs) == sorted([*stack, *slots])
    assert [p.name for p in conf.groups["api"].process_configs] == slots[:4]
    started = {n for n, p in conf.programs.items() if p.autostart}
    assert started == {*stack, "load-0"} - {"prometheus"}, "`up` starts what it waits for"
    assert all(conf.programs[name].autorestart for name in stack)
    restarted = {n for n in slots if conf.programs[n].autorestart}
    assert restarted == {"load-0"}, "restarts are the loop's"
    assert max(conf.programs.values(), key=lambda p: p.priority).name == "prometheus"
    order = [conf.programs[n].priority for n in ("database-0", "api-0", "load-0")]
    assert order == sorted(set(order))
    assert conf.options.nodaemon
    assert conf.words("database-0")[:4] == ["setpriv", "--pdeathsig", "INT", "--"]
    assert conf.words("api-3")[-4:] == ["--port", "8003", "--slot", "3"]


def test_without_anything_to_stand_in_for_there_is_no_inbox(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = Options(slack_stand_in=False, pagerduty="real")
    assert "inbox" not in Conf(catalogs.shop(), tmp_path, monkeypatch, options).programs


def test_a_changed_sign_in_changes_the_consoles_program_alone() -> None:
    """So that `reload` starts the console again, and nothing else."""

    def conf(**changed: Any) -> dict[str, str]:
        empty = {
            "apiVersion": "opsloop/v1",
            "services": {"api": {"team": "x", "targets": {"static": ["a:1"]}}},
        }
        catalog = Catalog.model_validate({**empty, **changed})
        text = compile_catalog(catalog, Options()).files[names.SUPERVISORD_CONF]
        return {s.partition("]")[0]: s for s in text.split("\n[")}

    several = [
        conf(),
        conf(console={"sign_in": "basic"}),
        conf(console={"sign_in": "basic", "roles": {"viewer": ["*"]}}),
        conf(console={"hosts": ["ops.example.org"]}),
        conf(stack={"console_url": "https://ops.example.org"}),
    ]
    assert len({c["program:console"] for c in several}) == len(several)
    for one in several:
        assert {k: v for k, v in one.items() if k != "program:console"} == {
            k: v for k, v in several[0].items() if k != "program:console"
        }
    assert conf(console={}) == several[0]


def test_every_part_listens_on_loopback_behind_a_password(everything: Conf) -> None:
    state = everything.options.logfile.removesuffix("/logs/supervisord.log")
    ports = {"prometheus": 9190, "alertmanager": 9193, "node-exporter": 9200,
             "blackbox-exporter": 9215, "postgres-exporter": 9287, "postgres-exporter-store": 9288}  # fmt: skip
    for name, port in ports.items():
        words = everything.words(name)
        assert f"--web.listen-address=127.0.0.1:{port}" in words
        assert f"--web.config.file={state}/secrets/web.yml" in words
    assert "--cluster.listen-address=" in everything.words("alertmanager")
    assert everything.programs["alertmanager"].directory == f"{state}/build/alertmanager"
    assert not [w for w in everything.words("prometheus") if "lifecycle" in w]
    assert everything.words("inbox")[-2:] == ["--port", "8182"]


def test_each_database_has_an_exporter(everything: Conf) -> None:
    audit, store = (everything.words(f"postgres-exporter{n}") for n in ("", "-store"))
    state = everything.options.logfile.removesuffix("/logs/supervisord.log")
    assert f"DATA_SOURCE_PASS_FILE={state}/audit.pw" in audit
    assert "DATA_SOURCE_URI=10.0.3.1:5432/audit?sslmode=disable&connect_timeout=1" in audit
    assert f"DATA_SOURCE_PASS_FILE={state}/secrets/database_password" in store
    moved = "DATA_SOURCE_URI=127.0.0.1:5540/postgres?sslmode=disable&connect_timeout=1"
    assert moved in store, "the port of a process moves with the offset"


def test_words_and_environment_of_a_process_arrive_as_they_were_meant(everything: Conf) -> None:
    state = everything.options.logfile.removesuffix("/logs/supervisord.log")
    script = Path(state, "queue.py")
    script.write_text("import json, os, sys\nprint(json.dumps([sys.argv[1:], dict(os.environ)]))\n")
    for slot in (0, 1):
        config = everything.programs[f"queue-{slot}"]
        done = subprocess.run(
            shlex.split(config.command), cwd=config.directory, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        words, environment = json.loads(done.stdout)
        assert words == ["--port", str(7100 + slot), "50% ;of 'it'", "a #b", f"{state}/x y", ""]
        assert environment["NAME"] == 'say "hi" ; it\'s 5%'
        assert environment["WHERE"] == f"{state}/{slot}"
        assert environment["OPSLOOP_STATE"] == state
        assert environment["OPSLOOP_SECRETS"] == f"{state}/secrets"
        assert environment["OPSLOOP_PROCESS"] == f"queue-{slot}"


def test_retention_is_the_options_then_the_catalogs_then_15_days(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = catalogs.unchecked(catalogs.MINIMAL)
    longer = catalogs.unchecked(catalogs.MINIMAL.replace("stack:\n", "stack:\n  retention: 40d\n"))
    for wanted, options, text in (
        (catalog, Options(), "15d"),
        (longer, Options(), "40d"),
        (longer, Options(retention=Duration.of(3600)), "1h"),
    ):
        words = Conf(wanted, tmp_path, monkeypatch, options).words("prometheus")
        assert f"--storage.tsdb.retention.time={text}" in words


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("[web,", "[web, '{port:nobody}',", "no such process with a port"),
        ("port: 8000}", "after: [web]}", "goes in a circle"),
        ("port: 8000}", "slots: 1}", "{port} is used but no port is given"),
        ("[web,", "[web, '%(ENV_HOME)s',", "is supervisor's own form"),
        ("[web,", '[web, "a\\nb",', "has a line break"),
    ],
)
def test_what_supervisor_could_not_read_is_refused(before: str, after: str, message: str) -> None:
    catalog = catalogs.unchecked(catalogs.MINIMAL.replace(before, after, 1))
    with pytest.raises(InputError) as raised:
        compile_catalog(catalog, Options())
    assert message in str(raised.value)
