"""Figures of compressed contexts, against single passes with the rest masked and over the kept tokens as a text."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from analyzers.attention.door import attending, blocked
from analyzers.icl.compression import anchors
from evals.icl.analyses.compress import MEASURES, OTHERS, compress
from evals.icl.config import IclConfig
from evals.icl.run import run_icl
from evals.icl.setting import Case, Setting
from evals.results import Value


def masked(setting: Setting, case: Case) -> Tensor:
    prompt, ids = case.prompt, torch.tensor([case.prompt.ids])
    at = torch.zeros(len(prompt), len(prompt), dtype=torch.bool)
    at[prompt.query.start :, [place for place in range(prompt.query.start) if place not in anchors(prompt)]] = True
    mask = blocked(at, torch.float32)
    with torch.no_grad(), attending(setting.model.model, masked=lambda _layer: mask):
        logits: Tensor = setting.model.forward(ids).logits[0, -1]
    return logits


def as_text(setting: Setting, case: Case) -> Tensor:
    ids = [case.prompt.ids[at] for at in (*anchors(case.prompt), *case.prompt.query)]
    with torch.no_grad():
        logits: Tensor = setting.model.forward(torch.tensor([ids])).logits[0, -1]
    return logits


def plain(setting: Setting, case: Case) -> Tensor:
    with torch.no_grad():
        logits: Tensor = setting.model.forward(torch.tensor([case.prompt.ids])).logits[0, -1]
    return logits


def expected(setting: Setting, read: Callable[[Setting, Case], Tensor]) -> dict[str, float]:
    found: dict[str, list[float]] = {measure: [] for measure in MEASURES}
    for case in setting.cases:
        new, old = read(setting, case), plain(setting, case)
        classes = list(case.prompt.class_tokens)
        chosen, before = int(new[classes].argmax()), int(old[classes].argmax())
        words, words_before = set(new.topk(5).indices.tolist()), set(old.topk(5).indices.tolist())
        found["label_loyalty"].append(chosen == before)
        found["word_loyalty"].append(len(words & words_before) / len(words | words_before))
        found["accuracy"].append(chosen == case.item.label)
    return {measure: float(np.mean(values)) for measure, values in found.items()}


def test_figures_are_those_of_single_passes(setting_of: Callable[..., Setting], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evals.icl.analyses.compress.RANDOM", 3)
    setting = setting_of()
    found = compress(setting).figures
    values = {name: figure.value for name, figure in found.items() if isinstance(figure, Value)}
    assert values.keys() == found.keys()
    for kept, read in (("hidden_anchor", masked), ("text_anchor", as_text), ("full", plain)):
        own = expected(setting, read)
        for measure in MEASURES if kept != "full" else ("accuracy",):
            assert values[f"{measure}/{kept}"] == pytest.approx(own[measure])
    assert values["word_loyalty/hidden_anchor"] != values["word_loyalty/text_anchor"]
    for measure in MEASURES:
        for other in OTHERS:
            difference = values[f"{measure}/hidden_anchor"] - values[f"{measure}/{other}"]
            assert values[f"{measure}/hidden_anchor_minus_{other}"] == pytest.approx(difference)
    assert values["label_loyalty/hidden_random_top"] >= values["label_loyalty/hidden_random"]
    prompts = setting.prompts
    assert values["tokens/full"] == pytest.approx(np.mean([prompt.query.start for prompt in prompts]))
    assert values["tokens/hidden_anchor"] == pytest.approx(np.mean([len(anchors(prompt)) for prompt in prompts]))
    token = 3 * 2 * 2 * 8 * 4  # layers, keys and values, heads of keys, width, bytes of float32
    assert values["bytes/full"] == pytest.approx(token * values["tokens/full"])
    assert values["bytes/hidden_anchor"] == pytest.approx(token * values["tokens/hidden_anchor"])
    assert values["speed_up/over_text"] > 0
    assert values["speed_up/over_cache"] > 0
    assert {figure.n for figure in found.values() if isinstance(figure, Value)} == {len(setting.cases), 16}


def test_how_many_random_tokens_are_anchors_is_told(setting_of: Callable[..., Setting], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evals.icl.analyses.compress.RANDOM", 1)
    setting = setting_of(n=6)
    first = setting.cases[0].prompt
    chosen = [first.formatting[0][-1], *[at for at in first.texts[1] if at > 0][:2]]
    monkeypatch.setattr(
        "analyzers.icl.compression.random_tokens", lambda prompt, rng: (0, *sorted({*chosen} & {*range(prompt.query.start)}))
    )
    other = next(case.prompt for case in setting.cases if case.draw == 1)
    told, shared = 0, 0
    for prompt in (first, other):
        own = {*chosen} & {*range(prompt.query.start)}
        told, shared = told + len(own), shared + len(own & {*anchors(prompt)})
    assert 0 < shared < told
    assert any(
        f"hidden_random draws formatting, too, as the paper does: {shared / told:.0%} of" in note for note in compress(setting).notes
    )


def test_what_is_timed_is_chosen_by_the_seed(setting_of: Callable[..., Setting], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evals.icl.analyses.compress.RANDOM", 1)
    monkeypatch.setattr("evals.icl.analyses.compress.TIMED", 3)
    timed: list[list[int]] = []

    def none(_setting: Setting, cases: list[int], *_: object) -> list[tuple[int, float, float]]:
        timed.append(cases)
        return [(number, 1.0, 1.0) for number in cases]

    monkeypatch.setattr("evals.icl.analyses.compress._timed", none)
    setting = setting_of()
    for seed in range(4):
        object.__setattr__(setting, "seed", seed)
        found = compress(setting)
    assert [[setting.cases[number].draw for number in cases] for cases in timed] == [[0] * 3, [1] * 3] * 4
    assert len({tuple(cases) for cases in timed}) > 4
    assert "(6)" in found.notes[-1]


@pytest.mark.slow
def test_anchors_answer_like_the_whole_context_in_a_real_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evals.icl.analyses.compress.RANDOM", 2)
    config = IclConfig("smollm2-135m", "topic", ("compress",), n=8, seeds=1, dtype="float32", device="cpu")
    found = run_icl(config).analyses["compress"].figures
    for other in ("text_anchor", "hidden_random"):
        better = found[f"word_loyalty/hidden_anchor_minus_{other}"]
        assert isinstance(better, Value)
        assert better.low > 0
    kept, whole = found["bytes/hidden_anchor"], found["bytes/full"]
    assert isinstance(kept, Value)
    assert isinstance(whole, Value)
    assert kept.value < whole.value / 3
