"""The data in a checkout: invoke.yaml, .env, secrets/, dashboards, expectations; needs no Docker Engine."""
