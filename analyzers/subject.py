"""The model under study: its tokens, its forward pass, and the activations of its sites."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from analyzers.attentions import Attention, attentions
from analyzers.errors import SubjectError
from analyzers.fresh_weights import fresh_weights
from analyzers.hooks import noting_shape, removed
from analyzers.loading import choose_device, choose_dtype, dtype_name, load_pretrained
from analyzers.mlps import decoder_blocks, down_projections, linear_shape
from analyzers.places import measured_gain
from analyzers.progress import Report, quiet
from analyzers.site_kinds import KINDS
from analyzers.sites import Site
from analyzers.tokens import Tokens

if TYPE_CHECKING:
    from analyzers.directions import Directions
    from analyzers.sae import SAE


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
        self.blocks = decoder_blocks(self.base)
        """[layer] the decoder block, whose output is the residual stream."""
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
        self.saes: dict[int, SAE] = {}
        """By layer the sparse autoencoder attached to it."""
        self.directions: dict[int, Tensor] = {}
        """By layer the directions attached to it, float32 [row, hidden], of length 1."""
        self._tokens = Tokens(tokenizer)
        self._gains: dict[int, float | None] = {}
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

    def attach(self, *, sae: "SAE | None" = None, directions: "Directions | None" = None) -> None:
        """Make the latents of a sparse autoencoder, or directions, sites of this model; its identity tells so from then on.

        A layer has one autoencoder. Raises SubjectError for a layer that the model does not have or that has one already, for another
        hidden size, and for an autoencoder of what an MLP writes in a model that does not add that as it is to the residual stream.
        """
        if directions is not None:
            for layer, rows in directions.rows.items():
                self._check_fits(directions.name, layer, rows.shape[1])
        if sae is not None:
            self._check_fits(sae.name, sae.layer, sae.hidden)
            if sae.layer in self.saes:
                raise SubjectError(
                    f"{sae.name!r}: layer {sae.layer} already has the autoencoder {self.saes[sae.layer].name!r}; give one a layer"
                )
            if sae.place == "mlp_out" and (gain := self.mlp_gain(sae.layer)) != 1:
                does = "normalises" if gain is None else f"multiplies by {gain:.3g}"
                raise SubjectError(f"{sae.name!r}: {self.name} {does} what its MLP writes; attach an autoencoder of the residual stream")
            self.saes[sae.layer] = sae.to(self.device)
            self.identity[f"sae of layer {sae.layer}"] = f"{sae.place} {sae.fingerprint}"
        if directions is not None:
            self.directions = {layer: rows.to(self.device) for layer, rows in directions.rows.items()}
            self.identity["directions"] = directions.fingerprint

    def _check_fits(self, name: str, layer: int, hidden: int) -> None:
        if layer >= self.layers:
            raise SubjectError(f"{name!r} is of layer {layer}; {self.name} has layers 0-{self.layers - 1}")
        if hidden != self.hidden:
            raise SubjectError(f"{name!r} is of a model of hidden size {hidden}; {self.name} has {self.hidden}")

    def random_init(self, seed: int) -> "Subject":
        """A model of the same configuration with fresh weights: the control that has learnt nothing. Nothing is attached to it."""
        model = fresh_weights(self.model, seed)
        known = {key: value for key, value in self.identity.items() if key in ("source", "revision")}
        return Subject(model, self.tokenizer, name=f"{self.name} (random weights)", identity={**known, "weights": f"random, seed {seed}"})

    @cached_property
    def attentions(self) -> tuple[Attention, ...]:
        """[layer] the attention heads of every block; SubjectError where they cannot be read."""
        heads = getattr(self.model.config.get_text_config(), "num_attention_heads", None)
        return attentions(self.blocks, heads, self.hidden, lambda: self.forward(torch.tensor([[0, 1]])), self.name)

    def mlp_gain(self, layer: int) -> float | None:
        """By what is multiplied, before it is added to the residual stream, what a block's MLP writes: 1 in most models.

        None where that is no constant. Measured once, not within `reading` or `patching`.
        """
        if layer not in self._gains:
            self._gains[layer] = measured_gain(self, layer)
        return self._gains[layer]

    def check(self, site: Site) -> None:
        """Raise SubjectError, naming the range, for a site this model does not have."""
        site.check_side()
        last = self.layers - 1
        if not 0 <= site.layer <= last:
            places = f"L0.{site.kind}.<index> to L{last}.{site.kind}.<index>"
            raise SubjectError(f"{str(site)!r}: {self.name} has layers 0-{last}; choose {places}")
        kind = KINDS.get(site.kind)()
        count = kind.count(self, site.layer)
        if count == 0:
            raise SubjectError(f"{str(site)!r}: that layer of {self.name} has no {kind.parts}; {kind.lack}")
        if site.index < 0 or (count is not None and site.index >= count):
            layer = f"L{site.layer}.{site.kind}"
            last = (count or 10**9) - 1
            raise SubjectError(f"{str(site)!r}: that layer of {self.name} has {kind.parts} 0-{last}; choose {layer}.0 to {layer}.{last}")

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
        handles, shape = noting_shape(self.blocks[0])

        def reader(layer: int) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
            # Some families flatten [batch, pos] before the MLP.
            return lambda _module, args: fn(layer, args[0].reshape(*shape, args[0].shape[-1]))

        handles += [module.register_forward_pre_hook(reader(layer)) for layer, module in enumerate(self.projections)]
        with removed(handles):
            yield

    @contextmanager
    def reading(self, sites: Sequence[Site], fn: Callable[[Sequence[int], Tensor], None]) -> Iterator[None]:
        """Within the context every forward pass calls fn(columns, raw activations [batch, pos, column]), once for each layer and kind.

        columns: places in `sites`, which may be of either side and of any kinds; SubjectError for one that the model does not have.
        fn must not change or keep what it gets.
        """
        for site in sites:
            self.check(site)
        places: dict[tuple[str, int], list[int]] = {}
        for column, site in enumerate(sites):
            places.setdefault((site.kind, site.layer), []).append(column)
        with ExitStack() as stack:
            for (kind, layer), columns in places.items():
                indices = [sites[column].index for column in columns]
                handles = KINDS.get(kind)().reading(self, layer, indices, partial(fn, columns))
                stack.enter_context(removed(handles))
            yield

    @contextmanager
    def patching(self, site: Site, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
        """Within the context the raw activations a of a site, float32 [batch, pos], become change(a) in every forward pass.

        All else in its layer stays: of an autoencoder's latent or a direction the difference is added along it, a head's output is
        stretched. SubjectError for a site that the model does not have.
        """
        self.check(site)
        with KINDS.get(site.kind)().patching(self, site, change):
            yield

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
        out = torch.empty(*ids.shape, len(sites))

        def read(columns: Sequence[int], found: Tensor) -> None:
            out[..., columns] = found.float().cpu()

        with self.reading(sites, read):
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
