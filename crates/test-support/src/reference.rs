//! The rules once more: plain, slow, and written from their description alone, so that a mistake
//! in the filter has to be made twice to go unnoticed. [`comparison`](crate::comparison) compares the
//! two.

use std::net::{IpAddr, SocketAddr};

use request_id_rules::policy::IdFormat;
use request_id_rules::request::OriginalChange;
use serde_json::Value;
use uuid::Uuid;

use crate::message::{Line, values};
use crate::verdict::{ExpectedId, Verdict};

/// A configuration, in the words of its JSON.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The header of the id, in lower case.
    pub header: String,
    trust: Trust,
    /// `safe`, `uuid` or `visible`.
    pub accept: String,
    /// The length of the longest valid id, in bytes.
    pub max_length: usize,
    on_invalid: String,
    original: Option<String>,
    from: Vec<String>,
    non_uuid: String,
    generate: String,
    /// `overwrite`, `if_absent` or `never`.
    pub echo: String,
    normalize_aws: bool,
    expose: bool,
    /// Whether the origin is published.
    pub log_origin: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Trust {
    All,
    /// The bits of each range, without those behind its prefix.
    Ranges(Vec<String>),
}

impl Default for Config {
    fn default() -> Self {
        Self {
            header: "x-request-id".into(),
            trust: Trust::All,
            accept: "safe".into(),
            max_length: 200,
            on_invalid: "replace".into(),
            original: None,
            from: vec!["aws".into()],
            non_uuid: "derive".into(),
            generate: "uuid4".into(),
            echo: "overwrite".into(),
            normalize_aws: true,
            expose: false,
            log_origin: false,
        }
    }
}

impl Config {
    /// Reads a configuration, or returns `None` if it must be refused. It does not notice that a key is
    /// repeated.
    #[must_use]
    pub fn read(text: &[u8]) -> Option<Self> {
        let mut config = Self::default();
        if text.iter().all(u8::is_ascii_whitespace) {
            return Some(config);
        }
        let json: Value = serde_json::from_slice(text).ok()?;
        for (path, value) in settings(&json)? {
            match path.as_str() {
                "header" => config.header = header_name(value)?,
                "incoming.trust" => config.trust = trust(value)?,
                "incoming.accept" => config.accept = word(value, &["safe", "uuid", "visible"])?,
                "incoming.max_length" => config.max_length = whole_number(value)?,
                "incoming.on_invalid" => {
                    config.on_invalid = word(value, &["replace", "reject", "keep"])?;
                }
                "incoming.original" if value.is_null() => config.original = None,
                "incoming.original" => config.original = Some(header_name(value)?),
                "adopt.from" => {
                    let names = value.as_array()?.iter();
                    config.from = names.map(header_name).collect::<Option<_>>()?;
                }
                "adopt.non_uuid" => {
                    config.non_uuid = word(value, &["derive", "verbatim", "skip"])?;
                }
                "generate" => config.generate = word(value, &["uuid4", "uuid7", "hex32"])?,
                "response.echo" => {
                    config.echo = word(value, &["overwrite", "if_absent", "never"])?;
                }
                "response.normalize_aws" => config.normalize_aws = value.as_bool()?,
                "response.expose" => config.expose = value.as_bool()?,
                "log_origin" => config.log_origin = value.as_bool()?,
                _ => return None,
            }
        }
        let read = |name: &str| {
            config.from.iter().any(|source| {
                source == name || source == "aws" && aws_rank(name, REQUEST_NAMES).is_some()
            })
        };
        let original = config.original.as_ref();
        let is_contradiction = config.from.contains(&config.header)
            || original.is_some_and(|original| *original == config.header || read(original))
            || config.on_invalid == "reject" && config.rejects_own_ids();
        (!is_contradiction).then_some(config)
    }

