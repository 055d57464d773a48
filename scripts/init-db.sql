-- Run once, by the first start on an empty volume. The application's own tables come from its migrations.
-- The marker is written last: a first start that was cut off leaves a volume without it, and the health check says so.
CREATE SCHEMA platform;
CREATE TABLE platform.initialisation (completed_at timestamptz NOT NULL);
INSERT INTO platform.initialisation VALUES (now());
