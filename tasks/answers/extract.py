"""Where in a response the answer stands: the published protocols, and one flexible reading.

Every protocol looks only at what follows the last `</think>`: an answer before it is not given.
The flexible reading (`auto`) takes the first of these that a response has: `<answer>` tags, boxes,
`####`, a sentence that says "the answer is", the last formula or number. It yields one answer, so
that a response cannot be right by offering several.

Sources: GSM8K (arXiv:2110.14168) `#### n`; MATH (arXiv:2103.03874) the last `\\boxed`; Minerva
(arXiv:2206.14858) "Final Answer: The final answer is X. I hope it is correct."
"""

import re
from collections import deque
from typing import Literal, get_args

Style = Literal["auto", "boxed", "hashes", "last-number", "answer-tag", "minerva"]
STYLES: tuple[str, ...] = get_args(Style)

MAX_RESPONSE = 200_000  # characters; only the end of a longer response is read

# Control characters where a command was unescaped once too often ("\f" + "rac").
CONTROL = {"\x07": "\\a", "\x08": "\\b", "\x0b": "\\v", "\x0c": "\\f"}
_CONTROL = re.compile("[\x07\x08\x0b\x0c](?=[a-z])")
_ONE_BACKSLASH = re.compile(r"(?<!\\)\\[a-zA-Z]")
_TWO_BACKSLASHES = re.compile(r"\\\\(?=[a-zA-Z({\[)}\]])")
_DOUBLED = re.compile(
    r"\\\\(?=(?:[dt]?frac|sqrt|left|right|text|boxed|in|le|ge|leq|geq|cup|cap|pi|infty|times|cdot|pm)"
    r"(?![a-zA-Z]))"
)

_END_TOKENS = re.compile(
    r"<\|(?:im_start|im_end|im_sep|endoftext|end_of_text|eot_id|end|eos|user|assistant)\|?>|</s>|<eos>"
    r"|<end_of_turn>|<｜end▁of▁sentence｜>"
)
_BOX_TOKEN = re.compile(r"\\{1,4}(?:boxed|fbox)(?:\s{0,9}\{|(?![a-zA-Z{]))|\\[\s\S]|[{}]")
_TAG = re.compile(r"<answer>", re.IGNORECASE)
_TAG_END = re.compile(r"</answer>", re.IGNORECASE)

# A number in running text: 1,234.5  .5  -3  13/28  4 4/9  1e-6, with an optional percent sign.
_NUMBER = (
    r"(?:\d{1,3}(?: \d{3}){1,9}(?=,\d{1,2}(?![\d,]))|\d{1,3}(?:,\d{3})+(?!\d)"
    r"|\d{1,3}(?:[\u00a0\u2009\u202f]\d{3})+(?!\d)|\d+)"
)
_DECIMAL = rf"(?:{_NUMBER}(?:\.\d+)?(?:,\d{{1,2}}(?![\d,]))?|\.\d+)(?:[eE][+-]?\d{{1,4}}(?![\w]))?"
_LAST_NUMBER = re.compile(
    rf"(?<![A-Za-z0-9.^_])(?:(?<![\d)\]}}%])[-\u2212])?\$?"
    rf"(?:\d{{1,9}} \d{{1,9}}/\d{{1,9}}(?![\d/])|{_DECIMAL}(?:/-?{_DECIMAL})?)"
    r"(?:\s?(?:\\?%|percent\b|pct\b))?"
)
_ANY_NUMBER = re.compile(rf"[-\u2212]?{_DECIMAL}")

