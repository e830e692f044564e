"""Finds comparators that are no strict weak order, fail, or depend on what they are not given.

Pure: values, laws and counter-examples. What needs processes, clocks and threads is `front.fuzz`.
"""

from herz.intake.fuzz.asking import Asked, Form, OutOfTime, Refuted
from herz.intake.fuzz.domains import Domain, domain_of, parsed_type
from herz.intake.fuzz.finding import Finding, Flaw
from herz.intake.fuzz.laws import Pool, Shows, shows_law, smallest
from herz.intake.fuzz.search import Watch, search
from herz.intake.fuzz.source import Dice, Source
from herz.intake.fuzz.words import Words, words_of

__all__ = [
    "Asked",
    "Dice",
    "Domain",
    "Finding",
    "Flaw",
    "Form",
    "OutOfTime",
    "Pool",
    "Refuted",
    "Shows",
    "Source",
    "Watch",
    "Words",
    "domain_of",
    "parsed_type",
    "search",
    "shows_law",
    "smallest",
    "words_of",
]
