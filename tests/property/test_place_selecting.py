"""Selectors over columns say of each node what selectors over its labels say."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from herz.model.labels import compile_label_map, compile_node_selector
from herz.model.objects import NodeSelector, NodeSelectorRequirement, NodeSelectorTerm
from herz.place.selecting import rows_matching, rows_matching_labels, rows_matching_term
from tests.support.machine import World
from tests.support.objects import make_node

KEYS = ("a", "b", "example.com/c")
VALUES = ("", "x", "y", "1", "7", "-3", "007", "9223372036854775807", "9223372036854775808", "+5")
NAMES = ("n0", "n1", "n2", "n3", "absent")

requirements = st.builds(
    NodeSelectorRequirement,
    key=st.sampled_from([*KEYS, "bad key"]),
    operator=st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt", "Odd"]),
    values=st.lists(st.sampled_from(VALUES), max_size=3).map(tuple),
) | st.builds(
    NodeSelectorRequirement,
    key=st.sampled_from(KEYS),
    operator=st.sampled_from(["Gt", "Lt"]),
    values=st.sampled_from(["0", "1", "6", "-4", "9223372036854775807"]).map(lambda v: (v,)),
)
fields = st.builds(
    NodeSelectorRequirement,
    key=st.sampled_from(["metadata.name", "metadata.name", "metadata.other"]),
    operator=st.sampled_from(["In", "NotIn", "Exists"]),
    values=st.lists(st.sampled_from([*NAMES, ""]), min_size=1, max_size=2).map(tuple),
)
terms = st.builds(
    NodeSelectorTerm,
    match_expressions=st.lists(requirements, max_size=3).map(tuple),
    match_fields=st.lists(fields, max_size=2).map(tuple),
)
labels = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES), max_size=3)


def world_of(given_labels: list[dict[str, str]]) -> World:
    nodes = [make_node(f"n{at}", labels=given) for at, given in enumerate(given_labels)]
    return World().nodes(*nodes)


@settings(max_examples=300)
@given(
    at=st.lists(labels, min_size=1, max_size=5),
    later=st.lists(labels, min_size=1, max_size=5),
    selector=st.lists(terms, max_size=3),
    rows=st.lists(st.integers(0, 63), max_size=6),
)
def test_rows_match_as_nodes_do_before_and_after_changes(
    at: list[dict[str, str]],
    later: list[dict[str, str]],
    selector: list[NodeSelectorTerm],
    rows: list[int],
) -> None:
    world = world_of(at)
    matcher = compile_node_selector(NodeSelector(node_selector_terms=tuple(selector)))
    for given_labels in (at, later):
        world.nodes(*(make_node(f"n{n}", labels=own) for n, own in enumerate(given_labels)))
        view = world.cluster.view
        whole = rows_matching(matcher, view, slice(None))
        each = [rows_matching_term(term, view, slice(None)) for term in matcher.terms]
        for name, row in world.cluster.nodes.rows.items():
            node = world.cluster.nodes.nodes[row]
            assert node is not None
            own = node.metadata.labels
            assert whole[row] == matcher.matches(name, own)
            for term, mask in zip(matcher.terms, each, strict=True):
                assert mask[row] == term.matches(name, own)
        some = np.array(rows, np.int64)
        np.testing.assert_array_equal(rows_matching(matcher, view, some), whole[some])


@settings(max_examples=150)
@example(at=[{}], wanted={"a": "\0absent"})
@given(
    at=st.lists(labels, min_size=1, max_size=5),
    wanted=st.dictionaries(
        st.sampled_from(KEYS), st.sampled_from([*VALUES, "nowhere", "\0absent"]), max_size=3
    ),
)
def test_label_maps_match_rows_as_nodes(at: list[dict[str, str]], wanted: dict[str, str]) -> None:
    world = world_of(at)
    matcher = compile_label_map(wanted)
    mask = rows_matching_labels(matcher, world.cluster.view, slice(None))
    for number, own in enumerate(at):
        assert mask[world.cluster.nodes.rows[f"n{number}"]] == matcher.matches(own)