_FINAL = re.compile(r"final answer[ *#]*(?:is\b\s*:?|:|\uff1a|\n)", re.IGNORECASE)
_PHRASE = re.compile(
    r"\bans(?:wer)?\s*(?:to (?:this|the) (?:question|problem)\s*)?"
    r"(?:is\b|are\b|equals\b|would be\b|will be\b|must be\b|:|\uff1a|=)\s*:?"
    r"|\b(?:r\u00e9ponse|respuesta|risposta|resposta|antwort|odpowied\u017a|\u043e\u0442\u0432\u0435\u0442)\s*(?:est|es|\u00e8|\u00e9|ist)?\s*:?"
    r"|\u7b54\u6848\s*(?:\u662f|\u4e3a|:|\uff1a)|\bAnswer\b(?=\s*(?:\$|\\\(|\\\[))"
    r"|\b(?:correct|right|best) (?:option|choice|statement) is\b:?",
    re.IGNORECASE,
)
_HOPE = re.compile(r"[.,]?\s*I hope (?:it|this) is correct", re.IGNORECASE)
_SENTENCE_END = re.compile(r"(?<!\b[ie]\.[eg])\.(?=\s|$|\*)|\n|\u3002|[!?](?=\s+[A-Z])")
_IS = re.compile(
    r"(?:\bis\b|\bare\b|\bequals\b|\bbe\b|\bgives\b|:(?!\S)|\uff1a)\s*(?:just\b|exactly\b)?"
)
_DELIMITER = re.compile(r"\\[\[\]()]|\\[\s\S]|\$\$|\$|\n\s*?\n")
_CLOSING = {"\\[": "\\]", "\\(": "\\)", "$$": "$$", "$": "$"}
_BARE = re.compile(  # LaTeX without marks around it
    r"(?:\\[a-zA-Z]+|[-+*/^_=(){}\[\]\d.,|!<> ]|(?<![a-zA-Z\\])[a-zA-Z](?![a-zA-Z]))+"
)
_MEASURED = re.compile(  # 12 miles per hour; 3 hours and 20 minutes
    r"[-+$(]*\s*[\d.,/ ]+[%)]?\s*[a-zA-Z][a-zA-Z .'/-]*(?:\d+\s*[a-zA-Z]+)?"
)
_BUT = re.compile(r",?\s+(?:but|because|since|if|when)\b")  # what follows is not the answer
_RATIO = (  # 3:4, 12:30 p.m.
    r"(?<![\w:.])\d{1,9}(?::\d{1,9}){1,9}(?![\d:]|\.\d)(?:\s?[aApP]\.?\s?[mM]\b\.?)?"
)
_STRUCTURE = re.compile(  # (1, 2)  [2, 5)  {1, 2, 3}  x > 3, in a text without marks
    r"[(\[{][-+\d., a-z/^]*,[-+\d., a-z/^]*[)\]}]"
    rf"|{_RATIO}"
    r"|(?<![a-zA-Z])[a-z]\s*(?:<=|>=|!=|<|>|\u2264|\u2265|\u2260)\s*-?\d[\d./]*"
)
_CALCULATOR = re.compile(r"<<[^<>\n]*>>")  # GSM8K's calculator annotations
_WORDS = re.compile(r"(?<![\\a-zA-Z{])[a-zA-Z]{3,}")
_CONNECTIVE = re.compile(r"\b(?:and|or)\b|[,;&]|\u548c|\u6216")


def unescape(text: str) -> str:
    """Repairs text that went through one string escape too many or too few."""
    if _CONTROL.search(text):
        text = _CONTROL.sub(lambda match: CONTROL[match.group()], text)
    if "\\\\" in text:
        if not _ONE_BACKSLASH.search(text):
            text = _TWO_BACKSLASHES.sub(lambda _: "\\", text)
        elif "\\begin" not in text:
            text = _DOUBLED.sub(lambda _: "\\", text)
    return text


def after_thinking(response: str) -> str:
    """The part of a response that counts: after the last `</think>`, before an end token."""
    response = response[-MAX_RESPONSE:]
    _, closed, rest = response.rpartition("</think>")
    if closed:
        response = rest
    if "<" in response and (end := _END_TOKENS.search(response.lstrip())):
        response = response.lstrip()[: end.start()] or response
    return response


def boxes(text: str, unclosed: bool = False) -> list[tuple[int, int, str]]:
    """The outermost boxes as (start, end, content). An unclosed last box counts where asked for."""
    if "\\boxed" not in text and "\\fbox" not in text:
        return []
    found: list[tuple[int, int, str]] = []
    depth, opened, start, inside = 0, -1, -1, -1  # opened: depth outside of the current box
    for token in _BOX_TOKEN.finditer(text):
        word = token.group()
        if word[-1] == "{" and len(word) > 2:
            if opened < 0:
                opened, start, inside = depth, token.start(), token.end()
            depth += 1
        elif word == "{":
            depth += 1
        elif word == "}":
            depth -= 1
            if opened >= 0 and depth <= opened:
                found.append((start, token.end(), text[inside : token.start()]))
                opened = -1
        elif opened < 0 and word[-4:] in ("oxed", "fbox"):
            rest = re.match(r"\s*([^$\\\s]+)", text[token.end() : token.end() + 200])
            if rest:
                end = token.end() + rest.end()
                found.append((token.start(), end, rest.group(1)))
    if opened >= 0 and unclosed:
        found.append((start, len(text), text[inside:]))
    return found


