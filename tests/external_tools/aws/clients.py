"""boto3, AWS's client for Python, against moto, a server that verifies signatures and permissions.

The program starts moto and prints its port and the key of a user, as a line of JSON. Then it reads, as a
line of JSON, the ports of the listeners of an Envoy in front of moto, and makes its calls. It ends with
an error at the first unexpected outcome, and otherwise prints what it compared.

Usage: python clients.py compare|sign|reject
"""

import datetime
import itertools
import json
import logging
import os
import signal
import sys
import threading
from collections import Counter

# Each request has to be signed, and the user has to have the permission. Read when moto is imported.
os.environ["INITIAL_NO_AUTH_ACTION_COUNT"] = "0"
# No file and no metadata service of this machine takes part.
os.environ |= {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    "NO_PROXY": "127.0.0.1",
}

import boto3
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError
from moto.iam.models import iam_backends
from moto.moto_api._internal import mock_random, moto_api_backend
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server

ACCOUNT = "123456789012"
REGION = "us-east-1"
VALID_ID = "client/id+1=#"
UUID = "5F7E707E-4ac5-4ef5-8a01-0123456789ab"
INVALID_ID = "two words"

# What moto answers if the signature is wrong or the user may not do it; EC2 answers 401.
REFUSED = (401, 403)

ALLOW_ALL = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
)
TRUST_ALL = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
        ],
    }
)

RECORDS = [
    {
        "Action": "CREATE",
        "ResourceRecordSet": {
            "Name": "a.example.com",
            "Type": "A",
            "TTL": 1,
            "ResourceRecords": [{"Value": "192.0.2.1"}],
        },
    }
]


class Server:
    """moto on a free port, with the last request it received."""

    def __init__(self):
        self.application = DomainDispatcherApplication(create_backend_app)
        # Headers by their WSGI names, such as HTTP_X_REQUEST_ID.
        self.last_request = {}
        self.requests = 0
        server = make_server(
            "127.0.0.1", 0, self, threaded=True, request_handler=MotoRequestHandler
        )
        self.port = server.server_port
        threading.Thread(target=server.serve_forever, daemon=True).start()

    def __call__(self, environ, start_response):
        self.last_request = environ
        self.requests += 1
        # moto draws its request ids from this generator: the same call gets the same id in each run.
        mock_random.seed(self.requests)

        def start(status, headers, exc_info=None):
            if "/s3/aws4_request" in environ.get("HTTP_AUTHORIZATION", ""):
                headers = as_s3_names_them(headers)
            return start_response(status, headers, exc_info)

        return self.application(environ, start)

    def reset(self):
        """Deletes everything in moto, and creates two users: one may do everything, the other nothing."""
        moto_api_backend.reset()
        self.requests = 0
        mock_random.seed(0)
        iam = iam_backends[ACCOUNT]["aws"]
        users = []
        for name in ["admin", "guest"]:
            iam.create_user(REGION, name)
            key = iam.create_access_key(name)
            users.append((key.access_key_id, key.secret_access_key))
        iam.put_user_policy("admin", "all", ALLOW_ALL)
        return users


def as_s3_names_them(headers):
    """Returns the headers with the pair of ids of a real S3, which moto names as other services do."""
    ids = [value for name, value in headers if name.lower() == "x-amzn-requestid"]
    rest = [(name, value) for name, value in headers if name.lower() != "x-amzn-requestid"]
    for value in ids[:1]:
        rest += [("x-amz-request-id", value[:16].upper()), ("x-amz-id-2", f"{value}/+=")]
    return rest


class Session:
    """Clients of all services, which send to one port with one key."""

    def __init__(self, port, key, sign_id=None):
        self.port = port
        self.key = key
        self.sign_id = sign_id
        self.clients = {}

    def client(self, service):
        if service not in self.clients:
            access, secret = self.key or (None, None)
            config = Config(
                signature_version=None if self.key else UNSIGNED,
                retries={"total_max_attempts": 1},
                s3={"addressing_style": "path"},
            )
            client = boto3.client(
                service,
                region_name=REGION,
                endpoint_url=f"http://127.0.0.1:{self.port}",
                aws_access_key_id=access,
                aws_secret_access_key=secret,
                config=config,
            )
            if self.sign_id:
                client.meta.events.register(f"before-sign.{service}", self.add_id)
            self.clients[service] = client
        return self.clients[service]

    def add_id(self, request, **_):
        request.headers["x-request-id"] = self.sign_id


