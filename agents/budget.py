"""What calls took, what they may take at most, and what a run is expected to take."""

import asyncio
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from agents.llm import Choice, Request, Usage
from agents.prices import Price
from analyzers.errors import ExplicateError, LimitReached, ProviderError

TOGETHER = 64
"""Choices of which a forecast takes the common beginning to be computed once: fewer than are handed over at once, so that those of
another question among them cost little."""


@dataclass
class Spent:
    """What was taken so far. A reply from the cache counts under `cached` and nowhere else."""

    made: int = 0
    cached: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0
    """Of the models whose price is known."""
    seconds: float = 0.0
    """Waited for replies, added up over calls in parallel."""

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True)
class Estimate:
    """An upper estimate of one call, held against the limits until the call has ended."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: "Estimate") -> "Estimate":
        return Estimate(
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.usd + other.usd,
        )

    def __sub__(self, other: "Estimate") -> "Estimate":
        return self + Estimate(-other.calls, -other.prompt_tokens, -other.completion_tokens, -other.usd)


@dataclass(frozen=True)
class Forecast:
    """What calls to come are expected to take at most; None for what is not known."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float | None = 0.0
    seconds: float | None = 0.0

    def __add__(self, other: "Forecast") -> "Forecast":
        return Forecast(
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            None if self.usd is None or other.usd is None else self.usd + other.usd,
            None if self.seconds is None or other.seconds is None else self.seconds + other.seconds,
        )


def tokens_at_most(text: str) -> int:
    """Upper estimate of the tokens of a text."""
    # Two bytes a token: English has four or five, dense tables of numbers and most other scripts still more than two.
    return math.ceil(len(text.encode("utf-8", "replace")) / 2)


def _together(choices: Sequence[Choice]) -> int:
    """Tokens that choices take more, or less where this is below 0, when they are computed together than by themselves."""
    texts = ["".join(message.content for message in choice.messages) for choice in choices]
    # What all begin with is computed once, and one text of each size alone, too, beside a full and a last row, as a check.
    checked = {len(text).bit_length(): estimate(choice, None).prompt_tokens for text, choice in zip(texts, choices, strict=True)}
    return 2 * sum(checked.values()) - (len(texts) - 1) * tokens_at_most(_begun_alike(min(texts), max(texts)))


def _begun_alike(one: str, other: str) -> str:
    """What two texts begin with; of the first and the last in order, what all begin with."""
    return one[: next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))]


def estimate(request: Request, price: Price | None, *, hidden_tokens: int = 0) -> Estimate:
    """Upper estimate of one call: two bytes a prompt token, and every completion token that the request allows.

    hidden_tokens: what a reasoning model may write beside its answer.
    """
    if request.kind == "readout":
        prompt = tokens_at_most(request.prefix) + tokens_at_most(request.head) + sum(map(tokens_at_most, request.pieces)) + 1
        completion = 1
    else:
        prompt = sum(tokens_at_most(message.content) + 8 for message in request.messages) + 8
        if request.kind == "chat":
            prompt += 0 if request.json_schema is None else tokens_at_most(str(request.json_schema))
            completion = request.max_tokens + hidden_tokens
        elif request.kind == "tools":
            prompt += sum(tokens_at_most(str(call)) + 8 for turn in request.messages for call in turn.tool_calls)
            prompt += sum(tokens_at_most(str(tool)) + 8 for tool in request.tools)
            completion = request.max_tokens + hidden_tokens
        else:
            prompt += sum(map(tokens_at_most, request.options))
            completion = 1
    return Estimate(1, prompt, completion, 0.0 if price is None else price.usd(prompt, completion))


@dataclass
class _Model:
    price: Price | None
    lanes: int
    hidden_tokens: int
    shares: bool
    spent: Spent = field(default_factory=Spent)


