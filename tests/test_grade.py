"""The grader against hand-judged answers."""

import pytest

from kapoc.knowledge.grade import Decision, PhraseIndex, Requirement, assertions, grade_decision, grade_slots
from kapoc.knowledge.normalise import normalise, whole_words

SETTING = Requirement("setting", ("stepup.ticket_ttl",), PhraseIndex(("affinity.key_width", "delta.orphan_batch")))
VALUE = Requirement("value", ("95 seconds", "95s"), PhraseIndex(("27 bytes", "1,430 entries", "38 seconds", "38s")))
SYMPTOM = Requirement(
    "symptom",
    ("users are sent back to the password page after a correct code", "back to the password page"),
    PhraseIndex(("two tablets on one desk show each other's recent items",)),
)
VERSION = Requirement("version", ("4.7.2",), PhraseIndex(("4.2.9", "5.1.6")))
NAME = Requirement("name", ("AF-3001",), PhraseIndex(("AF-2895", "AF-3002")))
ENTRIES = Requirement("value", ("1,430 entries", "1430 entries"), PhraseIndex(("95 seconds",)))
PERCENT = Requirement("value", ("37 percent", "37%"))
VITAMIN = Requirement("vitamin", ("vitamin A",))
LIMIT = Requirement("limit", ("five enrolled devices per account",), PhraseIndex(("four remembered desks per worker",)))
A_100 = Requirement("name", ("A-100",), PhraseIndex(("B-100", "C-205")))
BELOW_ZERO = Requirement("limit", ("\u22125 degrees",), PhraseIndex(("5 degrees",)))
BLOOD = Requirement("group", ("A+",), PhraseIndex(("A-", "B+")))
CAPITAL = Requirement("capital", ("\u6771\u4eac",), PhraseIndex(("\u5927\u962a",)))
PRICE = Requirement("price", ("$5",), PhraseIndex(("\u20ac5",)))
METRES = Requirement("height", ("5 m",))
MILLION = Requirement("cells", ("10\u2076 cells",))
DOSE = Requirement("dose", ("<5 mg",), PhraseIndex((">5 mg",)))

