"""A catalog from tool descriptions."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

from policies.catalog_draft.arguments import propose_argument
from policies.catalog_draft.descriptions import ToolDescription
from policies.catalog_draft.effects import propose_boundary, propose_effects
from policies.catalog_draft.proposal import ProposedTool
from policies.catalog_draft.results import propose_data, propose_returns
from policies.catalog_draft.vocabulary import Vocabulary


def draft_tools(tools: Sequence[ToolDescription], vocabulary: Vocabulary) -> tuple[ProposedTool, ...]:
    """One proposal for each tool, in their order. Cost: about 0.1 ms a tool."""
    return tuple(_draft(tool, vocabulary) for tool in tools)


def _draft(tool: ToolDescription, vocabulary: Vocabulary) -> ProposedTool:
    effects = propose_effects(tool, vocabulary)
    boundary = propose_boundary(tool, effects.value, vocabulary)
    return ProposedTool(
        name=tool.name,
        system=tool.group or None,
        effects=effects,
        boundary=boundary,
        data=propose_data(tool, vocabulary),
        returns=propose_returns(tool, effects.value, boundary.value, vocabulary),
        args=MappingProxyType(
            {
                one.name: propose_argument(one, effects.value, boundary.value, vocabulary)
                for one in tool.parameters
            }
        ),
    )
