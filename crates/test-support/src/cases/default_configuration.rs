//! The cases with the default configuration.

use super::{AUTHORIZATION, Case, FROM_S3, PROVISIONAL, S3, UUID, case};

pub fn all() -> Vec<Case> {
    [
        kept(),
        missing(),
        invalid(),
        repeated(),
        adopted(),
        placeholders(),
        claimed_signatures(),
        provisional(),
        others(),
        echoed(),
        normalized(),
    ]
    .concat()
}

fn kept() -> Vec<Case> {
    vec![
        case("a UUID is kept").id(UUID).kept(),
        case("a UUID in upper case is kept as it is").id(UUID.to_uppercase()).kept(),
        case("a UUID of any version is kept").id("d57c3a72-f9fc-ac6c-82d3-f5d8614c8791").kept(),
        case("a nil UUID is kept: the client sent it as its id").id("00000000-0000-0000-0000-000000000000").kept(),
        case("32 hexadecimal digits are kept").id("0123456789abcdef0123456789abcdef").kept(),
        case("a ULID is kept").id("01ARZ3NDEKTSV4RRFFQ69G5FAV").kept(),
        case("a CloudFront id is kept").id("SOX4xwn4XV6Q4rgb7XiVGOHms_BGlTAC4KyHmureZmBNrjGdRLiNIQ==").kept(),
        case("an API Gateway id is kept").id("Mc7UVioPPHcEKPA=").kept(),
        case("Kong's id is kept").id("9c2f8e71-6a5d-4b1e-8b7a-2d3f0c1e4a59#42").kept(),
        case("a trace header's root is kept").id("1-67891233-abcdef012345678912345678").kept(),
        case("a URN is kept").id("urn:uuid:0f8fad5b-d9cb-469f-a165-70867728950e").kept(),
        case("one byte is kept").id("a").kept(),
        case("a hyphen is kept: the client sent it as its id").id("-").kept(),
        case("all safe bytes are kept").id("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/=:@#").kept(),
        case("200 bytes are kept").id("a".repeat(200)).kept(),
        case("the header's name is kept in any case").header("X-ReQuEsT-iD", UUID).kept(),
        case("a kept id needs no AWS header").header("x-amzn-requestid", S3).id("mine").kept(),
        case("blanks around an id are not part of it: Envoy's codec drops them").id(" \t id-1 \t ").kept_as("id-1")
            .unwritten(),
        case("a stray comma is not part of an id").id("id-1,").kept_as("id-1"),
        case("stray commas and blanks are not part of an id").id(" , id-1 ,\t, ").kept_as("id-1"),
    ]
}

fn missing() -> Vec<Case> {
    vec![
        case("no id: a new one"),
        case("an empty id counts as missing").id(""),
        case("a blank id counts as missing").id(" \t "),
        case("nothing but commas counts as missing").id(",, ,"),
        case("two empty ids count as missing").id("").id(""),
        case("other headers hold no request id").header("x-request-id-2", "a").header("request-id", "b")
            .header("x-correlation-id", "c").header("x-amz-cf-id", "SOX4xwn4XV6Q4rgb7XiVGOHms==")
            .header("x-amzn-trace-id", "Root=1-67891233-abcdef012345678912345678"),
        case("a name with an underscore is another name").header("x_request_id", "a"),
    ]
}

fn invalid() -> Vec<Case> {
    let mut cases = vec![
        case("201 bytes are too long").id("a".repeat(201)).replaced("too_long"),
        case("the length is checked before the bytes").id("\u{e9}".repeat(200)).replaced("too_long"),
        case("a blank inside is a bad byte").id("a b").replaced("bad_byte"),
        case("a tab inside is a bad byte").id("a\tb").replaced("bad_byte"),
        case("a character beyond ASCII in UTF-8 is bad bytes").id("caf\u{e9}").replaced("bad_byte"),
        case("a character beyond ASCII in Latin-1 is a bad byte").id(b"caf\xe9").replaced("bad_byte"),
        case("bytes that are no text are bad").id(b"\xff\xfe").replaced("bad_byte"),
        case("a truncated UTF-8 sequence is bad").id(b"a\xf0\x9f\x98").replaced("bad_byte"),
        case("one bad byte at the end is enough").id(format!("{}\u{80}", "a".repeat(150))).replaced("bad_byte"),
        case("an invalid id is replaced by AWS's").id("a b").header("x-amzn-requestid", S3).replaced_by(FROM_S3, "bad_byte"),
    ];
    // Every byte that HTTP lets through and the safe set does not have. A comma is a list.
    cases.extend(b"!\"$%&'()*;<>?[\\]^`{|}".map(|byte| {
        case(format!("the byte {} is bad", byte.escape_ascii()).leak()).id([b'a', byte, b'z']).replaced("bad_byte")
    }));
    cases
}

