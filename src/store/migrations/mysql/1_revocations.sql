-- All times are microseconds since 1970; 0 stands for none.
--
-- What is compared is VARBINARY: as texts, 'alice' and 'alice ' would be the same.

-- The order of revocations: one row. Whoever seals a revocation holds its lock.
CREATE TABLE revocation_clock (
    one     TINYINT     NOT NULL DEFAULT 1 PRIMARY KEY,
    db_uuid VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    -- The highest cut-off ever issued.
    newest  BIGINT      NOT NULL,
    -- The floor: the highest cut-offs that were purged. Every token at or below is revoked.
    purged_reissue_before BIGINT NOT NULL,
    purged_login_before   BIGINT NOT NULL,
    CONSTRAINT revocation_clock_one CHECK (one = 1),
    CONSTRAINT revocation_clock_times
        CHECK (newest >= 0 AND purged_reissue_before >= 0 AND purged_login_before >= 0)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
INSERT INTO revocation_clock VALUES (1, UUID(), 0, 0, 0);

-- The cut-offs.
CREATE TABLE revocations (
    scope          VARBINARY(16)  NOT NULL,
    subject        VARBINARY(512) NOT NULL,
    reissue_before BIGINT NOT NULL DEFAULT 0,
    login_before   BIGINT NOT NULL DEFAULT 0,
    cleared_at     BIGINT NOT NULL DEFAULT 0,
    -- The point of store time of the last change: what polls ask for.
    changed_at     BIGINT NOT NULL,
    PRIMARY KEY (scope, subject),
    KEY revocations_changed_at (changed_at),
    CONSTRAINT revocations_scope CHECK (scope IN ('everyone', 'group', 'user', 'session', 'token')),
    CONSTRAINT revocations_subject CHECK ((subject = '') = (scope = 'everyone')),
    CONSTRAINT revocations_times
        CHECK (reissue_before >= 0 AND login_before >= 0 AND cleared_at >= 0 AND changed_at >= 0)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Revocations written inside somebody's transaction, to be sealed after its commit.
-- Any service may insert here: (scope, subject, demand) is enough.
CREATE TABLE revocation_requests (
    seq            BIGINT         NOT NULL AUTO_INCREMENT PRIMARY KEY,
    id             VARBINARY(64)  NOT NULL DEFAULT (UUID()),
    scope          VARBINARY(16)  NOT NULL,
    -- A text, so that the server knows how its client spells it. Far longer than any that is
    -- valid: a server that cuts texts in silence must not make a valid one.
    subject        VARCHAR(4096)  NOT NULL DEFAULT '',
    demand         VARBINARY(16)  NOT NULL,
    -- The session that "all others but me" spares.
    spared         VARBINARY(4096),
    -- The cut-off, once sealed; the newest one, once refused.
    revoked_before BIGINT,
    -- Why it was refused, where the subject can be no token's.
    refused        VARCHAR(1000),
    UNIQUE KEY revocation_requests_id (id),
    -- Those that are pending, and those that are done.
    KEY revocation_requests_revoked_before (revoked_before),
    CONSTRAINT revocation_requests_scope
        CHECK (scope IN ('everyone', 'group', 'user', 'session', 'token')),
    CONSTRAINT revocation_requests_demand CHECK (demand IN ('refresh', 'login'))
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- One login on one device.
CREATE TABLE revocation_sessions (
    id           VARBINARY(512) NOT NULL PRIMARY KEY,
    user_id      VARBINARY(512) NOT NULL,
    -- The groups of its last token, a JSON array. (GROUPS is a word of MySQL's own.)
    in_groups    MEDIUMTEXT     NOT NULL,
    began        BIGINT         NOT NULL,
    -- When it last got a refresh token.
    refreshed_at BIGINT         NOT NULL,
    last_stamp   BIGINT         NOT NULL,
    -- The counter of the current refresh token. Nothing about it is secret.
    counter      BIGINT         NOT NULL,
    -- Refresh tokens with a counter below are void.
    void_below   BIGINT         NOT NULL,
    -- When those before the current one were spent, newest first, as far back as the grace time
    -- needs it: a JSON array.
    spent        TEXT           NOT NULL,
    -- The device, in the words of the client.
    label        VARCHAR(512),
    ip           VARCHAR(45),
    user_agent   VARCHAR(512),
    KEY revocation_sessions_user (user_id),
    KEY revocation_sessions_began (began),
    KEY revocation_sessions_refreshed_at (refreshed_at),
    CONSTRAINT revocation_sessions_counter CHECK (void_below BETWEEN 0 AND counter)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Who cleared which cut-off, and why.
CREATE TABLE revocation_audit (
    seq            BIGINT         NOT NULL AUTO_INCREMENT PRIMARY KEY,
    cleared_at     BIGINT         NOT NULL,
    scope          VARBINARY(16)  NOT NULL,
    subject        VARBINARY(512) NOT NULL,
    reissue_before BIGINT         NOT NULL,
    login_before   BIGINT         NOT NULL,
    cleared_by     VARCHAR(512)   NOT NULL,
    reason         MEDIUMTEXT     NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Revokes with one statement, from any service in any language:
--
--     CALL revocation_revoke('user', 'alice', 'login', @cut_off);
--
-- Every token of the scope that was issued until now is revoked when it returns, and @cut_off is
-- the cut-off. It is a transaction of its own, and commits one that is open: inside a transaction
-- insert into revocation_requests instead, (scope, subject, demand).
--
-- A subject that is not plain ASCII has to be spelt as tokens spell it (NFC), which SQL cannot do:
-- it is written as a request, which the next poll of any instance puts in force, and @cut_off is
-- NULL.
--
-- Its caller needs EXECUTE on it, SELECT and UPDATE on revocation_clock, SELECT, INSERT and UPDATE
-- on revocations, and INSERT on revocation_requests.
CREATE PROCEDURE revocation_revoke(
    IN in_scope TEXT CHARACTER SET utf8mb4,
    IN in_subject TEXT CHARACTER SET utf8mb4,
    IN in_demand TEXT CHARACTER SET utf8mb4,
    OUT cut_off BIGINT
)
MODIFIES SQL DATA SQL SECURITY INVOKER
BEGIN
    DECLARE clock_newest BIGINT;
    DECLARE problem VARCHAR(128) CHARACTER SET utf8mb4;
    SET cut_off = NULL;
    SET in_subject = COALESCE(in_subject, '');
    -- As bytes: texts are the same for the server that are not for us.
    SET problem = CASE
        WHEN in_scope IS NULL OR CAST(in_scope AS BINARY)
            NOT IN ('everyone', 'group', 'user', 'session', 'token') THEN 'unknown scope'
        WHEN in_demand IS NULL OR CAST(in_demand AS BINARY) NOT IN ('refresh', 'login')
            THEN 'unknown demand'
        WHEN in_scope = 'everyone' AND LENGTH(in_subject) > 0
            THEN 'the subject must be empty for everyone'
        WHEN in_scope <> 'everyone' AND LENGTH(in_subject) NOT BETWEEN 1 AND 512
            THEN 'the subject needs 1 to 512 bytes'
        WHEN in_subject REGEXP '[[:cntrl:]]' OR LOCATE(CHAR(0), CAST(in_subject AS BINARY)) > 0
            THEN 'the subject holds a control character'
    END;
    IF problem IS NOT NULL THEN
        SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = problem;
    END IF;
    COMMIT;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    START TRANSACTION;
    BEGIN
        DECLARE EXIT HANDLER FOR SQLEXCEPTION
        BEGIN
            ROLLBACK;
            RESIGNAL;
        END;
        IF LENGTH(in_subject) = CHAR_LENGTH(in_subject) THEN
            SELECT newest INTO clock_newest FROM revocation_clock FOR UPDATE;
            -- Read once the lock is held.
            SET cut_off = GREATEST(
                clock_newest + 1, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)));
            INSERT INTO revocations (scope, subject, reissue_before, login_before, changed_at)
            VALUES (
                in_scope, in_subject,
                IF(in_demand = 'refresh', cut_off, 0), IF(in_demand = 'login', cut_off, 0), cut_off
            )
            ON DUPLICATE KEY UPDATE
                reissue_before = GREATEST(reissue_before, VALUES(reissue_before)),
                login_before = GREATEST(login_before, VALUES(login_before)),
                changed_at = GREATEST(changed_at, VALUES(changed_at));
            UPDATE revocation_clock SET newest = cut_off;
        ELSE
            INSERT INTO revocation_requests (scope, subject, demand)
            VALUES (in_scope, in_subject, in_demand);
        END IF;
        COMMIT;
    END;
END;
