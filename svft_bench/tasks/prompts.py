"""The released prompt templates, white space included: `render(name, instruction)`."""

from __future__ import annotations

from svft_bench.config.spec import PromptName

_TASK = "Below is an instruction that describes a task. Write a response that appropriately completes the request."
_TASK_WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request."
)
_INDENT = " " * 16  # the commonsense scripts build their prompt inside an indented string

# The commonsense evaluation prompt has one space and an empty line where training has two and an indented one.
TEMPLATES: dict[PromptName, str] = {
    "own": "{instruction}",  # which is the whole prompt already
    "metamath": f"{_TASK}\n\n### Instruction:\n{{instruction}}\n\n### Response:",
    "metamath_step_by_step": (
        f"{_TASK}\n\n### Instruction:\n{{instruction}}\n\n### Response: Let's think step by step."
    ),
    "commonsense": (
        f"{_TASK}  \n\n{_INDENT}### Instruction:\n{_INDENT}{{instruction}}\n{_INDENT}\n"
        f"{_INDENT}### Response:\n{_INDENT}"
    ),
    "commonsense_evaluation": (
        f"{_TASK} \n\n{_INDENT}### Instruction:\n{_INDENT}{{instruction}}\n\n{_INDENT}### Response:\n{_INDENT}"
    ),
}
_METAMATH_WITH_INPUT = (
    f"{_TASK_WITH_INPUT}\n\n### Instruction:\n{{instruction}}\n\n### Input:\n{{input}}\n\n### Response:"
)


def render(name: PromptName, instruction: str) -> str:
    """The prompt for one instruction; `metamath` moves all lines after the first into an input section."""
    if name == "metamath":
        instruction, _, rest = instruction.partition("\n")
        if rest:
            return _METAMATH_WITH_INPUT.format(instruction=instruction, input=rest)
    return TEMPLATES[name].format(instruction=instruction)
