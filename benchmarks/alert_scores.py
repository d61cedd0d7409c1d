"""What a replay is worth: precision, recall, time to detect, noise and pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from benchmarks._output import Result, percentile
from benchmarks.alert_catalog import SCRAPE_S, Built
from benchmarks.alert_incidents import BEGIN, MINUTE, Incident
from benchmarks.alert_loop import Loop
from benchmarks.alert_people import People, Told
from benchmarks.alert_replay import Firing
from benchmarks.alert_world import BASE_ERRORS, rate
from opsloop import names
from opsloop.catalog.units import Duration
from opsloop.compile.options import Options
from opsloop.compile.slo_alerts import missing_after
from opsloop.compile.slo_resolve import slo_specs
from opsloop.compile.slo_spec import SLOSpec

INTERVALS = 2
QUANTILE = 0.95
NO_INCIDENT = "no incident of this kind yet"
WITHOUT = ", without the loop"


@dataclass
class Score:
    """What is known of one alert. late: seconds beyond the arithmetic minimum."""

    wanted: int = 0
    found: int = 0
    missed: list[str] = field(default_factory=list)
    detect: list[float] = field(default_factory=list)
    minimum: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    told: int = 0
    told_rightly: int = 0
    wrong: Counter[str] = field(default_factory=Counter)
    quiet: int = 0  # times that people were told in quiet weeks
    unheard: int = 0  # times that it fired there and people were not told


def results(
    built: Built,
    incidents: Sequence[tuple[Incident, Sequence[Firing]]],
    weeks: Sequence[Sequence[Firing]],
    length: float,
) -> list[Result]:
    """length: of each quiet stretch, in weeks."""
    people = People(built.files[names.ALERTMANAGER_YML])
    loop = Loop(built, people)
    minimum = Minimum(built)
    scores = {rule.alert: Score() for rule in built.rules if rule.severity}
    pages: list[tuple[Incident, list[Told]]] = []
    alone: list[tuple[Incident, list[Told]]] = []
    for nth, (incident, firings) in enumerate(incidents):
        told = people.told([*firings, *loop.posts(firings)])
        pages.append((incident, told))
        alone.append((incident, people.told(firings)))
        _detected(scores, minimum, incident, nth, firings)
        _right(scores, incident, told)
    noise = [
        _quiet(scores, firings, people.told([*firings, *loop.posts(firings)])) for firings in weeks
    ]
    unused = {alert: Score() for alert in scores}
    noise_alone = [_quiet(unused, firings, people.told(firings)) for firings in weeks]
    severity = {rule.alert: rule.severity for rule in built.rules if rule.severity}
    found = [
        *_over_all(scores, severity, incidents, noise, length, len(weeks)),
        _first(noise_alone, length, len(weeks), WITHOUT),
        *_pages(pages),
        *_pages(alone, WITHOUT),
    ]
    for alert, score in sorted(scores.items(), key=lambda item: (severity[item[0]], item[0])):
        every = [rule.every for rule in built.rules if rule.alert == alert]
        interval = max(SCRAPE_S, *every)
        found += _of_alert(alert, score, severity[alert], length * len(weeks), interval)
    return found


def _detected(
    scores: dict[str, Score],
    minimum: Minimum,
    incident: Incident,
    nth: int,
    firings: Sequence[Firing],
) -> None:
    for alert, service in incident.must:
        score = scores[alert]
        score.wanted += 1
        begins = [
            f.begin
            for f in firings
            if (f.alert, f.service) == (alert, service) and BEGIN <= f.begin <= incident.end
        ]
        if not begins:
            score.missed.append(incident.name)
            continue
        score.found += 1
        took = min(begins) - BEGIN
        least = minimum.of(alert, service, incident, nth)
        score.detect.append(took)
        score.minimum.append(least)
        score.late.append(took - least)


def _right(scores: dict[str, Score], incident: Incident, told: Iterable[Told]) -> None:
    """Precision is about what people are told."""
    for firing in (f for t in told for f in t.new):
        alert = firing.labels.get(names.ORIGINAL, firing.alert)
        score = scores[alert]
        score.told += 1
        meant = (alert, firing.service) in incident.must or alert in incident.may
        if meant and firing.begin >= BEGIN:
            score.told_rightly += 1
        else:
            score.wrong[incident.name] += 1


def _quiet(
    scores: dict[str, Score], firings: Sequence[Firing], told: Sequence[Told]
) -> Counter[tuple[str, str]]:
    """Times that people were told in one quiet week, by (severity, service)."""
    found: Counter[tuple[str, str]] = Counter()
    heard = {id(f) for t in told for f in t.new}
    given_up = {
        (f.labels.get(names.ORIGINAL), f.labels.get(names.INSTANCE), f.end)
        for t in told
        for f in t.new
    }
    for firing in firings:
        if firing.alert not in scores:
            continue  # nobody is ever told of it
        score = scores[firing.alert]
        of = (firing.alert, firing.labels.get(names.INSTANCE), firing.end)
        if id(firing) in heard or of in given_up:
            score.quiet += 1
            score.told += 1
            score.wrong["quiet weeks"] += 1
            found[firing.severity, firing.service] += 1
        else:
            score.unheard += 1
    return found


def _over_all(
    scores: dict[str, Score],
    severity: dict[str, str],
    incidents: Sequence[tuple[Incident, Sequence[Firing]]],
    noise: Sequence[Counter[tuple[str, str]]],
    length: float,
    weeks: int,
) -> Iterator[Result]:
    first = [s for a, s in scores.items() if severity[a] == "P0"]
    wanted, found = sum(s.wanted for s in first), sum(s.found for s in first)
    missed = [name for s in first for name in s.missed]
    yield Result("P0: recall", found / wanted if wanted else None, "", 1.0, ">=",
                 note=f"{found} of {wanted}; missed: {', '.join(missed) or 'none'}")  # fmt: skip
    kinds = len({a for i, _ in incidents for a, _ in i.must})
    yield Result("incidents", float(len(incidents)), "", note=f"of {kinds} alerts")
    told = sum(s.told for s in scores.values())
    right = sum(s.told_rightly for s in scores.values())
    yield Result("all alerts: precision", right / told if told else None, "",
                 note=f"{right} of {told} alerts that people were told of")  # fmt: skip
    worst = {
        level: max((n for w in noise for (s, _), n in w.items() if s == level), default=0)
        for level in names.SEVERITIES
    }
    stretch = _stretch(length, weeks)
    yield _first(noise, length, weeks)
    for level in ("P1", "P2"):
        yield Result(
            f"{stretch}: most {level} of a service in a week",
            float(worst[level]), "", 1 if level == "P1" else None, note=_loudest(noise, level),
        )  # fmt: skip


def _stretch(length: float, weeks: int) -> str:
    return f"{weeks} quiet weeks" if length == 1 else f"{weeks * length * 7:.0f} quiet days"


def _first(
    noise: Sequence[Counter[tuple[str, str]]], length: float, weeks: int, how: str = ""
) -> Result:
    """How often people were told of a P0. how: without the loop, which has no goal."""
    total = sum(n for w in noise for (s, _), n in w.items() if s == "P0")
    name = f"{_stretch(length, weeks)}: P0 told to people{how}"
    return Result(name, float(total), "", None if how else 0, note=_loudest(noise, "P0"))


def _loudest(noise: Sequence[Counter[tuple[str, str]]], level: str) -> str:
    sums: Counter[str] = Counter()
    for week in noise:
        for (severity, service), count in week.items():
            if severity == level:
                sums[service] += count
    return ", ".join(f"{service} {count}" for service, count in sums.most_common()) or "none"


def _pages(found: Sequence[tuple[Incident, list[Told]]], how: str = "") -> Iterator[Result]:
    """A page is a message that tells of something new. That all is well again is none, nor is the
    state that an incident leaves: a budget that is spent is told when its burn has ended."""
    loop = "no engine" if how else "the loop as engine.json has it, which repairs nothing"
    model = f"a model of Alertmanager made of alertmanager.yml; {loop}"
    for limit, about in ((1, "pages per incident"), (2, "pages per outage of the database")):
        name = f"{about}{how}"
        some = [(i, told) for i, told in found if i.pages == limit]
        if not some:
            continue
        while_, after = (
            [(sum(map(counts, told)), i.name) for i, told in some for counts in (_pager(i, late),)]
            for late in (False, True)
        )
        both = [(a + b, name) for (a, name), (b, _) in zip(while_, after, strict=True)]
        yield _most(f"{name}: most", both, limit, model)
        yield _most(f"{name}, while it lasts: most", while_, limit)
        yield _most(f"{name}, after its end: most", after, 0)
        silent = [name for n, name in both if not n]
        yield Result(f"{name}: incidents that nobody was told of", float(len(silent)), "", 0,
                     note=", ".join(silent) or "none")  # fmt: skip


def _pager(incident: Incident, late: bool) -> Callable[[Told], bool]:
    """What fires at the segment's end seems to end there, each alert at its own evaluation."""
    whole = incident.end + incident.after * MINUTE

    def counts(told: Told) -> bool:
        after = told.at > incident.end
        new = [f for f in told.new if not (after and f.alert in incident.later)]
        return bool(new) and BEGIN <= told.at < whole and after is late

    return counts


