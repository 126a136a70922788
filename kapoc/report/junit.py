"""A verdict in the formats of a CI: JUnit XML, one case a check, and annotations of GitHub Actions."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from kapoc.judging.gate import CheckResult, Verdict
from kapoc.report.numbers import interval, one_line, p_value

_LEAKS = "knowledge sets do not leak"
_LONGEST_TITLE = 160
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that no XML 1.0 document may hold, written as they are or by number."""


class _Case(NamedTuple):
    """One line of a CI: a check, or that the sets do not leak.

    Attributes:
        kind: `gate`, or `gate.` and the kind of check.
        name: how it is called.
        tag: `failure` or `skipped`; none where it passed.
        words: what was found.
    """

    kind: str
    name: str
    tag: str | None
    words: str


def render_junit(verdict: Verdict, title: str) -> str:
    """The verdict as JUnit XML: failed checks are failures; inconclusive ones, too, where that fails, else skipped.

    Leaks that take a release its verdict are a case of their own.

    Args:
        verdict: of the gate.
        title: which runs it is of, as a property of the suite.
    """
    cases = list(_cases(verdict))
    tags = [case.tag for case in cases]
    suite = Element(
        "testsuite",
        name="kapoc gate",
        tests=str(len(cases)),
        failures=str(tags.count("failure")),
        skipped=str(tags.count("skipped")),
        errors="0",
    )
    SubElement(SubElement(suite, "properties"), "property", name="runs", value=one_line(title))
    for case in cases:
        element = SubElement(suite, "testcase", classname=f"kapoc.{case.kind}", name=case.name)
        if case.tag is not None:
            SubElement(element, case.tag, message=case.words)
    if verdict.warnings:
        SubElement(suite, "system-out").text = "\n".join(map(one_line, verdict.warnings))
    return _document(suite)


def render_error(lines: Sequence[str]) -> str:
    """That there is no verdict, and why, as JUnit XML."""
    suite = Element("testsuite", name="kapoc gate", tests="1", failures="0", skipped="0", errors="1")
    SubElement(SubElement(suite, "testcase", classname="kapoc.gate", name="verdict"), "error", message=" ".join(lines))
    return _document(suite)


def render_error_annotation(lines: Sequence[str]) -> str:
    """The same as a workflow command of GitHub Actions."""
    return f"::error title=kapoc gate::{_escaped(' '.join(lines))}"


def render_annotations(verdict: Verdict, title: str) -> Iterator[str]:
    """The verdict as workflow commands of GitHub Actions.

    Each is an error or a warning for a check that did not pass, a warning for what a reader should know, and the
    verdict: an error wherever the exit code is not 0, else a notice.

    Args:
        verdict: of the gate.
        title: which runs it is of; stands behind the verdict, unless it is long.
    """
    for case in _cases(verdict):
        if case.tag is not None:
            level = {"failure": "error", "skipped": "warning"}[case.tag]
            yield f"::{level} title=kapoc gate%3A {_escaped_property(case.name)}::{_escaped(case.words)}"
    yield from (f"::warning title=kapoc gate::{_escaped(one_line(warning))}" for warning in verdict.warnings)
    runs = f" ({one_line(title)})" if len(title) <= _LONGEST_TITLE else ""
    yield f"::{'error' if verdict.exit_code else 'notice'} title=kapoc gate::{_escaped(verdict.sentence + runs)}"


def _document(suite: Element) -> str:
    indent(suite)
    text = _NO_XML.sub("\ufffd", tostring(suite, encoding="unicode"))
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'


def _cases(verdict: Verdict) -> Iterator[_Case]:
    yield from (_Case(f"gate.{c.kind}", c.name, _tag(c, verdict), _words(c, verdict)) for c in verdict.checks)
    if verdict.num_leaks:
        found = f"inconclusive: the audit found {verdict.num_leaks} leaks in the knowledge sets; see `kapoc data check`"
        yield _Case("gate", _LEAKS, "failure" if verdict.inconclusive_fails else "skipped", found)


def _tag(check: CheckResult, verdict: Verdict) -> str | None:
    if check.outcome == "pass":
        return None
    fails = check.gating and (check.outcome == "fail" or verdict.inconclusive_fails)
    return "failure" if fails else "skipped"


def _words(check: CheckResult, verdict: Verdict) -> str:
    """What was found, and by which p-value it was decided: the bounds are of one check, the p-value of all together."""
    sign = "" if check.kind == "floor" else "+"
    found = f"{'it' if check.kind == 'floor' else 'the difference'} is {check.value:{sign}.4f}"
    bounds = f"with bounds of {interval(check.bounds, 1, 4, sign=sign)}, each one-sided at {verdict.alpha:g}"
    items = f"over {check.n} items in {check.clusters} clusters"
    if check.outcome == "inconclusive" and check.p_claim is not None:
        p, of = check.p_claim, "the claim"
        family = [one for one in verdict.checks if one.gating and one.p_claim is not None]
    else:
        p, of, family = check.p_opposite, "the opposite", [one for one in verdict.checks if one.gating]
    corrected = f", corrected over {len(family)} gating checks" if check.gating and len(family) > 1 else ""
    decided = f"p of {of} {p_value(p, verdict.alpha)}{corrected}"
    return f"{check.outcome}: {check.quantity} should be {check.claim}; {found}, {bounds}, {items}; {decided}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escaped_property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")
