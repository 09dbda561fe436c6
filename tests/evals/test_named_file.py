"""A file that ships is found by its name, any other by its path; what is neither names what there is."""

from pathlib import Path

import pytest

from analyzers.errors import ExplicateError
from evals.named_file import named_file, names_in


def test_names_and_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, own = tmp_path / "ours", tmp_path / "own"
    for folder, names in ((ours, ("topic.toml", "sentiment.toml", "other.json")), (own, ("topic", "mine.toml"))):
        folder.mkdir()
        for name in names:
            (folder / name).touch()
    monkeypatch.chdir(own)
    assert names_in(ours) == ("sentiment", "topic")
    # A name goes before a file of the same name.
    assert named_file("topic", ours, what="task") == ours / "topic.toml"
    assert named_file("./topic", ours, what="task").samefile(own / "topic")
    assert named_file("mine.toml", ours, what="task").samefile(own / "mine.toml")
    for wrong, said in (
        ("topc", r"there is no task 'topc'; did you mean 'topic'\?; give one of sentiment, topic, or the path of a TOML file"),
        ("other", "there is no task 'other'; give one of sentiment, topic, or the path"),
        (".", r"there is no task '\.'; give one of"),
    ):
        with pytest.raises(ExplicateError, match=said):
            named_file(wrong, ours, what="task")
