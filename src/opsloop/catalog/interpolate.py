"""`${VAR}` and `${VAR:-default}` in values, and the refusal of secrets written as values.

The result is always text: `${PORT}` in a field that takes a number is read as the number that
the text spells, as `"8000"` would be. `$${` is a literal `${`. Keys and structure never change.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from opsloop.settings import ENV_GRAFANA, ENV_PAGERDUTY, ENV_SLACK

_REFERENCE = re.compile(
    r"\$\$\{|\$\{(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<default>:-[^}]*)?\}|(?P<bad>[^}]{0,40}\}?))"
)
_SECRET_NAME = re.compile(
    r"(?:^|_)(?:PASSWORD|PASSWD|SECRET|TOKEN|WEBHOOK|API_?KEY|PRIVATE_?KEY|INTEGRATION_KEY)$"
)
_SECRET_KEY = re.compile(
    r"(?:^|[_.-])(?:password|passwd|secret|token|api_?key|private_?key|routing_key)$", re.IGNORECASE
)
_SECRET_VALUES = (
    (re.compile(r"https?://hooks\.slack\.com/\S*", re.IGNORECASE), "a Slack webhook"),
    (re.compile(r"\bxox[abeprs]-[A-Za-z0-9-]{10,}"), "a Slack token"),
    (re.compile(r"\bgh[pousr]_[A-Za-z0-9]{30,}"), "a GitHub token"),
    (re.compile(r"\bglpat-[A-Za-z0-9_-]{20,}"), "a GitLab token"),
    (re.compile(r"\bAKIA[0-9A-Z]{16}\b"), "an AWS access key"),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"), "a private key"),
    (re.compile(r"\b[a-z][a-z0-9+.-]*://[^/\s:@{}]*:[^/\s@{}]+@", re.IGNORECASE), "a password"),
)
_REFERENCE_HINT = "name a file that holds it, in a *_file field"
_HINTS = {"a Slack webhook": f"remove it and set {ENV_SLACK} in the environment of opsloop up"}
_READ_BY_UP = (ENV_SLACK, ENV_PAGERDUTY, ENV_GRAFANA)


@dataclass(frozen=True, slots=True)
class Mistake:
    """What is wrong with one value; never shows the value when it may be a secret."""

    message: str
    hint: str


def interpolate(text: str, environ: Mapping[str, str]) -> tuple[str, list[Mistake]]:
    """`text` with its references replaced, and every mistake in them."""
    mistakes: list[Mistake] = []

    def replace(match: re.Match[str]) -> str:
        whole, name = match.group(), match["name"]
        if whole == "$${":
            return "${"
        if name is None:
            mistakes.append(
                Mistake(
                    f"{whole} is not a reference",
                    "write ${VAR} or ${VAR:-default}, or $${ for a literal ${",
                )
            )
            return whole
        if _SECRET_NAME.search(name):
            mistakes.append(
                Mistake(
                    f"${{{name}}} would write a secret into the build; "
                    "a secret is always a reference",
                    f"remove it: opsloop up reads {name} itself"
                    if name in _READ_BY_UP
                    else _REFERENCE_HINT,
                )
            )
            return whole
        default = match["default"]
        if default is not None:
            return environ.get(name) or default[2:]
        if name not in environ:
            mistakes.append(
                Mistake(
                    f"environment variable {name} is not set",
                    f"set it, or write ${{{name}:-default}}",
                )
            )
            return whole
        return environ[name]

    return _REFERENCE.sub(replace, text), mistakes


def secret_in(key: str, value: str) -> Mistake | None:
    """A mistake when `value`, which stands at `key`, is a secret as far as can be seen."""
    for pattern, what in _SECRET_VALUES:
        if pattern.search(value):
            return Mistake(
                f"this looks like {what}; a secret is always a reference, never a value",
                _HINTS.get(what, _REFERENCE_HINT),
            )
    # A path or a placeholder such as {state}/secrets/... is a reference.
    if value and _SECRET_KEY.search(key) and not value.startswith(("/", "./", "{", "${")):
        return Mistake(
            f"{key} is a secret by its name; a secret is always a reference, never a value",
            _REFERENCE_HINT,
        )
    return None
