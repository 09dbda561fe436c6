"""The default corpus: articles from a dump of the English Wikipedia, as plain prose."""

import bz2
import json
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import iterparse

from analyzers.errors import AssetError
from analyzers.progress import Report
from analyzers.wiki_text import plain_text

_SHORTEST = 2000
"""Characters; shorter pages are stubs, lists of links and disambiguations."""

_ATTRIBUTION = """\
Text from the English Wikipedia (https://en.wikipedia.org), written by its contributors, licensed under the Creative Commons
Attribution-ShareAlike 3.0 Unported licence (https://creativecommons.org/licenses/by-sa/3.0/). The articles were taken from the dump
of May 2016 and changed: wiki markup, tables, references and link lists were removed. The history and the authors of an article are
at https://en.wikipedia.org/w/index.php?action=history&title=TITLE; its revision taken here is the number in its id. Articles:

"""


def write_documents(dump: Path, folder: Path, *, report: Report) -> None:
    """Write documents.jsonl (`id`, `title`, `text`) and ATTRIBUTION.txt from a bzip2-compressed MediaWiki export, in its order."""
    titles = []
    with bz2.open(dump) as pages, (folder / "documents.jsonl").open("w", encoding="utf-8", newline="\n") as out:
        for done, (title, revision, markup) in enumerate(_articles(pages)):
            report("cleaning articles", done, 0)
            text = plain_text(markup)
            if len(text) >= _SHORTEST:
                titles.append(title)
                out.write(json.dumps({"id": f"enwiki-{revision}", "title": title, "text": text}, ensure_ascii=False) + "\n")
    if not titles:
        raise AssetError(f"no article found in {dump.name!r}")
    (folder / "ATTRIBUTION.txt").write_text(_ATTRIBUTION + "".join(f"{title}\n" for title in titles), encoding="utf-8")


def _articles(pages: bz2.BZ2File) -> Iterator[tuple[str, str, str]]:
    """(title, revision, markup) of every page in the article namespace that is not a redirect."""
    for _, element in iterparse(pages):  # noqa: S314 - a pinned file
        if element.tag.endswith("}page"):
            space = element.tag.removesuffix("page")
            if element.findtext(f"{space}ns") == "0" and element.find(f"{space}redirect") is None:
                revision = f"{space}revision/{space}"
                yield tuple(element.findtext(path, "") for path in (f"{space}title", f"{revision}id", f"{revision}text"))  # type: ignore[misc]
            element.clear()
