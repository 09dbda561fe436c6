"""The subject: tokens exact to the character, activations against a hook by hand, hooks off again, errors in one line."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from analyzers.errors import ExplicateError, SubjectError
from analyzers.loading import choose_device, choose_dtype, has_fast_bfloat16
from analyzers.sites import Site
from analyzers.subject import Subject

Checkpoint = Callable[[str], Path]

SENTENCES = ["", "a", " a", "  two  spaces ", '\tThe river,\n\n1927: it\'s  "37" ...', "\n", "x" * 40, "\n\nfirst\tsecond\n"]


@pytest.fixture(scope="module")
def llama(tiny_checkpoint: Checkpoint) -> Subject:
    return Subject.load(str(tiny_checkpoint("llama")), device="cpu", dtype="float32")


@cache
def reading_subjects() -> tuple[Subject, Subject]:
    """With tokenizers that put a space before a text: a byte-level one, and a SentencePiece-like one with byte fall-back."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    text = ["The river rises in the hills north of the town and runs slowly through meadows before it reaches the harbour."]
    model = LlamaForCausalLM(LlamaConfig(vocab_size=700, hidden_size=8, intermediate_size=12, num_hidden_layers=1, num_attention_heads=2))

    byte_level = Tokenizer(models.BPE())
    byte_level.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    byte_level.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    byte_level.train_from_iterator(text, trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False))

    trained = Tokenizer(models.BPE())
    trained.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    trained.train_from_iterator(text, trainers.BpeTrainer(vocab_size=150, show_progress=False))
    saved = json.loads(trained.to_str())["model"]
    vocabulary = {"<unk>": 0, "<s>": 1, "</s>": 2, **{f"<0x{byte:02X}>": byte + 3 for byte in range(256)}}
    for piece in saved["vocab"]:
        vocabulary.setdefault(piece, len(vocabulary))
    merges = [tuple(merge) for merge in saved["merges"]]
    sentencepiece = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    sentencepiece.normalizer = trained.normalizer
    sentencepiece.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(content=" ", left=1, right=0)]
    )
    wrap: Any = PreTrainedTokenizerFast
    first, second = (
        Subject(model, wrap(tokenizer_object=tokenizer, **special), name="reader", identity={})
        for tokenizer, special in ((byte_level, {}), (sentencepiece, {"bos_token": "<s>", "eos_token": "</s>"}))
    )
    return first, second


def hooks_on(subject: Subject) -> int:
    return sum(len(module._forward_pre_hooks) + len(module._forward_hooks) for module in subject.model.modules())


def test_a_loaded_subject_says_what_it_is(llama: Subject, tiny_checkpoint: Checkpoint) -> None:
    assert (llama.layers, llama.neurons, llama.hidden) == (3, (48, 48, 48), 32)
    assert llama.prefix == (llama.tokenizer.bos_token_id,)
    assert llama.identity["dtype"] == "float32"
    assert llama.identity["source"] == "path"
    assert llama.identity["revision"]
    assert not llama.model.training
    assert not any(parameter.requires_grad for parameter in llama.model.parameters())


def test_the_prefix_is_eos_without_bos_and_nothing_without_either(tiny_model: Callable[..., Any]) -> None:
    model, tokenizer = tiny_model("llama")
    tokenizer.bos_token = None
    assert Subject(model, tokenizer, name="x", identity={}).prefix == (tokenizer.eos_token_id,)
    tokenizer.eos_token = None
    assert Subject(model, tokenizer, name="x", identity={}).prefix == ()


def test_activations_equal_a_hook_by_hand(llama: Subject) -> None:
    ids = torch.tensor([[5, 90, 17, 300], [8, 8, 41, 77]])
    naive = {}
    layers = llama.model.model.layers
    handles = [
        layer.mlp.down_proj.register_forward_hook(lambda _module, args, _out, key=number: naive.update({key: args[0]}))
        for number, layer in enumerate(layers)
    ]
    with torch.no_grad():
        llama.model(ids)
    for handle in handles:
        handle.remove()
    sites = [Site(2, 47), Site(0, 3), Site(2, 0, "-"), Site(1, 13)]
    expected = torch.stack([naive[site.layer][..., site.index] for site in sites], dim=-1)
    torch.testing.assert_close(llama.activations(ids, sites), expected)
    assert llama.activations(ids, []).shape == (2, 4, 0)


def test_padding_on_the_right_changes_nothing_before_it(llama: Subject) -> None:
    ids = torch.tensor([[5, 90, 17, 300]])
    padded = torch.tensor([[5, 90, 17, 300, 0, 0], [9, 9, 9, 9, 9, 9]])
    mask = torch.tensor([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]])
    seen: list[torch.Tensor] = []
    with llama.capture(lambda _layer, activations: seen.append(activations.clone())):
        llama.forward(ids)
        llama.forward(padded, mask)
    for alone, among in zip(seen[:3], seen[3:], strict=True):
        torch.testing.assert_close(among[:1, :4], alone)