fn repeated() -> Vec<Case> {
    vec![
        case("equal ids count as one").id("id-1").id("id-1").kept_as("id-1"),
        case("equal ids in one line count as one").id("id-1, id-1").kept_as("id-1"),
        case("an empty id beside a valid one does not count").id("").id("id-1").kept(),
        case("a valid id beside an empty one counts").id("id-1").id("").kept_as("id-1").unwritten(),
        case("different ids are invalid").id("id-1").id("id-2").replaced("duplicate"),
        case("ids that differ in case are different").id("id-a").id("id-A").replaced("duplicate"),
        case("different ids in one line are invalid").id("id-1,id-2").replaced("duplicate"),
        case("a valid id beside an invalid one is invalid").id("id-1").id("a b").replaced("duplicate"),
        case("two equal invalid ids count as one invalid id").id("a b").id("a b").replaced("bad_byte"),
        case("two equal ids that are too long are too long").id("a".repeat(201)).id("a".repeat(201)).replaced("too_long"),
        case("different ids that are too long are different").id("a".repeat(201)).id("b".repeat(201)).replaced("duplicate"),
        case("two equal ids of 200 bytes count as one").id("a".repeat(200)).id("a".repeat(200)).kept_as("a".repeat(200)),
    ]
}

fn adopted() -> Vec<Case> {
    let other = "11111111-2222-4333-8444-555555555555";
    vec![
        case("x-amzn-requestid").header("x-amzn-requestid", UUID).adopted(UUID, "x-amzn-requestid"),
        case("x-amzn-request-id").header("x-amzn-request-id", UUID).adopted(UUID, "x-amzn-request-id"),
        case("x-amz-request-id").header("x-amz-request-id", UUID).adopted(UUID, "x-amz-request-id"),
        case("x-amz-requestid").header("x-amz-requestid", UUID).adopted(UUID, "x-amz-requestid"),
        case("AWS's own spelling").header("X-Amzn-RequestId", UUID).adopted(UUID, "x-amzn-requestid"),
        case("an empty id and an AWS one").id("").header("x-amzn-requestid", UUID).adopted(UUID, "x-amzn-requestid"),
        case("x-amzn-requestid goes before x-amzn-request-id").header("x-amzn-request-id", other)
            .header("x-amzn-requestid", UUID).adopted(UUID, "x-amzn-requestid"),
        case("x-amzn-request-id goes before x-amz-request-id").header("x-amz-request-id", other)
            .header("x-amzn-request-id", UUID).adopted(UUID, "x-amzn-request-id"),
        case("x-amz-request-id goes before x-amz-requestid").header("x-amz-requestid", other).header("x-amz-request-id", UUID)
            .adopted(UUID, "x-amz-request-id"),
        case("a remapped name").header("x-amzn-remapped-x-amzn-requestid", UUID)
            .adopted(UUID, "x-amzn-remapped-x-amzn-requestid"),
        case("each name may be remapped").header("x-amzn-remapped-x-amz-request-id", UUID)
            .adopted(UUID, "x-amzn-remapped-x-amz-request-id"),
        case("a remapped name may be remapped").header("x-amzn-remapped-x-amzn-remapped-x-amzn-requestid", UUID)
            .adopted(UUID, "x-amzn-remapped-x-amzn-requestid"),
        case("any plain name goes before a remapped one").header("x-amzn-remapped-x-amzn-requestid", other)
            .header("x-amz-requestid", UUID).adopted(UUID, "x-amz-requestid"),
        case("once remapped goes before twice remapped").header("x-amzn-remapped-x-amzn-remapped-x-amzn-requestid", other)
            .header("x-amzn-remapped-x-amz-requestid", UUID).adopted(UUID, "x-amzn-remapped-x-amz-requestid"),
        case("other remapped headers hold no id").header("x-amzn-remapped-date", "x").header("x-amzn-remapped-", "y"),
        case("a UUID is adopted in lower case").header("x-amzn-requestid", UUID.to_uppercase())
            .adopted(UUID, "x-amzn-requestid"),
        case("a version 1 UUID is adopted").header("x-amzn-requestid", "6a7e8feb-b491-11cf-a9f1-bf3703467718")
            .adopted("6a7e8feb-b491-11cf-a9f1-bf3703467718", "x-amzn-requestid"),
        case("a version 5 UUID of SQS is adopted").header("x-amzn-requestid", "bf47d091-2129-5320-a332-89647ef0d86b")
            .adopted("bf47d091-2129-5320-a332-89647ef0d86b", "x-amzn-requestid"),
        case("a version 8 UUID is adopted").header("x-amzn-requestid", "bf47d091-2129-8320-b332-89647ef0d86b")
            .adopted("bf47d091-2129-8320-b332-89647ef0d86b", "x-amzn-requestid"),
        case("an S3 id is derived").header("x-amz-request-id", S3).adopted(FROM_S3, "x-amz-request-id"),
        case("a DynamoDB id is derived").header("x-amzn-requestid", "A5FGSJ9ET4OKB8183S9M47RQQBVV4KQNSO5AEMVJF66Q9ASUAAJG")
            .adopted("73fd7932-c22e-5607-b7d3-2d1a0b3a937c", "x-amzn-requestid"),
        case("a Kinesis id, which would force a trace, is derived")
            .header("x-amzn-requestid", "d57c3a72-f9fc-ac6c-82d3-f5d8614c8791")
            .adopted("a89e725d-ae52-5083-a6da-4a0a5e1ddf81", "x-amzn-requestid"),
        case("a UUID with the variant of Microsoft is derived")
            .header("x-amzn-requestid", "d57c3a72-f9fc-4c6c-c2d3-f5d8614c8791")
            .adopted("cc1715ec-ca56-51c3-a408-a7b0d09032d0", "x-amzn-requestid"),
        case("a derived id depends on the case of the value").header("x-amzn-requestid", S3.to_lowercase())
            .adopted("18a8a9b6-96bf-5af8-b833-c9ede6b7c9a4", "x-amzn-requestid"),
        case("blanks around a value are not part of it").header("x-amzn-requestid", " 4B4NGF0EAWN0GE63\t")
            .adopted(FROM_S3, "x-amzn-requestid"),
        case("the first usable of several values in a line").header("x-amzn-requestid", format!("a b, ,null,{UUID},{other}"))
            .adopted(UUID, "x-amzn-requestid"),
        case("the first usable of several lines").header("x-amzn-requestid", "-").header("x-amzn-requestid", UUID)
            .header("x-amzn-requestid", other).adopted(UUID, "x-amzn-requestid"),
        case("after a name without a usable value the next one is tried").header("x-amzn-requestid", "none")
            .header("x-amz-request-id", UUID).adopted(UUID, "x-amz-request-id").unusable("x-amzn-requestid", "placeholder"),
        case("a value of 200 bytes is usable").header("x-amzn-requestid", "a".repeat(200))
            .adopted("d07cb2b0-c94b-59da-b5ad-080730c034cb", "x-amzn-requestid"),
        case("a value of 201 bytes is not").header("x-amzn-requestid", "a".repeat(201))
            .unusable("x-amzn-requestid", "too_long"),
        case("an empty value is not").header("x-amzn-requestid", "").unusable("x-amzn-requestid", "empty"),
        case("a value with bad bytes is not").header("x-amzn-requestid", b"caf\xe9").unusable("x-amzn-requestid", "bad_byte"),
        case("a value with a blank is not").header("x-amzn-requestid", "a b").unusable("x-amzn-requestid", "bad_byte"),
        case("the log has the reason of the last value").header("x-amzn-requestid", "null, a b")
            .unusable("x-amzn-requestid", "bad_byte"),
        case("bad bytes in one AWS header leave the next one usable").header("x-amzn-requestid", b"\xff\xff\xff")
            .header("x-amzn-request-id", S3).adopted(FROM_S3, "x-amzn-request-id").unusable("x-amzn-requestid", "bad_byte"),
    ]
}

