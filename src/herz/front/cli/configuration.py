"""`herz config validate` and `herz config show`: what a file of settings means to Herz."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import msgspec

from herz import app
from herz.config import Configuration, Policies, Policy, RuleTerms, rule_terms
from herz.front.cli.declared import Argument
from herz.front.cli.options import Output, OutputOption, checked_name
from herz.front.cli.printing import print_answer
from herz.plugin import Mode, ReasonBook
from herz.profiles import SECOND_NS

VALIDATE = """Examples:

    herz config validate scheduler.yaml

    herz config validate policy.toml --output json
"""
SHOW = """Examples:

    herz config show

    herz config show scheduler.yaml --output yaml
"""

Settings: TypeAlias = Policy | Policies | Configuration
_ELSEWHERE = ("extenders", "plugins", "profiles")
"""Fields that a table shows as warnings or as tables of their own."""
_KIND_HELP = "A KubeSchedulerConfiguration, or a policy of Herz' own."


def validate(
    file: Annotated[str, Argument(metavar="FILE", help=_KIND_HELP)],
    output: OutputOption = Output.TABLE,
) -> None:
    """Check a file of settings, and say what is accepted but not used."""
    loaded = _load(file)
    policies, warnings = _policies(loaded), _warnings(loaded)
    print_answer(
        {
            "file": file,
            "kind": _kind(loaded),
            "digest": _digest(loaded),
            "policies": [
                {**_reference(policy), "rules": len(policy.plugins)} for policy in policies
            ],
            "warnings": warnings,
        },
        output,
        title=f"{file} is a valid {_kind(loaded)}{_together(loaded)}",
        columns=(_heading(loaded), "rules", "policy's digest"),
        rows=[(policy.name, str(len(policy.plugins)), policy.digest) for policy in policies],
        after=[f"warning: {warning}" for warning in warnings],
    )


def show(
    file: Annotated[
        str | None,
        Argument(metavar="[FILE]", help=f"{_KIND_HELP} Without it: the defaults."),
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show settings with all defaults filled in, each rule in order, and the policy's digest."""
    loaded = _load(file)
    policies, warnings = _policies(loaded), _warnings(loaded)
    settings = _settings(loaded)
    if output is not Output.TABLE:
        answer = {
            "file": file,
            "kind": _kind(loaded),
            "digest": _digest(loaded),
            "configuration": settings,
            "policies": [_described(policy) for policy in policies],
            "warnings": warnings,
        }
        print_answer(answer, output, title="", columns=(), rows=())
        return
    shown = {key: value for key, value in settings.items() if key not in _ELSEWHERE}
    print_answer(
        None,
        output,
        title=f"herz config show {file or '(defaults)'}{_together(loaded)}",
        columns=("field", "setting"),
        rows=list(_flat(shown)),
    )
    for index, policy in enumerate(policies):
        is_last = index == len(policies) - 1
        print_answer(
            None,
            output,
            title=f"{_heading(loaded)} {policy.name}  {policy.digest}",
            columns=("rule", "weight", "asked at", "off at", "arguments", "mode"),
            rows=_rows(policy),
            after=[f"warning: {warning}" for warning in warnings] if is_last else (),
        )


def _load(file: str | None) -> Settings:
    return app.load_settings(None if file is None else Path(checked_name(file, option="FILE")))


def _kind(loaded: Settings) -> str:
    if isinstance(loaded, Configuration):
        return "KubeSchedulerConfiguration"
    return "Policy" if isinstance(loaded, Policy) else "list of policies"


def _heading(loaded: Settings) -> str:
    return "policy" if isinstance(loaded, Policy) else "scheduler"


def _policies(loaded: Settings) -> list[Policy]:
    if isinstance(loaded, Policy):
        return [loaded]
    return [profile.policy for profile in loaded.profiles]


def _digest(loaded: Settings) -> str:
    """What names in every record all that decides."""
    if isinstance(loaded, Policy):
        return loaded.digest
    profiles = loaded.profiles
    return profiles[0].policy.digest if len(profiles) == 1 else Policies.of(profiles).digest


def _together(loaded: Settings) -> str:
    """For a title: how many profiles decide in one machine, and under which digest."""
    count = len(_policies(loaded))
    return "" if count == 1 else f" with {count} profiles  {_digest(loaded)}"


def _warnings(loaded: Settings) -> list[str]:
    return list(loaded.warnings) if isinstance(loaded, Configuration) else []


def _reference(policy: Policy) -> dict[str, str]:
    return {"name": policy.name, "version": policy.version, "digest": policy.digest}


def _settings(loaded: Settings) -> dict[str, Any]:
    """The file as plain values, all defaults filled in; it can be read again."""
    if isinstance(loaded, Policy):
        plain: dict[str, Any] = msgspec.to_builtins(loaded)
        return plain
    if isinstance(loaded, Policies):
        return loaded.plain
    complete: dict[str, Any] = _without_empty(msgspec.to_builtins(loaded.complete))
    return complete


def _without_empty(value: Any) -> Any:
    """The value without nulls, empty lists and empty tables, all of which mean an absent field.

    A rule's arguments stay as they are: what is empty there is the rule's to judge.
    """
    if isinstance(value, Mapping):
        kept = {key: item if key == "args" else _without_empty(item) for key, item in value.items()}
        return {key: item for key, item in kept.items() if item not in (None, [], {})}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_without_empty(item) for item in value]
    return value


def _modes(policy: Policy) -> Mapping[str, RuleTerms]:
    """What becomes of a pod that such a rule alone refuses; the other rules refuse for ever."""
    return rule_terms(policy, app.build_plugins(policy, ReasonBook()))


def _mode(terms: RuleTerms | None) -> str:
    if terms is None:
        return ""
    limit = terms.fall_back_after_ns // SECOND_NS
    return f"{terms.mode}, falls back after {limit} s" if limit else str(terms.mode)


def _described(policy: Policy) -> dict[str, Any]:
    modes = _modes(policy)
    rules = [
        {
            "rule": entry.name,
            "weight": weight,
            "asked_at": list(points),
            "off_at": list(entry.off),
            "args": entry.args,
            **_terms(modes.get(entry.name)),
        }
        for entry, weight, points in app.asked(policy)
    ]
    queue = msgspec.to_builtins(policy.queue)
    return {**_reference(policy), "ties": policy.ties, "queue": queue, "rules": rules}


def _terms(terms: RuleTerms | None) -> dict[str, Any]:
    """The mode and its limit, defaults filled in; nothing where there is none to choose."""
    if terms is None:
        return {}
    limit = terms.fall_back_after_ns // SECOND_NS
    is_limited = terms.mode is Mode.REFUSE
    return {
        "mode": str(terms.mode),
        "fall_back_after_seconds": limit if is_limited else None,
    }


def _rows(policy: Policy) -> list[tuple[str, ...]]:
    modes = _modes(policy)
    return [
        (
            entry.name,
            "" if weight is None else str(weight),
            ", ".join(points),
            ", ".join(entry.off),
            json.dumps(entry.args, sort_keys=True) if entry.args else "",
            _mode(modes.get(entry.name)),
        )
        for entry, weight, points in app.asked(policy)
    ]


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Each plain value with its path."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat(item, f"{path}.{key}".removeprefix("."))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for index, item in enumerate(value):
            yield from _flat(item, f"{path}[{index}]")
    elif value not in (None, ""):
        yield path, str(value).lower() if isinstance(value, bool) else str(value)
