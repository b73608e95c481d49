"""A report as a list of blocks, written as Markdown or as one HTML file that needs no network."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .results import table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Heading:
    """Of level 1 to 3."""

    level: int
    text: str


@dataclass(frozen=True)
class Text:
    """A paragraph; `code` keeps its line breaks."""

    text: str
    code: bool = False


@dataclass(frozen=True)
class Table:
    """None becomes a hyphen. A `folded` table is shown in HTML when it is asked for."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[object]]
    folded: bool = False


@dataclass(frozen=True)
class Picture:
    """A figure, and the name of its file."""

    name: str
    caption: str
    figure: Figure


Block = Heading | Text | Table | Picture

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222;
  max-width: 1200px; margin: 2em auto; padding: 0 1em }
table { border-collapse: collapse; margin: .5em 0 1.5em; font-size: 13px }
th, td { padding: .25em .7em; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap }
th { border-bottom: 2px solid #888; vertical-align: bottom }
th:first-child, td:first-child { text-align: left }
tr:hover td { background: #f4f4f4 }
.wide { overflow-x: auto }
figure { margin: 1em 0 2em } figure img { width: 100%; max-width: 1150px }
figcaption, .caption { color: #555; font-size: 13px; margin-top: 1em }
pre { background: #f4f4f4; padding: .7em 1em; overflow-x: auto; font-size: 13px }
summary { cursor: pointer; color: #555; margin: 1em 0 }
"""


def to_markdown(blocks: Sequence[Block]) -> str:
    """Everything but the pictures, which are links to files."""
    parts = []
    for block in blocks:
        if isinstance(block, Heading):
            parts.append(f"{'#' * block.level} {block.text}")
        elif isinstance(block, Text):
            parts.append(f"```\n{block.text}\n```" if block.code else block.text)
        elif isinstance(block, Table):
            parts.append(f"{block.caption}\n\n{table(block.header, block.rows)}")
        else:
            parts.append(f"![{block.caption}]({block.name}.png)")
    return "\n\n".join(parts) + "\n"


def to_html(title: str, blocks: Sequence[Block]) -> str:
    """One page with everything inside."""
    body = "\n".join(_html(block) for block in blocks)
    head = f"<meta charset='utf-8'><title>{html.escape(title)}</title><style>{STYLE}</style>"
    return f"<!doctype html><html lang='en'><head>{head}</head><body>\n{body}\n</body></html>\n"


def _html(block: Block) -> str:
    if isinstance(block, Heading):
        return f"<h{block.level}>{html.escape(block.text)}</h{block.level}>"
    if isinstance(block, Text):
        tag = "pre" if block.code else "p"
        return f"<{tag}>{html.escape(block.text)}</{tag}>"
    if isinstance(block, Table):
        head = "".join(f"<th>{html.escape(cell)}</th>" for cell in block.header)
        body = "".join(
            "<tr>"
            + "".join(f"<td>{html.escape('-' if cell is None else str(cell))}</td>" for cell in row)
            + "</tr>"
            for row in block.rows
        )
        grid = f"<div class='wide'><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        caption = html.escape(block.caption)
        if block.folded:
            return f"<details><summary>{caption}</summary>{grid}</details>"
        return f"<div class='caption'>{caption}</div>{grid}"
    drawn = io.BytesIO()
    block.figure.savefig(drawn, format="svg", bbox_inches="tight", metadata={"Date": None})
    image = "data:image/svg+xml;base64," + base64.b64encode(drawn.getvalue()).decode()
    caption = html.escape(block.caption)
    return f"<figure><img alt='{caption}' src='{image}'><figcaption>{caption}</figcaption></figure>"


def write(folder: Path, title: str, blocks: Sequence[Block]) -> str:
    """Write report.md, report.html and the pictures; return the Markdown."""
    folder.mkdir(parents=True, exist_ok=True)
    for block in blocks:
        if isinstance(block, Picture):
            block.figure.savefig(folder / f"{block.name}.png", dpi=130, bbox_inches="tight")
    text = to_markdown(blocks)
    (folder / "report.md").write_text(text)
    (folder / "report.html").write_text(to_html(title, blocks))
    return text
