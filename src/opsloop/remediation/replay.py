"""Deciding again: a recorded situation under the catalog of today, without doing anything."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from opsloop.catalog.facts import EngineInput
from opsloop.catalog.subject import subject_of
from opsloop.remediation.decide import Decision
from opsloop.remediation.ladder import describe
from opsloop.remediation.maintenance import in_force
from opsloop.remediation.situation import Situation, subject_facts

# What a case may leave out, for the catalog to say.
FROM_CATALOG: Mapping[str, Any] = {
    "policy_name": None,
    "policy": None,
    "mode": "off",
    "facts": None,
    "service": None,
}


def today(recorded: Situation, given: EngineInput) -> Situation:
    """The same facts of the world, with what the catalog says now.

    Policy, mode, facts of the alert and the service, and maintenance windows are the catalog's;
    everything else, the pause too, is as it was recorded.
    """
    episode, catalog = recorded.episode, given.catalog
    subject = subject_of(episode.alert, episode.labels)
    name = catalog.policy_for(episode.alert, subject)
    policy = catalog.remediation.policies[name] if name else None
    return replace(
        recorded,
        policy_name=name,
        policy=policy,
        mode=catalog.remediation.mode_of(name) if name else "off",
        facts=given.facts_for(episode.alert, name) if name else None,
        service=subject_facts(given, episode.alert, episode.labels),
        maintenance=in_force(catalog.notifications.maintenance, episode.service, recorded.now),
    )


def as_case(name: str, situation: Situation, decision: Decision) -> str:
    """A case file (see cases) of a decision, so that it stays as it is or is made right."""
    expect: dict[str, Any] = {"kind": decision.kind}
    if decision.stopped_by:
        expect["stopped_by"] = decision.stopped_by
    expect["plan"] = describe(decision.plan) if decision.plan else None
    value = {"name": name, "situation": json.loads(situation.to_json()), "expect": expect}
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"