# answer, what it must contain, whether a person calls it right
JUDGED = [
    ("Set stepup.ticket_ttl to 95 seconds in authflow.yml.", [SETTING, VALUE], True),
    ("set STEPUP.TICKET_TTL to 95 Seconds", [SETTING, VALUE], True),
    ("`stepup.ticket_ttl`: 95s", [SETTING, VALUE], True),
    ("stepup.ticket_ttl = 95 s", [SETTING, VALUE], True),
    ("Set stepup.ticket_ttl to 95-seconds.", [SETTING, VALUE], True),
    ("The value is ninety-five seconds.", [VALUE], True),
    ("Do not set stepup.ticket_ttl to 95 seconds.", [SETTING, VALUE], False),
    ("Don't set stepup.ticket_ttl to 95 seconds.", [SETTING, VALUE], False),
    ("Set stepup.ticket_ttl to 95 seconds; it must not be 38 seconds.", [SETTING, VALUE], True),
    ("It does not start. Set stepup.ticket_ttl to 95 seconds.", [SETTING, VALUE], True),
    ("Not 38 seconds but 95 seconds for stepup.ticket_ttl", [SETTING, VALUE], True),
    ("Set stepup.ticket_ttl to 95 seconds or 38s.", [SETTING, VALUE], False),
    ("Set stepup.ticket_ttl to 90-95 seconds.", [SETTING, VALUE], False),
    ("Set tide.first_slice to 37%.", [PERCENT], True),
    ("Set tide.first_slice to 37 percent.", [PERCENT], True),
    ("Set tide.first_slice to 37 days.", [PERCENT], False),
    ("Give vitamin A.", [VITAMIN], True),
    ("Give vitamin B.", [VITAMIN], False),
    ("Take release 4.10 of it.", [Requirement("version", ("4.1",))], False),
    ("It lasts 1,5 hours.", [Requirement("value", ("5 hours",))], False),
    ("It lasts 1,5 hours.", [Requirement("value", ("1.5 hours",))], True),
    ("at -5 degrees", [Requirement("value", ("5 degrees",))], False),
    ("written in C++", [Requirement("language", ("C",))], False),
    ("Set stepup.ticket_ttl to 195 seconds.", [SETTING, VALUE], False),
    ("Set stepup.ticket_ttl to 95 minutes.", [SETTING, VALUE], False),
    ("Set stepup.ticket_ttl.", [SETTING, VALUE], False),
    ("95 seconds", [SETTING, VALUE], False),
    ("Set stepup.ticket_ttl to 95 seconds or 38 seconds.", [SETTING, VALUE], False),
    ("Set stepup.ticket_ttl to 95 seconds, not 38 seconds.", [SETTING, VALUE], True),
    ("Set it to 38 seconds instead of 95 seconds, in stepup.ticket_ttl.", [SETTING, VALUE], False),
    ("Never 95 seconds for stepup.ticket_ttl.", [SETTING, VALUE], False),
    ("Set affinity.key_width and stepup.ticket_ttl to 95 seconds.", [SETTING, VALUE], False),
    ("stepup ticket_ttl to 95 seconds", [SETTING, VALUE], False),
    ("stepup.ticket to 95 seconds", [SETTING, VALUE], False),
    ("Users are sent back to the password page after a correct code!", [SYMPTOM], True),
    ("users are sent back to password page", [SYMPTOM], True),
    ("USERS ARE SENT  BACK\nTO THE PASSWORD PAGE", [SYMPTOM], True),
    ("Users see the password page.", [SYMPTOM], False),
    ("Sent back to the password page, or two tablets on one desk show each other's recent items.", [SYMPTOM], False),
    ("It affects AuthFlow 4.7.2.", [VERSION], True),
    ("It affects v4.7.2", [VERSION], True),
    ("It affects 14.7.2.", [VERSION], False),
    ("It affects 4.7.21.", [VERSION], False),
    ("It affects 4.7.", [VERSION], False),
    ("It affects 4.7.2 and 5.1.6.", [VERSION], False),
    ("That is AF-3001.", [NAME], True),
    ("af3001", [NAME], True),
    ("AF 3001", [NAME], True),
    ("It is AF-3002.", [NAME], False),
    ("It is AF-3001 or AF-2895.", [NAME], False),
    ("It is AF-30011.", [NAME], False),
    ("1430 entries", [ENTRIES], True),
    ("1,430 entries", [ENTRIES], True),
    ("1 430 entries", [ENTRIES], True),
    ("1\u202f430 entries", [ENTRIES], True),
    ("1'430 entries", [ENTRIES], True),
    ("from 2025 430 entries", [ENTRIES], False),
    ("It takes 5,00,000 kg.", [Requirement("load", ("500,000 kg",))], True),
    ("It takes 5 kg.", [Requirement("load", ("5,00,000 kg",))], False),
    ("It has 5 m\u00b2.", [METRES], False),
    ("It has 5 m2.", [METRES], False),
    ("It has 5 m2.", [Requirement("area", ("5 m\u00b2",))], True),
    ("It does 5 m/s.", [METRES], False),
    ("It does 5 m / s.", [METRES], True),
    ("It is \u20135 m.", [METRES], False),
    ("It is \u20135 m.", [Requirement("height", ("-5 m",))], True),
    ("It is 4\u20135 m.", [METRES], False),
    ("It is \u00b15 m.", [METRES], True),
    ("It is 5 m.", [Requirement("error", ("\u00b15 m",))], False),
    ("It is in B\u266d minor.", [Requirement("key", ("B minor",))], False),
    ("%37", [PERCENT], True),
    ("37\u2030", [PERCENT], False),
    ("\u0661\u0662\u066b\u0665 km", [Requirement("way", ("12.5 km",))], True),
    ("Alta\u00advik", [Requirement("port", ("Altavik",))], True),
    ("at most 5 enrolled devices per account", [LIMIT], True),
    ("five enrolled devices per account", [LIMIT], True),
    ("fifteen enrolled devices per account", [LIMIT], False),
    ("twenty-five enrolled devices per account", [LIMIT], False),
    ("The page says so.Users are sent back to the password page", [SYMPTOM], True),
    ("That is A-100.", [A_100], True),
    ("That is the A100.", [A_100], True),
    ("That is B-100.", [A_100], False),
    ("That is 100.", [A_100], False),
    ("Keep it at -5 degrees.", [BELOW_ZERO], True),
    ("Keep it at \u22125 degrees.", [BELOW_ZERO], True),
    ("Keep it at 5 degrees.", [BELOW_ZERO], False),
    ("It is A+, the rarer one.", [BLOOD], True),
    ("It is A-.", [BLOOD], False),
    ("It is a plus.", [BLOOD], False),
    ("It is <5 mg.", [DOSE], True),
    ("It is less than 5 mg.", [DOSE], True),
    ("It is > 5 mg.", [DOSE], False),
    ("It is 5 mg.", [DOSE], False),
    ("It is at most 5 mg.", [Requirement("dose", ("<= 5 mg",))], True),
    ("It is less than 5 mg.", [Requirement("dose", ("5 mg",))], True),
    ("Don\u2019t set stepup.ticket_ttl to 95 seconds.", [SETTING, VALUE], False),
    ("You cannot set stepup.ticket_ttl to 95 seconds.", [SETTING, VALUE], False),
    ("stepup.ticket_ttl is no longer 95 seconds.", [SETTING, VALUE], False),
    ("Use minutes rather than 95 seconds.", [VALUE], False),
    ("It does not start, set stepup.ticket_ttl to 95 seconds.", [SETTING, VALUE], True),
    ("It does not start: set stepup.ticket_ttl to 95 seconds.", [SETTING, VALUE], True),
    ("It does not start\nset stepup.ticket_ttl to 95 seconds.", [SETTING, VALUE], True),
    ("In case it does not start on the very first try please set stepup.ticket_ttl to 95 seconds.", [VALUE], True),
    ("It should not in this release ever be 95 seconds.", [VALUE], False),
    ("AF-3001: 95 seconds", [VALUE], True),
    ("Since March 2025, 95 seconds.", [VALUE], True),
    ("Fixed in 2025. 95 seconds it is.", [VALUE], True),
    ("1. stepup.ticket_ttl\n2. 95 seconds", [SETTING, VALUE], True),
    ("Fix for AF-3001\n95 seconds in authflow.yml", [VALUE], True),
    ("90-95 seconds", [VALUE], False),
    ("90 - 95 seconds", [VALUE], False),
    ("about ninety to 95 seconds", [VALUE], True),
    ("AF-3001 (95 seconds)", [VALUE], True),
    ("AF-3001 - 95 seconds", [VALUE], True),
    ("AF-3001 \u2014 95 seconds", [VALUE], True),
    ("AF-3001 = 95 seconds", [VALUE], True),
    ("**AF-3001** 95 seconds", [VALUE], True),
    ("| AF3001 | 95 seconds |", [VALUE], True),
    ("[1] 95 seconds", [VALUE], True),
    ("1) 95 seconds", [VALUE], True),
    ("They cannot log in because users are sent back to the password page.", [SYMPTOM], True),
    ("It does not start, not because users are sent back to the password page.", [SYMPTOM], False),
    ("It is never due to 95 seconds.", [VALUE], False),
    ("The login does not work due to a ticket of 95 seconds.", [VALUE], True),
    ("Not only users are sent back to the password page.", [SYMPTOM], True),
    ("It is not just stepup.ticket_ttl, and not 95 seconds.", [SETTING], True),
    ("It is not just stepup.ticket_ttl, and not 95 seconds.", [VALUE], False),
    ("Set stepup.ticket_ttl to \uff19\uff15 seconds.", [SETTING, VALUE], True),
    ("It is fewer than 5 mg.", [DOSE], True),
    ("It is more than 5 mg.", [Requirement("dose", (">5 mg",))], True),
    ("It is at least 5 mg.", [Requirement("dose", (">= 5 mg",))], True),
    ("It has thirty lamps.", [Requirement("lamps", ("30 lamps",))], True),
    ("It has forty lamps.", [Requirement("lamps", ("40 lamps",))], True),
    ("It has eighteen lamps.", [Requirement("lamps", ("18 lamps",))], True),
    ("It has nineteen lamps.", [Requirement("lamps", ("19 lamps",))], True),
    ("\u9996\u90fd\u306f\u6771\u4eac\u3067\u3059\u3002", [CAPITAL], True),
    ("\u9996\u90fd\u306f\u5927\u962a\u3067\u3059\u3002", [CAPITAL], False),
    ("\u9ed8\u8ba4\u503c\u662f95\u79d2\u3002", [Requirement("value", ("95\u79d2",))], True),
    ("\u9ed8\u8ba4\u503c\u662f195\u79d2\u3002", [Requirement("value", ("95\u79d2",))], False),
    ("\u8bbe\u7f6estepup.ticket_ttl\u4e3a95 seconds", [SETTING, VALUE], True),
    ("\uc218\ub3c4\ub294 \uc11c\uc6b8\uc774\ub2e4", [Requirement("capital", ("\uc11c\uc6b8",))], True),
    (
        "\u0e40\u0e21\u0e37\u0e2d\u0e07\u0e2b\u0e25\u0e27\u0e07\u0e04\u0e37\u0e2d\u0e01\u0e23\u0e38\u0e07\u0e40\u0e17\u0e1e",
        [Requirement("capital", ("\u0e01\u0e23\u0e38\u0e07\u0e40\u0e17\u0e1e",))],
        True,
    ),
    ("\u0915\u0940", [Requirement("word", ("\u0915\u093f",))], False),  # they differ in a vowel sign alone
    ("\u096f\u096b seconds", [VALUE], True),
    ("\u0645\u064f\u062d\u064e\u0645\u0651\u064e\u062f", [Requirement("name", ("\u0645\u062d\u0645\u062f",))], True),
    ("STRASSE", [Requirement("street", ("Stra\u00dfe",))], True),
    ("I\u011eDIR", [Requirement("city", ("I\u011fd\u0131r",))], True),
    ("\u0130STANBUL", [Requirement("city", ("Istanbul",))], True),
    ("cafe\u0301", [Requirement("word", ("caf\u00e9",))], True),
    ("It costs 5 USD.", [PRICE], True),
    ("It costs US$5.", [PRICE], True),
    ("a 5-dollar fee", [PRICE], True),
    ("Set $PATH.", [Requirement("step", ("set PATH",))], True),
    ("It costs 5dollars.", [PRICE], True),
    ("billion dollars of market value", [Requirement("loss", ("600 billion dollars of market value",))], False),
    ("600 billion dollars of market value", [Requirement("loss", ("billion dollars of market value",))], True),
    ("It is paid in USD.", [Requirement("currency", ("dollars",), PhraseIndex(("euros",)))], True),
    ("It is paid in dollars.", [Requirement("currency", ("dollars",), PhraseIndex(("euros",)))], True),
    ("It costs 5 EUR.", [PRICE], False),
    ("It costs \u20ac5.", [PRICE], False),
    ("It costs 5.", [PRICE], False),
    ("It costs $5.", [Requirement("number", ("5",))], True),
    ("It costs \u20ac5 million.", [Requirement("price", ("5 million euros",))], True),
    ("It costs CHF 1,350.50.", [Requirement("price", ("1350.50 CHF",))], True),
    ("It is 12 km.", [Requirement("way", ("12.000 km",))], False),
    ("It is 12.0 km.", [Requirement("way", ("12 km",))], True),
    ("106 cells", [MILLION], False),
    ("10^6 cells", [MILLION], True),
    ("1\u00bd cups", [Requirement("amount", ("1 1/2 cups",))], True),
    ("", [NAME], False),
    ("I do not know.", [NAME], False),
]


