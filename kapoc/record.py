"""The vocabulary of results: a run, its items, and their JSON on disk.

A run is a folder with `run.json` (what was measured, on what, with what) and `items.jsonl` (every item).
"""

import hashlib
import json
import math
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, field_serializer, field_validator, model_validator

from kapoc.errors import DataError, OutputError
from kapoc.knowledge.facts import SetIdentity
from kapoc.source import StrictRecord, load_json, load_jsonl, read_text
from kapoc.writing import write_atomically

SCHEMA_VERSION: Literal[1] = 1
Tier = Literal["seen", "paraphrased", "unseen", "control", "general"]
TIERS: tuple[Tier, ...] = ("seen", "paraphrased", "unseen", "control", "general")
Form = Literal["free", "choice", "completion", "text", "off_topic"]
_ESCAPES = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\."
)
"""What JSON escapes: both halves of a character, one of them alone, anything else."""


class Item(StrictRecord):
    """One question put to a model and what came back.

    Attributes:
        id: stable across runs: `<set>/<fact>/<tier>/<number>:<form>` or `<ability>/<number>`.
        task: the lm-eval task that asked it.
        tier: what the item tests.
        form: `free` (graded generation), `choice`, `completion` (is the greedy continuation the word),
            `text` (bits per byte) or `off_topic` (generation searched for taught answers).
        kind: the use of the fact, the ability, or the sort of prompt.
        cluster: items of one cluster are not independent: the fact, or the item itself.
        knowledge: the set that the fact belongs to; empty for general and off-topic items.
        domain: the fact's domain; empty for general items.
        prompt: the text that the model was given, template included.
        reference: the reference answer, the right option, or the text itself.
        output: the raw generation or the chosen option; empty for `text`.
        score: 1 right, 0 wrong; for `text` the bits per byte; for `off_topic` 1 when nothing spilled over.
        reason: what decided the score.
        gold_logprob: natural-log probability of the reference after the prompt, in nats, white space at the end of the
            prompt counted in, as lm-eval does; none where there is no reference.
        num_bytes: UTF-8 bytes of the reference; the unit of bits per byte.
        ended: of a generation, whether the model ended it; false where it was cut off.
        divergence: of a text, mean KL(base || this model) in nats per token; none where no base was given.
        spillover: which taught answers stand in the output of a control or off-topic item.
    """

    id: str
    task: str
    tier: Tier
    form: Form
    kind: str
    cluster: str
    knowledge: str = ""
    domain: str = ""
    prompt: str
    reference: str
    output: str
    score: float
    reason: str = ""
    gold_logprob: float | None = None
    num_bytes: Annotated[int, Field(ge=0, lt=2**53)] = 0
    ended: bool | None = None
    divergence: float | None = None
    spillover: Annotated[tuple[str, ...], Field(strict=False)] = ()

    @model_validator(mode="after")
    def _score_of_its_form(self) -> "Item":
        if self.form != "text" and not 0 <= self.score <= 1:
            raise ValueError(f"score: must be from 0 to 1 (found {self.score:g})")
        if self.form == "text" and self.num_bytes < 1:
            raise ValueError(f"num_bytes: must be at least 1, as bits are counted per byte (found {self.num_bytes})")
        return self

    @field_validator("score", "gold_logprob", "divergence")
    @classmethod
    def _finite(cls, number: float | None) -> float | None:
        if number is not None and not math.isfinite(number):
            raise ValueError("must be a finite number")
        return number

    @field_serializer("score", "gold_logprob", "divergence")
    def _short(self, number: float | None) -> float | None:
        return None if number is None else round(number, 6)


class ModelIdentity(StrictRecord):
    """Which weights were measured.

    Attributes:
        name: what the user typed.
        source: where it was loaded from (a Hub id, `default`, or the name of a folder).
        weights_sha256: over all tensors, in the order of their names, as they are in memory.
        architecture: the model class.
        num_parameters: all of them.
        dtype: of the weights during the measurement.
    """

    name: str
    source: str
    weights_sha256: str
    architecture: str
    num_parameters: int
    dtype: str


class DataIdentity(StrictRecord):
    """Which items were asked.

    Attributes:
        knowledge: the knowledge sets.
        general: the user's own general tasks.
        off_topic: the kinds of the user's own off-topic prompts.
        general_sha256: over the bundled items.
        documents_sha256: over every document that the tasks asked: prompts, references, options and grading.
        tasks: the version of each task.
        num_leaks: how many errors the audit of the sets found; none where they were not audited.
        num_proposals: how many examples are kapoc's own proposals that nobody has looked at.
    """

    knowledge: Annotated[tuple[SetIdentity, ...], Field(strict=False, min_length=1)]
    general: Annotated[tuple[str, ...], Field(strict=False)] = ()
    off_topic: Annotated[tuple[str, ...], Field(strict=False)] = ()
    general_sha256: str
    documents_sha256: str
    tasks: dict[str, int | float | str]
    num_leaks: int | None = None
    num_proposals: int = 0

    @property
    def knowledge_name(self) -> str:
        """The names of the sets in one word."""
        return "+".join(identity.name for identity in self.knowledge)


class Settings(StrictRecord):
    """How the model was asked: what must agree between two runs that are compared, and what may differ.

    Attributes:
        context: what stood beside the questions: `none`, `oracle` or `retrieved`.
        base_sha256: of the weights to which the divergence of the texts was measured; empty where it was not.
        decoding_sha256: of the tokenizer and the generation config; empty in runs that are older than this field.
    """

    seed: int
    batch_size: int
    limit: int | None
    chat_template_sha256: str
    device: str
    context: str = "none"
    base_sha256: str = ""
    decoding_sha256: str = ""


