//! The cases of each value of each configuration key.

use request_id_rules::policy::IdFormat;

use super::{AUTHORIZATION, Case, FROM_S3, ORIGINAL, PROVISIONAL, S3, UUID, case};

pub fn all() -> Vec<Case> {
    [
        defaults(),
        header(),
        trust(),
        accept(),
        max_length(),
        on_invalid(),
        original(),
        adopt_from(),
        non_uuid(),
        generate(),
        echo(),
        normalize_aws(),
        expose(),
        log_origin(),
    ]
    .concat()
}

/// Has all `cases` run with `config`.
fn with(config: &'static str, mut cases: Vec<Case>) -> Vec<Case> {
    for case in &mut cases {
        case.config = config;
    }
    cases
}

fn defaults() -> Vec<Case> {
    let everything = r#"{
        "header": "x-request-id",
        "incoming": {"trust": "all", "accept": "safe", "max_length": 200, "on_invalid": "replace", "original": null},
        "adopt": {"from": ["aws"], "non_uuid": "derive"},
        "generate": "uuid4",
        "response": {"echo": "overwrite", "normalize_aws": true}
    }"#;
    [
        with("{}", vec![case("{}: kept").id("mine").kept(), case("{}: generated")]),
        with(everything, vec![
            case("the defaults written out: adopted").header("x-amz-request-id", S3).adopted(FROM_S3, "x-amz-request-id"),
            case("the defaults written out: 201 bytes").id("a".repeat(201)).replaced("too_long"),
            case("the defaults written out: published").upstream("apigw-requestid", S3).aws_id(S3),
        ]),
        with(r#"{"_rules_": [{"_match_route_": ["x"]}], "incoming": {"_x": 1}, "generate": "hex32"}"#, vec![
            case("keys that begin with an underscore are ignored").generated(IdFormat::Hex32),
        ]),
    ]
    .concat()
}

/// A case whose id has another header.
fn other(name: &'static str) -> Case {
    let mut case = case(name);
    case.header = "x-correlation-id";
    case
}

fn header() -> Vec<Case> {
    [
        with(r#"{"header": "x-correlation-id"}"#, vec![
            other("another header: kept").id("mine").kept(),
            other("another header: its name in any case").header("X-Correlation-ID", "mine").kept(),
            other("another header: generated"),
            other("another header: empty").id(""),
            other("another header: adopted").header("x-amz-request-id", S3).adopted(FROM_S3, "x-amz-request-id"),
            other("another header: invalid").id("a b").replaced("bad_byte"),
            other("another header: equal lines, which Envoy does not join").id("mine").id("mine").kept_as("mine"),
            other("another header: different lines").id("mine").id("yours").replaced("duplicate"),
            other("another header: an invalid line after a valid one").id("mine").id(b"\xff").replaced("duplicate"),
            other("another header: an empty line beside a valid one").id("").id("mine").kept_as("mine").unwritten(),
            other("another header: x-request-id is not read").header("x-request-id", "a b").id("mine").kept(),
            other("another header: no id is taken from x-request-id").header("x-request-id", "yours"),
            other("another header: the upstream's id is overwritten").upstream("x-correlation-id", "theirs")
                .upstream("x-correlation-id", "theirs-too").id("mine").kept(),
            other("another header: the upstream may echo the id in two lines").upstream("x-correlation-id", "mine")
                .upstream("x-correlation-id", "mine").id("mine").kept(),
            other("another header: the upstream's x-request-id is not read").upstream("x-request-id", "theirs").id("mine")
                .kept(),
            other("another header: a provisional id is an id like any other").id(PROVISIONAL).kept(),
            other("another header: a provisional id in x-request-id is not read").header("x-request-id", PROVISIONAL),
        ]),
        with(r#"{"header": "X-Correlation-ID", "response": {"normalize_aws": false}}"#, vec![
            other("another header in mixed case: kept").id("mine").kept(),
            other("another header in mixed case: the upstream's lines are overwritten").upstream("x-correlation-id", "theirs")
                .upstream("x-correlation-id", "theirs-too").id("mine").kept(),
        ]),
        with(r#"{"header": "x-amzn-requestid"}"#, {
            let aws = |name| {
                let mut case = case(name);
                case.header = "x-amzn-requestid";
                case
            };
            vec![
                aws("x-amzn-requestid as the id's header: kept").id("mine").kept(),
                aws("x-amzn-requestid as the id's header: an invalid value is not adopted from it").id("a b").replaced("bad_byte"),
                aws("x-amzn-requestid as the id's header: another AWS header is adopted").header("x-amz-request-id", S3)
                    .adopted(FROM_S3, "x-amz-request-id"),
                aws("x-amzn-requestid as the id's header: the upstream's AWS id does not replace it")
                    .upstream("apigw-requestid", S3).id("mine").kept(),
            ]
        }),
    ]
    .concat()
}

