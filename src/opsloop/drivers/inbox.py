"""The running inbox: have it misbehave as a vendor might."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from contextlib import closing

from opsloop.errors import SourceError

TIMEOUT_S = 5.0


def misbehave(port: int, token: str, vendor: str, how: str, times: int) -> None:
    """The next `times` messages to `vendor` are answered with this status, or (hang) never.

    Raises SourceError when the inbox does not answer or refuses.
    """
    place = f"inbox on 127.0.0.1:{port}"
    body = json.dumps({"vendor": vendor, "how": how, "times": times})
    headers: Mapping[str, str] = {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json",
    }
    try:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)) as line:
            line.request("POST", "/misbehave", body, dict(headers))
            answer = line.getresponse()
            said = answer.read(1000).decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        raise SourceError(place, f"does not answer: {error}", "see `opsloop status`") from error
    if answer.status != 200:
        raise SourceError(place, f"refuses ({answer.status}): {said}", "see `opsloop logs inbox`")
