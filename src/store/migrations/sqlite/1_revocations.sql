-- The order of revocations: one row. Whoever seals a revocation holds its lock.
CREATE TABLE revocation_clock (
    one     INTEGER PRIMARY KEY CHECK (one = 1),
    db_uuid TEXT    NOT NULL,
    -- The highest cut-off ever issued, in microseconds since 1970.
    newest  INTEGER NOT NULL CHECK (newest >= 0),
    -- The floor: the highest cut-offs that were purged. Every token at or below is revoked.
    purged_reissue_before INTEGER NOT NULL CHECK (purged_reissue_before >= 0),
    purged_login_before   INTEGER NOT NULL CHECK (purged_login_before >= 0)
) STRICT;
INSERT INTO revocation_clock VALUES (1, lower(hex(randomblob(16))), 0, 0, 0);

-- The cut-offs. All times are microseconds since 1970; 0 stands for none.
CREATE TABLE revocations (
    scope          TEXT    NOT NULL CHECK (scope IN ('everyone', 'group', 'user', 'session', 'token')),
    subject        TEXT    NOT NULL CHECK ((subject = '') = (scope = 'everyone')),
    reissue_before INTEGER NOT NULL DEFAULT 0 CHECK (reissue_before >= 0),
    login_before   INTEGER NOT NULL DEFAULT 0 CHECK (login_before >= 0),
    cleared_at     INTEGER NOT NULL DEFAULT 0 CHECK (cleared_at >= 0),
    -- The point of store time of the last change: what polls ask for.
    changed_at     INTEGER NOT NULL CHECK (changed_at >= 0),
    PRIMARY KEY (scope, subject)
) STRICT, WITHOUT ROWID;
CREATE INDEX revocations_changed_at ON revocations (changed_at);

-- Revocations written inside somebody's transaction, to be sealed after its commit.
-- Any service may insert here: (scope, subject, demand) is enough.
CREATE TABLE revocation_requests (
    seq            INTEGER PRIMARY KEY AUTOINCREMENT,
    id             TEXT    NOT NULL UNIQUE DEFAULT (lower(hex(randomblob(16)))),
    scope          TEXT    NOT NULL CHECK (scope IN ('everyone', 'group', 'user', 'session', 'token')),
    subject        TEXT    NOT NULL DEFAULT '',
    demand         TEXT    NOT NULL CHECK (demand IN ('refresh', 'login')),
    -- The session that "all others but me" spares.
    spared         TEXT,
    -- The cut-off, once sealed; the newest one, once refused.
    revoked_before INTEGER,
    -- Why it was refused, where the subject can be no token's.
    refused        TEXT
) STRICT;
CREATE INDEX revocation_requests_pending ON revocation_requests (seq)
    WHERE revoked_before IS NULL;
CREATE INDEX revocation_requests_done ON revocation_requests (revoked_before)
    WHERE revoked_before IS NOT NULL;

-- One login on one device.
CREATE TABLE revocation_sessions (
    id         TEXT    PRIMARY KEY,
    user       TEXT    NOT NULL,
    -- The groups of its last token, a JSON array.
    groups     TEXT    NOT NULL,
    began      INTEGER NOT NULL,
    last_stamp INTEGER NOT NULL
) STRICT;
CREATE INDEX revocation_sessions_began ON revocation_sessions (began);

-- Who cleared which cut-off, and why.
CREATE TABLE revocation_audit (
    seq            INTEGER PRIMARY KEY AUTOINCREMENT,
    cleared_at     INTEGER NOT NULL,
    scope          TEXT    NOT NULL,
    subject        TEXT    NOT NULL,
    reissue_before INTEGER NOT NULL,
    login_before   INTEGER NOT NULL,
    cleared_by     TEXT    NOT NULL,
    reason         TEXT    NOT NULL
) STRICT;
