"""Every matcher and receiver of a route is changed in each small way; a statement must not hold."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from opsloop import names
from opsloop.compile.alertmanager import OWN_POSTS
from opsloop.compile.options import Options
from tests.compile import catalogs
from tests.compile.route_mutants import mutants_of, with_change
from tests.compile.routing import reached
from tests.compile.test_routes import TEAMS
from tests.support.servers import require

# The branch of the engine's posts ends in its routes by severity; a post about a service names its
# team, so that those of payments never come to everybody's branch of P0 and P1.
UNSEEN = {
    "route.routes.3.receiver",
    "route.routes.3.routes.0.routes.2.matchers.0",
    "route.routes.3.routes.1.routes.2.matchers.0",
}


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    catalog = catalogs.catalog_of(TEAMS, tmp_path_factory.mktemp("catalog"))
    return catalogs.built(catalog, tmp_path_factory.mktemp("build"), Options(pagerduty="real"))


def stated(build: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load((build / names.ROUTES_YML).read_text())["routes"]
    return found


# (group_wait, group_interval, repeat_interval) of what is told to no people, by alert and receiver.
PULSE = {
    (names.WATCHDOG, "heartbeat"): ("0s", "30s", "15s"),
    (names.WATCHDOG, "engine"): ("0s", "10s", "5s"),
    ("", "engine"): ("0s", "1s", "5s"),
}


def wrong(config: dict[str, Any], route: dict[str, Any]) -> bool:
    """Whether an alert reaches others than is stated, or at other times."""
    found = reached(config["route"], route["labels"])
    if [r.receiver for r in found] != route["receivers"]:
        return True
    alert, when = route["labels"]["alertname"], route.get("people")
    for r in found[:-1] if when else found:
        pulse = PULSE.get((alert, r.receiver)) or PULSE.get(("", r.receiver))
        if pulse and (r.wait, r.interval, r.repeat) != pulse:
            return True
    if when is None:
        return False
    told = (found[-1].wait, found[-1].interval, found[-1].repeat, list(found[-1].muted))
    interval = "30s"  # until people hear of what joins those of the same service
    if alert in OWN_POSTS:
        interval = "10s"
    elif when["after"] != "30s":  # a grace, which holds for what joins as well
        interval = when["after"]
    return told != (when["after"], interval, when["repeat"], when.get("muted", []))


def test_what_is_stated_is_so(build: Path) -> None:
    config = yaml.safe_load((build / names.ALERTMANAGER_YML).read_text())
    routes = stated(build)
    assert len(routes) > 60
    assert [r for r in routes if wrong(config, r)] == []


def test_every_change_of_a_route_is_seen(build: Path) -> None:
    config = yaml.safe_load((build / names.ALERTMANAGER_YML).read_text())
    routes, mutants, alive = stated(build), mutants_of(config), []
    assert len(mutants) > 150
    for place, value in mutants:
        mutant = with_change(config, place, value)
        if not any(wrong(mutant, route) for route in routes):
            alive.append((".".join(map(str, place)), value))
    print(f"{len(mutants)} changes of routes, {len(alive)} not seen:", *alive, sep="\n  ")
    assert [a for a in alive if a[0] not in UNSEEN] == []
    assert len(alive) <= 0.05 * len(mutants)


def test_the_tests_follow_the_tree_as_amtool_does(build: Path, tmp_path: Path) -> None:
    """On one in forty of the changed trees: the shares of alerts differ from tree to tree."""
    config = yaml.safe_load((build / names.ALERTMANAGER_YML).read_text())
    routes = stated(build)
    config.pop("templates")
    for number, (place, value) in enumerate(mutants_of(config)[::40]):
        mutant = with_change(config, place, value)
        path = tmp_path / f"{number}.yml"
        path.write_text(json.dumps(mutant))
        for route in routes[number::12]:
            command: list[str | Path] = [require("amtool"), "config", "routes", "test"]
            command += ["--config.file", path, *(f"{k}={v}" for k, v in route["labels"].items())]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found = reached(mutant["route"], route["labels"])
            assert done.stdout.strip() == ",".join(r.receiver for r in found), (place, value)
