"""How a start is shown: a live table of the parts on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from opsloop.cli import output
from opsloop.stack.flow import Flow
from opsloop.stack.native import Progress
from opsloop.stack.ready import PartStatus

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

_COLOURS = {"healthy": "green", "starting": "yellow", "failed": "red", "off": "dim"}


class PlainProgress:
    """One line on stderr for each change."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._health: dict[str, str] = {}
        self._flow = ""

    def say(self, text: str) -> None:
        output.note(text)

    def parts(self, statuses: Sequence[PartStatus]) -> None:
        for status in statuses:
            name = status.part.name
            if self._health.get(name) != status.health:
                self._health[name] = status.health
                if status.health in ("healthy", "failed"):
                    detail = f": {status.detail}" if status.detail else ""
                    output.note(f"{self._seconds():5.1f} s  {name} {status.health}{detail}")

    def flow(self, flow: Flow) -> None:
        text = flow_text(flow)
        if text != self._flow:
            self._flow = text
            output.note(f"{self._seconds():5.1f} s  {text}")

    def _seconds(self) -> float:
        return time.monotonic() - self._began


class LiveProgress:
    """A table on stderr that changes in place."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._began = time.monotonic()
        self._statuses: Sequence[PartStatus] = ()
        self._healthy_after: dict[str, float] = {}
        self._flow: Flow | None = None

    def say(self, text: str) -> None:
        from rich.markup import escape

        self._live.console.print(escape(text))

    def parts(self, statuses: Sequence[PartStatus]) -> None:
        self._statuses = statuses
        for status in statuses:
            if status.health == "healthy":
                self._healthy_after.setdefault(status.part.name, self._seconds())
        self._live.update(self._table())

    def flow(self, flow: Flow) -> None:
        self._flow = flow
        self._live.update(self._table())

    def _seconds(self) -> float:
        return time.monotonic() - self._began

    def _table(self) -> Table:
        from rich import box
        from rich.markup import escape
        from rich.table import Table

        table = Table(box=box.SIMPLE, pad_edge=False, show_edge=False)
        for header in ("part", "state", "seconds", ""):
            table.add_column(header, justify="right" if header == "seconds" else "left")
        for status in self._statuses:
            if status.health == "off":
                continue
            after = self._healthy_after.get(status.part.name, self._seconds())
            colour = _COLOURS[status.health]
            state = f"[{colour}]{status.health}[/{colour}]"
            table.add_row(status.part.name, state, f"{after:.1f}", escape(status.detail))
        if self._flow is not None:
            colour = "green" if self._flow.flows else "yellow"
            state = f"[{colour}]{'flows' if self._flow.flows else 'waiting'}[/{colour}]"
            text = escape(flow_text(self._flow))
            table.add_row("data", state, f"{self._seconds():.1f}", text)
        return table


def flow_text(flow: Flow) -> str:
    """`targets 8 of 9 up, rules evaluated, waiting for the Watchdog`."""
    if flow.silent:
        return f"waiting for {flow.silent}"
    rules = "rules evaluated"
    if flow.broken_rules:
        rules = f"{len(flow.broken_rules)} rules fail"
    elif flow.not_evaluated or not flow.groups:
        rules = "rules not evaluated yet"
    watchdog = "Watchdog seen by the engine" if flow.watchdog else "waiting for the Watchdog"
    return f"targets {flow.targets_up} of {flow.targets} up, {rules}, {watchdog}"


@contextmanager
def showing() -> Iterator[Progress]:
    """The progress display for this stderr."""
    if not output.is_terminal(sys.stderr):
        yield PlainProgress()
        return
    from rich.live import Live

    with Live(console=output.console(stderr=True), refresh_per_second=10) as live:
        yield LiveProgress(live)
