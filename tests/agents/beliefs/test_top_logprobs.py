"""Label probabilities from the alternatives to written tokens, against lists made by hand and a naive walk over token trees."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.beliefs import OTHER, READERS, Belief, Question, Reader
from agents.beliefs.top_logprobs import ALTERNATIVES, FLOOR, UNRESOLVED, label_mass
from agents.llm import Capability, Chat, ChatReply, Message, TokenLogprob
from agents.providers.scripted import ScriptedLLM
from analyzers.errors import Failed

LABELS = ("positive", "negative", "neutral")


def place(*chances: tuple[str, float]) -> TokenLogprob:
    """A token, the first one, with its alternatives and their probabilities."""
    top = tuple((token, math.log(chance) if chance else -math.inf) for token, chance in chances)
    return TokenLogprob(token=top[0][0], logprob=top[0][1], top=top)


def sure(*tokens: str) -> list[TokenLogprob]:
    return [place((token, 1.0)) for token in tokens]


def reader(*, begun: bool = False) -> Reader:
    capabilities: frozenset[Capability] = frozenset(["chat", "top_logprobs", "prefill"] if begun else ["chat", "top_logprobs"])
    return READERS.create("top-logprobs", ScriptedLLM([], capabilities=capabilities))


def read(tokens: Sequence[TokenLogprob], *labels: str, begun: bool = False, lead: str = "Answer:") -> Belief | Failed:
    question = Question((Message(role="user", content="Which?"),), labels or LABELS, lead)
    reply = ChatReply(text="".join(token.token for token in tokens), logprobs=tuple(tokens))
    return reader(begun=begun).read(question, [reply])


ONE = place((" positive", 0.6), (" negative", 0.2), (" fine", 0.1), (" neutral", 0.05))
SHARES = {"positive": 0.6 / 0.85, "negative": 0.2 / 0.85, "neutral": 0.05 / 0.85}


def shares(found: Belief | Failed) -> Mapping[str, float]:
    assert isinstance(found, Belief), found
    assert sum(found.probabilities.values()) == pytest.approx(1)
    return found.probabilities


def test_alternatives_are_asked_for() -> None:
    question = Question((Message(role="user", content="Which?"),), LABELS, "Answer:", 7, ("\n",))
    for begun in (True, False):
        (request,) = reader(begun=begun).requests(question)
        assert isinstance(request, Chat)
        assert (request.top_logprobs, request.max_tokens, request.stop, request.temperature) == (ALTERNATIVES, 7, ("\n",), 0.0)
        assert (request.messages[-1].role == "assistant") == begun


@pytest.mark.parametrize(
    "tokens",
    [
        [ONE],
        [*sure("Answer", ":"), ONE],
        [*sure("answer", " :".strip()), ONE, *sure("\n")],
        [*sure("**", "Answer", ":**"), ONE],
        [*sure("Answer", ":", " **"), ONE, *sure("**")],
        [*sure("**", "Answer", "**", ":"), ONE],
        [*sure("__", "Answer", "__ :"), ONE],
        [*sure("`", "Answer", "`:", " `"), ONE, *sure("`")],
        [*sure('{"', "answer", '":', ' "'), ONE, *sure('"', "}")],
        [*sure("Answer", "："), ONE],
        [*sure("Answer: "), ONE],
        [*sure("\n", "Answer", ":", "\n", "\n"), ONE],
        [*sure("Answer", ":", ' "'), ONE, *sure('"')],
        [*sure("Answer", ":", " ("), ONE, *sure(")")],
        [*sure("Größe", " İst", " da", ".", " Answer", ":"), ONE],
        [*sure("Sure", "!", " Here", ":", "\n", "Answer", ":"), ONE, *sure(" negative")],
    ],
)
def test_the_answer_is_found_behind_its_lead_or_without(tokens: list[TokenLogprob]) -> None:
    found = read(tokens)
    assert shares(found) == pytest.approx(SHARES)
    assert isinstance(found, Belief)
    assert found.mass == pytest.approx(0.85)
    assert found.label == "positive"


def test_the_lead_is_not_looked_for_where_it_was_given() -> None:
    assert shares(read([ONE, *sure(" Answer", ":", " negative")], begun=True)) == pytest.approx(SHARES)
    assert shares(read([ONE, *sure(" Answer", ":"), place((" negative", 1.0))], begun=False)) == {
        "positive": 0.0,
        "negative": 1.0,
        "neutral": 0.0,
    }


def test_case_spaces_and_marks_do_not_count() -> None:
    tokens = place(
        (" Positive", 0.3), ("positive", 0.2), (" POSITIVE", 0.1), ("**negative", 0.05), (" “", 0.1), ("\n", 0.1), (' "neutral', 0.05)
    )
    assert shares(read([tokens])) == pytest.approx({"positive": 0.6 / 0.7, "negative": 0.05 / 0.7, "neutral": 0.05 / 0.7})


def test_a_label_in_several_tokens_counts_from_where_it_is_alone() -> None:
    tokens = [place((" pos", 0.5), (" neg", 0.3), (" neut", 0.1), (" n", 0.001)), *sure("itive")]
    assert shares(read(tokens)) == pytest.approx({"positive": 5 / 9, "negative": 3 / 9, "neutral": 1 / 9}, abs=0.002)


def test_labels_that_begin_alike_are_followed_to_where_they_part() -> None:
    tokens = [place((" very", 0.6), (" fair", 0.3), (" Very", 0.1)), place((" good", 0.7), (" bad", 0.2), (" odd", 0.1))]
    found = read(tokens, "very good", "very bad", "fair")
    # " Very" goes the way of " very".
    whole = 0.7 * 0.7 + 0.7 * 0.2 + 0.3
    assert shares(found) == pytest.approx({"very good": 0.49 / whole, "very bad": 0.14 / whole, "fair": 0.3 / whole})
    assert isinstance(found, Belief)
    assert found.mass == pytest.approx(whole)


def test_a_label_that_longer_ones_begin_with_has_what_does_not_go_on() -> None:
    first = place((" good", 0.8), (" bad", 0.2))
    tokens = [first, place(("\n", 0.7), (" enough", 0.2), ("ish", 0.05))]
    found = read(tokens, "good", "good enough", "bad")
    assert shares(found) == pytest.approx({"good": 0.8 * 0.8, "good enough": 0.8 * 0.2, "bad": 0.2})
    # The same where the longer one was written.
    tokens = [first, place((" enough", 0.6), ("\n", 0.3))]
    assert shares(read(tokens, "good", "good enough", "bad")) == pytest.approx({"good": 0.32, "good enough": 0.48, "bad": 0.2})
    # What comes behind "good" is not known: the server does not say where a text ends.
    ended = read([first], "good", "good enough", "bad")
    assert isinstance(ended, Failed)
    assert "broke off before the labels good, good enough, bad" in ended.reason


def test_a_token_may_go_on_behind_the_whole_label() -> None:
    tokens = [place((" no.", 0.5), (" not", 0.3), (" yes\n", 0.1), (" yesterday", 0.1))]
    assert shares(read(tokens, "yes", "no")) == pytest.approx({"no": 5 / 6, "yes": 1 / 6})


def test_labels_of_signs_numbers_and_other_scripts() -> None:
    tokens = [*sure("Answer", ":"), place((" -", 0.6), (" ", 0.2), ("1", 0.1), ("0", 0.1)), *sure("1")]
    assert shares(read(tokens, "-1", "0", "1")) == pytest.approx({"-1": 6 / 8, "0": 1 / 8, "1": 1 / 8})
    written = [*sure("Answer", ": "), place(("1", 0.6), ("-1", 0.3), ("0", 0.1))]
    assert shares(read(written, "-1", "0", "1")) == pytest.approx({"1": 0.6, "-1": 0.3, "0": 0.1})
    assert shares(
        read([*sure("Answer", "："), place(("好", 0.6), ("差", 0.3)), *sure("评")], "好评", "差评", lead="Answer：")
    ) == pytest.approx({"好评": 2 / 3, "差评": 1 / 3})
    assert shares(read([*sure("Answer", ":", " "), place(("👍", 0.9), ("👎", 0.1))], "👍", "👎")) == pytest.approx({"👍": 0.9, "👎": 0.1})
    # A rating of 1 to 10, written as two digits or one.
    tokens = [place((" ", 1.0)), place(("1", 0.5), ("7", 0.5)), place(("0", 0.4), ("\n", 0.6))]
    assert shares(read(tokens, *map(str, range(1, 11)))) == pytest.approx(
        {str(n): {1: 0.3, 7: 0.5, 10: 0.2}.get(n, 0.0) for n in range(1, 11)}
    )


def test_likely_tokens_that_leave_open_which_label_is_meant_are_no_belief() -> None:
    tokens = [place((" fair", 0.5), (" very", 0.45))]
    found = read(tokens, "very good", "very bad", "fair")
    assert isinstance(found, Failed)
    assert "leave open which" in found.reason
    little = UNRESOLVED / 2
    assert shares(read([place((" fair", 0.6), (" very", little))], "very good", "very bad", "fair"))["fair"] == 1.0


@pytest.mark.parametrize(
    ("tokens", "reason"),
    [
        ([place((" Nothing", 0.9), (" Something", 0.1))], "none of the labels"),
        ([place((" positive", 0.0), (" maybe", 0.5))], "none of the labels"),
        (sure("Answer", ":"), "no answer"),
        (sure(" ", "\n"), "no answer"),
        (sure("Answer", ":", " **", "\n"), "no answer"),
    ],
)
def test_what_holds_no_label_fails(tokens: list[TokenLogprob], reason: str) -> None:
    found = read(tokens)
    assert isinstance(found, Failed)
    assert found.stage == "predict"
    assert reason in found.reason


THE = place((" The", 0.9), (" positive", 0.05), (" negative", 0.002))
"""Where the model begins a sentence, what it might have written instead says nothing of its answer."""


@pytest.mark.parametrize(
    "tokens",
    [
        [*sure("Answer", ":"), THE, *sure(" review", " is"), place((" negative", 0.99), (" positive", 0.01))],
        [*sure("**", "Answer", "**", ":"), THE, *sure(" review", " is", " negative")],
        [*sure("Answer", ":"), place((" not", 0.4), (" positive", 0.35), (" negative", 0.25)), *sure(" positive")],
        # No lead: what the first word might have been is not the answer.
        [place(("Sure", 0.4), ("Positive", 0.35), ("Negative", 0.25)), *sure(",", " negative")],
        [*sure("Answer", ":"), place((" positive", 0.9), (" negative", 0.1)), *sure("ly", " surprising")],
        # A lead that cannot be found: the reply is not read from its first token.
        [place(("Final", 0.4), ("positive", 0.5), ("negative", 0.1)), *sure(" result", ":", " negative")],
    ],
)
def test_an_answer_that_is_no_label_is_no_belief(tokens: list[TokenLogprob]) -> None:
    found = read(tokens)
    assert isinstance(found, Failed)
    assert found.stage == "predict"
    assert "none of the labels" in found.reason


@pytest.mark.parametrize("tokens", [[], sure("Answer", ":")])
def test_labels_that_are_unlikely_together_are_no_belief(tokens: list[TokenLogprob]) -> None:
    """.001 of one label and nothing of another is no certainty."""
    for mass in (0.001, FLOOR - 0.01):
        found = read([*tokens, place((" negative", 0.99 * mass), (" positive", 0.01 * mass))])
        assert isinstance(found, Failed)
        assert found.stage == "predict"
        assert f"under {FLOOR}" in found.reason
    likely = FLOOR + 0.01
    assert shares(read([*tokens, place((" negative", 0.99 * likely), (" positive", 0.01 * likely))]))["negative"] == pytest.approx(0.99)
    # Where answers are free, one answer may be as unlikely as it is.
    assert shares(read([*tokens, place((" Queen", 0.9), (" Abba", 0.001))], "Abba")) == pytest.approx({"Abba": 0.001, OTHER: 0.999})


def test_missing_logprobs_and_failures_stay_failures() -> None:
    question = Question((Message(role="user", content="Which?"),), LABELS, "Answer:")
    missing = reader().read(question, [ChatReply(text="Answer: positive")])
    assert isinstance(missing, Failed)
    assert "no log-probabilities" in missing.reason
    gone = Failed("ask", "no")
    assert reader().read(question, [gone]) == gone


def test_a_free_answer_is_followed_to_its_end() -> None:
    """The Beatles are not The Rolling Stones because both begin with The."""
    first = place((" The", 0.9), (" Queen", 0.1))
    beatles = [first, place((" Beatles", 0.3), (" Rolling", 0.7))]
    found = read(beatles, "The Beatles")
    assert shares(found) == pytest.approx({"The Beatles": 0.27, OTHER: 0.73})
    stones = [first, place((" Rolling", 0.7), (" Beat", 0.3)), *sure(" Stones")]
    assert shares(read(stones, "The Beatles")) == pytest.approx({"The Beatles": 0.27, OTHER: 0.73})
    assert shares(read(stones, "the rolling stones"))["the rolling stones"] == pytest.approx(0.63)
    assert shares(read([first, *sure(" Beatles")], "Queen")) == pytest.approx({"Queen": 0.1, OTHER: 0.9})
    cut = read([first], "The Beatles")
    assert isinstance(cut, Failed)
    assert "broke off" in cut.reason


# ---- against a tree of tokens with all its probabilities


def tree(paths: Mapping[str, tuple[str, ...]]) -> dict[tuple[str, ...], set[str]]:
    """[tokens so far] the tokens that some label goes on with; "." where one ends and a longer one does not."""
    following: dict[tuple[str, ...], set[str]] = {}
    for path in paths.values():
        for at in range(len(path)):
            following.setdefault(path[:at], set()).add(path[at])
    return following


def naive(paths: Mapping[str, tuple[str, ...]], chances: Mapping[tuple[str, ...], Mapping[str, float]]) -> dict[str, float]:
    """[label] product of its tokens' probabilities up to where no other label begins so, less what longer labels have of it."""
    found = {}
    for label, path in paths.items():
        chance = 1.0
        for at, token in enumerate(path):
            chance *= chances[path[:at]][token]
            if sum(other[: at + 1] == path[: at + 1] for other in paths.values()) == 1:
                break
        else:
            chance *= 1 - sum(chances[path][token] for token in chances[path] if token != ".")
        found[label] = chance
    return found


