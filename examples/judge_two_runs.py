"""Compare two runs from Python, judge them by checks of your own, and look at what was lost.

    python examples/judge_two_runs.py reports/reference/base reports/reference/plain

Needs no torch: runs are folders, made by `kapoc bench` or by `measure_a_model.py`.
"""

import sys
from pathlib import Path

from kapoc.judging.compare import compare
from kapoc.judging.gate import judge
from kapoc.judging.gate_file import Check, Gate
from kapoc.record import load_run

GATE = Gate(
    check=(
        Check(name="learned", kind="superiority", quantity="unseen", margin=0.10),
        Check(name="prose kept", kind="non_inferiority", quantity="text", margin=0.01),
    )
)


def main(before: Path, after: Path) -> int:
    """Print tiers, verdict and lost items; the exit code is the verdict's."""
    comparison = compare(load_run(before), load_run(after))
    for tier, result in comparison.tiers.items():
        low, high = result.interval
        print(f"{tier}: {result.before:.1%} -> {result.after:.1%}, difference in [{low:+.1%}, {high:+.1%}]")
    verdict = judge(comparison, GATE)
    for check in verdict.checks:
        print(f"{check.name}: {check.outcome} (should be {check.claim}; it is {check.value:+.4f})")
    lost = [line for line in comparison.ledger if line.entry == "lost"]
    print(f"{len(lost)} items lost")
    for line in lost[:3]:
        print(f"  {line.id}: {line.after[:60]!r} in place of {line.reference[:60]!r}")
    return verdict.exit_code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