fn placeholders() -> Vec<Case> {
    [
        "00000000-0000-0000-0000-000000000000",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
        "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
        "-",
        "none",
        "None",
        "null",
        "NULL",
        "undefined",
        "unknown",
        "test-invoke-request",
        "UUID_REPLACED_INVALID_REQUEST_ID",
    ]
    .map(|value| {
        case(format!("the placeholder {value} is no id of AWS").leak()).header("x-amzn-requestid", value)
            .unusable("x-amzn-requestid", "placeholder")
    })
    .to_vec()
}

/// A client can claim a signature of AWS over the id without having one, so the claim changes nothing.
fn claimed_signatures() -> Vec<Case> {
    vec![
        case("a valid id is kept, so a signature over it remains valid").header("authorization", AUTHORIZATION).id("mine")
            .kept(),
        case("a claimed signature does not protect an invalid id").header("authorization", AUTHORIZATION).id("a b")
            .replaced("bad_byte"),
        case("a signature that the query claims does not protect an invalid id")
            .path("/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-SignedHeaders=host%3Bx-request-id&X-Amz-Signature=0")
            .id("a".repeat(201)).replaced("too_long"),
        case("a signature of another scheme does not protect an invalid id")
            .header("signature-input", "sig1=(\"x-request-id\");keyid=\"k\"").id("a b").replaced("bad_byte"),
    ]
}

