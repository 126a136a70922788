"""A training run as charts: loss, dev answers and divergence by epoch, and the way back to the base."""

from collections.abc import Iterator

from kapoc.report.charts import Chart
from kapoc.report.drawing import LIGHT, as_svg, figure, legend_above
from kapoc.report.training import ALPHA_CURVE, LEARNING_CURVE
from kapoc.training_record import AlphaReport, TrainingRecord

_DRAWN_AS = (("o", "blue"), ("s", "orange"))


def training_charts(training: TrainingRecord) -> Iterator[Chart]:
    """The learning curve, and the alpha curve where there is one."""
    panels = {name: lines for name, lines in _panels(training).items() if lines}
    if panels:
        yield Chart(LEARNING_CURVE, f"By epoch: {'; '.join(panels)}.", _learning(panels))
    if (taken := training.taken) is not None:
        yield Chart(
            ALPHA_CURVE,
            "Right dev answers against divergence, from the base to the trained weights; a ring marks what was taken, "
            "a dashed line the budget of divergence.",
            _alphas(training, taken),
        )


def _panels(training: TrainingRecord) -> dict[str, dict[str, list[tuple[int, float]]]]:
    epochs = training.epochs
    lines = {
        "loss, nats per answer token": {
            "training": [(epoch.epoch, epoch.train_loss) for epoch in epochs],
            "dev": [(epoch.epoch, epoch.dev_loss) for epoch in epochs if epoch.dev_loss is not None],
        },
        "dev answers exact, %": {
            "dev": [(epoch.epoch, 100 * epoch.dev_exact) for epoch in epochs if epoch.dev_exact is not None]
        },
        "KL(base || model), nats per token": {
            "KL": [(epoch.epoch, epoch.divergence) for epoch in epochs if epoch.divergence is not None]
        },
        "held-out spillover, %": {
            "spillover": [(epoch.epoch, 100 * epoch.spillover) for epoch in epochs if epoch.spillover is not None]
        },
    }
    return {name: {label: points for label, points in panel.items() if points} for name, panel in lines.items()}


def _learning(panels: dict[str, dict[str, list[tuple[int, float]]]]) -> str:
    from matplotlib.ticker import MaxNLocator

    with figure(0.4 + 1.35 * len(panels)) as drawn:
        axes_list = drawn.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
        for axes, (name, lines) in zip(axes_list, panels.items(), strict=True):
            for (marker, colour), (label, points) in zip(_DRAWN_AS, lines.items(), strict=False):
                axes.plot(*zip(*points, strict=True), marker=marker, markersize=4, color=LIGHT[colour], label=label)
            axes.grid(visible=True)
            axes.set_ylim(bottom=0)
            if len(lines) > 1:
                legend_above(axes)
                axes.set_ylabel(name.split(",")[0] + ", nats")
            else:
                axes.set_title(name)
        axes_list[-1].set(xlabel="epoch")
        axes_list[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
        return as_svg(drawn)


def _alphas(training: TrainingRecord, taken: AlphaReport) -> str:
    with figure(2.7) as drawn:
        axes = drawn.add_subplot()
        kl, exact = zip(*((point.divergence, 100 * point.dev_exact) for point in training.alphas), strict=True)
        axes.plot(kl, exact, marker="o", markersize=5, color=LIGHT["blue"])
        for point in training.alphas:
            place = (point.divergence, 100 * point.dev_exact)
            axes.annotate(f"{point.alpha:g}", place, xytext=(8, -12), textcoords="offset points")
        there = ([taken.divergence], [100 * taken.dev_exact])
        axes.scatter(*there, s=130, zorder=3, facecolor="none", edgecolor=LIGHT["orange"], linewidth=2)
        axes.axvline(training.budget, color=LIGHT["orange"], linestyle="--", linewidth=1)
        axes.set(xlabel="KL(base || model), nats per token", ylabel="dev answers exact, %")
        axes.grid(visible=True)
        axes.margins(0.12)
        return as_svg(drawn)
