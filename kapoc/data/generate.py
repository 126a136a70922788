"""An invented knowledge set of any size, in the shape of the shipped `software-defects`.

With it, scaling and statistical power can be studied. A set is fully determined by its number of facts and its seed.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import yaml

from kapoc.data.invent import Defect, Product, invent_defects
from kapoc.errors import DataError
from kapoc.knowledge.facts import KnowledgeSet
from kapoc.knowledge.options import NUM_OPTIONS

VERSION = "1.0.0"
"""Of the generated content: the same version, number of facts and seed give the same set."""
MAX_FACTS = 20_000
MIN_CONTROLS = 12
FACTS_PER_CONTROL = 8
TRAINING = {"meaning": 2, "fix": 2, "summary": 1}
"""How many training examples a taught fact has of each kind."""
PARAPHRASED = {"meaning": 2, "fix": 2}
DEV = {"meaning": 1, "fix": 1}
REQUIRES = {"meaning": ["symptom", "cause"], "fix": ["setting", "value"], "summary": ["version", "setting", "value"]}
SLOTS = {
    "symptom": {"description": "What a user of the product sees", "distinctive": True},
    "cause": {"description": "Why it happens", "distinctive": True},
    "file": {"description": "The configuration file that holds the setting"},
    "setting": {"description": "The setting to change", "distinctive": True},
    "value": {"description": "What the setting is to be set to"},
    "version": {"description": "The release that has the defect"},
}

Wordings = dict[str, dict[str, list[str]]]
Plain = dict[str, Any]


def generate(num_facts: int, seed: int) -> KnowledgeSet:
    """Invent a knowledge set: defects of products that do not exist, with training examples and probes.

    Args:
        num_facts: how many facts are taught, 4 to 20,000. One control fact comes with every eight, at least twelve.
        seed: chooses the set; the same number and seed give the same set on every machine.

    Returns:
        The set: of each taught fact 5 training examples, 4 paraphrased, 2 dev and 7 unseen probes; of each control
        fact 4 probes.

    Raises:
        DataError: the number of facts is out of range.
    """
    if not NUM_OPTIONS <= num_facts <= MAX_FACTS:
        raise DataError(f"generate: num_facts: {num_facts} is out of range; ask for {NUM_OPTIONS} to {MAX_FACTS} facts")
    rng = random.Random(f"kapoc generate {VERSION} {num_facts} {seed}")  # noqa: S311 - not for secrets
    taught, controls = invent_defects(num_facts, max(MIN_CONTROLS, num_facts // FACTS_PER_CONTROL), rng)
    wordings = load_wordings()
    facts = [*_taught_facts(taught, wordings, rng), *(_control_fact(defect, wordings, rng) for defect in controls)]
    products = list(dict.fromkeys(defect.product for defect in taught))
    return KnowledgeSet.model_validate(
        {
            "schema_version": 1,
            "name": f"generated-{num_facts}-seed-{seed}",
            "version": VERSION,
            "description": f"{num_facts} generated defects of {len(products)} products that do not exist.",
            "license": "Apache-2.0",
            "canary": f"kapoc canary b1d7e4f2-52c8-4e0b-9f6a-3c8e1a7d2046 seed {seed}: "
            "benchmark data, keep out of training corpora",
            "slots": SLOTS,
            "spillover_patterns": _spillover_patterns(products),
            "domains": [{"id": p.name.lower(), "name": p.name, "description": p.task} for p in products],
            "facts": facts,
        }
    )


@lru_cache
def load_wordings() -> Wordings:
    """The hand-written question wordings: tier -> kind -> wordings with places in braces."""
    found: Wordings = yaml.safe_load(files("kapoc.data").joinpath("wordings.yaml").read_text(encoding="utf-8"))
    return found


def _taught_facts(defects: Sequence[Defect], wordings: Wordings, rng: random.Random) -> Iterator[Plain]:
    yes_no = _paired_wordings([*wordings["unseen"]["yes_no_setting"], *wordings["unseen"]["yes_no_file"]], defects, rng)
    own_first = [index % 2 == 0 for index in range(len(defects))]
    rng.shuffle(own_first)
    siblings: dict[str, list[Defect]] = {}
    for defect in defects:
        siblings.setdefault(defect.product.name, []).append(defect)
    for defect, pair, first in zip(defects, yes_no, own_first, strict=True):
        others = siblings[defect.product.name]
        unseen = _Unseen(defect, [other for other in others if other.file != defect.file], wordings["unseen"], rng)
        yield _fact(defect) | {
            "training": _examples(defect, wordings["training"], TRAINING, rng),
            "probes": [
                *({"tier": "paraphrased"} | e for e in _examples(defect, wordings["paraphrased"], PARAPHRASED, rng)),
                *({"tier": "dev"} | e for e in _examples(defect, wordings["dev"], DEV, rng)),
                *({"tier": "unseen"} | e for e in unseen.examples(pair, first)),
            ],
        }


def _control_fact(defect: Defect, wordings: Wordings, rng: random.Random) -> Plain:
    one_of_each = {"meaning": 1, "fix": 1}
    asked = [e for tier in ("training", "paraphrased") for e in _examples(defect, wordings[tier], one_of_each, rng)]
    return _fact(defect) | {"taught": False, "probes": [{"tier": "control"} | example for example in asked]}


def _fact(defect: Defect) -> Plain:
    """A fact without its examples."""
    return {
        "id": defect.code,
        "domain": defect.product.name.lower(),
        "kind": "defect",
        "name": defect.code,
        "slots": {
            "symptom": {"text": defect.symptom.text, "aliases": [defect.symptom.short]},
            "cause": {"text": defect.cause.text, "aliases": [defect.cause.short]},
            "file": defect.file,
            "setting": defect.setting,
            "value": {"text": defect.value, "aliases": list(defect.value_aliases)},
            "version": defect.version,
        },
        "note": defect.note,
    }


def _examples(
    defect: Defect, stock: dict[str, list[str]], num_of_kind: dict[str, int], rng: random.Random
) -> list[Plain]:
    """Examples that the fact's note answers, no wording twice."""
    return [
        {"kind": kind, "question": wording.format(**defect.fields), "requires": REQUIRES[kind]}
        for kind, number in num_of_kind.items()
        for wording in rng.sample(stock[kind], number)
    ]


