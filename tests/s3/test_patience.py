"""What is read and written outlasts a server that fails, whatever the way in which it does; against the proxy."""

import logging

import pytest
from obstore.exceptions import GenericError, PermissionDeniedError

from launch import storage
from launch.s3_access import Access
from pipeline import patience, store
from tests.s3.proxy import Fault
from tests.s3.test_storage import KEY

TRIES = 15  # more than six, at which the job used to give up
PASSING = (Fault.SLOW_DOWN, Fault.RESET, Fault.TRUNCATED, Fault.LOST, Fault.UNSAID)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """A minute is long for a test: the pauses are short, and patience has no end."""
    monkeypatch.setattr(patience, "LONGEST_S", 0.01)
    monkeypatch.setattr(patience, "SHORTEST_S", 0.01)
    monkeypatch.setattr(patience, "PATIENCE_S", 1e9)


@pytest.fixture
def place(bucket, proxy):
    """A location with three objects of 1,000 bytes, a/0 to a/2."""
    for number in range(3):
        bucket.client.put_object(Bucket=bucket.name, Key=f"in/a/{number}", Body=bytes([number]) * 1000)
    return f"s3://{bucket.name}/in"


def names(place):
    return dict(store.sizes(place))


@pytest.mark.parametrize("fault", PASSING, ids=lambda fault: fault.name)
def test_every_call_outlasts_an_outage(place, proxy, fault):
    def failing(call):
        rule = proxy.hit(fault, ".", last=TRIES)
        answer = call()
        # Who takes no notice of an answer's body has heard all that it wanted.
        assert len(rule.struck) == TRIES or (call, fault) == (write, Fault.TRUNCATED)
        proxy.clear()
        return answer

    def write():
        store.write(f"{place}/b", b"new")

    assert failing(lambda: store.read(f"{place}/a/1")) == bytes([1]) * 1000
    assert failing(lambda: store.fetch(place, "a/2", last_bytes=10).content) == bytes([2]) * 10
    assert failing(lambda: names(place)) == {"a/0": 1000, "a/1": 1000, "a/2": 1000}
    failing(write)
    assert names(place) == {"a/0": 1000, "a/1": 1000, "a/2": 1000, "b": 3}
    failing(lambda: store.rename(place, "b", "a/1"))
    assert names(place) == {"a/0": 1000, "a/1": 3, "a/2": 1000}
    failing(lambda: store.delete(place, ["a/0", "a/1"]))
    assert names(place) == {"a/2": 1000}
    failing(lambda: store.clear(place, "a"))
    assert names(place) == {}


@pytest.mark.parametrize("request_to", ["PUT", "POST"])
def test_a_rename_is_taken_up_in_its_middle(place, proxy, request_to):
    for number, fault in enumerate((*PASSING, Fault.ERROR_IN_OK)):
        rule = proxy.hit(fault, rf"^{request_to} ", last=TRIES)
        store.rename(place, f"b{number - 1}" if number else "a/0", f"b{number}")
        assert len(rule.struck) == TRIES
        proxy.clear()
    assert names(place) == {"a/1": 1000, "a/2": 1000, "b5": 1000}


def test_deletions_of_which_one_failed_are_made_again(place, proxy):
    rule = proxy.hit(Fault.ERROR_IN_OK, "delete", last=TRIES)
    store.delete(place, ["a/0", "a/1"])
    assert len(rule.struck) == TRIES
    assert names(place) == {"a/2": 1000}


@pytest.mark.parametrize("fault", PASSING, ids=lambda fault: fault.name)
def test_a_listing_goes_on_where_it_broke_off(bucket, proxy, monkeypatch, fault):
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "10")
    wanted = [f"a b/{number:02d} ü+%.jpg" for number in range(45)]
    for name in wanted:
        bucket.client.put_object(Bucket=bucket.name, Key=f"many/{name}", Body=b"")
    rules = [proxy.hit(fault, "continuation-token|start-after", number) for number in (1, 3)]
    assert [name for name, _ in store.sizes(f"s3://{bucket.name}/many")] == wanted
    assert all(rule.struck for rule in rules)


def test_what_waits_says_so_once_and_when_it_is_over(place, proxy, monkeypatch, caplog):
    monkeypatch.setattr(patience, "QUIET_S", 0.0)
    monkeypatch.setattr(patience, "PATIENCE_S", 60.0)
    proxy.hit(Fault.SLOW_DOWN, ".", last=5)
    with caplog.at_level(logging.INFO, "pipeline"):
        store.read(f"{place}/a/0")
        store.read(f"{place}/a/1")
    assert [record.getMessage() for record in caplog.records] == [
        "the S3 server does not answer (503 Service Unavailable: SlowDown); trying again for up to 60 s",
        "the S3 server answers again",
    ]


def test_what_lasts_for_longer_is_said_again(place, proxy, monkeypatch, caplog):
    monkeypatch.setattr(patience, "QUIET_S", 0.0)
    monkeypatch.setattr(patience, "SAY_EVERY_S", 0.0)
    proxy.hit(Fault.RESET, ".", last=5)
    store.read(f"{place}/a/0")
    assert [record.getMessage()[:47] for record in caplog.records[:-1]] == 5 * [
        "the S3 server does not answer (connection reset"
    ]


