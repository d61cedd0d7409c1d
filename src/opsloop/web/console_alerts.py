"""Alerts: what fires and who knows, and what people do about it: acknowledge, silence, end one."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from opsloop import names
from opsloop.catalog.units import Duration
from opsloop.drivers.listed import Matcher
from opsloop.errors import ArgumentError, OpsloopError
from opsloop.report import silences as silence_report
from opsloop.report.alert_rows import loop_text, sentence, state_text, told_text
from opsloop.report.alerts import STATES, Board, Row
from opsloop.web.console_frame import Frame
from opsloop.web.gate import form
from opsloop.web.signin import local_path

LONGEST_S: Final = 86_400.0  # of a silence from here; longer ones are for the command line
LENGTHS: Final = ("30m", "1h", "2h", "4h", "8h", "24h")
_SEEN_S: Final = 30 * 86_400.0  # so long an acknowledgement is looked for


@dataclass(frozen=True, slots=True)
class AlertRow:
    """An alert in words. seen_by: who acknowledged it; matchers: of a silence that fits it."""

    row: Row
    state: str
    told: str
    loop: str
    seen_by: str
    seen_at: float | None
    matchers: str


class AlertPages:
    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self._world = frame.world

    def routes(self) -> list[Route]:
        return [
            Route("/alerts", self.page),
            Route("/alerts/acknowledge", self.acknowledge, methods=["POST"]),
            Route("/silences", self.silence, methods=["POST"]),
            Route("/silences/{id}/end", self.end, methods=["POST"]),
        ]

    async def page(self, request: Request) -> Response:
        """?alertname=, ?service=, ?state=, ?all=1."""
        asked = request.query_params
        seen, silences = await self._world.board(), await self._world.silences()
        everything = asked.get("all") == "1"
        rows: list[AlertRow] = []
        if seen.value is not None:
            known = await run_in_threadpool(self._acknowledged)
            shown = (r for r in seen.value.shown(everything) if _fits(r, asked))
            rows = [self._row(seen.value, r, known) for r in shown]
        listed = silence_report.ordered(silences.value or ())
        muted = silence_report.muted_counts((seen.value.sources.listed or ()) if seen.value else ())
        return await self._frame.page(
            request,
            "alerts.html",
            "Alerts",
            sentence=sentence(seen.value) if seen.value else "",
            board=seen.value,
            board_at=seen.at,
            board_error=seen.error,
            rows=rows,
            states=STATES,
            lengths=LENGTHS,
            asked={k: asked.get(k, "")[:100] for k in ("alertname", "service", "state")},
            everything=everything,
            silences=[(s, muted.get(s.id, 0)) for s in listed if s.state != "expired"],
            silences_error=silences.error,
            text_of=silence_report.text_of,
        )

    def _row(self, board: Board, row: Row, known: Mapping[str, Mapping[str, Any]]) -> AlertRow:
        seen = known.get(_key(row))
        return AlertRow(
            row,
            state_text(row, self._world.clock()),
            told_text(board, row),
            loop_text(board, row),
            str(seen["body"].get("by", "")) if seen else "",
            seen["at"] if seen else None,
            _matchers(row),
        )

    def _acknowledged(self) -> Mapping[str, Mapping[str, Any]]:
        """By alert and its beginning: one that fires again has to be seen again."""
        now = self._world.clock()
        try:
            notes = self._world.store.notes("acknowledge", now - _SEEN_S, now, 5000)
        except OpsloopError:
            return {}
        return {str(n["body"].get("key")): n for n in reversed(notes)}

    async def acknowledge(self, request: Request) -> Response:
        """Note that a person has seen an alert. It mutes nothing, and binds nobody."""
        person, fields = await form(request, "operator")
        seen = await self._world.board()
        rows = seen.value.rows if seen.value else ()
        row = next((r for r in rows if r.fingerprint and _key(r) == fields.get("key")), None)
        if row is None:
            raise HTTPException(409, "this alert does not fire any more")
        body = {"key": _key(row), "alert": row.alert, "service": row.service, "by": person.name}
        now = self._world.clock()
        await run_in_threadpool(self._world.store.note, "acknowledge", body, now)
        self._world.changed()
        what = f"{row.alert} of {row.service or row.instance or 'the stack'}"
        await run_in_threadpool(self._frame.note, person.name, "acknowledged", what)
        return self._frame.go(request, _back(fields), f"{person.name} has seen {what}.")

    async def silence(self, request: Request) -> Response:
        """Mute what matches, people and loop, for a while."""
        person, fields = await form(request, "operator")
        matchers = [Matcher.parse(t) for t in _lines(fields.get("matchers", ""))]
        if not matchers:
            raise ArgumentError("silence", "has no matcher", "write LABEL=VALUE, one a line")
        why = " ".join(fields.get("why", "").split())[:1000]
        if not why:
            raise ArgumentError("silence", "has no reason", "say why, for who comes after you")
        seconds = _seconds(fields.get("for", ""))
        if wide := await run_in_threadpool(self._too_wide, matchers):
            raise ArgumentError("silence", f"would mute every alert: {wide}", "name the service")
        now = time.time()
        number = await run_in_threadpool(
            self._world.desk.silence, matchers, now, now + seconds, person.name, why
        )
        self._world.changed()
        what = silence_report.text_of(matchers)
        await run_in_threadpool(
            self._frame.note, person.name, f"silenced for {fields['for']}", f"{what} ({number})"
        )
        return self._frame.go(request, _back(fields), f"Silenced for {fields['for']}: {what}.")

    def _too_wide(self, matchers: list[Matcher]) -> str | None:
        """Why these would mute everything; values of labels that are not known count as many."""
        known: dict[str, set[str]] = {names.SEVERITY: set(names.SEVERITIES)}
        try:
            for label in {m.name for m in matchers} & set(silence_report.ALWAYS_THERE):
                values = set(self._world.prometheus.label_values(label, time.time() - 86_400.0))
                if label == "alertname":
                    rules = {r.name for r in self._world.prometheus.rules()}
                    values = rules - {names.WATCHDOG}
                known[label] = known.get(label, set()) | values
        except OpsloopError:
            pass  # judged by its words alone
        return silence_report.matches_everything(matchers, known)

    async def end(self, request: Request) -> Response:
        person, fields = await form(request, "operator")
        number = request.path_params["id"]
        held = await self._world.silences()
        found = next((s for s in held.value or () if s.id == number), None)
        if found is None:
            raise HTTPException(404, "there is no such silence")
        if found.state != "expired":
            await run_in_threadpool(self._world.desk.end_silence, found.id)
        self._world.changed()
        what = silence_report.text_of(found.matchers)
        await run_in_threadpool(self._frame.note, person.name, "ended a silence", what)
        return self._frame.go(request, _back(fields), f"Ended: {what}. It may be told again now.")


def _fits(row: Row, asked: Mapping[str, str]) -> bool:
    wanted = {"alertname": row.alert, "service": row.service or "", "state": row.state}
    original = row.labels.get(names.ORIGINAL)
    for name, value in wanted.items():
        text = asked.get(name, "")
        if text and text != value and not (name == "alertname" and text == original):
            return False
    return True


def _key(row: Row) -> str:
    return f"{row.fingerprint}@{row.since or 0:.0f}"


def _matchers(row: Row) -> str:
    """Of a silence that fits this alert and no other."""
    wanted = ("alertname", names.SERVICE, names.INSTANCE)
    return "\n".join(str(Matcher(k, "=", row.labels[k])) for k in wanted if row.labels.get(k))


def _lines(text: str) -> list[str]:
    return [line for line in text.replace("\r", "").split("\n") if line.strip()][:20]


def _seconds(text: str) -> float:
    try:
        seconds = Duration.parse(text).seconds
    except ValueError as error:
        raise ArgumentError("for", str(error), "write it as 2h") from None
    if not 1 <= seconds <= LONGEST_S:
        raise ArgumentError("for", "is not within 1s and 24h", "longer ones: opsloop silence")
    return seconds


def _back(fields: dict[str, str]) -> str:
    return local_path(fields.get("back", "/alerts"))
