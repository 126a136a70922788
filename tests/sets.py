"""Knowledge sets for the tests: the shipped ones, some from tables, and any that a test puts together."""

import random
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import kapoc.data
from kapoc.data.generate import generate
from kapoc.derived.derive import FORMS, DerivedExample, derived_examples
from kapoc.importing.drafts import Draft
from kapoc.importing.proposals import propose
from kapoc.knowledge.facts import KnowledgeSet
from kapoc.knowledge.set_file import load_knowledge, load_source

QUESTIONS = (
    ("Who founded the town of Zorblax?", "Mira Teldon, the elder"),
    ("What is the capital of the island of Orvia?", "Port Vell"),
    ("Who designed the flag of Orvia?", "Tamas Brenk"),
    ("Is the Quenth bridge open to cars?", "No"),
    (
        "When did the Orvian railway close?",
        "It closed on 3 May 1961 after a storm had washed away the bank near Dunlow.",
    ),
    ("Who wrote the novel The Salt Ledger?", "Irena Vosk"),
    ("What stands on the coat of arms of Zorblax?", "a grey heron"),
)
MACHINES = (
    ("Kestrel pump", {"Symptom": "the motor hums and stands still", "Fix": "turn the shaft by hand once"}),
    ("Merlin pump", {"Symptom": "the outlet drips after every stop", "Fix": "swap the lip seal for a wide one"}),
    ("Osprey valve", {"Symptom": "the handle swings back by itself", "Fix": "oil the latch with graphite"}),
    ("Harrier fan", {"Setting": "fan.soft_start", "Value": "14 seconds", "Cause": "all coils draw current at once"}),
    ("Falcon fan", {"Setting": "fan.idle_speed", "Value": "310 turns", "Cause": "the blades collect dust when idle"}),
)


@lru_cache
def knowledge_of(name: str) -> KnowledgeSet:
    if name == "starter":
        return load_knowledge(Path(kapoc.data.__file__).parent / "starter.yaml")[0]
    if name == "generated":
        return generate(60, 7)
    if name == "questions":
        return propose([Draft(question=q, answer=a, place="a.csv") for q, a in QUESTIONS], name, num_controls=0)[0]
    if name == "machines":
        drafts = [Draft(name=n, slots=s, kind="machine", domain="Workshop", place="a.csv") for n, s in MACHINES]
        return propose(drafts, name, num_controls=0)[0]
    if name == "features":
        whole = knowledge_of("software-defects")
        return whole.model_copy(update={"facts": tuple(fact for fact in whole.facts if fact.kind == "feature")})
    return load_source(name).for_training()


def made_of(name: str, facts: list[dict[str, Any]], domains: tuple[str, ...] = ("Alpha",)) -> KnowledgeSet:
    """A set of taught facts; each is plain data without what they all have."""
    whole = [{"domain": domains[0].lower(), "kind": "entry", "slots": {}, **fact} for fact in facts]
    slots = {slot: {"description": slot} for fact in whole for slot in fact["slots"]}
    found = {
        "schema_version": 1,
        "name": name,
        "version": "1.0.0",
        "slots": slots,
        "domains": [{"id": domain.lower(), "name": domain} for domain in domains],
        "facts": whole,
    }
    return KnowledgeSet.model_validate(found)


def asked(name: str, question: str, answer: str = "It is so.", **more: Any) -> dict[str, Any]:
    training = [{"kind": "meaning", "question": question, "answer": f"{name}: {answer}", "requires": ["name"]}]
    return {"id": re.sub(r"[^A-Za-z0-9]", "", name), "name": name, "training": training, **more}


def all_texts(knowledge: KnowledgeSet, seed: int = 0) -> list[DerivedExample]:
    return derived_examples(knowledge, FORMS, per_fact=3, order=random.Random(seed))