    /// Returns whether a proxy with this configuration rejects ids that another one like it gives.
    #[must_use]
    pub fn rejects_own_ids(&self) -> bool {
        let digits_only = self.generate == "hex32" && self.from.is_empty();
        let is_too_short = self.max_length < if digits_only { 32 } else { 36 };
        let is_trace = |source: &String| source == "traceparent" || source == "x-amzn-trace-id";
        let gives_others = self.generate == "hex32"
            || self.from.iter().any(|source| source == "traceparent")
            || self.non_uuid == "verbatim" && !self.from.iter().all(is_trace);
        is_too_short || self.accept == "uuid" && gives_others
    }

    /// Returns whether a later run of the filter for the same request has to know the id.
    #[must_use]
    pub fn remembers(&self, verdict: &Verdict) -> bool {
        match verdict.outcome().0 {
            // The filter may see another address of the peer then.
            "kept" => matches!(&self.trust, Trust::Ranges(ranges) if !ranges.is_empty()),
            "adopted" | "generated" => {
                self.trust != Trust::All || self.log_origin || self.rejects_own_ids()
            }
            _ => true,
        }
    }

    /// Returns the counters that a later run of the filter for the same request increments, if nothing
    /// between the two runs has changed the id.
    #[must_use]
    pub fn counters_of_later_run(&self, first: &Verdict) -> Vec<String> {
        if first.is_dry_run() && !self.remembers(first) {
            first.counters() // It finds the invalid id again.
        } else {
            vec!["kept".into()]
        }
    }

    /// Returns the format of new ids.
    #[must_use]
    pub fn format(&self) -> IdFormat {
        match self.generate.as_str() {
            "uuid4" => IdFormat::Uuid4,
            "uuid7" => IdFormat::Uuid7,
            _ => IdFormat::Hex32,
        }
    }
}

/// Returns the values of all keys by their paths, without the keys that begin with an underscore.
fn settings(json: &Value) -> Option<Vec<(String, &Value)>> {
    let mut found = Vec::new();
    for (key, value) in json.as_object()? {
        if key.starts_with('_') {
            continue;
        } else if key.contains('.') {
            return None;
        } else if ["incoming", "adopt", "response"].contains(&key.as_str()) {
            for (below, value) in value.as_object()? {
                if !below.starts_with('_') {
                    found.push((format!("{key}.{below}"), value));
                }
            }
        } else {
            found.push((key.clone(), value));
        }
    }
    Some(found)
}

fn word(value: &Value, words: &[&str]) -> Option<String> {
    let word = value.as_str().filter(|word| words.contains(word))?;
    Some(word.into())
}

fn whole_number(value: &Value) -> Option<usize> {
    (1..=1024).find(|&number| value.as_f64() == Some(number as f64))
}

fn header_name(value: &Value) -> Option<String> {
    let name = value.as_str()?.to_ascii_lowercase();
    let of_http = "connection content-length host keep-alive proxy-connection te trailer \
                   transfer-encoding upgrade";
    let is_token = |char: char| char.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(char);
    let is_name = !name.is_empty() && name.chars().all(is_token);
    (is_name && !of_http.split_whitespace().any(|word| word == name)).then_some(name)
}

fn trust(value: &Value) -> Option<Trust> {
    match value.as_str() {
        Some("all") => return Some(Trust::All),
        Some("none") => return Some(Trust::Ranges(Vec::new())),
        _ => {}
    }
    let ranges = value.as_array()?.iter();
    let mut ranges: Vec<_> = ranges
        .map(|range| {
            let text = range.as_str()?;
            let (address, length) = match text.split_once('/') {
                None => (text, None),
                Some((address, length)) => (address, Some(length)),
            };
            let address: IpAddr = address.parse().ok()?;
            let all = if address.is_ipv4() { 32 } else { 128 };
            let length = match length {
                None => all,
                Some(length) => (0..=all).find(|number| number.to_string() == length)?,
            };
            // IPv4 is the part of IPv6 that begins with 96 bits of its own.
            let length = if all == 32 { length + 96 } else { length };
            Some(bits(address)[..length].to_owned())
        })
        .collect::<Option<_>>()?;
    // A prefix that is shorter than that part's would not hold IPv4 addresses in Envoy either.
    for range in &mut ranges {
        if range.len() < 96 {
            range.insert(0, '6');
        }
    }
    Some(Trust::Ranges(ranges))
}

