//! What is compared: ways to give requests an id.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use xtask::{module, target};

use crate::bootstrap::{CHECK_PATH, UPSTREAM_AWS_ID};
use crate::h2load::VALID_ID;

pub const NO_FILTER: &str = "no filter";
pub const DEFAULT: &str = "this filter, default";

const LUA: &str = include_str!("../filters/example.lua");
const EMPTY: &str = include_str!("../filters/empty.wat");

/// The paths of the Wasm modules.
pub struct Modules {
    pub filter: PathBuf,
    sdk_example: PathBuf,
    empty: PathBuf,
}

impl Modules {
    /// Builds the modules.
    ///
    /// # Errors
    /// Returns an error if one cannot be built.
    pub fn build() -> Result<Self> {
        let filter = module::build()?;
        let folder = module::cargo(&["build", "--package", "sdk-example"])?;
        let empty = target().join("empty.wasm");
        fs::write(&empty, wat::parse_str(EMPTY)?)?;
        Ok(Self {
            filter,
            sdk_example: folder.join("sdk_example.wasm"),
            empty,
        })
    }
}

/// One way to give requests an id.
pub struct Variant {
    /// The name of the row and of the listener.
    pub name: &'static str,
    /// The HTTP filter, if there is one.
    pub filter: Option<Value>,
    /// The Wasm module of the filter, if it is one.
    pub module: Option<PathBuf>,
    /// Whether Envoy itself keeps, generates and returns ids.
    pub envoy_generates: bool,
    /// Whether Envoy gives a request without an id a provisional one, which tracing needs.
    pub has_provisional_ids: bool,
    /// Whether the costs per request are measured.
    pub per_request: bool,
    /// Whether the costs of loading it are measured.
    pub on_startup: bool,
    behaviour: Behaviour,
}

/// What a client and an upstream see of a variant.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Behaviour {
    /// Both get the id of the request or, if it has none, a new one.
    gives_ids: bool,
    /// The id of a request that has none is taken from AWS's headers.
    adopts: bool,
    /// The AWS id of a response is published under one name.
    normalizes: bool,
}

impl Variant {
    /// Returns the variant that leaves ids as they are.
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            filter: None,
            module: None,
            envoy_generates: false,
            has_provisional_ids: false,
            per_request: true,
            on_startup: true,
            behaviour: Behaviour::default(),
        }
    }

    fn wasm(name: &'static str, module: &Path, configuration: &str) -> Self {
        Self {
            filter: Some(wasm_filter(module, configuration)),
            module: Some(module.to_owned()),
            ..Self::new(name)
        }
    }

    /// Checks that the listener at this port does what is measured under the name of the variant.
    ///
    /// # Errors
    /// Returns an error that says what it does instead.
    pub fn check(&self, port: u16) -> Result<()> {
        const AWS_ID: &str = "c2b5e1d4-5f0a-4c39-9d1e-7a3b8f6c2d10";
        let kept = Exchange::of(port, "x-request-id", VALID_ID)?;
        let adopted = Exchange::of(port, "x-amzn-requestid", AWS_ID)?;
        let generated = Exchange::of(port, "other", "value")?;
        let is_new = generated.id().is_some_and(|id| id.len() == VALID_ID.len());
        let found = Behaviour {
            gives_ids: kept.id() == Some(VALID_ID) && is_new,
            adopts: adopted.id() == Some(AWS_ID),
            normalizes: kept.aws_id.as_deref() == Some(UPSTREAM_AWS_ID),
        };
        ensure!(
            found == self.behaviour,
            "{:?} would not measure what its name says: expected {:?}, found {found:?} from {kept:?}, \
             {adopted:?} and {generated:?}",
            self.name,
            self.behaviour
        );
        Ok(())
    }
}

/// The ids in the exchange of one request.
#[derive(Debug)]
struct Exchange {
    id_at_upstream: Option<String>,
    id_in_response: Option<String>,
    aws_id: Option<String>,
}

impl Exchange {
    /// Sends a request with a header.
    fn of(port: u16, header: &str, value: &str) -> Result<Self> {
        let url = format!("http://127.0.0.1:{port}{CHECK_PATH}");
        let response = ureq::get(url).header(header, value).call()?;
        let header = |name| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
        Ok(Self {
            id_at_upstream: header("seen"),
            id_in_response: header("x-request-id"),
            aws_id: header("x-amzn-requestid"),
        })
    }

    /// Returns the id if the upstream and the client got the same one.
    fn id(&self) -> Option<&str> {
        let id = self.id_at_upstream.as_deref()?;
        (self.id_in_response.as_deref() == Some(id)).then_some(id)
    }
}

/// Returns all variants in the order of their rows. The first is what the others are compared with.
pub fn all(modules: &Modules) -> Vec<Variant> {
    let gives_ids = Behaviour {
        gives_ids: true,
        ..Behaviour::default()
    };
    let adopts = Behaviour {
        adopts: true,
        ..gives_ids
    };
    let normalizes = Behaviour {
        normalizes: true,
        ..adopts
    };
    vec![
        Variant::new(NO_FILTER),
        Variant {
            envoy_generates: true,
            on_startup: false,
            behaviour: gives_ids,
            ..Variant::new("Envoy's own request id")
        },
        Variant {
            per_request: false,
            ..Variant::wasm("empty module", &modules.empty, "")
        },
        Variant {
            on_startup: false,
            behaviour: gives_ids,
            ..Variant::wasm(
                "this filter, AWS off",
                &modules.filter,
                r#"{"adopt": {"from": []}, "response": {"normalize_aws": false}}"#,
            )
        },
        Variant {
            on_startup: false,
            behaviour: adopts,
            ..Variant::wasm(
                "this filter, AWS in requests",
                &modules.filter,
                r#"{"response": {"normalize_aws": false}}"#,
            )
        },
        Variant {
            behaviour: normalizes,
            ..Variant::wasm(DEFAULT, &modules.filter, "")
        },
        Variant {
            has_provisional_ids: true,
            on_startup: false,
            behaviour: normalizes,
            ..Variant::wasm("this filter, ready for tracing", &modules.filter, "")
        },
        Variant {
            behaviour: gives_ids,
            ..Variant::wasm("example filter, Rust SDK", &modules.sdk_example, "")
        },
        Variant {
            filter: Some(lua_filter()),
            behaviour: gives_ids,
            ..Variant::new("example filter, Lua")
        },
    ]
}

/// Returns the variant with a name.
///
/// # Errors
/// Returns an error if there is none.
pub fn named<'a>(
    variants: impl IntoIterator<Item = &'a Variant>,
    name: &str,
) -> Result<&'a Variant> {
    variants
        .into_iter()
        .find(|variant| variant.name == name)
        .with_context(|| format!("there is no variant {name:?}"))
}

/// Returns the HTTP filter of a Wasm module. All filters with the same module share its VM.
fn wasm_filter(module: &Path, configuration: &str) -> Value {
    let name = module.file_stem().unwrap_or_default().to_string_lossy();
    json!({
        "name": name,
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {
                "name": name,
                "root_id": name,
                "failure_policy": "FAIL_RELOAD",
                "vm_config": {
                    "vm_id": name,
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": { "local": { "filename": module } },
                },
                "configuration": {
                    "@type": "type.googleapis.com/google.protobuf.StringValue",
                    "value": configuration,
                },
            },
        },
    })
}

fn lua_filter() -> Value {
    json!({
        "name": "lua",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
            "default_source_code": { "inline_string": LUA },
        },
    })
}
