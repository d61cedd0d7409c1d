"""The secret files of a stack: made at `up` from the environment, 0600, never printed."""

from __future__ import annotations

import secrets as random_secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from opsloop import names
from opsloop.catalog.check_notify import present
from opsloop.catalog.model import Catalog
from opsloop.compile.exporters import web_config
from opsloop.errors import ArgumentError
from opsloop.settings import ENV_GRAFANA, ENV_PAGERDUTY, ENV_SLACK, Ports
from opsloop.stack.files import refuse_not_ours, usable, write_file

# Endpoints are scraped every few seconds and some exporters hash at each request. The password
# is 192 random bits, which nobody guesses at whatever cost, so the cost is kept low: 8 is about
# 15 ms where the customary 12 is 250 ms.
BCRYPT_COST = 8
_RANDOM_BYTES = 24
_STAND_IN_PATH = "/slack/services/demo"
_STAND_IN_KEY = "opsloop-stand-in-routing-key-000"  # 32 characters, as PagerDuty's own
_GENERATED = (
    names.SECRET_SCRAPE_PASSWORD,
    names.SECRET_WEBHOOK_TOKEN,
    names.SECRET_FAULT_TOKEN,
    names.SECRET_DATABASE_PASSWORD,
    names.SECRET_GRAFANA_KEY,
)


@dataclass(frozen=True, slots=True)
class Vendors:
    """Who gets the pages: the vendor, or the inbox in its place."""

    slack: Literal["real", "stand-in"]
    pagerduty: Literal["real", "stand-in", "none"]
    kept: tuple[str, ...] = ()  # secrets that are not in this environment, from an earlier `up`
    # (field of `notifications`, file) of secrets that are not there: the inbox takes their place
    missing: tuple[tuple[str, str], ...] = ()

    @property
    def stand_ins(self) -> list[str]:
        """What is stood in for, with the variable that changes it."""
        found = []
        if self.slack == "stand-in":
            found.append(f"Slack (set {ENV_SLACK})")
        if self.pagerduty == "stand-in":
            found.append(f"PagerDuty (set {ENV_PAGERDUTY})")
        return found + [f"{field} (write the secret into {file})" for field, file in self.missing]

    @property
    def missing_files(self) -> tuple[str, ...]:
        return tuple(sorted({file for _, file in self.missing}))


def vendors(
    folder: Path, catalog: Catalog, environ: Mapping[str, str], directory: Path | None = None
) -> Vendors:
    """Decide from the environment, and from what an earlier `up` was given.

    A value that was given once is kept: a `reload` from a shell without it must not send
    pages to the inbox. In production a missing one is refused, all of them at once. Raises
    ArgumentError, which names variables and never their values. directory: the catalog's, beside
    which the files of secrets lie; None: they are not looked at.
    """
    told = catalog.notifications
    slack = _given(environ, ENV_SLACK)
    if slack is not None and not _is_url(slack):
        raise ArgumentError(ENV_SLACK, "is not an http(s) URL", "copy it again from Slack")
    key = _given(environ, ENV_PAGERDUTY)
    if key is not None and not (key.isascii() and key.isalnum()):
        raise ArgumentError(
            ENV_PAGERDUTY, "is not an integration key (letters and digits)", "copy it again"
        )
    kept = []
    if slack is None and _real(folder / names.SECRET_SLACK_URL, _is_stand_in_url):
        slack = "kept"
        kept.append("Slack")
    own_key = told.pagerduty is not None and told.pagerduty.routing_key_file is not None
    wants_pagerduty = told.pagerduty is not None and not own_key
    stale = folder / names.SECRET_PAGERDUTY_KEY
    if wants_pagerduty and key is None and _real(stale, _STAND_IN_KEY.__eq__):
        key = "kept"
        kept.append("PagerDuty")
    missing = _missing(catalog, directory) if directory is not None else ()
    if told.slack.url_file is not None:
        slack = "file"
    if catalog.stack.production and slack is None:
        raise ArgumentError(
            ENV_SLACK,
            "is not set, and an environment called production has no stand-in",
            f"set {ENV_SLACK} to the webhook's URL",
        )
    pagerduty: Literal["real", "stand-in", "none"] = "none"
    if own_key or (wants_pagerduty and key is not None):
        pagerduty = "real"
    elif wants_pagerduty and not catalog.stack.production:
        pagerduty = "stand-in"
    return Vendors("real" if slack else "stand-in", pagerduty, tuple(kept), missing)


