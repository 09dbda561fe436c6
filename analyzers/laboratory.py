"""Experiments on one site of a subject: what texts do to it, and what it does to the subject's output.

Texts are untrusted strings: they are tokens to the subject and nothing else. Each stands behind the subject's prefix, which is not
shown, and texts of like length share a forward pass.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from analyzers.errors import Failed
from analyzers.evidence import Excerpt, FloatArray
from analyzers.interventions import AblationEffect, raw_activations, replaced
from analyzers.lens import Lens, lens
from analyzers.outputs import Outputs
from analyzers.site_kinds import KINDS
from analyzers.sites import Site
from analyzers.steering import Sign, Steered, steer

if TYPE_CHECKING:
    from analyzers.subject import Subject

RANDOM_SITES = 1 << 20
"""Other sites are drawn among the first so many where a kind has any number of them."""


class Laboratory:
    """One site of a subject, to be experimented on."""

    def __init__(self, subject: "Subject", site: Site) -> None:
        """Raises SubjectError for a site that the subject does not have."""
        subject.check(site)
        self.subject = subject
        self.site = site
        self._outputs: Outputs | None = None
        self._limit: int | None = getattr(subject.model.config.get_text_config(), "max_position_embeddings", None)

    def activations(self, texts: Sequence[str]) -> list[Excerpt | Failed]:
        """An excerpt a text, its document `text/<number>`, with the activations of the site's side; Failed for one without tokens or too
        long for the subject, and where an activation is not finite."""
        encoded = self._encoded(texts)
        fine = [(number, ids) for number, ids in enumerate(encoded) if not isinstance(ids, Failed)]
        found: dict[int, Excerpt | Failed] = {}
        for (number, ids), raw in zip(fine, self._raw([ids for _, ids in fine]), strict=True):
            if not np.isfinite(raw).all():
                found[number] = Failed("measure", "an activation is not finite")
                continue
            tokens = tuple(self.subject.token_text(token) for token in ids[len(self.subject.prefix) :])
            found[number] = Excerpt(f"text/{number}", 0, tokens, np.maximum(self.site.sign * raw, 0), "random")
        return [ids if isinstance(ids, Failed) else found[number] for number, ids in enumerate(encoded)]

    def lens(self, k: int = 10) -> Lens | Failed:
        """The k tokens that the site's side promotes and suppresses most (analyzers.lens); Failed for a kind without a fixed direction."""
        direction = KINDS.get(self.site.kind)().direction(self.subject, self.site)
        return direction if isinstance(direction, Failed) else lens(self.subject, self.site.sign * direction, k)

    def ablated(self, texts: Sequence[str], *, to: Literal["mean", "zero"] = "mean") -> list[AblationEffect | Failed]:
        """What changes when the site's side has its mean over the tokens of all these texts everywhere, or 0."""
        measured = self.activations(texts)
        sides = [excerpt.activations for excerpt in measured if not isinstance(excerpt, Failed)]
        level = float(np.concatenate(sides).mean(dtype=np.float64)) if sides and to == "mean" else 0.0
        values = [np.zeros(0) if isinstance(each, Failed) else np.full(len(each.tokens), level) for each in measured]
        return self._replaced(texts, values)

    def patched(self, texts: Sequence[str], values: Sequence[npt.ArrayLike]) -> list[FloatArray | Failed]:
        """[text][token] Jensen-Shannon divergence, in nats, of the next token when the site's side has these activations [text][token].

        values: raw units, >= 0, one a token as `activations` gives them. Failed as there, and for values that do not fit the tokens.
        """
        effects = self._replaced(texts, [np.asarray(each, np.float32) for each in values])
        return [effect if isinstance(effect, Failed) else effect.divergence for effect in effects]

    def steered(
        self,
        prompts: Sequence[str],
        *,
        sign: Sign,
        kl: float,
        tokens: int = 25,
        temperature: float = 0.75,
        seed: int,
        samples: int = 1,
    ) -> Steered | Failed:
        """What the subject writes after prompts with the site's side held up or down, as strongly as changes its next-token distributions
        by `kl` nats (analyzers.steering); several samples of the same strength. Failed where no strength does, or a prompt does not fit."""
        encoded = self._encoded(prompts, room=tokens)
        fine: list[list[int]] = []
        for ids in encoded:
            if isinstance(ids, Failed):
                return ids
            fine.append(ids)
        seeds = [seed * samples + number for number in range(samples)]
        return steer(self.subject, self.outputs, self.site, fine, sign=sign, kl=kl, tokens=tokens, temperature=temperature, seeds=seeds)

    def others(self, count: int, *, seed: int) -> "list[Laboratory]":
        """Laboratories of up to `count` other sites of the same kind and layer, drawn at random, each side as likely."""
        kind, site = KINDS.get(self.site.kind)(), self.site
        there = kind.count(self.subject, site.layer)
        rng = np.random.default_rng(seed)
        drawn = rng.permutation(there).tolist() if there is not None else rng.choice(RANDOM_SITES, count + 1, replace=False).tolist()
        chosen = [index for index in drawn if index != site.index][:count]
        signs = rng.integers(2, size=len(chosen)).tolist()
        sites = [
            Site(site.layer, int(index), "-" if kind.signed and negative else "+", site.kind)
            for index, negative in zip(chosen, signs, strict=True)
        ]
        return [Laboratory(self.subject, other) for other in sites]

    @property
    def outputs(self) -> Outputs:
        """The subject's next-token distributions; SubjectError where they cannot be read."""
        if self._outputs is None:
            self._outputs = Outputs(self.subject)
        return self._outputs

    def _replaced(self, texts: Sequence[str], values: Sequence[npt.NDArray[np.floating]]) -> list[AblationEffect | Failed]:
        encoded: list[list[int] | Failed] = []
        for ids, given in zip(self._encoded(texts), values, strict=True):
            tokens = 0 if isinstance(ids, Failed) else len(ids) - len(self.subject.prefix)
            if not isinstance(ids, Failed) and given.shape != (tokens,):
                encoded.append(Failed("ablate", f"{given.size} values for a text of {tokens} tokens"))
            elif not isinstance(ids, Failed) and not np.isfinite(given).all():
                encoded.append(Failed("ablate", "a value is not finite"))
            else:
                encoded.append(ids)
        fine = [number for number, ids in enumerate(encoded) if not isinstance(ids, Failed)]
        ids_of = [ids for ids in encoded if not isinstance(ids, Failed)]
        given_of = [np.asarray(values[number], np.float32) for number in fine]
        effects = iter(replaced(self.subject, self.outputs, self.site, ids_of, given_of))
        return [ids if isinstance(ids, Failed) else next(effects) for ids in encoded]

    def _raw(self, texts: Sequence[Sequence[int]]) -> list[FloatArray]:
        return raw_activations(self.subject, self.site, texts)

    def _encoded(self, texts: Sequence[str], *, room: int = 0) -> list[list[int] | Failed]:
        """Token ids behind the prefix."""
        return [self._ids(text, room) for text in texts]

    def _ids(self, text: str, room: int) -> list[int] | Failed:
        ids = self.subject.encode(text)
        if not ids:
            return Failed("measure", "the text has no tokens")
        length = len(self.subject.prefix) + len(ids) + room
        if self._limit is not None and length > self._limit:
            return Failed("measure", f"{length} tokens are more than the {self._limit} that {self.subject.name} takes")
        return [*self.subject.prefix, *ids]
