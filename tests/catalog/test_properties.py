"""Whatever stands in the file: a catalog that compiles, or a CatalogError with places."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from opsloop.catalog.explain import known_keys
from opsloop.catalog.interpolate import interpolate
from opsloop.catalog.load import load
from opsloop.compile.bundle import compile_catalog
from opsloop.compile.options import Options
from opsloop.errors import CatalogError, Problem

SHOP = (Path(__file__).parents[2] / "examples" / "shop" / "opsloop.yaml").read_bytes()
KEYS = sorted(
    {k for path in ((), ("services", "x"), ("stack",), ("remediation",)) for k in known_keys(path)}
)
WORDS = [
    "api",
    "5s",
    "5%",
    "${A}",
    "${A:-b}",
    "http",
    "restart",
    "127.0.0.1:80",
    "P0",
    "opsloop/v1",
]

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(max_size=8),
    st.sampled_from(WORDS),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.sampled_from(KEYS), st.text(max_size=6)), inner, max_size=4),
    ),
    max_leaves=25,
)


def load_bytes(raw: bytes, environ: dict[str, str] | None = None) -> None:
    """Load and judge what comes: the only error is CatalogError, and it says something."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "opsloop.yaml")
        file.write_bytes(raw)
        problems = _problems(file, environ or {})
        for problem in problems or []:
            assert problem.file == str(file)
            assert problem.message
            assert problem.line >= 0
            str(problem).encode(errors="backslashreplace")
        assert problems is None or problems


def _problems(file: Path, environ: dict[str, str]) -> list[Problem] | None:
    try:
        loaded = load(file, environ)
    except CatalogError as error:
        return error.problems
    # What passes the rules can be compiled: no mistake is found only later, without its place.
    assert compile_catalog(loaded.catalog, Options()).files
    return None


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200))
@example(b"\xff\xfe")
@example(b"? [a]\n: b\n")
@example(b"&a : *a")
@example(b"<<: [a]")
@example(b"a: 999999999999999999999999999999999999")
@example(b"%TAG ! tag:x,2000:\n--- !y\na: 1\n")
def test_any_bytes(raw: bytes) -> None:
    load_bytes(raw)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(known_keys(())), values, max_size=5))
def test_any_structure(data: dict[str, Any]) -> None:
    load_bytes(yaml.safe_dump({"apiVersion": "opsloop/v1"} | data, allow_unicode=True).encode())


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_the_shop_with_one_value_changed(data: st.DataObject) -> None:
    """Every field of a real catalog takes any value, or says that it does not."""
    catalog: Any = yaml.safe_load(SHOP)
    here = catalog
    while True:
        keys = list(here) if isinstance(here, dict) else list(range(len(here)))
        key = data.draw(st.sampled_from(keys))
        deeper = isinstance(here[key], dict | list) and here[key]
        if not deeper or not data.draw(st.booleans()):
            break
        here = here[key]
    here[key] = data.draw(values)
    load_bytes(yaml.safe_dump(catalog, allow_unicode=True, sort_keys=False).encode())


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(SHOP) - 1), st.binary(max_size=3))
def test_the_shop_with_bytes_changed(at: int, new: bytes) -> None:
    load_bytes(SHOP[:at] + new + SHOP[at + len(new) + 1 :])


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="${}:-A_b \n", max_size=30), st.text(max_size=10))
def test_interpolation_of_any_text(text: str, value: str) -> None:
    result, mistakes = interpolate(text, {"A": value})
    if "${" not in text:
        assert result == text
        assert not mistakes


@given(st.text(alphabet=st.characters(exclude_characters="}\0"), max_size=20))
def test_a_value_is_taken_as_it_is(value: str) -> None:
    """What the environment holds is never read as a reference again."""
    assert interpolate("<${A}>", {"A": value}) == (f"<{value}>", [])
    if value:
        assert interpolate(f"${{B:-{value}}}", {}) == (value, [])