# The calls of each service, in an order in which each finds what it needs. S3 and Route 53 speak REST with
# XML, EFS and Lambda REST with JSON, SQS, DynamoDB, Kinesis and Secrets Manager JSON, CloudWatch CBOR,
# STS, IAM and SNS the query protocol, EC2 a dialect of it. Outside of S3, moto cannot verify the signature of
# a REST request without a body, so there are none of these.
CALLS = {
    "s3": [
        ("create_bucket", {"Bucket": "bucket"}),
        ("put_object", {"Bucket": "bucket", "Key": "a/b c+ü", "Body": b"text", "Metadata": {"x": "1"}}),
        ("put_object", {"Bucket": "bucket", "Key": "large", "Body": b"x" * 300_000}),
        ("put_object", {"Bucket": "bucket", "Key": "sum", "Body": b"x", "ChecksumAlgorithm": "SHA256"}),
        ("get_object", {"Bucket": "bucket", "Key": "a/b c+ü"}),
        ("get_object", {"Bucket": "bucket", "Key": "large", "Range": "bytes=1-3"}),
        ("head_object", {"Bucket": "bucket", "Key": "large"}),
        ("list_objects_v2", {"Bucket": "bucket", "Prefix": "a"}),
        ("copy_object", {"Bucket": "bucket", "Key": "copy", "CopySource": "bucket/large"}),
        ("delete_objects", {"Bucket": "bucket", "Delete": {"Objects": [{"Key": "copy"}]}}),
        ("list_buckets", {}),
        ("get_object", {"Bucket": "bucket", "Key": "missing"}),
        ("head_object", {"Bucket": "bucket", "Key": "missing"}),
        ("head_bucket", {"Bucket": "missing"}),
        ("get_bucket_policy", {"Bucket": "bucket"}),
        ("delete_object", {"Bucket": "bucket", "Key": "sum"}),
        ("delete_bucket", {"Bucket": "bucket"}),
    ],
    "route53": [
        ("create_hosted_zone", {"Name": "example.com", "CallerReference": "1"}),
        ("change_resource_record_sets", {"HostedZoneId": "missing", "ChangeBatch": {"Changes": RECORDS}}),
    ],
    "efs": [
        ("create_file_system", {"CreationToken": "token"}),
        ("create_access_point", {"ClientToken": "token", "FileSystemId": "fs-00000000"}),
    ],
    "lambda": [
        ("invoke", {"FunctionName": "missing", "Payload": b"{}"}),
    ],
    "sqs": [
        ("create_queue", {"QueueName": "queue"}),
        ("get_queue_url", {"QueueName": "queue"}),
        ("list_queues", {}),
        ("send_message", {"QueueUrl": "http://127.0.0.1/123456789012/queue", "MessageBody": "ü"}),
        ("receive_message", {"QueueUrl": "http://127.0.0.1/123456789012/queue"}),
        ("get_queue_url", {"QueueName": "missing"}),
    ],
    "dynamodb": [
        (
            "create_table",
            {
                "TableName": "table",
                "KeySchema": [{"AttributeName": "k", "KeyType": "HASH"}],
                "AttributeDefinitions": [{"AttributeName": "k", "AttributeType": "S"}],
                "BillingMode": "PAY_PER_REQUEST",
            },
        ),
        ("put_item", {"TableName": "table", "Item": {"k": {"S": "1"}, "v": {"B": b"\x00\xff"}}}),
        ("get_item", {"TableName": "table", "Key": {"k": {"S": "1"}}}),
        ("scan", {"TableName": "table"}),
        ("describe_table", {"TableName": "missing"}),
        (
            "put_item",
            {
                "TableName": "table",
                "Item": {"k": {"S": "1"}},
                "ConditionExpression": "attribute_not_exists(k)",
            },
        ),
    ],
    "kinesis": [
        ("create_stream", {"StreamName": "stream", "ShardCount": 1}),
        ("list_streams", {}),
        ("put_record", {"StreamName": "stream", "Data": b"\x00", "PartitionKey": "k"}),
        ("describe_stream_summary", {"StreamName": "missing"}),
    ],
    "secretsmanager": [
        ("create_secret", {"Name": "secret", "SecretString": "s", "ClientRequestToken": "t" * 32}),
        ("get_secret_value", {"SecretId": "secret"}),
        ("get_secret_value", {"SecretId": "missing"}),
    ],
    "cloudwatch": [
        ("put_metric_data", {"Namespace": "n", "MetricData": [{"MetricName": "m", "Value": 1.0}]}),
        ("list_metrics", {"Namespace": "n"}),
    ],
    "sts": [
        ("get_caller_identity", {}),
        ("get_session_token", {}),
    ],
    "iam": [
        ("create_role", {"RoleName": "role", "AssumeRolePolicyDocument": TRUST_ALL}),
        ("list_roles", {}),
        ("get_user", {"UserName": "guest"}),
        ("get_user", {"UserName": "missing"}),
    ],
    "ec2": [
        ("describe_regions", {}),
        ("create_vpc", {"CidrBlock": "10.1.0.0/16"}),
        ("describe_instances", {"InstanceIds": ["i-00000000"]}),
        ("describe_vpcs", {}),
    ],
    "sns": [
        ("create_topic", {"Name": "topic"}),
        ("publish", {"TopicArn": f"arn:aws:sns:{REGION}:{ACCOUNT}:topic", "Message": "ü&="}),
        ("list_topics", {}),
        ("get_topic_attributes", {"TopicArn": f"arn:aws:sns:{REGION}:{ACCOUNT}:missing"}),
    ],
}


