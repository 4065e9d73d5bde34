-- The instances that acknowledge revocations.
CREATE TABLE revocation_instances (
    id      VARBINARY(512) NOT NULL PRIMARY KEY,
    -- What people call it.
    name    VARCHAR(512)   NOT NULL,
    -- How old its copy may be when it accepts a token, in microseconds.
    bound   BIGINT         NOT NULL,
    -- Every cut-off up to here is in force there.
    applied BIGINT         NOT NULL,
    -- How often it was heard of, and when that was last, in microseconds since 1970.
    beats   BIGINT         NOT NULL,
    beat_at BIGINT         NOT NULL,
    CONSTRAINT revocation_instances_numbers CHECK (bound > 0 AND applied >= 0 AND beats > 0)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
