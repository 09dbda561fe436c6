"""What probes count at one checkpoint: on states that are planted, and against passes over one text at a time."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from analyzers.errors import CorpusError, Failed
from analyzers.progress import quiet
from analyzers.text_model import TextModel
from evals.growing.config import GrowConfig
from evals.growing.facts import load_facts
from evals.growing.minimal_pairs import load_pairs
from evals.growing.next_token import NextToken
from evals.growing.pos import Pos
from evals.growing.tally import Tallies
from evals.growing.tree import Tree
from evals.growing.treebank_material import Treebank, load_treebank
from evals.probes.tree import fit_layer

CONFIG = GrowConfig("checkpoints")


@pytest.fixture
def model(tiny_model: Callable[..., tuple[Any, Any]], workplace: Path) -> TextModel:
    return TextModel(*tiny_model("llama"), name="tiny", identity={})


def tallies(found: Tallies | Failed) -> Tallies:
    assert not isinstance(found, Failed), found
    return found


def share(found: Tallies, name: str) -> float:
    return float(found[name].of.sum() / found[name].among.sum())


# ---- planted states


class Planted:
    """States of four layers: 0 is noise, layer 2 tells the part of speech, layers 1 and 3 nearly do."""

    def __init__(self, treebank: Treebank) -> None:
        words = [word for sentence in treebank.material.sentences for word in sentence.words]
        tags = sorted({word.upos for word in words})
        self.rows, self.width = np.arange(len(words)), len(tags)
        rng = np.random.default_rng(0)
        known = np.eye(len(tags), dtype=np.float32)[[tags.index(word.upos) for word in words]]
        noise = rng.normal(0, 1, known.shape).astype(np.float32)
        self.of = {0: noise, 1: known + noise, 2: known + noise / 100, 3: known + noise / 2}

    def layer(self, number: int) -> Any:
        return self.of[number]


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Treebank, Any]]:
    treebank = load_treebank(CONFIG, report=quiet)
    asked: list[Any] = []

    def read_states(model: Any, pieces: Any, *, layers: Any, report: Any) -> Planted:
        asked.append(layers)
        assert len(pieces) == len(treebank.material.sentences)
        return Planted(treebank)

    monkeypatch.setattr("analyzers.states.reading.read_states", read_states)
    yield treebank, SimpleNamespace(layers=3, name="planted")
    assert {tuple(layers) for layers in asked} == {(0, 1, 2, 3)}


def test_parts_of_speech_are_found_where_they_are_planted(planted: tuple[Treebank, Any]) -> None:
    treebank, model = planted
    found = tallies(Pos(treebank).measure(model, quiet))
    assert share(found, "pos") > 0.98  # a part of speech that no training sentence has cannot be told
    assert share(found, "pos/best-layer") == pytest.approx(share(found, "pos"), abs=0.02)
    words = [word for sentence in treebank.tests for word in sentence.words]
    trained = treebank.material.sentences[: treebank.material.train]
    (commonest, _), *_ = Counter(word.upos for sentence in trained for word in sentence.words).most_common()
    chance = found["pos"].chance
    assert chance == pytest.approx(sum(word.upos == commonest for word in words) / len(words))
    assert share(found, "pos/layer0") < chance + 0.15
    # A word for each one of the test sentences, in their order.
    assert found["pos"].among.tolist() == [len(sentence.words) for sentence in treebank.tests]


def test_trees_are_those_of_the_structural_probe(planted: tuple[Treebank, Any]) -> None:
    treebank, model = planted
    found = tallies(Tree(treebank).measure(model, quiet))
    read = treebank.read(model, quiet)
    width = read.states.width
    fitted = fit_layer(2, read.states.layer(2)[read.ready.rows], read.ready.forest, read.ready.split, rank=width, seed=0)
    assert found["tree"].of.tolist() == fitted.test.correct.tolist()
    assert found["tree"].among.tolist() == fitted.test.edges.tolist()
    chained = edges = 0
    for sentence in treebank.tests:
        kept = [at for at, word in enumerate(sentence.words) if word.upos != "PUNCT"]
        gold = {frozenset((at, sentence.words[at].head - 1)) for at in kept if sentence.words[at].head - 1 in kept}
        chained, edges = chained + len(gold & set(map(frozenset, pairwise(kept)))), edges + len(gold)
    assert found["tree"].among.sum() == edges
    assert found["tree"].chance == pytest.approx(chained / edges)


def test_other_trees_of_the_same_text_are_measured_anew() -> None:
    treebank = load_treebank(CONFIG, report=quiet)
    sentences = list(treebank.material.sentences)
    words = [replace(word, upos="X") if word.upos == "NOUN" else word for word in sentences[0].words]
    retagged = replace(treebank.material, sentences=(replace(sentences[0], words=tuple(words)), *sentences[1:]))
    assert words != list(sentences[0].words)
    again, other = replace(treebank), replace(treebank, material=retagged)
    assert retagged.pieces == treebank.material.pieces
    for probe in (Pos, Tree, NextToken):
        assert probe(again).identity == probe(treebank).identity != probe(other).identity


def test_few_sentences_for_a_tree_are_told() -> None:
    treebank = load_treebank(CONFIG, report=quiet)
    train = treebank.material.train
    assert f"trained anew at every checkpoint on {train} sentences" in Tree(treebank).notes[0]
    assert [note.startswith("tree: few sentences train it") for note in Tree(treebank).notes] == [False, True]
    enough = replace(treebank, material=replace(treebank.material, train=2000))
    assert len(Tree(enough).notes) == 1


# ---- what comes next


def spelt(model: TextModel, text: str) -> tuple[list[int], list[float], list[bool]]:
    """(ids behind the first, log-probability of each, whether it was the likeliest) of one text, by a pass of its own."""
    ids = [model.tokenizer.bos_token_id, *model.tokenizer.encode(text, add_special_tokens=False)]
    with torch.inference_mode():
        logprobs = model.model(input_ids=torch.tensor([ids])).logits[0].double().log_softmax(-1)
    told = [float(logprobs[at, token]) for at, token in enumerate(ids[1:])]
    return ids[1:], told, [int(logprobs[at].argmax()) == token for at, token in enumerate(ids[1:])]


def test_next_tokens_and_the_words_that_they_begin(model: TextModel) -> None:
    treebank = load_treebank(replace(CONFIG, limit=12), report=quiet)
    sentences = treebank.material.sentences
    found = tallies(NextToken(treebank).measure(model, quiet))
    by_hand = [spelt(model, sentence.text) for sentence in sentences]
    assert found["next-token"].among.tolist() == [len(ids) for ids, _, _ in by_hand]
    assert found["next-token"].of.tolist() == [sum(right) for _, _, right in by_hand]
    assert found["next-token/surprisal"].of == pytest.approx([-sum(told) for _, told, _ in by_hand], abs=1e-3)
    assert found["next-token/surprisal"].better == "lower"
    tags = [name.removeprefix("next-token/") for name in found if name.count("/") == 1 and not name.endswith("surprisal")]
    assert tags
    for tag in tags:
        # Every word begins a token of its own here, since the tiny tokenizer splits at spaces, if its characters are not another's.
        expected = [sum(word.upos == tag for word in sentence.words) for sentence in sentences]
        assert found[f"next-token/{tag}"].among.tolist() == expected
        assert sum(expected) >= 20
    # The first word of each sentence is behind the token that begins texts, and its surprisal is that token's.
    first = sentences[0].words[0].upos
    if first in tags and sum(word.upos == first for word in sentences[0].words) == 1:
        assert found[f"next-token/surprisal/{first}"].of[0] == pytest.approx(-by_hand[0][1][0], abs=1e-3)
    tokens = [token for ids, _, _ in by_hand for token in ids]
    counts = Counter(tokens)
    assert found["next-token"].chance == pytest.approx(counts.most_common(1)[0][1] / len(tokens))
    assert found["next-token/surprisal"].chance == pytest.approx(-np.mean([np.log(counts[token] / len(tokens)) for token in tokens]))


def test_minimal_pairs_are_sums_over_sentences(model: TextModel) -> None:
    pairs = load_pairs(CONFIG)
    assert Counter(pair.phenomenon for pair in pairs.pairs).most_common()[-1][1] == 10
    found = tallies(pairs.measure(model, quiet))
    for number, pair in enumerate(pairs.pairs):
        good, bad = (sum(spelt(model, text)[1]) for text in (pair.good, pair.bad))
        assert found["minimal-pairs"].of[number] == (good > bad)
        assert found[f"minimal-pairs/{pair.phenomenon}"].of[number] == (good > bad)
    assert found["minimal-pairs"].among.sum() == 50
    assert sum(found[name].among.sum() for name in found if "/" in name) == 50
    assert found["minimal-pairs"].chance == 0.5


def test_pairs_of_the_same_tokens_count_half(model: TextModel, tmp_path: Path) -> None:
    from tokenizers import normalizers

    model.tokenizer.backend_tokenizer.normalizer = normalizers.Lowercase()
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps({"sentence_good": "the river rises", "sentence_bad": "The river rises"}) + "\n")
    found = tallies(load_pairs(replace(CONFIG, pairs=path)).measure(TextModel(model.model, model.tokenizer, name="t", identity={}), quiet))
    assert found["minimal-pairs"].of.tolist() == [0.5]
    assert list(found) == ["minimal-pairs"]


def test_facts_are_told_by_their_first_token(model: TextModel) -> None:
    facts = load_facts(CONFIG)
    assert Counter(fact.relation for fact in facts.facts).most_common()[-1][1] >= 20
    found = tallies(facts.measure(model, quiet))
    firsts = []
    for number, fact in enumerate(facts.facts):
        ids, told, right = spelt(model, f"{fact.prompt} {fact.target}")
        at = len(model.tokenizer.encode(fact.prompt, add_special_tokens=False))
        assert found["facts"].of[number] == right[at]
        assert found["facts/logprob"].of[number] == pytest.approx(told[at], abs=1e-4)
        firsts.append((fact.relation, ids[at]))
    counts = Counter(firsts)
    best = {relation: max(count for (other, _), count in counts.items() if other == relation) for relation, _ in firsts}
    assert found["facts"].chance == pytest.approx(sum(best.values()) / len(firsts))
    assert {name.partition("/")[2] for name in found} == {"", "logprob", *best}


def test_what_gives_itself_away_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "capitals.json"
    samples = [{"subject": "Mexico", "object": "Mexico City"}, {"subject": "France", "object": "Paris"}]
    path.write_text(json.dumps({"name": "capital", "prompt_templates": ["The capital of {} is"], "samples": samples}))
    (tmp_path / "more.jsonl").write_text('{"prompt": "Two and two are ", "target": " four"}\n\n')
    facts = load_facts(replace(CONFIG, facts=tmp_path))
    told = {(fact.prompt, fact.target, fact.relation) for fact in facts.facts}
    assert told == {("The capital of France is", "Paris", "capital"), ("Two and two are", "four", "more")}
    assert facts.items == {"facts": 2, "not_drawn": 0, "given_away": 1}
    assert [path.name for path in facts.files] == ["capitals.json", "more.jsonl"]


def test_a_limit_draws_as_many_of_each_phenomenon() -> None:
    few = load_pairs(replace(CONFIG, limit=10))
    assert set(Counter(pair.phenomenon for pair in few.pairs).values()) == {2}
    assert few.items == {"pairs": 10, "not_drawn": 40}
    assert load_pairs(replace(CONFIG, limit=10)).identity == few.identity != load_pairs(replace(CONFIG, limit=10, seed=1)).identity
    assert len(load_facts(replace(CONFIG, limit=7)).facts) == 7
    assert len(load_pairs(replace(CONFIG, limit=0)).pairs) == 50


def test_a_pair_that_stands_twice_is_one(tmp_path: Path) -> None:
    (tmp_path / "pairs.jsonl").write_text(2 * GOOD + GOOD.replace('"x"', '"y"'))
    pairs = load_pairs(replace(CONFIG, pairs=tmp_path / "pairs.jsonl"))
    assert [pair.phenomenon for pair in pairs.pairs] == ["x", "y"]
    assert pairs.items == {"pairs": 2, "not_drawn": 0}


GOOD = '{"sentence_good": "a b", "sentence_bad": "b a", "UID": "x"}\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD + "{", "line 2 is not JSON"),
        (GOOD + "\n[1]", "line 3 holds no JSON object but list"),
        (GOOD + '{"sentence_good": "a b"}', "line 2 has no text in 'sentence_bad'"),
        (GOOD + '{"sentence_good": " ", "sentence_bad": "b"}', "line 2 has no text in 'sentence_good'"),
        (GOOD + '{"sentence_good": "a", "sentence_bad": "a"}', "line 2: both sentences are 'a'"),
        (GOOD + '{"sentence_good": "a", "sentence_bad": "b", "UID": 7}', "line 2: the UID 7 is no name"),
        ("\n", "holds no pairs"),
    ],
)
def test_malformed_pairs_are_told_with_their_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CorpusError, match=said):
        load_pairs(replace(CONFIG, pairs=path))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("facts.jsonl", '{"prompt": "a", "target": "b"}\n{"prompt": "a"}', "line 2 has no text for the target"),
        ("facts.jsonl", "nothing", "line 1 is not JSON"),
        ("facts.jsonl", "", "holds no facts"),
        ("facts.jsonl", '{"prompt": "b is", "target": "b"}', "already has the first word"),
        ("facts.json", "{}", "has no template"),
        ("facts.json", '{"prompt_templates": ["a {} is"]}', "has no samples"),
        ("facts.json", '{"prompt_templates": ["a {} is"], "samples": [{"subject": "b"}]}', "sample 1 has no text for the target"),
    ],
)
def test_malformed_facts_are_told_with_their_line(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(CorpusError, match=said):
        load_facts(replace(CONFIG, facts=tmp_path / name))


def test_missing_files_are_told(tmp_path: Path) -> None:
    for load, key in ((load_pairs, "pairs"), (load_facts, "facts")):
        with pytest.raises(CorpusError, match="there is no file or folder"):
            load(replace(CONFIG, **{key: tmp_path / "none"}))
        with pytest.raises(CorpusError, match="holds"):
            load(replace(CONFIG, **{key: tmp_path}))
