-- The engine's durable state. The invariants stand here, so that no caller can break them.
-- Times are unix seconds (UTC) as REAL; `starts_ms` is in whole milliseconds, which is what
-- both of Alertmanager's interfaces agree on. JSON columns are canonical text.

-- One row: what is true of the engine as a whole.
CREATE TABLE control (
    id           INTEGER PRIMARY KEY CHECK (id = 1),
    paused       INTEGER NOT NULL DEFAULT 0 CHECK (paused IN (0, 1)),
    paused_why   TEXT NOT NULL DEFAULT '',
    paused_at    REAL,
    next_token   INTEGER NOT NULL DEFAULT 1 CHECK (next_token >= 1),  -- fencing tokens only grow
    lease_holder TEXT,
    lease_until  REAL,
    audit_id     INTEGER NOT NULL DEFAULT 0,   -- the last audit row, so that a cut-off end shows
    audit_hash   TEXT NOT NULL DEFAULT '0000000000000000000000000000000000000000000000000000000000000000',
    anchor_id    INTEGER NOT NULL DEFAULT 0,   -- the last audit row that was forgotten
    anchor_hash  TEXT NOT NULL DEFAULT '0000000000000000000000000000000000000000000000000000000000000000',
    CHECK ((paused = 1) = (paused_at IS NOT NULL)),
    CHECK ((lease_holder IS NULL) = (lease_until IS NULL))
) STRICT;
INSERT INTO control (id) VALUES (1);

-- One alert instance from firing to resolved.
CREATE TABLE episodes (
    id          INTEGER PRIMARY KEY,
    fingerprint TEXT NOT NULL CHECK (length(fingerprint) BETWEEN 1 AND 64),
    starts_ms   INTEGER NOT NULL CHECK (starts_ms >= 0),
    labels      TEXT NOT NULL CHECK (labels GLOB '{*}'),  -- json_type() would cost 4 us a row
    annotations TEXT NOT NULL CHECK (annotations GLOB '{*}'),
    firing      INTEGER NOT NULL CHECK (firing IN (0, 1)),
    state       TEXT NOT NULL
                CHECK (state IN ('new', 'running', 'healed', 'asked', 'escalated', 'watched',
                                 'closed')),
    first_seen  REAL NOT NULL,
    last_seen   REAL NOT NULL,
    ended_at    REAL,
    due_at      REAL,
    reason      TEXT NOT NULL DEFAULT '',
    service     TEXT,  -- these two are labels that are searched for
    policy      TEXT,
    rank        TEXT NOT NULL,  -- the severity, '~' without one: decided in this order
    UNIQUE (fingerprint, starts_ms),
    CHECK ((firing = 0) = (ended_at IS NOT NULL))
) STRICT;
CREATE INDEX episodes_due ON episodes (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX episodes_ranked ON episodes (rank, due_at, id) WHERE due_at IS NOT NULL;
CREATE INDEX episodes_firing ON episodes (id) WHERE firing = 1;
CREATE INDEX episodes_open ON episodes (id) WHERE state <> 'closed';
CREATE INDEX episodes_ended ON episodes (ended_at) WHERE state = 'closed';
CREATE INDEX episodes_of_service ON episodes (service, ended_at) WHERE service IS NOT NULL;
CREATE INDEX episodes_of_policy ON episodes (policy, service, id) WHERE policy IS NOT NULL;

-- One attempt of one policy on one episode.
CREATE TABLE runs (
    id          INTEGER PRIMARY KEY,
    episode_id  INTEGER NOT NULL REFERENCES episodes (id),
    policy      TEXT NOT NULL CHECK (policy <> ''),
    service     TEXT NOT NULL CHECK (service <> ''),
    attempt     INTEGER NOT NULL CHECK (attempt >= 0),
    state       TEXT NOT NULL CHECK (state IN ('planned', 'acting', 'verifying', 'unknown',
                                               'verified', 'failed', 'cancelled')),
    plan        TEXT NOT NULL CHECK (json_type(plan) = 'object'),
    plan_hash   TEXT NOT NULL CHECK (length(plan_hash) = 64),
    token       INTEGER NOT NULL UNIQUE,
    created_at  REAL NOT NULL,
    acting_at   REAL,
    acted_at    REAL,
    finished_at REAL,
    good_since  REAL,
    reason      TEXT NOT NULL DEFAULT '',
    detail      TEXT NOT NULL DEFAULT '{}' CHECK (json_type(detail) = 'object'),
    UNIQUE (episode_id, policy, attempt),  -- at most once
    CHECK ((state IN ('verified', 'failed', 'cancelled')) = (finished_at IS NOT NULL)),
    CHECK (state <> 'acting' OR acting_at IS NOT NULL)
) STRICT;
CREATE UNIQUE INDEX runs_one_open_per_episode ON runs (episode_id) WHERE finished_at IS NULL;
CREATE INDEX runs_open ON runs (id) WHERE finished_at IS NULL;
CREATE INDEX runs_created ON runs (created_at);

CREATE TRIGGER runs_stay_finished BEFORE UPDATE ON runs WHEN OLD.finished_at IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'a finished run does not change'); END;
CREATE TRIGGER runs_keep_their_plan BEFORE UPDATE ON runs
WHEN NEW.plan IS NOT OLD.plan OR NEW.plan_hash IS NOT OLD.plan_hash OR NEW.token IS NOT OLD.token
BEGIN SELECT RAISE(ABORT, 'the plan and the token of a run do not change'); END;

