"""How containers are hardened, as rules that are executed: over the configuration, and over what runs.

``rules`` has the rules, ``running`` what the kernel and the engine say of a container, ``exemptions`` reads policy.yml.
"""
