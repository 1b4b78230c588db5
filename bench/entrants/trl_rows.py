"""Rows of a rollout batch in the forms that TRL's offline trainers read."""

from typing import Any, NamedTuple

from torch.utils.data import DataLoader

from bench.config.entrants import Offline, TrlDPO
from bench.model.policy import Policy
from bench.train.batch import Group


def as_given(cls: Any) -> Any:
    """One of TRL's trainers that reads ready token rows in given batches: `batches`, of numbers."""

    class AsGiven(cls):
        batches: list[list[int]]

        def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
            return dataset

        def get_train_dataloader(self) -> DataLoader[Any]:
            return DataLoader(
                self.train_dataset, batch_sampler=self.batches, collate_fn=self.data_collator
            )

    return AsGiven


class Records(NamedTuple):
    """A rollout batch as TRL's collators want it."""

    rows: list[dict[str, Any]]
    trained: list[int]  # which of the batch's rows, which stand group by group


def demonstrations(spec: Offline, groups: list[Group], policy: Policy) -> Records:
    records = []
    for group in groups:
        assert group.example.solution is not None  # checked with the config
        prompt = policy.encode_prompt(group.example.prompt)
        answer = policy.encode_response(group.example.solution)
        records.append({"input_ids": prompt + answer, "labels": [-100] * len(prompt) + answer})
    return Records(records, [*range(len(records))])


def pairs(spec: TrlDPO, groups: list[Group], policy: Policy) -> Records:
    """A prompt's right and wrong samples: the k-th of each, or every one with every one."""
    records: list[dict[str, Any]] = []
    used: set[int] = set()
    first = 0
    for group in groups:
        prompt = policy.encode_prompt(group.example.prompt)
        right = [k for k, r in enumerate(group.responses) if r.grade.correct]
        wrong = [k for k, r in enumerate(group.responses) if not r.grade.correct]
        all_pairs = [(a, b) for a in right for b in wrong]
        for a, b in zip(right, wrong, strict=False) if spec.pairing == "matched" else all_pairs:
            chosen, rejected = group.responses[a].ids, group.responses[b].ids
            records.append({"prompt_ids": prompt, "chosen_ids": chosen, "rejected_ids": rejected})
            used |= {first + a, first + b}
        first += len(group.responses)
    return Records(records, sorted(used))


def verdicts(spec: Offline, groups: list[Group], policy: Policy) -> Records:
    """Each sample, and beside it the next prompt's sample for TRL's estimate of the KL."""
    records = [
        {"prompt_ids": policy.encode_prompt(group.example.prompt), "completion_ids": own.ids,
         "KL_completion_ids": other.ids, "label": own.grade.correct}
        for group, following in zip(groups, [*groups[1:], groups[0]], strict=True)
        for own, other in zip(group.responses, following.responses, strict=True)
    ]  # fmt: skip
    return Records(records, [*range(len(records))])
