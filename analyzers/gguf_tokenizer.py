"""A Hugging Face tokenizer from the vocabulary and merges that a GGUF file keeps."""

import json
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE

from analyzers.errors import AssetError
from analyzers.gguf_header import Value

_CONTROL, _USER_DEFINED, _UNUSED = 3, 4, 5

# How text is cut before merging is not in the file, only its name (`tokenizer.ggml.pre`); llama.cpp, src/llama-vocab.cpp.
_QWEN2_SPLIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def write_tokenizer(metadata: dict[str, Value], folder: Path) -> None:
    """Write tokenizer.json and tokenizer_config.json for the byte-level BPE described by GGUF `metadata`.

    Raises AssetError for any other kind of tokenizer, and for a pre-tokenizer that is not known here: a wrong one still
    encodes every text, only differently from what the model learned.
    """
    kind, pre = metadata.get("tokenizer.ggml.model"), metadata.get("tokenizer.ggml.pre")
    if kind != "gpt2" or pre not in ("smollm", "qwen2"):
        raise AssetError(f"cannot convert the tokenizer {kind!r} with pre-tokenizer {pre!r}; known: 'gpt2' with 'smollm' or 'qwen2'")
    tokens, types, merges = (_list(metadata, f"tokenizer.ggml.{key}") for key in ("tokens", "token_type", "merges"))
    if len(tokens) != len(types):
        raise AssetError(f"the GGUF file names {len(tokens)} tokens but types for {len(types)}")

    # Unused tokens only fill the embedding up to a round number.
    vocabulary = {str(token): i for i, (token, type_) in enumerate(zip(tokens, types, strict=True)) if type_ != _UNUSED}
    pairs = [(left, right) for left, _, right in (str(merge).partition(" ") for merge in merges)]
    tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=pairs))
    byte_level: Any = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pre == "smollm")
    if pre == "smollm":
        cut: Any = pre_tokenizers.Digits(individual_digits=True)
    else:
        cut = pre_tokenizers.Split(Regex(_QWEN2_SPLIT), behavior="isolated")
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([cut, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    for wanted, special in ((_CONTROL, True), (_USER_DEFINED, False)):
        added = [str(token) for token, type_ in zip(tokens, types, strict=True) if type_ == wanted]
        tokenizer.add_tokens([AddedToken(token, special=special, normalized=False) for token in added])
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)

    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "model_max_length": metadata[f"{metadata['general.architecture']}.context_length"],
    }
    for role, key in (("bos", "bos"), ("eos", "eos"), ("pad", "padding"), ("unk", "unknown")):
        token_id = metadata.get(f"tokenizer.ggml.{key}_token_id")
        if isinstance(token_id, int):
            config[f"{role}_token"] = tokens[token_id]
    if "tokenizer.chat_template" in metadata:
        config["chat_template"] = metadata["tokenizer.chat_template"]
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _list(metadata: dict[str, Value], key: str) -> list[Value]:
    value = metadata.get(key)
    if not isinstance(value, list):
        raise AssetError(f"the GGUF file has no list {key!r}")
    return value
