"""The numbers by which recipes and runs are held against each other, as columns of a table."""

from collections.abc import Callable

from kapoc.report.numbers import percent

Format = Callable[[float], str]
COLUMNS: dict[str, tuple[str, Format, Format]] = {
    "dev": ("dev, exact", percent, lambda sd: f"{100 * sd:.1f}"),
    "recall": ("recall", percent, lambda sd: f"{100 * sd:.1f}"),
    "seen": ("seen", percent, lambda sd: f"{100 * sd:.1f}"),
    "paraphrased": ("paraphrased", percent, lambda sd: f"{100 * sd:.1f}"),
    "unseen": ("unseen", percent, lambda sd: f"{100 * sd:.1f}"),
    "spillover/control": ("spillover, control", percent, lambda sd: f"{100 * sd:.1f}"),
    "spillover/off_topic": ("spillover, off-topic", percent, lambda sd: f"{100 * sd:.1f}"),
    "general_difference": ("general, points", lambda x: f"{100 * x:+.1f}", lambda sd: f"{100 * sd:.1f}"),
    "bits_per_byte_difference": ("bits per byte, difference", lambda x: f"{x:+.4f}", lambda sd: f"{sd:.4f}"),
    "divergence": ("KL(base || trained)", lambda x: f"{x:.4f}", lambda sd: f"{sd:.4f}"),
    "seconds": ("training, s", lambda x: f"{x:.0f}", lambda sd: f"{sd:.0f}"),
}
"""Score -> its heading, and how its mean and its standard deviation are written."""
FORGETTING = {
    "divergence": "KL(base || trained), nats per token",
    "bits_per_byte_difference": "bits per byte more than the base",
}
"""What stands for forgetting, in words."""
