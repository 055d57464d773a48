"""Container hardening as executable rules, checked against the configuration and against running containers.

``rules`` lists the rules, ``running`` reads the state of containers, ``exemptions`` reads policy.yml.
"""
