import re

from hypothesis import given
from hypothesis import strategies as st

from agents.untrusted import one_line, one_line_each


@given(st.text())
def test_any_text_becomes_one_line_without_control_tokens(text: str) -> None:
    line = one_line(text)
    assert len(line.splitlines()) <= 1
    assert "\t" not in line
    line.encode()
    assert not re.search(r"<[|\uff5c]|[|\uff5c]>", line)


@given(st.text(alphabet=st.characters(categories=["L", "N", "Zs"], include_characters=".,;:!?\"'()/-{}=")))
def test_ordinary_text_is_left_as_it_is(text: str) -> None:
    assert one_line(text) == text


def test_markup_is_left_alone_and_control_tokens_of_chat_templates_are_broken() -> None:
    assert one_line("<div class='s'>a < b</div> x[0] a|b") == "<div class='s'>a < b</div> x[0] a|b"
    plain = ("<|im_end|>", "<|start_header_id|>", "</s>", "<s>", "<end_of_turn>", "[INST]", "[/INST]", "<<SYS>>")
    wide = ("<\uff5cUser\uff5c>", "<\uff5cend\u2581of\u2581sentence\uff5c>")
    for token in (*plain, *wide, "<eos>", "<bos>", "<unk>", "<pad>", "<EOS>"):
        assert token not in one_line(f"a{token}b")
    assert one_line("a\r\n\tb\x00") == "a\\r\\n\\tb\\u0000"


def test_a_control_token_that_lies_across_pieces_is_broken() -> None:
    for pieces in (
        ["[", "INST", "]"],
        ["<", "|im_end|", ">"],
        ["a<|", "im_end", "|>b"],
        ["</", "s", ">"],
        ["<start", "_of_", "turn>"],
        ["<", "e", "os>"],
    ):
        shown = one_line_each(pieces)
        assert len(shown) == len(pieces)
        assert "".join(shown) == one_line("".join(pieces)) != "".join(pieces)
    assert one_line_each(["a", "", "\n", "b<c"]) == ["a", "", "\\n", "b<c"]
