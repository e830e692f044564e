"""The scheduling queue: rings, buckets, back-off, hints, and the life of a pod in it."""

from herz.intake.queue.backoff import BackoffPolicy
from herz.intake.queue.counters import QueueCounters, QueueCounts
from herz.intake.queue.hints import WILDCARD, HintRule, QueueEvent
from herz.intake.queue.item import QueuedPod, QueueItem
from herz.intake.queue.lifecycle import State, Verb
from herz.intake.queue.scheduling import SchedulingQueue
from herz.intake.queue.settings import QueueSettings

__all__ = [
    "WILDCARD",
    "BackoffPolicy",
    "HintRule",
    "QueueCounters",
    "QueueCounts",
    "QueueEvent",
    "QueueItem",
    "QueueSettings",
    "QueuedPod",
    "SchedulingQueue",
    "State",
    "Verb",
]
