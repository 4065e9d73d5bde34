-- All times are microseconds since 1970; 0 stands for none.

-- The order of revocations: one row. Whoever seals a revocation holds its lock.
CREATE TABLE revocation_clock (
    one     boolean PRIMARY KEY DEFAULT true CHECK (one),
    db_uuid text    NOT NULL,
    -- The highest cut-off ever issued.
    newest  bigint  NOT NULL CHECK (newest >= 0),
    -- The floor: the highest cut-offs that were purged. Every token at or below is revoked.
    purged_reissue_before bigint NOT NULL CHECK (purged_reissue_before >= 0),
    purged_login_before   bigint NOT NULL CHECK (purged_login_before >= 0)
) WITH (fillfactor = 10); -- so that its page has room for the versions of its row
INSERT INTO revocation_clock VALUES (true, gen_random_uuid()::text, 0, 0, 0);

-- When the primary was last known to be alive. Standbys see it late, and so know how late they are.
CREATE TABLE revocation_heartbeat (
    one     boolean PRIMARY KEY DEFAULT true CHECK (one),
    beat_at bigint  NOT NULL
) WITH (fillfactor = 10);
INSERT INTO revocation_heartbeat VALUES (true, 0);

-- The cut-offs.
CREATE TABLE revocations (
    scope          text   COLLATE "C" NOT NULL CHECK (scope IN ('everyone', 'group', 'user', 'session', 'token')),
    subject        text   COLLATE "C" NOT NULL CHECK ((subject = '') = (scope = 'everyone')),
    reissue_before bigint NOT NULL DEFAULT 0 CHECK (reissue_before >= 0),
    login_before   bigint NOT NULL DEFAULT 0 CHECK (login_before >= 0),
    cleared_at     bigint NOT NULL DEFAULT 0 CHECK (cleared_at >= 0),
    -- The point of store time of the last change: what polls ask for.
    changed_at     bigint NOT NULL CHECK (changed_at >= 0),
    CONSTRAINT revocations_pkey PRIMARY KEY (scope, subject)
);
CREATE INDEX revocations_changed_at ON revocations (changed_at);

-- Revocations written inside somebody's transaction, to be sealed after its commit.
-- Any service may insert here: (scope, subject, demand) is enough.
CREATE TABLE revocation_requests (
    seq            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id             text   COLLATE "C" NOT NULL UNIQUE DEFAULT (gen_random_uuid()::text),
    scope          text   NOT NULL CHECK (scope IN ('everyone', 'group', 'user', 'session', 'token')),
    subject        text   NOT NULL DEFAULT '',
    demand         text   NOT NULL CHECK (demand IN ('refresh', 'login')),
    -- The session that "all others but me" spares.
    spared         text,
    -- The cut-off, once sealed; the newest one, once refused.
    revoked_before bigint,
    -- Why it was refused, where the subject can be no token's.
    refused        text
);
CREATE INDEX revocation_requests_pending ON revocation_requests (seq) WHERE revoked_before IS NULL;
CREATE INDEX revocation_requests_done ON revocation_requests (revoked_before)
    WHERE revoked_before IS NOT NULL;

-- One login on one device.
CREATE TABLE revocation_sessions (
    id           text   COLLATE "C" PRIMARY KEY,
    user_id      text   COLLATE "C" NOT NULL,
    -- The groups of its last token.
    groups       text[] NOT NULL,
    began        bigint NOT NULL,
    -- When it last got a refresh token.
    refreshed_at bigint NOT NULL,
    last_stamp   bigint NOT NULL,
    -- The counter of the current refresh token. Nothing about it is secret.
    counter      bigint NOT NULL CHECK (counter >= 0),
    -- Refresh tokens with a counter below are void.
    void_below   bigint NOT NULL CHECK (void_below BETWEEN 0 AND counter),
    -- When those before the current one were spent, newest first, as far back as the grace time
    -- needs it.
    spent        bigint[] NOT NULL,
    -- The device, in the words of the client.
    label        text,
    ip           text,
    user_agent   text
);
CREATE INDEX revocation_sessions_user ON revocation_sessions (user_id);
CREATE INDEX revocation_sessions_began ON revocation_sessions (began);
CREATE INDEX revocation_sessions_refreshed_at ON revocation_sessions (refreshed_at);

