"""Every matcher and receiver of a route is changed in each small way; a statement must not hold."""

from __future__ import annotations

import copy
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from opsloop import names
from opsloop.compile.options import Options
from tests.compile import catalogs
from tests.compile.routing import reached
from tests.compile.test_routes import TEAMS
from tests.support.servers import require

Place = tuple[str | int, ...]
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


def places(node: dict[str, Any], path: Place = ("route",)) -> Iterator[Place]:
    """Where each matcher, receiver and `continue` of the tree stands."""
    for n in range(len(node.get("matchers", ()))):
        yield (*path, "matchers", n)
    for key in ("receiver", "continue"):
        if key in node:
            yield (*path, key)
    for n, child in enumerate(node.get("routes", ())):
        yield from places(child, (*path, "routes", n))


def changed(value: Any) -> list[Any]:
    """The small ways in which a matcher, a receiver or a switch may be wrong."""
    if isinstance(value, bool):
        return [not value]
    if "=" not in value:
        return [other for other in ("people", "team/payments", "nobody") if other != value]
    label, quoted = value.split('"', 1)[0], value[value.index('"') :]
    bare = label.rstrip("=~!")
    operator = label[len(bare) :]
    swapped = {"=": "!=", "!=": "=", "=~": "!~", "!~": "=~"}[operator]
    text = json.loads(quoted)
    others = [f"{bare}{swapped}{quoted}", f"{bare}{operator}{json.dumps(text + 'x')}"]
    if "|" in text:
        others += [f'{bare}=~"{text.partition("|")[2]}"', f'{bare}=~"{text.rpartition("|")[0]}"']
    return [*others, f"not_{bare}{operator}{quoted}"]


def with_change(config: dict[str, Any], place: Place, value: Any) -> dict[str, Any]:
    found = copy.deepcopy(config)
    node: Any = found
    for step in place[:-1]:
        node = node[step]
    node[place[-1]] = value
    return found


def stated(build: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load((build / names.ROUTES_YML).read_text())["routes"]
    return found


def mutants_of(config: dict[str, Any]) -> list[tuple[Place, Any]]:
    return [(p, value) for p in places(config["route"]) for value in changed(_at(config, p))]


def wrong(config: dict[str, Any], route: dict[str, Any]) -> bool:
    """Whether an alert reaches others than is stated, or at other times."""
    found = reached(config["route"], route["labels"])
    if [r.receiver for r in found] != route["receivers"]:
        return True
    when = route.get("people")
    if when is None:
        return False
    told = (found[-1].wait, found[-1].repeat, list(found[-1].muted))
    return told != (when["after"], when["repeat"], when.get("muted", []))


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


def _at(config: dict[str, Any], place: Place) -> Any:
    node: Any = config
    for step in place:
        node = node[step]
    return node
