"""Long fault runs: `nox -s drills` runs them and ends with their table."""