-- Who cleared which cut-off, and why.
CREATE TABLE revocation_audit (
    seq            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    cleared_at     bigint NOT NULL,
    scope          text   NOT NULL,
    subject        text   NOT NULL,
    reissue_before bigint NOT NULL,
    login_before   bigint NOT NULL,
    cleared_by     text   NOT NULL,
    reason         text   NOT NULL
);

-- Revokes with one statement, from any service in any language:
--
--     SELECT revocation_revoke('user', 'alice', 'login');
--
-- Every token of the scope that was issued until now is revoked once the transaction commits; the
-- result is the cut-off. For a subject that is not plain ASCII it is NULL: tokens spell it in
-- Unicode Normalization Form C, in which the instances bring it at their next poll. It holds the lock of the clock row until then: inside a transaction that
-- takes long, insert into revocation_requests instead.
--
-- Its caller needs SELECT and UPDATE on revocation_clock, SELECT, INSERT and UPDATE on revocations,
-- and INSERT on revocation_requests.
CREATE FUNCTION revocation_revoke(scope text, subject text, demand text) RETURNS bigint
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
#variable_conflict use_variable
DECLARE
    cut_off bigint;
BEGIN
    subject := coalesce(subject, '');
    IF scope IS NULL OR scope NOT IN ('everyone', 'group', 'user', 'session', 'token') THEN
        RAISE EXCEPTION 'unknown scope "%"', scope USING ERRCODE = 'invalid_parameter_value';
    ELSIF demand IS NULL OR demand NOT IN ('refresh', 'login') THEN
        RAISE EXCEPTION 'unknown demand "%"', demand USING ERRCODE = 'invalid_parameter_value';
    ELSIF scope = 'everyone' AND subject <> '' THEN
        RAISE EXCEPTION 'the subject must be empty for everyone'
            USING ERRCODE = 'invalid_parameter_value';
    ELSIF scope <> 'everyone' AND octet_length(subject) NOT BETWEEN 1 AND 512 THEN
        RAISE EXCEPTION 'the subject needs 1 to 512 bytes' USING ERRCODE = 'invalid_parameter_value';
    ELSIF subject ~ '[\u0001-\u001f\u007f-\u009f]' THEN
        RAISE EXCEPTION 'the subject holds a control character'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- Durable, whatever the caller has set; until the end of the transaction.
    IF current_setting('synchronous_commit') IN ('off', 'local') THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    IF subject ~ '[^\u0001-\u007f]' THEN
        INSERT INTO revocation_requests (scope, subject, demand) VALUES (scope, subject, demand);
        PERFORM pg_notify('tower_revocation', 'a request');
        RETURN NULL;
    END IF;
    -- The clock is read once the lock is held.
    PERFORM FROM revocation_clock FOR UPDATE;
    UPDATE revocation_clock AS clock
    SET newest = greatest(clock.newest + 1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
    RETURNING clock.newest INTO cut_off;
    INSERT INTO revocations AS r (scope, subject, reissue_before, login_before, changed_at)
    VALUES (
        scope, subject,
        CASE demand WHEN 'refresh' THEN cut_off ELSE 0 END,
        CASE demand WHEN 'login' THEN cut_off ELSE 0 END,
        cut_off
    )
    ON CONFLICT ON CONSTRAINT revocations_pkey DO UPDATE SET
        reissue_before = greatest(r.reissue_before, excluded.reissue_before),
        login_before = greatest(r.login_before, excluded.login_before),
        changed_at = greatest(r.changed_at, excluded.changed_at);
    -- Told to the instances at the commit.
    PERFORM pg_notify('tower_revocation', cut_off::text);
    RETURN cut_off;
END
$$;
