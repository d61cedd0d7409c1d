"""A Grafana that is found is run with our settings; here a stand-in reads them as Grafana would.

The stand-in is a script named `grafana`, since no package of Debian has the real one: it checks
its arguments, reads grafana.ini and the provisioning files relative to where it is started, and
answers on the port that they name. What Grafana itself makes of them is seen only where
GRAFANA_URL is set (tests/compile/test_grafana_server.py).
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from opsloop import names
from opsloop.compile.options import Options
from opsloop.errors import MissingBinary
from opsloop.settings import Ports
from opsloop.stack import binaries, supervisord
from opsloop.stack.ready import Http
from opsloop.stack.secrets import make_secrets
from opsloop.stack.state import StateFolder
from tests.compile import catalogs
from tests.stack.conftest import HEAD
from tests.support.net import free_ports
from tests.support.wait import wait_until

STAND_IN = '''#!{python}
"""Reads what Grafana would read, says it in seen.json, and answers as healthy."""
import configparser, http.server, json, os, re, sys
options = dict(a.removeprefix("--").split("=", 1) for a in sys.argv[2:])
ini = configparser.RawConfigParser()
ini.read(options["config"])
def value(text):
    text = re.sub(r"\\$\\{{(\\w+)\\}}", lambda m: os.environ[m.group(1)], text)
    return re.sub(r"\\$__file\\{{([^}}]+)\\}}", lambda m: open(m.group(1)).read(), text)
settings = {{s: {{k: value(v) for k, v in ini.items(s)}} for s in ini.sections()}}
files = {{}}
for kind in ("datasources", "dashboards"):
    folder = os.path.join(settings["paths"]["provisioning"], kind)
    files.update({{f"{{kind}}/{{n}}": value(open(os.path.join(folder, n)).read())
                  for n in os.listdir(folder)}})
json.dump({{"argv": sys.argv[1:], "home": os.path.isfile(options["homepath"] + "/conf/defaults.ini"),
           "settings": settings, "files": files, "dashboards": sorted(os.listdir("dashboards"))}},
          open(os.environ["OPSLOOP_STATE"] + "/seen.json", "w"))
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/api/health" else 404)
        self.end_headers()
    def log_message(self, *_): pass
server = settings["server"]
http.server.HTTPServer((server["http_addr"], int(server["http_port"])), Answer).serve_forever()
'''


@pytest.fixture
def grafana(tmp_path: Path) -> Path:
    """An unpacked Grafana: bin/grafana and its defaults."""
    home = tmp_path / "unpacked"
    (home / "bin").mkdir(parents=True)
    (home / "conf").mkdir()
    (home / "conf/defaults.ini").write_text("")
    program = home / "bin/grafana"
    program.write_text(STAND_IN.format(python=sys.executable))
    program.chmod(0o755)
    return program


def test_it_is_found_with_its_home(grafana: Path, tmp_path: Path) -> None:
    path = str(grafana.parent)
    assert binaries.find_grafana({}, path) == grafana
    assert binaries.find_grafana({"grafana": str(grafana)}, "/nowhere") == grafana
    assert binaries.find_grafana({}, str(tmp_path)) is None
    env = binaries.environment({"grafana": grafana})
    assert env == {
        "OPSLOOP_BIN_GRAFANA": str(grafana),
        "OPSLOOP_GRAFANA_HOME": str(grafana.parent.parent),
    }
    linked = tmp_path / "grafana"
    linked.symlink_to(grafana)
    assert binaries.grafana_home(linked) == grafana.parent.parent


def test_a_program_that_only_has_the_name_is_not_it(grafana: Path) -> None:
    shutil.rmtree(grafana.parent.parent / "conf")
    assert binaries.find_grafana({}, str(grafana.parent)) is None
    with pytest.raises(MissingBinary) as raised:
        binaries.find_grafana({"grafana": str(grafana)}, "/nowhere")
    assert "has no conf/defaults.ini" in str(raised.value)


def test_it_reads_what_it_is_given(grafana: Path, tmp_path: Path) -> None:
    """Under a real supervisord, by the section of the compiled supervisord.conf."""
    base = free_ports(1)[0] - Ports().grafana
    catalog, ports = catalogs.shop(), Ports(base)
    options = Options(ports, grafana=True)
    state = StateFolder(tmp_path / "state")
    state.prepare()
    build = catalogs.built(catalog, tmp_path, options)
    shutil.copytree(build, state.build, dirs_exist_ok=True)
    make_secrets(state.secrets, catalog, {}, ports)
    conf = (build / names.SUPERVISORD_CONF).read_text()
    assert [p.name for p in binaries.in_conf(conf)][-1] == "grafana"
    section = conf.partition("[program:grafana]")[2].partition("\n[")[0]
    (state.build / names.SUPERVISORD_CONF).write_text(f"{HEAD}[program:grafana]{section}\n")
    env = supervisord.environment(
        state, tmp_path, binaries.environment({"grafana": grafana}), os.environ
    )
    http = Http("")
    try:
        supervisord.start(state, env)
        url = f"http://127.0.0.1:{ports.grafana}/api/health"
        wait_until(lambda: http.get(url, protected=False)[0] == 200, "the stand-in answers")
        seen = json.loads((state.root / "seen.json").read_text())
    finally:
        http.close()
        supervisord.stop(state, print)
    assert seen["argv"][0] == "server"
    assert seen["home"]
    settings = seen["settings"]
    assert settings["auth.anonymous"]["enabled"] == "false"
    assert settings["users"]["allow_sign_up"] == "false"
    assert settings["analytics"]["reporting_enabled"] == "false"
    secret = {n: (state.secrets / n).read_text() for n in ("grafana_password", "scrape_password")}
    assert settings["security"]["admin_password"] == secret["grafana_password"] != ""
    assert settings["security"]["secret_key"] not in ("", "SW2YcwTIb9zpOOhoPsMm")
    assert settings["paths"]["data"] == str(state.root / "data/grafana")
    sources = yaml.safe_load(seen["files"]["datasources/opsloop.yml"])["datasources"]
    assert {s["uid"]: s["url"] for s in sources} == {
        "opsloop-prometheus": f"http://127.0.0.1:{ports.prometheus}",
        "opsloop-alertmanager": f"http://127.0.0.1:{ports.alertmanager}",
    }
    for source in sources:
        assert source["editable"] is False
        assert source["secureJsonData"]["basicAuthPassword"] == secret["scrape_password"]
    (provider,) = yaml.safe_load(seen["files"]["dashboards/opsloop.yml"])["providers"]
    assert (provider["allowUiUpdates"], provider["disableDeletion"]) == (False, True)
    assert provider["options"]["path"] == "dashboards"
    assert [n for n in seen["dashboards"] if n.endswith(".json")] == sorted(
        f"{u}.json"
        for u in ("opsloop-overview", "opsloop-remediation", "opsloop-signals", "opsloop-slo")
    )


def test_without_it_nothing_of_it_is_run() -> None:
    files = catalogs.compiled_shop()
    assert "grafana" not in files[names.SUPERVISORD_CONF]
    assert names.GRAFANA_INI in files


def test_a_change_of_its_settings_starts_it_again() -> None:
    def section(catalog: object) -> str:
        from opsloop.compile.native import supervisord_conf

        text = supervisord_conf(catalog, Options(grafana=True))  # type: ignore[arg-type]
        return text.partition("[program:grafana]")[2].partition("\n[")[0]

    catalog = catalogs.shop()
    faster = catalog.stack.model_copy(update={"scrape_interval": 1000})
    assert section(catalog) == section(catalogs.shop())
    other = catalog.model_copy(update={"stack": faster})
    assert section(other) != section(catalog)
