import json
import math
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agents.self_explanations.written import confidence, field, free_answer, label, listed, pairs, without
from analyzers.errors import Failed

LABELS = ("positive", "negative", "very positive", "中性", "好评", "3", "-1", "not_spam")
DECORATED = [
    "Answer: {}",
    "answer : {}.",
    "**Answer:** {}",
    "**Answer**: **{}**",
    "- Answer: {}",
    "* **Answer:** `{}`",
    "1. Answer: {}",
    "> Answer: {}!",
    "### Answer: {}",
    "### Answer\n{}",
    "**Answer**\n\n{}",
    "Answer:\n{}\nConfidence: 80%",
    'Answer: "{}"',
    "Answer: ‘{}’",
    "Answer：{}。",
    "Answer = {}",
    "Answer: [{}]",
    "Answer: ({})",
    "Answer: {} (because nothing in it is negative or positive)",
    "Answer: {}. A negative review would be longer.",
    "Answer: _{}_ - what else",
    "Answer (one of the labels): {}",
    '{{"answer": "{}", "confidence": 0.9}}',
    '```json\n{{\n  "Answer": "{}",\n  "Words": ["negative"]\n}}\n```',
    "{{'answer': '{}'}}",
    "Confidence: 80%, Answer: {}",
    "Some words are negative.\nAnswer: {}\nWords: negative, positive",
    "{}",
    "I would say: {}.",
    "**{}**",
]


@given(name=st.sampled_from(LABELS), form=st.sampled_from(DECORATED), case=st.sampled_from([str, str.upper, str.title]))
def test_a_label_is_found_in_every_decoration(name: str, form: str, case: type[str]) -> None:
    assert label(form.format(case(name)), LABELS) == name


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Answer: very positive", "very positive"),
        ("It is very positive indeed", "very positive"),
        ("这是好评。", "好评"),
        ("我认为是positive的", "positive"),
        ("Answer: positive\nThe text\nAnswer: Positive", "positive"),
        ("Answer: -1", "-1"),
        # What denies something else does not deny the label.
        ("Answer: I never liked it, positive", "positive"),
        ("Answer: a knot positive", "positive"),
        ("Don't ask. Positive", "positive"),
    ],
)
def test_labels_inside_others_and_scripts_without_spaces(text: str, found: str) -> None:
    assert label(text, LABELS) == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Answer:",
        "Answer: positive or negative",
        "Answer: positive/negative",
        "Answer: not positive",
        "Answer: isn't positive",
        "Answer: isn’t positive",
        "Answer: The review isn't positive",
        "Answer: The review isn't a very positive one",
        "Answer: never positive",
        "Answer: never really positive",
        "Answer: hardly positive",
        "Answer: hardly ever positive",
        "Answer: no longer positive",
        "Answer: it can't be positive",
        "Answer: cannot be called so, not a positive",
        "Answer: neither positive",
        "Answer: neither positive nor negative",
        "Answer: not particularly positive",
        "Answer: It wasn't at all positive",
        "It wasn't quite positive",
        "It is not positive.",
        "Answer: neither\nThe text is positive",
        "Answer: positive\nAnswer: negative",
        "positive, not negative",
        "positively",
        "non-positive",
        "impositive",
        "Answer: 3.5",
        "Answer: 13",
        "positive_review",
        "I cannot help with that.",
    ],
)
def test_no_label_or_several_is_failed_with_the_reply(text: str) -> None:
    failed = label(text, [name for name in LABELS if name != "-1"])
    assert isinstance(failed, Failed)
    assert failed.stage == "predict"
    assert re.search("(['\"]).{0,80}\\1$", failed.reason)


def test_labels_that_deny_something_are_labels() -> None:
    for name in ("not positive", "isn't positive", "never", "hardly ever", "neither"):
        assert label(f"Answer: {name}", ["positive", "ever", "not positive", "isn't positive", "never", "hardly ever", "neither"]) == name