/// Envoy takes the peer's address from `x-forwarded-for` unless it is configured otherwise.
const PEER: &str = "x-forwarded-for";

fn trust() -> Vec<Case> {
    [
        with(r#"{"incoming": {"trust": "none"}}"#, vec![
            case("trust none: a valid id").id("mine").replaced("untrusted"),
            case("trust none: an invalid id").id("a b").replaced("untrusted"),
            case("trust none: a repeated id").id("mine").id("mine").replaced("untrusted"),
            case("trust none: no id").untrusted(),
            case("trust none: an empty id").id("").untrusted(),
            case("trust none: an AWS id").header("x-amzn-requestid", UUID).untrusted(),
            case("trust none: a valid id and an AWS id").header("x-amzn-requestid", UUID).id("mine").replaced("untrusted"),
            case("trust none: the upstream's AWS id is still published").untrusted().upstream("apigw-requestid", S3).aws_id(S3),
            case("trust none: a claimed signature").header("authorization", AUTHORIZATION).id("mine").replaced("untrusted"),
            case("trust none: a provisional id, which the client may have sent").id(PROVISIONAL).untrusted(),
            case("trust none: a provisional id and an AWS id").id(PROVISIONAL).header("x-amzn-requestid", UUID).untrusted(),
        ]),
        with(r#"{"incoming": {"trust": []}}"#, vec![
            case("trust an empty list: nobody is trusted").id("mine").replaced("untrusted"),
        ]),
        with(r#"{"incoming": {"trust": "all"}}"#, vec![
            case("trust all: any peer").header(PEER, "203.0.113.7").id("mine").kept(),
        ]),
        with(r#"{"incoming": {"trust": ["10.0.0.0/8", "192.0.2.1", "2001:db8::/32"]}}"#, vec![
            case("trust ranges: an address in the first").header(PEER, "10.255.0.1").id("mine").kept(),
            case("trust ranges: the bare address").header(PEER, "192.0.2.1").id("mine").kept(),
            case("trust ranges: an IPv6 address").header(PEER, "2001:db8:1::1").id("mine").kept(),
            case("trust ranges: next to the first").header(PEER, "11.0.0.0").id("mine").replaced("untrusted"),
            case("trust ranges: next to the bare address").header(PEER, "192.0.2.2").id("mine").replaced("untrusted"),
            case("trust ranges: next to the IPv6 range").header(PEER, "2001:db9::1").id("mine").replaced("untrusted"),
            case("trust ranges: the connection's own address").id("mine").replaced("untrusted"),
            case("trust ranges: a trusted peer's AWS id").header(PEER, "10.0.0.1").header("x-amzn-requestid", UUID)
                .adopted(UUID, "x-amzn-requestid"),
            case("trust ranges: an untrusted peer's AWS id").untrusted().header(PEER, "11.0.0.1").header("x-amzn-requestid", UUID),
            case("trust ranges: a trusted peer's invalid id").header(PEER, "10.0.0.1").id("a b").replaced("bad_byte"),
        ]),
        with(r#"{"incoming": {"trust": ["127.0.0.0/8"]}}"#, vec![
            case("trust loopback: the connection's own address").id("mine").kept(),
            case("trust loopback: another peer").header(PEER, "10.0.0.1").id("mine").replaced("untrusted"),
        ]),
    ]
    .concat()
}