/// Returns the 128 bits of an address as text; for IPv4, those of `::ffff:a.b.c.d`.
fn bits(address: IpAddr) -> String {
    let v6 = match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    format!("{:0128b}", v6.to_bits())
}

impl Trust {
    fn includes(&self, peer: &[u8]) -> bool {
        let Self::Ranges(ranges) = self else {
            return true;
        };
        let text = String::from_utf8_lossy(peer);
        let with_port = text.parse::<SocketAddr>().map(|peer| peer.ip());
        let Ok(peer) = with_port.or_else(|_| text.parse::<IpAddr>()) else {
            return false;
        };
        let mapped = "0".repeat(80) + &"1".repeat(16);
        let bits = bits(peer);
        ranges.iter().any(|range| match range.strip_prefix('6') {
            Some(short) => !bits.starts_with(&mapped) && bits.starts_with(short),
            None => bits.starts_with(range),
        })
    }
}

const REQUEST_NAMES: &[&str] = &[
    "x-amzn-requestid",
    "x-amzn-request-id",
    "x-amz-request-id",
    "x-amz-requestid",
];
const RESPONSE_NAMES: &[&str] = &[
    "x-amzn-requestid",
    "x-amzn-request-id",
    "apigw-requestid",
    "x-amz-request-id",
    "x-amz-requestid",
    "x-amz-cognito-request-id",
];

/// Returns how many prefixes a name has, and its place in the list: the smaller, the better.
fn aws_rank(name: &str, names: &[&str]) -> Option<(usize, usize)> {
    let plain = name.trim_start_matches("x-amzn-remapped-");
    let prefixes = (name.len() - plain.len()) / "x-amzn-remapped-".len();
    Some((prefixes, names.iter().position(|known| *known == plain)?))
}

impl Config {
    /// Decides on a request with these headers, as the filter sees them, from this peer. An
    /// earlier run of the filter for the same request remembered `remembered_id`.
    #[must_use]
    pub fn request(&self, peer: &[u8], lines: &[Line], remembered_id: Option<&[u8]>) -> Verdict {
        let mut verdict = Verdict::generated(self.format());
        let id_lines: Vec<_> = values(lines, &self.header);
        let value = id_lines.iter().filter(|line| !line.is_empty());
        let value = value.copied().collect::<Vec<_>>().join(&b',');
        if !value.is_empty() && remembered_id == Some(&value) {
            verdict.id = ExpectedId::Is(value);
            verdict.origin = "kept".into();
            verdict.sets_id = false;
            return verdict;
        }
        let is_untrusted = !self.trust.includes(peer);
        verdict.is_peer_untrusted = is_untrusted;
        let ids = list_items(&value);
        let problem = match ids.first() {
            None => None,
            Some(id) if ids.iter().any(|other| other != id) => Some("duplicate"),
            Some(id) => self.problem(id),
        };
        let provisional = ids
            .first()
            .filter(|_| self.header == "x-request-id" && problem != Some("duplicate"))
            .and_then(|id| provisional_uuid(id));

        let mut is_replaced = false;
        if is_untrusted {
            is_replaced = !ids.is_empty() && provisional.is_none();
            if is_replaced {
                verdict.origin = "replaced:untrusted".into();
            }
        } else if ids.is_empty() || provisional.is_some() {
            if let Some((id, source)) = self.adopted(lines) {
                verdict.id = ExpectedId::Is(id);
                verdict.origin = format!("adopted:{source}");
            } else if let Some(uuid) = provisional {
                match self.generate.as_str() {
                    "uuid4" => verdict.id = ExpectedId::Is(uuid.into()),
                    "hex32" => verdict.id = ExpectedId::Is(uuid.replace('-', "").into()),
                    _ => {}
                }
            }
        } else if let Some(problem) = problem {
            match self.on_invalid.as_str() {
                "keep" => {
                    verdict.id = ExpectedId::Is(value.clone());
                    verdict.origin = format!("kept:{problem}");
                    verdict.sets_id = false;
                }
                "reject" => verdict.origin = format!("rejected:{problem}"),
                _ => {
                    is_replaced = true;
                    verdict.origin = format!("replaced:{problem}");
                    if let Some((id, _)) = self.adopted(lines) {
                        verdict.id = ExpectedId::Is(id);
                    }
                }
            }
        } else {
            verdict.id = ExpectedId::Is(ids[0].clone());
            verdict.origin = "kept".into();
            verdict.sets_id = ids[0] != value;
        }
        if let Some(original) = &self.original {
            if is_replaced {
                verdict.original = OriginalChange::Set(value);
            } else if is_untrusted && !values(lines, original).is_empty() {
                verdict.original = OriginalChange::Remove;
            }
        }
        verdict
    }

