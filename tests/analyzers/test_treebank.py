"""CoNLL-U files: every word where it stands, and what is malformed told with its line."""

from pathlib import Path

import conllu
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzers.errors import CorpusError
from analyzers.treebank import read_treebank

SPANISH = """# newdoc id = d1
# sent_id = s1
# text = Vámonos al mar.
1-2\tVámonos\t_\t_\t_\t_\t_\t_\t_\t_
1\tVamos\tir\tVERB\tv\tMood=Imp|Number=Plur\t0\troot\t_\t_
2\tnos\tnosotros\tPRON\tp\tPerson=1\t1\tobj\t_\t_
3-4\tal\t_\t_\t_\t_\t_\t_\t_\t_
3\ta\ta\tADP\t_\t_\t5\tcase\t_\t_
4\tel\tel\tDET\t_\t_\t5\tdet\t_\t_
5\tmar\tmar\tNOUN\t_\t_\t1\tobl\t_\tSpaceAfter=No
5.1\tes\tser\tVERB\t_\t_\t_\t_\t1:conj\t_
6\t.\t.\tPUNCT\t_\t_\t1\tpunct\t_\t_

# newdoc
1\tDogs\tdog\tNOUN\tNNS\tNumber=Plur\t2\tnsubj\t_\t_
2\tbark\tbark\tVERB\tVBP\t_\t0\troot\t_\tSpaceAfter=No
3\t!\t!\tPUNCT\t.\t_\t2\tpunct\t_\t_
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "a.conllu"
    path.write_text(text, encoding="utf-8")
    return path


def test_multi_word_tokens_and_empty_nodes(tmp_path: Path) -> None:
    first, second = read_treebank(written(tmp_path, SPANISH))
    assert (first.id, first.document, first.text) == ("s1", "d1", "Vámonos al mar.")
    assert [word.form for word in first.words] == ["Vamos", "nos", "a", "el", "mar", "."]
    assert [first.text[slice(*word.span)] for word in first.words] == ["Vámonos", "Vámonos", "al", "al", "mar", "."]
    assert first.heads == (0, 1, 5, 5, 1, 1)
    assert first.words[0].feats == {"Mood": "Imp", "Number": "Plur"}
    assert first.words[2].xpos == ""
    assert second.text == "Dogs bark!"
    assert second.id == "a.conllu line 14"
    assert second.document == "a.conllu line 14"
    assert [second.text[slice(*word.span)] for word in second.words] == ["Dogs", "bark", "!"]


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ("2\tnos\tnosotros", "2\tnos", 6, "9 columns"),
        ("6\t.\t.\tPUNCT\t_\t_\t1", "6\t.\t.\tPUNCT\t_\t_\tx", 12, "head"),
        ("6\t.\t.\tPUNCT\t_\t_\t1", "6\t.\t.\tPUNCT\t_\t_\t7", 12, "the head 7 is no word of the sentence, which has 6"),
        ("6\t.\t.\tPUNCT\t_\t_\t1", "6\t.\t.\tPUNCT\t_\t_\t_", 12, "the head None"),
        ("6\t.\t.\tPUNCT\t_\t_\t1", "6\t.\t.\tPUNCT\t_\t_\t0", 5, "2 words with the head 0"),
        ("1\tVamos\tir\tVERB\tv\tMood=Imp|Number=Plur\t0", "1\tVamos\tir\tVERB\tv\tMood=Imp|Number=Plur\t2", 5, "0 words with the head 0"),
        ("4\tel\tel\tDET\t_\t_\t5", "4\tel\tel\tDET\t_\t_\t4", 9, "run in a circle"),
        ("5\tmar", "7\tmar", 10, "word 7 stands where 5 is to come"),
        ("5\tmar", "5\tmer", 10, "'mer' does not stand next"),
        ("2\tnos", "two\tnos", 6, "two"),
        ("2\tnos", "_\tnos", 6, "a word needs a number"),
        ("2\tnos", "9" * 5000 + "\tnos", 6, "digits"),
        ("2\tnos", "2\t", 6, "a word needs a number and a form"),
        ("1-2\tVámonos", "2-3\tVámonos", 4, "2-3 does not stand before"),
        ("3-4\tal", "3-9\tal", 7, "3-9 does not stand before"),
        ("3-4\tal", "2-4\tal", 7, "2-4 does not stand before"),
    ],
)
def test_what_is_malformed_is_told_with_its_line(tmp_path: Path, old: str, new: str, line: int, says: str) -> None:
    assert SPANISH.count(old) == 1
    with pytest.raises(CorpusError) as caught:
        read_treebank(written(tmp_path, SPANISH.replace(old, new)))
    assert f"a.conllu' line {line}: " in str(caught.value)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"), [("", "holds no sentence"), ("# text = a\n\n", "holds no sentence"), ("a b c\n", "line 1: 1 columns")]
)
def test_no_treebank(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(CorpusError, match=says):
        read_treebank(written(tmp_path, text))
    with pytest.raises(CorpusError, match="there is no file"):
        read_treebank(tmp_path / "none.conllu")


def test_it_tells_how_many_sentences_are_read(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    read_treebank(written(tmp_path, SPANISH), report=lambda what, done, total: seen.append((what, done, total)))
    assert seen == [("reading a.conllu", done, 2) for done in (0, 1, 2)]


def test_a_comment_changes_no_columns_and_an_underscore_can_be_a_word(tmp_path: Path) -> None:
    text = "# global.columns = ID FORM\n1\t_\t_\tSYM\t_\t_\t0\troot\t_\t_\n"
    ((word,),) = (sentence.words for sentence in read_treebank(written(tmp_path, text)))
    assert (word.form, word.lemma, word.upos) == ("_", "_", "SYM")


@given(st.lists(st.tuples(st.sampled_from(["a", "dog", "don", "'t", "été", "."]), st.booleans()), min_size=1, max_size=12), st.data())
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, forms: list[tuple[str, bool]], data: st.DataObject) -> None:
    """A random tree: every word hangs on an earlier one."""
    heads = [0] + [data.draw(st.integers(1, number)) for number in range(1, len(forms))]
    lines = [
        f"{number}\t{form}\t_\tX\t_\t_\t{head}\tdep\t_\t{'_' if space else 'SpaceAfter=No'}"
        for number, ((form, space), head) in enumerate(zip(forms, heads, strict=True), 1)
    ]
    path = tmp_path_factory.mktemp("written") / "a.conllu"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    (sentence,) = read_treebank(path)
    assert sentence.heads == tuple(heads)
    assert [sentence.text[slice(*word.span)] for word in sentence.words] == [form for form, _ in forms]
    assert [token["form"] for token in conllu.parse(path.read_text(encoding="utf-8"))[0]] == [word.form for word in sentence.words]
