"""Stages of training that follow each other: knowledge sets, or single domains of them, each as a set on disk."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path

from kapoc.bundled import bundled_sets
from kapoc.data.generate import MAX_FACTS, TRAINING, generate
from kapoc.errors import DataError, near_miss
from kapoc.knowledge.facts import Domain, Fact, KnowledgeSet
from kapoc.knowledge.normalise import normalise
from kapoc.knowledge.options import NUM_OPTIONS
from kapoc.knowledge.paraphrase_file import paraphrases_of
from kapoc.knowledge.set_file import Source, load_source, load_sources, to_yaml
from kapoc.writing import write_atomically

UNRELATED_SEED = 1_000_003
"""Of the invented set that has nothing to do with any stage."""
MAX_UNRELATED = MAX_FACTS * sum(TRAINING.values())
"""How many examples unrelated training can have."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What is taught at one time.

    Attributes:
        typed: by the user: a set, or `set:domain`.
        label: in tables: the set's name, or the domain's where that tells it apart.
        knowledge: what is taught and asked.
        origin: the set that it is, or is a part of.
        is_part: whether it is one domain of that set.
    """

    typed: str
    label: str
    knowledge: KnowledgeSet
    origin: Source
    is_part: bool

    @property
    def in_a_name(self) -> str:
        """The set's name as a part of a folder's name; of a domain it holds that of the set that it is a part of."""
        return re.sub(r"[^A-Za-z0-9._-]+", "_", self.knowledge.name)


def load_stages(typed: Sequence[str]) -> tuple[Stage, ...]:
    """Read the stages that a user names.

    Args:
        typed: in the order of training: a shipped set's name or a file, each with `:domain` for one domain of it.

    Raises:
        DataError: a set is malformed, a domain is unknown or teaches nothing, a fact would be taught in two stages, two
            sets have one name, or a stage has no probe by which its recall could be told.
    """
    stages = [_stage(text) for text in typed]
    for number, stage in enumerate(stages):
        _refuse_unasked(stage)
        for earlier in stages[:number]:
            _refuse_shared(earlier, stage)
    if len({stage.label.lower() for stage in stages}) == len(stages):
        return tuple(stages)
    return tuple(replace(stage, label=stage.knowledge.name) for stage in stages)


def write_stages(stages: Sequence[Stage], folder: Path, *, paraphrased: bool = False) -> tuple[Source, ...]:
    """The stages as knowledge sets on disk: whole sets where they lie, each domain in a file in a folder.

    Args:
        stages: all of them.
        folder: of the files.
        paraphrased: whether the paraphrases of a domain's facts are to lie beside it.
    """
    origins = [stage.origin if paraphrased else None for stage in stages]
    loaded = load_sources(
        [
            _written(stage.knowledge, folder, origin) if stage.is_part else stage.origin.name
            for stage, origin in zip(stages, origins, strict=True)
        ]
    )
    by_name = {source.knowledge.name: source for source in loaded}
    return tuple(by_name[stage.knowledge.name] for stage in stages)


def write_unrelated(num_examples: int, folder: Path) -> Source:
    """An invented set with exactly so many training examples, of facts that no stage has, in a file in a folder.

    Args:
        num_examples: 1 to `MAX_UNRELATED`.
        folder: of the file.
    """
    made = generate(max(NUM_OPTIONS, ceil(num_examples / sum(TRAINING.values()))), UNRELATED_SEED)
    facts, left = [], num_examples
    for fact in made.taught:
        if left > 0:
            facts.append(fact.model_copy(update={"training": fact.training[:left]}))
            left -= len(facts[-1].training)
    domains = [domain for domain in made.domains if any(fact.domain == domain.id for fact in facts)]
    name = f"unrelated-{num_examples}"
    return load_source(
        _written(KnowledgeSet(**{**made.values(), "name": name, "domains": domains, "facts": facts}), folder)
    )


def _written(knowledge: KnowledgeSet, folder: Path, origin: Source | None = None) -> str:
    """A set in a file, with the paraphrases of its facts that lie beside the set that it is a part of."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{knowledge.name}.yaml"
    write_atomically(path, to_yaml(knowledge, "Made by `kapoc retain`."))
    said = paraphrases_of(origin.places.path, knowledge.fact_by_id) if origin else ""
    beside = path.with_suffix(".paraphrases.yaml")
    if said:
        write_atomically(beside, said)
    else:
        beside.unlink(missing_ok=True)
    return str(path)


def _stage(typed: str) -> Stage:
    name, colon, domain = typed.rpartition(":")
    if not colon or typed in bundled_sets() or Path(typed).exists():
        source = load_source(typed)
        return Stage(typed, source.knowledge.name, source.knowledge, source, is_part=False)
    source = load_source(name)
    found = _domain(source.knowledge, domain, typed)
    return Stage(typed, found.name, _part(source.knowledge, found, typed), source, is_part=True)


def _domain(knowledge: KnowledgeSet, wanted: str, typed: str) -> Domain:
    """A domain by its id or its name, in any case."""
    for domain in knowledge.domains:
        if wanted.lower() in {domain.id.lower(), domain.name.lower()}:
            return domain
    known = [domain.name for domain in knowledge.domains]
    raise DataError(f"stage '{typed}': {knowledge.name} has no domain '{wanted}'; {near_miss(wanted, known)}")


def _part(knowledge: KnowledgeSet, domain: Domain, typed: str) -> KnowledgeSet:
    """One domain of a set, controls included, as a set of its own."""
    facts = [fact for fact in knowledge.facts if fact.domain == domain.id]
    if not any(fact.taught for fact in facts):
        raise DataError(f"stage '{typed}': no fact of this domain is taught; name a domain with taught facts")
    name = f"{knowledge.name}-{domain.id}"
    about = domain.description or knowledge.description
    return KnowledgeSet(
        **{**knowledge.values(), "name": name, "description": about, "domains": [domain], "facts": facts}
    )


def _refuse_unasked(stage: Stage) -> None:
    if not any(probe.tier in {"paraphrased", "unseen"} for fact in stage.knowledge.taught for probe in fact.probes):
        raise DataError(
            f"stage '{stage.typed}': has no paraphrased and no unseen probe, so nothing would show what is retained; "
            "add some"
        )


def _refuse_shared(first: Stage, second: Stage) -> None:
    ids = {fact.id for fact in first.knowledge.facts}
    if first.origin.sha256 == second.origin.sha256 and any(fact.id in ids for fact in second.knowledge.facts):
        raise DataError(
            f"stage '{second.typed}': its facts are those of stage '{first.typed}'; let each be taught in one stage"
        )
    if first.knowledge.name == second.knowledge.name:
        raise DataError(
            f"stage '{second.typed}': its set is named '{second.knowledge.name}', as is that of '{first.typed}'; "
            "give each set a name of its own"
        )
    told = {_said(fact): fact for fact in first.knowledge.taught}
    if (same := next((fact for fact in second.knowledge.taught if _said(fact) in told), None)) is not None:
        raise DataError(
            f"stage '{second.typed}': its fact {same.id} ({same.name}) is {told[_said(same)].id} of stage "
            f"'{first.typed}'; let each be taught in one stage"
        )


def _said(fact: Fact) -> frozenset[tuple[str, ...]]:
    """What a fact says, by which it is known again in another file."""
    slots = ((name, *normalise(slot.text)) for name, slot in fact.slots.items())
    return frozenset({("", *normalise(fact.name)), *slots})
