"""What travels between a Serve replica and an owner: plain tuples, named here.

A pickled frozen dataclass costs nine times a tuple, so a message is sent as ``tuple(message)`` and read back with
``_make`` on the other side. Every field is a str, int, bool, bytes, None or a tuple of those.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class DecisionRequest(NamedTuple):
    """One action, prepared by a replica, for its owner to decide."""

    tenant: str
    subject_type: str
    subject_id: str
    record_version: int  # of the subject's record that the atoms were prepared with
    session: str | None
    action: str
    resource_type: str
    resource_id: str
    possibly: int  # bit i = atom i of the bundle is possibly true
    certainly: int
    refusal: str | None  # a reason code that denies whatever the rules say
    detail: str
    arguments_digest: bytes  # SHA-256 of the RFC 8785 form
    evidence_digest: bytes  # HMAC of it under the deployment's key
    masked_arguments: str  # JSON text
    idempotency_key: str | None
    deadline_us: int  # wall clock; what arrives later is denied
    received_us: int  # wall clock
    dry_run: bool
    key_id: str
    trace_id: str | None
    span_id: str | None
    tool_call_id: str | None
    group: int  # items of one `evaluations` call share a number; 0 = alone
    stop_on: str | None  # "deny" | "permit": nothing of the group is decided after such an answer
    measures: tuple[
        tuple[int, bytes | int | None], ...
    ] = ()  # keys and amounts that the bundle's program asks
    shadow: tuple[Any, ...] | None = None  # `Shadowed`: the same action, prepared with the shadow bundle
    vouch: tuple[Any, ...] | None = (
        None  # `Vouch` of an agent's home owner, for a session that lives elsewhere
    )
    units: tuple[tuple[Any, ...], ...] | None = (
        None  # `Unit` tuples; None = no rule asks where values come from
    )
    # JSON of the arguments that are destinations and targets, for scopes; b"" = no rule asks, or there are too many
    objects: bytes = b""
    approval: str | None = None  # id of the approval that is to lift an escalation
    wanted: tuple[int, ...] = ()  # indexes of the modify rules that would change the action as it is sent
    rewritten: tuple[Any, ...] | None = None  # `Rewritten`, where all of the above is of a rewritten action
    properties_digest: bytes = b""  # as `arguments_digest`, of `resource.properties`; b"" = there are none
    # JSON text of the arguments as evidence keeps them, where the catalog says how; "" = masked
    kept_arguments: str = ""


class Rewritten(NamedTuple):
    """By what an action was rewritten, and what it was before."""

    rules: tuple[int, ...]  # indexes of the bundle's modify rules, in the order in which they were applied
    arguments_digest: bytes  # of the original
    evidence_digest: bytes
    operations: str  # JSON of those that were applied; policy data, no values of the action
    changes: tuple[tuple[str, str, int], ...]  # pointer, operation, how often


class Shadowed(NamedTuple):
    """An action prepared with the shadow bundle: what of a `DecisionRequest` depends on the bundle."""

    digest: str
    possibly: int
    certainly: int
    refusal: str | None
    measures: tuple[tuple[int, bytes | int | None], ...]
    units: tuple[tuple[Any, ...], ...] = ()
    objects: bytes = b""
    wanted: tuple[int, ...] = ()
    rewritten: tuple[int, ...] = ()  # by which of its own rules: it looks at the action as it was asked


class Vouch(NamedTuple):
    """What an agent's home owner says of an action that another owner is to decide: its session lives there."""

    record_version: int  # the one that the action was prepared with, and the current one
    agent_version: str
    refusal: str | None  # a reason code that denies whatever the session's owner thinks
    reservation: tuple[Any, ...] | None  # `Reserved`: what is held until it is settled; None = nothing
    halted: tuple[str, str] | None = None  # `Halted`, where the refusal is that it meets a stop
    owner: str | None = None  # whose the agent is, as it is registered: a stop may speak of it


class Reserved(NamedTuple):
    """What the past at an agent's home says of an action, which counts as permitted there until it is settled."""

    id: str  # of the reservation, carries the home's ordinal; "" for a dry run
    digest: str  # of the bundle whose numbers these are
    truths: tuple[
        tuple[str, int, bool], ...
    ]  # ("past" | "limit", number, truth) of what looks at all sessions
    held: bool  # False: nothing counts, since no such clause is touched; the home is told if it happens