fn accept() -> Vec<Case> {
    [
        with(r#"{"incoming": {"accept": "uuid"}}"#, vec![
            case("accept uuid: a UUID").id(UUID).kept(),
            case("accept uuid: in upper case").id(UUID.to_uppercase()).kept(),
            case("accept uuid: of any version").id("d57c3a72-f9fc-fc6c-02d3-f5d8614c8791").kept(),
            case("accept uuid: the same UUID twice").id(UUID).id(UUID).kept_as(UUID),
            case("accept uuid: 32 digits").id("0123456789abcdef0123456789abcdef").replaced("not_uuid"),
            case("accept uuid: in braces").id(format!("{{{UUID}}}")).replaced("not_uuid"),
            case("accept uuid: an id that is valid by default").id("my-id-1").replaced("not_uuid"),
            case("accept uuid: bytes").id(b"\xff\xfe").replaced("not_uuid"),
            case("accept uuid: too long").id("a".repeat(201)).replaced("too_long"),
            case("accept uuid: different ids").id(UUID).id("yours").replaced("duplicate"),
        ]),
        with(r#"{"incoming": {"accept": "visible"}}"#, vec![
            case("accept visible: every kind of visible byte").id("!\"#$%&'()*+-./09:;<=>?@AZ[\\]^_`az{|}~").kept(),
            case("accept visible: a blank").id("a b").replaced("bad_byte"),
            case("accept visible: bytes").id(b"caf\xe9").replaced("bad_byte"),
            case("accept visible: a comma separates").id("<a>,<b>").replaced("duplicate"),
            case("accept visible: a derived id may come from the same bytes").header("x-amzn-requestid", "<a>")
                .adopted("2ba582ae-d85f-5d0c-ba21-9354bb46983a", "x-amzn-requestid"),
        ]),
    ]
    .concat()
}

fn max_length() -> Vec<Case> {
    [
        with(r#"{"incoming": {"max_length": 1}}"#, vec![
            case("max_length 1: one byte").id("a").kept(),
            case("max_length 1: two bytes").id("ab").replaced("too_long"),
            case("max_length 1: a longer AWS id is not published").upstream("apigw-requestid", "ab"),
            case("max_length 1: an adopted value is measured before it is derived").header("x-amzn-requestid", "ab")
                .unusable("x-amzn-requestid", "too_long"),
        ]),
        with(r#"{"incoming": {"max_length": 40}}"#, vec![
            case("max_length 40: a provisional id may be longer").id(PROVISIONAL).generated_as(UUID),
        ]),
        with(r#"{"incoming": {"max_length": 1024}}"#, vec![
            case("max_length 1024: 1024 bytes").id("a".repeat(1024)).kept(),
            case("max_length 1024: 1025 bytes").id("a".repeat(1025)).replaced("too_long"),
        ]),
    ]
    .concat()
}

fn on_invalid() -> Vec<Case> {
    const BAD_BYTE: &str = "x-request-id contains a byte other than letters, digits and -._~+/=:@#";
    [
        with(r#"{"incoming": {"on_invalid": "reject"}}"#, vec![
            case("on_invalid reject: a bad byte").id("a b").rejected("bad_byte", BAD_BYTE),
            case("on_invalid reject: bytes").id(b"\xff\"\\").rejected("bad_byte", BAD_BYTE),
            case("on_invalid reject: too long").id("a".repeat(201)).rejected("too_long", "x-request-id is longer than 200 bytes"),
            case("on_invalid reject: different ids").id("mine").id("yours")
                .rejected("duplicate", "x-request-id has several different values"),
            case("on_invalid reject: an AWS id does not help").header("x-amzn-requestid", UUID).id("a b").rejected("bad_byte", BAD_BYTE),
            case("on_invalid reject: a valid id").id("mine").kept(),
            case("on_invalid reject: no id"),
            case("on_invalid reject: a provisional id").id(PROVISIONAL).generated_as(UUID),
        ]),
        with(r#"{"incoming": {"on_invalid": "reject", "accept": "uuid"}}"#, vec![
            case("on_invalid reject: not a UUID").id("mine")
                .rejected("not_uuid", "x-request-id is not a UUID in the form 8-4-4-4-12"),
        ]),
        with(r#"{"incoming": {"on_invalid": "reject"}, "generate": "hex32"}"#, vec![
            case("on_invalid reject: the answer has an id of the configured format").id("a b").generated(IdFormat::Hex32)
                .rejected("bad_byte", BAD_BYTE),
        ]),
        with(r#"{"incoming": {"on_invalid": "reject", "accept": "visible", "trust": ["127.0.0.1"]}}"#, vec![
            case("on_invalid reject: not visible").id("a b").rejected("bad_byte", "x-request-id contains a byte that is not visible ASCII"),
            case("on_invalid reject: the id of an untrusted peer is not checked").header(PEER, "10.0.0.1").id("a b").replaced("untrusted"),
        ]),
        with(r#"{"incoming": {"on_invalid": "keep"}}"#, vec![
            case("on_invalid keep: a valid id").id("mine").kept(),
            case("on_invalid keep: a bad byte").id("a b").kept_in_dry_run("a b", "bad_byte"),
            case("on_invalid keep: bytes").id(b"\xff\x80").kept_in_dry_run(b"\xff\x80", "bad_byte"),
            case("on_invalid keep: too long").id("a".repeat(201)).kept_in_dry_run("a".repeat(201), "too_long"),
            case("on_invalid keep: different ids").id("mine").id("yours").kept_in_dry_run("mine,yours", "duplicate"),
            case("on_invalid keep: equal ids count as one").id("mine").id("mine").kept_as("mine"),
            case("on_invalid keep: an AWS id").header("x-amz-request-id", S3).adopted(FROM_S3, "x-amz-request-id"),
        ]),
        with(r#"{"incoming": {"on_invalid": "keep", "accept": "uuid"}}"#, vec![
            case("on_invalid keep: not a UUID").id("mine").kept_in_dry_run("mine", "not_uuid"),
            case("on_invalid keep: a provisional id").id(PROVISIONAL).generated_as(UUID),
        ]),
    ]
    .concat()
}

