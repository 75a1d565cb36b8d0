"""The sources of message brokers: a real RabbitMQ, and SQS as moto serves it."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
import requests

from scaler.autoscale.metrics import MetricError
from scaler.model.autoscaling import RabbitmqSource, SqsSource
from tests.autoscale.reading import number, refusal, request
from tests.autoscale.test_queue_pages import examples, metrics
from tests.support import servers

pytestmark = pytest.mark.server

BROKERS = examples("queues-of-brokers.md")


# ---------------------------------------------------------------------------------------------
# RabbitMQ


def counted(source: RabbitmqSource, **environ: str) -> float | None:
    """The number, or None while RabbitMQ has not counted yet."""
    with contextlib.suppress(MetricError):
        return number(source, **environ)
    return None


@pytest.fixture(scope="module")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The API's URL, with 5 messages in `mail` (2 of them taken and not acknowledged) and 3 in `a/b` of `shop`."""
    with servers.rabbitmq_server(tmp_path_factory.mktemp("rabbitmq")) as url:
        with requests.Session() as session:
            session.auth = ("guest", "guest")

            def send(method: str, path: str, **document: object) -> None:
                session.request(method, f"{url}/api/{path}", json=document, timeout=30).raise_for_status()

            send("PUT", "vhosts/shop")
            send("PUT", "permissions/shop/guest", configure=".*", write=".*", read=".*")
            for place, count in (("%2F/mail", 5), ("shop/a%2Fb", 3)):
                vhost, _, queue = place.partition("/")
                send("PUT", f"queues/{place}", durable=False)
                for _ in range(count):
                    key = queue.replace("%2F", "/")
                    message = {"properties": {}, "routing_key": key, "payload": "1", "payload_encoding": "string"}
                    send("POST", f"exchanges/{vhost}/amq.default/publish", **message)
        servers.await_true(lambda: counted(RabbitmqSource(url=url, queues=("mail",))) == 5, "the count")
        yield url


def test_rabbitmq(rabbitmq: str) -> None:
    assert number(RabbitmqSource(url=rabbitmq, queues=("mail",), messages="ready")) == 5
    assert number(RabbitmqSource(url=rabbitmq, queues=("mail",), messages="unacknowledged")) == 0
    source = RabbitmqSource(url=f"{rabbitmq}/", queues=("a/b",), vhost="shop", password_env="RABBIT")
    servers.await_true(lambda: counted(source, RABBIT="guest") == 3, "the count of the other virtual host")


def test_what_rabbitmq_refuses(rabbitmq: str) -> None:
    assert refusal(RabbitmqSource(url=rabbitmq, queues=("none",))) == "the virtual host / has no queue none"
    source = RabbitmqSource(url=rabbitmq, queues=("mail",), password_env="RABBIT")
    words = refusal(source, RABBIT="wrong-guess")
    assert words == "the management API refuses the user guest: look at the password and the tags"
    assert refusal(source) == "the environment variable RABBIT is not set"


def test_messages_that_a_consumer_has_taken_count_unless_only_the_ready_ones_are_asked_for(rabbitmq: str) -> None:
    kombu = pytest.importorskip("kombu", reason="kombu, of Celery, is not installed (make test installs it)")
    nodes = requests.get(f"{rabbitmq}/api/overview", auth=("guest", "guest"), timeout=10).json()["listeners"]
    [port] = [listener["port"] for listener in nodes if listener["protocol"] == "amqp"]
    with kombu.Connection(f"amqp://guest:guest@127.0.0.1:{port}//") as connection, connection.channel() as channel:
        assert channel.basic_get("mail")
        assert channel.basic_get("mail")
        source = RabbitmqSource(url=rabbitmq, queues=("mail",), messages="ready")
        servers.await_true(lambda: number(source) == 3, "the count of the ready messages")
        assert number(RabbitmqSource(url=rabbitmq, queues=("mail",), messages="unacknowledged")) == 2
        assert number(RabbitmqSource(url=rabbitmq, queues=("mail",))) == 5


def test_the_example_about_rabbitmq(rabbitmq: str, tmp_path: Path) -> None:
    """With a user as the page makes it, which may only read."""
    with requests.Session() as session:
        session.auth = ("guest", "guest")
        for path, document in (
            ("users/scaler", {"password": "open-sesame", "tags": "monitoring"}),
            ("permissions/%2F/scaler", {"configure": "", "write": "", "read": ".*"}),
            ("queues/%2F/video", {"durable": False}),
        ):
            session.put(f"{rabbitmq}/api/{path}", json=document, timeout=30).raise_for_status()
    assert set(BROKERS) == {"RabbitMQ", "Amazon SQS"}
    [metric] = metrics(tmp_path, BROKERS["RabbitMQ"]).values()
    assert isinstance(metric.source, RabbitmqSource)
    source = replace(metric.source, url=rabbitmq)
    servers.await_true(lambda: counted(source, RABBITMQ_PASSWORD="open-sesame") == 5, "the count of both queues")


def test_something_else_than_rabbitmq(pages: servers.Pages) -> None:
    pages.pages["/api/queues/%2F/mail"] = (200, {}, "<html>")
    source = RabbitmqSource(url=pages.url, queues=("mail",))
    assert refusal(source) == "HTTP 200, and no answer of RabbitMQ's management API"
    pages.pages["/api/queues/%2F/mail"] = (200, {}, '{"name": "mail"}')
    assert refusal(source) == "RabbitMQ has not counted the messages of mail yet"


