"""The whole integration: an agent framework's tool runtime that asks before it acts.

This is the file to copy. Whatever the framework, the enforcement point is the one function through which
every tool call goes: ask, execute only what was allowed, say how it went.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agentdojo.functions_runtime import Function, FunctionsRuntime
from pydantic_core import to_jsonable_python

from controlplane_sdk import ControlPlane


class GovernedRuntime(FunctionsRuntime):  # type: ignore[misc]
    """AgentDojo's runtime, with a decision before and an outcome after every call.

    Args:
        functions: the agent's tools.
        control_plane: whom to ask; a control plane that cannot be reached has denied.
        agent: the agent's registered id.
        session: the session of this run, from `ControlPlane.open_session`.
    """

    def __init__(
        self, functions: Sequence[Function] = (), *, control_plane: ControlPlane, agent: str, session: str
    ) -> None:
        super().__init__(functions)
        self._control_plane = control_plane
        self._agent = agent
        self._session = session

    def run_function(
        self, env: Any, function: str, kwargs: Mapping[str, Any], raise_on_error: bool = False
    ) -> tuple[Any, str | None]:
        """Decide, then execute: returns (result, None), or ("", what went wrong) when denied or failed."""
        try:
            arguments = self._arguments(env, function, kwargs)
        except Exception as error:  # nothing that could be executed, so nothing to decide
            return self._refused(error, raise_on_error)

        decision = self._control_plane.decide(
            agent=self._agent, session=self._session, tool=function, arguments=arguments, modifies=True
        )
        if not decision.allowed:
            because = "; ".join(reason.because for reason in decision.reasons) or decision.reason_code
            return self._refused(PermissionError(f"denied: {because}"), raise_on_error)

        # What was allowed, which rules may have rewritten: not what was asked for.
        arguments = dict(decision.arguments or {})
        result, error_text = super().run_function(env, function, arguments)
        self._control_plane.outcome(
            decision.id,
            "succeeded" if error_text is None else "failed",
            executed_arguments=arguments,
            result=to_jsonable_python(result if error_text is None else error_text),
        )
        if error_text is not None and raise_on_error:
            raise RuntimeError(error_text)
        return result, error_text

    def _arguments(self, env: Any, function: str, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """What will really be executed: nested calls done, each governed on its own, and the tool's own types.

        A model may send an amount as text where the tool reads a number, or null for what it leaves out.
        """
        arguments: dict[str, Any] = self._execute_nested_calls(env, kwargs)
        if function in self.functions:
            schema = self.functions[function].parameters
            arguments = schema.model_validate(arguments).model_dump(exclude_unset=True, exclude_none=True)
        return arguments

    @staticmethod
    def _refused(error: Exception, raise_on_error: bool) -> tuple[str, str]:
        if raise_on_error:
            raise error
        return "", f"{type(error).__name__}: {error}"
