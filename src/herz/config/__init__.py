"""Settings: what a user writes down before a scheduler starts.

`policy` is Herz' own kind of file, `kubescheduler` and `profiles` read kube-scheduler's into the
same policies, `files` tells them apart. No rule is known here: what there is to enable is handed
in as `Rules`.
"""

from herz.config.files import pick_policies, pick_policy, read_settings, split_profile
from herz.config.intree import EXTENDS
from herz.config.kubescheduler import (
    DEFAULT_SCHEDULER,
    Configuration,
    LeaderElection,
    complete_configuration,
    is_configuration,
    parse_configuration,
)
from herz.config.models import with_models
from herz.config.modes import RESERVATIONS, RuleTerms, lasting, rule_terms
from herz.config.policies import (
    PROFILES_MAX,
    Policies,
    Profile,
    canonical_policy,
    parse_policies,
    policy_of,
)
from herz.config.policy import (
    BYTES_MAX,
    PLUGINS_MAX,
    POINTS,
    WEIGHT_MAX,
    BackoffPolicy,
    OrderPolicy,
    PluginEntry,
    Policy,
    QueuePolicy,
    StarvationPolicy,
    check_policy,
    parse_policy,
    read_bytes,
    read_plain,
    read_policy,
)
from herz.config.profiles import Rules
from herz.config.wire import (
    ClientConnectionConfiguration,
    KubeSchedulerConfiguration,
    LeaderElectionConfiguration,
)

__all__ = [
    "BYTES_MAX",
    "DEFAULT_SCHEDULER",
    "EXTENDS",
    "PLUGINS_MAX",
    "POINTS",
    "PROFILES_MAX",
    "RESERVATIONS",
    "WEIGHT_MAX",
    "BackoffPolicy",
    "ClientConnectionConfiguration",
    "Configuration",
    "KubeSchedulerConfiguration",
    "LeaderElection",
    "LeaderElectionConfiguration",
    "OrderPolicy",
    "PluginEntry",
    "Policies",
    "Policy",
    "Profile",
    "QueuePolicy",
    "RuleTerms",
    "Rules",
    "StarvationPolicy",
    "canonical_policy",
    "check_policy",
    "complete_configuration",
    "is_configuration",
    "lasting",
    "parse_configuration",
    "parse_policies",
    "parse_policy",
    "pick_policies",
    "pick_policy",
    "policy_of",
    "read_bytes",
    "read_plain",
    "read_policy",
    "read_settings",
    "rule_terms",
    "split_profile",
    "with_models",
]