def _missing(catalog: Catalog, directory: Path) -> tuple[tuple[str, str], ...]:
    """Secrets that are files and not there. Raises ArgumentError for one in production."""
    found = [
        (".".join(field), file)
        for field, file in catalog.notifications.secret_files()
        if not present(directory, file)
    ]
    if found and catalog.stack.production:
        which = ", ".join(f"{file} ({field})" for field, file in found)
        raise ArgumentError(
            which,
            "holds no secret, and an environment called production has no stand-in",
            "write the secret into the file, or remove the receiver",
        )
    return tuple(found)


def make_secrets(
    folder: Path,
    catalog: Catalog,
    environ: Mapping[str, str],
    ports: Ports,
    directory: Path | None = None,
) -> Vendors:
    """Write what is missing or changed into `folder` (0700; files 0600). Raises StateUnusable.

    What is generated is generated once and kept, so that a second `up` changes nothing.
    """
    found = vendors(folder, catalog, environ, directory)
    with usable(folder):
        refuse_not_ours(folder)
        folder.chmod(0o700)
        for name in _GENERATED:
            if not _read(folder / name):
                _write(folder / name, random_secrets.token_urlsafe(_RANDOM_BYTES))
        _write_web_config(folder)
        slack = _given(environ, ENV_SLACK)
        if found.slack == "stand-in":
            slack = f"http://127.0.0.1:{ports.inbox}{_STAND_IN_PATH}"
        key = _given(environ, ENV_PAGERDUTY)
        if found.pagerduty == "stand-in":
            key = _STAND_IN_KEY
        grafana = _given(environ, ENV_GRAFANA)
        if grafana is None and not catalog.stack.production:
            grafana = _read(folder / names.SECRET_GRAFANA_PASSWORD) or (
                random_secrets.token_urlsafe(_RANDOM_BYTES)
            )
        for name, value in (
            (names.SECRET_SLACK_URL, slack),
            (names.SECRET_PAGERDUTY_KEY, key),
            (names.SECRET_GRAFANA_PASSWORD, grafana),
        ):
            if value is not None:
                _write(folder / name, value)
    return found


def scrape_password(folder: Path) -> str:
    """The password of user `opsloop` at every endpoint; empty before the first `up`."""
    return _read(folder / names.SECRET_SCRAPE_PASSWORD)


def _write_web_config(folder: Path) -> None:
    import bcrypt

    password = scrape_password(folder).encode()
    path = folder / names.SECRET_WEB_CONFIG
    present = _read(path)
    hashed = next((w.strip("'\"") for w in present.split() if w.strip("'\"").startswith("$2")), "")
    fits = hashed.split("$")[2:3] == [f"{BCRYPT_COST:02d}"]
    if not fits or not bcrypt.checkpw(password, hashed.encode()):
        hashed = bcrypt.hashpw(password, bcrypt.gensalt(BCRYPT_COST)).decode()
    text = web_config({names.SCRAPE_USER: hashed})
    _write(path, text.strip())


def _given(environ: Mapping[str, str], name: str) -> str | None:
    """The variable's value, None when unset or empty. Raises ArgumentError for a broken one."""
    value = environ.get(name, "").strip()
    if not value:
        return None
    if any(c.isspace() or not c.isprintable() for c in value) and name != ENV_GRAFANA:
        raise ArgumentError(name, "holds a space or a control character", "copy it again")
    return value


def _is_url(value: str) -> bool:
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _is_stand_in_url(value: str) -> bool:
    return value.startswith("http://127.0.0.1:") and value.endswith(_STAND_IN_PATH)


def _real(path: Path, is_stand_in: object) -> bool:
    value = _read(path)
    return bool(value) and callable(is_stand_in) and not is_stand_in(value)


def _read(path: Path) -> str:
    with usable(path):
        try:
            return path.read_text().strip()
        except FileNotFoundError:
            return ""


def _write(path: Path, value: str) -> None:
    """Write without a final newline where the file is one value: readers differ in trimming."""
    unchanged = path.is_file() and not path.is_symlink() and path.read_text() == value
    if not unchanged:
        write_file(path, value, 0o600)
    elif path.stat().st_mode & 0o777 != 0o600:
        path.chmod(0o600)
