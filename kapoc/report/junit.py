"""A verdict in the formats of a CI: JUnit XML, one case a check, and annotations of GitHub Actions."""

from collections.abc import Iterator, Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from kapoc.gate import CheckResult, Verdict
from kapoc.report.numbers import interval


def render_junit(verdict: Verdict) -> str:
    """The verdict as JUnit XML: failed checks are failures; inconclusive ones, too, where that fails, else skipped."""
    suite = Element("testsuite", name="kapoc gate", tests=str(len(verdict.checks)))
    counts = {"failure": 0, "skipped": 0}
    for check in verdict.checks:
        case = SubElement(suite, "testcase", classname=f"kapoc.gate.{check.kind}", name=check.name)
        how = _tag(check, verdict)
        if how is not None:
            counts[how] += 1
            SubElement(case, how, message=_words(check))
    suite.set("failures", str(counts["failure"]))
    suite.set("skipped", str(counts["skipped"]))
    suite.set("errors", "0")
    if verdict.warnings:
        SubElement(suite, "system-out").text = "\n".join(verdict.warnings)
    return _document(suite)


def render_error(lines: Sequence[str]) -> str:
    """That there is no verdict, and why, as JUnit XML."""
    suite = Element("testsuite", name="kapoc gate", tests="1", failures="0", skipped="0", errors="1")
    SubElement(SubElement(suite, "testcase", classname="kapoc.gate", name="verdict"), "error", message=" ".join(lines))
    return _document(suite)


def render_error_annotation(lines: Sequence[str]) -> str:
    """The same as a workflow command of GitHub Actions."""
    return f"::error title=kapoc gate::{_escaped(' '.join(lines))}"


def render_annotations(verdict: Verdict) -> Iterator[str]:
    """The verdict as workflow commands of GitHub Actions.

    Each is an error or a warning for a check that did not pass, a warning for what a reader should know, and a notice.
    """
    for check in verdict.checks:
        if check.outcome != "pass":
            level = {"failure": "error", "skipped": "warning"}[_tag(check, verdict) or "skipped"]
            yield f"::{level} title=kapoc gate%3A {_escaped_property(check.name)}::{_escaped(_words(check))}"
    yield from (f"::warning title=kapoc gate::{_escaped(warning)}" for warning in verdict.warnings)
    yield f"::notice title=kapoc gate::{_escaped(verdict.sentence)}"


def _document(suite: Element) -> str:
    indent(suite)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + tostring(suite, encoding="unicode") + "\n"


def _tag(check: CheckResult, verdict: Verdict) -> str | None:
    if check.outcome == "pass":
        return None
    fails = check.gating and (check.outcome == "fail" or verdict.inconclusive_fails)
    return "failure" if fails else "skipped"


def _words(check: CheckResult) -> str:
    return (
        f"{check.outcome}: {check.quantity} should be {check.claim}; it is {check.value:.4f} "
        f"{interval(check.bounds, 1, 4, sign='')} over {check.n} items in {check.clusters} clusters"
    )


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escaped_property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")
