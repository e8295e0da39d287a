//! What Envoy calls for each stream.
//!
//! The SDK has these callbacks, too, and the plugin's own life goes through it. But it panics on a
//! context that it does not know, which takes down every request of the worker, and for each call it
//! looks up a boxed trait object in one hash table after another. `xtask` puts the exports named
//! `ours_…` in the place of the SDK's.

#![allow(unsafe_code)] // Exports have unmangled names; the SDK's are called by theirs.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::mem;
use std::rc::Rc;

use proxy_wasm::types::Action;

use super::plugin::Plugin;
use super::stream;
use crate::id::RequestId;

thread_local! {
    static PLUGINS: RefCell<Vec<(u32, Rc<Plugin>)>> = const { RefCell::new(Vec::new()) };
    static STREAMS: RefCell<Streams> =
        const { RefCell::new(HashMap::with_hasher(BuildHasherDefault::new())) };
}

/// The streams that are open, by context.
type Streams = HashMap<u32, Stream, BuildHasherDefault<Spread>>;

struct Stream {
    plugin: Rc<Plugin>,
    /// What the request decided: in the response phase the host shows nothing of the request.
    id: Option<RequestId>,
}

/// From now on streams of the root context `root` go by `plugin`; open ones by what they began with.
pub fn configure(root: u32, plugin: Rc<Plugin>) {
    // The one before may end here, which hands its counts to the host: not while the table is borrowed.
    let _before = PLUGINS.with_borrow_mut(|plugins| {
        let configured = plugins.iter_mut().find(|(known, _)| *known == root);
        if let Some((_, before)) = configured {
            return Some(mem::replace(before, plugin));
        }
        plugins.push((root, plugin));
        None
    });
}

/// The plugin that was last configured in the root context `root`.
pub fn plugin(root: u32) -> Option<Rc<Plugin>> {
    PLUGINS.with_borrow(|plugins| {
        let (_, plugin) = plugins.iter().find(|(known, _)| *known == root)?;
        Some(Rc::clone(plugin))
    })
}

/// How many streams are open in this VM, of whatever plugin.
pub fn open_streams() -> usize {
    STREAMS.with_borrow(Streams::len)
}

// The SDK's callbacks. They find contexts that they made themselves, or panic.
unsafe extern "C" {
    safe fn proxy_on_context_create(context: u32, root: u32);
    safe fn proxy_on_delete(context: u32);
}

/// A context without a root is a root itself: the SDK's.
#[unsafe(export_name = "ours_proxy_on_context_create")]
extern "C" fn on_context_create(context: u32, root: u32) {
    if root == 0 {
        configure(context, Rc::default());
        proxy_on_context_create(context, root);
    } else if let Some(plugin) = plugin(root) {
        let stream = Stream { plugin, id: None };
        STREAMS.with_borrow_mut(|streams| streams.insert(context, stream));
    }
}

#[unsafe(export_name = "ours_proxy_on_request_headers")]
extern "C" fn on_request_headers(context: u32, _count: usize, _end_of_stream: bool) -> Action {
    // No table is borrowed during a host call: some hosts call back from within.
    let Some(plugin) = STREAMS.with_borrow(|streams| {
        let stream = streams.get(&context)?;
        Some(Rc::clone(&stream.plugin))
    }) else {
        return Action::Continue;
    };
    let (action, id) = stream::on_request(&plugin);
    STREAMS.with_borrow_mut(|streams| {
        if let Some(stream) = streams.get_mut(&context) {
            stream.id = id;
        }
    });
    action
}

#[unsafe(export_name = "ours_proxy_on_response_headers")]
extern "C" fn on_response_headers(context: u32, _count: usize, _end_of_stream: bool) -> Action {
    let found = STREAMS.with_borrow_mut(|streams| {
        let stream = streams.get_mut(&context)?;
        Some((Rc::clone(&stream.plugin), stream.id.take()?))
    });
    if let Some((plugin, id)) = found {
        stream::on_response(&plugin, &id);
    }
    Action::Continue
}

#[unsafe(export_name = "ours_proxy_on_delete")]
extern "C" fn on_delete(context: u32) {
    let stream = STREAMS.with_borrow_mut(|streams| streams.remove(&context));
    if stream.is_some() {
        return;
    }
    let root = PLUGINS.with_borrow_mut(|plugins| {
        let place = plugins.iter().position(|(known, _)| *known == context)?;
        Some(plugins.swap_remove(place))
    });
    if root.is_some() {
        proxy_on_delete(context);
    }
}

/// Spreads context numbers, which count up, over a hash table. Nobody chooses them, so there is
/// nothing to defend against.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn write_u32(&mut self, context: u32) {
        const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15;
        self.0 = u64::from(context).wrapping_mul(GOLDEN_RATIO);
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u32(u32::from(byte));
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