# ---------------------------------------------------------------------------------------------
# SQS


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An endpoint with SQS and CloudWatch, and the credentials in variables."""
    from moto.server import ThreadedMotoServer

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "one")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "two")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    requests.post(f"http://{host}:{port}/moto-api/reset", timeout=10)
    server.stop()


def client(service: str, aws: str) -> Any:
    import boto3

    return boto3.client(service, region_name="eu-central-1", endpoint_url=aws)


def test_sqs(aws: str) -> None:
    sqs = client("sqs", aws)
    queue_url = sqs.create_queue(QueueName="jobs")["QueueUrl"]
    for _ in range(5):
        sqs.send_message(QueueUrl=queue_url, MessageBody="1")
    sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=2, VisibilityTimeout=60)
    taken = 5 - int(
        sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["All"])["Attributes"][
            "ApproximateNumberOfMessages"
        ]
    )
    assert taken > 0

    def count(measure: Literal["all", "visible", "in_flight"]) -> float:
        return number(SqsSource(queue_url=queue_url, measure=measure, region="eu-central-1", endpoint=aws))

    assert (count("all"), count("visible"), count("in_flight")) == (5, 5 - taken, taken)


def test_the_age_in_sqs_is_cloudwatchs(aws: str) -> None:
    now = datetime.now(UTC)
    queue_url = f"{aws}/123456789012/jobs"
    source = SqsSource(queue_url=queue_url, measure="age", region="eu-central-1", endpoint=aws)
    assert "CloudWatch has no age of the last 15 minutes" in refusal(source)
    client("cloudwatch", aws).put_metric_data(
        Namespace="AWS/SQS",
        MetricData=[
            {
                "MetricName": "ApproximateAgeOfOldestMessage",
                "Dimensions": [{"Name": "QueueName", "Value": "jobs"}],
                "Timestamp": now - timedelta(minutes=before),
                "Value": value,
            }
            for before, value in ((6, 10), (2, 90))
        ],
    )
    assert number(source) == 90


def test_the_examples_about_sqs(aws: str, tmp_path: Path) -> None:
    queue_url = client("sqs", aws).create_queue(QueueName="jobs")["QueueUrl"]
    client("sqs", aws).send_message(QueueUrl=queue_url, MessageBody="1")
    client("cloudwatch", aws).put_metric_data(
        Namespace="AWS/SQS",
        MetricData=[
            {
                "MetricName": "ApproximateAgeOfOldestMessage",
                "Dimensions": [{"Name": "QueueName", "Value": "jobs"}],
                "Timestamp": datetime.now(UTC) - timedelta(minutes=2),
                "Value": 90,
            }
        ],
    )
    found = metrics(tmp_path, BROKERS["Amazon SQS"])
    sources = {name: metric.source for name, metric in found.items() if isinstance(metric.source, SqsSource)}
    assert {name: number(replace(one, endpoint=aws)) for name, one in sources.items()} == {"jobs": 1, "age": 90}


def test_the_region_is_in_the_queues_url() -> None:
    from scaler.autoscale.metrics.sqs import _region

    assert _region("https://sqs.eu-central-1.amazonaws.com/1/jobs") == "eu-central-1"
    assert _region("https://eu-west-1.queue.amazonaws.com/1/jobs") == "eu-west-1"
    assert _region("http://127.0.0.1:9324/1/jobs") is None


def test_a_queue_that_is_not_there(aws: str) -> None:
    source = SqsSource(queue_url=f"{aws}/123456789012/none", region="eu-central-1", endpoint=aws)
    assert "The specified queue does not exist" in refusal(source, 60)


@pytest.mark.parametrize(
    ("endpoint", "environ", "refused"),
    [
        ("https://evil.example", {}, True),
        ("https://sqs.amazonaws.com.evil.example", {}, True),
        ("https://evil.example\\.amazonaws.com", {}, True),
        ("http://evil.example\\[::1]", {}, True),
        ("http://sqs.eu-central-1.amazonaws.com", {}, True),
        ("https://sqs.eu-central-1.amazonaws.com", {}, False),
        ("https://vpce-1.sqs.eu-central-1.vpce.amazonaws.com", {}, False),
        ("https://queues.example", {"SCALER_ALLOW_HOSTS": "queues.example"}, False),
        ("https://queues.example", {"AWS_ENDPOINT_URL_SQS": "https://queues.example/"}, False),
        ("http://127.0.0.1:9324", {}, False),
    ],
)
def test_aws_s_credentials_go_to_no_host_that_only_the_spec_names(
    endpoint: str, environ: dict[str, str], refused: bool
) -> None:
    from scaler.autoscale.metrics.sqs import _require_own_host

    source = SqsSource(queue_url="https://sqs.eu-central-1.amazonaws.com/1/jobs", endpoint=endpoint)
    asked = request(5, **environ)
    if not refused:
        _require_own_host(source, asked)
        return
    with pytest.raises(MetricError, match="only the spec names it: set SCALER_ALLOW_HOSTS="):
        _require_own_host(source, asked)
