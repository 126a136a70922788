"""The results of a sweep as tables, in Markdown and for a terminal. Pure."""

from collections.abc import Iterator

from kapoc.judging.trials import RecipeSummary, Spread, SweepResults, TrialResult
from kapoc.report.columns import COLUMNS, FORGETTING, Format
from kapoc.report.markdown import plain, section_parts
from kapoc.report.section import Section


def render_sweep(results: SweepResults) -> str:
    """The Markdown page, with the plot `sweep.svg` beside it."""
    parts = [f"# {plain(f'Sweep {results.name} on {results.knowledge}')}"]
    for section in sweep_sections(results):
        parts += section_parts(section, folds=True)
        if section.title == "Recipes":
            parts.append(f"![recall against forgetting; the larger, the longer it trained]({results.stem}.svg)")
    return "\n\n".join(parts) + "\n"


def sweep_sections(results: SweepResults) -> Iterator[Section]:
    """Recipes over their seeds, unseen uses by kind, what failed, every trial."""
    if results.recipes:
        yield _recipes(results)
        kinds = list(
            dict.fromkeys(name for row in results.recipes for name in row.scores if name.startswith("unseen/"))
        )
        if kinds:
            shares = COLUMNS["unseen"][1:]
            headings = ["recipe", *(kind.removeprefix("unseen/") for kind in kinds)]
            rows = [[row.recipe, *(_cell(row, kind, *shares) for kind in kinds)] for row in results.recipes]
            yield Section("Unseen uses by kind", "", headings, rows)
    if results.failures:
        failed = [[failure.name, failure.error] for failure in results.failures]
        note = "Run the sweep again: what has finished is not repeated."
        yield Section("Failed", note, ["trial", "error"], failed)
    if results.trials:
        rows = [_trial(trial) for trial in results.trials]
        yield Section("Trials", "", ["trial", *(column[0] for column in COLUMNS.values())], rows, is_detail=True)


def _recipes(results: SweepResults) -> Section:
    note = (
        "Mean over seeds, ± their standard deviation. Recall is the mean of paraphrased and unseen. A star marks what "
        f"is Pareto-optimal: none has as much recall, as little forgetting ({FORGETTING[results.forgetting]}) "
        "and as short a training, and is better in one of them. Seconds are those of training "
        "itself, without the writing of replayed text."
    )
    if any("dev" in recipe.scores for recipe in results.recipes):
        note += (
            " Choose by dev: of many recipes the one that does best on the probes does so by luck, too, and would "
            "recall less on others."
        )
    for one in results.notes:
        note += f" Note: {one}."
    if results.failures:
        note += " A recipe of which a trial failed has no star."
    if results.num_open:
        note += f" {results.num_open} trials have not ended yet; a recipe has no star before all of its own have."
    if results.limit is not None:
        note += f" Only {results.limit} items a task were asked: nothing here is evidence."
    shown = [name for name in COLUMNS if any(name in recipe.scores for recipe in results.recipes)]
    rows = [
        [
            "*" if recipe.is_optimal else "",
            recipe.recipe,
            _seeds(recipe, results.planned.get(recipe.recipe, 0)),
            *(_cell(recipe, name, *COLUMNS[name][1:]) for name in shown),
        ]
        for recipe in results.recipes
    ]
    return Section("Recipes", note, ["", "recipe", "seeds", *(COLUMNS[name][0] for name in shown)], rows)


def _seeds(recipe: RecipeSummary, planned: int) -> str:
    found = len(recipe.seeds)
    return f"{found} of {planned}" if planned > found else str(found)


def _cell(recipe: RecipeSummary, name: str, mean: Format, sd: Format) -> str:
    spread: Spread | None = recipe.scores.get(name)
    if spread is None:
        return "-"
    return mean(spread.mean) if spread.sd is None else f"{mean(spread.mean)} ± {sd(spread.sd)}"


def _trial(trial: TrialResult) -> list[str]:
    numbers = {**trial.scores, "seconds": trial.seconds}
    return [trial.name, *(column[1](numbers[name]) if name in numbers else "-" for name, column in COLUMNS.items())]
