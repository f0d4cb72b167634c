"""The requests of OpenID AuthZEN Authorization API 1.0, as values of ours (answers: `authzen_answer`).

Plain checks instead of a model library: this is on the way of every decision (5 µs for one request). Unknown
fields are ignored, as the standard demands; what we do read must have the right type. Everything of ours
stands inside `context`: `session`, `arguments`, `idempotency_key`, `dry_run`, `trace_id`, `span_id`,
`tool_call_id`, `approval`; whatever else stands there is the caller's own context.

Source: https://openid.net/specs/authorization-api-1_0.html (final, 2026-01-11)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from controlplane.errors import InputError, TooLargeError
from controlplane.wire.json_input import kind_of
from policies.action import Json

MAX_ITEMS: Final = 1000
ID_PATTERN: Final = r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,255}"

_ID = re.compile(ID_PATTERN)
_PRINTABLE = re.compile(r"[\x20-\x7e]{1,128}")
_SESSION = re.compile(r"[\x21-\x7e]{1,256}")
_TRACE_ID = re.compile(r"[0-9a-fA-F]{32}")
_SPAN_ID = re.compile(r"[0-9a-fA-F]{16}")
_APPROVAL = re.compile(r"apr_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NOTHING: Final[Mapping[str, Json]] = MappingProxyType({})
_OUR_KEYS: Final = frozenset(
    (
        "session", "arguments", "idempotency_key", "dry_run", "trace_id", "span_id", "tool_call_id", "approval",
    )
)  # fmt: skip
_OPTIONAL: Final = _OUR_KEYS - {"arguments"}
_DEFAULTED: Final = ("subject", "action", "resource", "context")


class Semantic(StrEnum):
    """How the items of one `evaluations` call depend on each other."""

    EXECUTE_ALL = "execute_all"
    DENY_ON_FIRST_DENY = "deny_on_first_deny"
    PERMIT_ON_FIRST_PERMIT = "permit_on_first_permit"

    @property
    def stop_on(self) -> bool | None:
        """The `decision` after which nothing more is evaluated; None: go on to the end."""
        match self:
            case Semantic.EXECUTE_ALL:
                return None
            case Semantic.DENY_ON_FIRST_DENY:
                return False
            case Semantic.PERMIT_ON_FIRST_PERMIT:
                return True


class EvaluationRequest(NamedTuple):
    """One action that somebody asks about, as sent: nothing in it is a registered fact.

    A named tuple, because one is made for each decision: a frozen dataclass of this size takes 2 µs longer.

    Attributes:
        resource_properties: what the caller claims about the resource; never overrides the catalog.
        arguments: what the tool would be called with.
        context: the caller's own context, without our keys.
        session: None = the subject's standing session.
        trace_id, span_id: lower-case hex (32 and 16 digits), as in W3C Trace Context.
        approval: id of the approval that is to lift an escalation.
    """

    subject_type: str
    subject_id: str
    action: str
    resource_type: str
    resource_id: str
    resource_properties: Mapping[str, Json] = _NOTHING
    arguments: Mapping[str, Json] = _NOTHING
    context: Mapping[str, Json] = _NOTHING
    session: str | None = None
    idempotency_key: str | None = None
    dry_run: bool = False
    trace_id: str | None = None
    span_id: str | None = None
    tool_call_id: str | None = None
    approval: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemError:
    """An item of a batch that could not be evaluated; answered as a deny, while other items go on."""

    status: int
    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRequest:
    """The items of an `evaluations` call, in order; to be decided in this order."""

    items: tuple[EvaluationRequest | ItemError, ...]
    semantic: Semantic = Semantic.EXECUTE_ALL


def parse_evaluation(request: Mapping[str, Json]) -> EvaluationRequest:
    """Read the body of `/access/v1/evaluation`.

    Raises: InputError: a part is missing, has the wrong type or is no acceptable id; names it.
    """
    return _evaluation(request, "")


def parse_evaluations(request: Mapping[str, Json]) -> BatchRequest | EvaluationRequest:
    """Read the body of `/access/v1/evaluations`.

    Top-level `subject`, `action`, `resource` and `context` are defaults for items, as whole objects: an
    item's own `context` replaces the default one and is never merged with it. Items that inherit a context
    with an `idempotency_key` get a key each (`<key>/<position>`), so that the whole call can be repeated.

    Returns: a single EvaluationRequest when `evaluations` is absent or empty (to be answered as one);
        otherwise the batch. Under `deny_on_first_deny` it ends with its first ItemError, which is a deny.
    Raises: InputError: the call as a whole cannot be read. TooLargeError: more than 1 000 items.
    """
    items = request.get("evaluations", [])
    if type(items) is not list:
        raise InputError(f"`evaluations` must be an array, not {kind_of(items)}")
    semantic = _semantic(request)
    if not items:
        return _evaluation(request, "")
    if len(items) > MAX_ITEMS:
        raise TooLargeError(
            f"`evaluations` has {len(items)} items; at most {MAX_ITEMS} are accepted, so send several calls",
            expected=MAX_ITEMS,
            found=len(items),
        )
    defaults = {key: request[key] for key in _DEFAULTED if key in request}
    parsed: list[EvaluationRequest | ItemError] = []
    for position, item in enumerate(items):
        try:
            parsed.append(_item(item, defaults, position))
        except InputError as error:
            parsed.append(ItemError(status=400, code=error.code, message=error.message))
            if semantic is Semantic.DENY_ON_FIRST_DENY:
                break
    return BatchRequest(items=tuple(parsed), semantic=semantic)


def _semantic(request: Mapping[str, Json]) -> Semantic:
    options = _object(request, "options", "", "")
    name = options.get("evaluations_semantic", Semantic.EXECUTE_ALL.value)
    try:
        return Semantic(name)  # type: ignore[arg-type]
    except ValueError:
        known = ", ".join(f"`{semantic}`" for semantic in Semantic)
        shown = f"`{name[:40]}`" if isinstance(name, str) else kind_of(name)
        raise InputError(f"unknown `options.evaluations_semantic` {shown}; known are {known}") from None


def _item(item: Json, defaults: Mapping[str, Json], position: int) -> EvaluationRequest:
    where = f"evaluations[{position}]."
    if type(item) is not dict:
        raise InputError(f"`{where[:-1]}` must be an object, not {kind_of(item)}")
    evaluation = _evaluation({**defaults, **item}, where)
    if evaluation.idempotency_key is not None and "context" not in item:
        return evaluation._replace(idempotency_key=f"{evaluation.idempotency_key}/{position}")
    return evaluation


def _evaluation(request: Mapping[str, Json], where: str) -> EvaluationRequest:
    """`where` is what error texts put in front of a field's name: the item's place in its batch."""
    subject = _object(request, "subject", where, "", required=True)
    action = _object(request, "action", where, "", required=True)
    resource = _object(request, "resource", where, "", required=True)
    for name, entity in (("subject", subject), ("action", action)):
        if "properties" in entity:  # checked and not kept: facts about these come from the registry
            _object(entity, "properties", where, name + ".")
    context = _object(request, "context", where, "")
    dry_run: Json = None
    session = idempotency_key = trace_id = span_id = tool_call_id = approval = None
    if not _OPTIONAL.isdisjoint(context):
        place = where + "context."
        dry_run = context.get("dry_run")
        if dry_run is not None and type(dry_run) is not bool:
            raise InputError(f"`{place}dry_run` must be a boolean, not {kind_of(dry_run)}")
        session = _text(context, "session", _SESSION, place, "at most 256 printable ascii characters")
        what = "1 to 128 printable ascii characters"
        idempotency_key = _text(context, "idempotency_key", _PRINTABLE, place, what)
        trace_id = _hex(context, "trace_id", _TRACE_ID, place, "32 hexadecimal digits, not all zero")
        span_id = _hex(context, "span_id", _SPAN_ID, place, "16 hexadecimal digits, not all zero")
        tool_call_id = _text(context, "tool_call_id", _PRINTABLE, place, what)
        if context.get("approval") is not None:
            named = _object(context, "approval", place, "", required=True)
            what = "the id of an approval, `apr_…`"
            approval = _text(named, "id", _APPROVAL, place + "approval.", what)
            if approval is None:
                raise InputError(f"`{place}approval.id` is missing", path=place + "approval.id")
    # In the order of the fields: naming fourteen of them costs as much as a third of all this.
    return EvaluationRequest(
        _id(subject, "type", where, "subject"),
        _id(subject, "id", where, "subject"),
        _id(action, "name", where, "action"),
        _id(resource, "type", where, "resource"),
        _id(resource, "id", where, "resource"),
        _object(resource, "properties", where, "resource."),
        _object(context, "arguments", where, "context."),
        _NOTHING
        if _OUR_KEYS.issuperset(context)
        else {key: value for key, value in context.items() if key not in _OUR_KEYS},
        session,
        idempotency_key,
        dry_run is True,
        trace_id,
        span_id,
        tool_call_id,
        approval,
    )


def _object(
    parent: Mapping[str, Json], key: str, where: str, inside: str, *, required: bool = False
) -> Mapping[str, Json]:
    """`where` and `inside` are what error texts put in front of the key."""
    value = parent.get(key, _NOTHING)
    if type(value) is dict:
        return value
    name = where + inside + key
    if value is not _NOTHING:
        raise InputError(f"`{name}` must be an object, not {kind_of(value)}", path=name)
    if required:
        raise InputError(f"`{name}` is missing", path=name)
    return _NOTHING


def _id(entity: Mapping[str, Json], key: str, where: str, name: str) -> str:
    value = entity.get(key)
    if type(value) is str and _ID.fullmatch(value):
        return value
    path = f"{where}{name}.{key}"
    if key not in entity:
        raise InputError(f"`{path}` is missing", path=path)
    if type(value) is not str:
        raise InputError(f"`{path}` must be a string, not {kind_of(value)}", path=path)
    shown = ascii(value if len(value) <= 64 else value[:64] + "…")[1:-1]
    raise InputError(
        f"`{path}` `{shown}` is no acceptable id: 1 to 256 letters, digits and `._:/@-`, the first one a"
        " letter or a digit",
        path=path,
    )


def _text(
    context: Mapping[str, Json], key: str, pattern: re.Pattern[str], where: str, what: str
) -> str | None:
    """An optional text; null counts as absent, because many clients write their empty fields so."""
    value = context.get(key)
    if value is None:
        return None
    if type(value) is not str:
        raise InputError(f"`{where}{key}` must be a string, not {kind_of(value)}", path=where + key)
    if not pattern.fullmatch(value):
        raise InputError(f"`{where}{key}` must be {what}", path=where + key)
    return value


def _hex(
    context: Mapping[str, Json], key: str, pattern: re.Pattern[str], where: str, what: str
) -> str | None:
    value = _text(context, key, pattern, where, what)
    if value is None:
        return None
    if not value.strip("0"):
        raise InputError(f"`{where}{key}` must be {what}", path=where + key)
    return value.lower()
