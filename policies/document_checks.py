"""What one document must satisfy beyond the shape of its keys."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence

from policies.documents import BundleDocument, CatalogDocument, On, PolicyDocument, ResourceDocument
from policies.duration import duration_us
from policies.error import PolicyError, did_you_mean
from policies.globs import MAX_WILDCARDS, wildcards
from policies.located import Located
from policies.pointers import did_you_point, is_pointer
from policies.story_documents import StoryDocument, StoryStepDocument


def check_bundle_documents(bundles: Sequence[Located[BundleDocument]], errors: list[PolicyError]) -> None:
    for extra in bundles[1:]:
        first = f"`{bundles[0].document.name}` in {bundles[0].source.name}"
        errors.append(extra.error((), "second_bundle", f"a second `kind: Bundle`; the first is {first}"))


def check_policy(policy: Located[PolicyDocument], errors: list[PolicyError]) -> None:
    for index, rule in enumerate(policy.document.rules):
        _check_on(policy, ("rules", index, "on"), rule.on, errors)
    for name, define in policy.document.define.items():
        if define.on is None and define.when is None:
            message = f"`{name}` defines nothing: it needs `on`, `when` or both"
            errors.append(policy.error(("define", name), "empty_define", message))
        if define.on is not None:
            _check_on(policy, ("define", name, "on"), define.on, errors)


def check_catalog(catalog: Located[CatalogDocument], errors: list[PolicyError]) -> None:
    groups: dict[tuple[str, ...], Mapping[str, ResourceDocument]] = {("tools",): catalog.document.tools}
    groups.update({("resources", name): entries for name, entries in catalog.document.resources.items()})
    for path, entries in groups.items():
        for pattern, entry in entries.items():
            _check_wildcards(catalog, (*path, pattern), pattern, errors)
            _check_kept_pointers(catalog, (*path, pattern), entry, errors)
            returns = entry.returns
            if returns is None:
                continue
            where = (*path, pattern, "returns")
            if "default" not in returns:
                errors.append(catalog.error(where, "missing_key", "missing key `default`"))
            for pointer in returns:
                # One that reaches nothing would leave what it was meant for to `default`.
                if pointer != "default" and not is_pointer(pointer):
                    message = f"`{pointer}` is neither `default` nor a JSON pointer"
                    hint = did_you_point(pointer)
                    errors.append(
                        catalog.error((*where, pointer), "invalid_pointer", message, hint, at_key=True)
                    )


def _check_kept_pointers(
    catalog: Located[CatalogDocument],
    path: tuple[str, ...],
    entry: ResourceDocument,
    errors: list[PolicyError],
) -> None:
    for pointer in entry.evidence.arguments if entry.evidence is not None else ():
        if not is_pointer(pointer):
            where = (*path, "evidence", "arguments", pointer)
            message = f"`{pointer}` is no JSON pointer"
            errors.append(
                catalog.error(where, "invalid_pointer", message, did_you_point(pointer), at_key=True)
            )


def check_story(story: Located[StoryDocument], errors: list[PolicyError]) -> None:
    try:
        start = datetime.datetime.fromisoformat(story.document.start)
    except ValueError:
        start = None
    if start is None or start.tzinfo is None:
        message = f"`{story.document.start}` is not an RFC 3339 time with an offset"
        errors.append(story.error(("start",), "invalid_time", message))
    for key in story.document.subjects:
        if ":" not in key:
            message = f"`{key}` is not `type:id`"
            errors.append(story.error(("subjects", key), "invalid_subject", message, at_key=True))
    for name, session in story.document.sessions.items():
        if (session.agent is None) == (session.subject is None):
            message = f"session `{name}` needs either `agent` or `subject`"
            errors.append(story.error(("sessions", name), "invalid_session", message))
        elif session.subject is not None and ":" not in session.subject:
            message = f"`{session.subject}` is not `type:id`"
            errors.append(story.error(("sessions", name, "subject"), "invalid_subject", message))
        _check_parent(story, name, errors)
    for case_index, case in enumerate(story.document.cases):
        last_us = 0
        for step_index, step in enumerate(case.steps):
            path = ("cases", case_index, "steps", step_index)
            last_us = _check_step(story, path, step, last_us, errors)


def _check_parent(story: Located[StoryDocument], name: str, errors: list[PolicyError]) -> None:
    sessions = story.document.sessions
    session = sessions[name]
    if session.parent is None:
        for key in ("tools", "depth", "expires"):
            if getattr(session, key) is not None:
                message = f"`{key}` narrows a delegation, and session `{name}` has no `parent`"
                errors.append(story.error(("sessions", name, key), "needs_parent", message, at_key=True))
        return
    if session.parent not in sessions:
        hint = did_you_mean(session.parent, sessions)
        message = f"unknown session `{session.parent}`"
        errors.append(story.error(("sessions", name, "parent"), "unknown_session", message, hint))
        return
    seen = {name}
    ancestor: str | None = session.parent
    while ancestor is not None and ancestor in sessions:
        if ancestor in seen:
            message = f"session `{name}` would be its own ancestor"
            errors.append(story.error(("sessions", name, "parent"), "circular_parents", message))
            return
        seen.add(ancestor)
        ancestor = sessions[ancestor].parent


def _check_step(
    story: Located[StoryDocument],
    path: tuple[str | int, ...],
    step: StoryStepDocument,
    last_us: int,
    errors: list[PolicyError],
) -> int:
    sessions = story.document.sessions
    if step.session not in sessions:
        hint = did_you_mean(step.session, sessions) or "name it under `sessions`"
        message = f"unknown session `{step.session}`"
        errors.append(story.error((*path, "session"), "unknown_session", message, hint))
    if (step.tool is None) == (step.resource is None):
        errors.append(story.error(path, "invalid_step", "a step needs either `tool` or `resource`"))
    elif step.resource is not None and step.resource_type is None:
        errors.append(story.error(path, "missing_key", "missing key `resource_type`"))
    elif step.tool is not None and step.resource_type is not None:
        message = "`tool` already says the resource type"
        errors.append(story.error((*path, "resource_type"), "invalid_step", message))
    if step.args_after is not None and step.expect != "modify":
        message = f"`args_after` says what `modify` leaves; this step expects `{step.expect}`"
        errors.append(story.error((*path, "args_after"), "invalid_step", message, at_key=True))
    if step.approve and step.expect != "escalate":
        message = f"`approve` lifts an escalation, and the step expects {step.expect}"
        errors.append(story.error((*path, "approve"), "nothing_to_approve", message, at_key=True))
    at_us = last_us if step.at is None else duration_us(step.at)
    if at_us < last_us:
        message = f"`at: {step.at}` lies before the step that precedes it"
        errors.append(story.error((*path, "at"), "clock_went_back", message))
    return max(at_us, last_us)


def _check_on(
    policy: Located[PolicyDocument], path: tuple[str | int, ...], on: On, errors: list[PolicyError]
) -> None:
    for key in type(on).model_fields:
        for pattern in getattr(on, key) or ():
            _check_wildcards(policy, (*path, key), pattern, errors)


def _check_wildcards(
    located: Located[object], path: tuple[str | int, ...], pattern: str, errors: list[PolicyError]
) -> None:
    if wildcards(pattern) > MAX_WILDCARDS:
        message = f"`{pattern}` has {wildcards(pattern)} wildcards; at most {MAX_WILDCARDS}"
        errors.append(located.error(path, "too_many_wildcards", message))