def test_a_sign_before_a_digit_is_part_of_a_number() -> None:
    assert isinstance(label("Answer: -1", ["0", "1"]), Failed)
    assert label("Answer: 1", ["-1", "1"]) == "1"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Answer: Paris", "Paris"),
        ("**Answer:** Paris", "Paris"),
        ("**Answer: Paris**", "Paris"),
        ("Answer: **Paris**\nConfidence: 1", "Paris"),
        ('Answer: "the 7 o\'clock train"', "the 7 o'clock train"),
        ('{"answer": "Paris, \\"the city\\"", "confidence": 1}', 'Paris, "the city"'),
        ("Answer:\nParis\n", "Paris"),
        ("Answer: 巴黎", "巴黎"),
    ],
)
def test_a_free_answer(text: str, found: str) -> None:
    assert free_answer(text) == found


@pytest.mark.parametrize("text", ["", "Paris", "Answer:", "Answer: ** **", "Answer:\nConfidence: 80%", 'Answer: ""'])
def test_an_empty_free_answer_is_failed(text: str) -> None:
    assert isinstance(free_answer(text), Failed)


@pytest.mark.parametrize(
    ("value", "share"),
    [
        ("85%", 0.85),
        ("85 %", 0.85),
        ("0.85", 0.85),
        ("85", 0.85),
        ("85/100", 0.85),
        ("85 out of 100", 0.85),
        ("8.5/10", 0.85),
        ("0.85/1", 0.85),
        ("about 85% (my 2nd guess)", 0.85),
        ("High (85%)", 0.85),
        ("~85 percent.", 0.85),
        ("**85%**", 0.85),
        ("８５％", 0.85),
        ("0,85", 0.85),
        (".85", 0.85),
        ("1", 1.0),
        ("1%", 0.01),
        ("0", 0.0),
        ("100", 1.0),
        ("1.5", 0.015),
        ("0.5%", 0.005),
    ],
)
def test_confidence_however_it_is_written(value: str, share: float) -> None:
    for text in (f"Answer: 3\nConfidence: {value}\nWords: 7", f"**Confidence:** {value}", f"Confidence level (0-100%): {value}"):
        assert confidence(text) == pytest.approx(share, abs=1e-12)


@given(st.integers(0, 1000))
def test_confidence_in_json_inline_and_bare(mille: int) -> None:
    for text in (
        f'{{"answer": "3", "confidence": {mille / 1000}, "words": [["a", 0.1]], "k": 3}}',
        f"Answer: 3, Confidence: {mille / 10}%",
        f"{mille / 10}%",
    ):
        assert confidence(text) == pytest.approx(mille / 1000, abs=1e-12)


@pytest.mark.parametrize(
    "value", ["85-90%", "0.8 to 0.9", "high", "ninety", "101", "-5%", "120%", "110/100", "1/0", ">90%", "", "1,000", "1 2"]
)
def test_what_is_no_share_is_failed(value: str) -> None:
    failed = confidence(f"Confidence: {value}")
    assert isinstance(failed, Failed)
    assert failed.stage == "confidence"


def test_a_number_in_a_text_without_the_field_is_no_confidence() -> None:
    assert isinstance(confidence("There are 3 words."), Failed)
    assert isinstance(confidence("The discount is 85%"), Failed)


