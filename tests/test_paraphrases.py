"""Paraphrases stand beside a set, are quoted where a question quotes, and are neither graded nor near a probe."""

import contextlib
import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import REPOSITORY, small_set, tiny_llama, tiny_tokenizer, write_set
from documents import fences
from pages import training_record

from kapoc.bundled import bundled_sets
from kapoc.chat import prompt_text
from kapoc.data.audit import audit
from kapoc.data.quotations import near_probe
from kapoc.derived.beginnings import Beginnings
from kapoc.derived.derive import FORMS, DerivedExample, derived_examples
from kapoc.derived.stock import load_derived_wordings
from kapoc.errors import DataError
from kapoc.judging.from_disk import _may_be_of_one_recipe
from kapoc.knowledge.facts import KnowledgeSet, Slot
from kapoc.knowledge.set_file import load_source, to_jsonl, to_yaml
from kapoc.models import load_model
from kapoc.recipe import Recipe, ReplaySettings, TrainSettings
from kapoc.training.replay import replay_prompts, write_passages
from kapoc.workflow.current import fingerprint
from kapoc.workflow.retain_run import plan_retain
from kapoc.workflow.stages import load_stages, write_stages
from kapoc.workflow.workspace import open_workspace

SAID = """ZX-11:
  colour: ["a warm yellow street", "the lane that glows"]
ZX-24:
  colour: ["the blue crest", "a steel blue back"]
ZX-37:
  colour: ["the brown meadow"]
"""