    /// Returns the header that `incoming.original` names.
    #[must_use]
    pub fn original(&self) -> Option<&str> {
        self.original.as_deref()
    }

    /// Returns the rule that an id breaks.
    fn problem(&self, id: &[u8]) -> Option<&'static str> {
        if id.len() > self.max_length {
            return Some("too_long");
        }
        match self.accept.as_str() {
            "uuid" => (!is_uuid_form(id)).then_some("not_uuid"),
            "visible" => (!is_visible(id)).then_some("bad_byte"),
            _ => (!is_safe(id)).then_some("bad_byte"),
        }
    }

    /// Returns the id to adopt and the header that it is from.
    fn adopted(&self, lines: &[Line]) -> Option<(Vec<u8>, String)> {
        for source in &self.from {
            let candidate = |(name, value): &Line| {
                let name = latin_1(name).to_ascii_lowercase();
                let rank = match source.as_str() {
                    "aws" if name == self.header => None,
                    "aws" => aws_rank(&name, REQUEST_NAMES),
                    _ => (name == *source).then_some((0, 0)),
                };
                Some((rank?, name, value.clone()))
            };
            let mut candidates: Vec<_> = lines.iter().filter_map(candidate).collect();
            candidates.sort_by_key(|(rank, ..)| *rank); // keeps the order of equal ones
            for (_, name, value) in candidates {
                let is_short = |id: &String| id.len() <= self.max_length;
                let id = match source.as_str() {
                    "x-amzn-trace-id" => {
                        let root = trace_roots(&value).into_iter().find(is_short);
                        root.map(|root| derived(root.as_bytes()))
                    }
                    "traceparent" => trace_id(&value).filter(is_short).map(String::into_bytes),
                    _ => self.value_to_adopt(&value),
                };
                if let Some(id) = id {
                    let plain = name.trim_start_matches("x-amzn-remapped-");
                    let shown = match source.as_str() {
                        "aws" if plain != name => format!("x-amzn-remapped-{plain}"),
                        _ => name,
                    };
                    return Some((id, shown));
                }
            }
        }
        None
    }

    fn value_to_adopt(&self, value: &[u8]) -> Option<Vec<u8>> {
        let is_allowed = |value: &[u8]| match self.non_uuid.as_str() {
            "verbatim" => self.problem(value).is_none() && provisional_uuid(value).is_none(),
            _ => is_visible(value),
        };
        let mut values = self.usable(value, is_allowed).into_iter();
        values.find_map(|value| match self.non_uuid.as_str() {
            _ if is_rfc9562(&value) => Some(value.to_ascii_lowercase()),
            "derive" => Some(derived(&value)),
            "verbatim" => Some(value),
            _ => None,
        })
    }

    /// Returns the values between the commas that can be adopted: those for which `is_allowed` holds
    /// and which are not too long and no placeholders.
    fn usable(&self, value: &[u8], is_allowed: impl Fn(&[u8]) -> bool) -> Vec<Vec<u8>> {
        const PLACEHOLDERS: &str = "00000000-0000-0000-0000-000000000000 \
             ffffffff-ffff-ffff-ffff-ffffffffffff - none null undefined unknown \
             test-invoke-request uuid_replaced_invalid_request_id";
        let mut found = list_items(value);
        found.retain(|value| {
            let lower = latin_1(value).to_ascii_lowercase();
            let is_placeholder = PLACEHOLDERS.split_whitespace().any(|word| word == lower);
            value.len() <= self.max_length && is_allowed(value) && !is_placeholder
        });
        found
    }
}

