PRAGMA application_id = 1869638768;
PRAGMA user_version = 1;
BEGIN TRANSACTION;
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
INSERT INTO "actions" VALUES(1,0,'restart','api:api-1',102.0,103.0,1,1,'restarted');
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
INSERT INTO "approvals" VALUES(1,3,'{"actions":[{"address":"127.0.0.1:8000","health":"/healthz","idempotent":true,"kind":"restart","limit_s":60.0,"service":"api","stop_wait_s":0.0,"target":"api:api-2","wanted":0}],"policy":"restart-down","resources":["api:api-2"],"rung":0,"service":"api"}','9ec2347f7360e3fad959574157659466e2e828a5b71bf35f2310aab60cdcc432',141.0,9000000000.0,'','',NULL,NULL,NULL,NULL);
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
INSERT INTO "audit" VALUES(1,101.0,'decision',1,1,'{"attempt":0,"due_at":null,"guards":[{"answer":"pass","guard":"mode","reason":"auto"},{"answer":"pass","guard":"paused","reason":""}],"kind":"act","plan":{"actions":[{"address":"127.0.0.1:8000","health":"/healthz","idempotent":true,"kind":"restart","limit_s":60.0,"service":"api","stop_wait_s":0.0,"target":"api:api-1","wanted":0}],"policy":"restart-down","resources":["api:api-1"],"rung":0,"service":"api"},"plan_hash":"cc3bbe1abad8c594ac0dbca976adac6d5014de7521bf934ac54e379f4d4d324f","reason":"it is down","situation":{"now":1.5},"state":"running"}','0000000000000000000000000000000000000000000000000000000000000000','44b3c465d3e629bb67c61741d93c581893c5031bf2a5df10095ec6d114cd2352');
INSERT INTO "audit" VALUES(2,102.0,'action',1,1,'{"action":0,"do":"restart","target":"api:api-1"}','44b3c465d3e629bb67c61741d93c581893c5031bf2a5df10095ec6d114cd2352','cf70a364b23167c558886796245ec456981c4a253f7227757b36dfa9243ac0e2');
INSERT INTO "audit" VALUES(3,103.0,'action-end',1,1,'{"action":0,"ok":true,"output":"restarted","started":true}','cf70a364b23167c558886796245ec456981c4a253f7227757b36dfa9243ac0e2','7feb0e75a5e013d43f4d194dfd00c9b0f940c4b5391566e88f9959cfada9dd7c');
INSERT INTO "audit" VALUES(4,104.0,'run',1,1,'{"from":"acting","reason":"acted","to":"verifying"}','7feb0e75a5e013d43f4d194dfd00c9b0f940c4b5391566e88f9959cfada9dd7c','f952a13ff5018335f32d4f4761932f4126603757356e2f3a1dda692d7ad573ab');
INSERT INTO "audit" VALUES(5,120.0,'run',1,1,'{"from":"verifying","reason":"healed","to":"verified"}','f952a13ff5018335f32d4f4761932f4126603757356e2f3a1dda692d7ad573ab','7e2b29ab316d1c85842cc4416f938278156df716abf6e8ad72d414fa54517610');
INSERT INTO "audit" VALUES(6,131.0,'decision',2,2,'{"attempt":0,"due_at":null,"guards":[{"answer":"pass","guard":"mode","reason":"auto"},{"answer":"pass","guard":"paused","reason":""}],"kind":"act","plan":{"actions":[{"address":"127.0.0.1:8000","health":"/healthz","idempotent":true,"kind":"restart","limit_s":60.0,"service":"api","stop_wait_s":0.0,"target":"api:api-0","wanted":0}],"policy":"restart-down","resources":["api:api-0"],"rung":0,"service":"api"},"plan_hash":"dc78ed99c1c88d206ca8b678a285e5178bf6b3de66e0c58f75cee2fe0b816815","reason":"it is down","situation":{"now":1.5},"state":"running"}','7e2b29ab316d1c85842cc4416f938278156df716abf6e8ad72d414fa54517610','f724b5ecc87fb84f8b8c3642a6dd9f5a6a6e9fc52ba8ab5d12de4d8f5624f398');
INSERT INTO "audit" VALUES(7,141.0,'decision',3,NULL,'{"attempt":0,"due_at":110.0,"guards":[{"answer":"pass","guard":"mode","reason":"approve"}],"kind":"ask","plan":{"actions":[{"address":"127.0.0.1:8000","health":"/healthz","idempotent":true,"kind":"restart","limit_s":60.0,"service":"api","stop_wait_s":0.0,"target":"api:api-2","wanted":0}],"policy":"restart-down","resources":["api:api-2"],"rung":0,"service":"api"},"plan_hash":"9ec2347f7360e3fad959574157659466e2e828a5b71bf35f2310aab60cdcc432","reason":"a person has to approve","state":"asked"}','f724b5ecc87fb84f8b8c3642a6dd9f5a6a6e9fc52ba8ab5d12de4d8f5624f398','13429e35ccf78afe560bc8c062b0b95981495b7f48cda8cc18190f108a6f5993');
INSERT INTO "audit" VALUES(8,141.0,'approval-needed',3,NULL,'{"approval":1,"expires_at":9000000000.0,"plan_hash":"9ec2347f7360e3fad959574157659466e2e828a5b71bf35f2310aab60cdcc432"}','13429e35ccf78afe560bc8c062b0b95981495b7f48cda8cc18190f108a6f5993','40de5e00281ae2537b3365abf9667f13cb8252a4455535d334de7cda2573fc51');
INSERT INTO "audit" VALUES(9,143.0,'escalation',4,NULL,'{"labels":{"service":"api"},"reason":"a guard refused"}','40de5e00281ae2537b3365abf9667f13cb8252a4455535d334de7cda2573fc51','59440d4d91d459d4c065fcfa2eecba687df5193b1d700c08de5ffbd97f2e190f');
INSERT INTO "audit" VALUES(10,145.0,'wanted',NULL,NULL,'{"service":"api","wanted":3}','59440d4d91d459d4c065fcfa2eecba687df5193b1d700c08de5ffbd97f2e190f','084b9e898b2de4d61c2f775eb91237c0e06b2cf4d533bb2f212ab6b56ae67057');
INSERT INTO "audit" VALUES(11,150.0,'pause',NULL,NULL,'{"why":"a person"}','084b9e898b2de4d61c2f775eb91237c0e06b2cf4d533bb2f212ab6b56ae67057','5acf3bc31b5bf4c401758fdb4d944119ef1f41e6ef95551d394eeaea9fb72818');
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
INSERT INTO "control" VALUES(1,1,'a person',150.0,3,NULL,NULL,11,'5acf3bc31b5bf4c401758fdb4d944119ef1f41e6ef95551d394eeaea9fb72818',0,'0000000000000000000000000000000000000000000000000000000000000000');
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
INSERT INTO "episodes" VALUES(1,'healed',1700000000125,'{"alertname":"ServiceDown","policy":"restart-down","service":"api","severity":"P0"}','{"summary":"it is down"}',1,'running',100.0,100.0,NULL,NULL,'it is down','api','restart-down','P0');
INSERT INTO "episodes" VALUES(2,'open',1700000000125,'{"alertname":"ServiceDown","policy":"restart-down","service":"api","severity":"P0"}','{"summary":"it is down"}',1,'running',130.0,130.0,NULL,NULL,'it is down','api','restart-down','P0');
INSERT INTO "episodes" VALUES(3,'asked',1700000000125,'{"alertname":"ServiceDown","policy":"restart-down","service":"api","severity":"P0"}','{"summary":"it is down"}',1,'asked',140.0,140.0,NULL,110.0,'a person has to approve','api','restart-down','P0');
INSERT INTO "episodes" VALUES(4,'told',1700000000125,'{"alertname":"ServiceDown","policy":"restart-down","service":"api","severity":"P0"}','{"summary":"it is down"}',1,'new',142.0,142.0,NULL,142.0,'','api','restart-down','P0');
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
INSERT INTO "escalations" VALUES(1,4,NULL,'a guard refused','{"service":"api"}','{"summary":"down"}',143.0,NULL);
CREATE TABLE locks (
    resource TEXT PRIMARY KEY CHECK (resource <> ''),
    run_id   INTEGER NOT NULL REFERENCES runs (id),
    token    INTEGER NOT NULL,
    taken_at REAL NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "locks" VALUES('api:api-0',2,2,131.0);
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
INSERT INTO "runs" VALUES(1,1,'restart-down','api',0,'verified','{"actions":[{"address":"127.0.0.1:8000","health":"/healthz","idempotent":true,"kind":"restart","limit_s":60.0,"service":"api","stop_wait_s":0.0,"target":"api:api-1","wanted":0}],"policy":"restart-down","resources":["api:api-1"],"rung":0,"service":"api"}','cc3bbe1abad8c594ac0dbca976adac6d5014de7521bf934ac54e379f4d4d324f',1,101.0,102.0,104.0,120.0,105.0,'healed','{}');
INSERT INTO "runs" VALUES(2,2,'restart-down','api',0,'planned','{"actions":[{"address":"127.0.0.1:8000","health":"/healthz","idempotent":true,"kind":"restart","limit_s":60.0,"service":"api","stop_wait_s":0.0,"target":"api:api-0","wanted":0}],"policy":"restart-down","resources":["api:api-0"],"rung":0,"service":"api"}','dc78ed99c1c88d206ca8b678a285e5178bf6b3de66e0c58f75cee2fe0b816815',2,131.0,NULL,NULL,NULL,NULL,'it is down','{}');
CREATE TABLE wanted (
    service TEXT PRIMARY KEY CHECK (service <> ''),
    wanted  INTEGER NOT NULL CHECK (wanted >= 0),
    at      REAL NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "wanted" VALUES('api',3,145.0);
CREATE INDEX episodes_due ON episodes (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX episodes_ranked ON episodes (rank, due_at, id) WHERE due_at IS NOT NULL;
CREATE INDEX episodes_firing ON episodes (id) WHERE firing = 1;
CREATE INDEX episodes_open ON episodes (id) WHERE state <> 'closed';
CREATE INDEX episodes_ended ON episodes (ended_at) WHERE state = 'closed';
CREATE INDEX episodes_of_service ON episodes (service, ended_at) WHERE service IS NOT NULL;
CREATE INDEX episodes_of_policy ON episodes (policy, service, id) WHERE policy IS NOT NULL;
CREATE UNIQUE INDEX runs_one_open_per_episode ON runs (episode_id) WHERE finished_at IS NULL;
CREATE INDEX runs_open ON runs (id) WHERE finished_at IS NULL;
CREATE INDEX runs_created ON runs (created_at);
CREATE TRIGGER runs_stay_finished BEFORE UPDATE ON runs WHEN OLD.finished_at IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'a finished run does not change'); END;
CREATE TRIGGER runs_keep_their_plan BEFORE UPDATE ON runs
WHEN NEW.plan IS NOT OLD.plan OR NEW.plan_hash IS NOT OLD.plan_hash OR NEW.token IS NOT OLD.token
BEGIN SELECT RAISE(ABORT, 'the plan and the token of a run do not change'); END;
CREATE INDEX locks_of_run ON locks (run_id);
CREATE TRIGGER locks_for_open_runs BEFORE INSERT ON locks
WHEN NOT EXISTS (SELECT 1 FROM runs
                 WHERE id = NEW.run_id AND token = NEW.token AND finished_at IS NULL)
BEGIN SELECT RAISE(ABORT, 'only an open run takes locks, with its own token'); END;
CREATE TRIGGER runs_release_first BEFORE UPDATE OF finished_at ON runs
WHEN NEW.finished_at IS NOT NULL AND EXISTS (SELECT 1 FROM locks WHERE run_id = NEW.id)
BEGIN SELECT RAISE(ABORT, 'a run that ends releases its locks first'); END;
CREATE TRIGGER actions_paused BEFORE INSERT ON actions
WHEN (SELECT paused FROM control) = 1
BEGIN SELECT RAISE(ABORT, 'paused: no action begins'); END;
CREATE TRIGGER actions_in_order BEFORE INSERT ON actions
WHEN NEW.idx > 0 AND NOT EXISTS (SELECT 1 FROM actions
                                 WHERE run_id = NEW.run_id AND idx = NEW.idx - 1 AND ok = 1)
BEGIN SELECT RAISE(ABORT, 'the action before this one has not succeeded'); END;
CREATE TRIGGER actions_of_open_runs BEFORE INSERT ON actions
WHEN (SELECT finished_at FROM runs WHERE id = NEW.run_id) IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'a finished run does not act'); END;
CREATE TRIGGER actions_stay BEFORE UPDATE ON actions
WHEN OLD.ended_at IS NOT NULL OR NEW.begun_at <> OLD.begun_at
BEGIN SELECT RAISE(ABORT, 'an action begins once and ends once'); END;
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
CREATE INDEX escalations_open ON escalations (id) WHERE ended_at IS NULL;
CREATE INDEX audit_of_run ON audit (run_id) WHERE run_id IS NOT NULL;
CREATE INDEX audit_of_episode ON audit (episode_id) WHERE episode_id IS NOT NULL;
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
CREATE TRIGGER audit_anchor BEFORE UPDATE OF anchor_id, anchor_hash ON control
WHEN NEW.anchor_id <= OLD.anchor_id OR NOT EXISTS (
    SELECT 1 FROM audit WHERE id = NEW.anchor_id AND hash = NEW.anchor_hash)
BEGIN SELECT RAISE(ABORT, 'the anchor moves on to an audit row that is there'); END;
COMMIT;
