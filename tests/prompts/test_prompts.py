import hashlib
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import prompts
from prompts import PromptError, Section, load

FOLDER = Path(prompts.__file__).parent


@given(st.text(), st.text())
def test_values_are_inserted_verbatim_and_never_expanded_again(a: str, b: str) -> None:
    section = Section("t", "<{{a}}|{{b}}|{{a}}>")
    for first in (a, "{{b}}", "{{a}}", r"\1 \g<0> $a {a}"):
        assert section.render(a=first, b=b) == f"<{first}|{b}|{first}>"


def test_all_missing_and_all_unknown_variables_are_named() -> None:
    section = Section("greeting", "{{one}} {{two}} {{three}}")
    with pytest.raises(PromptError, match=r"'greeting': missing three, two; unknown four, six"):
        section.render(one="1", four="4", six="6")
    assert section.variables == {"one", "two", "three"}


def test_a_file_becomes_sections_without_its_notes(tmp_path: Path) -> None:
    (tmp_path / "p.md").write_text("Notes {{for}} people.\n\n## system\n\nBe brief.\n  indented\n\n## user\n{{question}}\n")
    prompt = load("p", folder=tmp_path)
    assert {name: section.text for name, section in prompt.sections.items()} == {
        "system": "Be brief.\n  indented",
        "user": "{{question}}",
    }
    assert prompt.render("user", question="Why?") == "Why?"
    assert prompt.examples == ()
    with pytest.raises(PromptError, match=r"'p' has no section 'assistant'; it has system, user"):
        prompt.render("assistant")


def test_the_hash_changes_with_the_text_and_with_the_few_shots(tmp_path: Path) -> None:
    text = tmp_path / "p.md"
    text.write_bytes(b"## user\nhello\n")
    plain = load("p", folder=tmp_path).hash
    assert plain == hashlib.sha256(b"14 0\n## user\nhello\n").hexdigest()[:12]
    (tmp_path / "p.json").write_text('[{"answer": "one"}]')
    with_data = load("p", folder=tmp_path)
    assert with_data.examples[0]["answer"] == "one"
    (tmp_path / "p.json").write_text('[{"answer": "two"}]')
    changed = load("p", folder=tmp_path).hash
    text.write_bytes(b"## user\nhallo\n")
    assert len({plain, with_data.hash, changed, load("p", folder=tmp_path).hash}) == 4


def test_what_is_wrong_with_a_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "two.md").write_text("## user\na\n## user\nb\n")
    (tmp_path / "none.md").write_text("just text\n")
    with pytest.raises(PromptError, match="two sections 'user'"):
        load("two", folder=tmp_path)
    with pytest.raises(PromptError, match="no section"):
        load("none", folder=tmp_path)
    with pytest.raises(PromptError, match="no prompt is called 'nope'; there are none, two"):
        load("nope", folder=tmp_path)


@pytest.mark.parametrize("name", sorted(file.stem for file in FOLDER.glob("*.md")))
def test_every_prompt_of_the_project_loads_and_has_no_broken_variable(name: str) -> None:
    prompt = load(name)
    for section in prompt.sections.values():
        values = dict.fromkeys(section.variables, "value")
        assert not re.search(r"\{\{|\}\}", section.render(**values)), section.name


def test_every_few_shot_file_belongs_to_a_prompt() -> None:
    assert {file.stem for file in FOLDER.glob("*.json")} <= {file.stem for file in FOLDER.glob("*.md")}
