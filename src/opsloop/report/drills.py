"""What a series of drills shows: times to detect and to repair, pages, verdicts; as table and page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

# Field of a drill's JSON -> what happened then, in the order of a timeline.
STAGES: Mapping[str, str] = {
    "seen_s": "Prometheus sees it",
    "fired_s": "alert fires",
    "detected_s": "engine received it",
    "action_s": "action begins",
    "answering_s": "answering again",
    "verified_s": "verified by the loop",
    "paged_s": "people are told",
}
HEADERS = ("DRILL", "VERDICT", "DETECTED", "ACTION", "ANSWERING", "VERIFIED", "PAGES", "WHY")
WIDTH, ROW = 720, 22  # pixels of a timeline


@dataclass(frozen=True, slots=True)
class Series:
    """Drills that ran one after the other, each as `opsloop drill --json` prints it.

    seed: of their order. started_at: unix seconds of the first fault. With a control drill among
    them (the loop paused), the others show the gain.
    """

    seed: int
    drills: tuple[Mapping[str, Any], ...]

    @property
    def healing(self) -> list[Mapping[str, Any]]:
        return [d for d in self.drills if not d["control"]]

    @property
    def controls(self) -> list[Mapping[str, Any]]:
        return [d for d in self.drills if d["control"]]

    @property
    def passed(self) -> bool:
        return bool(self.drills) and all(d["passed"] for d in self.drills)

    @property
    def mttd_s(self) -> float | None:
        """Mean time from the fault until the engine had its alert, seconds."""
        return mean(d["detected_s"] for d in self.healing)

    @property
    def mttr_s(self) -> float | None:
        """Mean time from the fault until the service answered again, seconds."""
        return mean(d["answering_s"] for d in self.healing)

    @property
    def verified_s(self) -> float | None:
        """Mean time from the fault until the loop called it healed, seconds."""
        return mean(d["verified_s"] for d in self.healing)


def not_finished(name: str, reason: str, *, control: bool) -> dict[str, Any]:
    """A drill that could not be done, in the form of those that were."""
    return {
        "drill": name,
        "service": "",
        "target": "",
        "control": control,
        "reason": reason,
        "passed": False,
        "healed": False,
        "pages": 0,
        **dict.fromkeys(STAGES),
    }


def mean(values: Iterable[float | None]) -> float | None:
    """Of those that there are; None of none."""
    known = [v for v in values if v is not None]
    return round(sum(known) / len(known), 3) if known else None


def as_json(series: Series) -> dict[str, Any]:
    """The report for programs. Seconds are from each fault; null where it was not seen."""
    return {
        "seed": series.seed,
        "passed": series.passed,
        "drills": len(series.healing),
        "healed": sum(bool(d["healed"]) for d in series.healing),
        "mttd_s": series.mttd_s,
        "mttr_s": series.mttr_s,
        "verified_s": series.verified_s,
        "pages": sum(d["pages"] for d in series.healing),
        "control_pages": sum(d["pages"] for d in series.controls),
        "control_paged_s": mean(d["paged_s"] for d in series.controls),
        "results": [dict(d) for d in series.drills],
    }


def rows(series: Series) -> list[tuple[str, ...]]:
    """One line a drill, under HEADERS."""
    return [
        (
            _title(drill),
            "passed" if drill["passed"] else "FAILED",
            *(_seconds(drill[f]) for f in ("detected_s", "action_s", "answering_s", "verified_s")),
            str(drill["pages"]),
            drill["reason"],
        )
        for drill in series.drills
    ]


def sentences(series: Series) -> list[str]:
    """What it comes to, for people."""
    healing = series.healing
    if not healing:
        return ["no drill ran with the loop"]
    healed = sum(bool(d["healed"]) for d in healing)
    pages = sum(d["pages"] for d in healing)
    means = (
        ("detect", series.mttd_s),
        ("answering again", series.mttr_s),
        ("verified", series.verified_s),
    )
    lines = [
        f"{healed} of {len(healing)} healed by the loop; people were told {_times(pages)}",
        "mean time to " + ", to ".join(f"{what} {_seconds(value)}" for what, value in means),
    ]
    for drill in series.controls:
        told = "people were told of it " + (
            f"after {_seconds(drill['paged_s'])}" if drill["paged_s"] is not None else "never"
        )
        same = [d for d in healing if d["drill"] == drill["drill"]]
        answered = mean(d["answering_s"] for d in same)
        gain = f"; with the loop it answered after {_seconds(answered)}" if answered else ""
        lines.append(f"without the loop {drill['drill']} stayed broken, {told}{gain}")
    lines.append(f"order from seed {series.seed}")
    return lines


def page(series: Series, when: str) -> str:
    """One HTML page with a timeline for each drill; it asks for nothing outside itself.

    when: the time of the first drill, as people read it.
    """
    parts = [_timeline(drill) for drill in series.drills]
    items = "".join(f"<li>{escape(line)}</li>" for line in sentences(series))
    head = "".join(f"<th>{escape(h.capitalize())}</th>" for h in HEADERS)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
        for row in rows(series)
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        "<title>Drills</title><style>"
        "body{font:15px/1.5 sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;"
        "color:#1a2a3a;background:#fff}table{border-collapse:collapse;width:100%}"
        "td,th{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #d5dde5}"
        "svg{width:100%;height:auto}h2{margin-top:2rem}</style></head><body>"
        f"<h1>Drills, {escape(when)}</h1><ul>{items}</ul>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        f"{''.join(parts)}</body></html>\n"
    )


def _timeline(drill: Mapping[str, Any]) -> str:
    """A bar from the fault, with a mark for each stage."""
    seen: Sequence[tuple[float, str]] = sorted(
        (drill[field], words) for field, words in STAGES.items() if drill[field] is not None
    )
    longest = max([at for at, _ in seen], default=0.0) or 1.0
    lines = []
    for at, (seconds, words) in enumerate(seen):
        x, y = round(10 + seconds / longest * (WIDTH - 300)), 20 + at * ROW
        colour = "#b3261e" if words == STAGES["paged_s"] else "#1b6e3c"
        lines.append(
            f'<line x1="10" y1="{y}" x2="{x}" y2="{y}" stroke="#c3ced9"/>'
            f'<circle cx="{x}" cy="{y}" r="5" fill="{colour}"/>'
            f'<text x="{x + 12}" y="{y + 5}" font-size="14">{seconds:.2f} s {escape(words)}</text>'
        )
    title = f"{_title(drill)}: {drill['service']} ({drill['target']})"
    height = 30 + len(seen) * ROW
    return (
        f"<h2>{escape(title)}</h2><p>{escape(drill['reason'])}</p>"
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}"'
        f' font-family="sans-serif">{"".join(lines)}</svg>'
    )


def _title(drill: Mapping[str, Any]) -> str:
    return f"{drill['drill']} (loop paused)" if drill["control"] else str(drill["drill"])


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"


def _times(count: int) -> str:
    return "never" if count == 0 else "once" if count == 1 else f"{count} times"
