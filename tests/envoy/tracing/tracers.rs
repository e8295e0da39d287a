//! The tracers of Envoy that need nothing but a collector.

use serde_json::{Value, json};

use crate::tracing::collector::Collector;
use test_support::cases::Line;
use test_support::client::Headers;
use test_support::message::values;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracer {
    OpenTelemetry,
    /// With a sampler that follows the client's trace.
    OpenTelemetryWithSampler,
    Zipkin,
    Datadog,
    XRay,
    SkyWalking,
}

impl Tracer {
    pub const ALL: [Self; 6] = [
        Self::OpenTelemetry,
        Self::OpenTelemetryWithSampler,
        Self::Zipkin,
        Self::Datadog,
        Self::XRay,
        Self::SkyWalking,
    ];

    /// Returns the tracing of a connection manager that samples this percentage of the traces that begin here.
    pub fn tracing(self, percentage: u32, collector: &Collector) -> Value {
        let manifest = json!({
            "version": 2,
            "rules": [],
            "default": {"fixed_target": 0, "rate": f64::from(percentage) / 100.0},
        });
        let grpc = json!({"envoy_grpc": {"cluster_name": "collector"}});
        let (name, message, mut config) = match self {
            Self::OpenTelemetry | Self::OpenTelemetryWithSampler => (
                "opentelemetry",
                "OpenTelemetryConfig",
                json!({"grpc_service": grpc, "service_name": "test"}),
            ),
            Self::Zipkin => (
                "zipkin",
                "ZipkinConfig",
                json!({
                    "collector_cluster": "collector",
                    "collector_endpoint": "/spans",
                    "collector_endpoint_version": "HTTP_JSON",
                }),
            ),
            Self::Datadog => (
                "datadog",
                "DatadogConfig",
                json!({"collector_cluster": "collector", "service_name": "test"}),
            ),
            Self::XRay => (
                "xray",
                "XRayConfig",
                json!({
                    "daemon_endpoint":
                        {"protocol": "UDP", "address": "127.0.0.1", "port_value": collector.udp},
                    "segment_name": "test",
                    "sampling_rule_manifest": {"inline_string": manifest.to_string()},
                }),
            ),
            Self::SkyWalking => (
                "skywalking",
                "SkyWalkingConfig",
                json!({
                    "grpc_service": grpc,
                    "client_config": {"service_name": "test", "instance_name": "test"},
                }),
            ),
        };
        config["@type"] = format!("type.googleapis.com/envoy.config.trace.v3.{message}").into();
        if self == Self::OpenTelemetryWithSampler {
            let sampler = |name: &str, message: &str, mut config: Value| {
                config["@type"] = format!(
                    "type.googleapis.com/envoy.extensions.tracers.opentelemetry.samplers.v3.{message}"
                )
                .into();
                let name = format!("envoy.tracers.opentelemetry.samplers.{name}");
                json!({"name": name, "typed_config": config})
            };
            let ratio = sampler(
                "trace_id_ratio_based",
                "TraceIdRatioBasedSamplerConfig",
                json!({"sampling_percentage": {"numerator": percentage}}),
            );
            config["sampler"] = sampler(
                "parent_based",
                "ParentBasedSamplerConfig",
                json!({"wrapped_sampler": ratio}),
            );
        }
        let random_sampling = match self {
            // The sampler decides, or the rules of X-Ray do.
            Self::OpenTelemetryWithSampler | Self::XRay => 100,
            _ => percentage,
        };
        json!({
            "random_sampling": {"value": random_sampling},
            // SkyWalking passes on a trace only by the span of a request to the upstream.
            "spawn_upstream_span": self == Self::SkyWalking,
            "provider": {"name": format!("envoy.tracers.{name}"), "typed_config": config},
        })
    }

    /// Returns the header lines of a client's trace that is sampled or not.
    pub fn parent(self, is_sampled: bool) -> Vec<Line> {
        let flag = u8::from(is_sampled);
        let (name, value) = match self {
            Self::OpenTelemetry | Self::OpenTelemetryWithSampler => (
                "traceparent",
                format!("00-{}-b7ad6b7169203331-0{flag}", self.trace_id()),
            ),
            Self::Zipkin => {
                return vec![
                    ("x-b3-traceid", self.trace_id().into()),
                    ("x-b3-spanid", b"b7ad6b7169203331".to_vec()),
                    ("x-b3-sampled", flag.to_string().into()),
                ];
            }
            Self::Datadog => {
                return vec![
                    ("x-datadog-trace-id", self.trace_id().into()),
                    ("x-datadog-parent-id", b"67667974448284343".to_vec()),
                    ("x-datadog-sampling-priority", flag.to_string().into()),
                ];
            }
            Self::XRay => (
                "x-amzn-trace-id",
                format!(
                    "Root={};Parent=53995c3f42cd8ad8;Sampled={flag}",
                    self.trace_id()
                ),
            ),
            // Its texts are in base64.
            Self::SkyWalking => (
                "sw8",
                format!(
                    "{flag}-{}-c2VnbWVudA==-0-Y2xpZW50-Y2xpZW50-L2NsaWVudA==-dGVzdA==",
                    self.trace_id()
                ),
            ),
        };
        vec![(name, value.into())]
    }

    /// Returns the id of the client's trace, as it stands in headers.
    fn trace_id(self) -> &'static str {
        match self {
            Self::OpenTelemetry | Self::OpenTelemetryWithSampler | Self::Zipkin => {
                "0af7651916cd43dd8448eb211c80319c"
            }
            Self::Datadog => "5208512171318403364",
            Self::XRay => "1-5759e988-bd862e3fe1be46a994272793",
            Self::SkyWalking => "dGhlIGNsaWVudCdzIHRyYWNl",
        }
    }

    /// Returns the decision about sampling in these headers of an upstream, such as `1`, and whether the
    /// trace is the client's.
    pub fn propagated_decision(self, headers: &Headers) -> (String, bool) {
        let text = |name| match values(headers, name)[..] {
            [value] => String::from_utf8_lossy(value).into_owned(),
            _ => "nothing".into(),
        };
        let (trace, flag) = match self {
            Self::OpenTelemetry | Self::OpenTelemetryWithSampler => {
                let trace = text("traceparent");
                let flag = trace.rsplit('-').next().unwrap_or_default();
                let flag = flag.trim_start_matches('0');
                let flag = if flag.is_empty() { "0" } else { flag }.to_owned();
                (trace, flag)
            }
            Self::Zipkin => (text("x-b3-traceid"), text("x-b3-sampled")),
            Self::Datadog => (
                text("x-datadog-trace-id"),
                text("x-datadog-sampling-priority"),
            ),
            Self::XRay => {
                let trace = text("x-amzn-trace-id");
                let flag = trace
                    .split("Sampled=")
                    .nth(1)
                    .unwrap_or("nothing")
                    .to_owned();
                (trace, flag)
            }
            Self::SkyWalking => {
                let trace = text("sw8");
                let flag = trace.split('-').next().unwrap_or_default().to_owned();
                (trace, flag)
            }
        };
        (flag, trace.contains(self.trace_id()))
    }
}