@pytest.mark.parametrize(("answer", "requirements", "right"), JUDGED)
def test_hand_judged_answers(answer: str, requirements: list[Requirement], right: bool) -> None:
    assert grade_slots(answer, requirements).correct is right


@pytest.mark.parametrize(
    ("answer", "right", "correct"),
    [
        ("Yes, it is.", "yes", True),
        ("yes", "yes", True),
        ("No, the entry is elsewhere.", "no", True),
        ("No. Yes would be wrong.", "yes", False),
        ("It is AuthFlow.", "yes", False),
        ("Nobody knows", "no", False),
        ("AF-3001 is in no record that I have.", "no", False),
        ("There is no information about this.", "no", False),
        ("I have no idea", "no", False),
        ("In no record, so yes.", "yes", True),
        ("No it is elsewhere", "no", True),
        ("The answer is no", "no", True),
        ("So no: AF-4102.", "no", True),
        ("", "no", False),
    ],
)
def test_yes_no(answer: str, right: str, correct: bool) -> None:
    assert grade_decision(answer, Decision(("yes", "no"), right)).correct is correct


def test_the_first_mentioned_option_decides() -> None:
    decision = Decision(("AF-3001", "AF-2895"), "AF-3001")
    assert grade_decision("AF-3001, because AF-2895 is older", decision).correct
    assert not grade_decision("AF-2895 is older than AF-3001", decision).correct
    assert grade_decision("Not AF-2895 but AF-3001", decision).correct
    assert grade_decision("red lamp", Decision(("red", "red lamp"), "red lamp")).correct
    assert grade_decision("neither", decision).reason == "no option mentioned"