fn original() -> Vec<Case> {
    [
        with(r#"{"incoming": {"original": "x-original-request-id"}}"#, vec![
            case("original: an invalid id is passed on").id("a b").replaced("bad_byte").original("a b"),
            case("original: bytes as the client sent them").id(b"caf\xe9\xff").replaced("bad_byte").original(b"caf\xe9\xff"),
            case("original: different ids as the client sent them").id("a").id("b").replaced("duplicate").original("a,b"),
            case("original: a long id as the client sent it").id("a".repeat(5000)).replaced("too_long").original("a".repeat(5000)),
            case("original: the client's own header is overwritten").header(ORIGINAL, "fake").id("a b").replaced("bad_byte")
                .original("a b"),
            case("original: the client's own lines are overwritten").header(ORIGINAL, "fake").header(ORIGINAL, "fake-too").id("a b")
                .replaced("bad_byte").original("a b"),
            case("original: also if an AWS id takes the place of the id").id("a b").header("x-amzn-requestid", UUID)
                .replaced_by(UUID, "bad_byte").original("a b"),
            case("original: a trusted client's header stays beside a kept id").header(ORIGINAL, "theirs").id("mine").kept(),
            case("original: a trusted client's lines stay beside a kept id").header(ORIGINAL, "").header(ORIGINAL, "theirs")
                .id("mine").kept(),
            case("original: a kept id is not passed on").id("mine").kept(),
            case("original: a provisional id is not passed on").id(PROVISIONAL).generated_as(UUID),
        ]),
        with(r#"{"incoming": {"original": "x-original-request-id", "trust": "none"}}"#, vec![
            case("original: an untrusted id").id("mine").replaced("untrusted").original("mine"),
            case("original: untrusted equal ids").id("mine").id("mine").replaced("untrusted").original("mine,mine"),
            case("original: an untrusted client's header is removed").untrusted().header(ORIGINAL, "fake").original_removed(),
            case("original: an untrusted client's lines are removed").untrusted().header(ORIGINAL, "fake").header(ORIGINAL, "")
                .original_removed(),
            case("original: an untrusted client's header is overwritten").header(ORIGINAL, "fake").id("mine")
                .replaced("untrusted").original("mine"),
            case("original: an untrusted client's header is removed beside a provisional id").untrusted().header(ORIGINAL, "fake")
                .id(PROVISIONAL).original_removed(),
        ]),
        with(r#"{"header": "x-correlation-id", "incoming": {"original": "X-Original-Request-Id", "on_invalid": "keep"}}"#, vec![
            other("original: nothing is replaced in a dry run").header(ORIGINAL, "theirs").id("a b").kept_in_dry_run("a b", "bad_byte"),
        ]),
    ]
    .concat()
}

