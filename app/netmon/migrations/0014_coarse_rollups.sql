-- Rollups of an hour or a day, into which older ones are merged (netmon.rollups).
CREATE TABLE coarse_rollups (
    target  uuid NOT NULL REFERENCES targets ON DELETE CASCADE,
    -- The length of the rollup: 3600 or 86400.
    seconds integer NOT NULL,
    -- Its start.
    at      timestamptz NOT NULL,
    results integer NOT NULL,
    failed  integer NOT NULL,
    -- The buckets of the histogram that are not empty, counted from 1 (netmon.histograms), and their counts.
    buckets smallint[] NOT NULL,
    counts  integer[] NOT NULL,
    PRIMARY KEY (target, seconds, at)
);
