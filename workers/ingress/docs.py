"""`/docs`: the OpenAPI document as one HTML page, made once at import; no script, nothing fetched."""

from html import escape
from typing import Any

import orjson

from workers.ingress.openapi import DOCUMENT

STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}"
    "h2{font:600 1.05rem ui-monospace,monospace;margin-top:2.5rem;border-top:1px solid #ddd;padding-top:1rem}"
    "code,pre{font:14px ui-monospace,monospace}pre{background:#f6f6f4;padding:.8rem;overflow:auto}"
    "td{padding:.15rem 1rem .15rem 0;vertical-align:top}"
    "@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}pre{background:#242424}h2{border-color:#333}}"
)


def _page(document: dict[str, Any]) -> str:
    operations = [
        _operation(document, method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    schemas = [
        f"<h2>{escape(name)}</h2><pre>{escape(orjson.dumps(schema, option=orjson.OPT_INDENT_2).decode())}</pre>"
        for name, schema in document["components"]["schemas"].items()
    ]
    info = document["info"]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(info['title'])} API</title><style>{STYLE}</style></head><body>"
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1><p>{escape(info['description'])}</p>"
        '<p>For machines: <a href="/openapi.json">/openapi.json</a></p>'
        f"{''.join(operations)}{''.join(schemas)}</body></html>"
    )


def _operation(document: dict[str, Any], method: str, path: str, operation: dict[str, Any]) -> str:
    answers = "".join(
        f"<tr><td><code>{status}</code></td><td>{escape(_described(document, answer))}</td></tr>"
        for status, answer in operation["responses"].items()
    )
    key = "<p>Needs <code>Authorization: Bearer &lt;api_key&gt;</code>.</p>" if operation.get("security") else ""
    return (
        f"<h2>{method.upper()} {escape(path)}</h2>"
        f"<p>{escape(operation['summary'])}. {escape(operation.get('description', ''))}</p>{key}<table>{answers}</table>"
    )


def _described(document: dict[str, Any], answer: dict[str, Any]) -> str:
    if reference := answer.get("$ref"):
        answer = document["components"]["responses"][reference.rpartition("/")[2]]
    description: str = answer["description"]
    return description


PAGE = _page(DOCUMENT)