const ROOT: &str = "1-67891233-abcdef012345678912345678";
/// What Python derives from [`ROOT`].
const FROM_ROOT: &str = "51fa4fc6-2f99-5da1-918d-9a1595eac662";
/// What Python derives from the CloudFront id below.
const FROM_CF_ID: &str = "5aba6307-b928-5741-a0f5-87bbc22c5973";
const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn adopt_from() -> Vec<Case> {
    [
        with(r#"{"adopt": {"from": []}}"#, vec![
            case("adopt from nothing: an AWS id stays where it is").header("x-amzn-requestid", UUID),
            case("adopt from nothing: in place of an invalid one").header("x-amzn-requestid", UUID).id("a b").replaced("bad_byte"),
            case("adopt from nothing: kept").id("mine").kept(),
            case("adopt from nothing: no id"),
            case("adopt from nothing: a provisional id").id(PROVISIONAL).generated_as(UUID),
        ]),
        with(r#"{"adopt": {"from": ["x-amz-cf-id"]}}"#, vec![
            case("adopt from CloudFront").header("x-amz-cf-id", "SOX4xwn4XV6Q4rgb7XiVGOHms_BGlTAC4KyHmureZmBNrjGdRLiNIQ==")
                .adopted(FROM_CF_ID, "x-amz-cf-id"),
        ]),
        with(r#"{"adopt": {"from": ["AWS"]}}"#, vec![
            case("adopt from AWS, in upper case").header("x-amz-request-id", S3).adopted(FROM_S3, "x-amz-request-id"),
        ]),
        with(r#"{"adopt": {"from": ["x-amz-cf-id", "X-Parent-Id", "aws"]}}"#, vec![
            case("adopt from a list: the first").header("x-amzn-requestid", UUID).header("x-parent-id", "parent")
                .header("x-amz-cf-id", UUID.to_uppercase()).adopted(UUID, "x-amz-cf-id"),
            case("adopt from a list: a later one").header("x-amzn-requestid", UUID)
                .header("x-parent-id", "11111111-2222-4333-8444-555555555555")
                .adopted("11111111-2222-4333-8444-555555555555", "x-parent-id"),
            case("adopt from a list: an unusable first").header("x-amz-cf-id", "-").header("x-parent-id", UUID)
                .adopted(UUID, "x-parent-id").unusable("x-amz-cf-id", "placeholder"),
            case("adopt from a list: an unusable header after the one that is used").header("x-amz-cf-id", UUID)
                .header("x-parent-id", "a b").adopted(UUID, "x-amz-cf-id"),
            case("adopt from a list: no other name is remapped").header("x-amzn-remapped-x-parent-id", UUID),
        ]),
        with(r#"{"adopt": {"from": ["traceparent", "x-amzn-trace-id"]}}"#, vec![
            case("adopt from traces: the trace-id as it is").header("x-amzn-trace-id", format!("Root={ROOT}"))
                .header("traceparent", TRACEPARENT).adopted("0af7651916cd43dd8448eb211c80319c", "traceparent"),
            case("adopt from traces: the root, derived")
                .header("x-amzn-trace-id", format!("Root={ROOT};Parent=53995c3f42cd8ad8;Sampled=1"))
                .adopted(FROM_ROOT, "x-amzn-trace-id"),
            case("adopt from traces: the root in upper case among other fields")
                .header("x-amzn-trace-id", format!("sampled=0; ROOT = {}", ROOT.to_uppercase()))
                .adopted(FROM_ROOT, "x-amzn-trace-id"),
            case("adopt from traces: no AWS id").header("x-amzn-requestid", UUID),
            case("adopt from traces: neither has the format of its header").header("traceparent", UUID)
                .header("x-amzn-trace-id", UUID).unusable("traceparent", "bad_format").unusable("x-amzn-trace-id", "bad_format"),
            case("adopt from traces: bytes").header("traceparent", b"\xff").header("x-amzn-trace-id", b"Root=\xff")
                .unusable("traceparent", "bad_format").unusable("x-amzn-trace-id", "bad_format"),
            case("adopt from traces: an empty root").header("x-amzn-trace-id", "Root=;Sampled=0")
                .unusable("x-amzn-trace-id", "bad_format"),
            case("adopt from traces: a later version of the W3C's may be longer")
                .header("traceparent", "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more")
                .adopted("0af7651916cd43dd8448eb211c80319c", "traceparent"),
        ]),
        with(r#"{"adopt": {"from": ["traceparent"]}}"#, [
            ("upper case", "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01"),
            ("a parent-id in upper case", "00-0af7651916cd43dd8448eb211c80319c-B7AD6B7169203331-01"),
            ("the version ff", "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            ("version 00 with more than 55 characters", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more"),
            ("a trace-id of zeros", "00-00000000000000000000000000000000-b7ad6b7169203331-01"),
            ("a parent-id of zeros", "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01"),
            ("no flags", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331"),
        ]
            .map(|(what, value)| {
                case(leak("a traceparent is invalid with", what)).header("traceparent", value).unusable("traceparent", "bad_format")
            })
            .to_vec()),
        with(r#"{"adopt": {"from": ["x-amzn-trace-id", "aws"], "non_uuid": "verbatim"}}"#, vec![
            case("adopt from traces: the root is derived whatever else is not").header("x-amzn-trace-id", format!("Root={ROOT}"))
                .header("x-amzn-requestid", UUID).adopted(FROM_ROOT, "x-amzn-trace-id"),
        ]),
        with(r#"{"adopt": {"from": ["x-amzn-trace-id", "traceparent"], "non_uuid": "skip"}, "incoming": {"max_length": 34}}"#, vec![
            case("adopt from traces: a root longer than max_length, the trace-id not skipped")
                .header("x-amzn-trace-id", format!("Root={ROOT}")).header("traceparent", TRACEPARENT)
                .adopted("0af7651916cd43dd8448eb211c80319c", "traceparent").unusable("x-amzn-trace-id", "too_long"),
        ]),
    ]
    .concat()
}