-- What open runs hold: one run at a time per resource, with the token that proves it.
CREATE TABLE locks (
    resource TEXT PRIMARY KEY CHECK (resource <> ''),
    run_id   INTEGER NOT NULL REFERENCES runs (id),
    token    INTEGER NOT NULL,
    taken_at REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX locks_of_run ON locks (run_id);

CREATE TRIGGER locks_for_open_runs BEFORE INSERT ON locks
WHEN NOT EXISTS (SELECT 1 FROM runs
                 WHERE id = NEW.run_id AND token = NEW.token AND finished_at IS NULL)
BEGIN SELECT RAISE(ABORT, 'only an open run takes locks, with its own token'); END;
CREATE TRIGGER runs_release_first BEFORE UPDATE OF finished_at ON runs
WHEN NEW.finished_at IS NOT NULL AND EXISTS (SELECT 1 FROM locks WHERE run_id = NEW.id)
BEGIN SELECT RAISE(ABORT, 'a run that ends releases its locks first'); END;

-- What was done: begun before the effect, ended after it. One without an end may be half done,
-- and is never begun again: a further attempt is a run of its own.
CREATE TABLE actions (
    run_id   INTEGER NOT NULL REFERENCES runs (id),
    idx      INTEGER NOT NULL CHECK (idx >= 0),
    kind     TEXT NOT NULL,
    target   TEXT NOT NULL CHECK (target <> ''),
    begun_at REAL NOT NULL,
    ended_at REAL,
    ok       INTEGER CHECK (ok IN (0, 1)),
    started  INTEGER CHECK (started IN (0, 1)),
    output   TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (run_id, idx),
    CHECK ((ended_at IS NULL) = (ok IS NULL) AND (ended_at IS NULL) = (started IS NULL))
) STRICT, WITHOUT ROWID;

CREATE TRIGGER actions_paused BEFORE INSERT ON actions
WHEN (SELECT paused FROM control) = 1
BEGIN SELECT RAISE(ABORT, 'paused: no action begins'); END;
CREATE TRIGGER actions_in_order BEFORE INSERT ON actions
WHEN NEW.idx > 0 AND NOT EXISTS (SELECT 1 FROM actions
                                 WHERE run_id = NEW.run_id AND idx = NEW.idx - 1 AND ok = 1)
BEGIN SELECT RAISE(ABORT, 'the action before this one has not succeeded'); END;
CREATE TRIGGER actions_hold_their_locks BEFORE INSERT ON actions
WHEN (SELECT count(*) FROM locks JOIN runs ON runs.id = locks.run_id AND runs.token = locks.token
      WHERE runs.id = NEW.run_id)
  <> (SELECT count(DISTINCT j.value) FROM runs, json_each(runs.plan, '$.resources') AS j
      WHERE runs.id = NEW.run_id)
BEGIN SELECT RAISE(ABORT, 'an action needs the locks of its run'); END;
CREATE TRIGGER actions_of_open_runs BEFORE INSERT ON actions
WHEN (SELECT finished_at FROM runs WHERE id = NEW.run_id) IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'a finished run does not act'); END;
CREATE TRIGGER actions_stay BEFORE UPDATE ON actions
WHEN OLD.ended_at IS NOT NULL OR NEW.begun_at <> OLD.begun_at
BEGIN SELECT RAISE(ABORT, 'an action begins once and ends once'); END;

CREATE TRIGGER runs_verified_were_looked_at BEFORE UPDATE ON runs
WHEN NEW.state = 'verified' AND OLD.state NOT IN ('verifying', 'unknown')
BEGIN SELECT RAISE(ABORT, 'only a run that has acted is verified'); END;
CREATE TRIGGER runs_cancelled_did_nothing BEFORE UPDATE ON runs
WHEN NEW.state = 'cancelled' AND EXISTS (SELECT 1 FROM actions
                                        WHERE run_id = NEW.id AND kind <> 'check')
BEGIN SELECT RAISE(ABORT, 'a run that began an action is not cancelled'); END;
CREATE TRIGGER runs_cut_short_are_unknown BEFORE UPDATE ON runs
WHEN NEW.state IN ('verifying', 'verified', 'failed') AND OLD.state IN ('planned', 'acting')
 AND EXISTS (SELECT 1 FROM actions WHERE run_id = NEW.id AND ended_at IS NULL)
BEGIN SELECT RAISE(ABORT, 'a run whose action has no end is unknown first'); END;

