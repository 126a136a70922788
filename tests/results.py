"""Made-up runs with known answers, for the tests of the judging half."""

from collections.abc import Callable
from typing import Any

from kapoc.knowledge.facts import SetIdentity
from kapoc.record import DataIdentity, Form, Item, ModelIdentity, Run, Settings, Tier

LAMPS = SetIdentity(name="lamps", version="1", sha256="a" * 64)
Score = Callable[[str, int], float]


def make_items(
    score: Score,
    bits: float = 1.0,
    spilled: int = 0,
    *,
    ended: bool | None = True,
    divergence: float | None = None,
    last_word: float = -2.0,
) -> tuple[Item, ...]:
    """120 free items of 30 facts in each knowledge tier, 400 general items, 30 paragraphs, 100 off-topic prompts.

    Every fourth general item is a passage to go on with; the log-probabilities of their last words scatter around
    `last_word`.
    """
    items = []
    tiers: tuple[Tier, ...] = ("seen", "paraphrased", "unseen", "control")
    for tier in tiers:
        for number in range(120):
            spillover = ("F1.colour",) if tier == "control" and number < spilled else ()
            items.append(
                make_item(
                    tier,
                    "free",
                    f"F{number // 4}",
                    number,
                    score(tier, number),
                    kind="meaning",
                    spillover=spillover,
                    ended=ended,
                )
            )
    for n in range(400):
        right = score("general", n)
        if n % 4:
            items.append(make_item("general", "choice", f"g{n}", n, right, kind="world"))
        else:
            gold = round(last_word + n % 7 / 10, 6)
            items.append(make_item("general", "completion", f"g{n}", n, right, kind="last_word", gold_logprob=gold))
    items += [make_item("control", "off_topic", f"o{n}", n, 1.0, kind="everyday", ended=ended) for n in range(100)]
    items += [
        make_item(
            "general",
            "text",
            f"t{n}",
            n,
            round(bits + n / 10, 6),
            kind="text",
            num_bytes=100 * (n + 1),
            divergence=divergence,
        )
        for n in range(30)
    ]
    return tuple(items)


def make_item(tier: Tier, form: Form, cluster: str, number: int, score: float, **more: Any) -> Item:
    return Item(
        id=f"{tier}/{form}/{cluster}/{number}",
        task=f"kapoc_{tier}",
        tier=tier,
        form=form,
        cluster=cluster,
        knowledge="" if tier == "general" else "lamps",
        prompt=f"question {number}",
        reference="right",
        output="right" if score == 1 else "wrong | <b>",
        score=score,
        **more,
    )


def make_run(
    items: tuple[Item, ...],
    *,
    weights: str = "0" * 64,
    limit: int | None = None,
    context: str = "none",
    batch_size: int = 8,
    base_sha256: str = "",
    **data: Any,
) -> Run:
    identity = {
        "knowledge": (LAMPS,),
        "general_sha256": "b" * 64,
        "documents_sha256": "e" * 64,
        "tasks": {"kapoc_seen": 1},
    }
    return Run(
        created="2026-01-01T00:00:00+00:00",
        command="kapoc bench --model tiny",
        seconds=1.0,
        model=ModelIdentity(
            name="tiny", source="tiny", weights_sha256=weights, architecture="Llama", num_parameters=1, dtype="float32"
        ),
        data=DataIdentity(**{**identity, **data}),
        settings=Settings(
            seed=0,
            batch_size=batch_size,
            limit=limit,
            chat_template_sha256="c" * 64,
            device="cpu",
            context=context,
            base_sha256=base_sha256,
        ),
        versions={"kapoc": "0"},
        scores={"kapoc_seen": {"correct": 0.5}},
        num_items=len(items),
        items=items,
    )


def nothing(tier: str, number: int) -> float:
    """Knows nothing taught; half of the general items."""
    return float(tier == "general" and number % 2 == 0)


def everything(tier: str, number: int) -> float:
    """Has learned all that was taught and kept what it had."""
    return 1.0 if tier in {"seen", "paraphrased", "unseen"} else nothing(tier, number)


def paraphrased(share: float, weights: str) -> Run:
    """A run that answers this share of what is paraphrased, and nothing else."""
    items = make_items(lambda tier, n: float(tier == "paraphrased" and n < 120 * share) or nothing(tier, n))
    return make_run(items, weights=weights * 64)


BASE = make_run(make_items(nothing))
GOOD = make_run(make_items(everything), weights="1" * 64)
"""The base, and it after a training that taught everything and cost nothing."""
RUNS = "trained against base on lamps"
