"""What a running console shows: the raw values of its explanations, its charts, its pages."""

from __future__ import annotations

import html
import re
from typing import Any
from urllib.parse import urlencode

from opsloop.stack.ready import Http

Samples = dict[tuple[tuple[str, str], ...], str]
"""The labels of each series, and its value as Prometheus wrote it."""

_SECTION = re.compile(r'<section class="card">(.*?)</section>', re.DOTALL)
_ROW = re.compile(r'<tr><td class="text">(.*?)</td><td class="num raw">(.*?)</td></tr>', re.DOTALL)
_PAIR = re.compile(r'<span class="dim">(\w+)=</span>(.*?)</span>')


class Console:
    """Pages of the console at `url`, for a fixed time: it then evaluates at its end."""

    def __init__(self, http: Http, url: str, start: float, end: float) -> None:
        self._http = http
        self._url = url
        self._span = {"from": f"{start:.0f}", "to": f"{end:.0f}"}

    def _address(self, path: str, variables: dict[str, str]) -> str:
        words = {**{f"var-{k}": v for k, v in variables.items()}, **self._span}
        return f"{self._url}{path}?{urlencode(words)}"

    def chart(self, uid: str, panel: int, variables: dict[str, str]) -> Any:
        """What the browser draws."""
        path = self._address(f"/api/panels/{uid}/{panel}", variables)
        return self._http.json(path, protected=False)

    def raw(self, uid: str, panel: int, variables: dict[str, str]) -> list[tuple[str, Samples]]:
        """Of each query of a panel, what the console asked and the values behind what it shows."""
        text = self.page(f"/explain/{uid}/{panel}", variables)
        found = []
        for section in _SECTION.findall(text):
            asked = html.unescape(section.partition('data-copy="')[2].partition('"')[0])
            rows = {}
            for labels, value in _ROW.findall(section):
                pairs = ((k, html.unescape(v)) for k, v in _PAIR.findall(labels))
                rows[tuple(sorted(pairs))] = html.unescape(value)
            found.append((asked, rows))
        return found

    def page(self, path: str, variables: dict[str, str]) -> str:
        """The text of a page."""
        status, text = self._http.get(self._address(path, variables), protected=False)
        assert status == 200, f"{path}: {status}"
        return text
