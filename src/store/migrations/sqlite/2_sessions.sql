-- Refresh tokens, devices, and a limit for sessions that are not used. Columns are added, and the
-- table stays: tables and triggers of the application may refer to it.

-- When it last got a refresh token, in microseconds since 1970.
ALTER TABLE revocation_sessions ADD COLUMN refreshed_at INTEGER NOT NULL DEFAULT 0;
-- The counter of the current refresh token. Nothing about it is secret.
ALTER TABLE revocation_sessions ADD COLUMN counter INTEGER NOT NULL DEFAULT 0 CHECK (counter >= 0);
-- Refresh tokens with a counter below are void.
ALTER TABLE revocation_sessions ADD COLUMN void_below INTEGER NOT NULL DEFAULT 0
    CHECK (void_below BETWEEN 0 AND counter);
-- When those before the current one were spent, newest first: a JSON array of microseconds since
-- 1970, as far back as the grace time needs it.
ALTER TABLE revocation_sessions ADD COLUMN spent TEXT NOT NULL DEFAULT '[]';
-- The device, in the words of the client.
ALTER TABLE revocation_sessions ADD COLUMN label TEXT;
ALTER TABLE revocation_sessions ADD COLUMN ip TEXT;
ALTER TABLE revocation_sessions ADD COLUMN user_agent TEXT;

-- Nobody knows when these were used last.
UPDATE revocation_sessions SET refreshed_at = max(began, unixepoch() * 1000000);

CREATE INDEX revocation_sessions_user ON revocation_sessions (user);
CREATE INDEX revocation_sessions_refreshed_at ON revocation_sessions (refreshed_at);
