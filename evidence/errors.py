"""What can go wrong with the evidence table.

UnavailableError
└── EvidenceUnavailableError   it cannot be opened, written or made durable now: nothing may be trimmed
    ├── EvidenceDamagedError   files are missing or cut short, or are not what was signed (fields: `file`, `expected`,
    │                          `found`, as far as they are known)
    └── EvidenceKeyError       there is no usable key to sign with (field: `path`)
ConflictError
├── SchemaMismatchError        it is another table, or another version's (fields: `expected`, `found`)
└── RetentionOvertakenError    what was due to leave has changed since it was looked at: nothing has left
NotFoundError
└── NoEvidenceError            there is no table at this path
InputError
├── EvidencePlaceError         a path or URI that names no place for evidence, or an endpoint that is none
└── QueryError                 the SQL is wrong, asks for more than reading, or for too much
"""

from __future__ import annotations

from controlplane.errors import ConflictError, InputError, NotFoundError, UnavailableError


class EvidenceUnavailableError(UnavailableError):
    code = "evidence_unavailable"


class EvidenceDamagedError(EvidenceUnavailableError):
    code = "evidence_damaged"


class EvidenceKeyError(EvidenceUnavailableError):
    code = "evidence_key"


class SchemaMismatchError(ConflictError):
    code = "schema_mismatch"


class RetentionOvertakenError(ConflictError):
    code = "retention_overtaken"


class NoEvidenceError(NotFoundError):
    code = "no_evidence"


class EvidencePlaceError(InputError):
    code = "invalid_evidence_place"


class QueryError(InputError):
    code = "invalid_query"