def _joined(gap: str) -> bool:
    """Whether the text between two boxes makes them parts of one answer."""
    if len(gap) > 80 or re.search(r"[.!?](?:\s|\\n)|\n\s*\n", gap):
        return False
    words = re.findall(r"[a-zA-Z]+", re.sub(r"\\(?:text|quad|qquad|mathrm)\b", " ", gap))
    if not words:
        return True
    return bool(_CONNECTIVE.search(gap)) and len(words) <= 5


def last_boxed(text: str, join: bool = True, unclosed: bool = False) -> str | None:
    """The last box; with `join`, boxes that a short conjunction links are one list."""
    found = boxes(text, unclosed)
    if not found:
        return None
    group, link = [found[-1]], ","
    for box in reversed(found[:-1]):
        gap = text[box[1] : group[-1][0]]
        if not (join and len(group) < 32 and _joined(gap)):
            break
        group.append(box)
        if re.search(r"\bor\b", gap):
            link = "\\text{ or }"
    parts = dict.fromkeys(content.strip() for _, _, content in reversed(group))
    return f" {link} ".join(parts)


def hashes(text: str) -> str | None:
    """What stands after the last `####`, to the end of the line."""
    _, mark, rest = text.rpartition("####")
    if not mark:
        return None
    line = rest.strip().split("\n", 1)[0].strip()
    return line or None


def answer_tag(text: str) -> str | None:
    """The content of the last `<answer>` tag that is closed."""
    ends = list(_TAG_END.finditer(text))
    if not ends:
        return None
    starts = [tag for tag in _TAG.finditer(text) if tag.end() <= ends[-1].start()]
    return text[starts[-1].end() : ends[-1].start()].strip() if starts else None


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    found = deque(pattern.finditer(text), maxlen=1)
    return found[0] if found else None


def last_number(text: str) -> str | None:
    """The last number of a text (GSM8K's flexible reading)."""
    found = _last(_LAST_NUMBER, _CALCULATOR.sub(" ", text)) or _last(_ANY_NUMBER, text)
    return found.group().strip().lstrip("$") if found else None


def formulas(text: str) -> list[tuple[int, int, str]]:
    """The formulas `$...$`, `$$...$$`, `\\(...\\)`, `\\[...\\]` as (start, end, content)."""
    found: list[tuple[int, int, str]] = []
    close, start, inside = "", 0, 0
    for mark in _DELIMITER.finditer(text):
        word = mark.group()
        if word == close:
            found.append((start, mark.end(), text[inside : mark.start()]))
            close = ""
        elif word[0] == "\n" and close == "$":  # a dollar sign for money
            close = ""
        elif word in _CLOSING and (not close or close == "$"):
            close, start, inside = _CLOSING[word], mark.start(), mark.end()
    return found


def _hidden(text: str) -> str:
    """The text with its formulas blanked out, place for place."""
    parts, place = [], 0
    for start, end, _ in formulas(text):
        parts += [text[place:start], "\0" * (end - start)]
        place = end
    return "".join((*parts, text[place:]))


def _is_formula(content: str) -> bool:
    return (
        content.lstrip()[:1] not in ("^", "_", "")  # a power after text: cm$^2$
        and any(c.isalnum() for c in content)
        and not _WORDS.search(content)
    )


def last_bare(text: str) -> tuple[str, int] | None:
    """The last formula that stands in a text without marks, and its end."""
    found = None
    for match in _BARE.finditer(text):
        content = match.group().strip(" .,=")
        if re.search(r"\\[a-zA-Z]", content) and re.search(r"[\da-zA-Z]", content):
            found = content, match.end()
    return found


