-- Every statement of the store, by name. `-- name --` begins one; the comment says what it is for.

-- intake --
-- Take alerts as levels: a new pair makes an episode, a change of firing makes it due, a repeat
-- only moves last_seen (at most once a second, so a storm of repeats writes next to nothing).
-- One resolved before we saw it fire is kept as closed, so that a late "firing" is seen as late.
-- One that fires again after its end is decided anew. Each element of :alerts is
-- [fingerprint, starts_ms, labels, annotations, firing, service, policy, rank]; one statement for
-- all, so that no other thread waits for it.
INSERT INTO episodes (fingerprint, starts_ms, labels, annotations, firing,
                      service, policy, rank,
                      state, first_seen, last_seen, ended_at, due_at)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4,
       value ->> 5, value ->> 6, value ->> 7,
       CASE WHEN value ->> 4 THEN 'new' ELSE 'closed' END, :now, :now,
       CASE WHEN value ->> 4 THEN NULL ELSE :now END,
       CASE WHEN value ->> 4 THEN :now END
FROM json_each(:alerts) WHERE true
ON CONFLICT (fingerprint, starts_ms) DO UPDATE SET
    firing = excluded.firing,
    annotations = CASE WHEN excluded.firing THEN excluded.annotations ELSE annotations END,
    last_seen = excluded.last_seen,
    ended_at = excluded.ended_at,
    due_at = CASE WHEN firing = excluded.firing THEN due_at ELSE :now END,
    state = CASE WHEN excluded.firing > firing THEN 'new' ELSE state END
WHERE firing <> excluded.firing
   OR (excluded.firing = 1 AND abs(last_seen - excluded.last_seen) >= 1)
RETURNING id, due_at = :now;

-- due --
-- Episodes to be decided: P0 first, those without a severity last, then the longest waiting.
SELECT * FROM episodes INDEXED BY episodes_ranked WHERE due_at IS NOT NULL AND due_at <= :now
ORDER BY rank, due_at, id LIMIT :limit;

-- next_due --
-- When there is something to decide.
SELECT due_at FROM episodes INDEXED BY episodes_due WHERE due_at IS NOT NULL
ORDER BY due_at LIMIT 1;

-- episode --
-- One episode.
SELECT * FROM episodes WHERE id = :id;

-- firing --
-- Episodes whose alert is up.
SELECT * FROM episodes INDEXED BY episodes_firing WHERE firing = 1 ORDER BY id;

-- episodes_of --
-- Episodes of services that fire, or ended since.
SELECT * FROM episodes
WHERE service IN (SELECT value FROM json_each(:services))
  AND (ended_at IS NULL OR ended_at >= :since) ORDER BY id;

-- last_episode --
-- The newest episode of a policy and a service, open or closed.
SELECT * FROM episodes WHERE policy = :policy AND service = :service ORDER BY id DESC LIMIT 1;

-- open_episodes --
-- Episodes that are not closed, newest first.
SELECT * FROM episodes INDEXED BY episodes_open WHERE state <> 'closed' ORDER BY id DESC LIMIT :limit;

-- all_episodes --
-- Every episode, newest first.
SELECT * FROM episodes ORDER BY id DESC LIMIT :limit;

-- end_episodes --
-- The alert is gone: due, so that the engine decides what its end means.
UPDATE episodes SET firing = 0, ended_at = :now, due_at = :now
WHERE firing = 1 AND id IN (SELECT value FROM json_each(:ids));

-- set_episode --
-- What the loop makes of an episode.
UPDATE episodes SET state = :state, reason = :reason, due_at = :due_at WHERE id = :id;

-- decide_again --
-- What fires, is not worked on, and was not told to people: after a stop of any kind.
UPDATE episodes SET due_at = :now
WHERE firing = 1 AND state NOT IN ('escalated', 'closed')
  AND id NOT IN (SELECT episode_id FROM runs WHERE finished_at IS NULL);

-- control --
-- The engine as a whole.
SELECT * FROM control;

-- set_paused --
-- The kill switch.
UPDATE control SET paused = :paused, paused_why = :why, paused_at = :at;

-- take_token --
-- The next fencing token.
UPDATE control SET next_token = next_token + 1 RETURNING next_token - 1;

-- lease --
-- Take or renew the lease of the one active engine.
UPDATE control SET lease_holder = :holder, lease_until = :until
WHERE lease_holder IS NULL OR lease_holder = :holder OR lease_until <= :now;

