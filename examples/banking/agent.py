"""The agents of the demo: they do what AgentDojo's ground truth says, and obey whoever they read last.

No model is involved. An honest agent makes exactly the calls that solve its user's task. A hijacked one is
the worst case that AgentDojo's ground truth can express: it follows its user until a tool's result shows it the
attacker's text, then makes every call that the attack needs, then finishes its user's task as if nothing had
happened. All calls of a run are made in one session, and a denied call stops nothing: the agent takes the
refusal and goes on.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agentdojo.agent_pipeline.base_pipeline_element import BasePipelineElement
from agentdojo.agent_pipeline.tool_execution import tool_result_to_str
from agentdojo.base_tasks import BaseInjectionTask, BaseUserTask
from agentdojo.functions_runtime import FunctionCall, FunctionsRuntime
from agentdojo.types import (
    ChatAssistantMessage,
    ChatMessage,
    ChatToolResultMessage,
    text_content_block_from_string,
)
from pydantic_core import to_jsonable_python


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One call that the agent made; `by_attacker` = the attack asked for it; `error` None = executed."""

    tool: str
    by_attacker: bool
    error: str | None


class ObedientAgent(BasePipelineElement):  # type: ignore[misc]
    """One run of one task, hijacked or not.

    Args:
        user_task: whose ground truth it follows.
        injection_task: the attack that it falls for, once a result shows its goal; None = an honest run.
    """

    name = "obedient"

    def __init__(self, user_task: BaseUserTask, injection_task: BaseInjectionTask | None = None) -> None:
        self._user_task = user_task
        self._injection_task = injection_task
        self.steps: list[Step] = []

    def query(
        self,
        query: str,
        runtime: FunctionsRuntime,
        env: Any = None,
        messages: Sequence[ChatMessage] = (),
        extra_args: dict[str, Any] | None = None,
    ) -> tuple[str, FunctionsRuntime, Any, Sequence[ChatMessage], dict[str, Any]]:
        """AgentDojo's pipeline interface: make the calls, return the conversation."""
        to_do = deque((call, False) for call in self._user_task.ground_truth(env))
        attack = self._injection_task
        # Before the agent changes anything: an attack's ground truth quotes the environment as it was.
        attack_calls = [(call, True) for call in attack.ground_truth(env)] if attack else []
        new_messages: list[ChatMessage] = []
        while to_do:
            call, by_attacker = to_do.popleft()
            result, error = runtime.run_function(env, call.function, call.args)
            self.steps.append(Step(tool=call.function, by_attacker=by_attacker, error=error))
            new_messages += _messages(call, result, error)
            if (
                attack_calls
                and attack
                and attack.GOAL in json.dumps(to_jsonable_python(result), ensure_ascii=False)
            ):
                to_do.extendleft(reversed(attack_calls))
                attack_calls = []
        answer = text_content_block_from_string(self._user_task.GROUND_TRUTH_OUTPUT)
        new_messages.append(ChatAssistantMessage(role="assistant", content=[answer], tool_calls=None))
        return query, runtime, env, [*messages, *new_messages], extra_args or {}


def _messages(call: FunctionCall, result: Any, error: str | None) -> list[ChatMessage]:
    said = text_content_block_from_string("")
    returned = text_content_block_from_string(tool_result_to_str(result) if error is None else "")
    return [
        ChatAssistantMessage(role="assistant", content=[said], tool_calls=[call]),
        ChatToolResultMessage(
            role="tool", content=[returned], tool_call=call, tool_call_id=None, error=error
        ),
    ]