/// Returns the UUID, in lower case, of a value that is a UUID and `-provisional`.
fn provisional_uuid(value: &[u8]) -> Option<String> {
    let text = latin_1(value);
    let uuid = text.strip_suffix("-provisional")?;
    is_uuid_form(uuid.as_bytes()).then(|| uuid.to_ascii_lowercase())
}

/// The headers of a response after the filter.
#[derive(Debug, PartialEq)]
pub struct ResponseHeaders {
    /// The lines of the id's header.
    pub ids: Vec<Vec<u8>>,
    /// The lines of `x-amzn-requestid`.
    pub aws_ids: Vec<Vec<u8>>,
    /// The lines of `access-control-expose-headers`.
    pub exposed: Vec<Vec<u8>>,
}

impl ResponseHeaders {
    /// Returns the lines as they are.
    #[must_use]
    pub fn of(lines: &[Line], header: &str) -> Self {
        let all = |name| {
            values(lines, name)
                .into_iter()
                .map(<[u8]>::to_vec)
                .collect()
        };
        Self {
            ids: all(header),
            aws_ids: all("x-amzn-requestid"),
            exposed: all("access-control-expose-headers"),
        }
    }
}

impl Config {
    /// Returns the response to the request with this id if the upstream sends these headers.
    ///
    /// The last run of the filter for the request remembered `remembered_id`.
    #[must_use]
    pub fn response(
        &self,
        id: &[u8],
        lines: &[Line],
        remembered_id: Option<&[u8]>,
    ) -> ResponseHeaders {
        let mut answer = ResponseHeaders::of(lines, &self.header);
        let is_blank = |value: &Vec<u8>| value.iter().all(|byte| b" \t".contains(byte));
        let is_absent = answer.ids.iter().all(is_blank);
        let reads_response = self.normalize_aws && self.header != "x-amzn-requestid" || self.expose;
        let is_of_later_run = reads_response
            && answer.ids.len() == 1
            && !is_absent
            && remembered_id == answer.ids.first().map(Vec::as_slice);
        let sets_id =
            self.echo == "overwrite" && !is_of_later_run || self.echo == "if_absent" && is_absent;
        if sets_id {
            answer.ids = vec![id.to_vec()];
        }
        if self.header == "x-amzn-requestid" {
            answer.aws_ids.clone_from(&answer.ids);
        } else if self.normalize_aws
            && let Some(aws_id) = self.published(lines)
        {
            answer.aws_ids = vec![aws_id];
        }
        let is_for_another_origin = !values(lines, "access-control-allow-origin").is_empty();
        if self.expose && is_for_another_origin {
            let mut names = list_items(&answer.exposed.join(&b','));
            let is_exposed =
                |name: &Vec<u8>| name == b"*" || latin_1(name).to_ascii_lowercase() == self.header;
            if !names.iter().any(is_exposed) {
                names.push(self.header.clone().into());
                answer.exposed = vec![names.join(&b", "[..])];
            }
        }
        answer
    }

