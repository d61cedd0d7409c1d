"""Pydantic's errors in plain words: every pattern is explained, unions speak once."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from opsloop.catalog import explain
from opsloop.catalog.model import Catalog


def patterns(annotation: Any, metadata: Iterable[Any] = ()) -> Iterator[str]:
    """The patterns in a type and in the types and models inside it."""
    metadata = (*metadata, *getattr(annotation, "__metadata__", ()))
    yield from (m.pattern for m in metadata if getattr(m, "pattern", None))
    for inner in typing.get_args(annotation):
        yield from patterns(inner)
    for model in explain._models(annotation):
        for field in model.model_fields.values():
            yield from patterns(field.annotation, field.metadata)


def test_every_pattern_of_the_models_is_explained() -> None:
    assert set(patterns(Catalog)) == set(explain.PATTERNS)


def said(data: dict[str, Any]) -> list[tuple[str, str]]:
    with pytest.raises(ValidationError) as caught:
        Catalog.model_validate({"apiVersion": "opsloop/v1"} | data)
    found = explain.findings(caught.value, data)
    return [(".".join(map(str, f.path)), f.message) for f in found]


def service(**fields: Any) -> dict[str, Any]:
    return {"services": {"web": {"team": "shop"} | fields}}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (
            service(metrics={"request": "a", "latency": 5}),
            [
                ("services.web.metrics.latency", "text is wanted here, not 5"),
                ("services.web.metrics.request", "unknown key 'request'"),
            ],
        ),
        (
            service(metrics=["http"]),
            [("services.web.metrics", "a list is not one of http, none")],
        ),
        (
            service(scrape={"auth": {"username": "me"}}),
            [("services.web.scrape.auth.password_file", "password_file is missing")],
        ),
        (
            service(alerts={"error_ratio": True}),
            [("services.web.alerts.error_ratio", "True has no unit")],
        ),
        (
            {
                "remediation": {
                    "policies": {"p": {"when": {}, "steps": ["restart", {"restrt": {}}]}}
                }
            },
            [
                ("remediation.policies.p.when.alert", "alert is missing"),
                ("remediation.policies.p.steps.1.restrt", "unknown key 'restrt'"),
            ],
        ),
        (
            {"alerts": {"Stuck": {"expr": "a", "severity": "P1", "summary": "", "for": "x"}}},
            [
                (
                    "alerts.Stuck.for",
                    "'x' is not a duration",
                ),
                ("alerts.Stuck.summary", "is empty; at least one is wanted"),
            ],
        ),
        ({"services": None}, [("services", "a mapping is wanted here, not nothing")]),
    ],
)
def test_each_mistake_once(data: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert said(data) == expected


def test_known_keys_follow_the_path() -> None:
    assert "services" in explain.known_keys(())
    assert "for" in explain.known_keys(("alerts", "Stuck"))
    assert "for_" not in explain.known_keys(("alerts", "Stuck"))
    metrics = explain.known_keys(("services", "web", "metrics"))
    assert metrics == ["requests", "errors", "latency", "buckets"]
    assert "restart" in explain.known_keys(("remediation", "policies", "p", "steps", 0))
    assert explain.known_keys(("services", "web", "labels")) == []
    assert explain.known_keys(("nowhere", "at", "all")) == []


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("targts", ["targets", "team"], "did you mean 'targets'?"),
        ("Scrape-Interval", ["scrape_interval"], "did you mean 'scrape_interval'?"),
        ("zzz", ["a", "b"], "known here: a, b"),
        ("zzz", [f"name{i}" for i in range(40)], ""),
        ("zzz", [], ""),
    ],
)
def test_nearest(name: str, known: list[str], hint: str) -> None:
    assert explain.nearest(name, known) == hint
