"""The guide to the steps of a policy: its catalog is fine, and what it lists is what there is."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from opsloop import names
from opsloop.catalog.check_policies import SHIPPED_ALERTS
from opsloop.catalog.load import load
from opsloop.catalog.policy import Policy
from opsloop.catalog.steps import STEP_KINDS, Step
from opsloop.catalog.units import Duration
from opsloop.drills.kinds import DRILLS
from opsloop.drivers.command import KEPT
from opsloop.drivers.script import ACTION_ID
from opsloop.remediation.works import TOLD
from tests.docs.pages import ROOT, blocks

PAGE = "docs/guides/policy-steps.md"
TEXT = (ROOT / PAGE).read_text(encoding="utf-8")
MENDED, _, TOLD_AT_ONCE = TEXT.partition("## A policy for each alert")[2].partition("\n## Alerts ")


def alerts_in(text: str) -> set[str]:
    return set(re.findall(r"\b((?:SLO|[A-Z][a-z]+|TSDB)[A-Z]\w+)\b", text))


def test_its_catalog_is_fine_and_only_says_what_it_would_do(tmp_path: Path) -> None:
    (source,) = blocks(PAGE, "yaml")
    (tmp_path / "opsloop.yaml").write_text(source, encoding="utf-8")
    loaded = load(tmp_path / "opsloop.yaml", {})
    assert loaded.warnings == ()
    assert loaded.catalog.remediation.mode_of("heal-errors") == "dry-run"


def test_its_part_is_a_step(tmp_path: Path) -> None:
    import yaml

    (part,) = blocks(PAGE, "yaml-part")
    (step,) = yaml.safe_load(textwrap.dedent(part))
    assert Step.model_validate(step).undo is not None


def test_it_lists_every_step_and_whether_it_may_be_done_twice() -> None:
    rows = re.findall(
        r"^\| (`.+?`(?:, `.+?`| or `.+?`)?) \| .* \| (yes|no) \|$", TEXT, re.MULTILINE
    )
    listed = {}
    for steps, twice in rows:
        for kind in re.findall(r"`([a-z_]+)[:`]", steps):
            listed[kind] = twice == "yes"
    needs = {
        "script": {"command": ["x"]}, "playbook": {"path": "x"}, "webhook": {"url": "https://x/"},
        "clean": {"rules": [{"folder": "/a/b", "pattern": "*", "older_than": "7d"}]},
        "wait": {"for": Duration(1000)},
    }  # fmt: skip
    assert listed == {
        kind: Step.model_validate({kind: needs.get(kind, {})}).repeatable for kind in STEP_KINDS
    }


def test_it_names_all_that_a_command_is_told_and_inherits() -> None:
    for name in (*TOLD.values(), *KEPT, ACTION_ID):
        assert re.search(rf"\b{name}\b", TEXT), name


def test_the_drills_that_it_names_are_those_that_there_are() -> None:
    table = MENDED
    rows = [line for line in table.splitlines() if line.startswith("| ") and "`" in line]
    named = {n for row in rows for n in re.findall(r"`([a-z-]+)`", row.split("|")[3])}
    assert named == set(DRILLS)


def test_the_demo_has_a_policy_for_each_alert_that_it_names() -> None:
    catalog = load(ROOT / "examples" / "shop" / "opsloop.yaml", {}).catalog
    met = {a for p in catalog.remediation.policies.values() for a in p.when.alert}
    assert alerts_in(MENDED) <= met
    assert all(catalog.remediation.mode_of(name) == "auto" for name in catalog.remediation.policies)
    assert all(isinstance(p, Policy) for p in catalog.remediation.policies.values())


def test_each_alert_that_is_told_is_mended_or_the_page_says_why_not() -> None:
    told = set(SHIPPED_ALERTS) - {names.WATCHDOG, *names.ONLY_INHIBITS}
    catalog = load(ROOT / "examples" / "shop" / "opsloop.yaml", {}).catalog
    mended = {a for p in catalog.remediation.policies.values() for a in p.when.alert}
    assert alerts_in(TOLD_AT_ONCE) == told - mended
