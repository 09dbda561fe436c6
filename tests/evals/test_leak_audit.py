import json
import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.explainers.marked_text import excerpt_lines, strongest
from agents.explainers.token_activation import token_lines
from analyzers.duplicates import overlap
from analyzers.errors import RunFolderError
from evals.leak_audit import _Search, _spans, audit

RNG = random.Random(0)
VOCABULARY = ["".join(RNG.choices("abcdefghijklmnoprstuvw", k=RNG.randint(1, 9))) for _ in range(3000)] + [
    str(n) for n in range(1000, 2050, 3)
]
SITES = ("L1.mlp.3", "L2.mlp.7-")


def tokens(seed: int, n: int = 32) -> list[str]:
    """Words of about 1.3 tokens with spaces, some punctuation and line breaks."""
    rng = random.Random(seed)
    made: list[str] = []
    while len(made) < n:
        word = rng.choice(VOCABULARY)
        cut = rng.randint(1, len(word)) if rng.random() < 0.3 else len(word)
        made += [
            " " + word[:cut],
            *([word[cut:]] if word[cut:] else []),
            *([rng.choice([",", ".", "\n", "\t", ' "'])] if rng.random() < 0.1 else []),
        ]
    return made[:n]


def levelled(shown: Sequence[str], top: int = 9) -> list[tuple[str, int]]:
    rng = random.Random(len("".join(shown)))
    return [(token, rng.choice([0, 0, 0, rng.randint(1, top)])) for token in shown]


def as_marked(excerpts: Sequence[Sequence[str]]) -> str:
    made = [levelled(excerpt) for excerpt in excerpts]
    return f"Say what they have in common.\n{excerpt_lines(made)}\nStrongest: {strongest(made)}\nWhat are the marked tokens?"


def as_list(excerpts: Sequence[Sequence[str]]) -> str:
    return f"Activations:\n{token_lines([levelled(excerpt, 10) for excerpt in excerpts], zeros=True)}\nWhat is it?"


def as_bare_list(excerpts: Sequence[Sequence[str]]) -> str:
    """Tokens without their spaces, and a colon; decimal levels."""
    return "\n".join(f"{token.strip()}: {level / 10:.1f}" for excerpt in excerpts for token, level in levelled(excerpt))


def as_json(excerpts: Sequence[Sequence[str]]) -> str:
    return (
        json.dumps([[list(pair) for pair in levelled(excerpt)] for excerpt in excerpts], indent=0).replace("[\n", "[").replace("\n]", "]")
    )


STYLES: dict[str, Callable[[Sequence[Sequence[str]]], str]] = {
    "marked": as_marked, "list": as_list, "bare list": as_bare_list, "json": as_json,
}  # fmt: skip


