"""Ask the control plane before every action, act only when it allows, report what became of it.

from controlplane_sdk import ControlPlane

with ControlPlane("http://127.0.0.1:8470", key) as control_plane:
    decision = control_plane.decide(
        agent="treasury-bot", tool="payments.transfer", arguments=arguments, modifies=True
    )
    if decision:                                     # False for everything but a clean allow
        result = transfer(**decision.arguments)      # as rules may have rewritten them
        control_plane.outcome(decision.id, "succeeded", result=result)
"""

from controlplane_sdk.client import ControlPlane, ControlPlaneError
from controlplane_sdk.decision import Decision, Reason

__all__ = ["ControlPlane", "ControlPlaneError", "Decision", "Reason"]
