"""What `herz sla` does with files: outcomes in, models, figures and cards out."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from herz.errors import ConfigError, WorldError
from herz.knowledge.sla.learning.dataset import Dataset, Objective, unpacked
from herz.knowledge.sla.learning.interference import read_interference
from herz.knowledge.sla.learning.tables import read_csv, read_records
from herz.knowledge.sla.model import Model, load


class Format(StrEnum):
    """Forms of files of outcomes."""

    INTERFERENCE = "nginx-interference"
    RECORDS = "records"
    CSV = "csv"


def read_outcomes(
    path: str, form: Format, objective: Objective, feature_set: str | None
) -> Dataset:
    """The outcomes of a file.

    Args:
        path: as the user wrote it; plain or packed with gzip.
        form: of the file.
        objective: which quantile is the outcome.
        feature_set: the features to make; None takes the format's own.

    Raises:
        ConfigError: the file is not there, or not what it is said to be.
    """
    text = unpacked(read_bytes(path, "--data"), path)
    if form is Format.INTERFERENCE:
        return read_interference(text, path, objective, feature_set=feature_set or "counters+probe")
    if form is Format.CSV:
        return read_csv(text, path, objective, feature_set=feature_set or "csv")
    data = read_records(text, path, objective)
    if feature_set not in (None, data.feature_set):
        fix = "leave --features out: records say what their features are"
        raise ConfigError("other features", where="--features", value=feature_set, fix=fix)
    return data


def read_model(path: str, option: str = "--model") -> Model:
    """The model of a file.

    Args:
        path: as the user wrote it.
        option: which named it.

    Raises:
        ConfigError: the file is not there, or holds no model.
    """
    try:
        return load(read_bytes(path, option))
    except ConfigError as error:
        raise error.at(path) if error.where != option else error from error


def read_bytes(path: str, option: str) -> bytes:
    """A file's bytes.

    Raises:
        ConfigError: there is no such file.
        WorldError: the disk failed.
    """
    try:
        return Path(path).read_bytes()
    except (FileNotFoundError, IsADirectoryError, ValueError) as error:
        fix = "name a file"
        raise ConfigError("no such file", where=option, value=path, fix=fix) from error
    except OSError as error:
        raise WorldError(f"cannot read {path}: {error.strerror or error}") from error