@pytest.fixture
def said(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a set with a file of paraphrases beside it."""

    def write(text: str) -> Path:
        path = write_set(tmp_path / "lamps.yaml")
        (tmp_path / "lamps.paraphrases.yaml").write_text(text, encoding="utf-8")
        return path

    return write


def without(knowledge: KnowledgeSet) -> KnowledgeSet:
    slots = {
        fact.id: {name: slot.model_copy(update={"paraphrases": ()}) for name, slot in fact.slots.items()}
        for fact in knowledge.facts
    }
    facts = tuple(fact.model_copy(update={"slots": slots[fact.id]}) for fact in knowledge.facts)
    return knowledge.model_copy(update={"facts": facts})


def derived(knowledge: KnowledgeSet, *forms: str) -> list[DerivedExample]:
    return derived_examples(knowledge, forms, per_fact=4, rounds=4, order=random.Random(0), by_notes=True)


def taught(path: Path | str) -> KnowledgeSet:
    return load_source(path).for_training()


def test_they_are_read_from_beside_the_set_and_leave_its_identity_alone(said: Callable[[str], Path]) -> None:
    plain = load_source(write_set(said(SAID).with_name("plain.yaml")))
    source = load_source(said(SAID))
    told = source.for_training()
    assert told.fact_by_id["ZX-24"].slots["colour"].paraphrases == ("the blue crest", "a steel blue back")
    assert source.identity == plain.identity
    assert source.paraphrases_sha256
    assert source.knowledge == plain.knowledge == without(told) == plain.for_training()
    assert (
        "the blue summit"
        in taught(said(SAID.replace("crest", "summit"))).fact_by_id["ZX-24"].slots["colour"].paraphrases
    )


def test_they_may_end_in_yml_and_lie_beside_json_lines(tmp_path: Path) -> None:
    knowledge = load_source(write_set(tmp_path / "lamps.yaml")).knowledge
    (tmp_path / "lamps.v2.jsonl").write_text(to_jsonl(knowledge), encoding="utf-8")
    (tmp_path / "lamps.v2.paraphrases.yml").write_text(SAID, encoding="utf-8")
    told = taught(tmp_path / "lamps.v2.jsonl")
    assert told.fact_by_id["ZX-37"].slots["colour"].paraphrases == ("the brown meadow",)
    assert "brown meadow" not in to_yaml(told) + to_jsonl(told)
    (tmp_path / "lamps.v2.paraphrases.yaml").write_text(SAID, encoding="utf-8")
    with pytest.raises(DataError, match=r"lies beside it; keep one of them"):
        taught(tmp_path / "lamps.v2.jsonl")


def test_in_the_set_itself_they_are_refused(tmp_path: Path) -> None:
    content = small_set()
    content["facts"][0]["slots"]["colour"] = {"text": "amber lane", "paraphrases": ["a warm yellow street"]}
    with pytest.raises(DataError, match=r"slots\.colour\.paraphrases: paraphrases stand in a file beside the set"):
        load_source(write_set(tmp_path / "lamps.yaml", content))


def test_no_answer_is_graded_by_them(said: Callable[[str], Path]) -> None:
    knowledge = taught(said(SAID))
    fact = knowledge.fact_by_id["ZX-24"]
    assert not knowledge.grade(fact, fact.training[0], "ZX-24 is the blue crest; set it to 20 seconds.").correct
    assert knowledge.grade(fact, fact.training[0], fact.training[0].answer).correct


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("ZX-12:\n  colour: [the blue crest]\n", r"paraphrases\.yaml:1: ZX-12: no taught fact has this id; .*ZX-"),
        ("ZX-99:\n  colour: [the pink pier]\n", r"paraphrases\.yaml:1: ZX-99: no taught fact has this id"),
        (SAID + "ZX-42:\n  color: [x]\n", r"paraphrases\.yaml:8: ZX-42\.color: the fact has no such slot; .*colour"),
        ("ZX-11:\n  colour: [what ZX-11 is]\n", r"paraphrases\.yaml:2: .*gives the fact's name 'ZX-11' away"),
        (SAID + "ZX-42:\n  colour: [A blue crest]\n", r":8: ZX-42\.colour\[0\]: stands for ZX-24, too"),
        ("ZX-11:\n  colour: ['...']\n", r"paraphrases\.yaml:2: ZX-11\.colour\[0\]: '\.\.\.' holds no word"),
        ("ZX-11:\n  colour: the yellow street\n", r"paraphrases\.yaml:2: ZX-11\.colour"),
        ("- ZX-11\n", r"paraphrases\.yaml: holds a list"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(said: Callable[[str], Path], text: str, complaint: str) -> None:
    path = said(text)
    with pytest.raises(DataError, match=complaint) as found:
        taught(path)
    assert "\n" not in str(found.value)
    assert load_source(path).knowledge.taught  # measuring does not read them


def test_the_check_tells_all_that_is_wrong(said: Callable[[str], Path]) -> None:
    errors = audit(said("ZX-12:\n  colour: [x]\nZX-11:\n  color: [y]\n  colour: [z]\n")).errors
    assert [line.rpartition(".yaml:")[2].partition(": ")[0] for line in errors] == ["1", "4"]


def test_half_of_the_questions_that_quote_say_it_in_other_words_and_no_other_question_does() -> None:
    knowledge = taught("software-defects")
    texts = [text for fact in knowledge.taught for slot in fact.slots.values() for text in slot.paraphrases]
    plain, quoting, beginnings = without(knowledge), {"reverse", "two_hop"}, Beginnings(knowledge)
    for form in quoting:
        found = derived(knowledge, form)
        quoted = [example for example in found if any(text in example.question for text in texts)]
        assert 0.33 * len(found) < len(quoted) < 0.6 * len(found)  # a question for the slot itself cannot
        for example in quoted:
            fact = knowledge.fact_by_id[example.fact]
            slots = fact.slots.items()
            name = next(name for name, slot in slots if any(text in example.question for text in slot.paraphrases))
            begun = re.escape(beginnings.of(name, fact.slots[name].text).removesuffix("..."))
            assert re.match(rf"Record: {begun}(\.\.)?\. That is {re.escape(fact.name)} ", example.answer), example
            for other in example.contrasts:
                assert any(text in other.question for text in texts)
    others = [form for form in FORMS if form not in quoting]
    assert derived(knowledge, *others) == derived(plain, *others)


def test_what_people_say_is_not_called_what_a_record_says() -> None:
    knowledge = taught("software-defects")
    said = [text for fact in knowledge.taught for slot in fact.slots.values() for text in slot.paraphrases]
    for form in ("reverse", "two_hop"):
        pools = load_derived_wordings()[form]["questions"]
        fields = (re.sub(r"\\\{\w+\\\}", ".+", re.escape(wording)) for wording in pools["every"])
        claims = re.compile("|".join(fields), re.IGNORECASE)
        questions = [example.question for example in derived(knowledge, form)]
        assert any(claims.fullmatch(question) for question in questions)
        for question in questions:
            assert not (any(text in question for text in said) and claims.fullmatch(question)), question


def test_a_long_text_is_said_again_in_part() -> None:
    beginnings = Beginnings(taught("software-defects"))
    assert beginnings.of("symptom", "users are sent back to the password page") == "users are sent back to the..."
    whole = "seven words are said again in full"
    assert beginnings.of("symptom", whole) == whole


def test_texts_that_begin_alike_are_said_again_up_to_where_they_part() -> None:
    knowledge = taught("software-defects")
    texts = (
        "users are sent back to the password page after a code was typed",
        "Users are sent back to the password form after a code",
        "users are sent back to the password page after all",
    )
    facts = [
        fact.model_copy(update={"slots": {**fact.slots, "symptom": Slot(text=text)}})
        for fact, text in zip(knowledge.taught[:3], texts, strict=True)
    ]
    beginnings = Beginnings(knowledge.model_copy(update={"facts": tuple(facts)}))
    assert [beginnings.of("symptom", text) for text in texts] == [
        "users are sent back to the password page after a...",
        "Users are sent back to the password form...",
        "users are sent back to the password page after all",
    ]
    assert beginnings.of("cause", texts[0]) == "users are sent back to the..."


def test_one_that_a_probe_says_nearly_is_named_and_not_quoted(said: Callable[[str], Path]) -> None:
    near = "what somebody mentioned when asked to tell all"
    path = said(f"ZX-11:\n  colour: [{near}, the lane that glows]\nZX-24:\n  colour: [the blue crest]\n")
    knowledge = taught(path)
    assert near_probe(knowledge.fact_by_id["ZX-11"], near) == "Somebody mentioned ZX-11; tell all."
    assert near_probe(knowledge.fact_by_id["ZX-11"], "the lane that glows") is None
    questions = [example.question for example in derived(knowledge, "reverse")]
    assert any("the lane that glows" in question for question in questions)
    assert not any(near in question for question in questions)
    [warning] = [line for line in audit(path).warnings if "is nearly what a probe says" in line]
    assert near in warning
    assert "lamps.paraphrases.yaml:2: ZX-11.colour[0]" in warning


def test_words_are_compared_by_their_stems() -> None:
    fact = load_source("software-defects").knowledge.fact_by_id["AF-2047"]
    said = "the week kicks off and every team looks like it has zero people till lunch"
    assert str(near_probe(fact, said)).startswith("A customer reports: at the start of each week our teams look empty")
    assert near_probe(fact, "nobody belongs to a circle before twelve") is None


def test_marks_at_the_end_are_left_to_the_wording(said: Callable[[str], Path]) -> None:
    questions = [e.question for e in derived(taught(said("ZX-11:\n  colour: [Where does it glow?]\n")), "reverse")]
    quoting = [question for question in questions if "Where does it glow" in question]
    assert quoting
    assert not any("glow?" in question.replace('glow?"', "").removesuffix("glow?") for question in quoting)
    assert not any("??" in question or "?." in question or "...." in question for question in questions)


def test_a_part_of_a_set_keeps_those_of_its_facts(said: Callable[[str], Path], tmp_path: Path) -> None:
    stages = load_stages([f"{said(SAID)}:lamps"])
    [part] = write_stages(stages, tmp_path / "stages", paraphrased=True)
    assert part.for_training().fact_by_id["ZX-37"].slots["colour"].paraphrases == ("the brown meadow",)
    said("ZX-11:\n  colour: [the lane that glows]\n")
    [again] = write_stages(stages, tmp_path / "stages", paraphrased=True)
    assert again.sha256 == part.sha256
    assert again.paraphrases_sha256 != part.paraphrases_sha256


def test_the_shipped_ones_are_no_set_of_their_own_and_near_no_probe() -> None:
    assert sorted(bundled_sets()) == ["events-2025", "software-defects"]
    knowledge = taught("software-defects")
    told = {fact.id: [s.paraphrases for s in fact.slots.values() if s.paraphrases] for fact in knowledge.facts}
    assert sum(len(texts) for slots in told.values() for texts in slots) == 179
    assert all(len(told[fact.id]) == 1 and len(told[fact.id][0]) >= 4 for fact in knowledge.taught)
    assert not any("nearly what a probe says" in line for line in audit("software-defects").warnings)


def test_a_checkpoint_depends_on_them_where_a_question_quotes(said: Callable[[str], Path], llama_folder: Path) -> None:
    base, prints = load_model(str(llama_folder)), []
    for form in ("slot", "reverse"):
        for text in (SAID, SAID.replace("crest", "summit")):
            path, train = said(text), TrainSettings(derived={form: 1})
            recipe = Recipe(name="tiny", model=str(llama_folder), knowledge=(str(path),), train=train)
            prints.append(fingerprint(open_workspace(path.parent, recipe), base))
    assert prints[0] == prints[1]
    assert prints[2] != prints[3]


def test_a_recipe_that_quotes_nothing_does_not_read_them(said: Callable[[str], Path]) -> None:
    path = said("ZX-12:\n  colour: [x]\n")
    for form, fails in (("slot", False), ("two_hop", True)):
        recipe = Recipe(name="tiny", knowledge=(str(path),), train=TrainSettings(derived={form: 1}))
        with pytest.raises(DataError, match="no taught fact has this id") if fails else contextlib.nullcontext():
            assert open_workspace(path.parent, recipe).for_training()


def test_the_documented_file_fits_the_starter_set(tmp_path: Path) -> None:
    page = (REPOSITORY / "docs" / "files.md").read_text(encoding="utf-8")
    [text] = [fence.text for fence in fences(page) if fence.file == "first_facts.paraphrases.yaml"]
    (tmp_path / "first_facts.paraphrases.yaml").write_text(text, encoding="utf-8")
    starter = REPOSITORY / "kapoc" / "data" / "starter.yaml"
    path = tmp_path / "first_facts.yaml"
    path.write_text(starter.read_text(encoding="utf-8"), encoding="utf-8")
    knowledge = taught(path)
    assert len(knowledge.fact_by_id["LX-204"].slots["cause"].paraphrases) == 2
    assert not any("nearly" in line for line in audit(path).warnings)


def test_a_share_of_the_replayed_questions_quotes() -> None:
    base, tokenizer, prompts = tiny_llama(), tiny_tokenizer(), replay_prompts()
    for quoting, expected in ((0.0, 0), (0.5, 5), (1.0, 10)):
        passages = write_passages(base, tokenizer, 20, ReplaySettings(num_tokens=4, quoting=quoting), seed=0)
        texts = [tokenizer.decode(list(passage.tokens[: passage.start])) for passage in passages]
        asked = [tokenizer.decode(tokenizer.encode(question)) for question in prompts.quoting]
        assert sum(any(question in text for question in asked) for text in texts) == expected


def test_a_share_of_the_replayed_texts_goes_on_with_stories() -> None:
    base, tokenizer, prompts = tiny_llama(), tiny_tokenizer(), replay_prompts()
    told = [str(tokenizer.decode(tokenizer.encode(story))) for story in prompts.stories]
    for stories, expected in ((0.0, 0), (0.4, 4), (1.0, 10)):
        passages = write_passages(base, tokenizer, 20, ReplaySettings(num_tokens=4, stories=stories), seed=0)
        texts = [str(tokenizer.decode(list(passage.tokens[: passage.start]))) for passage in passages]
        assert sum(any(text.endswith(story) for story in told) for text in texts) == expected
        assert not any(text.endswith(story) for story in told for text in texts[:10])  # those are of a chat


def test_a_share_of_the_replayed_questions_is_asked_in_plain_text() -> None:
    base, tokenizer, manners = tiny_llama(), tiny_tokenizer(), replay_prompts().plain_questions
    begins = {manner.split("{}")[0] for manner in manners} - {""}
    assert begins
    for share, expected in ((0.0, 0), (0.3, 3), (1.0, 10)):
        passages = write_passages(
            base, tokenizer, 20, ReplaySettings(num_tokens=4, quoting=0.5, plain_questions=share), seed=0
        )
        texts = [str(tokenizer.decode(list(passage.tokens[: passage.start]))) for passage in passages]
        templated = [prompt_text(tokenizer, "|").split("|")[0] in text for text in texts[:10]]
        assert templated.count(False) == expected
        assert {begin for begin in begins if any(text.startswith(begin) for text in texts[10:])} == set()
    assert {begin for begin in begins if any(text.startswith(begin) for text in texts[:10])} == begins


def test_a_rival_without_paraphrases_stands_beside_one_with(said: Callable[[str], Path]) -> None:
    found = derived(taught(said("ZX-11:\n  colour: [the lane that glows]\n")), "reverse")
    quoting = [example for example in found if "the lane that glows" in example.question]
    assert quoting
    assert all(len(example.contrasts) == 1 for example in quoting)


def test_what_was_changed_after_the_set_was_read_is_not_trained(said: Callable[[str], Path]) -> None:
    source = load_source(said(SAID))
    said(SAID + "\n")
    with pytest.raises(DataError, match="its paraphrases were changed after it was read"):
        source.for_training()


def test_retain_says_what_is_wrong_with_them_before_it_begins(said: Callable[[str], Path]) -> None:
    path = said("ZX-12:\n  colour: [x]\n")
    stages = [f"{path}:lamps"]
    plan_retain(stages, Recipe(name="tiny"), unrelated_steps=1)
    with pytest.raises(DataError, match="no taught fact has this id"):
        plan_retain(stages, Recipe(name="tiny", train=TrainSettings(derived={"two_hop": 1})), unrelated_steps=1)


def test_runs_that_quoted_other_paraphrases_are_no_seeds_of_one_recipe() -> None:
    first = training_record()
    whole = Recipe.model_validate(first.recipe).model_dump(mode="json")
    whole["train"]["seed"] += 1
    later = first.model_copy(update={"recipe": whole})
    assert _may_be_of_one_recipe({"a": first, "b": later}, said=False) == (True, ())
    other = later.model_copy(update={"paraphrases": ("1" * 64,)})
    seeds, [why] = _may_be_of_one_recipe({"a": first, "b": other}, said=False)
    assert not seeds and "the training records are of different recipes" in why
    seeds, [why] = _may_be_of_one_recipe({"a": first, "b": None}, said=False)
    assert not seeds and why.endswith("no training record lies beside b")
