"""The model under study: its tokens, its forward pass, and the activations of its MLP neurons."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from analyzers.errors import SubjectError
from analyzers.loading import choose_device, choose_dtype, dtype_name, load_pretrained
from analyzers.mlps import down_projections, linear_shape
from analyzers.progress import Report, quiet
from analyzers.sites import Site
from analyzers.tokens import Tokens


class Subject:
    """A causal language model with its tokenizer and the down-projection of every decoder block."""

    def __init__(self, model: Any, tokenizer: Any, *, name: str, identity: dict[str, str]) -> None:
        """Take a loaded model; SubjectError where its MLPs cannot be read."""
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.name = name
        self.path: Path | None = None
        """Folder it was loaded from."""
        self.base: nn.Module = model.base_model
        self.hidden: int = model.config.get_text_config().hidden_size
        self.projections = down_projections(self.base, self.hidden)
        """[layer] the module whose input is that block's neurons."""
        self.neurons = tuple(shape[0] for module in self.projections if (shape := linear_shape(module)) is not None)
        self.layers = len(self.projections)
        self.dtype: torch.dtype = model.dtype
        self.device: torch.device = model.device
        self.identity = {"name": name, **identity, "dtype": dtype_name(self.dtype)}
        special = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
        self.prefix: tuple[int, ...] = () if special is None else (special,)
        """Token ids that every block starts with: the tokenizer's BOS or else its EOS."""
        self._tokens = Tokens(tokenizer)
        self._check_capture()

    @classmethod
    def load(
        cls, name_or_path: str, *, dtype: str = "auto", device: str = "auto", trust_remote_code: bool = False, report: Report = quiet
    ) -> "Subject":
        """Load any Hugging Face causal language model by name or folder.

        dtype: float32, bfloat16, float16, or auto: bfloat16 where the device computes it fast, else float32.
        device: cpu, cuda, cuda:1, mps, or auto: the fastest that is there.
        Raises AssetError for a model that does not exist, SubjectError for a dtype or device that does not and for a model whose
        MLPs cannot be read.
        """
        from analyzers.assets import model_source

        place = choose_device(device)
        number = choose_dtype(dtype, place)
        source = model_source(name_or_path, report=report)
        report(f"loading {source.name}", 0, 0)
        model, tokenizer = load_pretrained(str(source.path), name_or_path, number, place, trust_remote_code)
        subject = cls(model, tokenizer, name=source.name, identity={"source": source.source, "revision": source.revision})
        subject.path = source.path
        return subject

    def check(self, site: Site) -> None:
        """Raise SubjectError, naming the range, for a site this model does not have."""
        last = self.layers - 1
        if not 0 <= site.layer <= last:
            raise SubjectError(f"{str(site)!r}: {self.name} has layers 0-{last}; choose L0.mlp.<neuron> to L{last}.mlp.<neuron>")
        last = self.neurons[site.layer] - 1
        if not 0 <= site.index <= last:
            layer = f"L{site.layer}.mlp"
            raise SubjectError(f"{str(site)!r}: that layer of {self.name} has neurons 0-{last}; choose {layer}.0 to {layer}.{last}")

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without special tokens and without the space that some tokenizers put before a text."""
        return self._tokens.encode(text)

    def token_text(self, token_id: int) -> str:
        """Exact text of a token, with its leading space.

        The texts of an encoded text's tokens, joined, are that text, but for characters that are split over several tokens:
        each part of such a character reads U+FFFD.
        """
        return self._tokens.text(token_id)

    @contextmanager
    def capture(self, fn: Callable[[int, Tensor], None]) -> Iterator[None]:
        """Within the context every forward pass calls fn(layer, activations [batch, pos, neuron]) once a block.

        The activations are the input of the block's down-projection, raw and signed, in the model's dtype; not a copy, so fn
        must not change or keep them. The hooks come off when the context ends, also by an exception.
        """
        shape: list[int] = []

        def note_shape(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            ids = args[0] if args else kwargs.get("input_ids")
            shape[:] = (ids if ids is not None else kwargs["inputs_embeds"]).shape[:2]

        def reader(layer: int) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
            # Some families flatten [batch, pos] before the MLP.
            return lambda _module, args: fn(layer, args[0].reshape(*shape, args[0].shape[-1]))

        handles = [self.base.register_forward_pre_hook(note_shape, with_kwargs=True)]
        try:
            for layer, module in enumerate(self.projections):
                handles.append(module.register_forward_pre_hook(reader(layer)))
            yield
        finally:
            for handle in handles:
                handle.remove()

    @torch.inference_mode()
    def forward(self, ids: Tensor, mask: Tensor | None = None) -> None:
        """Run the model without its LM head and without a cache, for what `capture` sees.

        ids [batch, pos]; mask [batch, pos] is 1 where there is a token, padding stands on the right.
        """
        self.base(
            input_ids=ids.to(self.device),
            attention_mask=None if mask is None else mask.to(self.device),
            use_cache=False,
        )

    def activations(self, ids: Tensor, sites: Sequence[Site]) -> Tensor:
        """Raw signed activations [batch, pos, site], float32 on the CPU, of sites of either side; ids [batch, pos] without padding."""
        for site in sites:
            self.check(site)
        out = torch.empty(*ids.shape, len(sites))

        def read(layer: int, activations: Tensor) -> None:
            for column, site in enumerate(sites):
                if site.layer == layer:
                    out[..., column] = activations[..., site.index].float().cpu()

        with self.capture(read):
            self.forward(ids)
        return out

    def _check_capture(self) -> None:
        """Run two tokens: a model that does not pass its neurons through its down-projections cannot be read."""
        seen: list[tuple[int, tuple[int, ...]]] = []
        with self.capture(lambda layer, activations: seen.append((layer, tuple(activations.shape)))):
            self.forward(torch.tensor([[0, 1]]))
        expected = [(layer, (1, 2, width)) for layer, width in enumerate(self.neurons)]
        if seen != expected:
            raise SubjectError(f"{self.name!r} has no readable MLP: its down-projections are not called once a block; choose another model")
