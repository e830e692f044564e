"""Rounds of faults under load: a server, a proxy that breaks things, two replicas, and checks."""
