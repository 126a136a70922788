"""The page of `tests/speed_study.py`."""

from collections.abc import Iterator, Mapping
from statistics import median
from typing import Any

from speed_growth import fitted

KINDS = {"loglikelihood": "scoring", "loglikelihood_rolling": "reading", "generate_until": "answering"}
MIB = 2**20


def render(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown of whatever parts there are."""
    parts = {
        "measuring": _measuring,
        "exactness": _exactness,
        "training": _training,
        "memory": _memory,
        "growth": _growth,
    }
    lines = [
        "# Speed",
        "",
        "Made by `make bench-speed`; each part can be run alone: `python tests/speed_study.py training`.",
    ]
    for name, tell in parts.items():
        if name in results:
            lines += ["", *tell(results[name])]
    return "\n".join(lines) + "\n"


def _setting(found: Mapping[str, Any]) -> str:
    settings = [", ".join(f"{key.replace('_', ' ')} {value}" for key, value in found["settings"].items())]
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    return "; ".join([f"{found['threads']} threads", *filter(None, settings), versions]) + "."


def _measuring(found: Mapping[str, Any]) -> Iterator[str]:
    yield "## A measurement"
    yield ""
    yield _setting(found)
    for model in found["models"]:
        yield ""
        yield f"### {model['name']}"
        yield ""
        passes = f"medians of {len(model['ours'])} passes" if len(model["ours"]) > 1 else "one pass"
        yield f"Seconds of all requests; {passes} each, taken in turn. HFLM at its best"
        pilots = ", ".join(f"{size}: {seconds:.0f} s" for size, seconds in model["pilots"].items())
        yield f"batch size, found on an eighth of these items ({pilots})."
        yield ""
        yield f"| | kapoc | HFLM, batch {model['best']} | ratio |"
        yield "| --- | ---: | ---: | ---: |"
        for kind, name in KINDS.items():
            yield _row(name, [run[kind] for run in model["ours"]], [run[kind] for run in model["theirs"]])
        totals = [[sum(run.values()) for run in model[side]] for side in ("ours", "theirs")]
        yield _row("**all**", *totals)
        yield ""
        yield from _efficiency(model)
        yield from _agreement(model["agreement"], model["noise"])


def _row(name: str, ours: list[float], theirs: list[float]) -> str:
    return f"| {name} | {median(ours):.0f} | {median(theirs):.0f} | {median(theirs) / median(ours):.2f} |"


def _efficiency(model: Mapping[str, Any]) -> Iterator[str]:
    tokens, rate = model["tokens"], model["forward_rate"]
    scoring = median(run["loglikelihood"] + run["loglikelihood_rolling"] for run in model["ours"])
    writing = median(run["generate_until"] for run in model["ours"])
    answered = tokens["asked_unique"] + tokens["written"]
    yield f"- HFLM reads {tokens['scored_stock']:,} tokens to score, of which {tokens['scored_unique']:,} are not the"
    yield f"  same beginning again; {tokens['asked_unique']:,} distinct ones ask for free answers, and the model wrote"
    yield f"  {tokens['written']:,}."
    own = model["stock_forward_rate"]
    yield f"- A plain forward pass with all logits reads {rate:.0f} tokens a second, {own:.0f} as transformers loads"
    yield "  the model."
    yield f"  In distinct tokens scoring ran at {tokens['scored_unique'] / scoring / rate:.0%} of the first, and"
    yield f"  answering, read and written, at {answered / writing / rate:.0%}."
    third = median(sum(run.values()) for run in model["theirs"]) / 3
    yield "- To be three times as fast as HFLM, kapoc would have to read and write all its distinct tokens at"
    yield f"  {(tokens['scored_unique'] + answered) / third / rate:.0%} of the rate of a plain forward pass."


def _agreement(found: Mapping[str, Any], noise: Mapping[str, Any]) -> Iterator[str]:
    yield f"- {found['num_same']} of {found['num_answers']} answers are the same texts, and"
    yield f"  {found['num_greedy_differs']} continuations are greedy for one engine alone. The {found['num_scores']}"
    yield "  log-probabilities differ by at most so many nats:"
    yield ""
    yield "| | continuations | whole texts |"
    yield "| --- | ---: | ---: |"
    rows = {
        "kapoc and HFLM": found,
        "HFLM at batch size 8 and at 32, an eighth of the items": noise,
    }
    yield from _largest(rows)


def _exactness(found: Mapping[str, Any]) -> Iterator[str]:
    yield "## How exact scores are"
    yield ""
    yield _setting(found)
    yield ""
    yield "An eighth of these items. The largest difference, in nats, of a log-probability in 32 bits from that of the"
    yield "same model in 64, its norms and the softmax, too."
    for model in found["models"]:
        yield ""
        yield f"| {model['name']} | continuations | whole texts |"
        yield "| --- | ---: | ---: |"
        yield from _largest(model["errors"])


def _largest(rows: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for name, row in rows.items():
        yield f"| {name} | {row['largest']:.1e} | {row['largest_of_texts']:.1e} |"


def _training(found: Mapping[str, Any]) -> Iterator[str]:
    ours = median(found["rates"]["kapoc"])
    yield "## Training"
    yield ""
    yield _setting(found)
    yield ""
    yield "All weights, AdamW, 8 examples a step, the same examples in the same order; in float32, or, where a row says"
    yield "so, under bfloat16 autocast. TRL without its default checkpointing of activations, which costs time. Each"
    yield "run in a process of its own, in turn; medians over rounds, the first step left out."
    yield ""
    yield "| | answer tokens a second | kapoc is faster by | largest difference of a step's loss |"
    yield "| --- | ---: | ---: | ---: |"
    for name, rates in found["rates"].items():
        difference = found["largest_loss_difference"][name]
        yield f"| {name} | {median(rates):.1f} | {ours / median(rates):.2f} | {difference:.1e} |"
    yield ""
    share = found["operations"] / median(found["seconds"]["kapoc"]) / found["peak"]
    yield f"A large matrix product reaches {found['peak'] / 1e9:.0f} GFLOP/s here; the matrix products of kapoc's steps"
    yield f"in float32 run at {share:.0%} of it, with the optimizer and everything else in their time."


def _memory(found: Mapping[str, Any]) -> Iterator[str]:
    yield "## Memory of full fine-tuning"
    yield ""
    yield _setting(found)
    yield ""
    yield f"- before: {found['before'] / MIB:,.0f} MiB, of the process with its imports"
    yield f"- peak: {found['peak'] / MIB:,.0f} MiB"
    yield f"- 16 bytes a parameter: {found['floor'] / MIB:,.0f} MiB"
    row = f"a row of {found['num_examples']} examples (and replayed passages: {found['num_passages']})"
    yield f"- kept for the backward pass of {row}: {found['activations'] / MIB:,.0f} MiB"
    yield f"- what the process grew by, beside the sum of these two: {found['ratio']:.2f}"


def _growth(found: Mapping[str, Any]) -> Iterator[str]:
    sizes = found["sizes"]
    variations = list(sizes[0]["epoch_tokens"])
    yield "## How cost grows"
    yield ""
    yield f"Generated sets; {found['threads']} threads. Tokens are counted as they are packed and shared; seconds of an"
    yield "epoch and of a measurement are these tokens at the rates that `kapoc plan` measures; the rest is measured."
    yield ""
    heads = " | ".join(f"epoch, {number} {'text' if int(number) == 1 else 'texts'} a fact" for number in variations)
    yield f"| facts | loading, s | {heads} | measurement, s | peak memory, MiB |"
    yield "| ---: | ---: |" + " ---: |" * (len(variations) + 2)
    for size in sizes:
        cells = " | ".join(
            f"{size['epoch_seconds'][number]:,.0f} s, {size['epoch_tokens'][number]:,} tokens" for number in variations
        )
        ends = f"{size['bench_seconds']:,.0f} | {size['peak_bytes'] / MIB:,.0f}"
        yield f"| {size['num_facts']:,} | {size['loading_seconds']:.1f} | {cells} | {ends} |"
    yield ""
    points = [
        (size["num_facts"] * int(number), size["epoch_tokens"][number]) for size in sizes for number in variations
    ]
    yield "An epoch computes {:,.0f} + {:,.1f} tokens a training text (R2 {:.4f});".format(*fitted(points))
    benches = [(size["num_facts"], size["bench_seconds"]) for size in sizes]
    yield "a measurement takes {:,.0f} s + {:,.2f} s a fact (R2 {:.4f}).".format(*fitted(benches))
