"""The bundle as a whole: byte-stable, relative, without secrets, and told of in its manifest."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from opsloop import names
from opsloop.catalog.facts import EngineInput
from opsloop.catalog.units import Duration
from opsloop.compile.bundle import compile_catalog
from opsloop.compile.options import Options
from opsloop.errors import BundleError, InputError
from opsloop.settings import Ports
from tests.compile import catalogs

GOLDEN = Path(__file__).parents[1] / "golden" / "shop"
DIGEST = """
import hashlib, sys
from pathlib import Path
from tests.compile import catalogs
from opsloop.compile.bundle import compile_catalog
from opsloop.compile.options import Options
for text in (catalogs.EVERYTHING, catalogs.many(30)):
    catalog = catalogs.catalog_of(text, Path(sys.argv[1]))
    for path, body in compile_catalog(catalog, Options()).files.items():
        print(hashlib.sha256(body.encode()).hexdigest(), path)
"""


def test_equal_inputs_give_equal_bytes_in_every_process(tmp_path: Path) -> None:
    said = set()
    for seed in ("0", "1", "4711"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": "src:."}
        done = subprocess.run(
            [sys.executable, "-c", DIGEST, str(tmp_path / "catalog")],
            cwd=catalogs.ROOT, env=environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        said.add(done.stdout)
    assert len(said) == 1
    assert len(said.pop().splitlines()) > 40


def test_the_order_of_the_catalog_does_not_matter(tmp_path: Path) -> None:
    catalog = catalogs.catalog_of(catalogs.EVERYTHING, tmp_path / "catalog")
    turned = catalog.model_copy(
        update={
            "services": dict(reversed(catalog.services.items())),
            "hosts": dict(reversed(catalog.hosts.items())),
            "alerts": dict(reversed(catalog.alerts.items())),
        }
    )
    files, others = (compile_catalog(c, Options()).files for c in (catalog, turned))
    told = (names.ENGINE_JSON, names.MANIFEST_JSON)  # these repeat the catalog as it is written
    assert {p: t for p, t in files.items() if p not in told} == {
        p: t for p, t in others.items() if p not in told
    }


def test_files_are_sorted_relative_and_end_with_a_line(tmp_path: Path) -> None:
    catalog = catalogs.catalog_of(catalogs.EVERYTHING, tmp_path / "catalog")
    files = compile_catalog(catalog, Options()).files
    assert list(files) == sorted(files)
    for path, text in files.items():
        assert not path.startswith("/")
        assert text.endswith("\n")
        assert str(tmp_path) not in text
        assert str(catalogs.ROOT) not in text


def test_the_manifest_has_the_hash_of_every_other_file() -> None:
    files = dict(compile_catalog(catalogs.shop(), Options()).files)
    manifest = json.loads(files.pop(names.MANIFEST_JSON))
    assert manifest["files"] == {
        path: f"sha256:{hashlib.sha256(text.encode()).hexdigest()}" for path, text in files.items()
    }
    assert manifest["untested"] == []


def test_the_manifest_tells_one_input_from_another() -> None:
    catalog = catalogs.shop()
    inputs = {
        json.loads(compile_catalog(c, o).files[names.MANIFEST_JSON])["inputs"]
        for c, o in (
            (catalog, Options()),
            (catalog, Options(Ports(1))),
            (catalog, Options(pagerduty="none")),
            (catalog, Options(retention=Duration.of(86_400))),
            (catalogs.shop({"PROMETHEUS_RETENTION": "60d"}), Options()),
        )
    }
    assert len(inputs) == 5


def test_the_engine_reads_what_it_is_told(tmp_path: Path) -> None:
    catalog = catalogs.catalog_of(catalogs.EVERYTHING, tmp_path / "catalog")
    text = compile_catalog(catalog, Options(Ports(70))).files[names.ENGINE_JSON]
    told = EngineInput.model_validate_json(text)
    assert told.catalog == catalog
    assert told.port_base == 70
    assert [(f.alert, f.policy) for f in told.facts] == [
        ("HighErrorRate", "unstick"),
        ("HighLatency", "down"),
        ("QueueStuck", "unstick"),
        ("ServiceDown", "data-down"),
        ("ServiceDown", "down"),
    ]


def test_services_without_any_alert_are_refused() -> None:
    text = catalogs.NO_POLICIES.split("  db:")[0].replace(
        "metrics: http,", "alerts: {service_down: false},"
    )
    catalog = catalogs.unchecked(text)
    with pytest.raises(BundleError, match="no service has one"):
        compile_catalog(catalog, Options())


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("web:", "prometheus:", "services.prometheus: is the name of a part of the stack"),
        ("metrics: http,", "metrics: http, alerts: {error_ratio: 100%},", "error_ratio: 100% can"),
        ("metrics: http,", "metrics: {requests: 'a b'},", "'a b': 'b' follows the metric name"),
        ("metrics: http,", "metrics: {requests: 'a{b=c}'},", "'b=c' is not a matcher"),
        ("metrics: http,", 'metrics: {requests: \'a{b="c" d="e"}\'},', "a comma is missing"),
        ("metrics: http,", "metrics: {requests: 'a{b=~\"\\d\"}'},", "is no escape of PromQL"),
        ("metrics: http,", "metrics: {requests: '{b=\"c\"}'},", "begin with a metric name"),
        ("machine: {", "machine: {disk_full: 100%, ", "hosts.machine.disk_full: 100% can never"),
    ],
)
def test_what_cannot_be_compiled_is_named(before: str, after: str, message: str) -> None:
    catalog = catalogs.unchecked(catalogs.NO_POLICIES.replace(before, after, 1))
    with pytest.raises(InputError) as raised:
        compile_catalog(catalog, Options())
    assert message in str(raised.value)


def test_the_shop_compiles_to_what_is_kept() -> None:
    """A change of what is made is seen in review: UPDATE_GOLDEN=1 writes it anew."""
    files = compile_catalog(catalogs.shop(), Options()).files
    repeated = (names.ENGINE_JSON, names.MANIFEST_JSON)  # the catalog, and hashes
    kept = {p: t for p, t in files.items() if p not in repeated and "/tests/slo-" not in p}
    if os.environ.get("UPDATE_GOLDEN"):
        for path, text in kept.items():
            (GOLDEN / path).parent.mkdir(parents=True, exist_ok=True)
            (GOLDEN / path).write_text(text)
        for old in GOLDEN.rglob("*"):
            if old.is_file() and str(old.relative_to(GOLDEN)) not in kept:
                old.unlink()
    found = {str(p.relative_to(GOLDEN)): p.read_text() for p in GOLDEN.rglob("*") if p.is_file()}
    assert sorted(found) == sorted(kept)
    for path, text in kept.items():
        assert text == found[path], f"{path} changed; is that meant? UPDATE_GOLDEN=1 keeps it"
