//! The place of the filter among those of other policies of Envoy Gateway.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::envoy_gateway::{APP, Admin, condition, deploy, send};
use crate::http::ID;
use crate::{World, tests};

tests![the_filter_is_first_whichever_other_policy_there_is];

/// Something that adds a filter to the proxy.
struct Other {
    kind: &'static str,
    /// What its `spec` says beside `targetRefs`.
    spec: &'static str,
    /// The name of its filter in Envoy's configuration.
    filter: &'static str,
    answered: Option<Answered>,
}

/// A request that the other filter answers: method and path, headers, and the status of the response.
type Answered = (&'static str, &'static [(&'static str, &'static str)], u16);

const OTHERS: [Other; 16] = [
    Other {
        kind: "SecurityPolicy",
        spec: "csrf: {additionalOrigins: ['https://trusted.example.com']}",
        filter: "csrf",
        answered: Some(("POST /", &[("origin", "https://evil.example.com")], 403)),
    },
    Other {
        kind: "SecurityPolicy",
        spec: "cors: {allowOrigins: ['https://app.example.com'], allowMethods: [GET]}",
        filter: "cors",
        answered: Some((
            "OPTIONS /",
            &[
                ("origin", "https://app.example.com"),
                ("access-control-request-method", "GET"),
            ],
            200,
        )),
    },
    Other {
        kind: "SecurityPolicy",
        spec: "basicAuth: {users: {name: users}}",
        filter: "basic_auth",
        answered: Some(("GET /", &[], 401)),
    },
    Other {
        kind: "SecurityPolicy",
        spec: "apiKeyAuth: {credentialRefs: [{name: keys}], extractFrom: [{headers: [x-api-key]}]}",
        filter: "api_key_auth",
        answered: Some(("GET /", &[], 401)),
    },
    Other {
        kind: "SecurityPolicy",
        spec: "jwt: {providers: [{name: example, issuer: https://issuer.example.com, \
         localJWKS: {type: Inline, inline: '{\"keys\": [{\"kty\": \"EC\", \"crv\": \"P-256\", \"x\": \"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4\", \"y\": \"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM\"}]}'}}]}",
        filter: "jwt_authn",
        answered: Some(("GET /", &[("authorization", "Bearer not-a-token")], 401)),
    },
    Other {
        kind: "SecurityPolicy",
        spec: "extAuth: {http: {backendRefs: [{name: backend, port: 8000}]}}",
        filter: "ext_authz",
        answered: None,
    },
    Other {
        kind: "SecurityPolicy",
        spec: "oidc: {clientID: you, clientSecret: {name: oidc}, redirectURL: https://www.example.com/back, \
         provider: {issuer: https://issuer.example.com, authorizationEndpoint: https://issuer.example.com/auth, \
         tokenEndpoint: https://issuer.example.com/token}}",
        filter: "oauth2",
        answered: Some(("GET /", &[], 302)),
    },
    Other {
        kind: "SecurityPolicy",
        spec: "authorization: {defaultAction: Deny}",
        filter: "rbac",
        answered: Some(("GET /", &[], 403)),
    },
    Other {
        kind: "BackendTrafficPolicy",
        spec: "faultInjection: {abort: {httpStatus: 418, percentage: 100}}",
        filter: "fault",
        answered: Some(("GET /", &[], 418)),
    },
    Other {
        kind: "BackendTrafficPolicy",
        spec: "rateLimit: {type: Local, local: {rules: [{limit: {requests: 1, unit: Hour}}]}}",
        filter: "local_ratelimit",
        answered: None,
    },
    Other {
        kind: "BackendTrafficPolicy",
        spec: "requestBuffer: {limit: 1Ki}",
        filter: "buffer",
        answered: None,
    },
    Other {
        kind: "BackendTrafficPolicy",
        spec: "responseOverride: [{match: {statusCodes: [{type: Value, value: 503}]}, \
         response: {body: {type: Inline, inline: gone}}}]",
        filter: "custom_response",
        answered: None,
    },
    Other {
        kind: "EnvoyExtensionPolicy",
        spec: "lua: [{type: Inline, inline: \"function envoy_on_request(handle) \
         handle:respond({[':status'] = '418'}, '') end\"}]",
        filter: "lua",
        answered: Some(("GET /", &[], 418)),
    },
    Other {
        kind: "EnvoyExtensionPolicy",
        spec: "extProc: [{backendRefs: [{name: backend, port: 8000}], processingMode: {request: {}}}]",
        filter: "ext_proc",
        answered: Some(("GET /", &[], 500)),
    },
    Other {
        kind: "ClientTrafficPolicy",
        spec: "healthCheck: {path: /health}",
        filter: "health_check",
        answered: Some(("GET /health", &[], 200)),
    },
    Other {
        kind: "HTTPRoute",
        spec: "rules: [{sessionPersistence: {sessionName: session}, backendRefs: [{name: backend, port: 8000}]}]",
        filter: "stateful_session",
        answered: None,
    },
];

