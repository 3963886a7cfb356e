"""What a model says of itself: its inputs and outputs, and its metadata."""

from __future__ import annotations

from typing import Any


class NodeArg:
    """One input or output: name, shape (int, symbol name or None per axis), type text."""

    __slots__ = ("_element_type", "name", "shape", "type")

    def __init__(
        self, name: str, type: str, shape: list[int | str | None], element_type: int
    ) -> None:
        self.name, self.type, self.shape = name, type, shape
        self._element_type = element_type

    def __repr__(self) -> str:
        return f"NodeArg(name='{self.name}', type='{self.type}', shape={self.shape})"


class ModelMetadata:
    """Producer, names, version and the custom key-value pairs of a model."""

    def __init__(self, facts: dict[str, Any]) -> None:
        self.producer_name: str = facts["producer_name"]
        self.graph_name: str = facts["graph_name"]
        self.domain: str = facts["domain"]
        self.description: str = facts["description"]
        self.graph_description: str = facts["graph_description"]
        self.version: int = facts["version"]
        self.custom_metadata_map: dict[str, str] = facts["custom_metadata_map"]


class OrtEpAssignedNode:
    """A node of the optimised graph: name, operator and domain."""

    __slots__ = ("domain", "name", "op_type")

    def __init__(self, name: str, op_type: str, domain: str) -> None:
        self.name, self.op_type, self.domain = name, op_type, domain


class OrtEpAssignedSubgraph:
    """The nodes that one execution provider runs."""

    def __init__(self, ep_name: str, nodes: list[OrtEpAssignedNode]) -> None:
        self.ep_name = ep_name
        self._nodes = nodes

    def get_nodes(self) -> list[OrtEpAssignedNode]:
        """The nodes, in the order of the graph."""
        return list(self._nodes)
