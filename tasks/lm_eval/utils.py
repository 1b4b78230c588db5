"""What the YAML files beside this one call: the project's questions, graded by its own checker.

    lm_eval --model hf --model_args pretrained=FOLDER --include_path tasks/lm_eval \
        --tasks evenbench_arithmetic

works wherever the project is installed; `evenbench eval` does the same and keeps a row a question.
"""

import json
from functools import cache
from typing import Any

import tasks
from tasks import Example, Grade, Task

MARK = "evenbench_task"  # the field of a row that says which task it is of


def questions(
    evenbench_task: dict[str, Any], evenbench_split: str = "test", **metadata: Any
) -> dict[str, Any]:
    """The questions of a split as lm-eval's `custom_dataset` wants them: {"test": Dataset}. Each
    row carries its task, for `process_results` sees nothing but the row. `evenbench_task` holds the
    name and fields of a task; lm-eval also hands over the YAML file's metadata."""
    import datasets

    task = json.dumps(evenbench_task, sort_keys=True)
    rows = [
        {"id": e.id, "prompt": e.prompt, "gold": e.gold, MARK: task}
        for e in _task(task).examples(evenbench_split)
    ]
    return {"test": datasets.Dataset.from_list(rows)}


def process_results(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    graded = grade(doc, results[0])
    return {"accuracy": float(graded.correct), "strict": float(graded.strict)}


def grade(doc: dict[str, Any], response: str) -> Grade:
    """The grade of a response to one of the rows that `questions` made."""
    return _task(doc[MARK]).grade(Example(doc["id"], doc["prompt"], doc["gold"]), [response])[0]


@cache
def _task(config: str) -> Task:
    return tasks.get(**json.loads(config))
