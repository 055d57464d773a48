"""Settings of Hypothesis: the same examples on every machine, for reproducible results."""

from hypothesis import HealthCheck, settings

PROPERTY = settings(database=None, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
