"""What is looked at in a running stack and its checkout: doctor, preflight, secrets, smoke, status."""