-- Plans that wait for a person: bound to the plan, for one use, until they expire.
CREATE TABLE approvals (
    id          INTEGER PRIMARY KEY,
    episode_id  INTEGER NOT NULL REFERENCES episodes (id),
    plan        TEXT NOT NULL CHECK (json_type(plan) = 'object'),
    plan_hash   TEXT NOT NULL CHECK (length(plan_hash) = 64),
    asked_at    REAL NOT NULL,
    expires_at  REAL NOT NULL CHECK (expires_at > asked_at),
    approved_by TEXT NOT NULL DEFAULT '',
    why         TEXT NOT NULL DEFAULT '',
    answered_at REAL,
    ending      TEXT CHECK (ending IN ('used', 'rejected', 'expired', 'void', 'over')),
    ended_at    REAL,
    run_id      INTEGER UNIQUE REFERENCES runs (id),
    CHECK ((ending IS NULL) = (ended_at IS NULL)),
    CHECK ((ending IS 'used') = (run_id IS NOT NULL)),
    CHECK (approved_by = '' OR answered_at IS NOT NULL),
    CHECK (ending IS NOT 'used' OR (approved_by <> '' AND ended_at < expires_at))
) STRICT;
CREATE UNIQUE INDEX approvals_one_open ON approvals (episode_id) WHERE ended_at IS NULL;
CREATE INDEX approvals_of_episode ON approvals (episode_id, id);

CREATE TRIGGER approvals_end_once BEFORE UPDATE ON approvals WHEN OLD.ended_at IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'an approval that ended does not change'); END;
CREATE TRIGGER approvals_keep_their_plan BEFORE UPDATE ON approvals
WHEN NEW.plan IS NOT OLD.plan OR NEW.plan_hash IS NOT OLD.plan_hash
  OR NEW.episode_id IS NOT OLD.episode_id OR NEW.expires_at IS NOT OLD.expires_at
  OR (OLD.approved_by <> '' AND NEW.approved_by IS NOT OLD.approved_by)
BEGIN SELECT RAISE(ABORT, 'what was put before people does not change'); END;
CREATE TRIGGER approvals_are_used_by_their_plan BEFORE UPDATE OF run_id ON approvals
WHEN NEW.run_id IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM runs WHERE id = NEW.run_id AND plan_hash = OLD.plan_hash
                         AND episode_id = OLD.episode_id)
BEGIN SELECT RAISE(ABORT, 'an approval is for the plan that was shown'); END;

-- People were told: one per episode. It ends when the episode does, and opens again with it.
CREATE TABLE escalations (
    id          INTEGER PRIMARY KEY,
    episode_id  INTEGER NOT NULL UNIQUE REFERENCES episodes (id),
    run_id      INTEGER REFERENCES runs (id),
    reason      TEXT NOT NULL,
    labels      TEXT NOT NULL CHECK (json_type(labels) = 'object'),
    annotations TEXT NOT NULL CHECK (json_type(annotations) = 'object'),
    starts_at   REAL NOT NULL,
    ended_at    REAL
) STRICT;
CREATE INDEX escalations_open ON escalations (id) WHERE ended_at IS NULL;

-- How many instances of a service there should be, where the loop changed it.
CREATE TABLE wanted (
    service TEXT PRIMARY KEY CHECK (service <> ''),
    wanted  INTEGER NOT NULL CHECK (wanted >= 0),
    at      REAL NOT NULL
) STRICT, WITHOUT ROWID;

-- Every decision and change with its reason: append-only, each row bound to the one before.
CREATE TABLE audit (
    id         INTEGER PRIMARY KEY,
    at         REAL NOT NULL,
    kind       TEXT NOT NULL CHECK (kind <> ''),
    episode_id INTEGER,
    run_id     INTEGER,
    body       TEXT NOT NULL CHECK (json_type(body) = 'object'),
    prev       TEXT NOT NULL CHECK (length(prev) = 64),
    hash       TEXT NOT NULL UNIQUE CHECK (length(hash) = 64)
) STRICT;
CREATE INDEX audit_of_run ON audit (run_id) WHERE run_id IS NOT NULL;
CREATE INDEX audit_of_episode ON audit (episode_id) WHERE episode_id IS NOT NULL;
CREATE INDEX audit_of_people ON audit (kind, at) WHERE episode_id IS NULL AND run_id IS NULL;

CREATE TRIGGER audit_continues BEFORE INSERT ON audit
WHEN NEW.id <> (SELECT audit_id + 1 FROM control) OR NEW.prev <> (SELECT audit_hash FROM control)
BEGIN SELECT RAISE(ABORT, 'an audit row continues the chain'); END;
CREATE TRIGGER audit_head AFTER INSERT ON audit
BEGIN UPDATE control SET audit_id = NEW.id, audit_hash = NEW.hash; END;
CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'audit rows do not change'); END;
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit
WHEN OLD.id > (SELECT anchor_id FROM control)
BEGIN SELECT RAISE(ABORT, 'audit rows stay'); END;
-- The anchor only moves on, to a row that is there: the chain is cut at its beginning alone.
CREATE TRIGGER audit_anchor BEFORE UPDATE OF anchor_id, anchor_hash ON control
WHEN NEW.anchor_id <= OLD.anchor_id OR NOT EXISTS (
    SELECT 1 FROM audit WHERE id = NEW.anchor_id AND hash = NEW.anchor_hash)
BEGIN SELECT RAISE(ABORT, 'the anchor moves on to an audit row that is there'); END;