class Budget:
    """Accounts and limits of one run, shared by all its language models.

    Each call is held against the limits beforehand at its upper estimate and booked afterwards at what it took. Where an estimate does
    not fit only because of calls still under way, it waits for them. Once a limit is reached it stays reached.
    """

    def __init__(
        self,
        *,
        max_calls: int | None = None,
        max_tokens: int | None = None,
        max_usd: float | None = None,
        within: "Budget | None" = None,
    ) -> None:
        """within: a budget of several runs, whose limits hold, too, and which is charged with all that this one is."""
        for name, limit in (("max_calls", max_calls), ("max_tokens", max_tokens), ("max_usd", max_usd)):
            if limit is not None and not (math.isfinite(limit) and limit >= 0):
                raise ExplicateError(f"{name} is {limit!r}; give a number of 0 or more, or leave it out for no limit")
        self.max_calls = max_calls
        self.max_tokens = max_tokens
        self.max_usd = max_usd
        self.spent = Spent()
        self._within = within
        self._models: dict[str, _Model] = {}
        self._held: Counter[Estimate] = Counter()
        self._holding = Estimate()
        """All that is held, summed up as it comes and goes: thousands of calls may be under way."""
        self._waiting: list[asyncio.Future[None]] = []
        self._reached: str | None = None

    def admit(self, name: str, price: Price | None, *, lanes: int = 1, hidden_tokens: int = 0, shares: bool = False) -> None:
        """Make a model known; raises ProviderError where money is limited and the model's price is not known.

        lanes: calls that go on at the same time; hidden_tokens: as in `estimate`; shares: computes once what several
        readouts or choices begin with.
        """
        if price is None and (self.max_usd is not None or (self._within is not None and self._within.max_usd is not None)):
            raise ProviderError(
                f"the price of {name!r} is not known, so a limit in USD cannot hold: "
                "give --price IN,OUT (USD per million tokens; 0,0 for a server of your own), or limit --max-calls or --max-tokens"
            )
        known = self._models.get(name)
        self._models[name] = _Model(price, lanes, hidden_tokens, shares, known.spent if known else Spent())

    @property
    def unpriced(self) -> tuple[str, ...]:
        """Models whose price is not known: `spent.usd` leaves them out."""
        return tuple(name for name, model in self._models.items() if model.price is None)

    def by_model(self) -> dict[str, Spent]:
        """What each model took, by its name."""
        return {name: model.spent for name, model in self._models.items()}

    def _beyond(self, spent: Estimate) -> str | None:
        for what, unit, value, limit in (
            ("--max-calls", "calls", spent.calls, self.max_calls),
            ("--max-tokens", "tokens", spent.tokens, self.max_tokens),
            ("--max-usd", "USD", spent.usd, self.max_usd),
        ):
            # A hair's breadth for sums of small amounts of money.
            if limit is not None and value > limit + 1e-12:
                so_far = f"{self.spent.made} calls, {self.spent.tokens} tokens, {self.spent.usd:.4g} USD"
                return (
                    f"{what} {limit:g} is reached: taken so far {so_far}; with the next call it could be {value:.6g} {unit}. "
                    "What was answered is kept: raise the limit and run the same command again"
                )
        return None

    def _total(self) -> Estimate:
        return Estimate(self.spent.made, self.spent.prompt_tokens, self.spent.completion_tokens, self.spent.usd)

    def fits(self, expected: Estimate) -> bool:
        """Whether a call fits now, beside those under way."""
        return self._reached is None and self._beyond(self._total() + self._holding + expected) is None

    async def reserve(self, *expected: Estimate) -> None:
        """Hold estimates against the limits before their calls, all or none; `book` or `release` ends each. Raises LimitReached."""
        together = sum(expected, Estimate())
        while not self.fits(together):
            # Beyond even without the calls under way, which can only add to it.
            self._reached = self._reached or self._beyond(self._total() + together)
            if self._reached is not None:
                raise LimitReached(self._reached)
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            await turn
        self._held.update(expected)
        self._holding += together
        if self._within is not None:
            try:
                await self._within.reserve(*expected)
            except BaseException:
                for each in expected:
                    self._let_go(each)
                raise

    def release(self, expected: Estimate) -> None:
        """End the hold of a call that took nothing."""
        self._let_go(expected)
        if self._within is not None:
            self._within.release(expected)

    def _let_go(self, expected: Estimate) -> None:
        self._held[expected] -= 1
        if not self._held[expected]:
            del self._held[expected]
        # From nothing again where nothing is held, so that rounding does not add up.
        self._holding = self._holding - expected if self._held else Estimate()
        waiting, self._waiting = self._waiting, []
        for turn in waiting:
            if not turn.done():
                turn.set_result(None)

    def book(self, name: str, expected: Estimate, usage: Usage, seconds: float) -> None:
        """End the hold of a call at what it took."""
        for spent in self._accounts(name):
            spent.made += 1
            spent.prompt_tokens += usage.prompt_tokens
            spent.completion_tokens += usage.completion_tokens
            spent.usd += usage.usd
            spent.seconds += seconds
        self.release(expected)

    def book_cached(self, name: str) -> None:
        """Count a reply from the cache, which takes nothing."""
        for spent in self._accounts(name):
            spent.cached += 1

    def _accounts(self, name: str) -> list[Spent]:
        return [self.spent, self._models[name].spent, *([] if self._within is None else [self._within.spent])]

    def check(self) -> None:
        """Raise LimitReached where calls took more than a limit, although their estimates had fitted."""
        self._reached = self._reached or self._beyond(self._total())
        if self._reached is not None:
            raise LimitReached(self._reached)
        if self._within is not None:
            self._within.check()

    def forecast(self, name: str, requests: Iterable[Request]) -> Forecast:
        """What requests to come will take of a model at most, by the estimates that limits are held against, and how long that takes.

        A model of this machine that computes every text by itself (analyzers.answers) takes more for choices than is forecast.
        usd is None for a model without a known price; seconds are None until a call of this model has been timed.
        """
        model = self._models[name]
        total, computed = Estimate(), set[str]()
        choices: dict[tuple[str, ...], list[Choice]] = {}
        for request in requests:
            total += estimate(request, model.price, hidden_tokens=model.hidden_tokens)
            if not model.shares:
                continue
            if request.kind == "readout":
                total += Estimate(prompt_tokens=-tokens_at_most(request.prefix) if request.prefix in computed else 0)
                computed.add(request.prefix)
            elif request.kind == "choice":
                choices.setdefault(request.options, []).append(request)
        for asked in choices.values():
            for at in range(0, len(asked), TOGETHER):
                total += Estimate(prompt_tokens=_together(asked[at : at + TOGETHER]))
        usd = None if model.price is None else model.price.usd(total.prompt_tokens, total.completion_tokens)
        seconds = model.spent.seconds / model.spent.made * total.calls / model.lanes if model.spent.made else None
        return Forecast(total.calls, total.prompt_tokens, total.completion_tokens, usd, seconds)
