"""The order of a batch: dependencies, comparators, the ladder, and the permutation digest."""

from herz.intake.order.candidate import Candidate, Less, Orderable
from herz.intake.order.comparator import Comparator, ComparatorFault, FaultKind
from herz.intake.order.dependencies import AFTER_ANNOTATION, parse_after
from herz.intake.order.digest import digest_of
from herz.intake.order.ladder import (
    Descent,
    EdgeReference,
    OrderBounds,
    OrderResult,
    order_batch,
)
from herz.model.podinfo import Dependency

__all__ = [
    "AFTER_ANNOTATION",
    "Candidate",
    "Comparator",
    "ComparatorFault",
    "Dependency",
    "Descent",
    "EdgeReference",
    "FaultKind",
    "Less",
    "OrderBounds",
    "OrderResult",
    "Orderable",
    "digest_of",
    "order_batch",
    "parse_after",
]
