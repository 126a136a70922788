"""A sweep: the TOML file of recipes, seeds and models, and the trials that it stands for."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from kapoc.errors import DataError, near_miss
from kapoc.recipe import Recipe, ReplaySettings, TrainSettings, load_recipe, with_numbers
from kapoc.source import Number, StrictRecord, load_toml, validate

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
_OWN_SEEDS = "is set by `seeds` outside of the grid and of `train`; name the seeds there"
_MOST_BYTES = 200
"""Of a trial's name, which is its folder's; file systems take 255."""
Names = Annotated[
    tuple[Annotated[str, Field(min_length=1)], ...],
    BeforeValidator(lambda names: (names,) if isinstance(names, str) else names),
    Field(strict=False, min_length=1),
]
TrainingSeeds = Annotated[tuple[Annotated[int, Field(ge=0, lt=2**32)], ...], Field(strict=False, min_length=1)]
Positive = Annotated[int, Field(gt=0)]


class RecipeEntry(StrictRecord):
    """One recipe of a sweep.

    Attributes:
        name: in the table, and the beginning of its trials' names.
        base: a shipped recipe's name or a TOML file.
        train: settings in place of those of the base; tables in it (`replay`, `options`) change only what they name,
            an empty one (`derived = {}`) leaves nothing, and another `method` begins without the options of the base's.
        seeds: in place of those of the sweep.
    """

    name: Annotated[str, Field(pattern=_NAME)]
    base: str
    train: dict[str, Any] = Field(default_factory=dict)
    seeds: TrainingSeeds | None = None


class Sweep(StrictRecord):
    """Which recipes are tried, on what, and with how much of the machine.

    Attributes:
        schema_version: version of this format; 1.
        name: of the sweep, and of its folder.
        knowledge: a shipped set's name or a file, or several of them; what the recipes say, where they agree.
        models: base models; each recipe's own if none is named.
        seeds: of every recipe without its own.
        recipes: to be compared.
        grid: training settings (`learning_rate`, `replay.weight`) -> the values that every recipe is tried with.
        keep_models: whether checkpoints stay when they have been measured.
        limit: ask only so many items a task, to try things out.
        cpus_per_trial: all cores of a machine by default (of a GPU's share), so that trials do not slow each other.
        gpus_per_trial: one by default where there are any.
    """

    schema_version: Literal[1] = 1
    name: Annotated[str, Field(pattern=_NAME)]
    knowledge: Names | None = None
    models: Names | None = None
    seeds: TrainingSeeds = (0,)
    recipes: Annotated[tuple[RecipeEntry, ...], Field(strict=False, min_length=1)]
    grid: dict[str, Any] = Field(default_factory=dict)
    keep_models: bool = False
    limit: Positive | None = None
    cpus_per_trial: Positive | None = None
    gpus_per_trial: Annotated[Number, Field(ge=0)] | None = None

    @field_validator("gpus_per_trial")
    @classmethod
    def _can_be_given(cls, number: float | None) -> float | None:
        if number is not None and not (number == int(number) or 0.0001 <= number < 1):
            raise ValueError("must be a whole number, or a share of one GPU from 0.0001 on")
        return number


@dataclass(frozen=True, slots=True)
class Trial:
    """One recipe with one seed on one model.

    Attributes:
        name: of the trial; also the name of its recipe, and so of its folder.
        group: what it has in common with the same recipe's other seeds.
        recipe: with every override, its model and its seed.
        unlabelled: what it was called while its model was the only one; empty where it is.
    """

    name: str
    group: str
    recipe: Recipe
    unlabelled: str = ""


def load_sweep(path: Path) -> tuple[Sweep, tuple[Trial, ...]]:
    """Read a sweep's file.

    Returns:
        The sweep, and every trial that it stands for, recipe by recipe.

    Raises:
        DataError: one line that names the file, the field and the fix.
    """
    sweep = load_toml(path, Sweep)
    _refuse_repeated([entry.name for entry in sweep.recipes], path, "recipes")
    trials = _trials(sweep, path)
    _refuse_repeated([trial.name for trial in trials], path, "trials")
    for trial in trials:
        if (length := len(trial.name.encode())) > _MOST_BYTES:
            place, fix = ("grid", "settings or values") if sweep.grid else ("recipes", "names")
            raise DataError(
                f"{path}: {place}: trial '{trial.name[:40]}...' would have a folder whose name is {length} bytes long, "
                f"and {_MOST_BYTES} is the most; give fewer or shorter {fix}"
            )
    return sweep, trials


def _refuse_repeated(names: Sequence[str], path: Path, what: str) -> None:
    for number, name in enumerate(names):
        if name in names[:number]:
            raise DataError(f"{path}: two {what} are named '{name}'; rename one, or take out the repeated value")


def _trials(sweep: Sweep, path: Path) -> tuple[Trial, ...]:
    bases = [load_recipe(entry.base) for entry in sweep.recipes]
    grid = _grid(sweep.grid, path)
    knowledge = sweep.knowledge or _common_knowledge(bases, path)
    _refuse_bad_models(sweep.models or (), path)
    labels = _labels(sweep.models or tuple(dict.fromkeys(base.model for base in bases)))
    trials: list[Trial] = []
    meant: dict[str, tuple[str, ...]] = {}
    for entry, base in zip(sweep.recipes, bases, strict=True):
        for values in product(*grid.values()):
            point = dict(zip(grid, values, strict=True))
            name = "-".join([entry.name, *(f"{key}-{_in_a_name(value)}" for key, value in point.items())])
            train = _settings(base.train, entry, point, path)
            for model, seed in product(sweep.models or (base.model,), entry.seeds or sweep.seeds):
                group = f"{name}-{labels[model]}" if len(labels) > 1 else name
                whole = (entry.name, *map(repr, point.items()), model)
                if meant.setdefault(group, whole) != whole:
                    raise DataError(f"{path}: recipes: two are called '{group}' in the results; rename one")
                own = {"name": f"{group}-seed-{seed}", "model": model, "knowledge": knowledge}
                settings = train.model_copy(update={"seed": seed})
                recipe = base.model_copy(update={**own, "train": settings})
                unlabelled = f"{name}-seed-{seed}" if group != name else ""
                trials.append(Trial(f"{group}-seed-{seed}", group, recipe, unlabelled))
    return tuple(trials)


def _grid(grid: Mapping[str, Any], path: Path) -> dict[str, list[Any]]:
    """Dotted settings -> values; `replay.weight` may be written as a table, too."""
    flat: dict[str, list[Any]] = {}
    for key, value in _flattened(grid):
        first, _, rest = key.partition(".")
        if key in {"seed", "seeds"}:
            raise DataError(f"{path}: grid.{key}: {_OWN_SEEDS}")
        if first not in TrainSettings.model_fields:
            raise DataError(
                f"{path}: grid.{key}: is not a setting of training; {near_miss(first, TrainSettings.model_fields)}"
            )
        if first == "replay" and not rest:
            raise DataError(f"{path}: grid.replay: name its settings one by one, such as replay.weight = [0.5, 1.0]")
        if first == "replay" and rest not in ReplaySettings.model_fields:
            raise DataError(
                f"{path}: grid.{key}: is not a setting of replay; {near_miss(rest, ReplaySettings.model_fields)}"
            )
        if not isinstance(value, list) or not value:
            raise DataError(f"{path}: grid.{key}: must be a list of values, such as [1, 2]")
        if key in flat:
            raise DataError(f"{path}: grid.{key}: stands twice; take out one")
        for number, one in enumerate(value):
            if one in value[:number]:
                raise DataError(f"{path}: grid.{key}: {one!r} stands twice; take out one")
        flat[key] = value
    for key in flat:
        if (whole := next((other for other in flat if key.startswith(f"{other}.")), None)) is not None:
            raise DataError(f"{path}: grid.{key}: grid.{whole} sets it, too; leave out one of the two")
    return flat


def _flattened(tables: Mapping[str, Any], before: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in tables.items():
        is_table = isinstance(value, dict) and value
        found += _flattened(value, f"{before}{key}.") if is_table else [(before + key, value)]
    return found


def _settings(base: TrainSettings, entry: RecipeEntry, point: Mapping[str, Any], path: Path) -> TrainSettings:
    """A recipe's training settings with the changes of its entry, then those of one point of the grid."""
    if "seed" in entry.train:
        raise DataError(f"{path}: recipe '{entry.name}': train.seed: {_OWN_SEEDS}")
    whole: dict[str, Any] = {}
    for key, value in point.items():
        change = value
        for part in reversed(key.split(".")):
            change = {part: change}
        whole = _merged(whole, change)
    own = dict(entry.train)
    if "method" not in own and "method" in whole:  # the options that it names are for the method of the grid
        own["method"] = whole["method"]
    changed = _changed(base.model_dump(), own)
    changed["derived"] = with_numbers(changed["derived"])  # a list has the forms of which the grid may set one
    content = _changed(changed, whole)
    return validate(content, TrainSettings, Path(f"{path}: recipe '{entry.name}': train"))


def _changed(settings: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with a change; another method does not take over the options of the one before."""
    is_other = change.get("method", settings["method"]) != settings["method"]
    return _merged({**settings, "options": {}} if is_other else settings, change)


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(old)
    for key, value in new.items():
        both = isinstance(value, dict) and value and isinstance(merged.get(key), dict)  # an empty one empties it
        merged[key] = _merged(merged[key], value) if both else value
    return merged


def _common_knowledge(bases: Sequence[Recipe], path: Path) -> tuple[str, ...]:
    first, *others = dict.fromkeys(tuple(sorted(base.knowledge)) for base in bases)
    if others:
        raise DataError(f'{path}: knowledge: the recipes teach different sets; name one for all, knowledge = "..."')
    return first


def _refuse_bad_models(models: Sequence[str], path: Path) -> None:
    places = [os.path.normpath(model) for model in models]
    for number, (model, place) in enumerate(zip(models, places, strict=True)):
        if place == Path(place).anchor:
            raise DataError(f"{path}: models: '{model}' is no model; name a model's folder or a Hub id")
        if place in places[:number]:
            raise DataError(
                f"{path}: models: '{models[places.index(place)]}' and '{model}' are one model; take out one of them"
            )


def _labels(models: Sequence[str]) -> dict[str, str]:
    """A short name for each model: the last part of its path, or all parts where two end alike."""
    paths = [Path(model) if Path(model).name else Path(model).absolute() for model in models]  # "." has no name
    last = [_in_a_name(path.name) for path in paths]
    whole = ["--".join(_in_a_name(part) for part in path.parts if part != "/") for path in paths]
    return dict(zip(models, last if len(set(last)) == len(last) else whole, strict=True))


def _in_a_name(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "_".join(map(_in_a_name, value)) or "none"
    return re.sub(r"[^A-Za-z0-9._-]+", "_", str(value))
