"""Where a trained model goes: what is refused before training, and that a finished one is never thrown away."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import tiny_llama, tiny_tokenizer
from pages import training_record
from tokenizers import AddedToken
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertLMHeadModel, MptConfig, MptForCausalLM

from kapoc.answers import generate_answers
from kapoc.errors import DataError, ModelError, OutputError, TrainingError
from kapoc.models import context_of, load_model, prepare_tokenizer, save_model, stop_tokens
from kapoc.recipe import load_recipe
from kapoc.training import checkpoint
from kapoc.training.checkpoint import locked, read_training_record, refuse_foreign, refuse_without_room, writing
from kapoc.workflow import train_run
from kapoc.workflow.workspace import open_workspace

RECORD = '{"fingerprint": "f", "weights_sha256": "0"}'


def test_a_second_process_is_refused_while_the_first_trains(tmp_path: Path) -> None:
    target = tmp_path / "runs" / "model"
    with locked(target):
        with pytest.raises(OutputError, match=r"model: another kapoc trains into it"), locked(target):
            pass
        with locked(target.with_name("other")):
            pass
    with locked(target):
        pass
    assert list(target.parent.iterdir()) == []


def test_training_finds_a_second_process_and_a_full_disk_before_it_begins(
    tmp_path: Path, tiny_recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kapoc.training.train.train", lambda *_, **__: pytest.fail("it trains"))
    workspace = open_workspace(tmp_path, load_recipe(tiny_recipe))
    with locked(workspace.model), pytest.raises(OutputError, match="another kapoc trains into it"):
        train_run.train_model(workspace, workspace.model)
    monkeypatch.setattr("kapoc.training.checkpoint.shutil.disk_usage", lambda _: SimpleNamespace(free=10))
    with pytest.raises(OutputError, match="the trained model needs"):
        train_run.train_model(workspace, workspace.model)


def test_a_lock_that_a_killed_process_left_holds_nobody_back(tmp_path: Path) -> None:
    (tmp_path / ".model.lock").touch()
    with locked(tmp_path / "model"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_mount_point_is_refused_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "ismount", lambda path: path == tmp_path)
    with pytest.raises(OutputError, match="is a mount point, and cannot be replaced"):
        refuse_foreign(tmp_path)
    refuse_foreign(tmp_path / "model")


def test_a_finished_model_that_cannot_be_moved_in_is_kept_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "model"

    def busy(partial: Path, _: Path) -> None:
        (partial / "UNFINISHED").unlink()
        raise OSError(16, "Device or resource busy", str(target))

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "_put_in_place", busy)
        message = r"the finished model is in .*\.model\.partial, move it"
        with pytest.raises(OutputError, match=message), writing(target) as folder:
            (folder / "training.json").write_text("{}", encoding="utf-8")
    with pytest.raises(RuntimeError), writing(target):
        raise RuntimeError  # the next training puts it in its place, and fails
    assert (target / "training.json").is_file()


def test_a_disk_without_room_is_found_before_training(tmp_path: Path) -> None:
    refuse_without_room(tmp_path / "no" / "such" / "model", 1)
    with pytest.raises(OutputError, match=r"the trained model needs 1000000\.0 GB of disk space"):
        refuse_without_room(tmp_path / "model", 10**15)


def test_what_a_library_makes_of_a_full_disk_is_told_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = tiny_tokenizer()

    def full(*_: object) -> None:
        raise Exception("No space left on device (os error 28)")

    monkeypatch.setattr(tokenizer, "save_pretrained", full)
    with pytest.raises(OSError, match="No space left"):
        save_model(tiny_llama(), tokenizer, tmp_path)


def test_a_link_to_a_folder_stays_one(tmp_path: Path, tiny_recipe: Path) -> None:
    (tmp_path / "big").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "big")
    workspace = open_workspace(tmp_path, load_recipe(tiny_recipe))
    train_run.train_model(workspace, tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert read_training_record(tmp_path / "big") is not None


def test_a_link_to_a_model_is_measured_and_trained_again(tmp_path: Path) -> None:
    (tmp_path / "big").mkdir()
    link = tmp_path / "model"
    link.symlink_to(tmp_path / "big")
    for text in ("first", "second"):
        with writing(link) as folder:
            (folder / "training.json").write_text(RECORD, encoding="utf-8")
            (folder / "text").write_text(text, encoding="utf-8")
        assert link.is_symlink()
        assert (tmp_path / "big" / "text").read_text(encoding="utf-8") == text
    assert {path.name for path in tmp_path.iterdir()} == {"big", "model"}
    (tmp_path / "big").replace(tmp_path / ".big.partial")  # as a kill between two renames leaves it
    checkpoint.finish_swap(link)
    assert (link / "text").read_text(encoding="utf-8") == "second"


def test_a_data_set_of_that_name_is_no_model_of_ours(tmp_path: Path) -> None:
    target = tmp_path / "data"
    target.mkdir()
    (target / "thesis.txt").touch()
    for text in ('[{"text": "a"}]', "{", '{"lr": 1}'):
        (target / "training.json").write_text(text, encoding="utf-8")
        with pytest.raises(OutputError, match="holds files that kapoc did not write"), writing(target):
            pass
    assert (target / "thesis.txt").is_file()


def test_a_finished_model_set_aside_replaces_the_one_before_it(tmp_path: Path) -> None:
    target = tmp_path / "model"
    for name, text in (("model", "old"), (".model.partial", "new")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "training.json").write_text(RECORD, encoding="utf-8")
        (tmp_path / name / "text").write_text(text, encoding="utf-8")
    checkpoint.finish_swap(target)
    assert (target / "text").read_text(encoding="utf-8") == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_finished_model_set_aside_replaces_nothing_that_is_not_ours(tmp_path: Path) -> None:
    for name, file in (("model", "thesis.txt"), (".model.partial", "training.json")):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_text(RECORD, encoding="utf-8")
    checkpoint.finish_swap(tmp_path / "model")
    assert (tmp_path / "model" / "thesis.txt").is_file()
    assert (tmp_path / ".model.partial" / "training.json").is_file()


def test_a_folder_marked_as_unfinished_holds_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "training.json").write_text(training_record().model_dump_json(), encoding="utf-8")
    assert read_training_record(tmp_path) is not None
    (tmp_path / "UNFINISHED").touch()
    assert read_training_record(tmp_path) is None


def test_weights_that_are_not_finite_are_neither_a_model_nor_the_last_good_ones(tmp_path: Path) -> None:
    model = tiny_llama()
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight[0, 0] = float("nan")
    told = checkpoint.keep_last_good(model, tiny_tokenizer(), tmp_path / "model", "the loss is nan")
    assert told.startswith("the last weights could not be kept (the last state")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(TrainingError, match="the trained model fails its checks: the trained model"):
        checkpoint.save_and_check(model, tiny_tokenizer(), tmp_path, ["Who?"])


def test_a_recipe_whose_base_is_its_own_model_is_refused(tmp_path: Path, tiny_recipe: Path) -> None:
    workspace = open_workspace(tmp_path, load_recipe(tiny_recipe))
    train_run.train_model(workspace, workspace.model)
    before = load_model(str(workspace.model)).identity
    (tmp_path / "a").mkdir()
    spelt_otherwise = str(tmp_path / "a" / ".." / workspace.model.relative_to(tmp_path))
    again = open_workspace(tmp_path, load_recipe(tiny_recipe).model_copy(update={"model": spelt_otherwise}))
    with pytest.raises(DataError, match="is where its own model goes, and would be overwritten"):
        train_run.train_model(again, again.model)
    assert load_model(str(workspace.model)).identity == before


def test_a_damaged_record_is_replaced_by_training(tmp_path: Path, tiny_recipe: Path) -> None:
    workspace = open_workspace(tmp_path, load_recipe(tiny_recipe))
    train_run.train_model(workspace, workspace.model)
    (workspace.model / "training.json").write_text("{", encoding="utf-8")
    train_run.train_once(workspace, workspace.model)
    assert read_training_record(workspace.model) is not None


def test_the_record_names_the_set_that_was_taught(tmp_path: Path, tiny_recipe: Path, knowledge_file: Path) -> None:
    recipe = load_recipe(tiny_recipe).model_copy(update={"knowledge": ("software-defects",)})
    recipe = recipe.with_train(derived={"reverse": 1})
    said = "ZX-11:\n  colour: [the lane that glows]\n"
    knowledge_file.with_suffix(".paraphrases.yaml").write_text(said, encoding="utf-8")
    workspace = open_workspace(tmp_path, recipe, knowledge=(str(knowledge_file),))
    train_run.train_model(workspace, workspace.model)
    record = read_training_record(workspace.model)
    assert record is not None and record.recipe["knowledge"] == [str(knowledge_file)]
    assert record.paraphrases == workspace.paraphrases != ()


@pytest.mark.parametrize("place", [700, 5000])
def test_a_padding_token_without_a_row_is_replaced(tmp_path: Path, place: int) -> None:
    tokenizer = tiny_tokenizer()
    while len(tokenizer) <= place:
        tokenizer.add_tokens([f"<{number}>" for number in range(len(tokenizer), place + 1)])
    tokenizer.pad_token = f"<{place}>"
    tiny_llama().save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded = load_model(str(tmp_path))
    assert loaded.tokenizer.pad_token_id == loaded.tokenizer.eos_token_id


def test_a_tokenizer_that_ends_every_text_is_refused() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="$A <|im_end|>", special_tokens=[("<|im_end|>", int(tokenizer.eos_token_id))]
    )
    with pytest.raises(ModelError, match="ends every text with its end token"):
        prepare_tokenizer(tokenizer)


@pytest.mark.parametrize("template", ["{{ raise_exception('no system') }}", "{% if %}"])
def test_a_broken_chat_template_is_told_in_a_line(tmp_path: Path, template: str) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = template
    tiny_llama().save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="the chat template cannot be used"):
        load_model(str(tmp_path))


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ messages[0]['content'][0]['text'] }}", "the chat template leaves out what is asked"),
        ("{% if messages|length > 1 %}{{ raise_exception('no') }}{% endif %}{{ messages[0]['content'] }}", "no"),
    ],
)
def test_a_template_that_cannot_ask_or_answer_is_refused(tmp_path: Path, template: str, said: str) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = template
    tiny_llama().save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=said):
        load_model(str(tmp_path))


def test_an_encoder_is_no_language_model(tmp_path: Path) -> None:
    sizes: dict[str, Any] = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2, "vocab_size": 700}
    BertLMHeadModel(BertConfig(**sizes, num_attention_heads=4, initializer_range=0.2)).save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="reads what stands behind a word before it predicts it"):
        load_model(str(tmp_path))


def test_an_answer_ends_where_its_template_closes_it() -> None:
    model, tokenizer = tiny_llama(), tiny_tokenizer()
    closing = int(tokenizer.eos_token_id)
    tokenizer.eos_token = "<|endoftext|>"  # noqa: S105 - a token of text
    model.generation_config.eos_token_id = int(tokenizer.eos_token_id)
    assert closing != tokenizer.eos_token_id
    assert stop_tokens(model, tokenizer) == sorted({int(tokenizer.eos_token_id), closing})
    model.generation_config.eos_token_id = [300, int(tokenizer.eos_token_id)]
    assert stop_tokens(model, tokenizer) == sorted({300, int(tokenizer.eos_token_id), closing})


def test_a_model_that_is_another_one_when_it_is_read_back_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "save_model", lambda _, tokenizer, to: save_model(tiny_llama(1), tokenizer, to))
    with pytest.raises(TrainingError, match=r"read back from disk differs by \S+ in its logits"):
        checkpoint.save_and_check(tiny_llama(0), tiny_tokenizer(), tmp_path, ["Who?"])


@pytest.mark.parametrize(
    "setting",
    [
        {"stop_strings": ["lamp"]},
        {"return_dict_in_generate": True},
        {"prompt_lookup_num_tokens": 3},
        {"num_return_sequences": 2},
        {"cache_implementation": "quantized"},
        {"token_healing": True},
    ],
)
def test_what_a_generation_config_cannot_have_here_is_left_out(setting: dict[str, Any]) -> None:
    model, tokenizer = tiny_llama(), tiny_tokenizer()
    plain = generate_answers(model, tokenizer, ["One", "Two lamps"], max_new_tokens=4, temperature=None, batch_size=2)
    for name, value in setting.items():
        setattr(model.generation_config, name, value)
    config = model.generation_config
    found = generate_answers(model, tokenizer, ["One", "Two lamps"], max_new_tokens=4, temperature=None, batch_size=2)
    assert found == plain
    assert model.generation_config is config


def test_the_context_goes_by_two_names() -> None:
    assert context_of(tiny_llama()) == 1024
    assert context_of(MptForCausalLM(MptConfig(d_model=48, n_heads=4, n_layers=1, max_seq_len=256))) == 256


def test_a_chat_that_needs_a_token_without_a_row_is_refused(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": [AddedToken("<|turn|>")]})
    tokenizer.chat_template = "{{ '<|turn|>' }}" + str(tokenizer.chat_template)
    tiny_llama(vocab_size=len(tokenizer) - 1).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"a chat needs the token \d+ \(<\|turn\|>\), and the model has \d+ rows"):
        load_model(str(tmp_path))
