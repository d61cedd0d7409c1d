"""How long episodes are kept: never shorter than what limits look back for."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from opsloop.catalog.policy import Remediation


def remediation(keep: str, window: str = "1h") -> Remediation:
    policy: dict[str, Any] = {
        "when": {"alert": ["ServiceDown"]},
        "steps": [{"restart": {}}],
        "limits": {"window": window},
    }
    return Remediation.model_validate({"keep": keep, "policies": {"restart-down": policy}})


@pytest.mark.parametrize(("keep", "window"), [("1d", "1h"), ("1d", "1d"), ("30d", "30d")])
def test_as_long_as_limits_look_back_is_enough(keep: str, window: str) -> None:
    assert str(remediation(keep, window).keep) == keep


@pytest.mark.parametrize(
    ("keep", "window", "least"), [("23h", "1h", "1d"), ("2d", "3d", "3d"), ("0s", "1h", "1d")]
)
def test_what_is_shorter_is_refused_with_the_least(keep: str, window: str, least: str) -> None:
    with pytest.raises(ValidationError, match=f"limits look back for {least}: keep at least"):
        remediation(keep, window)
