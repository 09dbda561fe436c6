"""Neurons along a direction: each family's weights by their own names, planted directions, activations of single texts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from analyzers.errors import SubjectError
from analyzers.probes.aligned import most_aligned, neuron_states
from analyzers.states.pieces import Piece
from analyzers.text_model import TextModel

Checkpoint = Callable[[str], Path]
WEIGHTS: dict[str, dict[str, tuple[str, bool]]] = {  # by family: parameter of a block, the side, and whether rows are neurons
    "llama": {"mlp.gate_proj": ("in", True), "mlp.up_proj": ("in", True), "mlp.down_proj": ("out", False)},
    "gpt2": {"mlp.c_fc": ("in", False), "mlp.c_proj": ("out", True)},
    "bert": {"intermediate.dense": ("in", True), "output.dense": ("out", False)},
    "gpt_neox": {"mlp.dense_h_to_4h": ("in", True), "mlp.dense_4h_to_h": ("out", False)},
}
BLOCKS = {"llama": "layers.{}.", "gpt2": "h.{}.", "bert": "encoder.layer.{}.", "gpt_neox": "layers.{}."}


def rows(model: TextModel, family: str) -> dict[tuple[int, str], np.ndarray[Any, Any]]:
    """By block and name of the weights [neuron, width]."""
    parameters = dict(model.model.base_model.named_parameters())
    found = {}
    for layer in range(model.layers):
        for name, (_, by_row) in WEIGHTS[family].items():
            weight = parameters[BLOCKS[family].format(layer) + name + ".weight"].detach().numpy()
            found[layer, name] = weight if by_row else weight.T
    return found


@pytest.mark.parametrize("family", list(WEIGHTS))
def test_the_largest_cosines_are_those_of_a_naive_search(tiny_checkpoint: Checkpoint, family: str) -> None:
    model = TextModel.load(str(tiny_checkpoint(family)), dtype="float32", device="cpu")
    directions = np.random.default_rng(0).normal(size=(2, 32))
    found = most_aligned(model, directions, 4)
    for direction, neurons in zip(directions, found, strict=True):
        best: dict[tuple[int, int], tuple[float, str]] = {}
        for (layer, name), weights in rows(model, family).items():
            assert weights.shape == (48, 32)
            for number, row in enumerate(weights):
                cosine = float(row @ direction / np.linalg.norm(row) / np.linalg.norm(direction))
                if abs(cosine) > abs(best.get((layer, number), (0.0, ""))[0]):
                    best[layer, number] = (cosine, name)
        expected = sorted(best.items(), key=lambda each: -abs(each[1][0]))[:4]
        assert [((each.layer, each.number), each.weights) for each in neurons] == [(place, name) for place, (_, name) in expected]
        assert [each.cosine for each in neurons] == pytest.approx([cosine for _, (cosine, _) in expected], abs=1e-5)
        assert all(each.side == WEIGHTS[family][each.weights][0] for each in neurons)


def test_a_neurons_own_weights_are_found_with_their_sign(tiny_checkpoint: Checkpoint) -> None:
    model = TextModel.load(str(tiny_checkpoint("llama")), dtype="float32", device="cpu")
    weights = rows(model, "llama")
    (reads,), (writes,) = most_aligned(model, np.stack([-3.0 * weights[1, "mlp.up_proj"][17], weights[2, "mlp.down_proj"][5]]))
    assert (reads.layer, reads.number, reads.side, reads.weights) == (1, 17, "in", "mlp.up_proj")
    assert reads.cosine == pytest.approx(-1, abs=1e-5)
    assert (writes.layer, writes.number, writes.side) == (2, 5, "out")
    assert writes.cosine == pytest.approx(1, abs=1e-5)


def test_gates_that_share_a_matrix_are_told_apart(tiny_model: Callable[..., tuple[Any, Any]]) -> None:
    from transformers import Phi3Config, Phi3ForCausalLM

    _, tokenizer = tiny_model("llama")
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4}
    made = Phi3ForCausalLM(Phi3Config(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **sizes))
    fused = made.model.layers[1].mlp.gate_up_proj.weight.detach().numpy()
    model = TextModel(made, tokenizer, name="fused", identity={})
    found = most_aligned(model, np.stack([fused[3], fused[48 + 7]]).astype(np.float64))
    assert [(each[0].layer, each[0].number, each[0].weights) for each in found] == [
        (1, 3, "mlp.gate_up_proj[0]"),
        (1, 7, "mlp.gate_up_proj[1]"),
    ]


def read_input(model: TextModel, module: str, ids: tuple[int, ...]) -> list[list[float]]:
    """[pos, feature] what enters a module, of one text alone."""
    seen: list[list[list[float]]] = []
    hooked = model.model.base_model.get_submodule(module)
    handle = hooked.register_forward_pre_hook(lambda _, args: seen.append(args[0][0].tolist()))
    with torch.inference_mode():
        model.forward(torch.tensor([ids]))
    handle.remove()
    return seen[0]


@pytest.mark.parametrize(("family", "down"), [("llama", "layers.{}.mlp.down_proj"), ("bert", "encoder.layer.{}.output.dense")])
def test_what_neurons_show_is_what_enters_the_down_projection(tiny_checkpoint: Checkpoint, family: str, down: str) -> None:
    model = TextModel.load(str(tiny_checkpoint(family)), dtype="float32", device="cpu")
    names = ["the town", "Monday", "a river of stone and iron", "Thursday"]
    # The last one begins with its span: a decoder has to read it behind its BOS, as it does where states are read.
    pieces = [Piece(f"see {name} today", ((4, 4 + len(name)),)) for name in names] + [Piece("Monday", ((0, 6),))]
    neurons = [(2, 11), (0, 47), (2, 0)]
    shown = neuron_states(model, pieces, neurons)
    assert shown.shape == (5, 3)
    for piece, row in zip(pieces, shown, strict=True):
        prompt = model.read(piece.text)
        begins = (model.tokenizer.bos_token_id,) if model.causal and prompt.spans[0] is not None else ()
        at = len(begins) + max(place for place, span in enumerate(prompt.spans) if span and span[0] < piece.spans[0][1])
        entered = {layer: read_input(model, down.format(layer), (*begins, *prompt.ids))[at] for layer in (0, 2)}
        assert row.tolist() == pytest.approx([entered[layer][number] for layer, number in neurons], abs=1e-4)
    assert np.ptp(shown) > 0


@pytest.mark.parametrize(("family", "said"), [("mixtral", "mixture of experts"), ("albert", "1 blocks for 3 layers")])
def test_models_without_neurons_of_one_layer_are_refused(tiny_checkpoint: Checkpoint, family: str, said: str) -> None:
    with pytest.raises(SubjectError, match=said):
        most_aligned(TextModel.load(str(tiny_checkpoint(family)), dtype="float32", device="cpu"), np.ones((1, 32)))


def test_a_direction_needs_a_length_and_a_span_a_token(tiny_checkpoint: Checkpoint) -> None:
    model = TextModel.load(str(tiny_checkpoint("llama")), dtype="float32", device="cpu")
    with pytest.raises(ValueError, match="without length"):
        most_aligned(model, np.zeros((1, 32)))
    with pytest.raises(ValueError, match="no token that can be read covers"):
        neuron_states(model, [Piece("a", ((0, 0),))], [(0, 0)])
