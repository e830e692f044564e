"""How a model of a promise is learned and judged. No decision goes through here.

Needs the packages of the extra `sla`; nothing outside this package does.
"""
