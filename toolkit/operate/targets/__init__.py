"""Targets as code: `targets.yml` is compared with the application, applied to it, exported, or imported."""
