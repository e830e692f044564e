"""The chaos scenario: a whole cluster and its load made from a seed, under churn and faults."""

from herz.world.sim.chaos.scenario import chaos_scenario

__all__ = ["chaos_scenario"]
