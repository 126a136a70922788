"""Whether the numbers can be believed and where they come from, as tables. Pure."""

from kapoc.judging.comparison import Comparison
from kapoc.report.numbers import points
from kapoc.report.section import Section


def validity_section(comparison: Comparison) -> Section:
    """What a reader must know before believing the numbers, and what these items could have shown."""
    validity = comparison.validity
    power = [f"{tier} {points(result.detectable)}" for tier, result in comparison.tiers.items()]
    return Section(
        "Can these numbers be believed?",
        "Power: the smallest difference in points that the items of a tier could have shown (one-sided 5%, 80% power).",
        ["", ""],
        [
            [
                "leaks between training texts and probes",
                "not audited" if validity.num_leaks is None else f"{validity.num_leaks} found by the audit",
            ],
            ["examples proposed from templates that nobody has read", str(validity.num_proposals)],
            ["knowledge items that the base answered right before", str(len(validity.known_before))],
            ["power", ", ".join(power) or "-"],
            ["all items asked", "yes" if comparison.complete else "no"],
            ["frozen items, the same in both runs, sha256", validity.documents_sha256],
        ],
    )


def origin_section(comparison: Comparison) -> Section:
    """Models, data, settings and versions of the two runs."""
    models, measured = (comparison.before, comparison.after), comparison.measured
    rows = [
        [field.replace("_", " "), *(str(getattr(model, field)) for model in models)]
        for field in ("name", "source", "architecture", "num_parameters", "dtype", "weights_sha256")
    ]
    rows.append(["measured", *(one.created for one in measured)])
    rows.append(["seconds", *(f"{one.seconds:.0f}" for one in measured)])
    rows += [
        [field.replace("_", " "), *(str(getattr(one.settings, field)) or "-" for one in measured)]
        for field in ("device", "batch_size", "seed", "context", "chat_template_sha256", "decoding_sha256")
    ]
    packages = dict.fromkeys(name for one in measured for name in one.versions)
    rows += [[name, *(one.versions.get(name, "-") for one in measured)] for name in packages]
    return Section("Where the numbers come from", _data(comparison), ["", "before", "after"], rows)


def _data(comparison: Comparison) -> str:
    data = comparison.data
    sets = [f"Knowledge set {known.name} {known.version}, sha256 {known.sha256}; " for known in data.knowledge]
    general = f"own general tasks: {', '.join(data.general)}; " if data.general else ""
    general += f"own off-topic prompts: {', '.join(data.off_topic)}; " if data.off_topic else ""
    versions = sorted({str(version) for version in data.tasks.values()})
    return (
        f"{''.join(sets)}{general}bundled items sha256 {data.general_sha256}; {len(data.tasks)} tasks of version "
        f"{', '.join(versions)}."
    )
