"""An encoder's masks: which token ids a target has in their place, in word pieces and in bytes, and what is refused."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from analyzers.errors import SubjectError
from analyzers.text_model import TextModel

Tiny = Callable[..., tuple[Any, Any]]

WORDS = ["the", "river", "hills", "water", "bridge", "of", "school", "music", "otters", "boat"]


def made(model: Any, tokenizer: Any) -> TextModel:
    return TextModel(model, tokenizer, name="tiny", identity={})


def pieces(model: TextModel, ids: tuple[int, ...]) -> list[str]:
    found: list[str] = model.tokenizer.convert_ids_to_tokens(list(ids))
    return found


@pytest.fixture(scope="module")
def bert(masked_model: Tiny) -> TextModel:
    return made(*masked_model("bert"))


@pytest.fixture(scope="module")
def roberta(masked_model: Tiny) -> TextModel:
    return made(*masked_model("roberta"))


@pytest.mark.parametrize(
    ("text", "target", "expected"),
    [
        ("The river rises in <mask> hills", "the", ["Ġthe"]),
        ("The river rises in <mask> hills", " the", ["Ġthe"]),
        ("The river rises in <mask> hills", "the ", ["Ġthe"]),
        ("The river rises in<mask> hills", " the", ["Ġthe"]),
        ("<mask> river rises", "The", ["The"]),
        ("Tea in the <mask><mask>.", "hills", ["Ġhil", "ls"]),
        ("Tea in the <mask> <mask>.", "hills", ["Ġhil", "ls"]),
        ("Tea in the <mask><mask><mask>.", "the hills", ["Ġthe", "Ġhil", "ls"]),
    ],
)
def test_bytes_have_the_space_that_stands_before_the_mask(text: str, target: str, expected: list[str], roberta: TextModel) -> None:
    assert pieces(roberta, roberta.continuation(text, target)) == expected


def test_a_mask_that_leaves_the_space_before_it_has_the_same_target(tiny_model: Tiny) -> None:
    net, tokenizer = tiny_model("bert")
    tokenizer.add_special_tokens({"mask_token": "[MASK]"})
    model = made(net, tokenizer)
    net.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    assert "Ġ" in pieces(model, model.prompt("rises in [MASK] hills").ids)
    for text in ("rises in [MASK] hills", "rises in[MASK] hills"):
        assert pieces(model, model.continuation(text, " the")) == ["Ġthe"]
    with pytest.raises(SubjectError, match=r"2 tokens, and the text has 2 masks that stand apart; write \[MASK\]\[MASK\]"):
        model.continuation("in [MASK] [MASK]", "the the")


def test_word_pieces_may_be_the_end_of_a_word(bert: TextModel) -> None:
    assert pieces(bert, bert.continuation("The bridge[MASK] of", "s")) == ["##s"]
    assert pieces(bert, bert.continuation("The [MASK] rises", "RIVER")) == ["river"]


@given(
    words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=4),
    before=st.lists(st.sampled_from(WORDS), max_size=3),
    behind=st.lists(st.sampled_from(WORDS), max_size=3),
    family=st.sampled_from(["bert", "roberta"]),
)
def test_a_target_is_what_the_whole_text_would_have_there(
    words: list[str], before: list[str], behind: list[str], family: str, bert: TextModel, roberta: TextModel
) -> None:
    model = bert if family == "bert" else roberta
    target, mask = " ".join(words), model.tokenizer.mask_token
    whole = model.prompt(" ".join([*before, *words, *behind])).ids

    def masked(count: int) -> str:
        return " ".join([*before, *([mask * count] if count else []), *behind])

    n = (
        len(whole)
        - len(model.tokenizer(" ".join(before))["input_ids"])
        - len(model.tokenizer("".join(f" {word}" for word in behind))["input_ids"])
        + 2
    )
    start = len(model.tokenizer(" ".join(before))["input_ids"]) - 1
    found = model.continuation(masked(n), target)
    assert found == whole[start : start + n]
    read, places = model.reads(model.prompt(masked(n)).ids, found)
    assert places == list(range(start, start + n))
    assert [*read[:start], *found, *read[start + n :]] == list(whole)
    assert {read[place] for place in places} == {model.tokenizer.mask_token_id}
    # Without a mask it is not known where the target is to stand: it is counted at the end.
    for other in {0 if before else n + 2, n - 1 or n + 2, n + 1}:
        text = masked(other)
        with pytest.raises(SubjectError, match="'tiny' is an encoder, which tells a target at its mask") as error:
            model.continuation(text, target)
        assert f"write {mask * n} where" in str(error.value)
        assert f"has {n} token{'' if n == 1 else 's'}, and the text has {other or 'no'} mask" in str(error.value)


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_characters_of_the_masks_are_theirs_alone(family: str, bert: TextModel, roberta: TextModel) -> None:
    model = bert if family == "bert" else roberta
    assert model.masks is not None
    mask = model.tokenizer.mask_token
    for before, run, behind in (("The  ", mask, "."), ("", mask * 2, "  hills"), ("a ", f"{mask} {mask}", "")):
        for trim in (False, True):
            text = before + run + behind
            read = model.prompt(text)
            # Some tokenizers count the spaces around a mask to it.
            spans = [span if span is None or not trim else (max(span[0] - 1, 0), min(span[1] + 1, len(text))) for span in read.spans]
            assert model.masks.span(text, read.ids, spans) == (len(before), len(before + run))
    read = model.prompt("The hills")
    assert model.masks.span("The hills", read.ids, read.spans) is None


def test_a_decoder_has_no_masks_and_reads_its_target(tiny_model: Tiny) -> None:
    model = made(*tiny_model("llama"))
    assert model.masks is None
    assert model.reads((5, 6, 7), (8, 9)) == ([5, 6, 7, 8], [2, 3])


def test_what_is_no_target_is_refused(bert: TextModel, roberta: TextModel, masked_model: Tiny, tiny_model: Tiny) -> None:
    for target in ("", " "):
        with pytest.raises(SubjectError, match="is no target: the tokenizer of tiny has no tokens for it"):
            bert.continuation("The [MASK] rises", target)
    for target in ("☃", "[MASK]", "[SEP]"):
        with pytest.raises(SubjectError, match=r"reads \[(UNK|MASK|SEP)\] in .*, which is no text"):
            bert.continuation("The [MASK] rises", target)
    for model, text, target in ((bert, "The riv[MASK] rises", "er"), (roberta, "of t<mask>", "he")):
        with pytest.raises(SubjectError, match=f"joins '{target}' to what stands beside its mask"):
            model.continuation(text, target)
    with pytest.raises(SubjectError, match=r"has 2 tokens, and the text has 2 masks that stand apart; write \[MASK\]\[MASK\]"):
        bert.continuation("The [MASK] rises [MASK]", "river rises")
    with pytest.raises(SubjectError, match=r"has 1 token, and the text has 2 masks; write \[MASK\] where"):
        bert.continuation("The [MASK] rises [MASK]", "river")
    net, tokenizer = masked_model("bert")
    # That there is no head is told first: masks would be of no use.
    with pytest.raises(SubjectError, match="no head for language"):
        made(net.base_model, tokenizer).continuation("The river", "rises")
    with pytest.raises(SubjectError, match=r"'tiny' is an encoder, .* its tokenizer has no mask; choose"):
        made(*tiny_model("bert")).continuation("The river", "rises")
    short = made(*masked_model("bert", max_position_embeddings=6))
    assert len(short.continuation("the the [MASK] the", "river")) == 1
    with pytest.raises(SubjectError, match="the text is 7 tokens"):
        short.continuation("the the [MASK] the the", "river")
    with pytest.raises(SubjectError, match="the text is 7 tokens"):
        short.reads([2, 5, 5, 4, 5, 5, 3], [9])
    for ids, said in (((), (9,)), ((2, 4, 3), ())):
        with pytest.raises(ValueError, match="each of at least one token"):
            bert.reads(ids, said)


def test_a_chat_may_hold_masks(bert: TextModel) -> None:
    bert.tokenizer.chat_template = "user : {{ messages[0].content }} ."
    found = bert.continuation("the [MASK] rises", "river", chat=True)
    read, places = bert.reads(bert.prompt("the [MASK] rises", chat=True).ids, found)
    assert pieces(bert, found) == ["river"]
    assert [read[place] for place in places] == [bert.tokenizer.mask_token_id]
    bert.tokenizer.chat_template = None
    with torch.inference_mode():
        assert bert.logits(bert.forward(torch.tensor([read]))).shape[1] == len(read)
