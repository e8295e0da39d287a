//! The tracers of Envoy that need nothing but a collector.

use serde_json::{Value, json};

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

    /// Returns the tracing of a connection manager that samples this percentage of the traces that begin here. Spans
    /// go to the cluster `collector`, but those of X-Ray to a UDP port.
    pub fn tracing(self, percentage: u32, udp_port: u16) -> Value {
        let manifest = json!({
            "version": 2,
            "rules": [],
            "default": {"fixed_target": 0, "rate": f64::from(percentage) / 100.0},
        });
        let grpc = json!({"envoy_grpc": {"cluster_name": "collector"}});
        let (name, mut config) = match self {
            Self::OpenTelemetry | Self::OpenTelemetryWithSampler => (
                "OpenTelemetry",
                json!({"grpc_service": grpc, "service_name": "test"}),
            ),
            Self::Zipkin => (
                "Zipkin",
                json!({
                    "collector_cluster": "collector",
                    "collector_endpoint": "/spans",
                    "collector_endpoint_version": "HTTP_JSON",
                }),
            ),
            Self::Datadog => (
                "Datadog",
                json!({"collector_cluster": "collector", "service_name": "test"}),
            ),
            Self::XRay => (
                "XRay",
                json!({
                    "daemon_endpoint":
                        {"protocol": "UDP", "address": "127.0.0.1", "port_value": udp_port},
                    "segment_name": "test",
                    "sampling_rule_manifest": {"inline_string": manifest.to_string()},
                }),
            ),
            Self::SkyWalking => (
                "SkyWalking",
                json!({
                    "grpc_service": grpc,
                    "client_config": {"service_name": "test", "instance_name": "test"},
                }),
            ),
        };
        config["@type"] = format!("type.googleapis.com/envoy.config.trace.v3.{name}Config").into();
        if self == Self::OpenTelemetryWithSampler {
            let sampler = |name: &str, message: &str, mut config: Value| {
                let package = "envoy.extensions.tracers.opentelemetry.samplers.v3";
                config["@type"] = format!("type.googleapis.com/{package}.{message}").into();
                let name = format!("envoy.tracers.opentelemetry.samplers.{name}");
                json!({"name": name, "typed_config": config})
            };
            let ratio = json!({"sampling_percentage": {"numerator": percentage}});
            let ratio = sampler(
                "trace_id_ratio_based",
                "TraceIdRatioBasedSamplerConfig",
                ratio,
            );
            let parent = json!({"wrapped_sampler": ratio});
            config["sampler"] = sampler("parent_based", "ParentBasedSamplerConfig", parent);
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
            "provider": {
                "name": format!("envoy.tracers.{}", name.to_lowercase()),
                "typed_config": config,
            },
        })
    }

    /// Returns the header that passes on a trace.
    fn header(self) -> &'static str {
        match self {
            Self::OpenTelemetry | Self::OpenTelemetryWithSampler => "traceparent",
            Self::Zipkin => "x-b3-traceid",
            Self::Datadog => "x-datadog-trace-id",
            Self::XRay => "x-amzn-trace-id",
            Self::SkyWalking => "sw8",
        }
    }

    /// Returns the header lines of a client's trace that is sampled or not.
    pub fn parent(self, is_sampled: bool) -> Vec<Line> {
        let (trace, flag) = (self.trace_id(), u8::from(is_sampled));
        let value = match self {
            Self::OpenTelemetry | Self::OpenTelemetryWithSampler => {
                format!("00-{trace}-b7ad6b7169203331-0{flag}")
            }
            Self::Zipkin | Self::Datadog => trace.into(),
            Self::XRay => format!("Root={trace};Parent=53995c3f42cd8ad8;Sampled={flag}"),
            // Its texts are in base64.
            Self::SkyWalking => {
                format!("{flag}-{trace}-c2VnbWVudA==-0-Y2xpZW50-Y2xpZW50-L2NsaWVudA==-dGVzdA==")
            }
        };
        let mut lines = vec![(self.header(), value.into())];
        let flag = flag.to_string().into();
        if self == Self::Zipkin {
            lines.push(("x-b3-spanid", b"b7ad6b7169203331".to_vec()));
            lines.push(("x-b3-sampled", flag));
        } else if self == Self::Datadog {
            lines.push(("x-datadog-parent-id", b"67667974448284343".to_vec()));
            lines.push(("x-datadog-sampling-priority", flag));
        }
        lines
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
            [value] => String::from_utf8_lossy(value),
            _ => "nothing".into(),
        };
        let trace = text(self.header());
        let (zipkin, datadog) = (text("x-b3-sampled"), text("x-datadog-sampling-priority"));
        let decision = match self {
            Self::OpenTelemetry | Self::OpenTelemetryWithSampler => trace.rsplit("-0").next(),
            Self::Zipkin => Some(&*zipkin),
            Self::Datadog => Some(&*datadog),
            Self::XRay => trace.split("Sampled=").nth(1),
            Self::SkyWalking => trace.split('-').next(),
        };
        let decision = decision.unwrap_or("nothing").to_owned();
        (decision, trace.contains(self.trace_id()))
    }
}
