"""The closed loop: what becomes of promises under each policy, on the same arrivals.

    python -m bench.sla --scenario sla-shop --seeds 20

The truth of who slows whom down is made up (`herz.world.sim.promises`); figures compare policies
with each other on it, and say nothing of any real cluster.
"""
