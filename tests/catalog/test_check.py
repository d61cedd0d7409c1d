"""What the rules let pass, what they only warn of, and the graph search beneath them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsloop.catalog.check import check
from opsloop.catalog.findings import cycles
from opsloop.catalog.load import load
from opsloop.catalog.model import Catalog
from opsloop.settings import Ports, Settings

BASE = """\
apiVersion: opsloop/v1
processes:
  api: {command: [api, "{port}", "{other}"], port: 8000, slots: 3}
services:
  api: {team: shop, process: api, metrics: http}
  web: {team: front, targets: {static: ["127.0.0.1:9000"]}, metrics: http}
"""
POLICIES = "remediation:\n  mode: auto\n  policies:\n"


def warnings(text: str, tmp_path: Path) -> list[str]:
    file = tmp_path / "opsloop.yaml"
    file.write_text(BASE + text)
    return [f"{w.line}: {w.path}: {w.message}" for w in load(file, {}).warnings]


@pytest.mark.parametrize(
    "text",
    [
        # IPv6, a pattern in a file name, a probe of each kind
        "hosts:\n  a: {targets: {static: ['[::1]:9100'], files: ['hosts/*.json']}}\n",
        (
            "probes:\n  a: {target: 'https://[::1]/'}\n  b: {type: tcp, target: 'db:5432'}\n"
            "  c: {type: icmp, target: '::1'}\n"
        ),
        # A window that runs past midnight
        "notifications:\n  maintenance:\n    night: {start: 23:00, end: 01:00, services: [api]}\n",
        # A policy that is off says nothing, whatever it meets
        POLICIES + "    p: {when: {alert: [ServiceDown]}, mode: off, steps: [restart]}\n",
        # Special before general, and one alert each
        POLICIES
        + "    a: {when: {alert: [ServiceDown], service: [api]}, limits: {max_runs: 6, window: 1h}, steps: [restart]}\n"
        + "    b: {when: {alert: [HighLatency], team: [shop]}, limits: {max_runs: 6, window: 1h}, steps: [scale_out]}\n",
        # A long window is fine where a person decides
        "  slow: {team: shop, targets: {static: ['s:1']}, metrics: http, alerts: {window: 10m}}\n"
        + POLICIES
        + "    a: {when: {alert: [HighErrorRate], service: [api]}, mode: approve, limits: {max_runs: 6, window: 1h}, steps: [restart]}\n",
        # Own selectors of every legal form
        (
            "  own:\n    team: shop\n    targets: {static: ['o:1']}\n    metrics:\n"
            "      requests: 'a:b_total{x=\"1\", y!~''2|3'',}'\n      errors: ' a_total { }'\n"
            "      latency: rpc_seconds\n"
        ),
        # Own alerts with tests
        """alerts:
  Stuck:
    expr: a > 1
    severity: P2
    summary: stuck
    service: api
    tests:
      - {name: t, series: [{series: a, values: 1+0x3}], expect: [{at: 1m, firing: false}]}
""",
    ],
)
def test_nothing_is_said(text: str, tmp_path: Path) -> None:
    assert warnings(text, tmp_path) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "alerts:\n  Stuck: {expr: a, severity: P2, summary: stuck}\n",
            [
                "8: alerts.Stuck: no team and no service owns it",
                "8: alerts.Stuck: has no test, so nobody knows whether it fires",
            ],
        ),
        (
            "  again: {team: shop, targets: {static: ['127.0.0.1:9000']}}\n",
            [
                (
                    "7: services.again.targets.static[0]: '127.0.0.1:9000' is scraped for service"
                    " 'web' too"
                )
            ],
        ),
        (
            "stack: {bind: 0.0.0.0}\n",
            ["7: stack.bind: the stack can be reached from other machines on 0.0.0.0"],
        ),
        (
            POLICIES
            + "    a: {when: {alert: [ServiceDown], service: [api]}, limits: {max_runs: 6, window: 1h}, steps: [restart]}\n"
            + "    b: {when: {alert: [ServiceDown, HighLatency], service: [api]},"
            + " steps: [restart], limits: {max_runs: 6, window: 1h}}\n",
            [
                (
                    "11: remediation.policies.b.when: does not act on ServiceDown of 'api':"
                    " 'a' above it does"
                )
            ],
        ),
        (
            POLICIES
            + "    a: {when: {alert: [ServiceDown], service: [api]}, limits: {max_runs: 6, window: 1h}, steps: [restart],\n"
            + "        verify: {hold: 4m, timeout: 5m}}\n",
            [
                (
                    "11: remediation.policies.a.verify.hold: people are told of ServiceDown of 'api'"
                    " after 3m, before the hold can be over"
                )
            ],
        ),
    ],
)
def test_warnings(text: str, expected: list[str], tmp_path: Path) -> None:
    assert warnings(text, tmp_path) == expected


def test_check_without_places() -> None:
    catalog = Catalog.model_validate(
        {
            "apiVersion": "opsloop/v1",
            "services": {"web": {"team": "shop", "depends_on": ["db"]}},
        }
    )
    found = [str(p) for p in check(catalog, Settings())]
    assert found == [
        (
            "catalog: services.web: has nothing to scrape"
            " (add targets: {static: [host:port]}, or process:, or postgres:)"
        ),
        "catalog: services.web.depends_on[0]: there is no service 'db' (known here: web)",
    ]


def test_ports_move_together() -> None:
    """A process and the parts of the stack move by the same offset, so none can meet by it."""
    catalog = Catalog.model_validate(
        {
            "apiVersion": "opsloop/v1",
            "processes": {"api": {"command": ["a"], "port": 9190}},
            "services": {"api": {"team": "shop", "process": "api"}},
        }
    )
    assert check(catalog, Settings(ports=Ports(-100))) == []


def test_each_database_has_an_exporter_with_a_port() -> None:
    databases = {n: {"team": "shop", "postgres": {"port": 5432}} for n in ("a", "b")}
    catalog = Catalog.model_validate(
        {
            "apiVersion": "opsloop/v1",
            "processes": {"api": {"command": ["a"], "port": 9188}},
            "services": {"api": {"team": "shop", "process": "api"}} | databases,
        }
    )
    (found,) = check(catalog, Settings())
    assert found.message == "port 9188 is that of the stack's postgres-exporter"


edges = st.dictionaries(
    st.sampled_from("abcdef"), st.lists(st.sampled_from("abcdefg"), max_size=3, unique=True)
)


@given(edges)
def test_cycles_are_cycles_and_all_are_found(graph: dict[str, list[str]]) -> None:
    found = list(cycles(graph))
    for way in found:
        for name, following in zip(way, [*way[1:], way[0]], strict=True):
            assert following in graph[name]
    # Without an edge of each cycle found, no cycle is left to find: a topological order exists.
    cut = {(way[-1], way[0]) for way in found}
    left = {n: {m for m in to if m in graph and (n, m) not in cut} for n, to in graph.items()}
    while free := [n for n in left if not left[n]]:
        left = {n: to - set(free) for n, to in left.items() if n not in free}
    assert left == {}
