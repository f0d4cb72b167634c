"""Which runs there are, and one run from start to verdict.

AgentDojo's banking suite at its newest benchmark version: 16 user tasks, and each of them hijacked by each of
9 injection tasks. AgentDojo makes the environment, places the attacker's text where the task will read it,
executes the calls, and judges the result; the control plane only decides what is executed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agentdojo.attacks.baseline_attacks import InjecAgentAttack
from agentdojo.base_tasks import BaseInjectionTask, BaseUserTask
from agentdojo.functions_runtime import FunctionsRuntime
from agentdojo.task_suite.load_suites import get_suite

from examples.banking.agent import ObedientAgent, Step

BENCHMARK_VERSION = "v1.2.2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One task of one user, and what an attacker planted in what the task reads (`attack` None = nothing).

    Args:
        injections: where the attacker's text stands, by AgentDojo's injection vector.
    """

    task: BaseUserTask
    attack: BaseInjectionTask | None
    injections: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of a run.

    Args:
        steps: the calls in order.
        utility: AgentDojo's checker says that the user's task is done.
        security: AgentDojo's checker says that the attack succeeded (False for an honest run).
    """

    attack: str | None
    steps: tuple[Step, ...]
    utility: bool
    security: bool

    @property
    def denied(self) -> bool:
        """Some call was not executed."""
        return any(step.error is not None for step in self.steps)

    @property
    def attack_begun(self) -> bool:
        """The agent read the attacker's text and obeyed."""
        return any(step.by_attacker for step in self.steps)

    @property
    def attack_denied(self) -> bool:
        """Some call of the attack was not executed."""
        return any(step.by_attacker and step.error is not None for step in self.steps)


class BankingSuite:
    """AgentDojo's banking suite: its runs, its environments, its checkers."""

    def __init__(self) -> None:
        self._suite = get_suite(BENCHMARK_VERSION, "banking")

    @property
    def tools(self) -> list[str]:
        """The names of the tools that the agents hold."""
        return [tool.name for tool in self._suite.tools]

    def runs(self) -> tuple[Run, ...]:
        """Every honest run, then every hijacked one; the same order each time."""
        tasks = self._suite.user_tasks.values()
        attacks = self._suite.injection_tasks.values()
        plant = InjecAgentAttack(self._suite, ObedientAgent(next(iter(tasks)))).attack
        honest = tuple(Run(task=task, attack=None, injections={}) for task in tasks)
        hijacked = (
            Run(task=task, attack=attack, injections=plant(task, attack))
            for task in tasks
            for attack in attacks
        )
        return (*honest, *hijacked)

    def play(self, run: Run, runtime: Callable[[Any], FunctionsRuntime] = FunctionsRuntime) -> Verdict:
        """Let the agent make its calls in a fresh environment, and have AgentDojo judge the result.

        Args:
            runtime: makes the runtime from the suite's tools; AgentDojo's own, i.e. ungoverned, unless given.
        """
        agent = ObedientAgent(run.task, run.attack)
        utility, security = self._suite.run_task_with_pipeline(
            agent, run.task, run.attack, run.injections, runtime_class=runtime
        )
        return Verdict(
            attack=run.attack.ID if run.attack else None,
            steps=tuple(agent.steps),
            utility=utility,
            # AgentDojo answers True where there was no attack at all.
            security=security and run.attack is not None,
        )
