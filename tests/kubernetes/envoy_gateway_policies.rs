//! The place of the filter among those of other policies of Envoy Gateway.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::World;
use crate::cluster::Cluster;
use crate::envoy_gateway::{APP, Admin, condition, deploy, send};
use crate::http::ID;

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
    other(
        "SecurityPolicy",
        "csrf: {additionalOrigins: ['https://trusted.example.com']}",
        "csrf",
        Some(("POST /", &[("origin", "https://evil.example.com")], 403)),
    ),
    other(
        "SecurityPolicy",
        "cors: {allowOrigins: ['https://app.example.com'], allowMethods: [GET]}",
        "cors",
        Some((
            "OPTIONS /",
            &[
                ("origin", "https://app.example.com"),
                ("access-control-request-method", "GET"),
            ],
            200,
        )),
    ),
    other(
        "SecurityPolicy",
        "basicAuth: {users: {name: users}}",
        "basic_auth",
        Some(("GET /", &[], 401)),
    ),
    other(
        "SecurityPolicy",
        "apiKeyAuth: {credentialRefs: [{name: keys}], extractFrom: [{headers: [x-api-key]}]}",
        "api_key_auth",
        Some(("GET /", &[], 401)),
    ),
    other(
        "SecurityPolicy",
        "jwt: {providers: [{name: example, issuer: https://issuer.example.com, \
         localJWKS: {type: Inline, inline: '{\"keys\": [{\"kty\": \"EC\", \"crv\": \"P-256\", \"x\": \"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4\", \"y\": \"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM\"}]}'}}]}",
        "jwt_authn",
        Some(("GET /", &[("authorization", "Bearer not-a-token")], 401)),
    ),
    other(
        "SecurityPolicy",
        "extAuth: {http: {backendRefs: [{name: backend, port: 8000}]}}",
        "ext_authz",
        None,
    ),
    other(
        "SecurityPolicy",
        "oidc: {clientID: you, clientSecret: {name: oidc}, redirectURL: https://www.example.com/back, \
         provider: {issuer: https://issuer.example.com, authorizationEndpoint: https://issuer.example.com/auth, \
         tokenEndpoint: https://issuer.example.com/token}}",
        "oauth2",
        Some(("GET /", &[], 302)),
    ),
    other(
        "SecurityPolicy",
        "authorization: {defaultAction: Deny}",
        "rbac",
        Some(("GET /", &[], 403)),
    ),
    other(
        "BackendTrafficPolicy",
        "faultInjection: {abort: {httpStatus: 418, percentage: 100}}",
        "fault",
        Some(("GET /", &[], 418)),
    ),
    other(
        "BackendTrafficPolicy",
        "rateLimit: {type: Local, local: {rules: [{limit: {requests: 1, unit: Hour}}]}}",
        "local_ratelimit",
        None,
    ),
    other(
        "BackendTrafficPolicy",
        "requestBuffer: {limit: 1Ki}",
        "buffer",
        None,
    ),
    other(
        "BackendTrafficPolicy",
        "responseOverride: [{match: {statusCodes: [{type: Value, value: 503}]}, \
         response: {body: {type: Inline, inline: gone}}}]",
        "custom_response",
        None,
    ),
    other(
        "EnvoyExtensionPolicy",
        "lua: [{type: Inline, inline: \"function envoy_on_request(handle) \
         handle:respond({[':status'] = '418'}, '') end\"}]",
        "lua",
        Some(("GET /", &[], 418)),
    ),
    other(
        "EnvoyExtensionPolicy",
        "extProc: [{backendRefs: [{name: backend, port: 8000}], processingMode: {request: {}}}]",
        "ext_proc",
        Some(("GET /", &[], 500)),
    ),
    other(
        "ClientTrafficPolicy",
        "healthCheck: {path: /health}",
        "health_check",
        Some(("GET /health", &[], 200)),
    ),
    other(
        "HTTPRoute",
        "rules: [{sessionPersistence: {sessionName: session}, backendRefs: [{name: backend, port: 8000}]}]",
        "stateful_session",
        None,
    ),
];

const fn other(
    kind: &'static str,
    spec: &'static str,
    filter: &'static str,
    answered: Option<Answered>,
) -> Other {
    Other {
        kind,
        spec,
        filter,
        answered,
    }
}

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
pub fn filter_is_first(world: &World) -> Result<()> {
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
                ensure!(answer.status == status, "{answer:?}");
                ensure!(answer.id.as_deref() == Some("answered-1"), "{answer:?}");
                Ok(())
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
