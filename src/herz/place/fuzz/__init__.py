"""Holds rules to their contract (`herz.plugin`): made clusters and pods, every clause in turn.

Pure: chance is handed in, and so is what makes a pod into what rules see.
"""

from herz.place.fuzz.contract import Broken, Clause, RuleCase, check_case
from herz.place.fuzz.worlds import Dice, Draft, Make, ReadPods

__all__ = [
    "Broken",
    "Clause",
    "Dice",
    "Draft",
    "Make",
    "ReadPods",
    "RuleCase",
    "check_case",
]
