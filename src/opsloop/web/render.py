"""Pages from templates: everything is escaped, and numbers and times are written one way."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse

from opsloop.report.figures import NONE, figure
from opsloop.report.slo import percent, times
from opsloop.report.times import length, printable, stamp

HERE: Final = Path(__file__).parent
STATIC: Final = HERE / "static"
_LINKS: Final = ("http://", "https://", "/")


def page(name: str, status: int = 200, /, **values: Any) -> HTMLResponse:
    """The template `name` with these values."""
    text = _environment().get_template(name).render(**values)
    return HTMLResponse(text, status)


@functools.cache
def _environment() -> Environment:
    found = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    found.filters.update(
        ago=ago,
        clock=clock,
        figure=figure,
        lasting=length,
        line=printable,
        moment=moment,
        percent=lambda share, digits: NONE if share is None else percent(share, digits),
        safe_link=safe_link,
        times=lambda burn: NONE if burn is None else times(burn),
    )
    found.globals.update(asset=asset, tone_of=tone_of)
    return found


@functools.cache
def asset(name: str) -> str:
    """The address of a static file; it changes with its content, so it may be kept for long."""
    digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"/static/{name}?{digest}"


def clock(seconds: float | None, now: float) -> str:
    """`14:02:11`, with the day where it is another one; UTC. Empty for None."""
    if seconds is None:
        return ""
    try:
        at, today = datetime.fromtimestamp(seconds, UTC), datetime.fromtimestamp(now, UTC)
    except (ValueError, OverflowError, OSError):
        return ""
    if at.date() == today.date():
        return at.strftime("%H:%M:%S")
    return at.strftime("%d %b %H:%M" if at.year == today.year else "%d %b %Y")


def moment(seconds: float | None, now: float) -> Markup:
    """A time for people and programs, the whole of it on hover."""
    if seconds is None or (whole := stamp(seconds)) is None:
        return Markup("–")
    shown = clock(seconds, now)
    return Markup('<time datetime="{0}" title="{0}">{1}</time>').format(whole, shown)


def ago(seconds: float | None, now: float) -> Markup:
    """How long ago; the browser counts on."""
    if seconds is None or (whole := stamp(seconds)) is None:
        return Markup("–")
    shown = length(max(0.0, now - seconds))
    return Markup('<time datetime="{0}" title="{0}" data-age="{1}">{2}</time>').format(
        whole, f"{seconds:.0f}", shown
    )


def safe_link(url: str) -> str:
    """An address from a catalog or an annotation, if a page may lead there; else empty."""
    text = url.strip()
    if text.startswith("//") or not text.lower().startswith(_LINKS):
        return ""
    return "" if any(c in text for c in "\r\n\t\\") else text


def tone_of(state: str) -> str:
    """The tone of a word that pages use for a state."""
    return _TONES.get(state, "neutral")


_TONES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("healthy", "good", "verified", "up", "ok", "told", "healed"), "good"),
    **dict.fromkeys(("burning", "pending", "unknown", "new", "asked", "waits"), "warn"),
    **dict.fromkeys(
        ("unsent", "spent", "failed", "down", "err", "refused", "blind", "escalated"), "bad"
    ),
    **dict.fromkeys(("healing", "planned", "acting", "verifying", "running", "approved"), "info"),
    **dict.fromkeys(("silenced", "muted", "inhibited", "quiet", "cancelled", "expired"), "muted"),
    "waiting": "warn",
    "firing": "bad",
}
