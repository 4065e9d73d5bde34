-- The instances that acknowledge revocations.
CREATE TABLE revocation_instances (
    id      TEXT    NOT NULL PRIMARY KEY,
    -- What people call it.
    name    TEXT    NOT NULL,
    -- How old its copy may be when it accepts a token, in microseconds.
    bound   INTEGER NOT NULL CHECK (bound > 0),
    -- Every cut-off up to here is in force there.
    applied INTEGER NOT NULL CHECK (applied >= 0),
    -- How often it was heard of, and when that was last, in microseconds since 1970.
    beats   INTEGER NOT NULL CHECK (beats > 0),
    beat_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
