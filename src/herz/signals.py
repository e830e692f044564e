"""Names of what is counted and measured: kube-scheduler's where it has one, ours otherwise."""

from __future__ import annotations

from typing import Final

ATTEMPTS_SCHEDULED: Final = 'scheduler_schedule_attempts_total{result="scheduled"}'
ATTEMPTS_UNSCHEDULABLE: Final = 'scheduler_schedule_attempts_total{result="unschedulable"}'
ATTEMPTS_ERROR: Final = 'scheduler_schedule_attempts_total{result="error"}'

UNLISTED_FIELDS: Final = "herz_pods_with_unlisted_fields_total"
"""Pods decided whose spec has a field that this release does not know."""
BINDS_REFUSED: Final = "herz_binds_refused_total"
BINDS_UNKNOWN: Final = "herz_binds_unknown_total"
ORDER_DESCENTS: Final = 'herz_order_descents_total{{rung="{rung}"}}'
"""Steps down the ladder of the order, by the rung reached."""
COMPARATOR_FAULTS: Final = "herz_comparator_faults_total"
"""Configured orders that were taken out of service."""
RESERVATIONS_REFUSED: Final = "herz_reservations_refused_total"
"""Nodes that passed the filters but not the ledger: a policy without NodeResourcesFit."""
LATE_ANSWERS: Final = "herz_bind_answers_late_total"
"""Answers to binds of pods that were gone or decided anew."""
EVENTS: Final = "herz_events_total"
"""Events applied."""
EVENTS_IGNORED: Final = "herz_events_ignored_total"
"""Events about objects that no rule of the policy reads, or about other schedulers' pods."""
EFFECTS: Final = "herz_effects_total"
