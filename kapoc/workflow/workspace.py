"""Where a recipe's results on its knowledge sets lie, and who is told while they are made."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from kapoc.bundled import bundled_sets
from kapoc.counting import Counting, uncounted
from kapoc.errors import DataError, ModelError, OutputError, near_miss
from kapoc.knowledge.facts import Fact, KnowledgeSet
from kapoc.knowledge.set_file import Source, load_sources
from kapoc.measuring.context import Context, checked_context
from kapoc.measuring.general import kind_of, load_general, load_off_topic
from kapoc.recipe import Recipe
from kapoc.record import limit_suffix
from kapoc.training_record import TRAINING_FILE

if TYPE_CHECKING:
    from kapoc.training.loop import StepReport
    from kapoc.training_record import EpochReport


@dataclass(frozen=True, slots=True)
class Listener:
    """Who is told about long work.

    A line of text, a step, an epoch, what was measured after how many steps; and how far what can be counted is.
    """

    tell: Callable[[str], None] = lambda _: None
    on_step: Callable[["StepReport"], None] = lambda _: None
    on_epoch: Callable[["EpochReport"], None] = lambda _: None
    on_scores: Callable[[Mapping[str, float], int], None] = lambda *_: None
    counting: Counting = uncounted


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What the model was taught before and is shown again: so many training examples of each fact in every epoch."""

    sources: tuple[Source, ...] = ()
    per_fact: int = 0


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where a recipe's results on its knowledge sets lie: `<root>/<recipe>/<set>+<set>/`.

    Attributes:
        root: `runs` by default.
        recipe: with its overrides applied.
        sources: the knowledge sets.
        general: the user's own general tasks and files.
        off_topic: files of the user's own off-topic prompts.
        limit: ask only so many items a task; such runs get folders of their own.
        context: what stands beside the questions; runs with one get folders of their own.
        batch_size: rows a forward pass, where another than the recipe's is wanted; such runs lie apart, too.
        lm_eval_out: where lm-eval's own files of each measurement go as well; none for none.
        command: that was typed, to be kept with the runs.
        listener: who is told of the work.
        rehearsal: earlier facts among what is trained on.
        elsewhere: other sets that the model is taught or asked about: none of their names is taken for unknown.
    """

    root: Path
    recipe: Recipe
    sources: tuple[Source, ...]
    general: tuple[str, ...] = ()
    off_topic: tuple[str, ...] = ()
    limit: int | None = None
    context: Context = "none"
    batch_size: int | None = None
    lm_eval_out: Path | None = None
    command: str = ""
    listener: Listener = field(default_factory=Listener)
    rehearsal: Rehearsal = Rehearsal()
    elsewhere: tuple[Source, ...] = ()

    @property
    def name(self) -> str:
        """The knowledge sets in one word."""
        return "+".join(source.knowledge.name for source in self.sources)

    def for_training(self) -> list[KnowledgeSet]:
        """The knowledge sets as training reads them: with their paraphrases where the recipe quotes facts.

        Raises:
            DataError: paraphrases that are wanted are malformed, or unusable.
        """
        quoted = self.recipe.train.quotes_facts
        return [source.for_training() if quoted else source.knowledge for source in self.sources]

    @property
    def paraphrases(self) -> tuple[str, ...]:
        """The sha256 of every file of paraphrases that the recipe's training quotes."""
        quoted = self.sources if self.recipe.train.quotes_facts else ()
        return tuple(source.paraphrases_sha256 for source in quoted if source.paraphrases_sha256)

    @property
    def knowledge(self) -> tuple[str, ...]:
        """The knowledge sets as they were named: shipped names or files."""
        return tuple(source.name for source in self.sources)

    @property
    def facts(self) -> tuple[Fact, ...]:
        """Every taught fact of every set."""
        return tuple(fact for source in self.sources for fact in source.knowledge.taught)

    @property
    def folder(self) -> Path:
        """Of everything below."""
        return self.root / self.recipe.name / self.name

    @property
    def model(self) -> Path:
        """The checkpoint."""
        return self.folder / "model"

    def place_of(self, model: str) -> str:
        """Where a model is found: `base` is the recipe's, `trained` its checkpoint, any other a folder or a Hub id.

        Raises:
            ModelError: there is no checkpoint.
        """
        if model == "trained" and not (self.model / TRAINING_FILE).is_file():
            raise ModelError(f"{self.model}: no trained model here; make one with `kapoc train`, or give `base`")
        return self.base_model if model == "base" else {"trained": str(self.model)}.get(model, model)

    @property
    def base_model(self) -> str:
        """What `base` is, by which it can be loaded.

        Raises:
            ModelError: it is a folder that is not there.
        """
        model = self.recipe.model
        is_folder = model.startswith((".", "/", "~")) or len(Path(model).parts) > len(("owner", "name"))
        if is_folder and not Path(model).exists():
            raise ModelError(
                f"recipe '{self.recipe.name}': model: {model}: no such folder; its path counts from {Path.cwd()}"
            )
        return model

    def run(self, alias: str) -> Path:
        """The run of `base` or `trained`."""
        return self.folder / f"{alias}{self._suffix}"

    def run_of(self, model: str) -> Path:
        """The run of a model given by folder or Hub id."""
        return self.root / "models" / _in_a_path(model) / f"{self.name}{self._suffix}"

    @property
    def report(self) -> Path:
        """The page of the comparison; the same as Markdown and JSON lies beside it."""
        return self.folder / f"report{self._suffix}.html"

    @property
    def _suffix(self) -> str:
        """What keeps runs of other items apart."""
        own = "".join(f"+{Path(name).stem}" for name in self.general)
        own += "".join(f"+off-{kind_of(Path(name))}" for name in self.off_topic)
        own += "" if self.context == "none" else f"-{self.context}"
        own += "" if self.batch_size is None else f"-batch{self.batch_size}"
        return own + limit_suffix(self.limit)