-- drop_lease --
-- The holder is known to be gone.
UPDATE control SET lease_holder = NULL, lease_until = NULL;

-- ask --
-- Put a plan before people.
INSERT INTO approvals (episode_id, plan, plan_hash, asked_at, expires_at)
VALUES (:episode_id, :plan, :plan_hash, :now, :expires_at) RETURNING id;

-- approval --
-- One approval.
SELECT * FROM approvals WHERE id = :id;

-- approval_of_episode --
-- The newest approval of an episode, open or not.
SELECT * FROM approvals WHERE episode_id = :episode_id ORDER BY id DESC LIMIT 1;

-- open_approvals --
-- What waits for people.
SELECT * FROM approvals WHERE ended_at IS NULL ORDER BY id;

-- all_approvals --
-- For people: the newest first.
SELECT * FROM approvals ORDER BY id DESC LIMIT :limit;

-- approve --
-- A person agrees.
UPDATE approvals SET approved_by = :by, why = :why, answered_at = :now WHERE id = :id;

-- end_approval --
-- It is used up, or can no longer be.
UPDATE approvals SET ending = :ending, ended_at = :now, run_id = :run_id,
    why = coalesce(:why, why), answered_at = CASE WHEN :why IS NULL THEN answered_at ELSE :now END
WHERE id = :id AND ended_at IS NULL;

-- make_due --
-- Decide an episode again, now.
UPDATE episodes SET due_at = :now WHERE id = :id AND firing = 1;

-- insert_run --
-- A run as planned.
INSERT INTO runs (episode_id, policy, service, attempt, state, plan, plan_hash, token,
                  created_at, reason)
VALUES (:episode_id, :policy, :service, :attempt, 'planned', :plan, :plan_hash, :token,
        :now, :reason)
RETURNING id;

-- insert_lock --
-- One resource of a run.
INSERT INTO locks (resource, run_id, token, taken_at) VALUES (:resource, :run_id, :token, :now);

-- lock --
-- Who holds a resource.
SELECT * FROM locks WHERE resource = :resource;

-- locks_of_run --
-- How many resources a run holds with this token.
SELECT count(*) FROM locks WHERE run_id = :run_id AND token = :token;

-- release_locks --
-- A run ends.
DELETE FROM locks WHERE run_id = :run_id;

-- run --
-- One run.
SELECT * FROM runs WHERE id = :id;

-- run_of_attempt --
-- The run of an attempt.
SELECT id FROM runs WHERE episode_id = :episode_id AND policy = :policy AND attempt = :attempt;

-- open_run_of_episode --
-- The open run of an episode.
SELECT id FROM runs WHERE episode_id = :episode_id AND finished_at IS NULL;

-- open_runs --
-- Runs that have not ended, oldest first.
SELECT * FROM runs WHERE finished_at IS NULL ORDER BY id;

-- all_runs --
-- Every run, newest first.
SELECT * FROM runs ORDER BY id DESC LIMIT :limit;

-- runs_of_episode --
-- What was tried on an episode, in order.
SELECT * FROM runs WHERE episode_id = :episode_id ORDER BY id;

-- history --
-- Runs that guards count: open, created since, or of this episode; newest first. A clock that
-- was set back leaves runs of the future, which count too.
SELECT id, policy, service, plan -> 'resources' AS resources, state, created_at, finished_at,
       episode_id, attempt, acted_at,
       state = 'unknown' OR EXISTS (SELECT 1 FROM actions
                                    WHERE run_id = runs.id AND ended_at IS NULL) AS unknown
FROM runs WHERE id IN (SELECT id FROM runs WHERE created_at >= :since
                       UNION SELECT id FROM runs WHERE finished_at IS NULL
                       UNION SELECT id FROM runs WHERE episode_id = :episode_id)
ORDER BY created_at DESC, id DESC;

-- move_run --
-- A run's state, and the times that go with it.
UPDATE runs SET state = :state, reason = :reason, good_since = :good_since, detail = :detail,
                acting_at = :acting_at, acted_at = :acted_at, finished_at = :finished_at
WHERE id = :id;

-- run_acts --
-- An action begins.
UPDATE runs SET state = 'acting', acting_at = coalesce(acting_at, :now) WHERE id = :id;

-- action --
-- One action of a run.
SELECT * FROM actions WHERE run_id = :run_id AND idx = :idx;

-- actions --
-- What a run did, in order.
SELECT * FROM actions WHERE run_id = :run_id ORDER BY idx;