class Run:
    """A run of two sites with nothing leaked, each explained and scored; tests plant a leak, or take something away, and write it."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.calls: list[dict[str, Any]] = []
        self.explanations: list[dict[str, Any]] = []
        self.simulations: list[dict[str, Any]] = []
        seed = 0
        for site in SITES:
            for split, documents in (("explain", "abc"), ("select", "de"), ("calibrate", "fg"), ("test", "hijk")):
                for document in documents:
                    for start in (0, 128):
                        seed += 1
                        self.rows.append(self.row(site, split, document, start, tokens(seed)))
            self.calls.append(self.call(site, as_marked))
            self.calls.append(self.call(site, as_list))
            self.calls.append({"role": "simulate", "site": site})
            one = {"site": site.removesuffix("-"), "polarity": "-" if site.endswith("-") else "+"}
            writer = {"explainer": "marked-text(openai:writer)", "prompt": "0123456789ab"}
            self.explanations += [
                one | writer | {"explanation": "names of rivers", "chosen": True, "select_score": 0.5},
                one | {"explanation": None, "failed": {"stage": "explain", "reason": "refused"}},
            ]
            for row in (*self.of(site, "test"), *self.of(site, "calibrate")):
                self.simulations.append(one | {name: row[name] for name in ("split", "document", "start")})

    @staticmethod
    def row(site: str, split: str, document: str, start: int, shown: list[str]) -> dict[str, Any]:
        polarity = "-" if site.endswith("-") else "+"
        return {
            "site": site.removesuffix("-"), "polarity": polarity, "split": split, "stratum": "top", "document": document,
            "start": start, "tokens": shown, "activations": [0.0] * len(shown),
        }  # fmt: skip

    def of(self, site: str, split: str) -> list[dict[str, Any]]:
        return [row for row in self.rows if site == row["site"] + row["polarity"].strip("+") and row["split"] == split]

    def call(self, site: str, style: Callable[[Sequence[Sequence[str]]], str], extra: Sequence[Sequence[str]] = ()) -> dict[str, Any]:
        explain = self.of(site, "explain")
        return {
            "role": "explain", "site": site, "shown": [f"{row['document']}:{row['start']}" for row in explain],
            "prompt": style([*(row["tokens"] for row in explain[:3]), *extra, *(row["tokens"] for row in explain[3:])]),
        }  # fmt: skip

    def write(self, folder: Path) -> Path:
        pq.write_table(pa.Table.from_pylist(self.rows), folder / "excerpts.parquet")
        (folder / "transcript.jsonl").write_text("".join(json.dumps(call) + "\n" for call in self.calls), encoding="utf-8")
        (folder / "explanations.jsonl").write_text("".join(json.dumps(row) + "\n" for row in self.explanations), encoding="utf-8")
        types = [(name, pa.string()) for name in ("site", "polarity", "split", "document")]
        pq.write_table(pa.Table.from_pylist(self.simulations, pa.schema([*types, ("start", pa.int64())])), folder / "simulations.parquet")
        return folder


def by_template(run: Run) -> None:
    run.calls = []
    for row in run.explanations:
        row.update({"explainer": "template", "prompt": ""} if row["explanation"] else {})


def test_a_clean_run_passes(tmp_path: Path) -> None:
    result = audit(Run().write(tmp_path))
    assert result.passed
    assert result.leaks == []
    assert result.prompts == 4
    assert result.checked == (2 * 12) * (4 + 2 * 6)
    assert result.largest_overlap < 0.3


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("split", ["select", "test"])
@pytest.mark.parametrize("by", SITES)
def test_a_leak_is_caught_in_every_style_of_prompt(tmp_path: Path, style: str, split: str, by: str) -> None:
    run = Run()
    leaked = run.of(SITES[0], split)[1]
    run.calls.append(run.call(by, STYLES[style], [leaked["tokens"]]))
    result = audit(run.write(tmp_path))
    assert not result.passed
    [leak] = result.leaks
    assert leak | {"overlap": ""} == {
        "kind": "text in prompt", "site": SITES[0], "split": split, "excerpt": f"{leaked['document']}:128", "seen_by": by, "overlap": "",
    }  # fmt: skip
    assert leak["overlap"] == "1.000"
    assert result.largest_overlap == (1 if by == SITES[0] else pytest.approx(0, abs=0.3))


@pytest.mark.parametrize("style", STYLES)
def test_a_near_duplicate_is_caught(tmp_path: Path, style: str) -> None:
    """Two words changed, a third and two thirds through."""
    run = Run()
    changed = list(run.of(SITES[1], "test")[3]["tokens"])
    changed[10], changed[21] = " elsewhere", " otherwise"
    run.calls.append(run.call(SITES[1], STYLES[style], [changed]))
    result = audit(run.write(tmp_path))
    assert [(leak["site"], leak["split"]) for leak in result.leaks] == [(SITES[1], "test")]
    assert 0.5 <= result.largest_overlap < 1


def test_a_near_duplicate_that_another_site_saw_is_counted_but_no_leak(tmp_path: Path) -> None:
    run = Run()
    changed = list(run.of(SITES[1], "test")[3]["tokens"])
    changed[10] = " elsewhere"
    run.calls.append(run.call(SITES[0], as_list, [changed]))
    result = audit(run.write(tmp_path))
    assert result.passed
    assert result.repeated_across_sites == 1
    assert result.largest_overlap < 0.3


def test_an_excerpt_that_sites_share_is_a_leak_where_one_of_them_saw_it(tmp_path: Path) -> None:
    run = Run()
    shared = run.of(SITES[0], "test")[3]
    run.rows.append(run.row(SITES[1], "test", shared["document"], shared["start"], shared["tokens"]))
    changed = list(shared["tokens"])
    changed[10] = " elsewhere"
    run.calls.append(run.call(SITES[1], as_list, [changed]))
    [leak] = audit(run.write(tmp_path)).leaks
    assert (leak["site"], leak["seen_by"]) == (SITES[1], SITES[1])


def test_an_excerpt_shown_in_part_is_caught(tmp_path: Path) -> None:
    run = Run()
    leaked = run.of(SITES[0], "test")[0]["tokens"]
    run.calls.append(run.call(SITES[0], as_marked, [leaked[4:27]]))
    assert not audit(run.write(tmp_path)).passed


def test_a_repeated_text_among_the_explain_excerpts_is_caught_without_any_call(tmp_path: Path) -> None:
    run = Run()
    by_template(run)
    run.rows.append(run.row(SITES[0], "explain", "a", 999, run.of(SITES[0], "test")[0]["tokens"]))
    folder = run.write(tmp_path)
    (folder / "transcript.jsonl").unlink()
    result = audit(folder)
    assert result.prompts == 0
    assert [leak["kind"] for leak in result.leaks] == ["text in explain excerpt"]


def test_a_test_excerpt_that_chose_among_candidates_of_its_own_site_is_caught(tmp_path: Path) -> None:
    run = Run()
    for site, other in (SITES, SITES[::-1]):
        scored = run.of(site, "test")[0]
        scored["document"] += site
        run.simulations = [row for row in run.simulations if row["start"] or row["document"] != "h"]
        run.rows.append(run.row(other, "select", "d", 999 + len(site), scored["tokens"]))
    assert audit(run.write(tmp_path)).passed
    scored = run.of(SITES[1], "test")[2]
    run.rows.append(run.row(SITES[1], "select", "e", 999, [*scored["tokens"][4:], *tokens(10**6, 4)]))
    (leak,) = audit(run.write(tmp_path)).leaks
    assert (leak["kind"], leak["split"], leak["site"]) == ("text in select excerpt", "test", SITES[1])
    assert leak["excerpt"] == f"{scored['document']}:{scored['start']}"


def test_documents_of_two_splits_are_caught(tmp_path: Path) -> None:
    run = Run()
    run.rows.append(run.row(SITES[1], "calibrate", "a", 999, tokens(10**6)))
    leaks = audit(run.write(tmp_path)).leaks
    assert {"kind": "document in two splits", "document": "a", "splits": "calibrate, explain"} in leaks


def test_windows_listed_as_shown_are_caught_by_their_document(tmp_path: Path) -> None:
    run = Run()
    run.calls[0]["shown"].append("h:4096")
    [leak] = audit(run.write(tmp_path)).leaks
    assert leak == {"kind": "listed as shown", "excerpt": "h:4096", "split": "test", "seen_by": SITES[0]}


def test_prompts_may_come_in_several_texts(tmp_path: Path) -> None:
    run = Run()
    run.calls[0]["prompt"] = [run.calls[0]["prompt"], "".join(run.of(SITES[0], "test")[0]["tokens"])]
    assert not audit(run.write(tmp_path)).passed


@pytest.mark.parametrize(
    ("excerpt", "prompt", "found"),
    [
        ("=" * 40 + "\n", f"look at this: {'=' * 40}", True),
        ("-+" * 20, "----- and +", False),
        ("a b c d | | |", "a b c x d", False),
        ("x\n\n\n1", "x y 1", False),
        ("Donaudampfschifffahrt Rheinuferweg", "of Donaudampfschiff\t0\nfahrt\t9\n Rheinufer\t0\nweg\t1\nand", True),
        ("Donaudampfschifffahrt Rheinuferweg", "Rheinuferweg Donaudampfschifffahrt", False),
        ("私は猫がとても好きです。犬も好きです。", "私は猫\t0\nがとても\t3\n好きです\t9\n。犬も\t0\n好きです\t3", True),
        ("is it a to be or so i am at it", "is it a to be or so i am at it", True),
        (
            "élan vital über größer naïve",
            json.dumps([["élan", 0], [" vital", 3], [" üb", 4], ["er", 0], [" größer", 12], [" naïve", 7]]),
            True,
        ),
        ("one\\two naïve\u2028ſtrange wörds\x07here", "1. one\\two <<naïve>>\\u2028strange Wörds\\u0007here", True),
    ],
)
def test_excerpts_of_few_or_odd_words(excerpt: str, prompt: str, found: bool) -> None:
    assert bool(_Search([excerpt]).overlaps(prompt)) == found


WORDS = st.lists(st.sampled_from(["a", "of", "the", "cat", "mouse", "elephant", "1999", "7"]), max_size=30)


@given(WORDS)
def test_runs_are_the_shortest_that_suffice(found: list[str]) -> None:
    def suffices(start: int, stop: int) -> bool:
        return stop - start >= min(5, len(found)) and len("".join(found[start:stop])) >= 12

    spans = set(_spans(found))
    every = [(i, j) for i in range(len(found)) for j in range(i + 1, len(found) + 1) if suffices(i, j)]
    shortest = {(i, j) for i, j in every if not suffices(i, j - 1)}
    to_the_end = {max((i, j) for i, j in every if j == len(found))} if every else set()
    assert spans == shortest | to_the_end


@given(WORDS.filter(lambda w: len("".join(w)) >= 12), WORDS, WORDS)
def test_a_verbatim_excerpt_is_found_whole(excerpt: list[str], before: list[str], after: list[str]) -> None:
    assert _Search([" ".join(excerpt)]).overlaps(" ".join([*before, *excerpt, *after])) == {0: 1.0}


@given(
    st.lists(st.sampled_from(VOCABULARY[:12]), min_size=5, max_size=30),
    st.lists(st.sampled_from(VOCABULARY[:12]), min_size=30, max_size=40),
)
def test_a_run_that_is_found_is_one_that_overlap_finds(excerpt: list[str], text: list[str]) -> None:
    """By words, `overlap` finds at least as much; only where words happen to join into others can the stream hold more."""
    marked = [f"q{word}z" for word in excerpt], [f"q{word}z" for word in text]  # no two sequences of words join to the same
    found = _Search([" ".join(marked[0])]).overlaps(" ".join(marked[1])).get(0, 0.0)
    assert found <= overlap(" ".join(marked[0]), " ".join(marked[1])) + 1e-12


def test_missing_and_damaged_artefacts_are_named(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"excerpts\.parquet' cannot be read"):
        audit(tmp_path)
    run = Run()
    run.write(tmp_path)
    with (tmp_path / "transcript.jsonl").open("a") as file:
        file.write('{"role": "expl')
    with pytest.raises(RunFolderError, match=r"transcript\.jsonl' line 7 is no whole record"):
        audit(tmp_path)
    del run.calls[0]["prompt"]
    run.write(tmp_path)
    with pytest.raises(RunFolderError, match=r"line 1 is no whole record"):
        audit(tmp_path)
    pq.write_table(pa.table({"site": ["L1.mlp.1"]}), tmp_path / "excerpts.parquet")
    with pytest.raises(RunFolderError, match="cannot be read"):
        audit(tmp_path)


def keep(run: Run, kept: Callable[[dict[str, Any]], bool]) -> None:
    run.rows = [row for row in run.rows if kept(row)]


def silent(run: Run) -> None:
    run.calls = []


def of_one_site(run: Run) -> None:
    run.calls = [call for call in run.calls if call["site"] == SITES[0] or call["role"] != "explain"]


def without_prompt(run: Run) -> None:
    run.calls[0]["prompt"] = ""


def unscored(run: Run) -> None:
    keep(run, lambda row: row["split"] not in ("select", "test"))


def one_less(run: Run) -> None:
    keep(run, lambda row: (row["document"], row["start"]) != ("i", 128) or row["polarity"] == "-")


def moved(run: Run) -> None:
    run.of(SITES[0], "test")[0]["split"] = "explain"


def nothing_selects(run: Run) -> None:
    keep(run, lambda row: row["split"] != "select" or row["polarity"] == "+")


def nothing_explains(run: Run) -> None:
    by_template(run)
    keep(run, lambda row: row["split"] != "explain")


def unexplained(run: Run) -> None:
    run.explanations = []


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (silent, r"transcript\.jsonl has no explain call for 'L\S+', which 'marked-text\(openai:writer\)' explained"),
        (of_one_site, r"no explain call for 'L2\.mlp\.7-'"),
        (without_prompt, r"line 1 is no whole record"),
        (unscored, r"excerpts\.parquet lacks the test excerpt '\S+' of 'L\S+', which was simulated"),
        (one_less, r"lacks the test excerpt 'i:128' of 'L1\.mlp\.3'"),
        (moved, r"lacks the test excerpt 'h:0' of 'L1\.mlp\.3'"),
        (nothing_selects, r"no select excerpt of 'L2\.mlp\.7-', by which"),
        (nothing_explains, r"no explain excerpt of 'L\S+', which 'template' explained"),
        (unexplained, r"explanations\.jsonl has no explanation of 'L\S+', which was simulated"),
    ],
)
def test_an_audit_that_cannot_compare_everything_does_not_pass(tmp_path: Path, damage: Callable[[Run], None], reason: str) -> None:
    run = Run()
    damage(run)
    with pytest.raises(RunFolderError, match=reason):
        audit(run.write(tmp_path))


@pytest.mark.parametrize("name", ["transcript.jsonl", "explanations.jsonl", "simulations.parquet", "excerpts.parquet"])
def test_an_audit_of_a_run_that_lost_a_file_does_not_pass(tmp_path: Path, name: str) -> None:
    Run().write(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(RunFolderError, match=re.escape(name)):
        audit(tmp_path)
    if not name.endswith(".parquet"):
        (tmp_path / name).touch()
        with pytest.raises(RunFolderError, match=re.escape(name)):
            audit(tmp_path)


def test_a_site_that_nothing_was_said_of_needs_no_call(tmp_path: Path) -> None:
    run = Run()
    of_one_site(run)
    run.explanations = [row for row in run.explanations if row["polarity"] == "+" or row["explanation"] is None]
    run.simulations = [row for row in run.simulations if row["polarity"] == "+"]
    assert audit(run.write(tmp_path)).passed
