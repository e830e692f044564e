"""The simulator: a cluster in virtual time that drives the scheduler's Machine as a live one would.

`catalogue.load_scenario` gives a scenario, `run.simulate` runs it, `result` is what comes out.
"""
