"""`herz sla profile`: from samples of a service to its profile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec

from herz.errors import ConfigError, WorldError
from herz.front.cli.declared import Option
from herz.front.cli.options import Output, OutputOption, checked_name
from herz.front.cli.printing import print_answer
from herz.knowledge.sla.profiles import TRAITS, WINDOW, Sample, learned, profile_object

EXAMPLE: Final = """Examples:

    herz sla profile --data web.jsonl --service shop/web --class online

    herz sla profile --data web.jsonl --service shop/web --class online --output yaml
"""
BYTES_MAX: Final = 1 << 26
QUIET_US_MAX: Final = 1 << 40
_FIELDS: Final = frozenset(Sample._fields)


def profile(
    data: Annotated[str, Option(metavar="FILE", help="Samples: JSON Lines, oldest first.")],
    service: Annotated[
        str, Option(metavar="NAMESPACE/NAME", help="Whose: the pods with the label app=NAME.")
    ],
    class_name: Annotated[
        str, Option("--class", metavar="NAME", help="The class that it promises.")
    ] = "",
    quiet: Annotated[int, Option(metavar="MICROSECONDS", help="Its quiet P99; 0: not known.")] = 0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Learn a service's profile from samples; as YAML or JSON it is a ServiceProfile object.

    Of more samples than a window has, the last ones count.
    """
    namespace, slash, name = checked_name(service, option="--service").partition("/")
    if not (namespace and slash and name):
        fix = "write it as namespace/name"
        raise ConfigError("not a service", where="--service", value=service, fix=fix)
    if not 0 <= quiet <= QUIET_US_MAX:
        fix = f"give microseconds from 0 to {QUIET_US_MAX}"
        raise ConfigError("out of range", where="--quiet", value=quiet, fix=fix)
    samples = list(_samples(Path(checked_name(data, option="--data"))))[-WINDOW:]
    status = learned(samples, quiet)
    thing = profile_object(namespace, name, {"app": name}, class_name, status)
    rows = [
        (
            trait.name,
            str(status.traits[trait.name]),
            f"{status.confidence_basis_points.get(trait.name, 0) / 100:.2f} %",
            str(trait.prior),
            trait.unit,
        )
        for trait in TRAITS
    ]
    content = {
        "apiVersion": "scheduling.herz.dev/v1alpha1",
        **msgspec.to_builtins(thing),
    }
    print_answer(
        content,
        output,
        title=f"profile of {service}, {len(samples)} samples",
        columns=("trait", "value", "confidence", "prior", "unit"),
        rows=rows,
    )


def _samples(path: Path) -> Iterator[Sample]:
    try:
        if path.stat().st_size > BYTES_MAX:
            fix = f"keep it under {BYTES_MAX >> 20} MiB: only the last {WINDOW} samples count"
            raise ConfigError("file too large", where=str(path), fix=fix)
        data = path.read_bytes()
    except OSError as error:
        raise WorldError(f"cannot read {path}: {error.strerror}") from error
    for number, line in enumerate(data.splitlines(), start=1):
        if line.strip():
            yield _sample(line, f"{path}:{number}")


def _sample(line: bytes, where: str) -> Sample:
    try:
        found: Any = msgspec.json.decode(line, type=dict[str, float | None])
    except (ValueError, RecursionError) as error:
        fix = "write one JSON object of numbers and nulls a line"
        raise ConfigError(f"not a sample: {error}", where=where, fix=fix) from error
    for name, value in found.items():
        if name not in _FIELDS:
            fix = f"use {', '.join(Sample._fields)}"
            raise ConfigError("unknown field", where=where, value=name, fix=fix)
        if value is not None and not 0 <= value <= 1 << 52:
            raise ConfigError(
                "out of range", where=f"{where} {name}", value=value, fix="see --help"
            )
    return Sample(
        **{name: None if value is None else round(value) for name, value in found.items()}
    )
