"""From a quantised GGUF file to a dense bfloat16 model that `transformers` loads like any other.

docs/decisions/001-direct-gguf-conversion.md says why this is not left to transformers.
"""

import itertools
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize, quantize

from analyzers.errors import AssetError
from analyzers.gguf_header import Header, StoredTensor, Value, read_header
from analyzers.gguf_tokenizer import write_tokenizer
from analyzers.progress import Report, quiet

_CHUNK = 1 << 18
"""Values dequantised at once: small enough to stay in the cache of a core, which makes it three times as fast as a whole tensor."""

_NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
}
_LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_ARCHITECTURES = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM"}


def convert(gguf: Path, folder: Path, *, report: Report = quiet) -> None:
    """Write the model in the file `gguf` into the existing `folder` as config, tokenizer and model.safetensors (bfloat16).

    Tensors are streamed: memory stays at a few MB whatever the size of the model. Raises AssetError for an architecture,
    tensor or tokenizer that is not known here; nothing is guessed.
    """
    header = read_header(gguf)
    architecture = header.metadata.get("general.architecture")
    if architecture not in _ARCHITECTURES:
        raise AssetError(f"cannot convert the GGUF architecture {architecture!r}; known: {', '.join(map(repr, _ARCHITECTURES))}")
    names = {name: _hugging_face_name(name) for name in header.tensors}
    config = _config(header)
    write_tokenizer(header.metadata, folder)
    _write_json(folder / "config.json", config)
    special: dict[str, Any] = {key: config[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id") if key in config}
    _write_json(folder / "generation_config.json", special)
    _write_weights(gguf, header, names, config, folder / "model.safetensors", report)


def _hugging_face_name(name: str) -> str:
    stem, _, kind = name.rpartition(".")
    layer = re.fullmatch(r"blk\.(\d+)\.(\w+)", stem)
    known = _NAMES.get(stem) if layer is None else _LAYER_NAMES.get(layer[2])
    if known is None or kind not in ("weight", "bias"):
        raise AssetError(f"cannot convert the GGUF tensor {name!r}; its place in the model is not known")
    return f"{known}.{kind}" if layer is None else f"model.layers.{layer[1]}.{known}.{kind}"


def _config(header: Header) -> dict[str, Any]:
    architecture = str(header.metadata["general.architecture"])

    def field(key: str) -> Value:
        try:
            return header.metadata[f"{architecture}.{key}"]
        except KeyError:
            raise AssetError(f"the GGUF file does not say its {architecture}.{key!r}") from None

    if any(".rope.scaling." in key for key in header.metadata):
        raise AssetError("cannot convert a GGUF model with scaled rotary embeddings")
    config: dict[str, Any] = {
        "architectures": [_ARCHITECTURES[architecture]],
        "model_type": architecture,
        "dtype": "bfloat16",
        "vocab_size": header.tensors["token_embd.weight"].shape[0],
        "hidden_size": field("embedding_length"),
        "intermediate_size": field("feed_forward_length"),
        "num_hidden_layers": field("block_count"),
        "num_attention_heads": field("attention.head_count"),
        "num_key_value_heads": field("attention.head_count_kv"),
        "max_position_embeddings": field("context_length"),
        "rms_norm_eps": field("attention.layer_norm_rms_epsilon"),
        "rope_parameters": {"rope_type": "default", "rope_theta": field("rope.freq_base")},
        "hidden_act": "silu",
        "tie_word_embeddings": "output.weight" not in header.tensors,
    }
    for role, key in (("bos", "bos"), ("eos", "eos"), ("pad", "padding")):
        token_id = header.metadata.get(f"tokenizer.ggml.{key}_token_id")
        if token_id is not None:
            config[f"{role}_token_id"] = token_id
    return config


def _write_weights(gguf: Path, header: Header, names: dict[str, str], config: dict[str, Any], target: Path, report: Report) -> None:
    """Write the safetensors file by hand, since the library's writer wants every tensor in memory at once.

    Format: u64 length of a JSON header, the header padded with spaces to 8 bytes, then the tensors without gaps.
    """
    table: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, tensor in header.tensors.items():
        start, end = end, end + 2 * int(np.prod(tensor.shape))
        table[names[name]] = {"dtype": "BF16", "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(table, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    done = 0
    with gguf.open("rb") as source, target.open("wb") as out, ThreadPoolExecutor(2) as pool:
        out.write(len(text).to_bytes(8, "little") + text)
        for name, tensor in header.tensors.items():
            # llama.cpp keeps llama's queries and keys with the two halves of each rotary pair side by side; Qwen2's are left alone.
            part = name.split(".")[-2]
            paired = heads[part] if config["model_type"] == "llama" and part in heads else None
            chunks = _permuted(source, tensor, paired) if paired else _chunks(source, tensor)
            kinds = itertools.repeat(tensor.type)
            while batch := list(itertools.islice(chunks, 8)):
                for dense in pool.map(_to_bfloat16, batch, kinds):
                    out.write(dense)
                    done += len(dense)
            report("converting weights", done, end)


def _chunks(source: BinaryIO, tensor: StoredTensor) -> Iterator[bytes]:
    """The tensor's quantised blocks in runs of about _CHUNK values."""
    values, size = GGML_QUANT_SIZES[tensor.type]
    step = max(_CHUNK // values, 1) * size
    for start in range(0, tensor.size, step):
        source.seek(tensor.start + start)
        yield source.read(min(step, tensor.size - start))


def _permuted(source: BinaryIO, tensor: StoredTensor, heads: int) -> Iterator[bytes]:
    """Undo llama.cpp's order of rows, [head, pair, half] -> [head, half, pair]; rows are quantised one by one, so raw rows are moved."""
    source.seek(tensor.start)
    rows = np.frombuffer(source.read(tensor.size), np.uint8).reshape(tensor.shape[0], -1)
    yield rows.reshape(heads, -1, 2, rows.shape[1]).swapaxes(1, 2).tobytes()


def _to_bfloat16(blocks: bytes, kind: GGMLQuantizationType) -> bytes:
    # One row: the library works on groups of 16 rows, and many short rows would make it slow.
    dense: npt.NDArray[np.float32] = dequantize(_typed(blocks, kind), kind).astype(np.float32, copy=False)
    return bytes(quantize(dense, GGMLQuantizationType.BF16).tobytes())


def _typed(blocks: bytes, kind: GGMLQuantizationType) -> npt.NDArray[Any]:
    plain = {GGMLQuantizationType.F32: np.float32, GGMLQuantizationType.F16: np.float16}
    return np.frombuffer(blocks, plain.get(kind, np.uint8)).reshape(1, -1)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
