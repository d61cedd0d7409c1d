"""What a live Prometheus has near a selector that matches nothing: names of metrics, label values."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

from opsloop.catalog.selector import Matcher, Selector
from opsloop.catalog.units import Duration
from opsloop.remediation.ports import Metrics

MOST_SHOWN = 6
_COMMON = ("total", "count", "sum", "bucket", "seconds", "bytes")


def nearby(prometheus: Metrics, text: str, own: Sequence[str] = ()) -> str:
    """A hint: which matcher keeps everything out and what its label has, or metrics like it.

    own: matchers that opsloop adds to the selector. Empty when nothing is near.
    """
    selector = Selector.parse(text)
    added = [Selector.parse(f"x{{{m}}}").matchers[0] for m in own]
    matchers = (*added, *selector.matchers)
    if not prometheus.query(f"count({selector.metric}{{}})"):
        return _metrics(prometheus, selector.metric, own)
    for at in range(len(matchers) - 1, -1, -1):
        matcher = matchers[at]
        others = Selector(selector.metric, (*matchers[:at], *matchers[at + 1 :])).where()
        found = prometheus.query(f"group by ({matcher.label}) ({others})")
        values = {s.labels.get(matcher.label, "") for s in found}
        if values:
            return _values(matcher, values, added=matcher in added)
    return f"{selector.metric} is there, but several of these matchers keep it out"


def _values(matcher: Matcher, values: set[str], *, added: bool) -> str:
    if values == {""}:
        hint = f"its series have no label {matcher.label!r}"
        return f"{hint}: scrape them by the catalog, or write series: all" if added else hint
    return f"its {matcher.label} is {_listed(matcher.value, values - {''})}"


def _metrics(prometheus: Metrics, metric: str, own: Sequence[str]) -> str:
    """Names of metrics like this one: of the same service first, then with a word of its name."""
    words = [w for w in re.split(r"[_:]", metric) if len(w) > 2 and w not in _COMMON]
    tries = [",".join(own)] if own else []
    if words:
        tries.append(f'__name__=~".*(?:{"|".join(map(re.escape, words))}).*"')
    for matchers in tries:
        found = prometheus.query(f"group by (__name__) ({{{matchers}}})")
        near = _near(metric, {s.labels.get("__name__", "") for s in found})
        if near:
            return f"there is {', '.join(near)}"
    return "no metric there has a name like it"


def _near(wanted: str, known: Iterable[str]) -> list[str]:
    return difflib.get_close_matches(wanted, sorted(known), n=3, cutoff=0.6)


def _listed(wanted: str, values: set[str]) -> str:
    ordered = sorted(values, key=lambda v: (-difflib.SequenceMatcher(None, wanted, v).ratio(), v))
    more = f" and {len(ordered) - MOST_SHOWN} more" if len(ordered) > MOST_SHOWN else ""
    return ", ".join(map(repr, ordered[:MOST_SHOWN])) + more


def bounds_text(bounds: Iterable[float]) -> str:
    """Seconds as durations where they are whole milliseconds."""
    return ", ".join(
        str(Duration.of(b)) if Duration.of(b).seconds == b else f"{b:g}s"
        for b in sorted(set(bounds))
    )
