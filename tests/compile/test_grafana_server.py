"""With GRAFANA_URL set (and GRAFANA_TOKEN, or a user in the address), each dashboard is imported
there and read back."""

from __future__ import annotations

import json
import os
from typing import Any
from urllib.parse import urlsplit

import pytest
import urllib3

from tests.compile import catalogs

URL = os.environ.get("GRAFANA_URL", "").rstrip("/")
FOLDER = "opsloop-import-test"

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(not URL, reason="GRAFANA_URL names no Grafana to import into"),
]


class Grafana:
    """Its HTTP API."""

    def __init__(self) -> None:
        parts = urlsplit(URL)
        host = parts.netloc.rpartition("@")[2]
        self._base = f"{parts.scheme}://{host}{parts.path}/api"
        self._headers = {"Content-Type": "application/json"}
        if token := os.environ.get("GRAFANA_TOKEN"):
            self._headers["Authorization"] = f"Bearer {token}"
        elif parts.username:
            said = f"{parts.username}:{parts.password}"
            self._headers |= urllib3.make_headers(basic_auth=said)
        self._pool = urllib3.PoolManager(timeout=20.0, retries=False)

    def ask(self, method: str, path: str, body: Any = None, least: int = 300) -> Any:
        data = None if body is None else json.dumps(body)
        answer = self._pool.request(method, self._base + path, body=data, headers=self._headers)
        assert answer.status < least, f"{method} {path}: {answer.status} {answer.data[:300]!r}"
        return json.loads(answer.data or b"{}")


def test_each_dashboard_is_taken_and_given_back() -> None:
    grafana = Grafana()
    files = catalogs.compiled_shop()
    texts = [t for p, t in files.items() if p.startswith("grafana/dashboards/") and "json" in p]
    assert len(texts) == 4
    grafana.ask("POST", "/folders", {"uid": FOLDER, "title": FOLDER}, least=413)
    try:
        for text in texts:
            sent = json.loads(text) | {"id": None, "uid": f"{json.loads(text)['uid']}-test"}
            body = {"dashboard": sent, "folderUid": FOLDER, "overwrite": True}
            assert grafana.ask("POST", "/dashboards/db", body)["status"] == "success"
            read = grafana.ask("GET", f"/dashboards/uid/{sent['uid']}")["dashboard"]
            assert [p["title"] for p in read["panels"]] == [p["title"] for p in sent["panels"]]
            asked = [t["expr"] for p in sent["panels"] for t in p.get("targets", ())]
            assert [t["expr"] for p in read["panels"] for t in p.get("targets", ())] == asked
    finally:
        grafana.ask("DELETE", f"/folders/{FOLDER}")
