# SPDX-License-Identifier: Apache-2.0
"""Reads what Catch2's xml reporter wrote, or pytest's junit: which test cases ran, and how they ended.

Catch2's xml reporter and not its junit one: it names the tags of each test case, gives one verdict per test
case where junit gives one per section, and writes as it goes, so that a crash names its test.
"""

import re
import xml.etree.ElementTree as ET

SKIP_MARK = "skipped: "  # what SKIP_BECAUSE of tests/catch.hpp prints


class Case:
    """One test case of a run."""

    def __init__(self, element):
        self.name = element.get("name")
        self.tags = re.findall(r"\[([^\]]+)\]", element.get("tags") or "")
        self.place = f"{element.get('filename')}:{element.get('line')}"
        self.skipped = None  # or the reason
        self.passed = False
        self.failures = []  # one text each

    def finish(self, element):
        overall = element.find("OverallResult")
        if overall is None:
            self.failures.append("it never ended")
            return
        printed = "".join(out.text or "" for out in overall.iter("StdOut"))
        reasons = [line.strip() for line in printed.splitlines() if line.strip().startswith(SKIP_MARK)]
        if reasons:
            self.skipped = reasons[0][len(SKIP_MARK):]
        self.passed = overall.get("success") == "true" and not reasons
        if overall.get("success") == "true":
            return
        notes, told = [], set()
        for node in element.iter():
            text = " ".join((node.text or "").split())
            if node.tag in ("Info", "Warning"):
                notes.append(text)
            elif node.tag == "Expression" and node.get("success") == "false":
                said = [" ".join((part.text or "").split()) for part in node if part.tag in ("Original", "Expanded")]
                said += [part.tag + ": " + " ".join((part.text or "").split())
                         for part in node if part.tag in ("Exception", "FatalErrorCondition")]
                told.update(node)
                self.failures.append(failure(node, node.get("type") or "after", " => ".join(said), notes))
                notes = []
            elif node.tag in ("Exception", "FatalErrorCondition", "Failure") and node not in told:
                self.failures.append(failure(node, node.tag, text, notes))
                notes = []
        for out in overall:
            if out.tag in ("StdOut", "StdErr") and (out.text or "").strip():
                self.failures.append(f"{out.tag}: {out.text.strip()}")
        if not self.failures:
            self.failures.append("it asserts nothing, or a section of it does not")


class PytestCase:
    """One test of pytest; a row of a table is one."""

    def __init__(self, element):
        self.name, self.place, self.tags = element.get("name"), element.get("classname"), []
        said = {each.tag: each.get("message") for each in element}
        self.failures = [said[kind] for kind in ("failure", "error") if kind in said]
        self.skipped = said.get("skipped")
        self.passed = not self.failures and self.skipped is None


def failure(node, kind, text, notes):
    return f"{node.get('filename')}:{node.get('line')}: {kind}: {text}" + "".join(f"\n    with {n}" for n in notes)


def read(path):
    """Gives the cases of a result file, and whether the run reached its end."""
    cases, current, ended = [], None, False
    try:
        for event, element in ET.iterparse(path, events=("start", "end")):
            if element.tag == "TestCase" and event == "start":
                current = Case(element)
            elif element.tag == "TestCase":
                current.finish(element)
                cases.append(current)
                current = None
            elif element.tag == "testcase" and event == "end":
                cases.append(PytestCase(element))
            elif element.tag in ("Catch", "Catch2TestRun", "testsuites") and event == "end":
                ended = True
    except (OSError, ET.ParseError):
        pass
    if current is not None:
        current.failures.append("the program ended in the middle of it")
        cases.append(current)
    return cases, ended