def _most(name: str, counts: Sequence[tuple[int, str]], limit: int, more: str = "") -> Result:
    mean = sum(n for n, _ in counts) / len(counts)
    worse = ", ".join(f"{incident} {n}" for n, incident in counts if n > limit)
    note = f"mean {mean:.2f}; more: {worse or 'none'}{'; ' if more else ''}{more}"
    return Result(name, float(max(n for n, _ in counts)), "", limit, note=note)


def _of_alert(
    alert: str, score: Score, severity: str, weeks: float, interval: float
) -> Iterator[Result]:
    name = f"{alert} ({severity})"
    unheard = f"; fired {score.unheard} times unheard by people" if score.unheard else ""
    yield Result(f"{name}: per quiet week", score.quiet / weeks, "", note=unheard.strip("; "))
    if not score.wanted:
        yield Result(f"{name}: recall", None, "", note=NO_INCIDENT)
        return
    yield Result(f"{name}: recall", score.found / score.wanted, "",
                 1.0 if severity == "P0" else None, ">=",
                 note=f"{score.found} of {score.wanted}{_names('; missed', score.missed)}")  # fmt: skip
    if score.told:
        yield Result(f"{name}: precision", score.told_rightly / score.told, "",
                     note=f"{score.told_rightly} of {score.told}{_names('; wrong', score.wrong)}")  # fmt: skip
    if not score.detect:
        return
    p50, p95, most = (percentile(score.detect, q) for q in (0.5, 0.95, 1.0))
    least = f"{min(score.minimum):.0f} to {max(score.minimum):.0f}"
    yield Result(f"{name}: time to detect, p95", p95, "s",
                 60 if alert == names.SERVICE_DOWN else None,
                 limit=f"arithmetic minimum {least} s",
                 note=f"p50 {p50:.0f} s, max {most:.0f} s")  # fmt: skip
    yield Result(f"{name}: beyond its arithmetic minimum, most", max(score.late), "s",
                 INTERVALS * interval,
                 limit="two intervals")  # fmt: skip


