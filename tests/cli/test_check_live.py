"""`opsloop check --live` against a real Prometheus: what matches nothing, and what is there instead."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import Result

from tests.support.servers import Server, prometheus
from tests.support.wait import wait_until

Run = Callable[..., Result]
HEAD = "apiVersion: opsloop/v1\nservices:\n"
WEB = HEAD + '  web:\n    team: shop\n    targets: {static: ["w:80"]}\n'
# (metric, labels, value): constants that rules record stand for what is scraped.
SERIES: list[tuple[str, dict[str, str], int]] = [
    ("http_requests_total", {"service": "web", "code": "200", "via": "edge"}, 90),
    ("http_requests_total", {"service": "web", "code": "500", "via": "edge"}, 5),
    ("http_requests_total", {"service": "web", "code": "500", "via": "mesh"}, 4),
    ("calls_failed_total", {"service": "web"}, 100),
    ("http_requests_total", {"service": "shop", "code": "200", "via": "edge"}, 9),
    ("bare_requests_total", {"code": "200"}, 9),
    ("probe_success", {"probe": "frnt"}, 1),
    ("backup_last_success_seconds", {"service": "web"}, 1000),
    *(
        ("http_request_duration_seconds_bucket", {"service": "web", "le": le}, 90)
        for le in ("0.1", "0.3", "1.0", "2.5", "+Inf")
    ),
    ("http_request_duration_seconds_count", {"service": "web"}, 90),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("prometheus")
    rules = [{"record": m, "expr": f"vector({v})", "labels": labels} for m, labels, v in SERIES]
    group = {"name": "series", "interval": "1s", "rules": rules}
    (folder / "rules.yml").write_text(yaml.safe_dump({"groups": [group]}))
    with prometheus("rule_files: [rules.yml]\n", folder) as found:
        wait_until(
            lambda: len(found.query('{__name__=~".+"}')) == len(SERIES), "all series are there"
        )
        yield found


def asked(run: Run, server: Server, text: str) -> tuple[list[str], list[str]]:
    """(errors, warnings) without the file's name and the server's address."""
    Path("opsloop.yaml").write_text(text)
    done = run("check", "--prometheus", server.url, "--json")
    value = json.loads(done.stdout)
    assert done.exit_code == (2 if value["errors"] else 0)
    for problem in value["errors"]:  # each names the line of its objective
        line = text.splitlines()[problem["line"] - 1].strip()
        assert line.startswith(problem["path"].split(".")[3] + ":")

    def told(kind: str) -> list[str]:
        return [
            f"{p['path'].removeprefix('services.')}: {p['message']} ({p['hint']})"
            .replace(server.url, "URL")
            for p in value[kind]
        ]  # fmt: skip

    return told("errors"), told("warnings")


def test_what_is_there_is_fine(run: Run, server: Server) -> None:
    text = WEB + (
        "    metrics: {requests: http_requests_total, errors: 'http_requests_total{code=~\"5..\"}',"
        " latency: http_request_duration_seconds}\n"
        "    slos:\n"
        "      up: {objective: 99%, sli: availability}\n"
        "      quick: {objective: 99%, sli: {latency: {threshold: 300ms}}}\n"
        "      whole: {objective: 98%, sli: {latency: {threshold: 1s}}}\n"
        "      fresh: {objective: 99%, sli: {freshness: {metric: backup_last_success_seconds, max_age: 1h}}}\n"
        "      all: {objective: 99%, sli: {events: {total: bare_requests_total, good: 'bare_requests_total{code=\"200\"}', series: all}}}\n"
    )
    assert asked(run, server, text) == ([], [])
    plain = run("check")
    assert plain.stderr.count("nobody has said whether") == 2, "without asking it is not known"


def test_what_matches_nothing_is_named_with_what_is_near(run: Run, server: Server) -> None:
    text = WEB + (
        "    slos:\n"
        "      name: {objective: 99%, sli: {events: {total: http_request_total, errors: 'http_request_total{code=\"500\"}'}}}\n"
        '      value: {objective: 99%, sli: {events: {total: \'http_requests_total{via="egde"}\', errors: \'http_requests_total{via="egde",code="500"}\'}}}\n'
        '      label: {objective: 99%, sli: {events: {total: \'http_requests_total{path="/"}\', good: \'http_requests_total{path="/",code="200"}\'}}}\n'
        "      bare: {objective: 99%, sli: {events: {total: bare_requests_total, errors: 'bare_requests_total{code=\"500\"}'}}}\n"
        "      front: {objective: 99%, sli: {probe: front}}\n"
        "      fresh: {objective: 99%, sli: {freshness: {metric: nothing_like_it, max_age: 1h}}}\n"
        'probes:\n  front: {target: "http://w/"}\n'
    )
    errors, warnings = asked(run, server, text)
    assert warnings == []
    assert set(errors) == {
        (
            'web.slos.front.sli.probe: probe_success{probe="front"} matches nothing on URL'
            " (its probe is 'frnt')"
        ),
        (
            'web.slos.fresh.sli.freshness.metric: nothing_like_it{service="web"} matches nothing'
            " on URL (no metric there has a name like it)"
        ),
        (
            'web.slos.name.sli.events.total: http_request_total{service="web"} matches nothing on'
            " URL (there is http_requests_total)"
        ),
        (
            'web.slos.value.sli.events.total: http_requests_total{service="web",via="egde"} matches'
            " nothing on URL (its via is 'edge', 'mesh')"
        ),
        (
            'web.slos.label.sli.events.total: http_requests_total{service="web",path="/"} matches'
            " nothing on URL (its series have no label 'path')"
        ),
        (
            'web.slos.bare.sli.events.total: bare_requests_total{service="web"} matches nothing on'
            " URL (its series have no label 'service': scrape them by the catalog, or write series:"
            " all)"
        ),
    }


def test_a_part_that_is_no_part_is_refused(run: Run, server: Server) -> None:
    text = WEB + (
        "    slos:\n"
        "      two: {objective: 99%, sli: {events: {total: http_requests_total, errors: calls_failed_total}}}\n"
        '      same: {objective: 99%, sli: {events: {total: \'http_requests_total{via=~"e.+"}\', errors: \'http_requests_total{via=~".+",code="500"}\'}}}\n'
    )
    errors, warnings = asked(run, server, text)
    assert warnings == []
    assert set(errors) == {
        (
            "web.slos.two.sli.events.errors: calls_failed_total has counted more than"
            " http_requests_total on URL: it is no part of it (one of them is another metric than"
            " was meant)"
        ),
        (
            'web.slos.same.sli.events.errors: http_requests_total{via=~".+",code="500"} is no'
            ' part of http_requests_total{via=~"e.+"}: it counts {code="500",service="web",'
            'via="mesh"} too, which that does not (give it the matchers of the total)'
        ),
    }


def test_errors_that_never_came_are_a_doubt_and_no_good_ones_a_mistake(
    run: Run, server: Server
) -> None:
    text = WEB + (
        "    slos:\n"
        "      errors: {objective: 99%, sli: {events: {total: http_requests_total, errors: 'http_requests_total{code=\"503\"}'}}}\n"
        "      good: {objective: 99%, sli: {events: {total: http_requests_total, good: 'http_requests_total{code=\"201\"}'}}}\n"
    )
    errors, warnings = asked(run, server, text)
    assert errors == [
        (
            'web.slos.good.sli.events.good: http_requests_total{code="201"} matches nothing on URL,'
            " so every event would have failed (its code is '200', '500')"
        ),
    ]
    assert warnings == []  # a catalog that is refused has no warnings
    _, warnings = asked(run, server, text.rpartition("      good")[0])
    assert warnings == [
        (
            'web.slos.errors.sli.events.errors: http_requests_total{code="503"} matches nothing on'
            " URL: no error so far, or a wrong selector (its code is '500', '200')"
        ),
    ]


def test_bounds_are_those_that_the_server_has(run: Run, server: Server) -> None:
    text = WEB + (
        "    metrics: http\n"
        "    slos:\n"
        "      listed: {objective: 99%, sli: {latency: {threshold: 500ms}}}\n"
        "      fits: {objective: 99%, sli: {latency: {threshold: 2s500ms}}}\n"
    )
    assert asked(run, server, text) == (
        [
            (
                "web.slos.listed.sli.latency.threshold: 500ms is no bound of the histogram's buckets"
                " on URL (the bounds are 100ms, 300ms, 1s, 2s500ms)"
            )
        ],
        [],
    )


def test_free_promql_is_asked_too(run: Run, server: Server) -> None:
    text = WEB + (
        "    slos:\n"
        "      broken: {objective: 99%, sli: {promql: {error_ratio: 'sum(rate(a[{window}])) by'}}}\n"
        "      silent: {objective: 98%, sli: {promql: {error_ratio: 'sum(rate(a_b_c[{window}]))'}}}\n"
    )
    errors, _ = asked(run, server, text)
    (error,) = errors
    assert error.startswith("web.slos.broken.sli.promql.error_ratio: refused")
    assert "parse error" in error
    _, warnings = asked(run, server, text.replace("      broken", "      #"))
    assert any("silent.sli.promql.error_ratio: gives nothing on URL now" in w for w in warnings)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--live",), 1, "is not running; start it with `opsloop up`"),
        (("--prometheus", "localhost:9090"), 2, "is no URL"),
        (("--prometheus", "http://127.0.0.1:1"), 1, "127.0.0.1:1"),
    ],
)
def test_nobody_to_ask(run: Run, words: tuple[str, ...], code: int, said: str) -> None:
    Path("opsloop.yaml").write_text(
        WEB + "    metrics: http\n    slos: {up: {objective: 99%, sli: availability}}\n"
    )
    done = run("check", *words)
    assert done.exit_code == code
    assert said in done.stderr
