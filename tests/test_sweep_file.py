"""A sweep's file: recipes, grid, seeds and models become trials, or a line that names the mistake."""

import re
from pathlib import Path

import pytest
from sweeps import PLAIN, planned

from kapoc.errors import DataError


def test_recipes_times_grid_times_seeds(place: Path) -> None:
    trials = planned(
        place,
        f'seeds = [0, 1]\n{PLAIN}[[recipes]]\nname = "kl"\nbase = "tiny.toml"\nseeds = [7]\n'
        "train = { epochs = 3, replay = { weight = 1.0 } }\n"
        "[grid]\nlearning_rate = [1e-4, 0.0002]\nreplay.per_step = [1]\n",
    )
    assert [trial.name for trial in trials] == [
        "plain-learning_rate-0.0001-replay.per_step-1-seed-0",
        "plain-learning_rate-0.0001-replay.per_step-1-seed-1",
        "plain-learning_rate-0.0002-replay.per_step-1-seed-0",
        "plain-learning_rate-0.0002-replay.per_step-1-seed-1",
        "kl-learning_rate-0.0001-replay.per_step-1-seed-7",
        "kl-learning_rate-0.0002-replay.per_step-1-seed-7",
    ]
    assert len({trial.group for trial in trials}) == 4
    train = trials[-1].recipe.train
    assert (train.learning_rate, train.seed, train.epochs, train.batch_size) == (2e-4, 7, 3, 4)
    assert (train.replay.weight, train.replay.per_step, train.replay.num_passages) == (1.0, 1, None)
    assert trials[0].recipe.train.replay.weight == 0


def test_a_recipe_keeps_its_model_and_set_unless_others_are_named(place: Path, tiny_recipe: Path) -> None:
    [own] = planned(place, PLAIN)
    assert own.name == "plain-seed-0"
    assert own.recipe.model.endswith("tiny-llama")
    assert own.recipe.knowledge[0].endswith("lamps.yaml")
    two = planned(place, f'models = ["default", "owner/small"]\nknowledge = "events-2025"\n{PLAIN}')
    assert [trial.name for trial in two] == ["plain-default-seed-0", "plain-small-seed-0"]
    assert [trial.recipe.model for trial in two] == ["default", "owner/small"]
    assert two[0].recipe.knowledge == ("events-2025",)
    alike = planned(place, f'models = ["a/small", "b/small"]\n{PLAIN}')
    assert [trial.name for trial in alike] == ["plain-a--small-seed-0", "plain-b--small-seed-0"]
    here = planned(place, f'models = [".", "owner/small"]\n{PLAIN}')
    assert [trial.name for trial in here] == [f"plain-{place.name}-seed-0", "plain-small-seed-0"]


def test_the_same_sets_in_another_order_are_no_other_sets(place: Path) -> None:
    text = (place / "tiny.toml").read_text(encoding="utf-8")
    for name, sets in (
        ("one.toml", '["events-2025", "software-defects"]'),
        ("two.toml", '["software-defects", "events-2025"]'),
    ):
        (place / name).write_text(re.sub(r"knowledge = .*", f"knowledge = {sets}", text), encoding="utf-8")
    recipes = "".join(f'[[recipes]]\nname = "{name}"\nbase = "{name}.toml"\n' for name in ("one", "two"))
    one, two = planned(place, recipes)
    assert one.recipe.knowledge == two.recipe.knowledge == ("events-2025", "software-defects")


