"""What `init` writes is commented line by line, and loads without a warning."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from opsloop.catalog.load import Loaded, load
from opsloop.catalog.model import Metrics
from opsloop.catalog.scaffold import Found, FoundService, Selectors, name_of, scaffold

FOUND = Found(
    services=(
        FoundService("api", "127.0.0.1:8000", "python3 api.py", "http"),
        FoundService(
            "shop",
            "[::1]:8001",
            "container shop",
            Selectors("x_total", 'x_total{status=~"5.."}', "x_seconds"),
        ),
        FoundService("redis", "127.0.0.1:9121", "a Redis exporter"),
    ),
    node_exporters=("127.0.0.1:9100", "127.0.0.1:9101"),
    notes=("engine on 127.0.0.1:8081: /metrics wants a password",),
)


def loads(text: str, tmp_path: Path) -> Loaded:
    file = tmp_path / "opsloop.yaml"
    file.write_text(text)
    return load(file, {})


def test_with_nothing_found_the_host_is_watched(tmp_path: Path) -> None:
    loaded = loads(scaffold(Found()), tmp_path)
    assert loaded.warnings == ()
    assert list(loaded.catalog.hosts) == ["local"]
    assert not loaded.catalog.hosts["local"].targets.static
    assert loaded.catalog.services == {}
    assert loaded.catalog.remediation.mode == "dry-run"


def test_what_was_found_is_in_it(tmp_path: Path) -> None:
    loaded = loads(scaffold(FOUND), tmp_path)
    assert loaded.warnings == ()
    services = loaded.catalog.services
    assert {n: s.targets.static for n, s in services.items()} == {
        "api": ["127.0.0.1:8000"],
        "shop": ["[::1]:8001"],
        "redis": ["127.0.0.1:9121"],
    }
    assert services["api"].metrics == "http"
    assert services["redis"].metrics == "none"
    assert services["shop"].metrics == Metrics(
        requests="x_total", errors='x_total{status=~"5.."}', latency="x_seconds"
    )
    assert [h.targets.static for h in loaded.catalog.hosts.values()] == [
        ["127.0.0.1:9100"],
        ["127.0.0.1:9101"],
    ]


def test_every_line_has_a_comment() -> None:
    for text in (scaffold(Found()), scaffold(FOUND)):
        assert [line for line in text.splitlines() if line and "# " not in line] == []


def test_the_commented_examples_are_right_too(tmp_path: Path) -> None:
    """Taken out of their comments they are a service and policies that load."""
    text = scaffold(Found())
    for line in text.splitlines():
        if line.startswith("#   ") or line == "# services:":
            text = text.replace(line, line[2:])
    # The example of a service has no process, and there is no certificate: each is refused for
    # that alone.
    text = text.replace("\n      limits:", "\n      mode: off\n      limits:")
    loaded = loads(text, tmp_path)
    assert list(loaded.catalog.services) == ["api"]
    assert list(loaded.catalog.remediation.policies) == [
        "clean-disk", "restart-down", "scale-on-latency", "renew-certificate", "rerun-backup"
    ]  # fmt: skip


def test_what_it_may_do_by_itself_is_only_told(tmp_path: Path) -> None:
    """The one shipped policy that can act on any machine does not, until a person says so."""
    loaded = loads(scaffold(Found()), tmp_path)
    assert loaded.catalog.remediation.mode_of("clean-disk") == "dry-run"
    elsewhere = loads(scaffold(FOUND), tmp_path)
    assert elsewhere.catalog.remediation.policies == {}


texts = st.text(max_size=60)


@given(
    st.lists(st.tuples(texts, texts, st.integers(1, 65535)), max_size=4),
    st.lists(texts, max_size=3),
)
def test_names_and_words_of_any_program(
    programs: list[tuple[str, str, int]], notes: list[str]
) -> None:
    import tempfile

    taken: set[str] = set()
    services = tuple(
        FoundService(name_of(name, taken, f"service-{port}"), f"127.0.0.1:{port}", what)
        for name, what, port in programs
    )
    with tempfile.TemporaryDirectory() as folder:
        loaded = loads(scaffold(Found(services, (), tuple(notes))), Path(folder))
    assert len(loaded.catalog.services) == len(programs)
