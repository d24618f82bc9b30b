# SPDX-License-Identifier: Apache-2.0
"""Counts single test cases of a meson run: one line a case on stdout,

  pass|fail|skip <TAB> name <TAB> reason

from meson-logs/testlog.junit.xml, which has each TAP case, and testlog.json,
which knows of programs that failed although each of their cases passed (a
crash at the end, a sanitizer's report, a timeout)."""

import json
import os
import re
import sys
import xml.etree.ElementTree as ET


def text_of(element):
    return " ".join((element.get("message") or element.text or "").split())


def case_of(case):
    for kind, word in (("failure", "fail"), ("error", "fail"),
                       ("skipped", "skip")):
        found = case.find(kind)
        if found is not None:
            return word, text_of(found)
    return "pass", ""


def read_cases(logs):
    """{program: [(word, case, reason)]}; a program without cases of its own
    is a case itself."""
    programs = {}
    for suite in ET.parse(os.path.join(logs, "testlog.junit.xml")).iter(
            "testsuite"):
        for case in suite.iter("testcase"):
            program = suite.get("name")
            word, reason = case_of(case)
            programs.setdefault(program, []).append(
                (word, case.get("name"), reason))
    return programs


def read_programs(logs):
    with open(os.path.join(logs, "testlog.json"), encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def skip_reasons(tests):
    """{case: reason}, which meson leaves out of the XML. A program that was
    skipped as a whole has told why in its last line."""
    reasons = {}
    for test in tests:
        out = (test.get("stdout") or "").strip()
        for name, why in re.findall(
                r"^ok\b[ \d]*-? *(.*?) *# *skip\w*[: ]*(.*)$", out,
                re.M | re.I):
            reasons[name.strip()] = why.strip()
        if test["result"] == "SKIP" and out:
            reasons[short_name(test)] = out.splitlines()[-1]
    return reasons


def bare_name(case):
    """Without the number or the project that meson puts in front."""
    return re.sub(r"^(\d+ (- )?|.* / )", "", case.strip())


def short_name(test):
    return test["name"].split(" / ")[-1].strip()


def failed_programs(tests):
    for test in tests:
        if test["result"] not in ("OK", "SKIP", "EXPECTEDFAIL"):
            yield short_name(test), test["result"]


def show_failures(tests):
    """What TAP says below a case that failed, which meson does not print."""
    for test in tests:
        for told in re.findall(r"^not ok\b.*\n(?:(?!ok|not ok).*\n?){0,40}",
                               test.get("stdout") or "", re.M):
            print("%s: %s" % (short_name(test), told.rstrip()),
                  file=sys.stderr)


def main():
    logs = os.path.join(sys.argv[1], "meson-logs")
    programs, tests = read_cases(logs), read_programs(logs)
    reasons = skip_reasons(tests)
    show_failures(tests)
    for program, cases in sorted(programs.items()):
        for word, name, reason in cases:
            if word == "skip":
                reason = reason or reasons.get(bare_name(name), "")
            print("%s\t%s: %s\t%s" % (word, program, name, reason))
    for name, result in failed_programs(tests):
        told = any(word == "fail" and
                   (program.endswith(name) or bare_name(case) == name)
                   for program, cases in programs.items()
                   for word, case, _ in cases)
        if not told:
            print("fail\t%s\tits cases passed, but it ended with %s"
                  % (name, result))


if __name__ == "__main__":
    main()