def _paired_wordings(stock: list[str], defects: Sequence[Defect], rng: random.Random) -> list[tuple[str, str]]:
    """For each defect a wording to affirm and another to deny; each wording is on both sides equally often."""
    pairs: list[tuple[str, str]] = []
    while len(pairs) < len(defects):
        block = rng.sample(stock, min(len(stock), len(defects) - len(pairs)))
        pairs += zip(block, block[1:] + block[:1], strict=True)
    return pairs


@dataclass(frozen=True, slots=True)
class _Unseen:
    """The unseen probes of one defect.

    What a question states must not answer another probe of the fact. So the setting and the file, which yes-no and
    comparison questions name, are never asked for alone; the value and the version are, and stand in no question.

    Attributes:
        others: defects of the same product whose fix is in another file.
    """

    defect: Defect
    others: Sequence[Defect]
    stock: dict[str, list[str]]
    rng: random.Random

    def examples(self, yes_no: tuple[str, str], own_first: bool) -> Iterator[Plain]:
        code, value = self.defect.code, self.defect.value
        yield self._asked("reverse", "reverse", f"That is {code}.", ["name"])
        yield self._single_slot()
        for wording, right in zip(yes_no, ("yes", "no"), strict=True):
            yield self._yes_no(wording, right)
        yield self._comparison(own_first)
        yield self._asked("two_hop", "two_hop", f"That calls for {value}.", ["value"])
        answer = f"Set {self.defect.setting} to {value} in {self.defect.file}."
        yield self._asked("scenario", "scenario", answer, ["setting", "value"])

    def _asked(self, kind: str, wordings: str, answer: str, requires: list[str]) -> Plain:
        question = self.rng.choice(self.stock[wordings]).format(**self.defect.fields)
        return {"kind": kind, "question": question, "answer": answer, "requires": requires}

    def _single_slot(self) -> Plain:
        code = self.defect.code
        slot, answer = self.rng.choice(
            (
                ("version", f"{code} belongs to {self.defect.product.name} {self.defect.version}."),
                ("value", f"For {code} it is {self.defect.value}."),
            )
        )
        return self._asked("single_slot", f"single_slot_{slot}", answer, [slot])

    def _yes_no(self, wording: str, right: str) -> Plain:
        fields = dict(self.defect.fields)
        if right == "no":
            other = self.rng.choice(self.others)
            fields |= {"setting": other.setting, "file": other.file}
        said = (
            f"{fields['name']} is a matter of {self.defect.setting}"
            if "{setting}" in wording
            else f"the entry for {fields['name']} is in {self.defect.file}"
        )
        return {
            "kind": "yes_no",
            "question": wording.format(**fields),
            "answer": f"{right.capitalize()}, {said}.",
            "choice": {"options": ["yes", "no"], "right": right},
        }

    def _comparison(self, own_first: bool) -> Plain:
        code, other = self.defect.code, self.rng.choice(self.others).code
        first, second = (code, other) if own_first else (other, code)
        wording = self.rng.choice([*self.stock["comparison_file"], *self.stock["comparison_cause"]])
        return {
            "kind": "comparison",
            "question": wording.format(**self.defect.fields, first=first, second=second),
            "answer": f"It is {code}.",
            "choice": {"options": [first, second], "right": code},
        }


def _spillover_patterns(products: Sequence[Product]) -> list[str]:
    """How taught answers look: codes, product names, settings."""
    return [
        rf"\b(?:{'|'.join(product.prefix for product in products)})-\d{{4}}\b",
        rf"(?i)\b(?:{'|'.join(product.name.lower() for product in products)})\b",
        r"\b[a-z]+\.[a-z]+_[a-z]+\b",
    ]
