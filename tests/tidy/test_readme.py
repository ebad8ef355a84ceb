"""Owns the rule that the README's code is the project's own, line for line; never what it says of it."""

import re

from tests.tidy.source import CODE, ROOT, python_files, text_of

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_code_in_the_readme_stands_in_the_project() -> None:
    shown = BLOCK.findall((ROOT / "README.md").read_text())
    sources = [text_of(path) for path in python_files(*CODE)]
    assert shown
    assert [block for block in shown if not any(block in source for source in sources)] == []