fn non_uuid() -> Vec<Case> {
    [
        with(r#"{"incoming": {"accept": "uuid"}, "adopt": {"from": ["kong-request-id"]}}"#, vec![
            case("non_uuid derive: Kong's id").header("kong-request-id", "9c2f8e71-6a5d-4b1e-8b7a-2d3f0c1e4a59#42")
                .adopted("498a6605-a4df-558e-a87f-7b10a003e465", "kong-request-id"),
            case("non_uuid derive: a GUID in braces").header("kong-request-id", format!("{{{UUID}}}"))
                .adopted("fb9b2416-076a-502e-be04-c5b8dd5df6b0", "kong-request-id"),
            case("non_uuid derive: a control byte is not visible").header("kong-request-id", "a\tb")
                .unusable("kong-request-id", "bad_byte"),
        ]),
        with(r#"{"incoming": {"accept": "visible"}, "adopt": {"non_uuid": "verbatim"}}"#, vec![
            case("non_uuid verbatim: what accept: visible accepts").header("x-amz-request-id", "<a;b>")
                .adopted("<a;b>", "x-amz-request-id"),
        ]),
        with(r#"{"incoming": {"accept": "uuid"}, "adopt": {"non_uuid": "verbatim"}}"#, vec![
            case("non_uuid verbatim: what accept: uuid does not accept").header("x-amz-request-id", S3)
                .unusable("x-amz-request-id", "not_uuid"),
            case("non_uuid verbatim: a UUID of another version, which accept: uuid accepts")
                .header("x-amz-request-id", "d57c3a72-f9fc-ac6c-82d3-f5d8614c8791")
                .adopted("d57c3a72-f9fc-ac6c-82d3-f5d8614c8791", "x-amz-request-id"),
        ]),
        with(r#"{"adopt": {"non_uuid": "verbatim"}}"#, vec![
            case("non_uuid verbatim: an S3 id").header("x-amz-request-id", S3).adopted(S3, "x-amz-request-id"),
            case("non_uuid verbatim: a UUID still in lower case").header("x-amzn-requestid", UUID.to_uppercase())
                .adopted(UUID, "x-amzn-requestid"),
            case("non_uuid verbatim: a Kinesis id as it is").header("x-amzn-requestid", "D57c3a72-f9fc-ac6c-82d3-f5d8614c8791")
                .adopted("D57c3a72-f9fc-ac6c-82d3-f5d8614c8791", "x-amzn-requestid"),
            case("non_uuid verbatim: a placeholder is still unusable").header("x-amzn-requestid", "null")
                .unusable("x-amzn-requestid", "placeholder"),
            case("non_uuid verbatim: a provisional id, which the next run would not keep").header("x-amzn-requestid", PROVISIONAL)
                .unusable("x-amzn-requestid", "placeholder"),
            case("non_uuid verbatim: what accept: safe does not accept").header("x-amzn-requestid", "<a>")
                .unusable("x-amzn-requestid", "bad_byte"),
        ]),
        with(r#"{"adopt": {"non_uuid": "skip"}}"#, vec![
            case("non_uuid skip: an S3 id").header("x-amz-request-id", S3).unusable("x-amz-request-id", "not_uuid"),
            case("non_uuid skip: a UUID").header("x-amz-request-id", UUID).adopted(UUID, "x-amz-request-id"),
            case("non_uuid skip: the next value").header("x-amz-request-id", format!("{S3}, {UUID}"))
                .adopted(UUID, "x-amz-request-id"),
            case("non_uuid skip: the next header").header("x-amzn-requestid", S3).header("x-amz-request-id", UUID)
                .adopted(UUID, "x-amz-request-id").unusable("x-amzn-requestid", "not_uuid"),
        ]),
    ]
    .concat()
}