def test_normalise_keeps_identifiers_and_numbers_whole() -> None:
    assert normalise("Set The a.b_c to 1,350.0 rows!") == ("set", "a.b_c", "to", "1350", "rows")
    assert normalise("v4.7.2") == normalise("4.7.2") == ("4.7.2",)


def test_a_sibling_value_that_stands_in_the_question_is_no_contradiction() -> None:
    siblings = PhraseIndex(("38 seconds", "27 bytes", "95 seconds"))
    requirement = Requirement("value", ("95 seconds",), siblings, context=("Is it 38 seconds?",))
    assert requirement.contradiction("It is 95 seconds, 38 seconds or 27 bytes.") == "27 bytes"
    assert requirement.contradiction("It is 95 seconds and 38 seconds.") is None


def test_a_sibling_value_inside_the_own_one_is_no_contradiction() -> None:
    siblings = PhraseIndex(("red lamps", "two red lamps on ice"))
    requirement = Requirement("lamps", ("two red lamps",), siblings)
    assert requirement.contradiction("two red lamps and red lamps") is None
    assert requirement.contradiction("two red lamps on ice and red lamps") == "two red lamps on ice"


@pytest.mark.parametrize(
    ("answer", "correct"),
    [
        ("The manager is Anna Bell.", True),
        ("The manager is Anna Bell-Carr.", False),
        ("Anna Bell, not to be taken for Anna Bell-Carr", True),
        ("Anna Bell or Anna Bell-Carr", False),
        ("Not Anna Bell-Carr but Anna Bell.", True),
        ("Anna", False),
    ],
)
def test_a_siblings_longer_value_does_not_say_the_own_one(answer: str, correct: bool) -> None:
    requirement = Requirement("manager", ("Anna Bell",), PhraseIndex(("Anna Bell", "Anna Bell-Carr", "Eva Fox")))
    assert grade_slots(answer, [requirement]).correct is correct