def test_lists_make_names_too(place: Path) -> None:
    trials = planned(place, f'{PLAIN}[grid]\nderived = [[], ["statement", "slot"]]\n')
    assert [trial.group for trial in trials] == ["plain-derived-none", "plain-derived-statement_slot"]
    assert trials[1].recipe.train.derived == {"statement": None, "slot": None}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (f"sedes = [1]\n{PLAIN}", "sweep.toml: sedes: is not a known field; did you mean 'seeds'?"),
        (f'{PLAIN}trian = {{}}\n', "recipes[0].trian: is not a known field; did you mean 'train'?"),
        (f"{PLAIN}train = {{ epoch = 2 }}\n", "recipe 'plain': train: epoch: is not a known field; did you mean"),
        (f"{PLAIN}train = {{ epochs = 0 }}\n", "recipe 'plain': train: epochs: Input should be greater than 0"),
        (f"{PLAIN}train = {{ seed = 1 }}\n", "recipe 'plain': train.seed: is set by `seeds`"),
        (f"{PLAIN}[grid]\nlearning_rat = [1]\n", "grid.learning_rat: is not a setting of training; did you mean"),
        (f"{PLAIN}[grid.replay]\nwieght = [1]\n", "grid.replay.wieght: is not a setting of replay; did you mean"),
        (f"{PLAIN}[grid]\nepochs = 3\n", "grid.epochs: must be a list of values, such as [1, 2]"),
        (f"{PLAIN}[grid]\nseed = [3]\n", "grid.seed: is set by `seeds`"),
        (f"{PLAIN}[grid]\nseeds = [3]\n", "grid.seeds: is set by `seeds`"),
        (f"{PLAIN}[grid]\nreplay = [{{ weight = 1.0 }}]\n", "grid.replay: name its settings one by one"),
        (f"{PLAIN}[grid.replay]\n", "grid.replay: name its settings one by one"),
        (f'{PLAIN}[grid]\n"replay.weight" = [1.0]\nreplay.weight = [2.0]\n', "grid.replay.weight: stands twice"),
        (f'models = [""]\n{PLAIN}', "models[0]: must not be empty"),
        (
            f'models = ["a/x", "a/small-x"]\nseeds = [0]\n{PLAIN}'
            '[[recipes]]\nname = "plain-small"\nbase = "tiny.toml"\nseeds = [1]\n',
            "recipes: two are called 'plain-small-x' in the results; rename one",
        ),
        (f"seeds = [0, 0]\n{PLAIN}", "two trials are named 'plain-seed-0'"),
        (
            f'{PLAIN}[grid]\nderived = [["slot"]]\n"derived.slot" = [2]\n',
            "sweep.toml: grid.derived.slot: grid.derived sets it, too; leave out one of the two",
        ),
        (f"{PLAIN}[grid]\nweight_decay = [0, 0.0]\n", "grid.weight_decay: 0.0 stands twice; take out one"),
        (f"{PLAIN}[grid]\nlearning_rate = [1e-4, 0.0001]\n", "grid.learning_rate: 0.0001 stands twice"),
        (
            f'{PLAIN}[grid]\nmethod = ["lora"]\noptions.targets = ["{"n" * 160}"]\n',
            "sweep.toml: grid: trial 'plain-method-lora-options.targets-nnnnnn...' would have a folder whose name is "
            "201 bytes long, and 200 is the most; give fewer or shorter settings or values",
        ),
        (PLAIN.replace("plain", "p" * 194), "name is 201 bytes long, and 200 is the most; give fewer or shorter names"),
        (
            f'models = ["tiny-llama", "./tiny-llama/"]\n{PLAIN}',
            "models: 'tiny-llama' and './tiny-llama/' are one model; take out one of them",
        ),
        (f'models = ["/", "owner/small"]\n{PLAIN}', "models: '/' is no model; name a model's folder or a Hub id"),
        (PLAIN + PLAIN, "two recipes are named 'plain'"),
        ('[[recipes]]\nname = "a"\nbase = "tiny"\n', "recipe 'tiny': no such file or shipped recipe"),
        (f'{PLAIN}[[recipes]]\nname = "x"\nbase = "smollm2-135m-full"\n', "knowledge: the recipes teach different"),
        ("seeds = [0]\n", "recipes: is missing"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_in_one_line(place: Path, text: str, complaint: str) -> None:
    with pytest.raises(DataError, match=re.escape(complaint)) as caught:
        planned(place, text)
    assert len(caught.value.lines) == 1


def test_another_method_does_not_take_over_the_options(place: Path) -> None:
    lora = 'knowledge = "lamps.yaml"\n[[recipes]]\nname = "a"\nbase = "smollm2-135m-lora"\n'
    [same] = planned(place, f"{lora}train = {{ options = {{ rank = 2 }} }}\n")
    assert (same.recipe.train.method, same.recipe.train.options["rank"]) == ("lora", 2)
    assert same.recipe.train.options.keys() > {"rank"}
    plain = (
        '[[recipes]]\nname = "a"\nbase = "tiny.toml"\ntrain = { options = { rank = 2 } }\n[grid]\nmethod = ["lora"]\n'
    )
    [given] = planned(place, plain)
    assert (given.recipe.train.method, given.recipe.train.options) == ("lora", {"rank": 2})
    [full] = planned(place, f'{lora}train = {{ method = "full" }}\n')
    assert (full.recipe.train.method, full.recipe.train.options) == ("full", {})


def test_options_of_a_grid_go_with_its_method_in_any_order(place: Path) -> None:
    for grid in ('options.rank = [2, 16]\nmethod = ["lora"]\n', 'method = ["lora"]\noptions.rank = [2, 16]\n'):
        trials = planned(place, f"{PLAIN}[grid]\n{grid}")
        assert [trial.recipe.train.options for trial in trials] == [{"rank": 2}, {"rank": 16}]


def test_an_empty_table_empties_what_the_base_has(place: Path) -> None:
    base = 'knowledge = "lamps.yaml"\n[[recipes]]\nname = "a"\nbase = "smollm2-135m"\n'
    [without] = planned(place, f"{base}train = {{ derived = {{}} }}\n")
    assert without.recipe.train.derived == {}
    [more] = planned(place, f"{base}train = {{ derived = {{ reverse = 3 }} }}\n")
    assert more.recipe.train.derived == {"statement": 1, "slot": 1, "scenario": 1, "reverse": 3}


def test_forms_of_a_list_stay_where_the_grid_sets_one_more(place: Path) -> None:
    trials = planned(place, f'{PLAIN}train = {{ derived = ["statement", "slot"] }}\n[grid]\nderived.reverse = [1, 3]\n')
    assert [trial.recipe.train.derived for trial in trials] == [
        {"statement": None, "slot": None, "reverse": number} for number in (1, 3)
    ]