TOKEN = st.sampled_from(["a", "b", "c", "d"])


@given(st.lists(st.lists(TOKEN, min_size=1, max_size=4).map(tuple), min_size=2, max_size=6, unique=True), st.data())
def test_equal_to_a_walk_over_the_tree(labels: list[tuple[str, ...]], data: Any) -> None:
    """Any labels over any token tree with all alternatives listed, along any text that the model may have written."""
    paths = {"".join(path): path for path in labels}
    following = tree(paths)
    chances: dict[tuple[str, ...], dict[str, float]] = {}
    for path, tokens in sorted(following.items()):
        weights = {token: data.draw(st.floats(0.05, 1), label=f"{path} {token}") for token in [*sorted(tokens), "."]}
        chances[path] = {token: weight / sum(weights.values()) for token, weight in weights.items()}
    written: list[TokenLogprob] = []
    node: tuple[str, ...] = ()
    while node in chances:
        token = data.draw(st.sampled_from(sorted(chances[node])), label="written")
        top = tuple((each, math.log(chance)) for each, chance in chances[node].items())
        written.append(TokenLogprob(token=token, logprob=math.log(chances[node][token]), top=top))
        node = (*node, token)
    found = label_mass(written, list(paths))
    whole = naive(paths, chances)
    # A label can be read where no token on the way to it was left that begins another one, too.
    on_the_way = {label for label, path in paths.items() if _parts(path, node, paths)}
    missed = sum(chance for label, chance in whole.items() if label not in on_the_way)
    known = {label: chance if label in on_the_way else 0.0 for label, chance in whole.items()}
    if isinstance(found, Failed):
        hidden = "leave open" in found.reason
        assert hidden or not any(known.values()) or "broke off" in found.reason
        assert not hidden or missed > 0
        assert "broke off" not in found.reason or node in paths.values()
    else:
        assert found == pytest.approx(known)
        assert missed or found == pytest.approx(whole)


def _parts(path: tuple[str, ...], written: tuple[str, ...], paths: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether the written tokens lead to where only this label is left, or where it has ended."""
    common = next((at for at, (a, b) in enumerate(zip(path, written, strict=False)) if a != b), min(len(path), len(written)))
    beyond = path[: common + 1]
    return sum(other[: len(beyond)] == beyond for other in paths.values()) == 1 or common == len(path) < len(written)