ROWS = [("The", 0.0), ("movie", 0.25), ("is", -0.1), ("n't", -0.5), (",", 0.0), ("good", 0.8), ("The", 0.1), ("very good", 1.0)]
PLAIN = [row for row in ROWS if row[0] not in (",",)]
OBJECT = dict([*ROWS[1:]])
FORMS = {
    "JSON": json.dumps(ROWS),
    "pretty, fenced, with prose": f"(0, 0.8)\n\nHere it is [sic]:\n```json\n{json.dumps(ROWS, indent=2)}\n```\nIt's :( 1 list.",
    "objects": json.dumps([{"word": word, "importance": value} for word, value in ROWS]),
    "objects in another order": json.dumps([{"importance": value, "word": word} for word, value in ROWS]),
    "objects in another language": json.dumps([{"wort": word, "wichtigkeit": value} for word, value in ROWS]),
    "objects with an index and a reason": json.dumps(
        [{"index": i, "word": word, "value": value, "why": "so"} for i, (word, value) in enumerate(ROWS)]
    ),
    "objects one a line": "\n".join(json.dumps({"word": word, "score": value}) for word, value in ROWS),
    "a whole reply": json.dumps({"answer": "good", "confidence": 0.9, "words": ROWS}),
    "Python tuples": repr(ROWS),
    "a quote inside single quotes": repr(ROWS).replace('"n\'t"', "'n't'"),
    "a doubled quote": repr(ROWS).replace('"n\'t"', "'n''t'"),
    "trailing commas": json.dumps(ROWS).replace("]", ",]"),
    "unicode quotes": "[" + ", ".join(f"[“{word}”, {value}]" for word, value in ROWS) + "]",
    "strings": json.dumps([[word, f"{value:+}"] for word, value in ROWS]),
    "percent": json.dumps([[word, f"{100 * value:.0f}%"] for word, value in ROWS]),
    "a real minus": json.dumps(ROWS).replace("-", "−"),
    "one flat list": json.dumps([part for row in ROWS for part in row]),
    "numbered rows": json.dumps([[i, *row] for i, row in enumerate(ROWS)]),
    "a forgotten comma": json.dumps(ROWS).replace('e", ', 'e" '),
    "a wrong bracket": repr(ROWS).replace("1.0)", "1.0"),
    "comments": "[\n" + "".join(f"  ({word!r}, {value}),  # it's said, 3\n" for word, value in ROWS) + "]",
    "not finite": json.dumps([*ROWS, ["x", math.nan], ["y", math.inf], ["z", None], ["u", "high"], ["v", True], ["w", 1e400]]),
    "cut off": json.dumps([*ROWS, ["more", 0.123]])[:-6],
}
LINES = {
    "bare tuples": "[" + ", ".join(f"({word}, {value})" for word, value in PLAIN) + "]",
    "colons": "\n".join(f"{word}: {value}" for word, value in PLAIN),
    "brackets in bullets": "Sure! 2 things:\n" + "\n".join(f"- {word} ({value:+})" for word, value in PLAIN),
    "numbered with dashes": "\n".join(f"{i}. {word} - {value}" for i, (word, value) in enumerate(PLAIN)),
    "bold with reasons": "\n".join(f"* **{word}:** {value} (it's clear)" for word, value in PLAIN),
    "quoted": "\n".join(f'"{word}": {value},' for word, value in PLAIN),
    "arrows": "\n".join(f"`{word}` -> {value}" for word, value in PLAIN),
    "tabs": "\n".join(f"{word}\t{value}" for word, value in PLAIN),
    "table": "| Word | Score |\n|---|---:|\n" + "\n".join(f"| {word} | {value} |" for word, value in PLAIN),
    "table with numbers and reasons": "\n".join(f"| {i} | {word} | {value} | so |" for i, (word, value) in enumerate(PLAIN)),
    "one line": ", ".join(f"{word}: {value}" for word, value in PLAIN),
}


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS.keys())
def test_pairs_with_quoted_words(text: str) -> None:
    assert pairs(text) == ROWS
    assert pairs(text.replace("\n", "\r\n")) == ROWS


@pytest.mark.parametrize("text", LINES.values(), ids=LINES.keys())
def test_pairs_on_lines_and_without_quotes(text: str) -> None:
    assert pairs(text) == PLAIN


@pytest.mark.parametrize(
    "text", [json.dumps(OBJECT), json.dumps({"words": OBJECT}, indent=1), repr(OBJECT), json.dumps(OBJECT)[:-1] + ', "cut": 0.1']
)
def test_pairs_in_one_object(text: str) -> None:
    assert pairs(text) == list(OBJECT.items())


WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@given(rows=st.lists(st.tuples(WORDS, NUMBERS), min_size=1, max_size=8), indent=st.sampled_from([None, 1, 4]))
@example(rows=[("'", 0.1), ('"', 0.2), ("\\", 0.3), (",", 0.4), ("[", 0.5), ("])}", 0.6), ("2", 0.7), ("", 0.8), ('",', 0.9)], indent=None)
def test_what_json_and_python_write_is_read_as_it_was(rows: list[tuple[str, float]], indent: int | None) -> None:
    assert pairs(json.dumps(rows, indent=indent)) == rows
    assert pairs(json.dumps(rows, indent=indent, ensure_ascii=False)) == rows
    assert pairs(repr(rows)) == rows


@given(st.lists(st.tuples(WORDS, st.floats(-1, 1)), min_size=1, max_size=6), st.data())
def test_a_cut_off_list_gives_only_what_is_whole(rows: list[tuple[str, float]], data: st.DataObject) -> None:
    text = json.dumps(rows)
    end = data.draw(st.integers(0, len(text)))
    ends = [len(json.dumps(rows[: n + 1])) - 1 for n in range(len(rows))]
    whole = rows[: sum(at <= end for at in ends)]
    found = pairs(text[:end])
    if whole:
        assert found == whole
    else:
        assert isinstance(found, Failed)


@pytest.mark.parametrize(
    "text", ["", "I cannot do that.", "[]", "{}", "[[1, 2]]", '["good", "bad"]', "(0, 0.8)", "In 2010 it was good.", "| a | b |"]
)
def test_no_pairs_is_failed(text: str) -> None:
    failed = pairs(text)
    assert isinstance(failed, Failed)
    assert failed.stage == "explain"


PHRASES = ["good", "very good", "don't", "staff"]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(PHRASES),
        repr(PHRASES),
        f"```python\n{PHRASES!r}\n```",
        json.dumps({"words": PHRASES}),
        json.dumps({"1": "good", "2": "very good", "3": "don't", "4": "staff"}),
        json.dumps([{"word": word, "reason": "so, or so"} for word in PHRASES]),
        json.dumps([[word, 0.5] for word in PHRASES]),
        json.dumps(PHRASES)[:-1],
        json.dumps([*PHRASES, "cut"])[:-4],
        "good, very good, don't, staff",
        "good, very good, don't, and staff.",
        "good; very good; don't; staff",
        "good、very good、don't、staff",
        '"good", "very good", "don\'t", "staff"',
        "**good**, **very good**, `don't`, *staff*",
        "The words are: good, very good, don't, staff\n\nThey decided.",
        "[good, very good, don't, staff]",
        'Words: "good", "very good", "don\'t" and "staff"',
        "Here they are:\n- good\n- very good\n- don't\n- staff",
        "1. good\n2. very good\n3. don't\n4. staff\n\nThese words decided it, all of them.",
        '1) "good" (0.9)\n2) **very good** - strong\n3) don\'t: it negates\n4) staff',
        "1) good, 2) very good, 3) don't, 4) staff",
        "- good, very good, don't, staff",
        "good\nvery good\ndon't\nstaff",
    ],
)
def test_a_list_however_it_is_written(text: str) -> None:
    assert listed(text) == PHRASES


@given(st.lists(WORDS.filter(str.strip), min_size=1, max_size=6), st.data())
def test_a_cut_off_list_gives_the_items_that_are_whole(phrases: list[str], data: st.DataObject) -> None:
    text = json.dumps(phrases)
    end = data.draw(st.integers(0, len(text)))
    whole = [phrase.strip() for n, phrase in enumerate(phrases) if len(json.dumps(phrases[: n + 1])) - 1 <= end]
    found = listed(text[:end])
    assert isinstance(found, Failed) if not whole else found == whole


@given(st.lists(WORDS.filter(str.strip), min_size=1, max_size=6))
def test_listed_strings_are_read_as_they_were(phrases: list[str]) -> None:
    assert listed(json.dumps(phrases)) == listed(repr(phrases)) == [phrase.strip() for phrase in phrases]


@pytest.mark.parametrize("text", ["", " \n", "[]", "```\n```"])
def test_no_list_is_failed(text: str) -> None:
    assert isinstance(listed(text), Failed)