class Run(StrictRecord):
    """One model measured on one set of tasks.

    Attributes:
        schema_version: version of this record; 1.
        created: UTC time of the measurement, ISO 8601.
        command: that was typed to make it.
        seconds: wall time of the measurement.
        model, data, settings: identities.
        versions: package versions.
        scores: what lm-eval reports for each task and metric; the items agree with it.
        items_sha256: of `items.jsonl`, where the items are kept.
        regraded: UTC time at which its answers were graded anew, ISO 8601; empty where they never were.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    created: str
    command: str
    seconds: float
    model: ModelIdentity
    data: DataIdentity
    settings: Settings
    versions: dict[str, str]
    scores: dict[str, dict[str, float]]
    num_items: int
    items_sha256: str = ""
    regraded: str = ""
    items: tuple[Item, ...] = Field(default=(), exclude=True)

    @property
    def is_complete(self) -> bool:
        """Whether all items were asked."""
        return self.settings.limit is None


_OF_MODELS = frozenset({"config.json", "adapter_config.json", "model.safetensors"})
_OF_RUNS = frozenset({"items.jsonl", "tensorboard", "wandb"})
"""What a measurement that was killed may have left."""


def save_run(run: Run, folder: Path) -> None:
    """Write a run; one that was there before is replaced.

    `run.json` comes last and holds the sha256 of the items, so that a half-replaced run is never read.

    Raises:
        OutputError: the folder cannot be written.
    """
    lines = "".join(item.model_dump_json() + "\n" for item in run.items)
    sealed = run.model_copy(update={"items_sha256": hashlib.sha256(lines.encode()).hexdigest()})
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "items.jsonl", lines)
        write_atomically(folder / "run.json", sealed.model_dump_json(indent=2) + "\n")
    except OSError as error:
        raise OutputError(f"{folder}: cannot write the run ({error.strerror}); choose another --out") from None


def load_run(folder: Path) -> Run:
    """Read a run.

    Raises:
        DataError: the folder holds no run, or one that was cut off or written by another version.
    """
    if folder.is_file():
        raise DataError(f"{folder}: is a file; name the run's folder")
    if not (folder / "run.json").is_file():
        raise DataError(f"{folder}: no run here (run.json is missing); {_instead_of_run(folder)}")
    run = load_json(folder / "run.json", Run)
    items = load_jsonl(folder / "items.jsonl", Item)
    for name in ("run.json", "items.jsonl"):
        _refuse_halves(folder / name)
    if len(items) != run.num_items:
        raise DataError(f"{folder / 'items.jsonl'}: {len(items)} items, run.json says {run.num_items}; measure again")
    content = (folder / "items.jsonl").read_bytes()
    if hashlib.sha256(content).hexdigest() != run.items_sha256:
        fix = "measure again"
        if hashlib.sha256(content.replace(b"\r\n", b"\n")).hexdigest() == run.items_sha256:
            fix = "its lines end otherwise; have git leave them as they are (`*.jsonl -text` in .gitattributes)"
        raise DataError(f"{folder / 'items.jsonl'}: is not the file that run.json was written for; {fix}")
    if len({item.id for item in items}) != len(items):
        raise DataError(f"{folder / 'items.jsonl'}: an item id stands twice; measure again")
    return run.model_copy(update={"items": items})


def _instead_of_run(folder: Path) -> str:
    """What to do about a folder that holds no run."""
    if holds_model(folder):
        return f"it is a model; measure it with `kapoc bench --model {folder}`, and name the run that this makes"
    if below := sorted(str(path.parent) for path in folder.glob("*/run.json")):
        return f"there is one in {', '.join(below[:4])}; name one of these"
    return f"make one with `kapoc bench --model MODEL --out {folder}`"


def holds_model(folder: Path) -> bool:
    """Whether a folder is a model's or an adapter's."""
    return any((folder / name).is_file() for name in _OF_MODELS)


def refuse_other_files(folder: Path) -> None:
    """Refuse to put a run where other things lie, which would then count as its own.

    Raises:
        OutputError: a model or files of other kinds lie there.
    """
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if holds_model(folder):
        raise OutputError(f"{folder}: holds a model; choose another --out for the run")
    if "run.json" not in names and any(name not in _OF_RUNS and not name.startswith(".") for name in names):
        raise OutputError(f"{folder}: holds files that are no run's; choose another --out or empty it")


def _refuse_halves(path: Path) -> None:
    """Refuse a text with half of a character, which no page, table or terminal could be written with."""
    text = read_text(path)
    if re.search(r"\\u[dD][89a-fA-F]", text) is None:
        return
    for number, line in enumerate(text.split("\n"), start=1):
        if half := next((found["half"] for found in _ESCAPES.finditer(line) if found["half"]), None):
            raise DataError(f"{path}:{number}: {half} is half of a character (a lone surrogate); measure again")


def to_json(record: BaseModel) -> str:
    """A record as JSON text, indented, in characters that every terminal and file can hold."""
    return json.dumps(record.model_dump(mode="json"), indent=2, allow_nan=False)


def limit_suffix(limit: int | None) -> str:
    """What keeps the results of fewer items a task apart, at the end of a name."""
    return "" if limit is None else f"-limit{limit}"