-- begin_action --
-- Durable before the effect.
INSERT INTO actions (run_id, idx, kind, target, begun_at)
VALUES (:run_id, :idx, :kind, :target, :now);

-- end_action --
-- What came of it.
UPDATE actions SET ended_at = :now, ok = :ok, started = :started, output = :output
WHERE run_id = :run_id AND idx = :idx;

-- escalate --
-- Once per episode; one that ended opens again when its episode fires again and fails again.
INSERT INTO escalations (episode_id, run_id, reason, labels, annotations, starts_at)
VALUES (:episode_id, :run_id, :reason, :labels, :annotations, :now)
ON CONFLICT (episode_id) DO UPDATE SET
    run_id = excluded.run_id, reason = excluded.reason, labels = excluded.labels,
    annotations = excluded.annotations, starts_at = excluded.starts_at, ended_at = NULL
WHERE ended_at IS NOT NULL
RETURNING id;

-- escalations --
-- What people are told, still.
SELECT * FROM escalations WHERE ended_at IS NULL ORDER BY id;

-- escalation_of_episode --
-- Whether and what people were told about an episode.
SELECT * FROM escalations WHERE episode_id = :episode_id;

-- end_escalation --
-- It is over.
UPDATE escalations SET ended_at = :now WHERE id = :id AND ended_at IS NULL RETURNING episode_id;

-- wanted --
-- How many instances there should be.
SELECT wanted FROM wanted WHERE service = :service;

-- set_wanted --
-- The loop scales.
INSERT INTO wanted (service, wanted, at) VALUES (:service, :wanted, :now)
ON CONFLICT (service) DO UPDATE SET wanted = excluded.wanted, at = excluded.at;

-- append_audit --
-- One more link of the chain.
INSERT INTO audit (id, at, kind, episode_id, run_id, body, prev, hash)
VALUES (:id, :at, :kind, :episode_id, :run_id, :body, :prev, :hash);

-- audit --
-- The chain from its beginning.
SELECT * FROM audit ORDER BY id;

-- audit_of_run --
-- What was written about a run and about the decision that made it.
SELECT * FROM audit WHERE run_id = :run_id ORDER BY id;

-- audit_of_episode --
-- What was written about an episode.
SELECT * FROM audit WHERE episode_id = :episode_id ORDER BY id;

-- notes --
-- What people wrote down or did, of one kind, newest first.
SELECT * FROM audit INDEXED BY audit_of_people
WHERE episode_id IS NULL AND run_id IS NULL AND kind = :kind AND at >= :since AND at <= :until
ORDER BY at DESC, id DESC LIMIT :limit;

-- counts --
-- Episodes by state, for the metrics.
SELECT state, count(*) FROM episodes WHERE state <> 'closed' GROUP BY state;

-- run_counts --
-- Runs by service, policy and state, and when the last of each ended (or began), for the metrics.
SELECT service, policy, state, count(*), max(coalesce(finished_at, created_at))
FROM runs GROUP BY service, policy, state;

-- oldest_audit --
-- From the beginning of the chain.
SELECT id, at, hash FROM audit ORDER BY id LIMIT :limit;

-- set_anchor --
-- Where the chain begins from now on.
UPDATE control SET anchor_id = :id, anchor_hash = :hash;

-- forget_audit --
-- Rows up to the anchor.
DELETE FROM audit WHERE id <= :id;

-- old_episodes --
-- What is closed, ended long ago, and has no open run.
SELECT id FROM episodes INDEXED BY episodes_ended
WHERE state = 'closed' AND ended_at < :before
  AND NOT EXISTS (SELECT 1 FROM runs WHERE episode_id = episodes.id AND finished_at IS NULL)
ORDER BY ended_at LIMIT :limit;

-- forget_actions --
-- Of the runs of old episodes.
DELETE FROM actions WHERE run_id IN (
    SELECT id FROM runs WHERE episode_id IN (SELECT value FROM json_each(:ids)));

-- forget_approvals --
-- Of old episodes.
DELETE FROM approvals WHERE episode_id IN (SELECT value FROM json_each(:ids));

-- forget_escalations --
-- Of old episodes.
DELETE FROM escalations WHERE episode_id IN (SELECT value FROM json_each(:ids));

-- forget_runs --
-- Of old episodes.
DELETE FROM runs WHERE episode_id IN (SELECT value FROM json_each(:ids));

-- forget_episodes --
-- The old episodes themselves.
DELETE FROM episodes WHERE id IN (SELECT value FROM json_each(:ids));