class Settlement(NamedTuple):
    """What became of a reservation, told to the agent's home: by the replica at once, and in the background."""

    reservation: str
    verdict: str  # PERMITTED | DENIED | VOID
    outcome: str | None = None  # as reported of the permitted action
    witness: bool = False
    action: tuple[str, ...] | None = None  # `Done`, where the home holds nothing


class Done(NamedTuple):
    """A permitted action of which its agent's home knows nothing yet."""

    agent: str  # agent key
    session: str
    action: str
    resource_type: str
    resource_id: str


PERMITTED = "permitted"
DENIED = "denied"  # by the rules: it did not happen, and limits on denials count it
VOID = "void"  # it did not happen


class DecidedAction(NamedTuple):
    """What an owner remembers of the action behind a decision."""

    tenant: str
    subject_type: str
    subject_id: str
    action: str
    resource_type: str
    resource_id: str
    arguments_digest: str  # hexadecimal
    evidence_digest: str  # hexadecimal
    workflow_id: str | None
    past: str | None = None  # what a permitted action left in the pasts, see `actors.remembering`
    shadow_past: str | None = None  # and in those of the shadow bundle
    looked_up: str | None = (
        None  # the worst origin of what its result is looked up by; None = nobody traced it
    )
    escalated: str | None = None  # what a request for approval asks for, see `actors.approvals.use`
    properties_digest: str = ""  # hexadecimal


class Decided(NamedTuple):
    """An owner's answer: durable, unless `dry_run`."""

    id: str
    effect: str
    reason_code: str
    reasons: tuple[tuple[str, str, tuple[str, ...]], ...]  # rule, because, controls
    detail: str
    session: str | None
    expires_us: int  # 0 unless permitted
    bundle: str | None
    replayed: bool
    # Of a rewritten action: what `Rewritten.operations` holds, and the digest of what they make of the original.
    operations: str = ""
    rewritten_digest: str = ""
    access: tuple[str, int] | None = (
        None  # binding token and until when it is good: approval can be asked for
    )
    approval: tuple[str, str, int] | None = None  # id, state, until when: what permitted it


class Outcome(NamedTuple):
    """What became of a permitted action, as its PEP reports it."""

    decision_id: str
    status: str  # succeeded | failed | not_executed
    complete: bool
    labels: tuple[str, ...]
    executed_digest: bytes | None
    result_digest: bytes | None  # HMAC under the deployment's key; the text itself is not kept
    key_id: str
    witness: bool
    told: tuple[Any, ...] | None = None  # `Told` of the result, where rules ask for origins


class SessionRequest(NamedTuple):
    """Open a session for a subject."""

    tenant: str
    subject_type: str
    subject_id: str
    task_digest: bytes | None
    new_workflow: bool
    key_id: str
    principal: str | None = None  # `type:id`, on whose behalf; None = as it comes about
    parent: str | None = None  # a delegation token: the session joins the workflow of the one that delegated
    vouch: tuple[Any, ...] | None = None  # `Vouch` of the agent's home owner, when the parent lives elsewhere
    told: tuple[Any, ...] | None = None  # `Told` of the task
    basis: bytes | None = None  # JSON of `Basis`: the declared scope, and what the task's words ask for


class DelegationRequest(NamedTuple):
    """Let another agent do part of a session's work in its name."""

    tenant: str
    session: str
    to: str  # an agent's id
    tools: tuple[str, ...] | None
    depth: int
    expires_in_us: int
    principal: str | None  # must be the session's own, if given
    key_id: str


# How an owner answers for one item of a batch: a tag and what belongs to it.
DECIDED = "decided"  # + Decided fields
REWRITE = "rewrite"  # + indexes of rules: nothing was decided; rewrite it by those and ask again
STALE_RECORD = "stale_record"  # + version, record JSON or None: prepare again with this one
CONFLICT = "conflict"  # + text: the idempotency key is bound to other arguments
SKIPPED = "skipped"  # after a short circuit
VOUCHED = "vouched"  # + Vouch fields

# How an owner answers for a whole batch.
STALE_BUNDLE = "stale_bundle"  # + the owner's active digest or None
BATCH = "batch"  # + one answer an item
