"""Charts as SVG text that can be read on a light and on a dark page, and by colour-blind readers."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS: dict[str, tuple[str, str]] = {
    "paper": ("#fefefe", "#16191d"),
    "ink": ("#1b1f24", "#e6e9ee"),
    "muted": ("#59626d", "#a3acb8"),
    "grid": ("#e3e6ea", "#333941"),
    "blue": ("#0067a5", "#5cb3ee"),
    "orange": ("#b3400e", "#ff9a6b"),
    "green": ("#00806a", "#3fc4a6"),
    "grey": ("#868d96", "#7f8792"),
}
"""Role -> its colour on a light and on a dark page. No chart tells by colour alone: marks differ in shape, bars in
hatching or lightness."""
LIGHT = {role: light for role, (light, _) in COLOURS.items()}
_WIDTH = 4.6


@contextmanager
def figure(height: float, width: float = _WIDTH) -> Iterator["Figure"]:
    """A figure to draw on, in inches; as narrow as a phone by default, so that its text stays readable there."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    style = {
        "svg.fonttype": "none",
        "svg.hashsalt": "kapoc",
        "font.family": "sans-serif",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "axes.edgecolor": LIGHT["muted"],
        "axes.facecolor": "none",
        "axes.labelcolor": LIGHT["ink"],
        "axes.titlecolor": LIGHT["ink"],
        "axes.titlelocation": "left",
        "axes.titlesize": 9,
        "figure.facecolor": LIGHT["paper"],
        "grid.color": LIGHT["grid"],
        "legend.frameon": False,
        "legend.labelcolor": LIGHT["ink"],
        "text.color": LIGHT["ink"],
        "text.parse_math": False,
        "xtick.color": LIGHT["muted"],
        "ytick.color": LIGHT["muted"],
        "xtick.labelcolor": LIGHT["ink"],
        "ytick.labelcolor": LIGHT["ink"],
    }
    with mpl.rc_context(style):
        yield Figure(figsize=(width, height), layout="constrained")


def as_svg(drawn: "Figure") -> str:
    """The figure as SVG text; its colours change with the reader's colour scheme. Use it inside `figure`."""
    text = io.StringIO()
    drawn.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    for role, light in LIGHT.items():
        svg = svg.replace(light, f"var(--{role})")
    place = svg.index(">", svg.index("<svg ")) + 1
    return f"{svg[:place]}\n <style>{_scheme()}</style>{svg[place:]}"


def legend_above(axes: "Axes", columns: int = 4) -> None:
    """Put the legend above the axes, where it covers nothing."""
    axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, borderaxespad=0, handlelength=1.2, columnspacing=1.2
    )


def _scheme() -> str:
    light = "".join(f"--{role}:{colours[0]};" for role, colours in COLOURS.items())
    dark = "".join(f"--{role}:{colours[1]};" for role, colours in COLOURS.items())
    return f":root{{{light}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}"
