"""The files of a checkout and what they say: invoke.yaml, .env, secrets/, dashboards; no engine is needed."""
