"""Running sums against moments taken at once, and on a device that has no float64."""

import torch

from analyzers.moments import RunningMoments


def shown(device: torch.device) -> tuple[RunningMoments, torch.Tensor, torch.Tensor]:
    """Moments that were shown 20 blocks of two layers, and the activations [layer, token, neuron] before and after the bounds."""
    activations = torch.randn(2, 20, 50, 6, generator=torch.Generator().manual_seed(0)) + 3
    moments = RunningMoments((6, 6), device)
    for block in range(20):
        if block == 10:
            moments.freeze()
        moments.count(50)
        for layer in range(2):
            moments.add(layer, activations[layer, block])
    before, after = (part.reshape(2, -1, 6).double() for part in (activations[:, :10], activations[:, 10:]))
    return moments, before, after


def test_moments_are_those_of_all_tokens() -> None:
    moments, before, after = shown(torch.device("cpu"))
    for layer in range(2):
        whole = torch.cat((before[layer], after[layer]))
        torch.testing.assert_close(moments.mean(layer), whole.mean(0), rtol=1e-6, atol=0)
        torch.testing.assert_close(moments.variance(layer), whole.var(0, correction=0), rtol=1e-5, atol=0)
        mean, spread = before[layer].mean(0), 3 * before[layer].std(0, correction=0)
        fired = torch.stack(((after[layer] > mean + spread).sum(0), (after[layer] < mean - spread).sum(0)))
        assert fired.sum() > 0
        assert torch.equal(moments.fired[layer], fired.double())


def test_an_apple_gpu_has_its_sums_beside_it() -> None:
    # The device is not there; a tensor of float64 on it is refused on every machine.
    (usual, *_), (beside, *_) = shown(torch.device("cpu")), shown(torch.device("mps"))
    assert all(tensor.device.type == "cpu" for tensor in beside.state().values())
    for name, tensor in usual.state().items():
        assert torch.equal(beside.state()[name], tensor)
    again = RunningMoments((6, 6), torch.device("mps"))
    again.restore(beside.state())
    for name, tensor in usual.state().items():
        assert torch.equal(again.state()[name], tensor)