def _in_a_path(model: str) -> str:
    """A model's name as a part of a path, `--` for `/`; of a folder elsewhere it begins with the root of all files."""
    path, here = Path(model), Path.cwd()
    if not path.exists():  # an id of the Hub
        return "--".join(path.parts)
    place = Path(os.path.normpath(here / path))  # a link is called as it was typed
    parts = place.relative_to(here).parts if place.is_relative_to(here) else ("", *place.parts[1:])
    return "--".join(parts) or here.name


def open_workspace(
    root: Path,
    recipe: Recipe,
    *,
    knowledge: Sequence[str] = (),
    general: Sequence[str] = (),
    off_topic: Sequence[str] = (),
    limit: int | None = None,
    context: str = "none",
    batch_size: int | None = None,
    lm_eval_out: Path | None = None,
    listener: Listener | None = None,
    command: str = "",
) -> Workspace:
    """Load the knowledge sets (the recipe's where none is named) and say where their results lie.

    Raises:
        DataError: a set or a file of prompts is malformed, or a set of the recipe's is not there.
        OutputError: the root is a file.
    """
    if root.exists() and not root.is_dir():
        raise OutputError(f"{root}: is a file, not a folder; choose another --runs")
    for name in () if knowledge else recipe.knowledge:
        if name not in bundled_sets() and not Path(name).exists():
            raise DataError(
                f"recipe '{recipe.name}': knowledge: {name}: no such file in {Path.cwd()}, from where its paths count, "
                f"and no shipped knowledge set; {near_miss(name, bundled_sets())}"
            )
    sources = load_sources(tuple(knowledge) or recipe.knowledge)
    if batch_size == recipe.bench.batch_size:
        batch_size = None
    chosen = checked_context(context)
    asked = (tuple(general), tuple(off_topic), limit, chosen, batch_size, lm_eval_out)
    workspace = Workspace(root, recipe, sources, *asked, command, listener or Listener())
    workspace.for_training()  # what is wrong with a file is said before anything long begins
    load_off_topic(workspace.off_topic)
    for name in workspace.general:
        if name.lower().endswith(".jsonl"):
            load_general(name)
    return workspace
