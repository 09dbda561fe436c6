import pytest

from agents.explainers.reply import LONGEST, read_explanation
from agents.llm import ChatReply
from analyzers.errors import Failed

LEAD = "The marked tokens are:"


def read(text: str, finish: str = "stop") -> str | Failed:
    return read_explanation(ChatReply(text=text, finish=finish), lead=LEAD)


@pytest.mark.parametrize(
    ("text", "explanation"),
    [
        (' the word "such"', 'the word "such"'),
        ('the marked tokens are: the word "such".', 'the word "such"'),
        ('"words about war"', "words about war"),
        ('the word "upon" 9', 'the word "upon"'),
        ('"upon" 9, "on" 5', '"upon", "on"'),
        ('the word "upon" 9 times', 'the word "upon" 9 times'),
        ("**words about war**", "words about war"),
        ('"such" and "so"', '"such" and "so"'),
        ("words about\nwar\n\nLet me know if you need more.", "words about war"),
        ("the word <<such>> before a noun", 'the word "such" before a noun'),
        ('the token "."', 'the token "."'),
        ("Sorrow and grief", "Sorrow and grief"),
        ("Sorry and regret", "Sorry and regret"),
        ("sorry, as an interjection", "sorry, as an interjection"),
        ("{ and }", "{ and }"),
        ("[ and ] brackets", "[ and ] brackets"),
        ("I, as a pronoun", "I, as a pronoun"),
        ("nothing but the rain", "nothing but the rain"),
        ("words\x1b]0;owned\x07 of \x1b[2Jwar", "words\\u001b]0;owned\\u0007 of \\u001b[2Jwar"),
        ("words of \x9b2J\x7fwar", "words of \\u009b2J\\u007fwar"),
    ],
)
def test_the_explanation_is_taken_out_of_its_dress(text: str, explanation: str) -> None:
    assert read(text) == explanation


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        (" \n ", "empty"),
        (LEAD, "empty"),
        ("I'm sorry, but I can't help with that.", "refused"),
        ("Sorry, I have no idea.", "refused"),
        ("Sorry, but this is hard.", "refused"),
        ("Sorry.", "refused"),
        ("I cannot determine this.", "refused"),
        ("As an AI language model, I see tokens", "refused"),
        ("word " * (LONGEST + 1), "longer than"),
        ("of the film of the film of the film", "repeats itself"),
        ("unknown", "not an explanation"),
        ("No clear pattern.", "not an explanation"),
        ("1, 2, 3", "not an explanation"),
        ("\x00\x1b", "not an explanation"),
        ("```python\nprint(1)\n```", "not an explanation"),
        ('{"explanation": "x"}', "not an explanation"),
        ('{"explanation": "words of war, and', "not an explanation"),
        ('["words of war"]', "not an explanation"),
        ("[" * 100_000, "not an explanation"),
    ],
)
def test_what_is_no_explanation_is_a_failure(text: str, why: str) -> None:
    outcome = read(text)
    assert isinstance(outcome, Failed)
    assert outcome.stage == "explain"
    assert why in outcome.reason


def test_a_cut_off_reply_is_read_up_to_its_last_stop() -> None:
    assert read("verbs of motion. They come after a na", "length") == "verbs of motion"
    assert read("political, philosophical, inter", "length") == "political, philosophical"
    assert isinstance(read("verbs of mo", "length"), Failed)
