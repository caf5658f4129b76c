"""Costs: from what nodes count (CPU seconds, deliveries, messages taken in) to what traffic costs them.

Pure: values in, values out, time is a parameter. `meter` makes intervals of the nodes' counters, `fit` a
robust estimate of many intervals, `book` keeps both with bounded memory, `steps` says how far a fleet that
is sized by measured costs may move, `codec` writes all of it into the resource's status.
"""

from __future__ import annotations

from wsfleet.costs.book import CostBook, NodeMemory
from wsfleet.costs.codec import book_from_status, book_to_status
from wsfleet.costs.fit import Estimate, fit
from wsfleet.costs.meter import Interval, NodeCount
from wsfleet.costs.steps import Applied, CostFigures, advance

__all__ = [
    "Applied",
    "CostBook",
    "CostFigures",
    "Estimate",
    "Interval",
    "NodeCount",
    "NodeMemory",
    "advance",
    "book_from_status",
    "book_to_status",
    "fit",
]
