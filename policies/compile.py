"""From documents to a bundle: names resolved, conditions type-checked, atoms numbered, hashed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from policies import approve_clause, cel
from policies.bundle import Atom, Bundle
from policies.catalog_build import build_catalog
from policies.cel_types import Arguments, check_condition
from policies.clauses import CheckedClauses, ClauseError, check_clauses, reserved_name
from policies.documents import DefineDocument, PolicyDocument, RuleDocument
from policies.effect import Effect
from policies.error import PolicyError, PolicyErrors, Source, did_you_mean
from policies.keeping_documents import clear_values_of
from policies.loader import DocumentSet, load_documents
from policies.located import Located
from policies.normal_form import atom_of, authors_of, digest_of
from policies.program_build import ProgramBuilder
from policies.rule_build import build_rule
from policies.vocabulary import Vocabulary

_DEFAULT_NAME = "bundle"

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Placed:
    """A rule or a define, and where it stands."""

    policy: Located[PolicyDocument]
    path: Path
    document: RuleDocument | DefineDocument

    @property
    def atom(self) -> Atom:
        return atom_of(self.document.on, self.document.when)


def compile_sources(sources: Sequence[tuple[str, str]]) -> Bundle:
    """Load and compile (name, text) pairs, as bundles travel and are stored.

    Raises: PolicyErrors: all errors of the loader at once, or else all of the compiler.
    Cost: that of `load_documents`, which parses YAML, and of `compile_bundle`.
    """
    return compile_bundle(load_documents([Source(name=name, text=text) for name, text in sources]))


def compile_bundle(documents: DocumentSet) -> Bundle:
    """Check everything that can be checked before an action comes, and number the atoms.

    Raises: PolicyErrors: all errors at once, each with file, line and column.
    Cost: about 0.1 ms per distinct condition; O(rules and catalog entries) otherwise.
    """
    errors: list[PolicyError] = []
    warnings: list[PolicyError] = []
    settings = documents.bundle.document if documents.bundle is not None else None
    uncatalogued = Effect(settings.uncatalogued) if settings is not None else Effect.DENY
    catalog = build_catalog(documents.catalogs, errors, warnings)
    rules = _unique_rules(documents, errors)
    defines = _unique_defines(documents, errors)
    vocabulary = Vocabulary(catalog, closed=uncatalogued is Effect.DENY)
    _check_controls(documents, rules, errors, warnings)
    conditions: dict[str, cel.Condition | cel.ConditionError] = {}
    for placed in (*rules.values(), *defines.values()):
        _check_on(placed, vocabulary, errors, warnings)
        _check_when(placed, vocabulary.arguments(placed.atom), conditions, errors)
    for (_, name), placed in defines.items():
        if wrong := reserved_name(name):
            errors.append(placed.policy.error(placed.path, "reserved_name", wrong, at_key=True))
    authors = authors_of(documents)
    clauses = {
        name: _check_past(name[0], placed, defines, vocabulary, authors[name[0]], errors, warnings)
        for name, placed in rules.items()
    }
    if errors:
        raise PolicyErrors(errors)
    default = Effect(settings.default) if settings is not None else Effect.DENY
    if not rules:
        warnings.append(_no_rules(documents, default))
    atoms: dict[Atom, int] = {}
    for _, placed in (*sorted(rules.items()), *sorted(defines.items())):
        atoms.setdefault(placed.atom, len(atoms))
    named = {name: atoms[placed.atom] for name, placed in sorted(defines.items())}
    builder = ProgramBuilder(atoms)
    monitored = settings is not None and settings.mode == "monitor"
    if monitored and default is Effect.DENY:
        warnings.append(_denies_all(documents))
    compiled = [
        build_rule(
            name,
            _rule_of(placed),
            atoms[placed.atom],
            clauses[name],
            _defines_of(name[0], defines),
            atoms,
            builder,
            authors=authors[name[0]],
            monitored=monitored,
        )
        for name, placed in sorted(rules.items())
    ]
    first = documents.policies[0].document.name if documents.policies else _DEFAULT_NAME
    return Bundle(
        digest=digest_of(documents),
        name=settings.name if settings is not None else first,
        default=default,
        uncatalogued=uncatalogued,
        rules=compiled,
        atoms=tuple(atoms),
        defines=named,
        catalog=catalog,
        sources=documents.sources,
        warnings=warnings,
        program=builder.program(),
        measures=builder.measures(),
        clear=clear_values_of(settings.evidence if settings is not None else None),
    )


def _denies_all(documents: DocumentSet) -> PolicyError:
    assert documents.bundle is not None
    message = "a monitored bundle grants nothing, so its `default: deny` denies everything"
    return documents.bundle.error(
        ("mode",), "monitored_bundle_denies", message, "say `default: allow` to only watch"
    )


def _no_rules(documents: DocumentSet, default: Effect) -> PolicyError:
    would = "nothing would ever be allowed" if default is Effect.DENY else "no rule would ever deny"
    message = f"the bundle has no rule: {would}"
    for located in (*documents.policies, documents.bundle, *documents.catalogs):
        if located is not None:
            return located.error((), "no_rules", message)
    name = documents.sources[0].name if documents.sources else _DEFAULT_NAME
    return PolicyError(file=name, line=1, column=1, code="no_rules", message=message)


def _unique_rules(documents: DocumentSet, errors: list[PolicyError]) -> dict[tuple[str, str], _Placed]:
    rules: dict[tuple[str, str], _Placed] = {}
    for policy in documents.policies:
        for index, rule in enumerate(policy.document.rules):
            placed = _Placed(policy=policy, path=("rules", index), document=rule)
            _put(rules, (policy.document.name, rule.id), placed, "rule", ("rules", index, "id"), errors)
    return rules


def _unique_defines(documents: DocumentSet, errors: list[PolicyError]) -> dict[tuple[str, str], _Placed]:
    defines: dict[tuple[str, str], _Placed] = {}
    for policy in documents.policies:
        for name, define in policy.document.define.items():
            placed = _Placed(policy=policy, path=("define", name), document=define)
            _put(defines, (policy.document.name, name), placed, "define", placed.path, errors)
    return defines


def _put(
    table: dict[tuple[str, str], _Placed],
    name: tuple[str, str],
    placed: _Placed,
    what: str,
    path: Path,
    errors: list[PolicyError],
) -> None:
    earlier = table.setdefault(name, placed)
    if earlier is not placed:
        where = earlier.policy.error(earlier.path, "", "")
        message = f"{what} `{'/'.join(name)}` is already defined at {where.file}:{where.line}"
        errors.append(placed.policy.error(path, "duplicate_id", message, at_key=what == "define"))


def _rule_of(placed: _Placed) -> RuleDocument:
    assert isinstance(placed.document, RuleDocument)
    return placed.document


def _defines_of(policy: str, defines: Mapping[tuple[str, str], _Placed]) -> dict[str, DefineDocument]:
    return {
        name: placed.document
        for (own, name), placed in defines.items()
        if own == policy and isinstance(placed.document, DefineDocument)
    }


def _check_past(
    policy: str,
    placed: _Placed,
    defines: Mapping[tuple[str, str], _Placed],
    vocabulary: Vocabulary,
    authors: Sequence[str],
    errors: list[PolicyError],
    warnings: list[PolicyError],
) -> CheckedClauses:
    document = placed.document
    assert isinstance(document, RuleDocument)
    found = check_clauses(
        document,
        [name for owner, name in defines if owner == policy],
        lambda: vocabulary.arguments(placed.atom),
        lambda name: vocabulary.arguments(defines[policy, name].atom),
    )
    found.errors += approve_clause.check_approve(document, authors)
    errors += [_clause_error(placed, one) for one in found.errors]
    warnings += [_clause_error(placed, one) for one in found.warnings]
    return found


def _clause_error(placed: _Placed, one: ClauseError) -> PolicyError:
    path = (*placed.path, *one.path)
    offset = (0, 0)
    if one.offset is not None:
        text = str(placed.policy.root.find(path).plain())
        offset = _offset_in_file(placed, path, *_line_and_column(text, one.offset))
    message = f"{one.message} in {_shown(placed)}"
    return placed.policy.error(path, one.code, message, one.hint, at_key=one.at_key, offset=offset)


def _check_on(
    placed: _Placed, vocabulary: Vocabulary, errors: list[PolicyError], warnings: list[PolicyError]
) -> None:
    for key, patterns in placed.atom.on:
        for pattern in patterns:
            strange = vocabulary.strange(key, pattern)
            if strange is None:
                continue
            is_error, message, hint = strange
            path = _value_path(placed, key, pattern)
            code = f"unknown_{key}" if is_error else "matches_nothing"
            finding = placed.policy.error(path, code, f"{message} in {_shown(placed)}", hint)
            (errors if is_error else warnings).append(finding)


def _value_path(placed: _Placed, key: str, pattern: str) -> Path:
    """To the very item of a list, where the value is written as a list."""
    path = (*placed.path, "on", key)
    written = placed.policy.root.find(path).value
    if isinstance(written, list):
        return (*path, next(index for index, node in enumerate(written) if node.value == pattern))
    return path


def _check_when(
    placed: _Placed,
    arguments: Arguments,
    conditions: dict[str, cel.Condition | cel.ConditionError],
    errors: list[PolicyError],
) -> None:
    text = placed.document.when
    if text is None:
        return
    condition = conditions.get(text)
    if condition is None:
        try:
            condition = cel.Condition(text)
        except cel.ConditionError as refused:
            condition = refused
        conditions[text] = condition
    if isinstance(condition, cel.ConditionError):
        found = [(condition.line, condition.column, "invalid_condition", condition.message, condition.hint)]
    else:
        found = [
            (*_line_and_column(text, finding.offset), finding.code, finding.message, finding.hint)
            for finding in check_condition(condition.ast(), arguments, cel.regex_error)
        ]
    path = (*placed.path, "when")
    for line, column, code, message, hint in found:
        offset = _offset_in_file(placed, path, line, column)
        message = f"{message} in {_shown(placed)}"
        errors.append(placed.policy.error(path, code, message, hint, offset=offset))


def _line_and_column(text: str, offset: int) -> tuple[int, int]:
    before = text[:offset]
    return before.count("\n") + 1, offset - before.rfind("\n")


def _offset_in_file(placed: _Placed, path: Path, line: int, column: int) -> tuple[int, int]:
    """How far the place in a condition's text lies from where its YAML value begins, where that is certain.

    Whatever YAML makes of line breaks and indents, the other characters are the same in the file and in the text.
    """
    node = placed.policy.root.find(path)
    lines = placed.policy.source.text.splitlines()
    row, start = node.line - 1, node.column - 1
    quoted = node.style in ("'", '"')
    if quoted and {"'": "''", '"': "\\"}[node.style] in lines[row][start + 1 :]:
        return 0, column if line == 1 else 0  # what is escaped takes more room in the file
    text = str(node.value)
    at = sum(len(one) + 1 for one in text.split("\n")[: line - 1]) + column - 1
    end = at >= len(text.rstrip())
    skipped = len("".join(text[:at].split())) - end
    row, start = (row, start + quoted) if node.style not in ("|", ">") else (row + 1, 0)
    for number, written in enumerate(lines[row:], row):
        for place in range(start, len(written)):
            if written[place].isspace():
                continue
            if skipped <= 0:
                rows = number - node.line + 1
                return rows, place + end - (0 if rows else node.column - 1)
            skipped -= 1
        start = 0
    return 0, 0


def _check_controls(
    documents: DocumentSet,
    rules: Mapping[tuple[str, str], _Placed],
    errors: list[PolicyError],
    warnings: list[PolicyError],
) -> None:
    known: dict[str, Located[object]] = {}
    names: set[str] = set()
    for located in documents.controls:
        if located.document.name in names:
            message = f"a second `kind: Controls` named `{located.document.name}`"
            errors.append(located.error(("name",), "duplicate_id", message))
        names.add(located.document.name)
        for control in located.document.controls:
            if control in known:
                message = f"control `{control}` is already listed in {known[control].source.name}"
                errors.append(located.error(("controls", control), "duplicate_id", message, at_key=True))
            known[control] = located
    if not documents.controls:
        return
    for placed in rules.values():
        assert isinstance(placed.document, RuleDocument)
        for control in placed.document.controls:
            if control not in known:
                message = f"unknown control `{control}` in {_shown(placed)}"
                hint = did_you_mean(control, known)
                path = (*placed.path, "controls")
                warnings.append(placed.policy.error(path, "unknown_control", message, hint))


def _shown(placed: _Placed) -> str:
    policy = placed.policy.document.name
    if isinstance(placed.document, RuleDocument):
        return f"rule `{policy}/{placed.document.id}`"
    return f"define `{policy}/{placed.path[-1]}`"
