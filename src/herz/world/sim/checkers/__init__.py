"""Checkers: what must hold in every run whatever the policy, judged apart from the machine.

They see exactly what the machine sees (events before it does, effects before they are carried out),
so a decision is judged by what the machine could know. A violated rule raises InvariantError with
the seed and the last events. `docs/reference/simulator.md` says what each judges, and when.
"""

from herz.world.sim.checkers.end import EndChecker
from herz.world.sim.checkers.history import History
from herz.world.sim.checkers.referee import DecisionSink, Referee

__all__ = ["DecisionSink", "EndChecker", "History", "Referee"]
