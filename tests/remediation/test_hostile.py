"""Whatever stands in an alert: no action but on what the catalog knows, and one line of the log."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opsloop.log import LineFormatter
from opsloop.report import episodes as episode_lines
from opsloop.report.page import page
from opsloop.report.runs import gather
from tests.remediation.world import World

HOSTILE = [
    "; touch /tmp/owned",
    "$(reboot)",
    "`id`",
    "| sh",
    "&& rm -rf /",
    "api-0\napi-1",
    "../../etc/passwd",
    "--config=/etc/shadow",
    "-rf",
    "%(ENV_HOME)s",
    "${HOME}",
    "{{ 7*7 }}",
    "<script>alert(1)</script>",
    "\x1b[2J\x1b]0;owned\x07",
    "\r\nINFO opsloop.engine forged",
    "\u202egnp.exe",
    "\x00",
    "' OR 1=1 --",
    "*",
    ".*",
    "api",
    "database",
    "127.0.0.1:8000 127.0.0.1:8001",
    "9" * 400,
]
FIELDS = ["alertname", "service", "instance", "policy", "team", "severity", "note"]
_text = st.sampled_from(HOSTILE) | st.text(max_size=30)


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """What the engine logs, as it stands in its file."""
    found: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(self.format(record))

    handler, root = Keep(), logging.getLogger("opsloop")
    handler.setFormatter(LineFormatter())
    level = root.level
    root.setLevel(logging.INFO)
    root.addHandler(handler)
    yield found
    root.removeHandler(handler)
    root.setLevel(level)


def world_with_a_fault(folder: Path) -> World:
    """Both instances of the api are down, so that nothing but the label says which is meant."""
    world = World(folder)
    world.settle()
    world.up.update({"api:api-0": False, "api:api-1": False})
    return world


@pytest.mark.parametrize("field", FIELDS)
def test_a_hostile_label_acts_on_nothing(tmp_path: Path, lines: list[str], field: str) -> None:
    world = world_with_a_fault(tmp_path)
    for number, value in enumerate(HOSTILE):
        if (field, value) == ("service", "api"):
            continue  # the genuine fault
        alert = world.alert("ServiceDown", "api", "api:api-0")
        labels = {**alert.labels, field: value}
        if field in ("team", "severity", "note"):
            labels["instance"] = "127.0.0.1:1"  # else it is the genuine fault, and is healed
        alert = replace(alert, fingerprint=f"{number:016x}", labels=labels)
        world.listed.append(alert)
        world.store.intake([alert], world.now)
    world.run_for(30)
    assert world.performed == []
    assert world.store.runs() == []
    assert world.signals.total("errors") == 0
    assert lines
    assert [line for line in lines if not line.isprintable()] == []
    for episode in world.store.episodes(1000, closed=True):
        json.dumps(episode_lines.row(episode), allow_nan=False)
        assert all(c.isprintable() for c in "".join(episode_lines.cells(episode, world.now)))


@settings(max_examples=30, deadline=None)
@given(labels=st.dictionaries(st.sampled_from(FIELDS), _text, min_size=1, max_size=4))
def test_what_is_performed_is_what_the_catalog_knows(labels: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = world_with_a_fault(Path(folder))
        alert = world.alert("ServiceDown", "api", "api:api-0")
        alert = replace(alert, labels={**alert.labels, **labels})
        world.listed.append(alert)
        world.store.intake([alert], world.now)
        world.run_for(20)
        known = {"api:api-0", "api:api-1", "database:database"}
        for action in world.performed:
            assert action.target in known
            assert action.address == alert.labels["instance"], "another instance than it names"
        for run in world.store.runs():
            for line in page(gather(world.store, run.id)).splitlines():
                assert line.isprintable(), line
        assert world.signals.total("errors") == 0
        world.store.close()
