-- Refresh tokens, devices, and a limit for sessions that are not used.
CREATE TABLE revocation_sessions_2 (
    id           TEXT    PRIMARY KEY,
    user         TEXT    NOT NULL,
    -- The groups of its last token, a JSON array.
    groups       TEXT    NOT NULL,
    -- When it was logged in and when it last got a refresh token, in microseconds since 1970.
    began        INTEGER NOT NULL,
    refreshed_at INTEGER NOT NULL,
    last_stamp   INTEGER NOT NULL,
    -- The counter of the current refresh token. Nothing about it is secret.
    counter      INTEGER NOT NULL CHECK (counter >= 0),
    -- Refresh tokens with a counter below are void.
    void_below   INTEGER NOT NULL CHECK (void_below BETWEEN 0 AND counter),
    -- When those before the current one were spent, newest first: a JSON array of microseconds
    -- since 1970, as far back as the grace time needs it.
    spent        TEXT    NOT NULL,
    -- The device, in the words of the client.
    label        TEXT,
    ip           TEXT,
    user_agent   TEXT
) STRICT;
INSERT INTO revocation_sessions_2
    (id, user, groups, began, refreshed_at, last_stamp, counter, void_below, spent)
    SELECT id, user, groups, began, began, last_stamp, 0, 0, '[]' FROM revocation_sessions;
DROP TABLE revocation_sessions;
ALTER TABLE revocation_sessions_2 RENAME TO revocation_sessions;
CREATE INDEX revocation_sessions_user ON revocation_sessions (user);
CREATE INDEX revocation_sessions_began ON revocation_sessions (began);
CREATE INDEX revocation_sessions_refreshed_at ON revocation_sessions (refreshed_at);
