"""How long people are not told of an alert that fires: its group's wait, and the loop's grace."""

from __future__ import annotations

from collections.abc import Iterable

from opsloop.catalog.model import Catalog
from opsloop.catalog.units import Duration
from opsloop.compile.alertrule import OWN, AlertRule
from opsloop.compile.selectors import scrape_interval, scrape_timeout
from opsloop.compile.watched import watched_window

LONGEST_GRACE = Duration(180_000)
LONGEST_WAIT = Duration(30_000)


def grace(window: Duration, hold: Duration, evaluation: Duration) -> Duration:
    """How long people are not told of an alert that the loop heals by itself.

    The condition can hold for its window after the cure, the engine then watches for `hold`,
    and two evaluations leave room for the action; never over three minutes.
    """
    return Duration(min(int(window) + int(hold) + 2 * int(evaluation), int(LONGEST_GRACE)))


def grace_of(catalog: Catalog, rule: AlertRule) -> Duration:
    """0 where people are told at once: no policy, or one that does not act by itself.

    One that asks people does so before their group is told: its question stands for the alert.

    The evaluation counted is the stack's, not the loop's second: it is what the machine takes
    to start things.
    """
    if rule.policy is None or catalog.remediation.mode_of(rule.policy) != "auto":
        return Duration(0)
    hold = catalog.remediation.policies[rule.policy].verify.hold
    return grace(look_back(catalog, rule), hold, catalog.stack.evaluation_interval)


def look_back(catalog: Catalog, rule: AlertRule) -> Duration:
    """How long the condition can outlast its cause; of a user's alert, its `for` and a scrape."""
    if rule.policy is not None and rule.about != "service":
        return watched_window(catalog, rule)
    if rule.shape != OWN:
        return rule.window
    scrapes = [
        int(scrape_interval(catalog, s)) + int(scrape_timeout(catalog, s)) for s in rule.subjects
    ]
    return Duration(int(rule.for_) + max(scrapes, default=int(catalog.stack.scrape_interval)))


def group_wait(catalog: Catalog) -> Duration:
    """How long a group waits for what explains it: a scrape and an evaluation, 30 s at most.

    The alerts of one outage begin within that time, and the first of them need not be its cause.
    """
    stack = catalog.stack
    both = int(stack.scrape_interval) + int(stack.evaluation_interval)
    return Duration(max(1_000, min(both, int(LONGEST_WAIT))))


def own_wait(catalog: Catalog) -> Duration:
    """How long what the engine posts waits for its like: instances that share a fault are seen
    within a scrape of each other, and given up so."""
    return Duration(max(1_000, min(int(catalog.stack.scrape_interval), int(LONGEST_WAIT) // 2)))


def longest_wait(catalog: Catalog, rules: Iterable[AlertRule]) -> Duration:
    """What has fired for longer than this, by any of these rules, people were told of."""
    waits = [int(grace_of(catalog, rule)) for rule in rules]
    return Duration(max([int(group_wait(catalog)), *waits]))