fn provisional() -> Vec<Case> {
    vec![
        case("the UUID of a provisional id becomes the id").id(PROVISIONAL).generated_as(UUID),
        case("the UUID of a provisional id becomes the id in lower case").id(format!("{}-provisional", UUID.to_uppercase()))
            .generated_as(UUID),
        case("the UUID of a provisional id may have any version").id("d57c3a72-f9fc-ac6c-d2d3-f5d8614c8791-provisional")
            .generated_as("d57c3a72-f9fc-ac6c-d2d3-f5d8614c8791"),
        case("an AWS id is preferred to a provisional id").id(PROVISIONAL).header("x-amz-request-id", S3)
            .adopted(FROM_S3, "x-amz-request-id"),
        case("an unusable AWS id is not preferred to a provisional id").id(PROVISIONAL).header("x-amz-request-id", "null")
            .generated_as(UUID).unusable("x-amz-request-id", "placeholder"),
        case("equal provisional ids count as one").id(PROVISIONAL).id(PROVISIONAL).generated_as(UUID),
        case("different provisional ids are invalid").id(PROVISIONAL).id("d57c3a72-f9fc-ac6c-d2d3-f5d8614c8791-provisional")
            .replaced("duplicate"),
        case("a provisional id and another id are invalid").id(PROVISIONAL).id("mine").replaced("duplicate"),
        case("the marker alone is an id").id("-provisional").kept(),
        case("the marker after another id is part of that id").id("mine-provisional").kept(),
        case("the marker in upper case is part of the id").id("0f8fad5b-d9cb-469f-a165-70867728950e-PROVISIONAL").kept(),
        case("the marker inside an id is part of that id").id("0f8fad5b-d9cb-469f-a165-70867728950e-provisional-2").kept(),
        case("the marker in an AWS header is part of the value").header("x-amz-request-id", PROVISIONAL)
            .adopted("ce1176a9-68b9-56b6-ba03-42e4b879b647", "x-amz-request-id"),
    ]
}

/// Other headers of any shape, which are not read, not changed, and do no harm.
fn others() -> Vec<Case> {
    vec![
        case("other headers arrive as they were sent").header("cookie", format!("session={}", "c".repeat(3000)))
            .header("x-bytes", b"\x80\xff caf\xe9").header("x-empty", "").header("x-twice", "1").header("x-twice", "2")
            .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
            .header("x-amz-id-2", "host").id("mine").kept(),
        case("other headers arrive as they were sent beside a new id").header("x-bytes", b"\x80\xff caf\xe9")
            .header("x-empty", "").header("x-twice", "1").header("x-twice", "2").header("x-amzn-requestid", b"\xff")
            .unusable("x-amzn-requestid", "bad_byte"),
    ]
}

