"""The file that --out names: what can be written is, whole, in the form of its ending; what cannot is an error of the user."""

from pathlib import Path

import pytest

from analyzers.errors import ExplicateError
from evals.results import Value
from explicate.written_file import check_file, forms, write_file, write_text


def test_a_file_that_cannot_be_written_is_told_before_anything_is_computed(tmp_path: Path) -> None:
    check_file(tmp_path / "page.HTML", "usual.html", {".html": str})
    check_file(tmp_path / "page", "usual.html")
    with pytest.raises(ExplicateError, match=r"page\.pdf': name a file that ends with \.html, \.json"):
        check_file(tmp_path / "page.pdf", "usual.html", [".html", ".json"])
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(ExplicateError, match=r"is a folder; name a file, such as '.*folder\.html/usual\.html'"):
        check_file(tmp_path / "folder.html", "usual.html", [".html"])
    with pytest.raises(ExplicateError, match=r"there is no folder '.*missing'; make it, or name another file"):
        check_file(tmp_path / "missing" / "page.html", "usual.html", [".html"])


def test_the_ending_chooses_the_form(tmp_path: Path) -> None:
    forms = {".txt": "said: {}".format, ".json": lambda found: f'"{found}"'}
    for name, written in (("a.txt", "said: été"), ("b.JSON", '"été"')):
        write_file("été", tmp_path / name, forms)
        assert (tmp_path / name).read_bytes() == written.encode()


def test_what_has_a_page_has_json_too(tmp_path: Path) -> None:
    found = Value(value=0.5, low=0.25, high=0.75, n=3)
    every = forms(lambda value: f"<p>{value.value}", svg=lambda value: f"<svg>{value.n}")
    assert list(every) == [".html", ".svg", ".json"]
    for ending, written in ((".html", "<p>0.5"), (".svg", "<svg>3"), (".json", '{"value":0.5,"low":0.25,"high":0.75,"n":3}\n')):
        write_file(found, tmp_path / f"a{ending}", every)
        assert (tmp_path / f"a{ending}").read_text("utf-8") == written


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(ExplicateError, match=r"page\.html' cannot be written \(No such file"):
        write_text("new", tmp_path / "missing" / "page.html")
    (tmp_path / "page.html").write_text("old")
    with pytest.raises(UnicodeEncodeError):
        write_text("new\ud800", tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text() == "old"
    write_text("new", tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text() == "new"
    assert [each.name for each in tmp_path.iterdir()] == ["page.html"]
