"""The OpenAPI 3.1 document, made from the operations themselves."""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

import msgspec

from ambient_vcp.apps.control_plane.http.answers import JSON_TYPE
from ambient_vcp.apps.control_plane.http.endpoint import NoQuery, Operation, Who
from ambient_vcp.wire.fields import Shape
from ambient_vcp.wire.http.errors import ErrorAnswer

REF = "#/components/schemas/{name}"
_PARAMETER = re.compile(r"\{(\w+)\}")
_SECURITY: dict[Who, list[dict[str, list[str]]]] = {
    Who.PUBLIC: [],
    Who.ACCOUNT: [{"account": []}],
    Who.NODE: [{"node": []}],
    Who.EITHER: [{"account": []}, {"node": []}],
    Who.OPTIONAL: [{}, {"account": []}],
}


def document(operations: Iterable[Operation], *, base: str, version: str) -> dict[str, Any]:
    """The whole document. Every error status that an operation can answer is declared."""
    listed = list(operations)
    shapes = _shapes(listed)
    _, components = msgspec.json.schema_components(shapes, ref_template=REF)
    paths: dict[str, dict[str, Any]] = {}
    for operation in listed:
        paths.setdefault(base + operation.path, {})[operation.method.lower()] = _describe(operation)
    bearer = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Ambient VCP control plane",
            "version": version,
            "description": "Runs untrusted work on other people's machines and hands back answers "
            "that anyone can check.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "account": {**bearer, "description": "An account's token, from /auth/login."},
                "node": {**bearer, "description": "A node's token, from /nodes/enrol."},
            },
        },
    }


def _shapes(operations: list[Operation]) -> list[type[Shape]]:
    found: dict[str, type[Shape]] = {"ErrorAnswer": ErrorAnswer}
    for operation in operations:
        for shape in (operation.body, *operation.answers.values()):
            if shape is not None:
                assert found.setdefault(shape.__name__, shape) is shape, shape.__name__
    return list(found.values())


def _describe(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.handler.__module__.rpartition(".")[2]
        + "."
        + getattr(operation.handler, "__name__", "handler"),
        "summary": operation.summary,
        "tags": [operation.tag],
        "security": _SECURITY[operation.who],
        "responses": _responses(operation),
    }
    parameters = _parameters(operation)
    if parameters:
        described["parameters"] = parameters
    if operation.body is not None:
        schema = {"$ref": REF.format(name=operation.body.__name__)}
        described["requestBody"] = {
            "required": not operation.body_optional,
            "content": {JSON_TYPE: {"schema": schema}},
        }
    elif operation.media_in:
        described["requestBody"] = {"required": True, "content": {operation.media_in: {}}}
    return described


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(operation.path)
    ]
    if operation.query is not NoQuery:
        for item in msgspec.structs.fields(operation.query):
            schema = msgspec.json.schema(item.type)
            found.append(
                {
                    "name": item.encode_name,
                    "in": "query",
                    "required": item.required,
                    "schema": _inlined(schema),
                }
            )
    for name, meaning in operation.headers.items():
        found.append(
            {
                "name": name,
                "in": "header",
                "required": False,
                "description": meaning,
                "schema": {"type": "string"},
            }
        )
    return found


def _inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """A query parameter's schema without definitions of its own."""
    definitions = schema.pop("$defs", {})

    def resolved(value: Any) -> Any:
        if isinstance(value, dict):
            if "$ref" in value:
                return resolved(definitions[value["$ref"].rpartition("/")[2]])
            return {key: resolved(item) for key, item in value.items()}
        return [resolved(item) for item in value] if isinstance(value, list) else value

    found: dict[str, Any] = resolved(schema)
    return found


def error_statuses(operation: Operation) -> list[int]:
    """Every error status of an operation: its own, and those that its declaration implies."""
    found = {*operation.errors, 500, 503}
    if operation.who is not Who.PUBLIC:
        found.add(401)
    if operation.body is not None:
        found |= {400, 413, 415, 422}
    # Parameters that nobody knows are refused everywhere.
    found.add(400)
    return sorted(found - set(operation.answers))


def _responses(operation: Operation) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for status, shape in operation.answers.items():
        entry: dict[str, Any] = {"description": HTTPStatus(status).phrase}
        if shape is not None:
            schema = {"$ref": REF.format(name=shape.__name__)}
            entry["content"] = {operation.media_out: {"schema": schema}}
        elif status in (200, 206) and operation.method == "GET":
            entry["content"] = {operation.media_out: {}}
        found[str(status)] = entry
    error = {JSON_TYPE: {"schema": {"$ref": REF.format(name="ErrorAnswer")}}}
    for status in error_statuses(operation):
        found[str(status)] = {"description": HTTPStatus(status).phrase, "content": error}
    return found