fn echoed() -> Vec<Case> {
    vec![
        case("the upstream's own id is overwritten").upstream("x-request-id", "theirs").id("mine").kept(),
        case("several ids of the upstream are overwritten").upstream("x-request-id", "theirs").upstream("x-request-id", "theirs-too")
            .id("mine").kept(),
        case("an invalid id of the upstream is overwritten").upstream("x-request-id", b"\xff\xfe").id("mine").kept(),
        case("the upstream may echo the id itself").upstream("x-request-id", "mine").id("mine").kept(),
        case("the upstream may echo the id twice").upstream("x-request-id", "mine").upstream("x-request-id", "mine")
            .id("mine").kept(),
        case("a new id overwrites the upstream's").upstream("x-request-id", "theirs"),
        case("the upstream's AWS id is not the request's").upstream("x-amzn-requestid", UUID),
        case("headers of the response arrive as they were sent").upstream("x-bytes", b"\x80\xff caf\xe9")
            .upstream("x-twice", "1").upstream("x-twice", "2").upstream("x-empty", ""),
    ]
}

fn normalized() -> Vec<Case> {
    vec![
        case("apigw-requestid is published").upstream("apigw-requestid", "Mc7UVioPPHcEKPA=")
            .aws_id("Mc7UVioPPHcEKPA="),
        case("x-amz-request-id is published").upstream("x-amz-request-id", S3).aws_id(S3),
        case("x-amz-requestid is published").upstream("x-amz-requestid", UUID).aws_id(UUID),
        case("x-amzn-request-id is published").upstream("x-amzn-request-id", UUID).aws_id(UUID),
        case("x-amz-cognito-request-id is published").upstream("x-amz-cognito-request-id", UUID).aws_id(UUID),
        case("a remapped id is published").upstream("x-amzn-Remapped-x-amzn-RequestId", UUID).aws_id(UUID),
        case("an id under the canonical name stays").upstream("x-amzn-requestid", UUID)
            .upstream("apigw-requestid", "Mc7UVioPPHcEKPA="),
        case("AWS's spelling of the canonical name is the canonical name").upstream("x-amzn-RequestId", UUID)
            .upstream("x-amz-request-id", S3),
        case("x-amzn-request-id goes before apigw-requestid").upstream("apigw-requestid", "Mc7UVioPPHcEKPA=")
            .upstream("x-amzn-request-id", UUID).aws_id(UUID),
        case("apigw-requestid goes before x-amz-request-id").upstream("x-amz-request-id", S3)
            .upstream("apigw-requestid", "Mc7UVioPPHcEKPA=").aws_id("Mc7UVioPPHcEKPA="),
        case("a plain name goes before a remapped one").upstream("x-amzn-remapped-x-amzn-requestid", UUID)
            .upstream("x-amz-cognito-request-id", "cognito").aws_id("cognito"),
        case("an id is published as it is, in upper case").upstream("apigw-requestid", "ABC-DEF").aws_id("ABC-DEF"),
        case("an unusable id under the canonical name is overwritten").upstream("x-amzn-requestid", "null")
            .upstream("apigw-requestid", "Mc7UVioPPHcEKPA=").aws_id("Mc7UVioPPHcEKPA="),
        case("an empty id under the canonical name is overwritten").upstream("x-amzn-requestid", "").upstream("x-amz-request-id", S3)
            .aws_id(S3),
        case("an unusable id under the canonical name stays if there is no other").upstream("x-amzn-requestid", "null"),
        case("an unusable id is not published").upstream("apigw-requestid", "undefined")
            .upstream("x-amz-request-id", b"\xff"),
        case("the first usable of several").upstream("apigw-requestid", "none, a b, good").upstream("x-amz-request-id", S3)
            .aws_id("good"),
        case("the first of several lines is published").upstream("apigw-requestid", "first")
            .upstream("apigw-requestid", "second").aws_id("first"),
        case("S3's ids stay a pair").upstream("x-amz-request-id", S3).upstream("x-amz-id-2", "host/id=="),
        case("S3's ids beside an unusable one under the canonical name").upstream("x-amz-id-2", "host/id==")
            .upstream("x-amzn-requestid", "-").upstream("x-amz-request-id", S3).aws_id(S3),
        case("no AWS id: nothing is published").upstream("x-amz-cf-id", "cf").upstream("x-amzn-trace-id", "Root=1-2-3"),
        case("an invalid AWS id and a valid request id").upstream("x-amzn-requestid", b"\xfe").id("mine").kept(),
    ]
}
