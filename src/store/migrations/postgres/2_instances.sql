-- The instances that acknowledge revocations.
CREATE TABLE revocation_instances (
    id      text   COLLATE "C" PRIMARY KEY,
    -- What people call it.
    name    text   NOT NULL,
    -- How old its copy may be when it accepts a token, in microseconds.
    bound   bigint NOT NULL CHECK (bound > 0),
    -- Every cut-off up to here is in force there.
    applied bigint NOT NULL CHECK (applied >= 0),
    -- How often it was heard of, and when that was last, in microseconds since 1970.
    beats   bigint NOT NULL CHECK (beats > 0),
    beat_at bigint NOT NULL
) WITH (fillfactor = 50); -- so that a page has room for the versions of its rows