fn generate() -> Vec<Case> {
    [
        with(r#"{"generate": "uuid7"}"#, vec![
            case("generate uuid7: no id").generated(IdFormat::Uuid7),
            case("generate uuid7: in place of an invalid one").id("a b").generated(IdFormat::Uuid7).replaced("bad_byte"),
            case("generate uuid7: kept").id("mine").kept(),
            case("generate uuid7: a provisional id contains no time").id(PROVISIONAL).generated(IdFormat::Uuid7),
        ]),
        with(r#"{"generate": "hex32"}"#, vec![
            case("generate hex32: no id").generated(IdFormat::Hex32),
            case("generate hex32: the digits of a provisional id").id(PROVISIONAL)
                .generated_as("0f8fad5bd9cb469fa16570867728950e"),
            case("generate hex32: adopted ids are still UUIDs").header("x-amz-request-id", S3)
                .adopted(FROM_S3, "x-amz-request-id"),
        ]),
    ]
    .concat()
}

fn echo() -> Vec<Case> {
    let if_absent = |prefix: &str| {
        vec![
            case(leak(prefix, "no id of the upstream")).id("mine").kept(),
            case(leak(prefix, "the upstream's id stays")).upstream("x-request-id", "theirs").id("mine").kept().upstream_id(),
            case(leak(prefix, "the upstream's id stays, whatever it is")).upstream("x-request-id", b"\xff a").upstream_id(),
            case(leak(prefix, "an empty id of the upstream is overwritten")).upstream("x-request-id", "").id("mine").kept(),
            case(leak(prefix, "a blank id of the upstream is overwritten")).upstream("x-request-id", " \t").id("mine").kept(),
        ]
    };
    let never = |prefix: &str| {
        vec![
            case(leak(prefix, "no id of the upstream")).id("mine").kept().upstream_id(),
            case(leak(prefix, "a new id is for the upstream alone")).upstream_id(),
            case(leak(prefix, "the upstream's id stays")).upstream("x-request-id", "theirs").id("mine").kept().upstream_id(),
        ]
    };
    [
        with(r#"{"response": {"echo": "if_absent"}}"#, if_absent("echo if_absent")),
        with(r#"{"response": {"echo": "if_absent", "normalize_aws": false}}"#, if_absent("echo if_absent alone")),
        with(r#"{"response": {"echo": "never"}}"#, {
            let mut cases = never("echo never");
            cases.push(case("echo never: AWS's id is still published").upstream("apigw-requestid", S3).aws_id(S3).upstream_id());
            cases
        }),
        with(r#"{"response": {"echo": "never", "normalize_aws": false}}"#, never("echo never alone")),
        with(r#"{"incoming": {"on_invalid": "reject"}, "response": {"echo": "if_absent"}}"#, vec![
            case("echo if_absent: a refused request").id("a".repeat(201))
                .rejected("too_long", "x-request-id is longer than 200 bytes"),
        ]),
        with(r#"{"header": "x-correlation-id", "response": {"echo": "if_absent"}}"#, vec![
            other("echo if_absent: a second line of another header").upstream("x-correlation-id", "")
                .upstream("x-correlation-id", "theirs").id("mine").kept().upstream_id(),
            other("echo if_absent: empty lines of another header").upstream("x-correlation-id", "")
                .upstream("x-correlation-id", "").id("mine").kept(),
        ]),
        with(r#"{"header": "x-correlation-id", "response": {"echo": "if_absent", "normalize_aws": false}}"#, vec![
            other("echo if_absent alone: a second line of another header").upstream("x-correlation-id", "")
                .upstream("x-correlation-id", "theirs").id("mine").kept().upstream_id(),
        ]),
    ]
    .concat()
}

fn leak(prefix: &str, name: &str) -> &'static str {
    format!("{prefix}: {name}").leak()
}

