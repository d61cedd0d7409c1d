"""What must stand in no committed file: registry hosts, paths of one machine, secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.house.tracked import text_of, tracked

# Put together here, so that this file passes its own rules.
_HOSTS = ("pypi" + ".org", "python" + "hosted.org", "registry." + "npmjs", "proxy.golang" + ".org")
REGISTRY = re.compile(
    "|".join(map(re.escape, _HOSTS)) + r"|^\s*--(extra-)?index-url\b|^\s*--find-links\b",
    re.MULTILINE,
)
MACHINE_PATH = re.compile(r"(?<![\w./~-])/(?:work|root|home/(?!NAME)\w+|Users/\w+)/")
SECRET = re.compile(
    "|".join(
        (
            "-----BEGIN [A-Z ]*" + "PRIVATE KEY-----",
            r"\bAKIA[0-9A-Z]{16}\b",
            r"\bgh[pousr]_[A-Za-z0-9]{36,}\b",
            r"\bxox[abpr]-[A-Za-z0-9-]{10,}",
            r"hooks\.slack\.com/services/T[A-Z0-9]{8,}/B[A-Z0-9]{8,}/[A-Za-z0-9]{20,}",
            r"\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}",
            r"https?://[^\s/:@{}$]+:[^\s/:@{}$]{8,}@",
        )
    )
)
RULES = {
    "names a package registry": REGISTRY,
    "holds a path of one machine": MACHINE_PATH,
    "holds what looks like a secret": SECRET,
}


def found(rule: re.Pattern[str]) -> Iterator[str]:
    for path in tracked():
        for number, line in enumerate((text_of(path) or "").splitlines(), 1):
            if rule.search(line):
                yield f"{path}:{number}: {line.strip()[:100]}"


@pytest.mark.parametrize("what", RULES)
def test_no_committed_file(what: str) -> None:
    assert list(found(RULES[what])) == [], f"a committed file {what}"


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("names a package registry", "url = https://files." + _HOSTS[1] + "/packages"),
        ("names a package registry", "--index-url " + "https://mirror.example"),
        ("holds a path of one machine", "state: " + "/ro" + "ot/state"),
        ("holds a path of one machine", 'open("/ho' + 'me/anna/x")'),
        ("holds what looks like a secret", "key: AKIA" + "ABCDEFGHIJKLMNOP"),
        ("holds what looks like a secret", "url: http" + "://admin:correcthorse@db:5432"),
    ],
)
def test_the_rules_see_what_they_are_for(what: str, line: str) -> None:
    assert RULES[what].search(line)


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("holds a path of one machine", "docs say ~/root/ and /var/root/x and ./work/main"),
        ("holds what looks like a secret", "postgresql://${USER}:${PASSWORD}@127.0.0.1/shop"),
        ("names a package registry", "the PyPI package supervisor"),
    ],
)
def test_the_rules_leave_the_rest_alone(what: str, line: str) -> None:
    assert not RULES[what].search(line)


def test_lock_files_pin_each_package_by_hash() -> None:
    locks = [p for p in tracked() if p.suffix == ".lock"]
    assert [p.name for p in locks] == ["dev.lock", "runtime.lock"]
    for path in locks:
        text = text_of(path) or ""
        entries = re.findall(
            r"^[a-zA-Z0-9._-]+(?:\[[^\]]*\])?==.*?(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL
        )
        assert len(entries) > 30, path
        bare = [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry]
        assert bare == [], path