class Outcome:
    """What a call returned or raised, and what the server saw of it."""

    def __init__(self, server, session, service, operation, arguments):
        self.call = f"{service}.{operation}({', '.join(arguments)})"
        self.service = service
        server.last_request = {}
        try:
            self.response = getattr(session.client(service), operation)(**arguments)
            self.error = None
        except ClientError as error:
            self.response = error.response
            self.error = type(error).__name__
        if "Body" in self.response:
            self.response["Body"] = self.response["Body"].read()
        self.metadata = self.response.pop("ResponseMetadata")
        self.headers = self.metadata.pop("HTTPHeaders")
        # The times of two runs differ, and so do the ports.
        text = json.dumps([self.response, self.metadata, self.error], default=plain, sort_keys=True)
        self.result = text.replace(f":{session.port}/", ":PORT/")
        self.arrived = server.last_request

    @property
    def status(self):
        return self.metadata["HTTPStatusCode"]

    def signed_headers(self):
        authorization = self.arrived["HTTP_AUTHORIZATION"]
        return authorization.partition("SignedHeaders=")[2].partition(",")[0].split(";")


def plain(value):
    """Returns a value that JSON lacks in a form that two runs have in common."""
    return "time" if isinstance(value, datetime.datetime) else repr(value)


def run(server, session, services=CALLS):
    """Makes the calls of the services and returns their outcomes."""
    return [
        Outcome(server, session, service, operation, arguments)
        for service in services
        for operation, arguments in CALLS[service]
    ]


def require(condition, outcome, *details):
    if not condition:
        sys.exit("\n".join([outcome.call, outcome.result, str(outcome.headers), *map(str, details)]))


# What belongs to a connection and not to the service, the time, and the checksum of bodies that contain it
# (boto3 verifies that).
NOT_COMPARED = {
    "connection", "content-length", "date", "last-modified", "server", "transfer-encoding", "x-amz-crc32",
}


def require_same(through, without, *details):
    """Requires that a call through Envoy has the result and the headers of the same call without it."""
    details += (without.result, without.headers)
    require(through.result == without.result, through, *details)
    names = without.headers.keys() - NOT_COMPARED
    require(all(through.headers.get(n) == without.headers[n] for n in names), through, *details)
    more = through.headers.keys() - without.headers.keys() - NOT_COMPARED
    require(more == {"x-request-id", "x-envoy-upstream-service-time"}, through, *details)


