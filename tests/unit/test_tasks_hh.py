"""GRAO's task, with judges made for the purpose."""

import gzip
import json
import math
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from pydantic import ValidationError

import tasks
from tasks import TaskError, judges

TALK = "\n\nHuman: Hi.\n\nAssistant: Hello.\n\nHuman: How are you?\n\nAssistant:"


def pair(chosen=" Fine, thanks.", rejected=" Go away.", talk=TALK) -> dict[str, str]:
    return {"chosen": talk + chosen, "rejected": talk + rejected}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "hh_rlhf").mkdir()
    with gzip.open(tmp_path / "hh_rlhf/test.jsonl.gz", "wt") as file:
        rows = [
            pair(),
            pair(chosen="  ", talk=TALK.replace("Hi", "Hm")),
            {"chosen": TALK + " A.", "rejected": " B."},
            {"chosen": "no turns", "rejected": "none"},
            pair(talk=TALK.replace("Hi", "Ho")),
        ]
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return tmp_path


@pytest.fixture
def longer(tmp_path):
    """A judge that prefers the longer text, by the difference of their lengths."""
    (tmp_path / "longer.py").write_text(
        "def judge(prompt, responses, reference):\n"
        "    return [float(r) if r == 'nan' else len(r) - len(reference) for r in responses]\n"
    )
    return f"{tmp_path}/longer.py:judge"


def test_rows(folder):
    task = tasks.get("hh", data_dir=folder)
    first, second = task.examples("test")
    assert first.prompt == TALK.lstrip("\n") and "Ho." in second.prompt
    assert first.gold == first.solution == "Fine, thanks."
    assert first.meta == {"rejected": "Go away."}
    reasons = [line.split(".gz:")[1] for line in task.broken("test")]
    assert reasons == [
        "2: field 'chosen' ends with an empty turn",
        "3: chosen and rejected do not answer the same conversation",
        "4: field 'chosen' has no turn of the assistant",
    ]


def test_verdicts_against_the_reference(folder, longer):
    task = tasks.get("hh", data_dir=folder, judge=longer)
    example = task.examples("test")[0]  # its reference has 13 letters
    grades = task.grade(example, ["x" * 15, "x" * 13, "x", "nan"])
    assert [g.reward for g in grades] == [1, 0, -1, 0]
    assert [g.correct for g in grades] == [True, False, False, False]
    assert [g.how for g in grades] == ["win", "tie", "loss", "no verdict"]
    assert [g.status for g in grades] == ["ok", "wrong", "wrong", "unparsable_answer"]
    assert task.grade(example, []) == []
    margin = tasks.get("hh", data_dir=folder, judge=longer, reward="margin", tie=2)
    assert [(g.reward, g.how) for g in margin.grade(example, ["x" * 15, "x" * 16])] == [
        (2, "tie"), (3, "win"),
    ]  # fmt: skip


def test_a_judge_is_required_and_checked(folder, tmp_path):
    def grade(judge: str):
        task = tasks.get("hh", data_dir=folder, judge=judge)
        return task.grade(task.examples("test")[0], ["a", "b"])

    with pytest.raises(TaskError, match=r"hh needs a judge: path.py:function"):
        grade("")
    with pytest.raises(TaskError, match="judge 'gpt' is not known; allowed are"):
        grade("gpt")
    with pytest.raises(TaskError, match="no file"):
        grade(f"{tmp_path}/none.py:judge")
    (tmp_path / "j.py").write_text("def one(p, r, y): return [1.0]\n")
    with pytest.raises(TaskError, match="1 scores for 2 responses"):
        grade(f"{tmp_path}/j.py:one")
    with pytest.raises(TaskError, match="no function 'two'"):
        grade(f"{tmp_path}/j.py:two")
    with pytest.raises(ValidationError, match="subset"):
        tasks.get("hh", subset="harmful")


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        assert isinstance(self.server, Server)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, self.headers["Authorization"], body))
        said = self.server.answers.pop(0)
        self.send_response(200)
        self.end_headers()
        choices = {"choices": [{"message": {"content": said}}]}
        self.wfile.write(json.dumps(choices if said is not None else {}).encode())

    def log_message(self, *_):
        pass


class Server(HTTPServer):
    """An OpenAI-compatible address that answers from a list and keeps what it was asked."""

    def __init__(self):
        self.asked, self.answers = [], []
        super().__init__(("127.0.0.1", 0), Handler)


@pytest.fixture
def server():
    http = Server()
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    yield http
    http.shutdown()
    http.server_close()


def test_pairwise_judge(server, monkeypatch):
    monkeypatch.setenv("EVENBENCH_JUDGE_KEY", "sesame")
    judge = judges.load(f"pairwise:http://127.0.0.1:{server.server_port}/v1#big", "be kind")
    server.answers[:] = ["First `1 < 2`, no: 1 > 2", "`1 = 2`", "1<2", "I cannot say."]
    scores = judge("The talk {second}", ["a", "b", "c", "d"], "the reference")
    assert scores[:3] == [1, 0, -1] and math.isnan(scores[3])
    path, key, body = server.asked[0]
    assert (path, key, body["model"]) == ("/v1/chat/completions", "Bearer sesame", "big")
    assert body["temperature"] == 0
    question = body["messages"][0]["content"]
    order = [
        "be kind", "The talk {second}", "Continuation 1:\na\n", "Continuation 2:\nthe reference",
    ]  # fmt: skip
    places = [question.index(part) for part in order]
    assert places == sorted(places)


def test_pairwise_judge_that_does_not_answer(server):
    judge = judges.load(f"pairwise:http://127.0.0.1:{server.server_port}#m", "")
    server.answers[:] = [None]
    with pytest.raises(TaskError, match="gave no answer: KeyError"):
        judge("", ["a"], "b")
    with pytest.raises(TaskError, match="gave no answer: URLError"):
        judges.load("pairwise:http://127.0.0.1:1#m", "")("", ["a"], "b")


def test_reward_model(tmp_path):
    """A classifier built here: its margin is the difference of two scores, zero for y itself."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = Tokenizer(models.WordLevel({"?": 0, "good": 1, "bad": 2, "so": 3}, unk_token="?"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=words, pad_token="?")
    tokenizer.save_pretrained(tmp_path)
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=4, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
        num_attention_heads=2, num_labels=1, pad_token_id=0,
    )  # fmt: skip
    model = transformers.LlamaForSequenceClassification(config).eval()
    model.save_pretrained(tmp_path)
    judge = judges.load(f"reward-model:{tmp_path}", "")
    good, same = judge("so ", ["good", "bad"], "bad")
    with torch.no_grad():
        scores = [model(torch.tensor([[3, word]])).logits.item() for word in (1, 2)]
    assert good == pytest.approx(scores[0] - scores[1], abs=1e-6) and good != 0
    assert same == 0


def test_real_hh(longer, data_dir):
    task = tasks.get("hh", data_dir=data_dir, judge=longer)
    examples = task.examples("test")
    assert len(examples) == 2301 and len(task.broken("test")) == 11
    assert all(e.prompt.startswith("Human:") and e.prompt.endswith("Assistant:") for e in examples)
    (tie,) = task.grade(examples[0], [examples[0].gold])
    assert tie.reward == 0 and not tie.correct