def test_a_field_ends_where_another_begins() -> None:
    text = "**Answer:** 3\n\nExplanation: two\nlines: here\n\n- **Confidence**: 80%\nWords: a, b"
    assert field(text, "Explanation", ["Answer", "Confidence", "Words"]) == "two\nlines: here"
    assert field(text, "Answer", ["Explanation"]) == "3"
    assert field(text, "Words", ["Answer"]) == "a, b"
    assert field(text, "Explanation") == "two\nlines: here\n\n- **Confidence**: 80%\nWords: a, b"


@pytest.mark.parametrize(
    "text",
    [
        "Text: it is good",
        'Text: "it is good"',
        "text:\n```\nit is good\n```\nAnswer: 3",
        "```\nText: it is good\n```",
        "## Text\n\nit is good\n\n## Answer\n3",
        '{"text": "it is good", "answer": "3"}',
        '{\n  "Answer": "3",\n  "Text": "it is good"\n}',
        "Text: ```it is good```",
    ],
)
def test_a_field_without_what_is_around_it(text: str) -> None:
    assert field(text, "Text", ["Answer"]) == "it is good"


def test_a_field_may_hold_a_list() -> None:
    body = field(json.dumps({"Answer": "3", "Importance": ROWS}), "Importance", ["Answer"])
    assert not isinstance(body, Failed)
    assert pairs(body) == ROWS
    assert json.loads(body) == [[word, value] for word, value in ROWS]


@pytest.mark.parametrize("text", ["", "Texts: a", "Text:", "Text:\nAnswer: 3", "Text: ```\n```"])
def test_a_field_that_is_missing_or_empty_is_failed(text: str) -> None:
    failed = field(text, "Text", ["Answer"])
    assert isinstance(failed, Failed)
    assert failed.stage == "explain"


@pytest.mark.parametrize(
    "piece",
    [
        "[",
        "{",
        "(",
        "[{(",
        '"',
        "'",
        '" ',
        '["',
        '[["a",',
        "{'a':",
        '[\\"',
        "\\",
        "*",
        "* ",
        "**a ",
        "`",
        "```\n",
        "Answer:",
        "Answer (",
        "\n",
        " ",
        "|",
        ":( ",
        "，",
    ],
)
def test_hostile_replies_are_read_to_their_end(piece: str) -> None:
    text = piece * (100_000 // len(piece))
    found = pairs(text + '\n])}]})]\n\n[["good", 0.5]]')
    assert isinstance(found, Failed) or found[-1] == ("good", 0.5)
    assert isinstance(confidence(text), Failed)
    assert isinstance(label(text, LABELS), Failed)
    for said in (listed(text), free_answer(text), field(text, "Answer", ["Confidence"])):
        assert said


@given(st.text(max_size=200), st.text("[](){}\"'`,:;.|*_-#>0123aA% \n\\", max_size=200))
def test_any_reply_is_read_or_failed(text: str, signs: str) -> None:
    for reply in (text, signs):
        found = pairs(reply)
        assert isinstance(found, Failed) or all(math.isfinite(value) for _, value in found)
        stated = confidence(f"Confidence: {reply}")
        assert isinstance(stated, Failed) or 0 <= stated <= 1
        items = listed(reply)
        assert isinstance(items, Failed) or all(items)
        for said in (label(reply, LABELS), free_answer(reply), field(reply, "a")):
            assert said


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Answer: a\nConfidence: 9%\nfine: 1", "\n\nfine: 1"),
        ("fine: 1\r\n**Confidence:** 9%", "fine: 1\n"),
        ("Answer: a, Confidence: 9%\nfine: 1", "\nfine: 1"),
        ('{"Answer": "a, b", "Confidence": 0.9, "fine": 1}', '{  "fine": 1}'),
        ('{"fine": 1, "confidence": "9%"}', '{"fine": 1, }'),
        ("fine: 1\nfilm: 2", "fine: 1\nfilm: 2"),
        ("", ""),
    ],
)
def test_fields_are_taken_out(text: str, left: str) -> None:
    assert without(text, ["Answer", "Confidence"]) == left
