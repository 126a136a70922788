"""Invents products and their defects: texts, codes, settings and values that no two facts of a set share."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from kapoc.data import vocabulary as words

FACTS_PER_DOMAIN = 32
FILES_PER_DOMAIN = (2, 3)
MIN_VALUE = 11
MIN_NUM_VALUES = 600


@dataclass(frozen=True, slots=True)
class Product:
    """A product that does not exist, with the prefix of its codes and its configuration files."""

    name: str
    prefix: str
    task: str
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Phrase:
    """A symptom or a cause: in full, as its shorter alias, and in other words (symptoms alone)."""

    text: str
    short: str
    reworded: str = ""


@dataclass(frozen=True, slots=True)
class Defect:
    """What is to be known of one defect."""

    product: Product
    code: str
    symptom: Phrase
    cause: Phrase
    file: str
    setting: str
    value: str
    value_aliases: tuple[str, ...]
    version: str

    @property
    def note(self) -> str:
        """The support note: every slot in two sentences."""
        return (
            f"{self.code} in {self.product.name} {self.version}: {self.symptom.text}, because {self.cause.text}. "
            f"Fix: set {self.setting} to {self.value} in {self.file}."
        )

    @property
    def fields(self) -> dict[str, str]:
        """What the places of a wording are filled with."""
        return {
            "name": self.code,
            "product": self.product.name,
            "symptom": self.symptom.text,
            "report": self.symptom.reworded,
            "cause": self.cause.text,
            "file": self.file,
            "setting": self.setting,
        }


def invent_defects(num_taught: int, num_controls: int, rng: random.Random) -> tuple[list[Defect], list[Defect]]:
    """Invent products with their defects.

    Args:
        num_taught: how many defects are taught, spread evenly over products of about 32.
        num_controls: how many are not, of the same products in turn.
        rng: all that is random.

    Returns:
        The taught defects, product by product, and the control defects.
    """
    products = _products(max(1, (num_taught + FACTS_PER_DOMAIN // 2 - 1) // FACTS_PER_DOMAIN), rng)
    num_defects = num_taught + num_controls
    num_products = len(products)
    owners = sorted(range(num_taught), key=lambda index: index % num_products)
    places = [index % num_products for index in (*owners, *range(num_controls))]
    texts = _Texts(rng)
    numbers = _numbers(num_defects, rng)
    codes = [iter(rng.sample(range(1000, 10_000), places.count(place))) for place in range(num_products)]
    turns = [0] * num_products
    defects = []
    for place, number in zip(places, numbers, strict=True):
        product = products[place]
        setting, value, aliases = texts.setting(number)
        defects.append(
            Defect(
                product=product,
                code=f"{product.prefix}-{next(codes[place])}",
                symptom=texts.symptom(product),
                cause=texts.cause(product),
                file=product.files[turns[place] % len(product.files)],
                setting=setting,
                value=value,
                value_aliases=aliases,
                version=f"{rng.randrange(2, 10)}.{rng.randrange(1, 10)}.{rng.randrange(1, 10)}",
            )
        )
        turns[place] += 1
    return defects[:num_taught], defects[num_taught:]


def _products(num_products: int, rng: random.Random) -> list[Product]:
    """Products whose names and prefixes are unique in the set."""
    pairs = [(head, tail) for head in words.PRODUCT_HEADS for tail in words.PRODUCT_TAILS]
    all_files = [f"{stem}.{ending}" for stem in words.FILE_STEMS for ending in words.FILE_ENDINGS]
    taken = set(words.RESERVED_PREFIXES)
    products = []
    for head, tail in rng.sample(pairs, num_products):
        prefix = next(prefix for prefix in _prefixes(head, tail) if prefix not in taken)
        taken.add(prefix)
        own_files = rng.sample(all_files, rng.choice(FILES_PER_DOMAIN))
        products.append(Product(head + tail, prefix, rng.choice(words.PRODUCT_TASKS), tuple(own_files)))
    return products


def _prefixes(head: str, tail: str) -> Iterator[str]:
    """Prefixes for the codes of a product, the most natural ones first."""
    first, last = head[0], tail[0].upper()
    yield first + last
    yield from (first + middle.upper() + last for middle in head[1:])
    yield from (first + last + end.upper() for end in tail[1:])
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    yield from (first + middle + end for middle in alphabet for end in alphabet)


def _numbers(num_values: int, rng: random.Random) -> list[int]:
    """Distinct numbers, none of them round, so that none is a likely guess."""
    size = max(MIN_NUM_VALUES, 2 * num_values)
    pool = [number for number in range(MIN_VALUE, MIN_VALUE + 2 * size) if number % 5][:size]
    return rng.sample(pool, num_values)


class _Texts:
    """Composes symptoms, causes and settings that no other fact of the set has."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._taken: set[tuple[str, ...]] = set()

    def symptom(self, product: Product) -> Phrase:
        """What users see, with its rewording."""
        while True:
            subject, verb = self._rng.choice(words.SYMPTOM_SUBJECTS), self._rng.choice(words.SYMPTOM_VERBS)
            thing, condition = self._rng.choice(words.SYMPTOM_OBJECTS), self._rng.choice(words.SYMPTOM_CONDITIONS)
            # Within a product, a report of one symptom must not pass for another that differs by a near-synonym.
            near = (product.name, subject.text, thing.text)
            if not self._free((subject.text, verb.text, thing.text), near, (product.name, subject.text, verb.text)):
                continue
            short = f"{subject.text} {verb.text.format(thing.text)}"
            reworded = f"{condition.reworded}, {subject.reworded} {verb.reworded.format(thing.reworded)}"
            return Phrase(f"{short} {condition.text}", short, reworded)

    def cause(self, product: Product) -> Phrase:
        """Why it happens."""
        while True:
            modifier, noun = self._rng.choice(words.CAUSE_MODIFIERS), self._rng.choice(words.CAUSE_NOUNS)
            failure, trigger = self._rng.choice(words.CAUSE_FAILURES), self._rng.choice(words.CAUSE_TRIGGERS)
            if self._free((modifier, noun, failure), (product.name, modifier, noun), (product.name, noun, failure)):
                short = f"the {modifier} {noun} {failure}"
                return Phrase(f"{short} {trigger}", short)

    def setting(self, number: int) -> tuple[str, str, tuple[str, ...]]:
        """A setting, and the value for it with its aliases."""
        fitting = [
            (attribute, unit)
            for quantity in words.QUANTITIES
            for attribute in quantity.attributes
            for unit in quantity.units
            if unit.most is None or number <= unit.most
        ]
        while True:
            attribute, unit = self._rng.choice(fitting)
            section, subject = self._rng.choice(words.SETTING_SECTIONS), self._rng.choice(words.SETTING_SUBJECTS)
            setting = f"{section}.{subject}_{attribute}"
            if self._free((setting,)):
                return setting, f"{number:,} {unit.text}", tuple(f"{number:,} {alias}" for alias in unit.aliases)

    def _free(self, *marks: tuple[str, ...]) -> bool:
        """Take these marks, unless another fact has one of them."""
        if not self._taken.isdisjoint(marks):
            return False
        self._taken.update(marks)
        return True
