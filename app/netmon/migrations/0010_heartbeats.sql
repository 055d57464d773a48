-- What is awaited of the targets of kind heartbeat, whose jobs report to a URL of their own (netmon.heartbeats).
CREATE TABLE heartbeats (
    target       uuid PRIMARY KEY REFERENCES targets ON DELETE CASCADE,
    -- The SHA-256 hash of the token in the URL; null without a URL. The token itself is not stored.
    token_hash   bytea UNIQUE,
    -- The last heartbeat; later, if heartbeats could not be received or were not expected before.
    silent_since timestamptz NOT NULL DEFAULT now(),
    -- The start of the current period, by the end of which a heartbeat is expected.
    awaited_from timestamptz NOT NULL DEFAULT now(),
    -- When a worker looks next whether the heartbeat is missing.
    due_at       timestamptz NOT NULL DEFAULT now(),
    -- The last result that a heartbeat led to: when, and whether it was a success.
    stored_at    timestamptz,
    succeeded    boolean
);

CREATE INDEX heartbeats_due ON heartbeats (due_at);

-- The last uninterrupted time in which an API was able to receive heartbeats: one row.
CREATE TABLE heartbeat_reception (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    since  timestamptz NOT NULL,
    until  timestamptz NOT NULL
);