fn normalize_aws() -> Vec<Case> {
    [
        with(r#"{"response": {"normalize_aws": false}}"#, vec![
            case("normalize_aws false: AWS's id keeps its name").upstream("apigw-requestid", S3).id("mine").kept(),
            case("normalize_aws false: an AWS id is still adopted").header("x-amz-request-id", S3)
                .adopted(FROM_S3, "x-amz-request-id"),
            case("normalize_aws false: the upstream's lines are overwritten").upstream("x-request-id", "theirs")
                .upstream("x-request-id", "theirs-too").id("mine").kept(),
        ]),
    ]
    .concat()
}

fn expose() -> Vec<Case> {
    const ALLOW: &str = "access-control-allow-origin";
    const EXPOSE: &str = "access-control-expose-headers";
    let cases = |prefix: &str| {
        vec![
            case(leak(prefix, "a response for another origin")).upstream(ALLOW, "https://example.com").expose("x-request-id"),
            case(leak(prefix, "a response for all origins")).upstream(ALLOW, "*").expose("x-request-id"),
            case(leak(prefix, "a response for no other origin")),
            case(leak(prefix, "exposed names in a response for no other origin")).upstream(EXPOSE, "etag"),
            case(leak(prefix, "beside other names")).upstream(ALLOW, "*").upstream(EXPOSE, "ETag,  x-other").id("mine").kept()
                .expose("ETag, x-other, x-request-id"),
            case(leak(prefix, "beside other names in lines of their own")).upstream(EXPOSE, "etag").upstream(ALLOW, "*")
                .upstream(EXPOSE, "x-other").expose("etag, x-other, x-request-id"),
            case(leak(prefix, "exposed already")).upstream(ALLOW, "*").upstream(EXPOSE, "etag, X-Request-ID"),
            case(leak(prefix, "all names exposed already")).upstream(ALLOW, "*").upstream(EXPOSE, "*"),
            case(leak(prefix, "a longer name is another one")).upstream(ALLOW, "*").upstream(EXPOSE, "x-request-id-2")
                .expose("x-request-id-2, x-request-id"),
            case(leak(prefix, "an empty list")).upstream(ALLOW, "*").upstream(EXPOSE, "").expose("x-request-id"),
        ]
    };
    [
        with(r#"{"response": {"expose": true}}"#, cases("expose true")),
        with(r#"{"response": {"expose": true, "normalize_aws": false}}"#, cases("expose true alone")),
        with(r#"{"response": {"expose": false}}"#, vec![
            case("expose false").upstream(ALLOW, "*").upstream(EXPOSE, "etag"),
        ]),
        with(r#"{"header": "X-Correlation-ID", "response": {"expose": true, "echo": "if_absent"}}"#, vec![
            other("expose true: another header").upstream(ALLOW, "*").expose("x-correlation-id"),
        ]),
    ]
    .concat()
}

fn log_origin() -> Vec<Case> {
    [
        with(r#"{"log_origin": true}"#, vec![
            case("log_origin true: kept").id("mine").kept(),
            case("log_origin true: generated"),
            case("log_origin true: adopted, remapped twice").header("x-amzn-remapped-x-amzn-remapped-x-amzn-requestid", UUID)
                .adopted(UUID, "x-amzn-remapped-x-amzn-requestid"),
            case("log_origin true: bytes").id(b"\xff").replaced("bad_byte"),
        ]),
        with(r#"{"log_origin": true, "incoming": {"accept": "uuid", "on_invalid": "reject"}, "adopt": {"from": ["x-parent-id", "x-amzn-trace-id"]}}"#, vec![
            case("log_origin true: rejected").id("mine").rejected("not_uuid", "x-request-id is not a UUID in the form 8-4-4-4-12"),
            case("log_origin true: adopted from a trace").header("x-amzn-trace-id", format!("Root={ROOT}"))
                .adopted(FROM_ROOT, "x-amzn-trace-id"),
        ]),
        with(r#"{"log_origin": true, "incoming": {"trust": "none"}}"#, vec![
            case("log_origin true: untrusted").id("mine").replaced("untrusted"),
        ]),
        with(r#"{"log_origin": true, "incoming": {"on_invalid": "keep"}}"#, vec![
            case("log_origin true: kept in a dry run").id("a b").kept_in_dry_run("a b", "bad_byte"),
        ]),
    ]
    .concat()
}
