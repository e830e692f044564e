"""The options of `herz run`; of leader election, endpoints and logs by kube-scheduler's names."""

from __future__ import annotations

from typing import Annotated

from herz.front.cli.declared import Option
from herz.front.cli.journals import ENVIRONMENT, FORM
from herz.front.cli.options import Garbage

_Text = str | None
Kubeconfig = Annotated[
    _Text,
    Option(
        metavar="FILE", help="The cluster; else KUBECONFIG, the pod's account, or ~/.kube/config."
    ),
]
Context = Annotated[_Text, Option(metavar="NAME", help="Of the kubeconfig; else its current one.")]
Config = Annotated[
    _Text,
    Option(metavar="NAME|FILE", help="A policy, or kube-scheduler's configuration: its profiles."),
]
SchedulerName = Annotated[
    list[str] | None,
    Option(metavar="NAME", help="Whose pods: spec.schedulerName. Repeat for several. [herz]"),
]
Journal = Annotated[
    _Text,
    Option(
        metavar=FORM,
        envvar=ENVIRONMENT,
        help="The journal; one that is there goes on. Replicas share one in PostgreSQL.",
    ),
]
Key = Annotated[
    _Text, Option(metavar="FILE", help="Sign the journal's checkpoints with this log's keys.")
]
PassphraseFile = Annotated[
    _Text, Option(metavar="FILE", help="A secret file with the key's passphrase.")
]
Trust = Annotated[
    _Text, Option(metavar="FILE", help="Have its witnesses cosign, at their addresses.")
]
ProofMode = Annotated[
    _Text,
    Option(
        metavar="relaxed|strict|witnessed",
        help="How long signer or witnesses may be away. [relaxed]",
    ),
]
Metrics = Annotated[
    _Text,
    Option(metavar="FILE", help="A Prometheus server: nodes' signals and promises kept."),
]
Actor = Annotated[
    _Text,
    Option(metavar="NAME", help="Who starts it: recorded where the policy changes. [user@host]"),
]
Reason = Annotated[_Text, Option(metavar="TEXT", help="Why; recorded with it.")]
NoWait = Annotated[
    bool, Option("--no-wait", help="Fail if the API server cannot be reached at once.")
]
Shadow = Annotated[
    bool, Option("--shadow", help="Change nothing: compare with whoever binds the pods.")
]
Pods = Annotated[_Text, Option(metavar="N", help="With --shadow: end after so many comparisons.")]
LeaderElect = Annotated[
    bool, Option("--leader-elect", help="Schedule only while holding the lease.")
]
LeaseNamespace = Annotated[
    _Text, Option("--leader-elect-resource-namespace", metavar="NAME", help="[kube-system]")
]
LeaseName = Annotated[_Text, Option("--leader-elect-resource-name", metavar="NAME", help="[herz]")]
LeaseDuration = Annotated[
    _Text, Option("--leader-elect-lease-duration", metavar="TIME", help="[15s]")
]
RenewDeadline = Annotated[
    _Text, Option("--leader-elect-renew-deadline", metavar="TIME", help="[10s]")
]
RetryPeriod = Annotated[_Text, Option("--leader-elect-retry-period", metavar="TIME", help="[2s]")]
BindAddress = Annotated[str, Option(metavar="ADDRESS", help="Where the endpoints listen.")]
SecurePort = Annotated[
    str, Option(metavar="PORT", help="Of probes and metrics; 0 takes a free one. [none]")
]
CertFile = Annotated[str, Option("--tls-cert-file", metavar="FILE", help="PEM. [self-signed]")]
KeyFile = Annotated[str, Option("--tls-private-key-file", metavar="FILE", help="PEM.")]
TokenFile = Annotated[
    str, Option(metavar="FILE", help="What clients of /metrics and /configz must bear.")
]
OtlpEndpoint = Annotated[
    _Text,
    Option(
        "--otlp-endpoint", metavar="URL", help="A collector of OpenTelemetry, for spans of pods."
    ),
]
Collector = Annotated[Garbage, Option(help="When Python collects garbage.")]
LoggingFormat = Annotated[str, Option(metavar="text|json", help="Form of the log.")]