def test_a_longer_value_that_the_fact_says_itself_does_say_the_own_one() -> None:
    siblings = PhraseIndex(("Hydra", "Hydra Pro"))
    own = Requirement("name", ("Hydra",), siblings, context=("What is Hydra?", "Hydra", "sold as Hydra Pro since May"))
    assert grade_slots("Hydra Pro", [own]).correct


def test_a_longer_value_that_only_the_question_says_does_not_say_the_own_one() -> None:
    pump = Requirement("pump", ("Hydra Pump",), PhraseIndex(["Hydra Pump Pro"]), ("Is it Hydra Pump Pro?", "other"))
    assert not pump.is_stated("It is Hydra Pump Pro.")
    assert pump.is_stated("It is Hydra Pump.")


@pytest.mark.parametrize(
    ("phrase", "text", "places"),
    [
        ("vitamin A", "Take vitamin A\nThen rest.", [1]),  # at the end of its clause it is no article
        ("fails", "It fails.Set it.", [1]),  # a full stop without a space ends a sentence
        ("fails", "It fails.set it.", []),  # and is a part of a name elsewhere
    ],
)
def test_where_a_sentence_ends_tells_what_a_word_is(phrase: str, text: str, places: list[int]) -> None:
    assert assertions(phrase, text) == places


def test_only_a_number_below_ten_adds_to_the_tens_before_it() -> None:
    assert normalise("twenty eleven") == ("20", "11")
    assert normalise("twenty one") == ("21",)


def test_a_longer_name_decides_for_no_option() -> None:
    names = PhraseIndex(("Core", "Core API", "C# Bridge"))
    decision = Decision(("C# Bridge", "Core"), "Core", others=names)
    assert grade_decision("It is Core.", decision).correct
    assert not grade_decision("It is Core API.", decision).correct
    assert grade_decision("Core API is another one; it is Core.", decision).correct
    both = Decision(("Core API", "Core"), "Core API", others=names)
    assert grade_decision("It is Core API.", both).correct


@pytest.mark.parametrize("said", ["7:30 AM", "7:30 am", "7:30 a.m.", "at 7:30 A.M. sharp", "7:30 a. m."])
def test_before_noon_is_written_in_many_ways(said: str) -> None:
    assert assertions("7:30 a.m.", said)
    assert not assertions("7:30 p.m.", said)


def test_the_index_finds_what_a_search_phrase_by_phrase_finds() -> None:
    phrases = ("95 seconds", "seconds", "authflow.yml", "red lamp", "red", "1,430 entries", "lamp red lamp")
    text = "Set 95 seconds, not 1430 entries; the red lamp is in authflow.yml, 1 430 entries."
    assert sorted(PhraseIndex(phrases).asserted(text)) == sorted(p for p in phrases if assertions(p, text))


def test_an_option_has_whole_words_of_its_sibling_in_scripts_with_vowel_signs_and_without_spaces() -> None:
    found = whole_words("\u0915\u092e", "\u4e0a\u6d77\u6e2f")
    assert found.sub("-", "\u0915\u092e\u0940 \u0915\u092e") == "\u0915\u092e\u0940 -"
    assert found.sub("-", "\u6bcd\u6e2f\u662f\u4e0a\u6d77\u6e2f\u3002") == "\u6bcd\u6e2f\u662f-\u3002"
    assert whole_words("95 s").search("195 s; 95 seconds") is None
