"""How a question becomes a prompt, and what ends an answer.

The template writes the prompt up to where the assistant's answer begins; what follows (a sample, a
reference answer) is always these tokens, then the answer's, then the token by which the template
ends a turn. A reference answer is never rendered by the template: some add or drop text around it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from jinja2 import TemplateError

# For models without a template of their own; written into the tokenizer, so that it is saved too.
PLAIN = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m.role == 'system' %}{{ m.content }}\n\n"
    "{% elif m.role == 'user' %}User:\n{{ m.content }}\n\n"
    "{% else %}Assistant:\n{{ m.content }}{{ eos_token }}\n\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}Assistant:\n{% endif %}"
)
PLAIN_STOP = "\n\nUser:"  # a base model may write the next turn instead of its end token
QUESTION, ANSWER = "1 + 1?", "It is 2."


@dataclass(frozen=True)
class Chat:
    """A tokenizer's chat template with its settings. Raises ValueError where it cannot be used."""

    tokenizer: Any
    system: str | None = None
    options: Mapping[str, Any] | None = None

    def prompt(self, question: str) -> list[int]:
        """Token ids up to where the answer begins."""
        return self._ids(self._text(question, add_generation_prompt=True))

    def answer(self, text: str) -> list[int]:
        """Token ids of an answer as a continuation: some tokenizers (Llama's) write a space before
        a text that stands alone."""
        before, ids = self._before
        both = self._ids(before + text)
        return both[len(ids) :] if both[: len(ids)] == ids else self._ids(text)

    @cached_property
    def _before(self) -> tuple[str, list[int]]:
        text = self._text(QUESTION, add_generation_prompt=True)
        return text, self._ids(text)

    def end_id(self) -> int | None:
        """The special token that closes an assistant's turn; None where the template has none."""
        text = self._text(QUESTION, ANSWER)
        special = {i for i, t in self.tokenizer.added_tokens_decoder.items() if t.special}
        closing = self._ids(text.rpartition(ANSWER)[2])
        return next((i for i in closing if i in special), None)

    def _text(self, question: str, answer: str | None = None, **how: Any) -> str:
        messages = [{"role": "system", "content": self.system}] if self.system else []
        messages += [{"role": "user", "content": question}]
        messages += [{"role": "assistant", "content": answer}] if answer else []
        if not self.tokenizer.chat_template:
            raise ValueError("the tokenizer has no chat template; chat = 'plain' needs none")
        try:
            how = {**(self.options or {}), **how}
            return self.tokenizer.apply_chat_template(messages, tokenize=False, **how)
        except TemplateError as error:
            raise ValueError(f"the chat template refuses: {error}") from error

    def _ids(self, text: str) -> list[int]:
        """A template writes its own start token."""
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])
