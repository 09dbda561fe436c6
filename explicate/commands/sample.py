"""`explicate sample`: run a model once over a text and keep what every neuron does."""

import shlex

import typer

from explicate.commands.options import Corpus, Device, Dtype, ExcerptTokens, Json, Seed, SubjectName, Tokens, Trust


def sample(
    subject: SubjectName,
    corpus: Corpus = "wikipedia-sample",
    tokens: Tokens = 200_000,
    excerpt_tokens: ExcerptTokens = 32,
    batch_size: int = typer.Option(16, help="Blocks of text a forward pass.", min=1),
    seed: Seed = 0,
    dtype: Dtype = "auto",
    device: Device = "auto",
    trust_remote_code: Trust = False,
    json: Json = False,
) -> None:
    """Record the loudest, quantile and random excerpts of every neuron of every layer, both signs; `label` uses the pass again.

    Example: explicate sample smollm2-135m --tokens 50000
    """
    from analyzers.memory import peak_rss_mb
    from analyzers.passes import open_pass, pass_seconds
    from analyzers.subject import Subject
    from explicate.progress import bars
    from explicate.running import show_json

    with bars() as report:
        model = Subject.load(subject, dtype=dtype, device=device, trust_remote_code=trust_remote_code, report=report)
        store = open_pass(model, corpus, tokens=tokens, excerpt_tokens=excerpt_tokens, seed=seed, batch=batch_size, report=report)
    seconds = pass_seconds(store.folder)
    facts = {
        "sites": 2 * sum(store.neurons),
        "tokens": store.tokens,
        "seconds": None if seconds is None else round(seconds, 3),
        "tokens_per_second": None if seconds is None else round(store.tokens / seconds, 1),
        "peak_rss_mb": round(peak_rss_mb(), 1),
        "model_path": None if model.path is None else str(model.path),
        "dtype": model.identity["dtype"],
        "batch_size": batch_size,
        "excerpt_tokens": excerpt_tokens,
        "path": str(store.folder),
    }
    if json:
        show_json(facts)
        return
    speed = "" if seconds is None else f"; the pass took {seconds:.1f} s, {store.tokens / seconds:,.0f} tokens/s"
    same = "".join(
        f" {option} {shlex.quote(str(value))}"
        for option, value, usual in (
            ("--corpus", corpus, "wikipedia-sample"),
            ("--tokens", tokens, 200_000),
            ("--excerpt-tokens", excerpt_tokens, 32),
            ("--seed", seed, 0),
            ("--dtype", dtype, "auto"),
        )
        if value != usual
    )
    print(f"{facts['sites']:,} sites (both sides of every neuron) on {store.tokens:,} tokens{speed}")
    print(f"Kept in {facts['path']}; next: explicate label {shlex.quote(subject)} --sample 10{same}")