def _names(before: str, found: Iterable[str]) -> str:
    text = ", ".join(found)
    return f"{before}: {text}" if text else ""


class Minimum:
    """How soon an alert can fire at all, by the arithmetic of its windows and its `for`."""

    def __init__(self, built: Built) -> None:
        self._built = built
        self._specs = slo_specs(built.catalog, Options())

    def of(self, alert: str, service: str, incident: Incident, nth: int) -> float:
        """Seconds from the begin of the incident, which is the nth."""
        if any(r.alert == alert and r.of_objectives for r in self._built.rules):
            return self._of_objective(alert, service, incident, nth)
        wait = self._built.wait(alert, service)
        windows = self._built.windows(alert, service)
        if not windows:
            return incident.lead(*self._built.limit(alert, service)) + wait
        limits = (1 - QUANTILE if alert == names.HIGH_LATENCY else t for _, t in windows)
        filled = (w * t / incident.share for (w, _), t in zip(windows, limits, strict=True))
        return max(filled) + wait

    def _of_objective(self, alert: str, service: str, incident: Incident, nth: int) -> float:
        specs = [s for s in self._specs if s.service == service]
        if alert == names.SLO_DATA_MISSING:
            return sum(d.seconds for d in missing_after(*specs))
        return min(_burnt(s, alert, incident, nth) for s in specs)


def _burnt(spec: SLOSpec, alert: str, incident: Incident, nth: int) -> float:
    """When errors fill the windows of a pair, minute by minute with the service's traffic."""
    start = incident.segment(nth, 0).start + BEGIN
    calm = incident.history + BEGIN // MINUTE
    events = [rate(spec.service, start + m * MINUTE) for m in range(-calm, incident.minutes)]
    bad = [n * BASE_ERRORS + (at >= calm) * n * incident.share for at, n in enumerate(events)]
    total, errors = ([0.0, *accumulate(row)] for row in (events, bad))
    for end in range(calm + 1, len(events) + 1):
        for windows, limit in _limits(spec, alert):
            begins = [max(0, end - int(w.seconds) // MINUTE) for w in windows]
            shares = [(errors[end] - errors[b]) / (total[end] - total[b]) for b in begins]
            if min(shares) > limit:
                return float((end - calm) * MINUTE)
    return float("inf")


def _limits(spec: SLOSpec, alert: str) -> list[tuple[Sequence[Duration], float]]:
    """Shares of errors that must be exceeded in all windows of one entry."""
    budget = float(spec.objective.budget)
    if alert == names.SLO_BUDGET_EXHAUSTED:
        return [((spec.period.length,), budget)]
    kind = "page" if alert == names.SLO_BURN_CRITICAL else "ticket"
    return [(p.windows, float(p.factor) * budget) for p in spec.pairs if p.kind == kind]
