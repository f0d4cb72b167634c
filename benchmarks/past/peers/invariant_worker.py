"""invariant-ai as its documentation uses it: a local policy that analyses the whole trace, each time anew.

It knows no time, so the rules have no window. By default it stops after 100 combinations of calls, which a trace of 30
exceeds; the parent process lifts that (INVARIANT_MAX_ITERATIONS).
"""

from __future__ import annotations

from typing import Any

from benchmarks.past.peers.work import ABOVE, COUNT, SEND, serve

from invariant.analyzer import LocalPolicy  # type: ignore[import-not-found]  # isort: skip  # in a virtual environment of its own

_POLICIES = {
    SEND: """
raise "personal data leave" if:
    (read: ToolCall) -> (send: ToolCall)
    read is tool:read_customer
    send is tool:send_mail
""",
    COUNT: f"""
from invariant import count
raise "too many" if:
    count(min={ABOVE + 1}):
        (call: ToolCall)
        call is tool:list_files
""",
}
_COMPILED = {rule: LocalPolicy.from_string(text) for rule, text in _POLICIES.items()}


class Invariant:
    """One run."""

    def __init__(self, rule: str) -> None:
        self._policy = _COMPILED[rule]
        self._trace: list[dict[str, Any]] = []

    def feed(self, tool: str) -> None:
        self._trace.append(self._call(tool))
        answered = self._trace[-1]["tool_calls"][0]["id"]
        self._trace.append({"role": "tool", "tool_call_id": answered, "content": "done"})

    def allows(self, tool: str) -> bool:
        return not self._policy.analyze([*self._trace, self._call(tool)]).errors

    def _call(self, tool: str) -> dict[str, Any]:
        function = {"name": tool, "arguments": {"id": "7"}}
        call = {"id": str(len(self._trace)), "type": "function", "function": function}
        return {"role": "assistant", "content": "", "tool_calls": [call]}


if __name__ == "__main__":
    serve(Invariant)
