"""The command tree; each module is imported when one of its commands is called."""

from __future__ import annotations

from typing import Final

from herz.front.cli.declared import Command, Group

_HERE: Final = "herz.front.cli"


def _at(place: str, examples: str = "EXAMPLE") -> Command:
    return Command(f"{_HERE}.{place}", examples)


_AUDIT: Final = Group(
    "The journal: verify it, decide everything in it anew, and show what it says.",
    {
        "verify": _at("audit:verify", "VERIFY"),
        "replay": _at("audit:replay", "REPLAY"),
        "show": _at("audit_show:show", "SHOW"),
        "changes": _at("audit_changes:changes", "CHANGES"),
        "export": _at("audit:export", "EXPORT"),
        "prove": _at("audit_prove:prove", "PROVE"),
        "check": _at("audit_check:check", "CHECK"),
        "reconcile": _at("audit_reconcile:reconcile", "RECONCILE"),
        "sign": _at("audit_keys:sign", "SIGN"),
        "cosign": _at("audit_witness:cosign", "COSIGN"),
        "witness": _at("audit_witness:witness", "WITNESS"),
        "quote": _at("audit_quote:quote", "QUOTE"),
        "quote-check": _at("audit_quote:quote_check", "CHECK"),
        "key": Group(
            "Keys: create, show, rotate, succeed.",
            {
                "create": _at("audit_keys:create", "CREATE"),
                "show": _at("audit_keys:show", "SHOW"),
                "rotate": _at("audit_keys:rotate", "ROTATE"),
                "succeed": _at("audit_keys:succeed", "SUCCEED"),
            },
            "Example: herz audit key show log.key",
        ),
        "erase": _at("audit_erase:erase_command", "ERASE"),
        "retain": _at("audit_erase:retain_command", "RETAIN"),
        "hold": _at("audit_erase:hold_command", "HOLD"),
    },
    "Example: herz audit verify --journal DIR --integrity-only",
)
_FUZZ: Final = Group(
    "Find what breaks a comparator or a rule.",
    {
        "plugin": _at("fuzz:plugin", "PLUGIN"),
        "comparator": _at("fuzz:comparator", "COMPARATOR"),
    },
    "Example: herz fuzz comparator my_rules.py:by_age",
)
_CONFIG: Final = Group(
    "Settings: what can be named on the command line, and what a file of settings means.",
    {
        "policies": _at("settings:policies", "POLICIES"),
        "scenarios": _at("settings:scenarios", "SCENARIOS"),
        "validate": _at("configuration:validate", "VALIDATE"),
        "show": _at("configuration:show", "SHOW"),
    },
    "Example: herz config validate scheduler.yaml",
)
_SLA: Final = Group(
    "Service levels: learn and judge models of where a promise holds.",
    {
        "train": _at("sla:train", "TRAIN"),
        "evaluate": _at("sla:evaluate", "EVALUATE"),
        "predict": _at("sla:predict", "PREDICT"),
        "card": _at("sla:card", "CARD"),
        "trial": _at("sla_trial:trial", "TRIAL"),
        "profile": _at("sla_profile:profile"),
    },
    "Example: herz sla card model.json",
)
_RUNTIME: Final = Group(
    "The task runtime, herz.runtime: what a live process does, and how late ticks are here.",
    {
        "top": _at("runtime:top", "TOP"),
        "drift": _at("runtime:measured_drift", "DRIFT"),
    },
    "Example: herz runtime drift --seconds 5",
)

HERZ: Final = Group(
    "A deterministic, provable, service-level-aware Kubernetes scheduler.",
    {
        "simulate": _at("simulate:simulate"),
        "explain": _at("explain:explain"),
        "up": _at("up:up"),
        "run": _at("run:run"),
        "version": _at("settings:version", "VERSION"),
        "audit": _AUDIT,
        "fuzz": _FUZZ,
        "config": _CONFIG,
        "debug": Group(
            "Look into a live scheduler.", {"compare": _at("debugging:compare", "COMPARE")}
        ),
        "sla": _SLA,
        "runtime": _RUNTIME,
    },
    "Example: herz simulate shop --report shop.html",
)
