"""alertmanager.yml broken on purpose: each matcher, receiver, switch and duration in small ways."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from typing import Any

from opsloop.catalog.units import Duration

Place = tuple[str | int, ...]
SWITCHES = ("receiver", "continue", "group_wait", "group_interval", "repeat_interval")
_DURATION = re.compile(r"(\d+(ms|[smhdwy]))+")


def mutants_of(config: dict[str, Any]) -> list[tuple[Place, Any]]:
    """(where in the tree of routes, what stands there instead; None: nothing)."""
    return [
        (place, value)
        for place in _places(config["route"])
        for value in ([None] if "mute_time_intervals" in place else changed(at(config, place)))
    ]


def _places(node: dict[str, Any], path: Place = ("route",)) -> Iterator[Place]:
    """Where each matcher, receiver, duration and `continue` of the tree stands."""
    for n in range(len(node.get("matchers", ()))):
        yield (*path, "matchers", n)
    for key in SWITCHES:
        if key in node:
            yield (*path, key)
    for n in range(len(node.get("mute_time_intervals", ()))):
        yield (*path, "mute_time_intervals", n)
    for n, child in enumerate(node.get("routes", ())):
        yield from _places(child, (*path, "routes", n))


def changed(value: Any) -> list[Any]:
    """The small ways in which a matcher, a receiver, a duration or a switch may be wrong."""
    if isinstance(value, bool):
        return [not value]
    if _DURATION.fullmatch(value):
        return [str(Duration(2 * int(Duration.parse(value)) or 1_000))]
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
    """A copy of the configuration; None takes away what stands there."""
    found = copy.deepcopy(config)
    node: Any = at(found, place[:-1])
    if value is None:
        del node[place[-1]]
    else:
        node[place[-1]] = value
    return found


def at(config: dict[str, Any], place: Place) -> Any:
    node: Any = config
    for step in place:
        node = node[step]
    return node
