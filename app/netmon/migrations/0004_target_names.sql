-- For the list of targets by name, which is read page by page.
CREATE INDEX targets_by_name ON targets (lower(name), name);