def require_one_id(outcome, expected=None):
    """Requires that the server and the client saw the same id, the expected one if there is one."""
    id = outcome.headers["x-request-id"]
    require(id == outcome.arrived["HTTP_X_REQUEST_ID"], outcome, outcome.arrived)
    require(expected in (None, id), outcome, expected)


def compare(server, users, ports):
    """Makes the same calls with and without the filter."""
    admin, guest = users
    keys = {"an allowed user": admin, "a forbidden user": guest, "a wrong secret": (admin[0], "wrong")}
    outcomes = []
    for (who, key), sign_id in itertools.product(keys.items(), [None, VALID_ID, UUID]):
        server.reset()
        expected = run(server, Session(server.port, key, sign_id))
        server.reset()
        actual = run(server, Session(ports["main"], key, sign_id))
        for through, without in zip(actual, expected, strict=True):
            require_same(through, without, who, sign_id)
            require_one_id(through, sign_id)
            require(("x-request-id" in through.signed_headers()) == bool(sign_id), through)
            if who == "an allowed user":
                require(through.status < 500 and through.status not in REFUSED, through, who)
                require(through.metadata.get("RequestId"), through, "no RequestId")
            # Success means something only if the server verifies.
            if who == "a wrong secret":
                require(through.status in REFUSED, through, who)
            if who == "a forbidden user" and through.call != "sts.get_caller_identity()":
                require(through.status in REFUSED or "AccessDenied" in through.result, through, who)
        outcomes += actual
    for service in CALLS:
        of_service = [outcome for outcome in outcomes if outcome.service == service]
        with_ids = [outcome for outcome in of_service if outcome.metadata.get("RequestId")]
        counted = Counter(str(outcome.status) for outcome in of_service)
        statuses = ", ".join(f"{number} {status}" for status, number in sorted(counted.items()))
        print(f"{service}: {len(of_service)} calls ({statuses}), {len(with_ids)} with a RequestId")
        if service == "s3":
            for outcome in of_service:
                require(outcome.metadata.get("HostId"), outcome, "S3 without a HostId")


def sign(server, users, ports):
    """Makes calls without a signature, which Envoy signs behind the filter."""
    admin, _ = users
    for service in ports.keys() - {"wrong"}:
        for sent in [None, VALID_ID, UUID, INVALID_ID]:
            server.reset()
            expected = run(server, Session(server.port, admin), [service])
            server.reset()
            actual = run(server, Session(ports[service], None, sent), [service])
            for through, without in zip(actual, expected, strict=True):
                require_same(through, without, sent)
                require_one_id(through, None if sent == INVALID_ID else sent)
                require(through.headers["x-request-id"] != INVALID_ID, through)
                require("x-request-id" in through.signed_headers(), through, through.arrived)
                require(admin[0] in through.arrived["HTTP_AUTHORIZATION"], through)
            print(f"{service}: {len(actual)} calls with the id {sent}")
    for outcome in run(server, Session(ports["wrong"], None), ["dynamodb"]):
        require(outcome.status in REFUSED, outcome, "signed with a wrong secret")


def reject(server, users, ports):
    """Makes calls whose signature covers an id that the filter replaces, so that the server refuses them."""
    admin, _ = users
    server.reset()
    for outcome in run(server, Session(server.port, admin, INVALID_ID)):
        require(outcome.arrived["HTTP_X_REQUEST_ID"] == INVALID_ID, outcome)
        require(outcome.status not in REFUSED, outcome)
    server.reset()
    outcomes = run(server, Session(ports["main"], admin, INVALID_ID))
    for outcome in outcomes:
        require_one_id(outcome)
        require(outcome.arrived["HTTP_X_REQUEST_ID"] != INVALID_ID, outcome)
        require("x-request-id" in outcome.signed_headers(), outcome)
        require(outcome.status in REFUSED, outcome)
    print(f"{len(outcomes)} calls of {len(CALLS)} services are refused")


def main(scenario):
    signal.alarm(300)  # ends the program if something hangs
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = Server()
    users = server.reset()
    print(json.dumps([server.port, users[0]]), flush=True)
    scenario(server, users, json.loads(sys.stdin.readline()))


if __name__ == "__main__":
    main({"compare": compare, "sign": sign, "reject": reject}[sys.argv[1]])