def last_value(text: str) -> str | None:
    """The last formula or number of a text, whichever stands later."""
    text = _CALCULATOR.sub(" ", text)
    formula, end = None, 0
    if "$" in text or "\\(" in text or "\\[" in text:
        for _, stop, content in formulas(text):
            name = len(content.strip()) == 1 and content.strip().isalpha()
            if _is_formula(content) and not (name and formula):  # "$f(x)=x^2$ for all $x$"
                formula, end = content, stop
    rest = text[end:]
    bare = last_bare(rest[-1_000:]) if "\\" in rest else None
    if bare is not None and not re.search(r"\d", rest[-1_000:][bare[1] :]):
        return bare[0]
    structure = _last(_STRUCTURE, rest[-1_000:])
    if structure and not re.search(r"\d", rest[-1_000:][structure.end() :]):
        return structure.group()
    if formula is None:
        return last_number(text)
    number = _last(_LAST_NUMBER, rest)
    return number.group().strip() if number else formula.strip()


def _sentence(text: str) -> str:
    """The first sentence of a text; points and line breaks inside formulas do not end it."""
    text = text.lstrip(" \n\t*_:#")
    hidden = _hidden(text)
    lead = len(hidden) - len(hidden.lstrip())
    end = _SENTENCE_END.search(hidden, lead)
    return text[: end.start() if end else len(text)].strip()


def _from_sentence(segment: str) -> str | None:
    """The answer that a sentence gives: after its last "is", else its last value."""
    if (but := _BUT.search(_hidden(segment))) and re.search(r"[\d$\\]", segment[: but.start()]):
        segment = segment[: but.start()]
    segment = segment.replace('\\"', '"').strip().strip("*_`\"' ").strip()
    if not segment:
        return None
    hidden = _hidden(segment)
    cut = 0
    valued = re.compile(r"[\d\0]")  # where the sentence has a value, the answer is a value
    needed = valued if valued.search(hidden) else re.compile(r"[^ .*]")
    for verb in _IS.finditer(hidden):
        if needed.search(hidden, verb.end()):
            cut = verb.end()
    segment = segment[cut:].strip().strip("*").strip()
    chunks = formulas(segment)
    words = [w for w in _WORDS.findall(_hidden(segment)) if w.lower() not in ("and", "percent")]
    worded = "\\" in segment and (words or not segment.isascii())
    if worded and not chunks and (bare := last_bare(segment)):
        return bare[0]
    if not words or (cut and not chunks and not re.search(r"\d", segment)):
        return segment
    if chunks:
        return chunks[0][2].strip()
    if len(words) <= 3 and _MEASURED.fullmatch(segment):
        return segment
    if ratio := re.search(_RATIO, segment):
        return ratio.group()
    if "=" not in segment and (number := _LAST_NUMBER.search(segment)):
        return number.group().strip()
    return last_number(segment) or segment


def minerva(text: str) -> str | None:
    """Minerva's "The final answer is X. I hope it is correct."; the last of them."""
    found = _last(_FINAL, text)
    return _after(text, found.end()) if found else None


def phrase(text: str) -> str | None:
    """What follows the last "answer is", "answer:" and the like."""
    found = _last(_PHRASE, text)
    return _after(text, found.end()) if found else None


def _after(text: str, start: int) -> str | None:
    rest = text[start : start + 2000]
    if hope := _HOPE.search(rest):
        rest = rest[: hope.start()]
    return _from_sentence(_sentence(rest))


def extract(response: str, style: str = "auto", join: bool = True) -> str | None:
    """The answer that a response gives under a protocol, or None.

    Raises ValueError for a style that is not known.
    """
    if style not in STYLES:
        raise ValueError(f"style={style!r}: allowed are {', '.join(map(repr, STYLES))}")
    text = after_thinking(response)
    if style == "boxed":
        return last_boxed(unescape(text), join)
    if style == "hashes":
        return hashes(text)
    if style == "last-number":
        return last_number(text)
    if style == "answer-tag":
        return answer_tag(text)
    if style == "minerva":
        return minerva(unescape(text))
    if "<" in text and (tagged := answer_tag(text)) is not None:
        return last_boxed(tagged, join) or tagged
    text = unescape(text)
    if found := boxes(text):
        rest = text[found[-1][1] :]
        if _FINAL.search(rest) and (said := minerva(rest)) and re.search(r"\d|\$|\\", said):
            return said
        return last_boxed(text, join)
    if "####" in text and (marked := hashes(text)):
        return marked
    for said in (minerva(text), phrase(text), last_value(text)):
        if said:
            return said
    return None
