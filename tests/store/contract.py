"""What every store must do; a test class for each store inherits these."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Sequence
from functools import partial

import pytest

from opsloop.errors import Conflict, Paused, StoreError
from opsloop.remediation.approval import Ending
from opsloop.remediation.episode import EpisodeState
from opsloop.remediation.plan import RunState
from opsloop.remediation.ports import StepResult
from opsloop.store.sqlite import SqliteStore
from tests.store.samples import START, act, alert, plan, started, taken, wish

DONE = StepResult(ok=True, started=True, output="pid 1 serves")


class StoreContract:
    """Needs the fixture `store`: an empty store."""

    # Alerts and episodes

    def test_a_new_alert_makes_an_episode_that_is_due_at_once(self, store: SqliteStore) -> None:
        ids = store.intake([alert("a1"), alert("b2")], 100.0)
        assert len(ids) == len(set(ids)) == 2
        first = store.due(100.0, 10)[0]
        assert (first.fingerprint, first.starts_at) == ("a1", START)
        assert first.state is EpisodeState.NEW
        assert first.firing
        assert first.labels["service"] == "api"
        assert first.annotations == {"summary": "it is down"}
        assert (first.first_seen, first.last_seen, first.ended_at) == (100.0, 100.0, None)
        assert store.due(99.0, 10) == []

    def test_a_repeat_is_no_news_but_is_seen(self, store: SqliteStore) -> None:
        episode = taken(store)
        store.set_episode(episode.id, EpisodeState.WATCHED, "looked at", None, 101.0)
        assert store.intake([alert()], 160.0) == []
        again = store.episode(episode.id)
        assert again.last_seen == 160.0
        assert again.first_seen == 100.0
        assert again.state is EpisodeState.WATCHED
        assert again.due_at is None

    def test_many_repeats_in_one_call_are_one_episode(self, store: SqliteStore) -> None:
        ids = store.intake([alert()] * 50, 100.0)
        assert len(set(ids)) == 1
        assert len(store.firing()) == 1

    def test_a_resolve_makes_it_due_and_leaves_its_state(self, store: SqliteStore) -> None:
        run = started(store)
        assert store.intake([alert(firing=False)], 120.0) == [run.episode_id]
        ended = store.episode(run.episode_id)
        assert (ended.firing, ended.ended_at, ended.due_at) == (False, 120.0, 120.0)
        assert ended.state is EpisodeState.RUNNING
        assert ended.labels["alertname"] == "ServiceDown"
        assert store.intake([alert(firing=False)], 130.0) == []
        assert store.episode(run.episode_id).ended_at == 120.0

    def test_firing_again_after_its_end_is_decided_anew(self, store: SqliteStore) -> None:
        episode = taken(store)
        store.intake([alert(firing=False)], 110.0)
        store.set_episode(episode.id, EpisodeState.CLOSED, "over", None, 111.0)
        assert store.intake([alert()], 120.0) == [episode.id]
        again = store.episode(episode.id)
        assert (again.firing, again.ended_at, again.due_at) == (True, None, 120.0)
        assert again.state is EpisodeState.NEW

    def test_firing_and_resolved_in_one_call_is_ended(self, store: SqliteStore) -> None:
        (episode_id, *_) = store.intake([alert(), alert(firing=False)], 100.0)
        assert not store.episode(episode_id).firing
        assert store.firing() == []

    def test_resolved_before_it_was_seen_is_nothing_to_decide(self, store: SqliteStore) -> None:
        assert store.intake([alert(firing=False)], 100.0) == []
        assert store.due(1e12, 10) == []
        assert store.firing() == []

    def test_another_start_is_another_episode(self, store: SqliteStore) -> None:
        first = taken(store)
        (second,) = store.intake([alert(starts_at=START + 60)], 200.0)
        assert second != first.id

    def test_starts_are_one_to_the_millisecond(self, store: SqliteStore) -> None:
        """The webhook may tell more digits than /api/v2/alerts does."""
        (episode_id,) = store.intake([alert(starts_at=1_700_000_000.123987)], 100.0)
        assert store.intake([alert(starts_at=1_700_000_000.123)], 100.0) == []
        assert store.episode(episode_id).starts_at == 1_700_000_000.123

    def test_due_gives_p0_first_then_the_longest_waiting(self, store: SqliteStore) -> None:
        store.intake([alert("late", severity="P1")], 90.0)
        store.intake([alert("none", severity="")], 91.0)
        store.intake([alert("p2", severity="P2")], 92.0)
        store.intake([alert("first")], 93.0)
        store.intake([alert("second")], 94.0)
        order = [e.fingerprint for e in store.due(100.0, 10)]
        assert order == ["first", "second", "late", "p2", "none"]
        assert [e.fingerprint for e in store.due(100.0, 2)] == ["first", "second"]
        assert store.next_due() == 90.0

    def test_nothing_is_due_in_an_empty_store(self, store: SqliteStore) -> None:
        assert store.next_due() is None
        assert store.due(1e12, 10) == []

    def test_end_episodes_is_as_if_each_was_resolved(self, store: SqliteStore) -> None:
        first, second = taken(store, "a1"), taken(store, "b2")
        store.set_episode(first.id, EpisodeState.WATCHED, "", None, 101.0)
        store.end_episodes([first.id], 150.0)
        store.end_episodes([], 150.0)
        ended = store.episode(first.id)
        assert (ended.firing, ended.ended_at, ended.due_at) == (False, 150.0, 150.0)
        assert ended.state is EpisodeState.WATCHED
        assert [e.id for e in store.firing()] == [second.id]

    def test_episodes_of_services(self, store: SqliteStore) -> None:
        fires = taken(store, "a1")
        ended = taken(store, "b2")
        store.end_episodes([ended.id], 150.0)
        store.intake([alert("c3", service="other")], 100.0)
        assert [e.id for e in store.episodes_of(["api"], 140.0)] == [fires.id, ended.id]
        assert [e.id for e in store.episodes_of(["api"], 151.0)] == [fires.id]
        assert store.episodes_of([], 0.0) == []

    def test_last_episode_of_a_policy_and_service(self, store: SqliteStore) -> None:
        assert store.last_episode("restart-down", "api") is None
        taken(store, "a1")
        last = taken(store, "b2")
        store.set_episode(last.id, EpisodeState.CLOSED, "", None, 101.0)
        found = store.last_episode("restart-down", "api")
        assert found is not None
        assert found.id == last.id

    def test_any_text_survives(self, store: SqliteStore) -> None:
        odd = "a\"b'c\\ \u0000 \n \u2028 \U0001f600 ; DROP TABLE episodes --"
        (episode_id,) = store.intake([alert(odd=odd)], 100.0)
        assert store.episode(episode_id).labels["odd"] == odd

    def test_an_unknown_episode_is_named(self, store: SqliteStore) -> None:
        with pytest.raises(StoreError, match="episode 99"):
            store.episode(99)
        with pytest.raises(StoreError, match="episode 99"):
            store.set_episode(99, EpisodeState.NEW, "", None, 1.0)

    def test_news_is_not_written_over_by_what_was_decided_before_it(
        self, store: SqliteStore
    ) -> None:
        """The alert changes while its episode is decided: it is due at once, and not lost."""
        episode = taken(store)
        store.intake([alert(firing=False)], 101.0)
        waits = dataclasses.replace(
            act(episode), kind="wait", state=EpisodeState.WATCHED, due_at=None
        )
        store.record(waits, 102.0)
        assert store.episode(episode.id).due_at == 102.0
        ended = store.episode(episode.id)
        store.intake([alert()], 103.0)
        store.set_episode(
            ended.id, EpisodeState.CLOSED, "resolved", None, 104.0, firing=ended.firing
        )
        again = store.episode(episode.id)
        assert (again.firing, again.state, again.due_at) == (True, EpisodeState.NEW, 104.0)

    def test_what_fires_is_decided_again_after_a_stop(self, store: SqliteStore) -> None:
        fires, told = taken(store, "a1"), taken(store, "b2")
        ended, works = taken(store, "c3"), started(store, "d4")
        store.set_episode(fires.id, EpisodeState.WATCHED, "", None, 101.0)
        store.set_episode(told.id, EpisodeState.ESCALATED, "", None, 101.0)
        store.end_episodes([ended.id], 102.0)
        store.set_episode(ended.id, EpisodeState.CLOSED, "", None, 102.0)
        store.set_episode(works.episode_id, EpisodeState.RUNNING, "", None, 102.0)
        store.decide_again(103.0)
        assert [e.id for e in store.due(103.0, 10)] == [fires.id]
        assert store.episode(fires.id).state is EpisodeState.WATCHED

    # Decisions

    def test_decisions_without_an_effect_are_written_together_or_not_at_all(
        self, store: SqliteStore
    ) -> None:
        first, second = taken(store, "a1"), taken(store, "b2")
        waits = [
            dataclasses.replace(act(e), kind="wait", plan=None, due_at=140.0, reason="not yet")
            for e in (first, second)
        ]
        store.record_all(waits, 101.0)
        assert {e.reason for e in store.firing()} == {"not yet"}
        gone = dataclasses.replace(waits[1], episode=dataclasses.replace(second, id=99))
        with pytest.raises(StoreError, match="episode 99"):
            store.record_all([dataclasses.replace(waits[0], reason="later"), gone], 102.0)
        assert {e.reason for e in store.firing()} == {"not yet"}
        assert store.verify_audit().ok

    def test_a_decision_that_does_not_act_makes_no_run(self, store: SqliteStore) -> None:
        episode = taken(store)
        kept = dataclasses.replace(
            act(episode), kind="wait", state=EpisodeState.NEW, due_at=140.0, reason="not yet"
        )
        assert store.record(kept, 101.0) is None
        again = store.episode(episode.id)
        assert (again.state, again.reason, again.due_at) == (EpisodeState.NEW, "not yet", 140.0)
        assert store.open_runs() == []

    def test_a_decision_to_act_makes_a_run_with_its_locks(self, store: SqliteStore) -> None:
        run = started(store, what=plan("api:api-0", "api:api-1"))
        assert run.state is RunState.PLANNED
        assert run.plan == plan("api:api-0", "api:api-1")
        assert (run.attempt, run.created_at) == (0, 101.0)
        assert (run.acting_at, run.acted_at, run.finished_at) == (None, None, None)
        assert store.open_runs() == [run]
        assert store.episode(run.episode_id).state is EpisodeState.RUNNING

    def test_one_run_at_a_time_for_a_resource(self, store: SqliteStore) -> None:
        run = started(store, "a1")
        with pytest.raises(Conflict, match=f"run {run.id} works on it"):
            started(store, "b2")
        assert len(store.open_runs()) == 1
        store.move_run(run, RunState.CANCELLED, "", 102.0)
        assert started(store, "c3").id != run.id

    def test_a_refused_run_leaves_no_trace(self, store: SqliteStore) -> None:
        started(store, "a1")
        episode = taken(store, "b2")
        with pytest.raises(Conflict):
            store.record(act(episode, plan("api:api-9", "api:api-0")), 101.0)
        assert store.episode(episode.id) == episode
        other = started(store, "c3", plan("api:api-9"))
        assert other.plan.resources == ("api:api-9",)

    def test_an_attempt_is_made_once(self, store: SqliteStore) -> None:
        run = started(store)
        store.move_run(run, RunState.FAILED, "", 102.0)
        episode = store.episode(run.episode_id)
        with pytest.raises(Conflict, match="attempt 0"):
            store.record(act(episode), 103.0)
        again = store.record(act(episode, attempt=1), 104.0)
        assert again is not None
        assert again.attempt == 1

    def test_one_open_run_for_an_episode(self, store: SqliteStore) -> None:
        run = started(store)
        with pytest.raises(Conflict, match="is open"):
            store.record(act(store.episode(run.episode_id), plan("api:api-1"), attempt=1), 102.0)

    def test_tokens_only_grow(self, store: SqliteStore) -> None:
        tokens = []
        for name in ("a1", "b2", "c3"):
            run = started(store, name)
            tokens.append(run.token)
            store.move_run(run, RunState.CANCELLED, "", 102.0)
        assert tokens == sorted(set(tokens))

    def test_a_decision_on_an_alert_that_changed_meanwhile_does_not_act(
        self, store: SqliteStore
    ) -> None:
        episode = taken(store)
        store.intake([alert(firing=False)], 101.0)
        with pytest.raises(Conflict, match="changed"):
            store.record(act(episode), 102.0)
        assert store.open_runs() == []

    def test_a_plan_without_resources_does_not_run(self, store: SqliteStore) -> None:
        nothing = dataclasses.replace(plan(), resources=())
        with pytest.raises(Conflict, match="locks nothing"):
            store.record(act(taken(store), nothing), 101.0)

    def test_paused_makes_no_run(self, store: SqliteStore) -> None:
        episode = taken(store)
        store.pause("maintenance by hand", 100.0)
        assert store.paused() == (True, "maintenance by hand")
        with pytest.raises(Paused, match="maintenance by hand"):
            store.record(act(episode), 101.0)
        store.resume("", 102.0)
        assert store.paused() == (False, "")
        assert store.record(act(episode), 103.0) is not None

    # Actions

    def test_the_life_of_a_run(self, store: SqliteStore) -> None:
        run = started(store)
        store.begin_action(run, 0, 110.0)
        (acting,) = store.open_runs()
        assert (acting.state, acting.acting_at) == (RunState.ACTING, 110.0)
        (record,) = store.actions(run.id)
        assert (record.index, record.began_at, record.ended_at, record.result) == (
            0,
            110.0,
            None,
            None,
        )
        store.end_action(run, 0, DONE, 112.0)
        (record,) = store.actions(run.id)
        assert (record.ended_at, record.result) == (112.0, DONE)
        looks = store.move_run(run, RunState.VERIFYING, "acted", 113.0, detail={"before": {"v": 1}})
        assert (looks.state, looks.acted_at, looks.reason) == (RunState.VERIFYING, 113.0, "acted")
        good = store.move_run(run, RunState.VERIFYING, "good", 114.0, good_since=114.0)
        assert (good.acted_at, good.good_since) == (113.0, 114.0)
        ended = store.move_run(
            run, RunState.VERIFIED, "healed", 120.0, good_since=114.0, detail={"after": {"v": 0}}
        )
        assert (ended.state, ended.finished_at) == (RunState.VERIFIED, 120.0)
        assert ended.detail == {"before": {"v": 1}, "after": {"v": 0}}
        assert store.open_runs() == []
        assert store.run(run.id) == ended

    def test_an_action_begins_once(self, store: SqliteStore) -> None:
        run = started(store)
        store.begin_action(run, 0, 110.0)
        with pytest.raises(Conflict, match="began before"):
            store.begin_action(run, 0, 111.0)
        store.end_action(run, 0, DONE, 112.0)
        with pytest.raises(Conflict):
            store.begin_action(run, 0, 113.0)
        with pytest.raises(Conflict):
            store.end_action(run, 0, DONE, 114.0)

    def test_an_action_that_never_began_has_no_end(self, store: SqliteStore) -> None:
        with pytest.raises(Conflict, match="never began"):
            store.end_action(started(store), 0, DONE, 110.0)

    def test_actions_are_in_order_and_stop_at_a_failure(self, store: SqliteStore) -> None:
        run = started(store, what=plan("api:api-0", "api:api-1"))
        with pytest.raises(Conflict):
            store.begin_action(run, 1, 110.0)
        store.begin_action(run, 0, 110.0)
        with pytest.raises(Conflict):
            store.begin_action(run, 1, 111.0)
        store.end_action(run, 0, StepResult(ok=False, started=True, output="no"), 112.0)
        with pytest.raises(Conflict):
            store.begin_action(run, 1, 113.0)

    def test_paused_begins_no_action_and_ends_what_began(self, store: SqliteStore) -> None:
        run = started(store, what=plan("api:api-0", "api:api-1"))
        store.begin_action(run, 0, 110.0)
        store.pause("stop", 111.0)
        store.end_action(run, 0, DONE, 112.0)
        with pytest.raises(Paused):
            store.begin_action(run, 1, 113.0)
        assert len(store.actions(run.id)) == 1

    def test_a_stale_token_begins_nothing(self, store: SqliteStore) -> None:
        run = started(store)
        with pytest.raises(Conflict, match="token"):
            store.begin_action(dataclasses.replace(run, token=run.token + 1), 0, 110.0)
        assert store.actions(run.id) == []

    def test_a_finished_run_does_nothing_more(self, store: SqliteStore) -> None:
        run = started(store)
        store.move_run(run, RunState.CANCELLED, "resolved", 105.0)
        with pytest.raises(Conflict):
            store.begin_action(run, 0, 110.0)
        with pytest.raises(Conflict, match="cancelled"):
            store.move_run(run, RunState.VERIFIED, "", 111.0)

    def test_unknown_sets_when_it_may_have_acted(self, store: SqliteStore) -> None:
        run = started(store)
        store.begin_action(run, 0, 110.0)
        moved = store.move_run(run, RunState.UNKNOWN, "the engine stopped", 115.0)
        assert (moved.acted_at, moved.finished_at) == (115.0, None)
        assert [r.id for r in store.open_runs()] == [run.id]

    def test_long_output_is_cut(self, store: SqliteStore) -> None:
        run = started(store)
        store.begin_action(run, 0, 110.0)
        store.end_action(run, 0, StepResult(ok=True, started=True, output="x" * 10**6), 111.0)
        (record,) = store.actions(run.id)
        assert record.result is not None
        assert 0 < len(record.result.output) < 100_000

    # History

    # Approvals

    def test_a_plan_is_asked_for_once_and_voided_by_another(self, store: SqliteStore) -> None:
        episode = taken(store)
        assert store.record(wish(episode), 101.0) is None
        store.record(wish(episode), 102.0)
        (first,) = store.approvals()
        assert (first.episode_id, first.plan, first.asked_at) == (episode.id, plan(), 101.0)
        assert (first.expires_at, first.open, first.approved_by) == (200.0, True, "")
        assert store.episode(episode.id).state is EpisodeState.ASKED
        store.record(wish(episode, plan("api:api-1")), 103.0)
        (second,) = store.approvals()
        assert second.plan == plan("api:api-1")
        assert [a.ending for a in store.all_approvals()] == [None, Ending.VOID]
        assert store.approval_of(episode.id) == second

    def test_an_approval_is_used_once_and_by_its_plan_alone(self, store: SqliteStore) -> None:
        episode = taken(store)
        store.record(wish(episode), 101.0)
        (approval,) = store.approvals()
        store.set_episode(episode.id, EpisodeState.ASKED, "", 1e9, 101.0)
        found = store.answer_approval(approval.id, "ann", "go", 110.0, agreed=True)
        assert (found.approved_by, found.why, found.answered_at) == ("ann", "go", 110.0)
        assert store.episode(episode.id).due_at == 110.0
        other = dataclasses.replace(act(episode, plan("api:api-1")), approval_id=approval.id)
        with pytest.raises(Conflict, match="for the plan that was shown"):
            store.record(other, 111.0)
        assert store.runs() == []
        run = store.record(dataclasses.replace(act(episode), approval_id=approval.id), 112.0)
        assert run is not None
        assert store.approvals() == []
        store.move_run(run, RunState.CANCELLED, "", 113.0)
        again = dataclasses.replace(act(episode, attempt=1), approval_id=approval.id)
        with pytest.raises(Conflict, match="not open"):
            store.record(again, 114.0)
        kinds = [r["kind"] for r in store.audit_of(episode_id=episode.id)]
        assert kinds.index("approval-needed") < kinds.index("approved") < kinds.index("run")

    def test_what_nobody_approved_is_not_used(self, store: SqliteStore) -> None:
        episode = taken(store)
        store.record(wish(episode), 101.0)
        (approval,) = store.approvals()
        with pytest.raises(Conflict):
            store.record(dataclasses.replace(act(episode), approval_id=approval.id), 102.0)
        store.answer_approval(approval.id, "ann", "", 103.0, agreed=True)
        with pytest.raises(Conflict):
            store.record(dataclasses.replace(act(episode), approval_id=approval.id), 200.0)
        assert store.runs() == []

    def test_answers_come_in_time_once_and_to_what_there_is(self, store: SqliteStore) -> None:
        episode = taken(store)
        store.record(wish(episode), 101.0)
        (approval,) = store.approvals()
        for late in (200.0, 100.9):  # the clock may go back
            with pytest.raises(Conflict, match="expired"):
                store.answer_approval(approval.id, "ann", "", late, agreed=True)
        with pytest.raises(StoreError, match="there is none"):
            store.answer_approval(99, "ann", "", 102.0, agreed=True)
        store.answer_approval(approval.id, "ann", "", 102.0, agreed=True)
        with pytest.raises(Conflict, match="approved by ann"):
            store.answer_approval(approval.id, "bob", "", 103.0, agreed=True)
        found = store.answer_approval(approval.id, "bob", "no", 104.0, agreed=False)
        assert (found.ending, found.why, found.ended_at) == (Ending.REJECTED, "bob: no", 104.0)
        with pytest.raises(Conflict, match="rejected already"):
            store.answer_approval(approval.id, "ann", "", 105.0, agreed=False)
        store.end_approval(approval.id, Ending.OVER, 106.0)
        assert store.approval_of(episode.id) == found

    @pytest.mark.parametrize("threads", [2, 8])
    def test_two_people_approve_at_once_and_one_is_told(
        self, store: SqliteStore, threads: int
    ) -> None:
        store.record(wish(taken(store)), 101.0)
        (approval,) = store.approvals()

        def say(name: str) -> bool:
            try:
                store.answer_approval(approval.id, name, "", 102.0, agreed=True)
            except Conflict:
                return False
            return True

        assert sum(map(bool, together([partial(say, f"p{n}") for n in range(threads)]))) == 1

    def test_history_has_what_guards_count(self, store: SqliteStore) -> None:
        old = started(store, "a1", now=101.0)
        store.move_run(old, RunState.FAILED, "", 102.0)
        still_open = started(store, "b2", plan("api:api-1"), now=103.0)
        new = started(store, "c3", plan("api:api-2"), now=1003.0)
        store.begin_action(new, 0, 1004.0)
        found = store.history(1000.0)
        assert [p.run_id for p in found] == [new.id, still_open.id]
        assert found[0].resources == ("api:api-2",)
        assert found[0].unknown
        assert not found[1].unknown
        assert [p.run_id for p in store.history(1000.0, old.episode_id)] == [
            new.id,
            still_open.id,
            old.id,
        ]
        store.end_action(new, 0, DONE, 1005.0)
        store.move_run(new, RunState.VERIFYING, "", 1006.0)
        latest = store.history(1000.0)[0]
        assert (latest.unknown, latest.acted_at, latest.attempt) == (False, 1006.0, 0)

    def test_history_counts_runs_of_the_future(self, store: SqliteStore) -> None:
        """A clock that was set back does not give the budget back."""
        run = started(store, now=5000.0)
        store.move_run(run, RunState.FAILED, "", 5001.0)
        assert [p.run_id for p in store.history(100.0)] == [run.id]

    # People, scale, lease

    def test_an_episode_is_escalated_once(self, store: SqliteStore) -> None:
        episode = taken(store)
        assert store.escalate(episode, None, "no", {"a": "b"}, {"s": "t"}, 110.0)
        assert not store.escalate(episode, None, "no", {}, {}, 111.0)
        (told,) = store.escalations()
        assert (told.episode_id, told.labels, told.starts_at) == (episode.id, {"a": "b"}, 110.0)
        store.end_escalation(told.id, 120.0)
        assert store.escalations() == []

    def test_an_episode_that_fails_again_is_told_again(self, store: SqliteStore) -> None:
        episode = taken(store)
        store.escalate(episode, None, "no", {}, {}, 110.0)
        (told,) = store.escalations()
        store.end_escalation(told.id, 120.0)
        assert store.escalate(episode, None, "again", {}, {}, 130.0)
        assert [e.starts_at for e in store.escalations()] == [130.0]

    def test_wanted(self, store: SqliteStore) -> None:
        assert store.wanted("api") is None
        store.set_wanted("api", 3, 100.0)
        store.set_wanted("api", 2, 101.0)
        assert store.wanted("api") == 2

    def test_one_holder_of_the_lease(self, store: SqliteStore) -> None:
        assert store.lease("one", 100.0, 10.0)
        assert not store.lease("two", 109.0, 10.0)
        assert store.lease("one", 109.0, 10.0)
        assert not store.lease("two", 118.0, 10.0)
        assert store.lease("two", 120.0, 10.0)
        assert not store.lease("one", 121.0, 10.0)

    def test_an_engine_that_lost_its_lease_begins_nothing(self, store: SqliteStore) -> None:
        """What it knows of open runs may be old, so budgets and radius would not hold."""
        assert store.lease("one", 100.0, 10.0)
        run = started(store)
        with SqliteStore(store.path) as other:
            other.drop_lease()  # as one does that believes the holder to be gone
            assert other.lease("two", 102.0, 10.0)
            with pytest.raises(Conflict, match="held by two"):
                store.begin_action(run, 0, 103.0)
            with pytest.raises(Conflict, match="held by two"):
                started(store, "b2", plan("api:api-1"))
            assert store.actions(run.id) == []
            other.begin_action(run, 0, 104.0)
        assert len(store.actions(run.id)) == 1

    # Audit

    def test_every_decision_and_change_is_in_the_audit(self, store: SqliteStore) -> None:
        run = started(store)
        store.begin_action(run, 0, 110.0)
        store.end_action(run, 0, DONE, 111.0)
        store.move_run(run, RunState.VERIFYING, "acted", 112.0)
        store.move_run(run, RunState.VERIFYING, "acted", 113.0, good_since=113.0)
        store.move_run(run, RunState.FAILED, "no", 114.0)
        kinds = [row["kind"] for row in store.audit_of(run_id=run.id)]
        assert kinds == ["decision", "action", "action-end", "run", "run"]
        decision = store.audit_of(run_id=run.id)[0]["body"]
        assert decision["guards"] == [
            {"guard": "mode", "answer": "pass", "reason": "auto"},
            {"guard": "paused", "answer": "pass", "reason": ""},
        ]
        assert decision["situation"] == {"now": 1.5}
        assert decision["plan_hash"] == plan().hash
        assert store.verify_audit().ok

    def test_numbers_that_json_has_not_do_no_harm(self, store: SqliteStore) -> None:
        run = started(store)
        moved = store.move_run(
            run, RunState.VERIFYING, "", 110.0, detail={"sli": float("nan"), "v": float("inf")}
        )
        assert moved.detail == {"sli": None, "v": None}
        odd = dataclasses.replace(
            act(taken(store, "b2")), kind="wait", situation='{"value": Infinity}', plan=None
        )
        store.record(odd, 111.0)
        assert store.verify_audit().ok

    def test_output_that_is_no_text_does_no_harm(self, store: SqliteStore) -> None:
        run = started(store)
        store.begin_action(run, 0, 110.0)
        store.end_action(run, 0, StepResult(ok=False, started=True, output="a\udcffb"), 111.0)
        moved = store.move_run(run, RunState.FAILED, "no: a\udcffb", 112.0)
        assert moved.reason == "no: a?b"
        assert store.verify_audit().ok

    # Concurrency

    def test_of_many_who_want_one_resource_one_gets_it(self, store: SqliteStore) -> None:
        episodes = [taken(store, f"f{n}") for n in range(12)]
        outcomes = together([partial(store.record, act(e), 101.0) for e in episodes])
        runs = [o for o in outcomes if not isinstance(o, Exception)]
        assert len(runs) == 1
        assert all(isinstance(o, Conflict) for o in outcomes if isinstance(o, Exception))
        assert len(store.open_runs()) == 1

    def test_of_many_who_make_one_attempt_one_does(self, store: SqliteStore) -> None:
        episode = taken(store)
        plans = [plan(f"api:api-{n}") for n in range(12)]
        outcomes = together([partial(store.record, act(episode, p), 101.0) for p in plans])
        assert len([o for o in outcomes if not isinstance(o, Exception)]) == 1

    def test_of_many_who_begin_one_action_one_does(self, store: SqliteStore) -> None:
        run = started(store)
        outcomes = together([partial(store.begin_action, run, 0, 110.0)] * 12)
        assert len([o for o in outcomes if not isinstance(o, Exception)]) == 1
        assert len(store.actions(run.id)) == 1

    def test_pause_wins_over_actions_that_begin_at_the_same_time(self, store: SqliteStore) -> None:
        """Whatever the order: after pause() has returned, no action begins."""
        runs = [started(store, f"f{n}", plan(f"api:api-{n}")) for n in range(8)]
        paused = threading.Event()
        late: list[int] = []

        def begin(number: int) -> None:
            was_paused = paused.is_set()
            store.begin_action(runs[number], 0, 110.0)
            if was_paused:
                late.append(number)

        def pause() -> None:
            store.pause("", 110.0)
            paused.set()

        together([pause, *(partial(begin, n) for n in range(8))])
        assert late == []
        for run in runs:
            if not store.actions(run.id):
                with pytest.raises(Paused):
                    store.begin_action(run, 0, 111.0)

    def test_intake_from_many_threads_loses_nothing(self, store: SqliteStore) -> None:
        def take(number: int) -> list[int]:
            return store.intake([alert(f"t{number}x{n}") for n in range(20)], 100.0)

        outcomes = together([partial(take, n) for n in range(16)])
        assert sum(len(o) for o in outcomes if isinstance(o, list)) == 320
        assert len(store.firing()) == 320


def together(works: Sequence[Callable[[], object]]) -> list[object]:
    """Run all at the same moment; the result or the StoreError of each."""
    outcomes: list[object] = [None] * len(works)
    gate = threading.Barrier(len(works))

    def run(number: int) -> None:
        gate.wait(30)
        try:
            outcomes[number] = works[number]()
        except StoreError as error:
            outcomes[number] = error

    threads = [threading.Thread(target=run, args=(n,)) for n in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    return outcomes
