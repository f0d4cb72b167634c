"""dogwood-py as its documentation uses it: one `NativeAuthorizer` for a run, which keeps the history itself.

It gives events a time of its own and has no call for one; a request that it denied is history as well.
"""

from __future__ import annotations

from benchmarks.past.peers.work import ABOVE, COUNT, SEND, SENDS, serve

from dogwood import native  # type: ignore[import-not-found]  # isort: skip  # in a virtual environment of its own

_ACTION = """  action "{name}" in [Action::"CallTool"] appliesTo {{
    principal: [OAuthUser], resource: [Gateway], context: {{ input: {type} }}
  }};
"""
_SCHEMA = (
    """namespace Agent {
  type ReadInput = { id: String };
  type SendInput = { to: String };
  entity Gateway;
  entity OAuthUser;
  action "CallTool" appliesTo { principal: [OAuthUser], resource: [Gateway], context: {} };
"""
    + _ACTION.format(name="read_customer", type="ReadInput")
    + _ACTION.format(name="list_files", type="ReadInput")
    + _ACTION.format(name="send_mail", type="SendInput")
    + "}\n"
)
_POLICIES = {
    SEND: """
permit (principal, action, resource);
forbid (principal, action == Agent::Action::"send_mail", resource)
when temporal { formerly within 1d (Agent::Action::"read_customer"::request{}) };
""",
    COUNT: f"""
permit (principal, action, resource);
forbid (principal, action == Agent::Action::"list_files", resource)
when temporal {{
    exists (n: Long). (
        (count for (t: Timepoint). where (
            formerly within 1d (Agent::Action::"list_files"::request{{}} && tp(t))
        )) == n && n > {ABOVE}
    )
}};
""",
}


class Dogwood:
    """One run."""

    def __init__(self, rule: str) -> None:
        self._authorizer = native.NativeAuthorizer(_POLICIES[rule], _SCHEMA)

    def feed(self, tool: str) -> None:
        self.allows(tool)

    def allows(self, tool: str) -> bool:
        given = {"to": "a@b.example"} if tool == SENDS else {"id": "7"}
        # The name stands without quotation marks: with them no policy matches, and everything is allowed.
        answer = self._authorizer.authorize_request(
            f"Agent::Action::{tool}", 'Agent::OAuthUser::"bot"', 'Agent::Gateway::"gateway"', given
        )
        return bool(answer == "Allow")


if __name__ == "__main__":
    serve(Dogwood)
