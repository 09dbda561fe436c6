"""A comparison as JUnit XML, which continuous integration draws: a test case for every metric."""

import re
from pathlib import Path
from xml.etree import ElementTree as ET

from agents.untrusted import one_line
from analyzers.whole_files import replaced
from evals.alerts.wording import metric_name, numbers, provenance
from evals.comparison.results import Comparison

_KINDS = {"regressed": "failure", "failed": "error", "not comparable": "skipped"}
_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold, not even escaped."""


def write_junit(path: Path, comparison: Comparison) -> None:
    """Write `render` of a comparison, whole or not at all, making the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path) as temporary:
        temporary.write_bytes(render(comparison))


def render(comparison: Comparison) -> bytes:
    """The document: regressed metrics are failures, failed and missing ones errors, those that cannot be compared skipped."""
    name = text(comparison.suite or Path(comparison.run).name)
    suite = ET.Element("testsuite", name=name)
    properties = ET.SubElement(suite, "properties")
    for what, value in (("run", comparison.run), ("baseline", comparison.baseline), ("alpha", str(comparison.alpha))):
        ET.SubElement(properties, "property", name=what, value=text(value))
    for changed in comparison.provenance:
        ET.SubElement(properties, "property", name="changed", value=text(provenance(changed)))
    counts = dict.fromkeys(("failure", "error", "skipped"), 0)
    for change in comparison.changes:
        case = _case(suite, name, change.task, change.name, change.of)
        kind = _KINDS.get(change.verdict)
        if kind is not None:
            said = text(numbers(change))
            ET.SubElement(case, kind, message=said, type=change.verdict).text = said
            counts[kind] += 1
        else:
            ET.SubElement(case, "system-out").text = text(f"{change.verdict}: {numbers(change)}")
    for key in comparison.missing:
        case = _case(suite, name, key.task, key.name, key.of)
        ET.SubElement(case, "error", message="the baseline has this metric, the run has not", type="missing")
        counts["error"] += 1
    figures = {"tests": len(comparison.changes) + len(comparison.missing), "failures": counts["failure"], "errors": counts["error"]}
    for figure, number in (*figures.items(), ("skipped", counts["skipped"])):
        suite.set(figure, str(number))
    document: bytes = ET.tostring(suite, encoding="utf-8", xml_declaration=True)
    return document


def text(value: str) -> str:
    """On one line, without what XML cannot hold."""
    return _NO_XML.sub("\ufffd", one_line(value))


def _case(suite: ET.Element, name: str, task: str, metric: str, of: str) -> ET.Element:
    where = ".".join(part for part in (name, text(task)) if part)
    return ET.SubElement(suite, "testcase", classname=where, name=text(metric_name("", metric, of)))
