"""The public plugin contract: what a rule is, and what the runner promises it.

A rule is a class that names the Protocols it fulfils as bases (`class MyRule(Filter, Score)`).
It is constructed once with its arguments and a `ReasonBook`, then asked:

    prepare(pod, view)              once per pod signature         -> state | SKIP | Verdict
    filter(state, view, rows)       for rows that may have changed -> codes, 0 fits
    prepare_score(pod, view)        once per pod signature         -> state | SKIP | Verdict
    prescore(state, view, feasible) for every pod, PreScore only   -> state | SKIP
    score(state, view, rows)        for rows that may have changed -> raw points
    normalize(raw, low, high)       row by row                     -> points 0..100

`rows` is a slice (all rows) or an index array (the rows that changed): a rule is written once,
in numpy, for both. Codes and raw points are kept per pod signature and asked again only for
rows on which something changed that the rule `reads`; what a rule does not declare must not
move its answer. Everything is an int64: no float, clock,
random number or set order may reach an answer.

A third party registers its class in the entry point group `herz.plugins`.
"""

from herz.plugin.changes import (
    Change,
    EventKind,
    Hint,
    PodQuery,
    Reads,
)
from herz.plugin.rules import (
    FINE_SCORE_MAX,
    SCORE_MAX,
    Based,
    Filter,
    Hints,
    Mode,
    Normalize,
    Plugin,
    PostFilter,
    PreBind,
    PreemptionTerms,
    PreEnqueue,
    PreScore,
    QueueSort,
    Reading,
    Reserve,
    RowVersioned,
    Score,
    Summing,
    Versioned,
)
from herz.plugin.verdicts import (
    SKIP,
    SKIP_NOW,
    Kind,
    Narrowed,
    ReasonBook,
    Skip,
    Verdict,
)
from herz.plugin.view import (
    MISSING,
    Codes,
    Count,
    CountByTerm,
    Int64s,
    ObjectT,
    Rows,
    View,
    row_count,
)

__all__ = [
    "FINE_SCORE_MAX",
    "MISSING",
    "SCORE_MAX",
    "SKIP",
    "SKIP_NOW",
    "Based",
    "Change",
    "Codes",
    "Count",
    "CountByTerm",
    "EventKind",
    "Filter",
    "Hint",
    "Hints",
    "Int64s",
    "Kind",
    "Mode",
    "Narrowed",
    "Normalize",
    "ObjectT",
    "Plugin",
    "PodQuery",
    "PostFilter",
    "PreBind",
    "PreEnqueue",
    "PreScore",
    "PreemptionTerms",
    "QueueSort",
    "Reading",
    "Reads",
    "ReasonBook",
    "Reserve",
    "RowVersioned",
    "Rows",
    "Score",
    "Skip",
    "Summing",
    "Verdict",
    "Versioned",
    "View",
    "row_count",
]
