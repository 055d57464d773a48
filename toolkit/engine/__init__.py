"""Docker as the toolkit uses it: commands, the state of containers, waiting, requests from inside the stack."""