impl Other {
    /// Whether the Gateway can have a policy of this kind beside ours. If not, this becomes a part of ours.
    fn is_alone(&self) -> bool {
        ["SecurityPolicy", "BackendTrafficPolicy"].contains(&self.kind)
    }

    /// The name of the resource.
    fn name(&self) -> &'static str {
        match self.kind {
            "HTTPRoute" => "backend",
            _ if self.is_alone() => "other",
            _ => "request-id",
        }
    }

    fn manifest(&self) -> String {
        format!(
            "{{apiVersion: gateway.envoyproxy.io/v1alpha1, kind: {}, metadata: {{name: other, namespace: default}}, \
             spec: {{targetRefs: [{{group: gateway.networking.k8s.io, kind: Gateway, name: eg}}], {}}}}}",
            self.kind, self.spec
        )
    }

    fn apply(&self, cluster: &Cluster) -> Result<()> {
        if self.is_alone() {
            cluster.apply(&self.manifest())
        } else {
            self.patch(cluster, self.spec)
        }
    }

    fn patch(&self, cluster: &Cluster, spec: &str) -> Result<()> {
        let spec: Value = serde_saphyr::from_str(&format!("{{{spec}}}"))?;
        let patch = format!("--patch={}", json!({"spec": spec}));
        cluster.kubectl(&["patch", self.kind, self.name(), "--type=merge", &patch])?;
        Ok(())
    }

    fn delete(&self, cluster: &Cluster) -> Result<()> {
        if self.is_alone() {
            cluster.delete(&self.manifest())
        } else if self.kind == "HTTPRoute" {
            cluster.apply(APP)
        } else {
            let (key, _) = self.spec.split_once(':').context("no key")?;
            self.patch(cluster, &format!("{key}: null"))
        }
    }
}

/// Whether a filter of that kind is in a chain.
fn has(chain: &[String], filter: &str) -> bool {
    let kind = format!("envoy.filters.http.{filter}");
    chain
        .iter()
        .any(|name| name.split('/').next() == Some(&kind))
}

/// Also each filter that answers the request has the id in its response.
fn the_filter_is_first_whichever_other_policy_there_is(world: &World) -> Result<()> {
    let (cluster, gateway) = (world.cluster()?, world.envoy_gateway()?);
    let proxy = deploy(cluster, gateway)?;
    let admin = Admin::start(cluster, &proxy)?;
    // What `lateResponseHeaders` of our ClientTrafficPolicy adds.
    ensure!(has(&admin.filters()?, "header_mutation"), "it is not there");
    for other in OTHERS {
        other.apply(cluster)?;
        let chain = cluster.until(other.filter, || {
            let chain = admin.filters()?;
            let status = condition(cluster, other.kind, other.name(), "Accepted");
            ensure!(has(&chain, other.filter), "{chain:?}, {status:#?}");
            Ok(chain)
        })?;
        ensure!(
            chain[0].starts_with("envoy.filters.http.wasm/"),
            "{chain:?}"
        );
        if let Some((request, headers, status)) = other.answered {
            let (method, path) = request.split_once(' ').context("no path")?;
            let headers = [headers, &[(ID, "answered-1")]].concat();
            cluster.until(&format!("the answer by {}", other.filter), || {
                let answer = send(&proxy, method, path, &headers)?;
                answer.require(status, "answered-1")
            })?;
        }
        other.delete(cluster)?;
        cluster.until("the end of the policy", || {
            let chain = admin.filters()?;
            ensure!(!has(&chain, other.filter), "{chain:?}");
            Ok(())
        })?;
    }
    Ok(())
}
