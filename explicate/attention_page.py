"""The page of a model's attention in one text: all heads side by side, one of them large, and what every token attends to.

Attention goes into the page as bytes, of texts with many tokens only the largest shares of each query, so that it stays small and
opens at once. It forbids itself (Content-Security-Policy) to load anything or to run any script but its own.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from analyzers.attention import Role
from evals.attention import CAUTION, Attention, HeadRoles, HeadStatistics
from explicate.attention_drawing import draw_overview
from explicate.pages import environment, source, trusted
from explicate.shaded_words import visible
from explicate.written_file import forms

Array = np.ndarray[Any, Any]

LONG = 128
"""Tokens up to which every share is kept."""
EDGES = 8
"""Of longer texts the largest shares that are kept of each query."""
STEPS = 255
"""Of a share in the page, which is one byte."""
ROLES: dict[Role, str] = {
    "previous": "the token before",
    "next": "the token after",
    "induction": "what followed an earlier copy of the token",
    "duplicate": "an earlier copy of the token",
    "self": "the token itself",
    "first": "the first token",
}
"""What a head attends to; last the commonest role, which says the least."""
_NAMES = {
    "attention": "attention",
    "norms": "value norms",
    "rollout": "rollout",
    "flow": "flow",
    "gradient": "attention × gradient",
}


def render(found: Attention) -> str:
    """The whole page."""
    measures = packed_measures(found)
    kept = _kept(found) if len(found.tokens) > LONG else None
    script = source("attention.js")
    page = environment().get_template("attention.html")
    return str(
        page.render(
            css=trusted("style.css"),
            script=trusted("attention.js"),
            digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            data=_data(found, measures),
            title=f"Where {visible(found.model['name'])} attends",
            identity=[(visible(key), visible(value)) for key, value in found.model.items()],
            causal=found.causal,
            layers=len(found.attention),
            heads=len(found.attention[0]),
            n_tokens=len(found.tokens),
            caution=CAUTION.partition(": "),
            tokens=[(visible(gap), visible(token)) for gap, token in zip(_gaps(found), found.tokens, strict=True)],
            measures={name: _NAMES[name] for name in measures},
            target=None if found.target is None else visible(found.target),
            flow_queries=None if found.flow is None else len(found.flow.queries),
            edges=EDGES,
            long=LONG,
            kept=kept,
            roles=_roles(found.head_roles),
            n_measured=len(found.head_roles),
            roles_failed=None if found.roles_failed is None else visible(found.roles_failed),
            role_rows=_role_rows(found.head_roles),
            grids=_grids(found.statistics),
            seed=found.seed,
        )
    )


def packed_measures(found: Attention) -> dict[str, dict[str, Any]]:
    """By its name what can be drawn: of every head, of every layer, or of all layers together."""
    measures = {"attention": {"of": "head", **packed(_planes(found.attention), causal=found.causal, scales=1.0)}}
    if found.norms is not None:
        measures["norms"] = {"of": "head", **packed(_planes(found.norms), causal=found.causal)}
    if found.rollout is not None:
        measures["rollout"] = {"of": "all", **packed(_planes(found.rollout), causal=found.causal)}
    if found.flow is not None:
        measures["flow"] = {"of": "all", **packed(_planes(found.flow.values), causal=found.causal, queries=found.flow.queries)}
    if found.gradient is not None:
        measures["gradient"] = {"of": "layer", **packed(_planes(found.gradient), causal=found.causal)}
    return measures


def packed(planes: Array, *, causal: bool, queries: Sequence[int] | None = None, scales: float | None = None) -> dict[str, Any]:
    """Values from 0 upwards as bytes for the page: value = byte / STEPS * scale of its plane.

    planes: [plane, query, key]. Up to LONG keys every value is kept, of a causal model only those that a query sees (keys up to its own
    place); of more keys the EDGES largest of each query, their keys as little-endian 16-bit numbers. queries: places of the queries where
    they are not all; scales: one of all planes, else the largest value of each.
    """
    n = planes.shape[2]
    largest = np.full(len(planes), scales) if scales is not None else planes.max(axis=(1, 2), initial=0.0)
    divisors = np.where(largest > 0, largest, 1.0)
    shares = np.rint(np.clip(planes / divisors[:, None, None], 0, 1) * STEPS).astype(np.uint8)
    found = {"size": n, "queries": None if queries is None else list(queries), "scales": [float(f"{each:.6g}") for each in divisors]}
    if n > LONG:
        keys = largest_keys(planes)
        return found | {"shares": _base64(np.take_along_axis(shares, keys, axis=2)), "keys": _base64(keys.astype("<u2")), "edges": EDGES}
    places = np.arange(n) if queries is None else np.asarray(queries, dtype=np.int64)
    seen = (np.arange(n) <= places[:, None]) | (not causal)
    return found | {"shares": _base64(shares[:, seen]), "keys": None, "edges": 0}


def largest_keys(planes: Array) -> Array:
    """[plane, query, EDGES] places of each query's largest values, largest first. planes: [plane, query, key], more than EDGES keys."""
    keys = np.empty((*planes.shape[:2], EDGES), dtype=np.int64)
    for at, plane in enumerate(planes):
        some = np.argpartition(-plane, EDGES, axis=1)[:, :EDGES]
        order = np.argsort(-np.take_along_axis(plane, some, axis=1), axis=1, kind="stable")
        keys[at] = np.take_along_axis(some, order, axis=1)
    return keys


