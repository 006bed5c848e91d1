"""Docs: the OpenAPI description as one plain page, without scripts and other addresses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

_STYLE: Final = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 56rem; margin: 2rem auto; padding: 0 1rem; }
article { border-top: 1px solid #8886; padding: .5rem 0 1rem; }
code { font-family: ui-monospace, monospace; overflow-wrap: anywhere; }
h2 code { font-size: 1.05rem; } dt { margin-top: .4rem; } dd { margin-left: 1.5rem; }
"""


def render(schema: Mapping[str, Any]) -> str:
    """Return an OpenAPI description as HTML.

    Args:
        schema: As at ``/openapi.json``.
    """
    about = schema["info"]
    head = f"<h1>{escape(about['title'])} {escape(about['version'])}</h1>"
    head += f"<p>{escape(about.get('summary', ''))} Machines read <a href='openapi.json'>"
    head += "openapi.json</a>; <a href='./'>the page</a> is for looking.</p>"
    articles = "".join(_articles(schema["paths"]))
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width'>"
        f"<title>{escape(about['title'])}: interface</title><style>{_STYLE}</style></head>"
        f"<body>{head}<main>{articles}</main></body></html>"
    )


def _articles(paths: Mapping[str, Any]) -> Iterator[str]:
    for path, methods in paths.items():
        for method, operation in methods.items():
            yield f"<article><h2><code>{method.upper()} {escape(path)}</code></h2>"
            for paragraph in operation.get("description", "").split("\n\n"):
                yield f"<p>{escape(paragraph)}</p>"
            yield "<dl>"
            for one in operation.get("parameters", ()):
                text = one.get("description", "")
                name = f"<code>{escape(one['name'])}</code> in {one['in']}"
                yield f"<dt>{name}</dt><dd>{escape(text)} {escape(_values(one['schema']))}</dd>"
            if body := operation.get("requestBody"):
                yield f"<dt>body</dt><dd>{_kinds(body)}</dd>"
            for status, answer in operation["responses"].items():
                what = _kinds(answer) or escape(answer.get("description", ""))
                yield f"<dt>answer {escape(status)}</dt><dd>{what}</dd>"
            yield "</dl></article>"


def _kinds(body: Mapping[str, Any]) -> str:
    return ", ".join(f"<code>{escape(kind)}</code>" for kind in body.get("content", ()))


def _values(schema: Mapping[str, Any]) -> str:
    """What a parameter may be, and what it is if not given."""
    choices = [one for part in schema.get("anyOf", [schema]) for one in part.get("enum", ())]
    text = f"One of {', '.join(map(str, choices))}." if choices else ""
    return f"{text} Default: {schema['default']}." if "default" in schema else text
