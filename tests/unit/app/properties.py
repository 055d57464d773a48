"""How Hypothesis is used: the same examples on every machine, so that a check says the same everywhere."""

from hypothesis import HealthCheck, settings

PROPERTY = settings(database=None, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
