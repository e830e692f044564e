"""Names of what is counted and measured: kube-scheduler's where it has one, ours otherwise."""

from __future__ import annotations

from typing import Final

ATTEMPTS_SCHEDULED: Final = 'scheduler_schedule_attempts_total{result="scheduled"}'
ATTEMPTS_UNSCHEDULABLE: Final = 'scheduler_schedule_attempts_total{result="unschedulable"}'
ATTEMPTS_ERROR: Final = 'scheduler_schedule_attempts_total{result="error"}'

PREEMPTION_ATTEMPTS: Final = "scheduler_preemption_attempts_total"
PREEMPTION_VICTIMS: Final = "scheduler_preemption_victims"
"""Pods whose deletion was asked for to make room."""
REMOVALS_REFUSED: Final = "herz_removals_refused_total"
"""Victims that the API did not delete or evict."""

REFUSED_BY_OWN_RULES: Final = "herz_refused_by_own_rules_total"
"""Pods that only rules refused which kube-scheduler does not have; each counts once. Of rules with
a mode: there is a node without them. Of others: no other rule refused any node."""
GAVE_WAY: Final = 'herz_rules_gave_way_total{{mark="{mark}"}}'
"""Pods placed on a node that a rule refused, by the mark of the record."""

TURNED_AWAY: Final = "herz_sla_turned_away_total"
"""Placements that were kept from at least one node because a promise was at risk there."""
PROMISES_UNKNOWN: Final = 'herz_sla_unknown_total{{reason="{reason}"}}'
"""Placements where no model answered for the node that was taken, by the name of the reason."""
PROMISES_EXPLORED: Final = "herz_sla_explored_total"
"""Placements that went to another than the best node, to learn."""
PROMISES_BEYOND: Final = 'herz_sla_beyond_total{{feature="{feature}"}}'
"""Placements with a feature beyond what the model learned from, where it abstained for that."""
MODEL_DRIFT: Final = "herz_sla_model_drift"
"""Gauge: 1 while more placements than chance explains lie outside what the model learned from."""
PROMISE_OUTCOMES: Final = 'herz_sla_outcomes_total{{outcome="{outcome}"}}'
"""Windows of placed pods by what became of the promise: kept or broken."""
PROMISES_FORGOTTEN: Final = "herz_sla_placements_forgotten_total"
"""Placements that were too many to be watched."""

UNLISTED_FIELDS: Final = "herz_pods_with_unlisted_fields_total"
"""Pods decided whose spec has a field that this release does not know."""
BINDS_REFUSED: Final = "herz_binds_refused_total"
BINDS_UNKNOWN: Final = "herz_binds_unknown_total"
VOLUME_BINDS_FAILED: Final = 'scheduler_volume_scheduling_stage_error_total{operation="bind"}'
"""Pods whose volumes were not bound on the node that was chosen; each is decided anew."""
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

AUDIT_UNSIGNED_ENTRIES: Final = "herz_audit_unsigned_entries"
"""Gauge: entries of the journal that no signed checkpoint covers."""
AUDIT_UNSIGNED_SECONDS: Final = "herz_audit_unsigned_seconds"
"""Gauge: since when there are any; 0 where there are none."""
AUDIT_UNWITNESSED_ENTRIES: Final = "herz_audit_unwitnessed_entries"
"""Gauge: entries of the journal that no quorum of witnesses has cosigned."""
AUDIT_UNWITNESSED_SECONDS: Final = "herz_audit_unwitnessed_seconds"
AUDIT_CLOCK_STEPS: Final = "herz_audit_clock_steps_total"
"""How often the driver's clock stepped back; the machine was told the later time."""