    /// Returns the AWS id that is published as `x-amzn-requestid`.
    fn published(&self, lines: &[Line]) -> Option<Vec<u8>> {
        let ours = values(lines, "x-amzn-requestid");
        let is_usable = |value: &&[u8]| !self.usable(value, is_safe).is_empty();
        let is_a_pair = !values(lines, "x-amz-id-2").is_empty() && ours.is_empty();
        if ours.iter().any(is_usable) || is_a_pair {
            return None;
        }
        let candidates = lines.iter().filter_map(|(name, value)| {
            let rank = aws_rank(&latin_1(name).to_ascii_lowercase(), RESPONSE_NAMES)?;
            Some((rank, self.usable(value, is_safe).into_iter().next()?))
        });
        // Of equal ones the first.
        candidates
            .min_by_key(|(rank, _)| *rank)
            .map(|(_, value)| value)
    }
}

/// Returns each byte as the character of that number, so that nothing is lost.
fn latin_1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

fn list_items(value: &[u8]) -> Vec<Vec<u8>> {
    let text = latin_1(value);
    let parts = text.split(',').map(|part| part.trim_matches([' ', '\t']));
    parts
        .filter(|part| !part.is_empty())
        .map(|part| part.chars().map(|char| char as u8).collect())
        .collect()
}

fn is_safe(value: &[u8]) -> bool {
    let is_safe = |char: char| char.is_ascii_alphanumeric() || "-._~+/=:@#".contains(char);
    !value.is_empty() && latin_1(value).chars().all(is_safe)
}

fn is_visible(value: &[u8]) -> bool {
    let is_visible = |byte| (b'!'..=b'~').contains(byte) && *byte != b',';
    !value.is_empty() && value.iter().all(is_visible)
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.chars().all(|char| char.is_ascii_hexdigit())
}

fn is_uuid_form(value: &[u8]) -> bool {
    let text = latin_1(value);
    let parts: Vec<_> = text.split('-').collect();
    let mut lengths = parts.iter().zip([8, 4, 4, 4, 12]);
    parts.len() == 5 && lengths.all(|(part, length)| is_hex(part, length))
}

fn is_rfc9562(value: &[u8]) -> bool {
    is_uuid_form(value) && (b'1'..=b'8').contains(&value[14]) && b"89abAB".contains(&value[19])
}

fn derived(value: &[u8]) -> Vec<u8> {
    let space = Uuid::new_v5(&Uuid::NAMESPACE_DNS, b"amazonaws.com");
    Uuid::new_v5(&space, value).to_string().into()
}

/// Returns what is in each field like `Root=1-67891233-abcdef012345678912345678`, in lower case.
fn trace_roots(value: &[u8]) -> Vec<String> {
    let text = latin_1(value).to_ascii_lowercase();
    let mut roots = Vec::new();
    for field in text.split([';', ',']) {
        let Some((key, root)) = field.split_once('=') else {
            continue;
        };
        let blanks = [' ', '\t'];
        let root = root.trim_matches(blanks);
        let parts: Vec<_> = root.split('-').collect();
        if key.trim_matches(blanks) == "root"
            && parts.len() == 3
            && parts[0] == "1"
            && is_hex(parts[1], 8)
            && is_hex(parts[2], 24)
        {
            roots.push(root.to_owned());
        }
    }
    roots
}

/// Returns the trace-id of `00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01`, if all of it is
/// valid.
fn trace_id(value: &[u8]) -> Option<String> {
    let text = latin_1(value);
    let text = text.trim_matches([' ', '\t']);
    let parts: Vec<_> = text.split('-').collect();
    let mut lengths = parts.iter().zip([2, 32, 16, 2]);
    let is_valid = parts.len() >= 4
        && lengths.all(|(part, length)| is_hex(part, length) && part.to_lowercase() == **part)
        && parts[0] != "ff"
        && (parts[0] != "00" || text.len() == 55)
        && parts[1] != "0".repeat(32)
        && parts[2] != "0".repeat(16);
    is_valid.then(|| parts[1].to_owned())
}
