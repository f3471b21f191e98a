"""Draws the figures of the documentation into this folder, the same bytes each time.

python docs/figures/draw.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

HERE = Path(__file__).resolve().parent
INK, BLUE, RED, GREY, PALE = "#1f2933", "#2563a8", "#c2410c", "#8a94a0", "#eef2f7"
LEAK = {"as of the request": (0.743, 0.753), "as of the day's end": (0.990, 0.598)}
"""AUC on October and November, and on December as served; from `make bench NAME=leak`."""


def _figure(width: float, height: float) -> tuple[Any, Any]:
    figure, axes = pyplot.subplots(figsize=(width, height))
    axes.set_axis_off()
    return figure, axes


def window() -> Any:
    """What a window of three days sees as of t, in training and in serving."""
    figure, axes = _figure(8.4, 2.9)
    axes.set_xlim(-0.6, 10.4)
    axes.set_ylim(-1.5, 2.3)
    axes.axvspan(3.5, 6.5, ymin=0.26, ymax=0.72, color=BLUE, alpha=0.12, lw=0)
    axes.annotate("", (10.2, 0), (-0.4, 0), arrowprops={"arrowstyle": "->", "color": INK})
    seen, unseen = (3.5, 4.6, 5.4, 6.5), (0.6, 2.3, 7.6, 9.1)
    axes.plot(seen, [0] * 4, "o", color=BLUE, ms=9)
    axes.plot(unseen, [0] * 4, "o", color="white", mec=GREY, ms=9)
    axes.plot([6.5, 6.5], [-0.75, 1.3], color=INK, lw=1.2)
    axes.text(6.5, 1.45, "t: a request, or a row to train on", ha="center", color=INK)
    axes.text(5.0, 0.75, "window: t − 3 d ≤ ts ≤ t", ha="center", color=BLUE)
    axes.text(1.45, 0.45, "too old", ha="center", color=GREY)
    axes.text(8.35, 0.45, "the future: never seen", ha="center", color=RED)
    axes.text(5.0, -1.2, "count(*) OVER (RANGE INTERVAL 3 DAYS PRECEDING) is 4: both ends count, to the microsecond",
              ha="center", color=INK, family="monospace", fontsize=8)  # fmt: skip
    axes.text(10.1, -0.5, "event time", ha="right", color=GREY, fontsize=9)
    return figure


_BOXES = {
    "feeds": (0, 2.2, "feeds, files", "events as JSON or Parquet"),
    "worker": (2.6, 2.2, "worker", "decode once, refuse once"),
    "archive": (5.2, 3.5, "archive", "Delta Lake: the offline truth"),
    "state": (5.2, 0.9, "state", "LMDB: one string a key"),
    "training": (8.0, 3.5, "training set", "DuckDB, as of each row's t"),
    "serving": (8.0, 0.9, "scoring service", "look up, fold, score"),
    "log": (10.8, 0.9, "served log", "values, and what was known"),
    "verify": (10.8, 3.5, "verify", "rebuild, compare each bit"),
}
_ARROWS = (
    ("feeds", "worker", ""), ("worker", "archive", ""), ("worker", "state", ""), ("archive", "state", "materialize"),
    ("archive", "training", ""), ("training", "serving", "model, contract"), ("state", "serving", ""),
    ("serving", "log", ""), ("log", "verify", ""), ("archive", "verify", ""),
)  # fmt: skip


def flow() -> Any:
    """From events to the proof."""
    figure, axes = _figure(11.2, 3.9)
    axes.set_xlim(-0.2, 13.2)
    axes.set_ylim(0, 5.6)
    for x, y, title, about in _BOXES.values():
        axes.add_patch(FancyBboxPatch((x, y), 2.1, 0.95, boxstyle="round,pad=0.05", fc=PALE, ec=BLUE))
        axes.text(x + 1.05, y + 0.62, title, ha="center", weight="bold", color=INK, fontsize=9)
        axes.text(x + 1.05, y + 0.22, about, ha="center", color=INK, fontsize=6.6)
    for start, end, word in _ARROWS:
        (x0, y0, _, _), (x1, y1, _, _) = _BOXES[start], _BOXES[end]
        bent = start == "archive" and end == "verify"
        if bent:
            ends = (x0 + 1.05, y0 + 1.02), (x1 + 1.05, y1 + 1.02)
        elif x0 == x1:
            down = y0 > y1
            ends = (x0 + 1.05, y0 - 0.07 if down else y0 + 1.02), (x1 + 1.05, y1 + 1.02 if down else y1 - 0.07)
        else:
            ends = (x0 + 2.17, y0 + 0.47), (x1 - 0.07, y1 + 0.47)
        style = "arc3,rad=-0.18" if bent else "arc3"
        axes.add_patch(FancyArrowPatch(*ends, arrowstyle="-|>", mutation_scale=9, color=GREY, connectionstyle=style))
        axes.text((ends[0][0] + ends[1][0]) / 2 + 0.1, (ends[0][1] + ends[1][1]) / 2, word, color=GREY, fontsize=7)
    text = "one definition, compiled to DuckDB (above) and to plain functions (below), judged by one oracle"
    axes.text(6.5, 0.15, text, ha="center", color=BLUE, fontsize=8.5)
    return figure


def leak() -> Any:
    """Two models: what each promised, and what December gave."""
    figure, axes = pyplot.subplots(figsize=(6.4, 3.2))
    for place, (promised, given) in enumerate(LEAK.values()):
        for shift, value, colour in ((-0.18, promised, GREY), (0.18, given, RED if place else BLUE)):
            axes.bar(place + shift, value - 0.5, 0.34, bottom=0.5, color=colour)
            axes.text(place + shift, value + 0.008, f"{value:.3f}", ha="center", color=INK, fontsize=9)
    axes.set_xticks(range(len(LEAK)), [f"features {name}" for name in LEAK])
    axes.set_ylim(0.5, 1.06)
    axes.set_ylabel("AUC (0.5: a coin)")
    handles = [pyplot.Rectangle((0, 0), 1, 1, color=c) for c in (GREY, BLUE)]
    axes.legend(handles, ["its own evaluation", "December, as served"], frameon=False, fontsize=8, loc="upper left")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure


FIGURES = {"window": window, "flow": flow, "leak": leak}


def main() -> None:
    settings = {"svg.hashsalt": "onefold", "svg.fonttype": "path", "font.size": 9.5, "font.family": "DejaVu Sans"}
    with matplotlib.rc_context(settings):
        for name, draw in FIGURES.items():
            figure = draw()
            figure.savefig(HERE / f"{name}.svg", bbox_inches="tight", metadata={"Date": None}, facecolor="white")
            pyplot.close(figure)


if __name__ == "__main__":
    main()
