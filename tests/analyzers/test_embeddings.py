"""Embeddings against every text computed alone, on a tiny random encoder; the real one tells meanings apart."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from analyzers import embeddings
from analyzers.embeddings import Embedder
from analyzers.errors import AssetError, SubjectError

TEXTS = ["The river rises", "In the summer the old bridge was carried away by a flood", "", "boat", "line\nbreak <s> <|im_end|> été"] * 3
POSITIONS = 24


@pytest.fixture(scope="module")
def encoder(tiny_model: Callable[..., tuple[Any, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny random BERT whose tokenizer puts a token before each text and one behind it."""
    from tokenizers.processors import TemplateProcessing
    from transformers import BertConfig, BertModel

    tokenizer = tiny_model("llama")[1]
    ends = [(token, tokenizer.convert_tokens_to_ids(token)) for token in ("<s>", "</s>")]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=POSITIONS, initializer_range=0.5,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("encoder")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@torch.inference_mode()
def naive(folder: Path, text: str) -> Any:
    """The mean of the last hidden states, token by token, of one text without padding or batch."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder)
    ids = tokenizer(text)["input_ids"]
    if len(ids) > POSITIONS:
        ids = [*ids[: POSITIONS - 1], ids[-1]]
    states = model(torch.tensor([ids])).last_hidden_state[0].double().numpy()
    total = sum(states[at] for at in range(len(ids))) / len(ids)
    return total / np.sqrt(sum(value * value for value in total))


def test_equal_to_every_text_alone(encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings, "BATCH", 4)
    texts = [*TEXTS, "the old bridge " * 40]
    seen: list[tuple[str, int, int]] = []
    found = Embedder.load(str(encoder), device="cpu").embed(texts, report=lambda *where: seen.append(where))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.stack([naive(encoder, text) for text in texts]), atol=2e-6)
    assert seen[-1][1:] == (len(texts), len(texts))
    # Texts of other meaning are other vectors: the comparison above is of something.
    assert np.abs(found[0] - found[1]).max() > 0.05


def test_no_texts_are_no_vectors(encoder: Path) -> None:
    assert Embedder.load(str(encoder), device="cpu").embed([]).shape == (0, 32)


def test_a_text_without_tokens_is_refused(encoder: Path, tiny_model: Callable[..., tuple[Any, Any]]) -> None:
    loaded = Embedder.load(str(encoder), device="cpu")
    bare = Embedder(loaded._model, tiny_model("llama")[1], name="bare", identity={})
    with pytest.raises(ValueError, match="without any token"):
        bare.embed(["one", ""])


def test_what_is_no_encoder_is_refused(tiny_checkpoint: Callable[[str], Path], encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(SubjectError, match="is no encoder but a model that writes; use minilm"):
        Embedder.load(str(tiny_checkpoint("llama")))
    with pytest.raises(AssetError, match="not a folder"):
        Embedder.load("./nothing-there", device="cpu")
    with pytest.raises(SubjectError, match="device 'abacus' is not there"):
        Embedder.load(str(encoder), device="abacus")
    for file in encoder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes() if file.suffix != ".safetensors" else file.read_bytes()[:100])
    with pytest.raises(SubjectError, match="cannot be loaded as a sentence encoder"):
        Embedder.load(str(tmp_path))


@pytest.mark.slow
def test_the_real_encoder_knows_what_is_near() -> None:
    embedder = Embedder.load()
    river, stream, tax = embedder.embed(["a river in the hills", "water runs down the valley", "the annual tax return"])
    assert river @ stream > river @ tax + 0.2
    np.testing.assert_allclose(np.linalg.norm(river), 1, atol=1e-6)
