"""The roofline report as one HTML page that needs nothing else: plots by plotly, and tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go
import plotly.io
from peaks import Peaks

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 72em; padding: 0 1em; }
table { border-collapse: collapse; font-size: 13px; }
td, th { padding: 2px 9px; text-align: right; border-bottom: 1px solid #ddd; }
td:first-child, th:first-child { text-align: left; overflow-wrap: anywhere; }
"""
COLUMNS = (
    *("step", "operator", "kernel", "shapes", "calls"),
    *("ms", "GFLOP/s", "GB/s", "bound by", "of roof"),
)


def _roofs(figure: go.Figure, bounds: Peaks) -> None:
    """A line per type of number: arithmetic per byte against what is allowed."""
    intensity = np.geomspace(0.01, 10000, 200)
    kept = {k: bounds.compute(k) for k in ("float", "int8", "bfloat16") if k in bounds.operations}
    (least, fastest), (size, slowest) = bounds.copies[0], bounds.copies[-1]
    memories = [(slowest, f"{size >> 20} MiB", "solid"), (fastest, f"{least >> 10} KiB", "dot")]
    for rate, name, dash in memories:
        for element, peak in kept.items():
            allowed = np.minimum(peak, intensity * rate) / 1e9
            figure.add_scatter(
                x=intensity,
                y=allowed,
                mode="lines",
                name=f"{element}, copies of {name}",
                line={"dash": dash, "width": 1.5},
                hoverinfo="skip",
            )


def _roofline(steps: Sequence[Mapping[str, Any]], bounds: Peaks) -> go.Figure:
    """A point per step, as large as its share of the time."""
    figure = go.Figure()
    _roofs(figure, bounds)
    whole = sum(step["seconds"] for step in steps) or 1.0
    groups: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for step in steps:
        if step["operations"] and step["moved"] and step["seconds"]:
            groups[step["op"]].append(step)
    for op, own in groups.items():
        figure.add_scatter(
            x=[step["operations"] / step["moved"] for step in own],
            y=[step["operations"] * step["calls"] / step["seconds"] / 1e9 for step in own],
            text=[f"{step['name']}<br>{step['shapes']}<br>{_of_roof(step)}" for step in own],
            mode="markers",
            name=op,
            marker={"size": [6 + 60 * (step["seconds"] / whole) ** 0.5 for step in own]},
            opacity=0.7,
        )
    figure.update_xaxes(type="log", title="operations per byte")
    figure.update_yaxes(type="log", title="GFLOP/s")
    figure.update_layout(title="Steps below the machine's roofs", height=560)
    return figure


def _operators(steps: Sequence[Mapping[str, Any]]) -> go.Figure:
    """Time per operator, and what the roofs allow."""
    spent: dict[str, float] = defaultdict(float)
    allowed: dict[str, float] = defaultdict(float)
    for step in steps:
        spent[step["op"]] += step["seconds"] * 1e3
        allowed[step["op"]] += step["least_seconds"] * 1e3
    order = sorted(spent, key=lambda op: spent[op])[-20:]
    figure = go.Figure()
    figure.add_bar(x=[spent[op] for op in order], y=order, orientation="h", name="taken")
    figure.add_bar(x=[allowed[op] for op in order], y=order, orientation="h", name="roofs allow")
    figure.update_xaxes(title="ms")
    figure.update_layout(title="Operators", barmode="group", height=160 + 34 * len(order))
    return figure


def _in_order(steps: Sequence[Mapping[str, Any]]) -> go.Figure:
    """Time per step, in the order of running."""
    place = list(range(1, len(steps) + 1))
    text = [f"{step['name']} ({step['op']})<br>{step['shapes']}" for step in steps]
    figure = go.Figure()
    for name, key in (("taken", "seconds"), ("roofs allow", "least_seconds")):
        figure.add_bar(x=place, y=[step[key] * 1e3 for step in steps], text=text, name=name)
    figure.update_traces(textposition="none")
    figure.update_yaxes(title="ms")
    figure.update_layout(title="Steps in the order of running", barmode="overlay", height=400)
    return figure


def _of_roof(step: Mapping[str, Any]) -> str:
    if not step["least_seconds"] or not step["seconds"]:
        return ""
    return f"{step['least_seconds'] / step['seconds'] * 100:.0f} %"


def _table(steps: Sequence[Mapping[str, Any]]) -> str:
    lines = ["<table><tr>" + "".join(f"<th>{name}</th>" for name in COLUMNS) + "</tr>"]
    for step in sorted(steps, key=lambda one: -one["seconds"]):
        per_second = step["calls"] / step["seconds"] / 1e9 if step["seconds"] else 0.0
        cells = (
            step["name"] or "-",
            step["op"],
            step["kernel"],
            step["shapes"],
            f"{step['calls']:g}",
            f"{step['seconds'] * 1e3:.4f}",
            f"{step['operations'] * per_second:.1f}",
            f"{step['moved'] * per_second:.1f}",
            step["bound_by"],
            _of_roof(step),
        )
        lines.append("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
    return "\n".join([*lines, "</table>"])


def page(result: Mapping[str, Any], bounds: Peaks) -> str:
    """The whole page, for a result as roofline.py writes it."""
    facts, first = result["machine"], True
    parts = [
        "<!doctype html><html><head><meta charset='utf-8'><title>tiercel: rooflines</title>",
        f"<style>{STYLE}</style></head><body><h1>Rooflines</h1>",
        f"<p>{escape(facts['cpu'])}, {facts['cores']} cores, {escape(facts['system'])}; "
        f"tiercel {escape(facts['engines']['tiercel'])} {escape(facts['commit'])}, "
        f"{bounds.threads} threads, {escape(facts['date'])}</p>",
        f"<p>{escape(result['machine rates'])}</p>",
    ]
    for model in result["models"]:
        steps = model["steps"]
        parts.append(f"<h2>{escape(model['model'])}</h2><p>{escape(model['summary'])}</p>")
        for figure in (_roofline(steps, bounds), _operators(steps), _in_order(steps)):
            figure.update_layout(template="plotly_white")
            parts.append(plotly.io.to_html(figure, full_html=False, include_plotlyjs=first))
            first = False
        parts.append(_table(steps))
    return "\n".join([*parts, "</body></html>\n"])
