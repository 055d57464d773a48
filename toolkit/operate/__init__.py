"""What changes a running stack: up and down, deploy, rotation of secrets, reload, silences, demo traffic."""
