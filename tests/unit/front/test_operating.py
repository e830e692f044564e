"""The options of leader election, endpoints and logs; what an operator is shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from herz.app import load_settings
from herz.config import Configuration
from herz.errors import ConfigError
from herz.front.cli import main
from herz.front.cli.guarding import election, serving
from herz.front.cli.operating import configz
from herz.world.kube.lease import SECOND_NS, Durations

NO_TIMES = (None, None, None)
NO_NAMES = (None, None)
NO_FILES = ("", "", "")
FILE = """\
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
leaderElection:
  leaderElect: true
  leaseDuration: 30s
  renewDeadline: 20s
  resourceName: mine
"""


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    path = tmp_path / "scheduler.yaml"
    path.write_text(FILE, encoding="utf-8")
    found = load_settings(path)
    assert isinstance(found, Configuration)
    return found


def test_an_election_has_kube_schedulers_defaults() -> None:
    found = election(is_on=True, names=NO_NAMES, times=NO_TIMES, configuration=None)
    assert found is not None
    assert found.durations == Durations(15 * SECOND_NS, 10 * SECOND_NS, 2 * SECOND_NS)
    assert found.durations.write == 5 * SECOND_NS
    assert found.lease == ("kube-system", "herz")


def test_options_come_before_the_configuration(configuration: Configuration) -> None:
    times = (None, "12s", "500ms")
    found = election(is_on=True, names=("own", None), times=times, configuration=configuration)
    assert found is not None
    assert found.durations == Durations(30 * SECOND_NS, 12 * SECOND_NS, SECOND_NS // 2)
    assert found.lease == ("own", "mine")
    off = election(is_on=False, names=NO_NAMES, times=NO_TIMES, configuration=configuration)
    assert off is None


@pytest.mark.parametrize(
    ("is_on", "names", "times", "where"),
    [
        (True, NO_NAMES, ("soon", None, None), "--leader-elect-lease-duration"),
        (True, NO_NAMES, ("10s", None, None), "leaderElection.leaseDuration"),
        (True, NO_NAMES, (None, None, "9s"), "leaderElection.retryPeriod"),
        (True, NO_NAMES, (None, None, "0s"), "leaderElection.retryPeriod"),
        (False, NO_NAMES, (None, "5s", None), "--leader-elect-renew-deadline"),
        (False, ("x", None), NO_TIMES, "--leader-elect-resource-name"),
    ],
)
def test_elections_that_cannot_be_are_refused(
    is_on: bool,
    names: tuple[str | None, str | None],
    times: tuple[str | None, str | None, str | None],
    where: str,
) -> None:
    with pytest.raises(ConfigError) as error:
        election(is_on=is_on, names=names, times=times, configuration=None)
    assert where in error.value.where
    assert error.value.fix


def test_endpoints_are_served_where_a_port_is_given(tmp_path: Path) -> None:
    assert serving("0.0.0.0", "", NO_FILES) is None
    found = serving("127.0.0.1", "10259", NO_FILES)
    assert found is not None
    assert (found.host, found.port) == ("127.0.0.1", 10259)
    with pytest.raises(ConfigError, match="--secure-port"):
        serving("127.0.0.1", "65536", NO_FILES)
    with pytest.raises(ConfigError, match="without its key"):
        serving("127.0.0.1", "1", ("crt", "", ""))
    with pytest.raises(ConfigError, match="no token"):
        serving("127.0.0.1", "1", ("", "", str(tmp_path / "absent")))


def test_configz_shows_what_is_in_force(configuration: Configuration) -> None:
    policy = configuration.profiles[0].policy
    shown = json.loads(json.dumps(configz(configuration, policy)))
    assert shown["herz"]["digest"] == policy.digest
    told = shown["kubescheduler.config.k8s.io"]["leaderElection"]
    assert (told["leaseDuration"], told["resourceName"]) == ("30s", "mine")
    assert configz(None, policy).keys() == {"herz"}


@pytest.mark.parametrize(
    ("arguments", "where"),
    [
        (["--logging-format", "xml"], "--logging-format"),
        (["--leader-elect", "--leader-elect-retry-period", "x"], "--leader-elect-retry-period"),
        (["--secure-port", "-1"], "--secure-port"),
        (["--leader-elect-lease-duration", "20s"], "--leader-elect-lease-duration"),
    ],
)
def test_the_command_refuses_before_anything_starts(
    arguments: list[str], where: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = tmp_path / "journal"
    assert main(["run", "--journal", str(journal), *arguments, "--output", "json"]) == 2
    error = json.loads(capsys.readouterr().err)["error"]
    assert where in error["where"]
    assert not journal.exists()