@pytest.mark.parametrize("family", ["llama", "opt", "gpt2"])
def test_hooks_come_off_also_when_the_body_raises(family: str, tiny_checkpoint: Checkpoint) -> None:
    subject = Subject.load(str(tiny_checkpoint(family)), device="cpu")
    before = hooks_on(subject)
    during = []

    def body(fn: Callable[[int, torch.Tensor], None]) -> None:
        with subject.capture(fn):
            during.append(hooks_on(subject))
            subject.forward(torch.tensor([[1, 2]]))
            raise KeyError

    def broken(layer: int, activations: torch.Tensor) -> None:
        raise ZeroDivisionError

    with pytest.raises(KeyError):
        body(lambda layer, activations: None)
    with pytest.raises(ZeroDivisionError):
        body(broken)
    assert during == [before + 4] * 2
    assert hooks_on(subject) == before


@pytest.mark.parametrize("text", SENTENCES)
def test_token_texts_joined_are_the_text(text: str, llama: Subject) -> None:
    assert "".join(llama.token_text(token) for token in llama.encode(text)) == text


@given(st.text(st.characters(codec="ascii"), max_size=60))
def test_token_texts_joined_are_any_ascii_text(text: str) -> None:
    byte_level, sentencepiece = reading_subjects()
    for subject in (byte_level, sentencepiece):
        # A special token's own name in a text is read as that token, which is exact all the same.
        assert "".join(subject.token_text(token) for token in subject.encode(text)) == text


def test_the_sentencepiece_tokenizer_of_these_tests_does_put_a_space_first() -> None:
    tokenizer = reading_subjects()[1].tokenizer
    assert tokenizer.convert_ids_to_tokens(tokenizer.encode("river", add_special_tokens=False))[0].startswith("▁")


def test_a_character_split_over_tokens_reads_as_replacement_characters(llama: Subject) -> None:
    tokens = [llama.token_text(token) for token in llama.encode("a 漢 b")]
    assert tokens == ["a", " ", "\ufffd", "\ufffd", "\ufffd", " b"]


def test_encode_adds_no_special_token(llama: Subject) -> None:
    assert not {llama.tokenizer.bos_token_id, llama.tokenizer.eos_token_id} & set(llama.encode("The river"))


@pytest.mark.parametrize("site", [Site(3, 0), Site(0, 48), Site(2, 10**9, "-")])
def test_a_site_out_of_range_is_named_with_the_range(site: Site, llama: Subject) -> None:
    with pytest.raises(SubjectError) as raised:
        llama.check(site)
    assert repr(str(site)) in str(raised.value)
    assert "0-2" in str(raised.value) or "0-47" in str(raised.value)


def test_the_last_site_is_there(llama: Subject) -> None:
    llama.check(Site(2, 47, "-"))
    llama.check(Site(0, 0))


def test_an_unknown_dtype_or_device_is_named_with_the_choices(tiny_checkpoint: Checkpoint) -> None:
    folder = str(tiny_checkpoint("llama"))
    with pytest.raises(SubjectError, match=r"'float8'.*float32, bfloat16, float16"):
        Subject.load(folder, dtype="float8")
    with pytest.raises(SubjectError, match=r"'tpu'.*cpu"):
        Subject.load(folder, device="tpu")


def test_a_model_that_is_not_causal_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "t5"}')
    save_file({"weight": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(SubjectError) as raised:
        Subject.load(str(tmp_path))
    assert repr(str(tmp_path)) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_folder_that_is_not_there_is_named() -> None:
    with pytest.raises(ExplicateError, match="no-such-folder"):
        Subject.load("./no-such-folder")


def test_dtype_auto_is_bfloat16_exactly_where_the_cpu_says_so() -> None:
    cpu = torch.device("cpu")
    flags = Path("/proc/cpuinfo")
    if flags.exists():
        listed = flags.read_text()
        assert has_fast_bfloat16(cpu) == ("avx512_bf16" in listed or "amx_bf16" in listed)
    assert choose_dtype("auto", cpu) == (torch.bfloat16 if has_fast_bfloat16(cpu) else torch.float32)
    assert choose_dtype("float16", cpu) == torch.float16
    assert choose_device("cpu") == cpu


def test_bfloat16_is_loaded_as_such(tiny_checkpoint: Checkpoint) -> None:
    subject = Subject.load(str(tiny_checkpoint("gpt2")), dtype="bfloat16", device="cpu")
    assert subject.dtype == torch.bfloat16
    assert subject.identity["dtype"] == "bfloat16"
    assert subject.activations(torch.tensor([[1, 2, 3]]), [Site(0, 1)]).dtype == torch.float32