def test_patience_has_an_end(place, proxy, monkeypatch):
    monkeypatch.setattr(patience, "PATIENCE_S", 0.05)
    rule = proxy.hit(Fault.SLOW_DOWN, ".", last=10**6)
    with pytest.raises(GenericError) as caught:
        store.read(f"{place}/a/0")
    assert len(rule.struck) > 1
    assert store.explain(caught.value) == "the S3 server answers with errors; run again when it is well"


def test_where_nothing_ever_answered_is_no_patience_and_after_an_answer_there_is(place, proxy, monkeypatch):
    monkeypatch.setattr(patience, "FIRST_CONTACT_S", 0.0)
    patience.first_contact()
    proxy.hit(Fault.RESET, "a/0", last=10**6)
    with pytest.raises(GenericError, match="error sending request"):
        store.read(f"{place}/a/0")
    with pytest.raises(FileNotFoundError):
        store.read(f"{place}/a/9")
    rule = proxy.hit(Fault.RESET, "a/1", last=TRIES)
    assert store.read(f"{place}/a/1")
    assert len(rule.struck) == TRIES


def test_a_server_that_is_not_well_is_there(place, proxy, monkeypatch):
    monkeypatch.setattr(patience, "FIRST_CONTACT_S", 0.0)
    patience.first_contact()
    rule = proxy.hit(Fault.SLOW_DOWN, ".", last=TRIES)
    assert store.read(f"{place}/a/1")
    assert len(rule.struck) == TRIES


def test_what_trying_again_does_not_mend_is_tried_once(place, proxy):
    with pytest.raises(FileNotFoundError):
        store.read(f"{place}/a/9")
    with pytest.raises(GenericError, match="NoSuchBucket"):
        names("s3://no-such-bucket-here/x")
    with pytest.raises(FileNotFoundError):
        store.write("s3://no-such-bucket-here/x", b"")
    rule = proxy.hit(Fault.DENIED, ".", last=9)
    with pytest.raises(PermissionDeniedError):
        store.read(f"{place}/a/0")
    assert len(rule.struck) == 1
    assert len(proxy.requests) == 4


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "Error performing PUT http://x/b in 1ms - Server returned non-2xx status code: 507 Insufficient Storage: ",
            None,
        ),
        ("Error performing PUT http://x/b in 1ms - Server returned non-2xx status code: 501 Not Implemented: ", None),
        (
            "Error performing PUT http://x/b in 1ms - Server returned non-2xx status code: 400 Bad Request: "
            "<Error><Code>RequestTimeout</Code></Error>",
            "400 Bad Request: RequestTimeout",
        ),
        (
            "Error performing GET http://x/b in 1ms - Server returned non-2xx status code: 400 Bad Request: "
            "<Error><Code>AuthorizationHeaderMalformed</Code><Message>HTTP error: 503</Message></Error>",
            None,
        ),
        ("DeleteObjects request failed for key HTTP error: 503: Access Denied (code: AccessDenied)", None),
    ],
)
def test_an_outage_is_told_from_the_rest(text, words):
    assert patience.outage(GenericError(f"Generic S3 error: {text}")) == words


def test_no_key_passes_for_an_outage(place):
    for name in ("HTTP error: x", "Server returned error response: x", "Debug source: uri: Some( x?uploadId=1,"):
        with pytest.raises(FileNotFoundError) as caught:
            store.read(f"{place}/{name}")
        assert patience.outage(caught.value) is None


@pytest.mark.parametrize("fault", PASSING, ids=lambda fault: fault.name)
def test_the_laptops_side_outlasts_an_outage(bucket, proxy, tmp_path, monkeypatch, fault):
    monkeypatch.setattr(storage, "PART_BYTES", 5 * 2**20)  # S3's least
    access = Access(key=lambda: KEY, region="eu-west-3", address=proxy.address)
    for name in ("kiwi-0.jpg", "kiwi-1.jpg", "large.bmp"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(name.encode())
    (tmp_path / "in" / "large.bmp").write_bytes(bytes(storage.PART_BYTES + 1))
    bucket.client.put_object(Bucket=bucket.name, Key="in/gone.jpg", Body=b"x")
    # The list, a file, the first and the last call of one in parts, the deletion; a file by its content; a result.
    patterns = ("list-type", "PUT .*kiwi-0", "PUT .*partNumber=2", "POST .*uploadId", "POST .*delete")
    rules = [proxy.hit(fault, pattern, last=3) for pattern in (*patterns, "GET .*model", "PUT .*model", "GET .*kiwi-1")]
    sent = storage.mirror(tmp_path / "in", f"s3://{bucket.name}/in", access, live=False)
    assert (sent.files, sent.sent, sent.removed) == (3, 3, 1)
    storage.put(tmp_path / "in" / "large.bmp", f"s3://{bucket.name}/model", access)
    storage.fetch(f"s3://{bucket.name}/in", ["kiwi-1.jpg"], tmp_path / "out", access)
    assert (tmp_path / "out" / "kiwi-1.jpg").read_bytes() == b"kiwi-1.jpg"
    assert all(rule.struck for rule in rules)
    assert names(f"s3://{bucket.name}/in") == {"kiwi-0.jpg": 10, "kiwi-1.jpg": 10, "large.bmp": storage.PART_BYTES + 1}