def _planes(values: Any) -> Array:
    """[plane, query, key] of whatever has axes before query and key."""
    array = np.asarray(values, dtype=np.float32)
    return array.reshape(-1, *array.shape[-2:])


def _base64(values: Array) -> str:
    return base64.b64encode(values.tobytes()).decode()


def _data(found: Attention, measures: dict[str, dict[str, Any]]) -> Any:
    """What the script reads, which may hold any text: no "<" of it can end the element that it stands in."""
    from markupsafe import Markup

    data = found.model_dump(exclude={"attention", "norms", "rollout", "flow", "gradient"}) | {
        # The folder is one of this machine, and pages are passed on.
        "model_path": found.model["name"],
        "shown": [visible(token) for token in found.tokens],
        "layers": len(found.attention),
        "heads": len(found.attention[0]),
        "measures": measures,
        "names": _NAMES,
    }
    for each in (*data["statistics"], *(score for roles in data["head_roles"] for score in roles["scores"].values())):
        each |= {key: float(f"{value:.4g}") for key, value in each.items() if isinstance(value, float)}
    return Markup(json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"))  # noqa: S704 -- no markup is left in it


def _gaps(found: Attention) -> list[str]:
    """[token] what stands before it and is in no token: the spaces between the words of an encoder."""
    gaps, reached, inside = [], 0, False
    for at, span in enumerate(found.spans):
        start, end = span if span is not None else (reached, reached)
        apart = at > 0 and not (inside and span is not None)
        gaps.append("" if found.causal else found.text[reached:start] or (" " if apart else ""))
        reached, inside = max(reached, end), span is not None
    return gaps


def _kept(found: Attention) -> str:
    """Mean share of a query's attention that its kept edges hold."""
    planes = _planes(found.attention)
    return f"{np.take_along_axis(planes, largest_keys(planes), axis=2).sum(axis=2).mean():.0%}"


def _roles(measured: Sequence[HeadRoles]) -> list[dict[str, Any]]:
    """The roles that some head has, as buttons that show only these heads."""
    counts = {role: sum(each.role == role for each in measured) for role in ROLES}
    return [{"name": role, "says": ROLES[role], "n": n} for role, n in counts.items() if n]


def _role_rows(measured: Sequence[HeadRoles]) -> list[dict[str, Any]]:
    """Heads with a role, by role and the surest first."""
    rows = []
    for role in ROLES:
        of_role = [(each.scores[role], each) for each in measured if each.role == role]
        for score, each in sorted(of_role, key=lambda pair: -pair[0].value):
            rows.append(
                {
                    "role": role,
                    "layer": each.layer,
                    "head": each.head,
                    "value": f"{score.value:.2f}",
                    "interval": f"[{score.low:.2f}, {score.high:.2f}]",
                    "chance": f"{score.chance:.2f}",
                    "n": score.n,
                }
            )
    return rows


def _grids(statistics: Sequence[HeadStatistics]) -> list[dict[str, Any]]:
    """Entropy and distance, layers downwards and heads to the right, shaded relative to the largest."""
    grids = []
    for name, unit, says in (
        ("entropy", "nats", "0: all on one token; larger: spread over more of them"),
        ("distance", "tokens", "mean way from a token to what it attends to"),
    ):
        values = [getattr(each, name) for each in statistics]
        largest = max(values, default=0.0) or 1.0
        cells = [
            {"layer": each.layer, "head": each.head, "a": f"{value / largest:.3f}", "value": f"{value:.2f}"}
            for each, value in zip(statistics, values, strict=True)
        ]
        grids.append({"name": name, "unit": unit, "says": says, "largest": f"{largest:.2f}", "cells": cells})
    return grids


FORMS = forms(render, svg=draw_overview)
"""How it is written to a file, by ending."""
