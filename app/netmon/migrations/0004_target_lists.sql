-- For the lists of targets, which are read page by page (netmon.target_lists).
CREATE INDEX targets_by_name ON targets (lower(name) COLLATE "C", name COLLATE "C");
-- For the states of few targets. A result that does not change the state leaves the index as it is.
CREATE INDEX standings_by_state ON standings (state);
