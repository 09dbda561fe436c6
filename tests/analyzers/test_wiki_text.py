"""Markup of every kind the default corpus has, against the prose a reader would see."""

import bz2
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzers.errors import AssetError
from analyzers.progress import quiet
from analyzers.wiki_text import plain_text
from analyzers.wikipedia_sample import write_documents

END = " and the rest of the sentence makes it long enough to be taken for prose."


@pytest.mark.parametrize(
    ("markup", "prose"),
    [
        ("'''Autism''' is a [[disorder (medicine)|disorder]] of ''growth''", "Autism is a disorder of growth"),
        ("Known<ref name=a>{{cite web|title=x|url=http://x}}</ref> well<ref name=b/>", "Known well"),
        ("A {{convert|5|to|6|km|mi}} walk, {{convert|3|ft|m}} deep", "A 5 to 6 km walk, 3 ft deep"),
        ("The Greek ({{lang|grc|λόγος}}) word {{small|of}} {{nowrap|one kind}}", "The Greek (λόγος) word of one kind"),
        ("Alabama ({{IPAc-en|a|b}}; {{respell|AL}}) is a state", "Alabama is a state"),
        ("Seen {{a|{{b|{{c}}}}}} here", "Seen here"),
        ("With [[File:a.jpg|thumb|A [[nested]] caption]] a picture", "With a picture"),
        ("See [http://x.org/?a=b the site] and [http://y.org]", "See the site and"),
        ("About 10<sup>5</sup> of H<sub>2</sub>O &amp; more<!-- note -->", "About 10^5 of H2O & more"),
        ("''Titanic'''s hull", "Titanic's hull"),
        ("{{as of|2010}} it was so", "As of 2010 it was so"),
        ("* A list entry", "A list entry"),
        ("A pipe [[trick|]] and [[plain]]", "A pipe and plain"),
    ],
)
def test_what_a_reader_sees(markup: str, prose: str) -> None:
    assert plain_text(markup + END) == prose + END


@pytest.mark.parametrize(
    "markup",
    [
        "where <math>x^2</math> is",
        "a formula {{eqm|1}} stands",
        "an open {{template",
        "an open [[link",
        "| a cell",
        "{| class=x",
        "starts low",
    ],
)
def test_a_paragraph_with_a_hole_or_a_rest_of_markup_is_left_out(markup: str) -> None:
    before, after = "First" + END, "Last" + END
    assert plain_text(f"{before}\n{markup}{END}\n{after}") in (f"{before}\n\n{after}", before)


def test_tables_headings_and_appendices_are_left_out() -> None:
    one, two = "First" + END, "Second" + END
    table = f"{{| class=wikitable\n|-\n| Cell {END}\n{{|\n| nested {END}\n|}}\n|}}"
    page = f"{one}\n== History ==\n{table}\n=== Early ===\n{two}\n== See also ==\n* Other{END}\n=== Part ===\nMore{END}\n== After ==\n{one}"
    assert plain_text(page) == f"{one}\n\n{two}\n\n{one}"


@given(st.text(alphabet="ab {}[]|'<>=/\n*refFile:.", max_size=300))
def test_no_markup_survives_whatever_the_page(page: str) -> None:
    text = plain_text(page)
    assert not any(rest in text for rest in ("{{", "}}", "[[", "]]", "{|", "|}", "''"))


def test_documents_of_a_dump_are_articles_only_and_the_same_bytes_each_time(tmp_path: Path) -> None:
    def page(title: str, space: int, text: str, extra: str = "") -> str:
        return (
            f"<page><title>{title}</title><ns>{space}</ns><id>1</id>{extra}<revision><id>7{space}</id><text>{text}</text></revision></page>"
        )

    body = ("Prose" + END + "\n") * 40
    pages = page("Ärger", 0, body) + page("Talk:A", 1, body) + page("B", 0, "#REDIRECT", "<redirect title='A'/>") + page("C", 0, "Stub.")
    dump = tmp_path / "dump.bz2"
    dump.write_bytes(bz2.compress(f"<mediawiki xmlns='urn:x'>{pages}</mediawiki>".encode()))
    made = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_documents(dump, tmp_path / name, report=quiet)
        made.append((tmp_path / name / "documents.jsonl").read_bytes())
    assert made[0] == made[1]
    (document,) = [json.loads(line) for line in made[0].decode().splitlines()]
    assert document == {"id": "enwiki-70", "title": "Ärger", "text": "\n\n".join(["Prose" + END] * 40)}
    assert "Ärger" in (tmp_path / "one" / "ATTRIBUTION.txt").read_text(encoding="utf-8")


def test_a_dump_without_articles_is_an_error(tmp_path: Path) -> None:
    dump = tmp_path / "dump.bz2"
    dump.write_bytes(bz2.compress(b"<mediawiki xmlns='urn:x'></mediawiki>"))
    with pytest.raises(AssetError, match="no article"):
        write_documents(dump, tmp_path, report=quiet)
